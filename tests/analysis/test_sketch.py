from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from ccwatch.analysis import Report, Sketch

LATENCIES = st.lists(st.floats(1e-6, 1e6) | st.just(0.0), max_size=60)


@pytest.mark.slow
@given(LATENCIES.filter(len), st.floats(0.0, 1.0), st.sampled_from([0.001, 0.01, 0.1]))
@settings(max_examples=200)
def test_a_quantile_is_within_its_stated_error_of_the_order_statistic(values, p, error):
    truth = sorted(values)[math.floor(p * (len(values) - 1))]
    assert Sketch.of(values, error=error).quantile(p) == pytest.approx(truth, rel=error * (1 + 1e-9), abs=1e-300)


@pytest.mark.slow
@given(LATENCIES, LATENCIES, LATENCIES)
def test_sketches_of_parts_add_up_to_the_sketch_of_the_whole_in_any_order(one, two, three):
    a, b, c = (Sketch.of(values) for values in (one, two, three))
    whole = Sketch.of([*one, *two, *three])
    for merged in (a.merge(b).merge(c), c.merge(a.merge(b))):
        assert (merged.n, merged.zeros) == (whole.n, whole.zeros)
        np.testing.assert_array_equal(np.trim_zeros(merged.counts), np.trim_zeros(whole.counts))
        if whole.n:
            assert [merged.quantile(p) for p in (0.0, 0.5, 0.95, 1.0)] == [whole.quantile(p) for p in (0.0, 0.5, 0.95, 1.0)]


def test_two_sessions_give_the_percentile_of_all_their_calls(stream):
    sessions = [Report(stream(scenario, count=400)).latency() for scenario in ("calm", "slow-agent")]
    calls = np.concatenate([s.observations["latency_ms"].to_numpy()[(s.observations["name"] == "RiskAgent").to_numpy()] for s in sessions])
    merged = sessions[0].sketches()["RiskAgent"].merge(sessions[1].sketches()["RiskAgent"])
    assert merged.n == len(calls)
    assert merged.quantile(0.95) == pytest.approx(np.quantile(calls, 0.95, method="lower"), rel=0.01)


def test_what_cannot_be_sketched_says_why():
    assert math.isnan(Sketch.of([]).quantile(0.5))
    assert Sketch.of([np.nan, np.inf, 0.0]).n == 1
    with pytest.raises(ValueError, match="from 0"):
        Sketch.of([-1.0])
    with pytest.raises(ValueError, match="do not merge"):
        Sketch.of([1.0]).merge(Sketch.of([1.0], error=0.02))
    with pytest.raises(ValueError, match="p=2"):
        Sketch.of([1.0]).quantile(2)
    with pytest.raises(ValueError, match="error=0"):
        Sketch.of([1.0], error=0)
