"""A stream held against what was expected: the ghost line and the panel of the difference."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import ccwatch as cw
from ccwatch.config import ExpectedPlan, default_expected
from ccwatch.dashboard.expected_panels import POINTS, expectation_of, with_expectation
from ccwatch.dashboard.panel_choice import choose_panels
from ccwatch.errors import ConfigError, MissingColumns, RecordingNotFound
from tests.dashboard.conftest import wait_until
from tests.dashboard.test_alert_strip import BAD_SESSION, paint

NAVS = [100_000.0 + 10.0 * n for n in range(60)]


@pytest.fixture(scope="module")
def recording():
    return cw.open_recording(BAD_SESSION)


def lines(view, expected, align="clock", panels=("pnl", "nav")):
    """The computed lines by panel."""
    shown = with_expectation(choose_panels(panels), expectation_of(expected, align))
    return {panel.name: panel.compute(view) for panel in shown if panel.compute}


class Fixed:
    """A view of a frame."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self._rows = rows

    def frame(self, columns=None, last=None):
        del last
        return self._rows if columns is None else self._rows[[name for name in columns if name in self._rows]]


def rows(navs, *, begin="2026-01-02T14:30:00Z", **more):
    index = pd.date_range(begin, periods=len(navs), freq="s", unit="ns", name="time")
    columns = {"seq": np.arange(1, len(navs) + 1), "connection": 1, "symbol": "SPY", "nav": navs, "daily_pnl": np.array(navs) - navs[0]}
    return pd.DataFrame(columns | more, index=index)


def test_a_stream_that_follows_its_plan_has_the_ghost_on_its_own_line_and_no_difference(recording):
    found = lines(recording, recording)
    frame = recording.frame(["nav"])["nav"].dropna()
    (ghost,) = found["nav"]
    assert ghost.value[-1] == pytest.approx(frame.iloc[-1])
    assert ghost.time_ms[-1] == frame.index[-1].value / 1e6
    assert len(ghost.value) <= 2 * POINTS
    assert ghost.ghost
    (gap,) = found["difference"]
    assert np.nanmax(np.abs(gap.value)) < 1e-9
    assert np.isnan(gap.value).any(), "a gap of the stream is not bridged"


@pytest.mark.parametrize("kind", ["nav", "returns", "signals", "csv"])
def test_the_difference_is_that_of_the_two_profits_whatever_the_expectation_is_made_of(kind, tmp_path):
    price = 100.0 * (1.0 + 0.001 * np.arange(60))
    view = Fixed(rows(NAVS, price=price))
    plan = rows([100_000.0 * p / 100.0 for p in price])
    if kind == "csv":
        plan[["nav"]].to_csv(tmp_path / "plan.csv")
    expected = {
        "nav": plan[["nav"]],
        "returns": plan["nav"].pct_change().rename("returns"),
        "signals": plan.assign(side="BUY")[["side"]],  # all of the nav is held, at the stream's own prices
        "csv": tmp_path / "plan.csv",
    }[kind]
    (gap,) = lines(view, expected)["difference"]
    assert gap.value[-1] == pytest.approx(590.0 / 100_000.0 - 0.059)
    (ghost,) = lines(view, expected)["pnl"]
    assert ghost.value[-1] == pytest.approx(0.059)


def test_sizes_of_signals_are_shares_of_the_nav():
    view = Fixed(rows(NAVS, price=100.0 * (1.0 + 0.001 * np.arange(60))))
    signals = rows(NAVS, side="SELL", approved_size=0.1)[["side", "approved_size"]]
    (ghost,) = lines(view, signals)["pnl"]
    assert ghost.value[-1] == pytest.approx(np.prod(1.0 - 0.1 * 0.001 / (1.0 + 0.001 * np.arange(59))) - 1.0)


def test_a_plan_of_another_day_is_laid_by_the_first_packets_or_the_first_trade():
    sides = ["FLAT"] * 10 + ["BUY"] * 50
    view = Fixed(rows(NAVS, side=sides))
    plan = rows([100_000.0] * 60, begin="2025-12-01T09:00:00Z", side=["FLAT"] * 5 + ["BUY"] * 55)
    with pytest.raises(cw.NotEnoughData, match="align='open'"):
        lines(view, plan)
    assert lines(view, plan, "open")["difference"][0].value[-1] == pytest.approx(0.0059)
    assert lines(view, plan, "event")["difference"][0].time_ms[0] == view.frame().index[5].value / 1e6


def test_what_cannot_be_an_expectation_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingColumns, match="nav, returns, side"):
        cw.watch(BAD_SESSION, against=rows(NAVS)[["seq"]])
    with pytest.raises(ConfigError, match="align='noon': expected one of clock, open, event"):
        cw.watch(BAD_SESSION, against=BAD_SESSION, align="noon")
    with pytest.raises(RecordingNotFound):
        cw.watch(BAD_SESSION, against="no-such-plan")
    with pytest.raises(ConfigError, match="expected=42"):
        cw.watch(BAD_SESSION, against=42)


def test_the_plan_of_the_settings_file_is_the_default_and_can_be_left_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows(NAVS, begin="2025-01-02T14:30:00Z")[["nav"]].to_csv(tmp_path / "plan.csv")
    (tmp_path / "ccwatch.toml").write_text('[expected]\npath = "plan.csv"\n')
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert default_expected() == ExpectedPlan(str(tmp_path / "plan.csv"), "clock", None)
    names = lambda dashboard: [panel.name for panel in dashboard._panels]  # noqa: E731
    with cw.watch(BAD_SESSION) as shown:
        assert names(shown) == ["price", "pnl", "difference", "alpha", "services"]
    with cw.watch(BAD_SESSION, against=False) as shown:
        assert names(shown) == ["price", "pnl", "alpha", "services"]
    with pytest.raises(cw.NotEnoughData, match="align='open'"):
        cw.analyze(BAD_SESSION).against()
    (tmp_path / "ccwatch.toml").write_text('[expected]\npath = "plan.csv"\nalign = "open"\n')
    assert len(cw.analyze(BAD_SESSION).against().to_frame())
    (tmp_path / "ccwatch.toml").write_text('[expected]\npath = "plan.csv"\nalign = "close"\n')
    with pytest.raises(ConfigError, match=r"ccwatch\.toml:3: align='close': expected one of clock, open, event"):
        cw.watch(BAD_SESSION)
    (tmp_path / "ccwatch.toml").write_text('[expected]\npaht = "plan.csv"\n')
    with pytest.raises(ConfigError, match=r"ccwatch\.toml:2: no setting of \[expected\] 'paht'.*path"):
        cw.watch(BAD_SESSION)
    (tmp_path / "ccwatch.toml").write_text("[expected]\npath = 3\n")
    with pytest.raises(ConfigError, match=r"ccwatch\.toml:2: path=3: expected the path or the name of a recording"):
        cw.watch(BAD_SESSION)


@pytest.mark.slow
def test_the_page_gets_the_ghost_and_the_difference_and_an_answer_that_there_is_none(sent, view):
    view.step(40)
    with cw.Dashboard(view, panels=with_expectation(choose_panels(("pnl",)), expectation_of(view.frame(), "clock"))) as shown:
        paint(shown)
        wait_until(lambda: {content["panel"] for content, _ in sent.custom("computed")} == {"pnl", "difference"})
    far = expectation_of(rows(NAVS, begin="2031-01-02T14:30:00Z"), "clock")
    with cw.Dashboard(view, panels=with_expectation(choose_panels(("pnl",)), far)) as shown:
        paint(shown)
        wait_until(lambda: "difference: NotEnoughData" in shown._channels[0].background.trouble)
