"""Success and burn rate: errors in a window, from counters since the engine's start, and cache hits likewise. It knows no stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from pandas.api.types import union_categoricals

from ccwatch.analysis import draw
from ccwatch.analysis.result import Result, clock, in_order, notes_of
from ccwatch.analysis.service_rows import counted_in_order, usable_rows
from ccwatch.analysis.usable_rows import (
    SECOND_NS,
    Basis,
    Floats,
    Ints,
    categorical,
    numbers,
    select_rows,
    stamp,
    times_ns,
    without_doubles,
)
from ccwatch.domain import counters
from ccwatch.domain.limits import BURN_LEAST_N, BURN_WINDOWS, SUCCESS_OBJECTIVE
from ccwatch.errors import MissingColumns, NotEnoughData

_MOST_DECIMALS: Final = 9


@dataclass(frozen=True, eq=False, repr=False)
class BurnRate(Result):
    """Errors, and how fast they burn the error budget. Rates are fractions of calls; burn 1 uses the budget up exactly.

    Attributes:
        services: one row per agent and model; see `to_frame`.
        alerts: one row per service and pair of windows: name, burn_limit, long_s, short_s, fired_time (the first packet at which both
            windows burn faster, NaT where they never do), worst_burn (over the long window), reason (why it is not known: the service
            was not watched for the long window).
        curves: index time; name, calls, misses since the stream's start; the points of the figure.
        objective: share of calls that should succeed.
        basis: n counts calls of all services.
        notes: limits of the answer, as sentences.
    """

    question: ClassVar[str] = "burn_rate"
    title: ClassVar[str] = "Success and burn rate"
    services: pd.DataFrame
    alerts: pd.DataFrame
    curves: pd.DataFrame
    objective: float
    basis: Basis
    notes: tuple[str, ...]

    def headline(self) -> str:
        """Say in a sentence which service burns its budget fastest."""
        agents = self.services[(self.services["gauge"] == "success_rate") & self.services["burn"].notna()]
        if not len(agents):
            return "No service made a call whose success is known."
        worst = agents.iloc[int(agents["burn"].argmax())]
        fired = self.alerts.dropna(subset="fired_time")
        said = f"; a burn alert would have fired first at {clock(fired['fired_time'].min(), self.basis)}" if len(fired) else ""
        return (
            f"{worst['name']} failed {worst['misses']:,.0f} of {worst['calls']:,.0f} calls, {worst['burn']:.1f} times what an objective of "
            f"{self.objective:.2%} allows{said}."
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per service and gauge.

        Columns: kind (agent, model), name, gauge (success_rate, or cache_hit_rate, whose misses are no errors), n (readings), calls,
        misses, misses_bound (how far rounding of the gauge may have moved misses), rate (hits over calls), rate_low, rate_high (what
        rounding allows), burn (of the whole stream, for success_rate), resets (of the counter), reason.
        """
        return self.services.copy()

    def merge(self, other: BurnRate, *, apart: bool = False) -> BurnRate:
        """Merge the calls of both sessions; windows of the alerts do not reach from one into the other.

        Raises:
            ValueError: asked with another `objective`.
            AnalysisError: the sessions overlap in time, and are not `apart`: of different streams, with nothing between them.
        """
        one, two = in_order(self, other, "objective")
        basis = one.basis.merge(two.basis, apart=apart)
        totals = pd.concat([one.services, two.services]).groupby(["kind", "name", "gauge"], sort=False, as_index=False)
        sums = totals[["n", "calls", "misses", "misses_bound", "resets"]].sum(min_count=1).to_dict("records")
        later = two.curves.copy()
        for name, curve in one.curves.groupby("name", observed=True):
            later.loc[later["name"] == name, ["calls", "misses"]] += curve[["calls", "misses"]].to_numpy()[-1]
        curves = [curve for curve in (one.curves, later) if len(curve)]
        merged = replace(
            one,
            services=pd.DataFrame([_row(**{str(key): value for key, value in row.items()}, objective=one.objective) for row in sums]),
            alerts=_alerts_of_both(one.alerts, two.alerts),
            curves=_together(curves) if curves else one.curves,
            basis=basis,
        )
        return replace(merged, notes=notes_of(one, two, merged, _limits))

    def to_dict(self) -> dict[str, object]:
        """Return the answer as plain values, without the curves."""
        return {name: value for name, value in super().to_dict().items() if name != "curves"}

    def figure(self, *, dark: bool = False) -> go.Figure:
        """Draw the failed calls of each service since the stream's start."""
        colours = draw.colours(dark)
        traces = []
        for place, (name, mine) in enumerate(self.curves.groupby("name", sort=True)):
            times = np.asarray(pd.DatetimeIndex(mine.index).as_unit("ns").asi8)
            colour = colours.agents[place % len(colours.agents)]
            traces.append(draw.line(str(name), times, mine["misses"].to_numpy(), colour))
        return draw.figure(traces, x_title="time (UTC)", y_title="failed calls", dark=dark, dates=True)


@dataclass(frozen=True, eq=False)
class _Counter:
    """One service's gauge read as counters that go on over resets."""

    times: Ints
    calls: Floats
    misses: Floats
    bound: float
    resets: int


def burn_rate(
    agents: pd.DataFrame | None = None,
    models: pd.DataFrame | None = None,
    *,
    frame: pd.DataFrame | None = None,
    events: pd.DataFrame | None = None,
    objective: float = SUCCESS_OBJECTIVE,
    alerts: Sequence[tuple[float, float, float]] = BURN_WINDOWS,
) -> BurnRate:
    """Measure errors in windows as differences of a counter: calls times (1 - success_rate), rounded to a whole call.

    A counter that falls was reset: its value then counts the calls since. Rounding of the gauge limits the accuracy: with d decimals
    a reading of n calls is off by at most n times half of 10^-d. Burn = error rate over (1 - objective).

    Args:
        agents: the agents table.
        models: the models table.
        frame: packets of the same stream: rows of its repeats, replays and placeholders are left out, and the basis is taken from it.
        events: the events table, for the basis.
        objective: share of calls that should succeed, in (0, 1).
        alerts: burn rate, long and short window in s, of each alert.

    Raises:
        MissingColumns: the stream never carried success_rate or cache_hit_rate with invocations.
        NotEnoughData: no service was read twice.
        ValueError: an objective outside (0, 1).
    """
    if not 0.0 < objective < 1.0:
        raise ValueError(f"objective={objective!r}: expected a share between 0 and 1")
    found = None if frame is None else select_rows("burn_rate", frame, events)
    measured = _measured(agents, models, frame, objective, alerts)
    if not measured.rows:
        raise MissingColumns("burn_rate", ("success_rate", "invocations"))
    services = pd.DataFrame(measured.rows)
    if not services["calls"].notna().any():
        raise NotEnoughData("burn_rate: no service was read twice")
    seen = np.zeros(0, dtype=np.int64)
    for part in measured.moments:  # mostly the same times: merged one by one, they need little room
        seen = without_doubles(np.sort(np.concatenate((seen, part))))
    if found is None:
        whole = pd.concat(measured.tables)
        found = select_rows("burn_rate", whole[~whole.index.duplicated()].sort_index())
    curves = measured.curves
    answer = BurnRate(
        services=services,
        alerts=_alert_table(measured.fired),
        curves=_together(curves) if curves else pd.DataFrame({"name": [], "calls": [], "misses": []}, index=found.frame.index[:0]),
        objective=objective,
        basis=found.basis(int(services["calls"].sum()), carrying=len(seen)),
        notes=(),
    )
    return replace(answer, notes=_limits(answer))


class _Measured(NamedTuple):
    """The readings of the services' counters: a row of each, alerts and curves of those with a success rate, times and tables."""

    rows: list[dict[str, Any]]
    fired: list[dict[str, Any]]
    curves: list[pd.DataFrame]
    moments: list[Ints]
    tables: list[pd.DataFrame]


def _measured(
    agents: pd.DataFrame | None,
    models: pd.DataFrame | None,
    frame: pd.DataFrame | None,
    objective: float,
    alerts: Sequence[tuple[float, float, float]],
) -> _Measured:
    found = _Measured([], [], [], [], [])
    for kind, gauge, table in (("agent", "success_rate", agents), ("model", "cache_hit_rate", models)):
        usable = usable_rows("burn_rate", table, kind, gauge, frame, counted=True)
        if usable is None:
            continue
        words = categorical(usable[kind])
        for code, word in enumerate(words.categories):  # one service after the other: a table of many rows is never copied whole
            name = str(word)
            mine = usable.iloc[np.flatnonzero(words.codes == code)]
            mine = mine[np.isfinite(numbers(mine[gauge])) & np.isfinite(numbers(mine["invocations"]))]
            if not len(mine):
                continue
            found.moments.append(without_doubles(times_ns(mine)))
            counter = _count(mine, gauge)
            found.rows.append(_row(kind=kind, name=name, gauge=gauge, **_totals(counter), objective=objective))
            if frame is None:
                found.tables.append(mine)
            if gauge == "success_rate" and counter is not None:
                found.fired.extend(_alert(name, counter, objective, *alert) for alert in alerts)
                found.curves.append(_curve(name, counter))
    return found


def _limits(answer: BurnRate) -> tuple[str, ...]:
    """Return the notes that follow from the answer's own table."""
    return tuple(f"{row['name']}: {row['reason']}" for row in answer.services.to_dict("records") if row["reason"])


def _together(curves: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the curves of all services, one after the other."""
    names: Any = union_categoricals([curve["name"].array for curve in curves])
    whole = pd.concat([curve.drop(columns="name") for curve in curves])
    whole.insert(0, "name", names)
    return whole


def _curve(name: str, counter: _Counter) -> pd.DataFrame:
    """Return calls and misses so far as a curve of steps: readings that add nothing are left out, except the first and the last."""
    kept = np.ones(len(counter.times), dtype=bool)
    kept[1:-1] = (np.diff(counter.calls) + np.diff(counter.misses))[:-1] != 0.0
    index = pd.DatetimeIndex(counter.times[kept].view("M8[ns]")).tz_localize("UTC")
    return pd.DataFrame(
        {"name": pd.Categorical([name]).repeat(len(index)), "calls": counter.calls[kept], "misses": counter.misses[kept]}, index=index
    )


def _count(table: pd.DataFrame, gauge: str) -> _Counter | None:
    """Count calls and misses since the first reading; None for fewer than two readings."""
    if len(table) < 2:
        return None
    count, rate = counted_in_order(table, gauge)
    bad = np.rint(count * (1.0 - rate))
    _, calls, reset = counters.read(rate, count)
    misses = np.where(reset, bad, np.diff(bad, prepend=0.0 if count[0] == 1.0 else bad[0]))
    off = count * 0.5 * 10.0 ** -_decimals(rate)
    # a reading is off by less than half a call: then rounding it to a whole one has undone the gauge's own rounding
    sure = off < 0.5
    ends = np.flatnonzero(np.append(reset[1:], True))
    begins = np.append(0, np.flatnonzero(reset))
    edges = np.concatenate((ends, begins[:1]))
    bound = float(np.where(sure[edges], 0.0, off[edges] + 0.5).sum())
    return _Counter(times_ns(table), np.cumsum(calls), np.cumsum(misses), bound, int(reset.sum()))


def _decimals(rate: Floats) -> int:
    """Return the fewest decimals that keep every reading."""
    for decimals in range(1, _MOST_DECIMALS):
        if np.allclose(np.round(rate, decimals), rate, rtol=0.0, atol=1e-12):
            return decimals
    return _MOST_DECIMALS


def _totals(counter: _Counter | None) -> dict[str, Any]:
    """Return the totals of a row: readings, calls, misses and their bound, resets."""
    if counter is None:
        return {"n": 0, "calls": np.nan, "misses": np.nan, "misses_bound": np.nan, "resets": 0}
    ended = {"calls": float(counter.calls[-1]), "misses": float(counter.misses[-1])}
    return {"n": len(counter.times), **ended, "misses_bound": counter.bound, "resets": counter.resets}


def _row(
    *, kind: str, name: str, gauge: str, n: int, calls: float, misses: float, misses_bound: float, resets: int, objective: float
) -> dict[str, Any]:
    known = calls > 0.0
    rate = 1.0 - misses / calls if known else np.nan
    row = {"kind": kind, "name": name, "gauge": gauge, "n": n, "calls": calls, "misses": misses, "misses_bound": misses_bound, "rate": rate}
    row |= {"rate_low": max(0.0, 1.0 - (misses + misses_bound) / calls) if known else np.nan}
    row |= {"rate_high": min(1.0, 1.0 - (misses - misses_bound) / calls) if known else np.nan}
    enough = calls >= BURN_LEAST_N
    row["burn"] = (1.0 - rate) / _budget(objective) if known and enough and gauge == "success_rate" else np.nan
    row["resets"] = resets
    row["reason"] = (
        "read fewer than two times"
        if np.isnan(calls)
        else "made no call while it was watched"
        if not known
        else ""
        if enough
        else f"n too small: {calls:,.0f} of {BURN_LEAST_N} calls"
    )
    return row


def _alert(name: str, counter: _Counter, objective: float, limit: float, long_s: float, short_s: float) -> dict[str, Any]:
    """Return when both windows first burned faster than the limit. A window counts once the service was watched for its length."""
    row = {
        "name": name,
        "burn_limit": limit,
        "long_s": long_s,
        "short_s": short_s,
        "fired_time": pd.NaT,
        "worst_burn": np.nan,
        "reason": "",
    }
    long, short = (_burn(counter, window, objective) for window in (long_s, short_s))
    watched = float(counter.times[-1] - counter.times[0]) / SECOND_NS
    if not np.isfinite(long).any():
        return row | {"reason": f"watched for {watched:,.0f} s, of which the long window needs {long_s:,.0f}, or never called in it"}
    over = np.flatnonzero((np.nan_to_num(long) > limit) & (np.nan_to_num(short) > limit))
    return row | {"fired_time": stamp(counter.times[over[0]]) if len(over) else pd.NaT, "worst_burn": float(np.nanmax(long))}


def _alert_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["name", "burn_limit", "long_s", "short_s", "fired_time", "worst_burn", "reason"])
    table["fired_time"] = pd.to_datetime(table["fired_time"], utc=True).dt.as_unit("ns")
    return table.astype({"worst_burn": "float64"})


def _alerts_of_both(one: pd.DataFrame, two: pd.DataFrame) -> pd.DataFrame:
    """Return when each alert fired first in either session, and its worst burn."""
    rows: list[dict[str, Any]] = []
    for _, mine in pd.concat([one, two]).groupby(["name", "burn_limit", "long_s", "short_s"], sort=False):
        row = {str(key): value for key, value in mine.iloc[0].to_dict().items()}
        row |= {"fired_time": mine["fired_time"].min(), "worst_burn": mine["worst_burn"].max()}
        rows.append(row | ({"reason": ""} if (mine["reason"] == "").any() else {}))
    return _alert_table(rows)


def _burn(counter: _Counter, window_s: float, objective: float) -> Floats:
    """Return the burn over the window that ends at each reading; NaN where the window is not covered, or holds no call."""
    before = np.searchsorted(counter.times, counter.times - round(window_s * SECOND_NS), side="right") - 1
    calls = counter.calls - counter.calls[np.maximum(before, 0)]
    misses = counter.misses - counter.misses[np.maximum(before, 0)]
    known = (before >= 0) & (calls > 0.0)
    return np.where(known, misses / np.where(known, calls, 1.0) / _budget(objective), np.nan)


def _budget(objective: float) -> float:
    """Return the share of calls that may fail: 0.1 for 0.9, where plain subtraction would leave a little less."""
    return round(1.0 - objective, 12)
