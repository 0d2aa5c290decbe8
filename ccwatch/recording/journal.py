"""The journal: packets and events on the disk while they arrive, so that a kill or a power cut loses almost nothing.

A file is a run of frames, a frame a run of entries (see `entries`). The journal knows bytes, numbers and checksums, but neither
threads nor Parquet.

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
from io import FileIO
from pathlib import Path
from typing import Final, NamedTuple

import google_crc32c
import pyarrow as pa

from ccwatch.protocol.messages import Event, Packet
from ccwatch.recording.checked import MOST_ENTRIES
from ccwatch.recording.entries import MOST_ENTRY, Stored, is_whole, unpack
from ccwatch.recording.folder import datasync, sync_folder

FRAME_ENTRIES: Final = 1024
"""Most entries of one frame."""
FRAME_BYTES: Final = 4 << 20
"""A frame takes no further entry once it holds this much, so that reading one needs little memory."""
SUFFIX: Final = ".ccj"

_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_MAGIC: Final = b"CCJ1"
_HEADER: Final = struct.Struct("<4s8sIIIQQ")
_CRC: Final = struct.Struct("<I")
_PREFIX: Final = _HEADER.size + _CRC.size
_SEARCH: Final = 1 << 20
_ZSTD: Final = pa.Codec("zstd", compression_level=1)


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
        return unpack(self.payload, self.first_entry, self.entries, server_tz)


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
    if payload is None or not 1 <= first_entry <= MOST_ENTRIES - count or not is_whole(payload, count):
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


def _is_torn(file: FileIO, at: int, size: int, nonce: bytes) -> bool:
    """Return whether the bytes up to the file's end are the beginning of a longer frame."""
    prefix = _read_at(file, at, _PREFIX)
    head = _MAGIC + nonce
    if len(prefix) < _PREFIX:
        return prefix[: len(head)] == head[: len(prefix)]
    return prefix.startswith(head) and at + _PREFIX + _HEADER.unpack_from(prefix)[2] > size


def _next_frame(file: FileIO, at: int, size: int, nonce: bytes) -> Frame | None:
    """Return the first good frame that begins at `at` or later; None where there is none."""
    head = _MAGIC + nonce
    while at < size:
        block = _read_at(file, at, _SEARCH)
        found = block.find(head)
        while found >= 0:
            frame = _read_frame(file, at + found, size, nonce)
            if frame is not None:
                return frame
            found = block.find(head, found + 1)
        if len(block) <= len(head):
            return None
        at += len(block) - len(head) + 1
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
        """Continue where the journal's folder is now: the file that is written moved with it."""
        self._folder = folder

    def append(self, entries: Sequence[bytes], *, first_entry: int, first_seq: int) -> int:
        """Write one frame with one write, and return its size in bytes.

        Raises:
            OSError: it could not be written whole, or the file was deleted. The file ends with the last good frame then.
        """
        if self._handle < 0:  # the disk refused the file that was to follow the last one
            self._open_next()
        if os.fstat(self._handle).st_nlink == 0:  # writing would succeed, into a file that has no name
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
