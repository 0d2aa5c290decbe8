"""The manifest: which segment files belong to the recording, and what they must look like. Sealed lines, appended only.

A line per segment file. The files of one group hold the same stretch of entries, one file per table; the group counts once the
lines of all its tables stand there, which one write puts there. A last line says that the recording was finished.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from ccwatch.recording import segments
from ccwatch.recording.folder import MANIFEST, append_durably, seal, sealed_lines


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


class Manifest(NamedTuple):
    """What the manifest says now."""

    groups: tuple[Group, ...]
    """In order of entries."""
    is_finished: bool
    damaged: tuple[tuple[int, int], ...]
    """Offset and length of each line that fails its checksum."""

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
    for offset, length, line in sealed_lines(folder / MANIFEST):
        if line is None:
            damaged.append((offset, length))
        elif line["line"] == "segment":
            segment = _segment(line)
            lines.setdefault(segment.entries, {})[segment.table] = segment
        elif line["line"] == "finish":
            is_finished = True
    groups = [Group(entries, files["packets"].packets, files) for entries, files in sorted(lines.items()) if _is_whole(files)]
    return Manifest(tuple(groups), is_finished, tuple(damaged))


def append_group(folder: Path, files: Sequence[Segment]) -> None:
    """Add the lines of a group: from now on it counts."""
    append_durably(folder / MANIFEST, b"".join(seal({"line": "segment", **asdict(segment)}) + b"\n" for segment in files))


def append_finish(folder: Path, facts: dict[str, Any]) -> None:
    """Say that the recording was finished."""
    append_durably(folder / MANIFEST, seal({"line": "finish", **facts}) + b"\n")


def _is_whole(files: dict[str, Segment]) -> bool:
    return all(table in files for table in segments.ALL_TABLES)


def _segment(line: dict[str, Any]) -> Segment:
    found = {name: line[name] for name in Segment.__dataclass_fields__}
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
    return Segment(**fields)
