"""The timeline: everything that happened, as one tidy table of events. It puts the events of other answers in one order and adds none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, TypeVar, cast

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ccwatch.analysis import draw
from ccwatch.analysis.drawdowns import Drawdowns, drawdowns
from ccwatch.analysis.governance import Governance, governance
from ccwatch.analysis.latency import Latency, latency
from ccwatch.analysis.quality import Quality, quality
from ccwatch.analysis.regimes import Regimes, regimes
from ccwatch.analysis.result import Result, count_of, dollars, in_order, notes_of, percent, stacked
from ccwatch.analysis.sample import Basis, Floats, Ints, Sample, moments_ns, numbers, on_utc, paces, runs, sample, stamps, times_ns
from ccwatch.domain import status
from ccwatch.domain.limits import DRAWDOWN_LEAST
from ccwatch.errors import AnalysisError, MissingColumns, NotEnoughData
from ccwatch.protocol.messages import EventKind, Flag
from ccwatch.stream.frames import TEXT

Answer = TypeVar("Answer", bound=Result)

KINDS: Final = (
    "status",
    "regime",
    "signal",
    "trade",
    "veto",
    "rule break",
    "drawdown start",
    "drawdown trough",
    "recovery",
    "slow",
    "slow end",
    "error log",
    "warning log",
    "gap",
    "gap end",
    "reconnect",
    "stream",
    "alert",
    "command",
    "mark",
)
"""The values of the column `kind`; `stream` is for events of the stream itself, such as stale, frozen, malformed."""
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
_LOGS: Final = {"ERROR": "error log", "CRITICAL": "error log", "WARNING": "warning log", "WARN": "warning log"}
_EVENTS: Final = {EventKind.ALERT: "alert", EventKind.COMMAND: "command", EventKind.MARK: "mark"}
_LEFT_OUT: Final = frozenset({EventKind.CONNECT, EventKind.GAP})
"""Events that the timeline shows in another form: a connect is a reconnect, a gap has a beginning and an end."""


@dataclass(frozen=True, eq=False)
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
        told = (count_of(int(n), *_NAMES.get(str(kind), (str(kind),))) for kind, n in counts[counts > 0].items())
        return f"{count_of(len(self.events), 'event')}: {', '.join(told)}."

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
        asked = {name: (getattr(self, name), getattr(other, name)) for name in ("least_depth", "symbol")}
        one, two = in_order(self, other, **asked)
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
    found[(kind == "status") & (events["subject"] == status.HALT).to_numpy(dtype=bool)] = 0
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
    told = on_utc("timeline", events) if events is not None and len(events) else None
    if not len(frame) and told is None:
        raise NotEnoughData("timeline: neither a packet nor an event")
    known = known or {}
    notes: list[str] = []
    parts: list[pd.DataFrame] = []
    try:
        found = sample("timeline", frame, events, symbol=symbol)
    except AnalysisError as error:
        if symbol is not None:
            raise
        notes.append(str(error))
        found = None
    counted = frame if "seq" in frame.columns else None
    asked: tuple[tuple[str, Callable[[Sample], pd.DataFrame]], ...] = (
        ("status", _statuses),
        ("regimes", lambda used: _regimes(used, _answer(known, "regimes", lambda: regimes(frame, events, symbol=symbol)))),
        ("signals", _signals),
        (
            "vetoes and rules",
            lambda used: _governance(used, _answer(known, "governance", lambda: governance(frame, events, logs, symbol=symbol))),
        ),
        (
            "drawdowns",
            lambda used: _drawdowns(used, _answer(known, "drawdowns", lambda: drawdowns(frame, events, symbol=symbol)), least_depth),
        ),
        ("latency", lambda used: _latency(used, _answer(known, "latency", lambda: latency(agents, models, frame=counted, events=events)))),
    )
    for name, part in asked if found is not None else ():
        try:
            parts.append(part(found))  # type: ignore[arg-type] # the loop is empty without it
        except AnalysisError as error:
            notes.append(f"{name}: {error}")
    if logs is None:
        notes.append("logs: the stream's log lines are not at hand")
    else:
        parts.append(_log_lines(on_utc("timeline", logs)))
    if len(frame):
        parts.append(_gaps(_answer(known, "quality", lambda: quality(frame, told))))
    parts.append(_reconnects(frame))
    if told is not None:
        parts.append(_events(told))
    if trades is not None and len(trades):
        parts.append(_trades(on_utc("timeline", trades)))
    moments = list(marks)
    parts.append(_rows("mark", np.array([ns for ns, _ in moments], dtype=np.int64), None, detail=[text for _, text in moments]))
    table = _ordered(pd.concat([part for part in parts if len(part)], ignore_index=True) if any(map(len, parts)) else parts[-1])
    basis = _basis(found, len(table), len(frame))
    seen = _status_table(found)
    unread = int(seen.loc[seen["status"] == status.UNREADABLE, "n"].sum())
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


def _halts_before(frame: pd.DataFrame) -> int:
    """Return the number of states of HALT without a stamp that were sent again at a connect."""
    if not {"flags", "status"} <= set(frame.columns):
        return 0
    replayed = int(Flag.REPLAYED | Flag.NO_TIME)
    again = (frame["flags"].to_numpy().astype(np.int64) & replayed) == replayed
    return int((again & (frame["status"].astype(TEXT) == status.HALT).to_numpy(dtype=bool, na_value=False)).sum())


def _answer(known: Mapping[str, Result | AnalysisError], question: str, ask: Callable[[], Answer]) -> Answer:
    """Return the answer that was already made, else a new one; raise where it is known that there is none."""
    found = known.get(question)
    if isinstance(found, AnalysisError):
        raise found.with_traceback(None)
    return ask() if found is None else cast("Answer", found)


def _basis(found: Sample | None, n: int, received: int) -> Basis:
    if found is None:
        return Basis(n, 0, received, np.nan, None, None, 0.0, 0, 0.0)
    made = found.basis(n, carrying=0)
    return Basis(n, made.packets, made.left_out, np.nan, made.start, made.end, made.duration_s, made.gaps, made.gap_s)


def _rows(
    kind: str | list[str],
    times: Ints,
    seq: Any,
    *,
    subject: Any = "",
    detail: Any = "",
    value: Any = np.nan,
    unit: str = "",
) -> pd.DataFrame:
    """Return events as rows of the table; `seq` is None where no packet carried them."""
    size = len(times)

    def text(words: Any) -> Any:
        return pd.array([words] * size if isinstance(words, str) else [str(word) for word in words], dtype=TEXT)

    return pd.DataFrame(
        {
            "time": stamps(times),
            "seq": pd.array([pd.NA] * size if seq is None else np.asarray(seq, dtype=np.int64), dtype="Int64"),
            "kind": text(kind),
            "subject": text(subject),
            "detail": text(detail),
            "value": np.full(size, value, dtype=np.float64) if np.isscalar(value) else np.asarray(value, dtype=np.float64),
            "unit": text(unit),
        }
    )


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    """Order events by time; those of one packet are marked, and in the order of KINDS, which says nothing about time."""
    table = table.assign(kind=pd.Categorical(table["kind"], categories=pd.Index(KINDS, dtype=TEXT)))
    order = np.lexsort((np.asarray(table["kind"].cat.codes), table["seq"].fillna(0).to_numpy(dtype=np.int64), moments_ns(table["time"])))
    table = table.iloc[order].reset_index(drop=True)
    return table.assign(same_packet=(table["seq"].duplicated(keep=False) & table["seq"].notna()).to_numpy(dtype=bool))


def _seq(used: Sample, times: Ints) -> Any:
    """Return the seq of the first packet at each time; None where the frame has none."""
    if "seq" not in used.frame.columns:
        return None
    rows = np.minimum(np.searchsorted(used.times, times), len(used) - 1)
    return used.frame["seq"].to_numpy()[rows]


def _changes(used: Sample, name: str) -> tuple[Sample, Ints, Any]:
    """Return the rows that carry a word, those where it differs from the row before (across gaps too), and the words."""
    used = used.where(np.asarray(used.words(name).codes >= 0))
    if not len(used):
        raise MissingColumns("timeline", (name,))
    words = used.words(name)
    codes = np.asarray(words.codes)
    return used, np.flatnonzero(codes[1:] != codes[:-1]) + 1, np.asarray(words.astype(object))


def _turns(kind: str, used: Sample, name: str, value: str = "", unit: str = "") -> pd.DataFrame:
    """Return the changes of a word: `detail` says from what to what, and across a gap that the moment was not seen."""
    used, rows, words = _changes(used, name)
    unseen = np.where(used.broken[rows], ", somewhere in a gap", "")
    detail = [f"{a} → {b}{gap}" for a, b, gap in zip(words[rows - 1], words[rows], unseen, strict=True)]
    numbers = used.numbers(value)[rows] if value else np.nan
    times = used.times[rows]
    return _rows(kind, times, _seq(used, times), subject=words[rows], detail=detail, value=numbers, unit=unit)


def _statuses(used: Sample) -> pd.DataFrame:
    """Return the changes of status, burst by burst: the worst word of a burst counts, so that two writers do not make it flicker."""
    rows, ranks = _of_bursts(used)
    if not len(rows):
        raise MissingColumns("timeline", ("status",))
    turns = np.flatnonzero(ranks[1:] != ranks[:-1]) + 1
    words = np.array(status.ORDER, dtype=object)[ranks]
    passed = np.cumsum(used.broken)[rows]
    unseen = np.where(passed[turns] != passed[turns - 1], ", somewhere in a gap", "")
    detail = [f"{_said(a)} → {_said(b)}{gap}" for a, b, gap in zip(words[turns - 1], words[turns], unseen, strict=True)]
    times = used.times[rows[turns]]
    return _rows("status", times, _seq(used, times), subject=words[turns], detail=detail)


def _said(word: str) -> str:
    """Return a status as an event words it."""
    return f"{word} (a status that could not be read)" if word == status.UNREADABLE else word


def _of_bursts(used: Sample) -> tuple[Ints, Ints]:
    """Return, for each burst that carries a status, the row that first says its worst word, and the rank of that word."""
    words = used.words("status")
    places = np.array([*(status.rank(str(word)) for word in words.categories), status.NOT_CARRIED], dtype=np.int64)
    ranks = places[np.asarray(words.codes)]
    if not (ranks != status.NOT_CARRIED).any():
        return ranks[:0], ranks[:0]
    begins = paces(used.frame).begins
    worst = status.worst_of_bursts(ranks, begins)
    rows = np.flatnonzero((ranks == worst) & (ranks != status.NOT_CARRIED))
    burst = np.cumsum(begins)[rows]
    rows = rows[np.append(True, burst[1:] != burst[:-1])]
    return rows, ranks[rows]


def _status_table(used: Sample | None) -> pd.DataFrame:
    """Return stretches of one status; a gap does not end one, since the status within it is not known."""
    rows, ranks = (np.zeros(0, dtype=np.int64),) * 2 if used is None else _of_bursts(used)
    times = np.zeros(0, dtype=np.int64) if used is None else used.times[rows]
    first, end = runs(ranks, np.zeros(len(ranks), dtype=bool))
    return pd.DataFrame(
        {
            "status": pd.array([status.ORDER[rank] for rank in ranks[first].tolist()], dtype=TEXT),
            "start_time": stamps(times[first]),
            "end_time": stamps(times[end - 1]),
            "n": end - first,
        }
    )


def _signals(used: Sample) -> pd.DataFrame:
    return _turns("signal", used, "side", "confidence", "confidence")


def _regimes(used: Sample, _: Regimes) -> pd.DataFrame:
    """Return the flips of regime; none for several symbols, where a flip would mean nothing."""
    return _turns("regime", used, "regime", "alpha", "alpha")


def _governance(used: Sample, found: Governance) -> pd.DataFrame:
    vetoes, breaks = found.vetoes, found.breaks
    begun = moments_ns(vetoes["start_time"])
    why = vetoes["reason"].fillna("no reason in the logs")
    where = vetoes["regime"].fillna("a regime that is not known")
    detail = [f"{count_of(n, 'packet')} in {place}: {text}" for n, place, text in zip(vetoes["n"], where, why, strict=True)]
    rows = _rows(
        "veto", begun, _seq(used, begun), subject=vetoes["side"], detail=detail, value=vetoes["confidence"].to_numpy(), unit="confidence"
    )
    broken = moments_ns(breaks["start_time"])
    against = [count_of(n, "packet") for n in breaks["n"]]
    return pd.concat(
        [
            rows,
            _rows(
                "rule break",
                broken,
                _seq(used, broken),
                subject=breaks["rule"],
                detail=against,
                value=breaks["worst"].to_numpy(),
                unit="fraction",
            ),
        ],
        ignore_index=True,
    )


def _drawdowns(used: Sample, found: Drawdowns, least_depth: float) -> pd.DataFrame:
    deep = found.episodes[found.episodes["depth"] <= least_depth]
    depth = [f"{percent(d)} ({dollars(usd)})" for d, usd in zip(deep["depth"], deep["depth_usd"], strict=True)]
    parts = []
    for kind, column, detail in (
        ("drawdown start", "start_time", "below the peak, on the way to "),
        ("drawdown trough", "trough_time", "at the trough: "),
        ("recovery", "recovery_time", "back at the peak after "),
    ):
        known = deep[column].notna().to_numpy()
        times = moments_ns(deep[column][known])
        words = [detail + text for text, is_known in zip(depth, known, strict=True) if is_known]
        values = deep["depth"].to_numpy()[known]
        parts.append(_rows(kind, times, _seq(used, times), subject=found.column, detail=words, value=values, unit="fraction"))
    return pd.concat(parts, ignore_index=True)


def _latency(used: Sample, found: Latency) -> pd.DataFrame:
    slow = found.slow
    begun = moments_ns(slow["start_time"])
    words = [
        f"{ms:,.1f} ms, {times:.1f} times its usual, over {count_of(n, 'call')}"
        for ms, times, n in zip(slow["median_ms"], slow["times_usual"], slow["n"], strict=True)
    ]
    over = slow[slow["end_time"].notna()]
    ended = moments_ns(over["end_time"])
    return pd.concat(
        [
            _rows("slow", begun, _seq(used, begun), subject=slow["name"], detail=words, value=slow["median_ms"].to_numpy(), unit="ms"),
            _rows("slow end", ended, _seq(used, ended), subject=over["name"], detail="back below the limit"),
        ],
        ignore_index=True,
    )


def _log_lines(logs: pd.DataFrame) -> pd.DataFrame:
    """Return errors and warnings, each log line once."""
    if not len(logs) or "level" not in logs.columns:
        return _rows("error log", np.zeros(0, dtype=np.int64), None)
    kind = logs["level"].astype(TEXT).str.upper().map(_LOGS)
    times = times_ns(logs)
    if "log_time" in logs.columns:
        own = moments_ns(logs["log_time"])
        times = np.where(logs["log_time"].notna().to_numpy(), own, times)
    chosen = logs.assign(kind=kind.to_numpy(), told=times)[kind.notna().to_numpy()]
    chosen = chosen.drop_duplicates(subset=["told", "level", "message"])
    seq = chosen["seq"].to_numpy() if "seq" in chosen.columns else None
    return _rows(chosen["kind"].tolist(), chosen["told"].to_numpy(dtype=np.int64), seq, detail=chosen["message"])


def _trades(trades: pd.DataFrame) -> pd.DataFrame:
    """Return each trade at its own time: the side, the quantity and price, and its execution status."""

    def words(name: str) -> list[str]:
        return trades[name].astype(TEXT).fillna("").tolist() if name in trades.columns else [""] * len(trades)

    def values(name: str) -> Floats:
        return numbers(trades[name]) if name in trades.columns else np.full(len(trades), np.nan)

    price = values("price")
    amount = [f"{count:,.6g}" if np.isfinite(count) else "" for count in values("quantity")]
    at = [f"at {one:,.2f}" if np.isfinite(one) else "" for one in price]
    detail = [" ".join(filter(None, parts)) for parts in zip(amount, words("symbol"), at, words("status"), strict=True)]
    seq = trades["seq"].to_numpy() if "seq" in trades.columns else None
    return _rows("trade", times_ns(trades), seq, subject=words("side"), detail=detail, value=price, unit="USD")


def _gaps(found: Quality) -> pd.DataFrame:
    """Return each gap, from the last packet before it to the first one after it."""
    gaps = found.gaps
    begun, ended = moments_ns(gaps["start_time"]), moments_ns(gaps["end_time"])
    seconds = gaps["duration_s"].to_numpy()
    words = [f"nothing was received for {s:,.1f} s" for s in seconds]
    return pd.concat(
        [
            _rows("gap", begun, None, subject=gaps["reason"], detail=words, value=seconds, unit="s"),
            _rows("gap end", ended, None, subject=gaps["reason"], value=seconds, unit="s"),
        ],
        ignore_index=True,
    )


def _reconnects(frame: pd.DataFrame) -> pd.DataFrame:
    if "connection" not in frame.columns or "seq" not in frame.columns or not len(frame):
        return _rows("reconnect", np.zeros(0, dtype=np.int64), None)
    connection = frame["connection"].to_numpy().astype(np.int64)
    rows = np.flatnonzero(np.diff(connection) != 0) + 1
    words = [f"first packet of connection {n}" for n in connection[rows]]
    return _rows("reconnect", times_ns(frame)[rows], frame["seq"].to_numpy()[rows], detail=words)


def _events(events: pd.DataFrame) -> pd.DataFrame:
    """Return the events of the stream itself, without a seq: that of the events table is of the packet before, which did not carry it."""
    kinds = events["kind"].astype(TEXT)
    chosen = events[~kinds.isin([str(kind) for kind in _LEFT_OUT]).to_numpy()]
    words = chosen["kind"].astype(TEXT)
    kind = [_EVENTS.get(EventKind(word), "stream") if word in set(EventKind) else "stream" for word in words]
    return _rows(kind, times_ns(chosen), None, subject=words, detail=chosen["detail"].astype(TEXT))
