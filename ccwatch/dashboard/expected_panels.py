"""Panels of a stream held against its expectation: a ghost line beside the profit and loss, and their difference. It knows no widget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np
import pandas as pd

from ccwatch.dashboard.computed import thinned, to_ms
from ccwatch.dashboard.panel_choice import choose_panels
from ccwatch.domain.drawdown import starting_capital
from ccwatch.errors import MissingColumns
from ccwatch.figures.panels import PANELS, Line, Panel, own_panel

if TYPE_CHECKING:
    from ccwatch.config import Align

DIFFERENCE: Final = "difference"
"""The name of the panel of actual less expected profit and loss."""
WORTH: Final = ("nav", "returns", "side")
"""Columns of which an expectation has at least one."""
RECENT_MS: Final = 1_800_000.0
POINTS: Final = 300
"""Points of a line within the newest RECENT_MS, and as many before."""
_COLUMNS: Final = ["seq", "connection", "symbol", "side", "price", "nav", "daily_pnl", "received_at", "flags"]
GHOST: Final = "expected"


class Expectation(NamedTuple):
    """The expectation of a stream: packets or a frame of nav, returns or side by time, and how it is laid beside the stream."""

    frame: pd.DataFrame
    align: Align = "clock"


def expectation_of(expected: Any, align: Align) -> Expectation:
    """Read an expectation in any of its forms.

    Args:
        expected: a Recording, its path or name, "latest", or a frame or CSV file of nav, returns or signals; None is `[expected]`.
        align: "clock", "open" or "event".

    Raises:
        ConfigError: none of these.
        MissingColumns: it has neither nav nor returns nor signals.
        RecordingNotFound: no recording of that name.
    """
    from ccwatch.analysis import read_expected  # noqa: PLC0415 - scipy takes a second to import

    frame = read_expected(expected).frame
    if not any(name in frame.columns and frame[name].notna().any() for name in WORTH):
        raise MissingColumns("against", WORTH)
    return Expectation(frame, align)


def panels_against(panels: Any, expected: Any, align: Align = "clock") -> tuple[Panel, ...]:
    """Return the panels asked for (see `choose_panels`), held against an expectation (see `expectation_of`)."""
    return with_expectation(choose_panels(panels), expectation_of(expected, align))


def with_expectation(panels: Sequence[Panel], expectation: Expectation) -> tuple[Panel, ...]:
    """Return the panels with a ghost line in those of P&L and nav, and the panel of the difference behind P&L, else at the end."""
    shown: list[Panel] = []
    for panel in panels:
        kind: Literal["pnl", "nav"] | None = "pnl" if panel is PANELS["pnl"] else "nav" if panel is PANELS["nav"] else None
        shown.append(replace(panel, compute=_ghost(expectation, kind)) if kind else panel)
    names = [panel.name for panel in shown]
    place = 1 + (names.index("pnl") if "pnl" in names else len(names) - 1)
    return (*shown[:place], difference_panel(expectation), *shown[place:])


def difference_panel(expectation: Expectation) -> Panel:
    """Return the panel of actual less expected profit and loss, a fraction of the nav at the first packet that meets the expectation."""

    def compute(view: Any) -> Sequence[Line]:
        curve = _curve(view, expectation)
        line = _line("actual less expected", curve.index, curve["divergence"].to_numpy())
        cuts = to_ms(curve.index[curve["broken"].to_numpy()])  # a gap is not bridged
        places = np.searchsorted(line.time_ms, cuts)
        return [Line(line.label, np.insert(line.time_ms, places, cuts), np.insert(line.value, places, np.nan))]

    panel = own_panel(DIFFERENCE, "actual \N{MINUS SIGN} expected (%)", compute)
    return replace(panel, tickformat=".2%", unit="%", scale=100.0, digits=2)


def _ghost(expectation: Expectation, kind: Literal["pnl", "nav"]) -> Callable[[Any], Sequence[Line]]:
    """Return a function that computes the expected line, which begins where the stream was when the two first met."""

    def compute(view: Any) -> Sequence[Line]:
        curve = _curve(view, expectation)
        met = view.frame(["nav", "daily_pnl"]).loc[curve.index[0] :]
        nav, profit = met["nav"].dropna(), met["daily_pnl"]
        capital = starting_capital(met["nav"], profit)
        if not len(nav) or not capital > 0.0:
            return []
        first = float(nav.iloc[0])
        expected = first * (1.0 + curve["expected"].to_numpy())
        return [replace(_line(GHOST, curve.index, expected if kind == "nav" else expected / capital - 1.0), ghost=True)]

    return compute


def _curve(view: Any, expectation: Expectation) -> pd.DataFrame:
    from ccwatch.analysis import expected_curve  # noqa: PLC0415 - scipy takes a second to import

    return expected_curve(view.frame(_COLUMNS), expectation.frame, align=expectation.align)


def _line(label: str, index: pd.Index, value: np.ndarray[Any, np.dtype[np.float64]]) -> Line:
    """Return a line of at most 2 * POINTS points, half of them in the newest RECENT_MS, which are in sight most of the time."""
    time = to_ms(index)
    cut = int(np.searchsorted(time, time[-1] - RECENT_MS))
    parts = [thinned(Line(label, time[rows], value[rows]), POINTS) for rows in (slice(None, cut), slice(cut, None))]
    return Line(label, np.concatenate([part.time_ms for part in parts]), np.concatenate([part.value for part in parts]))
