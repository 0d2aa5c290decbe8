from __future__ import annotations

import math

import pytest

from ccwatch.alerts import CONTRACT_OBJECTIVES, DEFAULT_RULES, Evaluator, Rule, drawn_objectives, objective_of, read_objectives
from ccwatch.alerts.vocabulary import MEASURES
from ccwatch.config import Settings
from ccwatch.errors import ConfigError


def test_every_default_rule_judges_a_measure_that_exists():
    assert {rule.measure for rule in DEFAULT_RULES} <= {*MEASURES, "latency"}
    with pytest.raises(ConfigError, match="unknown measure 'drawdown_peek': did you mean 'drawdown_peak'"):
        Evaluator([Rule("odd", "drawdown_peek", 1.0, "")])


def test_by_default_no_service_has_an_objective_and_the_contracts_figures_are_drawn():
    assert read_objectives(Settings().objectives) == {}
    assert drawn_objectives("")["FinBERT"] == 25.0
    assert drawn_objectives("FinBERT=40") == {"FinBERT": 40.0}


@pytest.mark.parametrize(
    ("service", "objective"),
    [("ChronosService", 150.0), ("chronos", 150.0), ("FINBERT-v2", 25.0), ("ReasoningLLM", 3000.0), ("memory_search_2", 200.0)],
)
def test_an_objective_is_found_by_the_beginning_of_a_name_without_case_or_signs(service, objective):
    assert objective_of(service, read_objectives(CONTRACT_OBJECTIVES)) == objective


def test_what_matches_no_objective_has_none():
    assert math.isnan(objective_of("RiskAgent", read_objectives(CONTRACT_OBJECTIVES)))


def test_the_longest_matching_name_counts():
    assert objective_of("ChronosTiny", {"Chronos": 150.0, "ChronosTiny": 20.0}) == 20.0


@pytest.mark.parametrize("text", ["Chronos", "Chronos=fast", "=3", "Chronos=-1", "Chronos=nan"])
def test_objectives_that_cannot_be_read_are_refused(text):
    with pytest.raises(ConfigError, match="objectives"):
        read_objectives(text)


def test_objectives_can_be_set_in_the_environment():
    settings = Settings.load(environment={"CCWATCH_OBJECTIVES": "RiskAgent=20"})
    assert read_objectives(settings.objectives) == {"RiskAgent": 20.0}


@pytest.mark.parametrize("wrong", [{"clears": 2.0}, {"for_s": -1.0}, {"least_n": 0}, {"limit": math.nan}, {"below": True, "clears": 0.5}])
def test_a_rule_that_cannot_be_judged_is_refused(wrong):
    with pytest.raises(ConfigError, match="odd"):
        Rule(**{"name": "odd", "measure": "halt", "limit": 1.0, "meaning": "", **wrong})
