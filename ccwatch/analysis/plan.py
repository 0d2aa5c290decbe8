"""The plan that rules on `divergence` are judged against, made from what was expected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ccwatch.alerts import AnyRule, Plan, needs_plan
from ccwatch.analysis.against import with_nav
from ccwatch.analysis.expected import read_expected
from ccwatch.analysis.usable_rows import Floats, paces, select_rows
from ccwatch.config import ALIGNMENTS, Align, alignment, default_expected
from ccwatch.domain.liveness import late_ns
from ccwatch.errors import CcwatchError, ConfigError, MissingColumns
from ccwatch.protocol.messages import Side

_HELD = {Side.BUY: 1.0, Side.SELL: -1.0, Side.FLAT: 0.0}


def plan_for(rules: Sequence[AnyRule], expected: Any = None, align: Align | None = None) -> Plan | None:
    """Return the plan that these rules need; None where none of them does, or nothing is expected.

    Args:
        rules: of which one may name `divergence`.
        expected: see `read_expected`; None is `[expected]` of ccwatch.toml.
        align: how the plan is laid beside the stream; see `report.against`. None is "clock", or what `[expected]` says of its own plan.

    Raises:
        ConfigError: `[expected]` cannot be used, a value that is no expectation, or another `align`.
        RecordingNotFound: the expectation is no recording that is there.
        MissingColumns: it has none of nav, returns and side.
    """
    if not needs_plan(rules):
        return None
    if expected is not None:
        return None if expected is False else plan_of(read_expected(expected).frame, alignment(align, expected))
    plan = default_expected()
    if plan is None:
        return None
    try:
        return plan_of(read_expected(plan.path, symbol=plan.symbol).frame, alignment(align, None))
    except CcwatchError as error:
        raise ConfigError(f"[expected] path = {plan.path!r} of ccwatch.toml is no plan: {error}") from error


def plan_of(frame: pd.DataFrame, align: Align = "clock") -> Plan:
    """Return a frame of nav, returns or signals as a plan.

    Args:
        frame: packets, or a frame with nav, returns or side, and a DatetimeIndex with a zone.
        align: see `plan_for`.

    Raises:
        ConfigError: another `align`.
        MissingColumns: the frame has none of nav, returns and side, or no BUY or SELL where it is aligned by events.
        MixedSymbols: signals of several symbols.
    """
    if align not in ALIGNMENTS:
        raise ConfigError(f"align={align!r}: expected one of {', '.join(ALIGNMENTS)}")
    frame = with_nav(frame)
    is_signals = "nav" not in frame.columns or not np.isfinite(frame["nav"].to_numpy(dtype=np.float64, na_value=np.nan)).any()
    planned = select_rows("divergence", frame, one_symbol=is_signals)
    side = np.asarray(planned.words("side").astype(object))
    orders = np.flatnonzero(np.isin(side, [Side.BUY, Side.SELL]))
    values: Floats = planned.numbers("nav")
    if is_signals:
        values = np.asarray(pd.Series(side).map(_HELD), dtype=np.float64)
        if "approved_size" in frame.columns:
            values = values * pd.Series(planned.numbers("approved_size")).ffill().fillna(0.0).to_numpy()
    if not np.isfinite(values).any():
        raise MissingColumns("divergence", ("nav",))
    if align == "event" and not len(orders):
        raise MissingColumns("divergence", ("side: no BUY or SELL to lay the two by",))
    intervals = paces(planned.frame).interval_ns
    usual = int(np.median(intervals[intervals >= 0])) if (intervals >= 0).any() else 0
    return Plan(
        planned.times,
        np.asarray(pd.Series(values).ffill(), dtype=np.float64),
        lasts_ns=late_ns(usual),
        is_signals=is_signals,
        symbol=planned.symbol if is_signals else None,
        align=align,
        origin_ns=int(planned.times[orders[0] if align == "event" else 0]),
    )
