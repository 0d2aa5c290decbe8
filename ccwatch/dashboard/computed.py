"""Panels' lines that no packet carries: an interval, quantiles against objectives, a user's function. No widget, no thread.

Each is a function of a view, called once in a while with all that the view holds. The points of a user's function are thinned to the
number that a panel can show; then all are sent.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from ccwatch.alerts import drawn_objectives, objective_of
from ccwatch.config import Settings
from ccwatch.errors import ConfigError, NotEnoughData, no_such
from ccwatch.figures.figure_data import Floats
from ccwatch.figures.forecast import forecast_lines
from ccwatch.figures.panels import Line
from ccwatch.stream.view import View

MOST_POINTS: Final = 2_000
"""Points at most, of all lines of a panel together."""
ALPHA_POINTS: Final = 120
ALPHA_RETURNS: Final = 250
"""Returns that one estimate of the tail index is made from, of which the largest tenth counts."""
QUANTILE_POINTS: Final = 120
QUANTILE_CALLS: Final = 100
"""Calls that one quantile is made from."""
FORECAST_ROWS: Final = 600
"""Newest packets, and newest rows of forecasts, among which the last burst and its usual interval are looked for."""


def alpha_interval(view: View) -> list[Line]:
    """Return Hill's 95 % interval of alpha, the tail index, from the last ALPHA_RETURNS returns, at up to ALPHA_POINTS times.

    Returns across a change of symbol or of connection are left out.
    """
    from ccwatch.analysis import hill  # noqa: PLC0415 - scipy takes a second to import

    frame = view.frame(["connection", "symbol", "price"])
    frame = frame[frame["price"].to_numpy() > 0.0]
    price, codes = frame["price"].to_numpy(), pd.factorize(frame["symbol"])[0]
    same = (np.diff(codes) == 0) & (np.diff(frame["connection"].to_numpy()) == 0)
    size = np.abs(np.diff(np.log(price)))[same]
    time = to_ms(frame.index)[1:][same]
    ends: list[int] = []
    if len(size) >= ALPHA_RETURNS:
        # Every so many returns, a power of two: else each new packet would move all points, and the page would draw all of them again.
        step = 1 << max(0, math.ceil(math.log2((len(size) - ALPHA_RETURNS + 1) / (ALPHA_POINTS - 1))))
        ends = [*range(ALPHA_RETURNS, len(size), step), len(size)]
    found = np.full((len(ends), 2), np.nan)
    for place, end in enumerate(ends):
        try:
            index = hill(size[end - ALPHA_RETURNS : end], ALPHA_RETURNS // 10)
        except NotEnoughData:  # a price that stood still
            continue
        found[place] = index.low, index.high
    at = time[[end - 1 for end in ends]] if ends else np.empty(0)
    return [Line("Hill 95 %, low", at, found[:, 0]), Line("Hill 95 %, high", at, found[:, 1], fills=True)]


def of_objectives(view: View) -> list[Line]:
    """Return the p95 of each service's last QUANTILE_CALLS calls over its objective; a service without an objective has no line."""
    from ccwatch.analysis import latency  # noqa: PLC0415 - scipy takes a second to import

    objectives = drawn_objectives(Settings.load().objectives)
    calls = latency(view.agents(), view.models()).observations
    lines = []
    for name, mine in calls.groupby("name", observed=True):
        objective = objective_of(str(name), objectives)
        if np.isnan(objective) or not len(mine):
            continue
        value, time = mine["latency_ms"].to_numpy(), to_ms(mine.index)
        ends = np.unique(np.linspace(min(20, len(value)), len(value), QUANTILE_POINTS).astype(int))
        p95 = [float(np.quantile(value[max(0, end - QUANTILE_CALLS) : end], 0.95)) / objective for end in ends]
        lines.append(Line(f"{name} p95 / {objective:g} ms", time[ends - 1], np.array(p95)))
    return lines


def newest_forecast(view: View) -> list[Line]:
    """Return the forecast that the last burst carried, ahead of the price; none where it carried none or the view has no forecasts."""
    sent = view.forecasts(FORECAST_ROWS)  # read first: a packet that comes meanwhile must not lose its forecast
    return forecast_lines(view.frame(["seq", "connection", "symbol", "price", "flags"], FORECAST_ROWS), sent) if len(sent) else []


COMPUTED: Final[dict[str, Callable[[Any], Sequence[Line]]]] = {
    "price": newest_forecast,
    "alpha": alpha_interval,
    "objective": of_objectives,
}
"""Functions that compute the lines of the registry's panels, by the panel's name."""
COSTLY: Final = frozenset({"alpha", "objective"})
"""Panels whose lines are made from hours of packets, and change slowly."""


def of_function(function: Callable[[pd.DataFrame], Any], name: str) -> Callable[[Any], Sequence[Line]]:
    """Return a panel's compute function made of a user's function of the packets' frame."""

    def compute(view: View) -> Sequence[Line]:
        frame = view.frame()
        try:
            made = function(frame)
        except KeyError as error:
            missing = error.args[0] if error.args else None
            if not isinstance(missing, str) or missing in frame.columns:
                raise
            raise ConfigError(f"the panel {name!r}: {no_such('column', missing, frame.columns)}") from error
        lines = to_lines(made, name, frame.index)
        share = MOST_POINTS // max(1, len(lines))
        return [thinned(line, share) for line in lines]

    return compute


def to_lines(made: Any, name: str, index: pd.Index) -> list[Line]:
    """Return the result of a user's function as lines.

    Args:
        made: a Series, a DataFrame, a dict of these or of arrays, an array as long as the index, or a plotly Figure.
        name: of the function, for a line that has no name of its own.
        index: of the frame that the function was given.

    Raises:
        ConfigError: something else.
    """
    if isinstance(made, pd.DataFrame):
        return [line for column in made.columns for line in to_lines(made[column], str(column), index)]
    if isinstance(made, pd.Series):
        return [_line(str(made.name) if made.name is not None else name, made.index, made.to_numpy(dtype=np.float64, na_value=np.nan))]
    if isinstance(made, dict):
        return [line for label, part in made.items() for line in to_lines(part, str(label), index)]
    traces = getattr(made, "data", None)
    if traces is not None and hasattr(made, "layout"):
        return [
            _line(str(trace.name or name), pd.DatetimeIndex(trace.x), np.asarray(trace.y, dtype=np.float64))
            for trace in traces
            if getattr(trace, "x", None) is not None and getattr(trace, "y", None) is not None and trace.type.startswith("scatter")
        ]
    values = np.asarray(made, dtype=np.float64) if made is not None else np.empty(0)
    if made is None or values.ndim != 1 or len(values) != len(index):
        raise ConfigError(
            f"the panel {name!r} gave {type(made).__name__}; expected a Series or DataFrame over the frame's index, an array as long as "
            "the frame, a dict of these, or a plotly Figure"
        )
    return [_line(name, index, values)]


def _line(label: str, index: pd.Index, values: Floats) -> Line:
    if not isinstance(index, pd.DatetimeIndex):
        raise ConfigError(f"the line {label!r} has an index of {index.dtype}; expected times, as the frame's own index has them")
    time = to_ms(index)
    order = np.argsort(time, kind="stable")
    return Line(label, time[order], values[order])


def thinned(line: Line, most: int) -> Line:
    """Return the line, of more than `most` points only those that are the minimum or maximum of their stretch."""
    count = len(line.value)
    if count <= most:
        return line
    kept = {0, count - 1}
    edges = np.linspace(0, count, most // 2).astype(int)
    for start, end in itertools.pairwise(edges):
        part = line.value[start:end]
        if not np.isnan(part).all():
            kept |= {int(start + np.nanargmin(part)), int(start + np.nanargmax(part))}
        else:
            kept.add(int(start))
    rows = np.array(sorted(kept), dtype=np.intp)
    return Line(line.label, line.time_ms[rows], line.value[rows], line.fills)


def to_ms(index: pd.Index) -> Floats:
    """Return times as ms since 1970, UTC; those without a zone count as UTC."""
    times = pd.DatetimeIndex(index)
    return times.as_unit("ns").asi8 / 1e6 if times.tz is not None else times.tz_localize("UTC").as_unit("ns").asi8 / 1e6
