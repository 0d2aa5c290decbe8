"""Alerts in the form that the dashboard's page takes. `ccwatch.alerts.watch` evaluates the rules."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ccwatch.alerts import PERIOD_S, Alert, AlertWatch, Snapshot

__all__ = ["PERIOD_S", "AlertWatch", "Snapshot", "content", "reading"]

MOST_SHOWN, MOST_HISTORY = 40, 100


def content(
    found: Snapshot, shift_ms: float, words_of: Callable[[Alert], dict[str, Any]] = lambda _: {}
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a snapshot as plain values for JSON: open alerts, then history, newest first; times in ms of the display zone's wall clock.

    `words_of` returns what else the page shows of an alert that is open.
    """

    def row(alert: Alert) -> dict[str, Any]:
        return {
            "rule": alert.rule,
            "subject": alert.subject,
            "severity": str(alert.severity),
            "meaning": alert.meaning,
            "state": str(alert.state),
            "fired": alert.fired_ns / 1e6 + shift_ms,
            "resolved": None if alert.resolved_ns is None else alert.resolved_ns / 1e6 + shift_ms,
            "at": reading(alert.fired_value, alert.unit),
            "value": "over, and waits to be acknowledged" if alert.is_waiting else reading(alert.value, alert.unit),
            "worst": reading(alert.worst, alert.unit),
            "acknowledged": alert.is_acknowledged,
        }

    # The time that ages are counted to: without an age to show, an unchanged strip is not sent again.
    now = None if found.now_ns is None or not found.open else found.now_ns / 1e6 + shift_ms
    strip = {
        "open": [row(alert) | words_of(alert) for alert in found.open[:MOST_SHOWN]],
        "more": max(0, len(found.open) - MOST_SHOWN),
        "rules": found.rules,
        "silent": list(found.silent),
        "begun": found.has_begun,
        "now": now,
    }
    return strip, [row(alert) for alert in list(found.past)[: -MOST_HISTORY - 1 : -1]]


def reading(value: float, unit: str) -> str:
    """Return a value in words; an empty text where it only means yes or no."""
    if math.isnan(value):
        return "no data"
    if unit == "fraction":
        return f"{value:.2%}".replace("-", "−").replace("%", " %")
    if unit == "objectives":
        return f"{value:.2f} × objective"
    if not unit and value in {0.0, 1.0}:
        return ""
    return f"{value:,.4g} {unit}".strip().replace("-", "−")
