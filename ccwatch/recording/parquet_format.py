"""Parquet's own records, the footer and the headers of pages, read and checked before Arrow sees the file.

Arrow ends the whole process over some footers (a column chunk of another type than its column), and unpacks whatever size a page
claims. So no metadata object of Arrow's is ever asked: what is needed of a footer is read here, each field with its type and range,
and only a file whose records agree with each other, and with the file's size, is given to Arrow. The records are in Thrift's compact
protocol (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md) as `parquet.thrift` lists them; the
fields here bear its numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ccwatch.recording import checked

BOOLEAN, INT32, INT64, INT96, FLOAT, DOUBLE, BYTE_ARRAY, FIXED = range(8)
"""Physical types of columns."""
_WIDTHS: Final = {INT32: 4, INT64: 8, FLOAT: 4, DOUBLE: 8}
MAGIC: Final = b"PAR1"
TRAILER: Final = 8
"""Bytes of the footer's length and the magic behind it."""
DATA_PAGE, DICTIONARY_PAGE = 0, 2
DELTA_BYTE_ARRAY: Final = 7
"""The encoding of texts of which each begins like the one before: short pages can hold long texts."""
DICTIONARIES: Final = frozenset({2, 8})
"""Encodings as places in a dictionary: few bytes can hold many long texts."""
CODECS: Final = {0: None, 1: "snappy", 6: "zstd"}
MOST_DEPTH: Final = 16
MOST_TEXT_BYTES: Final = 256 << 20
"""Of one column in one row group, unpacked: a batch's messages and one more of the largest (see `segment_groups`), twice."""
FEW_BYTES: Final = 1 << 20
_BYTES_PER_ROW: Final = 16
"""Of a column of numbers, unpacked: each once in the dictionary, once in place."""

# ── Thrift's compact protocol ──

_NAMES: Final = tuple(map(str, range(32)))
"""Numbers of fields as text."""


def read_struct(data: bytes, at: int, depth: int = 0) -> tuple[dict[str, Any], int]:
    """Return the fields of the structure at `at` by their numbers, as text, and the place behind it.

    Raises:
        ValueError: it is none: a field twice, an unknown type, too deep, or longer than the data.
    """
    if depth > MOST_DEPTH:
        raise ValueError("its records are too deep")
    found: dict[str, Any] = {}
    number = 0
    try:
        while head := data[at]:
            at += 1
            if head >> 4:
                number += head >> 4
            else:
                number, at = _zigzag(data, at)
            kind = head & 15
            name = _NAMES[number] if 0 <= number < len(_NAMES) else str(number)
            if name in found:
                raise ValueError(f"field {name} comes twice")
            if kind < 3:  # a field's truth is in its type
                found[name] = kind == 1
            elif 4 <= kind <= 6 and (value := data[at]) < 128:  # most numbers are of one byte: a footer has thousands
                found[name] = (value >> 1) ^ -(value & 1)
                at += 1
            elif kind == 12:
                found[name], at = read_struct(data, at, depth + 1)
            else:
                found[name], at = _value(data, at, kind, depth)
    except IndexError:
        raise ValueError("a record is cut") from None
    return found, at + 1


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in {4, 5, 6}:
        return _zigzag(data, at)
    if kind == 8:
        size, at = _varint(data, at)
        if size > len(data) - at:
            raise ValueError("a text is cut")
        return data[at : at + size], at + size
    if kind == 12:
        return read_struct(data, at, depth + 1)
    if kind in {9, 10}:
        return _values(data, at, depth)
    if kind in {1, 2, 3}:  # in a list each truth is a byte
        return data[at], at + 1
    if kind == 7:
        if len(data) - at < 8:
            raise ValueError("a number is cut")
        return struct.unpack_from("<d", data, at)[0], at + 8
    raise ValueError(f"unknown type {kind}")  # maps are in no record of Parquet's


def _values(data: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    head = data[at]
    at += 1
    size = head >> 4
    if size == 15:
        size, at = _varint(data, at)
    if size > len(data) - at:  # each takes a byte at least
        raise ValueError("a list is cut")
    kind = head & 15
    found: list[Any] = []
    if kind == 12:
        for _ in range(size):
            value, at = read_struct(data, at, depth + 1)
            found.append(value)
        return found, at
    for _ in range(size):
        value, at = _value(data, at, kind, depth)
        found.append(value)
    return found, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = data[at]
    at += 1
    if value < 128:
        return value, at
    value &= 127
    for shift in range(7, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number is too long")


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


# ── the records, as far as they are used ──

_Int32 = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Physical = Annotated[int, msgspec.Meta(ge=0, le=7)]
_Encoding = Annotated[int, msgspec.Meta(ge=0, le=9)]
_Codec = Literal[0, 1, 6]
_Number = msgspec.field


class _Statistics(msgspec.Struct):
    null_count: checked.Count | None = _Number(name="3", default=None)
    max_value: bytes | None = _Number(name="5", default=None)
    min_value: bytes | None = _Number(name="6", default=None)
    old_max: bytes | None = _Number(name="1", default=None)
    old_min: bytes | None = _Number(name="2", default=None)


class _ColumnMeta(msgspec.Struct):
    type: _Physical = _Number(name="1")
    encodings: Annotated[tuple[_Encoding, ...], msgspec.Meta(max_length=100)] = _Number(name="2")
    path: tuple[bytes, ...] = _Number(name="3")
    codec: _Codec = _Number(name="4")
    values: checked.Count = _Number(name="5")
    unpacked: checked.Bytes = _Number(name="6")
    packed: checked.Bytes = _Number(name="7")
    data_page: checked.Bytes = _Number(name="9")
    dictionary_page: checked.Bytes | None = _Number(name="11", default=None)
    statistics: _Statistics | None = _Number(name="12", default=None)


class _ColumnChunk(msgspec.Struct):
    meta: _ColumnMeta = _Number(name="3")
    file_path: None = _Number(name="1", default=None)
    """Of another file: none of ours."""
    crypto: None = _Number(name="8", default=None)
    crypto_meta: None = _Number(name="9", default=None)


class _RowGroup(msgspec.Struct):
    columns: tuple[_ColumnChunk, ...] = _Number(name="1")
    rows: checked.Count = _Number(name="3")


class _Element(msgspec.Struct):
    name: bytes = _Number(name="4")
    type: _Physical | None = _Number(name="1", default=None)
    repetition: Annotated[int, msgspec.Meta(ge=0, le=2)] | None = _Number(name="3", default=None)
    children: _Int32 | None = _Number(name="5", default=None)


class _KeyValue(msgspec.Struct):
    key: bytes = _Number(name="1")
    value: bytes | None = _Number(name="2", default=None)


class _FileMetaData(msgspec.Struct):
    version: _Int32 = _Number(name="1")
    schema: Annotated[tuple[_Element, ...], msgspec.Meta(min_length=1, max_length=1_000)] = _Number(name="2")
    rows: checked.Count = _Number(name="3")
    groups: tuple[_RowGroup, ...] = _Number(name="4")
    key_values: tuple[_KeyValue, ...] = _Number(name="5", default=())
    encryption: None = _Number(name="8", default=None)


class _DataPage(msgspec.Struct):
    values: _Int32 = _Number(name="1")
    encoding: _Encoding = _Number(name="2")


class _DictionaryPage(msgspec.Struct):
    values: _Int32 = _Number(name="1")
    encoding: _Encoding = _Number(name="2")


class _PageHeader(msgspec.Struct):
    type: Annotated[int, msgspec.Meta(ge=0, le=3)] = _Number(name="1")
    unpacked: _Int32 = _Number(name="2")
    packed: _Int32 = _Number(name="3")
    data: _DataPage | None = _Number(name="5", default=None)
    dictionary: _DictionaryPage | None = _Number(name="7", default=None)


checked.prepare(_FileMetaData, _PageHeader)


# ── what readers use ──


class Chunk(NamedTuple):
    """A column's part of a row group."""

    start: int
    length: int
    type: int
    codec: int
    is_optional: bool
    """Whether its pages begin with which values are there."""
    lowest: bytes | None
    """The statistics' lowest value as it is stored, which may be wrong; None where there is none."""
    highest: bytes | None


class Footer(NamedTuple):
    """The facts of a file's footer, free of contradictions among themselves."""

    names: tuple[str, ...]
    rows: int
    groups: tuple[int, ...]
    """Rows of each row group."""
    chunks: tuple[tuple[Chunk, ...], ...]
    """By row group and column."""


def footer_of(end: bytes, size: int) -> Footer:
    """Return what a footer says.

    Args:
        end: the footer, its length and the magic behind it.
        size: of the whole file.

    Raises:
        ValueError: its records cannot be read, contradict each other or point outside the file.
    """
    data = end[:-TRAILER]
    found, read = read_struct(data, 0)
    if read != len(data):
        raise ValueError("bytes behind its records")
    return _footer(msgspec.convert(found, _FileMetaData), size - len(end))


def _footer(meta: _FileMetaData, end: int) -> Footer:
    root, *leaves = meta.schema
    if root.children != len(leaves) or any(leaf.children or leaf.type is None or leaf.repetition not in {0, 1} for leaf in leaves):
        raise ValueError("its columns are not those of a table")
    names = tuple([leaf.name.decode() for leaf in leaves])
    if len(set(names)) < len(names):
        raise ValueError("its columns are not those of a table: a name comes twice")
    if sum(group.rows for group in meta.groups) != meta.rows:
        raise ValueError(f"rows: {meta.rows:,} are not the sum of its row groups'")
    chunks = []
    for group in meta.groups:
        if len(group.columns) != len(leaves):
            raise ValueError(f"a row group has {len(group.columns)} columns instead of {len(leaves)}")
        chunks.append(tuple([_chunk(column.meta, leaf, group.rows, end) for column, leaf in zip(group.columns, leaves, strict=True)]))
    return Footer(names, meta.rows, tuple([group.rows for group in meta.groups]), tuple(chunks))


def _chunk(meta: _ColumnMeta, leaf: _Element, rows: int, end: int) -> Chunk:
    if meta.type != leaf.type or meta.path != (leaf.name,):
        raise ValueError(f"{leaf.name!r}: its column chunk is another column's")
    if meta.values != rows:
        raise ValueError(f"{leaf.name!r}: {meta.values:,} values in {rows:,} rows")
    start = meta.data_page if meta.dictionary_page is None else min(meta.data_page, meta.dictionary_page)
    if not len(MAGIC) <= start <= start + meta.packed <= end:
        raise ValueError(f"{leaf.name!r}: bytes {start} to {start + meta.packed} are not in the file")
    lowest = highest = None
    if meta.statistics is not None:
        lowest, highest = meta.statistics.min_value, meta.statistics.max_value
        width = _WIDTHS.get(meta.type)
        limits = (lowest, highest, meta.statistics.old_min, meta.statistics.old_max)
        if width is not None and any(limit is not None and len(limit) != width for limit in limits):
            raise ValueError(f"{leaf.name!r}: statistics of another type")
        if (meta.statistics.null_count or 0) > rows:
            raise ValueError(f"{leaf.name!r}: more nulls than rows")
    return Chunk(start, meta.packed, meta.type, meta.codec, leaf.repetition == 1, lowest, highest)


def check_pages(data: bytes, chunk: Chunk, rows: int) -> frozenset[int]:
    """Check the pages of a column chunk, as far as memory depends on them, and return the encodings of its data.

    Args:
        data: the bytes of the chunk.
        chunk: what the footer says of it.
        rows: count of its values.

    Raises:
        ValueError: the pages are not exactly its bytes and rows, or would take more memory than so many rows can.
    """
    values = unpacked = texts = 0
    encodings = set()
    for page, body in _pages(data):
        if page.dictionary is not None and page.dictionary.values > rows:
            raise ValueError(f"a dictionary of {page.dictionary.values:,} values for {rows:,} rows")
        unpacked += page.unpacked
        if unpacked > FEW_BYTES + _BYTES_PER_ROW * rows + (0 if chunk.type in _WIDTHS else MOST_TEXT_BYTES):
            raise ValueError(f"pages of {unpacked:,} bytes for {rows:,} rows")
        if page.data is not None:
            values += page.data.values
            encodings.add(page.data.encoding)
            if page.data.encoding == DELTA_BYTE_ARRAY:
                texts += _length_of_texts(body, page, chunk)
    if values != rows:
        raise ValueError(f"pages of {values:,} values for {rows:,} rows")
    if texts > MOST_TEXT_BYTES:
        raise ValueError(f"texts of {texts:,} bytes")
    return frozenset(encodings)


def _pages(data: bytes) -> Iterator[tuple[_PageHeader, bytes]]:
    """Yield the pages of a column chunk, each as its header and the bytes behind it."""
    at = 0
    while at < len(data):
        found, begin = read_struct(data, at)
        page = msgspec.convert(found, _PageHeader)
        is_dictionary = page.type == DICTIONARY_PAGE and page.dictionary is not None and page.data is None and at == 0
        is_data = page.type == DATA_PAGE and page.data is not None and page.dictionary is None
        at = begin + page.packed
        if not (is_dictionary or is_data) or at > len(data):
            raise ValueError("a page that is neither of data nor a dictionary before them, or is cut")
        yield page, data[begin:at]


def _length_of_texts(body: bytes, page: _PageHeader, chunk: Chunk) -> int:
    """Return the sum of the lengths of a page's texts of which each begins like the one before."""
    assert page.data is not None  # noqa: S101 - for mypy: it is a page of data
    name = CODECS[chunk.codec]
    try:
        plain = body if name is None else pa.Codec(name).decompress(body, page.unpacked, asbytes=True)
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"a page does not unpack: {error}") from None
    at = 4 + int.from_bytes(plain[:4], "little") if chunk.is_optional else 0
    try:
        prefixes, at = _integers(plain, at, page.data.values)
        suffixes, at = _integers(plain, at, page.data.values)
    except IndexError:
        raise ValueError("a page is cut") from None
    if len(prefixes) != len(suffixes) or min(prefixes.min(initial=0), suffixes.min(initial=0)) < 0:
        raise ValueError("texts of no length")
    return int(prefixes.sum() + suffixes.sum())


def _integers(data: bytes, at: int, most: int) -> tuple[npt.NDArray[np.int64], int]:
    """Return the integers that are packed as differences (DELTA_BINARY_PACKED) at a place, and the place behind them."""
    size, at = _varint(data, at)
    minis, at = _varint(data, at)
    count, at = _varint(data, at)
    first, at = _zigzag(data, at)
    if not (0 < minis <= size <= 1 << 16 and size % minis == 0 and (size // minis) % 32 == 0 and count <= most):
        raise ValueError("packed integers of another shape")
    each = size // minis
    parts = [np.array([first], np.int64)]
    left = count - 1
    while left > 0:
        least, at = _zigzag(data, at)
        widths = data[at : at + minis]
        at += minis
        for width in widths[: -(-left // each)]:
            packed = np.frombuffer(data[at : at + each * width // 8], np.uint8)
            if width > 32 or len(packed) < each * width // 8:
                raise ValueError("packed integers are cut, or too large")
            bits = np.unpackbits(packed, bitorder="little").reshape(each, width)
            parts.append(bits @ (1 << np.arange(width, dtype=np.int64)) + least)
            at += len(packed)
            left -= each
        if len(widths) < minis:
            raise ValueError("packed integers are cut")
    return np.concatenate(parts)[:count].cumsum(), at


def span(chunk: Chunk, *, signed: bool) -> tuple[int, int] | None:
    """Return the lowest and highest value of an integer column's chunk; None where its statistics give none."""
    if chunk.lowest is None or chunk.highest is None or chunk.type not in {INT32, INT64}:
        return None
    low, high = (int.from_bytes(limit, "little", signed=signed) for limit in (chunk.lowest, chunk.highest))
    return (low, high) if low <= high else None
