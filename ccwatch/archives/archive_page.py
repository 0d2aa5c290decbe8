"""The archive as one offline HTML page: equity, a calendar of days, the worst five with their reports, alerts and quality per day.

Everything is escaped, pictures are SVG, and there is no script. The reports of the worst five are written beside the page.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from ccwatch.analysis import Report
from ccwatch.archives.locations import open_place
from ccwatch.errors import AnalysisError, CcwatchError, ConfigError
from ccwatch.recording import MONEY, with_what_follows

WORST: Final = 5
_WIDTH, _HEIGHT, _CELL = 900, 220, 15
_UP, _DOWN = (26, 127, 90), (199, 44, 118)
_STYLE: Final = """
:root { color-scheme: light dark; --text: #1f2328; --muted: #59636e; --line: #d1d9e0; --page: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e8eb; --muted: #a2a9b2; --line: #34383e; --page: #111111; } }
body { margin: 0 auto; max-width: 75rem; padding: 1rem; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
a { color: inherit; } .note { color: var(--muted); font-size: .9em; } .scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85em; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .2rem .6rem; text-align: left; white-space: nowrap; }
section { margin-top: 2rem; } text { fill: var(--muted); font-size: 11px; }
.badge { border: 2px solid #9a6700; border-radius: 4px; padding: 0 .5rem; font-size: .6em; vertical-align: middle; }
"""


def write_page(archive: Any, path: Path, *, drop: Sequence[str], executor: Any, on_progress: Any) -> Path:
    """Write the page; see `Archive.to_html`."""
    dropped = with_what_follows((drop,) if isinstance(drop, str) else drop)
    money = not set(dropped) & set(MONEY)
    if path.suffix.lower() not in {".html", ".htm"}:
        raise ConfigError(f"{path.name}: expected a name that ends in .html")
    asked = {"executor": executor, "on_progress": on_progress}
    sections = []
    if money:
        sections += _of_money(archive, path, dropped, asked)
    else:
        sections.append("<section><h2>Performance</h2><p>Left out: the money.</p></section>")
    sections.append(_days(archive, asked, dropped))
    synthetic = " <span class='badge'>SYNTHETIC</span>" if (archive.sessions["origin"] == "synthetic").any() else ""
    title = f"The archive of {len(archive):,} sessions"
    text = (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{title}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{title}{synthetic}</h1><p class='note'>{_span(archive.sessions)}; times are UTC.</p>{''.join(sections)}</body></html>"
    )
    _write(path, text)
    return path


def _of_money(archive: Any, path: Path, dropped: Sequence[str], asked: dict[str, Any]) -> list[str]:
    try:
        performance = archive.performance(**asked)
    except AnalysisError as error:
        return [f"<section><h2>Performance</h2><p>{html.escape(str(error))}</p></section>"]
    days = performance.to_frame()
    equity = (
        f"<section><h2>Equity</h2><p>{html.escape(performance.headline())}</p>{_equity(days)}{_table(performance.metrics)}"
        f"{_notes(performance.notes)}</section>"
    )
    hint = "<p class='note'>Each cell is a day's return; days without a recording are empty.</p>"
    found = [equity, f"<section><h2>Days</h2>{_calendar(days)}{hint}</section>"]
    try:
        worst = archive.worst_drawdowns(WORST, **asked)
    except AnalysisError as error:
        return [*found, f"<section><h2>Worst drawdowns</h2><p>{html.escape(str(error))}</p></section>"]
    rows = worst.to_frame()
    places = archive.sessions["path"]
    links = {name: _report(str(places[name]), str(name), path, dropped) for name in dict.fromkeys(rows["session"])}
    head = "<tr><th>session</th><th>peak</th><th>trough</th><th>drawdown</th><th>USD</th><th>recovered</th><th>regimes</th></tr>"
    body = "".join(
        f"<tr><td>{_link(row.session, links[row.session])}</td><td>{row.peak_time:%Y-%m-%d %H:%M:%S}</td>"
        f"<td>{row.trough_time:%Y-%m-%d %H:%M:%S}</td>"
        f"<td>{row.depth:.2%}</td><td>{row.depth_usd:+,.2f}</td><td>{'no' if row.is_open else 'yes'}</td>"
        f"<td>{html.escape(str(row.regimes))}</td></tr>"
        for row in rows.itertuples()
    )
    table = f"<div class='scroll'><table>{head}{body}</table></div>"
    found.append(f"<section><h2>The worst {len(rows)}</h2><p>{html.escape(worst.headline())}</p>{table}</section>")
    return found


def _days(archive: Any, asked: dict[str, Any], dropped: Sequence[str]) -> str:
    """Return the section with alerts and quality of each day, as HTML."""
    sessions = archive.sessions
    day = sessions["start"].dt.floor("D")
    rows = pd.DataFrame(
        {
            "sessions": sessions.groupby(day).size(),
            "packets": sessions.groupby(day)["packets"].sum(),
            "halts": sessions.groupby(day)["halts"].sum(),
            "gaps": sessions.groupby(day)["gaps"].sum(),
            "damaged": sessions.groupby(day)["damaged"].sum(),
        }
    )
    notes = []
    if not dropped:  # rules judge what was left out, too
        try:
            fired = archive.ask("alerts", by="day", **asked).answers
            rows["alerts"] = pd.Series({name: len(answer.firings) for name, answer in fired.items()}).reindex(rows.index)
        except AnalysisError as error:
            notes.append(str(error))
    try:
        judged = archive.ask("quality", by="session", **asked).answers
        verdicts = pd.Series({name: str(answer.verdict) for name, answer in judged.items()})
        rows["verdicts"] = verdicts.groupby(day.reindex(verdicts.index)).agg(lambda words: ", ".join(sorted(set(words))))
    except AnalysisError as error:
        notes.append(str(error))
    table = rows.reset_index(names="day")
    table["day"] = table["day"].dt.strftime("%Y-%m-%d")
    return f"<section><h2>Alerts and quality by day</h2>{_table(table)}{_notes(notes)}</section>"


def _report(place: str, name: str, page: Path, dropped: Sequence[str]) -> str | None:
    """Write a session's report beside the page and return its relative address; None where it cannot be written."""
    folder = page.with_name(f"{page.stem}-reports")
    plain = re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip(".") or "session"
    try:
        folder.mkdir(exist_ok=True)
        Report(open_place(place)).to_html(folder / f"{plain}.html", drop=list(dropped))
    except (CcwatchError, OSError):
        return None
    return f"{folder.name}/{plain}.html"


def _link(name: str, address: str | None) -> str:
    return html.escape(name) if address is None else f'<a href="{html.escape(address)}">{html.escape(name)}</a>'


def _equity(days: pd.DataFrame) -> str:
    """Return equity over days as SVG; holes break the line."""
    values = days["equity"].to_numpy(dtype=np.float64)
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return ""
    low, high = float(values[known].min()), float(values[known].max())
    span = (high - low) or 1.0
    x = 60 + np.arange(len(values)) * (_WIDTH - 80) / max(1, len(values) - 1)
    y = _HEIGHT - 30 - (values - low) / span * (_HEIGHT - 50)
    stretches = np.split(known, np.flatnonzero(np.diff(known) > 1) + 1)
    lines = "".join(
        f"<polyline points='{' '.join(f'{x[i]:.1f},{y[i]:.1f}' for i in stretch)}' fill='none' stroke='#3A7BD5' stroke-width='2'/>"
        for stretch in stretches
    )
    dots = "".join(f"<circle cx='{x[i]:.1f}' cy='{y[i]:.1f}' r='2.5' fill='#3A7BD5'/>" for i in known)
    ends = f"<text x='0' y='22'>{high:,.0f} USD</text><text x='0' y='{_HEIGHT - 28}'>{low:,.0f} USD</text>"
    first, last = days.index[0], days.index[-1]
    axis = f"<text x='60' y='{_HEIGHT - 6}'>{first:%Y-%m-%d}</text><text x='{_WIDTH - 90}' y='{_HEIGHT - 6}'>{last:%Y-%m-%d}</text>"
    return (
        f"<div class='scroll'><svg viewBox='0 0 {_WIDTH} {_HEIGHT}' width='100%' role='img' aria-label='equity by day'>"
        f"{lines}{dots}{ends}{axis}</svg></div>"
    )


def _calendar(days: pd.DataFrame) -> str:
    """Return a calendar with a column per week and a row per day of the week; stronger colours are larger returns."""
    returns = days["return"]
    largest = float(returns.abs().max()) or 1.0
    monday = days.index[0] - pd.Timedelta(days=days.index[0].weekday())
    cells = []
    for day, value in zip(days.index, returns, strict=True):
        week = (day - monday).days // 7
        where = f"x='{36 + week * _CELL}' y='{day.weekday() * _CELL}' width='{_CELL - 2}' height='{_CELL - 2}'"
        if np.isnan(value):
            cells.append(f"<rect {where} fill='none' stroke='var(--line)'/>")
            continue
        red, green, blue = _UP if value >= 0 else _DOWN
        alpha = 0.2 + 0.8 * abs(value) / largest
        text = f"{day:%Y-%m-%d}: {value:+.2%}"
        cells.append(f"<rect {where} fill='rgba({red},{green},{blue},{alpha:.2f})'><title>{text}</title></rect>")
    names = "".join(
        f"<text x='0' y='{place * _CELL + 11}'>{name}</text>" for place, name in enumerate(("Mon", "", "Wed", "", "Fri", "", "Sun"))
    )
    weeks = (days.index[-1] - monday).days // 7 + 1
    width = 40 + weeks * _CELL
    head = f"<svg width='{width}' height='{7 * _CELL}' role='img' aria-label='return of each day'>"
    return f"<div class='scroll'>{head}{names}{''.join(cells)}</svg></div>"


def _table(frame: pd.DataFrame) -> str:
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in frame.columns)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(_cell(cell))}</td>' for cell in row)}</tr>" for row in frame.itertuples(index=False))
    return f"<div class='scroll'><table><tr>{head}</tr>{body}</table></div>"


def _cell(value: Any) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return "–"
    return f"{value:,.6g}" if isinstance(value, float) else str(value)


def _notes(notes: Sequence[str]) -> str:
    return "".join(f"<p class='note'>{html.escape(note)}</p>" for note in notes)


def _span(sessions: pd.DataFrame) -> str:
    known = sessions.dropna(subset=["start"])
    if not len(known):
        return "no packets"
    return f"{known['start'].min():%Y-%m-%d %H:%M} to {known['end'].max():%Y-%m-%d %H:%M}"


def _write(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
