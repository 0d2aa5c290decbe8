"""A figure as an SVG picture, for places that run no JavaScript: a saved notebook, a mail. Pure: a figure in, text out.

It draws what `figures.compose` makes, panels over one time axis with lines, marks and bars, and no other figures; plotly's own
export of pictures would need a browser beside the kernel.
"""

from __future__ import annotations

import html
import itertools
import math
import secrets
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go

from ccwatch.figures.figure_data import Floats
from ccwatch.text import plain

WIDTH_PX: Final = 960
_CHARACTER_PX: Final = 5.8
"""Mean width of a character at 10 px, to place legends by."""
_SWATCH_PX: Final = 24
_LINE_PX: Final = 14
_HEADING_PX: Final = 22
_TICKS: Final = 6
_HIGHEST: Final = 1.7e308
"""The highest end of an axis; twice the largest number is none."""
_STEPS_S: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_DASHES: Final = {"dash": "6 3", "dot": "1.5 2.5", "dashdot": "6 2.5 1.5 2.5", "longdash": "11 3", "longdashdot": "11 2.5 1.5 2.5"}
_HATCHES: Final = {"/": "M0 6 L6 0", "x": "M0 6 L6 0 M0 0 L6 6", ".": "M2.5 3 h1.2"}


def svg(figure: go.Figure, *, heading: str = "", width: int = WIDTH_PX, paper: str = "#fff") -> str:
    """Return the figure as one `<svg>` element.

    Args:
        figure: the result of `overview` or `compose`.
        heading: a line above it, as plain text.
        width: in px.
        paper: colour behind it, so that it can be read on a page of either theme.
    """
    shape, traces = figure.layout.to_plotly_json(), [trace.to_plotly_json() for trace in figure.data]
    return "".join(_Picture(shape, traces, width, heading, paper).parts())


class _Picture:
    """A figure laid out in px from the upper left, and its drawing as SVG."""

    def __init__(self, shape: dict[str, Any], traces: list[dict[str, Any]], width: int, heading: str, paper: str) -> None:
        self._shape, self._traces, self._width, self._heading, self._paper = shape, traces, width, heading, paper
        self._key = secrets.token_hex(4)  # a page may hold several pictures, and ids are the page's
        margin = shape["margin"]
        self._left, self._right = float(margin["l"]), float(width - margin["r"])
        self._top = float(margin["t"]) + (_HEADING_PX if heading else 0)
        self._bottom = self._top + shape["height"] - margin["t"] - margin["b"]
        self._height = self._bottom + margin["b"]
        ends = np.array(shape["xaxis"].get("range", []), dtype="datetime64[ms]").astype(np.float64)
        self._from, self._to = (float(ends[0]), max(float(ends[1]), float(ends[0]) + 1000)) if len(ends) else (0.0, 1000.0)
        self._ink, self._muted = shape["font"]["color"], shape["xaxis"]["tickfont"]["color"]
        self._ranges = {name: self._range(name) for name in self._axes()}

    def _axes(self) -> list[str]:
        return [trace_axis(key) for key in self._shape if key.startswith("yaxis")]

    def _axis(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._shape[f"yaxis{name[1:]}"]
        return found

    def _range(self, name: str) -> tuple[float, float]:
        """Return the range that plotly would choose: the data and the shapes, with a little room, within the axis's limits."""
        axis = self._axis(name)
        if axis.get("range"):
            return float(axis["range"][0]), float(axis["range"][1])
        options = axis.get("autorangeoptions", {})
        values = [_floats(trace["y"]) for trace in self._traces if trace["yaxis"] == name and len(trace["y"])]
        values += [np.array([shape["y0"], shape["y1"]]) for shape in self._shape.get("shapes", ()) if shape["yref"] == name]
        values += [np.atleast_1d(_floats(options.get("include", [])))]
        known = np.concatenate([np.empty(0), *values])
        known = known[np.isfinite(known)]
        low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
        room = (0.06 * high - 0.06 * low) or 0.5 * abs(high) or 1.0
        low, high = max(low - room, -_HIGHEST), min(high + room, _HIGHEST)
        if options.get("minallowed") is not None:
            low = max(low, options["minallowed"])
        if options.get("maxallowed") is not None:
            high = min(high, options["maxallowed"])
        if options.get("clipmax") is not None:
            high = min(high, options["clipmax"])
        return low, high if high > low else low + 1.0

    def _x(self, time_ms: Floats) -> Floats:
        return self._left + (time_ms - self._from) / (self._to - self._from) * (self._right - self._left)

    def _y(self, name: str, values: Any) -> Any:
        low, high = self._ranges[name]
        start, end = self._domain(name)
        return self._bottom - (start + _fraction(np.asarray(values, dtype=np.float64), low, high) * (end - start)) * (
            self._bottom - self._top
        )

    def _domain(self, name: str) -> tuple[float, float]:
        axis = self._axis(name)
        low, high = axis["domain"] if "domain" in axis else self._axis(axis["overlaying"])["domain"]
        return float(low), float(high)

    def _box(self, name: str) -> tuple[float, float]:
        """Return the upper and lower edge of an axis, px."""
        low, high = self._domain(name)
        return self._bottom - high * (self._bottom - self._top), self._bottom - low * (self._bottom - self._top)

    # ── the parts drawn, the furthest back first ────────────────────────────────────────────────────────────────────────

    def parts(self) -> Iterator[str]:
        """Yield the pieces of the element."""
        font = _escaped(self._shape["font"]["family"])
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {self._width} {self._height:.0f}" width="{self._width}" '
            f'style="max-width:100%" font-family="{font}" font-size="10" fill="{self._ink}">'
        )
        yield f'<rect width="100%" height="100%" rx="4" fill="{_escaped(self._paper)}"/>'
        if self._heading:
            yield f"<title>{_escaped(self._heading)}</title>"
            yield _text(self._left, _HEADING_PX - 8, self._heading, self._ink, size=12)
        visible = [name for name in self._axes() if self._axis(name).get("visible", True)]
        yield from self._clips()
        for name in visible:
            yield from self._frame(name)
        for shape in self._shape.get("shapes", ()):
            yield from self._flat(shape)
        yield from self._time()
        before: dict[str, Any] | None = None
        for number, trace in enumerate(self._traces):
            yield from self._trace(trace, number, before)
            before = trace
        yield from self._legends()
        yield "</svg>"

    def _clips(self) -> Iterator[str]:
        for name in self._axes():
            top, bottom = self._box(name)
            yield (
                f'<clipPath id="{self._id(name)}"><rect x="{self._left:.1f}" y="{top - 4:.1f}" width="{self._right - self._left:.1f}" '
                f'height="{bottom - top + 8:.1f}"/></clipPath>'
            )

    def _id(self, name: str) -> str:
        """Return an id that is unique to this picture, since a page may hold several."""
        return f"ccw-{self._key}-{name}"

    def _flat(self, shape: dict[str, Any]) -> Iterator[str]:
        y0, y1 = (float(self._y(shape["yref"], shape[end])) for end in ("y0", "y1"))
        label = shape.get("label", {})
        if shape["type"] == "rect":
            top, bottom = self._box(shape["yref"])
            y0, y1 = min(y0, bottom), max(y1, top)
            yield (
                f'<rect x="{self._left:.1f}" y="{y1:.1f}" width="{self._right - self._left:.1f}" height="{max(0.0, y0 - y1):.1f}" '
                f'fill="{shape["fillcolor"]}" opacity="{shape["opacity"]}"/>'
            )
            yield _text(self._left + 6, (y0 + y1) / 2 + 3, label.get("text", ""), self._muted)
        else:
            yield _line(self._left, y0, self._right, y0, shape["line"]["color"], dash="6 3")
            yield _text(self._left + 2, y0 - 2, label.get("text", "").strip(), self._muted)

    def _frame(self, name: str) -> Iterator[str]:
        axis, (top, bottom) = self._axis(name), self._box(name)
        for value in _nice(*self._ranges[name]):
            y = float(self._y(name, value))
            if axis.get("showgrid", True):
                yield _line(self._left, y, self._right, y, axis["gridcolor"])
            yield _text(self._left - 6, y + 3, _tick(value, axis.get("tickformat", "")), self._muted, anchor="end")
        yield _line(self._left, top, self._left, bottom, axis["linecolor"])
        middle = (top + bottom) / 2
        title = html.unescape(axis["title"]["text"])
        yield (
            f'<text transform="translate(14 {middle:.1f}) rotate(-90)" text-anchor="middle" font-size="11" fill="{self._ink}">'
            f"{_escaped(title)}</text>"
        )

    def _time(self) -> Iterator[str]:
        span = (self._to - self._from) / 1000
        step = next((step for step in _STEPS_S if span / step <= 8), math.ceil(span / 8 / 86400) * 86400)
        yield _line(self._left, self._bottom, self._right, self._bottom, self._muted)
        form = 10 if step >= 86400 else 16 if step >= 60 else 19
        first = math.ceil(self._from / 1000 / step) * step
        for at in range(first, math.floor(self._to / 1000) + 1, step) if self._to > 1000 else ():
            x = float(self._x(np.array([at * 1000.0]))[0])
            stamp = str(np.datetime64(at, "s")).replace("T", " ")[:form]
            yield _line(x, self._bottom, x, self._bottom + 4, self._muted)
            yield _text(x, self._bottom + 15, stamp[11:] if form > 10 else stamp, self._muted, anchor="middle")
            if at == first and form > 10:
                yield _text(x, self._bottom + 27, stamp[:10], self._muted, anchor="middle")
        title = html.unescape(self._shape["xaxis"]["title"]["text"])
        yield _text((self._left + self._right) / 2, self._bottom + 30, title, self._ink, size=11, anchor="middle")

    def _trace(self, trace: dict[str, Any], number: int, before: dict[str, Any] | None) -> Iterator[str]:
        if not len(trace["x"]):
            return
        clip = f'clip-path="url(#{self._id(trace["yaxis"])})"'
        if trace["type"] == "bar":
            yield from self._bars(trace, number, clip)
        elif trace["mode"] == "markers":
            yield from self._markers(trace, clip)
        else:
            x, y = self._points(trace)
            if trace.get("fill") and before is not None and len(before["x"]):
                back = self._points(before)
                ring = [*zip(x, y, strict=True), *zip(back[0][::-1], back[1][::-1], strict=True)]
                edge = " ".join(f"{px:.1f},{py:.1f}" for px, py in ring if math.isfinite(py))
                yield f'<polygon points="{edge}" fill="rgb(128,128,128)" fill-opacity="0.18" {clip}/>'
            style = trace["line"]
            dash = f' stroke-dasharray="{_DASHES[style["dash"]]}"' if style.get("dash") in _DASHES else ""
            yield f'<path d="{_path(x, y)}" fill="none" stroke="{style["color"]}" stroke-width="{style["width"]}"{dash} {clip}/>'

    def _points(self, trace: dict[str, Any]) -> tuple[Floats, Floats]:
        x = self._x(_times(trace["x"]))
        y = _floats(trace["y"])
        rows = _thin(y, 2 * self._width)
        return x[rows], self._y(trace["yaxis"], y[rows])

    def _bars(self, trace: dict[str, Any], number: int, clip: str) -> Iterator[str]:
        marker, (top, bottom) = trace["marker"], self._box(trace["yaxis"])
        if trace["meta"]["role"] == "strip":
            yield from self._strip(trace, clip)
            return
        pattern = marker["pattern"]
        fill = marker["color"]
        if pattern.get("shape") in _HATCHES:
            name = self._id(f"hatch{number}")
            ground = "" if fill.startswith("rgba") else f'<rect width="6" height="6" fill="{fill}"/>'
            yield (
                f'<pattern id="{name}" width="6" height="6" patternUnits="userSpaceOnUse">{ground}'
                f'<path d="{_HATCHES[pattern["shape"]]}" stroke="{pattern["fgcolor"]}" stroke-width="1"/></pattern>'
            )
            fill = f"url(#{name})"
        starts = _times(trace["x"])
        left, right = self._x(starts), self._x(starts + _floats(trace["width"]))
        for start, end in zip(left, right, strict=True):
            size = f'width="{max(0.3, end - start):.1f}" height="{bottom - top:.1f}"'
            yield f'<rect x="{start:.1f}" y="{top:.1f}" {size} fill="{fill}" {clip}/>'

    def _strip(self, trace: dict[str, Any], clip: str) -> Iterator[str]:
        starts, base, height = _times(trace["x"]), _floats(trace["base"]), _floats(trace["y"])
        left, right = self._x(starts), self._x(starts + _floats(trace["width"]))
        top, bottom = self._y(trace["yaxis"], base + height), self._y(trace["yaxis"], base)
        for x, end, y, foot, colour in zip(left, right, top, bottom, _each(trace["marker"]["color"], len(left)), strict=True):
            yield f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(0.3, end - x):.1f}" height="{foot - y:.1f}" fill="{colour}" {clip}/>'

    def _markers(self, trace: dict[str, Any], clip: str) -> Iterator[str]:
        marker = trace["marker"]
        x, y = self._x(_times(trace["x"])), self._y(trace["yaxis"], _floats(trace["y"]))
        words, sizes = (_each(marker[name], len(x)) for name in ("symbol", "size"))
        for px, py, word, size in zip(x, y, words, sizes, strict=True):
            if math.isfinite(py):
                yield f'<path d="{_marker_path(px, py, str(word), float(size) / 2)}" {_paint(str(word), marker["color"])} {clip}/>'

    def _legends(self) -> Iterator[str]:
        """Yield the legends, above each panel and right-aligned; below the time axis for a last panel with many lines."""
        listed: dict[str, list[dict[str, Any]]] = {}
        for trace in self._traces:
            if trace.get("showlegend", True) and len(trace["x"]):
                listed.setdefault(trace["legend"], []).append(trace)
        for name, traces in listed.items():
            place = self._shape[name]
            lines = list(self._broken(traces))
            below = place.get("yref") == "container"
            y = self._bottom + 44 if below else self._bottom - place["y"] * (self._bottom - self._top) - 6 - _LINE_PX * (len(lines) - 1)
            for line in lines:
                x = self._right - sum(_entry_px(trace) for trace in line)
                for trace in line:
                    yield from self._entry(trace, x, y)
                    x += _entry_px(trace)
                y += _LINE_PX

    def _broken(self, traces: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
        line: list[dict[str, Any]] = []
        for trace in traces:
            if line and sum(map(_entry_px, [*line, trace])) > self._right - self._left:
                yield line
                line = []
            line.append(trace)
        yield line

    def _entry(self, trace: dict[str, Any], x: float, y: float) -> Iterator[str]:
        label = str(trace["meta"]["label"])
        if trace["type"] == "bar":
            colour = trace["marker"]["color"] if not trace["marker"]["color"].startswith("rgba") else trace["marker"]["pattern"]["fgcolor"]
            yield f'<rect x="{x:.1f}" y="{y - 8:.1f}" width="18" height="8" fill="{colour}"/>'
            hatch = _HATCHES.get(trace["marker"]["pattern"].get("shape", ""))
            if hatch:
                for shift in (0, 6, 12):
                    yield f'<path transform="translate({x + shift:.1f} {y - 7:.1f})" d="{hatch}" stroke="#ffffff" stroke-width="1"/>'
        elif trace["mode"] == "markers":
            word = str(_each(trace["marker"]["symbol"], 1)[0])
            yield f'<path d="{_marker_path(x + 9, y - 4, word, 4.0)}" {_paint(word, trace["marker"]["color"])}/>'
        else:
            yield _line(x, y - 4, x + 18, y - 4, trace["line"]["color"], dash=_DASHES.get(trace["line"].get("dash", "")), width=1.6)
        yield _text(x + _SWATCH_PX, y, label, self._ink)


def trace_axis(key: str) -> str:
    """Return the name by which traces refer to the axis of a layout's key: `y2` for `yaxis2`."""
    return f"y{key.removeprefix('yaxis')}"


def _entry_px(trace: dict[str, Any]) -> float:
    return _SWATCH_PX + _CHARACTER_PX * len(str(trace["meta"]["label"])) + 12


def _times(x: Any) -> Floats:
    return np.asarray(x, dtype="datetime64[ms]").astype(np.float64)


def _fraction(values: Floats, low: float, high: float) -> Floats:
    """Return where values are between two others, 0 to 1; what is far outside of the picture is at most 1,000 of its heights away."""
    scale = 4.0 if max(abs(low), abs(high)) > _HIGHEST / 4.0 else 1.0  # of the largest numbers the difference is none
    with np.errstate(over="ignore"):
        found: Floats = np.clip((values / scale - low / scale) / (high / scale - low / scale), -1000.0, 1000.0)
    return found


def _floats(values: Any) -> Floats:
    return np.asarray(values, dtype=np.float64)


def _each(value: Any, count: int) -> Sequence[Any]:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value] * count


def _thin(y: Floats, most: int) -> Any:
    """Return the rows that hold the least and the greatest value of each stretch, and every cut."""
    if len(y) <= most:
        return np.arange(len(y))
    kept = {0, len(y) - 1, *np.flatnonzero(np.isnan(y)).tolist()}
    for start, end in itertools.pairwise(np.linspace(0, len(y), most // 2 + 1).astype(int)):
        part = y[start:end]
        if not np.isnan(part).all():
            kept |= {int(start + np.nanargmin(part)), int(start + np.nanargmax(part))}
    return np.array(sorted(kept), dtype=np.intp)


def _path(x: Floats, y: Floats) -> str:
    """Return the path of a line that NaN values cut."""
    steps, pen = [], "M"
    for px, py in zip(x.tolist(), y.tolist(), strict=True):
        if math.isfinite(py):
            steps.append(f"{pen}{px:.1f} {py:.1f}")
            pen = "L"
        else:
            pen = "M"
    return "".join(steps)


def _marker_path(x: float, y: float, word: str, half: float) -> str:
    up = {"triangle-up": -1, "triangle-down": 1}.get(word.removesuffix("-open"))
    if up is None:
        return f"M{x - half:.1f} {y:.1f}a{half:.1f} {half:.1f} 0 1 0 {2 * half:.1f} 0a{half:.1f} {half:.1f} 0 1 0 {-2 * half:.1f} 0Z"
    return f"M{x:.1f} {y + up * half:.1f}L{x + half:.1f} {y - up * half:.1f}L{x - half:.1f} {y - up * half:.1f}Z"


def _paint(word: str, colour: str) -> str:
    return f'fill="none" stroke="{colour}" stroke-width="1.5"' if word.endswith("-open") else f'fill="{colour}"'


def _nice(low: float, high: float) -> list[float]:
    """Return about _TICKS round values within a range."""
    rough = high / _TICKS - low / _TICKS
    if rough <= 0.0:  # of the smallest numbers there is no sixth
        return []
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((step * power for step in (1, 2, 5) if step * power >= rough), 10 * power)
    return [round(place * step, 12) for place in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _tick(value: float, spec: str) -> str:
    """Return a value in a format of d3's, which is Python's except for `~`: no zeros at the end."""
    words = format(value + 0.0, spec.replace("~", "")) if spec else f"{value:.4g}"
    return words.rstrip("0").rstrip(".") if "~" in spec and "." in words else words


def _line(x0: float, y0: float, x1: float, y1: float, colour: str, *, dash: str | None = None, width: float = 1) -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="{colour}" stroke-width="{width}"{dashes}/>'


def _escaped(words: str) -> str:
    """Return words escaped for XML, without the control characters that it cannot hold."""
    return html.escape(plain(words, keep="\t\n"))


def _text(x: float, y: float, words: str, colour: str, *, size: int = 10, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="{size}" text-anchor="{anchor}">{_escaped(words)}</text>'
