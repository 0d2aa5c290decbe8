"""The trading day: when a market is open, and which day a moment belongs to. It knows no stream and no clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY: Final = timedelta(days=1)
_DAY_NS: Final = 86_400_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TradingHours:
    """When a market trades, in its own time zone; summer time included.

    A close at or before the open is the next day's: such a session belongs to the day of its open.

    Attributes:
        timezone: IANA name.
        open: local time at which the trading day begins.
        close: local time at which it ends.
        days: weekdays with trading, 0 is Monday.
        holidays: dates without trading.
        early_closes: dates that end earlier, and when.
        grace_s: after the open so many seconds may pass before silence means that the engine has not started.
    """

    timezone: str
    open: time
    close: time
    days: tuple[int, ...] = (0, 1, 2, 3, 4)
    holidays: frozenset[date] = frozenset()
    early_closes: tuple[tuple[date, time], ...] = field(default=())
    grace_s: float = 300.0

    def session_of(self, day: date) -> tuple[int, int] | None:
        """Return open and close of a local date, ns since 1970 UTC; None on a day without trading."""
        return _session(self, day)

    def sessions(self, first_ns: int, last_ns: int) -> tuple[Ints, Ints]:
        """Return opens and closes of the trading days around a stretch of time, in order, from the last one before its first day."""
        zone = ZoneInfo(self.timezone)
        day = _local_date(first_ns, zone)
        found: list[tuple[int, int]] = []
        for back in range(1, 40):  # the last session before it: a closed stretch is shorter than a month
            before = self.session_of(day - back * _DAY)
            if before is not None:
                found.append(before)
                break
        while day <= _local_date(last_ns, zone) + _DAY:
            session = self.session_of(day)
            if session is not None:
                found.append(session)
            day += _DAY
        opens, closes = np.array(found, dtype=np.int64).reshape(-1, 2).T
        return opens, closes

    def place(self, times: Ints) -> tuple[Ints, Bools]:
        """Return the trading day of each moment, and whether trading was open.

        Args:
            times: ns since 1970 UTC.

        Returns:
            The open of the trading day that each belongs to (a night belongs to the day before it), ns; and whether trading was open.
        """
        if not len(times):
            return times.astype(np.int64), np.zeros(0, dtype=np.bool_)
        opens, closes = _sessions_around(self, int(times.min()) // _DAY_NS, int(times.max()) // _DAY_NS)
        if not len(opens):
            return np.zeros(len(times), dtype=np.int64), np.zeros(len(times), dtype=np.bool_)
        at = np.searchsorted(opens, times, side="right") - 1
        known = at >= 0
        at = np.maximum(at, 0)
        return np.where(known, opens[at], 0), known & (times < closes[at])

    def is_open(self, now_ns: int) -> bool:
        """Return whether trading is open at a moment."""
        return bool(self.place(np.array([now_ns], dtype=np.int64))[1][0])

    def day_of(self, now_ns: int) -> int:
        """Return the open of the trading day that a moment belongs to, ns since 1970 UTC."""
        return int(self.place(np.array([now_ns], dtype=np.int64))[0][0])

    def next_open(self, now_ns: int) -> int | None:
        """Return the first open after a moment, ns; None where none comes within 40 days."""
        day = _local_date(now_ns, ZoneInfo(self.timezone))
        for ahead in range(41):
            session = self.session_of(day + ahead * _DAY)
            if session is not None and session[0] > now_ns:
                return session[0]
        return None

    def close_of(self, now_ns: int) -> int | None:
        """Return the close of the session that is open at a moment, ns; None outside of hours."""
        opens, closes = self.sessions(now_ns, now_ns)
        found = [int(b) for a, b in zip(opens, closes, strict=True) if a <= now_ns < b]
        return found[0] if found else None

    def __str__(self) -> str:
        days = ", ".join(WEEKDAYS[day] for day in self.days)
        return f"{self.open:%H:%M} to {self.close:%H:%M} {self.timezone}, {days}"


def days_of(times: Ints, hours: TradingHours | None) -> Ints:
    """Return the beginning of each moment's trading day (both in ns since 1970 UTC); without hours, of its UTC day."""
    return times - times % _DAY_NS if hours is None else hours.place(times)[0]


def read_hours(values: dict[str, Any], holidays: Sequence[str] = ()) -> TradingHours:
    """Return trading hours from the values of a settings file.

    Args:
        values: timezone, open and close ("09:30"), days ("mon-fri", "mon, wed" or a list), grace ("5min" as seconds already).
        holidays: dates ("2026-12-25"), or a date and its early close ("2026-11-27 13:00").

    Raises:
        ValueError: says which word cannot be used, and what was expected.
    """
    zone = values.get("timezone", "")
    try:
        ZoneInfo(zone)
    except (ValueError, OSError, KeyError, TypeError):
        raise ValueError(f"timezone={zone!r} is no time zone; expected for example 'America/New_York'") from None
    opens, closes = (_time(name, values.get(name)) for name in ("open", "close"))
    closed: set[date] = set()
    early: list[tuple[date, time]] = []
    for word in holidays:
        day, _, until = str(word).strip().partition(" ")
        try:
            found = date.fromisoformat(day)
        except ValueError:
            raise ValueError(f"holidays: {word!r} is no date; expected for example '2026-12-25', or '2026-11-27 13:00'") from None
        if until.strip():
            ends = _time("holidays", until.strip())
            if opens < closes and not opens < ends <= closes:
                raise ValueError(
                    f"holidays: {word!r}: trading is from {opens:%H:%M} to {closes:%H:%M}; expected an earlier close within it"
                )
            early.append((found, ends))
        else:
            closed.add(found)
    grace_s = float(values.get("grace_s", 300.0))
    return TradingHours(zone, opens, closes, _days(values.get("days", "mon-fri")), frozenset(closed), tuple(sorted(early)), grace_s)


def _time(name: str, value: Any) -> time:
    if isinstance(value, time):
        return value
    try:
        found = time.fromisoformat(value)
    except (TypeError, ValueError):
        found = None
    if found is None or found.tzinfo is not None:
        raise ValueError(f"{name}={value!r} is no time of day; expected for example '09:30'")
    return found


def _days(value: Any) -> tuple[int, ...]:
    """Return weekdays from names and ranges, as text with commas or as a list: "mon-wed, fri", ["sun-thu"]."""
    found: set[int] = set()
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else ()
    for part in parts:
        first, dash, last = (word.strip().casefold()[:3] for word in str(part).partition("-"))
        if first not in WEEKDAYS or (dash and last not in WEEKDAYS):
            found.clear()
            break
        begin, end = WEEKDAYS.index(first), WEEKDAYS.index(last if dash else first)
        found |= {day % 7 for day in range(begin, end + 1 + (7 if end < begin else 0))}
    if not found:
        raise ValueError(f"days={value!r}: expected weekdays, for example 'mon-fri' or ['mon', 'wed']")
    return tuple(sorted(found))


@lru_cache(maxsize=64)
def _sessions_around(hours: TradingHours, first: int, last: int) -> tuple[Ints, Ints]:
    """Return the sessions around some days of UTC, counted from 1970, as arrays that cannot be changed."""
    opens, closes = hours.sessions(first * _DAY_NS, (last + 1) * _DAY_NS - 1)
    opens.flags.writeable = closes.flags.writeable = False
    return opens, closes


@lru_cache(maxsize=4096)
def _session(hours: TradingHours, day: date) -> tuple[int, int] | None:
    if day.weekday() not in hours.days or day in hours.holidays:
        return None
    zone = ZoneInfo(hours.timezone)
    close = dict(hours.early_closes).get(day, hours.close)
    end = day if close > hours.open else day + _DAY
    return _ns(datetime.combine(day, hours.open, zone)), _ns(datetime.combine(end, close, zone))


def _local_date(ns: int, zone: ZoneInfo) -> date:
    return (_EPOCH + timedelta(microseconds=ns // 1000)).astimezone(zone).date()


def _ns(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
