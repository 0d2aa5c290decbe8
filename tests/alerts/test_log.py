from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

import ccwatch as cw
from ccwatch.alerts import AlertLog, AlertState, Evaluator, Rule, Severity
from ccwatch.alerts.log import MOST_PAST
from ccwatch.errors import ConfigError
from tests.alerts.test_evaluator import ZERO_NS, drawdown, rows
from tests.analysis.conftest import SECOND


class Judge:
    """A log behind its evaluator, fed drawdowns second by second."""

    def __init__(self, *rules: Rule) -> None:
        self.evaluator = Evaluator(rules, virtual_clock=True)
        self.log = AlertLog(rules)
        self._second = 0

    def see(self, *drawdowns: float):
        heard = []
        for value in drawdowns:
            heard += self.log.take(self.evaluator.observe(rows([100.0 * (1.0 + value)], times=[self._second])))
            self._second += 1
        self.log.follow(self.evaluator.standing)
        return heard


def test_a_firing_is_one_alert_from_its_beginning_to_its_end():
    judge = Judge(drawdown(severity=Severity.CRITICAL, unit="fraction"))
    assert judge.see(0.0, -0.01) == []
    (fired,) = judge.see(-0.021)
    assert (fired.rule, fired.subject, fired.severity, fired.state, fired.is_open) == ("dd", "", "critical", AlertState.FIRING, True)
    assert fired.fired_at == datetime(2026, 1, 2, 14, 30, 2, tzinfo=UTC)
    assert fired.fired_value == pytest.approx(-0.021)
    judge.see(-0.05, -0.03)
    (now,) = judge.log.open
    assert (now.fired_value, now.value, now.worst) == pytest.approx((-0.021, -0.03, -0.05))
    (over,) = judge.see(0.0)
    assert over.resolved_ns == ZERO_NS + 5 * SECOND
    assert over.worst == pytest.approx(-0.05)
    assert judge.log.open == ()
    assert list(judge.log.past) == [over]
    with pytest.raises(dataclasses.FrozenInstanceError):
        over.value = 0.0


def test_what_was_acknowledged_stays_so_until_it_fires_anew():
    judge = Judge(drawdown())
    assert not judge.log.acknowledge("dd")
    judge.see(0.0, -0.03)
    assert judge.log.acknowledge("dd")
    judge.see(-0.04)
    assert judge.log.open[0].is_acknowledged
    judge.see(0.0, -0.03)
    assert [alert.is_acknowledged for alert in judge.log.open] == [False]
    assert [alert.is_acknowledged for alert in judge.log.past] == [True]


def test_silence_does_not_end_an_alert_and_its_return_is_no_new_one():
    judge = Judge(drawdown(no_data_s=5.0))
    judge.see(0.0, -0.03)
    judge.log.take(judge.evaluator.advance(ZERO_NS + 60 * SECOND))
    judge.log.follow(judge.evaluator.standing)
    assert [(alert.state, alert.is_open) for alert in judge.log.open] == [(AlertState.NO_DATA, True)]
    judge._second = 61
    assert judge.see(-0.03) == []
    assert judge.log.open[0].state is AlertState.FIRING
    assert judge.log.open[0].fired_ns == ZERO_NS + SECOND


def test_a_latched_alert_that_is_clear_waits_to_be_acknowledged():
    judge = Judge(drawdown(latched=True))
    judge.see(0.0, -0.03, 0.0)
    assert [alert.is_waiting for alert in judge.log.open] == [True]
    judge.log.acknowledge("dd")
    judge.evaluator.acknowledge("dd")
    judge.see(0.0)
    assert judge.log.open == ()


@pytest.mark.slow
def test_what_matters_most_and_nobody_has_seen_comes_first_and_the_past_is_bounded():
    judge = Judge(drawdown(), drawdown(name="deep", limit=-0.03, severity=Severity.CRITICAL), drawdown(name="mild", limit=-0.01))
    judge.see(0.0, -0.015, -0.025, -0.04)
    assert [alert.rule for alert in judge.log.open] == ["deep", "dd", "mild"]
    judge.log.acknowledge("deep")
    assert [alert.rule for alert in judge.log.open] == ["dd", "mild", "deep"]
    judge.see(*[0.0, -0.025] * (MOST_PAST + 5))
    assert len(judge.log.past) == MOST_PAST


@pytest.mark.parametrize("wrong", [{"rules": "price > 1"}, {"rules": ["price > 1"]}, {"rules": 5}, {"callback": None}])
def test_what_is_no_rule_and_no_function_is_refused_when_it_is_given(wrong):
    with cw.synthetic(seed=1, packets=1, pace="max", name="wrong") as feed, pytest.raises(ConfigError, match="expected"):
        feed.on_alert(**({"callback": print} | wrong))
