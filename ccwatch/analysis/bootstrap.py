"""The circular block bootstrap (Politis & Romano 1992) of sums and means: correlated neighbours stay together. It knows no stream."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from scipy import stats

from ccwatch.analysis.usable_rows import Floats

LEAST_N: Final = 20
"""Values that a block length needs."""
CHUNK: Final = 4_000_000
"""Values that are drawn at once."""
_LEAST_DEGREES: Final = 3.0
_MOST_RHO: Final = 0.95


def block_length(values: Floats) -> int:
    """Return the values per block: n^(1/3) times (1 + ρ)/(1 - ρ) of the lag-1 autocorrelation, at most a tenth of the series."""
    n = len(values)
    if n < LEAST_N:
        return 0
    centred = values - values.mean()
    square = float(np.sum(np.square(centred)))
    rho = min(max(float(np.sum(centred[1:] * centred[:-1])) / square, 0.0), 0.99) if square > 0.0 else 0.0
    wanted: int = math.ceil(float(np.cbrt(n)) * (1.0 + rho) / (1.0 - rho))
    return max(1, min(n // 10, wanted))


def block_means(values: Floats, n: int, replicates: int, rng: np.random.Generator, block: int, *others: Floats) -> list[Floats]:
    """Return the mean of each bootstrap sample of n values, and of other series drawn along; the last block is cut to make n."""
    blocks = -(-n // block)
    lengths = np.append(np.full(blocks - 1, block), n - (blocks - 1) * block)
    sums = [np.concatenate(([0.0], np.cumsum(np.concatenate((series, series[:block]))))) for series in (values, *others)]
    at_once = max(1, CHUNK // blocks)
    found: list[list[Floats]] = [[] for _ in sums]
    for start in range(0, replicates, at_once):
        begins = rng.integers(0, n, size=(min(at_once, replicates - start), blocks))
        for means, passed in zip(found, sums, strict=True):
            means.append((passed[begins + lengths] - passed[begins]).sum(axis=1) / n)
    return [np.concatenate(means) for means in found]


def interval_of_sum(values: Floats, *, level: float, replicates: int, seed: int = 0) -> tuple[float, float]:
    """Return the interval of the expected sum of a series: the hull of two that fail in different places.

    Student's t with a standard error and degrees of freedom for a lag-1 autocorrelation (Bartlett 1935) holds for few values that
    depend on each other; a studentised block bootstrap (Hall 1988) holds for skewed ones.

    Args:
        values: at least 20, nothing missing.
        level: probability of the interval.
        replicates: bootstrap samples.
        seed: of the drawing.
    """
    n, mean = len(values), float(values.mean())
    error, inflation = (float(found[0]) for found in _standard_error(values[None, :]))
    if error == 0.0:
        return n * mean, n * mean
    p = (1.0 + level) / 2.0
    reach = float(stats.t.ppf(p, max(_LEAST_DEGREES, n / inflation - 1.0)))
    rng = np.random.default_rng(seed)
    block = max(1, min(n // 4, math.ceil(float(np.cbrt(n)) * inflation)))
    at_once = max(1, CHUNK // n)
    drawn = np.concatenate([_studentised(values, min(at_once, replicates - start), block, rng) for start in range(0, replicates, at_once)])
    low, high = np.quantile(drawn, [1.0 - p, p])
    return n * (mean - error * max(reach, float(high))), n * (mean + error * max(reach, -float(low)))


def _studentised(values: Floats, replicates: int, block: int, rng: np.random.Generator) -> Floats:
    """Return, per circular block bootstrap sample, how many standard errors of its own its mean lies above the series'."""
    n = len(values)
    begins = rng.integers(0, n, size=(replicates, -(-n // block)))
    rows = ((begins[..., None] + np.arange(block)) % n).reshape(replicates, -1)[:, :n]
    samples = values[rows]
    error, _ = _standard_error(samples)
    known = error > 0.0
    return np.asarray((samples.mean(axis=1) - values.mean())[known] / error[known])


def _standard_error(samples: Floats) -> tuple[Floats, Floats]:
    """Return each row's standard error of the mean, and the factor by which autocorrelation makes its square larger.

    The factor is (1 + ρ)/(1 - ρ) of the lag-1 autocorrelation, corrected for its bias at small n (Kendall 1954); none below 0.
    """
    n = samples.shape[1]
    centred = samples - samples.mean(axis=1, keepdims=True)
    square = np.square(centred).sum(axis=1)
    rho = (centred[:, 1:] * centred[:, :-1]).sum(axis=1) / np.where(square > 0.0, square, 1.0)
    rho = np.clip(rho + (1.0 + 3.0 * rho) / n, 0.0, _MOST_RHO)
    inflation = (1.0 + rho) / (1.0 - rho)
    return np.sqrt(square / (n - 1) / n * inflation), inflation
