"""One table of the rolling buffer: its slab, the one that follows it, and which of their rows are kept."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from sys import getsizeof
from typing import Final, NamedTuple

import pandas as pd

from ccwatch.feed.slab import Slab, Vocabularies
from ccwatch.protocol.columns import TABLES
from ccwatch.stream import dataframes

ROWS_AT_FIRST: Final = 4096
ROWS_AT_ONCE: Final = 256
"""A larger batch is appended in parts: a slab always has room for one."""
MOVED_PER_ROW: Final = 64
"""Rows carried to the next slab for each one that is appended, so that no single append pays for the whole move. So many that the
move takes the last 64th of a slab's time: as long as it lasts, the rows are in memory twice."""
HEADROOM: Final = 4
"""A slab has room for a part in so many beyond the rows kept. Memory grows while the room is filled, long after the window is full;
filling it takes as long as that part of the window, and each row is copied so many times."""
SLACK: Final = 2 * (1 + 1 / HEADROOM)
"""How many rows a slab and its successor have room for, at most, for each row kept."""


class TableView(NamedTuple):
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


class BufferTable:
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

    def view(self) -> TableView:
        """Return the rows that readers may see now."""
        return TableView(self._slab, self.start, self._slab.end, self._last_unsorted <= self.start)

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
        """Make the receive times never fall after the wall clock was stepped back: otherwise older rows would not leave the window."""
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
