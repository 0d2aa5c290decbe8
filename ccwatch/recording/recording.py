"""Recording: reads the files of a Recorder, whether finished, killed or in progress; opening one never writes.

Rows that are not in Parquet yet are made from the journal in memory, by the same code, so a frame is the same either way.
This module knows no socket and no live buffer. It is long, since a Recording's whole public surface is here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ccwatch.errors import ConfigError, CorruptRecording, RecordingError
from ccwatch.protocol import facts
from ccwatch.protocol.columns import TABLES
from ccwatch.protocol.facts import Gap
from ccwatch.protocol.messages import UNCLEAN, Event, EventKind, Packet, from_ns
from ccwatch.recording import checked, holes, manifest, rebuild, segment_groups, segments
from ccwatch.recording.arrow_tables import Numbered
from ccwatch.recording.entries import Stored
from ccwatch.recording.folder import JOURNAL, MARKS, Session, append_durably, boot_id, is_being_written, seal, sealed_lines
from ccwatch.recording.holes import Hole
from ccwatch.recording.info import Info, Mark
from ccwatch.recording.journal import journal_files
from ccwatch.recording.manifest import LostRows, Manifest
from ccwatch.recording.merged_rows import ATTEMPTS, MergedRows
from ccwatch.recording.packed import is_packed, unpack
from ccwatch.recording.schemas import LAST_ENTRY
from ccwatch.recording.verify import Verification, verify
from ccwatch.stream import dataframes
from ccwatch.stream.table_reader import TableReader
from ccwatch.stream.time_ranges import Moment, parse_time, span_of
from ccwatch.stream.view import RecordedView


class Recording(TableReader, RecordedView):
    """One recorded session on the disk. Each call reads the files as they are now, so a recording in progress grows from call to call."""

    def __init__(self, path: str | Path) -> None:
        """Open a recording.

        Args:
            path: its folder, or the zip file that it was packed into, which is unpacked into a temporary folder for as long as
                this object is in use.

        Raises:
            RecordingNotFound: there is no recording at the path.
            CorruptRecording: its session.json fails its checksum.
            UnsupportedFormat: a newer ccwatch wrote it.
        """
        self.path = Path(path)
        self._folder = self.path
        if is_packed(self.path):
            self._folder = unpack(self.path)
            weakref.finalize(self, _remove, self._folder.parent, os.getpid())
        self._session = Session.read(self._folder)
        self._merged = MergedRows(self._folder, self._session)

    def __repr__(self) -> str:
        return f"<Recording {self.path.name}>"

    def _repr_html_(self) -> str:
        return self.info()._repr_html_()

    @property
    def folder(self) -> Path:
        """Return the folder of its files: `path`, or the temporary folder of a packed recording."""
        return self._folder

    @property
    def session(self) -> Session:
        """Return the content of session.json."""
        return self._session

    @property
    def is_of_this_boot(self) -> bool:
        """Return whether it was recorded on this machine since its last boot, so that the monotonic clocks are the same."""
        return bool(self._session.boot_id) and self._session.boot_id == boot_id()

    @property
    def origin(self) -> str:
        """Return where the stream came from: "live", "synthetic" or "replay"."""
        return self._session.origin

    @property
    def label(self) -> str:
        """Return the name of its folder or file."""
        return self.path.name

    @property
    def virtual_clock(self) -> bool:
        """Return whether the stream's times run more than twice as fast as the receiver's clock, as at pace "max"."""
        rows = self.frame(["received_mono_ns"], clean=False)
        times, mono = pd.DatetimeIndex(rows.index).as_unit("ns").asi8, rows["received_mono_ns"].to_numpy()
        return len(rows) > 1 and 2 * int(mono[-1] - mono[0]) < int(times.max() - times.min())

    # ── its rows ──

    def frame(
        self,
        columns: Sequence[str] | None = None,
        last: dataframes.Last = None,
        *,
        clean: bool = True,
        fill: bool = False,
        symbol: str | None = None,
        start: Moment = None,
        end: Moment = None,
    ) -> pd.DataFrame:
        """Return the packets as a DataFrame, as `Feed.frame` does; only the columns and times that are needed are read.

        Args:
            columns: names of columns, text columns allowed; None is all columns except text.
            last: only the last rows: a count, or a length of received time ("5min", timedelta).
            clean: leave out repeats, replays and placeholders, and sort by time; False is every row in order of arrival.
            fill: carry values forward per symbol, within a connection, at most 30 s.
            symbol: only rows of this symbol.
            start: the first time of the rows; text without a zone is in `display_tz`, "14:38" is on its date.
            end: the last time, included.

        Returns:
            A frame with DatetimeIndex `time` (ns, UTC) and the columns of `ccwatch.protocol.columns.PACKETS`.

        Raises:
            ConfigError: an unknown column, or a `last` that is neither a count nor a length of time.
            CorruptRecording: bytes that are needed fail their checksum.
        """
        names = dataframes.resolve("packets", columns)
        wanted = dataframes.needed(names, clean=clean, fill=fill, symbol=symbol)
        stored = {"time", *wanted} | ({"received_at"} if last is not None else set())
        span = span_of(start, end, self.ends)
        table = self._merged.table("packets", [c.name for c in TABLES["packets"] if c.name in stored], span)
        if span is not None:
            times = _ns(table["time"])
            table = table.filter(pa.array((times >= span[0]) & (times <= span[1])))
        if clean:
            table = table.filter(pa.array((table["flags"].to_numpy() & np.uint32(UNCLEAN)) == 0))
        if last is not None:
            table = table.slice(dataframes.cut_last(dataframes.never_falling(_ns(table["received_at"])), last))
        values = segments.values_of(table, [c for c in TABLES["packets"] if c.name in stored])
        found = dataframes.tidy(dataframes.build("packets", values, wanted), clean=clean, fill=fill, symbol=symbol)
        return found if list(found.columns) == names else found[names]

    def packets(self) -> Iterator[Packet]:
        """Yield every packet as it was received, flagged ones too, in order of arrival and in bounded memory."""
        return (item for item in self.items() if isinstance(item, Packet))

    def items(self, after: int = 0, *, start: Moment = None, end: Moment = None) -> Iterator[Packet | Event]:
        """Yield every packet and event in order of arrival, in bounded memory; one in progress is read up to its current end.

        Args:
            after: leave out entries up to this number; the recording's entries are numbered from 1.
            start: the first time, on the stream's own clock; text without a zone is in `display_tz`, "14:38" is on its date.
            end: the last time, included.

        Raises:
            CorruptRecording: bytes that are needed fail their checksum.
        """
        span = span_of(start, end, self.ends)
        if span is None:
            return (item for _, item in self.numbered(after))
        low, high = self._entries_within(span)
        found = (item for _, item in self.numbered(max(after, low - 1), high))
        return (item for item in found if span[0] <= item.time_ns <= span[1])

    def numbered(self, after: int = 0, until: int = LAST_ENTRY) -> Iterator[Numbered]:
        """Yield the entries as `items` does, each with its number (from 1), beyond entry `after` and up to `until`."""
        last = after
        for _ in range(ATTEMPTS):
            try:
                for last, item in self._numbered(last, until):  # noqa: B020 - the next attempt goes on where this one ended
                    yield last, item
            except FileNotFoundError:
                continue  # a recorder has turned the journal's file into segments meanwhile
            return
        raise CorruptRecording(f"{self.path}: files vanish while they are read")

    def _numbered(self, after: int, until: int) -> Iterator[Numbered]:
        files = journal_files(self._folder / JOURNAL)
        found = manifest.read(self._folder)
        is_over = not is_being_written(self._folder)
        last: Packet | Event | None = None
        for start, end, gap in self._stretches(found, after, until, bool(files)):
            if gap is not None:
                if gap.entries[0] > after:  # a reader that resumes within a hole has had its event already
                    yield gap.entries[0], gap.event(last or segment_groups.end_of(found, self._session))
                continue
            for group in found.groups:
                if group.entries[1] > start and group.entries[0] <= end:
                    for number, last in rebuild.items(self._folder, group, self._session.server_tz, start, end):
                        yield number, last
        if found.last_entry < until:
            tail = segment_groups.journal_items(files, self._session, found, [], is_over=is_over, after=after)
            for number, item in takewhile(lambda entry: entry[0] <= until, tail):
                yield number, item.read() if isinstance(item, Stored) else item

    def _stretches(self, found: Manifest, after: int, until: int, journal_holds: bool) -> Iterator[tuple[int, int, Hole | None]]:
        """Yield runs of intact entries beyond `after` and up to `until`, each as (start, end], and the holes among them."""
        wanted = [group for group in found.groups if group.entries[1] > after and group.entries[0] <= until]
        lost: list[LostRows] = []
        for group in wanted:
            here = holes.lost_of_group(self._folder, group)
            for one in here:
                self._merged.note(one)
            lost += holes.by_batch(self._folder, group, here)
        for gap in holes.merged([*found.lost, *lost], holes.missing(found, journal_holds=journal_holds)):
            if gap.entries[1] <= after or gap.entries[0] > until:
                continue
            if gap.entries[0] - 1 > after:
                yield after, gap.entries[0] - 1, None
            yield after, gap.entries[1], gap
            after = gap.entries[1]
        if after < min(until, found.last_entry):
            yield after, min(until, found.last_entry), None

    def _entries_within(self, span: tuple[int, int]) -> tuple[int, int]:
        """Return the first and the last entry, of packets and events, with a time in a span."""
        low, high = LAST_ENTRY, 0
        wanted = ["time", "entry"]
        for table in self._merged.tables({"packets": wanted, "events": wanted}, span, may_be_lost=True):
            times = _ns(table["time"])
            entries = table["entry"].to_numpy()[(times >= span[0]) & (times <= span[1])]
            if len(entries):
                low, high = min(low, int(entries.min())), max(high, int(entries.max()))
        return low, high

    def _long(self, table: str, last: dataframes.Last) -> pd.DataFrame:
        columns = TABLES[table]
        names = [c.name for c in columns]
        if last is None or isinstance(last, int):
            rows = self._merged.table(table, names)
            if last is not None:
                rows = rows.slice(dataframes.cut_last(np.zeros(rows.num_rows, dtype=np.int64), last))
        elif table == "events":
            rows = self._merged.table(table, [*names, "received_at"])
            rows = rows.slice(dataframes.cut_last(dataframes.never_falling(_ns(rows["received_at"])), last))
        else:
            rows, packets = self._merged.tables({table: [*names, "entry"], "packets": ["received_at", "entry"]})
            places = np.searchsorted(packets["entry"].to_numpy(), rows["entry"].to_numpy())
            rows = rows.slice(dataframes.cut_last(dataframes.never_falling(_ns(packets["received_at"])[places]), last))
        return dataframes.build(table, segments.values_of(rows, columns))

    # ── about it ──

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Return the marked moments, set live or afterwards, in order of time."""
        path = self._folder / MARKS
        lines = [checked.fits(line, checked.CheckedMark, path) for _, _, line in sealed_lines(path) if line is not None]
        recorded = [Mark(line.time_ns, line.text) for line in lines]
        events = self._merged.table("events", ["time", "kind", "detail"])
        found = zip(_ns(events["time"]), events["kind"].to_pylist(), events["detail"].to_pylist(), strict=True)
        return tuple(sorted([*recorded, *(Mark(int(ns), text) for ns, kind, text in found if kind == EventKind.MARK)]))

    def mark(self, time: str | datetime | pd.Timestamp, text: str) -> Mark:
        """Mark a moment and return the mark; it is kept in a file beside the data, which stays as it is.

        Args:
            time: the moment: text, or a datetime or Timestamp with a zone.
            text: up to 10,000 characters.

        Raises:
            ConfigError: not a time, a datetime without a zone, or a text that no mark can have.
            RecordingError: the recording is packed, or its folder cannot be written.
        """
        moment = parse_time(time, "time")
        if moment is None:
            raise ConfigError("time=None: expected a moment to mark")
        given: object = text
        if not isinstance(given, str) or len(text) > checked.LONGEST_TEXT or text != text.encode(errors="replace").decode():
            raise ConfigError(f"text: expected up to {checked.LONGEST_TEXT:,} characters of Unicode")
        if self._folder != self.path:
            raise RecordingError(f"{self.path} is packed: unpack it to set marks in it")
        mark = Mark(int(moment.value), text)
        try:
            append_durably(self._folder / MARKS, seal(mark._asdict()) + b"\n")
        except OSError as error:
            raise RecordingError(f"{self._folder / MARKS} cannot be written: {error}") from error
        return mark

    def tables(self, wanted: Mapping[str, Sequence[str]]) -> list[Any]:
        """Return stored columns of several tables as Arrow tables: every row in order of arrival, all as of the same instant.

        Args:
            wanted: names of columns by table.

        Raises:
            CorruptRecording: bytes that are needed fail their checksum.
        """
        return self._merged.tables(dict(wanted))

    def parts(self, table: str) -> tuple[list[Path], Any]:
        """Return a table's readable Parquet files, and an Arrow table of the rows that only the journal holds, as of one instant."""
        return self._merged.parts(table)

    @property
    def status(self) -> str:
        """Return "open" while a recorder writes it, "finished", or "killed" where its recorder ended without finishing it."""
        if is_being_written(self._folder):
            return "open"
        return "finished" if manifest.read(self._folder).is_finished else "killed"

    def ends(self) -> tuple[pd.Timestamp, pd.Timestamp] | None:
        """Return the times of its earliest and its latest packet, UTC; None where it has none."""
        times = _ns(self._merged.table("packets", ["time"])["time"])
        return None if not len(times) else (pd.Timestamp(int(times.min()), tz="UTC"), pd.Timestamp(int(times.max()), tz="UTC"))

    def info(self) -> Info:
        """Return the facts of the recording: its origin, times, counts and sizes."""
        status = self.status
        wanted = {"packets": ["time", "connection", "symbol"], "events": ["kind", "detail"]}
        packets, events = self._merged.tables(wanted, may_be_lost=True)
        times = _ns(packets["time"])
        start, end = (from_ns(int(times.min())), from_ns(int(times.max()))) if len(times) else (None, None)
        kinds = [str(kind) for kind in events["kind"].to_pylist()]
        lines = zip(kinds, events["detail"].to_pylist(), strict=True)
        gone = sum(isinstance(said := facts.read(kind, detail), Gap) and said.is_of_recording for kind, detail in lines)
        sizes = _sizes(self._folder)
        found = self._merged.look()
        return Info(
            path=self.path,
            session=self._session.session,
            status=status,
            origin=self._session.origin,
            url=self._session.url,
            tags=self._session.tags,
            start=start,
            end=end,
            duration_s=(end - start).total_seconds() if start is not None and end is not None else 0.0,
            packets=len(times),
            events=len(kinds),
            symbols=tuple(sorted(word for word in packets["symbol"].unique().to_pylist() if word is not None)),
            gaps=kinds.count(EventKind.GAP) + kinds.count(EventKind.DROP),
            connections=len(packets["connection"].unique()),
            malformed=kinds.count(EventKind.MALFORMED),
            bytes=sum(sizes.values()),
            journal_bytes=sum(size for path, size in sizes.items() if path.parent.name == JOURNAL),
            damaged=len(found.damaged) + max(gone, len(self._merged.holes()) + self._merged.journal_holes),
        )

    def verify(self, deep: bool = False, *, on_progress: Callable[[str], None] | None = None) -> Verification:
        """Compare the recording's checksums and return the places that fail.

        Args:
            deep: compare those of every byte; otherwise of the journal, the manifest and the footers of the segments.
            on_progress: called with each file before it is read.
        """
        return verify(self._folder, self._session, deep=deep, on_progress=on_progress)


def _remove(folder: Path, process: int) -> None:
    """Remove a packed recording's files; in a forked child leave them to the parent, which still reads them."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def _sizes(folder: Path) -> dict[Path, int]:
    sizes = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # a recorder has just moved it
            if path.is_file():
                sizes[path] = path.stat().st_size
    return sizes


def _ns(array: Any) -> Any:
    return array.cast(pa.int64()).to_numpy()
