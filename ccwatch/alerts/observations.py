"""Series of observations, one per measure, and the exact arithmetic over a stretch of one. It knows no stream and no rule."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.indexers import BaseIndexer

SECOND: Final = 1_000_000_000
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Key = tuple[str, str]
"""Measure and subject: the service that it is of, else empty."""
_SCALE: Final = 200
_MOST: Final = 1e200
"""Values beyond it are not measurements; below it a value times 2^200 is a finite float."""
_TOGETHER: Final = 64
"""Quantiles are taken of so many stretches at a time: they share most of their values."""


class Observations(NamedTuple):
    """Observations of one measure, in order.

    `order` numbers the packets of the stream: 2n for what packet n carries, 2n - 1 for those from the silence before it. `moment` is on
    the clock that durations are measured by (ns), `time` on the stream's own (ns since 1970), `value` finite.
    """

    order: Ints
    moment: Ints
    time: Ints
    value: Floats

    def where(self, kept: Bools) -> Observations:
        """Return the observations where `kept`."""
        return self if kept.all() else Observations(self.order[kept], self.moment[kept], self.time[kept], self.value[kept])

    def since(self, row: int) -> Observations:
        """Return the observations from one on."""
        return Observations(self.order[row:], self.moment[row:], self.time[row:], self.value[row:])


def none() -> Observations:
    """Return a series without observations."""
    whole = np.zeros(0, dtype=np.int64)
    return Observations(whole, whole, whole, np.zeros(0))


def joined(one: Observations, two: Observations) -> Observations:
    """Return two series one after the other."""
    if not len(one.value):
        return two
    parts = [np.concatenate(pair) for pair in zip(one, two, strict=True)]
    return Observations(parts[0], parts[1], parts[2], parts[3])


def upto(seen: Observations, order: Ints, moment: Ints) -> Ints:
    """Return, for each point of a grid, how many observations there were by then."""
    keys = np.concatenate((seen.order, order))
    moments = np.concatenate((seen.moment, moment))
    is_point = np.concatenate((np.zeros(len(seen.order), dtype=np.int64), np.ones(len(order), dtype=np.int64)))
    rows = np.lexsort((is_point, moments, keys))
    counted = np.cumsum(1 - is_point[rows])
    return np.asarray(counted[is_point[rows] == 1])


class Stretches(BaseIndexer):
    """Windows by their first and last row, for pandas' rolling."""

    def __init__(self, first: Ints, end: Ints) -> None:
        super().__init__()
        self._first, self._end = first, end

    def get_window_bounds(
        self,
        num_values: int = 0,  # noqa: ARG002 - pandas' own signature, which it insists on
        min_periods: int | None = None,  # noqa: ARG002 - the same
        center: bool | None = None,  # noqa: ARG002 - the same
        closed: str | None = None,  # noqa: ARG002 - the same
        step: int | None = None,  # noqa: ARG002 - the same
    ) -> tuple[Ints, Ints]:
        """Return the first row of each window, and the row after its last."""
        return self._first, self._end


class Sums(NamedTuple):
    """Exact sums of a series' values and of their squares, from its beginning to before each row, and to after the last one.

    They are of whole numbers (values times 2^200), so that they do not depend on where a stream is cut into batches; each batch adds to
    them, so that its cost does not depend on how long a stretch is. Arrays of Python's integers, one longer than the series; the squares
    are empty where no spread is asked for.
    """

    totals: Any
    squares: Any

    @classmethod
    def of(cls, function: str) -> Sums | None:
        """Return the sums of no value that a function over a stretch needs; None where it needs none."""
        if function not in {"mean", "std"}:
            return None
        zero = np.array([0], dtype=object)
        return cls(zero, zero if function == "std" else zero[:0])

    def extended(self, values: Floats) -> Sums:
        """Return the sums with further values."""
        whole = [int(math.ldexp(value, _SCALE)) if abs(value) < _MOST else 0 for value in values.tolist()]
        return Sums(_added(self.totals, whole), _added(self.squares, [value * value for value in whole]))

    def since(self, row: int) -> Sums:
        """Return the sums of the rows from one on."""
        return Sums(self.totals[row:], self.squares[row:])


def _added(sums: Any, values: list[int]) -> Any:
    return np.append(sums, np.array([*accumulate(values, initial=sums[-1])][1:], dtype=object)) if len(sums) and values else sums


def over(function: str, seen: Observations, first: Ints, end: Ints, sums: Sums | None = None) -> Floats:
    """Apply a function to the observations first[i] to end[i] - 1, for each i; NaN where there are too few.

    Args:
        function: a name out of `grammar.WINDOWED`.
        seen: the observations.
        first: the first one of each stretch.
        end: the one after its last.
        sums: of the observations, for "mean" and "std".
    """
    count = end - first
    found = np.full(len(first), np.nan)
    some = count >= (2 if function in {"std", "change", "rate"} else 1)
    if function == "count":
        return count.astype(np.float64)
    if function in {"min", "max"}:
        return _extreme(function, seen.value, first, end)
    if function in {"change", "rate"}:
        a, b = first[some], end[some] - 1
        step = seen.value[b] - seen.value[a]
        if function == "rate":
            passed = (seen.moment[b] - seen.moment[a]) / SECOND
            with np.errstate(divide="ignore", invalid="ignore"):
                step = np.where(passed > 0.0, step / passed, np.nan)
        found[some] = step
        return found
    if sums is None:
        raise TypeError(f"{function} needs sums")
    for at in np.flatnonzero(some).tolist():
        low, high = int(first[at]), int(end[at])
        n, total = high - low, sums.totals[high] - sums.totals[low]
        if function == "mean":
            found[at] = total / (n << _SCALE)
        else:
            spread = n * (sums.squares[high] - sums.squares[low]) - total * total  # n² times the variance, exact
            found[at] = math.sqrt(spread / (n * (n - 1) << (2 * _SCALE)))
    return found


def _extreme(function: str, values: Floats, first: Ints, end: Ints) -> Floats:
    """Return the least or the largest value of each stretch; NaN of one without a value."""
    if not len(first):
        return np.zeros(0)
    low, high = int(first.max()), int(end.min())
    if low < high:  # all have a part in common, as where a batch is short beside the stretch
        pick = np.minimum if function == "min" else np.maximum
        start = int(first.min())
        before = np.append(pick.accumulate(values[start:low][::-1])[::-1], values[low])
        after = np.append(values[low], pick.accumulate(values[high : int(end.max())]))
        common = pick.reduce(values[low:high])
        return np.asarray(pick(pick(before[first - start], common), after[end - high]))
    return _rolling_extreme(function, values, first, end)


def _rolling_extreme(function: str, values: Floats, first: Ints, end: Ints) -> Floats:
    size = max(len(first), len(values))  # pandas wants a window for each row
    rows = pd.Series(np.concatenate((values, np.full(size - len(values), np.nan))))
    low = np.concatenate((first, np.full(size - len(first), first[-1], dtype=np.int64)))
    high = np.concatenate((end, np.full(size - len(end), end[-1], dtype=np.int64)))
    rolling = rows.rolling(Stretches(low, high), min_periods=1)
    return np.asarray((rolling.min() if function == "min" else rolling.max()).to_numpy()[: len(first)])


def quantiles(values: Floats, first: Ints, end: Ints, p: float, least: int) -> Floats:
    """Return a quantile of the values first[i] to end[i] - 1, for each i; NaN of a stretch with fewer than `least`.

    Linear between the order statistics (Hyndman and Fan's type 7), so that it does not depend on the cut into batches. The values that
    neighbouring stretches share are selected from once, by rank: a long stretch costs little more than a short one.

    Args:
        values: float64, finite.
        first: the first one of each stretch; it never falls.
        end: the one after its last; it never falls.
        p: between 0 and 1.
        least: number of values, at least 1.
    """
    found = np.full(len(first), np.nan)
    known = np.flatnonzero(end - first >= least)
    for at in range(0, len(known), _TOGETHER):
        rows = known[at : at + _TOGETHER]
        found[rows] = _quantiles_of_neighbours(values, first[rows], end[rows], p)
    return found


def _quantiles_of_neighbours(values: Floats, first: Ints, end: Ints, p: float) -> Floats:
    place = p * (end - first - 1)
    below = place.astype(np.int64)
    above = np.minimum(below + 1, end - first - 1)
    low, high = int(first[-1]), int(end[0])  # the part that all stretches have in common
    if low >= high:
        low = high = int(first[0])
    start, stop = int(first[0]), int(end[-1])
    own = np.concatenate((values[start:low], values[high:stop]))  # of some of them; the rest, in the sort, comes last
    index = np.concatenate((np.arange(start, low), np.arange(high, stop)))
    spread = np.where((index >= first[:, None]) & (index < end[:, None]), own, np.inf)
    common = values[low:high]
    skipped = 0
    if len(common) > 0:
        # A value's rank among the common ones is at most the count of the stretch's others below its rank among all.
        skipped = min(max(0, int((below - (end - first - len(common))).min())), len(common) - 1)
        last = min(int(above.max()), len(common) - 1)
        common = np.partition(common, (skipped, last))[skipped : last + 1]
    ordered = np.sort(np.concatenate((np.broadcast_to(common, (len(first), len(common))), spread), axis=1), axis=1)
    row = np.arange(len(first))
    lower, upper = ordered[row, below - skipped], ordered[row, above - skipped]
    return np.asarray(lower + (upper - lower) * (place - below))
