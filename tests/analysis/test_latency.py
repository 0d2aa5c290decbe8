from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

from ccwatch.analysis import latency, quantile
from ccwatch.errors import MissingColumns, NotEnoughData
from ccwatch.feed.scenarios import planted


def gauges(rows, latencies, invocations=None, *, name="RiskAgent", **more):
    columns = {"agent": [name] * len(latencies), "latency_ms": np.array(latencies, dtype=float)}
    if invocations is not None:
        columns["invocations"] = np.array(invocations, dtype=float)
    return rows(**columns, **more)


def test_an_observation_is_a_rise_of_the_counter_not_a_packet(rows):
    found = latency(gauges(rows, [5, 5, 7, 7, 7, 9, 9], [4, 4, 5, 5, 6, 8, 8]))
    assert found.observations["latency_ms"].tolist() == [7.0, 7.0, 9.0]
    row = found.to_frame().iloc[0]
    assert (row["n"], row["calls"]) == (3, 4)
    assert row["coverage"] == 0.75
    assert any("not in the quantiles: 1 call, overwritten" in note for note in found.notes)


def test_without_a_counter_an_observation_is_a_change_of_the_gauge(rows):
    found = latency(gauges(rows, [5, 5, 7, 7, 5]))
    assert found.observations["latency_ms"].tolist() == [7.0, 5.0]
    assert np.isnan(found.to_frame()["calls"].iloc[0])


def test_a_counter_that_resets_starts_again(rows):
    found = latency(gauges(rows, [5, 6, 7, 8, 8], [100, 101, 2, 3, 3]))
    row = found.to_frame().iloc[0]
    assert found.observations["latency_ms"].tolist() == [6.0, 7.0, 8.0]
    assert (row["calls"], row["resets"]) == (4, 1)
    nothing_since = latency(gauges(rows, [5, 6, 6], [100, 101, 0]))
    assert nothing_since.to_frame()["n"].tolist() == [1]


def test_quantiles_are_numpys_type_seven(rows):
    values = np.random.default_rng(4).lognormal(3, 1, 400)
    row = latency(gauges(rows, [1.0, *values], range(401))).to_frame().iloc[0]
    for label, p in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        assert row[f"{label}_ms"] == pytest.approx(np.quantile(values, p, method="linear"), rel=1e-12)
    assert row["max_ms"] == values.max()


@pytest.mark.parametrize(("count", "known"), [(99, False), (100, True)])
def test_p99_needs_a_hundred_calls(rows, count, known):
    row = latency(gauges(rows, np.arange(count + 1), np.arange(count + 1))).to_frame().iloc[0]
    assert np.isfinite(row["p99_ms"]) == known
    assert np.isfinite(row["p95_ms"])
    assert ("p99: n too small: 99 of 100" in row["reason"]) != known


@given(st.integers(2, 400), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
@settings(max_examples=80, deadline=None)
def test_the_interval_of_order_statistics_covers_as_often_as_it_says(n, p):
    ordered = np.arange(1.0, n + 1)
    found = quantile(ordered, p)
    low = found.low if np.isfinite(found.low) else 0.0
    high = found.high if np.isfinite(found.high) else n + 1.0
    if np.isfinite(found.value):
        # P(X_(l) ≤ quantile < X_(u)) = P(l ≤ Bin(n, p) ≤ u - 1)
        covered = stats.binom.cdf(high - 1, n, p) - stats.binom.cdf(low - 1, n, p)
        assert covered >= 0.95 - 1e-12
        assert low <= found.value <= high


def test_the_planted_slow_agent_is_recovered_exactly(stream, at):
    source = stream("slow-agent", count=400)
    truth = planted("slow-agent", 1.0)[0]
    found = latency(source.agents(), source.models(), frame=source.frame(clean=False), events=source.events())
    assert found.slow["name"].tolist() == ["RiskAgent"]
    risk = found.observations[found.observations["name"] == "RiskAgent"].index
    slow = found.slow.iloc[0]
    # it is seen with the first call after it began, and until the first one after it ended
    assert slow["start_time"] == risk[risk >= at(truth.start_s)][0]
    assert slow["end_time"] == risk[risk >= at(truth.end_s)][0]
    assert slow["n"] == ((risk >= at(truth.start_s)) & (risk < at(truth.end_s))).sum()
    assert "RiskAgent" in found.headline()


def test_a_calm_stream_has_no_slow_stretch_and_every_service(stream):
    source = stream("calm", count=300)
    found = latency(source.agents(), source.models(), frame=source.frame(clean=False))
    assert len(found.slow) == 0
    assert found.to_frame()["kind"].value_counts().to_dict() == {"agent": 6, "model": 3}
    assert found.basis.coverage == 1.0
    invocations = source.agents().groupby("agent", observed=True)["invocations"]
    rise = (invocations.last() - invocations.first()).to_dict()
    heard = found.to_frame().query("kind == 'agent'").set_index("name")["calls"].to_dict()
    assert heard == rise


def test_a_service_that_was_never_called_has_no_numbers_and_a_reason(rows):
    busy = gauges(rows, [1, 2, 3], [1, 2, 3], name="Busy")
    idle = gauges(rows, [5, 5, 5], [9, 9, 9], name="Idle")
    table = latency(pd.concat([busy, idle])).to_frame().set_index("name")
    assert table.loc["Idle", "n"] == 0
    assert np.isnan(table.loc["Idle", "p50_ms"])
    assert np.isnan(table.loc["Idle", "max_ms"])
    assert "n too small" in table.loc["Idle", "reason"]


def test_gauges_of_placeholders_are_left_out(rows):
    agents = gauges(rows, [0, 5, 6], [0, 10, 11]).assign(seq=np.array([1, 2, 3], dtype=np.uint64))
    packets = rows(price=[1.0, 2.0, 3.0], seq=np.array([1, 2, 3], dtype=np.uint64), flags=np.array([16, 0, 0], dtype=np.uint32))
    assert latency(agents, frame=packets).observations["latency_ms"].tolist() == [6.0]


@pytest.mark.parametrize("frame", [None, "empty", "without latency"])
def test_a_stream_without_latency_says_so(rows, frame):
    table = {None: None, "empty": gauges(rows, [], []), "without latency": gauges(rows, [np.nan, np.nan], [1, 2])}[frame]
    with pytest.raises(MissingColumns, match="latency_ms"):
        latency(table)


@pytest.mark.parametrize(("latencies", "invocations"), [([5.0], [2]), ([5.0, 5.0], [3, 3])])
def test_without_a_call_there_is_not_enough(rows, latencies, invocations):
    with pytest.raises(NotEnoughData):
        latency(gauges(rows, latencies, invocations))


def test_splitting_a_session_loses_no_call_but_the_one_at_the_cut(rows):
    values, calls = np.arange(60.0), np.repeat(np.arange(20), 3)
    whole = latency(gauges(rows, values, calls)).observations
    table = gauges(rows, values, calls)
    parts = [latency(part).observations for part in (table.iloc[:31], table.iloc[30:])]  # the row at the cut stands in both
    pd.testing.assert_frame_equal(pd.concat(parts), whole)
