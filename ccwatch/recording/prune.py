"""Pruning: choosing the recordings that exceed a limit, and deleting them. Only `delete` deletes."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from ccwatch.errors import ConfigError, RecordingBusy, RecordingError
from ccwatch.recording import catalog
from ccwatch.recording.folder import WriterLock
from ccwatch.stream.source import read_clock


@dataclass(frozen=True)
class Candidate:
    """A recording that would be deleted: its folder, its beginning (this machine's clock), its size, and the reason."""

    path: Path
    begun_ns: int
    bytes: int
    why: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values that JSON can hold."""
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
    """Return the recordings to delete from a folder, oldest first, so that the others keep the limits.

    Never chosen are a recording in progress, one with a tag of `keep_tags`, and one that cannot be read.

    Args:
        root: the folder that holds the recordings.
        max_age: recordings begun longer ago are chosen.
        max_bytes: bytes that all recordings together may take.
        min_free: bytes that must be free on their disk.
        keep_tags: tags that protect a recording.
        now_ns: the wall clock; None is this machine's.

    Raises:
        ConfigError: no limit at all.
    """
    if max_age is None and max_bytes is None and min_free is None:
        raise ConfigError("prune needs a limit: max_age, max_bytes or min_free")
    root = Path(root)
    now = read_clock().wall_ns if now_ns is None else now_ns
    found = sorted(_readable(root), key=lambda row: row.wall_ns)
    total = sum(row.bytes for row in found)
    free = shutil.disk_usage(root).free if root.exists() else 0
    chosen = []
    for row in found:
        if row.status == "open" or set(row.tags) & set(keep_tags):
            continue
        why = ""
        if max_age is not None and now - row.wall_ns > max_age / timedelta(microseconds=1) * 1000:
            why = "older than max-age"
        elif max_bytes is not None and total > max_bytes:
            why = "all take more than max-bytes"
        elif min_free is not None and free < min_free:
            why = "less than min-free is free"
        if why:
            chosen.append(Candidate(root / row.name, row.wall_ns, row.bytes, why))
            total -= row.bytes
            free += row.bytes
    return chosen


def delete(candidate: Candidate) -> None:
    """Delete a recording irrecoverably.

    Raises:
        RecordingBusy: a recorder has begun to write it.
        RecordingError: it cannot be deleted.
    """
    try:
        WriterLock(candidate.path).release()
        shutil.rmtree(candidate.path)
    except RecordingBusy:
        raise
    except OSError as error:
        raise RecordingError(f"{candidate.path} cannot be deleted: {error}") from error


class _Row(NamedTuple):
    name: str
    status: str
    wall_ns: int
    bytes: int
    tags: tuple[str, ...]


def _readable(root: Path) -> list[_Row]:
    """Return the recordings that can be read, with later tags; the others may be readable, and of use, to someone else."""
    table = catalog.table_of(root)
    frame = catalog.frame_of(table, root)
    rows = zip(frame.index, frame["status"], table["wall_ns"].to_pylist(), frame["bytes"], frame["tags"], strict=True)
    found = (_Row(str(name), str(status), wall_ns, int(size), tags) for name, status, wall_ns, size, tags in rows)
    known = (row for row in found if row.wall_ns and not row.status.startswith("unreadable"))
    return [row for row in known if not (root / row.name).is_symlink()]  # a link's target is not ours to delete
