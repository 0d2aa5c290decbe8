"""An alert in words, the same on a terminal, in a log and in messages."""

from __future__ import annotations

import math
from datetime import UTC
from typing import TYPE_CHECKING, Any

from ccwatch.domain.durations import duration_text

if TYPE_CHECKING:
    from ccwatch.alerts.log import Alert


def reading(value: float, unit: str) -> str:
    """Return a value in words; an empty text where it only means yes or no."""
    if math.isnan(value):
        return ""
    if unit == "fraction":
        return f"{100.0 * value:.2f} %".replace("-", "\N{MINUS SIGN}")
    if not unit and value in {0.0, 1.0}:
        return ""
    return f"{value:,.4g} {unit}".strip().replace("-", "\N{MINUS SIGN}")


def in_words(alert: Alert, zone: Any = UTC) -> str:
    """Return a line on an alert: its id, severity, name, state and value."""
    value = reading(alert.value if alert.is_open else alert.worst, alert.unit)
    state = f"fires since {alert.fired.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"
    if alert.resolved_ns is not None:
        state = f"is over after {duration_text((alert.resolved_ns - alert.fired_ns) / 1e9)}"
    said = f", {'now' if alert.is_open else 'at worst'} {value}" if value else ""
    return f"{alert.id} {alert.severity} {alert.name} {state}: {alert.meaning}{said}"
