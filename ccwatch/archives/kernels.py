"""Kernels: functions of one session that run in this thread, another process or another machine. Pure except for reading it.

A task is a few sessions of one desk; their answers are merged where they are read, so that little data travels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple

import pandas as pd

from ccwatch.analysis import REGISTRY, Latency, Report, Result
from ccwatch.archives.locations import open_place
from ccwatch.archives.sessions import Session
from ccwatch.archives.views import Narrow, Part
from ccwatch.errors import AnalysisError, CcwatchError, ConfigError, MixedSymbols

WHOLE: Final = ""
"""The group of a question that was asked without `by`."""
PERIODS: Final = {"day": "D", "week": "W-SUN", "month": "M"}
UNTAGGED: Final = "untagged"
NO_GROUP: Final = "it holds no packet of any group"
NEEDS_ALL: Final = frozenset({"quality", "drawdowns", "drawdown_audit", "alpha", "kalman", "changepoints"})
"""Questions whose answers do not merge: over several sessions they are asked of all their packets."""

Group = Any
"""The group of a row of the answer: a text, or the first day (UTC) of a period."""


class Found(NamedTuple):
    """The merged answer of a task's sessions for one group."""

    group: Group
    desk: str
    answer: Any


@dataclass
class Answered:
    """The result of a task."""

    found: list[Found] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    """By session, the reason why it is not in the answer."""


@dataclass(frozen=True)
class Asked:
    """A question to each session: picklable, so that any process can ask it."""

    question: str | Callable[..., Result]
    by: str | None = None
    options: tuple[tuple[str, Any], ...] = ()

    def __call__(self, session: Session) -> Iterator[tuple[Group, Any]]:
        """Yield the session's answer for each of its groups."""
        source = open_place(session.place)
        for group, part, start, end in parts(session, source, self.by):
            yield group, self._of(part, start, end)

    def _of(self, source: Any, start: Any, end: Any) -> Any:
        asked = REGISTRY.get(self.question) if isinstance(self.question, str) else None  # what_if is a method of the Report alone
        read = source if asked is None or asked.columns is None else Narrow(source, asked.columns)
        ask = partial(Report, read, start=start, end=end)
        options = dict(self.options)
        try:
            found = ask().ask(self.question, **options)
        except MixedSymbols as error:
            each = [ask(symbol=symbol).ask(self.question, **options) for symbol in error.symbols]
            if self.question in NEEDS_ALL:
                raise
            found = Result.merge_all(each, apart=True)
        return found.reduced() if isinstance(found, Latency) else found


def parts(session: Session, source: Any, by: str | None) -> Iterator[tuple[Group, Any, Any, Any]]:
    """Yield group, source, first and last time of each part of a session that is asked by itself."""
    if by is None:
        yield WHOLE, source, None, None
    elif by == "session":
        yield session.name, source, None, None
    elif by == "tag":
        for tag in session.tags or (UNTAGGED,):
            yield tag, source, None, None
    elif by in PERIODS:
        yield from ((group, source, start, end) for group, start, end in periods(session, by))
    elif by == "symbol":
        for symbol in session.symbols:
            yield symbol, source if len(session.symbols) == 1 else Part(source, "symbol", symbol, broken=False), None, None
    else:
        words = source.frame(["regime"])["regime"]
        for regime in words.cat.categories[sorted(set(words.cat.codes) - {-1})]:
            yield str(regime), Part(source, "regime", str(regime), broken=True), None, None


def periods(session: Session, by: str) -> Iterator[tuple[pd.Timestamp, pd.Timestamp | None, pd.Timestamp | None]]:
    """Return the days, weeks (from Monday) or months, UTC, of a session: each by its first day, with the session's range in it.

    A session within one period has no range: nothing of it is cut off.
    """
    if session.start_ns is None or session.end_ns is None:
        return
    first, last = (pd.Timestamp(ns, tz=None).to_period(PERIODS[by]) for ns in (session.start_ns, session.end_ns))
    spans = pd.period_range(first, last, freq=PERIODS[by])
    for span in spans:
        begin = span.start_time.tz_localize("UTC").as_unit("ns")
        end = (span + 1).start_time.tz_localize("UTC").as_unit("ns") - pd.Timedelta(1, "ns")
        yield (begin, None, None) if len(spans) == 1 else (begin, begin, end)


def run(
    kernel: Callable[[Session], Iterator[tuple[Group, Any]]], sessions: tuple[Session, ...], merge: Callable[[list[Any]], Any]
) -> Answered:
    """Ask a few sessions of one desk; one that cannot answer is left out with its reason, and the others go on."""
    answered = Answered()
    by_group: dict[Group, list[Any]] = {}
    for session in sessions:
        try:
            mine = list(kernel(session))
        except ConfigError:  # an argument that no session can be asked with
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one session, the others answer
            answered.left_out[session.name] = why(error)
            continue
        if not mine:
            answered.left_out[session.name] = NO_GROUP
        for group, answer in mine:
            by_group.setdefault(group, []).append(answer)
    desk = sessions[0].desk if sessions else ""
    answered.found = [Found(group, desk, merge(answers)) for group, answers in by_group.items()]
    return answered


def why(error: Exception) -> str:
    """Return an error as the reason why a session is left out."""
    return str(error) if isinstance(error, CcwatchError) else f"{type(error).__name__}: {error}"


def merged_apart(results: list[Any]) -> Any:
    """Merge the answers of several desks into one.

    Raises:
        AnalysisError: the question's answers do not merge.
    """
    return Result.merge_all(results, apart=True)


def merged_in_turn(results: list[Any]) -> Any:
    """Merge the answers of one desk into one: they follow on each other, unless the desk's clock was reset."""
    return Result.merge_all(results)


def refused(question: str, desks: int) -> AnalysisError:
    """Return the error of a question whose answers do not merge over several desks."""
    return AnalysisError(
        f"{question}: its answers of several streams do not merge, and there are {desks}; ask by='session', or filter the archive to one"
    )
