"""The heat strip: services against their own usual latency, the worst in the first row."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from ccwatch.domain.limits import SLOW_FACTOR
from ccwatch.figures.figure_data import Floats, Names, Series, Trace, dates
from ccwatch.figures.theme import Theme

STRIP_ROWS: Final = 4
"""Services that the heat strip shows; the others are counted."""
STRIP_PX: Final = 16
STRIP_FILL: Final = 0.9
"""How much of its row a bar fills at most."""
STRIP_CELLS: Final = 200
"""Bars of a row in a figure that is not live."""


def strip_traces(series: Series, names: Names, colours: Theme) -> list[Trace]:
    """Return bars of the worst services, the worst in the first row; height is a stretch's worst call over the usual one."""
    found = strip_rows({name: series.columns[name] for name in names.columns(("latency", "model")) if name in series.columns})
    x, width, base, height, shade, texts = [], [], [], [], [], []
    edges = np.linspace(0, len(series), min(len(series), STRIP_CELLS) + 1).astype(int)
    for row, (column, usual) in enumerate(found[:STRIP_ROWS]):
        values = series.columns[column]
        for low, high in itertools.pairwise(edges):
            part = values[low:high]
            if np.isnan(part).all():
                continue
            times_usual = float(np.nanmax(part)) / usual
            x.append(series.time_ms[low])
            width.append(series.time_ms[min(high, len(series) - 1)] - series.time_ms[low])
            base.append(STRIP_ROWS - 1 - row)
            height.append(strip_height(times_usual))
            shade.append(strip_colour(times_usual, colours))
            texts.append(html.escape(f"{column.split(':', 1)[1]}: {times_usual:.1f} times its usual {usual:,.0f} ms"))
    return [
        {
            "type": "bar",
            "name": "against its usual",
            "x": dates(np.array(x, dtype=np.float64)),
            "width": width,
            "base": base,
            "y": height,
            "offset": 0,
            "text": texts,
            "textposition": "none",
            "showlegend": False,
            "marker": {"color": shade or colours.grid, "line": {"width": 0}},
            "hovertemplate": "%{text}<extra></extra>",
            "meta": {"role": "strip", "label": "against its usual"},
        }
    ]


def strip_rows(columns: Mapping[str, Floats]) -> list[tuple[str, float]]:
    """Return services and their usual latency (median, ms), the largest median of three neighbours over the usual first."""
    worst = []
    for column, values in columns.items():
        known = values[~np.isnan(values)]
        usual = float(np.median(known)) if len(known) else 0.0
        if usual > 0.0:
            around = np.median(np.lib.stride_tricks.sliding_window_view(known, 3), axis=1) if len(known) > 2 else known
            worst.append((-float(around.max()) / usual, column, usual))
    return [(column, usual) for _, column, usual in sorted(worst)]


def strip_height(times_usual: float) -> float:
    """Return the height of a heat strip's bar as a share of its row: a sixth for the usual, full from eight times the usual."""
    return round(min(1.0, max(1.0, 1.0 + math.log2(max(times_usual, 0.5)) * 5.0 / 3.0) / 6.0) * STRIP_FILL, 4)


def strip_colour(times_usual: float, colours: Theme) -> str:
    """Return the colour of a heat strip's bar: as usual, slow (SLOW_FACTOR), very slow (twice that)."""
    return colours.heat[int(times_usual >= SLOW_FACTOR) + int(times_usual >= 2 * SLOW_FACTOR)]
