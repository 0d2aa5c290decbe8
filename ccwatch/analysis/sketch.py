"""A sketch of positive numbers that merges: quantiles across sessions with a stated error. It knows numbers only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

ERROR: Final = 0.01
"""Relative error of a quantile."""


@dataclass(frozen=True, eq=False, slots=True)
class Sketch:
    """Counts in buckets whose bounds grow by (1 + error)/(1 - error): DDSketch (Masson, Rim & Lee 2019), without a limit of buckets.

    Percentiles of two sessions must never be averaged; their sketches add up, in any order, to the sketch of all their calls.

    Attributes:
        first: index of the first bucket: bucket i holds what lies in (γ^(i-1), γ^i].
        counts: values per bucket, from the first one on.
        zeros: values that are 0.
        error: a quantile is off by at most this fraction of it.
    """

    first: int
    counts: npt.NDArray[np.int64]
    zeros: int
    error: float

    @classmethod
    def of(cls, values: npt.ArrayLike, *, error: float = ERROR) -> Sketch:
        """Return the sketch of values ≥ 0; missing and infinite ones are left out.

        Raises:
            ValueError: a value below zero, or an error outside (0, 1).
        """
        if not 0.0 < error < 1.0:
            raise ValueError(f"error={error!r}: expected a fraction between 0 and 1")
        numbers = np.asarray(values, dtype=np.float64).ravel()
        numbers = numbers[np.isfinite(numbers)]
        if (numbers < 0.0).any():
            raise ValueError(f"expected values from 0, got {numbers.min():g}")
        above = numbers[numbers > 0.0]
        if not len(above):
            return cls(0, np.zeros(0, dtype=np.int64), len(numbers), error)
        places = np.ceil(np.log(above) / _step(error)).astype(np.int64)
        first = int(places.min())
        return cls(first, np.bincount(places - first).astype(np.int64), len(numbers) - len(above), error)

    @property
    def n(self) -> int:
        """Return the number of values that it was made from."""
        return self.zeros + int(self.counts.sum())

    def merge(self, other: Sketch) -> Sketch:
        """Return the sketch of the values of both.

        Raises:
            ValueError: sketches of different errors.
        """
        if self.error != other.error:
            raise ValueError(f"sketches of errors {self.error:g} and {other.error:g} do not merge; make both with the same one")
        parts = [sketch for sketch in (self, other) if len(sketch.counts)]
        first = min((sketch.first for sketch in parts), default=0)
        counts = np.zeros(max((sketch.first + len(sketch.counts) for sketch in parts), default=0) - first, dtype=np.int64)
        for sketch in parts:
            counts[sketch.first - first : sketch.first - first + len(sketch.counts)] += sketch.counts
        return Sketch(first, counts, self.zeros + other.zeros, self.error)

    def quantile(self, p: float) -> float:
        """Return the p-quantile, within `error` of the order statistic of rank ⌊p(n - 1)⌋ (from 0); NaN without values.

        Raises:
            ValueError: a p outside [0, 1].
        """
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"p={p!r}: expected a fraction from 0 to 1")
        if not self.n:
            return math.nan
        return self.at_rank(math.floor(p * (self.n - 1)))

    def at_rank(self, rank: int) -> float:
        """Return the order statistic of a rank (from 0), within `error` of itself."""
        if rank < self.zeros:
            return 0.0
        place = int(np.searchsorted(np.cumsum(self.counts), rank - self.zeros, side="right"))
        return math.exp(_step(self.error) * (self.first + place)) * (1.0 - self.error)  # 2 γ^i / (γ + 1)


def _step(error: float) -> float:
    """Return ln γ, the width of a bucket."""
    return math.log((1.0 + error) / (1.0 - error))
