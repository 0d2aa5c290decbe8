from __future__ import annotations

import json
import os

import numpy as np
import pytest
from scipy import signal, stats

import ccwatch as cw
from ccwatch.analysis.bootstrap import block_length
from ccwatch.analysis.compare import LONG, _drawn
from ccwatch.errors import NotEnoughData

DRAWINGS = 300 if "CCWATCH_FULL" in os.environ else 120


def ar1(n, rho, seed, mean=0.0):
    rng = np.random.default_rng(seed)
    values = np.zeros(n)
    for i in range(1, n):
        values[i] = rho * values[i - 1] + rng.normal()
    return mean + values


def test_two_halves_of_one_sort_do_not_differ_and_another_level_does(rows):
    a, b, c = (rows(alpha=ar1(800, 0.5, seed, mean)) for seed, mean in ((1, 2.0), (2, 2.0), (3, 4.0)))
    same = cw.compare(a, b).to_frame().set_index("measure").loc["mean alpha"]
    other = cw.compare(a, c).to_frame().set_index("measure").loc["mean alpha"]
    assert not same["differs"]
    assert other["differs"]
    assert 1.7 < other["low"] < other["high"] < 2.6  # how often the truth lies within is the next test's question
    assert other["difference"] == pytest.approx(other["b"] - other["a"])


@pytest.mark.slow
def test_the_intervals_cover_about_as_often_as_they_say(rows):
    missed = 0
    for seed in range(40):
        found = cw.compare(rows(alpha=ar1(400, 0.4, seed)), rows(alpha=ar1(400, 0.4, 1000 + seed)))
        missed += bool(found.to_frame().set_index("measure").loc["mean alpha", "differs"])
    assert missed <= 8  # 2 are expected; without blocks about 8 would be, and more by chance


def steady_ar1(n, rho, seed):
    noise = np.random.default_rng(seed).normal(size=n)
    noise[0] /= np.sqrt(1.0 - rho * rho)
    return signal.lfilter([1.0], [1.0, -rho], noise)


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8])
def test_the_interval_of_a_long_series_quantile_covers_about_as_often_as_it_says(rho):
    # just long enough that the bootstrap goes by shares; over 1,000 seeds 94 to 95 % were covered, at any of these inertias
    truth = stats.norm.ppf(0.95) / np.sqrt(1.0 - rho * rho)
    samples = (_drawn(steady_ar1(LONG + 1, rho, seed), "p95", 300, np.random.default_rng(seed)) for seed in range(DRAWINGS))
    low, high = np.quantile(list(samples), [0.025, 0.975], axis=1)
    assert 0.90 <= np.mean((low <= truth) & (truth <= high)) <= 0.99
    # the test can fail: intervals of two thirds of the width cover too seldom
    assert np.mean(np.abs(truth - (low + high) / 2.0) <= (high - low) / 3.0) < 0.86


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_a_quantile_by_shares_is_near_the_one_by_values_of_the_same_samples(rho):
    values = np.exp(steady_ar1(LONG + 1, rho, 5))
    by_shares = _drawn(values, "p95", 200, np.random.default_rng(1))
    by_values = _drawn(values, "p95", 200, np.random.default_rng(1), long=10 * LONG)  # test_oracles holds this one to arch
    assert np.corrcoef(by_shares, by_values)[0, 1] > 0.97
    assert by_shares.std() / by_values.std() == pytest.approx(1.0, abs=0.08)
    assert by_shares.mean() == pytest.approx(by_values.mean(), abs=0.3 * by_values.std())


def test_blocks_grow_with_inertia():
    assert block_length(ar1(1000, 0.0, 1)) < block_length(ar1(1000, 0.8, 1))
    assert block_length(np.ones(5)) == 0
    assert block_length(np.ones(100)) == 5


@pytest.mark.slow
def test_the_same_sessions_give_the_same_answer_and_a_slow_agent_differs(stream):
    a, b = stream("calm", count=400), stream("slow-agent", count=400)
    found = cw.analyze(a).compare(cw.analyze(b))
    again = cw.analyze(a).compare(cw.analyze(b))
    assert json.dumps(found.to_dict(), allow_nan=False) == json.dumps(again.to_dict(), allow_nan=False)
    table = found.to_frame().set_index("measure")
    assert table.index[table["differs"]].tolist() == ["p95 latency of RiskAgent"]
    assert any("SYNTHETIC" in note for note in found.notes)
    assert len(found.figure().data) == 1


def test_a_measure_that_one_session_lacks_is_missing_with_its_reason(rows):
    table = cw.compare(rows(alpha=np.arange(50.0)), rows(confidence=np.linspace(0, 1, 50))).to_frame().set_index("measure")
    assert "n too small" in table.loc["mean alpha", "reason"]
    assert np.isnan(table.loc["mean alpha", "low"])
    with pytest.raises(NotEnoughData):
        cw.compare(rows(alpha=[]), rows(alpha=[1.0]))
