"""The report as one HTML file that needs no network. It must not know a question, only the methods that every answer has."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
from typing import Any, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from ccwatch.analysis import draw
from ccwatch.analysis.quality import Quality
from ccwatch.analysis.quality_measures import OK
from ccwatch.analysis.result import Result, basis_line, count_of, html_table
from ccwatch.analysis.tiles import session_line, tiles
from ccwatch.analysis.usable_rows import numbers, select_rows
from ccwatch.errors import AnalysisError
from ccwatch.figures import figures
from ccwatch.figures.theme import DARK, LIGHT

OVERVIEW_ROWS: Final = 4000
ROWS_PER_TABLE: Final = 200

_STYLE: Final = """
:root {
  color-scheme: light dark; --bad: #b3123f;
  --text: #1f2328; --muted: #59636e; --line: #d1d9e0; --page: #ffffff; --loud: #fff1d6; --edge: #9a6700;
}
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e8eb; --muted: #a2a9b2; --line: #34383e; --page: #111111; --loud: #3a2d0d; --edge: #d4a72c; --bad: #ff7a9c; }
}
body { margin: 0 auto; max-width: 75rem; padding: 1rem; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
a { color: inherit; }
.badge, .loud { border: 2px solid var(--edge); background: var(--loud); border-radius: 4px; }
.badge { padding: 0 .5rem; font-weight: bold; font-size: .6em; vertical-align: middle; }
.loud { padding: .5rem 1rem; }
.note, .basis { color: var(--muted); font-size: .9em; }
.session { color: var(--muted); margin-top: -.5rem; }
.tiles { display: grid; grid-template-columns: repeat(4, 1fr); gap: .75rem; margin: 1rem 0; }
@media (max-width: 60rem) { .tiles { grid-template-columns: repeat(2, 1fr); } }
.tile { border: 1px solid var(--line); border-radius: 4px; padding: .5rem .75rem; break-inside: avoid; }
.tile b { display: block; font-size: 1.6rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.tile.bad { border-color: var(--bad); border-left-width: 5px; }
.tile.bad b { color: var(--bad); }
.tile small { color: var(--muted); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85em; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .2rem .6rem; text-align: left; white-space: nowrap; }
section { margin-top: 2.5rem; break-inside: avoid-page; }
@media print {
  nav { display: none; }
  details > * { display: block; }
  details::details-content { content-visibility: visible; block-size: auto; }
  .scroll { overflow: visible; }
  table { font-size: .6em; }
  th, td { white-space: normal; }
  tr { break-inside: avoid; }
}
"""

# Figures are drawn in the light theme; on a dark page their colours are exchanged for the dark theme's before they are drawn.
_SCRIPT: Final = """
const dark = matchMedia('(prefers-color-scheme: dark)');
const swap = JSON.parse(document.getElementById('colours').textContent);
function recoloured(value) {
  if (typeof value === 'string') return swap[value.toLowerCase()] ?? value;
  if (Array.isArray(value)) return value.map(recoloured);
  if (value && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, key === 'bdata' ? item : recoloured(item)]));
  }
  return value;
}
function drawAll() {
  for (const data of document.querySelectorAll('script.figure')) {
    let figure = JSON.parse(data.textContent);
    if (dark.matches) {
      figure = recoloured(figure);
      figure.layout.hoverlabel.bgcolor = swap.hover;
    }
    Plotly.react(data.dataset.place, figure.data, figure.layout, {responsive: true, displaylogo: false, displayModeBar: 'hover'});
  }
}
dark.addEventListener('change', drawAll);
drawAll();
"""


def render(
    *,
    title: str,
    is_synthetic: bool,
    happened: Sequence[tuple[str, str]],
    answers: Mapping[str, Result | AnalysisError],
    overview: go.Figure | None,
    why_not: Callable[[AnalysisError], str] = str,
    left_out: str = "",
) -> str:
    """Return the page as HTML. Everything that came from outside is escaped.

    Args:
        title: of the page.
        is_synthetic: whether it shows the badge SYNTHETIC.
        happened: question and sentence, for the beginning.
        answers: by question: the answer, or why there is none.
        overview: the picture after the first sentences.
        why_not: makes text of an error, for a question without an answer.
        left_out: says what was left out on purpose; empty where nothing was.
    """
    known = {question: answer for question, answer in answers.items() if isinstance(answer, Result)}
    badge = " <span class='badge'>SYNTHETIC</span>" if is_synthetic else ""
    sentences = "".join(f"<li>{html.escape(text)} <a href='#{question}'>evidence</a></li>" for question, text in happened)
    links = " · ".join(f"<a href='#{question}'>{html.escape(answer.title)}</a>" for question, answer in known.items())
    unanswered = "".join(
        f"<li><b>{html.escape(question.replace('_', ' '))}</b>: {html.escape(why_not(answer))}</li>"
        for question, answer in answers.items()
        if not isinstance(answer, Result)
    )
    hidden = f"<p class='loud'>{html.escape(left_out)}</p>" if left_out else ""
    parts = [
        f"<header><h1>{html.escape(title)}{badge}</h1>{hidden}<p class='session'>{html.escape(session_line(answers))}</p>",
        f"{_tiles(answers)}</header>",
        f"<section id='what-happened'><h2>What happened</h2><ol>{sentences or '<li>The data answer no question.</li>'}</ol></section>",
        _loud(answers.get("quality")),
        f"<nav>{links}</nav>",
        f"<section id='overview'><h2>Overview</h2>{_figure('overview', overview)}</section>" if overview is not None else "",
        *(_section(question, answer) for question, answer in known.items()),
        f"<section id='unanswered'><h2>Questions without an answer</h2><ul>{unanswered}</ul></section>" if unanswered else "",
    ]
    body = "\n".join(part for part in parts if part)
    return (
        f"<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style><script>{get_plotlyjs()}</script></head>\n"
        f"<body>\n{body}\n<script type='application/json' id='colours'>{_json(json.dumps(_dark_colours()))}</script>\n"
        f"<script>{_SCRIPT}</script>\n</body></html>\n"
    )


def overview_figure(
    packets: pd.DataFrame, agents: pd.DataFrame | None, events: pd.DataFrame | None, symbol: str | None = None
) -> go.Figure | None:
    """Draw the live view's four panels over the whole range, thinned to extremes; None for rows that cannot be shown."""
    if not {"seq", "connection", "symbol", "regime", "side", "price", "nav"} <= set(packets.columns):
        return None
    try:
        found = select_rows("overview", packets, events, symbol=symbol)
    except AnalysisError:
        return None
    frame = found.frame
    if len(frame) > OVERVIEW_ROWS:
        kept = [draw.thin(np.nan_to_num(numbers(frame[name])), OVERVIEW_ROWS // 3) for name in ("price", "nav", "alpha") if name in frame]
        changes = np.flatnonzero(
            frame["regime"].ne(frame["regime"].shift()).to_numpy() | frame["side"].ne(frame["side"].shift()).to_numpy()
        )
        frame = frame.iloc[np.unique(np.concatenate([*kept, changes[:OVERVIEW_ROWS], np.flatnonzero(found.broken)]))]
    if agents is not None and len(agents):
        agents = agents[np.isin(agents["seq"].to_numpy(), frame["seq"].to_numpy())]
    return figures.overview(frame, agents, events, panels=("price", "drawdown", "alpha", "latency"))


def _tiles(answers: Mapping[str, Result | AnalysisError]) -> str:
    found = "".join(
        f"<div class='tile{' bad' if tile.is_bad else ''}'>{html.escape(tile.label)}<b>{html.escape(tile.value)}</b>"
        f"<small>{html.escape(tile.detail)}</small></div>"
        for tile in tiles(answers)
    )
    return f"<div class='tiles'>{found}</div>"


def _loud(answer: Result | AnalysisError | None) -> str:
    """Return the data's quality as HTML where it limits the answers, else nothing."""
    if not isinstance(answer, Quality) or answer.verdict == OK:
        return ""
    reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in answer.reasons)
    return f"<div class='loud'><b>Data quality {html.escape(answer.verdict)}</b>: what follows is limited by<ul>{reasons}</ul></div>"


def _section(question: str, answer: Result) -> str:
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in answer.notes)
    table = answer.listed()
    rows = count_of(len(table), "row")
    return (
        f"<section id='{question}'><h2>{html.escape(answer.title)}</h2><p>{html.escape(answer.headline())}</p>"
        f"{f'<ul class=note>{notes}</ul>' if notes else ''}{_figure(question, answer.figure())}"
        f"<details><summary>table: {rows}</summary><div class='scroll'>{html_table(table, ROWS_PER_TABLE)}</div></details>"
        f"<p class='basis'>{html.escape(basis_line(answer.basis))}</p></section>"
    )


def _figure(name: str, figure: go.Figure) -> str:
    text = figure.update_layout(paper_bgcolor="rgba(0,0,0,0)").to_json()  # the page has the theme's own
    return f"<div id='figure-{name}'></div><script type='application/json' class='figure' data-place='figure-{name}'>{_json(text)}</script>"


def _json(text: str) -> str:
    """Return JSON escaped so that it cannot end the script element around it."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _dark_colours() -> dict[str, str]:
    """Return the dark theme's colour for each colour of the light theme."""
    pairs = list(zip(_flat(astuple(LIGHT)), _flat(astuple(DARK)), strict=True))
    return {light.lower(): dark for light, dark in pairs if light != LIGHT.hover} | {"hover": DARK.hover}


def _flat(values: Sequence[Any]) -> list[str]:
    return [item for value in values for item in (value if isinstance(value, tuple) else (value,))]
