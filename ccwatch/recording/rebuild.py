"""Segment files back to packets and events, in their order, one row group in memory at a time.

A packet whose message `frames` keeps is decoded from it; any other is made from the rows of the tables (see `segments`).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from ccwatch.errors import CorruptRecording, ProtocolError
from ccwatch.protocol import facts
from ccwatch.protocol.columns import PACKETS, TABLES, Column
from ccwatch.protocol.decoding import codec, layout
from ccwatch.protocol.decoding.decoders import decoder_for
from ccwatch.protocol.messages import (
    NAN,
    NOTHING,
    SEEN_BEFORE,
    AgentMetric,
    DeferredBytes,
    Event,
    ForecastPoint,
    Instant,
    LogLine,
    ModelMetric,
    NewRows,
    Packet,
    ScannerEntry,
)
from ccwatch.protocol.repeated_hour import settled
from ccwatch.recording.arrow_tables import Numbered
from ccwatch.recording.entries import event_kind
from ccwatch.recording.manifest import Group, Segment
from ccwatch.recording.schemas import ALL_TABLES, FRAMES, LAST_ENTRY, STORED
from ccwatch.recording.segment_file import SegmentFile
from ccwatch.stream import dataframes

Row = dict[str, Any]
SLICE: Final = 2048
"""Count of rows that are Python objects at a time."""


def items(folder: Path, group: Group, server_tz: str, after: int = 0, until: int = LAST_ENTRY) -> Iterator[Numbered]:
    """Yield number and item of each entry of a group, beyond entry `after` and up to `until`.

    Only the row groups that hold them are read; the first packet of each follows none, so reading can begin at any.

    Raises:
        CorruptRecording: bytes that are needed fail their checksum.
    """
    opened = {table: _Rows(folder, group.files.get(table)) for table in ALL_TABLES}
    start = min(opened["packets"].first_entry(after), after + 1)
    raws = _Cursor(opened[FRAMES].rows(start, until, ("why", "raw", "entry")))
    parts = {table: _Cursor(opened[table].rows(start, until)) for table in dataframes.LONG}
    packets, events = (opened[table].rows(start, until) for table in ("packets", "events"))
    before: Packet | None = None
    for row in heapq.merge(packets, events, key=itemgetter("entry")):
        entry = row["entry"]
        if entry > until:
            return
        kept = raws.take(entry)
        raw = kept[0]["raw"] if kept else None
        try:
            if "flags" not in row:
                item: Packet | Event = _event(row, raw)
            else:
                item = before = _packet(row, {table: cursor.take(entry) for table, cursor in parts.items()}, raw, before, server_tz)
        except (ProtocolError, LookupError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise CorruptRecording(f"{folder}: entry {entry}: its columns make no packet: {error}") from None
        if entry > after:
            yield entry, item


def _event(row: Row, raw: bytes | None) -> Event:
    fields = {name: row[name] for name in Event._fields if name not in {"raw", "facts"}}
    fields["kind"] = event_kind(fields["kind"])
    return Event(**fields, raw=raw or b"", facts=facts.read(fields["kind"], fields["detail"]))


def _packet(row: Row, found: dict[str, list[Row]], raw: bytes | None, before: Packet | None, server_tz: str) -> Packet:
    new_logs = tuple([LogLine(r["level"], r["message"], r["log_time_ns"], r["log_time_raw"]) for r in found["logs"]])
    if raw is None:
        packet = _from_rows(row, found, new_logs, before)
    else:
        now = Instant(row["received_at_ns"], row["received_mono_ns"])
        packet = decoder_for().packet(raw, seq=row["seq"], connection=row["connection"], now=now, server_tz=server_tz)
        packet = settled(packet._replace(time_ns=row["time_ns"], flags=row["flags"], new_logs=new_logs), server_tz)
        packet = packet._replace(new_rows=_own_rows(packet, found))
    if row["raw_from"] == "none":
        return packet._replace(raw=b"")
    if row["raw_from"] == "fields":
        return packet._replace(raw=DeferredBytes(partial(_encoded, packet, row["layout"])))
    return packet


def _encoded(packet: Packet, shape: str | None) -> bytes:
    """Return the message of a packet, encoded in its layout.

    Raises:
        CorruptRecording: the layout is not the packet's.
    """
    try:
        return codec.encode(packet) if shape is None else layout.encode(packet, shape)
    except (ProtocolError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise CorruptRecording(f"packet {packet.seq}: layout: it does not give the message: {error}") from None


def _from_rows(row: Row, found: dict[str, list[Row]], new_logs: tuple[LogLine, ...], before: Packet | None) -> Packet:
    """Return a packet of which no message was kept, from the rows of the tables."""
    extra = row["extra"]
    lines = () if before is None else before.logs
    logs = lines[len(lines) - row["logs_kept"] :] + new_logs
    if row["flags"] & SEEN_BEFORE and before is not None:
        agents, models, forecasts, scanner = before.agents, before.models, before.forecasts, before.scanner
    else:
        here = {table: [r for r in found[table] if r["time_ns"] == row["time_ns"]] for table in ("agents", "models")}
        agents = tuple([AgentMetric(*[r[name] for name in AgentMetric._fields]) for r in here["agents"]])
        models = tuple([ModelMetric(*[r[name] for name in ModelMetric._fields]) for r in here["models"]])
        forecasts = tuple([ForecastPoint(*[r[name] for name in ForecastPoint._fields]) for r in found["forecasts"]])
        scanner = tuple([ScannerEntry(*[r[name] for name in ScannerEntry._fields]) for r in found.get("scanner", ())])
    fields = {column.field: row[column.field] for column in PACKETS}
    fields["extra"] = NOTHING if extra is None else MappingProxyType(codec.loads(extra.encode()))
    lists: dict[str, Any] = {"agents": agents, "models": models, "logs": logs, "forecasts": forecasts, "new_logs": new_logs}
    packet = Packet(**fields, **lists, calls=(), trades=(), scanner=scanner, bars=(), new_rows=NOTHING, raw=b"")
    return packet._replace(new_rows=_own_rows(packet, found))


def _own_rows(packet: Packet, found: dict[str, list[Row]]) -> NewRows:
    """Return a packet's rows with their own times: trades, bars, and those of calls."""
    called = {(call.table, call.name) for call in packet.calls}
    own = {}
    for table in ("agents", "models", "trades", "bars"):
        fields = [column.field for column in TABLES[table] if column.name != "seq"]
        rows = [tuple([r[name] for name in fields]) for r in found.get(table, ())]
        if table in dataframes.LISTS:
            rows = [r for r in rows if r[0] != packet.time_ns or (table, r[1]) in called]
        if rows:
            own[table] = tuple(rows)
    return MappingProxyType(own) if own else NOTHING


class _Cursor:
    """Rows of a table, in order of entry, taken entry by entry."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def take(self, entry: int) -> list[Row]:
        """Return the rows of this entry; those of earlier ones are passed over."""
        found = []
        while self._next is not None and self._next["entry"] <= entry:
            if self._next["entry"] == entry:
                found.append(self._next)
            self._next = next(self._rows, None)
        return found


class _Rows:
    """The rows of a segment by field name, one row group in memory at a time."""

    def __init__(self, folder: Path, segment: Segment | None) -> None:
        self._file = None if segment is None or not segment.rows else SegmentFile(folder, segment)
        self._spans = [] if self._file is None else self._file.spans("entry")

    def first_entry(self, after: int) -> int:
        """Return the first entry of the row group that holds the entries beyond `after`."""
        return next((low for low, high in self._spans if high > after), after + 1)

    def rows(self, start: int, until: int, names: Sequence[str] | None = None) -> Iterator[Row]:
        """Yield the rows of each row group that has an entry from `start` to `until`."""
        if self._file is None:
            return
        columns = [c for c in STORED.get(self._file.segment.table, ()) if names is None or c.name in names]
        wanted = list(names) if names is not None else [c.name for c in columns]
        for group, (low, high) in enumerate(self._spans):
            if high < start or low > until:
                continue
            table = self._file.read(group, wanted)
            for start_row in range(0, table.num_rows, SLICE):  # a row group in Python's objects would be a hundred times its size
                part = table.slice(start_row, SLICE)
                series = {c.field: _listed(part[c.name], c) for c in columns} or part.to_pydict()
                for values in zip(*series.values(), strict=True):
                    yield dict(zip(series, values, strict=True))


def _listed(array: Any, column: Column) -> list[Any]:
    """Return one column as the values that a packet's fields have."""
    if column.dtype == "time":
        found: list[Any] = array.cast("int64").to_pylist()
        return found
    found = array.to_pylist()
    make = _MAKERS.get(column.dtype)
    if make is not None:
        return [make(value) for value in found]
    if column.words:
        words: dict[Any, Any] = {str(word): word for word in column.words}
        return [words.get(value, value) for value in found]
    return found


def _number(value: float) -> float:
    return value if value == value else NAN  # noqa: PLR0124 - NaN is what does not equal itself; packets share one of them


_MAKERS: Final[dict[str, Callable[[Any], Any]]] = {"float64": _number}
