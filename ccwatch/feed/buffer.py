"""The rolling buffer: the last hours of a stream as pandas frames, written by one thread and read by any without a lock.

Each batch of packets is turned into columns once and appended to slabs. It knows packets and events, but not where they come from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from ccwatch.feed.slab import Slab, Vocabularies
from ccwatch.protocol.columns import PACKETS, TABLES
from ccwatch.protocol.messages import UNCLEAN, Event, Item, Packet
from ccwatch.stream import frames

ROWS_AT_FIRST: Final = 4096
ROWS_AT_ONCE: Final = 256
"""A larger batch is appended in parts: a slab always has room for one."""
MOVED_PER_ROW: Final = 8
"""Rows carried to the next slab for each one that is appended, so that no single append pays for the whole move."""
LONG_ROWS_PER_PACKET: Final = 8
"""A long table holds at most this many rows for each packet that the buffer may hold."""

_UNCLEAN: Final = int(UNCLEAN)


class RollingBuffer:
    """Frames of the last `window` of received time, at most `max_rows` packets. `receive` belongs to one thread."""

    def __init__(self, *, window: str = "8h", max_rows: int = 1_000_000) -> None:
        """An empty buffer.

        Args:
            window: how much received time to keep.
            max_rows: how many packets to keep at most; each long table keeps at most 8 times as many rows.

        Raises:
            ConfigError: not a length of time.
        """
        self._window_ns = frames.span_ns(window)
        self._max_rows = max_rows
        self._clean = _Table("packets", max_rows)
        self._unclean = _Table("packets", max_rows)
        self._packets = (self._clean.view(), self._unclean.view())  # one tuple: a reader of both must not see them apart
        self._long = {name: _Table(name, max_rows, LONG_ROWS_PER_PACKET) for name in TABLES if name != "packets"}
        self._views = {name: table.view() for name, table in self._long.items()}

    @property
    def dropped(self) -> int:
        """Rows that were not kept because their words flooded a vocabulary."""
        return sum(table.dropped for table in (self._clean, self._unclean, *self._long.values()))

    def receive(self, items: Sequence[Item]) -> None:
        """Append packets and events, then publish them."""
        kept = [item for item in items if isinstance(item, (Packet, Event))]
        if not kept:
            return
        packets = [item for item in kept if isinstance(item, Packet)]
        unclean = [packet for packet in packets if packet.flags & _UNCLEAN]
        clean = packets if not unclean else [packet for packet in packets if not packet.flags & _UNCLEAN]
        if clean:
            self._clean.extend(frames.packet_batch(clean))
        if unclean:
            self._unclean.extend(frames.packet_batch(unclean))
        for name in frames.LONG:
            batch = frames.long_batch(name, packets)
            if batch:
                self._long[name].extend(batch)
        if len(packets) < len(kept):
            self._long["events"].extend(frames.event_batch([item for item in kept if isinstance(item, Event)]))
        self._publish(kept[-1].received_at_ns - self._window_ns)

    def _publish(self, oldest_ns: int) -> None:
        """Let readers see what was taken, and let go of what has left the window."""
        clean, unclean = self._clean, self._unclean
        if clean.settle(oldest_ns) | unclean.settle(oldest_ns):
            while len(clean) + len(unclean) > self._max_rows:
                (clean if clean.first_seq() < unclean.first_seq() else unclean).start += 1
            self._packets = (clean.view(), unclean.view())
        for name, table in self._long.items():
            if table.settle(oldest_ns):
                self._views[name] = table.view()

    def frame(
        self,
        columns: Sequence[str] | None = None,
        last: frames.Last = None,
        *,
        clean: bool = True,
        fill: bool = False,
        symbol: str | None = None,
    ) -> pd.DataFrame:
        """The packets table; see `Feed.frame`."""
        if clean and not fill and symbol is None:
            return self._packets[0].frame(None if columns is None else frames.resolve("packets", columns), last)
        names = frames.resolve("packets", columns)
        clean_rows, unclean_rows = self._packets
        wanted = frames.needed(names, clean=clean, fill=fill, symbol=symbol)
        if clean:
            frame = clean_rows.frame(wanted, last)
        else:
            wanted += [name for name in ("seq", "received_at") if name not in wanted]
            frame = _in_arrival_order(clean_rows, unclean_rows, wanted, last)
        return frames.tidy(frame, clean=clean, fill=fill, symbol=symbol)[names]

    def long(self, table: str, last: frames.Last = None) -> pd.DataFrame:
        """A long table, in order of arrival."""
        return self._views[table].frame(frames.default_columns(table), last, sort=False)


def _in_arrival_order(clean: _View, unclean: _View, names: list[str], last: frames.Last) -> pd.DataFrame:
    if unclean.start == unclean.end:
        return clean.frame(names, last, sort=False)
    both = pd.concat([_plain_words(view.frame(names, None, sort=False)) for view in (clean, unclean)])
    both = both.iloc[np.argsort(both["seq"].to_numpy(), kind="stable")]
    both = both.iloc[frames.cut_last(both["received_at"].to_numpy(dtype="M8[ns]").view(np.int64), last) :]
    for column in PACKETS:
        if column.dtype == "category" and column.name in both.columns:
            both[column.name] = frames.categorical(column, both[column.name].to_numpy(dtype=object))
    return both


def _plain_words(frame: pd.DataFrame) -> pd.DataFrame:
    """Categories as plain objects: two frames with different vocabularies are then joined without a loss."""
    return frame.astype({name: object for name in frame.columns if isinstance(frame[name].dtype, pd.CategoricalDtype)})


class _View(NamedTuple):
    """What readers see: published as one tuple, so that slab, start and end always belong together."""

    slab: Slab
    start: int
    end: int
    is_sorted: bool

    def frame(self, names: list[str] | None, last: frames.Last, *, sort: bool = True) -> pd.DataFrame:
        """These rows; sorted by time where asked, which costs a copy only where a stamp went back."""
        start = self.start
        if last is not None:
            start += frames.cut_last(self.slab.received[start : self.end], last)
        found = self.slab.frame(names, start, self.end)
        return found.sort_index(kind="stable") if sort and not self.is_sorted else found


class _Table:
    """One table: its slab, the one that follows it, and which of their rows are kept."""

    def __init__(self, name: str, max_packets: int, rows_per_packet: int = 1) -> None:
        columns = TABLES[name]
        self.dropped = 0
        self.start = 0
        """The first row of the slab that is still kept."""
        self._max_rows = max_packets * rows_per_packet
        self._rows_at_first = ROWS_AT_FIRST * rows_per_packet
        self._vocabularies = Vocabularies(columns)
        self._slab = Slab(columns, self._rows_at_first, self._vocabularies)
        self._next: Slab | None = None
        self._next_from = 0  # the row of `_slab` that is the first one of `_next`
        self._has_new = False
        self._highest_ns = -(2**63)
        self._last_unsorted = 0  # the newest row whose time lies before that of an older row

    def __len__(self) -> int:
        return self._slab.end - self.start

    def first_seq(self) -> float:
        """Of the oldest row that is kept; endless where there is none."""
        return self._slab.seq_view[self.start] if len(self) else math.inf

    def extend(self, batch: frames.Batch) -> None:
        """Take rows in their order; they stand in the next `view` after `settle`."""
        count = len(batch[0])
        for begin in range(0, count, ROWS_AT_ONCE):
            part = batch if count <= ROWS_AT_ONCE else [values[begin : begin + ROWS_AT_ONCE] for values in batch]
            coded = self._vocabularies.encode(part)
            self.dropped += len(part[0]) - len(coded[0])
            if coded[0]:
                self._append(coded)

    def settle(self, oldest_ns: int) -> bool:
        """Let go of rows beyond the limit or received before; whether anything changed since the last time."""
        is_new, self._has_new = self._has_new, False
        slab, before = self._slab, self.start
        if slab.end - before > self._max_rows:
            self.start = slab.end - self._max_rows
        received, start, end = slab.received_view, self.start, slab.end
        while start < end and received[start] < oldest_ns:
            start += 1
        self.start = start
        return is_new or start != before

    def view(self) -> _View:
        """What readers may see now."""
        return _View(self._slab, self.start, self._slab.end, self._last_unsorted <= self.start)

    def _append(self, coded: frames.Batch) -> None:
        """Carry rows into the slab, and some older ones to the slab that follows when this one is nearly full."""
        times = coded[0]
        if self._slab.is_outgrown():
            self._next = None  # begun with codes as narrow as this slab's
            self._switch()
        elif self._slab.end + len(times) > self._slab.capacity:
            self._switch()
        slab = self._slab
        self._note_order(times, slab.end)
        slab.append(coded)
        self._has_new = True
        if slab.capacity - slab.end <= slab.capacity // 4:
            self._move_some(MOVED_PER_ROW * len(times))

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

    def _move_some(self, rows: int) -> None:
        slab = self._slab
        if self._next is None:
            self._next_from = self.start
            # Half as much again as must fit: a young buffer grows, one at its limit stays at 2.4 times the limit.
            kept = slab.end - self.start + slab.capacity // 4 + ROWS_AT_ONCE
            self._next = slab.successor(max(kept + kept // 2, self._rows_at_first))
        begin = self._next_from + self._next.end
        self._next.copy_rows(slab, begin, min(slab.end, begin + rows))

    def _switch(self) -> None:
        """Go on in the next slab."""
        old = self._slab
        while self._next is None or self._next_from + self._next.end < old.end:
            self._move_some(old.capacity)
        self._slab, self._next = self._next, None
        self.start -= self._next_from
        self._last_unsorted = max(0, self._last_unsorted - self._next_from)
