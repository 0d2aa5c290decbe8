"""The report as Markdown. It must not know a question, only the methods that every answer has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ccwatch.analysis.quality import Quality
from ccwatch.analysis.quality_measures import OK
from ccwatch.analysis.result import Result, markdown_text
from ccwatch.errors import AnalysisError


def render(
    *,
    title: str,
    is_synthetic: bool,
    happened: Sequence[tuple[str, str]],
    answers: Mapping[str, Result | AnalysisError],
    why_not: Callable[[AnalysisError], str] = str,
    left_out: str = "",
) -> str:
    """Return the Markdown text; arguments as for `report_page.render`. Nothing that the stream wrote is markup in it."""
    lines = [f"# {markdown_text(title)}{' · **SYNTHETIC**' if is_synthetic else ''}", ""]
    seen = answers.get("quality")
    if isinstance(seen, Quality) and seen.verdict != OK:
        lines += [f"> **Data quality {seen.verdict}**: {markdown_text('; '.join(seen.reasons))}", ""]
    if left_out:
        lines += [f"> {markdown_text(left_out)}", ""]
    lines += ["## What happened", "", *(f"1. {markdown_text(sentence)}" for _, sentence in happened), ""]
    lines += ["## Answers", ""]
    lines += [answer.to_markdown() for answer in answers.values() if isinstance(answer, Result)]
    unanswered = [(question, answer) for question, answer in answers.items() if not isinstance(answer, Result)]
    if unanswered:
        lines += ["## Questions without an answer", ""]
        lines += [f"- **{question.replace('_', ' ').capitalize()}**: {markdown_text(why_not(error))}" for question, error in unanswered]
    return "\n".join(lines).rstrip() + "\n"
