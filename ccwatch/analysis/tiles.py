"""The four numbers that a reader of a report looks for first: loss, depth, halt, alerts. It computes nothing that is not in an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ccwatch.alerts import Severity
from ccwatch.analysis.alerts import Alerts
from ccwatch.analysis.attribution import Attribution
from ccwatch.analysis.drawdowns import Drawdowns
from ccwatch.analysis.result import Result, clock, count_of, dollars, percent
from ccwatch.analysis.timeline import Timeline
from ccwatch.domain.burst_status import HALT, UNREADABLE
from ccwatch.errors import AnalysisError
from ccwatch.stream.time_ranges import shown

Answers = Mapping[str, Result | AnalysisError]

UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Tile:
    """One number of the first screen.

    Attributes:
        label: its name, in one or two words.
        value: the number, in the digits that matter.
        detail: when, or why it is not known.
        is_bad: whether a reader should look here first.
    """

    label: str
    value: str
    detail: str
    is_bad: bool = False


def tiles(answers: Answers) -> tuple[Tile, Tile, Tile, Tile]:
    """Return loss, depth, halt and alerts; one whose answer is missing is "unknown", with the reason."""
    return (
        _loss(answers.get("attribution")),
        _depth(answers.get("drawdowns")),
        _halt(answers.get("timeline")),
        _alerts(answers.get("alerts")),
    )


def session_line(answers: Answers) -> str:
    """Return date, symbol and duration of the session in one line; empty where no packet was seen."""
    known = [answer for answer in answers.values() if isinstance(answer, Result)]
    basis = max((answer.basis for answer in known), key=lambda basis: basis.duration_s, default=None)
    if basis is None or basis.start is None or basis.end is None:
        return ""
    start, end = shown(basis.start), shown(basis.end)
    day = f"{start:%A, %Y-%m-%d}" if start.date() == end.date() else f"{start:%Y-%m-%d} to {end:%Y-%m-%d}"
    symbol = next((answer.symbol for answer in known if isinstance(answer, Attribution | Timeline) and answer.symbol), None)
    minutes, seconds = divmod(round(basis.duration_s), 60)
    length = f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {seconds:02d} s"
    parts = [day, symbol, f"{start:%H:%M:%S} to {end:%H:%M:%S %Z}, {length}", count_of(basis.packets, "packet")]
    return " · ".join(part for part in parts if part)


def _loss(answer: Result | AnalysisError | None) -> Tile:
    if not isinstance(answer, Attribution):
        return Tile("P&L", UNKNOWN, _why(answer))
    share = f"{percent(answer.change_usd / answer.start_usd)} of " if answer.start_usd > 0 else "of "
    label = "loss" if answer.change_usd < 0 else "P&L"
    return Tile(
        label,
        dollars(answer.change_usd),
        f"{share}{dollars(answer.start_usd).lstrip('+')} at {clock(answer.start_time, answer.basis)}",
        answer.change_usd < 0,
    )


def _depth(answer: Result | AnalysisError | None) -> Tile:
    if not isinstance(answer, Drawdowns):
        return Tile("deepest drawdown", UNKNOWN, _why(answer))
    worst = answer.worst
    if worst is None:
        return Tile("deepest drawdown", "none" if answer.max_drawdown == 0 else UNKNOWN, answer.headline())
    end = "open at the end" if worst["is_open"] else f"recovered at {clock(worst['recovery_time'], answer.basis)}"
    return Tile("deepest drawdown", percent(worst["depth"]), f"trough at {clock(worst['trough_time'], answer.basis)}, {end}", is_bad=True)


def _halt(answer: Result | AnalysisError | None) -> Tile:
    if not isinstance(answer, Timeline):
        return Tile("halt", UNKNOWN, _why(answer))
    seen = answer.statuses
    if not len(seen):
        return Tile("halt", UNKNOWN, "the stream carried no status")
    halts = seen[(seen["status"] == HALT).to_numpy(dtype=bool)]
    if len(halts):
        return Tile("halt", clock(halts["start_time"].iloc[0], answer.basis), count_of(len(halts), "halt"), is_bad=True)
    unread = int(seen.loc[(seen["status"] == UNREADABLE).to_numpy(dtype=bool), "n"].sum())
    if unread:
        return Tile("halt", UNKNOWN, f"the status could not be read in {unread:,} of {int(seen['n'].sum()):,} bursts")
    return Tile("halt", "none seen", "in what was received")


def _alerts(answer: Result | AnalysisError | None) -> Tile:
    if not isinstance(answer, Alerts):
        return Tile("alerts", UNKNOWN, _why(answer))
    serious = answer.firings[(answer.firings["severity"] == Severity.CRITICAL).to_numpy()]
    first = (
        f"{len(serious)} critical, the first at {clock(serious['fired_time'].iloc[0], answer.basis)}" if len(serious) else "none critical"
    )
    return Tile("alerts", f"{len(answer.firings)}", first, is_bad=True)


def _why(answer: Result | AnalysisError | None) -> str:
    return str(answer) if isinstance(answer, AnalysisError) else "was not asked"
