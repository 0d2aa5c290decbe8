"""The rolling buffer: the last hours of a stream as pandas frames, read by any thread.

Items wait until a caller reads or there are enough of them; then they are turned into columns together and appended to slabs, since
columns of one packet cost as much as columns of thirty. The module knows packets and events, but not where they come from.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import pandas as pd

from ccwatch.errors import ConfigError
from ccwatch.feed import buffer_table
from ccwatch.feed.buffer_table import BufferTable, TableView
from ccwatch.feed.heap import Heap
from ccwatch.feed.slab import Stale
from ccwatch.protocol.columns import PACKETS, TABLES
from ccwatch.protocol.messages import Item, StateChange
from ccwatch.stream import dataframes
from ccwatch.stream.batch import Batch

LONG_ROWS_PER_PACKET: Final = 8
"""A long table holds at most this many rows for each packet that the buffer may hold."""

WAITING_BYTES: Final = 1 << 20
"""Waiting messages of this many bytes are taken in even when no caller reads."""
CHECKED: Final = 64
"""How many times the memory is checked while as many bytes arrive as the buffer may hold."""
ROW_BYTES: Final = 1024
"""Bytes that a packet takes beside its text, roughly, to decide when to check the memory."""
_SIZE: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*(|[kKmMgGtT]?i?[bB])")
_UNITS: Final = {"": 1, "B": 1, "IB": 1} | {
    letter + suffix: base**power for power, letter in enumerate("KMGT", 1) for suffix, base in (("B", 1000), ("IB", 1024))
}


class RollingBuffer:
    """Frames of the last `window` of received time, at most `max_rows` packets."""

    def __init__(self, *, window: str = "8h", max_rows: int = 1_000_000, memory: str | int = "1GB") -> None:
        """Make an empty buffer.

        Args:
            window: how much received time to keep.
            max_rows: how many packets to keep at most; each long table keeps at most 8 times as many rows.
            memory: how many bytes its rows and their text may take, such as "1GB"; beyond it, the largest table drops its oldest rows.

        Raises:
            ConfigError: not a length of time, or not a size.
        """
        self._window_ns = dataframes.span_ns(window)
        self._memory = parse_size(memory)
        self._evicted_bytes = self._unchecked = 0
        self._waiting: list[Batch] = []
        self._waiting_rows = 0
        self._waiting_bytes = 0
        self._lock = threading.Lock()  # guards the waiting items on their way into the slabs: the feed's thread puts, readers fetch
        self._heap = Heap()
        self._max_rows = max_rows
        self._clean = BufferTable("packets", max_rows)
        self._unclean = BufferTable("packets", max_rows)
        self._packets = (self._clean.view(), self._unclean.view())  # one tuple: a reader of both must not see them apart
        self._long = {name: BufferTable(name, max_rows, LONG_ROWS_PER_PACKET) for name in TABLES if name != "packets"}
        self._views = {name: table.view() for name, table in self._long.items()}

    @property
    def dropped(self) -> int:
        """Return how many rows were not kept because their words flooded a vocabulary."""
        self._fetch()
        return sum(table.dropped for table in (self._clean, self._unclean, *self._long.values()))

    @property
    def evicted(self) -> dict[str, int]:
        """Return how many rows were dropped, by the limit that caused it: window, rows, bytes."""
        self._fetch()
        tables = self._tables()
        rows = sum(table.evicted_by_rows for table in tables)
        return {"window": sum(table.evicted_by_window for table in tables), "rows": rows, "bytes": self._evicted_bytes}

    @property
    def bytes(self) -> int:
        """Return the bytes that its rows and their text take, including the spare room for moving them."""
        self._fetch()
        return sum(table.bytes for table in self._tables())

    def _tables(self) -> tuple[BufferTable, ...]:
        return (self._clean, self._unclean, *self._long.values())

    def receive(self, items: Sequence[Item]) -> None:
        """Take packets and events; every later read includes them."""
        batch = Batch.of(items)
        size = sum([len(item.raw) for item in batch if not isinstance(item, StateChange)])
        with self._lock:
            self._waiting.append(batch)
            self._waiting_rows += len(batch)
            self._waiting_bytes += size
            if self._waiting_rows >= buffer_table.ROWS_AT_ONCE or self._waiting_bytes >= WAITING_BYTES:
                self._take_in()

    def _fetch(self) -> None:
        """Take in the waiting items before a read."""
        with self._lock:
            if self._waiting:
                self._take_in()

    def orphan(self) -> None:
        """Replace the lock in a forked child, where the thread that may have held it does not exist."""
        self._lock = threading.Lock()

    def _take_in(self) -> None:
        """Append the waiting items, then publish them."""
        batch, self._waiting = Batch.joined(self._waiting), []
        self._unchecked += self._waiting_bytes + ROW_BYTES * self._waiting_rows
        self._waiting_bytes = self._waiting_rows = 0
        for table, rows in zip((self._clean, self._unclean), batch.split(), strict=True):
            if rows:
                table.extend(rows)
        for name, table in self._long.items():
            if rows := batch.table(name):
                table.extend(rows)
        newest = next((item for item in reversed(batch) if not isinstance(item, StateChange)), None)
        if newest is not None:
            self._publish(newest.received_at_ns - self._window_ns)
        self._heap.give_back()

    def _publish(self, oldest_ns: int) -> None:
        """Publish the new rows to readers, and drop the rows that have left the window."""
        clean, unclean = self._clean, self._unclean
        changed = [table for table in self._tables() if table.settle(oldest_ns)]
        while len(clean) + len(unclean) > self._max_rows:
            (clean if clean.first_seq() < unclean.first_seq() else unclean).evict_one()
        if self._unchecked * CHECKED >= self._memory:
            self._unchecked = 0
            changed += self._shrink()
        if clean in changed or unclean in changed:
            self._packets = (clean.view(), unclean.view())
        for name, table in self._long.items():
            if table in changed:
                self._views[name] = table.view()
        for table in changed:
            table.release()

    def _shrink(self) -> list[BufferTable]:
        """Drop the oldest rows of the largest table until the bytes fit; return the tables that have lost rows."""
        tables = self._tables()
        given = []
        while sum(table.bytes for table in tables) > self._memory:
            largest = max(tables, key=lambda table: table.bytes)
            count = largest.evict_oldest()
            if not count:
                break  # one message alone is larger
            self._evicted_bytes += count
            given.append(largest)
        return given

    def frame(
        self,
        columns: Sequence[str] | None = None,
        last: dataframes.Last = None,
        *,
        clean: bool = True,
        fill: bool = False,
        symbol: str | None = None,
    ) -> pd.DataFrame:
        """Return the packets table; see `Feed.frame`."""
        self._fetch()
        return _until_current(lambda: self._frame(columns, last, clean=clean, fill=fill, symbol=symbol))

    def _frame(self, columns: Sequence[str] | None, last: dataframes.Last, *, clean: bool, fill: bool, symbol: str | None) -> pd.DataFrame:
        if clean and not fill and symbol is None:
            return self._packets[0].frame(None if columns is None else dataframes.resolve("packets", columns), last)
        names = dataframes.resolve("packets", columns)
        clean_rows, unclean_rows = self._packets
        wanted = dataframes.needed(names, clean=clean, fill=fill, symbol=symbol)
        if clean:
            frame = clean_rows.frame(wanted, last)
        else:
            wanted += [name for name in ("seq", "received_at") if name not in wanted]
            frame = _in_arrival_order(clean_rows, unclean_rows, wanted, last)
        return dataframes.tidy(frame, clean=clean, fill=fill, symbol=symbol)[names]

    def long(self, table: str, last: dataframes.Last = None) -> pd.DataFrame:
        """Return a long table, in order of arrival."""
        self._fetch()
        return _until_current(lambda: self._views[table].frame(dataframes.default_columns(table), last, sort=False))


def _until_current(read: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Return the result of `read`, called again if rows left the window while it ran."""
    while True:
        try:
            return read()
        except Stale:
            continue


def parse_size(size: str | int) -> int:
    """Return a size in bytes: a number, or text such as "1GB", "512 MB", "64MiB".

    Raises:
        ConfigError: not a size above zero.
    """
    found = _SIZE.fullmatch(size.strip()) if isinstance(size, str) else None
    if isinstance(size, int) and not isinstance(size, bool) and size > 0:
        return size
    if found is None or not float(found[1]):
        raise ConfigError(f"memory={size!r} is no size; expected for example '1GB', '512MB' or a number of bytes")
    return max(1, int(float(found[1]) * _UNITS[found[2].upper()]))


def _in_arrival_order(clean: TableView, unclean: TableView, names: list[str], last: dataframes.Last) -> pd.DataFrame:
    if unclean.start == unclean.end:
        return clean.frame(names, last, sort=False)
    both = pd.concat([_plain_words(view.frame(names, None, sort=False)) for view in (clean, unclean)])
    both = both.iloc[np.argsort(both["seq"].to_numpy(), kind="stable")]
    received = both["received_at"].to_numpy(dtype="M8[ns]").view(np.int64)
    both = both.iloc[dataframes.cut_last(dataframes.never_falling(received), last) :]
    for column in PACKETS:
        if column.dtype == "category" and column.name in both.columns:
            both[column.name] = dataframes.categorical(column, both[column.name].to_numpy(dtype=object))
    return both


def _plain_words(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with categories as plain objects, so that frames of different vocabularies can be joined without loss."""
    return frame.astype({name: object for name in frame.columns if isinstance(frame[name].dtype, pd.CategoricalDtype)})
