"""Moments as a user names them: text or aware datetimes, as ns since 1970 UTC."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

import pandas as pd

from ccwatch.errors import ConfigError

Moment = str | datetime | pd.Timestamp | None
_TIME_OF_DAY: Final = re.compile(r"\s*\d{1,2}:\d{2}")
FIRST, LAST = -(2**63), 2**63 - 1
"""What stands for an end that was left open."""


def span_of(start: Moment, end: Moment) -> tuple[int, int] | None:
    """First and last ns of a stretch of time; None where neither end is given.

    Raises:
        ConfigError: not a moment, or a datetime without a zone; or the end lies before the start.
    """
    if start is None and end is None:
        return None
    low, high = moment_ns(start), moment_ns(end)
    span = (FIRST if low is None else low, LAST if high is None else high)
    if span[0] > span[1]:
        raise ConfigError(f"the end, {end}, lies before the start, {start}")
    return span


def moment_ns(moment: Moment) -> int | None:
    """A moment as ns since 1970 UTC; text without a zone is UTC.

    Raises:
        ConfigError: not a moment, a time without a date, or a datetime without a zone.
    """
    if moment is None:
        return None
    if isinstance(moment, str) and _TIME_OF_DAY.match(moment):  # pandas would take today's date
        raise ConfigError(f"{moment!r} has no date; expected for example '2026-01-02T14:30:00Z'")
    try:
        found = pd.Timestamp(moment)
    except (ValueError, TypeError):
        raise ConfigError(f"{moment!r} is not a moment; expected for example '2026-01-02T14:30:00Z'") from None
    if pd.isna(found):
        raise ConfigError(f"{moment!r} is not a moment")
    if found.tzinfo is None:
        if not isinstance(moment, str):
            raise ConfigError(f"{moment!r} has no time zone")
        found = found.tz_localize("UTC")
    return int(found.as_unit("ns").value)
