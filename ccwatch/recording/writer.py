"""The writer behind a recorder: two threads between the items that arrive and the disk.

The source's thread enqueues; the writing thread drains what waits into one frame and one write; the syncing thread brings
written frames to the disk as often as the policy says. No trouble of the disk reaches the source: it is counted, shown in
`stats` and written as a drop event once there is room again. It does not know the Recorder, so one left open can be collected.
"""

from __future__ import annotations

import errno
import logging
import shutil
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Final

import pyarrow as pa

from ccwatch.errors import RecordingError
from ccwatch.protocol.messages import Event, Item, Packet
from ccwatch.recording import groups, journal, manifest
from ccwatch.recording.background import CompactorProcess
from ccwatch.recording.folder import JOURNAL, SESSION, Session, WriterLock
from ccwatch.recording.stats import Lost, RecorderStats
from ccwatch.stream.source import read_clock

SYNC_EVERY_S: Final[dict[str, float]] = {"strict": 0.0, "balanced": 0.2, "lazy": 5.0}
QUEUE_ITEMS: Final = 100_000
QUEUE_BYTES: Final = 64 << 20
"""More than this waiting for the disk is dropped, and counted."""
ROLL_PACKETS: Final = 50_000
ROLL_BYTES: Final = 64 << 20
ROLL_S: Final = 15 * 60
"""A journal file is closed at whichever comes first."""
RETRY_S: Final = 0.5
GIVE_UP_S: Final = 0.6
"""How long a recorder that was asked to stop tries a disk that refuses."""

_LOG: Final = logging.getLogger(__name__)


class Writer:
    """The queue, the journal and the two threads of one recording. `receive` never waits for the disk."""

    def __init__(
        self, folder: Path, session: Session, lock: WriterLock, ask_origin: Callable[[], str], *, min_free: int | None = None
    ) -> None:
        self._min_free = min_free
        self._looked_at = 0.0
        self.folder = folder
        self._session = session
        self._writer_lock = lock
        self._ask_origin = ask_origin
        self._journal = journal.JournalWriter(folder / JOURNAL, bytes.fromhex(session.nonce))
        # Guards the queue and wakes those who wait for it. Reentrant, since a collected recorder may be stopped by whichever
        # thread happens to hold it. Held for a few appends only, never during a write or a sync.
        self._changed = threading.Condition(threading.RLock())
        self._queue: deque[Packet | Event] = deque()
        self._queue_bytes = 0
        self._lost: Lost | None = None
        self._stopping = False
        self._give_up_at = 0.0
        self._roll_asked = False
        # Each of these has one writing thread; `stats` reads them in an order in which none can overtake another.
        self._received_seq = self._written_seq = self._durable_seq = 0
        self._packets = self._events = self._bytes = self._dropped = 0
        self._entry = self._synced_entry = 0
        self._rolled_at, self._rolled_packets = monotonic(), 0
        self._write_error: str | None = None
        self._sync_error: str | None = None
        self._compact_error: str | None = None
        self._fault: str | None = None
        # Serialises compactions: one works in _staging at a time, in this process or in one of its own.
        # Reentrant: `rotate` takes it before the journal goes on, so that no process is started for what it does itself.
        self._compact_lock = threading.RLock()
        self._compactor: CompactorProcess | None = None
        self._compacted_below = self._journal.path
        self._threads = [threading.Thread(target=self._run, args=(self._write,), name=f"ccwatch-record {folder.name}", daemon=True)]
        if session.fsync in SYNC_EVERY_S:
            self._threads.append(threading.Thread(target=self._run, args=(self._sync,), name=f"ccwatch-sync {folder.name}", daemon=True))
        self._threads.append(
            threading.Thread(target=self._run, args=(self._compact_beside,), name=f"ccwatch-compact {folder.name}", daemon=True)
        )
        for thread in self._threads:
            thread.start()

    def stats(self) -> RecorderStats:
        """Where it stands now."""
        durable, written, received = self._durable_seq, self._written_seq, self._received_seq
        error = self._fault or self._write_error or self._sync_error or self._compact_error
        degraded = error is not None or self._lost is not None
        return RecorderStats(
            received,
            written,
            durable,
            self._packets,
            self._events,
            self._bytes,
            self._dropped,
            degraded,
            error,
            self._compactor is not None,
        )

    # ── the source's thread ──

    def receive(self, items: Sequence[Item]) -> None:
        """Let items wait for the disk, or count them as dropped where too many do."""
        with self._changed:
            if self._stopping:
                return
            for item in items:
                if isinstance(item, (Packet, Event)):
                    self._enqueue(item)
            self._changed.notify_all()

    def _enqueue(self, item: Packet | Event) -> None:
        if isinstance(item, Packet):
            self._received_seq = item.seq
        is_full = len(self._queue) >= QUEUE_ITEMS or self._queue_bytes + len(item.raw) > QUEUE_BYTES
        if is_full or self._fault is not None:
            self._lost = Lost.more(self._lost, item)
            self._dropped += 1
            return
        if self._lost is not None:
            self._queue.append(self._lost.event("queue-full"))
            self._lost = None
        self._queue.append(item)
        self._queue_bytes += len(item.raw)

    # ── the writer ──

    def _write(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._stopping and not self._roll_asked:
                    self._changed.wait()
                if self._stopping and self._lost is not None:
                    self._queue.append(self._lost.event("queue-full"))
                    self._lost = None
                batch = self._take()
                if not batch and self._stopping:
                    return
            if batch:
                self._store(batch)
            self._roll_when_due()

    def _take(self) -> list[Packet | Event]:
        batch: list[Packet | Event] = []
        size = 0
        while self._queue and len(batch) < journal.FRAME_ENTRIES and size < journal.FRAME_BYTES:
            item = self._queue.popleft()
            batch.append(item)
            size += len(item.raw)
        self._queue_bytes -= size
        return batch

    def _store(self, batch: list[Packet | Event]) -> None:
        entries, stored = [], []
        for item in batch:
            try:
                entries.append(journal.pack_packet(item) if isinstance(item, Packet) else journal.pack_event(item))
            except Exception:  # noqa: BLE001 - one item that cannot be packed must not end the recording
                self._dropped += 1
                _LOG.exception("%s: an item could not be packed: %r", self.folder, item)
                continue
            stored.append(item)
        packets = [item for item in stored if isinstance(item, Packet)]
        while entries:
            try:
                self._refuse_last_room()
                first_seq = packets[0].seq if packets else 0
                size = self._journal.append(entries, first_entry=self._entry + 1, first_seq=first_seq)
            except OSError as error:
                if self._write_error is None:
                    _LOG.warning("%s: recording waits: %s", self.folder, error)
                self._write_error = f"the journal cannot be written: {error}"
                if not self._may_retry():
                    self._dropped += len(stored)
                    return
                continue
            break
        self._write_error = None
        if not entries:
            return
        self._note_origin()  # with every frame: a recorder may have joined between the handshake and its connect event
        with self._changed:
            self._entry += len(entries)
            self._packets += len(packets)
            self._events += len(stored) - len(packets)
            self._bytes += size
            if packets:
                self._written_seq = packets[-1].seq
            self._changed.notify_all()

    def _note_origin(self) -> None:
        """Put what the server says it is into session.json, where that is news."""
        origin = self._ask_origin()
        if origin != self._session.origin:
            self._session = replace(self._session, origin=origin)
            try:
                self._session.write(self.folder)
            except OSError as error:
                self._sync_error = f"{SESSION} cannot be written: {error}"

    def _refuse_last_room(self) -> None:
        """Leave to others what they need of the disk.

        Raises:
            OSError: less is free than is to remain.
        """
        if self._min_free is None or (self._write_error is None and monotonic() - self._looked_at < RETRY_S):
            return
        self._looked_at = monotonic()
        free = shutil.disk_usage(self.folder).free
        if free < self._min_free:
            raise OSError(errno.ENOSPC, f"{free:,} bytes are free on the disk, and {self._min_free:,} are to remain free")

    def _may_retry(self) -> bool:
        """Wait a little; False once a stopping recorder has tried for long enough."""
        deadline = monotonic() + RETRY_S
        with self._changed:
            while (left := deadline - monotonic()) > 0 and not self._stopping:
                self._changed.wait(left)
            if not self._stopping:
                return True
            left = self._give_up_at - monotonic()
            self._changed.wait(min(0.05, max(0.0, left)))
            return left > 0

    def _roll_when_due(self) -> None:
        is_due = (
            self._journal.size >= ROLL_BYTES
            or self._packets - self._rolled_packets >= ROLL_PACKETS
            or (self._journal.size > 0 and monotonic() - self._rolled_at >= ROLL_S)
        )
        if not (is_due or self._roll_asked):
            return
        try:
            if self._journal.size:
                self._journal.roll()
        except OSError as error:
            self._write_error = f"the journal cannot be written: {error}"
        self._rolled_at, self._rolled_packets = monotonic(), self._packets
        with self._changed:
            self._roll_asked = False
            self._changed.notify_all()

    # ── the syncer ──

    def _sync(self) -> None:
        every = SYNC_EVERY_S[self._session.fsync]
        while True:
            with self._changed:
                while self._entry == self._synced_entry and not self._stopping:
                    self._changed.wait()
                if self._stopping:
                    return  # `stop` syncs what is left, after the writer
                due = monotonic() + every
                while (left := due - monotonic()) > 0 and not self._stopping:
                    self._changed.wait(left)
            self._sync_once()

    def _sync_once(self) -> None:
        with self._changed:
            entry, seq = self._entry, self._written_seq
        try:
            self._journal.sync()
        except OSError as error:
            # The kernel may have thrown the unwritten pages away: nothing after this is known to be durable.
            self._sync_error = f"the journal does not reach the disk: {error}"
            _LOG.warning("%s: %s", self.folder, self._sync_error)
        if self._sync_error is None:
            self._durable_seq = seq
        self._synced_entry = entry

    # ── the compactor's thread ──

    def _compact_beside(self) -> None:
        """Whenever the journal has gone on in a new file, make Parquet of the older ones, in a process of its own."""
        while True:
            with self._changed:
                while self._journal.path == self._compacted_below and not self._stopping:
                    self._changed.wait()
                if self._stopping:
                    return
            with self._compact_lock:
                keep = self._journal.path
                if keep == self._compacted_below:  # `rotate` was faster
                    continue
                try:
                    self._run_compactor(keep)
                    self._compact_error = None
                except (OSError, RecordingError) as error:
                    self._compact_error = str(error)
                    _LOG.warning("%s: %s", self.folder, error)
                finally:
                    self._compactor = None
                    self._compacted_below = keep

    def _run_compactor(self, keep: Path) -> None:
        started = CompactorProcess(self.folder, keep, self._writer_lock.handle)
        with self._changed:
            self._compactor = started
            if self._stopping:
                started.kill()
        started.wait()

    # ── the caller's thread ──

    def rotate(self) -> None:
        """Close the journal's file and make Parquet of it; see `Recorder.rotate`."""
        with self._compact_lock:
            with self._changed:
                self._roll_asked = True
                self._changed.notify_all()
                while self._roll_asked and self._fault is None:
                    self._changed.wait()
            self._raise_trouble()
            self._compact(keep=self._journal.path)

    def stop(self, *, finish: bool) -> None:
        """Write and sync what waits, then finish; see `Recorder.stop`."""
        with self._changed:
            if self._stopping:
                return
            self._give_up_at = monotonic() + GIVE_UP_S
            self._stopping = True
            if self._compactor is not None:
                self._compactor.kill()
            self._changed.notify_all()
        if threading.current_thread() in self._threads:  # collected by one of its own threads: it drains on its way out
            return
        for thread in self._threads:
            thread.join()
        try:
            self._sync_once()
            self._journal.close()
        except OSError as error:
            self._sync_error = f"the journal does not reach the disk: {error}"
        try:
            if finish:
                self._compact(keep=None)
                self._raise_trouble()
        finally:
            self._writer_lock.release()

    def _compact(self, keep: Path | None) -> None:
        try:
            with self._compact_lock:
                groups.compact(self.folder, self._session, keep=keep)
                self._compacted_below = keep or self._compacted_below
            self._compact_error = None
            if keep is None:
                clock = read_clock()
                facts = {"entries": self._entry, "wall_ns": clock.wall_ns, "mono_ns": clock.mono_ns, "dropped": self._dropped}
                manifest.append_finish(self.folder, facts)
        except (OSError, pa.ArrowException) as error:
            self._write_error = f"the Parquet files cannot be written: {error}"
            raise RecordingError(f"{self.folder}: {self._write_error}; the journal holds everything") from error

    def _raise_trouble(self) -> None:
        error = self.stats().error
        if error is not None:
            raise RecordingError(f"{self.folder}: {error}")

    def _run(self, work: Callable[[], None]) -> None:
        """A thread's whole life: whatever ends it early is shown in `stats` and logged."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - shown to whoever asks, instead of dying silently
            _LOG.exception("%s: the recorder failed", self.folder)
            with self._changed:
                self._fault = f"the recorder failed: {error!r}"
                self._changed.notify_all()
