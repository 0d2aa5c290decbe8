"""Parts of a session, and sessions one after the other, as sources for a Report. They know tables, not questions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np
import pandas as pd

from ccwatch.stream.dataframes import default_columns

LONG: Final = ("agents", "models", "logs", "events")
"""Tables that questions read, beside the packets."""


class View:
    """Tables in memory, with the methods of a Recording that a Report calls."""

    marks: tuple[Any, ...] = ()

    def __init__(self, packets: pd.DataFrame, tables: dict[str, pd.DataFrame], *, origin: str, name: str) -> None:
        self._packets = packets
        self._tables = tables
        self.origin = origin
        self.url = name

    def frame(self, columns: Sequence[str] | None = None, *, clean: bool = False, **_: object) -> pd.DataFrame:
        """Return the packets, in order of arrival."""
        del clean  # a Report leaves out itself what is not clean
        return self._packets if columns is None else self._packets[[name for name in columns if name in self._packets.columns]]

    def agents(self) -> pd.DataFrame:
        """Return the agents table."""
        return self._tables["agents"]

    def models(self) -> pd.DataFrame:
        """Return the models table."""
        return self._tables["models"]

    def logs(self) -> pd.DataFrame:
        """Return the logs table."""
        return self._tables["logs"]

    def events(self) -> pd.DataFrame:
        """Return the events table."""
        return self._tables["events"]


class Part:
    """The packets of a session that have one value in a column, such as a regime; where others lie between them is a gap."""

    marks: tuple[Any, ...] = ()

    def __init__(self, source: Any, column: str, value: str, *, broken: bool) -> None:
        """Prepare the part; nothing is read yet.

        Args:
            source: a Recording.
            column: "symbol" or "regime".
            value: the value of the packets to keep.
            broken: whether packets that are left out between two others make a gap there.
        """
        self._source, self._column, self._value, self._broken = source, column, value, broken
        self.origin = source.origin
        self.url = f"{source.path.name} {value}"

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

    def frame(self, columns: Sequence[str] | None = None, *, clean: bool = False, **_: object) -> pd.DataFrame:
        """Return the packets, in order of arrival."""
        del clean
        found: pd.DataFrame = self._packets[[*default_columns("packets")]] if columns is None else self._packets[list(columns)]
        return found

    def agents(self) -> pd.DataFrame:
        """Return the agents table of these packets."""
        return self._long(self._source.agents())

    def models(self) -> pd.DataFrame:
        """Return the models table of these packets."""
        return self._long(self._source.models())

    def logs(self) -> pd.DataFrame:
        """Return the logs table of these packets."""
        return self._long(self._source.logs())

    def events(self) -> pd.DataFrame:
        """Return the whole events table."""
        found: pd.DataFrame = self._source.events()
        return found

    def _long(self, table: pd.DataFrame) -> pd.DataFrame:
        return table[np.isin(table["seq"].to_numpy(), self._packets["seq"].to_numpy())]


def concatenated(sources: Iterable[Any], *, tables: Sequence[str] = LONG, name: str = "the archive") -> View:
    """Return sessions one after the other, as one received over several connections, with a gap between each two.

    Args:
        sources: Recordings, in order of time.
        tables: the long tables to read; the others are empty.
        name: the name of the whole.
    """
    frames: list[pd.DataFrame] = []
    longs: dict[str, list[pd.DataFrame]] = {table: [] for table in LONG}
    seq = connection = 0
    origins = set()
    for source in sources:
        packets = source.frame([*default_columns("packets"), "extra"], clean=False)
        shifted = _shifted(seq, connection)
        frames.append(shifted(packets))
        for table in LONG:
            rows = getattr(source, table)() if table in tables else getattr(source, table)(last=0)
            longs[table].append(shifted(rows))
        last = [int(rows["seq"].max()) for rows in (packets, longs["events"][-1]) if len(rows)]
        seq = max([seq, *last, *(int(rows["seq"].max()) for rows in frames[-1:] if len(rows))]) + 1
        connection = max([connection, *(int(rows["connection"].max()) for rows in frames[-1:] if len(rows))]) + 1
        origins.add(source.origin)
    whole = {table: _joined(parts) for table, parts in longs.items()}
    return View(_joined(frames), whole, origin="synthetic" if "synthetic" in origins else " ".join(sorted(origins)), name=name)


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
