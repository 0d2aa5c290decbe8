from __future__ import annotations

import itertools
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from ccwatch.alerts import (
    DEFAULT_RULES,
    AlertLog,
    AlertState,
    Evaluator,
    Rule,
    WrittenRule,
    evaluator as evaluator_module,
    service_measures,
)
from ccwatch.domain.hours import read_hours
from ccwatch.errors import ConfigError
from ccwatch.feed.scenarios import planted
from ccwatch.feed.synthetic import START, messages
from ccwatch.protocol.messages import Packet
from ccwatch.recording import Recording
from tests.analysis.conftest import SECOND, receive

ZERO_NS = int(START.timestamp()) * SECOND
OBJECTIVES = {"RiskAgent": 20.0}


def rows(values, *, times=None, **more):
    times = np.arange(len(values)) if times is None else times
    index = pd.DatetimeIndex(pd.Timestamp(START).as_unit("ns") + pd.to_timedelta(np.asarray(times, dtype=float), unit="s"), name="time")
    return pd.DataFrame({"nav": values, **more}, index=index)


def judged(rule, values, *, times=None, cut=None):
    """Changes of one rule on navs of drawdown `values` (fractions), the first one at the peak, as (second, state)."""
    evaluator = Evaluator([rule], virtual_clock=True)
    frame = rows(100.0 * (1.0 + np.asarray(values, dtype=float)), times=times)
    parts = [frame] if cut is None else [frame.iloc[:cut], frame.iloc[cut:]]
    return [((change.time_ns - ZERO_NS) / SECOND, change.state) for part in parts for change in evaluator.observe(part)]


def drawdown(**more):
    return Rule(**{"name": "dd", "measure": "drawdown_peak", "limit": -0.02, "meaning": "", "below": True, **more})


def test_a_rule_fires_when_its_limit_is_passed_and_is_resolved_when_it_is_clear():
    assert judged(drawdown(), [0.0, -0.02, -0.03, 0.0]) == [(0, "OK"), (1, "FIRING"), (3, "OK")]


def test_between_limit_and_clear_the_state_stands():
    rule = drawdown(clears=-0.01)
    assert judged(rule, [0.0, -0.015, -0.025, -0.015, -0.025, -0.005]) == [(0, "OK"), (2, "FIRING"), (5, "OK")]


def test_a_rule_is_pending_until_its_limit_was_passed_for_long_enough():
    assert judged(drawdown(for_s=3.0), [0.0, -0.03, -0.03, 0.0, -0.03, -0.03, -0.03, -0.03]) == [
        (0, "OK"),
        (1, "PENDING"),
        (3, "OK"),
        (4, "PENDING"),
        (7, "FIRING"),
    ]


def test_a_rule_waits_for_its_least_number_of_observations():
    assert judged(drawdown(least_n=3), [-0.0, -0.03, -0.03, -0.03]) == [(0, "OK"), (1, "PENDING"), (3, "FIRING")]


def test_a_firing_is_kept_and_one_that_returns_meanwhile_goes_on():
    found = judged(drawdown(keep_s=3.0), [0.0, -0.03, 0.0, 0.0, -0.03, 0.0, 0.0, 0.0, 0.0])
    assert found == [(0, "OK"), (1, "FIRING"), (8, "OK")]


def test_no_data_is_a_state_of_its_own_and_resolves_nothing():
    found = judged(drawdown(no_data_s=5.0), [0.0, -0.03, -0.03, -0.03], times=[0, 1, 20, 21])
    assert found == [(0, "OK"), (1, "FIRING"), (6, "NO_DATA"), (20, "FIRING")]
    found = judged(drawdown(no_data_s=5.0), [0.0, -0.03, 0.0, 0.0], times=[0, 1, 20, 21])
    assert found == [(0, "OK"), (1, "FIRING"), (6, "NO_DATA"), (20, "OK")]


def test_a_pending_rule_begins_anew_after_no_data():
    found = judged(drawdown(no_data_s=5.0, for_s=4.0), [0.0, -0.03, -0.03, -0.03, -0.03], times=[0, 1, 20, 22, 24])
    assert found == [(0, "OK"), (1, "PENDING"), (6, "NO_DATA"), (20, "PENDING"), (24, "FIRING")]


def test_a_rule_that_was_never_observed_has_no_data_and_keeps_saying_so():
    evaluator = Evaluator(virtual_clock=True)
    evaluator.observe(rows([1.0, 2.0]))
    standing = {s.rule: s.state for s in evaluator.standing}
    assert standing["alpha-sentinel"] == AlertState.NO_DATA
    assert standing["drawdown-peak-2"] == AlertState.OK


def test_a_latched_firing_ends_only_once_someone_has_seen_it():
    status = pd.Categorical(["ACTIVE", "HALT", "ACTIVE", "ACTIVE", "ACTIVE"])
    frame = rows(np.ones(5), status=status)
    evaluator = Evaluator(virtual_clock=True)
    states = [change.state for change in evaluator.observe(frame.iloc[:4]) if change.rule == "halt"]
    assert states == ["OK", "FIRING"]
    evaluator.acknowledge("halt")
    assert [change.state for change in evaluator.observe(frame.iloc[4:]) if change.rule == "halt"] == ["OK"]
    with pytest.raises(KeyError, match="drawdown-peak-2"):
        evaluator.acknowledge("nothing")


def test_two_rules_of_one_name_are_refused():
    with pytest.raises(ConfigError, match="twice"):
        Evaluator([drawdown(), drawdown()])


def test_the_worst_value_of_a_firing_is_known():
    evaluator = Evaluator([drawdown()], virtual_clock=True)
    evaluator.observe(rows([100.0, 97.0, 95.0, 96.0]))
    assert evaluator.standing[0].worst == pytest.approx(-0.05)
    assert evaluator.observe(rows([100.0], times=[4.0]))[0].worst == pytest.approx(-0.05)


def test_silence_makes_a_stream_late_and_stale_at_the_moment_and_once():
    evaluator = Evaluator(virtual_clock=True)
    evaluator.observe(rows(np.ones(30)))
    assert evaluator.advance(ZERO_NS + 31 * SECOND) == []
    late = evaluator.advance(ZERO_NS + 35 * SECOND)
    assert [(c.rule, c.state, (c.time_ns - ZERO_NS) // SECOND) for c in late] == [("late", "FIRING", 32)]
    stale = evaluator.advance(ZERO_NS + 50 * SECOND)
    assert [(c.rule, c.state, (c.time_ns - ZERO_NS) // SECOND) for c in stale] == [("stale", "FIRING", 39)]
    assert evaluator.advance(ZERO_NS + 51 * SECOND) == []
    back = evaluator.observe(rows([1.0], times=[55.0]))
    assert {(c.rule, c.state) for c in back if c.before == "FIRING"} == {("late", "OK"), ("stale", "OK")}


def test_an_engine_that_speaks_every_five_seconds_is_neither_late_nor_stale():
    evaluator = Evaluator(virtual_clock=True)
    # the pace has to be known first: a packet that comes 5 s after the first one is late by the rule
    changes = evaluator.observe(rows(np.ones(60), times=np.arange(60) * 5.0))
    fired = [(c.rule, (c.time_ns - ZERO_NS) // SECOND) for c in changes if c.state == "FIRING"]
    assert fired == [("late", 3)]


def test_a_gauge_that_no_packet_carries_can_be_judged():
    evaluator = Evaluator(virtual_clock=True)
    evaluator.observe(rows([1.0]))
    states = [c.state for second in (1, 6, 11, 12, 13) for c in evaluator.gauge("recorder_lag", 9.0, ZERO_NS + second * SECOND)]
    assert states == ["PENDING", "FIRING"]


def test_schema_drift_is_three_packets_without_what_their_kind_carried():
    frame = rows(np.ones(8), alpha=[2.0, 2.0, np.nan, 2.0, np.nan, np.nan, np.nan, np.nan])
    changes = Evaluator(virtual_clock=True).observe(frame)
    assert [(c.state, (c.time_ns - ZERO_NS) // SECOND) for c in changes if c.rule == "schema-drift"] == [
        ("OK", 0),
        ("PENDING", 2),
        ("OK", 3),
        ("PENDING", 4),
        ("FIRING", 6),
    ]


def test_an_alpha_that_stands_at_a_sentinel_fires_after_a_minute():
    frame = rows(np.ones(90), alpha=np.where(np.arange(90) < 10, 2.2, 3.0))
    changes = Evaluator(virtual_clock=True).observe(frame)
    assert [((c.time_ns - ZERO_NS) // SECOND, c.state) for c in changes if c.rule == "alpha-sentinel"] == [
        (0, "OK"),
        (10, "PENDING"),
        (70, "FIRING"),
    ]


def test_a_size_in_critical_fires_at_once():
    frame = rows(np.ones(3), regime=pd.Categorical(["Gaussian", "Critical", "Critical"]), approved_size=[0.1, 0.0, 0.05])
    changes = Evaluator(virtual_clock=True).observe(frame)
    assert [((c.time_ns - ZERO_NS) // SECOND, c.state) for c in changes if c.rule == "size-in-critical"] == [(0, "OK"), (2, "FIRING")]


@pytest.mark.parametrize(
    ("scenario", "kind", "rule", "delay"),
    [
        ("frozen", "frozen", "frozen", 14.0),
        ("drawdown-halt", "halt", "halt", 0.0),
        ("regime-flip", "regime", "critical", 5.0),
        ("gap", "gap", "late", 2.0),
    ],
)
def test_a_planted_incident_fires_its_rule_at_its_time(stream, scenario, kind, rule, delay):
    source = stream(scenario, count=400)
    incidents = [i for i in planted(scenario) if i.kind == kind and (kind != "regime" or i.detail.startswith("Critical"))]
    changes = Evaluator(virtual_clock=True).observe(source.frame(clean=False), source.agents(), source.models())
    fired = [(c.time_ns - ZERO_NS) / SECOND for c in changes if c.rule == rule and c.state == "FIRING"]
    assert fired[0] == incidents[0].start_s + delay


def test_a_slow_agent_fires_two_minutes_after_it_became_slow_and_is_resolved_two_minutes_after_it_ended(stream):
    source = stream("slow-agent", count=400)
    evaluator = Evaluator(virtual_clock=True, objectives=OBJECTIVES)
    changes = evaluator.observe(source.frame(clean=False), source.agents(), source.models())
    times = {c.state: (c.time_ns - ZERO_NS) / SECOND for c in changes if (c.rule, c.subject) == ("latency-1.5x", "RiskAgent")}
    begun, ended = (planted("slow-agent")[0].start_s, planted("slow-agent")[0].end_s)
    assert begun < times["PENDING"] < begun + 20
    assert 120.0 <= times["FIRING"] - times["PENDING"] < 125.0
    assert ended < times["OK"] < ended + 125.0


@pytest.mark.slow
def test_items_one_by_one_give_what_the_whole_recording_gives(stream):
    source = stream("slow-agent", count=300)
    whole = Evaluator(virtual_clock=True, objectives=OBJECTIVES)
    expected = whole.observe(source.frame(clean=False), source.agents(), source.models())
    live = Evaluator(virtual_clock=True, objectives=OBJECTIVES)
    found = [change for item in source.items for change in live.receive([item])]
    assert len(found) > 15
    assert list(map(repr, found)) == list(map(repr, expected))
    assert repr(live.standing) == repr(whole.standing)


@pytest.mark.slow
@given(
    st.lists(st.sampled_from([0.0, -0.005, -0.015, -0.021, -0.03, np.nan]), min_size=2, max_size=40),
    st.integers(0, 40),
    st.lists(st.sampled_from([1.0, 2.0, 9.0]), min_size=40, max_size=40),
)
@settings(max_examples=60)
def test_where_a_stream_is_cut_into_batches_does_not_matter(values, cut, steps):
    rule = drawdown(clears=-0.01, for_s=2.0, least_n=2, keep_s=3.0, no_data_s=7.0)
    times = np.cumsum(steps)[: len(values)]
    assert judged(rule, values, times=times) == judged(rule, values, times=times, cut=min(cut, len(values)))


@pytest.mark.slow
@given(st.lists(st.integers(1, 399), max_size=6))
@settings(max_examples=10)
def test_a_stream_with_a_gap_and_a_freeze_may_be_cut_anywhere(cuts):
    packets = [i for i in receive(itertools.islice(messages(3, "gap", 1.0), 200)) if isinstance(i, Packet)]
    packets += [i for i in receive(itertools.islice(messages(3, "frozen", 1.0), 200)) if isinstance(i, Packet)]
    packets = [p._replace(time_ns=ZERO_NS + n * SECOND + (30 * SECOND if n >= 90 else 0), seq=n + 1) for n, p in enumerate(packets)]
    whole = Evaluator(virtual_clock=True, objectives=OBJECTIVES).receive(packets)
    evaluator = Evaluator(virtual_clock=True, objectives=OBJECTIVES)
    edges = [0, *sorted(cuts), len(packets)]
    found = [change for a, b in itertools.pairwise(edges) for change in evaluator.receive(packets[a:b])]
    assert sorted(map(repr, found)) == sorted(map(repr, whole))


HALT = Rule("halt", "halt", 1.0, "")


def halts(words, times, *, cut=None):
    """Changes of a rule on the status, as (second, state); the last burst is ended by a second's silence."""
    evaluator = Evaluator([HALT], virtual_clock=True)
    frame = rows(np.full(len(words), 100.0), times=times, status=pd.Categorical(words))
    parts = [frame] if cut is None else [frame.iloc[:cut], frame.iloc[cut:]]
    changes = [change for part in parts for change in evaluator.observe(part)]
    changes += evaluator.advance(round((times[-1] + 1.0) * SECOND) + ZERO_NS)
    return [((change.time_ns - ZERO_NS) / SECOND, str(change.state)) for change in changes]


@pytest.mark.parametrize("burst", [("HALT", "ACTIVE"), ("ACTIVE", "HALT"), ("ACTIVE", "HALT", "ACTIVE")])
def test_a_halt_stands_while_any_packet_of_a_burst_says_so(burst):
    words, times = ["ACTIVE"], [0.0]
    for second in range(5, 30, 5):
        words += burst
        times += [second + 0.003 * place for place in range(len(burst))]
    words += ["ACTIVE", "ACTIVE"]
    times += [30.0, 30.003]
    found = halts(words, times)
    assert [state for _, state in found] == ["OK", "FIRING", "OK"]
    assert found[1][0] == pytest.approx(5.0 + 0.003 * burst.index("HALT"))
    assert found[2][0] == pytest.approx(30.103)  # a burst has ended without it


def test_an_unreadable_status_is_no_observation():
    assert halts(["UNKNOWN"] * 3, [0.0, 1.0, 2.0]) == []
    assert halts(["HALT", "UNKNOWN", "UNKNOWN"], [0.0, 1.0, 2.0]) == [(0.0, "FIRING")]


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["ACTIVE", "HALT", "UNKNOWN"]), st.sampled_from([0.004, 0.05, 0.11, 0.13, 1.0, 5.0])),
        min_size=2,
        max_size=24,
    ),
    st.integers(1, 23),
)
def test_where_a_burst_is_cut_does_not_matter(packets, cut):
    times = np.cumsum([step for _, step in packets]).tolist()
    words = [word for word, _ in packets]
    assert halts(words, times, cut=min(cut, len(words) - 1)) == halts(words, times)


# ── other rules while it runs, and after a restart ──


def test_other_rules_take_over_in_mid_stream_and_what_is_the_same_goes_on():
    deep, mean = WrittenRule("deep", "drawdown_peak <= -2%"), WrittenRule("mean", "mean(nav, 60s) < 98", for_="3s")
    evaluator = Evaluator([deep, mean], virtual_clock=True)
    assert [c.rule for c in evaluator.observe(rows([100.0] + [97.0] * 4)) if c.state == "FIRING"] == ["deep"]
    edited = WrittenRule("deep", "drawdown_peak <= -5%")
    evaluator.use_rules([mean, edited, WrittenRule("low", "nav < 96")], None)
    # the mean of 100, 97 and so on is below 98 from the fourth packet on: only one that kept its window and its 3 s fires now
    found = evaluator.observe(rows([97.0, 95.9], times=[5, 6]))
    assert [(c.rule, str(c.state)) for c in found if c.state in {"FIRING", "OK"}] == [
        ("deep", "OK"),
        ("low", "OK"),
        ("mean", "FIRING"),
        ("low", "FIRING"),
    ]
    assert evaluator.account["drawdown_peak"] == pytest.approx(-0.041), "the peak is that of before"
    with pytest.raises(ConfigError, match="twice"):
        evaluator.use_rules([deep, deep], None)
    assert [rule.name for rule in evaluator.rules] == ["mean", "deep", "low"], "rules that cannot be used change nothing"


def test_other_hours_in_mid_day_do_not_begin_the_account_anew():
    evaluator = Evaluator([drawdown()], virtual_clock=True)
    evaluator.observe(rows([100.0, 99.0]))
    evaluator.use_rules([drawdown()], read_hours({"timezone": "UTC", "open": "09:30", "close": "16:00"}))
    assert [c.state for c in evaluator.observe(rows([97.9], times=[2]))] == ["FIRING"]


@pytest.mark.slow
def test_killed_at_any_packet_of_the_bad_session_the_alerts_are_those_of_an_evaluator_that_was_not():
    """Without a recording: the account, each machine, and what is usual of each service survive in a snapshot of plain values."""
    recording = Recording(Path(__file__).parents[2] / "recordings" / "sample-bad-session")
    packets = list(recording.packets())

    def alerts(evaluator, part):
        log = AlertLog(DEFAULT_RULES)
        log.restore_open(evaluator.standing)
        return {(a.rule, a.subject, a.fired_ns) for a in log.take(evaluator.receive(part))}

    expected = alerts(Evaluator(virtual_clock=True), packets)
    assert len(expected) > 5
    for kill in range(1, len(packets), 1 if os.environ.get("CCWATCH_FULL") else 75):
        before = Evaluator(virtual_clock=True)
        seen = alerts(before, packets[:kill])
        after = Evaluator(virtual_clock=True)
        after.restore(json.loads(json.dumps(before.snapshot())))
        seen |= alerts(after, packets[kill:])
        assert {(rule, subject) for rule, subject, _ in seen} == {(rule, subject) for rule, subject, _ in expected}, kill


# ── memory ──


def minute_at_50_hz(number, agents):
    """A minute of packets 20 ms apart, each with the calls of these agents."""
    seq = np.arange(number * 3_000, (number + 1) * 3_000)
    packets = rows(np.full(len(seq), 100.0), times=seq / 50.0, seq=seq.astype(np.uint64))
    whose, each = np.repeat(seq, len(agents)), np.tile(agents, len(seq))
    calls = {"seq": whose.astype(np.uint64), "agent": pd.Categorical(each), "latency_ms": 20.0 + whose % 7, "success_rate": 0.99}
    return packets, pd.DataFrame({**calls, "invocations": whose + 1}, index=packets.index.repeat(len(agents)))


@pytest.mark.slow
def test_what_is_kept_of_the_calls_does_not_grow_with_the_rate_of_a_stream():
    asks = WrittenRule("errors", "error_rate > 50% or burn_rate > 900")
    evaluator = Evaluator([*DEFAULT_RULES, asks], virtual_clock=True)
    sizes = []
    for minute in range(14):
        evaluator.observe(*minute_at_50_hz(minute, ["RiskAgent", "MacroAgent"]))
        sizes.append(len(pickle.dumps(evaluator)))
    assert sizes[13] - sizes[6] < 1.2 * 7 * 60 * 24 * 2, "only the hour of errors is not full: three numbers a second and service"
    assert sizes[13] < 3_000_000, "of which the moments of 60,000 packets, and 12,000 calls of each service"


def test_the_errors_of_an_hour_are_those_of_all_its_calls():
    """They are added up by the second: the answer is that of the calls themselves."""
    at = np.sort(np.random.default_rng(7).integers(0, 2 * 3_600 * SECOND, 6_000))
    made, failed = np.full(len(at), 5.0), np.random.default_rng(8).integers(0, 2, len(at)).astype(float)
    errors = service_measures._Errors()
    found = [np.concatenate(parts) for parts in zip(*(errors.shares(*part) for part in cut(500, at, failed, made)), strict=True)]
    for window, shares in zip((service_measures.ERRORS_S, service_measures.ERRORS_LONG_S), found, strict=True):
        for row in (3, 1_000, 3_000, 5_999):
            within = (at // SECOND > at[row] // SECOND - window) & (np.arange(len(at)) <= row)
            assert shares[row] == failed[within].sum() / made[within].sum()


def cut(size, *arrays):
    return [tuple(one[at : at + size] for one in arrays) for at in range(0, len(arrays[0]), size)]


@pytest.mark.slow
def test_names_without_end_are_forgotten_and_those_that_go_on_are_judged_still():
    evaluator = Evaluator([*DEFAULT_RULES, WrittenRule("slow", "latency > 500ms")], virtual_clock=True)
    for batch in range(10):
        seq = np.arange(batch * 100, batch * 100 + 100)
        packets = rows(np.full(100, 100.0), times=seq, seq=seq.astype(np.uint64))
        names = [name for n in seq for name in (f"A{n // 3}", "RiskAgent")]
        calls = {"agent": names, "latency_ms": 20.0 + np.repeat(seq % 3, 2)}
        evaluator.observe(packets, pd.DataFrame({"seq": np.repeat(seq, 2).astype(np.uint64), **calls}, index=packets.index.repeat(2)))
    subjects = {standing.subject for standing in evaluator.standing} - {""}
    assert len(subjects) <= service_measures.MOST_SERVICES
    assert {"RiskAgent", "A332"} <= subjects
    assert "A0" not in subjects
    slow = pd.DataFrame({"seq": [1_000], "agent": ["RiskAgent"], "latency_ms": [900.0]})
    packets = rows([100.0], times=[1_000], seq=np.array([1_000], dtype=np.uint64))
    changes = evaluator.observe(packets, slow.set_index(packets.index))
    assert [(c.rule, c.subject) for c in changes if c.state == "FIRING"] == [("slow", "RiskAgent")]


def test_of_slow_services_without_end_the_first_alerts_end_and_those_that_fire_are_few(monkeypatch):
    """Each service calls twice, too slowly, and is never seen again."""
    for module in (service_measures, evaluator_module):
        monkeypatch.setattr(module, "MOST_SERVICES", 8)
    rule = WrittenRule("slow", "latency > 500ms")
    evaluator, log = Evaluator([rule], virtual_clock=True), AlertLog([rule])

    def call(n, agent, ms):
        packets = rows([100.0], times=[n], seq=np.array([n], dtype=np.uint64))
        calls = pd.DataFrame({"seq": [n], "agent": [agent], "latency_ms": [ms]}, index=packets.index)
        return log.take(evaluator.observe(packets, calls))

    heard = []
    for n in range(60):
        heard += [*call(2 * n + 1, f"A{n}", 900.0), *call(2 * n + 2, f"A{n}", 950.0)]
        assert len(evaluator.standing) <= 17
    assert {alert.subject for alert in log.open} == {f"A{n}" for n in range(44, 60)}
    over = [alert for alert in heard if not alert.is_open]
    assert [alert.subject for alert in over] == [f"A{n}" for n in range(44)], "each ended once, the first one first"
    assert [a.subject for a in (*call(121, "A0", 900.0), *call(122, "A0", 990.0)) if a.is_open] == ["A0"], "one that comes back is judged"
