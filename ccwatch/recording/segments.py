"""The files of a recording's tables: writing them, finding and checking what is in them, and their columns as frames take them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ccwatch.errors import CorruptRecording
from ccwatch.protocol.columns import Column
from ccwatch.recording import parquet_format
from ccwatch.recording.folder import crc32c
from ccwatch.recording.parquet_format import Footer
from ccwatch.recording.schemas import SCHEMAS, encodings
from ccwatch.stream import dataframes

LEVEL: Final = 5
"""Of zstd: 4 % smaller than at 3 for 1 µs more per packet; a further 2 % at 9 would take another 1.4 µs."""
BY_PLACE: Final = frozenset({"agents", "models"})
"""Tables of which each packet has several rows, always the same: within a row group the first rows of all packets come first, then
the second ones, so that neighbours are of one agent. Reading puts them back into the order of arrival."""
MOST_FOOTER_BYTES: Final = 64 << 20
FOOTERS: Final = 64
"""Of so many files what the footer says is kept, since each question to a recording opens its files again."""


def arranged(table: str, rows: Any) -> Any:
    """Return rows, given in order of arrival, in the order in which a row group keeps them."""
    if table not in BY_PLACE or not rows.num_rows:
        return rows
    entries = rows["entry"].to_numpy()
    places = np.arange(len(entries)) - np.searchsorted(entries, entries)
    return rows.take(pa.array(np.argsort(places, kind="stable")))


def by_arrival(rows: Any) -> Any:
    """Return the rows of a row group in order of arrival: by `entry`, and within one entry in their order."""
    entries = rows["entry"].to_numpy()
    if bool((entries[1:] >= entries[:-1]).all()):  # an earlier ccwatch wrote them so
        return rows
    return rows.take(pa.array(np.argsort(entries, kind="stable")))


def writer(path: Path, table: str, sample: Any) -> Any:
    """Return a Parquet writer of one table's file; its first rows, `sample`, decide the encodings."""
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


def footer_end(path: Path) -> tuple[bytes, int]:
    """Return a Parquet file's footer, with its length and the magic behind it, and the size of the file.

    Raises:
        CorruptRecording: the file has no footer, or cannot be read.
    """
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - 8))
        end = file.read()
        length = int.from_bytes(end[:4], "little") + 8
        if end[4:] != parquet_format.MAGIC or length > min(size, MOST_FOOTER_BYTES):
            raise CorruptRecording(f"{path}, bytes {max(0, size - 8)} to {size}: not the end of a Parquet file")
        file.seek(size - length)
        return file.read(length), size


def footer_crc(path: Path) -> int:
    """Return the CRC32C of a Parquet file's footer; see `footer_end`."""
    return crc32c(footer_end(path)[0])


def footer(path: Path, crc: int | None = None) -> Footer:
    """Return what a Parquet file's footer says, after comparing its checksum with `crc`, unless that is None.

    Raises:
        CorruptRecording: it does not match, contradicts itself, or there is no such file.
    """
    end, size = footer_end(path)
    if crc is not None and crc32c(end) != crc:
        raise CorruptRecording(f"{path}: its footer fails its checksum")
    try:
        return _footer_of(end, size)
    except ValueError as error:
        raise CorruptRecording(f"{path}: its footer: {error}") from None


_footer_of: Final = lru_cache(maxsize=FOOTERS)(parquet_format.footer_of)


def opened(path: Path) -> Any:
    """Open an ordinary file for reading.

    Raises:
        CorruptRecording: it is missing, no ordinary file, or cannot be read.
    """
    try:
        if not path.is_file():
            raise CorruptRecording(f"{path} is missing" if not path.exists() else f"{path}: expected an ordinary file")
        return path.open("rb")
    except OSError as error:
        raise CorruptRecording(f"{path} cannot be read: {error.strerror or error}") from None


def chunk_crcs(path: Path) -> list[int]:
    """Return the CRC32C of each column chunk, row group by row group: pages with their headers, which no page checksum covers."""
    found = footer(path)
    with path.open("rb") as file:
        return [chunk_crc(file, chunk.start, chunk.length) for chunks in found.chunks for chunk in chunks]


def with_all(found: Any, columns: Sequence[str], table: str) -> Any:
    """Return the columns in the requested order; one that an earlier ccwatch did not write has missing values.

    Raises:
        CorruptRecording: a column is absent that every ccwatch writes.
    """
    for name in columns:
        if name not in found.schema.names:
            field = SCHEMAS[table].field(name)
            if not (field.nullable or pa.types.is_floating(field.type)):
                raise CorruptRecording(f"{table}: {name}: a file without this column is none of a recording's")
            missing = pa.nulls(found.num_rows, field.type)
            found = found.append_column(field, missing.fill_null(np.nan) if pa.types.is_floating(field.type) else missing)
    return found.select(list(columns))


def chunk_crc(file: Any, start: int, size: int) -> int:
    """Return the CRC32C of a stretch of a file."""
    file.seek(start)
    return crc32c(file.read(size))


# ── tables to values ───────────────────────────────────────────────────────────────────────────────────────────────────


def values_of(table: Any, columns: Iterable[Column]) -> dict[str, Any]:
    """Return the columns of an Arrow table by field name, as `dataframes.build` takes them."""
    return {column.field: _values(table[column.name], column) for column in columns}


def _values(array: Any, column: Column) -> Any:
    if column.dtype == "time":
        return array.cast(pa.int64()).fill_null(dataframes.NOT_A_TIME).to_numpy()
    if column.dtype == "category":
        whole = array.unify_dictionaries().combine_chunks()
        if isinstance(whole, pa.ChunkedArray):
            whole = whole.chunk(0) if whole.num_chunks else pa.array([], array.type)
        codes = np.asarray(whole.indices.fill_null(-1))
        return dataframes.of_codes(codes, whole.dictionary.to_pylist())
    if column.dtype == "text":
        return array.to_pylist()
    return array.to_numpy()
