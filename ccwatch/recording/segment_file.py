"""Reading a segment file: its footer and its row groups, each checked before anything in them is used.

A checksum does not say who wrote a file, so the footer is compared with the manifest and the table's schema first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ccwatch.errors import CorruptRecording
from ccwatch.recording import parquet_format, segments
from ccwatch.recording.folder import crc32c
from ccwatch.recording.manifest import Segment
from ccwatch.recording.parquet_format import Chunk
from ccwatch.recording.schemas import LAST_ENTRY, SCHEMAS

MOST_ROWS: Final = 1 << 23
MOST_GROUP_ROWS: Final = {"packets": 1 << 16, "events": 1 << 16, "frames": 1 << 17}
"""Rows of one row group; of these tables each row comes from an entry, of which a batch has 25,000."""

THREADED: Final = 1 << 17
"""Values of a row group from which on Arrow decodes its columns side by side: for fewer, handing them to threads costs more."""

Bring = Callable[[Segment, int | None, Sequence[str] | None], None]
"""A function that fetches bytes of a segment before they are read: its footer, or columns (None is all) of a row group."""
_BRINGS: Final[WeakValueDictionary[Path, Mirrored]] = WeakValueDictionary()


class Mirrored:
    """A folder that is a partial copy of a remote recording: parts are fetched as they are read, while this object exists."""

    def __init__(self, folder: Path, bring: Bring) -> None:
        """Use `bring` to provide the files of a folder."""
        self.bring = bring
        _BRINGS[folder] = self


class SegmentFile:
    """A segment whose footer was read and checked."""

    def __init__(self, folder: Path, segment: Segment) -> None:
        """Read and check the footer.

        Raises:
            CorruptRecording: it fails its checksum, or describes another table, other rows or columns of other types.
        """
        self.path = folder / segment.path
        self.segment = segment
        self._mirrored = _BRINGS.get(folder)
        self._bring(None, None)
        self.footer = segments.footer(self.path, segment.footer_crc)
        self._check_rows()
        try:
            with pq.ParquetFile(self.path) as file:
                schema = file.schema_arrow
        except (pa.ArrowException, OSError, ValueError) as error:
            raise CorruptRecording(f"{self.path}: {error}") from None
        self._check_columns(schema)
        self._schema = schema

    def _bring(self, group: int | None, columns: Sequence[str] | None) -> None:
        if self._mirrored is not None:
            self._mirrored.bring(self.segment, group, columns)

    def _check_columns(self, schema: Any) -> None:
        known = {field.name: field for field in SCHEMAS.get(self.segment.table, ())}
        for field in schema:
            expected = known.get(field.name)
            if expected is not None and not (field.type == expected.type and field.nullable <= expected.nullable):
                raise CorruptRecording(f"{self.path}: {field.name}: expected {expected.type}, got {field.type}")
        if tuple(schema.names) != self.footer.names:
            raise CorruptRecording(f"{self.path}: its columns are not those of a table")

    def _check_rows(self) -> None:
        if self.footer.rows != self.segment.rows:
            raise CorruptRecording(f"{self.path}: rows: expected {self.segment.rows:,}, got {self.footer.rows:,}")
        most, found = MOST_GROUP_ROWS.get(self.segment.table, MOST_ROWS), max(self.footer.groups, default=0)
        if found > most:
            raise CorruptRecording(f"{self.path}: rows: a row group of {found:,}; expected at most {most:,}")
        if sum(map(len, self.footer.chunks)) != len(self.segment.chunks):
            raise CorruptRecording(f"{self.path}: chunks: expected {sum(map(len, self.footer.chunks))} checksums")

    @property
    def groups(self) -> int:
        """Return the count of its row groups."""
        return len(self.footer.groups)

    def spans(self, column: str) -> list[tuple[int, int]]:
        """Return the lowest and highest value of an integer column by row group; the widest range where they are not stored."""
        everything = (-(2**63), LAST_ENTRY)
        if column not in self.footer.names:
            return [everything] * self.groups
        place = self.footer.names.index(column)
        is_signed = not pa.types.is_unsigned_integer(SCHEMAS[self.segment.table].field(column).type)
        return [parquet_format.span(chunks[place], signed=is_signed) or everything for chunks in self.footer.chunks]

    def _chunks(self, group: int, columns: Sequence[str] | None) -> Iterator[tuple[str, Chunk, bytes | None]]:
        """Yield the column chunks of a row group, each with its name and bytes; None in their place where they fail their checksum."""
        self._bring(group, columns)
        names = self.footer.names
        with segments.opened(self.path) as file:
            for place, (name, chunk) in enumerate(zip(names, self.footer.chunks[group], strict=True)):
                if columns is None or name in columns:
                    file.seek(chunk.start)
                    data = file.read(chunk.length)
                    is_good = crc32c(data) == self.segment.chunks[group * len(names) + place]
                    yield name, chunk, data if is_good else None

    def bad_chunks(self, group: int, columns: Sequence[str] | None = None) -> list[tuple[int, int]]:
        """Return offset and length of each column chunk of a row group that fails its checksum."""
        return [(chunk.start, chunk.length) for _, chunk, data in self._chunks(group, columns) if data is None]

    def read(self, group: int, columns: Sequence[str]) -> Any:
        """Return columns of one row group, in order of arrival, after comparing their checksums and checking their pages.

        Raises:
            CorruptRecording: they do not match, or hold what cannot be; the message names the file and the range.
        """
        table, rows = self.segment.table, self.footer.groups[group]
        by_place = table in segments.BY_PLACE
        stored = [*columns, "entry"] if by_place and "entry" not in columns else list(columns)
        encoded = self._check_chunks(group, stored)
        try:
            with pq.ParquetFile(self.path, page_checksum_verification=True, read_dictionary=encoded) as file:
                names = [name for name in stored if name in self.footer.names]
                found = file.read_row_group(group, columns=names, use_threads=rows * len(names) >= THREADED)
            found.validate(full=True)  # words that are no text, codes without a word
        except (pa.ArrowException, OSError, ValueError) as error:
            raise CorruptRecording(f"{self.path}: {error}") from error
        if found.num_rows != rows:
            raise CorruptRecording(f"{self.path}: rows: a row group of {found.num_rows:,} instead of what its footer says")
        for name in encoded:
            length = _length_of_words(found[name])
            if length > parquet_format.MOST_TEXT_BYTES:
                raise CorruptRecording(f"{self.path}: {name}: {length:,} bytes of text in {rows:,} rows")
            field = self._schema.field(name)
            found = found.set_column(found.schema.get_field_index(name), field, found[name].cast(field.type))
        found = segments.with_all(found, stored, table)
        return segments.by_arrival(found).select(list(columns)) if by_place else found

    def _check_chunks(self, group: int, columns: Sequence[str]) -> list[str]:
        """Check the column chunks of a row group, and return the columns whose words are kept in a dictionary."""
        encoded = []
        for name, chunk, data in self._chunks(group, columns):
            where = f"{self.path}, bytes {chunk.start} to {chunk.start + chunk.length}"
            if data is None:
                raise CorruptRecording(f"{where}: a column fails its checksum")
            try:
                encodings = parquet_format.check_pages(data, chunk, self.footer.groups[group])
            except ValueError as error:
                raise CorruptRecording(f"{where}: {error}") from None
            if chunk.type == parquet_format.BYTE_ARRAY and encodings & parquet_format.DICTIONARIES:
                encoded.append(name)
        return encoded

    def read_all(self, columns: Sequence[str]) -> Any:
        """Return columns of all row groups; see `read`."""
        parts = [self.read(group, columns) for group in range(self.groups)]
        schema = pa.schema([SCHEMAS[self.segment.table].field(name) for name in columns])
        return pa.concat_tables(parts) if parts else schema.empty_table()


def _length_of_words(column: Any) -> int:
    """Return the sum of the lengths, in bytes, of a column's words, of which few in a dictionary may make long texts."""
    found = 0
    for chunk in column.chunks:
        lengths = pc.binary_length(chunk.dictionary).fill_null(0).to_numpy().astype(np.int64)
        found += int(lengths[chunk.indices.drop_null().to_numpy()].sum())
    return found
