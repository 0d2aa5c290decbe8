"""Rules in words: the same live, recorded and however the stream is cut."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import ccwatch as cw
from ccwatch.alerts import DEFAULT_RULES, Change, Evaluator
from ccwatch.domain.hours import read_hours
from ccwatch.errors import ConfigError
from ccwatch.feed.synthetic import messages
from ccwatch.protocol.messages import Packet
from tests.alerts.test_evaluator import ZERO_NS, rows
from tests.analysis.conftest import SECOND, receive

RULES = [
    cw.Rule("deep", "drawdown_peak <= -0.2%", clears="-0.1%", for_="3s"),
    cw.Rule("both", "alpha < 2.2 and exposure > 5%"),
    cw.Rule("mean", "mean(latency:Risk, 1m) > 12 or std(price, 2m) > 0.2"),
    cw.Rule("change", "change(nav, 1m) < -20 or rate(price, 30s) > 0.01"),
    cw.Rule("usual", "latency_usual > 1.05", for_="5s"),
    cw.Rule("regime", 'regime != "Gaussian" and not halt'),
    cw.Rule("gone", "absent(nav, 20s)", for_="5s"),
    cw.Rule("spread", "max(price, 1m) - min(price, 1m) > 0.3"),
    cw.Rule("errors", "error_rate > 1%"),
    cw.Rule("function", lambda frame: frame["price"].iloc[-1] < frame["price"].mean()),
]


def packets(scenario: str, count: int = 160) -> list[Packet]:
    return [i for i in receive(itertools.islice(messages(3, scenario, 1.0), count)) if isinstance(i, Packet)]


@cache
def judged_whole(scenario: str) -> tuple[list[Packet], list[Change]]:
    items = packets(scenario)
    return items, Evaluator([*DEFAULT_RULES, *RULES], virtual_clock=True).receive(items)


@pytest.mark.slow
@given(st.lists(st.integers(1, 159), max_size=5), st.sampled_from(["slow-agent@60", "gap@70", "regime-flip@20"]))
@settings(max_examples=6, deadline=None)
def test_where_a_stream_is_cut_does_not_matter_to_rules_in_words(cuts, scenario):
    items, expected = judged_whole(scenario)
    parts = Evaluator([*DEFAULT_RULES, *RULES], virtual_clock=True)
    edges = [0, *sorted(cuts), len(items)]
    found = [change for a, b in itertools.pairwise(edges) for change in parts.receive(items[a:b])]
    assert sorted(map(repr, found)) == sorted(map(repr, expected))
    assert {change.rule for change in expected if change.state == "FIRING"} & {rule.name for rule in RULES}


@pytest.mark.slow
def test_a_recorded_frame_gives_what_the_live_packets_gave(stream):
    source = stream("slow-agent@40", count=100)
    live = Evaluator([*DEFAULT_RULES, *RULES], virtual_clock=True)
    found = [change for item in source.items for change in live.receive([item])]
    recorded = Evaluator([*DEFAULT_RULES, *RULES], virtual_clock=True)
    expected = recorded.observe(source.frame(clean=False), source.agents(), source.models())
    assert list(map(repr, found)) == list(map(repr, expected))


def fired(rule, frame, *, hours=None):
    changes = Evaluator([rule], virtual_clock=True, hours=hours).observe(frame)
    return [((c.time_ns - ZERO_NS) / SECOND, str(c.state)) for c in changes if c.state in {"FIRING", "OK"} and c.before != "NO_DATA"]


def test_a_limit_fires_at_its_value_and_is_resolved_beyond_its_clear():
    frame = rows([100.0, 98.0, 98.1, 98.9, 99.1], cash=np.full(5, 50.0))
    assert fired(cw.Rule("d", "drawdown_peak <= -2%"), frame) == [(1, "FIRING"), (2, "OK")]
    assert fired(cw.Rule("d", "drawdown_peak <= -2%", clears="-1%"), frame) == [(1, "FIRING"), (4, "OK")]
    assert fired(cw.Rule("d", "drawdown_peak <= -2%", clears="drawdown_peak > -1.2%"), frame) == [(1, "FIRING"), (3, "OK")]


def test_an_average_over_a_duration_is_that_of_its_observations():
    frame = rows(np.full(6, 100.0), alpha=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    changes = Evaluator([cw.Rule("m", "mean(alpha, 3s) >= 4")], virtual_clock=True).observe(frame)
    (change,) = [c for c in changes if c.state == "FIRING"]
    assert ((change.time_ns - ZERO_NS) / SECOND, change.value) == (4.0, 4.0)  # of 3, 4 and 5


def test_a_value_that_is_not_carried_goes_on_to_count_while_it_is_fresh():
    times = [0, 1, 30, 100]
    frame = rows([100.0, np.nan, np.nan, np.nan], times=times, cash=[50.0, np.nan, np.nan, np.nan], alpha=[2.0, 1.5, 1.5, 1.5])
    assert fired(cw.Rule("b", "alpha < 1.7 and exposure > 10%"), frame) == [(1, "FIRING")]


def test_absence_is_told_in_its_time_with_packets_and_without():
    rule = cw.Rule("gone", "absent(nav, 10s)")
    frame = rows([100.0, *[np.nan] * 20, 100.0], alpha=np.full(22, 2.0))
    assert fired(rule, frame) == [(10, "FIRING"), (21, "OK")]
    evaluator = Evaluator([rule], virtual_clock=True)
    evaluator.observe(rows([100.0]))
    assert [(c.time_ns - ZERO_NS) / SECOND for c in evaluator.advance(ZERO_NS + 60 * SECOND) if c.state == "FIRING"] == [10]


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("drawdown_peek < -1%", "did you mean 'drawdown_peak'"),
        ("latency:Risk", "neither true nor false"),
        ("alpha + 1", "neither true nor false"),
        ("status < 3", "is a word"),
        ('status == "HALTED"', "did you mean 'HALT'"),
        ("nav:Risk > 1", "is of no service"),
        ("alpha and nav > 1", "joins comparisons"),
        ("nav > 5s", "what is in ms or s"),
        ("latency * 2s > 4", "what is in ms or s"),
        ("drawdown_peak <= -2", "write -2%"),
        ("drawdown > 1%", "did you mean 'drawdown_peak'"),
        ("drawdown_start >= 2%", "never reached: drawdown_start lies between -100% and 0%"),
        ("2% < drawdown_inception", "never reached"),
        ("exposure > 95", "write 95% for 0.95"),
        ("mean(exposure, 5m) > 95", "write 95% for 0.95"),
        ("approved_size > 25%", "lies between 0% and 20%"),
        ("confidence > 120%", "never reached"),
        ("day_pnl < -1%", "day_pnl < -1%: a percentage of what. It is in USD"),
        ("change(nav, 5m) < -1%", "It is in USD"),
        ("latency > 5%", "It is in ms"),
        ("1 > 0", "judges nothing of the stream"),
        ("kind == 'STATE'", "unknown measure or column 'kind'"),
        ("staus == 'HALT'", "did you mean 'status'"),
        ("mean(confidence, 5m) > 60", "write 60%"),
    ],
)
def test_an_unknown_word_is_refused_with_the_nearest_one(when, said):
    with pytest.raises(ConfigError, match=said):
        cw.Rule("odd", when)


@pytest.mark.parametrize(
    "when",
    [
        "drawdown_peak > 0",
        "drawdown_peak <= 2%",
        "drawdown_peak != 2%",
        "change(nav, 5m) < -1% * nav",
        "rate_usual > 150%",
        "exposure > 120%",
    ],
)
def test_a_limit_that_can_be_reached_is_taken(when):
    assert cw.Rule("r", when).condition is not None


@pytest.mark.parametrize(
    ("when", "limit"),
    [
        ("latency > 500ms", 500.0),
        ("mean(latency:Risk, 5m) > 2s", 2_000.0),
        ("0.5s < latency", 500.0),
        ("recorder_lag > 500ms", 0.5),
        ("exposure > 150%", 1.5),
    ],
)
def test_a_duration_is_in_the_unit_of_what_it_is_compared_with(when, limit):
    assert cw.Rule("r", when).condition.limit == limit


def test_a_bare_value_that_clears_is_in_the_unit_of_the_measure():
    assert cw.Rule("r", "latency > 500ms", clears="400ms").clearing.limit == 400.0


@pytest.mark.parametrize(
    "options", [{"for_": "soon"}, {"severity": "bad"}, {"hours": "night"}, {"clears": "-3%"}, {"clears": "nothing"}, {"runbook": 3}]
)
def test_a_rule_that_cannot_be_judged_is_refused(options):
    with pytest.raises(ConfigError, match="rule 'odd'"):
        cw.Rule("odd", "drawdown_peak <= -2%", **options)


def test_editing_a_rule_changes_its_digest_and_its_words_for_people_do_not():
    rule = cw.Rule("r", "alpha < 1.7")
    assert rule.digest == cw.Rule("r", "alpha < 1.7", runbook="x", meaning="y").digest
    for other in (cw.Rule("r", "alpha < 1.8"), cw.Rule("r", "alpha < 1.7", for_="1s"), cw.Rule("r", "alpha < 1.7", clears="2")):
        assert rule.digest != other.digest


# ── trading days ──

HOURS = read_hours({"timezone": "UTC", "open": "14:30", "close": "21:00", "grace_s": 300.0})
DAY = 86_400.0


def test_each_trading_day_begins_anew_and_its_limits_fire_on_the_second_day_too():
    days = [0.0, 1.0, 2.0, DAY * 3, DAY * 3 + 1, DAY * 3 + 2]  # a Friday and the Monday after it
    frame = rows([100.0, 97.9, 97.9, 97.0, 97.0, 94.9], times=days, daily_pnl=[0.0, -2.1, -2.1, 0.0, 0.0, -2.1])
    rules = [rule for rule in DEFAULT_RULES if rule.name in {"drawdown-peak-2", "drawdown-start-2", "drawdown-inception"}]
    changes = Evaluator(rules, virtual_clock=True, hours=HOURS).observe(frame)
    heard = [(c.rule, (c.time_ns - ZERO_NS) / SECOND) for c in changes if c.state == "FIRING" and c.before != "NO_DATA"]
    for rule in ("drawdown-peak-2", "drawdown-start-2"):
        assert [at for name, at in heard if name == rule] == [1.0, DAY * 3 + 2]
    assert [at for name, at in heard if name == "drawdown-inception"] == [DAY * 3 + 2]


def test_outside_of_hours_silence_is_no_alarm_and_after_the_open_and_its_grace_it_is_critical():
    start = 6.0 * 3600 + 1700  # 20:58:20, towards the close at 21:00
    frame = rows(np.full(100, 100.0), times=start + np.arange(100.0))
    evaluator = Evaluator(virtual_clock=True, hours=HOURS)
    evaluator.observe(frame)
    night = evaluator.advance(ZERO_NS + round((start + 3 * 3600) * SECOND))
    assert [c for c in night if c.state == "FIRING"] == []
    monday = evaluator.advance(ZERO_NS + round((3 * DAY + 301) * SECOND))
    assert [(c.rule, str(c.severity)) for c in monday if c.state == "FIRING"] == [("not-started", "critical")]
    back = evaluator.observe(rows([100.0], times=[3 * DAY + 400]))
    assert ("not-started", "OK") in {(c.rule, str(c.state)) for c in back}


def test_a_rule_of_the_session_is_not_judged_at_night_and_one_for_always_is():
    frame = rows([100.0, 50.0], times=[10 * 3600.0, 10 * 3600.0 + 1])
    assert fired(cw.Rule("s", "nav < 60"), frame, hours=HOURS) == []
    assert fired(cw.Rule("a", "nav < 60", hours="always"), frame, hours=HOURS) == [(36_001, "FIRING")]


def test_the_snapshot_of_an_evaluator_goes_on_where_it_was():
    frame = rows(100.0 * (1.0 - 0.001 * np.arange(40.0)), daily_pnl=np.zeros(40))
    rules = [cw.Rule("d", "drawdown_peak <= -1%", for_="10s"), *DEFAULT_RULES]
    whole = Evaluator(rules, virtual_clock=True)
    expected = [repr(c) for c in whole.observe(frame) if c.rule in {"d", "drawdown-peak-2"}][-2:]
    for cut in (5, 15, 25):
        first = Evaluator(rules, virtual_clock=True)
        found = first.observe(frame.iloc[:cut])
        second = Evaluator(rules, virtual_clock=True)
        second.restore(first.snapshot())
        found += second.observe(frame.iloc[cut:])
        assert [repr(c) for c in found if c.rule in {"d", "drawdown-peak-2"}][-2:] == expected
