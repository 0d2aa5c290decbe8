"""The manifest: the segment files that belong to a recording, with their sizes and checksums. Sealed lines, appended only.

It is written twice, since damage to a line would take a whole segment away: a line counts where either file has it.

A line per segment file. The files of one group hold the same stretch of entries, one file per table; the group counts once the
lines of all its tables are there, which one write appends. A last line says that the recording was finished.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

from ccwatch.errors import CorruptRecording
from ccwatch.recording import checked, segments
from ccwatch.recording.folder import COPIES, MANIFEST, append_durably, seal, sealed_lines, unseal, write_durably
from ccwatch.recording.schemas import ALWAYS, FRAMES

FILES: Final = (f"{COPIES}/{MANIFEST}", MANIFEST)
"""The manifest's two files, in the order of writing."""
LAST_LINE: Final = 1 << 16
"""Bytes of the file's end in which its last line is searched."""
MOST_ROWS_PER_BYTE: Final = 16
FEW_ROWS: Final = 1 << 18
"""A stream's clocks and prices differ from row to row: no recording packs more rows into a byte than this, once it has a few."""
BY_ENTRY: Final = {"packets": 1, "events": 1, FRAMES: 2}
"""Tables that have at most so many rows of an entry; the others have as many as its message has lines."""


@dataclass(frozen=True)
class Segment:
    """One Parquet file.

    Attributes:
        table: name of the table.
        path: below the recording's folder.
        entries: first and last entry of its group.
        seq: of the first and last packet of its group.
        time_ns: lowest and highest time in it, None where it has no rows or no times.
        packets: count of packets of its group.
        rows: count of its rows.
        bytes: its size.
        footer_crc: CRC32C of its footer.
        chunks: CRC32C of each column chunk, row group by row group.
        sha256: of the whole file, in hex.
        also: tables of its group that not every group has.
    """

    table: checked.TableName
    path: checked.SegmentPath
    entries: tuple[checked.EntryNumber, checked.EntryNumber]
    seq: tuple[checked.UInt64, checked.UInt64]
    time_ns: tuple[checked.Int64, checked.Int64] | None
    packets: checked.Count
    rows: checked.Count
    bytes: checked.Bytes = 0
    footer_crc: checked.UInt32 = 0
    chunks: checked.Chunks = ()
    sha256: checked.Sha256 = ""
    also: checked.TableNames = ()

    def measured(self, file: Path) -> Segment:
        """Return the segment with the size and the checksums of the finished file."""
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        chunks = tuple(segments.chunk_crcs(file))
        return replace(self, bytes=file.stat().st_size, footer_crc=segments.footer_crc(file), chunks=chunks, sha256=digest)


class Group(NamedTuple):
    """The segments of one stretch of entries, by table."""

    entries: tuple[int, int]
    packets: int
    files: dict[str, Segment]


class DamagedLine(NamedTuple):
    """A line that fails its checksum, in one of the two files."""

    file: str
    offset: int
    length: int
    is_torn: bool
    """Whether it is the file's last line and incomplete: a power cut came while it was written."""


@dataclass(frozen=True)
class LostRows:
    """A table's rows of a stretch of entries that cannot be read any more, as recovery found them.

    Attributes:
        table: name of the table.
        path: the segment's, below the recording's folder; its file was set aside, or is missing.
        entries: first and last entry.
        seq: of the first and last packet.
        time_ns: of the first and last row, None where that is not known.
        why: what is wrong with it.
    """

    table: checked.TableName
    path: checked.SegmentPath
    entries: tuple[checked.EntryNumber, checked.EntryNumber]
    seq: tuple[checked.UInt64, checked.UInt64]
    time_ns: tuple[checked.Int64, checked.Int64] | None
    why: checked.Text


@dataclass(frozen=True)
class Finish:
    """The last line: the recording was finished.

    Attributes:
        entries: count of all.
    """

    entries: checked.Count = 0


checked.prepare(Segment, LostRows, Finish)


class Manifest(NamedTuple):
    """The content of a manifest at one moment."""

    groups: tuple[Group, ...] = ()
    """The groups in order of entries."""
    finish: Finish | None = None
    damaged: tuple[DamagedLine, ...] = ()
    lost: tuple[LostRows, ...] = ()
    """The losses that recovery found."""

    @property
    def is_finished(self) -> bool:
        """Return whether the recording was finished."""
        return self.finish is not None

    @property
    def last_entry(self) -> int:
        """Return the last entry that is in a group; 0 where there is none."""
        return self.groups[-1].entries[1] if self.groups else 0


def read(folder: Path) -> Manifest:
    """Return the manifest of a recording; an empty one where there is none yet.

    Raises:
        CorruptRecording: a line with a right checksum has an impossible value; the message names the file and the field.
    """
    lines: dict[tuple[int, int], dict[str, Segment]] = {}
    damaged: list[DamagedLine] = []
    lost: dict[LostRows, None] = {}
    finish = None
    for file in FILES:
        path = folder / file
        last = None
        for offset, length, line in sealed_lines(path):
            last = None
            kind = None if line is None else line.get("line")
            if line is None:
                last = DamagedLine(file, offset, length, is_torn=False)
                damaged.append(last)
            elif kind == "segment":
                segment = _segment(line, path)
                lines.setdefault(segment.entries, {})[segment.table] = segment
            elif kind == "lost":
                lost[checked.fits(line, LostRows, path)] = None
            elif kind == "finish":
                finish = checked.fits(line, Finish, path)
        if last is not None and not _ends_whole(path):
            damaged[-1] = last._replace(is_torn=True)
    found = [Group(entries, files["packets"].packets, files) for entries, files in sorted(lines.items()) if _is_whole(files)]
    for group, following in pairwise(found):
        if following.entries[0] <= group.entries[1]:
            raise CorruptRecording(f"{folder / MANIFEST}: entries: {following.entries} overlaps {group.entries}")
    return Manifest(tuple(found), finish, tuple(damaged), tuple(lost))


def size(folder: Path) -> tuple[int, int]:
    """Return the sizes of the manifest's two files, which grow with each line; -1 where one is missing."""
    first, second = ((folder / file).stat().st_size if (folder / file).exists() else -1 for file in FILES)
    return first, second


def append_group(folder: Path, files: Sequence[Segment]) -> None:
    """Append the lines of a group, which counts from then on."""
    _append(folder, b"".join(_line(segment) for segment in files))


def append_finish(folder: Path, facts: dict[str, Any]) -> None:
    """Append the line that the recording was finished."""
    _append(folder, seal({"line": "finish", **facts}) + b"\n")


def finish_line(folder: Path) -> dict[str, Any] | None:
    """Return the manifest's last line if it says that the recording was finished; only the file's end is read."""
    try:
        with (folder / MANIFEST).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LAST_LINE))
            return finish_of(file.read())
    except OSError:
        return None


def finish_of(end: bytes) -> dict[str, Any] | None:
    """Return the last line of a manifest's end if it says that the recording was finished; otherwise None."""
    try:
        found = unseal(end.rstrip(b"\n").rpartition(b"\n")[2])
    except ValueError:
        return None
    return found if found.get("line") == "finish" else None


def segments_of(end: bytes, path: Path) -> list[Segment]:
    """Return the segments of the whole lines of a manifest's end.

    Raises:
        CorruptRecording: a line with a right checksum has an impossible value.
    """
    found = []
    for line in end.split(b"\n"):
        try:
            value = unseal(line)
        except ValueError:
            continue  # the first line of an end is cut
        if value.get("line") == "segment":
            found.append(_segment(value, path))
    return found


def append_lost(folder: Path, found: Sequence[LostRows]) -> None:
    """Append the losses, so that they stay known."""
    _append(folder, b"".join(seal({"line": "lost", **asdict(one)}) + b"\n" for one in found))


def repair(folder: Path) -> int:
    """Rewrite both files from the lines of either, if one is damaged or missing, and return how many were mended."""
    found = read(folder)
    missing = [file for file in FILES if not (folder / file).exists()] if found.groups or found.finish else []
    whole: dict[bytes, None] = {}
    for file in FILES:
        for _, _, line in sealed_lines(folder / file):
            if line is not None:
                whole[seal(line) + b"\n"] = None
    if found.damaged or missing:
        for file in FILES:
            (folder / file).parent.mkdir(exist_ok=True)
            write_durably(folder / file, b"".join(whole))
    return len(found.damaged) + len(missing)


def _append(folder: Path, lines: bytes) -> None:
    for file in FILES:
        if not (folder / file).parent.exists():  # an earlier ccwatch made no copies
            (folder / file).parent.mkdir()
        append_durably(folder / file, lines)


def _line(segment: Segment) -> bytes:
    return seal({"line": "segment", **asdict(segment)}) + b"\n"


def _ends_whole(file: Path) -> bool:
    return file.read_bytes()[-1:] == b"\n"


def most_rows(size: int) -> int:
    """Return how many rows a segment of so many bytes can have."""
    return FEW_ROWS + MOST_ROWS_PER_BYTE * size


def _is_whole(files: dict[str, Segment]) -> bool:
    """Return whether all tables of a group are there: its lines name the tables that only some groups have."""
    wanted = {table for segment in files.values() for table in segment.also}
    return files.keys() >= wanted.union(ALWAYS)


def _segment(line: dict[str, Any], path: Path) -> Segment:
    """Return the segment of a line, checked.

    Raises:
        CorruptRecording: the line has an impossible value.
    """
    segment = checked.fits(line, Segment, path)
    count = segment.entries[1] - segment.entries[0] + 1
    where = f"{path}: {segment.path}"
    if not segment.path.startswith(f"{segment.table}/{segment.table}-"):
        raise CorruptRecording(f"{where}: path: expected a file of table {segment.table}")
    if count < 1 or segment.packets > count:
        raise CorruptRecording(f"{where}: entries: {segment.entries} with {segment.packets} packets cannot be")
    if segment.table in BY_ENTRY and segment.rows > BY_ENTRY[segment.table] * count:
        raise CorruptRecording(f"{where}: rows: {segment.rows:,} of {count:,} entries cannot be")
    if segment.rows > most_rows(segment.bytes):
        raise CorruptRecording(f"{where}: rows: {segment.rows:,} in {segment.bytes:,} bytes cannot be")
    if segment.time_ns is not None and segment.time_ns[0] > segment.time_ns[1]:
        raise CorruptRecording(f"{where}: time_ns: {segment.time_ns} ends before it begins")
    return segment
