"""Export: a recording for other programs, as JSON lines, CSV, Parquet or MCAP. It reads in bounded memory and changes nothing."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, Literal, get_args

import pyarrow.parquet as pq

from ccwatch.errors import ConfigError
from ccwatch.protocol.columns import TABLES, Column
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.messages import Event, Flag, Packet, from_ns
from ccwatch.recording import mcap_file, schemas
from ccwatch.recording.arrow_tables import ArrowTables
from ccwatch.recording.recording import Recording
from ccwatch.stream import dataframes
from ccwatch.stream.time_ranges import Moment
from ccwatch.text import no_formula, plain_json

Format = Literal["jsonl", "csv", "parquet", "mcap"]
FORMATS: Final = get_args(Format)
BATCH: Final = 4096


def export(
    recording: Recording,
    out: IO[bytes] | Path,
    to: Format,
    *,
    table: str = "packets",
    start: Moment = None,
    end: Moment = None,
    quote_formulas: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> int:
    """Write one table of a recording, every row in order of arrival, and return the count of rows.

    Args:
        recording: the recording to export.
        out: a binary stream, or the path of a file, which is written whole or not at all.
        to: "jsonl": for packets one line each with seq, received_at, flags and the whole message, for other tables a line per row;
            "csv": a line per row, text columns included; times are ISO 8601 in UTC with nanoseconds, missing values are empty;
            "parquet": one file with the columns and types of `Recording.frame`; "mcap": each message as it arrived (see `mcap_file`).
        table: "packets", "agents", "models", "logs", "forecasts", "trades", "scanner", "bars" or "events".
        start: the first time; text without a zone is in `display_tz`, "14:38" is on its date.
        end: the last time, included.
        quote_formulas: in CSV, put an apostrophe before text that a spreadsheet would compute, which changes that cell's text.
        on_progress: called with the count of rows so far.

    Raises:
        ConfigError: an unknown format or table.
        CorruptRecording: bytes that are needed fail their checksum.
    """
    for name, value, known in (("format", to, FORMATS), ("table", table, tuple(TABLES))):
        if value not in known:
            raise ConfigError(f"{name}: expected one of {', '.join(known)}, got {value!r}")
    csv_writer = partial(_write_csv, quote_formulas=quote_formulas)
    writers: dict[str, Callable[..., int]] = {
        "jsonl": _write_jsonl,
        "csv": csv_writer,
        "parquet": _write_parquet,
        "mcap": lambda out, table, items, report: mcap_file.write(out, recording.session, table, items, _lines, report),
    }
    write = writers[to]
    items = recording.items(start=start, end=end)
    report = on_progress or (lambda _: None)
    if not isinstance(out, Path):
        return write(out, table, items, report)
    part = out.with_name(out.name + ".part")
    try:
        with part.open("wb") as file:
            rows = write(file, table, items, report)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return rows


def _write_jsonl(out: IO[bytes], table: str, items: Iterator[Packet | Event], report: Callable[[int], None]) -> int:
    count = 0
    for batch in _batches(items):
        lines = [plain_json(codec.text(line)) for item in batch for line in _lines(table, item)]
        out.write("".join(f"{line}\n" for line in lines).encode())
        count += len(lines)
        report(count)
    return count


def _lines(table: str, item: Packet | Event) -> Iterable[dict[str, Any]]:
    if table == "packets":
        return [packet_facts(item)] if isinstance(item, Packet) else ()
    columns = TABLES[table]
    return (
        {column.name: _plain(column, value) for column, value in zip(columns, row, strict=True)}
        for row in dataframes.long_rows(table, item)
    )


def packet_facts(packet: Packet) -> dict[str, Any]:
    """Return a packet as an object for JSON: seq, received_at, flags and the whole message."""
    message = codec.loads(packet.raw) if packet.raw else codec.loads(codec.encode(packet))
    flags = " ".join(flag.name or "" for flag in Flag(packet.flags))
    return {"seq": packet.seq, "received_at": packet.received_at.isoformat(), "flags": flags, "message": message}


def _write_csv(
    out: IO[bytes], table: str, items: Iterator[Packet | Event], report: Callable[[int], None], *, quote_formulas: bool = False
) -> int:
    columns = TABLES[table]
    lines = csv.writer(_Encoded(out))
    lines.writerow([column.name for column in columns])
    count = 0
    for batch in _batches(items):
        for row in _rows(table, batch):
            cells = [_plain(column, value) for column, value in zip(columns, row, strict=True)]
            lines.writerow([no_formula(cell) if isinstance(cell, str) else cell for cell in cells] if quote_formulas else cells)
            count += 1
        report(count)
    return count


class _Encoded:
    """Text for a binary stream, for `csv`, which writes text only. It never closes that stream."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out

    def write(self, text: str) -> int:
        return self._out.write(text.encode("utf-8", "backslashreplace"))


def _rows(table: str, batch: list[Packet | Event]) -> Iterable[tuple[Any, ...]]:
    if table != "packets":
        return (row for item in batch for row in dataframes.long_rows(table, item))
    values = dataframes.packet_columns([item for item in batch if isinstance(item, Packet)])
    return zip(*(values[column.field] for column in TABLES["packets"]), strict=True)


def _write_parquet(out: IO[bytes], table: str, items: Iterator[Packet | Event], report: Callable[[int], None]) -> int:
    names = [column.name for column in TABLES[table]]
    schema = schemas.public_schema(table)
    made = ArrowTables()
    count = 0
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        for batch in _batches(items):
            rows = made.of(list(enumerate(batch, count)))[table].select(names)
            writer.write_table(rows)
            count += rows.num_rows
            report(count)
    return count


def _batches(items: Iterator[Packet | Event]) -> Iterator[list[Packet | Event]]:
    while batch := list(islice(items, BATCH)):
        yield batch


def _plain(column: Column, value: Any) -> Any:
    """Return a cell as a value that JSON and CSV can hold."""
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return None
    if column.dtype == "time":
        return f"{from_ns(value):%Y-%m-%dT%H:%M:%S}.{value % 1_000_000_000:09d}Z"
    return value
