"""The journal's entries: a packet or an event as bytes, with the facts that its message alone does not give.

Each record packs and unpacks itself here, side by side; `is_whole` walks over what a frame holds before anything of it is unpacked.
All integers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple

from ccwatch.errors import DecodeError
from ccwatch.protocol import facts
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.decoding.decoders import decoder_for
from ccwatch.protocol.messages import NOTHING, Event, EventKind, Instant, LogLine, NewRows, Packet
from ccwatch.protocol.repeated_hour import settled

MOST_ENTRY: Final = 64 << 20
"""No entry is larger: a recorder's queue has no room for it."""

_ENTRY: Final = struct.Struct("<IB")  # length of the entry with this head, and which record it is
_PACKET, _EVENT = 1, 2
_PACKET_FIELDS: Final = struct.Struct("<qQiqqIBII")
_PACKET_HEAD: Final = struct.Struct("<IBqQiqqIBII")
"""An entry's head and the fields of a packet, packed at once."""
_PACKET_SIZES: Final = struct.Struct("<IB41xII")
"""Of the same: the entry's size, the count of places and the size of the message."""
_EVENT_SIZES: Final = struct.Struct("<IB36xBII")
_EVENT_FIELDS: Final = struct.Struct("<qQiqqBII")
_NO_RAW: Final = 1
"""The packet came without its raw message; what is stored was rebuilt from its fields."""


def pack_packet(packet: Packet) -> bytes:
    """Return a packet as an entry: its raw message, and the facts that the message alone does not give."""
    raw, no_raw = (packet.raw, 0) if packet.raw else (codec.encode(packet), _NO_RAW)
    new = _places(packet) if packet.new_logs else ()
    time_ns, seq, connection, received_ns, mono_ns, _, _, flags = packet[:8]
    size = _PACKET_HEAD.size + 4 * len(new) + len(raw)
    head = _PACKET_HEAD.pack(size, _PACKET, time_ns, seq, connection, received_ns, mono_ns, flags, no_raw, len(new), len(raw))
    entry = head + struct.pack(f"<{len(new)}I", *new) + raw if new else head + raw
    return _with_rows(entry, packet.new_rows) if packet.new_rows else entry


def _with_rows(entry: bytes, rows: NewRows) -> bytes:
    """Return a packet's entry with, after its message, where an earlier ccwatch does not look, its rows with their own times."""
    behind = codec.pack_rows(rows)
    return struct.pack("<I", len(entry) + len(behind)) + entry[4:] + behind


class Stored(NamedTuple):
    """A packet as its entry holds it, its message not yet read. The first fields are those of the packet."""

    time_ns: int
    seq: int
    connection: int
    received_at_ns: int
    received_mono_ns: int
    flags: int
    is_rebuilt: int
    """Whether the packet came without a message, so that `raw` was made from its fields."""
    places: tuple[int, ...]
    """The places of the new lines among all lines of the message."""
    raw: bytes
    server_tz: str
    rows: bytes
    """Its rows with their own times, as they were packed; empty where there are none."""

    def read(self) -> Packet | Event:
        """Return the packet; a MALFORMED event where this ccwatch cannot read the message any more."""
        now = Instant(self.received_at_ns, self.received_mono_ns)
        try:
            packet = decoder_for().packet(self.raw, seq=self.seq, connection=self.connection, now=now, server_tz=self.server_tz)
        except DecodeError as error:
            detail = f"bytes={len(self.raw)} {error.reason}"
            return Event(self.time_ns, self.seq, EventKind.MALFORMED, detail, self.connection, *now, self.raw)
        packet = settled(packet._replace(time_ns=self.time_ns), self.server_tz)
        raw = b"" if self.is_rebuilt else self.raw
        new = self.new_of(packet.logs)
        try:
            rows = codec.unpack_rows(self.rows) if self.rows else NOTHING
        except DecodeError:
            new = None
        if new is None:
            detail = f"bytes={len(self.raw)} its entry has lines or rows that are not its own"
            return Event(self.time_ns, self.seq, EventKind.MALFORMED, detail, self.connection, *now, self.raw)
        return packet._replace(flags=self.flags, new_logs=new, new_rows=rows, raw=raw)

    def new_of(self, logs: Sequence[LogLine]) -> tuple[LogLine, ...] | None:
        """Return the new lines among the message's lines; None where their places are not among them."""
        if not self.places:
            return ()
        if max(self.places) >= len(logs):
            return None
        return tuple([logs[place] for place in self.places])


_stored: Final = partial(tuple.__new__, Stored)  # without the checks of a named tuple's own constructor


def unpack_packet(payload: bytes, at: int, end: int, server_tz: str) -> Stored:
    """Return the packet of the entry whose body begins at `at`."""
    time_ns, seq, connection, received_ns, mono_ns, flags, no_raw, count, size = _PACKET_FIELDS.unpack_from(payload, at)
    at += _PACKET_FIELDS.size
    places = struct.unpack_from(f"<{count}I", payload, at) if count else ()
    at += 4 * count
    raw, rows = payload[at : at + size], payload[at + size : end]
    return _stored((time_ns, seq, connection, received_ns, mono_ns, flags, no_raw, places, raw, server_tz, rows))


def pack_event(event: Event) -> bytes:
    """Return an event as an entry."""
    kind, detail = event.kind.encode(), event.detail.encode("utf-8", "backslashreplace")
    fields = _EVENT_FIELDS.pack(
        event.time_ns,
        event.seq,
        event.connection,
        event.received_at_ns,
        event.received_mono_ns,
        len(kind),
        len(detail),
        len(event.raw),
    )
    return _entry(_EVENT, fields, kind, detail, event.raw)


def unpack_event(body: bytes) -> Event:
    """Return the event of an entry."""
    time_ns, seq, connection, received_ns, mono_ns, kind_size, detail_size, raw_size = _EVENT_FIELDS.unpack_from(body)
    detail_at = _EVENT_FIELDS.size + kind_size
    raw_at = detail_at + detail_size
    kind = body[_EVENT_FIELDS.size : detail_at].decode("utf-8", "replace")
    detail = body[detail_at:raw_at].decode("utf-8", "replace")
    raw = body[raw_at : raw_at + raw_size]
    return Event(time_ns, seq, event_kind(kind), detail, connection, received_ns, mono_ns, raw, facts.read(kind, detail))


def event_kind(word: str) -> str:
    """Return the kind of an event as the enum's member, or the word itself where there is none."""
    return _KINDS.get(word, word)


_KINDS: Final[dict[str, str]] = {kind.value: kind for kind in EventKind}


def _entry(record: int, *parts: bytes) -> bytes:
    return b"".join((_ENTRY.pack(_ENTRY.size + sum(map(len, parts)), record), *parts))


def _places(packet: Packet) -> list[int]:
    """Return the places of the new lines among all lines of the message, whose order they keep."""
    places = []
    at = 0
    for line in packet.new_logs:
        at = packet.logs.index(line, at)
        places.append(at)
        at += 1
    return places


def is_whole(payload: bytes, count: int) -> bool:
    """Return whether a payload is exactly `count` entries, each large enough for its contents."""
    at, end = 0, len(payload)
    if count * _ENTRY.size > end:
        return False
    for _ in range(count):
        if at + _ENTRY.size > end:
            return False
        size, record = _ENTRY.unpack_from(payload, at)
        if size < _ENTRY.size or at + size > end:
            return False
        if record == _PACKET:
            if size < _PACKET_HEAD.size:
                return False
            _, _, places, raw = _PACKET_SIZES.unpack_from(payload, at)
            if size < _PACKET_HEAD.size + 4 * places + raw:  # behind its message it may have rows
                return False
        elif record == _EVENT:
            if size < _EVENT_SIZES.size:
                return False
            _, _, kind, detail, raw = _EVENT_SIZES.unpack_from(payload, at)
            if size != _EVENT_SIZES.size + kind + detail + raw:
                return False
        at += size
    return at == end


def unpack(payload: bytes, first: int, count: int, server_tz: str) -> Iterator[tuple[int, Stored | Event]]:
    """Yield number and item of each entry of a payload that is whole, with the messages of packets not yet read.

    A record of a newer ccwatch is passed over.
    """
    at = 0
    for number in range(first, first + count):
        size, record = _ENTRY.unpack_from(payload, at)
        if record == _PACKET:
            yield number, unpack_packet(payload, at + _ENTRY.size, at + size, server_tz)
        elif record == _EVENT:
            yield number, unpack_event(payload[at + _ENTRY.size : at + size])
        at += size
