"""Intervals of sums contain the truth as often as they say, or nearly; the whole table is made by `python -m tests.analysis.coverage`."""

from __future__ import annotations

import numpy as np
import pytest

from ccwatch.analysis.bootstrap import block_means, interval_of_sum
from tests.analysis.coverage import SUMS, ar1


@pytest.mark.parametrize(
    ("name", "n", "least"),
    [("normal", 40, 0.93), ("lognormal, skewed", 20, 0.89), ("autocorrelated, 0.5", 20, 0.89), ("autocorrelated, 0.5", 100, 0.91)],
)
def test_the_interval_of_a_sum_contains_the_truth_as_often_as_it_says(name, n, least):
    draw, mean = next((draw, mean) for known, draw, mean in SUMS if known == name)
    hits = 0
    for seed in range(150):
        low, high = interval_of_sum(draw(np.random.default_rng([seed, n]), n), level=0.95, replicates=300, seed=seed)
        assert low <= high
        hits += low <= n * mean <= high
    assert hits / 150 >= least


def test_correlated_neighbours_make_the_interval_wider():
    values = ar1(np.random.default_rng(1), 400)
    shuffled = np.random.default_rng(2).permutation(values)
    widths = [np.diff(interval_of_sum(each, level=0.95, replicates=1000))[0] for each in (values, shuffled)]
    assert widths[0] > 1.3 * widths[1]


def test_a_sample_of_blocks_has_the_series_own_mean_on_average():
    values = np.arange(50.0)
    (means,) = block_means(values, 50, 4000, np.random.default_rng(0), 5)
    assert means.mean() == pytest.approx(values.mean(), abs=0.2)
