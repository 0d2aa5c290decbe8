"""Report: all answers together, as sentences, values, Markdown and a page. It knows the shape of answers, not their content."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ccwatch.alerts import drawn_objectives
from ccwatch.analysis import markdown, report_page, sentences
from ccwatch.analysis.explain import Explanation
from ccwatch.analysis.related_questions import RelatedQuestions
from ccwatch.analysis.report_questions import QUESTIONS
from ccwatch.analysis.result import Result
from ccwatch.config import Settings
from ccwatch.errors import AnalysisError, ConfigError
from ccwatch.stream.time_ranges import Moment


class Report(RelatedQuestions):
    """All answers about one stream. One method per question; each reads what it needs when it is first called."""

    def between(self, start: Moment = None, end: Moment = None) -> Report:
        """Return the report of the range start ≤ time ≤ end: "14:38", timestamps, a slice; see `ccwatch.stream.time_ranges`.

        Raises:
            ConfigError: not a time, or one that occurs in the session never, or more than once.
        """
        return self._again(start, end, sorted(self._tables.dropped))

    def of_symbol(self, symbol: str) -> Report:
        """Return the report of one symbol of a stream that holds several."""
        return self._again(self._tables.start, self._tables.end, sorted(self._tables.dropped), symbol)

    def without(self, drop: Sequence[str]) -> Report:
        """Return the report of the stream as if it had never carried these columns and lists, nor the text that may quote them.

        Args:
            drop: as for the class.

        Raises:
            ConfigError: `drop` names no column.
        """
        tables = self._tables
        if isinstance(drop, str):
            raise ConfigError(f"drop={drop!r}: expected a list of names, for example {drop.split(',')}")
        return self._again(tables.start, tables.end, [*tables.dropped, *drop])

    # ── all together ──

    def answers(self, *, on_progress: Callable[[str], object] | None = None) -> dict[str, Result | AnalysisError]:
        """Return every question's answer, or the error that says what is missing for it, in the order of the report.

        Args:
            on_progress: called with each question before it is asked, since a long session takes a while.
        """
        return self.answered(QUESTIONS, on_progress)

    def what_happened(self) -> list[tuple[str, str]]:
        """Return at most five sentences made of evidence, each with the question that it comes from; see `ccwatch.analysis.sentences`."""
        return sentences.what_happened(self.answers(), self._worst_start, drawn_objectives(Settings.load().objectives))

    def to_dict(self) -> dict[str, Any]:
        """Return every answer as plain values that JSON can hold."""
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
        """Return the report as Markdown, in which nothing that the stream wrote is markup.

        Args:
            drop: as for the class.

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
            drop: as for the class. An answer that needs what is left out is absent, and the page says so.

        Returns:
            The path.

        Raises:
            ConfigError: `drop` names no column.
        """
        if drop:
            return self.without(drop).to_html(path)
        path = Path(path)
        packets = self._tables.packets
        text = report_page.render(
            title=f"Post-mortem of {self._tables.name}",
            is_synthetic=self.is_synthetic,
            happened=self.what_happened(),
            answers=self._sections(),
            why_not=self._why_not,
            left_out=self._left_out(),
            overview=report_page.overview_figure(packets, self._tables.agents, self._tables.events, self._symbol),
        )
        if path.is_dir() or not path.parent.is_dir():
            raise ConfigError(f"path={str(path)!r}: expected a file to write in a folder that exists, for example report.html")
        draft = path.with_name(f".{path.name}.part")
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
        return path

    def __repr__(self) -> str:
        return f"<Report of {self._tables.name}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Print what happened in IPython, in five sentences."""
        printer.text(repr(self) if cycle else "\n".join([repr(self), *(sentence for _, sentence in self.what_happened())]))

    def _repr_html_(self) -> str:
        badge = " <strong>SYNTHETIC</strong>" if self.is_synthetic else ""
        rows = "".join(
            f"<tr><th style='text-align:left'>{_title(question)}</th><td style='text-align:left'>"
            f"{html.escape(answer.headline() if isinstance(answer, Result) else f'not known: {answer}')}</td></tr>"
            for question, answer in self.answers().items()
        )
        return f"<table><caption>{html.escape(repr(self)[1:-1])}{badge}</caption>{rows}</table>"

    # ── inside ──

    def _again(self, start: Any, end: Any, drop: Sequence[str], symbol: str | None = None) -> Report:
        """Return the report of the same source, read in the same way, of its symbol if no other is given."""
        found = Report(self._tables.source, symbol=symbol or self._symbol, start=start, end=end, drop=drop)
        found._said = self._said
        return found

    def _sections(self) -> dict[str, Result | AnalysisError]:
        """Return every answer, and the explanation of the moment at which the worst drawdown began."""
        around = self._worst_start
        return self.answers() if around is None else {**self.answers(), "explain": around}

    def _left_out(self) -> str:
        dropped = sorted(self._tables.dropped)
        return f"Left out of this report on purpose: {', '.join(dropped)}." if dropped else ""

    def _why_not(self, error: Result | AnalysisError) -> str:
        """Say why a question has no answer: what was left out on purpose, or the error's own words."""
        hidden = sorted(self._tables.dropped & set(getattr(error, "columns", ())))
        return f"it needs {', '.join(hidden)}, left out of this report on purpose" if hidden else str(error)

    @cached_property
    def _worst_start(self) -> Explanation | None:
        """Return the explanation of the worst drawdown's first packet under water; None without a drawdown or an explanation."""
        try:
            worst = self.drawdowns().worst
            return None if worst is None else self.explain(worst["start_time"])
        except AnalysisError:
            return None


def _title(question: str) -> str:
    return question.replace("_", " ").capitalize()


def _name(error: Result | AnalysisError) -> str:
    return type(error).__name__


__all__ = ["QUESTIONS", "Report"]
