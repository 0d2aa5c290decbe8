from __future__ import annotations

import pandas as pd
import pytest

import ccwatch as cw
from ccwatch.dashboard import marks
from ccwatch.dashboard.dashboard import Dashboard
from ccwatch.errors import ConfigError
from tests.dashboard.conftest import wait_until
from tests.dashboard.test_dashboard import ready, say


def test_every_dashboard_of_a_feed_shows_its_marks(view, sent):
    with Dashboard(view) as one, Dashboard(view) as other:
        ready(other)
        one.mark("first", pd.Timestamp("2026-01-02T14:30:01Z"))
        say(other, {"type": "mark", "page": "p1", "time": view.frame().index[3].value / 1e6, "text": "<b>second</b>"})
        wait_until(lambda: len(marks.of(view)) == 2)
        shown = wait_until(lambda: [content for content, _ in sent.custom("side") if len(content["replace"].get("marks", ())) == 2])
        assert [text for _, text in shown[-1]["replace"]["marks"]] == ["<b>second</b>", "first"]


def test_a_mark_of_a_recording_is_kept_with_it(tmp_path):
    feed = cw.synthetic(seed=1, rate=50, packets=60)
    with cw.record(feed, tmp_path) as recorder:
        feed.join(30)
    with cw.watch(recorder.path) as shown:
        shown.mark("here it began")
    assert [mark.text for mark in cw.open_recording(recorder.path).marks] == ["here it began"]


@pytest.mark.slow
def test_a_mark_of_a_feed_goes_at_once_into_every_recording_that_is_being_made_of_it_and_into_no_other(tmp_path, monkeypatch):
    monkeypatch.setenv("CCWATCH_RECORDINGS", str(tmp_path / "button"))
    with cw.synthetic(seed=1, rate=50) as feed, cw.watch(feed) as shown, cw.record(feed, tmp_path / "own") as own:
        with cw.record(feed, tmp_path / "before") as before:
            feed.wait(5)
        say(shown, {"type": "record"})
        wait_until(lambda: shown._record_control.recorder)
        wait_until(lambda: shown._record_control.recorder.stats.written_seq > 0 and own.stats.written_seq > 0, 60)
        shown.mark("seen live")
        made = shown._record_control.recorder.path
        for path in (own.path, made):
            assert [mark.text for mark in cw.open_recording(path).marks] == ["seen live"], "while it is being written"
    for path in (own.path, made):
        assert cw.open_recording(path).info().status == "finished"
        assert [mark.text for mark in cw.open_recording(path).marks] == ["seen live"]
    assert cw.open_recording(before.path).marks == ()


def test_a_mark_without_a_zone_is_refused(view):
    with Dashboard(view) as shown, pytest.raises(ConfigError, match="zone"):
        shown.mark("when?", pd.Timestamp("2026-01-02T14:30:01"))
