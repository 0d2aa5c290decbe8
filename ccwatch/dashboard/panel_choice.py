"""A dashboard's choice of panels and window, and the recorder that it holds. It must not know a widget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Protocol

import pandas as pd

from ccwatch.dashboard.computed import COMPUTED, of_function
from ccwatch.domain.durations import for_pandas
from ccwatch.errors import ConfigError, no_such
from ccwatch.figures.panels import DEFAULT_PANELS, PANELS, Panel, own_panel

DEFAULT_WINDOW_S: Final = 1800.0
"""The time that is shown by default, in seconds; 0 is everything."""


class Recorder(Protocol):
    """A running recording, as the record button holds it."""

    @property
    def path(self) -> Path:
        """Return the recording's path."""

    def stop(self) -> Any:
        """Make the recording durable and finish it."""


def choose_panels(panels: Any) -> tuple[Panel, ...]:
    """Return the panels asked for: names out of PANELS, "all", Panel objects, or functions of your own.

    A function takes the packets' frame and gives a Series or a DataFrame over its index, an array as long as the frame, a plotly
    Figure, or a dict of these. It is called about once a second with all that the view holds, on a thread of its own.

    Raises:
        ConfigError: an unknown name, twice the same, or none.
    """
    if panels is None:
        panels = DEFAULT_PANELS
    elif isinstance(panels, str) and panels == "all":
        panels = tuple(PANELS)
    elif isinstance(panels, str | Panel) or callable(panels):
        panels = (panels,)
    elif not isinstance(panels, Sequence):
        raise ConfigError(f"panels={panels!r}: expected names out of {', '.join(PANELS)}, or functions of your own")
    chosen = [_panel(panel) for panel in panels]
    names = [panel.name for panel in chosen]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"panels={panels!r}: expected each panel once, and at least one; there are {', '.join(PANELS)}")
    return tuple(chosen)


def _panel(panel: Any) -> Panel:
    if isinstance(panel, Panel):
        return panel
    if isinstance(panel, str) and panel in PANELS:
        found = PANELS[panel]
        return replace(found, compute=COMPUTED[panel]) if panel in COMPUTED else found
    if callable(panel):
        name = str(getattr(panel, "__name__", type(panel).__name__)).strip("<>")
        return own_panel(name, str(getattr(panel, "title", name.replace("_", " "))), of_function(panel, name))
    raise ConfigError(f"{no_such('panel', panel, PANELS)}, or a function of your own")


def choose_window(window: Any) -> float:
    """Return a window in seconds, given as a number, a timedelta or text such as "15min"; 0.0 (everything) for None, "all" and 0.

    Raises:
        ConfigError: not a length of time.
    """
    try:
        if window in {None, "all", 0}:
            return 0.0
        seconds = float(
            pd.Timedelta(window, unit="s").total_seconds()
            if isinstance(window, int | float)
            else pd.Timedelta(for_pandas(window)).total_seconds()
        )
    except (ValueError, TypeError):
        seconds = -1.0
    if not seconds > 0:
        raise ConfigError(f"window={window!r}: expected seconds, a timedelta or text such as '15min'")
    return seconds
