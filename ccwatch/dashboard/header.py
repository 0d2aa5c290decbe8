"""The dashboard's header: what is known of a view at a moment, and its HTML. Pure but for observe(); no widget, no thread.

Everything that the stream wrote is escaped. Nothing is said by colour alone.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from ccwatch.dashboard.panels import View
from ccwatch.protocol.messages import ConnectionState

_COLUMNS: Final = ["status", "symbol", "regime", "nav", "cash", "daily_pnl", "max_drawdown"]
_ROWS: Final = 50
"""How far back a value is looked for that the newest packet does not carry."""
_TEXT_LIMIT: Final = 60
OVER: Final = frozenset({ConnectionState.ENDED, ConnectionState.STOPPED})
"""States in which nothing more will come."""
_MOODS: Final = {
    ConnectionState.OPEN: "good",
    ConnectionState.LATE: "warn",
    ConnectionState.STALE: "bad",
    ConnectionState.DISCONNECTED: "bad",
    ConnectionState.CONNECTING: "warn",
}


@dataclass(frozen=True, slots=True)
class Observation:
    """A view at a moment. Money in USD, drawdown a fraction, times in seconds; NaN and None are "not known"."""

    state: ConnectionState | None = None
    """None: a recording."""
    is_past: bool = False
    """Whether nobody looks any more: the state is the one that was seen last."""
    is_growing: bool = False
    """Whether it is a recording that is still being written."""
    retry_s: float = math.nan
    age_s: float = math.nan
    gaps: int = 0
    reconnects: int = 0
    packets: int = 0
    origin: str = ""
    error: str = ""
    status: str | None = None
    symbol: str | None = None
    regime: str | None = None
    nav: float = math.nan
    cash: float = math.nan
    daily_pnl: float = math.nan
    drawdown: float = math.nan


def observe(view: View) -> Observation:
    """Look at a view. What the newest packet does not carry is taken from one of those shortly before it."""
    latest = getattr(view, "latest", None)
    found = {name: value for name in _COLUMNS if not _missing(value := getattr(latest, name, None))}
    if len(found) < len(_COLUMNS):
        frame = view.frame(_COLUMNS, _ROWS)
        found = {name: known.iloc[-1] for name in _COLUMNS if len(known := frame[name].dropna())} | found
    health = _health(view)
    return Observation(
        state=getattr(view, "state", None),
        is_growing=getattr(view, "status", None) == "open",
        retry_s=_float(health.get("retry_in_s")),
        age_s=_float(health.get("age_s")),
        gaps=int(health.get("gaps") or 0),
        reconnects=int(health.get("reconnects") or 0),
        packets=int(health.get("packets") or 0),
        origin=str(getattr(view, "origin", "") or ""),
        error=str(health.get("error") or ""),
        status=_word(found.get("status")),
        symbol=_word(found.get("symbol")),
        regime=_word(found.get("regime")),
        nav=_float(found.get("nav")),
        cash=_float(found.get("cash")),
        daily_pnl=_float(found.get("daily_pnl")),
        drawdown=_float(found.get("max_drawdown")),
    )


def render(seen: Observation, *, recording: str = "", trouble: str = "", note: str = "") -> str:
    """The header as HTML.

    Args:
        seen: what to show.
        recording: one line on the recording that runs or was made.
        trouble: one line on what went wrong, or nothing.
        note: what was done to the view, in words: that its charts are paused, or that it was stopped.
    """
    state, mood = state_words(seen)
    if seen.is_past and seen.state is not None and seen.state not in OVER:
        state, mood = f"{state}, when the view was stopped", "idle"
    badges = [_badge(state, mood, "state")]
    if "synthetic" in seen.origin.lower():
        badges.append(_badge("SYNTHETIC", "synthetic", "origin"))
    if note:
        badges.append(_badge(note, "warn", "note"))
    if recording:
        badges.append(_badge(recording, "record", "recording"))
    facts = [
        ("last packet", "never" if math.isnan(seen.age_s) else f"{duration(seen.age_s)} ago", "age"),
        ("symbol", seen.symbol or "–", "symbol"),
        ("status", seen.status or "–", "status"),
        ("regime", seen.regime or "–", "regime"),
        ("nav", money(seen.nav), "nav"),
        ("cash", money(seen.cash), "cash"),
        ("day's P&L", money(seen.daily_pnl, sign=True), "pnl"),
        ("max drawdown", "–" if math.isnan(seen.drawdown) else f"{seen.drawdown:.2%}", "drawdown"),
        ("gaps", f"{seen.gaps}, and reconnected {seen.reconnects}×" if seen.reconnects else str(seen.gaps), "gaps"),
    ]
    if seen.state is None or seen.state in OVER:
        facts = facts[1:]  # no age where nothing more will come
    cells = "".join(f'<div class="ccw-fact"><i>{_text(name)}</i><b data-ccw="{key}">{_text(value)}</b></div>' for name, value, key in facts)
    warning = f'<div class="ccw-trouble" role="alert" data-ccw="trouble">{_text(trouble, 300)}</div>' if trouble else ""
    return f'<div class="ccw-header"><div class="ccw-badges">{"".join(badges)}</div><div class="ccw-facts">{cells}</div>{warning}</div>'


def state_words(seen: Observation) -> tuple[str, str]:
    """The state in words, and its mood: good, warn, bad or idle."""
    match seen.state:
        case None:
            return ("Recording in progress", "good") if seen.is_growing else ("Recording", "idle")
        case ConnectionState.OPEN:
            words = "Connected"
        case ConnectionState.LATE:
            words = "Connected, but the next packet is late"
        case ConnectionState.STALE:
            words = "Stale: connected, but nothing comes"
        case ConnectionState.DISCONNECTED:
            words = "Disconnected"
            if not math.isnan(seen.retry_s):
                words += f", next try in {max(0, math.ceil(seen.retry_s))} s"
        case ConnectionState.CONNECTING:
            words = "Connecting"
        case ConnectionState.ENDED:
            words = "The stream has ended"
        case _:
            words = "Stopped"
    return words + (f" ({seen.error})" if seen.error and seen.state == ConnectionState.DISCONNECTED else ""), _MOODS.get(seen.state, "idle")


def duration(seconds: float) -> str:
    """A length of time, coarse enough not to change more than once a second."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def money(value: float, *, sign: bool = False) -> str:
    """USD with two decimals; a dash where it is not known."""
    if math.isnan(value):
        return "–"
    mark = "-" if value < 0 else "+" if sign else ""
    return f"{mark}${abs(value):,.2f}"


def _health(view: View) -> dict[str, Any]:
    ask = getattr(view, "health", None) or getattr(view, "info", None)  # a recording tells its gaps, too
    return dict(ask().to_dict()) if callable(ask) else {}


def _missing(value: Any) -> bool:
    return value is None or bool(pd.isna(value))


def _float(value: Any) -> float:
    return math.nan if _missing(value) else float(value)


def _word(value: Any) -> str | None:
    return None if _missing(value) else str(value)


def _text(value: str, limit: int = _TEXT_LIMIT) -> str:
    return html.escape(value if len(value) <= limit else value[: limit - 1] + "…")


def _badge(words: str, mood: str, key: str) -> str:
    return f'<span class="ccw-badge ccw-{mood}" data-ccw="{key}">{_text(words, 160)}</span>'
