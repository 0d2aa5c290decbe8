"""The worst drawdowns of many sessions: the deepest of each session, compared. It knows sessions by their names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd
import plotly.graph_objects as go

from ccwatch.analysis import Basis, Report, Result, clock, count_of, draw, percent
from ccwatch.archives.ask import collect, nothing_found
from ccwatch.archives.kernels import WHOLE
from ccwatch.archives.locations import open_place
from ccwatch.archives.sessions import Session
from ccwatch.errors import ConfigError


@dataclass(frozen=True, eq=False, repr=False)
class WorstDrawdowns(Result):
    """The deepest episodes of drawdown of many sessions, each below the peak of its own session.

    Attributes:
        episodes: one row per episode, the deepest first; see `to_frame`.
        sessions: count of the sessions that were asked.
        basis: n counts samples of nav or price.
        notes: the limits of the answer.
    """

    question: ClassVar[str] = "worst_drawdowns"
    title: ClassVar[str] = "Worst drawdowns"
    episodes: pd.DataFrame
    sessions: int
    basis: Basis
    notes: tuple[str, ...]

    def headline(self) -> str:
        """Return a sentence about the deepest drawdown of all."""
        if not len(self.episodes):
            return f"No drawdown in {count_of(self.sessions, 'session')}."
        worst = self.episodes.iloc[0]
        return (
            f"The worst of {count_of(self.sessions, 'session')} is {percent(worst['depth'])} in {worst['session']}, "
            f"at its deepest at {clock(worst['trough_time'])}."
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per episode, the deepest first: session, desk (origin and url), and the columns of `Drawdowns.to_frame`."""
        return self.episodes.copy()

    def figure(self, *, dark: bool = False) -> go.Figure:
        """Draw the depth of each episode."""
        colours = draw.colours(dark)
        rows = self.episodes
        trace = {
            "type": "bar",
            "orientation": "h",
            "y": draw.labels(rows["session"] + " " + rows["trough_time"].dt.strftime("%H:%M:%S")),
            "x": rows["depth"].to_numpy(),
            "marker": {"color": colours.line},
            "hovertemplate": "%{x:.2%}<extra>%{y}</extra>",
        }
        made = draw.figure([trace], x_title="drawdown (%)", y_title="", dark=dark, height=140 + 22 * len(rows))
        made.update_xaxes(tickformat=".2%")
        made.update_yaxes(autorange="reversed", automargin=True)
        return made


@dataclass(frozen=True)
class _Deepest:
    n: int

    def __call__(self, session: Session) -> Iterator[tuple[str, Any]]:
        found = Report(open_place(session.place)).drawdowns()
        rows = found.episodes.nsmallest(self.n, "depth")
        rows.insert(0, "session", session.name)
        rows.insert(1, "desk", session.desk)
        yield WHOLE, (rows, found.basis, 1, self.n)


def worst_drawdowns(
    sessions: Sequence[Session], n: Any, executor: Any, *, left_out: dict[str, str], on_progress: Any = None, cancel: Any = None
) -> WorstDrawdowns:
    """Return the n deepest episodes; see `Archive.worst_drawdowns`."""
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise ConfigError(f"n={n!r}: expected a whole number from 1")
    found, left = collect(sessions, _Deepest(n), merge, executor, on_progress=on_progress, cancel=cancel)
    if not found:
        raise nothing_found("worst_drawdowns", left_out | left, len(sessions), "has a nav or a price")
    rows, basis, count, _ = merge([part for _, part in found[WHOLE]])
    left = left_out | left
    notes = (
        [f"left out {count_of(len(left), 'session')}: " + "; ".join(f"{name}: {why}" for name, why in list(left.items())[:5])]
        if left
        else []
    )
    return WorstDrawdowns(rows.reset_index(drop=True), count, basis, ("each is below the peak of its own session", *notes))


def merge(parts: list[Any]) -> Any:
    """Merge several sessions' deepest episodes into the deepest of all; ties are in order of time, then of name."""
    rows, basis, count, n = parts[0]
    tables = [rows]
    for more, theirs, sessions, _ in parts[1:]:
        tables.append(more)
        basis = basis.merge(theirs, apart=True)
        count += sessions
    filled = [table for table in tables if len(table)] or tables[:1]
    whole = pd.concat(filled).sort_values(["depth", "trough_time", "session"], kind="stable")
    return whole.head(n), basis, count, n
