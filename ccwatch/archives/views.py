"""Parts of a session, and sessions one after the other, as sources for a Report: read when asked. They know tables, not questions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np
import pandas as pd

from ccwatch.recording import Recording
from ccwatch.stream.dataframes import Last
from ccwatch.stream.table_reader import TableReader
from ccwatch.stream.view import Marked

LONG: Final = ("agents", "models", "logs", "trades", "events")
"""Tables that questions read, beside the packets."""


class Excerpt(TableReader):
    """A source of which a part is read; what is not said otherwise is the source's own."""

    _source: Recording | Part | Range

    @property
    def virtual_clock(self) -> bool:
        """Return whether the stream's times run faster than the receiver's clock; it is not read before it is asked for."""
        return self._source.virtual_clock

    @property
    def origin(self) -> str:
        """Return where the source came from."""
        return self._source.origin

    @property
    def label(self) -> str:
        """Return the name of the source."""
        return self._source.label

    @property
    def marks(self) -> Sequence[Marked]:
        """Return the source's marks."""
        return self._source.marks


class Narrow(Excerpt):
    """A source of which only these columns of the packets are read, where all would be."""

    def __init__(self, source: Recording | Part | Range, columns: Sequence[str]) -> None:
        self._source, self._columns = source, columns

    def frame(self, columns: Sequence[str] | None = None, last: Last = None, *, clean: bool = False) -> pd.DataFrame:
        """Return the packets, in order of arrival."""
        del last, clean
        return self._source.frame(self._columns if columns is None else columns, clean=False)

    def _long(self, table: str, last: Last) -> pd.DataFrame:
        del last
        return long_table(self._source, table)


class Part(Excerpt):
    """The packets of a session that have one value in a column, such as a regime; where others lie between them is a gap."""

    def __init__(self, source: Recording, column: str, value: str, *, broken: bool) -> None:
        """Prepare the part; nothing is read yet.

        Args:
            source: a Recording.
            column: "symbol" or "regime".
            value: the value of the packets to keep.
            broken: whether packets that are left out between two others make a gap there.
        """
        self._source, self._column, self._value, self._broken = source, column, value, broken

    @property
    def label(self) -> str:
        """Return the name of the session and the value."""
        return f"{self._source.label} {self._value}"

    @cached_property
    def _kept(self) -> tuple[Any, Any, Any]:
        """Return which packets are kept (a bool each), and of these the connections and seqs."""
        whole = self._source.frame([self._column, "connection", "seq"], clean=False)
        kept = (whole[self._column] == self._value).to_numpy(dtype=bool)
        connections = whole["connection"].to_numpy()[kept]
        if self._broken:  # a new connection is what a question takes for a break
            places = np.flatnonzero(kept)
            stretch = np.cumsum(np.append(False, np.diff(places) > 1)) if len(places) else places
            connections = (stretch + connections * (len(whole) + 1)).astype(np.int64)
        return kept, connections, whole["seq"].to_numpy()[kept]

    def frame(self, columns: Sequence[str] | None = None, last: Last = None, *, clean: bool = False) -> pd.DataFrame:
        """Return the packets, in order of arrival."""
        del last, clean  # a Report asks for all, and leaves out itself what is not clean
        kept, connections, _ = self._kept
        whole = self._source.frame(columns, clean=False).iloc[: len(kept)]  # a running session may have grown meanwhile
        found: pd.DataFrame = whole[kept]
        return found.assign(connection=connections) if "connection" in found.columns else found

    def _long(self, table: str, last: Last) -> pd.DataFrame:
        """Return a table's rows of these packets; of the events all."""
        del last
        rows = long_table(self._source, table)
        return rows if table == "events" else rows[np.isin(rows["seq"].to_numpy(), self._kept[2])]


class Range(Excerpt):
    """The rows of a source within a range of time, closed at both ends."""

    def __init__(self, source: Recording | Part, start: pd.Timestamp, end: pd.Timestamp) -> None:
        self._source, self._start, self._end = source, start, end

    @property
    def marks(self) -> Sequence[Marked]:
        """Return the marks within the range."""
        return tuple(mark for mark in self._source.marks if self._start.value <= mark.time_ns <= self._end.value)

    def frame(self, columns: Sequence[str] | None = None, last: Last = None, *, clean: bool = False) -> pd.DataFrame:
        """Return the packets, in order of arrival."""
        del last, clean
        return self._within(self._source.frame(columns, clean=False))

    def _long(self, table: str, last: Last) -> pd.DataFrame:
        del last
        return self._within(long_table(self._source, table))

    def _within(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows[np.asarray((rows.index >= self._start) & (rows.index <= self._end))]


class Joined(TableReader):
    """Sessions one after the other, as one received over several connections, with a gap between each two."""

    def __init__(self, sources: Sequence[Recording | Part | Range], *, name: str = "the archive") -> None:
        """Prepare the whole; nothing is read yet.

        Args:
            sources: in order of time.
            name: the name of the whole.
        """
        self._sources = sources
        self._name = name

    @property
    def virtual_clock(self) -> bool:
        """Return whether the stream's times run faster than the receiver's clock; it is not read before it is asked for."""
        return any(source.virtual_clock for source in self._sources)

    @property
    def origin(self) -> str:
        """Return where the sessions came from."""
        origins = {source.origin for source in self._sources}
        return "synthetic" if "synthetic" in origins else " ".join(sorted(origins))

    @property
    def label(self) -> str:
        """Return the name of the whole."""
        return self._name

    @property
    def marks(self) -> Sequence[Marked]:
        """Return the marks of all sessions."""
        return tuple(mark for source in self._sources for mark in source.marks)

    @cached_property
    def _before(self) -> list[tuple[int, int, int]]:
        """Return how far each session's seqs, connections and monotonic times are moved, so that they follow on those before it.

        Monotonic times, which begin again at each start of a machine, become the receiver's wall clock at the session's first packet.
        """
        found = []
        seq = connection = 0
        for source in self._sources:
            packets, events = source.frame(["seq", "connection", "received_at", "received_mono_ns"], clean=False), source.events()
            found.append((seq, connection, _clock_offset(packets)))
            seq = max([seq, *(seq + int(rows["seq"].max()) for rows in (packets, events) if len(rows))]) + 1
            connection += (int(packets["connection"].max()) if len(packets) else 0) + 1
        return found

    def frame(self, columns: Sequence[str] | None = None, last: Last = None, *, clean: bool = False) -> pd.DataFrame:
        """Return the packets, in order of arrival."""
        del last, clean
        return self._of_all([source.frame(columns, clean=False) for source in self._sources])

    def _long(self, table: str, last: Last) -> pd.DataFrame:
        del last
        return self._of_all([long_table(source, table) for source in self._sources])

    def _of_all(self, parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
        return _joined([_shifted(rows, *before) for rows, before in zip(parts, self._before, strict=True)])


def long_table(source: TableReader, table: str) -> pd.DataFrame:
    """Return one of the tables in `LONG`."""
    read = {"agents": source.agents, "models": source.models, "logs": source.logs, "trades": source.trades, "events": source.events}
    return read[table]()


def _clock_offset(packets: pd.DataFrame) -> int:
    """Return the receiver's wall clock less its monotonic one at the first packet, ns; 0 without packets."""
    if not len(packets):
        return 0
    return int(pd.DatetimeIndex(packets["received_at"].iloc[:1]).as_unit("ns").asi8[0]) - int(packets["received_mono_ns"].iloc[0])


def _shifted(rows: pd.DataFrame, seq: int, connection: int, mono_ns: int) -> pd.DataFrame:
    changed: dict[str, Any] = {}
    if "seq" in rows.columns:
        changed["seq"] = rows["seq"].to_numpy() + np.uint64(seq)
    if "connection" in rows.columns:
        connections = rows["connection"].to_numpy()
        changed["connection"] = (connections + connection).astype(connections.dtype)
    if "received_mono_ns" in rows.columns:
        changed["received_mono_ns"] = rows["received_mono_ns"].to_numpy(dtype=np.int64) + mono_ns
    return rows.assign(**changed) if changed else rows


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of frames of one shape as one frame, with the union of their categories."""
    filled = [part for part in parts if len(part)] or parts[:1]
    if len(filled) == 1:
        return filled[0]
    words = {name for name in filled[0].columns if any(isinstance(part[name].dtype, pd.CategoricalDtype) for part in filled)}
    columns: dict[str, Any] = {}
    for name in filled[0].columns:
        if name in words:
            columns[name] = pd.api.types.union_categoricals([part[name].array for part in filled])
        else:
            columns[name] = pd.concat([part[name] for part in filled], ignore_index=True).array
    index = filled[0].index.append([part.index for part in filled[1:]])
    return pd.DataFrame(columns, index=index)
