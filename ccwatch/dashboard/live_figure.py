"""LiveFigure: the one widget that is the picture. It carries bytes to the page and requests back; it knows no feed."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from threading import Lock, RLock
from typing import Any, Final

import anywidget
import plotly
import traitlets

_PAGE: Final = Path(__file__).with_name("page")


class Serialised:
    """Mixin of a widget: what the page sends is handled with `lock` held, on whatever thread it arrives."""

    def __init__(self, *args: Any, lock: RLock, **kwargs: Any) -> None:
        self._serialising = lock  # serialises the page's callbacks with the publisher: ipywidgets' own state is not thread-safe
        super().__init__(*args, **kwargs)

    def _handle_msg(self, message: Any) -> None:
        with self._serialising:
            super()._handle_msg(message)  # type: ignore[misc] # the widget has it


PARTS: Final = (
    *("legend.js", "rows.js", "side.js", "store.js", "cursor.js", "timeline.js", "answer.js", "alerts.js", "commands.js"),
    "live_figure.js",
)
"""The page's half, in the order in which it is put together."""


class LiveFigure(Serialised, anywidget.AnyWidget):
    """All panels as subplots of one figure, drawn in the page from typed columns.

    Messages to the page: `source` (plotly, compressed), `full`, `older`, `rows`, `computed`, see `wire`; `side` (see `side`) and
    `answer`, `armed`. From the page: `ready` (send everything), `painted` (the first picture is there), `asleep` (no view of it is
    left there), `pause`, `mark`, `ask`, `acknowledge` and `command`.
    """

    _esm = "\n".join((_PAGE / name).read_text(encoding="utf-8") for name in PARTS)  # a widget is one module
    _css = "\n".join((_PAGE / name).read_text(encoding="utf-8") for name in ("live_figure.css", "alerts.css"))
    plotly_version = traitlets.Unicode(plotly.__version__).tag(sync=True)
    window_s = traitlets.Float(0.0).tag(sync=True)
    """The time that the axis spans, in seconds; 0 is everything."""
    zoom = traitlets.List(traitlets.Float()).tag(sync=True)
    """The range that is shown, chosen by hand: two times in ms of the display zone's wall clock; empty follows the stream."""

    def on_request(self, answer: Callable[[dict[str, Any]], None]) -> None:
        """Call `answer(content)` for each request of the page, with the lock held."""
        self.on_msg(lambda _, content, __: answer(content) if isinstance(content, dict) else None)


_COMPRESSING: Final = Lock()  # serialises the first two who want plotly's source, so that it is compressed once


def plotly_source() -> bytes:
    """Plotly's own JavaScript, compressed: about 1.5 MB, sent once per page."""
    with _COMPRESSING:
        return _compressed()


@cache
def _compressed() -> bytes:
    return gzip.compress(files("plotly").joinpath("package_data/plotly.min.js").read_bytes(), compresslevel=6, mtime=0)
