from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ccwatch.analysis import hill
from ccwatch.errors import NotEnoughData


def pareto(alpha, count, seed):
    return np.random.default_rng(seed).pareto(alpha, count) + 1.0


def test_k_alpha_over_the_estimate_follows_the_gamma_law():
    k, alpha = 50, 1.7
    scaled = [k * alpha / hill(pareto(alpha, 500, seed), k).alpha for seed in range(400)]
    assert stats.kstest(scaled, stats.gamma(k).cdf).pvalue > 0.01
    # the test can fail: another law is refused
    assert stats.kstest(scaled, stats.gamma(k + 4).cdf).pvalue < 1e-4


def test_the_interval_covers_as_often_as_it_says():
    covered = [found.low <= 2.5 <= found.high for found in (hill(pareto(2.5, 200, seed), 30, level=0.9) for seed in range(600))]
    assert 0.86 < np.mean(covered) < 0.94


def test_the_interval_is_the_chi_square_one():
    found = hill(pareto(1.5, 1000, 3), 80)
    low, high = stats.chi2.ppf([0.025, 0.975], 160) * found.alpha / 160
    assert (found.low, found.high) == (pytest.approx(low, rel=1e-12), pytest.approx(high, rel=1e-12))


def test_the_estimate_is_the_maximum_likelihood_of_scipys_pareto():
    sample, k = pareto(2.2, 800, 9), 100
    found = hill(sample, k)
    fitted, _, _ = stats.pareto.fit(np.sort(sample)[-k:], floc=0.0, fscale=found.threshold)
    assert found.alpha == pytest.approx(fitted, rel=1e-9)


def test_a_closed_form():
    found = hill([1.0, np.e, np.e**2], 2)
    assert found.alpha == pytest.approx(2.0 / 3.0, abs=1e-15)
    assert found.threshold == 1.0
    assert hill([8.0, 2.0], 1).alpha == pytest.approx(1.0 / np.log(4.0))


def test_scale_and_order_do_not_matter():
    sample = pareto(1.8, 300, 1)
    assert hill(sample * 1000.0, 40).alpha == pytest.approx(hill(sample, 40).alpha, rel=1e-12)
    assert hill(sample[::-1], 40) == hill(sample, 40)


def test_missing_infinite_and_non_positive_values_are_left_out():
    assert hill([4.0, np.nan, 2.0, -7.0, 0.0, np.inf, 8.0], 2) == hill([4.0, 2.0, 8.0], 2)


@pytest.mark.parametrize(("sample", "k"), [([], 1), ([1.0], 1), ([3.0, 3.0, 3.0], 2), ([1.0, 2.0], 2), ([-1.0, -2.0], 1)])
def test_too_little_says_so(sample, k):
    with pytest.raises(NotEnoughData):
        hill(sample, k)


@pytest.mark.parametrize("k", [0, -1, 1.5, True])
def test_a_k_that_is_no_count_is_refused(k):
    with pytest.raises(ValueError, match="k="):
        hill([1.0, 2.0, 3.0], k)
