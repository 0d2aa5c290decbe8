"""The overlay: the segments of a recording and, in memory, the rows that only its journal holds yet.

Both are Arrow tables made by the same code. Looking never writes, and may happen while a recorder moves files.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ccwatch.errors import CorruptRecording
from ccwatch.protocol.columns import TABLES
from ccwatch.protocol.messages import Event, Packet
from ccwatch.recording import holes, manifest, segment_groups
from ccwatch.recording.arrow_tables import ArrowTables
from ccwatch.recording.entries import Stored
from ccwatch.recording.folder import JOURNAL, Session, is_being_written
from ccwatch.recording.holes import Hole
from ccwatch.recording.journal import Frame, journal_files, read_frames
from ccwatch.recording.manifest import LostRows, Manifest, Segment
from ccwatch.recording.schemas import SCHEMAS
from ccwatch.recording.segment_file import SegmentFile
from ccwatch.recording.segment_groups import Entry

MERGE_TABLES: Final = 64
"""Count of small tables at which the overlay joins them, so that following a recording stays cheap."""
ATTEMPTS: Final = 5
"""How often a look at the folder is tried when a recorder moves files meanwhile."""


Span = tuple[int, int] | None
_LOG: Final = logging.getLogger(__name__)


class MergedRows:
    """The segments of a recording, and tables in memory of the rows that only the journal holds yet."""

    def __init__(self, folder: Path, session: Session) -> None:
        """Prepare the overlay; nothing is read yet."""
        self._folder = folder
        self._session = session
        # Serialises looks at the folder: two at once would both append the journal's news.
        self._lock = threading.Lock()
        self._manifest = Manifest()
        self._manifest_size = (-1, -1)
        self._lost: dict[LostRows, None] = {}  # what was found to be unreadable so far
        self._looked: set[str] = set()  # segments whose footers were looked at
        self._read_to: dict[Path, int] = {}  # how far each file of the journal was read
        self._tail: dict[str, list[Any]] = {table: [] for table in TABLES}
        self._tail_last = 0
        self._is_end_reported = False
        self._tables = ArrowTables()
        self._holes: set[tuple[Path, int]] = set()

    def look(self) -> Manifest:
        """Return the manifest as it is now, after bringing the overlay up to date."""
        with self._lock:
            return self._look()

    @property
    def journal_holes(self) -> int:
        """Return the count of damaged places of the journal, as of the last look."""
        return len(self._holes)

    def holes(self) -> list[Hole]:
        """Return the entries known to be lost, in segments and between them: by all footers, and by the rows read so far."""
        with self._lock:
            return self._find_holes(self._look())

    def _find_holes(self, found: Manifest) -> list[Hole]:
        for group in found.groups:
            for segment in group.files.values():
                if segment.path not in self._looked:
                    self._looked.add(segment.path)
                    for one in holes.lost_of(self._folder, segment, deep=False):
                        self.note(one)
        return holes.merged([*found.lost, *self._lost], holes.missing(found, journal_holds=self._tail_last > found.last_entry))

    def table(self, table: str, names: Sequence[str], span: Span = None) -> Any:
        """Return columns of one table, rows in order of arrival; see `arrow_tables`."""
        return self.tables({table: names}, span)[0]

    def tables(self, wanted: Mapping[str, Sequence[str]], span: Span = None, *, may_be_lost: bool = False) -> list[Any]:
        """Return columns of several tables, all as of the same instant; damaged stretches are left out (see `holes`).

        Args:
            wanted: names of columns by table.
            span: first and last time (ns) that are of interest: row groups without any of them are not read.
            may_be_lost: whether a table of which nothing is intact is returned empty, without an error.

        Raises:
            CorruptRecording: nothing of a table is intact, so that an empty one would be a false answer.
        """
        with self._lock:
            found = self._look()
            tails = {table: list(self._tail[table]) for table in wanted}
        joined = []
        for table, names in wanted.items():
            rows, error = self._join(table, names, found, tails[table], span)
            if error is not None and not rows.num_rows and not may_be_lost:
                raise error
            joined.append(rows)
        return joined

    def parts(self, table: str) -> tuple[list[Path], Any]:
        """Return a table's readable segment files, and the rows that only the journal holds, as of the same instant."""
        with self._lock:
            found = self._look()
            tail = list(self._tail[table])
        mine = [group.files[table] for group in found.groups if table in group.files]  # an earlier ccwatch had fewer tables
        files = [self._folder / segment.path for segment in mine if not holes.lost_of(self._folder, segment, deep=False)]
        return files, pa.concat_tables(tail) if tail else SCHEMAS[table].empty_table()

    def _join(
        self, table: str, names: Sequence[str], known: Manifest, tail: Sequence[Any], span: Span
    ) -> tuple[Any, CorruptRecording | None]:
        """Return the intact rows, and the error of the first others; None where all are intact."""
        is_events = table == "events"
        stored = [*names, "entry"] if is_events and "entry" not in names else list(names)
        parts: list[Any] = []
        error: CorruptRecording | None = None
        for group in known.groups:
            segment = group.files.get(table)  # an earlier ccwatch knew fewer tables
            if segment is None or not segment.rows:
                continue
            if span is not None and (segment.time_ns is None or segment.time_ns[0] > span[1] or segment.time_ns[1] < span[0]):
                continue
            for found in self._read(segment, stored, span):
                if isinstance(found, CorruptRecording):
                    error = error or found
                else:
                    parts.append(found)
        parts.extend(part.select(stored) for part in tail)
        schema = pa.schema([SCHEMAS[table].field(name) for name in stored])
        with self._lock:  # after the reading, which may have found another hole
            gaps = self._find_holes(known) if is_events else []
        if gaps:
            rows = pa.concat_tables(
                [*parts, ArrowTables().of([(gap.entries[0], gap.event(None)) for gap in gaps])["events"].select(stored)]
            )
            order = pa.array(np.argsort(rows["entry"].to_numpy(), kind="stable"))
            return rows.unify_dictionaries().take(order).select(list(names)), error
        return (pa.concat_tables(parts) if parts else schema.empty_table()).select(list(names)), error

    def _read(self, segment: Segment, names: Sequence[str], span: Span) -> Iterator[Any]:
        """Yield the row groups of a segment with a time in the span, or the error of one that cannot be read, which is noted."""
        try:
            file = SegmentFile(self._folder, segment)
        except CorruptRecording as error:
            self.note(holes.whole(segment, error, self._folder))
            yield error
            return
        for group in range(file.groups) if span is None else _within(file, span):
            try:
                yield file.read(group, names)
            except CorruptRecording as error:
                self.note(holes.part(file, group, error, self._folder))
                yield error

    def note(self, lost: LostRows) -> None:
        """Remember a loss, and log it once."""
        if lost not in self._lost:
            self._lost[lost] = None
            first, last = lost.entries
            _LOG.warning("%s: entries %d to %d of %s cannot be read: %s", self._folder, first, last, lost.table, lost.why)

    def _look(self) -> Manifest:
        for _ in range(ATTEMPTS):
            # The journal before the manifest: an entry that moves between the two looks is then seen twice, and recognised
            # by its number, instead of not at all.
            files = journal_files(self._folder / JOURNAL)
            try:
                self._refresh_manifest()
                self._read_tail(files)
            except FileNotFoundError:
                self._forget_tail()  # the rows read from it so far are in no table yet
                continue
            return self._manifest
        raise CorruptRecording(f"{self._folder}: files vanish while they are read")

    def _refresh_manifest(self) -> None:
        size = manifest.size(self._folder)
        if size == self._manifest_size:
            return
        before = self._manifest.last_entry
        self._manifest, self._manifest_size = manifest.read(self._folder), size
        if self._manifest.last_entry != before:
            self._forget_tail()

    def _forget_tail(self) -> None:
        self._is_end_reported = False
        self._read_to.clear()
        self._tail = {table: [] for table in TABLES}
        self._tail_last = self._manifest.last_entry
        self._holes.clear()

    def _read_tail(self, files: Sequence[Path]) -> None:
        fresh = segment_groups.mended((numbered for path in files for numbered in self._news(path)), self._tail_last)
        fresh = self._with_end(fresh, files)
        for batch in segment_groups.batches(fresh):
            for table, rows in self._tables.of(batch).items():
                if rows.num_rows:
                    self._tail[table].append(rows)
        for table, parts in self._tail.items():
            if len(parts) > MERGE_TABLES:
                self._tail[table] = [pa.concat_tables(parts).unify_dictionaries().combine_chunks()]

    def _with_end(self, fresh: Iterator[Entry], files: Sequence[Path]) -> Iterator[Entry]:
        """Yield the same entries, then a gap event if the journal's end is damaged and no recorder writes it."""
        item: Packet | Event | Stored | None = None
        for entry, item in fresh:
            self._tail_last = entry
            yield entry, item
        at_end = [offset for path, offset in self._holes if files and path == files[-1] and offset >= self._read_to.get(path, 0)]
        if at_end and not self._is_end_reported and not is_being_written(self._folder):
            self._is_end_reported = True
            size = files[-1].stat().st_size - min(at_end)
            self._tail_last += 1
            yield (
                self._tail_last,
                segment_groups.lost_end(size, self._tail_last, item or segment_groups.end_of(self._manifest, self._session)),
            )

    def _news(self, path: Path) -> Iterator[Entry]:
        """Yield the entries of frames since the last look. A torn end is read again later: it may be a write in progress."""
        start = self._read_to.get(path, 0)
        for frame in read_frames(path, bytes.fromhex(self._session.nonce), start):
            if isinstance(frame, Frame):
                yield from frame.stored(self._session.server_tz)
                self._read_to[path] = frame.end
            elif not frame.is_torn:
                self._holes.add((path, frame.offset))


def _within(file: SegmentFile, span: tuple[int, int]) -> list[int]:
    """Return the row groups of a segment that have a time in the span."""
    low, high = span[0] // 1000, span[1] // 1000
    return [group for group, (first, last) in enumerate(file.spans("time_us")) if first <= high and last >= low]
