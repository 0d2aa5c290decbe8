"""Quantiles of a sample with intervals that hold for any distribution. It knows numbers only."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

MAD_TO_SIGMA: Final = 1.482602218505602
"""Median absolute deviation to standard deviation, for normal values: one over their upper quartile."""


class Quantile(NamedTuple):
    """A quantile in the sample's unit, its interval, and why it, or an end of it, is missing (NaN)."""

    value: float
    low: float
    high: float
    reason: str


def least_n(p: float) -> int:
    """Return how many observations the p-quantile needs for one to be expected beyond it on either side: 100 for p99."""
    return math.ceil(round(1.0 / min(p, 1.0 - p), 9))


def quantile(ordered: npt.NDArray[np.float64], p: float, *, level: float = 0.95) -> Quantile:
    """Estimate the p-quantile by type 7 of Hyndman & Fan (1996), with the order statistics that cover it with probability `level`.

    The number of observations below a quantile is binomial, whatever their distribution (David & Nagaraja 2003, section 7.1), so the
    interval runs from the l-th to the u-th smallest. An end for which there is no such order statistic is missing.

    Args:
        ordered: the sample, ascending, nothing missing.
        p: in (0, 1).
        level: probability of the interval.
    """
    n = len(ordered)
    value = float(np.quantile(ordered, p, method="linear")) if n else math.nan
    return by_rank(n, p, lambda rank: float(ordered[rank]), value, level=level)


def by_rank(n: int, p: float, at_rank: Callable[[int], float], value: float, *, level: float = 0.95) -> Quantile:
    """Estimate the p-quantile of a sample known by its order statistics alone, such as a sketch; see `quantile`.

    Args:
        n: observations.
        p: in (0, 1).
        at_rank: the order statistic of a rank, from 0.
        value: the quantile.
        level: probability of the interval.
    """
    if n < least_n(p):
        return Quantile(math.nan, math.nan, math.nan, f"n too small: {n} of {least_n(p)}")
    lower, upper = stats.binom.ppf([(1.0 - level) / 2, (1.0 + level) / 2], n, p)
    low = at_rank(int(lower) - 1) if lower >= 1 else math.nan
    high = at_rank(int(upper)) if upper + 1 <= n else math.nan
    return Quantile(value, low, high, "" if math.isfinite(low) and math.isfinite(high) else f"n too small for the whole interval: {n}")
