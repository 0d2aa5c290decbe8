"""The sessions that a question is asked of: the place, desk and time of each, and choosing among them. It opens no table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from ccwatch.errors import ConfigError

UNREADABLE: Final = "unreadable"
_CLOCK: Final = re.compile(r"\s*\d{1,2}:")
MOST_NAMED: Final = 5
"""Most sessions that a note names one by one."""


class Session(NamedTuple):
    """One session, as a kernel on any machine needs it: small, frozen, and it can be pickled.

    Attributes:
        name: its folder's name.
        place: its folder's path, or its url.
        desk: origin and url of its stream. Sessions of one desk follow on each other.
        start_ns: its first packet's time, ns since 1970 UTC; None without packets.
        end_ns: its last packet's time.
        wall: receiver's clock at its beginning and end, ns since 1970 UTC; the end is 0 where it is not known.
        symbols: the symbols that it holds.
        tags: the recorded tags and those added later.
    """

    name: str
    place: str
    desk: str
    start_ns: int | None
    end_ns: int | None
    wall: tuple[int, int]
    symbols: tuple[str, ...]
    tags: tuple[str, ...]


def of_catalog(table: Any, frame: pd.DataFrame) -> tuple[Session, ...]:
    """Return the sessions of a catalog, by desk and time.

    Args:
        table: the catalog's Arrow table.
        frame: the frame made of it, with the same rows.
    """
    columns = [table[name].to_pylist() for name in ("session", "origin", "url", "start_ns", "end_ns", "wall_ns", "ended_ns", "symbols")]
    found = [
        Session(name, place, f"{origin} {url}", start, end, (wall or 0, ended or 0), tuple(symbols), tuple(tags))
        for (name, origin, url, start, end, wall, ended, symbols), place, tags in zip(
            zip(*columns, strict=True), frame["path"], frame["tags"], strict=True
        )
    ]
    return tuple(sorted(found, key=lambda session: (session.desk, session.start_ns or 0, session.name)))


def doubled(sessions: Sequence[Session]) -> dict[str, str]:
    """Return the sessions whose packets another session recorded too, by name with a sentence: packets must not count twice.

    Two recordings hold the same packets if they are of one desk, and overlap both in the stream's time and by the receiver's clock.
    """
    found: dict[str, str] = {}
    last: dict[str, Session] = {}
    for session in sessions:  # by desk and time
        if session.start_ns is None or session.end_ns is None:
            continue
        before = last.get(session.desk)
        if before is not None and before.end_ns is not None and session.start_ns <= before.end_ns and _met(before, session):
            found[session.name] = f"it recorded the stream that {before.name} recorded at the same time"
            continue
        if before is None or before.end_ns is None or session.end_ns >= before.end_ns:
            last[session.desk] = session
    return found


def _met(one: Session, two: Session) -> bool:
    begun, ended = max(one.wall[0], two.wall[0]), min(one.wall[1] or 2**63, two.wall[1] or 2**63)
    return begun <= ended  # a stream of virtual time begins and ends at one moment


def left_out_note(left: dict[str, str]) -> tuple[str, ...]:
    """Return the note that says which sessions are not in an answer, and why; none where all are in it."""
    if not left:
        return ()
    reasons = "; ".join(f"{name}: {why}" for name, why in list(left.items())[:MOST_NAMED])
    more = f"; and {len(left) - MOST_NAMED:,} more" if len(left) > MOST_NAMED else ""
    return (f"left out {len(left):,} session{'s' if len(left) > 1 else ''}: {reasons}{more}",)


def matching(
    frame: pd.DataFrame,
    *,
    start: Any = None,
    end: Any = None,
    symbol: str | None = None,
    origin: str | None = None,
    tag: str | None = None,
    status: str | None = None,
    where: Any = None,
) -> Any:
    """Return which rows of `Archive.sessions` meet all conditions, as an array of bools; see `Archive.filter`."""
    kept = np.ones(len(frame), dtype=bool)
    if start is not None and end is not None and parse_utc(start, "start") > parse_utc(end, "end", whole_day=True):
        raise ConfigError(f"start={start!r} is after end={end!r}")
    if start is not None:
        kept &= (frame["end"] >= parse_utc(start, "start")).to_numpy()
    if end is not None:
        kept &= (frame["start"] <= parse_utc(end, "end", whole_day=True)).to_numpy()
    if symbol is not None:
        kept &= np.array([symbol in words for words in frame["symbols"]], dtype=bool)
    if tag is not None:
        kept &= np.array([tag in words for words in frame["tags"]], dtype=bool)
    if origin is not None:
        kept &= (frame["origin"] == origin).to_numpy()
    if status is not None:
        kept &= frame["status"].str.startswith(status).to_numpy(dtype=bool)
    if where is not None:
        chosen = where(frame) if callable(where) else where
        values = np.asarray(chosen)
        if values.dtype == bool and values.shape == kept.shape:
            kept &= values
        elif values.ndim == 1 and values.dtype != bool:
            kept &= frame.index.isin([str(name) for name in values])
        else:
            raise ConfigError("where: expected names of sessions, a bool per session, or a function of the frame that gives one of these")
    return kept


def unjudged(frame: pd.DataFrame, kept: Any, *, status: str | None, where: Any) -> dict[str, str]:
    """Return the sessions that conditions left out though nothing is known of them, by name with a sentence.

    Args:
        frame: `Archive.sessions`.
        kept: which of its rows meet all conditions.
        status: the conditions that such a session can be judged by: see `Archive.filter`.
        where: as `status`.
    """
    is_unknown = frame["start"].isna() & frame["status"].str.startswith(UNREADABLE) & ~kept
    found = frame["status"][is_unknown.to_numpy(dtype=bool) & matching(frame, status=status, where=where)]
    return {str(name): f"{why}; whether it meets the conditions is not known" for name, why in found.items()}


def parse_utc(value: Any, name: str, *, whole_day: bool = False) -> pd.Timestamp:
    """Return a time in UTC; text without a zone is UTC, and with `whole_day` a date alone is the end of that day.

    Raises:
        ConfigError: `value` is no time.
    """
    try:
        is_undated = isinstance(value, int | float) or (isinstance(value, str) and _CLOCK.match(value) is not None)
        found = pd.NaT if is_undated else pd.Timestamp(value)  # a number would be ns since 1970, a time without a date today's
    except (ValueError, TypeError):
        raise ConfigError(f"{name}={value!r} is no time; expected for example '2026-01-02' or '2026-01-02T14:30:00Z'") from None
    if pd.isna(found):
        raise ConfigError(f"{name}={value!r} is no time; expected for example '2026-01-02'")
    is_date = isinstance(value, str) and len(value) <= len("2026-01-02")
    found = found.tz_localize("UTC") if found.tzinfo is None else found.tz_convert("UTC")
    found = found.as_unit("ns")
    return found + pd.Timedelta(days=1) - pd.Timedelta(1, "ns") if whole_day and is_date and found == found.normalize() else found
