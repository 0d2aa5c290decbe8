"""Calls of agents and models that servers list again and again: each counts once, at its own time, on any connection.

A call is known by its name, its time and its latency, as a multiset, so that two calls that look alike are two. The counts of a name
(`invocations` 1, 2, 3, …, and `success_rate`) run over its calls in the order of their times, as far as they came in that order.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from ccwatch.domain.known_items import KnownItems


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
        self._calls: defaultdict[str, int] = defaultdict(int)
        self._judged: defaultdict[str, int] = defaultdict(int)
        self._successes: defaultdict[str, float] = defaultdict(float)

    def count(self, calls: Sequence[Call]) -> list[CountedCall]:
        """Return the calls of one message that no earlier one carried, in the order of their times; those without one come last."""
        keys = [(call.name, call.time_ns, None if math.isnan(call.latency_ms) else call.latency_ms) for call in calls]
        new = self._known.new_of(keys)
        # Lists are sent newest first: of equal times, the last in the list was made first.
        new.sort(key=lambda place: (calls[place].time_ns is None, calls[place].time_ns or 0, -place))
        return [self._counted(place, calls[place]) for place in new]

    def _counted(self, place: int, call: Call) -> CountedCall:
        self._calls[call.name] += 1
        if not math.isnan(call.success):
            self._judged[call.name] += 1
            self._successes[call.name] += call.success
        judged = self._judged[call.name]
        return CountedCall(place, self._successes[call.name] / judged if judged else math.nan, self._calls[call.name])
