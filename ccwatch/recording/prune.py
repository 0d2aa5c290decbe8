"""Pruning: which recordings a limit would cost, and deleting them. Choosing deletes nothing; only `delete` does."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ccwatch.errors import ConfigError, RecordingBusy, RecordingError
from ccwatch.recording.folder import SESSION, Session, WriterLock, is_being_written
from ccwatch.stream.source import read_clock


@dataclass(frozen=True)
class Candidate:
    """A recording that would go: its folder, when it was begun (this machine's clock), its size, and why."""

    path: Path
    begun_ns: int
    bytes: int
    why: str

    def to_dict(self) -> dict[str, Any]:
        """As plain values that JSON can hold."""
        begun = datetime.fromtimestamp(self.begun_ns / 1e9).astimezone()
        return {"path": str(self.path), "begun": begun.isoformat(timespec="seconds"), "bytes": self.bytes, "why": self.why}


def candidates(
    root: str | Path,
    *,
    max_age: timedelta | None = None,
    max_bytes: int | None = None,
    min_free: int | None = None,
    keep_tags: Sequence[str] = (),
    now_ns: int | None = None,
) -> list[Candidate]:
    """The recordings in a folder that would go, oldest first, so that what remains keeps the limits.

    A recording in progress, one with a tag of `keep_tags`, and one that cannot be read, never go.

    Args:
        root: the folder that holds the recordings.
        max_age: those begun longer ago go.
        max_bytes: what all recordings together may take.
        min_free: what is to be free on their disk.
        keep_tags: tags that protect a recording.
        now_ns: the wall clock; None is this machine's.

    Raises:
        ConfigError: no limit at all.
    """
    if max_age is None and max_bytes is None and min_free is None:
        raise ConfigError("prune needs a limit: max_age, max_bytes or min_free")
    root = Path(root)
    now = read_clock().wall_ns if now_ns is None else now_ns
    found = sorted(_readable(root), key=lambda pair: pair[1].wall_ns)
    sizes = {folder: sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) for folder, _ in found}
    total = sum(sizes.values())
    free = shutil.disk_usage(root).free if root.exists() else 0
    chosen = []
    for folder, session in found:
        if is_being_written(folder) or set(session.tags) & set(keep_tags):
            continue
        why = ""
        if max_age is not None and now - session.wall_ns > max_age / timedelta(microseconds=1) * 1000:
            why = "older than max-age"
        elif max_bytes is not None and total > max_bytes:
            why = "all take more than max-bytes"
        elif min_free is not None and free < min_free:
            why = "less than min-free is free"
        if why:
            chosen.append(Candidate(folder, session.wall_ns, sizes[folder], why))
            total -= sizes[folder]
            free += sizes[folder]
    return chosen


def delete(candidate: Candidate) -> None:
    """Delete a recording, for good.

    Raises:
        RecordingBusy: a recorder writes it by now.
        RecordingError: it cannot be deleted.
    """
    try:
        WriterLock(candidate.path).release()
        shutil.rmtree(candidate.path)
    except RecordingBusy:
        raise
    except OSError as error:
        raise RecordingError(f"{candidate.path} cannot be deleted: {error}") from error


def _readable(root: Path) -> list[tuple[Path, Session]]:
    found = []
    for path in root.glob(f"*/{SESSION}"):
        try:
            found.append((path.parent, Session.read(path.parent)))
        except RecordingError:
            continue  # whoever can read it may still want it
    return found
