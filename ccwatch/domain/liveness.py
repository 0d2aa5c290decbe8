"""The pace of a stream: bursts, the intervals between them, and how much silence makes it late, stale or a gap.

One rule for one packet after the other (`Pace.note`) and for whole arrays (`Pace.note_all`), with the same answers, however a
stream is split into calls. Times are int64 ns of one clock that never goes back: the receiver's monotonic one, or the stream's
own stamps where those do not keep pace with it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Final, overload

import numpy as np
import numpy.typing as npt

from ccwatch.domain.limits import BURST_NS, LATE_INTERVALS, LATE_NS, SECOND, SLEEP_NS, STALE_INTERVALS, STALE_NS, USUAL_INTERVALS

PAUSE_NS: Final = 12 * SECOND // 100
"""The silence that ends a burst once it has two packets: more than BURST_NS, so that a stream of 10 packets per second whose
intervals tremble by some ms is not cut into pieces at random."""
STREAM_NS: Final = SECOND
"""A burst that lasts longer than this is a fast stream instead, and each of its packets counts by itself from then on."""

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@overload
def late_ns(usual_ns: int) -> int: ...
@overload
def late_ns(usual_ns: Ints) -> Ints: ...
def late_ns(usual_ns: Any) -> Any:
    """Return the silence in ns after which a stream of this usual interval (0: not known) is late."""
    return _limit(usual_ns, LATE_NS, LATE_INTERVALS)


@overload
def stale_ns(usual_ns: int) -> int: ...
@overload
def stale_ns(usual_ns: Ints) -> Ints: ...
def stale_ns(usual_ns: Any) -> Any:
    """Return the silence in ns after which a stream of this usual interval (0: not known) is stale."""
    return _limit(usual_ns, STALE_NS, STALE_INTERVALS)


def _limit(usual_ns: Any, least: int, times: int) -> Any:
    return max(least, times * usual_ns) if isinstance(usual_ns, int) else np.maximum(least, times * usual_ns)


@overload
def slept_ns(wall_step_ns: int, mono_step_ns: int) -> int: ...
@overload
def slept_ns(wall_step_ns: Ints, mono_step_ns: Ints) -> Ints: ...
def slept_ns(wall_step_ns: Any, mono_step_ns: Any) -> Any:
    """Return how many ns the machine slept in a step: the wall clock went on and the monotonic one did not; 0 below SLEEP_NS."""
    ahead = wall_step_ns - mono_step_ns
    if isinstance(ahead, int):
        return ahead if ahead > SLEEP_NS else 0
    return np.where(ahead > SLEEP_NS, ahead, 0)


def count_bursts(at_ns: Ints, is_first: Bools | None = None) -> tuple[Bools, Ints]:
    """Return which packets begin a burst, and the intervals in ns between bursts, of a stretch of a stream by itself.

    A stretch in which no burst ended yet (it is one run of packets less than BURST_NS apart) is measured by its packets.

    Args:
        at_ns: when each packet was received.
        is_first: the packets that are the first of their connection; the interval before one of them is left out.
    """
    paces = Pace().note_all(at_ns, is_first=is_first)
    begins, intervals = paces.begins, paces.interval_ns
    if len(at_ns) > 1 and np.count_nonzero(begins) == 1:
        return np.ones(len(at_ns), dtype=np.bool_), paces.step_ns[1:]
    return begins, intervals[intervals >= 0]


@dataclass(frozen=True, eq=False, slots=True)
class Paces:
    """The pace of a stream at each of n packets."""

    step_ns: Ints
    """Ns since the packet before; 0 at the first of all."""
    begins: Bools
    """Whether the packet begins a burst (or counts by itself in a fast stream)."""
    interval_ns: Ints
    """Ns since the burst before began; -1 where the packet gives no interval."""
    usual_ns: Ints
    """The usual interval known before the packet; worked out only where the step exceeds LATE_NS, 0 elsewhere and where unknown."""
    silent: Bools
    """Whether the silence before the packet is a gap."""


class Pace:
    """The pace of one stream: feed it every packet, in order."""

    def __init__(self) -> None:
        self._at: int | None = None
        self._begun = 0  # when the run of packets less than BURST_NS apart began
        self._begin = 0  # when the last burst began
        self._tight = False  # whether that run has two packets
        self._intervals: deque[int] = deque(maxlen=USUAL_INTERVALS)
        self._usual: int | None = 0

    # ── results ──

    @property
    def usual_ns(self) -> int:
        """Return the usual interval between bursts in ns; 0 while it is not known."""
        if self._usual is None:
            self._usual = upper_median(self._intervals)
        return self._usual

    @property
    def late_ns(self) -> int:
        """Return the silence in ns after which the stream is late."""
        return late_ns(self.usual_ns)

    @property
    def stale_ns(self) -> int:
        """Return the silence in ns after which the stream is stale."""
        return stale_ns(self.usual_ns)

    def snapshot_ns(self) -> int:
        """Return `usual_ns` without changing the state, so that any thread may call it."""
        return upper_median(self._intervals.copy())

    def is_gap(self, silent_ns: int, *, is_first: bool) -> bool:
        """Return whether a silence of this length before a packet is a gap.

        While the pace is not known, a silence is one only once it is stale; on a new connection (`is_first`), once it is late.
        """
        if silent_ns <= LATE_NS:
            return False
        return silent_ns > (self.late_ns if self._intervals or is_first else STALE_NS)

    # ── packets ──

    def note(self, at_ns: int, *, is_first: bool = False, is_original: bool = True) -> bool:
        """Take a packet; return whether it begins a burst.

        Args:
            at_ns: when it was received.
            is_first: whether it is the first of its connection, so that the silence before it gives no interval.
            is_original: False for a packet that the server replays, which gives no interval either.
        """
        before, self._at = self._at, at_ns
        if before is None or is_first:
            self._begun = self._begin = at_ns
            self._tight = False
            return True
        step = at_ns - before
        if step >= PAUSE_NS or (step >= BURST_NS and not self._tight):
            interval = at_ns - self._begin
            self._begun = at_ns
            if step >= PAUSE_NS:
                self._tight = False
        else:
            self._tight = True
            if at_ns - self._begun <= STREAM_NS:
                return False
            interval = step
        self._begin = at_ns
        if is_original:
            self._intervals.append(interval)
            self._usual = None
        return True

    def note_all(self, at_ns: Ints, *, is_first: Bools | None = None, is_original: Bools | None = None) -> Paces:
        """Take n packets; the arguments are those of `note`, as arrays."""
        n = len(at_ns)
        at = np.asarray(at_ns, dtype=np.int64)
        fresh = np.zeros(n, dtype=np.bool_) if is_first is None else np.asarray(is_first, dtype=np.bool_).copy()
        original = np.ones(n, dtype=np.bool_) if is_original is None else np.asarray(is_original, dtype=np.bool_)
        if not n:
            return Paces(at, fresh, at, at, fresh)
        known_first = fresh.copy()
        fresh[0] |= self._at is None
        step = np.diff(at, prepend=at[0] if self._at is None else self._at)
        starts = self._starts(step, fresh)
        place = np.arange(n)
        begun = _latest(starts, at, place, self._begun)
        begins = starts | (at - begun > STREAM_NS)
        begin_before = np.append(self._begin, _latest(begins, at, place, self._begin)[:-1])
        interval = np.where(starts, at - begin_before, step)
        gives_interval = begins & original & ~fresh
        known = np.concatenate((np.fromiter(self._intervals, np.int64), interval[gives_interval]))
        count = len(self._intervals) + np.cumsum(gives_interval) - gives_interval  # known before each packet
        usual = np.zeros(n, dtype=np.int64)
        slow = np.flatnonzero((step > LATE_NS) & (count > 0))
        usual[slow] = _upper_medians(known, count[slow])
        limit = np.where((count > 0) | known_first, late_ns(usual), STALE_NS)
        silent = step > limit
        self._at, self._begun = int(at[-1]), int(begun[-1])
        self._begin = int(at[begins][-1]) if begins.any() else self._begin
        if gives_interval.any():
            self._intervals.extend(interval[gives_interval][-USUAL_INTERVALS:].tolist())
            self._usual = None
        return Paces(step, begins, np.where(gives_interval, interval, -1), usual, silent)

    def _starts(self, step: Ints, fresh: Bools) -> Bools:
        """Return which packets begin a run of packets less than BURST_NS apart."""
        place = np.arange(1, len(step) + 1)
        pauses = fresh | (step >= PAUSE_NS)
        tight = ~pauses & (step < BURST_NS)
        last_pause = np.maximum.accumulate(np.where(pauses, place, 0))
        last_tight = np.maximum.accumulate(np.where(tight, place, 0))
        has_two = (last_tight > last_pause) | ((last_pause == 0) & self._tight)
        starts: Bools = pauses | (~tight & ~has_two)
        self._tight = bool(has_two[-1])
        return starts


def _latest(marked: Bools, at: Ints, place: Ints, before: int) -> Ints:
    """Return for each row the time of the last marked row up to it; `before` where there is none."""
    last = np.maximum.accumulate(np.where(marked, place, -1))
    return np.where(last >= 0, at[np.maximum(last, 0)], before)


def upper_median(values: deque[int]) -> int:
    """Return the upper median; 0 without values."""
    return sorted(values)[len(values) // 2] if values else 0


def _upper_medians(known: Ints, counts: Ints) -> Ints:
    """Return for each count c the upper median of the USUAL_INTERVALS values before known[c]."""
    picked = np.empty(len(counts), dtype=np.int64)
    full = counts >= USUAL_INTERVALS
    if full.any():
        windows = known[counts[full][:, None] - USUAL_INTERVALS + np.arange(USUAL_INTERVALS)]
        picked[full] = np.partition(windows, USUAL_INTERVALS // 2, axis=1)[:, USUAL_INTERVALS // 2]
    for row in np.flatnonzero(~full):  # at most once for each of the first USUAL_INTERVALS counts, and for equal counts
        picked[row] = np.sort(known[: counts[row]])[counts[row] // 2]
    return picked
