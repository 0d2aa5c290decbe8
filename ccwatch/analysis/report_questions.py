"""The questions, each asked of one source when it is needed, and its answer kept. It does not know how answers are shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd

from ccwatch.analysis.alerts import Alerts
from ccwatch.analysis.alpha import Alpha
from ccwatch.analysis.attribution import Attribution
from ccwatch.analysis.burn_rate import BurnRate
from ccwatch.analysis.changepoints import Changepoints
from ccwatch.analysis.compare import Comparison, Values, compare as compare_series, series_of
from ccwatch.analysis.drawdown_audit import DrawdownAudit
from ccwatch.analysis.drawdowns import Drawdowns
from ccwatch.analysis.explain import Explanation, explain
from ccwatch.analysis.governance import Governance
from ccwatch.analysis.kalman import Kalman
from ccwatch.analysis.latency import Latency
from ccwatch.analysis.quality import Quality
from ccwatch.analysis.question_table import QUESTIONS, REGISTRY
from ccwatch.analysis.regimes import Regimes
from ccwatch.analysis.result import Result
from ccwatch.analysis.session_tables import SessionTables
from ccwatch.analysis.signals import Signals
from ccwatch.analysis.timeline import Timeline
from ccwatch.analysis.usable_rows import SECOND_NS, UsableRows, on_utc, select_rows
from ccwatch.errors import AnalysisError, ConfigError, NotEnoughData, no_such
from ccwatch.recording import with_what_follows
from ccwatch.stream import user_frames
from ccwatch.stream.dataframes import span_ns
from ccwatch.stream.table_reader import TableReader
from ccwatch.stream.time_ranges import EXAMPLES, Moment, is_date, parse_end, parse_time, range_of, shown

Answer = TypeVar("Answer", bound=Result)


class ReportQuestions:
    """One method per question; each reads what it needs when it is first called."""

    def __init__(
        self,
        source: object,
        *,
        symbol: str | None = None,
        start: Moment = None,
        end: Moment = None,
        drop: Sequence[str] = (),
    ) -> None:
        """Hold the source; nothing is read yet.

        Args:
            source: a Feed, a Recording, or a frame with columns of `protocol.columns` and a DatetimeIndex with a zone; a series or the path
                of a CSV file, whose times are UTC where they say no zone. Of a feed that still runs, a report keeps the rows as they were
                at its first question.
            symbol: only packets of this one, for a stream that holds several.
            start: only rows from this time on, or a slice that has both ends; see `ccwatch.stream.time_ranges`.
            end: only rows up to this time, included.
            drop: columns (nav, cash, …) and lists (agents, models, logs) that are as if the stream had never carried them, for a report
                that is shared. With money go the log lines, which may quote it.

        Raises:
            ConfigError: a time without a zone, a `drop` that names no column, or a source that is none of these.
            AnalysisError: a frame whose index is not a DatetimeIndex with a zone, or with two columns of one name.
        """
        if isinstance(drop, str):
            raise ConfigError(f"drop={drop!r}: expected a list of names, for example ('nav', 'cash')")
        said: tuple[str, ...] = ()
        if isinstance(source, pd.Series) or user_frames.is_file(source):
            found = user_frames.read_given(source, symbol=symbol)
            if user_frames.is_file(source) and not isinstance(found.frame.index, pd.DatetimeIndex):
                names = ", ".join(map(str, found.frame.columns))
                raise ConfigError(f"source={str(source)!r} has no column time, date, datetime or timestamp; its columns: {names:.200}")
            source, said = found.frame, found.said
        if isinstance(source, pd.DataFrame):
            on_utc("analyze", source.iloc[:0])
            doubled = source.columns[source.columns.duplicated()]
            if len(doubled):
                raise AnalysisError(
                    f"analyze needs a frame whose columns have different names; more than once: {', '.join(map(str, doubled))}"
                )
            if not said and user_frames.needs_reading(source):
                found = user_frames.read_given(source, symbol=symbol)
                source, said = found.frame, found.said
        elif not isinstance(source, TableReader):
            raise ConfigError(
                f"source={source!r}: expected a Feed, a Recording, a series, a CSV file or a frame with the columns of a Feed's"
            )
        self._symbol, self._said = symbol, said
        self._tables = SessionTables(source, *range_of(start, end, SessionTables(source).ends), frozenset(with_what_follows(drop)))
        self._answers: dict[str, Result | AnalysisError] = {}

    @property
    def name(self) -> str:
        """Return the name of the source."""
        return self._tables.name

    @property
    def is_synthetic(self) -> bool:
        """Return whether the stream came from a seeded engine."""
        return self._tables.is_synthetic

    @property
    def tables(self) -> SessionTables:
        """Return the session's tables, each read when it is first asked for."""
        return self._tables

    @property
    def symbol(self) -> str | None:
        """Return the symbol that was chosen; None where none was."""
        return self._symbol

    @property
    def said(self) -> tuple[str, ...]:
        """Return how a frame that was handed in was read, as sentences."""
        return self._said

    # ── the questions ──

    def quality(self) -> Quality:
        """Say how well the stream was received; see `ccwatch.analysis.quality`."""
        return self._ask(Quality, "quality")

    def drawdowns(self, *, column: str | None = None, symbol: str | None = None) -> Drawdowns:
        """Say when the nav (or the price) fell, how deep and for how long; see `ccwatch.analysis.drawdowns`."""
        return self._ask(Drawdowns, "drawdowns", column=column, symbol=symbol)

    def drawdown_audit(self, *, symbol: str | None = None, **options: Any) -> DrawdownAudit:
        """Say which definition of drawdown the engine reports; see `ccwatch.analysis.drawdown_audit`."""
        return self._ask(DrawdownAudit, "drawdown_audit", symbol=symbol, **options)

    def regimes(self, *, symbol: str | None = None, **options: Any) -> Regimes:
        """Say which regimes there were, for how long, and whether alpha agrees; see `ccwatch.analysis.regimes`."""
        return self._ask(Regimes, "regimes", symbol=symbol, **options)

    def alpha(self, *, symbol: str | None = None, **options: Any) -> Alpha:
        """Say whether the engine's alpha agrees with Hill's estimator on the recorded returns; see `ccwatch.analysis.alpha`."""
        return self._ask(Alpha, "alpha", symbol=symbol, **options)

    def kalman(self, *, symbol: str | None = None) -> Kalman:
        """Say whether the engine's velocity is that of a Kalman filter of the price; see `ccwatch.analysis.kalman`."""
        return self._ask(Kalman, "kalman", symbol=symbol)

    def signals(self, *, symbol: str | None = None, **options: Any) -> Signals:
        """Say what followed the signals, and whether confidence is calibrated; see `ccwatch.analysis.signals`."""
        return self._ask(Signals, "signals", symbol=symbol, **options)

    def governance(self, *, symbol: str | None = None, **options: Any) -> Governance:
        """Say what was vetoed, and which rules were broken; see `ccwatch.analysis.governance`."""
        return self._ask(Governance, "governance", symbol=symbol, **options)

    def latency(self, **options: Any) -> Latency:
        """Say how long calls took, and which services were slow; see `ccwatch.analysis.latency`."""
        return self._ask(Latency, "latency", **options)

    def burn_rate(self, **options: Any) -> BurnRate:
        """Say which calls failed, and how fast the error budget is used up; see `ccwatch.analysis.burn_rate`."""
        return self._ask(BurnRate, "burn_rate", **options)

    def attribution(self, *, symbol: str | None = None) -> Attribution:
        """Say in which regime and on which side the change of nav was made; see `ccwatch.analysis.attribution`."""
        return self._ask(Attribution, "attribution", symbol=symbol)

    def alerts(self, **options: Any) -> Alerts:
        """Say when each rule would have fired, and what it was worth; see `ccwatch.analysis.alerts`."""
        return self._ask(Alerts, "alerts", **options)

    def timeline(self, **options: Any) -> Timeline:
        """List what happened, in order; see `ccwatch.analysis.timeline`."""
        return self._ask(Timeline, "timeline", **options)

    def changepoints(self, **options: Any) -> Changepoints:
        """Say when the level of a measure moved; see `ccwatch.analysis.changepoints`."""
        return self._ask(Changepoints, "changepoints", **options)

    def compare(self, other: ReportQuestions) -> Comparison:
        """Compare this session with another one; see `ccwatch.analysis.compare`.

        Raises:
            NotEnoughData: one of them has no packet.
            MixedSymbols: several symbols and none was chosen.
        """
        if not isinstance(other, ReportQuestions):
            raise ConfigError(f"other={other!r}: expected a report, for example cw.analyze(…); cw.compare(a, b) takes sources")
        mine, theirs = self.series(), other.series()
        return compare_series(
            mine[1],
            theirs[1],
            names=(self.name, other.name),
            basis=mine[0].basis(len(mine[0]) + len(theirs[0]), carrying=len(mine[0])),
            notes=tuple(f"{report.name} is SYNTHETIC" for report in (self, other) if report.is_synthetic),
        )

    def series(self) -> tuple[UsableRows, Values]:
        """Return the session's clean packets, and the series by measure that a comparison is made of."""
        used = select_rows("compare", self._tables.packets, self._tables.events, symbol=self._symbol, one_symbol=True)
        return used, series_of(used, self.calls())

    def explain(
        self,
        time: str | datetime | pd.Timestamp | slice,
        window: str | timedelta = "2min",
        baseline: str | timedelta = "15min",
        *,
        display_tz: str | None = None,
    ) -> Explanation:
        """Say what is known around a moment, and what differed from before; see `ccwatch.analysis.explain`.

        Args:
            time: "10:32" is read on the session's date, in `display_tz`; or a time with a zone; or a slice of two or a date, which is the
                window.
            window: length of the window around a time, half of it on either side.
            baseline: length of the stretch before the window that it is compared with.
            display_tz: IANA zone of a time without one; None is the setting, else UTC.

        Raises:
            ConfigError: not a time, or one that names several moments.
            NotEnoughData: no packet in the window, or a time outside the session.
            MixedSymbols: several symbols and none was chosen.
        """
        tables = self._tables
        if not len(tables.packets):
            raise NotEnoughData("explain: no packet")
        low, high = self._stretch(time, display_tz)
        return explain(
            tables.packets,
            self.timeline().events,
            self.calls(),
            tables.events,
            time=low + (high - low) / 2,
            window_s=(high - low).total_seconds() or span_ns(window) / SECOND_NS,
            baseline_s=span_ns(baseline) / SECOND_NS,
            symbol=self._symbol,
        )

    def _stretch(self, time: Any, zone: str | None) -> tuple[pd.Timestamp, pd.Timestamp]:
        """Return the first and the last moment that a time, a slice or a date names: the same one for a time."""
        session = self._tables.ends
        is_range = isinstance(time, slice) or is_date(time)
        begin, finish = (time.start, time.stop) if isinstance(time, slice) else (time, time)
        low, high = (
            read(end, "time", session, zone=zone) for read, end in ((parse_time, begin), (parse_end if is_range else parse_time, finish))
        )
        if low is None or high is None or low > high:
            raise ConfigError(f"time={time!r}: {EXAMPLES}, or a slice of two")
        ends = session()
        if ends is None:
            raise NotEnoughData("explain: no packet")
        if low > ends[1] or high < ends[0]:
            raise NotEnoughData(f"explain: {time!r} does not lie in this session, which goes from {shown(ends[0])} to {shown(ends[1])}")
        return (max(low, ends[0]), min(high, ends[1])) if is_date(begin) or is_date(finish) else (low, high)

    if not TYPE_CHECKING:  # else a checker would believe any name

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):
                raise AttributeError(name)
            raise AttributeError(no_such("question", name, [known for known in dir(self) if not known.startswith("_")]))

    # ── what questions ask of each other ──

    def answered(self, questions: Sequence[str], on_progress: Callable[[str], object] | None = None) -> dict[str, Result | AnalysisError]:
        """Return the answers to some questions, each asked once, or the error that says why there is none.

        Args:
            questions: their names.
            on_progress: called with each question before it is asked.
        """
        for question in questions:
            if on_progress is not None:
                on_progress(question.replace("_", " "))
            try:
                self._answer(question)
            except AnalysisError as error:
                self._answers.setdefault(question, error)
        return {question: self._answers[question] for question in questions}

    def calls(self) -> pd.DataFrame | None:
        """Return the observed calls of agents and models; None where the stream carries none."""
        try:
            return self.latency().observations
        except AnalysisError:
            return None

    def _ask(self, kind: type[Answer], question: str, **options: Any) -> Answer:
        """Ask a question of the registry, whose answers are of this kind; see `_answer`."""
        answer = self._answer(question, **options)
        if not isinstance(answer, kind):
            raise TypeError(f"{question} gave a {type(answer).__name__}; expected a {kind.__name__}")
        return answer

    def _answer(self, question: str, **options: Any) -> Result:
        """Ask a question of the registry; an answer without options is kept.

        Args:
            question: its name.
            options: arguments of its kernel; `symbol` and `column` are as if they were not given where they are None.
        """
        given = {name: value for name, value in options.items() if value is not None or name not in {"symbol", "column"}}
        if given:
            return REGISTRY[question].ask(self, given)
        answer = self._answers.get(question)
        if answer is None:
            try:
                answer = REGISTRY[question].ask(self, {})
            except AnalysisError as error:
                answer = error
            self._answers[question] = answer
        if isinstance(answer, AnalysisError):
            raise answer.with_traceback(None)  # it may be raised many times: its traces would add up
        return answer


__all__ = ["QUESTIONS", "ReportQuestions"]
