"""Divergence from a plan, as a measure of rules: live, recorded and guarded say the same."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

import ccwatch as cw
from ccwatch.alerts import AlertSettings, Evaluator, WrittenRule
from ccwatch.analysis import plan_for
from ccwatch.cli.app import main
from ccwatch.errors import ConfigError, MissingColumns
from ccwatch.feed.synthetic import START
from ccwatch.guard.guard import Guard
from tests.alerts.test_evaluator import rows
from tests.contract.conftest import wait_until

AT = pd.Timestamp(START)
BEHIND = WrittenRule("behind", "divergence < -0.5%")


def times(n, *, every=1.0, shift=0.0):
    return AT + pd.to_timedelta(shift + every * np.arange(n), unit="s")


def stream():
    """Nav 100 and then 1 % below from second 30 on."""
    return rows(np.where(np.arange(60) < 30, 100.0, 99.0), price=np.linspace(100.0, 160.0, 60))


def fired(plan, frame, *, cuts=(), rule=BEHIND, align="clock"):
    """Seconds at which the rule fires."""
    evaluator = Evaluator([rule], plan=plan_for([rule], plan, align), virtual_clock=True)
    parts = [frame.iloc[a:b] for a, b in zip((0, *cuts), (*cuts, len(frame)), strict=True)]
    changes = [change for part in parts if len(part) for change in evaluator.observe(part)]
    return [(change.time_ns - AT.value) / 1e9 for change in changes if change.state == "FIRING"]


PLANS = {
    "nav": lambda: pd.DataFrame({"nav": np.full(60, 1_000_000.0)}, index=times(60)),  # its own capital does not matter
    "returns": lambda: pd.DataFrame({"returns": np.zeros(60)}, index=times(60)),
    "signals": lambda: pd.DataFrame({"side": ["FLAT"] * 60}, index=times(60)),
}


@pytest.mark.parametrize("kind", PLANS)
def test_a_stream_that_leaves_its_plan_fires_at_its_packet(kind):
    assert fired(PLANS[kind](), stream()) == [30.0]


def test_signals_are_held_at_the_streams_own_prices():
    """Bought at second 10 with a tenth of the account: the plan gains 0.5 % once the price has gained some 5 % since."""
    plan = pd.DataFrame({"side": ["FLAT"] * 10 + ["BUY"] * 50, "approved_size": 0.1}, index=times(60))
    price = 100.0 * 1.002 ** np.arange(60)
    found = fired(plan, rows(np.full(60, 100.0), price=price))
    gained = np.cumprod(1.0 + 0.1 * np.where(np.arange(60) > 10, 0.002, 0.0)) - 1.0
    assert found == [float(np.flatnonzero(gained > 0.005)[0])]


def test_it_is_the_divergence_of_the_report():
    rng = np.random.default_rng(3)
    plan = pd.DataFrame({"nav": 100.0 + np.cumsum(rng.normal(size=70))}, index=times(70, shift=-5.0))
    frame = rows(250.0 + np.cumsum(rng.normal(size=60)))
    curve = cw.analyze(frame).against(plan).curve["divergence"].to_numpy()
    limit = float(np.sort(curve)[20])
    below = curve <= limit
    first = np.flatnonzero(below & ~np.append(False, below[:-1]))
    assert fired(plan, frame, rule=WrittenRule("b", f"divergence <= {limit + 1e-12!r}")) == [float(at) for at in first]


def test_where_the_plan_says_nothing_there_is_no_divergence():
    plan = PLANS["nav"]()
    assert fired(plan, rows(stream()["nav"], times=np.arange(60) + 3600.0)) == [], "after it"
    assert fired(plan, rows(stream()["nav"], times=np.arange(60) - 3600.0)) == [], "before it"
    hole = plan.drop(plan.index[25:45])
    assert fired(hole, stream()) == [45.0], "a stretch without a plan is not judged"


def test_a_plan_of_another_day_is_laid_on_the_first_packet_or_the_first_order():
    plan = PLANS["nav"]().set_index(times(60, shift=-86_400.0)).assign(side=["FLAT"] * 20 + ["BUY"] * 40)
    assert fired(plan, stream()) == []
    assert fired(plan, stream(), align="open") == [30.0]
    bought = stream().assign(side=["FLAT"] * 40 + ["SELL"] * 20)
    assert fired(plan, bought, align="event") == [], "both begin at second 40, when the loss is there already"
    assert fired(plan, bought.assign(side="SELL"), align="event") == [30.0]


@pytest.mark.slow
@given(st.lists(st.integers(0, 60), max_size=4).map(sorted), st.sampled_from([*PLANS]))
@settings(max_examples=20, deadline=None)
def test_the_cut_into_batches_does_not_matter(cuts, kind):
    assert fired(PLANS[kind](), stream(), cuts=tuple(cuts)) == [30.0]


@given(st.integers(1, 59))
@settings(max_examples=10, deadline=None)
def test_it_goes_on_after_a_restart(cut):
    plan = plan_for([BEHIND], PLANS["signals"]())
    one, two = (Evaluator([BEHIND], plan=plan, virtual_clock=True) for _ in range(2))
    changes = one.observe(stream().iloc[:cut])
    two.restore(one.snapshot())
    changes += two.observe(stream().iloc[cut:])
    assert [c.time_ns - AT.value for c in changes if c.state == "FIRING"] == [30_000_000_000]


def test_other_rules_go_on_with_the_same_plan_and_begin_with_another():
    evaluator = Evaluator([BEHIND], plan=plan_for([BEHIND], PLANS["nav"]()), virtual_clock=True)
    evaluator.observe(stream().iloc[:29])
    more = WrittenRule("far", "divergence < -0.9%")
    evaluator.use_rules([BEHIND, more], None, plan_for([more], PLANS["nav"]()))
    changes = evaluator.observe(stream().iloc[29:31])
    assert {c.rule for c in changes if c.state == "FIRING"} == {"behind", "far"}
    evaluator.use_rules([BEHIND], None, plan_for([BEHIND], PLANS["nav"]().iloc[20:]))
    assert {str(c.state) for c in evaluator.observe(stream().iloc[31:40])} <= {"OK"}
    with pytest.raises(ConfigError, match=r"'behind'.*\[expected\]"):
        evaluator.use_rules([BEHIND], None)


def test_without_a_plan_a_rule_on_it_is_refused_wherever_it_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with cw.synthetic(seed=1, packets=3, pace="max", name="no plan") as feed:
        for use in (
            lambda: Evaluator([BEHIND]),
            lambda: feed.on_alert(print, rules=[BEHIND]),
            lambda: cw.analyze(feed).alerts(rules=[BEHIND]),
            lambda: cw.watch(feed, rules=[BEHIND]),
            lambda: Evaluator([cw.Rule("b", "price > 1", clears="abs(divergence) < 1%")]),
        ):
            with pytest.raises(ConfigError, match=r"divergence.*\[expected\]"):
                use()
    with pytest.raises(MissingColumns):
        plan_for([BEHIND], pd.DataFrame({"velocity": [1.0, 2.0]}, index=times(2)))


@pytest.mark.slow
def test_a_desk_with_an_expectation_is_told_live_recorded_and_guarded_alike(tmp_path, monkeypatch, capsys):
    """The plan keeps the nav of the first packet; the stream loses: each way fires on the same packet."""
    monkeypatch.chdir(tmp_path)
    heard = []
    with (
        cw.synthetic(seed=1, scenario="drawdown-halt", packets=300, pace="max", name="plan") as feed,
        cw.record(feed, tmp_path / "rec") as kept,
    ):
        feed.join(60)
        nav = feed.frame(["nav"])["nav"].dropna()
        pd.DataFrame({"date": nav.index.strftime("%Y-%m-%dT%H:%M:%S.%f%z"), "nav": nav.iloc[0]}).to_csv(tmp_path / "plan.csv", index=False)
        (tmp_path / "ccwatch.toml").write_text('[expected]\npath = "plan.csv"\n[[rules]]\nname = "behind"\nwhen = "divergence < -0.5%"\n')
        forget = feed.on_alert(heard.append)
        wait_until(lambda: any(a.rule == "behind" for a in heard))
        forget()
        path = kept.path
    expected = [a.fired_ns for a in heard if a.rule == "behind" and a.is_open]
    assert expected[0] == nav.index[(nav / nav.iloc[0] - 1.0 < -0.005).to_numpy()][0].value
    reported = cw.analyze(path).alerts().to_frame().set_index("rule")["fired_time"]
    assert [reported["behind"].value] == expected
    with Guard(cw.open_recording(path), tmp_path / "g", settings=AlertSettings.load(), plan_for=plan_for) as guard:
        wait_until(lambda: guard.watch.is_caught_up)
        every = [*guard.watch.log.past, *guard.watch.open]
    assert [a.fired_ns for a in every if a.rule == "behind"] == expected
    with pytest.raises(SystemExit) as done:
        main(["rules", "test", str(path)])
    assert done.value.code in {0, None}
    assert "behind" in capsys.readouterr().out
