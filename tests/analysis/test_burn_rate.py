from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from ccwatch.analysis import burn_rate
from ccwatch.errors import MissingColumns, NotEnoughData


def gauges(outcomes, *, before=(100, 2), decimals=6, every=1.0, reset_at=None):
    """An agent's gauges over packets; each packet's calls are told as a list of successes. `before` is calls and errors at the start."""
    calls, errors = before
    index = pd.Timestamp("2026-01-02T14:30:00Z").as_unit("ns") + pd.to_timedelta(np.arange(len(outcomes) + 1) * every, unit="s")
    readings = [(calls, errors)]
    for n, packet in enumerate(outcomes):
        if n == reset_at:
            calls = errors = 0
        calls, errors = calls + len(packet), errors + packet.count(False)
        readings.append((calls, errors))
    return pd.DataFrame(
        {
            "agent": "RiskAgent",
            "invocations": [float(n) for n, _ in readings],
            "success_rate": [round(1.0 - bad / n, decimals) if n else 1.0 for n, bad in readings],
        },
        index=pd.DatetimeIndex(index),
    )


PACKETS = st.lists(st.lists(st.booleans(), max_size=3), min_size=1, max_size=60).filter(any)


@pytest.mark.slow
@given(PACKETS)
@settings(max_examples=50, deadline=None)
def test_errors_come_back_exactly_from_a_rounded_gauge(outcomes):
    row = burn_rate(gauges(outcomes)).to_frame().iloc[0]
    assert row["calls"] == sum(len(packet) for packet in outcomes)
    assert row["misses"] == sum(packet.count(False) for packet in outcomes)
    assert row["misses_bound"] == 0.0


@pytest.mark.slow
@given(PACKETS.filter(lambda outcomes: len(outcomes) > 2), st.data())
@settings(max_examples=40, deadline=None)
def test_a_reset_of_the_counter_loses_no_call_that_was_read(outcomes, data):
    cut = data.draw(st.integers(0, len(outcomes) - 1))
    found = burn_rate(gauges(outcomes, reset_at=cut)).to_frame().iloc[0]
    assert found["calls"] == sum(len(packet) for packet in outcomes)
    assert found["misses"] == sum(packet.count(False) for packet in outcomes)
    assert found["resets"] == 1


def test_a_coarse_gauge_has_a_bound_that_holds_the_truth():
    outcomes = [[True, True, False]] + [[True] * 3] * 30
    row = burn_rate(gauges(outcomes, before=(5000, 50), decimals=3)).to_frame().iloc[0]
    assert row["misses_bound"] > 1.0
    assert abs(row["misses"] - 1) <= row["misses_bound"]
    assert row["rate_low"] <= 1 - 1 / row["calls"] <= row["rate_high"]


def test_burn_is_the_error_rate_over_the_budget():
    row = burn_rate(gauges([[True] * 9 + [False]] * 10), objective=0.95).to_frame().iloc[0]
    assert row["rate"] == pytest.approx(0.9)
    assert row["burn"] == pytest.approx(2.0)


def test_an_alert_fires_when_both_windows_burn_and_not_before():
    good, bad = [[True] * 10] * 60, [[False] * 10] * 60
    table = gauges(good + bad)
    alert = burn_rate(table, alerts=((5.0, 30.0, 5.0),), objective=0.9).alerts.iloc[0]
    # in the long window of 30 s half of the calls must have failed: 15 s of errors are no more than 5 times the budget, 16 s are
    assert alert["fired_time"] == table.index[60 + 16]
    assert alert["worst_burn"] == pytest.approx(10.0)


def test_a_window_that_the_stream_does_not_cover_is_missing_with_its_reason():
    alert = burn_rate(gauges([[False]] * 30)).alerts
    assert alert["fired_time"].isna().all()
    assert alert["worst_burn"].isna().all()
    assert alert["reason"].str.contains("watched for 30 s").all()


def test_the_slow_agent_fails_most_and_its_calls_add_up(stream):
    source = stream("slow-agent", count=400)
    found = burn_rate(source.agents(), source.models(), frame=source.frame(clean=False), events=source.events())
    table = found.to_frame()
    assert table.loc[table["burn"].idxmax(), "name"] == "RiskAgent"
    agents = source.agents().assign(errors=lambda t: (t["invocations"] * (1 - t["success_rate"])).round())
    rise = agents.groupby("agent", observed=True)[["invocations", "errors"]].agg(lambda column: column.iloc[-1] - column.iloc[0])
    mine = table[table["kind"] == "agent"].set_index("name")
    assert mine["calls"].to_dict() == rise["invocations"].to_dict()
    assert mine["misses"].to_dict() == rise["errors"].to_dict()
    assert table[table["gauge"] == "cache_hit_rate"]["burn"].isna().all()
    assert "RiskAgent" in found.headline()
    found.figure()


def test_a_service_without_calls_has_no_rate_and_a_reason():
    row = burn_rate(gauges([[], [], []])).to_frame().iloc[0]
    assert row["calls"] == 0
    assert np.isnan(row["rate"])
    assert np.isnan(row["burn"])
    assert row["reason"] == "made no call while it was watched"


@pytest.mark.parametrize("drop", ["success_rate", "invocations"])
def test_a_stream_without_the_gauge_or_the_counter_says_so(drop):
    with pytest.raises(MissingColumns):
        burn_rate(gauges([[True]]).drop(columns=drop))
    with pytest.raises(MissingColumns):
        burn_rate(None, None)
    with pytest.raises(MissingColumns):
        burn_rate(gauges([[True]]).iloc[:0])


def test_one_reading_is_not_enough():
    with pytest.raises(NotEnoughData):
        burn_rate(gauges([[True]]).iloc[:1])


@pytest.mark.parametrize("objective", [0.0, 1.0, 1.5])
def test_an_objective_that_leaves_no_budget_is_refused(objective):
    with pytest.raises(ValueError, match="objective"):
        burn_rate(gauges([[True]]), objective=objective)
