"""One session's tables, read once from a feed, a recording or a frame. It knows what each of these types has, not how it is made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import pandas as pd

from ccwatch.analysis.usable_rows import times_ns
from ccwatch.errors import AnalysisError
from ccwatch.protocol.messages import EventKind
from ccwatch.stream.dataframes import TEXT, default_columns
from ccwatch.stream.table_reader import TableReader
from ccwatch.stream.view import LiveView

_RAW: Final = ("status_raw", "regime_raw", "side_raw")
"""Columns of the server's own words, to report those that were not understood."""
LIVE: Final = frozenset({"CONNECTING", "OPEN", "LATE", "STALE", "DISCONNECTED"})
"""States of a feed that may still deliver: its silence counts up to now."""


@dataclass(frozen=True)
class SessionTables:
    """The tables of a source, read when first asked for and then kept: a feed's as it was at that moment.

    Attributes:
        source: a DataFrame; or a reader of tables, as a Feed and a Recording are.
        start: only rows from this time on.
        end: only rows up to this time, included.
        dropped: columns that are as if the stream had never carried them, and lists (agents, models, logs) that are as if it had none.
    """

    source: TableReader | pd.DataFrame
    start: pd.Timestamp | None = None
    end: pd.Timestamp | None = None
    dropped: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """Return the name of the source: a recording's folder name, a feed's url, or "a data frame"."""
        if isinstance(self.source, pd.DataFrame):
            return "a data frame"
        return self.source.label

    @property
    def origin(self) -> str:
        """Return where the stream came from; empty where the source does not say."""
        return "" if isinstance(self.source, pd.DataFrame) else self.source.origin

    @property
    def is_synthetic(self) -> bool:
        """Return whether the stream came from a seeded engine."""
        return "synthetic" in self.origin

    @cached_property
    def packets(self) -> pd.DataFrame:
        """Return every packet in order of arrival, without text."""
        return self._within(self.source if isinstance(self.source, pd.DataFrame) else self.source.frame(clean=False))

    @property
    def packets_with_text(self) -> pd.DataFrame:
        """Return every packet in order of arrival, with the column `extra`; read again each time, since text is large."""
        if isinstance(self.source, pd.DataFrame):
            return self.packets
        return self._within(self.source.frame([*default_columns("packets"), *_RAW, "extra"], clean=False))

    @property
    def packets_with_words(self) -> pd.DataFrame:
        """Return every packet in order of arrival, with the agents' reasoning; read again each time, since text is large."""
        if isinstance(self.source, pd.DataFrame):
            return self.packets
        return self._within(self.source.frame([*default_columns("packets"), "reasoning"], clean=False))

    @cached_property
    def agents(self) -> pd.DataFrame | None:
        """Return the agents table; None where there is none."""
        return self._long("agents", "agent")

    @cached_property
    def models(self) -> pd.DataFrame | None:
        """Return the models table; None where there is none."""
        return self._long("models", "model")

    @cached_property
    def logs(self) -> pd.DataFrame | None:
        """Return the logs table; None where there is none."""
        return self._long("logs", "message")

    @cached_property
    def trades(self) -> pd.DataFrame | None:
        """Return the trades table; None for a DataFrame."""
        return None if isinstance(self.source, pd.DataFrame) else self._long("trades", "id")

    @cached_property
    def events(self) -> pd.DataFrame | None:
        """Return the events table, of the range where one was chosen; None where there is none."""
        return self._long("events", "detail")

    @cached_property
    def marks(self) -> tuple[tuple[int, str], ...]:
        """Return the marks beside a recording's data, within the range; without those that are in its events already."""
        found = () if isinstance(self.source, pd.DataFrame) else tuple((mark.time_ns, mark.text) for mark in self.source.marks)
        events = self.events
        if events is not None and len(events):
            marked = events[(events["kind"] == EventKind.MARK).to_numpy()]
            there = set(zip(times_ns(marked).tolist(), marked["detail"].astype(TEXT), strict=True))
            found = tuple(mark for mark in found if mark not in there)
        low = -math.inf if self.start is None else self.start.value
        high = math.inf if self.end is None else self.end.value
        return tuple(mark for mark in found if low <= mark[0] <= high)

    @cached_property
    def health(self) -> Any | None:
        """Return a live feed's counters, as they were when first asked for; None for other sources."""
        return self.source.health() if isinstance(self.source, LiveView) else None

    def ends(self) -> tuple[pd.Timestamp, pd.Timestamp] | None:
        """Return the times of the earliest and the latest packet, UTC; None where there is none."""
        ns = times_ns(self.packets)
        return None if not len(ns) else (pd.Timestamp(int(ns.min()), tz="UTC"), pd.Timestamp(int(ns.max()), tz="UTC"))

    @property
    def is_live(self) -> bool:
        """Return whether the source may still deliver, and the range reaches up to now."""
        return self.end is None and isinstance(self.source, LiveView) and str(self.source.state) in LIVE

    def _long(self, table: str, key: str) -> pd.DataFrame | None:
        if table in self.dropped:
            return None
        if isinstance(self.source, pd.DataFrame):
            return self._within(self.source) if key in self.source.columns else None
        read = {
            "agents": self.source.agents,
            "models": self.source.models,
            "logs": self.source.logs,
            "trades": self.source.trades,
            "events": self.source.events,
        }
        return self._within(read[table]())

    def _within(self, frame: pd.DataFrame) -> pd.DataFrame:
        hidden = [name for name in frame.columns if name in self.dropped]
        if hidden:  # blank, not gone: who reads a frame finds the columns that it expects
            frame = frame.assign(
                **{name: pd.Series(np.nan, frame.index, frame[name].dtype if _has_missing(frame[name]) else "float64") for name in hidden}
            )
        if self.start is None and self.end is None:
            return frame
        if not isinstance(frame.index, pd.DatetimeIndex) or frame.index.tz is None:
            raise AnalysisError("a range needs a frame with a DatetimeIndex that has a time zone")
        times = times_ns(frame)
        kept = np.ones(len(frame), dtype=bool)
        if self.start is not None:
            kept &= times >= self.start.value
        if self.end is not None:
            kept &= times <= self.end.value
        return frame[kept]


def _has_missing(column: pd.Series) -> bool:
    """Return whether the column's dtype has missing values; numpy's integers and booleans have none."""
    return not isinstance(column.dtype, np.dtype) or column.dtype.kind in "fO"
