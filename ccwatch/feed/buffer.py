"""The rolling buffer: the last hours of a stream as pandas frames, read by any thread.

Items wait until a caller reads or there are enough of them; then they are turned into columns together and appended to slabs, since
columns of one packet cost as much as columns of thirty. The module knows packets and events, but not where they come from.
"""

from __future__ import annotations

import math
import re
import threading
from collections import deque
from collections.abc import Callable, Sequence
from sys import getsizeof
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from ccwatch.errors import ConfigError
from ccwatch.feed.slab import Slab, Stale, Vocabularies
from ccwatch.protocol.columns import PACKETS, TABLES
from ccwatch.protocol.messages import Item, StateChange
from ccwatch.stream import dataframes
from ccwatch.stream.batch import Batch

ROWS_AT_FIRST: Final = 4096
ROWS_AT_ONCE: Final = 256
"""A larger batch is appended in parts: a slab always has room for one."""
MOVED_PER_ROW: Final = 64
"""Rows carried to the next slab for each one that is appended, so that no single append pays for the whole move. So many that the
move takes the last 64th of a slab's time: as long as it lasts, the rows are in memory twice."""
HEADROOM: Final = 4
"""A slab has room for a part in so many beyond the rows kept. Memory grows while the room is filled, long after the window is full;
filling it takes as long as that part of the window, and each row is copied so many times."""
LONG_ROWS_PER_PACKET: Final = 8
"""A long table holds at most this many rows for each packet that the buffer may hold."""

WAITING_BYTES: Final = 1 << 20
"""Waiting messages of this many bytes are taken in even when no caller reads."""
CHECKED: Final = 64
"""How many times the memory is checked while as many bytes arrive as the buffer may hold."""
ROW_BYTES: Final = 1024
"""Bytes that a packet takes beside its text, roughly, to decide when to check the memory."""
SLACK: Final = 2 * (1 + 1 / HEADROOM)
"""How many rows a slab and its successor have room for, at most, for each row kept."""
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
        self._max_rows = max_rows
        self._clean = _Table("packets", max_rows)
        self._unclean = _Table("packets", max_rows)
        self._packets = (self._clean.view(), self._unclean.view())  # one tuple: a reader of both must not see them apart
        self._long = {name: _Table(name, max_rows, LONG_ROWS_PER_PACKET) for name in TABLES if name != "packets"}
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

    def _tables(self) -> tuple[_Table, ...]:
        return (self._clean, self._unclean, *self._long.values())

    def receive(self, items: Sequence[Item]) -> None:
        """Take packets and events; every later read includes them."""
        batch = Batch.of(items)
        size = sum([len(item.raw) for item in batch if not isinstance(item, StateChange)])
        with self._lock:
            self._waiting.append(batch)
            self._waiting_rows += len(batch)
            self._waiting_bytes += size
            if self._waiting_rows >= ROWS_AT_ONCE or self._waiting_bytes >= WAITING_BYTES:
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

    def _shrink(self) -> list[_Table]:
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


def _in_arrival_order(clean: _View, unclean: _View, names: list[str], last: dataframes.Last) -> pd.DataFrame:
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


class _View(NamedTuple):
    """The rows that readers see, published as one tuple so that slab, start and end always belong together."""

    slab: Slab
    start: int
    end: int
    is_sorted: bool

    def frame(self, names: list[str] | None, last: dataframes.Last, *, sort: bool = True) -> pd.DataFrame:
        """Return these rows as a frame; sorting by time costs a copy only if a timestamp went back."""
        start = self.start
        if last is not None:
            start += dataframes.cut_last(self.slab.received[start : self.end], last)
        found = self.slab.frame(names, start, self.end)
        return found.sort_index(kind="stable") if sort and not self.is_sorted else found


class _Table:
    """One table: its slab, the one that follows it, and which of their rows are kept."""

    def __init__(self, name: str, max_packets: int, rows_per_packet: int = 1) -> None:
        columns = TABLES[name]
        self.dropped = self.evicted_by_window = self.evicted_by_rows = 0
        self._row_bytes = round(SLACK * sum(8 if column.dtype != "category" else 2 for column in columns) + 8 * SLACK)
        self._texts = [place for place, column in enumerate(columns) if column.dtype == "text"]
        self._text_bytes = 0
        self._sizes: deque[tuple[int, int]] = deque()
        """For the text of each batch kept: the row after its last one, counted from the first row ever, and its bytes."""
        self._gone = 0  # rows before the slab's first one
        self.start = 0
        """The first row of the slab that is still kept."""
        self._max_rows = max_packets * rows_per_packet
        self._rows_at_first = ROWS_AT_FIRST * rows_per_packet
        self._slab = Slab(columns, self._rows_at_first, Vocabularies(columns))
        self._tried_at = 0  # how many rows had been dropped when a full vocabulary was last rebuilt
        self._next: Slab | None = None
        self._next_from = 0  # the row of `_slab` that is the first one of `_next`
        self._has_new = False
        self._highest_ns = self._received_ns = -(2**63)
        self._last_unsorted = 0  # the newest row whose time lies before that of an older row

    def __len__(self) -> int:
        return self._slab.end - self.start

    @property
    def bytes(self) -> int:
        """Return the bytes that the kept rows and their text take, including the spare room for moving them."""
        return len(self) * self._row_bytes + self._text_bytes

    def evict_one(self) -> None:
        """Drop the oldest row, since there are too many."""
        self.start += 1
        self.evicted_by_rows += 1

    def evict_oldest(self) -> int:
        """Drop the oldest rows, since they take too many bytes: a batch with text, or a sixteenth of all; return how many were dropped."""
        if len(self) <= 1:
            return 0
        before = self.start
        self.start = min(self._slab.end - 1, before + max(1, len(self) // 16))
        if self._sizes and self._text_bytes > len(self) * self._row_bytes:
            self.start = min(self.start, max(before + 1, self._sizes[0][0] - self._gone))
        self._forget_sizes()
        return self.start - before

    def release(self) -> None:
        """Free the text of rows that are no longer kept."""
        if self._texts:
            self._forget_sizes()
            self._slab.release(self.start)
            if self._next is not None:
                self._next.release(min(self._next.end, self.start - self._next_from))

    def _forget_sizes(self) -> None:
        sizes, first = self._sizes, self._gone + self.start
        while sizes and sizes[0][0] <= first:
            self._text_bytes -= sizes.popleft()[1]

    def first_seq(self) -> float:
        """Return the `seq` of the oldest row kept; inf if there is none."""
        return self._slab.seq_view[self.start] if len(self) else math.inf

    def extend(self, batch: dataframes.Batch) -> None:
        """Take rows in their order; the next `view` after `settle` has them."""
        count = len(batch[0])
        for begin in range(0, count, ROWS_AT_ONCE):
            part = batch if count <= ROWS_AT_ONCE else [values[begin : begin + ROWS_AT_ONCE] for values in batch]
            self._append(part)

    def settle(self, oldest_ns: int) -> bool:
        """Drop rows beyond the limit or received before `oldest_ns`; return whether anything changed since the last call."""
        is_new, self._has_new = self._has_new, False
        slab, before = self._slab, self.start
        received, start, end = slab.received_view, before, slab.end
        while start < end and received[start] < oldest_ns:
            start += 1
        self.evicted_by_window += start - before
        if end - start > self._max_rows:
            self.evicted_by_rows += end - self._max_rows - start
            start = end - self._max_rows
        self.start = start
        return is_new or start != before

    def view(self) -> _View:
        """Return the rows that readers may see now."""
        return _View(self._slab, self.start, self._slab.end, self._last_unsorted <= self.start)

    def _append(self, part: dataframes.Batch) -> None:
        """Take rows into the slab, and carry some older ones to the slab that follows when this one is nearly full."""
        if self._slab.end + len(part[0]) > self._slab.capacity:
            self._switch()
        coded = self._slab.vocabularies.encode(part)
        if self._slab.is_outgrown():
            self._next = None  # begun with codes as narrow as this slab's
            self._begin_next(forget=False)
            self._switch()
            coded = self._slab.vocabularies.encode(part)  # the words may have other codes there
        left = self._gone + self.start
        if len(coded[0]) < len(part[0]) and left > self._tried_at and (left >= self._tried_at + ROWS_AT_ONCE or not len(self)):
            self._tried_at = left  # a vocabulary is full: words that left the window make room
            self._next = None
            self._switch()
            coded = self._slab.vocabularies.encode(part)
        self.dropped += len(part[0]) - len(coded[0])
        if coded[0]:
            self._put(coded)

    def _put(self, coded: dataframes.Batch) -> None:
        slab, count = self._slab, len(coded[0])
        self._note_order(coded[0], slab.end)
        slab.append(coded)
        received = coded[-1]
        if received[0] < self._received_ns or (len(received) > 1 and sorted(received) != [*received]):
            self._age_rows()
        self._received_ns = received[-1]
        if self._texts:
            size = sum([sum(map(getsizeof, filter(None, coded[place]))) for place in self._texts])
            if size:
                self._text_bytes += size
                self._sizes.append((self._gone + slab.end, size))
        self._has_new = True
        if (slab.capacity - slab.end - ROWS_AT_ONCE) * MOVED_PER_ROW <= len(self):
            self._move_some(MOVED_PER_ROW * count)

    def _age_rows(self) -> None:
        """Have the receive times never fall, since the wall clock was stepped back: otherwise older rows would not leave the window."""
        slab, following = self._slab, self._next
        aged = dataframes.never_falling(slab.received[self.start : slab.end])
        slab.received[self.start : slab.end] = aged
        if following is not None:
            first = max(self.start, self._next_from)
            copied = max(0, self._next_from + following.end - first)
            following.received[first - self._next_from :][:copied] = aged[first - self.start :][:copied]

    def _note_order(self, times: Sequence[int], first: int) -> None:
        """Note which of the rows from `first` on have a time before that of an older row."""
        if times[0] >= self._highest_ns and sorted(times) == [*times]:
            self._highest_ns = times[-1]
            return
        for row, time_ns in enumerate(times, start=first):
            if time_ns < self._highest_ns:
                self._last_unsorted = row
            else:
                self._highest_ns = time_ns

    def _begin_next(self, *, forget: bool) -> None:
        """Begin the slab that follows, without the words that left the window where it may `forget` them."""
        slab = self._slab
        self._next_from = self.start
        kept = len(self) + len(self) // MOVED_PER_ROW + ROWS_AT_ONCE  # with those that come while it is moved
        self._next = slab.successor(max(kept + kept // HEADROOM + ROWS_AT_ONCE, self._rows_at_first), self.start, forget=forget)

    def _move_some(self, rows: int) -> None:
        if self._next is None:
            self._begin_next(forget=True)
        assert self._next is not None  # noqa: S101 - it has just begun
        begin = self._next_from + self._next.end
        if not self._next.copy_rows(self._slab, begin, min(self._slab.end, begin + rows)):
            self._next = None

    def _switch(self) -> None:
        """Replace the slab by the next one."""
        old = self._slab
        while self._next is None or self._next_from + self._next.end < old.end:
            self._move_some(old.capacity)
        self._slab, self._next = self._next, None
        self._gone += self._next_from
        self.start -= self._next_from
        self._last_unsorted = max(0, self._last_unsorted - self._next_from)
