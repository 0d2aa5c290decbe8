from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import linalg
from statsmodels.tsa.statespace.kalman_filter import KalmanFilter

from ccwatch.analysis import Report, kalman
from ccwatch.analysis.kalman import _NOISES, TRANSITION, filtered, gain_of
from ccwatch.errors import MissingColumns, NotEnoughData


@pytest.mark.slow
@given(st.floats(-8.0, 2.0))
@settings(max_examples=25)
def test_the_gain_solves_the_discrete_riccati_equation(log_ratio):
    for noise in ("wiener acceleration", "white jerk", "equal and independent"):
        q = 10.0**log_ratio * _NOISES[noise]
        gain, residual = gain_of(10.0**log_ratio, noise)
        p = linalg.solve_discrete_are(TRANSITION.T, np.array([[1.0], [0.0], [0.0]]), q, np.eye(1))
        np.testing.assert_allclose(gain, p[:, 0] / (p[0, 0] + 1.0), rtol=1e-10)
        assert residual < 1e-12


@given(st.floats(-6.0, 2.0))
@settings(max_examples=25)
def test_the_gain_keeps_kalatas_closed_form_of_the_alpha_beta_gamma_filter(log_ratio):
    # Kalata (1984), Bar-Shalom et al. (2001) section 6.5.3: period 1, q/r is the square of the tracking index
    ratio = 10.0**log_ratio
    (a, b, c), _ = gain_of(ratio)
    assert b == pytest.approx(2.0 * (2.0 - a) - 4.0 * math.sqrt(1.0 - a), rel=1e-5)
    assert c == pytest.approx(b * b / (2.0 * a), rel=1e-5)
    assert c * c / (1.0 - a) == pytest.approx(ratio, rel=1e-4)


@pytest.mark.parametrize("ratio", [4e-4, 0.1, 10.0])
@pytest.mark.parametrize("noise", ["wiener acceleration", "white jerk", "equal and independent"])
def test_the_gain_is_where_the_filter_of_statsmodels_settles(ratio, noise):
    theirs = KalmanFilter(k_endog=1, k_states=3, design=[[1.0, 0.0, 0.0]], transition=TRANSITION, selection=np.eye(3), obs_cov=[[1.0]])
    theirs.state_cov = ratio * _NOISES[noise]
    theirs.bind(np.zeros((3000, 1)))
    theirs.initialize_known(np.zeros(3), np.eye(3))
    theirs.tolerance = 0.0
    settled = np.linalg.solve(TRANSITION, theirs.filter().kalman_gain[:, 0, -1])  # they give the gain of the next prediction
    np.testing.assert_allclose(gain_of(ratio, noise)[0], settled, atol=1e-9)


def test_the_filter_is_its_recursion():
    rng = np.random.default_rng(2)
    price = 50.0 + np.cumsum(rng.normal(size=200))
    gain, _ = gain_of(0.01)
    state, expected = np.array([price[0], 0.0, 0.0]), []
    for measured in price:
        state = TRANSITION @ state
        state = state + gain * (measured - state[0])
        expected.append(state)
    np.testing.assert_allclose(filtered(price, gain, [0, 200]), expected, atol=1e-9)


def test_the_seeded_engines_filter_is_found_with_its_parameters(stream):
    found = Report(stream("calm", count=400)).kalman()
    assert found.verdict == "Kalman velocity"
    assert found.noise == "wiener acceleration"
    assert found.ratio == pytest.approx(2e-5 / 0.05, rel=1e-3)
    assert found.gain_ratio == pytest.approx(found.gain[2] / found.gain[1], rel=1e-4)
    assert found.explained > 0.99999


def test_a_velocity_that_is_no_kalman_velocity_is_called_so(rows):
    rng = np.random.default_rng(5)
    price = 100.0 + np.cumsum(rng.normal(size=400))
    found = kalman(rows(price=price, velocity=np.append(0.0, np.diff(np.log(price)))))
    assert found.verdict == "no Kalman velocity"
    assert "is not" in found.headline()


def test_a_velocity_that_does_not_vary_decides_nothing(rows):
    found = kalman(rows(price=100.0 + np.arange(300.0), velocity=np.zeros(300)))
    assert found.verdict == "undecided"
    assert np.isnan(found.explained)


def test_the_filter_begins_anew_after_a_gap(rows):
    gain, _ = gain_of(4e-4)
    rng = np.random.default_rng(8)
    price = np.append(100.0 + rng.normal(size=300).cumsum(), 900.0 + rng.normal(size=300).cumsum())
    velocity = filtered(price, gain, [0, 300, 600])[:, 1]
    found = kalman(rows(price=price, velocity=velocity, times=[*range(300), *range(900, 1200)]))
    assert found.ratio == pytest.approx(4e-4, rel=1e-3)
    assert found.basis.n == 480


def test_what_is_missing_is_named(rows):
    with pytest.raises(MissingColumns, match="velocity"):
        kalman(rows(price=np.ones(300)))
    with pytest.raises(NotEnoughData):
        kalman(rows(price=np.ones(30), velocity=np.ones(30)))
