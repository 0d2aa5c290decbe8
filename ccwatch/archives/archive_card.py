"""The card of an archive: a table that sorts by a click on a column's head, with a small picture of each nav. All text is escaped."""

from __future__ import annotations

import html
import math
import secrets
from collections.abc import Sequence
from typing import Any, Final

import pandas as pd

ROWS: Final = 200
"""Most sessions that a card shows, the newest first."""
WIDTH, HEIGHT = 90, 20
_HEADS: Final = ("session", "start (UTC)", "nav", "P&L (USD)", "drawdown", "halts", "tags", "note", "status")
_NUMBERS: Final = ("P&L (USD)", "drawdown", "halts")
_STYLE: Final = """
#ID th { cursor: pointer; text-align: left; }
#ID td { text-align: left; }
#ID th.number, #ID td.number { text-align: right; font-variant-numeric: tabular-nums; }
#ID td:nth-child(-n+2) { white-space: nowrap; }
#ID th[aria-sort=ascending]::after { content: " \\25B2"; }
#ID th[aria-sort=descending]::after { content: " \\25BC"; }
"""
_SORT: Final = """
(function(){
  const table = document.getElementById("ID");
  if (!table) return;
  table.querySelectorAll("th").forEach((head, place) => {
    const sort = () => {
      const way = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", way);
      const body = table.tBodies[0];
      const key = (row) => row.cells[place].dataset.key ?? "";
      const number = (text) => (text === "" ? NaN : Number(text));
      const rows = Array.from(body.rows);
      const numeric = rows.every((row) => key(row) === "" || !Number.isNaN(number(key(row))));
      rows.sort((a, b) => {
        const x = key(a), y = key(b);
        if (x === "" || y === "") return (x === "") - (y === "");
        const order = numeric ? number(x) - number(y) : x.localeCompare(y);
        return way === "ascending" ? order : -order;
      });
      body.append(...rows);
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
  });
})();
"""


def card(frame: pd.DataFrame, curves: Sequence[Sequence[float]], *, title: str) -> str:
    """Return the sessions as an HTML table.

    Args:
        frame: `Archive.sessions`.
        curves: nav of each session at a few moments, USD.
        title: the place of the sessions.
    """
    name = f"ccwatch-{secrets.token_hex(6)}"
    rows = sorted(zip(frame.itertuples(), curves, strict=True), key=lambda row: _order(row[0]), reverse=True)
    heads = "".join(f"<th scope='col' tabindex='0'{_kind(head)}>{html.escape(head)}</th>" for head in _HEADS)
    body = "".join(_row(row, curve) for row, curve in rows[:ROWS])
    more = f"<p><small>{len(rows) - ROWS:,} more sessions; <code>archive.sessions</code> holds all</small></p>" if len(rows) > ROWS else ""
    return (
        f"<div class='ccwatch-archive'><style>{_STYLE.replace('ID', name)}</style>"
        f"<table id='{name}'><caption>{html.escape(title)}: {len(frame):,} sessions</caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>{more}</div><script>{_SORT.replace('ID', name)}</script>"
    )


def sparkline(curve: Sequence[float]) -> str:
    """Return a few values as a small SVG line; an empty text for fewer than two."""
    if len(curve) < 2:
        return ""
    low, high = min(curve), max(curve)
    span = (high - low) or 1.0
    points = " ".join(
        f"{place * WIDTH / (len(curve) - 1):.1f},{HEIGHT - 2 - (value - low) / span * (HEIGHT - 4):.1f}"
        for place, value in enumerate(curve)
    )
    return (
        f"<svg width='{WIDTH}' height='{HEIGHT}' role='img' aria-label='nav'><polyline points='{points}' fill='none' "
        "stroke='currentColor' stroke-width='1.2'/></svg>"
    )


def _order(row: Any) -> tuple[bool, Any]:
    return (not pd.isna(row.start), row.start.value if not pd.isna(row.start) else 0)


def _row(row: Any, curve: Sequence[float]) -> str:
    start = "" if pd.isna(row.start) else f"{row.start:%Y-%m-%d %H:%M}"
    synthetic = " · SYNTHETIC" if row.origin == "synthetic" else ""
    status = row.status + (f" · {row.damaged} damaged" if row.damaged and not row.status.startswith("unreadable") else "")
    cells = [
        (row.Index, html.escape(row.Index)),
        (start, start),
        (_key(curve[-1] if curve else float("nan")), sparkline(curve)),
        (_key(row.nav_change), "–" if pd.isna(row.nav_change) else f"{row.nav_change:+,.2f}".replace("-", "\N{MINUS SIGN}")),
        (_key(row.max_drawdown), "–" if pd.isna(row.max_drawdown) else f"{row.max_drawdown:.2%}".replace("-", "\N{MINUS SIGN}")),
        (_key(row.halts), f"{row.halts:,}"),
        (", ".join(row.tags), html.escape(", ".join(row.tags))),
        (row.note, html.escape(row.note)),
        (status, html.escape(status + synthetic)),
    ]
    shown = (f'<td{_kind(head)} data-key="{html.escape(str(key))}">{cell}</td>' for head, (key, cell) in zip(_HEADS, cells, strict=True))
    return f"<tr>{''.join(shown)}</tr>"


def _kind(head: str) -> str:
    return " class='number'" if head in _NUMBERS else ""


def _key(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))
