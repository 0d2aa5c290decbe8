"""Change points: when the level of a measure moved, after the fact by PELT, and as it could be noticed live by Page and Hinkley."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ccwatch.analysis import draw
from ccwatch.analysis.quantiles import MAD_TO_SIGMA
from ccwatch.analysis.result import Result, amount, clock, count_of
from ccwatch.analysis.usable_rows import Basis, Floats, Ints, numbers, select_rows, stamps, times_ns
from ccwatch.errors import NotEnoughData
from ccwatch.stream.dataframes import TEXT

MOST_POINTS: Final = 2000
"""Points of a series that PELT compares; a longer one is averaged into so many buckets."""
LEAST_POINTS: Final = 40
LEAST_SEGMENT: Final = 10
PENALTY: Final = 3.0
"""A change must lower the cost by so many times ln(n) (Haynes, Eckley & Fearnhead 2017 use 2 to 4), times the series' own inertia."""
ALLOWED, THRESHOLD = 0.5, 25.0
"""Page and Hinkley's allowed drift and threshold, in standard deviations of the series' first fifth."""


@dataclass(frozen=True, eq=False, repr=False)
class Changepoints(Result):
    """The changes of level of each measure. Times UTC.

    Attributes:
        changes: one row per change; see `to_frame`.
        basis: n counts observations of all series.
        notes: limits of the answer, as sentences.
    """

    question: ClassVar[str] = "changepoints"
    title: ClassVar[str] = "Change points"
    changes: pd.DataFrame
    basis: Basis
    notes: tuple[str, ...]

    def headline(self) -> str:
        """Say how many changes there were, and which was the largest."""
        found = self.changes[self.changes["method"] == "PELT"]
        if not len(found):
            return "No measure changed its level."
        top = found.iloc[int(found["sigmas"].abs().argmax())]
        return (
            f"{count_of(len(found), 'change')} of level; the largest is that of {top['series']} at {clock(top['time'], self.basis)}, "
            f"from {amount(top['before'], top['unit'])} to {amount(top['after'], top['unit'])}."
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per change, by time.

        Columns: series, method (PELT, Page-Hinkley), time (of the first observation at the new level; for Page-Hinkley, when it was
        noticed), before, after (means of the segments, in the series' unit), unit, sigmas (their distance over the spread of single
        observations), n_before, n_after.
        """
        return self.changes.copy()

    def figure(self, *, dark: bool = False) -> go.Figure:
        """Draw the changes over time, one row per series; circles are PELT's, crosses Page-Hinkley's."""
        colours = draw.colours(dark)
        traces = []
        for method, symbol in (("PELT", "circle"), ("Page-Hinkley", "x")):
            mine = self.changes[self.changes["method"] == method]
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": method,
                    "x": draw.ms(mine["time"]),
                    "y": draw.labels(mine["series"]),
                    "marker": {"symbol": symbol, "size": 9, "color": colours.line if method == "PELT" else colours.line_engine},
                    "customdata": mine[["before", "after"]].to_numpy(),
                    "hovertemplate": "%{x|%H:%M:%S}: %{customdata[0]:.4g} to %{customdata[1]:.4g}<extra>%{fullData.name}</extra>",
                }
            )
        made = draw.figure(
            traces, x_title="time (UTC)", y_title="", dark=dark, dates=True, height=160 + 22 * self.changes["series"].nunique()
        )
        made.update_yaxes(automargin=True)
        return made


def changepoints(
    frame: pd.DataFrame,
    events: pd.DataFrame | None = None,
    calls: pd.DataFrame | None = None,
    *,
    symbol: str | None = None,
    penalty: float = PENALTY,
) -> Changepoints:
    """Find changes of level of alpha, |return|, confidence, size, interval and each service's latency (its logarithm).

    PELT (Killick, Fearnhead & Eckley 2012) finds the segments of least squares plus penalty exactly; Page and Hinkley's test (Page 1954,
    Hinkley 1971) says when the change could have been noticed live.

    Args:
        frame: packets.
        events: the events table, for gaps.
        calls: the observations of `latency`.
        symbol: only rows of this one; needed where the stream holds several.
        penalty: by how much a change must lower the cost, in units of ln(n).

    Raises:
        NotEnoughData: no series has 40 observations.
        MixedSymbols: several symbols and none was chosen.
    """
    found = select_rows("changepoints", frame, events, symbol=symbol, one_symbol=True)
    price = found.prices()
    with np.errstate(invalid="ignore"):
        moves = np.append(np.nan, np.abs(np.diff(np.log(price))))
    moves[found.broken] = np.nan
    series: list[tuple[str, str, Ints, Floats]] = [
        ("alpha", "", found.times, found.numbers("alpha")),
        ("|return|", "fraction", found.times, moves),
        ("confidence", "fraction", found.times, found.numbers("confidence")),
        ("approved_size", "fraction", found.times, found.numbers("approved_size")),
    ]
    if calls is not None:
        for name, mine in calls.groupby("name", sort=True):  # once per service
            took = numbers(mine["latency_ms"])
            series.append((f"latency of {name}", "ms", times_ns(mine), np.where(took > 0.0, took, np.nan)))  # judged by its logarithm
    notes = []
    tables = []
    n = 0
    for name, unit, times, values in series:
        known = np.isfinite(values)
        if known.sum() < LEAST_POINTS or np.ptp(values[known]) == 0.0:
            if known.any():
                notes.append(f"{name}: fewer than {LEAST_POINTS} observations, or all equal")
            continue
        n += int(known.sum())
        tables.append(_changes(name, unit, times[known], values[known], penalty))
    if not tables:
        raise NotEnoughData(f"changepoints: no series has {LEAST_POINTS} observations that differ")
    table = pd.concat(tables, ignore_index=True).sort_values(["time", "series"], kind="stable", ignore_index=True)
    if max(len(times) for _, _, times, _ in series) > MOST_POINTS:
        notes.append(f"series of more than {MOST_POINTS:,} points were averaged into buckets: times are those of the buckets")
    return Changepoints(changes=table, basis=found.basis(n, carrying=len(found)), notes=tuple(notes))


def _changes(name: str, unit: str, times: Ints, values: Floats, penalty: float) -> pd.DataFrame:
    judged = np.log(values) if unit == "ms" else values
    size = -(-len(values) // MOST_POINTS)
    starts = np.arange(0, len(values), size)
    means = np.add.reduceat(judged, starts) / np.diff(np.append(starts, len(values)))
    step = np.diff(means)
    spread = float(np.median(np.abs(step - np.median(step)))) * MAD_TO_SIGMA / np.sqrt(2.0)
    spread = spread or float(np.std(step)) / np.sqrt(2.0)
    rows = []
    if spread > 0.0:
        rows = [("PELT", starts[at]) for at in pelt(means, penalty * np.log(len(means)) * spread**2 * _inertia(means), LEAST_SEGMENT)]
        rows += [("Page-Hinkley", starts[at]) for at in page_hinkley(means, allowed=ALLOWED, threshold=THRESHOLD)]
    table: dict[str, list[Any]] = {key: [] for key in ("method", "time", "before", "after", "sigmas", "n_before", "n_after")}
    for method in ("PELT", "Page-Hinkley"):
        edges = [0, *(int(row) for found, row in rows if found == method), len(values)]
        for a, b, c in zip(edges[:-2], edges[1:-1], edges[2:], strict=True):
            far = (judged[b:c].mean() - judged[a:b].mean()) / spread
            for key, item in zip(table, (method, times[b], values[a:b].mean(), values[b:c].mean(), far, b - a, c - b), strict=True):
                table[key].append(item)
    return pd.DataFrame(
        {
            "series": pd.array([name] * len(table["time"]), dtype=TEXT),
            "method": pd.array(table["method"], dtype=TEXT),
            "time": stamps(np.array(table["time"], dtype=np.int64)),
            **{key: np.array(table[key], dtype=np.float64) for key in ("before", "after")},
            "unit": pd.array([unit] * len(table["time"]), dtype=TEXT),
            "sigmas": np.array(table["sigmas"], dtype=np.float64),
            **{key: np.array(table[key], dtype=np.int64) for key in ("n_before", "n_after")},
        }
    )


def _inertia(values: Floats) -> float:
    """Return (1 + ρ)/(1 - ρ), at least 1, where ρ is the lag-1 autocorrelation about a running median."""
    centred = values - pd.Series(values).rolling(41, center=True, min_periods=1).median().to_numpy()
    square = float(np.sum(np.square(centred)))
    rho = float(np.sum(centred[1:] * centred[:-1])) / square if square > 0.0 else 0.0
    rho = min(max(rho, 0.0), 0.95)
    return (1.0 + rho) / (1.0 - rho)


def pelt(values: Floats, penalty: float, least: int = 1) -> list[int]:
    """Find the exact segments of least squares plus `penalty` per change (Killick, Fearnhead & Eckley 2012).

    Args:
        values: nothing missing.
        penalty: the least decrease of the sum of squares per change.
        least: fewest values in a segment.

    Returns:
        Index of the first value of each segment but the first.
    """
    n = len(values)
    total, square = (np.concatenate(([0.0], np.cumsum(v))) for v in (values - values.mean(), np.square(values - values.mean())))
    best = np.full(n + 1, np.inf)
    best[0] = -penalty
    before = np.zeros(n + 1, dtype=np.int64)
    # One column per candidate: where it begins, what the optimum before it costs less its square, its total, and from which end on it
    # is out. It loses at an end by Killick's inequality, and is out once the segment that beat it has the least length.
    start, base, sums, out = np.zeros(n + 1, dtype=np.int64), np.zeros(n + 1), np.zeros(n + 1), np.full(n + 1, np.iinfo(np.int64).max)
    base[0], count = -penalty, 1
    for end in range(least, n + 1):  # over at most MOST_POINTS points
        cost = base[:count] - np.square(total[end] - sums[:count]) / (end - start[:count])
        at = int(np.argmin(cost))
        best[end], before[end] = cost[at] + square[end] + penalty, start[at]
        losing = cost + square[end] > best[end]
        if losing.any():
            out[:count][losing] = np.minimum(out[:count][losing], end + least)
            kept = out[:count] > end + 1
            left = int(kept.sum())
            if left < count:
                for held in (start, base, sums, out):
                    held[:left] = held[:count][kept]
                out[left:count] = np.iinfo(np.int64).max
                count = left
        new = end + 1 - least
        if new >= least:
            start[count], base[count], sums[count] = new, best[new] - square[new], total[new]
            count += 1
    found = []
    end = n
    while before[end] > 0:
        end = int(before[end])
        found.append(end)
    return found[::-1]


def page_hinkley(values: Floats, *, allowed: float, threshold: float) -> list[int]:
    """Find where the mean is noticed to have left its level, up or down; the test starts again at each change.

    Args:
        values: nothing missing; judged in standard deviations of the first fifth since the last change (at least 20 values).
        allowed: drift that is no change.
        threshold: sum of departures beyond that drift that is a change.

    Returns:
        Index of the value at which each change was noticed.
    """
    found, start = [], 0
    while len(values) - start > 2 * LEAST_SEGMENT:
        warm = max(20, (len(values) - start) // 5)
        level, spread = values[start : start + warm].mean(), values[start : start + warm].std()
        if spread == 0.0:
            break
        z = (values[start + warm :] - level) / spread
        up, down = np.cumsum(z - allowed), np.cumsum(-z - allowed)
        sums = np.maximum(up - np.minimum.accumulate(np.minimum(up, 0.0)), down - np.minimum.accumulate(np.minimum(down, 0.0)))
        beyond = np.flatnonzero(sums > threshold)
        if not len(beyond):
            break
        start += warm + int(beyond[0])
        found.append(start)
    return found
