from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.metrics import brier_score_loss
from statsmodels.stats.proportion import proportion_confint

from ccwatch.analysis import calibrate, signals
from ccwatch.analysis.returns import forward_returns, wilson
from ccwatch.errors import MissingColumns, MixedSymbols, NotEnoughData

JUDGED = st.lists(st.tuples(st.floats(0.0, 1.0), st.booleans()), min_size=1, max_size=60)


@pytest.mark.slow
@given(JUDGED, st.integers(1, 20))
@settings(max_examples=150, deadline=None)
def test_murphys_decomposition_adds_up(pairs, bins):
    p, y = np.array([p for p, _ in pairs]), np.array([y for _, y in pairs])
    found = calibrate(p, y, bins=bins)
    parts = found.reliability - found.resolution + found.uncertainty + found.within_variance - found.within_covariance
    assert parts == pytest.approx(found.brier, abs=1e-12)
    assert found.bins["n"].sum() == len(pairs)


@given(st.lists(st.tuples(st.sampled_from([0.05, 0.25, 0.85]), st.booleans()), min_size=1, max_size=60))
@settings(max_examples=50, deadline=None)
def test_with_one_probability_per_bin_murphys_three_terms_are_all(pairs):
    found = calibrate([p for p, _ in pairs], [y for _, y in pairs])
    assert found.within_variance == pytest.approx(0.0, abs=1e-15)
    assert found.within_covariance == pytest.approx(0.0, abs=1e-15)


def test_the_brier_score_is_that_of_scikit_learn():
    rng = np.random.default_rng(3)
    p = rng.uniform(size=500)
    y = rng.uniform(size=500) < p
    assert calibrate(p, y).brier == pytest.approx(brier_score_loss(y, p), abs=1e-9)


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (3, 10), (50, 100), (999, 1000)])
def test_wilsons_interval_is_that_of_statsmodels(hits, n):
    assert wilson(hits, n) == pytest.approx(proportion_confint(hits, n, method="wilson"), abs=1e-9)


def test_without_a_trial_there_is_no_interval_and_no_score():
    assert np.isnan(wilson(0, 0)).all()
    assert np.isnan(calibrate([], []).brier)


def test_a_return_goes_from_the_next_packet_to_the_first_one_at_the_horizon():
    times = np.array([0, 1, 2, 5, 9], dtype=np.int64) * 10**9
    price = np.array([10.0, 20.0, 30.0, 50.0, 90.0])
    found = forward_returns(times, price, np.zeros(5, dtype=bool), np.array([0, 1, 3, 4]), 3.0)
    np.testing.assert_allclose(found, [50 / 20 - 1, 50 / 30 - 1, np.nan, np.nan])


def test_no_return_reaches_across_a_gap():
    times = np.arange(6, dtype=np.int64) * 10**9
    broken = np.array([False, False, False, True, False, False])
    found = forward_returns(times, np.arange(1.0, 7.0), broken, np.arange(5), 1.0)
    assert np.isfinite(found).tolist() == [True, False, False, True, False]


def test_an_event_is_a_change_of_side_not_a_packet(rows):
    side = ["FLAT", "BUY", "BUY", "BUY", "SELL", "SELL", "FLAT", "FLAT", "FLAT", "FLAT"]
    price = [10.0, 10.0, 11.0, 12.0, 13.0, 14.0, 13.0, 12.0, 11.0, 10.0]
    found = signals(rows(side=side, price=price), horizons_s=(2.0,), calibrated_at_s=2.0)
    assert found.changes["side"].tolist() == ["BUY", "SELL", "FLAT"]
    assert found.changes["before"].tolist() == ["FLAT", "BUY", "SELL"]
    assert found.changes["price"].tolist() == [11.0, 14.0, 12.0]
    np.testing.assert_allclose(found.changes["return_2s"], [13 / 11 - 1, -(12 / 14 - 1), np.nan])
    table = found.to_frame().set_index("side")
    assert table.loc["all", "n"] == 2
    assert table.loc["all", "hit_rate"] == 1.0
    assert found.basis.n == 2


def test_a_first_side_and_one_after_a_gap_are_no_changes(rows):
    found = signals(rows(side=["BUY"] * 4 + ["SELL"] * 3, price=[1.0] * 7, times=[0, 1, 2, 3, 90, 91, 92]))
    assert len(found.changes) == 0
    assert found.to_frame()["n"].eq(0).all()
    assert found.to_frame()["hit_rate"].isna().all()
    found.figure()
    found.headline()


def test_horizons_that_the_stream_does_not_reach_are_missing_and_counted(stream):
    source = stream("calm", count=300)
    table = signals(source.frame(clean=False), source.events()).to_frame()
    late = table[table["horizon_s"] == 900.0]
    assert late["n"].eq(0).all()
    assert late["mean_return"].isna().all()
    assert late["n_missing"].gt(0).any()


def test_the_changes_are_those_that_the_engine_logged(stream):
    source = stream("calm", count=400, seed=3)
    found = signals(source.frame(clean=False), source.events())
    logs = source.logs()
    heard = logs[logs["message"].str.startswith("Signal:")]
    sides = heard["message"].str.extract(r"Signal: (\w+)", expand=False)
    changed = sides[sides.ne(sides.shift(fill_value="FLAT"))]
    assert found.changes["side"].tolist() == changed.tolist()
    assert found.changes["time"].tolist() == changed.index.tolist()


def test_scaling_the_prices_changes_no_return(stream):
    frame = stream("calm", count=300).frame(clean=False)
    plain, scaled = signals(frame).changes, signals(frame.assign(price=frame["price"] * 4.0)).changes
    np.testing.assert_array_equal(plain.filter(like="return").to_numpy(), scaled.filter(like="return").to_numpy())


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ({"side": [], "price": []}, NotEnoughData),
        ({"side": ["BUY"], "price": [1.0]}, NotEnoughData),
        ({"side": ["BUY", "SELL"]}, MissingColumns),
        ({"price": [1.0, 2.0]}, MissingColumns),
        ({"side": ["BUY", "SELL"], "price": [0.0, 0.0]}, MissingColumns),
        ({"side": ["BUY", "SELL"], "price": [-2.0, -1.0]}, NotEnoughData),  # a price, but no return can be told of it
        ({"side": ["BUY", "SELL"], "price": [1.0, 2.0], "symbol": ["SPY", "QQQ"]}, MixedSymbols),
    ],
)
def test_what_cannot_be_answered_says_why(rows, columns, error):
    with pytest.raises(error):
        signals(rows(**columns))


def test_a_stream_that_never_trades_has_no_signal_and_no_score(rows):
    found = signals(rows(side=["FLAT", "FLAT"], price=[1.0, 2.0]))
    assert found.basis.n == 0
    assert np.isnan(found.calibration.brier)
    assert found.to_frame()["hit_rate"].isna().all()
    found.headline()
