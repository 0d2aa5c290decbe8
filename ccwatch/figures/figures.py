"""Frames to plotly figures: the same pure functions for the live view, a report and an export. No thread, no widget, no clock.

Each trace says in `meta` what fills it (`role`, `column`, `code`) and its name as plain text (`label`); the live view takes the
traces of an empty figure as its skeleton and fills them by that, so a live and a saved chart cannot look different.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ccwatch.figures.series import NONE, REGIME_WORDS, SIDE_WORDS, Floats, Mark, Names, Series, gap_seqs, prepare, zone_label, zone_shift
from ccwatch.figures.theme import DASHES, REGIMES, SIDES, Theme, axis, layout, theme

ALPHA_CUTS: Final = (1.5, 2.0)
"""Cut-offs of the tail index drawn behind alpha: below 2 a stable law has no variance, below 1.5 the regime is Critical."""
PANEL_HEIGHT_PX: Final = 150
TEXT_LIMIT: Final = 400
"""Characters of a reasoning that a hover box shows."""
_RIBBON_SHARE: Final = 0.09
"""The regime ribbon's part of the price panel's height."""
_SPACE_PX: Final = 26
_MARGIN_PX: Final = 112

Trace = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: its axis title with the unit, how its ticks read, and the traces that it shows."""

    name: str
    title: str
    tickformat: str
    traces: Callable[[Series, Names, Theme], list[Trace]]
    bands: tuple[tuple[float, float, str], ...] = ()
    """Horizontal bands behind the traces: from, to, the regime whose colour they take."""
    ribbon: bool = False
    floor: float | None = None
    ceiling: float | None = None


def overview(
    frame: pd.DataFrame,
    agents: pd.DataFrame | None = None,
    events: pd.DataFrame | None = None,
    *,
    tz: str = "UTC",
    dark: bool = False,
    panels: Sequence[str] | None = None,
) -> go.Figure:
    """Panels over one time axis.

    Args:
        frame: packets (DESIGN section 4), clean, index `time` in UTC. With a column `reasoning` the marks' hover shows it.
        agents: the agents' table, for the latency panel.
        events: the events' table, for gaps.
        tz: IANA name of the zone that the axis shows.
        dark: whether the background is dark.
        panels: names out of PANELS; all by default.
    """
    names = Names(agents=agent_names(agents))
    shift = zone_shift(frame.index[-1], tz) if len(frame) else timedelta(0)
    series = prepare(frame, agents, gap_seqs(events), names, shift=shift)
    return compose(series, names, zone_label(tz, shift), dark=dark, panels=panels)


def price_figure(frame: pd.DataFrame, events: pd.DataFrame | None = None, *, tz: str = "UTC", dark: bool = False) -> go.Figure:
    """Price in USD with the regime ribbon and the signal's changes."""
    return overview(frame, None, events, tz=tz, dark=dark, panels=("price",))


def drawdown_figure(frame: pd.DataFrame, events: pd.DataFrame | None = None, *, tz: str = "UTC", dark: bool = False) -> go.Figure:
    """Drawdown from nav's running peak beside the engine's own max_drawdown; fractions, with ticks in percent."""
    return overview(frame, None, events, tz=tz, dark=dark, panels=("drawdown",))


def alpha_figure(frame: pd.DataFrame, events: pd.DataFrame | None = None, *, tz: str = "UTC", dark: bool = False) -> go.Figure:
    """The engine's tail index over the cut-offs of the regimes."""
    return overview(frame, None, events, tz=tz, dark=dark, panels=("alpha",))


def latency_figure(
    frame: pd.DataFrame, agents: pd.DataFrame, events: pd.DataFrame | None = None, *, tz: str = "UTC", dark: bool = False
) -> go.Figure:
    """Latency of each agent in ms."""
    return overview(frame, agents, events, tz=tz, dark=dark, panels=("latency",))


def agent_names(agents: pd.DataFrame | None) -> list[str]:
    """The agents of a table, sorted, as strings."""
    if agents is None or not len(agents):
        return []
    return sorted(str(name) for name in agents["agent"].unique() if not pd.isna(name))


def compose(series: Series, names: Names, zone: str, *, dark: bool = False, panels: Sequence[str] | None = None) -> go.Figure:
    """The figure of prepared rows; of no rows it is the live view's skeleton. `zone` is printed on the time axis."""
    colours = theme(dark)
    chosen = [PANELS[name] for name in (tuple(PANELS) if panels is None else panels)]
    height = _MARGIN_PX + PANEL_HEIGHT_PX * len(chosen) + _SPACE_PX * (len(chosen) - 1)
    shape = layout(colours) | {"height": height, "shapes": [], "annotations": []}
    traces: list[Trace] = []
    plot = float(height - _MARGIN_PX)
    top = 1.0
    for number, panel in enumerate(chosen, start=1):
        bottom = max(0.0, top - PANEL_HEIGHT_PX / plot)
        main, gaps = f"y{number if number > 1 else ''}", f"y{20 + number}"
        strip = (top - bottom) * _RIBBON_SHARE if panel.ribbon else 0.0
        domain = [bottom + (strip * 1.35 if strip else 0.0), top]
        vertical = axis(colours, panel.title) | {"domain": domain, "anchor": "x", "tickformat": panel.tickformat, "nticks": 6}
        if panel.floor is not None or panel.ceiling is not None:
            vertical |= {"autorangeoptions": {"minallowed": panel.floor, "maxallowed": panel.ceiling}}
        shape[_axis_key(main)] = vertical
        shape[_axis_key(gaps)] = _unit_axis(overlaying=main)
        traces += [_gap_trace(series, colours, gaps, first=number == 1)]
        if strip:
            ribbon = f"y{40 + number}"
            shape[_axis_key(ribbon)] = _unit_axis(domain=[bottom, bottom + strip])
            traces += _ribbon_traces(series, ribbon, number)
        legend = f"legend{number if number > 1 else ''}"
        last = number == len(chosen)
        for trace in panel.traces(series, names, colours):
            traces.append(trace | {"yaxis": main, "legend": legend})
        shape[legend] = _legend(colours, top, below=last and panel.name == "latency")
        shape["shapes"] += [_band(low, high, word, main, colours) for low, high, word in panel.bands]
        top = bottom - _SPACE_PX / plot
    shape["xaxis"] = axis(colours, f"time ({html.escape(zone)})") | {
        "type": "date",
        "domain": [0, 1],
        "anchor": f"y{len(chosen) if len(chosen) > 1 else ''}",
        "hoverformat": "%Y-%m-%d %H:%M:%S.%L",
        "showspikes": True,
        "spikemode": "across",
        "spikesnap": "cursor",
        "spikethickness": 1,
        "spikedash": "dot",
        "spikecolor": colours.muted,
    }
    if len(series):
        shape["xaxis"]["range"] = list(_dates(np.array([series.time_ms[0], series.time_ms[-1]])))
    return go.Figure({"data": [trace | {"xaxis": "x"} for trace in traces], "layout": shape})


def hover_text(mark: Mark) -> str:
    """What the hover box of a signal says. Everything that the stream wrote is escaped: plotly reads text as markup."""
    words = mark.text if len(mark.text) <= TEXT_LIMIT else mark.text[:TEXT_LIMIT] + "…"
    lines = textwrap.wrap(words, 64) or ["no reasoning given"]
    facts = (f"confidence {_number(mark.confidence, '.2f')}", f"approved size {_number(mark.size, '.1%')}")
    return "<br>".join([f"<b>{SIDE_WORDS[mark.side]}</b> · " + " · ".join(facts), *(html.escape(line) for line in lines)])


def _price_traces(series: Series, names: Names, colours: Theme) -> list[Trace]:
    del names
    x, y = _line(series, "price", latest_symbol=True)
    price = _line_trace("price", x, y, colours.line, "price", hover="%{y:,.2f} USD") | {"showlegend": False}
    price["meta"]["symbol"] = True
    marks = [mark for mark in series.marks if mark.symbol == series.symbol[-1]]
    return [price, *(_signal_trace(marks, code, colours) for code in range(len(SIDE_WORDS)))]


def _drawdown_traces(series: Series, names: Names, colours: Theme) -> list[Trace]:
    del names
    ours = _line_trace("from the running peak", *_line(series, "drawdown"), colours.line, "drawdown", hover="%{y:.2%}")
    theirs = _line_trace("engine's max_drawdown", *_line(series, "max_drawdown"), colours.line_engine, "max_drawdown", hover="%{y:.2%}")
    theirs["line"]["dash"] = "dash"
    return [ours, theirs]


def _alpha_traces(series: Series, names: Names, colours: Theme) -> list[Trace]:
    del names
    trace = _line_trace("alpha", *_line(series, "alpha", latest_symbol=True), colours.line, "alpha", hover="%{y:.2f}")
    trace["meta"]["symbol"] = True
    return [trace | {"showlegend": False}]


def _latency_traces(series: Series, names: Names, colours: Theme) -> list[Trace]:
    traces = []
    for place, name in enumerate(names.agents):
        column = f"latency:{name}"
        colour = colours.agents[place % len(colours.agents)]
        trace = _line_trace(name, *_line(series, column), colour, column, hover="%{y:.1f} ms")
        trace["line"] |= {"dash": DASHES[(place + place // len(colours.agents)) % len(DASHES)], "width": 1.3}
        traces.append(trace)
    return traces


PANELS: Final[dict[str, Panel]] = {
    panel.name: panel
    for panel in (
        Panel("price", "price (USD)", ",.2f", _price_traces, ribbon=True),
        Panel("drawdown", "drawdown (%)", ".2%", _drawdown_traces, ceiling=0.0),
        Panel(
            "alpha",
            "alpha, tail index (no unit)",
            ".1f",
            _alpha_traces,
            bands=((0.0, ALPHA_CUTS[0], REGIME_WORDS[2]), (*ALPHA_CUTS, REGIME_WORDS[1])),  # above the last cut-off: clear
        ),
        Panel("latency", "agent latency (ms)", ",.0f", _latency_traces, floor=0.0),
    )
}
"""The panels by name, in the order in which they are stacked."""


def _line_trace(label: str, x: Floats, y: Floats, colour: str, column: str, *, hover: str) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": html.escape(label, quote=False),
        "x": _dates(x),
        "y": y,
        "line": {"color": colour, "width": 1.4},
        "connectgaps": False,
        "hovertemplate": hover,
        "meta": {"role": "line", "column": column, "label": label},
    }


def _signal_trace(marks: Sequence[Mark], code: int, colours: Theme) -> Trace:
    side = SIDE_WORDS[code]
    mine = [mark for mark in marks if mark.side == code]
    colour = {"BUY": colours.buy, "SELL": colours.sell}.get(side, colours.flat)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": side,
        "x": _dates(np.array([mark.time_ms for mark in mine], dtype=np.float64)),
        "y": [mark.price for mark in mine],
        "text": [hover_text(mark) for mark in mine],
        "marker": {
            "symbol": SIDES[side],
            "size": 7 if side == "FLAT" else 10,
            "color": colour,
            "line": {"width": 1, "color": colours.hover},
        },
        "hovertemplate": "%{text}<extra></extra>",
        "meta": {"role": "signals", "code": code, "label": side},
    }


def _ribbon_traces(series: Series, ribbon: str, number: int) -> list[Trace]:
    traces = []
    for code, word in enumerate(REGIME_WORDS):
        start, end = _runs(series, code)
        style = REGIMES[word]
        pattern = {
            "shape": style.pattern,
            "fgcolor": "#ffffff",
            "bgcolor": style.colour,
            "size": 6,
            "solidity": 0.25,
            "fillmode": "overlay",
        }
        traces.append(
            {
                "type": "bar",
                "name": word,
                "x": _dates(start),
                "width": end - start,
                "y": np.ones(len(start)),
                "offset": 0,
                "yaxis": ribbon,
                "legend": f"legend{number if number > 1 else ''}",
                "showlegend": True,
                "marker": {"color": style.colour, "pattern": pattern, "line": {"width": 0}},
                "hoverinfo": "skip",
                "meta": {"role": "ribbon", "code": code, "label": word},
            }
        )
    return traces


def _gap_trace(series: Series, colours: Theme, gaps: str, *, first: bool) -> Trace:
    rows = np.flatnonzero(series.broken)
    start, end = series.time_ms[np.maximum(rows - 1, 0)], series.time_ms[rows]
    return {
        "type": "bar",
        "name": "no data",
        "x": _dates(start),
        "width": end - start,
        "y": np.ones(len(start)),
        "offset": 0,
        "yaxis": gaps,
        "showlegend": first,
        "legend": "legend",
        "marker": {
            "color": "rgba(128,128,128,0.08)",
            "pattern": {"shape": "/", "fgcolor": colours.hatch, "size": 7, "solidity": 0.15, "fillmode": "overlay"},
            "line": {"width": 0},
        },
        "hoverinfo": "skip",
        "meta": {"role": "gaps", "label": "no data"},
    }


def _band(low: float, high: float, word: str, main: str, colours: Theme) -> dict[str, Any]:
    return {
        "type": "rect",
        "layer": "below",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "yref": main,
        "y0": low,
        "y1": high,
        "line": {"width": 0},
        "fillcolor": REGIMES[word].colour,
        "opacity": 0.1,
        "label": {"text": word, "textposition": "middle left", "padding": 6, "font": {"size": 10, "color": colours.muted}},
    }


def _legend(colours: Theme, top: float, *, below: bool) -> dict[str, Any]:
    place: dict[str, Any] = {"y": top, "yanchor": "bottom"}
    if below:  # under the title of the time axis, where it may wrap
        place = {"yref": "container", "y": 0.0, "yanchor": "bottom"}
    return {
        "orientation": "h",
        "x": 1.0,
        "xanchor": "right",
        "bgcolor": "rgba(0,0,0,0)",
        "font": {"size": 10, "color": colours.text},
        "itemwidth": 40,  # wide enough to tell the dashes apart
        **place,
    }


def _unit_axis(**where: Any) -> dict[str, Any]:
    return {"range": [0, 1], "fixedrange": True, "visible": False, "anchor": "x", **where}


def _axis_key(name: str) -> str:
    return f"yaxis{name[1:]}"


def _line(series: Series, column: str, *, latest_symbol: bool = False) -> tuple[Floats, Floats]:
    """A line's x and y: rows that carry the value, with a NaN before each row that a gap or another symbol cuts off."""
    value = series.columns.get(column, np.full(len(series), np.nan))
    kept = ~np.isnan(value)
    cuts = series.broken.astype(np.int64)
    if latest_symbol and len(series):
        kept &= series.symbol == series.symbol[-1]
        cuts[1:] += series.symbol[1:] != series.symbol[:-1]
    rows = np.flatnonzero(kept)
    passed = np.cumsum(cuts)[rows]
    cut = np.flatnonzero(np.diff(passed)) + 1
    return np.insert(series.time_ms[rows], cut, series.time_ms[rows[cut]]), np.insert(value[rows], cut, np.nan)


def _runs(series: Series, code: int) -> tuple[Floats, Floats]:
    """Start and end in ms of the stretches that one regime held; a stretch ends at the next row, or at the last before a gap."""
    known = np.flatnonzero(series.regime != NONE)
    if not len(known):
        return np.empty(0), np.empty(0)
    regime, time = series.regime[known], series.time_ms[known]
    passed = np.cumsum(series.broken.astype(np.int64))[known]
    starts = np.flatnonzero(np.concatenate(([True], (regime[1:] != regime[:-1]) | (passed[1:] != passed[:-1]))))
    after = np.append(starts[1:], len(known) - 1)
    cut = np.append(passed[starts[1:]] != passed[starts[1:] - 1], False)
    ends = time[np.where(cut, np.maximum(after - 1, 0), after)]
    mine = regime[starts] == code
    return time[starts][mine], ends[mine]


def _dates(time_ms: Floats) -> Any:
    return time_ms.round().astype("datetime64[ms]")


def _number(value: float, spec: str) -> str:
    return "not given" if np.isnan(value) else format(value, spec)


__all__ = [
    "ALPHA_CUTS",
    "PANELS",
    "agent_names",
    "alpha_figure",
    "compose",
    "drawdown_figure",
    "hover_text",
    "latency_figure",
    "overview",
    "price_figure",
]
