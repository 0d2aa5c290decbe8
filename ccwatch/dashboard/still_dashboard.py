"""Pictures of a dashboard for where no widget can be shown: one that was asked for, or words and the market alone. No thread.

A notebook is saved with the output of its cells, and goes into git. So the output that comes with the widget unasked contains nothing
of the account: no nav, no cash, no drawdown, no signal. Where a Jupyter server or VS Code runs the kernel, whose page can show the widget
or can be made to, it is words alone; elsewhere (nbconvert, papermill, a bare kernel) the price and the regime are drawn too.
"""

from __future__ import annotations

import contextlib
import html
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import HTML, display

from ccwatch.errors import ConfigError
from ccwatch.figures.figures import overview
from ccwatch.figures.panels import Line, Panel
from ccwatch.figures.still_figure import svg
from ccwatch.figures.theme import PAPER
from ccwatch.stream.dataframes import default_columns
from ccwatch.stream.view import View

MARKET_COLUMNS: Final = ["seq", "connection", "symbol", "regime", "side", "price", "confidence", "approved_size", "nav"]
"""Columns that the figure of the price is made from; only price, regime and gaps are drawn."""
MARKET_ROWS: Final = 20_000
"""The figure shows at most so many of the newest rows."""
_PAGES: Final = ("JPY_SESSION_NAME", "VSCODE_PID")
"""Set where a page runs the kernel: by jupyter_server since 2.0, and by VS Code (plotly looks for it too)."""
_INSTALL: Final = "Run the cell again. If this text comes back: pip install 'ccwatch[lab]'"
_DOCTOR: Final = "ccwatch doctor --lab says what is missing."
HOMES: Final = {
    "marimo": ("marimo", "Run the cell again: marimo shows the live dashboard as the value of a cell."),
    "colab": ("Colab", "Run first, in a cell: from google.colab import output; output.enable_custom_widget_manager()"),
    "vscode": ("VS Code", f"Install the extension Jupyter, set jupyter.widgetScriptSources, then run the cell again. {_DOCTOR}"),
    "hub": ("JupyterHub", f"{_INSTALL} in your server's own environment, then restart that server from the hub. {_DOCTOR}"),
    "jupyter": ("Jupyter", f"{_INSTALL} where Jupyter runs, and reload the page; {_DOCTOR}"),
    "none": ("a kernel without a page (nbclient, papermill, nbconvert)", f"Open it in JupyterLab and run the cell there. {_DOCTOR}"),
}
"""The name of each home, and what helps in it."""
PICTURES: Final = (
    "For a picture that may be saved, nav included: dashboard.still(); for one file that needs no kernel: dashboard.to_html('view.html')."
)


@dataclass(frozen=True, slots=True, repr=False)
class Still:
    """A picture of a dashboard at a moment; as the value of a cell it is saved with the notebook, and shown wherever that is read."""

    svg: str
    """One `<svg>` element."""
    title: str

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture as an SVG file; return its path."""
        target = Path(path)
        target.write_text(self.svg, encoding="utf-8")
        return target

    def __repr__(self) -> str:
        return f"<Still of {self.title}>"

    def _repr_svg_(self) -> str:
        return self.svg


def has_page() -> bool:
    """Return whether the kernel was started for a page, as far as its environment variables show."""
    return any(name in os.environ for name in _PAGES)


def home() -> str:
    """Return where the notebook is shown, a key of HOMES, as far as modules and environment variables show."""
    if "marimo" in sys.modules:
        return "marimo"
    if "google.colab" in sys.modules:
        return "colab"
    if "VSCODE_PID" in os.environ:
        return "vscode"
    if "JUPYTERHUB_USER" in os.environ:
        return "hub"
    return "jupyter" if has_page() else "none"


def leave_words() -> None:
    """Display words that the widget's own style hides, and that a page shows which was reloaded after the kernel had gone.

    Jupyter says there only that a model was not found. Where no page runs the kernel the card, which goes with the widget, is shown.
    """
    if has_page() and InteractiveShell.initialized():
        _, help_ = HOMES[home()]
        words = f"Live charts of ccwatch were here; they went with their kernel. Run the cell again (Shift+Enter) to see them. {help_}"
        display(HTML(f'<div class="ccw-words-left">{html.escape(words)}</div>'))  # type: ignore[no-untyped-call] # IPython has no types here


def charts(view: View, panels: Sequence[Panel], *, tz: str, dark: bool = False) -> Any:
    """Return all of a view's charts, the account's included, as a plotly figure that needs no kernel."""
    return overview(
        view.frame([*default_columns("packets"), "reasoning"]),
        view.agents(),
        view.events(),
        tz=tz,
        dark=dark,
        panels=panels,
        models=view.models(),
        lines=_computed(view, panels),
    )


def _computed(view: View, panels: Sequence[Panel]) -> dict[str, Sequence[Line]]:
    """Return the computed lines by panel; a panel that fails has none (the header of a live view reports it)."""
    found: dict[str, Sequence[Line]] = {}
    for panel in panels:
        if panel.compute is not None:
            found[panel.name] = ()
            with contextlib.suppress(Exception):
                found[panel.name] = panel.compute(view)
    return found


def write_html(figure: Any, path: Path, title: str, *, dark: bool = False) -> Path:
    """Write a figure as one offline HTML file, whole or not at all; return its path."""
    if path.is_dir() or not path.parent.is_dir():
        raise ConfigError(f"path={str(path)!r}: expected a file to write in a folder that exists, for example view.html")
    words = html.escape(title)
    figure.update_layout(title={"text": words, "font": {"size": 12}, "x": 0, "y": 1, "yanchor": "top", "pad": {"t": 6, "l": 8}})
    scheme = "dark" if dark else "light"
    head = f'<meta charset="utf-8"><title>{words}</title><style>:root {{ color-scheme: {scheme}; background: {PAPER[dark]} }}</style>'
    charts = figure.to_html(include_plotlyjs=True, full_html=False)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{charts}</body></html>\n', encoding="utf-8")
    partial.replace(path)
    return path


def market(view: View, *, tz: str, heading: str) -> str:
    """Return the price with its regimes as SVG text; nothing of the account, no signals."""
    frame = view.frame(MARKET_COLUMNS, MARKET_ROWS)
    for name in ("side", "nav"):
        frame[name] = None
    figure = overview(frame.astype({"nav": "float64"}), None, view.events(), tz=tz, panels=("price",))
    return svg(figure, heading=heading)


def card(title: str, picture: str = "") -> str:
    """Return the HTML that goes with the widget, for pages that show no widgets."""
    name, help_ = HOMES[home()]
    return (
        '<div style="border:1px solid #8a8a8a;border-radius:4px;padding:8px 12px;font:13px/1.5 system-ui,sans-serif">'
        f"<b>{html.escape(title)}</b><br>The live charts are not here: their kernel is gone, or this page shows no Jupyter widgets. "
        f"This notebook was run in {html.escape(name)}. {html.escape(help_)} {html.escape(PICTURES)}{picture}</div>"
    )
