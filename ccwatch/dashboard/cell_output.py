"""CellOutput: what a cell's output holds of a dashboard: the widget, a card, a picture, a file. No thread, no page's request."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import Any

from ccwatch.dashboard import still_dashboard
from ccwatch.dashboard.widget import PageWidget
from ccwatch.figures.panels import Panel
from ccwatch.figures.still_figure import svg
from ccwatch.figures.theme import PAPER
from ccwatch.stream.view import LiveView, View, name_of


class CellOutput(PageWidget):
    """A page's widget that leaves words and pictures where no widget can be shown; the base of Dashboard, which sets its attributes."""

    view: View
    _panels: tuple[Panel, ...]
    _tz: str
    _lock: threading.RLock
    _stopping: threading.Event

    def still(self, *, dark: bool = False) -> still_dashboard.Still:
        """Return a picture of the charts as they are now, nav included; as the value of a cell it is saved with the notebook."""
        figure = still_dashboard.charts(self.view, self._panels, tz=self._tz, dark=dark)
        return still_dashboard.Still(svg(figure, heading=self._title(), paper=PAPER[dark]), self._title())

    def to_html(self, path: str | os.PathLike[str], *, dark: bool = False) -> Path:
        """Write the charts as one offline HTML file; return its path."""
        return still_dashboard.write_html(
            still_dashboard.charts(self.view, self._panels, tz=self._tz, dark=dark), Path(path), self._title(), dark=dark
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        with self._lock:
            self._wanted()
        still_dashboard.leave_words()
        bundle = super()._repr_mimebundle_(**kwargs)
        data: Any = bundle[0] if isinstance(bundle, tuple) else bundle
        data["text/plain"] = repr(self)
        data["text/html"] = self._card()
        return bundle

    def _card(self) -> str:
        """Return the HTML for a page that cannot show widgets; see the module `still_dashboard` for what it may contain."""
        picture = ""
        if not still_dashboard.has_page():
            with contextlib.suppress(Exception):  # the widget is shown all the same
                picture = still_dashboard.market(self.view, tz=self._tz, heading=self._title())
        return still_dashboard.card(self._title(), picture)

    def _title(self) -> str:
        synthetic = "SYNTHETIC · " if "synthetic" in self.view.origin.lower() else ""
        return f"{synthetic}ccwatch, {self._name}, {self._state}"

    @property
    def _name(self) -> str:
        view = self.view
        return (view.name if isinstance(view, LiveView) else name_of(view)) or "a stream"

    @property
    def _state(self) -> str:
        if self._stopping.is_set():
            return "stopped"
        return str(self.view.state) if isinstance(self.view, LiveView) else "recording"

    def __repr__(self) -> str:
        return f"<Dashboard of {self._name}, {self._state}; charts need a notebook (`ccwatch doctor --lab`), or dashboard.to_html(path)>"
