"""Report: the questions, asked of one source, and what they answer as a page. It knows the answers' shape, not their content."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import pandas as pd

from ccwatch.alerts import read_objectives
from ccwatch.analysis import markdown, page, story
from ccwatch.analysis.alerts import Alerts, alerts
from ccwatch.analysis.alpha import Alpha, alpha
from ccwatch.analysis.attribution import Attribution, attribution
from ccwatch.analysis.burn_rate import BurnRate, burn_rate
from ccwatch.analysis.changepoints import Changepoints, changepoints
from ccwatch.analysis.compare import Comparison, Values, series_of
from ccwatch.analysis.compare import compare as compare_series
from ccwatch.analysis.drawdown_audit import DrawdownAudit, drawdown_audit
from ccwatch.analysis.drawdowns import Drawdowns, drawdowns
from ccwatch.analysis.explain import Explanation, explain, read_time
from ccwatch.analysis.governance import Governance, governance
from ccwatch.analysis.kalman import Kalman, kalman
from ccwatch.analysis.latency import Latency, latency
from ccwatch.analysis.quality import Quality, quality
from ccwatch.analysis.regimes import Regimes, regimes
from ccwatch.analysis.result import Result
from ccwatch.analysis.sample import SECOND_NS, Sample, sample
from ccwatch.analysis.signals import Signals, signals
from ccwatch.analysis.tables import Tables, moment
from ccwatch.analysis.timeline import Timeline, timeline
from ccwatch.config import Settings
from ccwatch.errors import AnalysisError, ConfigError, NotEnoughData
from ccwatch.frames import span_ns
from ccwatch.recording import with_what_follows

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


class Report:
    """Asks a stream why. One method per question; each reads what it needs when it is first called."""

    def __init__(
        self,
        source: Any,
        *,
        symbol: str | None = None,
        start: str | datetime | pd.Timestamp | None = None,
        end: str | datetime | pd.Timestamp | None = None,
        drop: Sequence[str] = (),
    ) -> None:
        """A report that has read nothing yet.

        Args:
            source: a Feed, a Recording, or a frame with columns of DESIGN section 4 and a DatetimeIndex with a zone. Of a feed that still
                runs, a report keeps the rows as they stood at its first question.
            symbol: only packets of this one, for a stream that holds several.
            start: only what lies from this time on; aware.
            end: only what lies before this time; aware.
            drop: columns (nav, cash, …) and lists (agents, models, logs) that are as if the stream had never carried them, for a report
                that is shared. With money go the log lines, which may quote it.

        Raises:
            ConfigError: a time without a zone, or a `drop` that names no column.
        """
        if isinstance(drop, str):
            raise ConfigError(f"drop={drop!r}: expected a list of names, for example ('nav', 'cash')")
        self._symbol = symbol
        self._tables = Tables(source, moment(start, "start"), moment(end, "end"), frozenset(with_what_follows(drop)))
        self._answers: dict[str, Result | AnalysisError] = {}

    def between(self, start: str | datetime | pd.Timestamp | None = None, end: str | datetime | pd.Timestamp | None = None) -> Report:
        """The same questions of the range start ≤ time < end.

        Raises:
            ConfigError: a time without a zone.
        """
        return Report(self._tables.source, symbol=self._symbol, start=start, end=end, drop=sorted(self._tables.dropped))

    def without(self, drop: Sequence[str]) -> Report:
        """The same questions of a stream that never carried these columns and lists, nor the text that may quote them.

        Args:
            drop: as of the class.

        Raises:
            ConfigError: `drop` names no column.
        """
        tables = self._tables
        return Report(tables.source, symbol=self._symbol, start=tables.start, end=tables.end, drop=[*tables.dropped, *drop])

    @property
    def name(self) -> str:
        """What the source is called."""
        return self._tables.name

    @property
    def is_synthetic(self) -> bool:
        """Whether the stream came from a seeded engine."""
        return "synthetic" in self._tables.origin

    # ── the questions ──

    def quality(self) -> Quality:
        """How well was the stream received? See `ccwatch.analysis.quality`."""
        tables = self._tables
        packets = tables.packets_with_text
        health = tables.health
        now = None
        if tables.is_live and health is not None and health.age_s is not None and len(packets):
            now = packets.index.max() + pd.Timedelta(seconds=health.age_s)
        size = getattr(health, "message_bytes_mean", None)
        return self._kept(
            "quality", lambda: quality(packets, tables.events, now=now, message_bytes_mean=size, is_synthetic=self.is_synthetic)
        )

    def drawdowns(self, *, column: str | None = None, symbol: str | None = None) -> Drawdowns:
        """When did the nav (or the price) fall, how deep, for how long? See `ccwatch.analysis.drawdowns`."""
        return self._asked(drawdowns, column=column, symbol=symbol)

    def drawdown_audit(self, *, symbol: str | None = None, **options: Any) -> DrawdownAudit:
        """Which drawdown does the engine report? See `ccwatch.analysis.drawdown_audit`."""
        return self._asked(drawdown_audit, symbol=symbol, **options)

    def regimes(self, *, symbol: str | None = None, **options: Any) -> Regimes:
        """Which regimes, for how long, and does alpha agree? See `ccwatch.analysis.regimes`."""
        return self._asked(regimes, symbol=symbol, **options)

    def alpha(self, *, symbol: str | None = None, **options: Any) -> Alpha:
        """Does the engine's alpha agree with Hill's estimator on the recorded returns? See `ccwatch.analysis.alpha`."""
        return self._asked(alpha, symbol=symbol, **options)

    def kalman(self, *, symbol: str | None = None) -> Kalman:
        """Is the engine's velocity that of a Kalman filter of the price? See `ccwatch.analysis.kalman`."""
        return self._asked(kalman, symbol=symbol)

    def signals(self, *, symbol: str | None = None, **options: Any) -> Signals:
        """What followed on the signals, and does confidence mean what it says? See `ccwatch.analysis.signals`."""
        return self._asked(signals, symbol=symbol, **options)

    def governance(self, *, symbol: str | None = None, **options: Any) -> Governance:
        """What was vetoed, and which rules were broken? See `ccwatch.analysis.governance`."""
        tables = self._tables

        def ask() -> Governance:
            return governance(tables.packets, tables.events, tables.logs, symbol=symbol or self._symbol, **options)

        return ask() if options or symbol is not None else self._kept("governance", ask)

    def latency(self, **options: Any) -> Latency:
        """How long did calls take, and who was slow? See `ccwatch.analysis.latency`."""
        return self._asked_of_services(latency, **options)

    def burn_rate(self, **options: Any) -> BurnRate:
        """Which calls failed, and how fast is the budget of errors used up? See `ccwatch.analysis.burn_rate`."""
        return self._asked_of_services(burn_rate, **options)

    def attribution(self, *, symbol: str | None = None) -> Attribution:
        """In which regime and on which side was the change of nav made? See `ccwatch.analysis.attribution`."""
        return self._asked(attribution, symbol=symbol)

    def alerts(self, **options: Any) -> Alerts:
        """When would each rule have fired, and what was it worth? See `ccwatch.analysis.alerts`."""
        tables = self._tables

        def ask() -> Alerts:
            return alerts(tables.packets, tables.events, tables.agents, tables.models, **{"symbol": self._symbol, **options})

        return ask() if options else self._kept("alerts", ask)

    def timeline(self, **options: Any) -> Timeline:
        """What happened, in order? See `ccwatch.analysis.timeline`."""
        tables = self._tables

        def ask() -> Timeline:
            given = {"symbol": self._symbol, "marks": tables.marks, **options}
            if "symbol" not in options:
                given["known"] = self._answered(("quality", "drawdowns", "regimes", "governance", "latency"))
            return timeline(tables.packets, tables.events, tables.agents, tables.models, tables.logs, **given)

        return ask() if options else self._kept("timeline", ask)

    def changepoints(self, **options: Any) -> Changepoints:
        """When did the level of a measure move? See `ccwatch.analysis.changepoints`."""
        tables = self._tables

        def ask() -> Changepoints:
            return changepoints(tables.packets, tables.events, self._calls(), **{"symbol": self._symbol, **options})

        return ask() if options else self._kept("changepoints", ask)

    def compare(self, other: Report) -> Comparison:
        """This session held against another one. See `ccwatch.analysis.compare`.

        Raises:
            NotEnoughData: one of them has no packet.
            MixedSymbols: several symbols and none was chosen.
        """
        mine, theirs = self.series(), other.series()
        return compare_series(
            mine[1],
            theirs[1],
            names=(self.name, other.name),
            basis=mine[0].basis(len(mine[0]) + len(theirs[0]), carrying=len(mine[0])),
            notes=tuple(f"{report.name} is SYNTHETIC" for report in (self, other) if report.is_synthetic),
        )

    def series(self) -> tuple[Sample, Values]:
        """The session's clean packets, and the series by measure that a comparison is made of."""
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
        """What is known around a moment, and what differed from before? See `ccwatch.analysis.explain`.

        Args:
            time: "10:32" is read on the session's date, in `display_tz`; or a time with a zone.
            window: length of the window, half of it on either side.
            baseline: length of the stretch before the window that it is held against.
            display_tz: IANA zone of a time without one; None is the setting, else UTC.

        Raises:
            ConfigError: no time, one outside the session, or one that names several moments.
            NotEnoughData: no packet in the window.
            MixedSymbols: several symbols and none was chosen.
        """
        tables = self._tables
        if not len(tables.packets):
            raise NotEnoughData("explain: no packet")
        index = pd.DatetimeIndex(tables.packets.index)
        zone = Settings.load(display_tz=display_tz).display_tz
        asked = read_time(time, index.min().tz_convert("UTC"), index.max().tz_convert("UTC"), zone)
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

    # ── all together ──

    def answers(self, *, on_progress: Callable[[str], object] | None = None) -> dict[str, Result | AnalysisError]:
        """Every question's answer, or the error that says what is missing for it, in the order of the report.

        Args:
            on_progress: told each question before it is asked: a long session takes a while.
        """
        return self._answered(QUESTIONS, on_progress)

    def what_happened(self) -> list[tuple[str, str]]:
        """Sentences made of evidence, each with the question that it comes from; at most five. See `ccwatch.analysis.story`."""
        return story.what_happened(self.answers(), self._worst_start, read_objectives(Settings.load().objectives))

    def to_dict(self) -> dict[str, Any]:
        """Every answer as plain values that JSON can hold."""
        answers = {
            question: answer.to_dict()
            if isinstance(answer, Result)
            else {"question": question, "error": _name(answer), "reason": str(answer)}
            for question, answer in self.answers().items()
        }
        return {
            "source": self._tables.name,
            "origin": self._tables.origin,
            "synthetic": self.is_synthetic,
            "what_happened": [sentence for _, sentence in self.what_happened()],
            "answers": answers,
        }

    def to_markdown(self, *, drop: Sequence[str] = ()) -> str:
        """The report as Markdown; nothing that the stream wrote is markup in it.

        Args:
            drop: as of the class.

        Raises:
            ConfigError: `drop` names no column.
        """
        if drop:
            return self.without(drop).to_markdown()
        return markdown.render(
            title=f"Post-mortem of {self._tables.name}",
            is_synthetic=self.is_synthetic,
            happened=self.what_happened(),
            answers=self._sections(),
            why_not=self._why_not,
            left_out=self._left_out(),
        )

    def to_html(self, path: str | Path, *, drop: Sequence[str] = ()) -> Path:
        """Write the report as one file that needs no network: pictures, tables and plotly's own script are in it.

        Args:
            path: where to; an existing file is replaced, whole or not at all.
            drop: as of the class. An answer that needs what is left out is absent, and the page says so.

        Returns:
            The path.

        Raises:
            ConfigError: `drop` names no column.
        """
        if drop:
            return self.without(drop).to_html(path)
        path = Path(path)
        packets = self._tables.packets
        text = page.render(
            title=f"Post-mortem of {self._tables.name}",
            is_synthetic=self.is_synthetic,
            happened=self.what_happened(),
            answers=self._sections(),
            why_not=self._why_not,
            left_out=self._left_out(),
            overview=page.overview_figure(packets, self._tables.agents, self._tables.events, self._symbol),
        )
        draft = path.with_name(f".{path.name}.part")
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
        return path

    def __repr__(self) -> str:
        return f"<Report of {self._tables.name}>"

    def _repr_html_(self) -> str:
        badge = " <strong>SYNTHETIC</strong>" if self.is_synthetic else ""
        rows = "".join(
            f"<tr><th style='text-align:left'>{_title(question)}</th><td style='text-align:left'>"
            f"{html.escape(answer.headline() if isinstance(answer, Result) else f'cannot be told: {answer}')}</td></tr>"
            for question, answer in self.answers().items()
        )
        return f"<table><caption>{html.escape(repr(self)[1:-1])}{badge}</caption>{rows}</table>"

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

    def _sections(self) -> dict[str, Result | AnalysisError]:
        """Every answer, and what is known around the moment at which the worst drawdown began."""
        around = self._worst_start
        return self.answers() if around is None else {**self.answers(), "explain": around}

    def _left_out(self) -> str:
        dropped = sorted(self._tables.dropped)
        return f"Left out of this report on purpose: {', '.join(dropped)}." if dropped else ""

    def _why_not(self, error: Result | AnalysisError) -> str:
        """Why a question has no answer: what was left out on purpose, or the error's own words."""
        hidden = sorted(self._tables.dropped & set(getattr(error, "columns", ())))
        return f"it needs {', '.join(hidden)}, left out of this report on purpose" if hidden else str(error)

    @cached_property
    def _worst_start(self) -> Explanation | None:
        """What is known around the first packet under water of the worst drawdown; None where there is none, or nothing can be told."""
        try:
            worst = self.drawdowns().worst
            return None if worst is None else self.explain(worst["start_time"])
        except AnalysisError:
            return None

    def _calls(self) -> pd.DataFrame | None:
        """Observed calls of agents and models; None where the stream carries none."""
        try:
            return self.latency().observations
        except AnalysisError:
            return None

    def _asked(self, kernel: Callable[..., Answer], *, symbol: str | None = None, **options: Any) -> Answer:
        """Ask a kernel of the packets; what it answers without options is kept."""
        tables = self._tables

        def ask() -> Answer:
            return kernel(tables.packets, tables.events, symbol=symbol or self._symbol, **options)

        given = symbol is not None or any(value is not None for value in options.values())
        return ask() if given else self._kept(kernel.__name__, ask)

    def _asked_of_services(self, kernel: Callable[..., Answer], **options: Any) -> Answer:
        """Ask a kernel of the agents' and models' tables; what it answers without options is kept."""
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


def _title(question: str) -> str:
    return question.replace("_", " ").capitalize()


def _name(error: Result | AnalysisError) -> str:
    return type(error).__name__


__all__ = ["QUESTIONS", "Report"]
