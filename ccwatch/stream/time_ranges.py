"""Moments as a user names them, the same in every verb: "14:38", "2026-01-02 14:38", timestamps. Ranges are closed at both ends.

A text without a zone is in the zone of the settings (`display_tz`, else that of `[hours]`, else UTC), in which times are shown, too. One
without a date is on a date of the session; a date alone, where a range is asked for, is its whole day.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import pandas as pd

from ccwatch.config import Settings
from ccwatch.errors import ConfigError

Moment = str | datetime | pd.Timestamp | slice | None
"""A slice is a whole range, where a start is asked for: `dashboard.selection.slice`, `slice("14:36", "14:38")`."""
Session = Callable[[], tuple[pd.Timestamp, pd.Timestamp] | None]
"""A function that returns the first and the last moment of a session, UTC, or None if it has no packet. Called only for a time
without a date."""
FIRST, LAST = -(2**63), 2**63 - 1
"""The ns that represent an open start and an open end."""
EXAMPLES: Final = "expected for example '14:38' or '2026-01-02T14:38:00Z'"
_CLOCK: Final = re.compile(r"\d{1,2}:\d\d(:\d\d(\.\d+)?)?")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_MOST_SHOWN: Final = 3
"""How many of the possible moments a message lists at most."""


_SHOWING: ContextVar[str | None] = ContextVar("zone in which times are shown", default=None)


@contextmanager
def showing(zone: str | None) -> Iterator[None]:
    """Show times in the zone of this IANA name, instead of the settings', while the block runs."""
    token = _SHOWING.set(zone)
    try:
        yield
    finally:
        _SHOWING.reset(token)


def shown_zone() -> str:
    """Return the IANA name of the zone in which times are shown."""
    return _SHOWING.get() or Settings.load().display_tz


def shown(moment: datetime) -> datetime:
    """Return an aware time in the zone in which times are shown."""
    return moment.astimezone(ZoneInfo(shown_zone()))


def ends_of(start: Moment, end: Moment) -> tuple[Moment, Moment]:
    """Return the two ends of a range, of which a slice as the start gives both.

    Raises:
        ConfigError: a slice and an end, or a slice with a step.
    """
    if not isinstance(start, slice):
        return start, end
    if end is not None or start.step is not None:
        raise ConfigError(f"start={start!r}: expected a slice alone, and without a step")
    return start.start, start.stop


def span_of(start: Moment, end: Moment, session: Session | None = None) -> tuple[int, int] | None:
    """Return the first and last ns of a stretch of time; None if neither end is given.

    Args:
        start: its first moment, or a slice that gives both; None leaves it open.
        end: its last one, included.
        session: see `Session`; with None, a time without a date is refused.

    Raises:
        ConfigError: not a moment, or a datetime without a zone; or the end lies before the start.
    """
    low, high = range_of(start, end, session)
    if low is None and high is None:
        return None
    return FIRST if low is None else int(low.value), LAST if high is None else int(high.value)


def range_of(
    start: Moment, end: Moment, session: Session | None = None, *, zone: str | None = None
) -> tuple[pd.Timestamp | None, pd.Timestamp | None]:
    """Return the first and last moment of a stretch of time, UTC, each None where it is open; see `span_of`.

    A date alone is its whole day, in the zone of a text without one: as the start its first moment, as the end its last.
    """
    start, end = ends_of(start, end)
    low, high = parse_time(start, "start", session, zone=zone), parse_end(end, "end", session, zone=zone)
    if low is not None and high is not None and low > high:
        raise ConfigError(f"the end, {end}, lies before the start, {start}")
    return low, high


def parse_end(value: Moment, name: str, session: Session | None = None, *, zone: str | None = None) -> pd.Timestamp | None:
    """Return the last moment of a range, as `parse_time` does; that of a date alone is the last of its day."""
    if not isinstance(value, str) or not is_date(value):
        return parse_time(value, name, session, zone=zone)
    if _parsed(value.strip()) is None:
        raise ConfigError(f"{name}={value!r} is no time; {EXAMPLES}")
    known = ZoneInfo(Settings.load(display_tz=zone).display_tz)
    following = pd.Timestamp(value.strip()) + pd.Timedelta(days=1)
    return _utc(following.tz_localize(known, ambiguous=True, nonexistent="shift_forward")) - pd.Timedelta(1, "ns")


def is_date(value: object) -> bool:
    """Return whether this is the text of a date alone, such as "2026-01-02"."""
    return isinstance(value, str) and _DATE.fullmatch(value.strip()) is not None


def parse_time(value: Moment, name: str, session: Session | None = None, *, zone: str | None = None) -> pd.Timestamp | None:
    """Return a moment given by a user as a Timestamp in UTC, unit ns; None for None.

    Args:
        value: text, or a datetime or Timestamp with a zone.
        name: the argument's name, for the message.
        session: see `span_of`.
        zone: IANA zone of a text without one; None is the setting, else UTC.

    Raises:
        ConfigError: not a time; a datetime without a zone; a time of day that the session has never, or more than once.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        return _aware(value, name)
    text = value.strip()
    parsed = _parsed(text)
    if parsed is None:
        raise ConfigError(f"{name}={value!r} is no time; {EXAMPLES}")
    if parsed.tzinfo is not None:
        return _utc(parsed)
    known = Settings.load(display_tz=zone).display_tz
    return _of_the_session(value, parsed, known, session) if _CLOCK.fullmatch(text) else _one(value, _in_zone(parsed, known), known)


def next_moment(value: Moment, name: str, now: datetime) -> datetime:
    """Return a future moment given by a user: a time of day is its next occurrence in the zone of the settings.

    Args:
        value: as for `moment`.
        name: the argument's name, for the message.
        now: the wall clock, aware.

    Raises:
        ConfigError: no time, or a datetime without a zone.
    """
    begins = pd.Timestamp(now).ceil(_unit(value)) if isinstance(value, str) else pd.Timestamp(now)
    found = parse_time(value, name, lambda: (begins, begins + pd.Timedelta(days=1) - pd.Timedelta(1)))
    if found is None:
        raise ConfigError(f"{name}: {EXAMPLES}")
    return found.to_pydatetime(warn=False)


def _aware(value: Any, name: str) -> pd.Timestamp:
    try:
        found: Any = pd.Timestamp(value)
    except (ValueError, TypeError):
        raise ConfigError(f"{name}={value!r} is no time; {EXAMPLES}") from None
    if pd.isna(found) or found.tzinfo is None:
        raise ConfigError(f"{name}={value!r} has no time zone; {EXAMPLES}")
    return _utc(found)


def _parsed(text: str) -> Any:
    """Return the text as a time, on an arbitrary date if it names none; None if it is not a time."""
    try:
        if _CLOCK.fullmatch(text):
            return pd.Timestamp(f"2000-01-01T{text.zfill(5) if text.count(':') == 1 else text}")
        found = pd.Timestamp(text) if _DATE.match(text) else None  # pandas would give a time without a date today's
    except ValueError:
        return None
    return None if found is None or pd.isna(found) else found


def _of_the_session(value: str, parsed: Any, zone: str, session: Session | None) -> pd.Timestamp:
    """Return the one moment of the session at this time of the day."""
    ends = None if session is None else session()
    if ends is None:
        raise ConfigError(f"{value!r} has no date, and there is no session to take it from; expected for example '2026-01-02T14:38:00Z'")
    start, end = (at.tz_convert(ZoneInfo(zone)) for at in ends)
    days = pd.date_range(start.normalize().tz_localize(None), end.tz_localize(None), freq="D")
    found = {at for day in days for at in _in_zone(day + (parsed - parsed.normalize()), zone)}
    # A time that names no fraction means the whole of its second, and one without seconds the whole of its minute.
    within = {at for at in found if ends[0].floor(_unit(value)) <= at <= ends[1]}
    if not within:
        raise ConfigError(f"{value!r} ({zone}) does not lie in this session, which goes from {start} to {end}")
    return _one(value, within, zone)


def _unit(value: str) -> str:
    return "min" if value.count(":") == 1 else "s" if "." not in value else "ns"


def _in_zone(local: Any, zone: str) -> set[pd.Timestamp]:
    """Return the UTC times of a local time: none if clocks skipped it, two if they went through it twice."""
    found = (local.tz_localize(ZoneInfo(zone), ambiguous=is_dst, nonexistent="NaT") for is_dst in (True, False))
    return {_utc(at) for at in found if not pd.isna(at)}


def _one(value: str, found: set[pd.Timestamp], zone: str) -> pd.Timestamp:
    if len(found) == 1:
        return next(iter(found))
    if not found:
        raise ConfigError(f"{value!r} never was in {zone}: clocks went past it")
    shown = [at.tz_convert(ZoneInfo(zone)).isoformat(timespec="seconds") for at in sorted(found)[:_MOST_SHOWN]]
    more = f" … ({len(found)} in all)" if len(found) > _MOST_SHOWN else ""
    raise ConfigError(f"{value!r} is ambiguous in this session ({zone}); give one of {', '.join(shown)}{more}")


def _utc(at: Any) -> pd.Timestamp:
    found: pd.Timestamp = at.tz_convert("UTC").as_unit("ns")
    return found
