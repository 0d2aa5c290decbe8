"""Latency of agents and models: quantiles of calls, not of packets, and stretches of slow calls. It knows no stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from pandas.api.types import union_categoricals

from ccwatch.analysis import draw, quantiles
from ccwatch.analysis.result import Result, clock, count_of, in_order, notes_of
from ccwatch.analysis.service_rows import counted_in_order, usable_rows
from ccwatch.analysis.sketch import ERROR, Sketch
from ccwatch.analysis.usable_rows import (
    Basis,
    Bools,
    Floats,
    Ints,
    UsableRows,
    categorical,
    numbers,
    runs,
    select_rows,
    stamps,
    times_ns,
    without_doubles,
)
from ccwatch.domain import counters
from ccwatch.domain.limits import SLOW_CALLS, SLOW_FACTOR
from ccwatch.errors import MissingColumns, NotEnoughData
from ccwatch.stream.dataframes import TEXT

QUANTILES: Final = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
_KINDS: Final = ("agent", "model")


@dataclass(frozen=True, eq=False, repr=False)
class Latency(Result):
    """The latency of calls, in ms.

    Attributes:
        services: one row per agent and model; see `to_frame`.
        slow: stretches of at least `slow_calls` slow calls in a row: kind, name, start_time, end_time (of the first call that was not slow,
            NaT while it lasts), n (calls), median_ms, times_usual (median over the service's own median).
        observations: every observed call: index time; kind, name (category), latency_ms.
        slow_factor: a call is slow above so many times its service's median.
        slow_calls: slow calls in a row that make a stretch.
        level: probability of the intervals.
        basis: n counts observed calls of all services.
        notes: limits of the answer, as sentences.
        kept: by kind and name, the sketch of a service's calls, in place of `observations`; None where all calls are there.
    """

    question: ClassVar[str] = "latency"
    title: ClassVar[str] = "Latency of agents and models"
    services: pd.DataFrame
    slow: pd.DataFrame
    observations: pd.DataFrame
    slow_factor: float
    slow_calls: int
    level: float
    basis: Basis
    notes: tuple[str, ...]
    kept: Mapping[tuple[str, str], Sketch] | None = None

    def headline(self) -> str:
        """Say in a sentence which slow stretch was the worst, or which service was the slowest."""
        if len(self.slow):
            worst = self.slow.iloc[int(self.slow["times_usual"].argmax())]
            until = f"until {clock(worst['end_time'], self.basis)}" if pd.notna(worst["end_time"]) else "to the end"
            calls, stretches = count_of(int(worst["n"]), "call"), count_of(len(self.slow), "slow stretch", "slow stretches")
            return (
                f"{worst['name']} was slow from {clock(worst['start_time'], self.basis)} {until}: {worst['median_ms']:,.1f} ms, "
                f"{worst['times_usual']:.1f} times its usual, over {calls}; {stretches} in all."
            )
        known = self.services.dropna(subset=["p95_ms"])
        if not len(known):
            return "No agent or model was seen often enough to give a 95% quantile."
        top = known.iloc[int(known["p95_ms"].argmax())]
        return f"No agent or model was slow for long; the slowest at the 95% quantile was {top['name']} with {top['p95_ms']:,.1f} ms."

    def to_frame(self) -> pd.DataFrame:
        """Return one row per agent and model.

        Columns: kind (agent, model), name, n (calls observed), calls (that the counter counted, NaN without one), coverage (n over calls),
        p50_ms, p50_low_ms, p50_high_ms, the same for p95 and p99, max_ms, resets (of the counter), reason (why a number is missing).
        """
        return self.services.copy()

    def sketches(self, *, error: float = ERROR) -> dict[str, Sketch]:
        """Return a sketch of each service's calls (ms) by name, to be merged across sessions: percentiles cannot be averaged.

        Args:
            error: a quantile of the sketch is off by at most this fraction.
        """
        if self.kept is not None:
            return {name: sketch for (_, name), sketch in self.kept.items()}
        names: Any = self.observations["name"].array
        calls = self.observations["latency_ms"].to_numpy()
        return {str(name): Sketch.of(calls[names.codes == code], error=error) for code, name in enumerate(names.categories)}

    def merge(self, other: Latency, *, apart: bool = False) -> Latency:
        """Merge the calls of both sessions, with the quantiles of all of them; for many sessions `reduced` answers are smaller.

        A call is slow against the median of both sessions; a slow stretch may last from one session into the next, as over a gap.

        Raises:
            ValueError: asked with another `slow_factor`, `slow_calls` or `level`.
            AnalysisError: the sessions overlap in time, and are not `apart`: of different streams, with nothing between them.
        """
        if self.kept is not None or other.kept is not None:
            return merged_sketches(self.reduced(), other.reduced(), apart=apart)
        one, two = in_order(self, other, "slow_factor", "slow_calls", "level")
        basis = one.basis.merge(two.basis, apart=apart)
        observed = _together([one.observations, two.observations])
        both = pd.concat([one.services, two.services]).groupby(["kind", "name"], sort=False)
        counted = pd.DataFrame({"calls": both["calls"].sum(skipna=False), "resets": both["resets"].sum()}).reset_index()
        services, slow = _services(observed, counted, one.slow_factor, one.slow_calls, one.level)
        merged = replace(one, services=services, slow=slow, observations=observed, basis=basis)
        return replace(merged, notes=notes_of(one, two, merged, _limits))

    def reduced(self, *, error: float = ERROR) -> Latency:
        """Return the answer with a sketch in place of each service's calls, a tenth of their size, to merge many sessions.

        Quantiles of a merged answer are within `error` of an order statistic; slow stretches remain those of each session by itself.
        """
        if self.kept is not None:
            return self
        return replace(self, observations=self.observations.iloc[:0], kept=sketches_of(self.observations, self.services, error))

    def to_dict(self) -> dict[str, object]:
        """Return the answer as plain values, without the observations and sketches."""
        return {name: value for name, value in super().to_dict().items() if name not in {"observations", "kept"}}

    def figure(self, *, dark: bool = False) -> go.Figure:
        """Draw the quantiles of each service with their intervals, on a logarithmic axis."""
        colours = draw.colours(dark)
        names = draw.labels(self.services["name"])
        traces = []
        for place, (label, symbol) in enumerate(zip(QUANTILES, ("circle", "diamond", "triangle-up"), strict=True)):
            value = self.services[f"{label}_ms"].to_numpy()
            trace = {
                "type": "scatter",
                "mode": "markers",
                "name": label,
                "x": value,
                "y": names,
                "marker": {"symbol": symbol, "size": 9, "color": colours.agents[place]},
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": np.nan_to_num(self.services[f"{label}_high_ms"].to_numpy() - value),
                    "arrayminus": np.nan_to_num(value - self.services[f"{label}_low_ms"].to_numpy()),
                    "color": colours.agents[place],
                    "thickness": 1,
                },
                "hovertemplate": "%{x:,.1f} ms<extra>%{y} %{fullData.name}</extra>",
            }
            traces.append(trace)
        made = draw.figure(traces, x_title="latency (ms)", y_title="", dark=dark, height=140 + 26 * len(names))
        made.update_xaxes(type="log")
        made.update_yaxes(autorange="reversed", automargin=True)
        return made


def sketches_of(observed: pd.DataFrame, services: pd.DataFrame, error: float) -> dict[tuple[str, str], Sketch]:
    """Return the sketch of each service's observed calls by kind and name; an empty one for a service without calls."""
    places = observed.groupby(["kind", "name"], observed=True).indices
    calls = observed["latency_ms"].to_numpy()
    keys = list(zip(services["kind"].astype(TEXT), services["name"].astype(TEXT), strict=True))
    return {key: Sketch.of(calls[places[key]] if key in places else [], error=error) for key in keys}


def merged_sketches(first: Latency, second: Latency, *, apart: bool) -> Latency:
    """Merge both sessions' calls by their sketches."""
    one, two = in_order(first, second, "slow_factor", "slow_calls", "level")
    mine, theirs = dict(one.kept or {}), dict(two.kept or {})
    kept = {key: mine[key].merge(theirs[key]) if key in mine and key in theirs else (mine.get(key) or theirs[key]) for key in mine | theirs}
    both = pd.concat([one.services, two.services]).groupby(["kind", "name"], sort=False)
    counted = pd.DataFrame({"calls": both["calls"].sum(min_count=1), "resets": both["resets"].sum(), "max_ms": both["max_ms"].max()})
    services = pd.DataFrame(
        [_sketched(kept[str(row["kind"]), str(row["name"])], row, one.level) for row in counted.reset_index().to_dict("records")]
    )
    slow = pd.concat([one.slow, two.slow], ignore_index=True).sort_values("start_time", kind="stable", ignore_index=True)
    merged = replace(one, services=services, slow=slow, kept=kept, basis=one.basis.merge(two.basis, apart=apart))
    return replace(merged, notes=notes_of(one, two, merged, _limits))


def _sketched(sketch: Sketch, row: dict[Any, Any], level: float) -> dict[str, Any]:
    """Return a row of `Latency.services` from a sketch."""
    n = sketch.n
    line = {
        "kind": row["kind"],
        "name": row["name"],
        "n": n,
        "calls": row["calls"],
        "coverage": n / row["calls"] if row["calls"] > 0 else np.nan,
    }
    reasons = []
    for label, p in QUANTILES.items():
        found = quantiles.by_rank(n, p, sketch.at_rank, sketch.quantile(p), level=level)
        line |= {f"{label}_ms": found.value, f"{label}_low_ms": found.low, f"{label}_high_ms": found.high}
        reasons += [f"{label}: {found.reason}"] if found.reason else []
    return line | {"max_ms": row["max_ms"], "resets": row["resets"], "reason": "; ".join(reasons)}


def latency(
    agents: pd.DataFrame | None = None,
    models: pd.DataFrame | None = None,
    *,
    frame: pd.DataFrame | None = None,
    events: pd.DataFrame | None = None,
    slow_factor: float = SLOW_FACTOR,
    slow_calls: int = SLOW_CALLS,
    level: float = 0.95,
) -> Latency:
    """Compute quantiles of calls, and find stretches of slow calls.

    latency_ms is a gauge of the last call: a new observation counts only where invocations rose (or the gauge changed, where the
    stream counts none), else a service that is rarely called would be counted once per packet. Several calls between two packets
    show the last one only; `coverage` says how many were seen. Quantiles are Hyndman & Fan's type 7, and never averaged.

    Args:
        agents: the agents table.
        models: the models table.
        frame: packets of the same stream: rows of its repeats, replays and placeholders are left out, and the basis is taken from it.
        events: the events table, for the basis.
        slow_factor: a call is slow above so many times its service's median.
        slow_calls: slow calls in a row that make a stretch.
        level: probability of the intervals.

    Raises:
        MissingColumns: the stream never carried a latency.
        NotEnoughData: no service made a call while the stream was watched.
    """
    found = None if frame is None else select_rows("latency", frame, events)
    tables = {kind: usable_rows("latency", table, kind, "latency_ms", frame) for kind, table in zip(_KINDS, (agents, models), strict=True)}
    calls = [made for kind, table in tables.items() if table is not None and (made := _calls(kind, table)) is not None]
    if not calls:
        raise MissingColumns("latency", ("latency_ms",))
    observed = _together([seen for seen, _ in calls])
    if not len(observed):
        raise NotEnoughData("latency: no agent or model made a call while the stream was watched")
    counted = pd.concat([counts for _, counts in calls], ignore_index=True)
    services, slow = _services(observed, counted, slow_factor, slow_calls, level)
    answer = Latency(
        services=services,
        slow=slow,
        observations=observed,
        slow_factor=slow_factor,
        slow_calls=slow_calls,
        level=level,
        basis=_basis(found, tables, observed),
        notes=(),
    )
    return replace(answer, notes=_limits(answer))


def _limits(answer: Latency) -> tuple[str, ...]:
    """Return the notes that follow from the answer's own table."""
    services = answer.services
    notes = [f"{row['name']}: {row['reason']}" for row in services.to_dict("records") if not row["n"]]
    if answer.kept is not None:
        error = next((sketch.error for sketch in answer.kept.values()), ERROR)
        notes.append(
            f"quantiles are from sketches: each is within {error:.0%} of an order statistic; a slow stretch is slow for its session"
        )
    missed = services["calls"].sum() - services.loc[services["calls"].notna(), "n"].sum()
    if missed > 0:
        notes.append(f"not in the quantiles: {count_of(int(missed), 'call')}, overwritten by a later one between two packets")
    return tuple(notes)


def _together(observed: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the observed calls of several tables, one after the other."""
    whole = pd.concat([seen.drop(columns="name") for seen in observed])
    names: Any = union_categoricals([seen["name"].array for seen in observed], sort_categories=True)
    whole.insert(1, "name", names)
    return whole


def _calls(kind: str, table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Return a table's observed calls, and per service the calls by its counter and the counter's resets; None without a gauge."""
    words = categorical(table[kind])
    counted: list[dict[str, Any]] = []
    names, gauges, moments = [], [], []
    for code, name in enumerate(words.categories):  # one service after the other: a table of many rows is never copied whole
        rows = np.flatnonzero(words.codes == code)
        mine = table.iloc[rows] if len(rows) < len(table) else table
        gauge = numbers(mine["latency_ms"])
        known = np.isfinite(gauge)
        if not known.any():
            continue
        gauge, times = gauge[known], times_ns(mine)[known]
        count, _ = counted_in_order(mine if known.all() else mine[known])
        is_call, made, is_reset = counters.read(gauge, count)
        counting = np.isfinite(made)
        calls = float(made[counting].sum()) if counting.any() else np.nan
        counted.append({"kind": kind, "name": str(name), "calls": calls, "resets": int(is_reset.sum())})
        names.append(np.full(int(is_call.sum()), len(counted) - 1, dtype=np.int16))
        gauges.append(gauge[is_call])
        moments.append(times[is_call])
    if not counted:
        return None
    size = sum(map(len, names))
    labels = pd.Index([row["name"] for row in counted], dtype=TEXT)
    seen = pd.DataFrame(
        {
            "kind": pd.Categorical.from_codes(np.full(size, _KINDS.index(kind), dtype=np.int8), categories=pd.Index(_KINDS, dtype=TEXT)),
            "name": pd.Categorical.from_codes(np.concatenate(names), categories=labels),
            "latency_ms": np.concatenate(gauges),
        },
        index=stamps(np.concatenate(moments)).set_names("time"),
    )
    return seen, pd.DataFrame(counted)


def _services(
    observed: pd.DataFrame, counted: pd.DataFrame, slow_factor: float, slow_calls: int, level: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    places = observed.groupby(["kind", "name"], observed=True).indices
    every, times = observed["latency_ms"].to_numpy(), times_ns(observed)
    rows: list[dict[str, Any]] = []
    slow: list[pd.DataFrame] = []
    for row in counted.to_dict("records"):
        mine = places.get((row["kind"], row["name"]), np.zeros(0, dtype=np.int64))
        values: Floats = every[mine]
        n, ordered = len(values), np.sort(values)
        line: dict[str, Any] = {"kind": row["kind"], "name": row["name"], "n": n, "calls": row["calls"]}
        line["coverage"] = n / row["calls"] if row["calls"] > 0 else np.nan
        reasons: list[str] = []
        for label, p in QUANTILES.items():
            found = quantiles.quantile(ordered, p, level=level)
            line |= {f"{label}_ms": found.value, f"{label}_low_ms": found.low, f"{label}_high_ms": found.high}
            reasons += [f"{label}: {found.reason}"] if found.reason else []
        line |= {"max_ms": values.max() if n else np.nan, "resets": row["resets"], "reason": "; ".join(reasons)}
        rows.append(line)
        if n:
            slow.append(_slow(row["kind"], row["name"], times[mine], values, slow_factor, slow_calls))
    return pd.DataFrame(rows), pd.concat(slow, ignore_index=True).sort_values("start_time", kind="stable", ignore_index=True)


def _slow(kind: str, name: str, times: Ints, values: Floats, factor: float, least: int) -> pd.DataFrame:
    """Return the stretches of slow calls in a row of one service."""
    usual = float(np.median(values))
    is_slow: Bools = values > factor * usual
    first, end = runs(is_slow, np.zeros(len(values), dtype=bool))
    kept = is_slow[first] & (end - first >= least)
    first, end = first[kept], end[kept]
    medians = np.array([np.median(values[a:b]) for a, b in zip(first, end, strict=True)], dtype=np.float64)  # one per stretch
    return pd.DataFrame(
        {
            "kind": pd.Categorical([kind] * len(first), categories=list(_KINDS)),
            "name": pd.array([name] * len(first), dtype=TEXT),
            "start_time": stamps(times[first]),
            "end_time": stamps(times[np.minimum(end, len(times) - 1)], end < len(times)),
            "n": end - first,
            "median_ms": medians,
            "times_usual": medians / usual if usual > 0.0 else np.full(len(first), np.nan),
        }
    )


def _basis(found: UsableRows | None, tables: dict[str, pd.DataFrame | None], observed: pd.DataFrame) -> Basis:
    """Return the basis of the packets where they are given, else of the tables' own rows."""
    if found is not None and "seq" in found.frame.columns:
        seqs = [without_doubles(table["seq"].to_numpy()) for table in tables.values() if table is not None and "seq" in table.columns]
        carrying = np.isin(found.frame["seq"].to_numpy(), np.concatenate(seqs)) if seqs else None
        return found.basis(len(observed), carrying=None if carrying is None else int(carrying.sum()))
    whole = pd.concat([table for table in tables.values() if table is not None])
    return select_rows("latency", whole[~whole.index.duplicated()].sort_index()).basis(len(observed))
