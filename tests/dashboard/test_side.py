from __future__ import annotations

import json
from datetime import timedelta

import pytest

import ccwatch as cw
from ccwatch.dashboard import side


@pytest.fixture(scope="module")
def feed():
    with cw.synthetic(seed=2, scenario="drawdown-halt", packets=400, pace="max") as running:
        assert running.join(60)
        yield running


def test_events_and_logs_are_the_views_own_rows_at_the_display_zones_time(feed):
    found = side.tables(feed, timedelta(hours=1))
    logs = feed.logs()
    assert [row[2] for row in found["logs"]] == list(logs["message"])
    assert found["logs"][0][0] == logs.index[0].value / 1e6 + 3_600_000
    assert [row[1] for row in found["events"]] == list(feed.events()["kind"])
    json.dumps(found, allow_nan=False)


def test_what_a_paused_view_shows_ends_at_the_pause(feed):
    found = side.tables(feed, timedelta(0), up_to=100)
    assert len(found["logs"]) == int((feed.logs()["seq"] <= 100).sum())


def test_rows_that_a_table_has_grown_by_are_told_once(feed):
    counts = {"events": 0, "logs": len(feed.logs()) - 3}
    assert len(side.grown(feed, timedelta(0), counts)["logs"]) == 3
    assert side.grown(feed, timedelta(0), counts) == {}
    assert counts == side.counts(feed)


def test_services_are_what_the_analysis_says_of_them(feed):
    rows = {row["name"]: row for row in side.services(feed)}
    expected = cw.analyze(feed).latency().to_frame().set_index("name")
    assert rows["RiskAgent"]["p95"] == pytest.approx(expected.loc["RiskAgent", "p95_ms"])
    assert rows["RiskAgent"]["n"] == expected.loc["RiskAgent", "n"]
    assert rows["FinBERT"]["good"] == pytest.approx(feed.models().query("model == 'FinBERT'")["cache_hit_rate"].iloc[-1])
    assert len(rows["RiskAgent"]["spark"]) == side.SPARK_CALLS
    json.dumps(list(rows.values()), allow_nan=False)


def test_health_is_told_in_words(feed):
    facts = dict(side.health(feed))
    assert facts["packets"] == "400"
    assert facts["malformed"] == "0"
