"""Verification: compares every checksum of a recording and names the places that fail. It repairs nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ccwatch.errors import CorruptRecording
from ccwatch.recording import manifest
from ccwatch.recording.checked import SESSION_BYTES, read_bounded
from ccwatch.recording.folder import COPIES, JOURNAL, MANIFEST, MARKS, SESSION, Session, sealed_lines, unseal
from ccwatch.recording.holes import missing
from ccwatch.recording.journal import Hole, journal_files, read_frames
from ccwatch.recording.segment_file import SegmentFile
from ccwatch.recording.segment_groups import SET_ASIDE


class Problem(NamedTuple):
    """One damaged place: the file (relative to the recording's folder), the bytes, and what is wrong."""

    file: str
    offset: int
    length: int
    what: str


@dataclass(frozen=True)
class Verification:
    """The result of `verify`. A journal's torn end after a kill is a note, not a problem: nothing whole was lost there."""

    path: Path
    deep: bool
    files: int
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Return whether every byte that was compared is as it was written."""
        return not self.problems

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Print a headline in IPython, and each problem on a line."""
        words = "every checksum agrees" if self.ok else f"{len(self.problems)} problems"
        lines = [f"{problem.file}: {problem.what}" for problem in self.problems]
        printer.text("…" if cycle else "\n".join([f"<Verification of {self.path.name}: {words}, {self.files} files>", *lines]))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values that JSON can hold."""
        found = {"problems": [p._asdict() for p in self.problems], "notes": [p._asdict() for p in self.notes]}
        return {"path": str(self.path), "ok": self.ok, "deep": self.deep, "files": self.files, **found}


def verify(folder: Path, session: Session, *, deep: bool, on_progress: Callable[[str], None] | None) -> Verification:
    """Compare the checksums of a recording; see `Recording.verify`."""
    report = on_progress or (lambda _: None)
    problems: list[Problem] = []
    notes: list[Problem] = []
    report(MANIFEST)
    for name in (SESSION, f"{COPIES}/{SESSION}"):
        problems.extend(_verify_session(folder, name))
    found = _verify_manifest(folder, problems, notes)
    problems.extend(
        Problem(MARKS, offset, length, "a line fails its checksum") for offset, length, line in sealed_lines(folder / MARKS) if line is None
    )
    checked = 5
    for path in journal_files(folder / JOURNAL):
        report(f"{JOURNAL}/{path.name}")
        checked += 1
        _verify_journal(path, session, problems, notes)
    for path in sorted((folder / JOURNAL).glob(f"*{SET_ASIDE}")):
        what = "was set aside by recovery; what it does not give back is reported as a gap event"
        problems.append(Problem(f"{JOURNAL}/{path.name}", 0, path.lstat().st_size, what))
    for group in found.groups:
        for segment in group.files.values():
            report(segment.path)
            checked += 1
            problems.extend(_verify_segment(folder, segment, deep=deep))
    return Verification(folder, deep, checked, tuple(problems), tuple(notes))


def _verify_manifest(folder: Path, problems: list[Problem], notes: list[Problem]) -> manifest.Manifest:
    """Compare both files of the manifest, check that they name every entry, and return the manifest."""
    try:
        found = manifest.read(folder)
    except CorruptRecording as error:
        problems.append(Problem(MANIFEST, 0, 0, str(error).removeprefix(f"{folder}/")))
        return manifest.Manifest()
    for line in found.damaged:
        what = "a torn line at its end, as a power cut leaves it" if line.is_torn else "a line fails its checksum"
        (notes if line.is_torn else problems).append(Problem(line.file, line.offset, line.length, what))
    if found.groups or found.finish:
        files = [file for file in manifest.FILES if not (folder / file).exists()]
        problems.extend(Problem(file, 0, 0, "is missing; its copy is whole, and recover writes it again") for file in files)
    gone = missing(found, journal_holds=bool(journal_files(folder / JOURNAL)))
    problems.extend(Problem(MANIFEST, 0, 0, f"entries {hole.entries[0]} to {hole.entries[1]} are in no segment") for hole in gone)
    return found


def _verify_journal(path: Path, session: Session, problems: list[Problem], notes: list[Problem]) -> None:
    for frame in read_frames(path, bytes.fromhex(session.nonce)):
        if isinstance(frame, Hole):
            what = "a torn frame at its end, as a kill leaves it" if frame.is_torn else "a frame fails its checksum"
            place = Problem(f"{JOURNAL}/{path.name}", frame.offset, frame.end - frame.offset, what)
            (notes if frame.is_torn else problems).append(place)


def _verify_session(folder: Path, name: str) -> Iterator[Problem]:
    line = b""
    try:
        line = read_bounded(folder / name, SESSION_BYTES)
        unseal(line)
    except FileNotFoundError:
        yield Problem(name, 0, 0, "is missing; its copy is whole, and recover writes it again")
    except (ValueError, CorruptRecording) as error:
        yield Problem(name, 0, len(line), str(error).removeprefix(f"{folder}/"))


def _verify_segment(folder: Path, segment: manifest.Segment, *, deep: bool) -> Iterator[Problem]:
    path = folder / segment.path
    size = 0
    try:
        size = path.stat().st_size
        if size != segment.bytes:
            yield Problem(segment.path, 0, size, f"has {size} bytes instead of {segment.bytes}")
        file = SegmentFile(folder, segment)
    except FileNotFoundError:
        yield Problem(segment.path, 0, segment.bytes, "is missing")
        return
    except (CorruptRecording, OSError) as error:
        yield Problem(segment.path, 0, size, str(error).removeprefix(f"{path}").lstrip(":, "))
        return
    if not deep:
        return
    blamed = False
    for group in range(file.groups):
        for offset, length in file.bad_chunks(group):
            blamed = True
            yield Problem(segment.path, offset, length, "a column fails its checksum")
    with path.open("rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != segment.sha256 and not blamed:
            yield Problem(segment.path, 0, size, "fails its SHA-256, outside the columns")
