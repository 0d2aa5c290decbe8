"""Reading a segment file: its footer and its row groups, each checked before anything in them is used.

A checksum does not say who wrote a file, so the footer is compared with the manifest and the table's schema first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

import pyarrow as pa
import pyarrow.parquet as pq

from ccwatch.errors import CorruptRecording
from ccwatch.recording import segments
from ccwatch.recording.manifest import Segment
from ccwatch.recording.schemas import LAST_ENTRY, SCHEMAS

MOST_ROWS: Final = 1 << 23
MOST_GROUP_ROWS: Final = {"packets": 1 << 16, "events": 1 << 16, "frames": 1 << 17}
"""Rows of one row group; of these tables each row comes from an entry, of which a batch has 25,000."""


Bring = Callable[[Segment, int | None, Sequence[str] | None], None]
"""A function that fetches bytes of a segment before they are read: its footer, or columns (None is all) of a row group."""
_BRINGS: Final[WeakValueDictionary[Path, Mirrored]] = WeakValueDictionary()


class Mirrored:
    """A folder that is a partial copy of a remote recording: parts are fetched as they are read, while this object exists."""

    def __init__(self, folder: Path, bring: Bring) -> None:
        """Have `bring` provide the files of a folder."""
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
        segments.check_footer(self.path, segment.footer_crc)
        try:
            with pq.ParquetFile(self.path) as file:
                self.metadata = file.metadata
                schema = file.schema_arrow
        except (pa.ArrowException, OSError, ValueError) as error:
            raise CorruptRecording(f"{self.path}: {error}") from None
        self._check_columns(schema)
        self._check_rows()

    def _bring(self, group: int | None, columns: Sequence[str] | None) -> None:
        if self._mirrored is not None:
            self._mirrored.bring(self.segment, group, columns)

    def _check_columns(self, schema: Any) -> None:
        known = {field.name: field for field in SCHEMAS.get(self.segment.table, ())}
        for field in schema:
            expected = known.get(field.name)
            if expected is not None and not (field.type == expected.type and field.nullable <= expected.nullable):
                raise CorruptRecording(f"{self.path}: {field.name}: expected {expected.type}, got {field.type}")
        if list(schema.names) != list(self.metadata.schema.names) or len(set(schema.names)) < len(schema.names):
            raise CorruptRecording(f"{self.path}: its columns are not those of a table")

    def _check_rows(self) -> None:
        found = [self.metadata.row_group(n).num_rows for n in range(self.groups)]
        if min(found, default=0) < 0 or sum(found) != self.segment.rows or self.metadata.num_rows != self.segment.rows:
            raise CorruptRecording(f"{self.path}: rows: expected {self.segment.rows:,}, got {sum(found):,}")
        most = MOST_GROUP_ROWS.get(self.segment.table, MOST_ROWS)
        if max(found, default=0) > most:
            raise CorruptRecording(f"{self.path}: rows: a row group of {max(found):,}; expected at most {most:,}")
        if self.groups * self.metadata.num_columns != len(self.segment.chunks):
            raise CorruptRecording(f"{self.path}: chunks: expected {self.groups * self.metadata.num_columns} checksums")

    @property
    def groups(self) -> int:
        """Return the count of its row groups."""
        return int(self.metadata.num_row_groups)

    def spans(self, column: str) -> list[tuple[int, int]]:
        """Return the lowest and highest value of an integer column by row group; the widest range where they are not stored."""
        names = self.metadata.schema.names
        everything = (-(2**63), LAST_ENTRY)
        if column not in names:
            return [everything] * self.groups
        found = [self.metadata.row_group(group).column(names.index(column)).statistics for group in range(self.groups)]
        return [(s.min, s.max) if s is not None and s.has_min_max else everything for s in found]

    def bad_chunks(self, group: int, columns: Sequence[str] | None = None) -> list[tuple[int, int]]:
        """Return offset and length of each column chunk of a row group that fails its checksum."""
        self._bring(group, columns)
        names = self.metadata.schema.names
        found = []
        with segments.opened(self.path) as file:
            size = os.fstat(file.fileno()).st_size
            for place, name in enumerate(names):
                if columns is None or name in columns:
                    start, length = segments.chunk_range(self.metadata, group, place)
                    is_inside = 0 <= start <= start + length <= size
                    if not is_inside or segments.chunk_crc(file, start, length) != self.segment.chunks[group * len(names) + place]:
                        found.append((max(0, start), max(0, length)))
        return found

    def read(self, group: int, columns: Sequence[str]) -> Any:
        """Return columns of one row group, in order of arrival, after comparing their checksums.

        Raises:
            CorruptRecording: they do not match, or hold what cannot be; the message names the file and the range.
        """
        table = self.segment.table
        by_place = table in segments.BY_PLACE
        stored = [*columns, "entry"] if by_place and "entry" not in columns else list(columns)
        for start, length in self.bad_chunks(group, stored):
            raise CorruptRecording(f"{self.path}, bytes {start} to {start + length}: a column fails its checksum")
        try:
            with pq.ParquetFile(self.path, page_checksum_verification=True) as file:
                found = file.read_row_group(group, columns=[name for name in stored if name in self.metadata.schema.names])
            found.validate(full=True)  # words that are no text, codes without a word
        except (pa.ArrowException, OSError, ValueError) as error:
            raise CorruptRecording(f"{self.path}: {error}") from error
        if found.num_rows != self.metadata.row_group(group).num_rows:
            raise CorruptRecording(f"{self.path}: rows: a row group of {found.num_rows:,} instead of what its footer says")
        return segments.with_all(segments.by_arrival(found) if by_place else found, columns, table)

    def read_all(self, columns: Sequence[str]) -> Any:
        """Return columns of all row groups; see `read`."""
        parts = [self.read(group, columns) for group in range(self.groups)]
        schema = pa.schema([SCHEMAS[self.segment.table].field(name) for name in columns])
        return pa.concat_tables(parts) if parts else schema.empty_table()
