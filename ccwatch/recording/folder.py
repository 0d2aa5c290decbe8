"""A recording's folder: its layout, its lock, sealed lines, and writes that survive a power cut. It knows no packets.

    <session_id>/
      session.json      what was recorded, and how (Session); sealed
      MANIFEST.jsonl    a sealed line per segment file, per finished group of them, and at the end (see `manifest`)
      packets/ …        the tables, as Parquet (see `segments`)
      _journal/         packets and events that are not in the tables yet (see `journal`)
      _staging/         files that are not finished
      _copies/          session.json and MANIFEST.jsonl a second time, since all else is found through them
      marks.jsonl       a sealed line per mark that was set beside the data
      .lock             held by the one process that writes

A sealed line is a JSON object whose last field is the CRC32C of all before it.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self
from zoneinfo import ZoneInfo

import google_crc32c

from ccwatch.errors import CorruptRecording, ProtocolError, RecordingBusy, RecordingError, RecordingNotFound, UnsupportedFormat
from ccwatch.protocol.decoding import codec
from ccwatch.recording import checked

FORMAT: Final = "ccwatch-recording"
VERSION: Final = 1
"""Format version, raised if an older ccwatch would read a recording wrongly; further fields, columns and lines need no other version."""

SESSION: Final = "session.json"
MANIFEST: Final = "MANIFEST.jsonl"
MARKS: Final = "marks.jsonl"
JOURNAL: Final = "_journal"
STAGING: Final = "_staging"
COPIES: Final = "_copies"
LOCK: Final = ".lock"
LOCK_PATIENCE_S: Final = 0.2
"""Seconds to wait for the lock: a reader that checks whether a recording is being written holds it for an instant."""

_SEAL: Final = b',"crc32c":"'


@dataclass(frozen=True)
class Session:
    """The content of session.json, which is written once, before the first packet.

    Attributes:
        session: the session's id, which is also the first name of its folder.
        url: where the stream came from, without secrets.
        origin: "live", "synthetic" or "replay".
        tags: the words that the user gave it.
        server_tz: IANA zone in which timestamps without an offset were read.
        fsync: the fsync policy.
        raw: which raw messages are kept.
        wall_ns: the wall clock at the start, ns since 1970 UTC.
        mono_ns: the monotonic clock at the same instant.
        boot_id: the boot that the monotonic clock belongs to; "" where the system does not say.
        nonce: 16 hex digits that mark the frames of this session's journal.
        writer: the version of ccwatch that wrote it.
    """

    session: checked.SessionId
    url: checked.Url
    origin: checked.Origin
    tags: checked.Tags
    server_tz: checked.Word
    fsync: checked.Fsync
    raw: checked.Raw
    wall_ns: checked.Count
    mono_ns: checked.Count
    boot_id: checked.Word
    nonce: checked.Nonce
    writer: checked.Word

    def write(self, folder: Path) -> None:
        """Write session.json and its copy durably."""
        fields = asdict(self) | {"tags": list(self.tags)}
        line = seal({"format": FORMAT, "version": VERSION, **fields}) + b"\n"
        if not (folder / COPIES).exists():
            (folder / COPIES).mkdir()
        write_durably(folder / COPIES / SESSION, line)
        write_durably(folder / SESSION, line)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read session.json, or its copy where it is damaged or missing.

        Raises:
            RecordingNotFound: there is neither.
            CorruptRecording: it fails its checksum, and so does its copy; or a field has an impossible value.
            UnsupportedFormat: a newer ccwatch wrote it, or it is something else.
        """
        path = folder / SESSION
        wrong = None
        for file in (path, folder / COPIES / SESSION):
            try:
                line = checked.read_bounded(file, checked.SESSION_BYTES)
            except FileNotFoundError:
                continue
            try:
                found = unseal(line)
            except ValueError as error:
                wrong = wrong or CorruptRecording(f"{file}, bytes 0 to {len(line)}: {error}")
                continue
            return cls._of(found, file)
        raise wrong or RecordingNotFound(f"{folder} holds no recording: there is no {SESSION} in it")

    @classmethod
    def of(cls, line: bytes, path: Path) -> Self:
        """Read the bytes of a session.json from another place; see `read`."""
        try:
            found = unseal(line)
        except ValueError as error:
            raise CorruptRecording(f"{path}: {error}") from None
        return cls._of(found, path)

    @classmethod
    def _of(cls, found: dict[str, Any], path: Path) -> Self:
        if found.get("format") != FORMAT:
            raise UnsupportedFormat(f"{path} is not ccwatch's: expected format {FORMAT!r}, got {str(found.get('format'))[:40]!r}")
        version = checked.fits(found, _Versioned, path).version
        if version > VERSION:
            raise UnsupportedFormat(f"{path} has format version {version}; this ccwatch reads up to {VERSION}: update it")
        session = checked.fits(found, cls, path)
        try:
            ZoneInfo(session.server_tz)
        except (ValueError, KeyError, OSError):
            raise CorruptRecording(f"{path}: server_tz: expected an IANA time zone that this machine knows") from None
        return session


@dataclass(frozen=True)
class _Versioned:
    version: checked.Version


checked.prepare(Session, _Versioned)


def is_recording(folder: Path) -> bool:
    """Return whether a folder holds a recording, readable or not: its session.json is there, or the copy."""
    return any(os.path.lexists(folder / place) for place in (SESSION, f"{COPIES}/{SESSION}"))


def recordings_in(root: Path) -> list[Path]:
    """Return the folders below `root` that hold a recording, by name, including links to one."""
    found = []
    try:
        with os.scandir(root) as entries:
            found = [root / entry.name for entry in entries if is_recording(root / entry.name)]
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise RecordingError(f"{root} cannot be read: {error.strerror or error}") from None
    return sorted(found)


def new_session_path(root: Path, name: str, now: datetime) -> Path:
    """Return the path of a new session's folder below `root`, such as 20260102T143000Z-localhost-3000-9f3a."""
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", re.sub(r"^\w+://", "", name)).strip("-.")[:40] or "session"
    while (path := root / f"{stamp}-{plain}-{secrets.token_hex(2)}").exists():
        pass
    return path


def boot_id() -> str:
    """Return the id of this boot of the machine; "" where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


# ── sealed lines ───────────────────────────────────────────────────────────────────────────────────────────────────────


def crc32c(data: bytes) -> int:
    """Return the CRC32C (Castagnoli) of `data`."""
    return int(google_crc32c.value(data))


def seal(value: Mapping[str, Any]) -> bytes:
    """Return a JSON object with its checksum as the last field, on one line. `value` must not be empty."""
    body = codec.dumps(value)
    return b'%s%s%08x"}' % (body[:-1], _SEAL, crc32c(body))


def unseal(line: bytes) -> dict[str, Any]:
    """Return the object of a sealed line.

    Raises:
        ValueError: the line fails its checksum, or holds no JSON object.
    """
    head, mark, tail = line.rstrip(b"\n").rpartition(_SEAL)
    body = head + b"}"
    if not mark or tail != b'%08x"}' % crc32c(body):
        raise ValueError("checksum does not match")
    try:
        found = codec.loads(body)
    except ProtocolError as error:
        raise ValueError(str(error)) from None
    if type(found) is not dict:
        raise ValueError("expected a JSON object")
    return found


def sealed_lines(path: Path) -> Iterator[tuple[int, int, dict[str, Any] | None]]:
    """Yield offset, length and object (None if it fails its checksum) of each sealed line; nothing without a file.

    Raises:
        CorruptRecording: it is no ordinary file, or is too large.
    """
    try:
        data = checked.read_bounded(path, checked.LINES_BYTES)
    except FileNotFoundError:
        return
    offset = 0
    while offset < len(data):  # by newlines alone: damage must not make other ends of lines
        end = data.find(b"\n", offset) + 1 or len(data)
        found = None
        if end - offset <= checked.LINE_BYTES:
            with contextlib.suppress(ValueError):
                found = unseal(data[offset:end])
        if found is None:  # all damaged lines up to the next good one's beginning may be one damage
            while end < len(data) and _SEAL not in data[end : (data.find(b"\n", end) + 1 or len(data))]:
                end = data.find(b"\n", end) + 1 or len(data)
        yield offset, end - offset, found
        offset = end


# ── writes that survive a power cut ────────────────────────────────────────────────────────────────────────────────────

datasync: Final[Callable[[int], None]] = getattr(os, "fdatasync", os.fsync)
"""The function that brings a file's bytes to the disk; macOS has no fdatasync."""


def sync_file(path: Path) -> None:
    """Sync a finished file to the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Sync a folder's entries to the disk, so that files that were made or renamed in it stay."""
    if os.name == "nt":  # Windows cannot open a folder
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_durably(path: Path, data: bytes) -> None:
    """Write a whole file or none of it; it is on the disk when this returns."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)


def append_durably(path: Path, data: bytes) -> None:
    """Append to a file, after a torn line on a new line; the bytes are on the disk when this returns."""
    is_new = not path.exists()
    with path.open("ab+") as file:
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(end - 1)
            if file.read(1) != b"\n":
                data = b"\n" + data
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        sync_folder(path.parent)


# ── the lock ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class WriterLock:
    """The lock of a recording's writer: held by one process, until it ends or releases it. The file itself stays."""

    def __init__(self, folder: Path) -> None:
        """Take the lock.

        Raises:
            RecordingBusy: another recorder holds it.
            RecordingError: this system has no such locks.
        """
        self._folder = folder
        self._handle: int | None = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        deadline = time.monotonic() + LOCK_PATIENCE_S
        while not _try_lock(self._handle, shared=False):
            if time.monotonic() > deadline:
                self.release()
                raise RecordingBusy(f"{folder} is being written by another recorder")
            time.sleep(0.01)

    @property
    def folder(self) -> Path:
        """Return the locked folder's current path, even after a move; the last known path of a folder that is gone."""
        if self._handle is not None and not _is_same_file(self._folder / LOCK, self._handle):
            found = _path_of(self._handle)
            if found is not None and _is_same_file(found, self._handle):
                self._folder = found.parent
        return self._folder

    @property
    def handle(self) -> int:
        """Return the descriptor that holds the lock, for a process to inherit; -1 once it is released."""
        return -1 if self._handle is None else self._handle

    def release(self) -> None:
        """Release the lock."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _is_same_file(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except OSError:
        return False


def _path_of(handle: int) -> Path | None:
    """Return the current path of an open file, on Linux and macOS; None elsewhere."""
    try:
        return Path(f"/proc/self/fd/{handle}").readlink()
    except OSError:
        pass
    try:
        import fcntl  # noqa: PLC0415 - Windows has none

        return Path(os.fsdecode(fcntl.fcntl(handle, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0")))  # type: ignore[attr-defined,unused-ignore] # only macOS has it
    except (ImportError, AttributeError, OSError):
        return None


def is_being_written(folder: Path) -> bool:
    """Return whether a process holds the lock now; never creates the lock file."""
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _try_lock(handle, shared=True)
    finally:
        os.close(handle)


def _try_lock(handle: int, *, shared: bool) -> bool:
    try:
        import fcntl  # noqa: PLC0415 - Windows has none, and reads recordings all the same
    except ImportError:
        if shared:
            return True
        raise RecordingError("recording needs file locks, which this system does not have; recordings can be read") from None
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
