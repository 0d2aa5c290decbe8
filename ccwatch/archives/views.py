"""Parts of a session, and sessions one after the other, as sources for a Report. They know tables, not questions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np
import pandas as pd

from ccwatch.recording import Recording
from ccwatch.stream.dataframes import Last, default_columns
from ccwatch.stream.table_reader import TableReader
from ccwatch.stream.view import Marked

LONG: Final = ("agents", "models", "logs", "trades", "events")
"""Tables that questions read, beside the packets."""


class View(TableReader):
    """Tables in memory, with the methods of a Recording that a Report calls."""

    def __init__(self, packets: pd.DataFrame, tables: dict[str, pd.DataFrame], *, origin: str, name: str, virtual_clock: bool) -> None:
        self._packets = packets
        self._tables = tables
        self._origin, self._label = origin, name
        self.virtual_clock = virtual_clock

    @property
    def origin(self) -> str:
        """Return where the sessions came from."""
        return self._origin

    @property
    def label(self) -> str:
        """Return the name of the whole."""
        return self._label

    def frame(self, columns: Sequence[str] | None = None, last: Last = None, *, clean: bool = False) -> pd.DataFrame:
        """Return the packets, in order of arrival."""
        del last, clean  # a Report asks for all, and leaves out itself what is not clean
        return self._packets if columns is None else self._packets[[name for name in columns if name in self._packets.columns]]

    def _long(self, table: str, last: Last) -> pd.DataFrame:
        del last
        return self._tables[table]


class Part(TableReader):
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
        self.virtual_clock = source.virtual_clock

    @property
    def origin(self) -> str:
        """Return where the session came from."""
        return self._source.origin

    @property
    def label(self) -> str:
        """Return the session's name and the value."""
        return f"{self._source.label} {self._value}"

    @property
    def marks(self) -> Sequence[Marked]:
        """Return the session's marks."""
        return self._source.marks

    @cached_property
    def _packets(self) -> pd.DataFrame:
        whole = self._source.frame([*default_columns("packets"), "extra"], clean=False)
        kept = (whole[self._column] == self._value).to_numpy(dtype=bool)
        found: pd.DataFrame = whole[kept]
        if self._broken:  # a new connection is what a question takes for a break
            places = np.flatnonzero(kept)
            stretch = np.cumsum(np.append(False, np.diff(places) > 1)) if len(places) else places
            found = found.assign(connection=(stretch + found["connection"].to_numpy() * (len(whole) + 1)).astype(np.int64))
        return found

    def frame(self, columns: Sequence[str] | None = None, last: Last = None, *, clean: bool = False) -> pd.DataFrame:
        """Return the packets, in order of arrival."""
        del last, clean
        found: pd.DataFrame = self._packets[[*default_columns("packets")]] if columns is None else self._packets[list(columns)]
        return found

    def _long(self, table: str, last: Last) -> pd.DataFrame:
        """Return a table's rows of these packets; of the events all."""
        del last
        rows = long_table(self._source, table)
        return rows if table == "events" else rows[np.isin(rows["seq"].to_numpy(), self._packets["seq"].to_numpy())]


def long_table(source: TableReader, table: str) -> pd.DataFrame:
    """Return one of the tables in `LONG`."""
    read = {"agents": source.agents, "models": source.models, "logs": source.logs, "trades": source.trades, "events": source.events}
    return read[table]()


def concatenated(sources: Iterable[Recording | View | Part], *, name: str = "the archive") -> View:
    """Return sessions one after the other, as one received over several connections, with a gap between each two.

    Args:
        sources: Recordings, in order of time.
        name: the name of the whole.
    """
    frames: list[pd.DataFrame] = []
    longs: dict[str, list[pd.DataFrame]] = {table: [] for table in LONG}
    seq = connection = 0
    origins = set()
    clocks = set()
    for source in sources:
        packets = source.frame([*default_columns("packets"), "extra"], clean=False)
        shifted = _shifted(seq, connection)
        frames.append(shifted(packets))
        for table in LONG:
            longs[table].append(shifted(long_table(source, table)))
        last = [int(rows["seq"].max()) for rows in (packets, longs["events"][-1]) if len(rows)]
        seq = max([seq, *last, *(int(rows["seq"].max()) for rows in frames[-1:] if len(rows))]) + 1
        connection = max([connection, *(int(rows["connection"].max()) for rows in frames[-1:] if len(rows))]) + 1
        origins.add(source.origin)
        clocks.add(source.virtual_clock)
    whole = {table: _joined(parts) for table, parts in longs.items()}
    origin = "synthetic" if "synthetic" in origins else " ".join(sorted(origins))
    return View(_joined(frames), whole, origin=origin, name=name, virtual_clock=any(clocks))


def _shifted(seq: int, connection: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def shift(rows: pd.DataFrame) -> pd.DataFrame:
        changed: dict[str, Any] = {"seq": rows["seq"].to_numpy() + np.uint64(seq)}
        if "connection" in rows.columns:
            changed["connection"] = (rows["connection"].to_numpy() + np.int32(connection)).astype(np.int32)
        return rows.assign(**changed)

    return shift


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
