"""The look of the figures, light and dark: colours, patterns, dashes and marks. It must not know any data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ccwatch.protocol.messages import Regime, Side


@dataclass(frozen=True, slots=True)
class RegimeStyle:
    """A regime by colour and by pattern, so that neither colour-blind readers nor a grey print lose it."""

    colour: str
    pattern: str
    """A plotly pattern shape; empty is solid."""


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours of one background. All lines reach a contrast of 3:1 on it."""

    text: str
    muted: str
    grid: str
    line: str
    line_engine: str
    buy: str
    sell: str
    flat: str
    hatch: str
    hover: str
    """Background of the hover box."""
    agents: tuple[str, ...]
    heat: tuple[str, str, str]
    """Colours of a service as usual, slow, very slow."""


REGIMES: Final[dict[str, RegimeStyle]] = {
    Regime.GAUSSIAN: RegimeStyle("#3A7BD5", ""),
    Regime.LEVY: RegimeStyle("#C98200", "/"),
    Regime.CRITICAL: RegimeStyle("#C72C76", "x"),
    Regime.UNKNOWN: RegimeStyle("#8A8A8A", "."),
}
"""Each reaches at least 3.15:1 on white and on #111."""

SIDES: Final[dict[str, str]] = {Side.BUY: "triangle-up", Side.SELL: "triangle-down", Side.FLAT: "circle"}
"""The mark of a change to this side."""

DASHES: Final = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
"""Taken in turn by the agents' lines: six agents differ by dash as well as by colour."""

LIGHT: Final = Theme(
    text="#1f2328",
    muted="#59636e",
    grid="#e3e6ea",
    line="#1f2328",
    line_engine="#C72C76",
    buy="#0072B2",
    sell="#B34700",
    flat="#59636e",
    hatch="#8A8A8A",
    hover="#ffffff",
    agents=("#0072B2", "#B34700", "#00795C", "#A3468A", "#7A6A00", "#3F4A57"),
    heat=("#9aa4af", "#C98200", "#C72C76"),
)
DARK: Final = Theme(
    text="#e6e8eb",
    muted="#a2a9b2",
    grid="#34383e",
    line="#e6e8eb",
    line_engine="#E8629F",
    buy="#56B4E9",
    sell="#F08A3C",
    flat="#a2a9b2",
    hatch="#8A8A8A",
    hover="#1d2024",
    agents=("#56B4E9", "#F08A3C", "#2FBF95", "#D68BBF", "#D9C84A", "#B9C2CC"),
    heat=("#5d656e", "#C98200", "#E8629F"),
)

FONT: Final = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"

PAPER: Final = ("#fff", "#111")
"""Background of what is shown on a page that may have either theme: light, dark."""


def theme(dark: bool) -> Theme:
    """Return the theme for a dark or a light background."""
    return DARK if dark else LIGHT


def layout(colours: Theme) -> dict[str, Any]:
    """Return the parts of a plotly layout that do not depend on what is shown. Backgrounds are left to the page."""
    return {
        "template": "none",  # plotly's own would come with each figure, and be read at each drawing
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 11, "color": colours.text},
        "hovermode": "x unified",
        "hoversubplots": "axis",
        "hoverlabel": {"bgcolor": colours.hover, "bordercolor": colours.grid, "font": {"color": colours.text, "size": 11}},
        "barmode": "overlay",
        "bargap": 0,
        "dragmode": "zoom",
        "margin": {"l": 76, "r": 28, "t": 28, "b": 84},
    }


def axis(colours: Theme, title: str) -> dict[str, Any]:
    """Return an axis with its title, units included."""
    return {
        "title": {"text": title, "font": {"size": 11, "color": colours.text}, "standoff": 6},
        "gridcolor": colours.grid,
        "linecolor": colours.muted,
        "tickcolor": colours.muted,
        "tickfont": {"color": colours.muted, "size": 10},
        "zeroline": False,
        "showline": True,
        "ticks": "outside",
        "ticklen": 3,
        "ticklabeloverflow": "allow",  # else plotly measures each label, a seventh of a drawing
    }
