from __future__ import annotations

import math
from pathlib import Path

import pytest

import ccwatch as cw
from ccwatch.dashboard.header import Observation, duration, money, observe, render, state_words
from ccwatch.protocol.messages import ConnectionState

SAMPLE = Path(__file__).parents[2] / "recordings" / "sample-bad-session"


def test_the_countdown_of_a_disconnected_feed_is_in_words():
    seen = Observation(state=ConnectionState.DISCONNECTED, retry_s=3.2)
    assert state_words(seen)[0] == "Disconnected, next try in 4 s"


def test_a_recording_tells_its_gaps():
    recording = cw.open_recording(SAMPLE)
    assert observe(recording).gaps == recording.info().gaps == 1


def test_every_state_has_words_of_its_own():
    words = {state_words(Observation(state=state))[0] for state in ConnectionState}
    assert len(words) == len(ConnectionState)
    assert all(words)


def test_the_header_tells_what_the_stream_says(view):
    seen = observe(view)
    page = render(seen)
    latest = view.frame().iloc[-1]
    assert "Connected" in page
    assert "SYNTHETIC" in page
    assert f"${latest['nav']:,.2f}" in page
    assert f"${latest['cash']:,.2f}" in page
    assert f"{latest['max_drawdown']:.2%}" in page
    for word in (latest["symbol"], latest["status"], latest["regime"], "0 s ago"):
        assert word in page


def test_a_live_stream_has_no_synthetic_badge(view):
    view.origin = "live"
    assert "SYNTHETIC" not in render(observe(view))


def test_a_value_that_the_newest_packet_does_not_carry_is_that_of_the_one_before(view):
    nav = view.frame()["nav"].iloc[-1]
    view.change(nav=math.nan, regime=None)
    assert observe(view).nav == nav
    assert observe(view).regime is not None


def test_a_stream_without_packets_shows_dashes_and_no_nan():
    page = render(Observation(state=ConnectionState.CONNECTING))
    assert "nan" not in page.lower()
    assert "never" in page


@pytest.mark.parametrize("place", ["symbol", "status", "regime", "error", "origin"])
def test_nothing_of_the_stream_is_markup(place):
    page = render(Observation(state=ConnectionState.DISCONNECTED, **{place: "<img src=x onerror=alert(1)>"}))
    assert "<img" not in page


def test_nothing_of_a_recording_or_a_trouble_is_markup():
    page = render(Observation(), recording="<script>1</script>", trouble="<script>2</script>", note="<script>3</script>")
    assert "<script" not in page
    assert page.count("&lt;script") == 3


def test_a_loss_and_a_gain_carry_their_sign():
    assert money(-12.5, sign=True) == "-$12.50"
    assert money(1234.5, sign=True) == "+$1,234.50"
    assert money(0.0) == "$0.00"


def test_durations_change_once_a_second_at_most():
    assert [duration(s) for s in (0.2, 0.9, 59.9, 61, 3700)] == ["0 s", "0 s", "59 s", "1 min 1 s", "1 h 1 min"]


def test_a_reconnect_is_told_beside_the_gaps():
    assert "2, and reconnected 1×" in render(Observation(state=ConnectionState.OPEN, gaps=2, reconnects=1))
