"""The rolling buffer: the last hours of a stream as pandas frames, written by one thread and read by any without a lock.

Rows are appended to column-major slabs and never changed there; a frame is a slice of the slab's one base frame, and pandas'
copy-on-write keeps a reader's edits out. It knows packets and events, but not where they come from.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from ccwatch import frames
from ccwatch.protocol.columns import PACKETS, TABLES, Column
from ccwatch.protocol.messages import UNCLEAN, Event, Item, Packet

ROWS_AT_FIRST: Final = 4096
STAGED_ROWS: Final = 256
MOVED_PER_ROW: Final = 8
"""Rows carried to the next slab for each one that is appended, so that no single append pays for the whole move."""
LONG_ROWS_PER_PACKET: Final = 8
"""A long table holds at most this many rows for each packet that the buffer may hold."""
MOST_WORDS: Final = 30_000
"""Words of one open vocabulary; a row with a further one is dropped and counted: it is a flood, not a market."""

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
        self._long = {name: _Table(name, max_rows * LONG_ROWS_PER_PACKET) for name in TABLES if name != "packets"}
        self._views = {name: table.view() for name, table in self._long.items()}

    @property
    def dropped(self) -> int:
        """Rows that were not kept because their words flooded a vocabulary."""
        return sum(table.dropped for table in (self._clean, self._unclean, *self._long.values()))

    def receive(self, items: Sequence[Item]) -> None:
        """Append packets and events, then publish them."""
        newest_ns = None
        for item in items:
            if isinstance(item, Packet):
                table = self._unclean if item.flags & _UNCLEAN else self._clean
                table.extend((item,), item.received_at_ns)
                tables = [name for name, entries in _LISTS if getattr(item, entries)]
            elif isinstance(item, Event):
                tables = ["events"]
            else:
                continue
            newest_ns = item.received_at_ns
            for name in tables:
                self._long[name].extend(frames.long_rows(name, item), newest_ns)
        if newest_ns is not None:
            self._publish(newest_ns - self._window_ns)

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
        names = frames.resolve("packets", columns)
        if clean and not fill and symbol is None:
            return self._packets[0].frame(names, last)
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


_LISTS: Final = tuple(frames.LISTS.items())


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

    slab: _Slab
    start: int
    end: int
    is_sorted: bool

    def frame(self, names: list[str], last: frames.Last, *, sort: bool = True) -> pd.DataFrame:
        """These rows; sorted by time where asked, which costs a copy only where a stamp went back."""
        start = self.start
        if last is not None:
            start += frames.cut_last(self.slab.received[start : self.end], last)
        found = self.slab.frame(names, start, self.end)
        return found.sort_index(kind="stable") if sort and not self.is_sorted else found


class _Table:
    """One table: rows are staged one by one, and stand in the slab, column by column, once they are settled."""

    def __init__(self, name: str, max_rows: int) -> None:
        columns = TABLES[name]
        self.dropped = 0
        self.start = 0
        """The first row of the slab that is still kept."""
        self._max_rows = max_rows
        self._vocabularies = [_Words(column) for column in columns]
        self._staging = _Staging(columns, self._vocabularies)
        self._slab = _Slab(columns, ROWS_AT_FIRST, self._vocabularies)
        self._next: _Slab | None = None
        self._next_from = 0  # the row of `_slab` that is the first one of `_next`
        self._has_new = False
        self._highest_ns = -(2**63)
        self._last_unsorted = 0  # the newest row whose time lies before that of an older row

    def __len__(self) -> int:
        return self._slab.end - self.start

    def first_seq(self) -> float:
        """Of the oldest row that is kept; endless where there is none."""
        return self._slab.seq_view[self.start] if len(self) else math.inf

    def extend(self, rows: Sequence[Sequence[Any]], received_ns: int) -> None:
        """Take rows that came in one message, in the table's order of columns; they stand in the next `view` after `settle`."""
        staging = self._staging
        for row in rows:
            if staging.count == STAGED_ROWS:
                self._unstage()
            if not staging.write(row, received_ns):
                self.dropped += 1
                continue
            self._has_new = True
            if row[0] < self._highest_ns:
                self._last_unsorted = self._slab.end + staging.count - 1
            else:
                self._highest_ns = row[0]

    def settle(self, oldest_ns: int) -> bool:
        """Put what was taken into the slab, let go of rows beyond the limit or received before; whether anything changed."""
        is_new, self._has_new = self._has_new, False
        if is_new:
            self._unstage()
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

    def _unstage(self) -> None:
        """Carry the staged rows into the slab, and some older ones to the slab that follows when this one is nearly full."""
        count = self._staging.count
        if self._slab.is_outgrown():
            self._next = None  # begun with codes as narrow as this slab's
            self._switch()
        elif self._slab.end + count > self._slab.capacity:
            self._switch()
        slab = self._slab
        slab.append(self._staging)
        self._staging.count = 0
        if slab.capacity - slab.end <= slab.capacity // 4:
            self._move_some(MOVED_PER_ROW * count)

    def _move_some(self, rows: int) -> None:
        slab = self._slab
        if self._next is None:
            self._next_from = self.start
            # Half as much again as must fit: a young buffer grows, one at its limit stays at 2.4 times the limit.
            kept = slab.end - self.start + slab.capacity // 4 + STAGED_ROWS
            self._next = slab.successor(max(kept + kept // 2, ROWS_AT_FIRST))
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


class _Words:
    """The vocabulary of one category column: a word's code, and the words in order of their codes."""

    def __init__(self, column: Column) -> None:
        self.codes: dict[str | None, int] = {None: -1}
        for word in column.words:
            self.codes[word] = len(self)

    def __len__(self) -> int:
        return len(self.codes) - 1

    @property
    def code_dtype(self) -> type[np.int8 | np.int16]:
        """The one that pandas uses for so many words: with another it would copy the codes, and the copy would not grow."""
        return np.int8 if len(self) < 127 else np.int16


class _Staging:
    """A few rows, row by row, as packed records: one call writes a row, one numpy copy per column empties the lot."""

    def __init__(self, columns: Sequence[Column], vocabularies: Sequence[_Words]) -> None:
        packed = [(place, column) for place, column in enumerate(columns) if column.dtype != "text"]
        self.count = 0
        self.texts: dict[int, list[str | None]] = {place: [] for place, column in enumerate(columns) if column.dtype == "text"}
        self._pick = itemgetter(*[place for place, _ in packed])
        self._coded = [(at, vocabularies[place].codes) for at, (place, column) in enumerate(packed) if column.dtype == "category"]
        self._nullable = [at for at, (_, column) in enumerate(packed) if column.dtype == "time" and at > 0]
        self._extra = next((place for place, column in enumerate(columns) if column.name == "extra"), None)
        self._layout = struct.Struct("<" + "".join(_PACKED[column.dtype] for _, column in packed) + "q")
        names = [(str(place), _PACKED[column.dtype]) for place, column in packed]
        self.records = np.zeros(STAGED_ROWS, dtype=np.dtype([(name, f"<{_NUMPY[code]}") for name, code in names] + [("received", "<i8")]))
        self._bytes = self.records.data.cast("B")

    def write(self, row: Sequence[Any], received_ns: int) -> bool:
        """Stage a row; False, and nothing staged, where its words flood a vocabulary."""
        values = list(self._pick(row))
        for at, codes in self._coded:
            word = values[at]
            code = codes.get(word)
            if code is None:
                if len(codes) > MOST_WORDS:
                    return False
                code = codes[word] = len(codes) - 1
            values[at] = code
        for at in self._nullable:
            if values[at] is None:
                values[at] = frames.NOT_A_TIME
        self._layout.pack_into(self._bytes, self.count * self._layout.size, *values, received_ns)
        for place, texts in self.texts.items():
            texts.append(row[place] if place != self._extra else frames.extra_text(row[place]))
        self.count += 1
        return True


_PACKED: Final = {"time": "q", "uint64": "Q", "int64": "q", "int32": "i", "uint32": "I", "float64": "d", "category": "h"}
_NUMPY: Final = {"q": "i8", "Q": "u8", "i": "i4", "I": "u4", "d": "f8", "h": "i2"}


class _Slab:
    """Columns of a fixed number of rows, filled from the front, and the base frame that all frames are slices of."""

    def __init__(self, columns: Sequence[Column], capacity: int, vocabularies: Sequence[_Words]) -> None:
        self.columns = columns
        self.capacity = capacity
        self.end = 0
        self.received = np.zeros(capacity, dtype=np.int64)
        self.received_view = self.received.data  # one number through a memoryview costs half of one through numpy
        self.seq_view: memoryview[int]
        self._vocabularies = vocabularies
        self._code_dtypes = [words.code_dtype for words in vocabularies]
        floats = [column.name for column in columns if column.dtype == "float64"]
        self._floats = np.empty((len(floats), capacity))  # one block: slicing the base frame costs by the block
        self._arrays: list[Any] = []
        for column, words in zip(columns, vocabularies, strict=True):
            array: Any
            if column.dtype == "float64":
                array = self._floats[floats.index(column.name)]
            elif column.dtype == "text":
                array = [None] * capacity
            else:
                stored = {"category": words.code_dtype, "time": np.int64}.get(column.dtype, column.dtype)
                array = np.zeros(capacity, dtype=stored)
            self._arrays.append(array)
            if column.name == "seq":
                self.seq_view = array.data
        self._coded = [place for place, column in enumerate(columns) if column.dtype == "category"]
        self._limits = [(vocabularies[place], len(columns[place].words) + 3) for place in self._coded]  # 3: missing, and two words
        self._base_names = [column.name for column in columns[1:] if column.dtype != "text"]
        self._bases: list[tuple[pd.DataFrame, int]] = []

    def is_outgrown(self) -> bool:
        """Whether a vocabulary has more words than this slab's codes can tell apart."""
        return any(self._vocabularies[place].code_dtype is not self._code_dtypes[place] for place in self._coded)

    def append(self, staging: _Staging) -> None:
        """Take the staged rows, for which there is room."""
        start, end = self.end, self.end + staging.count
        records = staging.records[: staging.count]
        for place, array in enumerate(self._arrays):
            if place in staging.texts:
                array[start:end] = staging.texts[place]
                staging.texts[place].clear()
            else:
                array[start:end] = records[str(place)]
        self.received[start:end] = records["received"]
        self.end = end

    def successor(self, capacity: int) -> _Slab:
        """An empty slab that shares the vocabularies."""
        return _Slab(self.columns, capacity, self._vocabularies)

    def copy_rows(self, other: _Slab, start: int, end: int) -> None:
        """Append rows of the slab before."""
        at, upto = self.end, self.end + end - start
        for mine, theirs in zip(self._arrays, other._arrays, strict=True):
            mine[at:upto] = theirs[start:end]
        self.received[at:upto] = other.received[start:end]
        self.end = upto

    def frame(self, names: list[str], start: int, end: int) -> pd.DataFrame:
        """Rows as a frame: a slice of the base frame; text, and categories that do not fit these rows, are made for them."""
        found = self._base_frame().iloc[start:end]
        for place in self._coded:
            column = self.columns[place]
            if len(self._vocabularies[place]) > len(column.words) and column.name in names and not self._is_settled(place, start, end):
                codes = pd.Categorical.from_codes(self._arrays[place][start:end], self._words(place), validate=False)
                found = found.assign(**{column.name: frames.categorical(column, codes)})
        if names == self._base_names:
            return found
        texts = {
            column.name: pd.array(self._arrays[place][start:end], dtype="str")
            for place, column in enumerate(self.columns)
            if column.dtype == "text" and column.name in names
        }
        return found.assign(**texts)[names]

    def _is_settled(self, place: int, start: int, end: int) -> bool:
        """Whether an open vocabulary's only word occurs in these rows, so that the base frame's categories fit them."""
        if self.columns[place].words or len(self._vocabularies[place]) > 1:
            return False
        codes = self._arrays[place]
        return end > start and bool(codes[start] == 0 or codes[end - 1] == 0 or (codes[start:end] == 0).any())

    def _base_frame(self) -> pd.DataFrame:
        """The frame over all rows of the slab, made anew where a vocabulary has grown and the base's categories are still used.

        Every base is kept as long as the slab: pandas copies a slice on write only while another frame shares its memory, so that
        the first edit of a frame whose base is gone would be made in the slab. They are few, since a second word of an open
        vocabulary, or one beyond a closed one, is the last that counts. Two readers may both make one: harmless.
        """
        bases, words = self._bases, 0
        for vocabulary, most in self._limits:
            words += min(len(vocabulary.codes), most)
        if not bases or bases[-1][1] < words:
            bases.append((self._make_base(), words))
        return bases[-1][0]

    def _make_base(self) -> pd.DataFrame:
        index = _shared_times(self._arrays[0], "time")
        parts = []
        for is_float, run in groupby(range(1, len(self.columns)), lambda place: self.columns[place].dtype == "float64"):
            places = [place for place in run if self.columns[place].dtype != "text"]
            names = [self.columns[place].name for place in places]
            if is_float:
                first = sum(column.dtype == "float64" for column in self.columns[: places[0]])
                block = self._floats[first : first + len(places)].T
                parts.append(pd.DataFrame(block, index=index, columns=names, copy=False))
            else:
                arrays = {name: self._shared(place) for name, place in zip(names, places, strict=True)}
                parts.append(pd.DataFrame(arrays, index=index, copy=False))
        return pd.concat(parts, axis=1)

    def _shared(self, place: int) -> Any:
        """A column of the slab as an array of its dtype, sharing the slab's memory."""
        column, array = self.columns[place], self._arrays[place]
        if column.dtype == "time":
            return _shared_times(array)
        if column.dtype == "category":
            return pd.Categorical.from_codes(array, categories=self._words(place), validate=False)
        return array

    def _words(self, place: int) -> pd.Index[Any]:
        """The words of a category column, in order of their codes."""
        return pd.Index(list(self._vocabularies[place].codes)[1:], dtype="str")


def _shared_times(values: np.ndarray[Any, Any], name: str | None = None) -> pd.DatetimeIndex:
    """Times that share the slab's memory (localising naive ones would copy)."""
    return pd.DatetimeIndex(values, dtype=pd.DatetimeTZDtype("ns", "UTC"), name=name, copy=False)
