"""The circular block bootstrap (Politis & Romano 1992) of sums and means: correlated neighbours stay together. It knows no stream."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from scipy import stats

from ccwatch.analysis.sample import Floats

LEAST_N: Final = 20
"""Values that a block length needs."""
CHUNK: Final = 4_000_000
"""Values that are drawn at once."""


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
        for told, passed in zip(found, sums, strict=True):
            told.append((passed[begins + lengths] - passed[begins]).sum(axis=1) / n)
    return [np.concatenate(told) for told in found]


def interval_of_sum(values: Floats, *, level: float, replicates: int, seed: int = 0) -> tuple[float, float]:
    """Return the interval of the expected sum of a series, by its percentiles, wider by what a small number of blocks takes from them.

    Percentiles of a bootstrap over few blocks are too narrow, as a normal law is where Student's holds: the width is multiplied by the
    ratio of the two laws' quantiles and by √(m/(m - 1)) for m blocks.

    Args:
        values: at least 20, nothing missing.
        level: probability of the interval.
        replicates: bootstrap samples.
        seed: of the drawing.
    """
    n = len(values)
    block = block_length(values)
    blocks = max(3, -(-n // block))
    drawn = n * block_means(values, n, replicates, np.random.default_rng(seed), block)[0]
    middle = float(values.sum())
    low, high = np.quantile(drawn, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    p = (1.0 + level) / 2.0
    wider = float(stats.t.ppf(p, blocks - 1) / stats.norm.ppf(p)) * math.sqrt(blocks / (blocks - 1.0))
    return middle + wider * (float(low) - middle), middle + wider * (float(high) - middle)
