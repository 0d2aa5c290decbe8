"""Groups of alerts: one drawdown is one group, whichever rules fire on it. Strip, messages and page group by it."""

from __future__ import annotations

from typing import Final

from ccwatch.alerts.log import Alert
from ccwatch.alerts.rules import Severity

RANK: Final = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}
"""Rank by severity: the worse, the higher."""
_SUBJECTS: Final = (
    ("halt", "halt"),
    ("drawdown", "drawdown"),
    ("late", "silence"),
    ("stale", "silence"),
    ("not-started", "silence"),
    ("frozen", "silence"),
)
"""Beginnings of rules' names, and the group of each."""


def group_of(alert: Alert) -> str:
    """Return the group of an alert, in a word: one drawdown is one group, whichever rules fire on it."""
    about = next((subject for beginning, subject in _SUBJECTS if alert.rule == beginning or alert.rule.startswith(f"{beginning}-")), "")
    if about:
        return about
    if alert.unit == "fraction" and "drawdown" in alert.meaning:
        return "drawdown"
    if alert.rule.startswith("latency") or alert.unit in {"times usual", "objectives"}:
        return f"latency {alert.subject}".strip()
    return f"{alert.rule} {alert.subject}".strip()
