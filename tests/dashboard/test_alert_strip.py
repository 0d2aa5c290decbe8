"""What a dashboard says of alerts, on real feeds, recordings and replays."""

from __future__ import annotations

import gc
import json
import logging
import math
import shutil
import threading
import time
from pathlib import Path

import pytest

import ccwatch as cw
from ccwatch.alerts import PERIOD_S, Alert, AlertState, Rule, Severity, receiver_clock, watch as module
from ccwatch.dashboard import Dashboard, alert_strip as shown
from ccwatch.dashboard.alert_strip import AlertWatch, Snapshot, content, reading
from ccwatch.errors import ConfigError
from ccwatch.protocol.messages import ConnectionState
from ccwatch.recording import AlertJournal, Recording
from ccwatch.stream.source import read_clock
from tests.dashboard.conftest import wait_until
from tests.dashboard.test_dashboard import ready, say

BAD_SESSION = Path(__file__).parents[2] / "recordings" / "sample-bad-session"


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "ccwatch-alerts"]


@pytest.fixture(scope="module")
def halted():
    """A stream that slid and was halted, all of it there."""
    with cw.synthetic(seed=2, scenario="drawdown-halt", packets=300, pace="max", name="halted") as feed:
        feed.join(60)
        yield feed


def paint(dashboard, page="p1") -> None:
    ready(dashboard, page)
    say(dashboard, {"type": "painted", "page": page})


def side(sent, name):
    """What stands beside the charts under a name, as the page has it."""
    found = None
    for message, _ in sent.custom("side"):
        found = message.get("replace", {}).get(name, found)
    return found


def same(alerts):
    return sorted((a.rule, a.subject, a.fired_ns, round(a.worst, 9)) for a in alerts)


@pytest.mark.slow
def test_the_strip_says_what_the_analysis_of_the_same_stream_says(halted, sent):
    with Dashboard(halted) as dashboard:
        paint(dashboard)
        wait_until(lambda: side(sent, "alerts") and side(sent, "alerts")["begun"] and side(sent, "alerts")["open"])
        strip, history = side(sent, "alerts"), side(sent, "fired") or []
        rows = cw.analyze(halted).alerts().to_frame()
        expected = sorted((row.rule, row.subject, row.fired_time.value / 1e6) for row in rows.itertuples())
        assert sorted((row["rule"], row["subject"], row["fired"]) for row in strip["open"] + history) == expected
        assert {"halt", "drawdown-peak-2", "drawdown-start-1.5"} <= {row["rule"] for row in strip["open"]}
        peak = next(row for row in strip["open"] if row["rule"] == "drawdown-peak-2")
        assert (peak["severity"], peak["value"], peak["worst"], peak["acknowledged"]) == ("critical", "−2.20 %", "−2.20 %", False)
        assert "recorder-lag" in strip["silent"]
        json.dumps([strip, history], allow_nan=False)


@pytest.mark.slow
def test_an_alert_is_acknowledged_from_the_page_and_by_hand(halted, sent):
    with Dashboard(halted) as dashboard:
        paint(dashboard)
        wait_until(lambda: dashboard.alerts and side(sent, "alerts"))  # posted after it is known
        say(dashboard, {"type": "acknowledge", "page": "p1", "rule": "halt", "subject": ""})
        say(dashboard, {"type": "acknowledge", "page": "p1", "rule": "no such", "subject": ["odd"]})
        wait_until(lambda: [row["rule"] for row in side(sent, "alerts")["open"] if row["acknowledged"]] == ["halt"])
        with pytest.raises(ConfigError, match=r"rule='drawdown': expected one of .*drawdown-peak-2"):
            dashboard.acknowledge("drawdown")
        dashboard.acknowledge("drawdown-peak-2")
        wait_until(lambda: {a.rule for a in dashboard.alerts if a.is_acknowledged} == {"halt", "drawdown-peak-2"})
        assert not dashboard._publisher._side_content["status"]["trouble"]


def test_a_callback_hears_of_what_fires_and_of_what_is_new_without_a_page():
    rules = [Rule("halted", "halt", 1.0, "the engine is halted", severity=Severity.CRITICAL)]
    with cw.serve(seed=1, rate=40) as cottage, cw.connect(cottage.url, commands=True) as feed, cw.watch(feed, rules=rules) as dashboard:
        heard: list[Alert] = []
        forget = dashboard.on_alert(heard.append)
        feed.wait(5)
        assert feed.halt(confirm="HALT").confirmed
        wait_until(lambda: heard)
        assert (heard[0].rule, heard[0].state, heard[0].is_open) == ("halted", AlertState.FIRING, True)
        late: list[Alert] = []
        forget_late = dashboard.on_alert(late.append)
        wait_until(lambda: late)
        assert feed.resume(confirm="RESUME").confirmed
        wait_until(lambda: len(heard) == 2 and len(late) == 2)
        assert (heard[1].state, heard[1].fired_ns) == (AlertState.OK, heard[0].fired_ns)
        assert late[0].is_open
        assert late[1] == heard[1]
        forget()
        assert threads() == ["ccwatch-alerts"]
        forget_late()
        wait_until(lambda: threads() == [])
        assert dashboard.view is feed
        assert feed.health().dropped == 0


@pytest.mark.slow
def test_a_callback_that_fails_is_counted_logged_once_and_told_and_the_others_go_on(halted, caplog):
    with Dashboard(halted) as dashboard, caplog.at_level(logging.ERROR, logger="ccwatch"):
        heard: list[Alert] = []

        def fail(_: Alert) -> None:
            raise ValueError("<img src=x onerror=alert(1)>")

        dashboard.on_alert(fail)
        dashboard.on_alert(heard.append)
        wait_until(lambda: len(heard) >= 5 and dashboard.callback_errors == len(heard))  # one callback has all of a batch before the next
        assert len([r for r in caplog.records if r.name == "ccwatch.stream.callback_errors"]) == 1
        time.sleep(3 * PERIOD_S)  # judged anew, without a failure: what a callback raised is told all the same
        dashboard.pause()  # which has the header written
        assert "a callback on alerts failed: ValueError: <img" in dashboard._publisher._side_content["status"]["trouble"]
        assert f"({len(heard)} in all)" in dashboard._publisher._side_content["status"]["trouble"]
    wait_until(lambda: threads() == [])


@pytest.mark.slow
def test_silence_makes_a_live_feed_late():
    with cw.synthetic(seed=1, scenario="gap@1", rate=20) as feed, cw.watch(feed) as dashboard:
        heard: list[Alert] = []
        dashboard.on_alert(heard.append)
        wait_until(lambda: any(a.rule == "late" for a in heard), 60)
        assert [a.rule for a in dashboard.alerts] == ["late"]
        feed.stop()


def test_rules_of_ones_own_are_taken_and_bad_ones_refused_at_once(halted):
    shallow = Rule("shallow", "drawdown_peak", -0.001, "any drawdown", "fraction", below=True)
    with cw.watch(halted, rules=[shallow]) as dashboard:
        dashboard.on_alert(lambda _: None)
        wait_until(lambda: dashboard.alerts)
        assert {a.rule for a in dashboard.alerts} == {"shallow"}
    with pytest.raises(ConfigError, match="there twice"):
        cw.watch(halted, rules=[shallow, shallow])


@pytest.mark.slow
def test_a_recording_and_its_replay_agree_with_the_analysis():
    opened = cw.open_recording(BAD_SESSION)
    rows = cw.analyze(opened).alerts().to_frame()
    with cw.watch(opened) as dashboard:
        dashboard._alerts.start()
        wait_until(lambda: dashboard._alerts.shown.has_begun, 60)
        found = [*dashboard._alerts.shown.open, *dashboard._alerts.shown.past]
        assert sorted((a.rule, a.subject, a.fired_ns) for a in found) == sorted(
            (row.rule, row.subject, row.fired_time.value) for row in rows.itertuples()
        )
    with cw.replay(opened, speed="max", name="again") as feed, cw.watch(feed) as dashboard:
        dashboard._alerts.start()
        feed.join(60)
        wait_until(lambda: same([*dashboard._alerts.shown.open, *dashboard._alerts.shown.past]) == same(found), 60)
        assert dashboard._alerts.shown.now_ns is None, "the clock of a replay is not ours"


@pytest.mark.slow
def test_a_recording_in_progress_is_followed(tmp_path):
    with cw.serve(seed=1, rate=40) as cottage, cw.connect(cottage.url, commands=True) as feed, cw.record(feed, tmp_path) as recorder:
        feed.wait(10)
        wait_until(lambda: recorder.stats.durable_seq > 5)
        with cw.watch(recorder.path) as dashboard:
            heard: list[Alert] = []
            dashboard.on_alert(heard.append)
            wait_until(lambda: dashboard._alerts.seq > 5)
            assert feed.halt(confirm="HALT").confirmed
            wait_until(lambda: "halt" in [a.rule for a in heard], 60)


@pytest.mark.slow
def test_silence_goes_on_in_a_recording_in_progress(tmp_path):
    rules = [Rule("gone", "late", 1.0, "packets are late"), Rule("halted", "halt", 1.0, "the engine is halted")]
    with cw.synthetic(seed=1, scenario="gap@1", rate=20) as feed, cw.record(feed, tmp_path) as recorder:
        feed.wait(10)
        wait_until(lambda: recorder.stats.durable_seq > 5)
        with cw.watch(recorder.path, rules=rules) as dashboard:
            heard: list[Alert] = []
            dashboard.on_alert(heard.append)
            wait_until(lambda: heard, 60)
            assert [(alert.rule, alert.is_open) for alert in heard] == [("gone", True)]
            newest = feed.frame(["seq"]).index[-1].value
            wait_until(lambda: dashboard._alerts.shown.now_ns > newest, 60)  # what ages are counted to goes on by the wall clock
            assert feed.frame(["seq"]).index[-1].value == newest, "no packet came meanwhile"
            feed.stop()
            recorder.stop()
            wait_until(lambda: dashboard._alerts.shown.now_ns is None, 60)  # over: silence tells nothing any more


@pytest.mark.parametrize("is_of_this_boot", [True, False])
def test_the_clock_of_another_machine_that_is_behind_makes_no_silence(tmp_path, monkeypatch, is_of_this_boot):
    rules = [Rule("gone", "late", 1.0, "packets are late")]
    now = read_clock
    for one in (module, receiver_clock):
        monkeypatch.setattr(one, "read_clock", lambda: now()._replace(wall_ns=now().wall_ns + 20_000_000_000))
    monkeypatch.setattr(Recording, "is_of_this_boot", is_of_this_boot)
    with cw.synthetic(seed=1, rate=20) as feed, cw.record(feed, tmp_path) as recorder:
        feed.wait(10)
        wait_until(lambda: recorder.stats.durable_seq > 5)
        with cw.watch(recorder.path, rules=rules) as dashboard:
            heard: list[Alert] = []
            dashboard.on_alert(heard.append)
            read = feed.latest.seq + 20
            wait_until(lambda: dashboard._alerts.seq > read, 60)
            assert bool(heard) == is_of_this_boot


def test_what_does_not_fit_the_queue_is_read_from_the_view(view, monkeypatch):
    monkeypatch.setattr(module, "MOST_WAITING", 20)
    posted: list[Snapshot] = []
    watch = AlertWatch(view, None, posted.append)
    watch.start()
    wait_until(lambda: watch.seq == view.latest.seq)
    with watch.judging:
        view.step(100)
        assert watch.waiting <= 70
        assert watch.behind
    wait_until(lambda: watch.seq == view.latest.seq and not watch.behind)
    watch.rest()
    view.step(50)
    assert watch.waiting == 0
    watch.start()
    wait_until(lambda: watch.seq == view.latest.seq)
    watch.stop()
    assert view._sinks == []


@pytest.mark.slow
def test_alerts_are_judged_off_the_publishers_thread_and_rest_without_a_page(view):
    with Dashboard(view) as dashboard:
        paint(dashboard)
        wait_until(lambda: dashboard._alerts.seq == view.latest.seq)
        assert threads() == ["ccwatch-alerts"]
        say(dashboard, {"type": "asleep", "page": "p1"})
        wait_until(lambda: threads() == [])
        assert view._sinks == []


@pytest.mark.slow
def test_a_dashboard_that_is_let_go_takes_its_callbacks_along(halted):
    held = [cw.watch(halted)]
    held[0].on_alert(lambda _: None)
    wait_until(lambda: threads() == ["ccwatch-alerts"])
    held.clear()
    gc.collect()
    wait_until(lambda: threads() == [])


def test_a_feed_that_is_over_stays_as_it_was(halted):
    assert halted.state is ConnectionState.ENDED
    with cw.watch(halted) as dashboard:
        dashboard.on_alert(lambda _: None)
        wait_until(lambda: dashboard.alerts)
        before = dashboard.alerts
        time.sleep(0.6)
        assert dashboard.alerts == before


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (-0.0162, "fraction", "−1.62 %"),
        (1.8, "objectives", "1.80 × objective"),
        (15.0, "packets", "15 packets"),
        (1.0, "", ""),
        (7.5, "", "7.5"),
        (math.nan, "s", "no data"),
    ],
)
def test_a_value_is_told_with_its_unit(value, unit, words):
    assert reading(value, unit) == words


def test_what_pages_are_sent_is_bounded():
    one = Alert("r", "", Severity.INFO, "m", "", AlertState.FIRING, 1_000_000, 1.0, 1.0, 1.0)
    strip, history = content(Snapshot((one,) * 500, (one,) * 500, 1, (), has_begun=True), 3_600_000.0)
    assert len(strip["open"]) == shown.MOST_SHOWN
    assert strip["more"] == 500 - shown.MOST_SHOWN
    assert len(history) == shown.MOST_HISTORY
    assert strip["open"][0]["fired"] == 3_600_001.0


def test_who_listens_after_the_end_starts_no_thread(halted):
    dashboard = cw.watch(halted)
    dashboard.stop()
    heard: list[Alert] = []
    dashboard.on_alert(heard.append)
    assert threads() == []
    assert heard == []


def test_what_a_pass_found_before_it_failed_is_told(halted, monkeypatch):
    with cw.watch(halted) as dashboard:
        heard: list[Alert] = []
        follow, failed = dashboard._alerts.log.follow, []

        def once(standing):
            if not failed:
                failed.append(True)
                raise RuntimeError("a later step")
            follow(standing)

        monkeypatch.setattr(dashboard._alerts.log, "follow", once)
        dashboard.on_alert(heard.append)
        wait_until(lambda: failed and not dashboard._alerts.trouble)
        wait_until(lambda: {alert.rule for alert in heard} >= {alert.rule for alert in dashboard.alerts} != set())


@pytest.mark.slow
def test_the_strip_shows_what_the_guard_and_the_commands_know_and_they_learn_what_was_seen_here(tmp_path, sent):
    shutil.copytree(BAD_SESSION, tmp_path / "bad")
    journal = AlertJournal(tmp_path / "bad")
    journal.note({"id": "other", "rule": "r", "subject": "", "resolved": None})  # a guard's
    with Dashboard(Recording(tmp_path / "bad")) as dashboard:
        paint(dashboard)
        wait_until(lambda: {a.rule for a in dashboard.alerts} >= {"halt", "drawdown-peak-2"})
        halt, deep = (next(a for a in dashboard.alerts if a.rule == rule) for rule in ("halt", "drawdown-peak-2"))
        journal.note(deep.to_dict())
        journal.silence(deep.id, 3600.0, "anna", "deploy")
        journal.note(halt.to_dict())
        journal.acknowledge(halt.id, "ben")

        def row(rule):
            strip = side(sent, "alerts")
            return {} if strip is None else next((row for row in strip["open"] if row["rule"] == rule), {})

        wait_until(lambda: row("halt").get("acknowledged"))
        wait_until(lambda: row("drawdown-peak-2").get("silenced"))
        assert row("halt")["by"] == "ben"
        assert row("drawdown-peak-2")["silenced"][1:] == ["anna", "deploy"]
        assert (row("drawdown-peak-2")["group"], row("drawdown-peak-2")["certificate"]) == ("drawdown", "never tested")
        dashboard.acknowledge("drawdown-peak-2")
        wait_until(lambda: deep.id in journal.book().acknowledged)


@pytest.mark.slow
def test_nothing_is_written_into_a_finished_recording_that_has_no_journal(tmp_path):
    shutil.copytree(BAD_SESSION, tmp_path / "bad")
    with Dashboard(Recording(tmp_path / "bad")) as dashboard:
        paint(dashboard)
        wait_until(lambda: any(a.rule == "halt" for a in dashboard.alerts))
        dashboard.acknowledge("halt")
        wait_until(lambda: any(a.rule == "halt" and a.is_acknowledged for a in dashboard.alerts))
    assert not AlertJournal(tmp_path / "bad").path.exists()
