"""The manifest: which segment files belong to the recording, and what they must look like. Sealed lines, appended only.

It is written twice, since damage to a line would take a whole segment away: a line counts where either file has it.

A line per segment file. The files of one group hold the same stretch of entries, one file per table; the group counts once the
lines of all its tables stand there, which one write puts there. A last line says that the recording was finished.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from ccwatch.recording import segments
from ccwatch.recording.folder import COPIES, MANIFEST, append_durably, seal, sealed_lines, unseal, write_durably
from ccwatch.recording.schemas import ALWAYS

FILES: Final = (f"{COPIES}/{MANIFEST}", MANIFEST)
"""In the order of writing."""
LAST_LINE: Final = 1 << 16
"""Bytes of the file's end in which its last line is looked for."""


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

    table: str
    path: str
    entries: tuple[int, int]
    seq: tuple[int, int]
    time_ns: tuple[int, int] | None
    packets: int
    rows: int
    bytes: int = 0
    footer_crc: int = 0
    chunks: tuple[int, ...] = ()
    sha256: str = ""
    also: tuple[str, ...] = ()

    def measured(self, file: Path) -> Segment:
        """With the size and the checksums of the finished file."""
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
    """It is the file's last one and not whole: a power cut came while it was written."""


class Manifest(NamedTuple):
    """What the manifest says now."""

    groups: tuple[Group, ...]
    """In order of entries."""
    is_finished: bool
    damaged: tuple[DamagedLine, ...]

    @property
    def last_entry(self) -> int:
        """The last entry that stands in a group; 0 where there is none."""
        return self.groups[-1].entries[1] if self.groups else 0

    def missing(self) -> list[tuple[int, int]]:
        """First and last entry of each stretch between the groups that no group has: their lines are damaged."""
        found = []
        expected = 1
        for group in self.groups:
            if group.entries[0] > expected:
                found.append((expected, group.entries[0] - 1))
            expected = group.entries[1] + 1
        return found


def read(folder: Path) -> Manifest:
    """The manifest of a recording; an empty one where there is none yet."""
    lines: dict[tuple[int, int], dict[str, Segment]] = {}
    damaged = []
    is_finished = False
    for file in FILES:
        size = (folder / file).stat().st_size if (folder / file).exists() else 0
        for offset, length, line in sealed_lines(folder / file):
            if line is None:
                damaged.append(DamagedLine(file, offset, length, offset + length >= size and not _ends_whole(folder / file)))
            elif line["line"] == "segment":
                segment = _segment(line)
                lines.setdefault(segment.entries, {})[segment.table] = segment
            elif line["line"] == "finish":
                is_finished = True
    groups = [Group(entries, files["packets"].packets, files) for entries, files in sorted(lines.items()) if _is_whole(files)]
    return Manifest(tuple(groups), is_finished, tuple(damaged))


def append_group(folder: Path, files: Sequence[Segment]) -> None:
    """Add the lines of a group: from now on it counts."""
    _append(folder, b"".join(_line(segment) for segment in files))


def append_finish(folder: Path, facts: dict[str, Any]) -> None:
    """Say that the recording was finished."""
    _append(folder, seal({"line": "finish", **facts}) + b"\n")


def finish_line(folder: Path) -> dict[str, Any] | None:
    """The manifest's last line, where it says that the recording was finished; only the file's end is read."""
    try:
        with (folder / MANIFEST).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LAST_LINE))
            end = file.read()
    except OSError:
        return None
    try:
        found = unseal(end.rstrip(b"\n").rpartition(b"\n")[2])
    except ValueError:
        return None
    return found if found.get("line") == "finish" else None


def repair(folder: Path) -> int:
    """Write both files anew from the lines that either has, where one has a damaged line; how many such lines there were."""
    found = read(folder)
    whole: dict[bytes, None] = {}
    for file in FILES:
        for _, _, line in sealed_lines(folder / file):
            if line is not None:
                whole[seal(line) + b"\n"] = None
    if found.damaged:
        for file in FILES:
            write_durably(folder / file, b"".join(whole))
    return len(found.damaged)


def _append(folder: Path, lines: bytes) -> None:
    for file in FILES:
        if not (folder / file).parent.exists():  # an earlier ccwatch made no copies
            (folder / file).parent.mkdir()
        append_durably(folder / file, lines)


def _line(segment: Segment) -> bytes:
    return seal({"line": "segment", **asdict(segment)}) + b"\n"


def _ends_whole(file: Path) -> bool:
    return file.read_bytes()[-1:] == b"\n"


def _is_whole(files: dict[str, Segment]) -> bool:
    """Whether all tables of a group are there: each of its lines names those that are written only where they have rows."""
    wanted = {table for segment in files.values() for table in segment.also}
    return files.keys() >= wanted.union(ALWAYS)


def _segment(line: dict[str, Any]) -> Segment:
    found = {name: line[name] for name in Segment.__dataclass_fields__ if name in line}  # an earlier ccwatch had fewer of them
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
    return Segment(**fields)
