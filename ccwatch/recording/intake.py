"""The intake of a recorder: what waits for the disk, bounded in items and bytes, between the source's thread and the writing one.

Items wait as the entries that the journal keeps, so that their size is known to the byte. It knows neither files nor clocks.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import Any, Final, NamedTuple

from ccwatch.protocol.messages import Event, Item, Packet
from ccwatch.recording import entries, journal
from ccwatch.recording.stats import Dropped

QUEUE_ITEMS: Final = 100_000
QUEUE_BYTES: Final = entries.MOST_ENTRY
"""Most bytes that wait for the disk, as `QUEUE_ITEMS` is most items: more are dropped, and counted."""

_LOG: Final = logging.getLogger(__name__)


class Waiting(NamedTuple):
    """An item as the journal's entry; `seq` is the packet's, 0 for an event."""

    entry: bytes
    seq: int


class Taken(NamedTuple):
    """The state of the items handed over by the source. Frozen; only the source's thread makes the next one."""

    seq: int = 0
    """Seq of the last packet."""
    dropped: int = 0
    """Count of items that found no room or cannot be stored."""
    is_losing: bool = False
    """Whether items were dropped that no drop event reports yet."""


class Work(NamedTuple):
    """The next work of the writing thread."""

    items: list[Waiting]
    reports: list[Any]
    """The messages of the recorder's other threads."""
    is_roll_asked: bool
    is_over: bool
    """Whether the recorder was asked to stop, and no item waits any more."""


class Intake:
    """A bounded queue of entries, and the messages to the writing thread. `receive` never waits for the disk."""

    def __init__(self, gather_s: float = 0.0) -> None:
        """Begin with an empty queue.

        Args:
            gather_s: seconds for which the writing thread waits for more after the first item, so that it is woken once for many.
        """
        self._gather_s = gather_s
        # Guards all below and wakes those who wait for a change of it. Reentrant, since a collected recorder may be stopped by
        # whichever thread happens to hold it. Held for a few appends only, never during a write or a sync.
        self._changed = threading.Condition(threading.RLock())
        self._queue: deque[Waiting] = deque()
        self._bytes = 0
        self._lost: Dropped | None = None
        self._reports: list[Any] = []
        self._is_closed = self._is_broken = self._is_roll_asked = False
        self._give_up_at = 0.0
        self.taken = Taken()

    # ── the source's thread ──

    def receive(self, items: Sequence[Item]) -> None:
        """Queue items for the disk, or count them as dropped where too many wait or one cannot be stored."""
        wanted = [item for item in items if isinstance(item, (Packet, Event))]
        packed = [_packed(item) for item in wanted]
        with self._changed:
            if self._is_closed:
                return
            seq, dropped, _ = self.taken
            was_empty = not self._queue
            for item, entry in zip(wanted, packed, strict=True):
                if isinstance(item, Packet):
                    seq = item.seq
                if entry is None or not self._enqueue(item, entry):
                    dropped += 1
            self.taken = Taken(seq, dropped, self._lost is not None)
            if was_empty or self._is_frame_full:
                self._changed.notify_all()

    def _enqueue(self, item: Packet | Event, entry: bytes) -> bool:
        is_full = len(self._queue) >= QUEUE_ITEMS or self._bytes + len(entry) > QUEUE_BYTES
        if is_full or self._is_broken:
            self._lost = Dropped.more(self._lost, item)
            return False
        self._report_lost()
        self._queue.append(Waiting(entry, item.seq if isinstance(item, Packet) else 0))
        self._bytes += len(entry)
        return True

    def _report_lost(self) -> None:
        if self._lost is not None:
            entry = entries.pack_event(self._lost.event("queue-full"))
            self._lost = None
            self._queue.append(Waiting(entry, 0))
            self._bytes += len(entry)

    # ── the writing thread ──

    def next(self) -> Work:
        """Wait until there is something to do, and return it."""
        with self._changed:
            while not (self._queue or self._reports or self._is_closed or self._is_roll_asked):
                self._changed.wait()
            due = monotonic() + self._gather_s
            while not self._is_due and (left := due - monotonic()) > 0:
                self._changed.wait(left)
            if self._is_closed:
                self._report_lost()
            items = self._take()
            if self._lost is None and self.taken.is_losing:
                self.taken = self.taken._replace(is_losing=False)
            reports, self._reports = self._reports, []
            return Work(items, reports, self._is_roll_asked, self._is_closed and not items)

    @property
    def _is_frame_full(self) -> bool:
        return len(self._queue) >= journal.FRAME_ENTRIES or self._bytes >= journal.FRAME_BYTES

    @property
    def _is_due(self) -> bool:
        """Return whether there is work that waits for no more items."""
        return bool(self._reports) or self._is_closed or self._is_roll_asked or self._is_frame_full

    def _take(self) -> list[Waiting]:
        batch: list[Waiting] = []
        size = 0
        while self._queue and len(batch) < journal.FRAME_ENTRIES and size < journal.FRAME_BYTES:
            item = self._queue.popleft()
            batch.append(item)
            size += len(item.entry)
        self._bytes -= size
        return batch

    def may_retry(self, pause_s: float) -> bool:
        """Wait a little; False once a recorder that was asked to stop has tried for long enough."""
        deadline = monotonic() + pause_s
        with self._changed:
            while (left := deadline - monotonic()) > 0 and not self._is_closed:
                self._changed.wait(left)
            if not self._is_closed:
                return True
            left = self._give_up_at - monotonic()
            self._changed.wait(min(0.05, max(0.0, left)))
            return left > 0

    def rolled(self) -> None:
        """Say that the journal has gone on in a new file."""
        with self._changed:
            self._is_roll_asked = False
            self._changed.notify_all()

    # ── any thread ──

    def report(self, report: Any) -> None:
        """Pass a message to the writing thread."""
        with self._changed:
            self._reports.append(report)
            self._changed.notify_all()

    def take_reports(self) -> list[Any]:
        """Take and return the messages that were not read yet."""
        with self._changed:
            reports, self._reports = self._reports, []
            return reports

    def ask_roll(self) -> None:
        """Make the journal continue in a new file; wait until it has, or never will."""
        with self._changed:
            self._is_roll_asked = True
            self._changed.notify_all()
            while self._is_roll_asked and not self._is_broken and not self._is_closed:
                self._changed.wait()

    def close(self, give_up_s: float) -> bool:
        """Take no more; a disk that refuses is tried for `give_up_s` seconds. False where it was closed before."""
        with self._changed:
            if self._is_closed:
                return False
            self._give_up_at = monotonic() + give_up_s
            self._is_closed = True
            self._changed.notify_all()
            return True

    def fail(self) -> None:
        """Note that writing has ended: items that come from now on are counted as dropped."""
        with self._changed:
            self._is_broken = True
            self._changed.notify_all()


def _packed(item: Packet | Event) -> bytes | None:
    """Return the journal's entry of an item; None where it cannot be stored, which must not end the recording."""
    try:
        return entries.pack_packet(item) if isinstance(item, Packet) else entries.pack_event(item)
    except Exception:  # noqa: BLE001 - one odd item must not end the recording
        _LOG.exception("an item cannot be recorded: %r", item)
        return None
