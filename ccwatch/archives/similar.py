"""Has this happened before? The stretches of all sessions that look most like a given one, and what followed each.

Likeness is the z-normalised Euclidean distance of each channel, so level and scale do not count, only the shape; see `distance`. What
followed is reported as a distribution over the matches, with an interval, and not at all where there are too few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from ccwatch.analysis import Basis, Result, count_of, draw, percent, quantile, wilson
from ccwatch.archives import index as channels
from ccwatch.archives.distance import Match, nearest, z_normalised
from ccwatch.archives.locations import is_remote, open_place
from ccwatch.archives.sessions import Session, left_out_note, parse_utc
from ccwatch.domain import drawdown
from ccwatch.domain.durations import for_pandas
from ccwatch.errors import ConfigError, NotEnoughData
from ccwatch.stream.table_reader import TableReader
from ccwatch.stream.time_ranges import parse_end, parse_time
from ccwatch.stream.view import LiveView, RecordedView

LEAST: Final = 10
"""Count of matches below which what followed is not reported."""
LEAST_POINTS: Final = 8
"""Fewest points of a stretch that has a shape."""
MOST_TOP: Final = 1000
_SECOND_NS: Final = 1_000_000_000
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Similar(Result):
    """The stretches most like a given one, and what followed them.

    Attributes:
        matches: one row per match, the nearest first; see `to_frame`.
        followed: one row per measure: measure (return, drawdown, halted), value (median, of halted the share), low, high (95 %), n, reason
            (why it is not reported).
        on: the channels that were compared.
        points: count of the stretch's points on the grid.
        step_s: step of the grid, seconds.
        horizon_s: how long each match was followed, seconds.
        curves: per match the first channel's values, z-normalised; row 0 is the given stretch.
        basis: n counts matches.
        notes: the limits of the answer.
    """

    question: ClassVar[str] = "similar"
    title: ClassVar[str] = "Has this happened before?"
    matches: pd.DataFrame
    followed: pd.DataFrame
    on: tuple[str, ...]
    points: int
    step_s: float
    horizon_s: float
    curves: Floats
    basis: Basis
    notes: tuple[str, ...]

    def headline(self) -> str:
        """Return a sentence about the nearest match and what followed all matches."""
        if not len(self.matches):
            return "No other stretch has a shape to compare." if self.basis.packets else "There is no session to compare with."
        nearest_one = self.matches.iloc[0]
        returns: dict[Any, Any] = self.followed.set_index("measure").loc["return"].to_dict()
        what = (
            f"what followed within {self.horizon_s / 60:g} min is not known: {returns['reason']}"
            if not np.isfinite(returns["value"])
            else f"the price then moved by {percent(returns['value'])} "
            f"(median of {int(returns['n'])}, {percent(returns['low'])} to {percent(returns['high'])})"
        )
        where = f"{nearest_one['session']} at {nearest_one['start']:%Y-%m-%d %H:%M:%S} UTC"
        matches = count_of(len(self.matches), "match", "matches")
        return f"The nearest of {matches} is {where}, at distance {nearest_one['distance']:.3g}; {what}."

    def to_frame(self) -> pd.DataFrame:
        """Return one row per match, the nearest first.

        Columns: session, start, end (times of its first and last point), distance (root of the mean square over the channels, 0 to
        2√points), correlation (1 less the mean squared distance over 2·points), distance of each channel where there are several
        ("distance:price"), then what followed within the horizon: return (of the price), drawdown (the deepest of the nav, fraction ≤ 0),
        halted (whether the engine was halted); NaN or NA where the session had ended or had a gap by then.
        """
        return self.matches.copy()

    def figure(self, *, dark: bool = False) -> go.Figure:
        """Draw the given stretch over its nearest matches; the first channel, z-normalised."""
        colours = draw.colours(dark)
        x = np.arange(self.points) * self.step_s
        traces = [
            {
                "type": "scatter",
                "mode": "lines",
                "name": "asked" if place == 0 else f"{place}. {self.matches['session'].iloc[place - 1]}",
                "x": x,
                "y": curve,
                "opacity": 1.0 if place == 0 else 0.5,
                "line": {"color": colours.line if place == 0 else colours.line_engine, "width": 3 if place == 0 else 1},
            }
            for place, curve in enumerate(self.curves[:11])
        ]
        return draw.figure(traces, x_title="seconds", y_title=f"{self.on[0]} (z)", dark=dark)

    def to_dict(self) -> dict[str, object]:
        """Return the answer as plain values, without the curves."""
        return {name: value for name, value in super().to_dict().items() if name != "curves"}


def similar(
    root: str | Path,
    sessions: Sequence[Session],
    source: Any,
    start: Any,
    end: Any,
    *,
    on: Sequence[str],
    top: int,
    horizon: str,
    step: str,
    left_out: dict[str, str],
) -> Similar:
    """Return the stretches most like a given one; see `Archive.similar`."""
    wanted = _checked(on, top)
    step_ns, horizon_ns = _length(step, "step"), _length(horizon, "horizon")
    opened, name = _opened(root, source, sessions)
    first, last = _range(opened, start, end)
    points = (last.value - first.value) // step_ns + 1
    if points < LEAST_POINTS:
        raise NotEnoughData(f"similar: the stretch has {max(0, points)} points of {step}; it needs {LEAST_POINTS}")
    queries = _stretch(opened, wanted, step_ns, first.value, points)
    found = channels.build(root, sessions, wanted, step_ns)
    asked = {session.name for session in sessions}
    allowed = np.array([each in asked for each in found.names], dtype=bool)
    same = _recorders(opened, name, sessions, first, last)
    own = np.array([each in same for each in found.names], dtype=bool)

    def is_allowed(place: int) -> bool:
        session = found.locate(place)
        begins = int(found.start_ns[session]) + (place - int(found.first[session])) * step_ns
        return bool(allowed[session]) and not (own[session] and abs(begins - first.value) < points * step_ns)

    matches = nearest(queries, [found.channels[each] for each in wanted], top, is_allowed=is_allowed) if len(found.names) else []
    left = {each: why for each, why in (left_out | found.left_out).items() if each in asked or each in left_out}
    table = _table(matches, found, wanted, points, horizon_ns)
    return Similar(
        matches=table,
        followed=_followed(table),
        on=wanted,
        points=int(points),
        step_s=step_ns / _SECOND_NS,
        horizon_s=horizon_ns / _SECOND_NS,
        curves=_curves(queries[0], found.channels[wanted[0]], matches),
        basis=_basis(len(matches), int(found.count[allowed].sum()) if len(allowed) else 0, first, last),
        notes=(
            f"of {count_of(len(asked), 'session')} on a grid of {step}; the basis counts its points",
            "a likeness of shape is no cause: matches of one day hang together, and intervals are too narrow then",
            *left_out_note(left),
        ),
    )


def _checked(on: Sequence[str], top: object) -> tuple[str, ...]:
    """Return the channels asked for.

    Raises:
        ConfigError: there is no such channel, one is named twice, or `top` is out of range.
    """
    wanted = (on,) if isinstance(on, str) else tuple(on)
    if not wanted or len(set(wanted)) < len(wanted):
        raise ConfigError(f"on={on!r}: expected one or more different channels")
    for name in wanted:
        channels.check_channel(name)
    if not isinstance(top, int) or isinstance(top, bool) or not 1 <= top <= MOST_TOP:
        raise ConfigError(f"top={top!r}: expected a whole number from 1 to {MOST_TOP:,}")
    return wanted


def _basis(n: int, points: int, first: pd.Timestamp, last: pd.Timestamp) -> Basis:
    return Basis(
        n=n,
        packets=points,
        left_out=0,
        coverage=float("nan"),
        start=first,
        end=last,
        duration_s=(last - first).total_seconds(),
        gaps=0,
        gap_s=0.0,
    )


def _curves(query: Floats, series: Floats, matches: Sequence[Match]) -> Floats:
    """Return the given stretch and its matches, z-normalised, a row each."""
    values = [query, *(np.asarray(series[match.place : match.place + len(query)]) for match in matches)]
    return np.array([curve for each in values if (curve := z_normalised(each)) is not None])


def _table(matches: Sequence[Match], found: channels.Index, on: Sequence[str], points: int, horizon_ns: int) -> pd.DataFrame:
    rows = [_row(match, found, on, points, horizon_ns) for match in matches]
    return pd.DataFrame(rows, columns=_columns(on)).astype(
        {"session": "str", "start": "datetime64[ns, UTC]", "end": "datetime64[ns, UTC]", "halted": "boolean"}
    )


def _columns(on: Sequence[str]) -> list[str]:
    each = [f"distance:{name}" for name in on] if len(on) > 1 else []
    return ["session", "start", "end", "distance", "correlation", *each, "return", "drawdown", "halted"]


def _row(match: Match, found: channels.Index, on: Sequence[str], points: int, horizon_ns: int) -> dict[str, Any]:
    session = found.locate(match.place)
    offset = match.place - int(found.first[session])
    begin = int(found.start_ns[session]) + offset * found.step_ns
    row: dict[str, Any] = {
        "session": found.names[session],
        "start": pd.Timestamp(begin, unit="ns", tz="UTC"),
        "end": pd.Timestamp(begin + (points - 1) * found.step_ns, unit="ns", tz="UTC"),
        "distance": match.distance,
        "correlation": 1.0 - match.distance**2 / (2.0 * points),
    }
    row |= {f"distance:{name}": value for name, value in zip(on, match.by_channel, strict=True)} if len(on) > 1 else {}
    last = match.place + points - 1
    until = last + int(horizon_ns // found.step_ns)
    is_whole = until < int(found.first[session] + found.count[session])
    price, nav, halted = (np.asarray(found.channels[name][last : until + 1]) for name in channels.FOLLOWED)
    no_gap = is_whole and len(price) > 0
    gone = float(price[-1] / price[0] - 1.0) if no_gap and np.isfinite(price).all() and price[0] > 0.0 else np.nan
    fell = drawdown.worst_drawdown(nav) if no_gap and np.isfinite(nav).all() else np.nan
    known = is_whole and np.isfinite(halted).all()
    return row | {"return": gone, "drawdown": fell, "halted": bool(halted[1:].any()) if known else pd.NA}


def _followed(table: pd.DataFrame) -> pd.DataFrame:
    """Return what followed, over the matches that could be followed to the end of the horizon."""
    rows = []
    for measure in ("return", "drawdown"):
        values = np.sort(table[measure].dropna().to_numpy(dtype=np.float64))
        median = quantile(values, 0.5) if len(values) >= LEAST else None
        kept = (median.value, median.low, median.high, median.reason) if median is not None else (np.nan, np.nan, np.nan, _few(len(values)))
        rows.append((measure, *kept[:3], len(values), kept[3]))
    halted = table["halted"].dropna()
    n, count = len(halted), int(halted.sum())
    low, high = wilson(count, n) if n >= LEAST else (np.nan, np.nan)
    rows.append(("halted", count / n if n >= LEAST else np.nan, low, high, n, "" if n >= LEAST else _few(n)))
    return pd.DataFrame(rows, columns=["measure", "value", "low", "high", "n", "reason"])


def _few(n: int) -> str:
    return f"n too small: {count_of(n, 'match', 'matches')} could be followed, {LEAST} are needed"


def _stretch(source: TableReader | pd.DataFrame, on: Sequence[str], step_ns: int, start_ns: int, points: int) -> list[Floats]:
    """Return the channels of the given stretch.

    Raises:
        NotEnoughData: a channel has a gap in it, or does not move.
    """
    _, values = channels.on_grid(source, on, step_ns, start_ns, points)
    for name, column in zip(on, values, strict=True):
        missing = int((~np.isfinite(column)).sum())
        if missing:
            raise NotEnoughData(f"similar: {name} is not known at {missing} of {points} points of the stretch")
        if z_normalised(column) is None:
            raise NotEnoughData(f"similar: {name} does not move in the stretch, so it has no shape")
    return values


def _range(source: TableReader | pd.DataFrame, start: Any, end: Any) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Return the stretch's first and last time; a time of day is the source's own, and a date as the end is its whole day.

    Raises:
        ConfigError: one is no time, or a time of day that the source does not have.
    """

    def session() -> tuple[pd.Timestamp, pd.Timestamp] | None:
        times = source.index if isinstance(source, pd.DataFrame) else source.frame(["price"], clean=True).index
        return (times.min(), times.max()) if len(times) else None

    first = parse_time(start, "start", session) if isinstance(start, str) else parse_utc(start, "start")
    last = parse_end(end, "end", session) if isinstance(end, str) else parse_utc(end, "end")
    if first is None or last is None:
        raise ConfigError("expected a start and an end")
    return first, last


def _opened(root: str | Path, source: Any, sessions: Sequence[Session]) -> tuple[TableReader | pd.DataFrame, str]:
    """Return the source opened, and its name if it is a session of the archive; otherwise an empty name."""
    if isinstance(source, str | Path):
        if source == "latest":
            if not sessions:
                raise NotEnoughData("similar: the archive holds no session that can be read, so there is no latest one")
            source = max(sessions, key=lambda session: session.wall).name
        mine = next((session for session in sessions if str(source) in {session.name, session.place}), None)
        if mine is not None:
            return open_place(mine.place), mine.name
        beside = str(source) if is_remote(root) or is_remote(source) else str(Path(root) / source)  # one that the filter left out
        found = open_place(beside if not is_remote(source) and not Path(source).exists() and Path(beside).exists() else str(source))
        return found, _name_of(found, sessions)
    if isinstance(source, pd.DataFrame):
        return source, ""
    if not isinstance(source, TableReader):
        raise ConfigError(f"source={source!r}: expected a Recording, a Feed, the name of a session, a path or a frame")
    return source, _name_of(source, sessions)


def _name_of(source: TableReader, sessions: Sequence[Session]) -> str:
    if not isinstance(source, RecordedView):
        return ""
    places = {str(source.path), str(source.path.absolute())}
    return next((session.name for session in sessions if session.place in places or str(Path(session.place).absolute()) in places), "")


def _recorders(
    source: TableReader | pd.DataFrame, name: str, sessions: Sequence[Session], first: pd.Timestamp, last: pd.Timestamp
) -> frozenset[str]:
    """Return the sessions that hold the given stretch itself: its own, and those that recorded the same stream when it was received."""
    if isinstance(source, LiveView):
        desk = f"{source.origin} {source.url}"
    else:
        desk = next((session.desk for session in sessions if session.name == name), "")
    if isinstance(source, pd.DataFrame) or not desk:
        return frozenset({name})
    received = source.frame(["received_at"], clean=True).loc[first:last, "received_at"].dropna()
    if not len(received):
        return frozenset({name})
    low, high = received.min().value, received.max().value
    met = {each.name for each in sessions if each.desk == desk and each.wall[0] <= high and (each.wall[1] or 2**63) >= low}
    return frozenset({name, *met})


def _length(text: Any, name: str) -> int:
    try:
        found = int(pd.Timedelta(for_pandas(text)).as_unit("ns").value)
    except (ValueError, TypeError):
        found = 0
    if found <= 0:
        raise ConfigError(f"{name}={text!r}: expected a length of time such as '1s' or '15min'")
    return found
