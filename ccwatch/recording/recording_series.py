"""A series of recordings: a Sink that goes on in a new recording once one is large enough or old enough, or a day ends.

No item is lost or doubled at the change, and nothing is deleted. It knows no stream.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ccwatch.errors import ConfigError, RecordingError
from ccwatch.protocol.messages import Item
from ccwatch.recording.recorder import Recorder
from ccwatch.recording.stats import RecorderStats

LOOK_S: Final = 0.2
"""Seconds between two checks whether the next recording is due."""
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RolloverPolicy:
    """When the next recording begins: at whichever limit is reached first; None is no limit.

    Attributes:
        max_bytes: bytes of the journal.
        max_age: time since the recording began.
        daily: whether a new one begins at midnight, UTC.
    """

    max_bytes: int | None = None
    max_age: timedelta | None = None
    daily: bool = False

    def __post_init__(self) -> None:
        """Refuse limits that would begin a recording all the time.

        Raises:
            ConfigError: a limit that is not above zero.
        """
        if self.max_bytes is not None and self.max_bytes < 1:
            raise ConfigError(f"max_bytes: expected a size above 0, got {self.max_bytes}")
        if self.max_age is not None and self.max_age <= timedelta(0):
            raise ConfigError(f"max_age: expected a length of time above 0, got {self.max_age}")

    def is_due(self, stats: RecorderStats, begun: datetime, now: datetime) -> bool:
        """Return whether a recording that was begun at `begun` must end at `now`; an empty one never must."""
        if not stats.packets + stats.events:
            return False  # an empty recording would follow an empty one
        return (
            (self.max_bytes is not None and stats.bytes >= self.max_bytes)
            or (self.max_age is not None and now - begun >= self.max_age)
            or (self.daily and now.date() > begun.date())
        )


class RecordingSeries:
    """Records into one folder after the other. A context manager; `stop` ends it."""

    def __init__(
        self, begin: Callable[[], Recorder], rollover: RolloverPolicy, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Begin the first recording.

        Args:
            begin: makes the recorder of each recording.
            rollover: when the next recording begins.
            clock: the wall clock, as aware datetimes.
        """
        self._begin = begin
        self._rollover = rollover
        self._clock = clock
        # Serialises handing over items with changing the recorder, so that each item goes to exactly one of them.
        self._lock = threading.Lock()
        self._recorders = [begin()]
        self._begun = clock()
        self._trouble: str | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"ccwatch-series {self.path.name}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def path(self) -> Path:
        """Return the folder of the newest recording."""
        return self._recorders[-1].path

    @property
    def paths(self) -> tuple[Path, ...]:
        """Return the folders of all recordings, in order of their beginning."""
        return tuple(recorder.path for recorder in self._recorders)

    @property
    def stats(self) -> RecorderStats:
        """Return the newest recording's numbers, with the counts of all recordings added up."""
        every = [recorder.stats for recorder in self._recorders]
        now = every[-1]
        return RecorderStats(
            received_seq=now.received_seq,
            written_seq=now.written_seq,
            durable_seq=now.durable_seq,
            packets=sum(stats.packets for stats in every),
            events=sum(stats.events for stats in every),
            bytes=sum(stats.bytes for stats in every),
            dropped=sum(stats.dropped for stats in every),
            degraded=now.degraded or self._trouble is not None,
            error=now.error or self._trouble,
            compacting=any(stats.compacting for stats in every),
        )

    @property
    def dropped(self) -> int:
        """Return the count of packets and events that were not recorded; a feed's health adds these up."""
        return self.stats.dropped

    @property
    def compacting(self) -> bool:
        """Return whether Parquet is being made beside the recording."""
        return self.stats.compacting

    def receive(self, items: Sequence[Item], /) -> None:
        """Take items without waiting for the disk."""
        with self._lock:
            self._recorders[-1].receive(items)

    def stop(self) -> None:
        """End the newest recording; see `Recorder.stop`. Stopping twice is harmless."""
        self._stopping.set()
        self._thread.join()
        self._recorders[-1].stop()

    def _watch(self) -> None:
        while not self._stopping.wait(LOOK_S):
            if self._rollover.is_due(self._recorders[-1].stats, self._begun, self._clock()):
                self._go_over()

    def _go_over(self) -> None:
        try:
            fresh = self._begin()
        except RecordingError as error:  # then the old recording goes on, and this is tried again
            if self._trouble is None:
                _LOG.warning("the next recording cannot be begun: %s", error)
            self._trouble = f"the next recording cannot be begun: {error}"
            return
        self._trouble = None
        with self._lock:
            old = self._recorders[-1]
            self._recorders.append(fresh)
            self._begun = self._clock()
        try:
            old.stop()
        except RecordingError as error:  # its journal holds everything, so it opens as it is; said, and not in the way of the next
            _LOG.warning("%s", error)
