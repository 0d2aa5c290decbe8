"""Groups of alerts: one drawdown is one group, whichever rules fire on it. Strip, messages and page group by it."""

from __future__ import annotations

from typing import Final

from ccwatch.alerts.log import Alert
from ccwatch.alerts.rule_needs import LOSSES, subject_of
from ccwatch.alerts.rules import DEFAULT_RULES, Severity

RANK: Final = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}
"""Rank by severity: the worse, the higher."""
_GROUPS: Final = {
    **dict.fromkeys(("halt", "status=HALT"), "halt"),
    **dict.fromkeys(LOSSES, "drawdown"),
    **dict.fromkeys(("late", "stale", "frozen", "absent"), "silence"),
    "not_started": "not started",  # by itself: a halt of the day before must not mute it
    **dict.fromkeys(("latency", "latency_usual", "latency_objective"), "latency"),
}
"""By measure: the group of alerts about it; those on latency have one for each service."""
_DEFAULTS: Final = {rule.name: subject_of(rule) for rule in DEFAULT_RULES}
"""Measures by rule, for alerts of older journals, which do not have them."""


def group_of(alert: Alert) -> str:
    """Return the group of an alert, in a word: one drawdown is one group, whichever rules fire on it."""
    found = _GROUPS.get(alert.measure or _DEFAULTS.get(alert.rule, ""))
    if found is None:
        return f"{alert.rule} {alert.subject}".strip()
    return f"{found} {alert.subject}".strip() if found == "latency" else found
