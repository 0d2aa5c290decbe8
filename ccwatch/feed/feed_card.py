"""The card that a notebook shows for a feed: what is known now, and what is odd about the stream. Pure: values in, HTML out."""

from __future__ import annotations

import html
from typing import Final

import numpy as np
import pandas as pd

from ccwatch.domain.exposure import exposure
from ccwatch.feed.health import Health
from ccwatch.text import rounded

COLUMNS: Final = ["regime", "symbol", "price", "nav", "cash"]
ROWS: Final = 200
"""Newest packets among which the last known value of each column is looked for."""
_FAULTS: Final = {
    "gaps": ("gap", "gaps"),
    "reconnects": ("reconnection", "reconnections"),
    "malformed": ("unreadable message", "unreadable messages"),
    "oversize": ("message over the limit", "messages over the limit"),
    "unknown": ("message of an unknown type", "messages of unknown types"),
    "out_of_order": ("packet out of order", "packets out of order"),
    "skewed": ("packet off the server's clock", "packets off the server's clock"),
    "frozen": ("frozen packet", "frozen packets"),
    "dropped": ("item that a listener missed", "items that listeners missed"),
    "callback_errors": ("failure of a callback", "failures of callbacks"),
}
"""Counters of Health that are zero on a good day, with their words for one and for several."""


def card(health: Health, frame: pd.DataFrame, name: str) -> str:
    """Return the card as one HTML element, in which everything that the stream wrote is escaped.

    Args:
        health: the feed's health.
        frame: its newest clean packets, by time, with COLUMNS.
        name: the feed's name.
    """
    known = {column: frame[column].dropna().iloc[-1] for column in COLUMNS if frame[column].notna().any()}
    invested = float(exposure([known.get("nav", np.nan)], [known.get("cash", np.nan)])[0])
    price = f"{known['price']:,.2f} USD" if "price" in known else "–"
    facts = {
        "price": f"{known['symbol']} {price}" if "symbol" in known else price,
        "regime": str(known.get("regime", "–")),
        "nav": f"{known['nav']:,.2f} USD" if "nav" in known else "–",
        "exposure": "–" if np.isnan(invested) else f"{invested:.1%}".replace("-", "\N{MINUS SIGN}"),
        "rate": "–" if health.rate_hz is None else f"{rounded(health.rate_hz)} Hz",
        "last packet": "none yet" if health.age_s is None else f"{health.age_s:.1f} s ago",
        "packets": f"{health.packets:,}",
    }
    synthetic = " · SYNTHETIC" if "synthetic" in health.origin.lower() else ""
    head = f"{name} · {health.state}{f' · {health.status}' if health.status else ''}{synthetic}"
    cells = "".join(f"<td style='padding:0 14px 0 0'><small>{key}</small><br>{html.escape(value)}</td>" for key, value in facts.items())
    troubles = "".join(f"<div>⚠ {html.escape(trouble)}</div>" for trouble in odd(health))
    return (
        "<div style='border:1px solid #8a8a8a;border-radius:4px;padding:8px 12px;font:13px/1.5 system-ui,sans-serif'>"
        f"<b>{html.escape(head)}</b><table style='border:0;margin:2px 0'><tr>{cells}</tr></table>{troubles}</div>"
    )


def odd(health: Health) -> list[str]:
    """Return what is wrong with a stream, the reason why there is none first; empty on a good day."""
    found = [reason for reason in (health.error, health.silence) if reason]
    if health.error is None and health.server_error is not None:
        found.append(f"the server said: {health.server_error}")
    if health.retry_in_s is not None:
        found.append(f"next attempt in {health.retry_in_s:.0f} s")
    counts = [(getattr(health, counter), *words) for counter, words in _FAULTS.items()]
    words = ", ".join(f"{count:,} {one if count == 1 else many}" for count, one, many in counts if count)
    return [*found, *([words] if words else [])]
