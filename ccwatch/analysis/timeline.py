"""The timeline: everything that happened, as one tidy table of events. It puts the events of other answers in one order and adds none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Final, NamedTuple, TypeVar, cast

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ccwatch.analysis import draw
from ccwatch.analysis.drawdowns import drawdowns
from ccwatch.analysis.governance import governance
from ccwatch.analysis.latency import latency
from ccwatch.analysis.quality import Quality, quality
from ccwatch.analysis.regimes import regimes
from ccwatch.analysis.result import Result, count_of, in_order, notes_of, stacked
from ccwatch.analysis.timeline_rows import (
    KINDS,
    of_drawdowns,
    of_events,
    of_gaps,
    of_governance,
    of_latency,
    of_log_lines,
    of_reconnects,
    of_regimes,
    of_signals,
    of_status,
    of_trades,
    ordered,
    rows_of,
    status_table,
)
from ccwatch.analysis.usable_rows import Basis, Ints, UsableRows, on_utc, select_rows
from ccwatch.domain import burst_status
from ccwatch.domain.limits import DRAWDOWN_LEAST
from ccwatch.errors import AnalysisError, NotEnoughData
from ccwatch.protocol.messages import Flag
from ccwatch.stream.dataframes import TEXT

Answer = TypeVar("Answer", bound=Result)

COMMON: Final = ("warning log", "signal", "trade", "slow end", "gap end")
"""Kinds of which a session has many, or that only end another."""
_NAMES: Final = {
    "status": ("change of status", "changes of status"),
    "regime": ("flip of regime", "flips of regime"),
    "signal": ("change of side", "changes of side"),
    "veto": ("veto", "vetoes"),
    "recovery": ("recovery", "recoveries"),
    "slow": ("slow stretch", "slow stretches"),
    "slow end": ("end of a slow stretch", "ends of slow stretches"),
    "gap end": ("end of a gap", "ends of gaps"),
    "stream": ("event of the stream", "events of the stream"),
}
"""The words for one and for several of a kind in a sentence, where the plural is not the kind with an s."""


@dataclass(frozen=True, eq=False, repr=False)
class Timeline(Result):
    """The events of a session, in order. Times UTC.

    Attributes:
        events: one row per event; see `to_frame`.
        least_depth: drawdowns that are less deep are left out (fraction).
        symbol: the one that was asked for.
        statuses: stretches of one status, the worst of each burst of packets: status, start_time, end_time (of its last packet), n
            (bursts); without rows where the stream carried none.
        halts_before: states of HALT that the engine sent again when it was connected to; when they were is not known.
        basis: n counts events.
        notes: what could not be determined, and why.
    """

    question: ClassVar[str] = "timeline"
    title: ClassVar[str] = "Timeline"
    events: pd.DataFrame
    least_depth: float
    symbol: str | None
    statuses: pd.DataFrame
    halts_before: int
    basis: Basis
    notes: tuple[str, ...]

    def headline(self) -> str:
        """Say how many events there were of each kind."""
        if not len(self.events):
            return "Nothing happened that the timeline knows of."
        counts = self.events["kind"].value_counts()
        parts = (count_of(int(n), *_NAMES.get(str(kind), (str(kind),))) for kind, n in counts[counts > 0].items())
        return f"{count_of(len(self.events), 'event')}: {', '.join(parts)}."

    def to_frame(self) -> pd.DataFrame:
        """Return one row per event, by time.

        Columns: time, seq (of the packet that carried it; missing where none did), kind (one of KINDS), subject (agent, side, rule, …),
        detail, value, unit, same_packet (another event is in the same packet: the two have no order).
        """
        return self.events.copy()

    def listed(self) -> pd.DataFrame:
        """Return the rows of `to_frame`, the most important first: halts, the deepest drawdown, rare kinds, then frequent kinds."""
        return self.events.iloc[np.argsort(weights(self.events), kind="stable")].reset_index(drop=True)

    def figure(self, *, dark: bool = False) -> go.Figure:
        """Draw the events over time, one row per kind."""
        colours = draw.colours(dark)
        traces = []
        for place, kind in enumerate(kind for kind in KINDS if (self.events["kind"] == kind).any()):
            mine = self.events[self.events["kind"] == kind].head(draw.MOST_POINTS)
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": kind,
                    "x": draw.ms(mine["time"]),
                    "y": [kind] * len(mine),
                    "marker": {"symbol": "line-ns", "size": 14, "line": {"width": 2, "color": colours.agents[place % len(colours.agents)]}},
                    "text": draw.labels(mine["subject"] + " " + mine["detail"]),
                    "hovertemplate": "%{x|%H:%M:%S} %{text}<extra>%{fullData.name}</extra>",
                    "showlegend": False,
                }
            )
        made = draw.figure(traces, x_title="time (UTC)", y_title="", dark=dark, dates=True, height=120 + 26 * len(traces))
        made.update_yaxes(automargin=True, autorange="reversed")
        return made

    def merge(self, other: Timeline, *, apart: bool = False) -> Timeline:
        """Merge the events of both sessions, by time; `seq` is that of each session's own stream.

        Raises:
            ValueError: asked with another `least_depth` or `symbol`.
            AnalysisError: the sessions overlap in time, and are not `apart`: of different streams, with nothing between them.
        """
        one, two = in_order(self, other, "least_depth", "symbol")
        events = stacked(one.events, two.events).sort_values("time", kind="stable", ignore_index=True)
        merged = replace(
            one,
            events=events,
            statuses=stacked(one.statuses, two.statuses),
            halts_before=one.halts_before + two.halts_before,
            basis=one.basis.merge(two.basis, apart=apart),
        )
        return replace(merged, notes=notes_of(one, two, merged))


def weights(events: pd.DataFrame) -> Ints:
    """Return a class per event, 0 for those that matter most; a stable sort by it keeps equals in their order."""
    kind, values = events["kind"].astype(TEXT).to_numpy(dtype=object), events["value"].to_numpy()
    found = np.where(np.isin(kind, COMMON), 3, 2)
    of_drawdown = np.isin(kind, ("drawdown start", "drawdown trough", "recovery"))
    if of_drawdown.any():
        found[of_drawdown & (values <= np.nanmin(values[of_drawdown]))] = 1
    found[(kind == "status") & (events["subject"] == burst_status.HALT).to_numpy(dtype=bool)] = 0
    return found


def timeline(
    frame: pd.DataFrame,
    events: pd.DataFrame | None = None,
    agents: pd.DataFrame | None = None,
    models: pd.DataFrame | None = None,
    logs: pd.DataFrame | None = None,
    *,
    trades: pd.DataFrame | None = None,
    marks: Iterable[tuple[int, str]] = (),
    symbol: str | None = None,
    least_depth: float = DRAWDOWN_LEAST,
    known: Mapping[str, Result | AnalysisError] | None = None,
) -> Timeline:
    """List events: changes of regime, side and status, vetoes, broken rules, slow calls, drawdowns, logs, trades, gaps, reconnects, marks.

    A kind that needs what the stream does not carry is left out with a note; the others are still listed.

    Args:
        frame: packets, flagged ones too (`frame(clean=False)`).
        events: the events table.
        agents: the agents table.
        models: the models table.
        logs: the logs table; a line is placed at its own time where it has one.
        trades: the trades table.
        marks: moments that were marked beside the data: ns since 1970, text.
        symbol: only rows of this one; needed for price and regime of a stream of several.
        least_depth: drawdowns that are less deep are left out (fraction < 0).
        known: answers that were already made from the same tables (quality, drawdowns, regimes, governance, latency), by question, or
            the error that says why there is none. The others are made here.

    Raises:
        NotEnoughData: neither a packet nor an event.
        AnalysisError: an index that is not a DatetimeIndex with a zone.
    """
    frame = on_utc("timeline", frame)
    known_events = on_utc("timeline", events) if events is not None and len(events) else None
    if not len(frame) and known_events is None:
        raise NotEnoughData("timeline: neither a packet nor an event")
    known = known or {}
    notes: list[str] = []
    try:
        found = select_rows("timeline", frame, events, symbol=symbol)
    except AnalysisError as error:
        if symbol is not None:
            raise
        notes.append(str(error))
        found = None
    asked = _asked_of_packets(_Given(frame, events, agents, models, logs, symbol), known, least_depth)
    parts: list[pd.DataFrame] = []
    for name, part in asked.items() if found is not None else ():
        try:
            parts.append(part(found))  # type: ignore[arg-type] # the loop is empty without it
        except AnalysisError as error:
            notes.append(f"{name}: {error}")
    if logs is None:
        notes.append("logs: the stream's log lines are not at hand")
    gaps = _answer(known, "quality", lambda: quality(frame, known_events)) if len(frame) else None
    parts += _of_tables(frame, logs, gaps, known_events, trades, list(marks))
    table = ordered(pd.concat([part for part in parts if len(part)], ignore_index=True) if any(map(len, parts)) else parts[-1])
    basis = _basis(found, len(table), len(frame))
    seen = status_table(found)
    unread = int(seen.loc[seen["status"] == burst_status.UNREADABLE, "n"].sum())
    if unread:
        notes.append(f"{count_of(unread, 'burst')} of packets had a status that could not be read: whether it was a halt is not known")
    return Timeline(
        events=table,
        least_depth=least_depth,
        symbol=symbol,
        statuses=seen,
        halts_before=_halts_before(frame),
        basis=basis,
        notes=tuple(notes),
    )


class _Given(NamedTuple):
    """The tables that the questions behind the timeline are asked of, where they were not asked before."""

    frame: pd.DataFrame
    events: pd.DataFrame | None
    agents: pd.DataFrame | None
    models: pd.DataFrame | None
    logs: pd.DataFrame | None
    symbol: str | None


def _asked_of_packets(
    given: _Given, known: Mapping[str, Result | AnalysisError], least_depth: float
) -> dict[str, Callable[[UsableRows], pd.DataFrame]]:
    """Return, by the name of a note, what makes the rows of each kind that packets and answers about them give."""
    frame, events, agents, models, logs, symbol = given
    counted = frame if "seq" in frame.columns else None

    def of_flips(used: UsableRows) -> pd.DataFrame:
        _answer(known, "regimes", lambda: regimes(frame, events, symbol=symbol))  # for several symbols a flip would mean nothing
        return of_regimes(used)

    return {
        "status": of_status,
        "regimes": of_flips,
        "signals": of_signals,
        "vetoes and rules": lambda used: of_governance(
            used, _answer(known, "governance", lambda: governance(frame, events, logs, symbol=symbol))
        ),
        "drawdowns": lambda used: of_drawdowns(
            used, _answer(known, "drawdowns", lambda: drawdowns(frame, events, symbol=symbol)), least_depth
        ),
        "latency": lambda used: of_latency(used, _answer(known, "latency", lambda: latency(agents, models, frame=counted, events=events))),
    }


def _of_tables(
    frame: pd.DataFrame,
    logs: pd.DataFrame | None,
    found: Quality | None,
    events: pd.DataFrame | None,
    trades: pd.DataFrame | None,
    marks: list[tuple[int, str]],
) -> list[pd.DataFrame]:
    """Return the rows that tables give: log lines, gaps, reconnects, events, trades and marks; the last of them may be empty."""
    parts = [of_log_lines(on_utc("timeline", logs))] if logs is not None else []
    parts += [of_gaps(found)] if found is not None else []
    parts.append(of_reconnects(frame))
    parts += [of_events(events)] if events is not None else []
    parts += [of_trades(on_utc("timeline", trades))] if trades is not None and len(trades) else []
    times = np.array([ns for ns, _ in marks], dtype=np.int64)
    return [*parts, rows_of("mark", times, None, detail=[text for _, text in marks])]


def _halts_before(frame: pd.DataFrame) -> int:
    """Return the number of states of HALT without a stamp that were sent again at a connect."""
    if not {"flags", "status"} <= set(frame.columns):
        return 0
    replayed = int(Flag.REPLAYED | Flag.NO_TIME)
    again = (frame["flags"].to_numpy().astype(np.int64) & replayed) == replayed
    return int((again & (frame["status"].astype(TEXT) == burst_status.HALT).to_numpy(dtype=bool, na_value=False)).sum())


def _answer(known: Mapping[str, Result | AnalysisError], question: str, ask: Callable[[], Answer]) -> Answer:
    """Return the answer that was already made, else a new one; raise where it is known that there is none."""
    found = known.get(question)
    if isinstance(found, AnalysisError):
        raise found.with_traceback(None)
    return ask() if found is None else cast("Answer", found)


def _basis(found: UsableRows | None, n: int, received: int) -> Basis:
    if found is None:
        return Basis(n, 0, received, np.nan, None, None, 0.0, 0, 0.0)
    made = found.basis(n, carrying=0)
    return Basis(n, made.packets, made.left_out, np.nan, made.start, made.end, made.duration_s, made.gaps, made.gap_s)
