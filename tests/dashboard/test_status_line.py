from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

import ccwatch as cw
from ccwatch.dashboard.status_line import observe, zone_name
from ccwatch.protocol.messages import ConnectionState

SAMPLE = Path(__file__).parents[2] / "recordings" / "sample-bad-session"


def test_the_countdown_of_a_disconnected_feed_and_its_reason_are_in_words(view):
    view.state = ConnectionState.DISCONNECTED
    view.facts |= {"retry_in_s": 3.2, "error": "refused"}
    assert observe(view).words == "Disconnected, next try in 4 s (refused)"


def test_a_recording_tells_its_gaps():
    recording = cw.open_recording(SAMPLE)
    assert observe(recording).gaps == recording.info().gaps == 1
    assert observe(recording).words == "Recording"


def test_every_state_has_words_of_its_own(view):
    words = set()
    for state in ConnectionState:
        view.state = state
        words.add(observe(view).words)
    assert len(words) == len(ConnectionState)
    assert all(words)


def test_silence_after_a_halt_is_not_stale_but_halted_and_since_when(view):
    view.change(status="HALT")
    view.state = ConnectionState.STALE
    seen = observe(view, "America/New_York")
    assert seen.words.startswith("halted, silent since 09:30:")
    assert seen.mood == "warn"


def test_a_feed_calls_a_halted_streams_silence_open_and_the_line_says_it_all_the_same(view):
    view.change(status="HALT")
    view.state = ConnectionState.OPEN
    assert observe(view).words == "Connected"
    view.facts["silence"] = "halted, silent since 14:30 UTC"
    assert observe(view, "America/New_York").words.startswith("halted, silent since 09:30:")


def test_an_error_is_bounded_and_an_old_one_is_not_told_of_an_open_stream(view):
    view.state = ConnectionState.DISCONNECTED
    view.facts["error"] = "x" * 5_000
    assert len(observe(view).error) == 300
    view.state = ConnectionState.OPEN
    assert observe(view).error == ""


@pytest.mark.parametrize(
    ("tz", "at", "expected"),
    [("UTC", "2026-01-02", "UTC"), ("America/New_York", "2026-01-02", "EST"), ("America/New_York", "2026-07-02", "EDT")],
)
def test_a_zone_has_the_short_name_of_its_season(tz, at, expected):
    assert zone_name(tz, pd.Timestamp(at, tz="UTC").to_pydatetime()) == expected
    assert zone_name("Asia/Dubai", None) == "Asia/Dubai"


def test_a_view_of_which_nothing_is_known_has_a_status_that_json_can_hold():
    seen = observe(SimpleNamespace(origin=""))
    assert seen.to_json(note="n")["note"] == "n"
    assert seen.age_s is None
