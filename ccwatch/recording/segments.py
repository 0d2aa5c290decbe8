"""The files of a recording's tables: writing them, finding and checking what is in them, and their columns as frames take them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ccwatch.errors import CorruptRecording
from ccwatch.protocol.columns import Column
from ccwatch.recording.folder import crc32c
from ccwatch.recording.schemas import LAST_ENTRY, SCHEMAS, encodings
from ccwatch.stream import frames

LEVEL: Final = 5
"""Of zstd: 4 % smaller than at 3 for 1 µs more per packet; a further 2 % at 9 would take another 1.4 µs."""
BY_PLACE: Final = frozenset({"agents", "models"})
"""Tables of which each packet has several rows, always the same: within a row group the first rows of all packets stand first, then
the second ones, so that neighbours are of one agent. Reading puts them back into the order of arrival."""


def arranged(table: str, rows: Any) -> Any:
    """Rows in order of arrival, in the order in which a row group keeps them."""
    if table not in BY_PLACE or not rows.num_rows:
        return rows
    entries = rows["entry"].to_numpy()
    places = np.arange(len(entries)) - np.searchsorted(entries, entries)
    return rows.take(pa.array(np.argsort(places, kind="stable")))


def _by_arrival(rows: Any) -> Any:
    """Rows of a segment in order of arrival: by `entry`, and of one entry as they stand."""
    entries = rows["entry"].to_numpy()
    if bool((entries[1:] >= entries[:-1]).all()):  # an earlier ccwatch wrote them so
        return rows
    return rows.take(pa.array(np.argsort(entries, kind="stable")))


def writer(path: Path, table: str, sample: Any) -> Any:
    """A Parquet writer of one table's file; `sample` are its first rows, which tell how the others are best kept."""
    dictionaries, others = encodings(table, sample)
    return pq.ParquetWriter(
        path,
        SCHEMAS[table],
        compression="zstd",
        compression_level=LEVEL,
        use_dictionary=dictionaries,
        column_encoding=others,
        dictionary_pagesize_limit=8 << 20,
        write_page_checksum=True,
        write_page_index=True,
    )


def footer_crc(path: Path) -> int:
    """CRC32C of a Parquet file's footer.

    Raises:
        CorruptRecording: there is none.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 8))
        end = file.read()
        length = int.from_bytes(end[:4], "little") + 8
        if end[4:] != b"PAR1" or length > size:
            raise CorruptRecording(f"{path}, bytes {max(0, size - 8)} to {size}: not the end of a Parquet file")
        file.seek(size - length)
        return crc32c(file.read())


def check_footer(path: Path, crc: int) -> None:
    """Compare the checksum of a segment's footer, without which nothing in it can be found.

    Raises:
        CorruptRecording: it does not match, or there is no such file.
    """
    try:
        is_right = footer_crc(path) == crc
    except FileNotFoundError:
        raise CorruptRecording(f"{path} is missing") from None
    if not is_right:
        raise CorruptRecording(f"{path}: its footer fails its checksum")


def chunk_crcs(path: Path) -> list[int]:
    """CRC32C of each column chunk, row group by row group: pages with their headers, which no page checksum covers."""
    metadata = pq.read_metadata(path)
    with path.open("rb") as file:
        return [
            _chunk_crc(file, *_chunk_range(metadata, group, column))
            for group in range(metadata.num_row_groups)
            for column in range(metadata.num_columns)
        ]


def spans(path: Path, column: str) -> list[tuple[int, int]]:
    """Lowest and highest value of an integer column in each row group of a segment file whose footer was checked."""
    metadata = pq.read_metadata(path)
    place = metadata.schema.names.index(column)
    found = [metadata.row_group(group).column(place).statistics for group in range(metadata.num_row_groups)]
    return [(s.min, s.max) if s is not None and s.has_min_max else (0, LAST_ENTRY) for s in found]


def read(path: Path, columns: Sequence[str], crcs: Sequence[int], groups: Sequence[int] | None = None) -> Any:
    """Columns of a segment file, or of some of its row groups, in order of arrival, after their checksums were compared.

    Raises:
        CorruptRecording: they do not match; the message names the file and the range.
    """
    table = path.name.partition("-")[0]
    stored = [*columns, "entry"] if table in BY_PLACE and "entry" not in columns else list(columns)
    try:
        for start, size in bad_chunks(path, crcs, groups, stored):
            raise CorruptRecording(f"{path}, bytes {start} to {start + size}: a column fails its checksum")
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            wanted = range(file.metadata.num_row_groups) if groups is None else groups
            found = file.read_row_groups(list(wanted), columns=stored)
        return _with_all(_by_arrival(found) if table in BY_PLACE else found, columns, table)
    except FileNotFoundError:
        raise CorruptRecording(f"{path} is missing") from None
    except (pa.ArrowException, OSError) as error:
        raise CorruptRecording(f"{path}: {error}") from error


def _with_all(found: Any, columns: Sequence[str], table: str) -> Any:
    """The columns in the order asked for; one that an earlier ccwatch did not write yet is missing in every row."""
    for name in columns:
        if name not in found.schema.names:
            field = SCHEMAS[table].field(name)
            missing = pa.nulls(found.num_rows, field.type)
            found = found.append_column(field, missing.fill_null(np.nan) if pa.types.is_floating(field.type) else missing)
    return found.select(list(columns))


def bad_chunks(
    path: Path, crcs: Sequence[int], groups: Iterable[int] | None = None, columns: Sequence[str] | None = None
) -> list[tuple[int, int]]:
    """Offset and length of each column chunk whose bytes fail their checksum."""
    metadata = pq.read_metadata(path)
    names = metadata.schema.names
    if metadata.num_row_groups * len(names) != len(crcs):
        return [(0, path.stat().st_size)]
    found = []
    with path.open("rb") as file:
        for group in range(metadata.num_row_groups) if groups is None else groups:
            for place, name in enumerate(names):
                if columns is None or name in columns:
                    start, size = _chunk_range(metadata, group, place)
                    if _chunk_crc(file, start, size) != crcs[group * len(names) + place]:
                        found.append((start, size))
    return found


def _chunk_range(metadata: Any, group: int, column: int) -> tuple[int, int]:
    chunk = metadata.row_group(group).column(column)
    start = chunk.data_page_offset
    if chunk.dictionary_page_offset is not None:
        start = min(start, chunk.dictionary_page_offset)
    return start, chunk.total_compressed_size


def _chunk_crc(file: Any, start: int, size: int) -> int:
    file.seek(start)
    return crc32c(file.read(size))


# ── tables to values ───────────────────────────────────────────────────────────────────────────────────────────────────


def values_of(table: Any, columns: Iterable[Column]) -> dict[str, Any]:
    """Columns of an Arrow table by field name, as `frames.build` takes them."""
    return {column.field: _values(table[column.name], column) for column in columns}


def _values(array: Any, column: Column) -> Any:
    if column.dtype == "time":
        return array.cast(pa.int64()).fill_null(frames.NOT_A_TIME).to_numpy()
    if column.dtype == "category":
        whole = array.unify_dictionaries().combine_chunks()
        if isinstance(whole, pa.ChunkedArray):
            whole = whole.chunk(0) if whole.num_chunks else pa.array([], array.type)
        codes = np.asarray(whole.indices.fill_null(-1))
        return pd.Categorical.from_codes(codes, categories=pd.Index(whole.dictionary.to_pylist(), dtype="str"), validate=False)
    if column.dtype == "text":
        return array.to_pylist()
    return array.to_numpy()
