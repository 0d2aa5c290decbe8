"""Packets and events to Arrow tables, batch by batch.

Packets of the journal whose messages have a layout that was met before go into columns at once, without a Packet for each
(see `protocol.decoding.one_layout`): this is where a compaction's time goes. Any other becomes a Packet first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ccwatch.errors import CcwatchError
from ccwatch.protocol.columns import TABLES, Column
from ccwatch.protocol.decoding import codec, layout
from ccwatch.protocol.decoding.decoders import decoder_for
from ccwatch.protocol.decoding.one_layout import NoDecoder, OneLayout
from ccwatch.protocol.messages import SEEN_BEFORE, AgentMetric, Event, EventKind, Flag, LogLine, ModelMetric, Packet
from ccwatch.protocol.repeated_hour import is_near
from ccwatch.recording.entries import Stored
from ccwatch.recording.schemas import ARROW, FRAMES, RECEIVED, SCHEMAS, STORED
from ccwatch.stream import dataframes

_SEEN: Final = int(SEEN_BEFORE)
ODD: Final = int(Flag.NO_TIME | Flag.PLACEHOLDER | Flag.UNIT | Flag.COERCED | Flag.WRONG_TYPE)
"""Flags of a packet whose columns do not hold its values as they came."""
_SLOW: Final = _SEEN | ODD
MOST_LAYOUTS: Final = 256
"""Layouts of one batch beyond which messages are kept instead: a stream that has so many has none."""
MOST_READERS: Final = 8
"""Most layouts that get their own decoder; making one takes as long as 100 packets."""
MET_OFTEN: Final = 8
"""How often a layout must be met before it gets a decoder."""
ROWS_AT_ONCE: Final = 1024
"""How many packets of one layout become columns at once: what the decoder has made of so few is still in the processor's cache, and its
memory is taken again for the next ones."""
LEARN_EVERY: Final = 16
"""Where layouts are not needed, one packet in so many is examined to find a decoder."""

Item = Packet | Event
Numbered = tuple[int, Item]
_METRICS: Final = {"agents": len(AgentMetric._fields) - 1, "models": len(ModelMetric._fields) - 1}
_HEAD: Final = {
    "time_ns": np.int64,
    "seq": np.uint64,
    "connection": np.int32,
    "received_at_ns": np.int64,
    "received_mono_ns": np.int64,
    "flags": np.uint32,
}
"""The first fields of Stored."""
_COMPACT: Final = '["compact"'


class ArrowTables:
    """Makes tables of a recording's items. Used by one thread."""

    def __init__(self, *, raw: str | None = None) -> None:
        """Prepare a maker of tables that knows nothing of the stream yet.

        Args:
            raw: which raw messages `frames` keeps: "auto" what could not be rebuilt byte for byte, "always" all, "never" none but
                malformed ones. None: no `frames` at all, and what serves rebuilding is left empty: for reading, not for keeping.
        """
        self.raw = raw
        self._layouts = layout.Layouts()
        self._proven: set[str] = set()
        self._met: Counter[str] = Counter()
        self._readers: list[OneLayout] = []

    def of(self, batch: Iterable[tuple[int, Item | Stored]]) -> dict[str, Any]:
        """Return numbered items, in order, as Arrow tables by name of the table.

        The first packet of a batch follows none, so that reading can begin at any batch.
        """
        made = _BatchTables(self)
        for entry, item in batch:
            if not (isinstance(item, Stored) and made.add_stored(entry, item)):
                made.add(entry, item.read() if isinstance(item, Stored) else item)
        return made.tables()

    def read(self, item: Stored) -> tuple[OneLayout, Any, tuple[LogLine, ...]] | None:
        """Return a stored packet's message as read by its layout's decoder; None where there is no decoder."""
        for place, reader in enumerate(self._readers):
            found = reader.read(item.raw, item.server_tz)
            if found is not None:
                if place:  # the next message is likely to have this layout, too
                    self._readers.insert(0, self._readers.pop(place))
                return (reader, *found)
        return None

    def source(self, follows: int, *, is_encodable: bool) -> tuple[str, int]:
        """Return the value of `raw_from` of a packet with a message, and how many lines it keeps of the list before."""
        if self.raw == "always" or (self.raw == "auto" and not (is_encodable and follows >= 0)):
            return "frames", -1
        return ("fields" if self.raw == "auto" else "none"), follows

    def layout_of(self, packet: Packet, known: set[str]) -> str | None:
        """Return the layout in which the packet's fields give its message byte for byte; None where there is none.

        It is tried out; once per layout for packets with nothing odd, whose columns hold their values as they came.
        """
        if not packet.raw:
            return None
        try:
            found = self._layouts.of(packet.raw)
            is_usual = not (packet.extra or packet.forecasts or packet.flags & ODD)
            if found is None or (is_usual and found in self._proven):
                self._learn(packet, found)
                return found
            if found not in known and len(known) >= MOST_LAYOUTS:
                return None
            if layout.encode(packet, found) != packet.raw:
                return None
        except (CcwatchError, LookupError, TypeError, ValueError, RecursionError):
            # Fields that no longer fit together, after a type changed in mid-stream, say: then the bytes are kept.
            return None
        known.add(found)
        if is_usual:
            self._proven.add(found)
        return found

    def _learn(self, packet: Packet, found: str | None) -> None:
        """Count the packets of a proven layout, and make a decoder for it once there are many."""
        if found is None or not found.startswith(_COMPACT) or packet.flags & _SEEN or len(self._met) > MOST_LAYOUTS:
            return
        self._met[found] += 1
        if self._met[found] == MET_OFTEN and len(self._readers) < MOST_READERS:
            try:
                self._readers.append(decoder_for(found))
            except NoDecoder:
                return


class _BatchTables:
    """The tables of one batch: packets of layouts with a decoder, all other items, and the messages that are kept."""

    def __init__(self, maker: ArrowTables) -> None:
        self._maker = maker
        self._keeps = maker.raw is not None
        self._known: set[str] = set()
        self._usual: dict[str, _Usual] = {}
        self._parts: list[dict[str, Any]] = []
        self._others = _Others()
        self._kept: list[tuple[Any, ...]] = []  # rows of `frames`
        self._before: Packet | Stored | None = None
        self._lines: tuple[LogLine, ...] = ()  # of the packet before

    def add_stored(self, entry: int, item: Stored) -> bool:
        """Add a packet of the journal whose layout has a decoder; return False, and add nothing, where it has to become a Packet first."""
        if item.flags & _SLOW or item.is_rebuilt or is_near(item.time_ns, item.server_tz):
            return False
        read = self._maker.read(item)
        new = item.new_of(read[2]) if read is not None else None
        if read is None or new is None:
            return False
        reader, found, logs = read
        source, follows = self._maker.source(_following(self._lines, logs, new) if self._keeps else -1, is_encodable=True)
        if source != "frames" and follows < 0 and self._keeps:
            return False
        self._before, self._lines = item, logs
        if reader.layout not in self._usual:
            self._usual[reader.layout] = _Usual(reader)
        rows = self._usual[reader.layout].rows
        rows.append((entry, item, found, follows, source, new))
        if len(rows) == ROWS_AT_ONCE:
            self._parts.append(self._usual.pop(reader.layout).tables())
        if source == "frames":
            self._kept.append((item.seq, "kept", item.raw, entry))
        return True

    def add(self, entry: int, item: Item) -> None:
        """Add an event, or a packet of any layout."""
        if isinstance(item, Event):
            self._others.events.append((entry, item))
            if item.raw:
                self._kept.append((item.seq, item.kind, item.raw, entry))
            return
        if isinstance(self._before, Stored) and item.flags & _SEEN:
            earlier = self._before.read()
            self._before = earlier if isinstance(earlier, Packet) else None
        follows = -1 if not self._keeps or _is_listed(item) else _logs_kept(self._before, self._lines, item)
        is_wanted = follows >= 0 if self._maker.raw == "auto" else entry % LEARN_EVERY == 0  # a message that is kept needs no layout
        found = self._maker.layout_of(item, self._known) if is_wanted else None
        source, follows = self._maker.source(follows, is_encodable=found is not None) if item.raw else ("none", follows)
        self._others.add(entry, item, follows, source, found)
        if source == "frames":
            self._kept.append((item.seq, "kept", item.raw, entry))
        elif follows < 0 and self._keeps:
            self._kept.append((item.seq, "lists", codec.encode(item), entry))
        self._before, self._lines = item, item.logs

    def tables(self) -> dict[str, Any]:
        """Return what was added as Arrow tables by name of the table; `frames` among them where messages are kept."""
        parts = [*self._parts, *(part.tables() for part in self._usual.values()), self._others.tables()]
        tables = {table: _merged([part[table] for part in parts if table in part]) for table in TABLES}
        if self._keeps:
            schema = SCHEMAS[FRAMES]
            columns = [pa.array([row[i] for row in self._kept], field.type) for i, field in enumerate(schema)]
            tables[FRAMES] = pa.Table.from_arrays(columns, schema=schema)
        return tables


class _Usual:
    """Packets of one layout, their values still in the decoder's hands."""

    def __init__(self, reader: OneLayout) -> None:
        self._reader = reader
        self.rows: list[tuple[int, Stored, Any, int, str, tuple[LogLine, ...]]] = []
        """Entry, item, what the reader found, `logs_kept`, `raw_from` and the new lines of each."""

    def tables(self) -> dict[str, Any]:
        entries, items, found_in, logs_kept, raw_from, new = zip(*self.rows, strict=True)
        count = len(entries)
        missing = np.full(count, np.nan)
        values: dict[str, Any] = {c.field: missing if c.dtype == "float64" else pa.nulls(count, ARROW[c.dtype]) for c in TABLES["packets"]}
        read = self._reader.columns_of(found_in)
        values |= read.packets
        head = zip(*items, strict=True)
        values |= {name: np.array(next(head), dtype) for name, dtype in _HEAD.items()} | {"entry": np.array(entries, np.uint64)}
        values |= {"dialect": _constant(self._reader.dialect, np.ones(count, bool)), "logs_kept": logs_kept, "raw_from": raw_from}
        values["layout"] = _constant(self._reader.layout, np.array([source == "fields" for source in raw_from], bool))
        heads = {name: values[name] for name in ("time_ns", "seq", "entry")}
        found = {"packets": _table("packets", values)}
        for table, gauges in _METRICS.items():
            names, _, readings = read.metrics[table]
            numbers = np.fromiter(readings, np.float64, count * len(names) * gauges).reshape(-1, gauges)
            rows: dict[str, Any] = {name: np.repeat(head, len(names)) for name, head in heads.items()}
            name, *own = [column.field for column in STORED[table][2:-1]]
            codes = pa.array(np.tile(np.arange(len(names), dtype=np.int32), count))
            rows[name] = pa.DictionaryArray.from_arrays(codes, pa.array(names, pa.string()))
            found[table] = _table(table, rows | {gauge: numbers[:, i] for i, gauge in enumerate(own)})
        counts = np.fromiter(map(len, new), np.int64, count)
        found["logs"] = _table("logs", {name: np.repeat(head, counts) for name, head in heads.items()} | _own("logs", new))
        return found


_CARRIED: Final = ("logs", "trades")
"""The tables whose rows may come without a packet, by an event of the kind "rows"."""


class _Others:
    """Packets one by one, and events."""

    def __init__(self) -> None:
        self.packets: list[tuple[int, Packet]] = []
        self.events: list[tuple[int, Event]] = []
        self.logs_kept: list[int] = []
        self.raw_from: list[str] = []
        self.layouts: list[str | None] = []

    def add(self, entry: int, packet: Packet, logs_kept: int, raw_from: str, found: str | None) -> None:
        """Add a packet; its layout is stored where its message is made from its fields."""
        self.packets.append((entry, packet))
        self.logs_kept.append(logs_kept)
        self.raw_from.append(raw_from)
        self.layouts.append(found if raw_from == "fields" else None)

    def tables(self) -> dict[str, Any]:
        values: dict[str, Any] = dataframes.packet_columns([packet for _, packet in self.packets])
        values |= {"logs_kept": self.logs_kept, "raw_from": self.raw_from, "layout": self.layouts}
        values["entry"] = [entry for entry, _ in self.packets]
        found = {"packets": _table("packets", values)}
        fresh = [(entry, packet) for entry, packet in self.packets if not packet.flags & _SEEN]
        for table in dataframes.LONG:
            is_own_timed = table in _METRICS and any(packet.calls or table in packet.new_rows for _, packet in self.packets)
            if table in dataframes.LISTS and not is_own_timed:
                packets = self.packets if table == "logs" else fresh  # what is new of a packet's lines, the session has found
                found[table] = _table(
                    table, _long_columns(table, packets, [getattr(packet, dataframes.LISTS[table]) for _, packet in packets])
                )
                continue
            rows = [(*row, entry) for entry, packet in self.packets for row in dataframes.long_rows(table, packet)]
            found[table] = _table(table, {column.field: [row[i] for row in rows] for i, column in enumerate(STORED[table])})
        for table in _CARRIED if any(event.kind == EventKind.ROWS for _, event in self.events) else ():
            absent = (None,) * (len(STORED[table]) - len(TABLES[table]) - 1)  # what is stored only to rebuild a message
            rows = [(*row, *absent, entry) for entry, event in self.events for row in dataframes.long_rows(table, event)]
            own = _table(table, {column.field: [row[i] for row in rows] for i, column in enumerate(STORED[table])})
            found[table] = pa.concat_tables([found[table], own])
        received = [c.field for c in RECEIVED]
        rows = [
            (*row, *(getattr(event, field) for field in received), entry)
            for entry, event in self.events
            for row in dataframes.long_rows("events", event)
        ]
        found["events"] = _table("events", {column.field: [row[i] for row in rows] for i, column in enumerate(STORED["events"])})
        return found


def _long_columns(table: str, packets: Sequence[tuple[int, Packet]], lists: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    """Return the rows of packets in a long table, by column."""
    counts = [len(entries) for entries in lists]
    found: dict[str, Any] = {
        "time_ns": np.repeat(np.array([packet.time_ns for _, packet in packets], dtype=np.int64), counts),
        "seq": np.repeat(np.array([packet.seq for _, packet in packets], dtype=np.uint64), counts),
        "entry": np.repeat(np.array([entry for entry, _ in packets], dtype=np.uint64), counts),
    }
    return found | _own(table, lists)


def _own(table: str, lists: Iterable[tuple[Any, ...]]) -> dict[str, Any]:
    """Return the columns of a long table except time, seq and entry."""
    own = [*zip(*chain.from_iterable(lists), strict=True)] or [()] * (len(STORED[table]) - 3)
    return dict(zip([column.field for column in STORED[table][2:-1]], own, strict=True))


def _table(table: str, values: dict[str, Any]) -> Any:
    arrays = []
    for column in STORED[table]:
        arrays.extend(_arrays(column, values[column.field]))
    return pa.Table.from_arrays(arrays, schema=SCHEMAS[table])


def _arrays(column: Column, found: Any) -> list[Any]:
    if column.dtype == "time":
        ns = pa.array(found, pa.int64())
        us = found // 1000 if isinstance(found, np.ndarray) else [None if value is None else value // 1000 for value in found]
        return [ns.cast(ARROW["time"]), pa.array(us, pa.int64())]
    if isinstance(found, pa.Array):
        return [found]
    if column.dtype == "category":
        return [pa.array(found, pa.string()).dictionary_encode()]
    return [pa.array(found, ARROW[column.dtype])]


def _constant(word: str, where: Any) -> Any:
    """Return a column with one word in some rows and null in the others: a long word is stored once."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(where), np.int32), mask=~where), pa.array([word], pa.string()))


def _merged(parts: Sequence[Any]) -> Any:
    """Return the rows of several tables, each in order of entry, as one table in that order."""
    filled = [part for part in parts if part.num_rows]
    if len(filled) < 2:
        return filled[0] if filled else parts[0]
    filled.sort(key=lambda part: part["entry"][0].as_py())
    whole = pa.concat_tables(filled).unify_dictionaries().combine_chunks()
    if all(one["entry"][-1].as_py() < other["entry"][0].as_py() for one, other in pairwise(filled)):
        return whole
    return whole.take(pa.array(np.argsort(whole["entry"].to_numpy(), kind="stable")))


def _following(lines: tuple[LogLine, ...], logs: tuple[LogLine, ...], new: tuple[LogLine, ...]) -> int:
    """Return how many lines at the end of the list before begin this one; -1 if the tables alone cannot give this list."""
    count = len(logs) - len(new)
    if logs is lines and count == len(lines):  # the very same list, as in most messages
        return count
    return count if 0 <= count <= len(lines) and logs == lines[len(lines) - count :] + new else -1


def _is_listed(packet: Packet) -> bool:
    """Return whether a packet has lists that the tables do not hold whole, so that its message is kept."""
    return bool(packet.calls or packet.trades or packet.bars)


def _logs_kept(before: Packet | Stored | None, lines: tuple[LogLine, ...], packet: Packet) -> int:
    """Return the same as `_following`; a packet seen before has no rows in the long tables, so its lists must be those before."""
    if not packet.flags & _SEEN:
        return _following(lines, packet.logs, packet.new_logs)
    if not isinstance(before, Packet):
        return -1
    lists_before = (before.agents, before.models, before.forecasts, before.scanner, before.logs)
    same = lists_before == (packet.agents, packet.models, packet.forecasts, packet.scanner, packet.logs) and not packet.new_logs
    return len(lines) if same else -1
