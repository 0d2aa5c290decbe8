"""PageWidget: the base of Dashboard and its only widget. It carries bytes to the page and requests back; it knows no feed."""

from __future__ import annotations

import gzip
from functools import cache
from importlib.resources import files
from pathlib import Path
from threading import Lock, RLock
from typing import Any, Final

import anywidget
import plotly
import traitlets

from ccwatch.dashboard.bundle import join, pack

_PAGE: Final = Path(__file__).with_name("page")
STYLES: Final = ("style.css", "alerts.css")


class PageWidget(anywidget.AnyWidget):
    """A dashboard's whole page: status, charts, tables, controls. The page's messages are handled with `lock` held, on any thread.

    Messages to the page, each with the place of its `stream`: `source` (plotly, compressed), `full`, `older`, `rows`, `computed` (see
    `wire`), `side` (see `side_tables` and `status_line`), `answer`, `armed`. From the page: `ready` (send everything), `painted` (the
    first picture is there), `asleep` (no view of it is left there), `pause`, `record`, `mark`, `ask`, `select`, `acknowledge`, `command`.

    ipywidgets keeps every widget that has a comm for ever, so this one has none before it is shown, alone or within another widget.
    """

    _esm = pack(join(_PAGE / "main.js"))
    _css = "\n".join((_PAGE / name).read_text(encoding="utf-8") for name in STYLES)
    plotly_version = traitlets.Unicode(plotly.__version__).tag(sync=True)
    window_s = traitlets.Float(1800.0).tag(sync=True)
    """The time that the axis spans, in seconds; 0 is everything."""
    zoom = traitlets.List(traitlets.Float()).tag(sync=True)
    """The range that is shown, chosen by hand: two times in ms of the display zone's wall clock; empty follows the stream."""

    def __init__(self, *, lock: RLock, **traits: Any) -> None:
        self._serialising = lock  # serialises the page's callbacks with the publisher: ipywidgets' own state is not thread-safe
        self._is_wanted = False
        super().__init__(**traits)

    def open(self) -> None:
        """Open the comm, once something wants to show the widget."""
        if self._is_wanted:
            super().open()

    @property
    def model_id(self) -> str:
        """Return the comm's id, by which pages and other widgets refer to this one; reading it opens the comm."""
        if self.comm is None:
            with self._serialising:
                self._is_wanted = True
                self._wanted()
                self.open()
        return str(super().model_id)

    def _wanted(self) -> None:
        """Prepare for a page's first request; called when something is about to show the widget."""

    def _answer(self, content: dict[str, Any]) -> None:
        """Handle a request of a page; called with the lock held."""

    def _handle_msg(self, message: Any) -> None:
        with self._serialising:
            super()._handle_msg(message)

    def _handle_custom_msg(self, content: Any, buffers: Any) -> None:
        super()._handle_custom_msg(content, buffers)
        if isinstance(content, dict):
            self._answer(content)


_COMPRESSING: Final = Lock()  # serialises the first two calls, so that plotly's source is compressed once


def plotly_source() -> bytes:
    """Return plotly's own JavaScript, gzip-compressed: about 1.5 MB, sent once per page."""
    with _COMPRESSING:
        return _compressed()


@cache
def _compressed() -> bytes:
    return gzip.compress(files("plotly").joinpath("package_data/plotly.min.js").read_bytes(), compresslevel=6, mtime=0)
