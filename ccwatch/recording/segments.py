"""The tables of a recording as Arrow and Parquet: pinned schemas, encodings, items to tables, checked reading.

The public columns are those of `protocol.columns`, with an integer `x_us` beside each timestamp `x` (several engines cannot
subtract timestamps). A few more, at the end of each table, let `rebuild` make the packets again:

    entry      every table: the recording's own number of the packet or event that the row came from, from 1
    logs_kept  packets: how many lines at the end of the list before begin this list, -1 where `frames` has to tell
    raw_from   packets: where the raw message is: "frames", "fields" (encoding the packet in its layout gives it) or "none"
    layout     packets: what the packet's fields do not tell about its message (see `protocol.layout`)

Frames on the screen and files on the disk are made from the same Arrow tables, so they cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ccwatch import frames
from ccwatch.errors import CcwatchError, CorruptRecording
from ccwatch.protocol import codec, layout
from ccwatch.protocol.columns import TABLES, Column
from ccwatch.protocol.messages import SEEN_BEFORE, Event, Flag, LogLine, Packet
from ccwatch.recording.folder import crc32c

_SEEN: Final = int(SEEN_BEFORE)
_ODD: Final = int(Flag.NO_TIME | Flag.PLACEHOLDER | Flag.UNIT | Flag.COERCED | Flag.WRONG_TYPE)
"""Flags of a packet whose columns do not hold its values as they came."""
MOST_LAYOUTS: Final = 256
"""Layouts of one batch beyond which messages are kept instead: a stream that has so many has none."""

Item = Packet | Event
Numbered = tuple[int, Item]

LAST_ENTRY: Final = 2**63 - 1
"""No recording has an entry of this number."""
FRAMES: Final = "frames"
ALL_TABLES: Final = (*TABLES, FRAMES)
ENTRY: Final = Column("entry", "uint64", "", "", "the recording's own number of the packet or event, from 1")
_RECEIVED: Final = tuple(c for c in TABLES["packets"] if c.name in {"received_at", "received_mono_ns", "connection"})
_INTERNAL: Final[dict[str, tuple[Column, ...]]] = {
    "packets": (
        Column("logs_kept", "int32", "", "", "lines at the end of the list before that begin this list; -1: see frames"),
        Column("raw_from", "category", "", "", "where the raw message is", words=("frames", "fields", "none")),
        Column("layout", "category", "", "", "what the fields do not tell about the message"),
        ENTRY,
    ),
    "agents": (ENTRY,),
    "models": (ENTRY,),
    "logs": (Column("log_time_raw", "text", "", "", "the line's own time, as it came"), ENTRY),
    "forecasts": (ENTRY,),
    "events": (*_RECEIVED, ENTRY),
    FRAMES: (),
}
STORED: Final[dict[str, tuple[Column, ...]]] = {table: (*columns, *_INTERNAL[table]) for table, columns in TABLES.items()}
"""The columns of each table on the disk, without the `x_us` ones and without `frames`."""

_ARROW: Final[dict[str, Any]] = {
    "time": pa.timestamp("ns", "UTC"),
    "uint64": pa.uint64(),
    "int64": pa.int64(),
    "int32": pa.int32(),
    "uint32": pa.uint32(),
    "float64": pa.float64(),
    "category": pa.dictionary(pa.int32(), pa.string()),
    "text": pa.string(),
}
_FRAMES_SCHEMA: Final = pa.schema(
    [
        pa.field("seq", pa.uint64(), nullable=False),
        pa.field("why", _ARROW["category"]),
        pa.field("raw", pa.binary(), nullable=False),
        pa.field("entry", pa.uint64(), nullable=False),
    ]
)
_NULLABLE: Final = frozenset({"category", "text"})


def _schema(table: str) -> Any:
    fields = []
    for column in STORED[table]:
        may_miss = column.dtype in _NULLABLE or column.name == "log_time"
        fields.append(pa.field(column.name, _ARROW[column.dtype], nullable=may_miss))
        if column.dtype == "time":
            fields.append(pa.field(f"{column.name}_us", pa.int64(), nullable=may_miss))
    return pa.schema(fields)


SCHEMAS: Final[dict[str, Any]] = {**{table: _schema(table) for table in TABLES}, FRAMES: _FRAMES_SCHEMA}
"""One schema per table, for every file of every session of this format."""


def public_schema(table: str) -> Any:
    """The schema of a table with its public columns alone."""
    return pa.schema([SCHEMAS[table].field(column.name) for column in TABLES[table]])


# Measured: full-mantissa doubles shrink most when their bytes are split; rates and latencies of few digits as a dictionary, like
# text; counters and money, whose neighbours resemble each other, by zstd alone.
_DICTIONARY: Final = frozenset({"latency_ms", "success_rate", "price"})
_DIGITS: Final = 9
"""Decimals beyond which a double counts as one of full mantissa."""


def _encodings(table: str, sample: Any) -> tuple[list[str], dict[str, str]]:
    """The columns kept as dictionaries, and the encoding of each of the others, by the first rows of a file."""
    dictionaries, encodings = [], {}
    for field in SCHEMAS[table]:
        if pa.types.is_integer(field.type) or pa.types.is_timestamp(field.type):
            encodings[field.name] = "DELTA_BINARY_PACKED"
        elif pa.types.is_floating(field.type) and _is_full(sample[field.name].to_numpy()):
            encodings[field.name] = "BYTE_STREAM_SPLIT"
        elif pa.types.is_binary(field.type) or (pa.types.is_floating(field.type) and field.name not in _DICTIONARY):
            encodings[field.name] = "PLAIN"
        else:
            dictionaries.append(field.name)
    return dictionaries, encodings


def _is_full(values: Any) -> bool:
    """Whether most of the numbers that are there have more digits than a person would write."""
    known = values[~np.isnan(values)]
    return bool(len(known)) and bool((np.round(known, _DIGITS) != known).mean() > 0.5)


# ── items to tables ────────────────────────────────────────────────────────────────────────────────────────────────────


def tables_of(batch: Sequence[Numbered], *, raw: str | None = None) -> dict[str, Any]:
    """Numbered items as Arrow tables, by name of the table.

    Args:
        batch: entry and item, in order.
        raw: which raw messages `frames` keeps: "auto" what could not be rebuilt byte for byte, "always" all, "never" none but
            malformed ones. None: no `frames` at all, and what serves rebuilding is left empty: for reading, not for keeping.
    """
    packets = [(entry, item) for entry, item in batch if isinstance(item, Packet)]
    kept = _Kept(packets, raw)
    raws = kept.rows
    columns: dict[str, dict[str, Any]] = {"packets": frames.packet_columns([packet for _, packet in packets])}
    columns["packets"] |= {"logs_kept": kept.logs_kept, "raw_from": kept.raw_from, "layout": kept.layouts}
    columns["packets"]["entry"] = [entry for entry, _ in packets]
    fresh = [(entry, packet) for entry, packet in packets if not packet.flags & _SEEN]
    for table, field in frames.LISTS.items():
        columns[table] = _long_columns(table, fresh, [getattr(packet, field) for _, packet in fresh])
    events = [(entry, item) for entry, item in batch if isinstance(item, Event)]
    received = [c.field for c in _RECEIVED]
    rows = [
        (*row, *(getattr(event, field) for field in received), entry)
        for entry, event in events
        for row in frames.long_rows("events", event)
    ]
    columns["events"] = _columns(STORED["events"], rows)
    found = {table: _table(table, columns[table]) for table in TABLES}
    if raw is not None:
        raws.extend((event.seq, event.kind, event.raw, entry) for entry, event in events if event.raw)
        raws.sort(key=lambda row: row[3])
        fields = [pa.array([row[i] for row in raws], field.type) for i, field in enumerate(_FRAMES_SCHEMA)]
        found[FRAMES] = pa.Table.from_arrays(fields, schema=_FRAMES_SCHEMA)
    return found


def _long_columns(table: str, packets: Sequence[tuple[int, Packet]], lists: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    """The rows of packets in a long table, by column: nine metrics per packet leave no time for a tuple of each."""
    counts = [len(entries) for entries in lists]
    own = list(zip(*chain.from_iterable(lists), strict=True)) or [()] * (len(STORED[table]) - 3)
    found: dict[str, Any] = {
        "time_ns": np.repeat(np.array([packet.time_ns for _, packet in packets], dtype=np.int64), counts),
        "seq": np.repeat(np.array([packet.seq for _, packet in packets], dtype=np.uint64), counts),
        "entry": np.repeat(np.array([entry for entry, _ in packets], dtype=np.uint64), counts),
    }
    return found | dict(zip([column.field for column in STORED[table][2:-1]], own, strict=True))


def _columns(columns: Sequence[Column], rows: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]]:
    return {column.field: [row[i] for row in rows] for i, column in enumerate(columns)}


def _table(table: str, values: dict[str, Any]) -> Any:
    arrays = []
    for column in STORED[table]:
        found = values[column.field]
        if column.dtype == "time":
            ns = pa.array(found, pa.int64())
            arrays.append(ns.cast(_ARROW["time"]))
            us = found // 1000 if isinstance(found, np.ndarray) else [None if value is None else value // 1000 for value in found]
            arrays.append(pa.array(us, pa.int64()))
        elif column.dtype == "category":
            arrays.append(pa.array(found, pa.string()).dictionary_encode())
        else:
            arrays.append(pa.array(found, _ARROW[column.dtype]))
    return pa.Table.from_arrays(arrays, schema=SCHEMAS[table])


class _Kept:
    """What serves rebuilding the packets of a batch: `logs_kept`, `raw_from` and `layouts` of each, and the rows of `frames`.

    The first packet of a batch follows none, so that reading can begin at any batch.
    """

    def __init__(self, packets: Sequence[tuple[int, Packet]], raw: str | None) -> None:
        self.logs_kept: list[int] = []
        self.raw_from: list[str] = []
        self.layouts: list[str | None] = []
        self.rows: list[tuple[Any, ...]] = []
        self._layouts = layout.Layouts()
        self._known: set[str] = set()
        self._proven: set[str] = set()
        before: Packet | None = None
        for entry, packet in packets:
            self._add(entry, packet, before, raw)
            before = packet

    def _add(self, entry: int, packet: Packet, before: Packet | None, raw: str | None) -> None:
        follows = -1 if raw is None else _logs_kept(before, packet)
        source, found = "none", None
        if packet.raw and raw == "always":
            source, follows = "frames", -1
        elif packet.raw and raw == "auto":
            found = self._layout(packet) if follows >= 0 else None
            source, follows = ("frames", -1) if found is None else ("fields", follows)
        self.logs_kept.append(follows)
        self.raw_from.append(source)
        self.layouts.append(found)
        if source == "frames":
            self.rows.append((packet.seq, "kept", packet.raw, entry))
        elif follows < 0 and raw is not None:
            self.rows.append((packet.seq, "lists", codec.encode(packet), entry))

    def _layout(self, packet: Packet) -> str | None:
        """The layout in which the packet's fields give its message byte for byte; None where there is none.

        It is tried out, once per layout where nothing about a packet is odd: its values stand in their columns as they came then.
        """
        try:
            found = self._layouts.of(packet.raw)
            is_usual = not (packet.extra or packet.forecasts or packet.flags & _ODD)
            if found is None or (is_usual and found in self._proven):
                return found
            if found not in self._known and len(self._known) >= MOST_LAYOUTS:
                return None
            if layout.encode(packet, found) != packet.raw:
                return None
        except (CcwatchError, LookupError, TypeError, ValueError, RecursionError):
            # Fields that no longer fit together, after a type changed in mid-stream, say: then the bytes are kept.
            return None
        self._known.add(found)
        if is_usual:
            self._proven.add(found)
        return found


def _logs_kept(before: Packet | None, packet: Packet) -> int:
    """How many lines at the end of the list before begin this one, so that the tables alone tell all lists; else -1."""
    lines: tuple[LogLine, ...] = before.logs if before is not None else ()
    if packet.flags & _SEEN:  # the long tables have no rows of it: its lists must be those before
        lists_before = () if before is None else (before.agents, before.models, before.forecasts, before.logs)
        same = lists_before == (packet.agents, packet.models, packet.forecasts, packet.logs) and not packet.new_logs
        return len(lines) if same else -1
    count = len(packet.logs) - len(packet.new_logs)
    follows = 0 <= count <= len(lines) and packet.logs == lines[len(lines) - count :] + packet.new_logs
    return count if follows else -1


# ── files ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def writer(path: Path, table: str, sample: Any) -> Any:
    """A Parquet writer of one table's file; `sample` are its first rows, which tell how the others are best kept."""
    dictionaries, encodings = _encodings(table, sample)
    return pq.ParquetWriter(
        path,
        SCHEMAS[table],
        compression="zstd",
        compression_level=3,
        use_dictionary=dictionaries,
        column_encoding=encodings,
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
    """Columns of a segment file, or of some of its row groups, as an Arrow table, after their checksums were compared.

    Raises:
        CorruptRecording: they do not match; the message names the file and the range.
    """
    try:
        for start, size in bad_chunks(path, crcs, groups, columns):
            raise CorruptRecording(f"{path}, bytes {start} to {start + size}: a column fails its checksum")
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            wanted = range(file.metadata.num_row_groups) if groups is None else groups
            return _with_all(file.read_row_groups(list(wanted), columns=list(columns)), columns, path.name.partition("-")[0])
    except FileNotFoundError:
        raise CorruptRecording(f"{path} is missing") from None
    except (pa.ArrowException, OSError) as error:
        raise CorruptRecording(f"{path}: {error}") from error


def _with_all(found: Any, columns: Sequence[str], table: str) -> Any:
    """The columns in the order asked for; one that an earlier ccwatch did not write yet is missing in every row."""
    for name in columns:
        if name not in found.schema.names:
            field = SCHEMAS[table].field(name)
            found = found.append_column(field, pa.nulls(found.num_rows, field.type))
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
