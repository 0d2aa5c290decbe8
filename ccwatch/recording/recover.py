"""Recovery and compaction on request: they turn the journal of a killed or growing recording into Parquet files.

Opening a recording does so only in memory; these two write, and hold the writer's lock while they do.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ccwatch.errors import RecordingError
from ccwatch.recording import holes, manifest, segment_groups, summary
from ccwatch.recording.checked import SESSION_BYTES, read_bounded
from ccwatch.recording.folder import COPIES, JOURNAL, SESSION, STAGING, Session, WriterLock, sync_folder, unseal
from ccwatch.recording.journal import Hole, journal_files, read_frames
from ccwatch.stream.source import read_clock


@dataclass(frozen=True)
class Recovery:
    """The result of a recovery or a compaction.

    Attributes:
        path: its folder.
        entries: packets and events that went from the journal into Parquet.
        torn_bytes: bytes at the journal's end that a kill had cut short: no whole frame was lost with them.
        damaged_bytes: bytes of the journal that fail their checksum; they are kept, in files named `.damaged`.
        mended: count of damaged lines of the manifest, and of files, that were written again from their copies.
        finished: whether the recording is finished now.
        set_aside: files of which a part cannot be read, below the folder: those that were renamed to `.damaged`, now or before.
        lost: one line for each stretch that cannot be read any more, lost now or before; each is a gap event, too.
    """

    path: Path
    entries: int
    torn_bytes: int
    damaged_bytes: int
    mended: int
    finished: bool
    set_aside: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Return whether nothing of the recording was lost, now or before."""
        return not (self.lost or self.set_aside)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values that JSON can hold."""
        return asdict(self) | {"path": str(self.path), "set_aside": list(self.set_aside), "lost": list(self.lost)}


def recover(path: str | Path, *, on_progress: Callable[[int], None] | None = None) -> Recovery:
    """Finish a recording whose recorder was killed. Doing it again, or to a finished one, changes nothing.

    Args:
        path: the recording's folder.
        on_progress: called with the count of entries so far.

    Raises:
        RecordingNotFound: there is no recording at the path.
        RecordingBusy: a recorder writes it; it needs no recovery.
        RecordingError: it cannot be written.
    """
    return _work(Path(path), on_progress, finish=True)


def compact(path: str | Path, *, on_progress: Callable[[int], None] | None = None) -> Recovery:
    """Turn the journal into Parquet without marking the recording as finished; see `recover`."""
    return _work(Path(path), on_progress, finish=False)


def _work(folder: Path, on_progress: Callable[[int], None] | None, *, finish: bool) -> Recovery:
    session = Session.read(folder)
    with _writing(folder):
        torn = damaged = 0
        for file in journal_files(folder / JOURNAL):
            for frame in read_frames(file, bytes.fromhex(session.nonce)):
                if isinstance(frame, Hole):
                    torn += (frame.end - frame.offset) * frame.is_torn
                    damaged += (frame.end - frame.offset) * (not frame.is_torn)
        entries = segment_groups.compact(folder, session, on_progress=on_progress)
        shutil.rmtree(folder / STAGING, ignore_errors=True)  # what a kill left there was never published
        mended = manifest.repair(folder) + _mend_session(folder, session)
        before = manifest.read(folder)
        found = _set_aside(folder, before)
        if (finish and not found.is_finished) or (found.is_finished and found.lost != before.lost):  # then its row has changed
            clock = read_clock()
            facts = {"entries": found.last_entry, "wall_ns": clock.wall_ns, "mono_ns": clock.mono_ns, "recovered": True}
            manifest.append_finish(folder, facts | summary.of_finished(folder))
        gone = holes.merged(found.lost, holes.missing(found))
        set_aside = sorted(path.relative_to(folder).as_posix() for path in folder.glob(f"*/*{segment_groups.SET_ASIDE}"))
    lost = tuple(str(hole.facts) for hole in gone)
    return Recovery(folder, entries, torn, damaged, mended, finish or found.is_finished, tuple(set_aside), lost)


def _set_aside(folder: Path, found: manifest.Manifest) -> manifest.Manifest:
    """Rename the segments that cannot be read at all, note every loss in the manifest, and return it."""
    lost = [one for group in found.groups for one in holes.lost_of_group(folder, group)]
    fresh = [one for one in lost if not any((one.path, one.entries) == (known.path, known.entries) for known in found.lost)]
    whole = {segment.path: segment.entries for group in found.groups for segment in group.files.values()}
    for one in fresh:
        path = folder / one.path
        if whole[one.path] == one.entries and path.exists() and not _opens(folder, found, one.path):
            path.replace(path.with_suffix(segment_groups.SET_ASIDE))
            sync_folder(path.parent)
    if fresh:
        manifest.append_lost(folder, fresh)
    return manifest.read(folder)


def _opens(folder: Path, found: manifest.Manifest, name: str) -> bool:
    """Return whether a segment's footer is right, so that a part of it may be read."""
    for group in found.groups:
        for segment in group.files.values():
            if segment.path == name:
                return not holes.lost_of(folder, segment, deep=False)
    return False


def _mend_session(folder: Path, session: Session) -> int:
    damaged = sum(not _is_sealed(path) for path in (folder / SESSION, folder / COPIES / SESSION))
    if damaged:
        session.write(folder)
    return damaged


def _is_sealed(path: Path) -> bool:
    try:
        unseal(read_bounded(path, SESSION_BYTES))
    except (OSError, ValueError, RecordingError):
        return False
    return True


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Hold the writer's lock while the context lasts; raise trouble of the disk as a RecordingError."""
    try:
        lock = WriterLock(folder)
    except OSError as error:
        raise RecordingError(f"{folder} cannot be written: {error}") from error
    try:
        yield
    except OSError as error:
        if isinstance(error, RecordingError):
            raise
        raise RecordingError(f"{folder} cannot be written: {error}; what it holds is as it was") from error
    finally:
        lock.release()
