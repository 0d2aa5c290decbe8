"""The running peak, the depth to the cent, and episodes."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, strategies as st

from ccwatch.domain.drawdown import (
    NO_PEAK,
    episodes,
    fall,
    from_capital,
    next_peak,
    running_peak,
    starting_capital,
    under_water,
    worst_drawdown,
)
from ccwatch.domain.limits import DRAWDOWN_HALTS, DRAWDOWN_WARNS, LARGEST_AMOUNT


def test_a_fall_of_exactly_a_limit_meets_it_for_every_whole_cent_peak() -> None:
    """Of all peaks from 1 to 200,000 cents that a limit falls to a whole cent from; division of the floats misses many."""
    missed = 0
    for limit, per_mille in ((DRAWDOWN_HALTS, 980), (DRAWDOWN_WARNS, 985)):
        cents = np.arange(1, 200_001) * 200
        fallen = cents * per_mille // 1000
        assert (fallen * 1000 == cents * per_mille).all()
        nav, peak = fallen / 100, cents / 100
        assert (fall(nav, peak) == limit).all()
        assert (fall((fallen + 1) / 100, peak) > limit).all()
        assert (fall((fallen - 1) / 100, peak) < limit).all()
        missed += int((nav / peak - 1.0 > limit).sum())
    assert missed > 50_000  # what the plain quotient misses: the fault is real


@pytest.mark.slow
@given(st.integers(1, 10**13), st.integers(0, 10**13))
def test_the_depth_is_the_exact_quotient_rounded_once(peak: int, value: int) -> None:
    """Against decimals, for whole cents."""
    exact = (Decimal(value) - Decimal(peak)) / Decimal(peak)
    assert fall(value / 100, peak / 100) == pytest.approx(float(exact), rel=1e-15, abs=0)


def test_noise_of_a_float_sum_is_no_drawdown() -> None:
    """100 shares at 980.10 and cash are 98,010.00 whatever float64 makes of the sum."""
    noisy = 0.1 + 0.2
    assert noisy != 0.3
    assert fall(noisy, 0.3) == 0.0
    assert fall(98_000.000_000_000_01, 100_000.0) == -0.02


def test_what_has_no_peak_above_zero_has_no_drawdown() -> None:
    """Zero, a debt, a missing value, and what no amount can be."""
    for undefined in (0.0, -0.0, -5.0, np.nan, np.inf, 1e308, 1.2e19):
        assert np.isnan(fall(1.0, undefined))
    peak, depth = under_water([np.nan, -5.0, 0.0, 100.0, np.nan, 98.0, -20.0])
    np.testing.assert_array_equal(peak, [np.nan, -5.0, 0.0, 100.0, 100.0, 100.0, 100.0])
    np.testing.assert_allclose(depth, [np.nan, np.nan, np.nan, 0.0, np.nan, -0.02, -1.2])


def test_a_nav_beyond_every_amount_is_no_peak() -> None:
    """One corrupt value must not put the whole rest under water, nor warn."""
    values = [100.0, 1e308, 1.2e19, -1e308, 5e-324, 99.0, np.inf]
    with np.errstate(all="raise"):
        peak, depth = under_water(values)
    assert np.fmax.reduce(peak) == 100.0
    assert depth[5] == -0.01
    assert depth[4] == -1.0
    assert np.isnan(depth[[1, 2, 3, 6]]).all()
    assert LARGEST_AMOUNT > 9e13


@pytest.mark.slow
@given(st.lists(st.one_of(st.integers(-100, 100_000), st.none()), max_size=40), st.integers(0, 40))
def test_the_cut_into_batches_does_not_matter(cents: list[int | None], cut: int) -> None:
    """A batch judged by the peak before it gives what the whole gives."""
    values = np.array([np.nan if value is None else value / 100 for value in cents], dtype=np.float64)
    whole_peak, whole = under_water(values)
    first_peak, first = under_water(values[:cut])
    rest_peak, rest = under_water(values[cut:], next_peak(first_peak))
    np.testing.assert_array_equal(np.concatenate((first, rest)), whole)
    np.testing.assert_array_equal(next_peak(rest_peak, next_peak(first_peak)), next_peak(whole_peak))


def test_next_peak_of_nothing_is_the_one_before() -> None:
    """Also where nothing was known yet."""
    assert next_peak(np.zeros(0)) == NO_PEAK
    assert next_peak(np.array([np.nan]), 7.0) == 7.0
    assert running_peak([np.nan, 1.0], 3.0).tolist()[1] == 3.0


def test_episodes_are_the_maximal_runs_under_water() -> None:
    """Indices of peak, start, first of the lowest, and recovery."""
    values = np.array([10.0, 10.0, 9.0, 8.0, 8.0, 10.0, 12.0, 11.0])
    found = episodes(under_water(values)[1], values)
    assert [part.tolist() for part in found] == [[1, 6], [2, 7], [3, 7], [5, 8]]
    assert not len(episodes(np.zeros(3), np.ones(3)).start)


def test_the_starting_capital_is_the_nav_before_the_days_result() -> None:
    """Of the first packet that carries a nav."""
    assert starting_capital([np.nan, 80.0, 70.0], [5.0, -20.0, -30.0]) == 100.0
    assert starting_capital([80.0], [np.nan]) == 80.0
    assert np.isnan(starting_capital([np.nan], [1.0]))
    assert from_capital([98.0, 103.0], 100.0).tolist() == [-0.02, 0.0]
    assert np.isnan(from_capital([98.0], 0.0)).all()


def test_the_worst_drawdown_is_missing_where_there_is_no_peak() -> None:
    """0 where the value never fell."""
    assert worst_drawdown([100.0, 98.0, 99.0]) == -0.02
    assert worst_drawdown([1.0, 2.0]) == 0.0
    assert np.isnan(worst_drawdown([]))
    assert np.isnan(worst_drawdown([-3.0, np.nan]))
