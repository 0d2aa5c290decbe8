"""A packed recording: the folder of a recording as one zip file, stored without compression (its files are compressed already)."""

from __future__ import annotations

import re
import shutil
import struct
import tempfile
import zipfile
from pathlib import Path
from typing import IO, Final

from ccwatch.errors import CorruptRecording, RecordingError, RecordingNotFound
from ccwatch.recording.folder import LOCK, recordings_in

SUFFIX: Final = ".zip"
MOST_DIRECTORY_BYTES: Final = 8 << 20
"""Of an archive's list of files: some 80,000 of them."""
MOST_LEVELS: Final = 3
"""The recording's folder, a table's folder, a file."""
_PLAIN: Final = re.compile(r"[^/\\\x00-\x1f:]+")
_END_BYTES: Final = 22 + (1 << 16)


def is_packed(path: Path) -> bool:
    """Return whether the path is a file with the suffix of a packed recording."""
    return path.suffix.lower() == SUFFIX and path.is_file()


def pack_folder(folder: Path, archive: Path) -> int:
    """Pack the files of a folder, below its name, into a whole archive or none, and return its size in bytes."""
    part = archive.with_name(archive.name + ".part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as file:
            for path in sorted(folder.rglob("*")):
                if path.is_file() and path.name != LOCK:
                    file.write(path, f"{folder.name}/{path.relative_to(folder).as_posix()}")
        part.replace(archive)
    finally:
        part.unlink(missing_ok=True)
    return archive.stat().st_size


def unpack(archive: Path) -> Path:
    """Unpack an archive into a new temporary folder, and return the recording's folder in it.

    Raises:
        RecordingNotFound: no recording in it.
        CorruptRecording: it is no zip file, a file in it fails its checksum, or it has a file that no packed recording has.
        RecordingError: it cannot be read, or there is no room for it.
    """
    root = Path(tempfile.mkdtemp(prefix="ccwatch-"))
    try:
        _unpack_into(archive, root)
        return _only(archive, recordings_in(root))
    except BaseException as error:
        shutil.rmtree(root, ignore_errors=True)
        if isinstance(error, (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error)):
            raise CorruptRecording(f"{archive}: {str(error) or 'it ends too early'}") from None
        if isinstance(error, OSError) and not isinstance(error, RecordingError):
            raise RecordingError(f"{archive} cannot be unpacked: {error.strerror or error}") from error
        raise


def _only(archive: Path, found: list[Path]) -> Path:
    if len(found) != 1:
        raise RecordingNotFound(f"{archive} holds {len(found)} recordings; expected one, in a folder of its own")
    return found[0]


def _unpack_into(archive: Path, root: Path) -> None:
    size = archive.stat().st_size
    with archive.open("rb") as stream:
        directory = _directory_bytes(stream, size)
        if directory > MOST_DIRECTORY_BYTES:
            raise CorruptRecording(f"{archive}: its list of files has {directory:,} bytes; expected at most {MOST_DIRECTORY_BYTES:,}")
        with zipfile.ZipFile(stream) as file:
            entries = file.infolist()
            if len({entry.filename for entry in entries}) < len(entries):
                raise CorruptRecording(f"{archive}: it holds a file twice")
            for entry in entries:
                _check(archive, entry)
            if sum(entry.file_size for entry in entries) > size:
                raise CorruptRecording(f"{archive}: its files have more bytes than itself: they overlap")
            file.extractall(root, [entry for entry in entries if not entry.is_dir()])


def _check(archive: Path, entry: zipfile.ZipInfo) -> None:
    """Refuse a file that `pack_folder` does not write.

    Raises:
        CorruptRecording: it is none of a recording's files.
    """
    name = entry.filename[:200]
    if entry.flag_bits & 1:
        raise CorruptRecording(f"{archive}: {name}: is encrypted; unpack it yourself and open that")
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        raise CorruptRecording(f"{archive}: expected files that are stored, as `ccwatch pack` does; unpack it yourself and open that")
    parts = entry.filename.rstrip("/").split("/")
    if len(parts) > MOST_LEVELS or any(len(part) > 255 or not _PLAIN.fullmatch(part) or set(part) == {"."} for part in parts):
        raise CorruptRecording(f"{archive}: {name!r} is no file of a recording")


def _directory_bytes(stream: IO[bytes], size: int) -> int:
    """Return the size of an archive's list of files, which is read as a whole, from the archive's end."""
    stream.seek(max(0, size - _END_BYTES))
    end = stream.read()
    at = end.rfind(b"PK\5\6")
    if at < 0 or len(end) < at + 22:
        raise zipfile.BadZipFile("it is no zip file, or its end is missing")
    found = int.from_bytes(end[at + 12 : at + 16], "little")
    if at >= 20 and end[at - 20 : at - 16] == b"PK\6\7":  # more than the old fields can say
        where = int.from_bytes(end[at - 12 : at - 4], "little")
        if where < size:
            stream.seek(where)
            found = max(found if found != 0xFFFFFFFF else 0, int.from_bytes(stream.read(56)[40:48], "little"))
    stream.seek(0)
    return found
