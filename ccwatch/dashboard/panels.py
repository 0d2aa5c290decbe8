"""What the dashboard asks of that which it shows, and the windows and panels that it offers. It must not know a widget."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import pandas as pd

from ccwatch.errors import ConfigError
from ccwatch.figures.figures import PANELS
from ccwatch.source import Sink

WINDOWS: Final[dict[str, float]] = {"5 min": 300.0, "15 min": 900.0, "1 h": 3600.0, "all": 0.0}
"""The windows of the chooser, in seconds; 0 is everything."""


class View(Protocol):
    """What can be shown: a Feed or a Recording. Frames as in DESIGN section 4.

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


def choose_panels(names: Any) -> tuple[str, ...]:
    """The panels asked for.

    Raises:
        ConfigError: an unknown name, or none.
    """
    if names is None:
        return tuple(PANELS)
    chosen = (names,) if isinstance(names, str) else tuple(names)
    unknown = [name for name in chosen if name not in PANELS]
    if unknown or not chosen:
        raise ConfigError(f"no panel {unknown[0] if unknown else 'chosen'!r}; there are {', '.join(PANELS)}")
    return chosen


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
