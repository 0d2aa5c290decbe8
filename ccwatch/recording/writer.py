"""The writer behind a recorder: the one thread that turns what the intake holds into the journal's frames, and owns the counters.

The source's thread enqueues (see `intake`), the syncer brings written frames to the disk, the compactor makes Parquet of older
files; both report to the writing thread, which publishes one frozen status. No trouble of the disk reaches the source: it is
counted, shown in `stats` and written as a drop event once there is room again. It does not know the Recorder, so one left open
can be collected.
"""

from __future__ import annotations

import errno
import logging
import math
import shutil
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any, Final

import pyarrow as pa

from ccwatch.errors import RecordingError
from ccwatch.protocol.messages import Item
from ccwatch.recording import journal, manifest, segment_groups, summary
from ccwatch.recording.background_compaction import Compacting, Compactor, CompactorProcess
from ccwatch.recording.folder import JOURNAL, SESSION, Session, WriterLock
from ccwatch.recording.intake import Intake, Waiting
from ccwatch.recording.stats import RecorderStats
from ccwatch.recording.syncer import GATHER_S, Synced, Syncer, SyncPoint
from ccwatch.stream.source import read_clock

ROLL_PACKETS: Final = 50_000
ROLL_BYTES: Final = 64 << 20
ROLL_S: Final = 15 * 60
"""A journal file is closed at the limit that is reached first."""
RETRY_S: Final = 0.5
GIVE_UP_S: Final = 0.6
"""Seconds that a recorder that was asked to stop tries a disk that refuses."""
FINISH_S: Final = 10.0
"""Seconds that `stop` may make Parquet; the rest stays in the journal, for `recover`."""
COMPACTOR_PATIENCE_S: Final = 4.0
"""Seconds of these for a compaction that is running, whose work would be lost otherwise."""

IN_PROCESS_BYTES: Final = 1 << 20
"""Bytes of a journal, some 3,000 packets, that are compacted faster than a process starts."""

_LOG: Final = logging.getLogger(__name__)


class _Fault(str):
    """A report that a thread has failed, with the reason."""

    __slots__ = ()


class SessionFile:
    """session.json, of which only the origin may change: the handshake gives it after the recording was begun."""

    def __init__(self, session: Session, ask_origin: Callable[[], str]) -> None:
        self.session = session
        self._ask_origin = ask_origin

    def update(self, folder: Path) -> str | None:
        """Write the server's origin if it is new, and return why it could not be written, so that it is tried again next time."""
        origin = self._ask_origin()
        if origin == self.session.origin:
            return None
        fresh = replace(self.session, origin=origin)
        try:
            fresh.write(folder)
        except OSError as error:
            return f"{SESSION} cannot be written: {error}"
        self.session = fresh
        return None


class Writer:
    """The writing thread of one recording and its two helpers. `receive` never waits for the disk."""

    def __init__(
        self, folder: Path, session: Session, lock: WriterLock, ask_origin: Callable[[], str], *, min_free: int | None = None
    ) -> None:
        self._lock = lock
        self._min_free = min_free
        self._looked_at = 0.0
        self._file = SessionFile(session, ask_origin)
        self._journal = journal.JournalWriter(folder / JOURNAL, bytes.fromhex(session.nonce))
        self._intake = Intake(gather_s=GATHER_S[session.fsync])
        self._syncer = Syncer(self._journal, session.fsync, self._intake.report)
        self._compactor = Compactor(lock, self._journal.path, self._intake.report)
        # From here to `stats` all belong to the writing thread, and, once it has ended, to the thread that stops it.
        self._entry = 0
        self._refused = 0  # items that the disk did not take
        self._rolled_at, self._rolled_packets = monotonic(), 0
        self._troubles: dict[str, str | None] = {}  # by whose they are; None once they are over
        self._status = RecorderStats()
        self._ends_alone = False
        runs = [("record", self._write), ("compact", self._compactor.run)]
        if self._syncer.is_needed:
            runs.append(("sync", self._syncer.run))
        self._threads = [
            threading.Thread(target=self._run, args=(work,), name=f"ccwatch-{name} {folder.name}", daemon=True) for name, work in runs
        ]
        for thread in self._threads:
            thread.start()

    @property
    def folder(self) -> Path:
        """Return the recording's folder, even after it was moved."""
        return self._lock.folder

    def stats(self) -> RecorderStats:
        """Return the counters now: those that the writing thread published last, with the items handed over since."""
        status, taken = self._status, self._intake.taken
        return replace(
            status,
            received_seq=taken.seq,
            dropped=status.dropped + taken.dropped,
            degraded=status.degraded or taken.is_losing,
        )

    def receive(self, items: list[Item] | tuple[Item, ...] | Any) -> None:
        """Queue items for the disk; called on the source's thread."""
        self._intake.receive(items)

    # ── the writing thread ──

    def _write(self) -> None:
        while True:
            work = self._intake.next()
            for report in work.reports:
                self._note(report)
            if work.items:
                self._store(work.items)
            self._roll_when_due(is_asked=work.is_roll_asked)
            if work.is_over:
                break
        if self._ends_alone:  # no one waits for the threads' end: the writing one does the rest
            self._sync_last()
            self._compactor.close(0.0)
            self._lock.release()

    def _note(self, report: Any) -> None:
        """Take a report of another thread."""
        if isinstance(report, Synced):
            if report.error is not None and self._troubles.get("sync") is None:
                # The kernel may have thrown the unwritten pages away: nothing after this is known to be durable.
                _LOG.warning("%s: %s", self.folder, report.error)
                self._troubles["sync"] = report.error
            if self._troubles.get("sync") is None:
                self._publish(durable_seq=max(report.point.seq, self._status.durable_seq))
        elif isinstance(report, Compacting):
            if report.error is not None:
                _LOG.warning("%s: %s", self.folder, report.error)
            self._troubles["compaction"] = report.error
            self._publish(compacting=report.is_running)
        elif isinstance(report, _Fault):
            self._troubles["fault"] = str(report)
        self._publish()

    def _publish(self, **changes: Any) -> None:
        """Make one frozen status of the counters, for every thread to see."""
        error = next((self._troubles[name] for name in _TROUBLES if self._troubles.get(name) is not None), None)
        self._status = replace(self._status, **changes, dropped=self._refused, error=error, degraded=error is not None)

    def _store(self, items: list[Waiting]) -> None:
        """Write one frame; where the disk refuses, try until it takes it, or until the recorder is to stop."""
        entries = [item.entry for item in items]
        packets = [item.seq for item in items if item.seq]
        while True:
            try:
                self._follow()
                self._refuse_last_room()
                size = self._journal.append(entries, first_entry=self._entry + 1, first_seq=packets[0] if packets else 0)
            except OSError as error:
                if self._troubles.get("journal") is None:
                    _LOG.warning("%s: recording waits: %s", self.folder, error)
                self._troubles["journal"] = f"the journal cannot be written: {error}"
                self._publish()
                if not self._intake.may_retry(RETRY_S):
                    self._refused += len(items)
                    self._publish()
                    return
                continue
            break
        self._troubles["journal"] = None
        self._entry += len(entries)
        # With every frame: a recorder may have joined between the handshake and its connect event.
        self._troubles["session"] = self._file.update(self.folder)
        before = self._status
        self._publish(
            packets=before.packets + len(packets),
            events=before.events + len(items) - len(packets),
            bytes=before.bytes + size,
            written_seq=packets[-1] if packets else before.written_seq,
        )
        self._syncer.written(SyncPoint(self._entry, self._status.written_seq))

    def _follow(self) -> None:
        """Continue in the folder's new place, if it was moved."""
        self._journal.move(self.folder / JOURNAL)

    def _refuse_last_room(self) -> None:
        """Refuse to write when the disk is nearly full.

        Raises:
            OSError: fewer bytes are free than must remain.
        """
        if self._min_free is None or (self._troubles.get("journal") is None and monotonic() - self._looked_at < RETRY_S):
            return
        self._looked_at = monotonic()
        free = shutil.disk_usage(self.folder).free
        if free < self._min_free:
            raise OSError(errno.ENOSPC, f"{free:,} bytes are free on the disk, and {self._min_free:,} are to remain free")

    def _roll_when_due(self, *, is_asked: bool) -> None:
        is_due = (
            self._journal.size >= ROLL_BYTES
            or self._status.packets - self._rolled_packets >= ROLL_PACKETS
            or (self._journal.size > 0 and monotonic() - self._rolled_at >= ROLL_S)
        )
        if not (is_due or is_asked):
            return
        try:
            self._follow()
            if self._journal.size:
                self._journal.roll()
        except OSError as error:
            self._troubles["journal"] = f"the journal cannot be written: {error}"
            self._publish()
        self._rolled_at, self._rolled_packets = monotonic(), self._status.packets
        self._intake.rolled()
        self._compactor.rolled(self._journal.path)

    def _run(self, work: Callable[[], None]) -> None:
        """Run a thread's function; an error that ends it early is shown in `stats` and logged."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - shown in the statistics, instead of dying silently
            _LOG.exception("%s: the recorder failed", self.folder)
            fault = _Fault(f"the recorder failed: {error!r}")
            if work == self._write:  # no one is left to hear a report
                self._intake.fail()
                self._note(fault)
            else:
                self._intake.report(fault)

    # ── the caller's thread ──

    def rotate(self) -> None:
        """Close the journal's file and make Parquet of it; see `Recorder.rotate`."""
        with self._compactor.working:
            self._intake.ask_roll()
            self._raise_trouble()
            keep = self._journal.path
            try:
                self._compact(keep)
            except (OSError, pa.ArrowException) as error:
                raise self._not_parquet(error) from error
            self._compactor.compacted(keep)

    def stop(self, *, finish: bool) -> None:
        """Write and sync the waiting items, then finish; see `Recorder.stop`."""
        if not self._intake.close(GIVE_UP_S):
            return
        self._syncer.close()
        if threading.current_thread() in self._threads:  # the recorder was collected by one of its own threads
            self._ends_alone = True
            return
        begun = monotonic()
        writing = self._threads[0]
        writing.join(FINISH_S)
        if writing.is_alive():
            raise RecordingError(f"{self.folder}: the disk does not answer; what it has taken opens as it is")
        self._sync_last()
        self._compactor.close(COMPACTOR_PATIENCE_S if finish else 0.0)
        for thread in self._threads[1:]:
            thread.join(FINISH_S)
        try:
            for report in self._intake.take_reports():
                self._note(report)
            if finish:
                self._finish(begun + FINISH_S)
                self._raise_trouble()
        finally:
            self._lock.release()

    def _sync_last(self) -> None:
        """Sync everything to the disk; the writing thread has ended."""
        self._troubles["session"] = self._file.update(self.folder)
        self._note(self._syncer.sync(SyncPoint(self._entry, self._status.written_seq)))
        try:
            self._journal.close()
        except OSError as error:
            self._troubles["sync"] = f"the journal does not reach the disk: {error}"
        self._publish()

    def _finish(self, deadline: float) -> None:
        """Make Parquet of the whole journal, and mark the recording as finished."""
        folder = self.folder
        try:
            with self._compactor.working:
                self._compact(None, deadline)
                clock = read_clock()
                facts = {"wall_ns": clock.wall_ns, "mono_ns": clock.mono_ns, "dropped": self.stats().dropped}
                manifest.append_finish(folder, {"entries": self._entry, **facts, **summary.of_finished(folder)})
        except segment_groups.OutOfTime:
            left = self._entry - manifest.read(folder).last_entry
            self._publish(left=left)
            warnings.warn(
                f"{folder}: {left:,} packets and events are not in Parquet yet; they are safe in the journal and are read from it, and "
                f"ccwatch recover {folder} makes Parquet of them",
                RuntimeWarning,
                stacklevel=4,
            )
        except (OSError, pa.ArrowException) as error:
            raise self._not_parquet(error) from error
        else:  # every entry was read back and is on the disk now, whatever became of the journal's own pages
            self._troubles.update(sync=None, compaction=None)
            self._publish(durable_seq=self._status.written_seq)

    def _compact(self, keep: Path | None, deadline: float = math.inf) -> None:
        """Make Parquet of the journal's files before `keep`: of much in a process of its own, which holds up no feed of this one.

        Raises:
            OutOfTime: the deadline, by the monotonic clock, has passed.
        """
        folder = self.folder
        waiting = [path for path in journal.journal_files(folder / JOURNAL) if keep is None or int(path.stem) < int(keep.stem)]
        if sum(path.stat().st_size for path in waiting) > IN_PROCESS_BYTES:
            try:
                process = CompactorProcess(folder, keep, self._lock.handle, nice=False)
                timer = threading.Timer(max(0.0, min(deadline, monotonic() + 86_400.0) - monotonic()), process.kill)
                timer.start()
                try:
                    process.wait()
                finally:
                    timer.cancel()
            except (OSError, RecordingError) as error:
                _LOG.warning("%s: %s; it is done in this process", folder, error)
        segment_groups.compact(folder, self._file.session, keep=keep, deadline=deadline)  # what is left, which may be nothing

    def _not_parquet(self, error: Exception) -> RecordingError:
        self._troubles["parquet"] = f"the Parquet files cannot be written: {error}"
        self._publish()
        return RecordingError(f"{self.folder}: {self._troubles['parquet']}; the journal holds everything")

    def _raise_trouble(self) -> None:
        error = self.stats().error
        if error is not None:
            raise RecordingError(f"{self.folder}: {error}")


_TROUBLES: Final = ("fault", "journal", "parquet", "session", "sync", "compaction")
"""Kinds of trouble, in the order in which they are shown."""
