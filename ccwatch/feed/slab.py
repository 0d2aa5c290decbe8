"""The slabs of a rolling buffer: columns of a fixed number of rows, filled from the front by one thread, never changed there.

A frame is a slice of a slab's one base frame; pandas' copy-on-write keeps a reader's edits out of the slab.
"""

from __future__ import annotations

import math
import mmap
import sys
from array import array
from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

import numpy as np
import pandas as pd

from ccwatch.protocol.columns import Column
from ccwatch.stream import dataframes

MOST_WORDS: Final = 30_000
"""The most words of one open vocabulary; a row with a further one is dropped and counted, since no real market has so many."""
MANY_WORDS: Final = 1_000
"""From this many words on, the next slab begins with only the words that are still in the window."""
_LINE: Final = 64
"""Bytes of a line of a processor's cache."""
_DTYPES: Final[dict[str, Any]] = {"uint64": np.uint64, "int32": np.int32, "uint32": np.uint32, "float64": np.float64}
"""The dtype that a slab has for a column's; int64 for a time."""
_CODE: Final = {"time": "q", "uint64": "Q", "int64": "q", "int32": "i", "uint32": "I", "float64": "d"}
"""The `array` type code of each dtype: a slab's column takes an array of it in one copy."""


class Vocabularies:
    """The words of a table's category columns; a slab keeps their codes. Written by the buffer's thread alone."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.places = [place for place, column in enumerate(columns) if column.dtype == "category"]
        self.codes: dict[int, dict[str | None, int]] = {}
        """By place: the code of each word; -1 is a missing one."""
        self.grown = 0
        """How often a base frame's categories have become too few; see `_base_frame`."""
        self._indexes: dict[int, pd.Index[Any]] = {}
        self._closed = {place: len(columns[place].words) for place in self.places}
        for place in self.places:
            self.codes[place] = {None: -1} | {word: code for code, word in enumerate(columns[place].words)}
        self._words: dict[int, list[str]] = {place: [*columns[place].words] for place in self.places}
        """By place: the words in order of their codes."""

    def encode(self, batch: dataframes.Batch) -> dataframes.Batch:
        """Return rows with codes for their words, without the rows whose words would flood a vocabulary."""
        try:
            return self._encoded(batch)
        except KeyError:  # a new word, which is rare
            return self._encoded(self._learn(batch))

    def _encoded(self, batch: dataframes.Batch) -> dataframes.Batch:
        found = batch.copy()
        for place, codes in self.codes.items():
            found[place] = [*map(codes.__getitem__, batch[place])]
        return found

    def _learn(self, batch: dataframes.Batch) -> dataframes.Batch:
        """Assign a code to each new word; return the rows all of whose words have one."""
        rows = [
            row
            for row in zip(*batch, strict=True)
            if all(row[place] in codes or self._add(place, row[place]) for place, codes in self.codes.items())
        ]
        return [*zip(*rows, strict=True)] or [()] * len(batch)

    def _add(self, place: int, word: str) -> bool:
        codes = self.codes[place]
        if len(codes) > MOST_WORDS:
            return False
        codes[word] = len(codes) - 1
        self._words[place].append(word)
        self.grown += self.beyond(place) <= 2
        return True

    def is_full_of_the_past(self) -> bool:
        """Return whether it has so many words that dropping those no longer in the window is worthwhile."""
        return any(len(codes) > MANY_WORDS for codes in self.codes.values())

    def beyond(self, place: int) -> int:
        """Return how many words a column has beyond its closed vocabulary."""
        return len(self.codes[place]) - 1 - self._closed[place]

    def code_dtype(self, place: int) -> type[np.int8 | np.int16]:
        """Return the dtype that pandas uses for this many words: with another it would copy the codes, and the copy would not grow."""
        return np.int8 if len(self.codes[place]) < 128 else np.int16

    def words(self, place: int) -> pd.Index[Any]:
        """Return the words of a category column, in order of their codes. Made when the vocabulary has grown: a flood has 30,000."""
        words, found = self._words[place], self._indexes.get(place)
        if found is None or len(found) != len(words):
            found = self._indexes[place] = pd.Index(words.copy(), dtype=dataframes.TEXT)
        return found

    def recode(self, place: int, other: Vocabularies, codes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the codes of another vocabulary as codes of this one, which learns the words that it lacks."""
        words, mine = other._words[place], self.codes[place]
        used, where = np.unique(codes, return_inverse=True)
        known = []
        for code in used.tolist():
            word = words[code] if code >= 0 else None
            if word is not None and word not in mine:
                self._add(place, word)
            known.append(mine[word])
        recoded: np.ndarray[Any, Any] = np.array(known, dtype=np.int64)[where]
        return recoded


class Stale(Exception):
    """The text of some of these rows was freed, since they have left the window meanwhile: read again."""


class Slab:
    """Columns of a fixed number of rows, filled from the front, and the base frame that all frames are slices of."""

    def __init__(self, columns: Sequence[Column], capacity: int, vocabularies: Vocabularies) -> None:
        self.columns = columns
        self.capacity = capacity
        self.end = 0
        self._code_dtypes = {place: vocabularies.code_dtype(place) for place in vocabularies.places}
        dtypes = [self._code_dtypes.get(place, _DTYPES.get(column.dtype, np.int64)) for place, column in enumerate(columns)]
        room = _Room(capacity, [dtype for dtype, column in zip(dtypes, columns, strict=True) if column.dtype != "text"])
        self.received = room.take(np.int64)
        self.received_view = _view(self.received, "q")
        self.seq_view: memoryview[int]
        self.vocabularies = vocabularies
        self.released = 0
        """The first row whose text is still held."""
        self._texts = [place for place, column in enumerate(columns) if column.dtype == "text"]
        self._categoricals: dict[int, tuple[int, int, Any]] = {}  # by place: the last one that was made, and of which rows
        floats = [column.name for column in columns if column.dtype == "float64"]
        self._floats = room.take(np.float64, len(floats))  # one block: slicing the base frame costs by the block
        self._arrays: list[Any] = []
        self._targets: list[tuple[Any, str]] = []
        """For each column, the memory that takes a batch's values, and their `array` type code; a list and "" for text."""
        for place, column in enumerate(columns):
            stored: Any
            code = _CODE.get(column.dtype, "")
            if column.dtype == "text":
                stored = [None] * capacity
            elif column.dtype == "float64":
                stored = self._floats[floats.index(column.name)]
            elif column.dtype == "category":
                stored = room.take(dtypes[place])
                code = "b" if self._code_dtypes[place] is np.int8 else "h"
            else:
                stored = room.take(dtypes[place])
            self._arrays.append(stored)
            self._targets.append((_view(stored, code) if code else stored, code))
            if column.name == "seq":
                self.seq_view = _view(stored, "Q")
        self._targets.append((self.received_view, "q"))
        self._base_names = [column.name for column in columns[1:] if column.dtype != "text"]
        self._bases: list[tuple[pd.DataFrame, int, tuple[int, ...]]] = []

    def is_outgrown(self) -> bool:
        """Return whether a vocabulary has more words than this slab's codes can distinguish."""
        return any(self.vocabularies.code_dtype(place) is not dtype for place, dtype in self._code_dtypes.items())

    def append(self, batch: dataframes.Batch) -> None:
        """Append rows that have codes for words; there must be room for them."""
        start, end = self.end, self.end + len(batch[0])
        for (target, code), values in zip(self._targets, batch, strict=True):
            target[start:end] = _packed(code, values) if code else values
        self.end = end

    def successor(self, capacity: int, start: int, *, forget: bool) -> Slab:
        """Return an empty slab for the rows from `start` on; if the vocabularies are full of past words, with these rows' words only."""
        vocabularies = self.vocabularies
        if forget and vocabularies.is_full_of_the_past():
            vocabularies = Vocabularies(self.columns)
            for place in vocabularies.places:
                vocabularies.recode(place, self.vocabularies, self._arrays[place][start : self.end])
        return Slab(self.columns, capacity, vocabularies)

    def release(self, upto: int) -> None:
        """Free the text of the rows before this one."""
        if upto > self.released:
            for place in self._texts:
                self._arrays[place][self.released : upto] = [None] * (upto - self.released)
            self.released = upto

    def copy_rows(self, other: Slab, start: int, end: int) -> bool:
        """Append rows of the slab before; return False if their words outgrow this slab's codes, else True."""
        codes = {}
        if self.vocabularies is not other.vocabularies:
            codes = {
                place: self.vocabularies.recode(place, other.vocabularies, other._arrays[place][start:end]) for place in self._code_dtypes
            }
            if self.is_outgrown():
                return False
        at, upto = self.end, self.end + end - start
        for place, (mine, theirs) in enumerate(zip(self._arrays, other._arrays, strict=True)):
            mine[at:upto] = codes[place] if place in codes else theirs[start:end]
        self.received[at:upto] = other.received[start:end]
        self.end = upto
        return True

    def frame(self, names: list[str] | None, start: int, end: int) -> pd.DataFrame:
        """Return rows as a frame: a slice of the base frame, with text, and categories that do not fit these rows, made for them.

        None for all columns but the text, which costs least.
        """
        base, open_places = self._base_frame()
        found = base[start:end]  # by position, as `iloc` does, for 2 µs less
        for place in open_places:
            column = self.columns[place]
            if not self._is_settled(place, start, end) and (names is None or column.name in names):
                found = found.assign(**{column.name: self._categorical(place, start, end)})
        if names is None or names == self._base_names:
            return found
        held = {self.columns[place].name: self._arrays[place][start:end] for place in self._texts if self.columns[place].name in names}
        if held and start < self.released:
            raise Stale
        texts = {name: pd.array(values, dtype=dataframes.TEXT) for name, values in held.items()}
        return found.assign(**texts)[names]

    def _categorical(self, place: int, start: int, end: int) -> Any:
        """Return a category column of these rows with just their words; made once for the same rows, since a flood has 30,000 words."""
        made = self._categoricals.get(place)
        if made is None or made[:2] != (start, end):
            codes = pd.Categorical.from_codes(self._arrays[place][start:end], self.vocabularies.words(place), validate=False)
            made = self._categoricals[place] = (start, end, dataframes.categorical(self.columns[place], codes))
        return made[2].copy()

    def _is_settled(self, place: int, start: int, end: int) -> bool:
        """Return whether an open vocabulary's only word occurs in these rows, so that the base frame's categories fit them."""
        if self.columns[place].words or self.vocabularies.beyond(place) > 1 or end <= start:
            return False
        codes, _ = self._targets[place]  # one number through a memoryview costs half of one through numpy
        return codes[start] == 0 or codes[end - 1] == 0 or bool((self._arrays[place][start:end] == 0).any())

    def _base_frame(self) -> tuple[pd.DataFrame, tuple[int, ...]]:
        """Return the frame over all rows of the slab, and the places whose words may be others than its categories.

        It is made again where a vocabulary has grown and the base's categories are still used. Every base is kept as long as the
        slab: pandas copies a slice on write only while another frame shares its memory, so that the first edit of a frame whose
        base is gone would be made in the slab. They are few, since a second word of an open vocabulary, or one beyond a closed
        one, is the last that counts. Two readers may both make one: harmless.
        """
        grown = self.vocabularies.grown
        if not self._bases or self._bases[-1][1] < grown:
            open_places = tuple(place for place in self.vocabularies.places if self.vocabularies.beyond(place))
            self._bases.append((self._make_base(), grown, open_places))
        base, _, open_places = self._bases[-1]
        return base, open_places

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
        """Return a column of the slab as an array of its dtype, sharing the slab's memory."""
        column, values = self.columns[place], self._arrays[place]
        if column.dtype == "time":
            return _shared_times(values)
        if column.dtype == "category":
            return pd.Categorical.from_codes(values, categories=self.vocabularies.words(place), validate=False)
        return values


def _shared_times(values: np.ndarray[Any, Any], name: str | None = None) -> pd.DatetimeIndex:
    """Return times that share the slab's memory (localising naive ones would copy)."""
    return pd.DatetimeIndex(values, dtype=pd.DatetimeTZDtype("ns", "UTC"), name=name, copy=False)


class _Room:
    """The memory of a slab's numbers: zeros, taken from the system for this slab alone, and given back whole when it is gone.

    From the C library's heap, slabs that come and go beside small blocks that stay would leave holes of which few are ever given back,
    and a process would creep for hours.
    """

    def __init__(self, capacity: int, dtypes: Sequence[Any]) -> None:
        self._capacity = capacity
        size = sum(self._padded(dtype) for dtype in [np.int64, *dtypes])
        private = {} if sys.platform == "win32" else {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS}
        self._memory = mmap.mmap(-1, size, **private)
        self._taken = 0

    def _padded(self, dtype: Any, columns: int = 1) -> int:
        """Return the bytes of columns, up to the next line of a processor's cache."""
        return math.ceil(int(np.dtype(dtype).itemsize) * self._capacity * columns / _LINE) * _LINE

    def take(self, dtype: Any, columns: int | None = None) -> np.ndarray[Any, Any]:
        """Return a column that was not taken yet; with `columns` so many as one block, a row each."""
        count = self._capacity * (1 if columns is None else columns)
        found = np.frombuffer(self._memory, dtype, count, self._taken)
        self._taken += self._padded(dtype, 1 if columns is None else columns)
        return found if columns is None else found.reshape(columns, self._capacity)


def _view(values: np.ndarray[Any, Any], code: Any) -> Any:
    """Return a column's memory, which takes an `array` of this type code (numpy's own name for the type may be another)."""
    return values.data.cast("B").cast(code)


def _packed(code: str, values: Sequence[Any]) -> array[Any]:
    """Return values as an array of a type code, with a missing time as the number that pandas reads as NaT."""
    try:
        return array(code, values)
    except TypeError:
        return array(code, [dataframes.NOT_A_TIME if value is None else value for value in values])
