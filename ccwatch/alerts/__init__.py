"""Alerts: rules, and the evaluator that judges a stream by them, live, recorded or guarded: frames in, state changes out."""

from ccwatch.alerts.account import Account
from ccwatch.alerts.alert_groups import RANK, group_of
from ccwatch.alerts.alert_words import in_words, reading
from ccwatch.alerts.batch_columns import Calls, Columns
from ccwatch.alerts.certificates import NEVER, Certificate, Certificates
from ccwatch.alerts.divergence_plan import Plan, PlanReader, no_plan
from ccwatch.alerts.evaluator import Evaluator
from ccwatch.alerts.grammar import Name, Number, Operation, nearest_word, text_of
from ccwatch.alerts.log import Alert, AlertLog
from ccwatch.alerts.paced_loop import PERIOD_S
from ccwatch.alerts.rule_definitions import Rule as WrittenRule
from ccwatch.alerts.rule_measures import COLUMNS, Observer
from ccwatch.alerts.rule_needs import measures_of, needs_plan, rules_of
from ccwatch.alerts.rule_state import AnyRule, Change, Standing
from ccwatch.alerts.rules import (
    CONTRACT_OBJECTIVES,
    DEFAULT_RULES,
    SENTINELS,
    AlertState,
    Rule,
    Severity,
    drawn_objectives,
    objective_of,
    read_objectives,
)
from ccwatch.alerts.settings import AlertSettings, rules_file, with_own
from ccwatch.alerts.snapshot import EvaluatorSnapshot
from ccwatch.alerts.watch import AlertWatch, Snapshot

__all__ = [
    "COLUMNS",
    "CONTRACT_OBJECTIVES",
    "DEFAULT_RULES",
    "NEVER",
    "PERIOD_S",
    "RANK",
    "SENTINELS",
    "Account",
    "Alert",
    "AlertLog",
    "AlertSettings",
    "AlertState",
    "AlertWatch",
    "AnyRule",
    "Calls",
    "Certificate",
    "Certificates",
    "Change",
    "Columns",
    "Evaluator",
    "EvaluatorSnapshot",
    "Name",
    "Number",
    "Observer",
    "Operation",
    "Plan",
    "PlanReader",
    "Rule",
    "Severity",
    "Snapshot",
    "Standing",
    "WrittenRule",
    "drawn_objectives",
    "group_of",
    "in_words",
    "measures_of",
    "nearest_word",
    "needs_plan",
    "no_plan",
    "objective_of",
    "read_objectives",
    "reading",
    "rules_file",
    "rules_of",
    "text_of",
    "with_own",
]
