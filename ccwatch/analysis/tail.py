"""The tail index of a sample: Hill's estimator with its exact interval. It knows no stream."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from ccwatch.errors import NotEnoughData


@dataclass(frozen=True, slots=True)
class TailIndex:
    """A tail index without unit, and the interval that covers it with probability `level` where the tail is Pareto's.

    Attributes:
        alpha: the estimate.
        low: lower end of the interval.
        high: upper end.
        k: how many of the largest values it is made from.
        n: values of the sample that are above zero.
        threshold: the (k+1)-th largest value, in the sample's unit.
        level: probability of the interval.
    """

    alpha: float
    low: float
    high: float
    k: int
    n: int
    threshold: float
    level: float


def hill(sample: npt.ArrayLike, k: int, *, level: float = 0.95) -> TailIndex:
    """Estimate the tail index from the k largest values by Hill's estimator.

    alpha = k / Σ ln(X_(i) / X_(k+1)), i = 1 … k (Hill 1975). For a Pareto tail 2kα/alpha follows χ² with 2k degrees of freedom, which
    gives the interval exactly, whatever k.

    Args:
        sample: values in any unit; missing and infinite ones, and those not above zero, are left out (give |returns| for both tails).
        k: how many of the largest values to use, from 1 to n - 1.
        level: probability of the interval, in (0, 1).

    Raises:
        ValueError: a k below 1, or a level outside (0, 1).
        NotEnoughData: fewer than k + 1 values above zero, or the k + 1 largest are all equal.
    """
    if isinstance(k, bool) or int(k) != k or k < 1:
        raise ValueError(f"k={k!r}: expected a whole number from 1")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level={level!r}: expected a probability between 0 and 1")
    k = int(k)
    values = np.asarray(sample, dtype=np.float64).ravel()
    values = values[np.isfinite(values) & (values > 0.0)]
    if len(values) < k + 1:
        raise NotEnoughData(f"hill needs at least k + 1 = {k + 1} values above zero; there are {len(values)}")
    top = np.sort(np.partition(values, len(values) - k - 1)[len(values) - k - 1 :])
    total = float(np.sum(np.log(top[1:]) - math.log(top[0])))
    if total <= 0.0:
        raise NotEnoughData(f"hill: the {k + 1} largest values are all {top[0]:g}, which says nothing about a tail")
    alpha = k / total
    low, high = alpha * stats.chi2.ppf([(1 - level) / 2, (1 + level) / 2], 2 * k) / (2 * k)
    return TailIndex(alpha, float(low), float(high), k, len(values), float(top[0]), level)
