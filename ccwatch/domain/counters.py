"""Counters beside a gauge of the last call: which readings show a new call, and how many calls lie between two. Arrays in, arrays out.

A service's latency is the gauge of its last call, sent again with every packet; its counter of invocations, since the engine's start, says
when there was another one. A stream that sends single calls numbers them from 1, and the same rule reads those.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Readings(NamedTuple):
    """The calls that each reading shows; one entry per reading."""

    is_call: Bools
    """The gauge shows a call that no reading before showed."""
    made: Floats
    """Calls since the reading before; NaN where the counter does not show it."""
    is_reset: Bools
    """The counter fell: the service was started again, and its present count is of calls since then."""


def read(gauge: Floats, count: Floats, *, before: tuple[float, float] | None = None) -> Readings:
    """Return the calls that the readings of one service show, in order of time.

    Args:
        gauge: the gauge of the last call; no entry is missing.
        count: calls since the service's start; NaN where it was not sent, and then a gauge that changed shows a new call.
        before: gauge and counter of the reading before these; None where these are the first. A first reading shows a call of unknown
            age and is left out, unless it is the service's first call ever.
    """
    if not len(gauge):
        return Readings(np.zeros(0, dtype=bool), gauge, np.zeros(0, dtype=bool))
    first = (gauge[0], 0.0 if count[0] == 1.0 else count[0]) if before is None else before
    step = np.diff(count, prepend=first[1])
    counting = np.isfinite(step)
    with np.errstate(invalid="ignore"):
        is_reset: Bools = counting & (step < 0.0)
        made = np.where(is_reset, count, step)
        is_call: Bools = np.where(counting, made > 0.0, np.diff(gauge, prepend=first[0]) != 0.0)
    return Readings(is_call, made, is_reset)


def renumber(seq: Ints, count: Floats, share: Floats) -> tuple[Floats, Floats]:
    """Return counter and share of successes of single calls, counted in the order of their times where some came late.

    A feed counts calls as they come: one that is listed after younger ones has a higher count at an earlier time. Such rows are known by
    counts that rise by exactly 1 in the order of arrival and not in that of time; all others, counters that were reset too, stay.

    Args:
        seq: of the packet that carried each row; rows are of one service, in the order of their times.
        count: calls so far.
        share: of them that succeeded; NaN where that is not known.
    """
    if len(count) < 2 or count.min() < 1.0 or not (np.diff(count) < 0.0).any():
        return count, share
    arrived = np.lexsort((count, seq))
    if not (np.diff(count[arrived]) == 1.0).all():
        return count, share
    counted = count.min() + np.arange(len(count), dtype=np.float64)
    if not np.isfinite(share).all():
        return counted, share
    successes = np.rint(count * share)[arrived]
    own = np.empty(len(count))
    own[arrived] = np.diff(successes, prepend=0.0)
    first = arrived[0]
    own[first] = float(successes[0] >= count[first])  # its share sums up calls of before, too: at most one of them is its own
    return counted, (successes[0] - own[first] + np.cumsum(own)) / counted
