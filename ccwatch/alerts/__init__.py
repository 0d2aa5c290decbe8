"""Alerts: rules, and the evaluator that judges a stream by them, live or recorded. Pure: frames in, state changes out."""

from ccwatch.alerts.evaluator import Change, Evaluator, Standing
from ccwatch.alerts.log import Alert, AlertLog
from ccwatch.alerts.rules import DEFAULT_RULES, AlertState, Rule, Severity, objective_of, read_objectives

__all__ = [
    "DEFAULT_RULES",
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
