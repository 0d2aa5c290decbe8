"""Verification: compares every checksum of a recording and names the places that fail. It repairs nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ccwatch.errors import CorruptRecording
from ccwatch.recording import manifest, segments
from ccwatch.recording.folder import COPIES, JOURNAL, MANIFEST, MARKS, SESSION, Session, sealed_lines, unseal
from ccwatch.recording.journal import Hole, journal_files, read_frames


class Problem(NamedTuple):
    """One damaged place: the file, below the recording's folder, and where in it."""

    file: str
    offset: int
    length: int
    what: str


@dataclass(frozen=True)
class Verification:
    """What `verify` found. A journal's torn end after a kill is a note, not a problem: nothing whole was lost there."""

    path: Path
    deep: bool
    files: int
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether every byte that was looked at is as it was written."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """As plain values that JSON can hold."""
        found = {"problems": [p._asdict() for p in self.problems], "notes": [p._asdict() for p in self.notes]}
        return {"path": str(self.path), "ok": self.ok, "deep": self.deep, "files": self.files, **found}


def verify(folder: Path, session: Session, *, deep: bool, on_progress: Callable[[str], None] | None) -> Verification:
    """Compare the checksums of a recording; see `Recording.verify`."""
    tell = on_progress or (lambda _: None)
    problems: list[Problem] = []
    notes: list[Problem] = []
    tell(MANIFEST)
    for name in (SESSION, f"{COPIES}/{SESSION}"):
        problems.extend(_verify_session(folder, name))
    found = manifest.read(folder)
    for line in found.damaged:
        what = "a torn line at its end, as a power cut leaves it" if line.is_torn else "a line fails its checksum"
        (notes if line.is_torn else problems).append(Problem(line.file, line.offset, line.length, what))
    problems.extend(Problem(MANIFEST, 0, 0, f"entries {first} to {last} are in no segment") for first, last in found.missing())
    problems.extend(
        Problem(MARKS, offset, length, "a line fails its checksum") for offset, length, line in sealed_lines(folder / MARKS) if line is None
    )
    checked = 5
    for path in journal_files(folder / JOURNAL):
        name = f"{JOURNAL}/{path.name}"
        tell(name)
        checked += 1
        for frame in read_frames(path, bytes.fromhex(session.nonce)):
            if isinstance(frame, Hole):
                what = "a torn frame at its end, as a kill leaves it" if frame.is_torn else "a frame fails its checksum"
                (notes if frame.is_torn else problems).append(Problem(name, frame.offset, frame.end - frame.offset, what))
    for group in found.groups:
        for segment in group.files.values():
            tell(segment.path)
            checked += 1
            problems.extend(_verify_segment(folder / segment.path, segment, deep=deep))
    return Verification(folder, deep, checked, tuple(problems), tuple(notes))


def _verify_session(folder: Path, name: str) -> Iterator[Problem]:
    try:
        line = (folder / name).read_bytes()
        unseal(line)
    except FileNotFoundError:
        return  # an earlier ccwatch made no copies
    except ValueError as error:
        yield Problem(name, 0, len(line), str(error))


def _verify_segment(path: Path, segment: manifest.Segment, *, deep: bool) -> Iterator[Problem]:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        yield Problem(segment.path, 0, segment.bytes, "is missing")
        return
    if size != segment.bytes:
        yield Problem(segment.path, 0, size, f"has {size} bytes instead of {segment.bytes}")
    try:
        segments.check_footer(path, segment.footer_crc)
    except CorruptRecording:
        yield Problem(segment.path, 0, size, "its footer fails its checksum")
        return
    if not deep:
        return
    blamed = False
    for offset, length in segments.bad_chunks(path, segment.chunks):
        blamed = True
        yield Problem(segment.path, offset, length, "a column fails its checksum")
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != segment.sha256 and not blamed:
            yield Problem(segment.path, 0, size, "fails its SHA-256, outside the columns")
