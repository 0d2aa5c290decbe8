"""Journal to segments: each file of the journal becomes one group of Parquet files, published whole or not at all.

The order makes every instant a recoverable one: files are written in _staging, brought to the disk and moved to their place;
the manifest's lines make them count; only then the journal file goes. The caller holds the writer's lock.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from ccwatch.protocol.facts import DAMAGED, Gap
from ccwatch.protocol.messages import Event, EventKind, Packet
from ccwatch.recording import manifest, segments
from ccwatch.recording.arrow_tables import ArrowTables
from ccwatch.recording.entries import Stored
from ccwatch.recording.folder import JOURNAL, STAGING, Session, sync_file, sync_folder
from ccwatch.recording.journal import Hole, journal_files, read_frames
from ccwatch.recording.manifest import Segment
from ccwatch.recording.schemas import ALL_TABLES, ALWAYS

SET_ASIDE: Final = ".damaged"
"""Suffix of a journal file or segment that is set aside because it cannot be read whole."""
BATCH_ITEMS: Final = 25_000
BATCH_BYTES: Final = 64 << 20
"""A batch of this many items, or of this many bytes of messages, becomes one row group, which is in memory as a whole. Half a file of
the journal: a third of it would keep 8 % more bytes."""

LOOK_ENTRIES: Final = 256
"""How often a compaction that has a deadline looks at the clock."""

Entry = tuple[int, Packet | Event | Stored]
"""An entry's number, and its item, which a journal's packets need not have been read for."""


class OutOfTime(Exception):
    """A compaction did not end in the time that it had. What it published stays; the rest is in the journal as before."""


def compact(
    folder: Path,
    session: Session,
    *,
    keep: Path | None = None,
    deadline: float = math.inf,
    on_progress: Callable[[int], None] | None = None,
) -> int:
    """Turn the journal into segments, and return the count of entries.

    Args:
        folder: the recording's.
        session: its session.json.
        keep: the journal file that is still being written; it and later ones stay.
        deadline: when to give up, by the monotonic clock.
        on_progress: called with the count of entries so far.

    Raises:
        OutOfTime: the deadline has passed.
    """
    done = 0
    paths = journal_files(folder / JOURNAL)
    for path in paths:
        if keep is not None and int(path.stem) >= int(keep.stem):
            break  # the recorder may have gone on to a further file meanwhile
        found = manifest.read(folder)
        holes: list[Hole] = []
        is_over = keep is None and path == paths[-1]
        entries = journal_items([path], session, found, holes, is_over=is_over)
        done += write_group(folder, session, entries, deadline=deadline, on_progress=_from(done, on_progress))
        if all(hole.is_torn for hole in holes):
            path.unlink()
        else:  # an unreadable part is kept, since another program may read it: nothing is deleted unasked
            path.replace(path.with_suffix(SET_ASIDE))
        sync_folder(path.parent)
    return done


def write_group(
    folder: Path,
    session: Session,
    numbered: Iterable[Entry],
    *,
    deadline: float = math.inf,
    on_progress: Callable[[int], None] | None = None,
) -> int:
    """Write entries as one group of segments, publish it, and return the count of entries.

    Raises:
        OutOfTime: the deadline has passed; nothing of the group was published.
    """
    group = _Group(folder, session)
    done = 0
    for batch in batches(in_time(numbered, deadline)):
        done += group.write(batch)
        if on_progress is not None:
            on_progress(done)
    group.publish()
    return done


def _from(done: int, on_progress: Callable[[int], None] | None) -> Callable[[int], None] | None:
    return None if on_progress is None else lambda more: on_progress(done + more)


def in_time(entries: Iterable[Entry], deadline: float) -> Iterator[Entry]:
    """Yield the entries, as long as there is time.

    Raises:
        OutOfTime: the deadline has passed.
    """
    for n, entry in enumerate(entries):
        if n % LOOK_ENTRIES == 0 and time.monotonic() > deadline:
            raise OutOfTime
        yield entry


def journal_entries(path: Path, session: Session, holes: list[Hole] | None = None) -> Iterator[Entry]:
    """Yield each readable entry of a journal file, with its message not yet read; damaged stretches are added to `holes`."""
    for frame in read_frames(path, bytes.fromhex(session.nonce)):
        if not isinstance(frame, Hole):
            yield from frame.stored(session.server_tz)
        elif holes is not None:
            holes.append(frame)


def journal_items(
    paths: Iterable[Path], session: Session, found: manifest.Manifest, holes: list[Hole], *, is_over: bool, after: int = 0
) -> Iterator[Entry]:
    """Yield the journal's entries beyond the manifest's and beyond `after`, with a gap event in the place of each hole.

    Args:
        paths: the files, in order.
        session: the recording's.
        found: its manifest.
        holes: the list to which damaged stretches are added.
        is_over: whether no recorder writes it any more, so that damage at the end is a loss.
        after: the number of the entry to begin after.
    """
    last = max(after, found.last_entry)
    item: Packet | Event | Stored | None = None
    seen = 0
    for last, item in mended((entry for path in paths for entry in journal_entries(path, session, holes)), last):  # noqa: B020 - a reader that begins again goes on behind the last entry
        yield last, item
        seen = len(holes)
    size = sum(hole.end - hole.offset for hole in holes[seen:] if not hole.is_torn)
    if is_over and size:
        yield last + 1, lost_end(size, last + 1, item or end_of(found, session))


def mended(numbered: Iterable[Entry], after: int) -> Iterator[Entry]:
    """Yield entries beyond `after`, with a gap event in the place of each stretch that cannot be read any more."""
    last = after
    for entry, item in numbered:
        if entry <= last:
            continue
        if entry > last + 1:
            yield last + 1, lost(last + 1, entry - 1, item)
        yield entry, item
        last = entry


def lost(first: int, last: int, following: Packet | Event | Stored) -> Event:
    """Return the gap event in the place of entries that cannot be read any more."""
    gap = Gap(entries=last - first + 1, reason=DAMAGED, first_entry=first)
    return Event(
        following.time_ns,
        following.seq if isinstance(following, Event) else max(0, following.seq - 1),
        EventKind.GAP,
        str(gap),
        following.connection,
        following.received_at_ns,
        following.received_mono_ns,
        facts=gap,
    )


def lost_end(size: int, first: int, before: Packet | Event | Stored) -> Event:
    """Return the gap event of a journal's damaged end, whose count of entries is unknown."""
    gap, clocks = Gap(bytes=size, reason=DAMAGED, first_entry=first), (before.received_at_ns, before.received_mono_ns)
    return Event(before.time_ns, before.seq, EventKind.GAP, str(gap), before.connection, *clocks, facts=gap)


def end_of(found: manifest.Manifest, session: Session) -> Event:
    """Return an event with the time of the segments' end, or of the session's beginning."""
    time_ns, seq = session.wall_ns, 0
    if found.groups:
        packets = found.groups[-1].files["packets"]
        time_ns, seq = (packets.time_ns or (time_ns, time_ns))[1], packets.seq[1]
    return Event(time_ns, seq, EventKind.GAP, "", 0, time_ns, session.mono_ns)


def batches(numbered: Iterable[Entry]) -> Iterator[Iterator[Entry]]:
    """Yield runs of items whose rows fit in memory; each must be read to its end before the next."""
    entries = iter(numbered)
    for first in entries:
        yield _batch(first, entries)


def _batch(first: Entry, following: Iterator[Entry]) -> Iterator[Entry]:
    size = 0
    for count, entry in enumerate(chain((first,), following), 1):
        yield entry
        size += len(entry[1].raw)
        if count == BATCH_ITEMS or size >= BATCH_BYTES:
            return


class _Group:
    """The files of one group while they are written."""

    def __init__(self, folder: Path, session: Session) -> None:
        self._folder = folder
        self._tables = ArrowTables(raw=session.raw)
        self._staging = folder / STAGING
        self._writers: dict[str, Any] = {}
        self._rows = dict.fromkeys(ALL_TABLES, 0)
        self._times: dict[str, tuple[int, int] | None] = dict.fromkeys(ALL_TABLES)
        self._first = self._last = self._packets = 0
        self._seq = (0, 0)  # of the first and last packet; of the last event where there are only events

    def write(self, batch: Iterable[Entry]) -> int:
        """Add a batch to each file as a row group, and return the count of its entries."""
        tables = self._tables.of(batch)
        if not self._writers:
            shutil.rmtree(self._staging, ignore_errors=True)  # what a kill left there was never published
            self._staging.mkdir()
            for table in ALWAYS:
                self._begin(table, tables[table])
        for table, rows in tables.items():
            if rows.num_rows:
                if table not in self._writers:
                    self._begin(table, rows)
                self._writers[table].write_table(segments.arranged(table, rows), row_group_size=rows.num_rows)
                self._rows[table] += rows.num_rows
                self._times[table] = _widened(self._times[table], rows)
        packets, events = tables["packets"], tables["events"]
        ends = [(rows["entry"][0].as_py(), rows["entry"][-1].as_py()) for rows in (packets, events) if rows.num_rows]  # an entry is a row
        self._first = self._first or min(first for first, _ in ends)
        self._last = max(last for _, last in ends)
        if packets.num_rows:
            self._seq = (self._seq[0] if self._packets else packets["seq"][0].as_py(), packets["seq"][-1].as_py())
        elif not self._packets:
            self._seq = (events["seq"][-1].as_py(), events["seq"][-1].as_py())
        self._packets += packets.num_rows
        return int(packets.num_rows + events.num_rows)

    def _begin(self, table: str, sample: Any) -> None:
        self._writers[table] = segments.writer(self._staging / f"{table}.parquet", table, sample)

    def publish(self) -> None:
        """Sync the files to the disk, move them to their place, and add them to the manifest."""
        if not self._writers:
            return
        entries, seq = (self._first, self._last), self._seq
        taken = {segment.path for group in manifest.read(self._folder).groups for segment in group.files.values()}
        also = tuple(table for table in self._writers if table not in ALWAYS)
        files = []
        for table, writer in self._writers.items():
            writer.close()
            staged = self._staging / f"{table}.parquet"
            path = f"{table}/{table}-{seq[0]:09d}-{seq[1]:09d}.parquet"
            if path in taken:  # two groups of events alone, between the same two packets
                path = f"{table}/{table}-{seq[0]:09d}-{seq[1]:09d}-{entries[0]}.parquet"
            segment = Segment(table, path, entries, seq, self._times[table], self._packets, self._rows[table], also=also)
            files.append(segment.measured(staged))
            sync_file(staged)
        for segment in files:
            final = self._folder / segment.path
            if not final.parent.exists():
                final.parent.mkdir()
                sync_folder(self._folder)
            (self._staging / f"{segment.table}.parquet").replace(final)
            sync_folder(final.parent)
        for table in ALL_TABLES:  # also of those that have no rows: a reader of the folder finds where they would be
            (self._folder / table).mkdir(exist_ok=True)
        manifest.append_group(self._folder, files)
        self._staging.rmdir()


def _widened(span: tuple[int, int] | None, rows: Any) -> tuple[int, int] | None:
    if "time" not in rows.schema.names:
        return None
    ns = rows["time"].cast(pa.int64()).to_numpy()
    low, high = int(ns.min()), int(ns.max())
    return (low, high) if span is None else (min(low, span[0]), max(high, span[1]))
