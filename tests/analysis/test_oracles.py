"""Estimators held to other people's programs, to 1e-9. Oracles of one module alone stand beside its tests:

empyrical: worst drawdown (test_drawdowns). arch: its S&P 500 with the published episodes (test_drawdowns, test_published). scikit-learn:
Brier score (test_signals). scipy: Hill's alpha as Pareto's likelihood (test_tail), Cliff's delta as Mann and Whitney's U (test_explain).
statsmodels: gain of Kalman's filter (test_kalman), Kaplan and Meier's curve (test_survival), Wilson's interval (test_signals).
"""

from __future__ import annotations

import arch.bootstrap
import empyrical
import ffn.core
import numpy as np
import pandas as pd
import powerlaw
import pytest
from scipy import signal, stats
from sklearn.calibration import calibration_curve
from statsmodels.robust.scale import mad
from statsmodels.stats.multitest import multipletests

from ccwatch.analysis import Report, calibrate, drawdowns, hill, quality, quantile
from ccwatch.analysis.bootstrap import block_length
from ccwatch.analysis.compare import _STATISTICS, _drawn


def fit(values, threshold):
    """Powerlaw's fit of a continuous tail from `threshold` on, without its usual bound of 3, beyond which it searches numerically."""
    return powerlaw.Fit(values, xmin=threshold, discrete=False, parameter_ranges={"alpha": [1.0, 50.0]}, verbose=False)


@pytest.mark.parametrize("seed", range(8))
def test_hills_alpha_is_that_of_powerlaw(seed):
    rng = np.random.default_rng(seed)
    sample, k = rng.pareto([0.6, 1.3, 1.9, 3.1][seed % 4], 600) + 1.0, [20, 75, 250][seed % 3]
    found = hill(sample, k)
    # their density falls as x^-alpha, Hill's is the index of the survival function: one less
    above = fit(sample[sample > found.threshold], found.threshold)
    assert above.power_law.alpha - 1.0 == pytest.approx(found.alpha, abs=1e-9)
    # on the whole sample they count the threshold itself, which adds ln 1 = 0 to the sum and 1 to the number
    whole = fit(sample, found.threshold)
    assert (whole.power_law.alpha - 1.0) * k / (k + 1) == pytest.approx(found.alpha, abs=1e-9)


def test_values_equal_to_the_threshold_add_to_hills_k_and_nothing_to_its_sum():
    # k = 5 of which two are ties of the sixth: powerlaw, asked for five values from the threshold on, does the same
    sample = np.array([1.0, 2.0, 2.0, 2.0, 3.0, 5.0, 9.0]) * 0.7
    found = hill(sample, 5)
    assert found.threshold == 1.4
    theirs = fit(np.sort(sample)[-5:], found.threshold)
    assert theirs.power_law.alpha - 1.0 == pytest.approx(found.alpha, abs=1e-9)


@pytest.mark.parametrize("scenario", ["calm", "drawdown-halt"])
def test_the_worst_drawdown_of_a_nav_is_that_of_empyrical(stream, scenario):
    frame = stream(scenario, count=300).frame()
    theirs = empyrical.max_drawdown(frame["nav"].pct_change().dropna())
    assert drawdowns(frame).max_drawdown == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("scenario", ["calm", "drawdown-halt"])
def test_the_ulcer_index_and_the_depth_of_each_episode_are_those_of_ffn(stream, scenario):
    frame = stream(scenario, count=300).frame()
    found, curve = drawdowns(frame), ffn.core.to_drawdown_series(frame["nav"])
    assert found.ulcer_index * 100.0 == pytest.approx(ffn.core.to_ulcer_index(frame["nav"]), abs=1e-9)
    theirs = ffn.core.drawdown_details(curve)
    assert len(theirs) == len(found.episodes) > 1
    np.testing.assert_allclose(found.episodes["depth"], theirs["drawdown"].astype(float), atol=1e-9)
    assert found.episodes["start_time"].tolist() == theirs["Start"].tolist()


@pytest.mark.parametrize("bins", [4, 8, 10])
def test_the_bins_of_a_calibration_are_those_of_scikit_learn(bins):
    rng = np.random.default_rng(bins)
    p = rng.uniform(size=700)
    y = rng.uniform(size=700) < p
    share, mean = calibration_curve(y, p, n_bins=bins, strategy="uniform")
    found = calibrate(p, y, bins=bins).bins
    np.testing.assert_allclose(found["share"], share, atol=1e-9)
    np.testing.assert_allclose(found["mean_probability"], mean, atol=1e-9)


@pytest.mark.parametrize("how", ["mean", "std", "p95"])
def test_each_sample_of_the_block_bootstrap_is_that_of_arch(how):
    rng = np.random.default_rng(3)
    values = np.exp(signal.lfilter([1.0], [1.0, -0.6], rng.normal(size=501)))
    theirs = arch.bootstrap.CircularBlockBootstrap(block_length(values), values, seed=np.random.default_rng(7))
    expected = [_STATISTICS[how](sample[0][0]) for sample in theirs.bootstrap(100)]
    np.testing.assert_allclose(_drawn(values, how, 100, np.random.default_rng(7)), expected, atol=1e-9)


@pytest.mark.parametrize(("p", "n"), [(0.5, 10), (0.95, 90), (0.99, 700)])
def test_a_quantile_and_the_ranks_of_its_interval_are_scipys(p, n):
    ordered = np.sort(np.random.default_rng(n).lognormal(size=n))
    found = quantile(ordered, p)
    assert found.value == pytest.approx(stats.mstats.mquantiles(ordered, p, alphap=1.0, betap=1.0).item(), abs=1e-9)
    low, high = stats.binom(n, p).interval(0.95)
    expected = [ordered[int(low) - 1], ordered[int(high)] if high < n else np.nan]
    np.testing.assert_allclose([found.low, found.high], expected, atol=1e-9)


@pytest.mark.slow
def test_what_differs_in_an_explanation_is_by_statsmodels(stream):
    source = stream("slow-agent", count=400)
    report = Report(source)
    found = report.explain("14:32:30", window="1min", baseline="2min")
    table = found.differences.dropna(subset="p_value")
    assert 5 < len(table) < len(found.differences) + 1
    differs, q, _, _ = multipletests(table["p_value"], alpha=0.05, method="fdr_bh")
    np.testing.assert_allclose(table["q_value"], q, atol=1e-9)
    assert table["differs"].tolist() == differs.tolist()
    frame = source.frame()
    for name in ("alpha", "velocity", "confidence", "approved_size"):
        row = table[(table["measure"] == name) & (table["subject"] == "")].iloc[0]
        usual, now = frame[name].loc[found.baseline_start : found.start].iloc[:-1], frame[name].loc[found.start : found.end]
        assert (row["n_baseline"], row["n"]) == (len(usual), len(now))
        assert row["robust_z"] == pytest.approx((now.median() - usual.median()) / mad(usual), abs=1e-9)
        assert row["p_value"] == pytest.approx(stats.mannwhitneyu(now, usual, method="asymptotic").pvalue, abs=1e-9)


def test_the_drift_of_a_clock_is_theil_and_sens_median_of_all_slopes(rows):
    rng = np.random.default_rng(4)
    lag = 0.02 + np.cumsum(rng.uniform(0.0, 1e-3, 80)) + rng.exponential(0.05, 80)
    late = np.rint((np.arange(80) + lag) * 1e9).astype(np.int64)
    frame = rows(price=np.full(80, 100.0))
    frame = frame.assign(received_mono_ns=late, received_at=frame.index[0] + pd.to_timedelta(late, unit="ns"))
    offsets = (pd.DatetimeIndex(frame["received_at"]) - frame.index).total_seconds().to_numpy()
    i, j = np.triu_indices(80, 1)
    slopes = (offsets[j] - offsets[i]) / ((late[j] - late[i]) / 1e9)
    assert stats.theilslopes(offsets, late / 1e9).slope == pytest.approx(np.median(slopes), abs=1e-9)
    assert quality(frame).value("clock_drift") / 1e6 == pytest.approx(np.median(slopes), abs=1e-9)
