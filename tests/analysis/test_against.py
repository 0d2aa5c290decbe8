"""Plan and fact, packet by packet."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import ccwatch as cw
from ccwatch.errors import ConfigError, MissingColumns, NotEnoughData


@pytest.fixture
def plan(rows):
    """100 shares bought at second 10 and sold at second 40, on a price that rises by 10 cents a second."""

    def make(*, bought=10, sold=40, shares=100.0, shift=0.0, bump=0.0, count=60):
        second = np.arange(count)
        price = np.round(100.0 + 0.1 * second + bump * (second >= 30), 2)
        held = np.where((second >= bought) & (second < sold), shares, 0.0)
        cash = 100_000.0 - np.cumsum(np.diff(held, prepend=0.0) * price)
        nav, cash = np.round(cash + held * price, 2), np.round(cash, 2)
        return rows(times=second + shift, price=price, nav=nav, cash=cash, side=np.where(held > 0, "BUY", "FLAT"))

    return make


def split(found):
    return dict(zip(found.split()["part"], found.split()["change_usd"], strict=True))


def test_a_session_that_follows_its_plan_departs_nowhere(plan):
    found = cw.analyze(plan()).against(plan())
    assert found.first is None
    assert found.difference_usd == 0.0
    assert "No packet" in found.headline()


@pytest.mark.parametrize(
    ("fact", "part", "usd"),
    [
        ({"bought": 15}, "timing", -50.0),  # five seconds late on 100 shares at 10 cents a second
        ({"shares": 50.0}, "size", -150.0),
        ({"bought": 99}, "missing signals", -300.0),
        ({"bump": 1.0}, "price", 100.0),
    ],
)
def test_a_difference_is_split_to_the_cent(plan, fact, part, usd):
    found = cw.analyze(plan(**fact)).against(plan())
    assert split(found) == {name: (usd if name == part else 0.0) for name in ("timing", "size", "price", "missing signals")}
    assert found.difference_usd == usd
    assert found.to_frame()["difference_usd"].iloc[-1] == pytest.approx(usd)


def test_a_planted_divergence_is_found_at_its_packet(plan):
    fact = plan()
    fact.iloc[25, fact.columns.get_loc("side")] = "SELL"
    found = cw.analyze(fact).against(plan())
    assert found.first["time"] == fact.index[25]
    assert found.first["columns"] == "side"
    assert (found.first["actual"], found.first["expected"]) == ("side SELL", "side BUY")
    assert len(found.divergences) == 1


def test_plans_are_laid_by_their_beginning_or_their_first_signal(plan):
    moved = plan(shift=3600.0)
    with pytest.raises(NotEnoughData, match="align='open'"):
        cw.analyze(plan()).against(moved)
    assert cw.analyze(plan()).against(moved, align="open").first is None
    late = cw.analyze(plan(bought=15, sold=45)).against(plan(), align="event")
    assert late.shift_s == 5.0
    with pytest.raises(ConfigError, match="align"):
        cw.analyze(plan()).against(moved, align="noon")


def test_without_positions_there_is_no_split(plan):
    found = cw.analyze(plan(bought=15)).against(plan()[["nav"]])
    assert found.difference_usd == -50.0
    with pytest.raises(MissingColumns, match="positions"):
        found.split()
    with pytest.raises(MissingColumns):
        cw.analyze(plan()[["nav"]]).against(plan()[["side"]])


def test_a_plan_may_be_a_file_a_series_or_returns(plan, tmp_path):
    path = tmp_path / "plan.csv"
    plan()[["nav"]].to_csv(path)
    assert cw.analyze(plan()).against(path).difference_usd == 0.0
    returns = plan()["nav"].pct_change().fillna(0.0).rename("returns")
    assert abs(cw.analyze(plan()).against(returns).difference_usd) < 0.01
    assert cw.analyze(plan()).against(plan()["nav"]).difference_usd == 0.0
    with pytest.raises(ConfigError, match="no times"):
        cw.analyze(plan()).against(pd.DataFrame({"nav": [1.0, 2.0]}))


def test_divergence_is_the_curves_and_warns_as_a_rule(plan):
    """Also of a frame that begins later, as the last minutes that a rule sees do."""
    report = cw.analyze(plan(bump=-1.0))
    found = report.against(plan())
    frame = plan(bump=-1.0)
    np.testing.assert_allclose(found.divergence(frame).to_numpy(), found.curve["divergence"].to_numpy(), atol=1e-12)
    np.testing.assert_allclose(found.divergence(frame.iloc[40:]).to_numpy(), found.curve["divergence"].to_numpy()[40:], atol=1e-12)
    assert found.divergence(frame.assign(nav=np.nan)).isna().all()
    fired = report.alerts(rules=[found.divergence.rule(-0.0009)]).firings
    assert fired["fired_time"].tolist() == [frame.index[30]]  # the price falls by a dollar on 100 shares
    with pytest.raises(ConfigError, match="expected a fraction"):
        found.divergence.rule(0.0)


@pytest.mark.slow
def test_divergence_is_a_panel_beside_others(plan, tmp_path):
    report = cw.analyze(plan(bump=-1.0))
    divergence = report.against(plan()).divergence
    feed = cw.synthetic(seed=1, packets=60, pace="max")
    feed.join(30)
    try:
        page = cw.watch(feed, panels=["price", divergence]).to_html(tmp_path / "page.html")
        assert "divergence" in page.read_text(encoding="utf-8")
    finally:
        cw.stop_all()
