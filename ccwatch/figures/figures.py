"""Frames to plotly figures: the same pure functions for the live view, a report and an export. No thread, no widget, no clock.

The module `panels` says what a panel draws; this one stacks panels over one time axis.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ccwatch.figures.figure_data import NONE, REGIME_WORDS, Floats, Names, Series, Trace, dates, zone_label, zone_shift
from ccwatch.figures.forecast import forecast_lines
from ccwatch.figures.heat_strip import STRIP_ROWS
from ccwatch.figures.panels import DEFAULT_PANELS, PANELS, Line, Panel, computed_traces, hover_text, is_near, kinds_of
from ccwatch.figures.prepare import gap_seqs, prepare
from ccwatch.figures.theme import REGIMES, Theme, axis, layout, theme

PANEL_HEIGHT_PX: Final = 150
_RIBBON_SHARE: Final = 0.09
"""The regime ribbon's part of the price panel's height."""
_LEVEL_ROOM: Final = 0.5
"""Room beyond a panel's outermost levels, as a share of what lies between them."""
_SPACE_PX: Final = 26
_LEGEND_LINE_PX: Final = 18
_LEGEND_PX: Final = 504
"""The width of a legend's line on a page of 700 px."""
_ENTRY_PX: Final = 90
"""Width of an entry without its label: the swatch, the value at the crosshair, the space to the next."""
_LETTER_PX: Final = 6
_MARGIN_PX: Final = 112


def overview(
    frame: pd.DataFrame,
    agents: pd.DataFrame | None = None,
    events: pd.DataFrame | None = None,
    *,
    tz: str = "UTC",
    dark: bool = False,
    panels: Sequence[str | Panel] | None = None,
    models: pd.DataFrame | None = None,
    lines: Mapping[str, Sequence[Line]] | None = None,
    forecasts: pd.DataFrame | None = None,
) -> go.Figure:
    """Draw panels over one time axis.

    Args:
        frame: packets, as `protocol.columns` lists them, clean, index `time` in UTC. With a column `reasoning` the marks' hover shows it.
        agents: the agents' table, for the latency panel.
        events: the events' table, for gaps.
        tz: IANA name of the zone that the axis shows.
        dark: whether the background is dark.
        panels: names out of PANELS, or Panel objects; DEFAULT_PANELS by default.
        models: the models' table, for the panels of models.
        lines: computed lines by the panel's name.
        forecasts: the forecasts' table: the newest one is drawn ahead of the price, see `forecast_lines`.
    """
    chosen = resolve(panels)
    names = Names(agents=agent_names(agents), models=service_names(models, "model"))
    shift = zone_shift(frame.index[-1], tz) if len(frame) else timedelta(0)
    series = prepare(frame, agents, gap_seqs(events), names, models=models, wanted=kinds_of(chosen), shift=shift)
    drawn = dict(lines or {})
    drawn["price"] = [*drawn.get("price", ()), *forecast_lines(frame, forecasts)]
    return compose(series, names, zone_label(tz, shift), dark=dark, panels=chosen, lines=shifted(drawn, shift))


def resolve(panels: Sequence[str | Panel] | None) -> tuple[Panel, ...]:
    """Return panels by name; DEFAULT_PANELS for None."""
    return tuple(panel if isinstance(panel, Panel) else PANELS[panel] for panel in (DEFAULT_PANELS if panels is None else panels))


def shifted(lines: Mapping[str, Sequence[Line]], shift: timedelta) -> dict[str, list[Line]]:
    """Return computed lines at the wall time of a display zone."""
    by_ms = shift.total_seconds() * 1000.0
    return {name: [replace(line, time_ms=line.time_ms + by_ms) for line in some] for name, some in lines.items()}


def price_figure(
    frame: pd.DataFrame,
    events: pd.DataFrame | None = None,
    *,
    tz: str = "UTC",
    dark: bool = False,
    forecasts: pd.DataFrame | None = None,
) -> go.Figure:
    """Draw the price in USD with the regime ribbon, the signal's changes and the newest forecast."""
    return overview(frame, None, events, tz=tz, dark=dark, panels=("price",), forecasts=forecasts)


def drawdown_figure(frame: pd.DataFrame, events: pd.DataFrame | None = None, *, tz: str = "UTC", dark: bool = False) -> go.Figure:
    """Draw the drawdown from nav's running peak beside the engine's own max_drawdown; fractions, with ticks in percent."""
    return overview(frame, None, events, tz=tz, dark=dark, panels=("drawdown",))


def alpha_figure(frame: pd.DataFrame, events: pd.DataFrame | None = None, *, tz: str = "UTC", dark: bool = False) -> go.Figure:
    """Draw the engine's tail index over the cut-offs of the regimes."""
    return overview(frame, None, events, tz=tz, dark=dark, panels=("alpha",))


def latency_figure(
    frame: pd.DataFrame, agents: pd.DataFrame, events: pd.DataFrame | None = None, *, tz: str = "UTC", dark: bool = False
) -> go.Figure:
    """Draw the latency of each agent in ms."""
    return overview(frame, agents, events, tz=tz, dark=dark, panels=("latency",))


def agent_names(agents: pd.DataFrame | None) -> list[str]:
    """Return the agents of a table, sorted, as strings."""
    return service_names(agents, "agent")


def service_names(table: pd.DataFrame | None, whose: str) -> list[str]:
    """Return the agents or the models (`whose`) of a table, sorted, as strings."""
    if table is None or not len(table):
        return []
    return sorted(str(name) for name in table[whose].unique() if not pd.isna(name))


def compose(
    series: Series,
    names: Names,
    zone: str,
    *,
    dark: bool = False,
    panels: Sequence[str | Panel] | None = None,
    lines: Mapping[str, Sequence[Line]] | None = None,
) -> go.Figure:
    """Return the figure of prepared rows; without rows, the live view's skeleton. `zone` is printed on the time axis."""
    colours = theme(dark)
    chosen = resolve(panels)
    drawn = [panel.traces(series, names, colours) for panel in chosen]
    spaces = [_space_px(panel, mine) for panel, mine in zip(chosen[1:], drawn[1:], strict=True)]
    if chosen[-1].many and spaces:
        spaces[-1] = _SPACE_PX  # the last one's legend is below the time axis
    height = _MARGIN_PX + PANEL_HEIGHT_PX * len(chosen) + sum(spaces)
    shape = layout(colours) | {"height": height, "shapes": [], "annotations": []}
    traces: list[Trace] = []
    facts: list[dict[str, Any]] = []
    plot = float(height - _MARGIN_PX)
    top = 1.0
    for number, panel in enumerate(chosen, start=1):
        bottom = max(0.0, top - PANEL_HEIGHT_PX / plot)
        main, gaps = f"y{number if number > 1 else ''}", f"y{20 + number}"
        strip = (top - bottom) * _RIBBON_SHARE if panel.ribbon else 0.0
        domain = [bottom + (strip * 1.35 if strip else 0.0), top]
        computed = computed_traces(panel, (lines or {}).get(panel.name, ()), colours)
        near = _near(panel, [*computed, *drawn[number - 1]])
        vertical = axis(colours, panel.title) | {"domain": domain, "anchor": "x"} | _vertical(panel, near)
        shape[_axis_key(main)] = vertical
        shape[_axis_key(gaps)] = _unit_axis(overlaying=main)
        traces += [_gap_trace(series, colours, gaps, first=number == 1)]
        if strip:
            ribbon = f"y{40 + number}"
            shape[_axis_key(ribbon)] = _unit_axis(domain=[bottom, bottom + strip])
            traces += _ribbon_traces(series, ribbon, number)
        legend = f"legend{number if number > 1 else ''}"
        last = number == len(chosen)
        for trace in [*computed, *drawn[number - 1]]:
            trace["meta"] |= {"unit": panel.unit, "digits": panel.digits, "scale": panel.scale}
            traces.append(trace | {"yaxis": main, "legend": legend})
        shape[legend] = _legend(colours, top, below=last and panel.many)
        shape["shapes"] += [_band(*band, main, colours) for band in panel.bands]
        shape["shapes"] += [_level(value, words, main, colours) for value, words in near]
        facts.append(_facts(panel, main, gaps, f"y{40 + number}" if strip else "", vertical["tickformat"]))
        top = bottom - (spaces[number - 1] if number <= len(spaces) else 0) / plot
    shape["xaxis"] = _time_axis(colours, zone)
    shape["meta"] = {"panels": facts, "colours": asdict(colours), "level": _level(0.0, "", "y", colours)}
    if len(series):
        ahead = [line.time_ms[-1] for panel in chosen for line in (lines or {}).get(panel.name, ()) if len(line.time_ms)]
        shape["xaxis"]["range"] = list(dates(np.array([series.time_ms[0], max([series.time_ms[-1], *ahead])])))
    return go.Figure({"data": [trace | {"xaxis": "x"} for trace in traces], "layout": shape})


def _time_axis(colours: Theme, zone: str) -> dict[str, Any]:
    return axis(colours, f"time ({html.escape(zone)})") | {
        "type": "date",
        "domain": [0, 1],
        "anchor": "free",  # below the last panel's ribbon, where it has one
        "position": 0.0,
        "hoverformat": "%Y-%m-%d %H:%M:%S.%L",
        "showspikes": True,
        "spikemode": "across",
        "spikesnap": "cursor",
        "spikethickness": 1,
        "spikedash": "dot",
        "spikecolor": colours.muted,
    }


def _vertical(panel: Panel, near: Sequence[tuple[float, str]]) -> dict[str, Any]:
    """Return how a panel's vertical axis is scaled and ruled, with room for the levels that are near its values."""
    found: dict[str, Any] = {"tickformat": panel.tickformat, "nticks": 6}
    if panel.floor is not None or panel.ceiling is not None or panel.clip is not None:
        found["autorangeoptions"] = {"minallowed": panel.floor, "maxallowed": panel.ceiling, "clipmax": panel.clip}
    if near:  # plotly lets a shape lie on the panel's very edge
        room = _LEVEL_ROOM * min(abs(value) for value, _ in near)
        low, high = min(value for value, _ in near), max(value for value, _ in near)
        found.setdefault("autorangeoptions", {})["include"] = [low - room, high + room]
    if panel.bands:
        found["showgrid"] = False  # their edges are lines enough, and a line of the grid would run through a band's name
    if panel.strip:
        found |= {"range": [0, STRIP_ROWS], "showticklabels": False, "showgrid": False, "ticks": ""}
    return found


def _near(panel: Panel, traces: Sequence[Trace]) -> list[tuple[float, str]]:
    """Return the limits that some lines have come near."""
    ends = [end for trace in traces for end in _extent(trace.get("y"))]
    return [level for level in panel.levels if ends and is_near(level[0], min(ends), max(ends))]


def _extent(values: Any) -> tuple[float, ...]:
    known = np.asarray(values, dtype=np.float64) if values is not None else np.empty(0)
    known = known[np.isfinite(known)]
    return (float(known.min()), float(known.max())) if len(known) else ()


def _facts(panel: Panel, main: str, gaps: str, ribbon: str, tickformat: str) -> dict[str, Any]:
    """Return the facts of a panel that a live view needs for its height, range and limits."""
    return {
        "name": panel.name,
        "title": panel.title,
        "axis": main,
        "gaps": gaps,
        "ribbon": ribbon,
        "tickformat": tickformat,
        "unit": panel.unit,
        "digits": panel.digits,
        "scale": panel.scale,
        "share": panel.share,
        "height": panel.height_px,
        "levels": [list(level) for level in panel.levels],
        "floor": panel.floor,
        "ceiling": panel.ceiling,
        "clip": panel.clip,
        "strip": panel.strip,
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
                "x": dates(start),
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
        "x": dates(start),
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


def _band(low: float, high: float, regime: str, words: str, main: str, colours: Theme) -> dict[str, Any]:
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
        "fillcolor": REGIMES[regime].colour,
        "opacity": 0.1,
        "label": {"text": words, "textposition": "middle left", "padding": 6, "font": {"size": 10, "color": colours.muted}},
    }


def _space_px(panel: Panel, traces: Sequence[Trace]) -> int:
    """Return the room above a panel, px, for its legend, which wraps on a narrow page where it has many lines."""
    if not panel.many or not traces:
        return _SPACE_PX
    widest = _ENTRY_PX + _LETTER_PX * max(len(trace["meta"]["label"]) for trace in traces)
    lines = math.ceil(len(traces) / max(1, _LEGEND_PX // widest))
    return _SPACE_PX + _LEGEND_LINE_PX * (lines - 1)


def _level(value: float, words: str, main: str, colours: Theme) -> dict[str, Any]:
    return {
        "type": "line",
        "layer": "below",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "yref": main,
        "y0": value,
        "y1": value,
        "line": {"width": 1, "dash": "dash", "color": colours.muted},
        "label": {"text": f"\u00a0{words}", "textposition": "start", "padding": 2, "font": {"size": 10, "color": colours.muted}},
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
        "itemwidth": 40,  # wide enough to distinguish the dashes
        **place,
    }


def _unit_axis(**where: Any) -> dict[str, Any]:
    return {"range": [0, 1], "fixedrange": True, "visible": False, "anchor": "x", **where}


def _axis_key(name: str) -> str:
    return f"yaxis{name[1:]}"


def _runs(series: Series, code: int) -> tuple[Floats, Floats]:
    """Return start and end, ms, of the stretches that one regime held; a stretch ends at the next row, or at the last before a gap."""
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


__all__ = [
    "PANELS",
    "agent_names",
    "alpha_figure",
    "compose",
    "drawdown_figure",
    "hover_text",
    "latency_figure",
    "overview",
    "price_figure",
    "resolve",
    "service_names",
    "shifted",
]
