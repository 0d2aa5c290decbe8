"""Rows of services: of the agents' and models' tables, those that a question may use, and the readings of each service."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ccwatch.analysis.usable_rows import Floats, numbers, on_utc, times_ns
from ccwatch.domain import counters
from ccwatch.protocol.messages import Flag


def usable_rows(
    question: str, table: pd.DataFrame | None, kind: str, gauge: str, packets: pd.DataFrame | None, *, counted: bool = False
) -> pd.DataFrame | None:
    """Return the rows of a table that a question may use, in order of time; None where it carries no gauge.

    Gauges of a packet that does not know its state yet are left out. A packet that was seen before has none in a table; a single call
    that it is the first to carry counts.

    Args:
        question: its name, for errors.
        table: the agents or the models table.
        kind: the column that names the service.
        gauge: the column that is needed.
        packets: those of the stream, flagged ones too, where they are known.
        counted: whether a counter of calls is needed as well.
    """
    if table is None or not {kind, gauge, *(("invocations",) if counted else ())} <= set(table.columns):
        return None
    table = on_utc(question, table)
    if not table[gauge].notna().any() or (counted and not table["invocations"].notna().any()):
        return None
    if packets is not None and {"seq", "flags"} <= set(packets.columns) and "seq" in table.columns:
        unknown = (packets["flags"].to_numpy().astype(np.int64) & int(Flag.PLACEHOLDER)) != 0
        if unknown.any():
            table = table[~np.isin(table["seq"].to_numpy(), packets["seq"].to_numpy()[unknown])]
    return table if table.index.is_monotonic_increasing else table.iloc[np.argsort(times_ns(table), kind="stable")]


def counted_in_order(rows: pd.DataFrame, share: str | None = None) -> tuple[Floats, Floats]:
    """Return counter and share of successes of one service's rows, by the times of its calls where some of them came late.

    Args:
        rows: of one service, in order of time.
        share: the column of it; None for none.

    Returns:
        Two arrays as long as `rows`; NaN where a value is missing.
    """
    count = numbers(rows["invocations"]) if "invocations" in rows.columns else np.full(len(rows), np.nan)
    rate = np.full(len(rows), np.nan) if share is None else numbers(rows[share])
    if "seq" not in rows.columns or not np.isfinite(count).all():
        return count, rate
    return counters.renumber(rows["seq"].to_numpy().astype(np.int64), count, rate)
