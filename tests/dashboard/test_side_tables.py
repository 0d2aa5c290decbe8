from __future__ import annotations

import contextlib
import json
from datetime import timedelta

import pytest

import ccwatch as cw
from ccwatch.dashboard import side_tables
from tests.dashboard.conftest import wait_until


@pytest.fixture(scope="module")
def feed():
    with cw.synthetic(seed=2, scenario="drawdown-halt", packets=400, pace="max") as running:
        assert running.join(60)
        yield running


def test_a_row_that_alone_is_too_long_is_sent_all_the_same():
    assert side_tables.newest_within([[0.0, "a", "x"], [1.0, "b", "\x00" * 500]], 100) == [[1.0, "b", "\x00" * 500]]


def test_events_and_logs_are_the_views_own_rows_at_the_display_zones_time(feed):
    found = side_tables.tables(feed, timedelta(hours=1))
    logs = feed.logs()
    assert [row[2] for row in found["logs"]] == list(logs["message"])
    assert found["logs"][0][0] == logs.index[0].value / 1e6 + 3_600_000
    events = feed.events()
    assert [row[1] for row in found["events"]] == list(events["kind"])
    assert found["events"][0][1] == "connect"
    json.dumps(found, allow_nan=False)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["feed", "recording", "replay"])
def test_an_event_before_the_first_packet_stands_on_the_streams_clock_and_keeps_its_own_stamp(source, tmp_path):
    with cw.serve(seed=2, scenario="gap@100", packets=200, pace="max") as cottage, contextlib.ExitStack() as opened:
        if source == "feed":
            view = opened.enter_context(cw.connect(cottage.url)).wait(200)
        else:
            with cw.record(cottage.url, tmp_path) as recorder:
                wait_until(lambda: recorder.stats.durable_seq >= 200)
            view = cw.open_recording(recorder.path)
        if source == "replay":
            view = opened.enter_context(cw.replay(view, speed="max"))
            view.join(60)
        frame, events = view.frame(), view.events()
        rows = {row[1]: row for row in side_tables.tables(view, timedelta(hours=1))["events"]}
        hour = 3_600_000
        gap = events[events["kind"] == "gap"].index[0]
        assert rows["gap"] == [gap.value / 1e6 + hour, "gap", rows["gap"][2]], "on the stream's clock already"
        connect = events[events["kind"] == "connect"].index[0]
        placed, _, _, own = rows["connect"]
        assert own == connect.value / 1e6 + hour
        first = frame.index[0].value / 1e6 + hour
        assert first - 2_000 < placed <= first


def test_events_of_a_stream_on_the_receivers_clock_keep_their_times():
    with cw.serve(seed=1, rate=20) as cottage, cw.connect(cottage.url) as feed:
        feed.wait(5)
        events = feed.events().iloc[:1]

        class OnOurClock:
            """The feed with each packet stamped when it was received, as an engine with a good clock does."""

            def events(self, last=None):
                return feed.events(last).iloc[:1]

            def logs(self, last=None):
                return feed.logs(last)

            def frame(self, columns=None, last=None):
                frame = feed.frame(columns, last)
                return frame.set_axis(frame["received_at"].rename("time"))

        rows = side_tables.tables(OnOurClock(), timedelta(0))["events"]
        assert [row[0] for row in rows] == [events.index[0].value / 1e6]
        assert len(rows[0]) == 3


def test_what_a_paused_view_shows_ends_at_the_pause(feed):
    found = side_tables.tables(feed, timedelta(0), up_to=100)
    assert len(found["logs"]) == int((feed.logs()["seq"] <= 100).sum())


def test_rows_that_a_table_has_grown_by_are_told_once(feed):
    counts = {"events": 0, "logs": len(feed.logs()) - 3}
    assert len(side_tables.grown(feed, timedelta(0), counts)["logs"]) == 3
    assert side_tables.grown(feed, timedelta(0), counts) == {}
    assert counts == side_tables.counts(feed)


def test_services_are_what_the_analysis_says_of_them(feed):
    rows = {row["name"]: row for row in side_tables.services(feed)}
    expected = cw.analyze(feed).latency().to_frame().set_index("name")
    assert rows["RiskAgent"]["p95"] == pytest.approx(expected.loc["RiskAgent", "p95_ms"])
    assert rows["RiskAgent"]["n"] == expected.loc["RiskAgent", "n"]
    assert rows["FinBERT"]["good"] == pytest.approx(feed.models().query("model == 'FinBERT'")["cache_hit_rate"].iloc[-1])
    assert len(rows["RiskAgent"]["spark"]) == side_tables.SPARK_CALLS
    json.dumps(list(rows.values()), allow_nan=False)


def test_health_is_told_in_words(feed):
    facts = dict(side_tables.health(feed))
    assert facts["packets"] == "400"
    assert facts["malformed"] == "0"
