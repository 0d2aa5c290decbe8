"""Holes: stretches of a recording's entries that cannot be read any more, found in segments and manifest, and reported as gap events.

Intact rows are always read; a hole is never silent. This module reads footers and checksums, and no values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ccwatch.errors import CorruptRecording
from ccwatch.protocol.facts import DAMAGED, Gap
from ccwatch.protocol.messages import Event, EventKind, Packet
from ccwatch.recording.manifest import Group, LostRows, Manifest, Segment
from ccwatch.recording.segment_file import SegmentFile


class Hole(NamedTuple):
    """Entries of which at least one table is lost."""

    entries: tuple[int, int]
    seq: tuple[int, int]
    """Seq of the first and last packet among them, as far as that is known."""
    time_ns: int | None
    """Time of the first row that is known to be lost, ns since 1970 UTC; None where no time is known."""
    tables: tuple[str, ...]
    """Names of the tables that are lost; empty where all are."""

    @property
    def facts(self) -> Gap:
        """Return what its gap event says."""
        first, last = self.entries
        return Gap(entries=last - first + 1, reason=DAMAGED, first_entry=first, seq=self.seq, tables=self.tables)

    def event(self, neighbour: Event | Packet | None) -> Event:
        """Return the gap event in its place; `neighbour` is an item beside it, whose clocks it takes."""
        time_ns = self.time_ns if self.time_ns is not None else neighbour.time_ns if neighbour is not None else 0
        clocks = (0, time_ns, 0) if neighbour is None else (neighbour.connection, neighbour.received_at_ns, neighbour.received_mono_ns)
        return Event(time_ns, max(0, self.seq[0] - 1), EventKind.GAP, str(self.facts), *clocks, facts=self.facts)


def whole(segment: Segment, error: CorruptRecording, folder: Path) -> LostRows:
    """Return the loss of a segment of which nothing can be read."""
    return LostRows(segment.table, segment.path, segment.entries, segment.seq, segment.time_ns, _why(error, folder))


def part(file: SegmentFile, group: int, error: CorruptRecording, folder: Path) -> LostRows:
    """Return the loss of one row group of a segment."""
    segment = file.segment
    entries, seq, us = (file.spans(name)[group] for name in ("entry", "seq", "time_us"))
    entries = max(entries[0], segment.entries[0]), min(entries[1], segment.entries[1])
    seq = max(seq[0], segment.seq[0]), min(seq[1], segment.seq[1])
    time_ns = segment.time_ns
    if time_ns is not None:
        time_ns = max(us[0] * 1000, time_ns[0]), min(us[1] * 1000 + 999, time_ns[1])
    return LostRows(segment.table, segment.path, entries, seq, time_ns, _why(error, folder))


def _why(error: CorruptRecording, folder: Path) -> str:
    return str(error).removeprefix(f"{folder}/")[:1000]


def lost_of(folder: Path, segment: Segment, *, deep: bool) -> list[LostRows]:
    """Return the losses of a segment: by its footer or, with `deep`, by every byte."""
    try:
        file = SegmentFile(folder, segment)
    except CorruptRecording as error:
        return [whole(segment, error, folder)]
    found = []
    for group in range(file.groups if deep else 0):
        for start, length in file.bad_chunks(group):
            bad = CorruptRecording(f"{file.path}, bytes {start} to {start + length}: a column fails its checksum")
            found.append(part(file, group, bad, folder))
            break
    return found


def lost_of_group(folder: Path, group: Group, *, deep: bool = True) -> list[LostRows]:
    """Return the losses of a group's segments."""
    return [one for segment in group.files.values() for one in lost_of(folder, segment, deep=deep)]


def by_batch(folder: Path, group: Group, lost: Sequence[LostRows]) -> list[LostRows]:
    """Widen each loss to the batches of packets that it touches, since packets are rebuilt batch by batch."""
    try:
        spans = SegmentFile(folder, group.files["packets"]).spans("entry") if lost and group.files["packets"].rows else []
    except CorruptRecording:  # then all of the group is lost already
        return list(lost)
    found = []
    for one in lost:
        touched = [one.entries, *(span for span in spans if span[0] <= one.entries[1] and span[1] >= one.entries[0])]
        found.append(replace(one, entries=(min(low for low, _ in touched), max(high for _, high in touched))))
    return found


def missing(manifest: Manifest, *, journal_holds: bool = False) -> list[Hole]:
    """Return the stretches of entries that are in no group, whose lines are damaged, and in no journal."""
    found = []
    expected, seq = 1, 0
    for group in manifest.groups:
        if group.entries[0] > expected:
            found.append(Hole((expected, group.entries[0] - 1), (seq + 1, max(seq, group.files["packets"].seq[0] - 1)), None, ()))
        expected, seq = group.entries[1] + 1, group.files["packets"].seq[1]
    if manifest.finish is not None and manifest.finish.entries >= expected and not journal_holds:
        found.append(Hole((expected, manifest.finish.entries), (seq + 1, seq + 1), None, ()))
    return found


def merged(lost: Iterable[LostRows], others: Sequence[Hole] = ()) -> list[Hole]:
    """Return the holes in order of entries, with stretches that overlap joined."""
    every = [*others, *(Hole(one.entries, one.seq, None if one.time_ns is None else one.time_ns[0], (one.table,)) for one in lost)]
    found: list[Hole] = []
    for hole in sorted(every, key=lambda hole: hole.entries):
        if not found or hole.entries[0] > found[-1].entries[1]:
            found.append(hole)
            continue
        before = found[-1]
        times = [time for time in (before.time_ns, hole.time_ns) if time is not None]
        found[-1] = Hole(
            (before.entries[0], max(before.entries[1], hole.entries[1])),
            (min(before.seq[0], hole.seq[0]), max(before.seq[1], hole.seq[1])),
            min(times, default=None),
            tuple(dict.fromkeys((*before.tables, *hole.tables))) if before.tables and hole.tables else (),
        )
    return found
