"""The verbs together, on real parts: a served stream, watched, recorded, replayed; and what a notebook's habits do to them."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import ccwatch as cw
from ccwatch.dashboard.status_line import status_of
from ccwatch.errors import ConfigError
from tests.dashboard.conftest import wait_until


@pytest.mark.slow
def test_live_and_recorded_frames_of_the_same_packets_are_equal(tmp_path: Path) -> None:
    with cw.serve(seed=3, rate=100) as cottage, cw.connect(cottage.url) as feed:
        recorder = cw.record(feed, tmp_path)
        first = feed.health().packets
        feed.wait(first + 100)
        feed.stop()
        recorder.stop()
        recording = cw.open_recording(recorder.path)
        recorded = recording.frame(clean=False)
        live = feed.frame(clean=False)
        live = live[live["seq"].isin(recorded["seq"])]
        assert len(recorded) >= 100
        pd.testing.assert_frame_equal(live, recorded)
        for table in ("agents", "models"):
            mine = getattr(feed, table)()
            pd.testing.assert_frame_equal(mine[mine["seq"].isin(recorded["seq"])], getattr(recording, table)())


def test_a_url_that_is_recorded_is_recorded_from_its_first_packet_and_its_feed_ends_with_it(tmp_path: Path) -> None:
    with cw.serve(seed=3, rate=100) as cottage:
        with cw.record(cottage.url, tmp_path) as recorder:
            deadline = time.monotonic() + 10
            while recorder.stats.packets < 20 and time.monotonic() < deadline:
                time.sleep(0.01)
        assert cw.feeds() == []
    recording = cw.open_recording(recorder.path)
    assert recording.frame(clean=False)["seq"].iloc[0] == 1
    assert recording.frame(clean=False)["kind"].iloc[0] == "WELCOME"
    assert recording.info().origin == "synthetic"
    assert "connect" in set(recording.events()["kind"])


@pytest.mark.slow
def test_a_recording_of_a_url_goes_on_while_the_url_is_connected_and_watched_too(tmp_path: Path) -> None:
    """A feed gives way to another of its name; that of a recorder has a name that no other call takes by accident."""
    with cw.serve(seed=3, rate=100) as cottage, cw.record(cottage.url, tmp_path) as recorder, cw.connect(cottage.url) as feed:
        feed.wait()
        cw.watch(cottage.url).stop()
        before = recorder.stats.packets
        deadline = time.monotonic() + 20
        while recorder.stats.packets < before + 50 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert recorder.stats.packets >= before + 50
    assert "disconnect" not in set(cw.open_recording(recorder.path).events()["kind"].astype(str)[:-1])


@pytest.mark.slow
def test_a_replayed_recording_is_a_feed_that_ends_and_has_the_same_rows(tmp_path: Path) -> None:
    with cw.serve(seed=3, rate=200) as cottage, cw.connect(cottage.url) as feed, cw.record(feed, tmp_path) as recorder:
        feed.wait(150)
    recording = cw.open_recording(recorder.path)
    with cw.replay(recorder.path, speed="max") as again:
        assert again.join(10)
        assert again.state == "ENDED"
        pd.testing.assert_frame_equal(again.frame(), recording.frame())
        assert again.origin == "synthetic"


def test_connecting_again_under_a_name_stops_the_feed_that_had_it() -> None:
    with cw.serve(rate=50) as cottage:
        first = cw.connect(cottage.url).wait(2)
        second = cw.connect(cottage.url).wait(2)
        assert first.state == "STOPPED"
        assert cw.feeds() == [second]
        other = cw.connect(cottage.url, name="other").wait(2)
        assert set(cw.feeds()) == {second, other}
        cw.stop_all()
        assert cw.feeds() == []
        assert second.state == other.state == "STOPPED"


def test_a_feed_that_another_of_its_name_replaced_says_so_wherever_it_is_shown() -> None:
    with cw.serve(rate=50) as cottage:
        first = cw.connect(cottage.url).wait(2)
        dashboard = cw.watch(first)
        with cw.connect(cottage.url).wait(2) as second:
            words = "replaced by a newer feed of the same name"
            assert words in str(first.error)
            assert words in str(first.health().error)
            assert words in first._repr_html_()
            assert words in status_of(dashboard.view, "UTC", is_stopped=False)[1]
            with pytest.raises(cw.FeedClosed, match=words):
                first.wait(10_000)
            assert "replaced" not in second._repr_html_()
        assert second.error is None, "its owner stopped it"
        dashboard.stop()


def test_a_warning_says_that_callbacks_ended_with_the_feed_that_was_replaced() -> None:
    first = cw.synthetic(name="desk", rate=50)
    first.on_packet(print)
    first.on_alert(print)
    with pytest.warns(RuntimeWarning, match=r"'desk' was replaced .* 2 callbacks on it have ended; with name=… both run"):
        second = cw.synthetic(name="desk", rate=50)
    cw.synthetic(name="desk", rate=50).stop()  # no callback: nothing to warn of
    assert first.state == second.state == "STOPPED"


@pytest.mark.slow
def test_two_dashboards_of_one_url_share_a_feed_that_ends_with_the_last_and_not_by_connecting() -> None:
    with cw.serve(rate=50) as cottage:
        first, second = cw.watch(cottage.url), cw.watch({"desk": cottage.url}, panels=["services"])
        feed = first.view
        assert second.view is feed
        with cw.connect(cottage.url) as own:
            own.wait(3)
            feed.wait(3)
            assert set(cw.feeds()) == {feed, own}
        second.stop()
        assert feed.state not in {"STOPPED", "ENDED"}, "the other dashboard shows it"
        first.stop()
        assert feed.state == "STOPPED"
        assert feed.error is None
        third = cw.watch(cottage.url)
        assert third.view is not feed
        third.stop()


def test_a_feed_that_was_refused_or_has_other_settings_is_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    with cw.serve(rate=50, secret="a secret of thirty-two characters") as cottage:
        monkeypatch.setenv("CCWATCH_TOKEN", "no token at all")
        refused = cw.watch(cottage.url)
        wait_until(lambda: refused.view.has_ended)
        again = cw.watch(cottage.url)
        assert again.view is not refused.view
        assert "replaced by a newer view of" in str(refused.view.error)
    with cw.serve(rate=50) as cottage:
        first = cw.watch(cottage.url)
        monkeypatch.setenv("CCWATCH_WINDOW", "1h")
        assert cw.watch(cottage.url).view is not first.view
        assert "replaced by a newer view of" in status_of(first.view, "UTC", is_stopped=False)[1]
    cw.stop_all()


@pytest.mark.slow
def test_no_call_ends_a_recording_that_another_began(tmp_path: Path) -> None:
    with cw.serve(rate=50) as cottage, cw.record(cottage.url, tmp_path) as first, cw.record(cottage.url, tmp_path) as second:
        wait_until(lambda: second.stats.packets > 0)
        before = first.stats.packets
        wait_until(lambda: first.stats.packets > before + 10)
    assert set(cw.recordings(tmp_path).index) == {first.path.name, second.path.name}


@pytest.mark.slow
def test_a_feed_that_was_forgotten_is_noticed_and_ended() -> None:
    with cw.serve(rate=50) as cottage:
        feed = cw.connect(cottage.url).wait(1)
        forgotten = [feed]
        del feed
        with pytest.warns(ResourceWarning, match="left open"):
            forgotten.clear()
        gc.collect()
        assert cw.feeds() == []


def test_a_synthetic_stream_is_the_same_every_time_and_says_that_it_is_synthetic() -> None:
    frames = []
    for _ in range(2):
        with cw.synthetic(seed=5, packets=50, pace="max") as feed:
            feed.wait(50)
            frames.append(feed.frame(["price", "nav", "regime"]))
            assert feed.origin == "synthetic"
    pd.testing.assert_frame_equal(*frames)
    assert frames[0].index[0] == pd.Timestamp("2026-01-02T14:30:00Z")
    assert frames[0].index[-1] == pd.Timestamp("2026-01-02T14:30:49Z")


@pytest.mark.slow
def test_at_pace_max_a_served_stream_arrives_whole_and_equals_the_one_in_process() -> None:
    with cw.serve(seed=9, packets=500, pace="max") as cottage, cw.connect(cottage.url) as feed:
        feed.wait(501)  # with the WELCOME
        served = feed.frame(["price", "nav", "alpha"])
    with cw.synthetic(seed=9, packets=500, pace="max") as here:
        here.wait(500)
        pd.testing.assert_frame_equal(served, here.frame(["price", "nav", "alpha"]))


def test_a_stream_that_ended_before_enough_packets_says_so() -> None:
    with cw.synthetic(packets=5, pace="max") as feed, pytest.raises(cw.FeedClosed, match="5 of 6 packets"):
        feed.wait(6)


def test_serving_twice_on_one_port_names_the_free_one() -> None:
    with cw.serve() as cottage, pytest.raises(cw.ConfigError, match="--port 0"):
        cw.serve(port=int(cottage.url.rpartition(":")[2]))


def test_watching_a_url_owns_its_feed_and_lets_it_go() -> None:
    with cw.serve(rate=50) as cottage:
        dashboard = cw.watch(cottage.url)
        feed = dashboard.view
        feed.wait(3)
        dashboard.stop()
        assert feed.state == "STOPPED"


def test_a_recording_can_be_watched(tmp_path: Path) -> None:
    with cw.synthetic(rate=100) as feed, cw.record(feed, tmp_path) as recorder:
        feed.wait(feed.health().packets + 20)
    dashboard = cw.watch(recorder.path)
    assert "Recording" in type(dashboard.view).__name__
    dashboard.stop()


def test_a_recording_knows_the_zone_in_which_its_feed_read_the_stamps(tmp_path: Path) -> None:
    with cw.serve(rate=50) as cottage, cw.connect(cottage.url, server_tz="America/New_York") as feed, cw.record(feed, tmp_path) as recorder:
        feed.wait(1)
    assert json.loads((recorder.path / "session.json").read_text())["server_tz"] == "America/New_York"


@pytest.mark.parametrize(
    "verb",
    [
        lambda: cw.watch(42),
        lambda: cw.watch(object()),
        lambda: cw.record(42),
        lambda: cw.record(None),
        lambda: cw.replay(42),
        lambda: cw.open_recording(42),
        lambda: cw.recordings(42),
        lambda: cw.analyze(42),
        lambda: cw.compare(42, 43),
        lambda: cw.connect(42),
        lambda: cw.synthetic(scenario=42),
        lambda: cw.serve(recording=42),
        lambda: cw.serve(engine=42),
        lambda: cw.serve(redis=42),
        lambda: cw.serve(secret=42),
    ],
)
def test_what_is_no_source_is_refused_by_every_verb_with_what_was_expected(verb: Callable[[], object]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        verb()


def test_a_recording_ends_by_itself_after_its_duration(tmp_path: Path) -> None:
    with cw.synthetic(rate=50) as feed:
        recorder = cw.record(feed, tmp_path, duration="700ms")
        assert recorder.join(10)
        assert cw.open_recording(recorder.path).status == "finished"
        assert 10 < cw.open_recording(recorder.path).info().packets < 100
        with cw.record(feed, tmp_path, duration="1h") as other:
            feed.wait(feed.health().packets + 2)
        assert other.join(0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"duration": "1h", "until": "16:00"}, "either duration or until"),
        ({"duration": "soon"}, "expected"),
        ({"duration": "-1h"}, "expected"),
        ({"until": "soon"}, "is no time"),
        ({"until": "2020-01-01T00:00:00Z"}, "is past"),
    ],
)
def test_an_end_of_a_recording_that_cannot_be_is_refused(options: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        cw.record("ws://127.0.0.1:1", tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_a_slip_in_a_name_of_the_package_is_answered_with_the_nearest() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'wach'; did you mean 'watch'"):
        cw.wach  # noqa: B018
    assert not hasattr(cw, "__wrapped__")
