"""Calls of agents and models that servers list again and again: each counts once, at its own time, on any connection.

A call is known by its name, its time and its latency, as a multiset, so that two calls that look alike are two. The counts of a name
(`invocations` 1, 2, 3, …, and `success_rate`) run over its calls in the order of their times, as far as they came in that order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from ccwatch.domain.known_items import KnownItems

MOST_NAMES: Final = 10_000
"""Names whose calls are counted; beyond them the one that was silent for the longest is forgotten, and counts from 1 if it comes back."""


class Call(NamedTuple):
    """One call as it was sent: `success` is 1, 0, or NaN where the server does not say; `time_ns` None where it has no time."""

    name: str
    time_ns: int | None
    latency_ms: float
    success: float


class CountedCall(NamedTuple):
    """A new call: its place among those sent, and the counts of its name up to it."""

    place: int
    success_rate: float
    """Successes over calls that say whether they succeeded; NaN where none did."""
    invocations: int


class ServiceCalls:
    """The calls of one kind of service, of one feed across its connections. Used by one thread."""

    def __init__(self) -> None:
        self._known = KnownItems()
        self._counts: dict[str, _Count] = {}  # the name that was silent for the longest first

    def count(self, calls: Sequence[Call]) -> list[CountedCall]:
        """Return the calls of one message that no earlier one carried, in the order of their times; those without one come last."""
        keys = [(call.name, call.time_ns, None if math.isnan(call.latency_ms) else call.latency_ms) for call in calls]
        new = self._known.new_of(keys)
        # Lists are sent newest first: of equal times, the last in the list was made first.
        new.sort(key=lambda place: (calls[place].time_ns is None, calls[place].time_ns or 0, -place))
        return [self._counted(place, calls[place]) for place in new]

    def _counted(self, place: int, call: Call) -> CountedCall:
        counts = self._counts
        found = (counts.pop(call.name, None) or _Count()).and_one(call.success)
        counts[call.name] = found
        if len(counts) > MOST_NAMES:
            del counts[next(iter(counts))]
        return CountedCall(place, found.successes / found.judged if found.judged else math.nan, found.calls)


class _Count(NamedTuple):
    """The calls of one name so far: all, those that say whether they succeeded, and the successes of these."""

    calls: int = 0
    judged: int = 0
    successes: float = 0.0

    def and_one(self, success: float) -> _Count:
        """Return the counts with a call more; a success of NaN is none that says whether it succeeded."""
        if math.isnan(success):
            return _Count(self.calls + 1, self.judged, self.successes)
        return _Count(self.calls + 1, self.judged + 1, self.successes + success)
