"""Alerts: rules, and the evaluator that judges a stream by them, live or recorded. Pure: frames in, state changes out."""

from ccwatch.alerts.evaluator import Change, Evaluator, Standing
from ccwatch.alerts.log import Alert, AlertLog
from ccwatch.alerts.measures import COLUMNS
from ccwatch.alerts.rules import DEFAULT_RULES, SENTINELS, AlertState, Rule, Severity, objective_of, read_objectives

__all__ = [
    "COLUMNS",
    "DEFAULT_RULES",
    "SENTINELS",
    "Alert",
    "AlertLog",
    "AlertState",
    "Change",
    "Evaluator",
    "Rule",
    "Severity",
    "Standing",
    "objective_of",
    "read_objectives",
]
