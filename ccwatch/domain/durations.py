"""Lengths of time as text: "30s", "5min", "1h 30min"; one reading for rules, commands and settings."""

from __future__ import annotations

import re
from typing import Any, Final

_SECONDS: Final = {"ms": 1e-3, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
UNITS: Final = "ms|sec|s|min|m|h|d|w"
"""The units, the longer words first, for a regular expression."""
_PART: Final = re.compile(rf"\s*(\d+(?:\.\d+)?)\s*({UNITS})(?![a-z])", re.IGNORECASE)
_DAYS: Final = re.compile(r"(?<=[0-9 ])d(?![a-z])")


def seconds_of(text: str) -> float:
    """Return the seconds of a duration such as "30s", "5min", "5m", "1h 30min" or "0s".

    Raises:
        ValueError: not such a duration; the message says what came and what is expected.
    """
    at, total = 0, 0.0
    while at < len(text.rstrip()):
        found = _PART.match(text, at)
        if found is None:
            break
        total += float(found[1]) * _SECONDS[found[2].lower()]
        at = found.end()
    if not text.strip() or at < len(text.rstrip()):
        raise ValueError(f"{text!r} is no duration; expected for example '30s', '5min' or '1h'")
    return total


def duration_text(seconds: float) -> str:
    """Return seconds as text in the largest units that fit: "10 min", "1 h 30 min", "45 s"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.3g} s"
    parts = [(whole // 86_400, "d"), (whole % 86_400 // 3600, "h"), (whole % 3600 // 60, "min"), (whole % 60, "s")]
    shown = [f"{count} {unit}" for count, unit in parts if count]
    return " ".join(shown[:2])


def for_pandas(length: object) -> Any:
    """Return a length of time as pandas is to read it: it warns of the "d" of days. What is no text is returned as it is."""
    return _DAYS.sub("D", length) if isinstance(length, str) else length
