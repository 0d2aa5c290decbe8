"""The questions, each asked of one source when it is needed, and its answer kept. It does not know how answers are shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar, cast

import pandas as pd

from ccwatch.analysis.alerts import Alerts, alerts
from ccwatch.analysis.alpha import Alpha, alpha
from ccwatch.analysis.attribution import Attribution, attribution
from ccwatch.analysis.burn_rate import BurnRate, burn_rate
from ccwatch.analysis.changepoints import Changepoints, changepoints
from ccwatch.analysis.compare import Comparison, Values, compare as compare_series, series_of
from ccwatch.analysis.drawdown_audit import DrawdownAudit, drawdown_audit
from ccwatch.analysis.drawdowns import Drawdowns, drawdowns
from ccwatch.analysis.explain import Explanation, explain
from ccwatch.analysis.governance import Governance, governance
from ccwatch.analysis.kalman import Kalman, kalman
from ccwatch.analysis.latency import Latency, latency
from ccwatch.analysis.quality import Quality, quality
from ccwatch.analysis.regimes import Regimes, regimes
from ccwatch.analysis.result import Result
from ccwatch.analysis.sample import SECOND_NS, Sample, on_utc, sample
from ccwatch.analysis.signals import Signals, signals
from ccwatch.analysis.tables import Tables
from ccwatch.analysis.timeline import Timeline, timeline
from ccwatch.errors import AnalysisError, ConfigError, NotEnoughData
from ccwatch.recording import with_what_follows
from ccwatch.stream import given
from ccwatch.stream.frames import span_ns
from ccwatch.stream.moments import EXAMPLES, moment

Answer = TypeVar("Answer", bound=Result)

QUESTIONS: Final = (
    "quality",
    "drawdowns",
    "regimes",
    "governance",
    "latency",
    "attribution",
    "burn_rate",
    "drawdown_audit",
    "signals",
    "alpha",
    "kalman",
    "alerts",
    "changepoints",
    "timeline",
)
"""The questions of a report, in its order. Quality comes first: it limits all others."""


class Questions:
    """One method per question; each reads what it needs when it is first called."""

    def __init__(
        self,
        source: Any,
        *,
        symbol: str | None = None,
        start: str | datetime | pd.Timestamp | None = None,
        end: str | datetime | pd.Timestamp | None = None,
        drop: Sequence[str] = (),
    ) -> None:
        """Hold the source; nothing is read yet.

        Args:
            source: a Feed, a Recording, or a frame with columns of `protocol.columns` and a DatetimeIndex with a zone. Of a feed that still
                runs, a report keeps the rows as they were at its first question.
            symbol: only packets of this one, for a stream that holds several.
            start: only rows from this time on; see `ccwatch.stream.moments`.
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
        if isinstance(source, pd.DataFrame):
            on_utc("analyze", source.iloc[:0])
            doubled = source.columns[source.columns.duplicated()]
            if len(doubled):
                raise AnalysisError(
                    f"analyze needs a frame whose columns have different names; more than once: {', '.join(map(str, doubled))}"
                )
            if given.needs_reading(source):
                found = given.read_given(source, symbol=symbol)
                source, said = found.frame, found.said
        elif not callable(getattr(source, "frame", None)):
            raise ConfigError(f"source={source!r}: expected a Feed, a Recording or a DataFrame with the columns of a Feed's frame()")
        self._symbol, self._said = symbol, said
        ends = Tables(source).ends
        self._tables = Tables(source, moment(start, "start", ends), moment(end, "end", ends), frozenset(with_what_follows(drop)))
        self._answers: dict[str, Result | AnalysisError] = {}

    @property
    def name(self) -> str:
        """Return the name of the source."""
        return self._tables.name

    @property
    def is_synthetic(self) -> bool:
        """Return whether the stream came from a seeded engine."""
        return "synthetic" in self._tables.origin

    # ── the questions ──

    def quality(self) -> Quality:
        """Say how well the stream was received; see `ccwatch.analysis.quality`."""
        tables = self._tables
        packets = tables.packets_with_text
        health = tables.health
        now = None
        if tables.is_live and health is not None and health.age_s is not None and len(packets):
            now = packets.index.max() + pd.Timedelta(seconds=health.age_s)
        size = getattr(health, "message_bytes_mean", None)
        return self._kept(
            "quality",
            lambda: quality(packets, tables.events, now=now, message_bytes_mean=size, is_synthetic=self.is_synthetic, said=self._said),
        )

    def drawdowns(self, *, column: str | None = None, symbol: str | None = None) -> Drawdowns:
        """Say when the nav (or the price) fell, how deep and for how long; see `ccwatch.analysis.drawdowns`."""
        return self._asked(drawdowns, column=column, symbol=symbol)

    def drawdown_audit(self, *, symbol: str | None = None, **options: Any) -> DrawdownAudit:
        """Say which definition of drawdown the engine reports; see `ccwatch.analysis.drawdown_audit`."""
        return self._asked(drawdown_audit, symbol=symbol, **options)

    def regimes(self, *, symbol: str | None = None, **options: Any) -> Regimes:
        """Say which regimes there were, for how long, and whether alpha agrees; see `ccwatch.analysis.regimes`."""
        return self._asked(regimes, symbol=symbol, **options)

    def alpha(self, *, symbol: str | None = None, **options: Any) -> Alpha:
        """Say whether the engine's alpha agrees with Hill's estimator on the recorded returns; see `ccwatch.analysis.alpha`."""
        return self._asked(alpha, symbol=symbol, **options)

    def kalman(self, *, symbol: str | None = None) -> Kalman:
        """Say whether the engine's velocity is that of a Kalman filter of the price; see `ccwatch.analysis.kalman`."""
        return self._asked(kalman, symbol=symbol)

    def signals(self, *, symbol: str | None = None, **options: Any) -> Signals:
        """Say what followed the signals, and whether confidence is calibrated; see `ccwatch.analysis.signals`."""
        return self._asked(signals, symbol=symbol, **options)

    def governance(self, *, symbol: str | None = None, **options: Any) -> Governance:
        """Say what was vetoed, and which rules were broken; see `ccwatch.analysis.governance`."""
        tables = self._tables

        def ask() -> Governance:
            return governance(tables.packets, tables.events, tables.logs, symbol=symbol or self._symbol, **options)

        return ask() if options or symbol is not None else self._kept("governance", ask)

    def latency(self, **options: Any) -> Latency:
        """Say how long calls took, and which services were slow; see `ccwatch.analysis.latency`."""
        return self._asked_of_services(latency, **options)

    def burn_rate(self, **options: Any) -> BurnRate:
        """Say which calls failed, and how fast the error budget is used up; see `ccwatch.analysis.burn_rate`."""
        return self._asked_of_services(burn_rate, **options)

    def attribution(self, *, symbol: str | None = None) -> Attribution:
        """Say in which regime and on which side the change of nav was made; see `ccwatch.analysis.attribution`."""
        return self._asked(attribution, symbol=symbol)

    def alerts(self, **options: Any) -> Alerts:
        """Say when each rule would have fired, and what it was worth; see `ccwatch.analysis.alerts`."""
        tables = self._tables

        def ask() -> Alerts:
            return alerts(tables.packets, tables.events, tables.agents, tables.models, **{"symbol": self._symbol, **options})

        return ask() if options else self._kept("alerts", ask)

    def timeline(self, **options: Any) -> Timeline:
        """List what happened, in order; see `ccwatch.analysis.timeline`."""
        tables = self._tables

        def ask() -> Timeline:
            given = {"symbol": self._symbol, "marks": tables.marks, "trades": tables.trades, **options}
            if "symbol" not in options:
                given["known"] = self._answered(("quality", "drawdowns", "regimes", "governance", "latency"))
            return timeline(tables.packets, tables.events, tables.agents, tables.models, tables.logs, **given)

        return ask() if options else self._kept("timeline", ask)

    def changepoints(self, **options: Any) -> Changepoints:
        """Say when the level of a measure moved; see `ccwatch.analysis.changepoints`."""
        tables = self._tables

        def ask() -> Changepoints:
            return changepoints(tables.packets, tables.events, self._calls(), **{"symbol": self._symbol, **options})

        return ask() if options else self._kept("changepoints", ask)

    def compare(self, other: Questions) -> Comparison:
        """Compare this session with another one; see `ccwatch.analysis.compare`.

        Raises:
            NotEnoughData: one of them has no packet.
            MixedSymbols: several symbols and none was chosen.
        """
        if not isinstance(other, Questions):
            raise ConfigError(f"other={other!r}: expected a report, for example cw.analyze(…); cw.compare(a, b) takes sources")
        mine, theirs = self.series(), other.series()
        return compare_series(
            mine[1],
            theirs[1],
            names=(self.name, other.name),
            basis=mine[0].basis(len(mine[0]) + len(theirs[0]), carrying=len(mine[0])),
            notes=tuple(f"{report.name} is SYNTHETIC" for report in (self, other) if report.is_synthetic),
        )

    def series(self) -> tuple[Sample, Values]:
        """Return the session's clean packets, and the series by measure that a comparison is made of."""
        used = sample("compare", self._tables.packets, self._tables.events, symbol=self._symbol, one_symbol=True)
        return used, series_of(used, self._calls())

    def explain(
        self,
        time: str | datetime | pd.Timestamp,
        window: str | timedelta = "2min",
        baseline: str | timedelta = "15min",
        *,
        display_tz: str | None = None,
    ) -> Explanation:
        """Say what is known around a moment, and what differed from before; see `ccwatch.analysis.explain`.

        Args:
            time: "10:32" is read on the session's date, in `display_tz`; or a time with a zone.
            window: length of the window, half of it on either side.
            baseline: length of the stretch before the window that it is compared with.
            display_tz: IANA zone of a time without one; None is the setting, else UTC.

        Raises:
            ConfigError: not a time, one outside the session, or one that names several moments.
            NotEnoughData: no packet in the window.
            MixedSymbols: several symbols and none was chosen.
        """
        tables = self._tables
        if not len(tables.packets):
            raise NotEnoughData("explain: no packet")
        asked = moment(time, "time", tables.ends, zone=display_tz)
        if asked is None:
            raise ConfigError(f"time: {EXAMPLES}")
        return explain(
            tables.packets,
            self.timeline().events,
            self._calls(),
            tables.events,
            time=asked,
            window_s=span_ns(window) / SECOND_NS,
            baseline_s=span_ns(baseline) / SECOND_NS,
            symbol=self._symbol,
        )

    # ── inside ──

    def _answered(self, questions: Sequence[str], on_progress: Callable[[str], object] | None = None) -> dict[str, Result | AnalysisError]:
        for question in questions:
            if on_progress is not None:
                on_progress(question.replace("_", " "))
            try:
                getattr(self, question)()
            except AnalysisError as error:
                self._answers.setdefault(question, error)
        return {question: self._answers[question] for question in questions}

    def _calls(self) -> pd.DataFrame | None:
        """Return the observed calls of agents and models; None where the stream carries none."""
        try:
            return self.latency().observations
        except AnalysisError:
            return None

    def _asked(self, kernel: Callable[..., Answer], *, symbol: str | None = None, **options: Any) -> Answer:
        """Ask a kernel of the packets; an answer to a question without options is kept."""
        tables = self._tables

        def ask() -> Answer:
            return kernel(tables.packets, tables.events, symbol=symbol or self._symbol, **options)

        given = symbol is not None or any(value is not None for value in options.values())
        return ask() if given else self._kept(kernel.__name__, ask)

    def _asked_of_services(self, kernel: Callable[..., Answer], **options: Any) -> Answer:
        """Ask a kernel of the agents' and models' tables; an answer to a question without options is kept."""
        tables = self._tables

        def ask() -> Answer:
            packets = None if tables.is_frame and "flags" not in tables.packets.columns else tables.packets
            return kernel(tables.agents, tables.models, frame=packets, events=tables.events, **options)

        return ask() if options else self._kept(kernel.__name__, ask)

    def _kept(self, question: str, ask: Callable[[], Answer]) -> Answer:
        answer = self._answers.get(question)
        if answer is None:
            try:
                answer = ask()
            except AnalysisError as error:
                answer = error
            self._answers[question] = answer
        if isinstance(answer, AnalysisError):
            raise answer.with_traceback(None)  # it may be raised many times: its traces would add up
        return cast("Answer", answer)


__all__ = ["QUESTIONS", "Questions"]
