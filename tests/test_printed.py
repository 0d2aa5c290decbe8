"""Plain IPython prints one line for each value that a reader gets, not a dataclass with all its fields."""

from __future__ import annotations

import pytest
from IPython.core.formatters import PlainTextFormatter

import ccwatch as cw
from tests.dashboard.conftest import wait_until


def printed(value: object) -> str:
    text: str = PlainTextFormatter()(value)
    return text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("printed")
    with cw.synthetic(seed=7, scenario="drawdown-halt", packets=240, pace="max") as feed, cw.record(feed, folder, name="one") as recorder:
        feed.join(60)
    return str(recorder.path)


def test_what_a_feed_and_a_recording_say_is_one_line_each(folder: str) -> None:
    opened = cw.open_recording(folder)
    with cw.synthetic(seed=7, packets=5, pace="max") as feed:
        feed.join(60)
        lines = [printed(value) for value in (feed, feed.health(), feed.latest, opened, opened.info(), opened.verify(), cw.watch(feed))]
    assert [line for line in lines if "\n" in line or len(line) > 300 or not line.startswith("<")] == []
    assert "5 packets" in lines[1]
    assert "nothing odd" in lines[1]
    assert "240 packets in 0:03:59, 0 gaps" in lines[4]
    assert "every checksum agrees" in lines[5]


def test_an_alert_prints_what_fires_since_when_and_how_bad_it_is(folder: str) -> None:
    found: list[cw.Alert] = []
    with cw.replay(folder, speed="max") as feed:
        feed.on_alert(found.append)
        feed.join(60)
        wait_until(lambda: any(alert.rule == "halt" for alert in found))
    (halt,) = [alert for alert in found if alert.rule == "halt"]
    (fall,) = [alert for alert in found if alert.rule == "drawdown-start-2"]
    assert str(halt) == f"{halt.id} critical halt fires since 2026-01-02 14:33:00 UTC: the engine's status is HALT"
    assert str(fall).endswith("drawdown from the day's starting capital at −2 %, now −2.19 %")
    assert printed(fall) == f"<Alert {fall}>"


def test_a_back_test_prints_each_rules_certificate(folder: str) -> None:
    rule = cw.Rule("two percent down", "drawdown_peak <= -2%")
    head, line = printed(cw.backtest([rule], [folder])).splitlines()
    assert head == "<Backtest of 1 rules on 1 sessions, 1 incidents>"
    assert line.startswith("two percent down: 1 of 1")
