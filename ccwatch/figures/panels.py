"""The panels by name, and the traces of each: pure functions of prepared rows to plotly traces. It must not know a layout or a widget.

Each trace names in `meta` the data that fill it (`role`, `column`, `code`), its name as plain text (`label`) and how its values read
(`unit`, `digits`, `scale`); the live view takes the traces of an empty figure as its skeleton and fills them by that.
"""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ccwatch.domain.limits import ALPHA_CUTS, ALPHA_ZONES, DRAWDOWN_HALTS, DRAWDOWN_WARNS, LARGEST_SIZE, LATENCY_WARNS
from ccwatch.figures.figure_data import FACTS, GAUGES, SIDE_WORDS, Floats, Names, Series, SignalMarker, Trace, dates
from ccwatch.figures.heat_strip import STRIP_PX, STRIP_ROWS, strip_traces
from ccwatch.figures.theme import DASHES, SIDES, Theme
from ccwatch.protocol.messages import Regime

ALPHA_SHOWN: Final = 5.0
"""The alpha panel ends here: an interval that is wide where a price hardly moves would flatten all else."""
TEXT_LIMIT: Final = 400
"""Characters of a reasoning that a hover box shows."""

_LIMITS: Final = tuple((level, f"{level:.1%}".replace("-", "−")) for level in (DRAWDOWN_WARNS, DRAWDOWN_HALTS))


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A line that is computed from tables, not carried by packets: a quantile, an interval, a user's function.

    Attributes:
        label: its name, as plain text.
        time_ms: UTC, ms since 1970, ascending.
        value: of the same length, in the panel's unit; NaN cuts the line.
        fills: whether the space down to the line before it is filled, as that of an interval is.
        ahead: the name under which lines ahead of the newest packet are listed together, such as "forecast"; empty for other lines.
        ghost: whether it is drawn as a dashed grey line behind the stream's own: what was expected.
    """

    label: str
    time_ms: Floats
    value: Floats
    fills: bool = False
    ahead: str = ""
    ghost: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: its axis title with the unit, the format of its ticks and values, and its lines."""

    name: str
    title: str
    tickformat: str
    kinds: tuple[str, ...]
    """Kinds of columns of a Series that it draws."""
    traces: Callable[[Series, Names, Theme], list[Trace]]
    unit: str = ""
    digits: int = 2
    scale: float = 1.0
    """The factor of a value before it is shown with its unit: 100 for percent."""
    bands: tuple[tuple[float, float, str, str], ...] = ()
    """Horizontal bands behind the traces: from, to, the regime whose colour they take, and their label."""
    levels: tuple[tuple[float, str], ...] = ()
    """Limits as horizontal lines: value and label. One is drawn when the values are near it, see `is_near`."""
    ribbon: bool = False
    floor: float | None = None
    ceiling: float | None = None
    clip: float | None = None
    """The highest value that its axis may end at."""
    many: bool = False
    """Whether it has a line per service, so that its legend needs room."""
    share: float = 2.0
    """Its share of the height in a live view, relative to the others'."""
    height_px: int = 0
    """Its height in a live view where that is fixed; with 0 it shares the rest by `share`."""
    strip: bool = False
    """Whether it shows its services as a heat strip, each against its own usual latency."""
    compute: Callable[[Any], Sequence[Line]] | None = None
    """Makes lines from a view's tables; None for a panel without computed lines."""


def line_trace(label: str, x: Any, y: Floats, colour: str, column: str, *, hover: str) -> Trace:
    """Return the trace of a line of one column."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": html.escape(label, quote=False),
        "x": x,
        "y": y,
        "line": {"color": colour, "width": 1.4},
        "connectgaps": False,
        "hovertemplate": hover,
        "meta": {"role": "line", "column": column, "label": label},
    }


def computed_traces(panel: Panel, lines: Sequence[Line], colours: Theme) -> list[Trace]:
    """Return the traces of computed lines; those of an interval are thin and filled."""
    traces = []
    is_interval = [line.fills or (place + 1 < len(lines) and lines[place + 1].fills) for place, line in enumerate(lines)]
    for place, line in enumerate(lines):
        colour = colours.agents[place % len(colours.agents)]
        trace = line_trace(line.label, dates(line.time_ms), line.value, colour, f"{panel.name}/{line.label}", hover="%{y:.4g}")
        trace["meta"]["role"] = "computed"
        trace["line"] |= {"dash": DASHES[(place + place // len(colours.agents)) % len(DASHES)], "width": 1.3}
        if is_interval[place]:
            trace["line"] |= {"width": 0.8, "dash": "dot", "color": colours.muted}
        if line.fills:
            trace |= {"fill": "tonexty", "fillcolor": "rgba(128,128,128,0.18)"}
        if line.ghost:
            trace["line"] |= {"dash": "dash", "color": colours.muted}
        if line.ahead:
            trace["meta"]["ahead"] = line.ahead
            if not is_interval[place]:
                trace["line"] |= {"dash": "dash", "color": colours.line}
        traces.append(trace)
    return traces


def is_near(level: float, low: float, high: float) -> bool:
    """Return whether values between `low` and `high` have come at least half the way from 0 to a limit, so that it is drawn."""
    return low <= level / 2.0 if level < 0.0 else high >= level / 2.0


def hover_text(marker: SignalMarker) -> str:
    """Return the text of a signal's hover box. Everything that the stream wrote is escaped: plotly reads text as markup."""
    words = marker.text if len(marker.text) <= TEXT_LIMIT else marker.text[:TEXT_LIMIT] + "…"
    lines = textwrap.wrap(words, 64) or ["no reasoning given"]
    size = "vetoed" if is_veto(marker) else f"approved size {_number(marker.size, '.1%')}"
    facts = (f"confidence {_number(marker.confidence, '.2f')}", size)
    return "<br>".join([f"<b>{SIDE_WORDS[marker.side]}</b> · " + " · ".join(facts), *(html.escape(line) for line in lines)])


def is_veto(marker: SignalMarker) -> bool:
    """Return whether a BUY or SELL was given size 0."""
    return SIDE_WORDS[marker.side] != "FLAT" and marker.size == 0.0


def marker_px(marker: SignalMarker) -> float:
    """Return the size of a signal's mark in px: larger for a larger approved size, smallest for FLAT."""
    if SIDE_WORDS[marker.side] == "FLAT":
        return 7.0
    size = 0.05 if np.isnan(marker.size) else min(max(marker.size, 0.0), LARGEST_SIZE)
    return round(8.0 + 8.0 * size / LARGEST_SIZE, 1)


def marker_symbol(marker: SignalMarker) -> str:
    """Return the shape of a signal's mark: direction by shape, hollow for a veto."""
    return SIDES[SIDE_WORDS[marker.side]] + ("-open" if is_veto(marker) else "")


def points(series: Series, column: str, *, latest_symbol: bool = False) -> tuple[Any, Floats]:
    """Return a line's x and y: rows that carry the value, with a NaN before each row that a gap or another symbol cuts off."""
    value = series.columns.get(column, np.full(len(series), np.nan))
    kept = ~np.isnan(value)
    cuts = series.broken.astype(np.int64)
    if latest_symbol and len(series):
        kept &= series.symbol == series.symbol[-1]
        cuts[1:] += series.symbol[1:] != series.symbol[:-1]
    rows = np.flatnonzero(kept)
    passed = np.cumsum(cuts)[rows]
    cut = np.flatnonzero(np.diff(passed)) + 1
    return dates(np.insert(series.time_ms[rows], cut, series.time_ms[rows[cut]])), np.insert(value[rows], cut, np.nan)


# ── traces of the panels ───────────────────────────────────────────────────────────────────────────────────────────────


def _price_traces(series: Series, names: Names, colours: Theme) -> list[Trace]:
    price = _of_symbol("price", "%{y:,.2f} USD")(series, names, colours)
    markers = [marker for marker in series.markers if marker.symbol == series.symbol[-1]]
    return [*price, *(_signal_trace(markers, code, colours) for code in range(len(SIDE_WORDS)))]


def _drawdown_traces(series: Series, names: Names, colours: Theme) -> list[Trace]:
    del names
    ours = line_trace("from the running peak", *points(series, "drawdown"), colours.line, "drawdown", hover="%{y:.2%}")
    theirs = line_trace("engine's max_drawdown", *points(series, "max_drawdown"), colours.line_engine, "max_drawdown", hover="%{y:.2%}")
    theirs["line"]["dash"] = "dash"
    return [ours, theirs]


def _of_symbol(column: str, hover: str) -> Callable[[Series, Names, Theme], list[Trace]]:
    """Return a function that draws one line, of the latest symbol alone."""

    def traces(series: Series, names: Names, colours: Theme) -> list[Trace]:
        del names
        trace = line_trace(column, *points(series, column, latest_symbol=True), colours.line, column, hover=hover)
        trace["meta"]["symbol"] = True
        return [trace]

    return traces


def _plain(*columns: tuple[str, str], hover: str) -> Callable[[Series, Names, Theme], list[Trace]]:
    """Return a function that draws lines of the whole stream, one per pair of column and label."""

    def traces(series: Series, names: Names, colours: Theme) -> list[Trace]:
        del names
        made = []
        for place, (column, label) in enumerate(columns):
            colour = colours.line if not place else colours.agents[place - 1]
            trace = line_trace(label, *points(series, column), colour, column, hover=hover)
            trace["line"]["dash"] = DASHES[place]
            made.append(trace)
        return made

    return traces


def _gauges(*kinds: str, hover: str) -> Callable[[Series, Names, Theme], list[Trace]]:
    """Return a function that draws a line per service of some kinds of gauges."""

    def traces(series: Series, names: Names, colours: Theme) -> list[Trace]:
        made: list[Trace] = []
        for kind in kinds:
            for name in names.services(kind):
                place, column = len(made), f"{kind}:{name}"
                label = name if len(kinds) == 1 else f"{name} {_GAUGE_WORDS[kind]}"
                trace = line_trace(label, *points(series, column), colours.agents[place % len(colours.agents)], column, hover=hover)
                trace["line"] |= {"dash": DASHES[(place + place // len(colours.agents)) % len(DASHES)], "width": 1.3}
                made.append(trace)
        return made

    return traces


_GAUGE_WORDS: Final = {"latency": "latency", "success": "success", "model": "latency", "cache": "cache hits"}


def _nothing(series: Series, names: Names, colours: Theme) -> list[Trace]:
    del series, names, colours
    return []


def own_panel(name: str, title: str, compute: Callable[[Any], Sequence[Line]]) -> Panel:
    """Return a panel whose lines a function makes."""
    return Panel(name, title, "", (), _nothing, digits=4, compute=compute)


def _signal_trace(markers: Sequence[SignalMarker], code: int, colours: Theme) -> Trace:
    side = SIDE_WORDS[code]
    mine = [marker for marker in markers if marker.side == code]
    colour = {"BUY": colours.buy, "SELL": colours.sell}.get(side, colours.flat)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": side,
        "x": dates(np.array([marker.time_ms for marker in mine], dtype=np.float64)),
        "y": [marker.price for marker in mine],
        "text": [hover_text(marker) for marker in mine],
        "marker": {
            "symbol": [marker_symbol(marker) for marker in mine] or SIDES[side],
            "size": [marker_px(marker) for marker in mine] or 9,
            "color": colour,
            "opacity": 1,  # else plotly makes marks of many sizes transparent
            "line": {"width": 1.5 if any(is_veto(marker) for marker in mine) else 1, "color": colour},
        },
        "hovertemplate": "%{text}<extra></extra>",
        "meta": {"role": "signals", "code": code, "label": side},
    }


def _latency_panel(name: str, whose: str, kind: str) -> Panel:
    return Panel(name, f"{whose} latency (ms)", ",.0f", (kind,), _gauges(kind, hover="%{y:.1f} ms"), "ms", 1, floor=0.0, many=True)


PANELS: Final[dict[str, Panel]] = {
    panel.name: panel
    for panel in (
        Panel("price", "price (USD)", ",.2f", ("price",), _price_traces, "USD", ribbon=True, share=3.0),
        Panel(
            "pnl",
            "day's P&L (%)",
            ".1%",
            ("pnl",),
            _plain(("pnl", "P&L"), hover="%{y:.2%}"),
            "%",
            scale=100.0,
            levels=_LIMITS,
        ),
        Panel("nav", "nav (USD)", ",.0f", ("nav",), _plain(("nav", "nav"), hover="%{y:,.2f} USD"), "USD"),
        Panel(
            "drawdown",
            "drawdown (%)",
            ".2%",
            ("drawdown", "max_drawdown"),
            _drawdown_traces,
            "%",
            scale=100.0,
            levels=_LIMITS,
            ceiling=0.0,
        ),
        Panel(
            "exposure",
            "implied exposure (%)",
            ".0%",
            ("exposure",),
            _plain(("exposure", "implied exposure"), hover="%{y:.1%}"),
            "%",
            1,
            100.0,
        ),
        Panel(
            "alpha",
            "alpha, tail index (no unit)",
            ".1f",
            ("alpha",),
            _of_symbol("alpha", "%{y:.2f}"),
            bands=(
                (0.0, ALPHA_CUTS[0], Regime.CRITICAL, Regime.CRITICAL),
                (*ALPHA_CUTS, Regime.LEVY, Regime.LEVY),
                (*ALPHA_ZONES, Regime.GAUSSIAN, "no third moment"),  # above the last zone: clear
            ),
            floor=0.0,
            clip=ALPHA_SHOWN,
            height_px=64,
        ),
        Panel(
            "services", "services (× usual)", "", ("latency", "model"), strip_traces, "ms", 0, strip=True, height_px=STRIP_ROWS * STRIP_PX
        ),
        Panel("velocity", "velocity ($/period)", ".3~f", ("velocity",), _of_symbol("velocity", "%{y:.4f} $/period"), "$/period", 4),
        Panel(
            "acceleration",
            "acceleration ($/period²)",
            ".3~f",
            ("acceleration",),
            _of_symbol("acceleration", "%{y:.5f} $/period²"),
            "$/period²",
            5,
        ),
        Panel(
            "latency", "agent latency (ms)", ",.0f", ("latency",), _gauges("latency", hover="%{y:.1f} ms"), "ms", 1, floor=0.0, many=True
        ),
        Panel("models", "model latency (ms)", ",.0f", ("model",), _gauges("model", hover="%{y:.1f} ms"), "ms", 1, floor=0.0, many=True),
        Panel(
            "objective",
            "latency p95 / objective (ratio)",
            ".1f",
            (),
            _nothing,
            "×",
            levels=((1.0, "objective"), (LATENCY_WARNS, f"{LATENCY_WARNS:g} ×")),
            floor=0.0,
            many=True,
        ),
        Panel(
            "success",
            "success and cache hits (%)",
            ".0%",
            ("success", "cache"),
            _gauges("success", "cache", hover="%{y:.1%}"),
            "%",
            1,
            100.0,
            many=True,
        ),
        Panel(
            "stream",
            "stream (s)",
            ".3~g",
            ("interval", "lag"),
            _plain(("interval", "since the packet before"), ("lag", "later than the fastest"), hover="%{y:.3f} s"),
            "s",
            3,
            floor=0.0,
        ),
    )
}
"""The panels by name, in the order in which they are stacked."""
DEFAULT_PANELS: Final = ("price", "pnl", "alpha", "services")
"""The panels that are shown by default."""


def live_kinds(panels: Sequence[Panel]) -> tuple[str, ...]:
    """Return the kinds of columns that a live view of some panels needs: those that they draw, and those of its status line."""
    return tuple(dict.fromkeys([*kinds_of(panels), *FACTS]))


def kinds_of(panels: Sequence[Panel]) -> tuple[str, ...]:
    """Return the kinds of columns that some panels draw, each once; always the price, which marks and the timeline need."""
    return tuple(dict.fromkeys(["price", *(kind for panel in panels for kind in panel.kinds)]))


def service_kinds(panels: Sequence[Panel]) -> set[str]:
    """Return whose gauges the panels draw: "agent", "model"."""
    return {GAUGES[kind][0] for kind in kinds_of(panels) if kind in GAUGES}


def _number(value: float, spec: str) -> str:
    return "not given" if np.isnan(value) else format(value, spec)


def words_of(value: float | None, *, unit: str, digits: int, scale: float) -> str:
    """Return a value as its panel shows it, with a typographic minus sign; the page's `reading` gives the same text."""
    if value is None or not math.isfinite(value):
        return "–"
    size = f"{abs(value * scale):,.{digits}f}"
    is_zero = not size.strip("0,.")
    sign = "\N{MINUS SIGN}" if value < 0.0 and not is_zero else ""
    return f"{sign}{size} {unit}".strip()
