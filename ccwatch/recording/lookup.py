"""Finding a recording by its path, by its name in the folder of recordings, or as the latest."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ccwatch.config import user_path
from ccwatch.errors import RecordingError, RecordingNotFound
from ccwatch.recording.folder import COPIES, SESSION, Session

LATEST: Final = "latest"
MOST_NAMED: Final = 8
"""Most recordings that an error message lists."""


def locate(name: str | Path, root: Path) -> Path:
    """Return the path of the recording that `name` means.

    Args:
        name: a path; else the id of a recording below `root`, or the part of its id that `record(name=…)` gave; "latest" is the one
            that was begun last, by its session.json.
        root: the folder of recordings.

    Raises:
        RecordingNotFound: no recording has the name, or several have; the message says which folder was searched and lists it.
    """
    path = user_path(name)
    if path.exists():
        return path
    ids = _ids(root)
    if str(name) == LATEST:
        if not ids:
            looked = f"looked in {root.absolute()}, which {_contents(root, ids)}"
            raise RecordingNotFound(f"there is no latest recording: {looked}; cw.record(url) makes one")
        return root / max(ids, key=lambda each: (_begun_ns(root / each), each))
    is_bare = isinstance(name, str) and path.name == name
    if is_bare and (found := [each for each in ids if each == name or _plain_name(each) == name]):
        if len(found) > 1:
            newest = max(found, key=lambda each: (_begun_ns(root / each), each))
            raise RecordingNotFound(
                f"{len(found)} recordings below {root.absolute()} are named {name!r}; give one in full, the newest is {newest}"
            )
        return root / found[0]
    looked = f"looked for {path.absolute()}" + (f" and in {root.absolute()}, which {_contents(root, ids)}" if is_bare else "")
    remedy = f"; cw.record(source, name={str(name)!r}) makes one of this name" if is_bare else ""
    raise RecordingNotFound(f"no recording {str(name)!r}: {looked}{remedy}")


def _ids(root: Path) -> list[str]:
    """Return the ids of the recordings below a folder, in order; none where there is no such folder."""
    try:
        return sorted(each.name for each in root.iterdir() if (each / SESSION).exists() or (each / COPIES / SESSION).exists())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _plain_name(session: str) -> str:
    """Return the name within an id such as 20260102T143000Z-desk-3-9f3a."""
    return session.partition("-")[2].rpartition("-")[0]


def _begun_ns(folder: Path) -> int:
    """Return when a recording was begun, ns since 1970; one whose session.json cannot be read sorts before all."""
    try:
        return Session.read(folder).wall_ns
    except (RecordingError, OSError):
        return -1


def _contents(root: Path, ids: list[str]) -> str:
    if not root.is_dir():
        return "does not exist"
    if not ids:
        return "holds no recording"
    more = f" and {len(ids) - MOST_NAMED} more" if len(ids) > MOST_NAMED else ""
    return f"holds {', '.join(ids[-MOST_NAMED:])}{more}"
