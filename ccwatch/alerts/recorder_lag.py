"""The recorder's lag: how long received data has not been on the disk."""

from __future__ import annotations

import math
import time
from typing import Protocol


class RecorderStats(Protocol):
    """Counters of a recorder at one moment."""

    @property
    def received_seq(self) -> int:
        """Return the seq of the newest packet that it was given."""

    @property
    def durable_seq(self) -> int:
        """Return the seq up to which packets survive the loss of power; 0 where none do."""


class Recording(Protocol):
    """A recorder, as far as its lag goes."""

    @property
    def stats(self) -> RecorderStats:
        """Return its counters now."""


class RecorderLag:
    """The lag of a view's recorder, from one look at it to the next."""

    def __init__(self) -> None:
        """Begin without a lag."""
        self._since: tuple[int, int] | None = None  # seq that was not on the disk, and since when

    def seconds(self, recorder: Recording | None) -> float:
        """Return for how long received data has not been on the disk, s; NaN where nothing records, or nothing is ever synced."""
        if recorder is None:
            self._since = None
            return math.nan
        stats, now = recorder.stats, time.monotonic_ns()
        if not stats.durable_seq or stats.durable_seq >= stats.received_seq:
            self._since = None
        elif self._since is None or stats.durable_seq >= self._since[0]:
            self._since = stats.received_seq, now
        return math.nan if not stats.durable_seq else 0.0 if self._since is None else (now - self._since[1]) / 1e9
