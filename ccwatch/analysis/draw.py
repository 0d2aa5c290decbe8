"""Parts that the answers' figures share: a themed figure, lines, labels, and thinning where there are too many points."""

from __future__ import annotations

import html
from datetime import timedelta
from typing import Any, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ccwatch.analysis.usable_rows import Bools, Floats, Ints
from ccwatch.figures.figure_data import zone_label, zone_shift
from ccwatch.figures.theme import PAPER, Theme, axis, layout, theme
from ccwatch.stream.time_ranges import shown_zone

MOST_POINTS: Final = 4000
"""Points of one line in a figure; of more, each bucket shows its least and its greatest."""


def figure(
    traces: list[dict[str, Any]],
    *,
    x_title: str,
    y_title: str,
    dark: bool,
    y_format: str | None = None,
    dates: bool = False,
    height: int = 320,
    **more: Any,
) -> go.Figure:
    """Draw traces on one pair of axes, in the theme of the live charts, on paper of its own: a notebook's page may have either theme.

    Titles are not escaped: they must not come from the stream.
    """
    colours = theme(dark)
    if dates:
        traces, x_title = local(traces, x_title)
    shape = layout(colours) | {"height": height, "hovermode": "closest", "bargap": 0.25, "paper_bgcolor": PAPER[dark]}
    shape["xaxis"] = axis(colours, x_title) | ({"type": "date", "hoverformat": "%Y-%m-%d %H:%M:%S.%L"} if dates else {})
    shape["yaxis"] = axis(colours, y_title) | ({"tickformat": y_format} if y_format else {})
    shape["legend"] = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "bgcolor": "rgba(0,0,0,0)", "font": {"color": colours.text}}
    return go.Figure({"data": traces, "layout": shape | more})


def local(traces: list[dict[str, Any]], title: str) -> tuple[list[dict[str, Any]], str]:
    """Return traces over times, and the axis's title, in the zone in which times are shown: plotly takes every time for UTC."""
    zone = shown_zone()
    newest = max((trace[name].max() for trace in traces for name in ("x", "base") if _has_times(trace, name)), default=None)
    if zone == "UTC" or newest is None:
        return traces, title
    offset = zone_shift(pd.Timestamp(newest, tz="UTC"), zone)
    by = np.timedelta64(offset // timedelta(milliseconds=1), "ms")
    moved = [trace | {name: trace[name] + by for name in ("x", "base") if _has_times(trace, name)} for trace in traces]
    return moved, title.replace("UTC", zone_label(zone, offset))


def _has_times(trace: dict[str, Any], name: str) -> bool:
    values = trace.get(name)
    return isinstance(values, np.ndarray) and values.dtype.kind == "M" and len(values) > 0  # of a bar with a base, x is its length


def line(name: str, times: Ints, values: Floats, colour: str, *, broken: Bools | None = None, **more: Any) -> dict[str, Any]:
    """Return the trace of a line over time that stops at gaps; thinned to MOST_POINTS points, extremes kept."""
    known = np.isfinite(values)
    passed = np.cumsum(broken)[known] if broken is not None else np.zeros(int(known.sum()), dtype=np.int64)
    times, values = times[known], values[known]
    rows = thin(values, MOST_POINTS)
    times, values, passed = times[rows], values[rows], passed[rows]
    cuts = np.flatnonzero(np.diff(passed)) + 1
    return {
        "type": "scatter",
        "mode": "lines",
        "name": html.escape(name),
        "x": np.insert(times, cuts, times[cuts]).view("M8[ns]").astype("M8[ms]"),
        "y": np.insert(values, cuts, np.nan),
        "line": {"color": colour, "width": 1.4},
        "connectgaps": False,
        **more,
    }


def pair(curve: pd.DataFrame, names: tuple[str, str], *, y_title: str, dark: bool) -> go.Figure:
    """Draw two columns of a curve over time, the second one dashed: what was, and what should or could have been."""
    colours = theme(dark)
    times = np.asarray(pd.DatetimeIndex(curve.index).asi8)
    looks = zip(names, (colours.line, colours.line_engine), ("solid", "dash"), strict=True)
    traces = [
        line(name, times, curve[name].to_numpy(), colour) | {"line": {"color": colour, "dash": dash, "width": 1.5}}
        for name, colour, dash in looks
    ]
    return figure(traces, x_title="time (UTC)", y_title=y_title, dark=dark, y_format=",.0f", dates=True)


def thin(values: Floats, most: int) -> Ints:
    """Return indices of at most about `most` of the values: the least and the greatest of each of equal buckets."""
    if len(values) <= most:
        return np.arange(len(values))
    size = -(-len(values) * 2 // most)
    whole = len(values) // size * size
    grid = values[:whole].reshape(-1, size)
    start = np.arange(0, whole, size)
    return np.unique(np.concatenate((start + grid.argmin(axis=1), start + grid.argmax(axis=1), np.arange(whole, len(values)))))


def labels(words: Any) -> list[str]:
    """Return words of the stream escaped for plotly, which reads text as markup."""
    return [html.escape(str(word)) for word in words]


def colours(dark: bool) -> Theme:
    """Return the theme's colours."""
    return theme(dark)


def ms(moments: Any) -> Any:
    """Return times as plotly's date axis takes them, UTC without a zone."""
    return pd.DatetimeIndex(moments).tz_convert("UTC").tz_localize(None).to_numpy().astype("M8[ms]")
