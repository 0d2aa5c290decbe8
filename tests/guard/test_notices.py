from __future__ import annotations

import pytest

from ccwatch.alerts import Alert, AlertLog, AlertState, Change, Severity, WrittenRule, group_of
from ccwatch.guard.notices import Notifier

HOUR = 3600 * 1_000_000_000


def alert(rule, severity=Severity.WARNING, *, subject="", fired=1, resolved=None, unit=""):
    state = AlertState.FIRING if resolved is None else AlertState.OK
    return Alert(rule, subject, severity, "meaning", unit, state, fired, 1.0, 1.0, 1.0, resolved)


def heard(notices):
    return [(n.kind, n.group, n.alert.rule) for n in notices]


def test_one_drawdown_is_one_message_and_the_worse_hides_the_milder():
    notifier = Notifier()
    assert heard(notifier.take(alert("drawdown-peak-1.5"), 0)) == [("firing", "drawdown", "drawdown-peak-1.5")]
    assert heard(notifier.take(alert("drawdown-start-1.5"), 0)) == []
    worse = notifier.take(alert("drawdown-peak-2", Severity.CRITICAL), 0)
    assert heard(worse) == [("worse", "drawdown", "drawdown-peak-2")]
    assert {a.rule for a in worse[0].also} == {"drawdown-peak-1.5", "drawdown-start-1.5"}
    assert heard(notifier.take(alert("drawdown-start-2", Severity.CRITICAL), 0)) == []
    assert notifier.groups["drawdown"][0].rule == "drawdown-peak-2"
    for rule in ("drawdown-peak-1.5", "drawdown-start-1.5", "drawdown-start-2"):
        assert heard(notifier.take(alert(rule, resolved=9), 9)) == []
    over = notifier.take(alert("drawdown-peak-2", Severity.CRITICAL, resolved=9), 9)
    assert heard(over) == [("resolved", "drawdown", "drawdown-peak-2")]


def test_a_halt_mutes_drawdown_and_silence_and_silence_mutes_latency():
    notifier = Notifier()
    assert heard(notifier.take(alert("halt", Severity.CRITICAL), 0)) == [("firing", "halt", "halt")]
    assert notifier.take(alert("drawdown-peak-2", Severity.CRITICAL), 0) == []
    assert notifier.take(alert("stale"), 0) == []
    assert notifier.take(alert("frozen"), 0) == []
    other = Notifier()
    other.take(alert("stale"), 0)
    assert other.take(alert("latency-3x", subject="RiskAgent", unit="times usual"), 0) == []
    assert heard(other.take(alert("stale", resolved=5), 5)) == [("resolved", "silence", "stale")]
    assert heard(other.due(6)) == [("firing", "latency RiskAgent", "latency-3x")], "it still fires, and nothing mutes it any more"


def test_what_is_silenced_or_was_seen_is_told_to_nobody():
    quiet, seen = Notifier(is_quiet=lambda _: True), Notifier(is_seen=lambda _: True)
    for notifier in (quiet, seen):
        assert notifier.take(alert("stale"), 0) == []
        assert notifier.due(100 * HOUR) == []


def test_after_a_restart_what_was_seen_counts_as_told_for_its_whole_group():
    seen = alert("drawdown-peak-1.5")
    notifier = Notifier(is_seen=lambda a: a.id == seen.id)
    assert notifier.take(seen, 0) == []
    assert notifier.take(alert("drawdown-start-1.5"), 0) == []
    assert heard(notifier.take(alert("drawdown-peak-2", Severity.CRITICAL), 0)) == [("worse", "drawdown", "drawdown-peak-2")]


def test_what_nobody_acknowledges_is_escalated_once_and_repeated():
    acknowledged = set()
    notifier = Notifier(repeat_s=3600, escalate_s=600, is_seen=lambda a: a.id in acknowledged)
    one = alert("halt", Severity.CRITICAL)
    notifier.take(one, 0)
    assert notifier.due(HOUR // 10) == []
    assert heard(notifier.due(HOUR // 5)) == [("escalation", "halt", "halt")]
    assert notifier.due(HOUR // 4) == []
    assert heard(notifier.due(HOUR)) == [("repeat", "halt", "halt")]
    acknowledged.add(one.id)
    assert notifier.due(9 * HOUR) == []
    assert notifier.take(alert("halt", Severity.CRITICAL, resolved=9), 9 * HOUR) == [], "who has seen it knows"


def test_who_acknowledges_or_silences_the_alert_of_a_message_has_done_so_for_its_group_but_not_for_what_is_worse():
    for way in ("is_seen", "is_quiet"):
        known = set()
        notifier = Notifier(repeat_s=3600, escalate_s=600, **{way: lambda a, known=known: a.rule in known})
        notifier.take(alert("drawdown-peak-1.5"), 0)
        notifier.take(alert("drawdown-start-1.5"), 0)
        known.add("drawdown-peak-1.5")
        assert notifier.due(HOUR * 2) == [], "the other one is the same loss"
        worse = notifier.take(alert("drawdown-start-2", Severity.CRITICAL), 2 * HOUR)
        assert heard(worse) == [("worse", "drawdown", "drawdown-start-2")]
        assert heard(notifier.due(3 * HOUR))[0] == ("escalation", "drawdown", "drawdown-start-2")
        known.add("drawdown-start-2")
        assert notifier.due(9 * HOUR) == []


@pytest.mark.parametrize(
    ("when", "group"),
    [
        ("drawdown_start < -3%", "drawdown"),
        ("exposure > 10% and mean(drawdown_peak, 1m) < -1%", "drawdown"),
        ("day_pnl < -5000", "drawdown"),
        ('status == "HALT"', "halt"),
        ('alpha < 1.7 and status != "HALT"', "rule"),
        ("absent(nav, 30s)", "silence"),
        ("stale", "silence"),
        ("not_started", "not started"),
        ("latency > 2s", "latency RiskAgent"),
        ("abs(exposure) > 90%", "rule"),
    ],
)
def test_a_rule_of_the_desk_belongs_to_the_group_of_what_it_judges(when, group):
    rule = WrittenRule("rule", when, meaning="whatever the desk calls it")
    (found,) = AlertLog([rule]).take([_fires(rule)])
    assert group_of(found) in {group, f"{group} RiskAgent"}
    assert group_of(Alert.from_dict(found.to_dict())) == group_of(found)


def _fires(rule):
    return Change(1, rule.name, "RiskAgent", AlertState.FIRING, AlertState.OK, 1.0, 1.0, rule.severity)


def test_services_are_groups_of_their_own_and_a_rule_of_the_desk_is_one():
    assert group_of(alert("latency-3x", subject="RiskAgent")) == "latency RiskAgent"
    assert group_of(alert("my rule", subject="")) == "my rule"
