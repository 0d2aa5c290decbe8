"""What the dashboard asks of that which it shows, and the windows and panels that it offers. It must not know a widget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Protocol

import pandas as pd

from ccwatch.dashboard.computed import COMPUTED, of_function
from ccwatch.errors import ConfigError, no_such
from ccwatch.figures.panels import DEFAULT_PANELS, PANELS, Panel, own_panel
from ccwatch.stream.source import Sink

DEFAULT_WINDOW_S: Final = 1800.0
"""The time that is shown where nobody says how much; 0 is everything."""


class View(Protocol):
    """What can be shown: a Feed or a Recording. Frames as `protocol.columns` lists them.

    A feed has more, which is asked for where it is there: `state`, `latest`, `health()`, `url`, `name`, `origin`, `add_sink`,
    `stop`.
    """

    def frame(self, columns: list[str] | None = None, last: Any = None) -> pd.DataFrame:
        """Packets, clean, sorted by time."""

    def agents(self, last: Any = None) -> pd.DataFrame:
        """The agents' table."""

    def events(self, last: Any = None) -> pd.DataFrame:
        """The events' table."""


class LiveView(View, Protocol):
    """A view that goes on."""

    def add_sink(self, sink: Sink, /) -> Callable[[], None]:
        """Deliver what arrives from now on to `sink`; the returned function takes it back."""

    def stop(self) -> None:
        """End the stream."""


class Recorder(Protocol):
    """What the record button holds while it records."""

    @property
    def path(self) -> Path:
        """Where the recording is."""

    def stop(self) -> Any:
        """Make it durable and finish it."""


def choose_panels(panels: Any) -> tuple[Panel, ...]:
    """The panels asked for: names out of PANELS, "all", panels, or functions of your own.

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
    """A window in seconds: None and 0 are everything; a number of seconds, a timedelta or text such as "15min".

    Raises:
        ConfigError: not a length of time.
    """
    try:
        if window in {None, "all", 0}:
            return 0.0
        seconds = float(
            pd.Timedelta(window, unit="s").total_seconds() if isinstance(window, int | float) else pd.Timedelta(window).total_seconds()
        )
    except (ValueError, TypeError):
        seconds = -1.0
    if not seconds > 0:
        raise ConfigError(f"window={window!r}: expected seconds, a timedelta or text such as '15min'")
    return seconds
