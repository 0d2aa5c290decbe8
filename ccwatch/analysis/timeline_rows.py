"""The rows of the timeline, kind by kind: what an answer, a table or the packets say, as events. It orders them and adds none."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from ccwatch.analysis.drawdowns import Drawdowns
from ccwatch.analysis.governance import Governance
from ccwatch.analysis.latency import Latency
from ccwatch.analysis.quality import Quality
from ccwatch.analysis.result import count_of, dollars, percent
from ccwatch.analysis.usable_rows import Floats, Ints, UsableRows, moments_ns, numbers, paces, runs, stamps, times_ns
from ccwatch.domain import burst_status
from ccwatch.errors import MissingColumns
from ccwatch.protocol.messages import EventKind
from ccwatch.stream.dataframes import TEXT

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
_LOGS: Final = {"ERROR": "error log", "CRITICAL": "error log", "WARNING": "warning log", "WARN": "warning log"}
_EVENTS: Final = {EventKind.ALERT: "alert", EventKind.COMMAND: "command", EventKind.MARK: "mark"}
_LEFT_OUT: Final = frozenset({EventKind.CONNECT, EventKind.GAP})
"""Events that the timeline shows in another form: a connect is a reconnect, a gap has a beginning and an end."""


def rows_of(
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


def ordered(table: pd.DataFrame) -> pd.DataFrame:
    """Order events by time; those of one packet are marked, and in the order of KINDS, which says nothing about time."""
    table = table.assign(kind=pd.Categorical(table["kind"], categories=pd.Index(KINDS, dtype=TEXT)))
    order = np.lexsort((np.asarray(table["kind"].cat.codes), table["seq"].fillna(0).to_numpy(dtype=np.int64), moments_ns(table["time"])))
    table = table.iloc[order].reset_index(drop=True)
    return table.assign(same_packet=(table["seq"].duplicated(keep=False) & table["seq"].notna()).to_numpy(dtype=bool))


def _seq(used: UsableRows, times: Ints) -> Any:
    """Return the seq of the first packet at each time; None where the frame has none."""
    if "seq" not in used.frame.columns:
        return None
    rows = np.minimum(np.searchsorted(used.times, times), len(used) - 1)
    return used.frame["seq"].to_numpy()[rows]


def _changes(used: UsableRows, name: str) -> tuple[UsableRows, Ints, Any]:
    """Return the rows that carry a word, those where it differs from the row before (across gaps too), and the words."""
    used = used.where(np.asarray(used.words(name).codes >= 0))
    if not len(used):
        raise MissingColumns("timeline", (name,))
    words = used.words(name)
    codes = np.asarray(words.codes)
    return used, np.flatnonzero(codes[1:] != codes[:-1]) + 1, np.asarray(words.astype(object))


def _turns(kind: str, used: UsableRows, name: str, value: str = "", unit: str = "") -> pd.DataFrame:
    """Return the changes of a word: `detail` says from what to what, and across a gap that the moment was not seen."""
    used, rows, words = _changes(used, name)
    unseen = np.where(used.broken[rows], ", somewhere in a gap", "")
    detail = [f"{a} → {b}{gap}" for a, b, gap in zip(words[rows - 1], words[rows], unseen, strict=True)]
    numbers = used.numbers(value)[rows] if value else np.nan
    times = used.times[rows]
    return rows_of(kind, times, _seq(used, times), subject=words[rows], detail=detail, value=numbers, unit=unit)


def of_status(used: UsableRows) -> pd.DataFrame:
    """Return the changes of status, burst by burst: the worst word of a burst counts, so that two writers do not make it flicker."""
    rows, ranks = _of_bursts(used)
    if not len(rows):
        raise MissingColumns("timeline", ("status",))
    turns = np.flatnonzero(ranks[1:] != ranks[:-1]) + 1
    words = np.array(burst_status.ORDER, dtype=object)[ranks]
    passed = np.cumsum(used.broken)[rows]
    unseen = np.where(passed[turns] != passed[turns - 1], ", somewhere in a gap", "")
    detail = [f"{_said(a)} → {_said(b)}{gap}" for a, b, gap in zip(words[turns - 1], words[turns], unseen, strict=True)]
    times = used.times[rows[turns]]
    return rows_of("status", times, _seq(used, times), subject=words[turns], detail=detail)


def _said(word: str) -> str:
    """Return a status as an event words it."""
    return f"{word} (a status that could not be read)" if word == burst_status.UNREADABLE else word


def _of_bursts(used: UsableRows) -> tuple[Ints, Ints]:
    """Return, for each burst that carries a status, the row that first says its worst word, and the rank of that word."""
    words = used.words("status")
    places = np.array([*(burst_status.rank(str(word)) for word in words.categories), burst_status.NOT_CARRIED], dtype=np.int64)
    ranks = places[np.asarray(words.codes)]
    if not (ranks != burst_status.NOT_CARRIED).any():
        return ranks[:0], ranks[:0]
    begins = paces(used.frame).begins
    worst = burst_status.worst_of_bursts(ranks, begins)
    rows = np.flatnonzero((ranks == worst) & (ranks != burst_status.NOT_CARRIED))
    burst = np.cumsum(begins)[rows]
    rows = rows[np.append(True, burst[1:] != burst[:-1])]
    return rows, ranks[rows]


def status_table(used: UsableRows | None) -> pd.DataFrame:
    """Return stretches of one status; a gap does not end one, since the status within it is not known."""
    rows, ranks = (np.zeros(0, dtype=np.int64),) * 2 if used is None else _of_bursts(used)
    times = np.zeros(0, dtype=np.int64) if used is None else used.times[rows]
    first, end = runs(ranks, np.zeros(len(ranks), dtype=bool))
    return pd.DataFrame(
        {
            "status": pd.array([burst_status.ORDER[rank] for rank in ranks[first].tolist()], dtype=TEXT),
            "start_time": stamps(times[first]),
            "end_time": stamps(times[end - 1]),
            "n": end - first,
        }
    )


def of_signals(used: UsableRows) -> pd.DataFrame:
    """Return the changes of side, with the confidence."""
    return _turns("signal", used, "side", "confidence", "confidence")


def of_regimes(used: UsableRows) -> pd.DataFrame:
    """Return the flips of regime; none for several symbols, where a flip would mean nothing."""
    return _turns("regime", used, "regime", "alpha", "alpha")


def of_governance(used: UsableRows, found: Governance) -> pd.DataFrame:
    """Return vetoes and broken rules, each at its first packet."""
    vetoes, breaks = found.vetoes, found.breaks
    begun = moments_ns(vetoes["start_time"])
    why = vetoes["reason"].fillna("no reason in the logs")
    where = vetoes["regime"].fillna("a regime that is not known")
    detail = [f"{count_of(n, 'packet')} in {place}: {text}" for n, place, text in zip(vetoes["n"], where, why, strict=True)]
    rows = rows_of(
        "veto", begun, _seq(used, begun), subject=vetoes["side"], detail=detail, value=vetoes["confidence"].to_numpy(), unit="confidence"
    )
    broken = moments_ns(breaks["start_time"])
    against = [count_of(n, "packet") for n in breaks["n"]]
    return pd.concat(
        [
            rows,
            rows_of(
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


def of_drawdowns(used: UsableRows, found: Drawdowns, least_depth: float) -> pd.DataFrame:
    """Return start, trough and recovery of each drawdown that is at least so deep (fraction)."""
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
        parts.append(rows_of(kind, times, _seq(used, times), subject=found.column, detail=words, value=values, unit="fraction"))
    return pd.concat(parts, ignore_index=True)


def of_latency(used: UsableRows, found: Latency) -> pd.DataFrame:
    """Return where a service became slow, and where it no longer was."""
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
            rows_of("slow", begun, _seq(used, begun), subject=slow["name"], detail=words, value=slow["median_ms"].to_numpy(), unit="ms"),
            rows_of("slow end", ended, _seq(used, ended), subject=over["name"], detail="back below the limit"),
        ],
        ignore_index=True,
    )


def of_log_lines(logs: pd.DataFrame) -> pd.DataFrame:
    """Return errors and warnings, each log line once."""
    if not len(logs) or "level" not in logs.columns:
        return rows_of("error log", np.zeros(0, dtype=np.int64), None)
    kind = logs["level"].astype(TEXT).str.upper().map(_LOGS)
    times = times_ns(logs)
    if "log_time" in logs.columns:
        own = moments_ns(logs["log_time"])
        times = np.where(logs["log_time"].notna().to_numpy(), own, times)
    chosen = logs.assign(kind=kind.to_numpy(), logged_at=times)[kind.notna().to_numpy()]
    chosen = chosen.drop_duplicates(subset=["logged_at", "level", "message"])
    seq = chosen["seq"].to_numpy() if "seq" in chosen.columns else None
    return rows_of(chosen["kind"].tolist(), chosen["logged_at"].to_numpy(dtype=np.int64), seq, detail=chosen["message"])


def of_trades(trades: pd.DataFrame) -> pd.DataFrame:
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
    return rows_of("trade", times_ns(trades), seq, subject=words("side"), detail=detail, value=price, unit="USD")


def of_gaps(found: Quality) -> pd.DataFrame:
    """Return each gap, from the last packet before it to the first one after it."""
    gaps = found.gaps
    begun, ended = moments_ns(gaps["start_time"]), moments_ns(gaps["end_time"])
    seconds = gaps["duration_s"].to_numpy()
    words = [f"nothing was received for {s:,.1f} s" for s in seconds]
    return pd.concat(
        [
            rows_of("gap", begun, None, subject=gaps["reason"], detail=words, value=seconds, unit="s"),
            rows_of("gap end", ended, None, subject=gaps["reason"], value=seconds, unit="s"),
        ],
        ignore_index=True,
    )


def of_reconnects(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the first packet of each connection after the first."""
    if "connection" not in frame.columns or "seq" not in frame.columns or not len(frame):
        return rows_of("reconnect", np.zeros(0, dtype=np.int64), None)
    connection = frame["connection"].to_numpy().astype(np.int64)
    rows = np.flatnonzero(np.diff(connection) != 0) + 1
    words = [f"first packet of connection {n}" for n in connection[rows]]
    return rows_of("reconnect", times_ns(frame)[rows], frame["seq"].to_numpy()[rows], detail=words)


def of_events(events: pd.DataFrame) -> pd.DataFrame:
    """Return the events of the stream itself, without a seq: that of the events table is of the packet before, which did not carry it."""
    kinds = events["kind"].astype(TEXT)
    chosen = events[~kinds.isin([str(kind) for kind in _LEFT_OUT]).to_numpy()]
    words = chosen["kind"].astype(TEXT)
    kind = [_EVENTS.get(EventKind(word), "stream") if word in set(EventKind) else "stream" for word in words]
    return rows_of(kind, times_ns(chosen), None, subject=words, detail=chosen["detail"].astype(TEXT))
