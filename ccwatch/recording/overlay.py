"""The overlay: the segments of a recording, and over them, in memory, what only its journal holds yet.

Both are Arrow tables made by the same code. Looking never writes, and may happen while a recorder moves files.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from ccwatch.errors import CorruptRecording
from ccwatch.protocol.columns import TABLES
from ccwatch.recording import groups, manifest, segments
from ccwatch.recording.folder import JOURNAL, MANIFEST, Session
from ccwatch.recording.groups import Entry
from ccwatch.recording.journal import Frame, journal_files, read_frames
from ccwatch.recording.manifest import Group, Manifest
from ccwatch.recording.schemas import SCHEMAS
from ccwatch.recording.tables import Tables

MERGE_TABLES: Final = 64
"""The overlay joins its small tables once there are so many, so that following a recording stays cheap."""
ATTEMPTS: Final = 5
"""How often a look at the folder is repeated when a recorder moved files meanwhile."""


Span = tuple[int, int] | None


class Overlay:
    """The segments, and over them the tables of what only the journal holds yet."""

    def __init__(self, folder: Path, session: Session) -> None:
        """Nothing is read yet."""
        self._folder = folder
        self._session = session
        # Serialises looks at the folder: two at once would both append the journal's news.
        self._lock = threading.Lock()
        self._manifest = Manifest((), is_finished=False, damaged=())
        self._manifest_size = -1
        self._read_to: dict[Path, int] = {}  # how far each file of the journal was read
        self._tail: dict[str, list[Any]] = {table: [] for table in TABLES}
        self._tail_last = 0
        self._tables = Tables()
        self._holes: set[tuple[Path, int]] = set()

    def look(self) -> Manifest:
        """The manifest as it is now, with the overlay brought up to it."""
        with self._lock:
            return self._look()

    @property
    def holes(self) -> int:
        """Count of damaged places of the journal, as of the last look."""
        return len(self._holes)

    def table(self, table: str, names: Sequence[str], span: Span = None) -> Any:
        """Columns of one table, rows in order of arrival; see `tables`."""
        return self.tables({table: names}, span)[0]

    def tables(self, wanted: dict[str, Sequence[str]], span: Span = None) -> list[Any]:
        """Columns of several tables, all as of the same instant.

        Args:
            wanted: names of columns by table.
            span: first and last time (ns) that are of interest: row groups without any of them are not read.
        """
        with self._lock:
            groups = self._look().groups
            tails = {table: list(self._tail[table]) for table in wanted}
        return [self._join(table, names, groups, tails[table], span) for table, names in wanted.items()]

    def _join(self, table: str, names: Sequence[str], groups: Sequence[Group], tail: Sequence[Any], span: Span) -> Any:
        parts = []
        for group in groups:
            segment = group.files.get(table)
            if segment is None:  # an earlier ccwatch knew no such table
                continue
            path = self._folder / segment.path
            if span is not None and (segment.time_ns is None or segment.time_ns[0] > span[1] or segment.time_ns[1] < span[0]):
                continue
            segments.check_footer(path, segment.footer_crc)
            if segment.rows:
                parts.append(segments.read(path, names, segment.chunks, None if span is None else _within(path, span)))
        parts.extend(part.select(list(names)) for part in tail)
        schema = pa.schema([SCHEMAS[table].field(name) for name in names])
        return pa.concat_tables(parts) if parts else schema.empty_table()

    def _look(self) -> Manifest:
        for _ in range(ATTEMPTS):
            # The journal before the manifest: an entry that moves between the two looks is then seen twice, and told apart
            # by its number, instead of not at all.
            files = journal_files(self._folder / JOURNAL)
            try:
                self._refresh_manifest()
                self._read_tail(files)
            except FileNotFoundError:
                self._forget_tail()  # what was read of it so far stands in no table yet
                continue
            return self._manifest
        raise CorruptRecording(f"{self._folder}: files vanish while they are read")

    def _refresh_manifest(self) -> None:
        path = self._folder / MANIFEST
        size = path.stat().st_size if path.exists() else 0
        if size == self._manifest_size:
            return
        before = self._manifest.last_entry
        self._manifest, self._manifest_size = manifest.read(self._folder), size
        if self._manifest.last_entry != before:
            self._forget_tail()

    def _forget_tail(self) -> None:
        self._read_to.clear()
        self._tail = {table: [] for table in TABLES}
        self._tail_last = self._manifest.last_entry
        self._holes.clear()

    def _read_tail(self, files: Sequence[Path]) -> None:
        fresh = groups.mended((numbered for path in files for numbered in self._news(path)), self._tail_last)
        for batch in groups.batches(fresh):
            for table, rows in self._tables.of(batch).items():
                if rows.num_rows:
                    self._tail[table].append(rows)
            self._tail_last = batch[-1][0]
        for table, parts in self._tail.items():
            if len(parts) > MERGE_TABLES:
                self._tail[table] = [pa.concat_tables(parts).unify_dictionaries().combine_chunks()]

    def _news(self, path: Path) -> Iterator[Entry]:
        """Entries of the frames that came since the last look. A torn end is looked at again: it may be a write in progress."""
        start = self._read_to.get(path, 0)
        for frame in read_frames(path, bytes.fromhex(self._session.nonce), start):
            if isinstance(frame, Frame):
                yield from frame.stored(self._session.server_tz)
                self._read_to[path] = frame.end
            elif not frame.is_torn:
                self._holes.add((path, frame.offset))


def _within(path: Path, span: tuple[int, int]) -> list[int]:
    """The row groups of a segment that have a time in the span."""
    low, high = span[0] // 1000, span[1] // 1000
    return [group for group, (first, last) in enumerate(segments.spans(path, "time_us")) if first <= high and last >= low]
