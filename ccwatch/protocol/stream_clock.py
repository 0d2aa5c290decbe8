"""The stream's own clock: its current time, how long this machine slept, and whether a stamp departs from the ones before."""

from __future__ import annotations

from collections import deque
from typing import Final

from ccwatch.domain.limits import SECOND, SKEW_NS
from ccwatch.domain.liveness import slept_ns, upper_median
from ccwatch.protocol.messages import Flag, Instant

OFFSETS: Final = 32
"""A connection's usual offset is the median of this many last ones, once there are _LEAST of them."""
_LEAST: Final = 5
_HALF_AN_HOUR_NS: Final = 1800 * SECOND
_OUT_OF_ORDER, _SKEW = int(Flag.OUT_OF_ORDER), int(Flag.CLOCK_SKEW)


class StreamClock:
    """The times of one feed's packets. `is_virtual`: stamps that do not keep pace with the wall clock, as at pace "max"."""

    def __init__(self, *, is_virtual: bool = False) -> None:
        self.is_virtual = is_virtual
        self.arrival: Instant | None = None
        """The reading of the clocks at the last packet, on any connection."""
        self.time_ns = 0
        """The last packet's time."""
        self._offsets: deque[int] = deque(maxlen=OFFSETS)
        self._usual_offset_ns = 0  # the median when it was last looked at, which is only where an offset departs from it
        self._highest_ns = 0

    def opened(self) -> None:
        """Begin a connection: its server may be another, with another clock."""
        self._offsets.clear()
        self._highest_ns = 0

    def judge(self, time_ns: int, wall_ns: int | None) -> int:
        """Take a stamp and when it came; return OUT_OF_ORDER and CLOCK_SKEW, by the stamps before it on this connection.

        A message that comes late, because it was missed, has no time of arrival: its age says nothing about the server's clock.
        """
        flags = 0
        if time_ns < self._highest_ns:
            flags = _OUT_OF_ORDER
        else:
            self._highest_ns = time_ns
        if wall_ns is not None and not self.is_virtual and self._is_skewed(wall_ns - time_ns):
            flags |= _SKEW
        return flags

    def choose(self, first: int, second: int, now: Instant) -> int:
        """Return the likelier of the two times that a stamp in the repeated hour may mean.

        The receiver's clock decides if it is within half an hour of one of them; else the order does: the time nearer to the last
        packet's time.
        """
        nearer = min(first, second, key=lambda time_ns: abs(now.wall_ns - time_ns))
        if not self.is_virtual and abs(now.wall_ns - nearer) < _HALF_AN_HOUR_NS:
            return nearer
        if self.arrival is None:
            return first
        return min(first, second, key=lambda time_ns: abs(time_ns - self.time_ns))

    def note(self, time_ns: int, now: Instant) -> None:
        """Take a packet's time."""
        self.time_ns, self.arrival = time_ns, now

    def passed_ns(self, time_ns: int, now: Instant) -> int:
        """Return the ns between the last packet and one of this time that arrives now; 0 before the first."""
        if self.arrival is None:
            return 0
        return time_ns - self.time_ns if self.is_virtual else now.mono_ns - self.arrival.mono_ns

    def at(self, now: Instant) -> int:
        """Return the stream's time in ns: the last packet's plus what has passed since; before the first packet, this machine's."""
        if self.arrival is None:
            return now.wall_ns
        if self.is_virtual:
            return self.time_ns
        return self.time_ns + now.mono_ns - self.arrival.mono_ns + self.asleep_ns(now)

    def asleep_ns(self, now: Instant) -> int:
        """Return how many ns this machine slept since the last packet."""
        if self.arrival is None or self.is_virtual:
            return 0
        return slept_ns(now.wall_ns - self.arrival.wall_ns, now.mono_ns - self.arrival.mono_ns)

    def _is_skewed(self, offset_ns: int) -> bool:
        skewed = False
        if abs(offset_ns - self._usual_offset_ns) > SKEW_NS and len(self._offsets) >= _LEAST:
            self._usual_offset_ns = upper_median(self._offsets)
            skewed = abs(offset_ns - self._usual_offset_ns) > SKEW_NS
        self._offsets.append(offset_ns)
        return skewed
