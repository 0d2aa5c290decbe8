"""The journal: packets and events on the disk while they arrive, so that a kill or a power cut loses almost nothing.

A file is a run of frames, a frame a run of entries. Each record packs and unpacks itself here, side by side. The journal knows
bytes, numbers and checksums, but neither threads nor Parquet.

A frame: "CCJ1", the session's nonce (8 bytes), sizes of the payload as stored and as unpacked, count of entries, number of the
first entry, seq of the first packet (0: it holds events only), CRC32C over all of that and the payload; then the payload, zstd
level 1. All integers are little-endian. The nonce keeps bytes of a message from passing as a frame.
"""

from __future__ import annotations

import errno
import os
import re
import struct
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Final, NamedTuple

import google_crc32c
import pyarrow as pa

from ccwatch.errors import DecodeError
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.decoding.decoders import decoder_for
from ccwatch.protocol.messages import NOTHING, Event, EventKind, Instant, LogLine, NewRows, Packet
from ccwatch.protocol.repeated_hour import settled
from ccwatch.recording.checked import MOST_ENTRIES
from ccwatch.recording.folder import datasync, sync_folder

FRAME_ENTRIES: Final = 1024
"""Most entries of one frame."""
FRAME_BYTES: Final = 4 << 20
"""A frame takes no further entry once it holds this much, so that reading one needs little memory."""
MOST_ENTRY: Final = 64 << 20
"""No entry is larger: a recorder's queue has no room for it."""
SUFFIX: Final = ".ccj"

_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_MAGIC: Final = b"CCJ1"
_HEADER: Final = struct.Struct("<4s8sIIIQQ")
_CRC: Final = struct.Struct("<I")
_PREFIX: Final = _HEADER.size + _CRC.size
_SEARCH: Final = 1 << 20
_ZSTD: Final = pa.Codec("zstd", compression_level=1)


# ── entries ────────────────────────────────────────────────────────────────────────────────────────────────────────────

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
    return Event(time_ns, seq, event_kind(kind), detail, connection, received_ns, mono_ns, body[raw_at : raw_at + raw_size])


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


# ── frames ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Frame(NamedTuple):
    """One good frame of a file, from byte `offset` up to `end`."""

    offset: int
    end: int
    first_entry: int
    entries: int
    payload: bytes
    """The payload, decompressed."""

    def items(self, server_tz: str) -> Iterator[tuple[int, Packet | Event]]:
        """Yield number and item of each entry; a record of a newer ccwatch is passed over."""
        for number, item in self.stored(server_tz):
            yield number, item.read() if isinstance(item, Stored) else item

    def stored(self, server_tz: str) -> Iterator[tuple[int, Stored | Event]]:
        """Yield the entries as `items` does, with the messages of packets not yet read."""
        at = 0
        for number in range(self.first_entry, self.first_entry + self.entries):
            size, record = _ENTRY.unpack_from(self.payload, at)
            if record == _PACKET:
                yield number, unpack_packet(self.payload, at + _ENTRY.size, at + size, server_tz)
            elif record == _EVENT:
                yield number, unpack_event(self.payload[at + _ENTRY.size : at + size])
            at += size


class Hole(NamedTuple):
    """Bytes of a file that are no good frame."""

    offset: int
    end: int
    is_torn: bool
    """Whether it is the beginning of a frame at the file's end: a write that a kill cut short, or one in progress."""


def pack_frame(entries: Sequence[bytes], *, nonce: bytes, first_entry: int, first_seq: int) -> bytes:
    """Return entries as one frame."""
    payload = b"".join(entries)
    stored = _ZSTD.compress(payload, asbytes=True)
    header = _HEADER.pack(_MAGIC, nonce, len(stored), len(payload), len(entries), first_entry, first_seq)
    crc = google_crc32c.extend(google_crc32c.value(header), stored)
    return b"".join((header, _CRC.pack(crc), stored))


def read_frames(path: Path, nonce: bytes, start: int = 0) -> Iterator[Frame | Hole]:
    """Yield good frames and holes of a file from byte `start` on, in order, with one in memory at a time."""
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        at = start
        while at < size:
            frame = _read_frame(file, at, size, nonce)
            if frame is None:
                found = _next_frame(file, at + 1, size, nonce)
                yield Hole(at, size if found is None else found.offset, found is None and _is_torn(file, at, size, nonce))
                if found is None:
                    return
                frame = found
            yield frame
            at = frame.end


def _read_frame(file: FileIO, at: int, size: int, nonce: bytes) -> Frame | None:
    prefix = _read_at(file, at, _PREFIX)
    if len(prefix) < _PREFIX:
        return None
    header = prefix[: _HEADER.size]
    magic, owner, stored_size, payload_size, count, first_entry, _ = _HEADER.unpack(header)
    end = at + _PREFIX + stored_size
    if magic != _MAGIC or owner != nonce or end > size:
        return None
    stored = _read_at(file, at + _PREFIX, stored_size)
    if google_crc32c.extend(google_crc32c.value(header), stored) != _CRC.unpack_from(prefix, _HEADER.size)[0]:
        return None
    payload = _unpacked(stored, payload_size)
    if payload is None or not 1 <= first_entry <= MOST_ENTRIES - count or not _is_whole(payload, count):
        return None
    return Frame(at, end, first_entry, count, payload)


def _unpacked(stored: bytes, size: int) -> bytes | None:
    """Return the decompressed payload of a frame; None where it has not the size that the header says."""
    if size > FRAME_BYTES + MOST_ENTRY:
        return None
    try:
        payload: bytes = _ZSTD.decompress(stored, size, asbytes=True)
    except (OSError, ValueError, pa.ArrowException):
        return None
    return payload if len(payload) == size else None


def _is_whole(payload: bytes, count: int) -> bool:
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


def _is_torn(file: FileIO, at: int, size: int, nonce: bytes) -> bool:
    """Return whether the bytes up to the file's end are the beginning of a longer frame."""
    prefix = _read_at(file, at, _PREFIX)
    mark = _MAGIC + nonce
    if len(prefix) < _PREFIX:
        return prefix[: len(mark)] == mark[: len(prefix)]
    return prefix.startswith(mark) and at + _PREFIX + _HEADER.unpack_from(prefix)[2] > size


def _next_frame(file: FileIO, at: int, size: int, nonce: bytes) -> Frame | None:
    """Return the first good frame that begins at `at` or later; None where there is none."""
    mark = _MAGIC + nonce
    while at < size:
        block = _read_at(file, at, _SEARCH)
        found = block.find(mark)
        while found >= 0:
            frame = _read_frame(file, at + found, size, nonce)
            if frame is not None:
                return frame
            found = block.find(mark, found + 1)
        if len(block) <= len(mark):
            return None
        at += len(block) - len(mark) + 1
    return None


def _read_at(file: FileIO, at: int, size: int) -> bytes:
    file.seek(at)
    return file.read(size) or b""


# ── files ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def journal_files(folder: Path) -> list[Path]:
    """Return the journal's files, oldest first."""
    found = (path for path in folder.glob(f"*{SUFFIX}") if _NUMBER.fullmatch(path.stem) and path.is_file())
    return sorted(found, key=lambda path: int(path.stem))


class JournalWriter:
    """Appends frames to the journal's newest file. `append`, `roll` and `close` belong to one thread, `sync` may be another's."""

    def __init__(self, folder: Path, nonce: bytes) -> None:
        """Begin a new file after those that exist."""
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)  # a journal that a power cut takes away with its folder is none
        self._folder = folder
        self._nonce = nonce
        # Serialises fdatasync with the closing of the file that it works on: a closed number may be another file by then.
        self._file_lock = threading.Lock()
        self._handle = -1
        self.size = 0
        self._number = max((int(path.stem) for path in journal_files(folder)), default=0)
        self._open_next()

    @property
    def path(self) -> Path:
        """Return the file that is written now."""
        return self._folder / f"{self._number:06d}{SUFFIX}"

    def move(self, folder: Path) -> None:
        """Go on where the journal's folder is now: the file that is written moved with it."""
        self._folder = folder

    def append(self, entries: Sequence[bytes], *, first_entry: int, first_seq: int) -> int:
        """Write one frame with one write, and return its size in bytes.

        Raises:
            OSError: it could not be written whole, or the file was deleted. The file ends with the last good frame then.
        """
        if self._handle < 0:  # the disk refused the file that was to follow the last one
            self._open_next()
        if os.fstat(self._handle).st_nlink == 0:  # writing would succeed, into a file that nobody will ever find
            raise FileNotFoundError(errno.ENOENT, "the recording's folder was deleted", str(self.path))
        frame = pack_frame(entries, nonce=self._nonce, first_entry=first_entry, first_seq=first_seq)
        try:
            written = os.write(self._handle, frame)
            if written < len(frame):  # a full disk takes what fits; the next write says why
                written += os.write(self._handle, frame[written:])
        except OSError:
            self._cut_torn_tail()
            raise
        if written < len(frame):
            self._cut_torn_tail()
            raise OSError(f"{self.path}: {written} of {len(frame)} bytes were written")
        self.size += len(frame)
        return len(frame)

    def sync(self) -> None:
        """Bring what was appended to the disk (what older files hold is there: `roll` saw to it)."""
        with self._file_lock:
            if self._handle >= 0:
                datasync(self._handle)

    def roll(self) -> None:
        """Close the file, durably, and go on in a new one."""
        self.close()
        self._open_next()

    def close(self) -> None:
        """Close the file, durably."""
        with self._file_lock:
            handle, self._handle = self._handle, -1
            if handle >= 0:
                try:
                    datasync(handle)
                finally:
                    os.close(handle)

    def _open_next(self) -> None:
        path = self._folder / f"{self._number + 1:06d}{SUFFIX}"
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self._number += 1
        self.size = 0
        sync_folder(self._folder)

    def _cut_torn_tail(self) -> None:
        try:
            os.ftruncate(self._handle, self.size)
        except OSError:
            # Then the torn bytes stay, as a hole that readers pass over; what follows goes into a file of its own.
            self.roll()
