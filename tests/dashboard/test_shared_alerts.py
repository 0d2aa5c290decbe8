"""A silence asked for on the page is in the journal beside the recording, where the guard reads it, and on the page."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import ccwatch as cw
from ccwatch.alerts import AlertWatch, Rule
from ccwatch.dashboard.shared_alerts import SILENCE_S, SharedAlerts
from ccwatch.errors import ConfigError
from ccwatch.recording import AlertJournal
from tests.dashboard.conftest import wait_until

RULE = Rule("always", "drawdown_peak", 1.0, "fires with any packet", "fraction", below=True)


def test_the_page_silences_an_alert_in_the_journal_that_the_guard_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCWATCH_RECORDINGS", str(tmp_path))
    heard: list[bool] = []
    with cw.synthetic(seed=3, rate=20) as feed, cw.record(feed) as recorder:
        watch = AlertWatch(feed, [RULE])
        watch.start()
        try:
            wait_until(lambda: watch.open)
            shared, (alert,) = SharedAlerts(feed, lambda: heard.append(True)), watch.open
            with pytest.raises(ConfigError, match="reason"):
                shared.silence(watch, alert.rule, alert.subject, " ")
            shared.silence(watch, alert.rule, alert.subject, "the desk knows")
            silence = AlertJournal(recorder.path).book().silence_of(alert.to_dict())
            assert silence is not None
            assert silence.reason == "the desk knows"
            assert abs(silence.until_ns - time.time_ns()) <= SILENCE_S * 1e9
            assert heard
            assert shared.words_of(watch, alert, 0.0)["silenced"] == [silence.until_ns / 1e6, silence.by, "the desk knows"]
        finally:
            watch.stop()


def test_without_a_journal_nothing_can_be_silenced(view) -> None:
    with pytest.raises(ConfigError, match="no recording is being made"):
        SharedAlerts(view, lambda: None).silence(AlertWatch(view, [RULE]), "always", "", "why")
