"""A packed recording: the folder of a recording as one zip file, stored without compression (its files are compressed already)."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path

from ccwatch.errors import CorruptRecording, RecordingNotFound
from ccwatch.recording.folder import LOCK, SESSION

SUFFIX = ".zip"


def is_packed(path: Path) -> bool:
    """Whether the path is a file that ends like a packed recording."""
    return path.suffix.lower() == SUFFIX and path.is_file()


def pack_folder(folder: Path, archive: Path) -> int:
    """Pack the files of a folder, below its own name; how many bytes the archive has. A whole archive or none."""
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
    """Unpack into a new folder among the system's temporary ones; the recording's folder in it.

    Raises:
        RecordingNotFound: no recording in it.
        CorruptRecording: it is no zip file, a file in it fails its checksum, or it would grow in unpacking.
    """
    root = Path(tempfile.mkdtemp(prefix="ccwatch-"))
    try:
        return _unpack_into(archive, root)
    except zipfile.BadZipFile as error:
        shutil.rmtree(root, ignore_errors=True)
        raise CorruptRecording(f"{archive}: {error}") from None
    except BaseException:
        shutil.rmtree(root, ignore_errors=True)
        raise


def _unpack_into(archive: Path, root: Path) -> Path:
    with zipfile.ZipFile(archive) as file:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in file.infolist()):
            raise CorruptRecording(f"{archive}: expected files that are stored, as `ccwatch pack` does; unpack it yourself and open that")
        file.extractall(root)  # keeps every file below `root`, whatever its name says
    found = sorted(path.parent for path in root.glob(f"*/{SESSION}"))
    if len(found) != 1:
        raise RecordingNotFound(f"{archive} holds {len(found)} recordings; expected one, in a folder of its own")
    return found[0]
