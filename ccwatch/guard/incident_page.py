"""The incident page: one offline HTML file of the minutes around an alert, written again until it is over. It knows no rule."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from ccwatch.alerts import Alert, reading

AROUND: Final = pd.Timedelta(minutes=15)
WIDTH, HEIGHT = 900, 130
MOST_POINTS: Final = 1_800
_CHARTS: Final = (("price", "price (USD)"), ("nav", "nav (USD)"), ("alpha", "alpha"), ("approved_size", "approved size"))
_MONEY: Final = frozenset({"nav", "cash", "daily_pnl"})
_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em;color:#1a1d21;background:#fff}"
    "h1{font-size:1.3em}table{border-collapse:collapse}td,th{padding:.15em .8em .15em 0;text-align:left;vertical-align:top}"
    ".open{color:#a4262c;font-weight:600}.over{color:#1d6b37;font-weight:600}svg{display:block;width:100%;height:auto;background:#f7f8f9}"
    "@media(prefers-color-scheme:dark){body{color:#e6e8eb;background:#111}svg{background:#1b1d20}.open{color:#ff8f8f}.over{color:#7fd39b}}"
)


_AMOUNT: Final = re.compile(r"[\u2212+-]?\$\s?[\u2212-]?\d[\d,.]*\d|[\u2212+-]?\$\s?\d|[\u2212+-]?\d[\d,.]*\s?USD")


def hides_money(drop: Sequence[str]) -> bool:
    """Return whether columns of money are among those to leave out."""
    return not _MONEY.isdisjoint(drop)


def without_amounts(line: str) -> str:
    """Return a line with each amount of dollars replaced by dots."""
    return _AMOUNT.sub("… USD", line)


def write_page(
    path: Path,
    alert: Alert,
    also: Sequence[Alert],
    frame: pd.DataFrame,
    *,
    explain: Sequence[str],
    remarks: Sequence[str],
    drop: Sequence[str] = (),
    is_synthetic: bool = False,
) -> None:
    """Write the page of an alert, whole or not at all.

    Args:
        path: the file to write.
        alert: the alert that the page is about.
        also: the other alerts that fire.
        frame: packets, of which those within 15 minutes of the firing are drawn.
        explain: lines of evidence.
        remarks: limits of the alert, a line each.
        drop: columns to leave out, such as nav.
        is_synthetic: whether the stream is made up.
    """
    fired = pd.Timestamp(alert.fired_ns, unit="ns", tz="UTC")
    rows = frame[(frame.index >= fired - AROUND) & (frame.index <= fired + AROUND)]
    hidden = set(drop)
    charts = [
        _chart(rows, column, title, fired)
        for column, title in _CHARTS
        if column in rows.columns and column not in hidden and rows[column].notna().any()
    ]
    value, worst = reading(alert.value, alert.unit), reading(alert.worst, alert.unit)
    values = "" if hides_money(drop) and alert.unit == "USD" else "; ".join(filter(None, (value, worst and f"worst {worst}")))
    state = '<span class="open">fires</span>' if alert.is_open else '<span class="over">is over</span>'
    facts = {
        "rule": alert.name,
        "meaning": alert.meaning,
        "severity": str(alert.severity),
        "fired": f"{alert.fired:%Y-%m-%d %H:%M:%S} UTC",
        "over": "" if alert.resolved is None else f"{alert.resolved:%Y-%m-%d %H:%M:%S} UTC",
        "values": values,
        "id": alert.id,
        "runbook": alert.runbook,
        "also": ", ".join(other.name for other in also),
    }
    table = "".join(f"<tr><th>{name}</th><td>{html.escape(value)}</td></tr>" for name, value in facts.items() if value)
    lines = "".join(f"<li>{html.escape(line)}</li>" for line in explain)
    limits = "".join(f"<p>{html.escape(line)}</p>" for line in remarks)
    badge = "<p><strong>SYNTHETIC stream</strong></p>" if is_synthetic else ""
    page = (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(alert.name)}</title>'
        f"<style>{_STYLE}</style></head>"
        f"<body><h1>{html.escape(alert.name)} {state}</h1>{badge}<table>{table}</table>{limits}"
        f"<h2>What differs</h2><ul>{lines or '<li>not worked out yet</li>'}</ul>"
        f"<h2>15 minutes around it</h2>{''.join(charts)}</body></html>"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(page, encoding="utf-8")
    part.replace(path)


def _chart(rows: pd.DataFrame, column: str, title: str, fired: pd.Timestamp) -> str:
    """Return a line chart of one column as SVG text, with a mark where the alert fired."""
    known = rows[column].dropna()
    step = max(1, len(known) // MOST_POINTS)
    known = known.iloc[::step]
    x = (pd.DatetimeIndex(known.index).as_unit("ns").asi8 - fired.as_unit("ns").value) / 1e9
    y = known.to_numpy(dtype=np.float64)
    low, high, left, right = float(y.min()), float(y.max()), float(x.min()), float(x.max())
    tall, wide = (high - low) or 1.0, (right - left) or 1.0

    def place(a: Any, b: Any) -> str:
        return f"{40 + (a - left) / wide * (WIDTH - 60):.1f},{HEIGHT - 22 - (b - low) / tall * (HEIGHT - 44):.1f}"

    points = " ".join(place(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True))
    mark = 40 + (0.0 - left) / wide * (WIDTH - 60)
    start, end = (f"{known.index[at]:%H:%M:%S}" for at in (0, -1))
    text = 'font-size="12" fill="currentColor"'
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(title)} from {start} to {end} UTC">'
        f'<text x="40" y="14" {text}>{html.escape(title)}: {low:,.6g} to {high:,.6g}</text>'
        f'<line x1="{mark:.1f}" x2="{mark:.1f}" y1="18" y2="{HEIGHT - 20}" stroke="#c72c76" stroke-dasharray="4 3"/>'
        f'<polyline points="{points}" fill="none" stroke="#3a7bd5" stroke-width="1.5"/>'
        f'<text x="40" y="{HEIGHT - 6}" {text}>{start}</text><text x="{WIDTH - 80}" y="{HEIGHT - 6}" {text}>{end} UTC</text></svg>'
    )
