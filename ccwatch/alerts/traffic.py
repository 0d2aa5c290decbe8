"""Measures of a stream's traffic: reconnects, messages that could not be read, duplicates, floods, a clock that departs."""

from __future__ import annotations

from typing import Final

import numpy as np

from ccwatch.alerts.observations import SECOND, Bools, Floats, Ints
from ccwatch.domain.limits import BURST_NS
from ccwatch.protocol.messages import UNCLEAN, Flag

WINDOW_S: Final = 300.0
"""Reconnects and malformed messages are counted over so many seconds."""
DUPLICATES_S: Final = 60.0
RATE_S: Final = 10.0
"""The current rate is that of the last so many seconds, compared with that of the window before them."""
RATE_LEAST_N: Final = 30
"""Packets of that window needed for a usual rate."""


class Traffic:
    """The traffic of one stream, carried from batch to batch."""

    def __init__(self) -> None:
        self._times: dict[str, Ints] = {}  # moments that still count, by what happened at them
        self._begun: int | None = None

    def observe(self, at: Ints, flags: Ints, is_first: Bools, malformed: Ints) -> dict[str, Floats]:
        """Return the measures at each packet.

        Args:
            at: when each was received, ns.
            flags: the flags of each.
            is_first: whether it is the first of a connection that followed on another.
            malformed: how many messages before it, and behind the packet before, could not be read.
        """
        self._begun = int(at[0]) if self._begun is None else self._begun
        step = np.diff(at, prepend=at[0] - SECOND)
        doubled = ((flags & int(Flag.REPEAT)) != 0) & (step < BURST_NS)
        clean = (flags & int(UNCLEAN)) == 0
        now = self._count("packets", at[clean], at, RATE_S)
        before = self._count("packets", at[:0], at, WINDOW_S, drop=True) - now
        span = np.minimum(at - self._begun, round(WINDOW_S * SECOND)) / SECOND - RATE_S
        enough = (before >= RATE_LEAST_N) & (span > 0.0)
        usual = np.where(enough, before / np.where(span > 0.0, span, 1.0), np.nan)
        return {
            "reconnects": self._count("reconnects", at[is_first], at, WINDOW_S, drop=True),
            "malformed": self._count("malformed", np.repeat(at, malformed), at, WINDOW_S, drop=True),
            "duplicates": self._count("duplicates", at[doubled], at, DUPLICATES_S, drop=True),
            "rate_usual": now / RATE_S / usual,
            "clock_skew": ((flags & int(Flag.CLOCK_SKEW)) != 0).astype(np.float64),
        }

    def _count(self, what: str, fresh: Ints, at: Ints, seconds: float, *, drop: bool = False) -> Floats:
        """Count how many there were in the seconds up to each packet; `drop` forgets those that no later packet can count."""
        times = np.concatenate((self._times.get(what, at[:0]), fresh))
        since = at - round(seconds * SECOND)
        count = np.searchsorted(times, at, side="right") - np.searchsorted(times, since, side="right")
        self._times[what] = times[np.searchsorted(times, since[-1], side="right") :] if drop else times
        return count.astype(np.float64)
