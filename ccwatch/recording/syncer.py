"""The syncer of a recorder: brings what was written to the disk, as often as the policy says, on a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, Final, NamedTuple

from ccwatch.recording.journal import JournalWriter

SYNC_EVERY_S: Final[dict[str, float | None]] = {"strict": 0.0, "balanced": 0.2, "lazy": 5.0, "off": None}
"""Seconds between two syncs by policy; None is never."""


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
        # Guards the two below, and wakes the thread when one changes.
        self._changed = threading.Condition()
        self._written = SyncPoint(0, 0)
        self._is_closed = False

    @property
    def is_needed(self) -> bool:
        """Return whether the policy needs a thread."""
        return self._every is not None

    def written(self, point: SyncPoint) -> None:
        """Say how far the journal is written."""
        with self._changed:
            self._written = point
            self._changed.notify_all()

    def close(self) -> None:
        """Let the thread end; the caller syncs the rest."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def run(self) -> None:
        """Sync until closed."""
        every = self._every or 0.0
        done = 0
        while True:
            with self._changed:
                while self._written.entry == done and not self._is_closed:
                    self._changed.wait()
                due = monotonic() + every
                while (left := due - monotonic()) > 0 and not self._is_closed:
                    self._changed.wait(left)
                if self._is_closed:
                    return
                point = self._written
            self._report(self.sync(point))
            done = point.entry

    def sync(self, point: SyncPoint) -> Synced:
        """Sync the journal to the disk now; the caller guarantees that it is written up to `mark`."""
        try:
            self._journal.sync()
        except OSError as error:
            return Synced(point, f"the journal does not reach the disk: {error}")
        return Synced(point, None)
