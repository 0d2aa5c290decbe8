"""Drawdown: how far a value is below its running peak, and the episodes in which it is. Arrays in, arrays out.

The definition is Magdon-Ismail & Atiya's (2004): with X the value and P its running maximum, D = X/P - 1. It is computed to the cent: a
fall of exactly 2.00 % is the number -0.02, which division of the floats themselves misses in a quarter of all cases. A batch that follows
on others is judged by the peak before it, so the cut of a stream into batches does not matter.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from ccwatch.domain.limits import LARGEST_AMOUNT

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NO_PEAK: Final = -np.inf
"""The peak before the first value."""
_SCALES: Final = (100.0, 1e6)
"""Parts of a dollar that amounts are whole numbers of: cents, else millionths (prices of small coins, averages)."""
_NOISE: Final = 1e-12
"""The fraction by which a sum of cents may miss a whole number of cents in float64."""
_EXACT: Final = 2.0**53


class Episodes(NamedTuple):
    """Maximal runs under water, as indices into the values; one entry per episode."""

    peak: Ints
    """The last sample at the peak."""
    start: Ints
    """The first sample under water."""
    trough: Ints
    """The first of the lowest samples."""
    end: Ints
    """The sample of recovery, at or above the peak; the number of samples while open."""


def fall(value: npt.ArrayLike, peak: npt.ArrayLike) -> Floats:
    """Return value/peak - 1, correctly rounded where both are whole cents (or millionths).

    Both are made whole numbers, whose difference float64 holds exactly, so that one rounding is left, that of the division: a fall of
    exactly 2 % gives the float nearest to -0.02, and a smaller fall gives a greater one.

    Returns:
        Fractions; NaN where a value is missing, where the peak is not above zero (X/P then says nothing), or where one of them is too
        large for float64 to hold to the cent.
    """
    x, p = np.broadcast_arrays(np.asarray(value, dtype=np.float64), np.asarray(peak, dtype=np.float64))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore", under="ignore"):
        defined = (p > 0.0) & (p <= LARGEST_AMOUNT) & (np.abs(x) <= LARGEST_AMOUNT)
        depth = np.where(defined, (x - p) / p, np.nan)
        undone = defined
        for scale in _SCALES:
            if not undone.any():
                break
            wide_x, wide_p = x * scale, p * scale
            whole_x, whole_p = np.rint(wide_x), np.rint(wide_p)
            fits = undone & (np.abs(whole_x) < _EXACT) & (whole_p < _EXACT) & (whole_p > 0.0)
            fits &= (np.abs(wide_x - whole_x) <= _NOISE * np.abs(wide_x)) & (np.abs(wide_p - whole_p) <= _NOISE * wide_p)
            depth = np.where(fits, (whole_x - whole_p) / whole_p, depth)
            undone = undone & ~fits
        return np.where(np.isfinite(depth), depth, np.nan)


def running_peak(values: npt.ArrayLike, before: float = NO_PEAK) -> Floats:
    """Return the greatest value so far, `before` included; missing values, and values that no amount can have, are ignored.

    Returns:
        NaN until there is one.
    """
    found = _amounts(values)
    if not len(found):
        return found
    peak: Floats = np.fmax.accumulate(found)
    return peak if before == NO_PEAK or np.isnan(before) else np.fmax(peak, before)


def under_water(values: npt.ArrayLike, before: float = NO_PEAK) -> tuple[Floats, Floats]:
    """Return the running peak P and the drawdown D = X/P - 1 of each value.

    Args:
        values: X, in order of time.
        before: the peak of the values before these; carry `next_peak` from batch to batch.

    Returns:
        Two arrays of the values' length. D is a fraction ≤ 0; NaN where X is missing or where P is not above zero.
    """
    found = _amounts(values)
    peak = running_peak(found, before)
    return peak, np.minimum(fall(found, peak), 0.0)


def next_peak(peak: Floats, before: float = NO_PEAK) -> float:
    """Return the peak to carry to the next batch, given the running peak of this one."""
    return float(peak[-1]) if len(peak) and np.isfinite(peak[-1]) else before


def from_capital(values: npt.ArrayLike, capital: float) -> Floats:
    """Return how far each value is below a starting capital: fractions ≤ 0; NaN without a capital above zero."""
    return np.minimum(fall(_amounts(values), capital), 0.0)


def starting_capital(nav: npt.ArrayLike, daily_pnl: npt.ArrayLike) -> float:
    """Return the first known nav less the day's profit and loss, in USD; that nav itself if no profit was sent, NaN without a nav."""
    worth, profit = _amounts(nav), _amounts(daily_pnl)
    known = np.flatnonzero(np.isfinite(worth))
    if not len(known):
        return float("nan")
    first = known[0]
    return float(worth[first] - (profit[first] if np.isfinite(profit[first]) else 0.0))


def worst_drawdown(values: npt.ArrayLike) -> float:
    """Return the deepest drawdown, a fraction ≤ 0; NaN where no value was ever above zero."""
    depth = under_water(values)[1]
    return float(np.fmin.reduce(depth)) if len(depth) else float("nan")


def episodes(depth: Floats, values: Floats) -> Episodes:
    """Return the maximal runs of D < 0, as indices.

    Args:
        depth: the drawdown of each value, as `under_water` returns it.
        values: the values, none of which may be missing.
    """
    with np.errstate(invalid="ignore"):
        below = depth < 0.0
    turns = np.flatnonzero(below[1:] != below[:-1]) + 1  # the first value is its own peak, so a run begins, then one ends
    start, end = turns[::2], turns[1::2]
    end = end if len(end) == len(start) else np.append(end, len(values))
    if not len(start):
        return Episodes(start, start, start, end)
    lowest = np.repeat(np.minimum.reduceat(values, turns), np.diff(turns, append=len(values)))  # of each run, below and above in turn
    hits = np.flatnonzero(values[turns[0] :] == lowest) + turns[0]
    return Episodes(start - 1, start, hits[np.searchsorted(hits, start)], end)


def _amounts(values: npt.ArrayLike) -> Floats:
    """Return values as floats, with NaN for those that cannot be amounts: infinite, or too large for float64 to hold to the cent."""
    found = np.asarray(values, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        wrong = np.abs(found) > LARGEST_AMOUNT
    return np.where(wrong, np.nan, found) if wrong.any() else found
