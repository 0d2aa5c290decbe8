"""The syncer of a recorder: brings what was written to the disk, as often as the policy says, on a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from ccwatch.recording.journal import JournalWriter

GATHER_S: Final[dict[str, float]] = {"strict": 0.0, "balanced": 0.05, "lazy": 0.05, "off": 0.05}
"""Seconds by policy for which packets are gathered before they are written, so that the writing thread is woken once for many."""
SYNC_EVERY_S: Final[dict[str, float | None]] = {"strict": 0.0, "balanced": 0.15, "lazy": 4.95, "off": None}
"""Seconds from a write to the sync by policy; None is never. With those of the gathering, "balanced" is 0.2 s and "lazy" 5 s."""


class SyncPoint(NamedTuple):
    """How far the journal was written: the count of entries and the seq of the last packet among them."""

    entry: int
    seq: int


class Synced(NamedTuple):
    """A report: how far the journal is on the disk, or why it is not."""

    point: SyncPoint
    error: str | None


class Syncer:
    """Syncs a journal that another thread writes."""

    def __init__(self, journal: JournalWriter, policy: str, report: Callable[[Any], None]) -> None:
        """Prepare a syncer of a journal to which nothing was written yet.

        Args:
            journal: the journal to sync.
            policy: a key of `SYNC_EVERY_S`.
            report: called with a `Synced` after each sync.
        """
        self._journal = journal
        self._every = SYNC_EVERY_S[policy]
        self._report = report
        self._changed = threading.Condition()  # guards the point, and wakes the thread when it is the first one after a sync
        self._written = SyncPoint(0, 0)
        self._done = 0
        self._closing = threading.Event()

    @property
    def is_needed(self) -> bool:
        """Return whether the policy needs a thread."""
        return self._every is not None

    def written(self, point: SyncPoint) -> None:
        """Say how far the journal is written."""
        with self._changed:
            is_first = self._written.entry == self._done
            self._written = point
            if is_first:
                self._changed.notify_all()

    def close(self) -> None:
        """Let the thread end; the caller syncs the rest."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()

    def run(self) -> None:
        """Sync until closed."""
        while True:
            with self._changed:
                while self._written.entry == self._done and not self._closing.is_set():
                    self._changed.wait()
            if self._closing.wait(self._every or 0.0):
                return
            with self._changed:
                point = self._written
                self._done = point.entry
            self._report(self.sync(point))

    def sync(self, point: SyncPoint) -> Synced:
        """Sync the journal to the disk now; the caller guarantees that it is written up to `mark`."""
        try:
            self._journal.sync()
        except OSError as error:
            return Synced(point, f"the journal does not reach the disk: {error}")
        return Synced(point, None)
