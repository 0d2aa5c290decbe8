"""Merging many answers to one question, by a tree: each level halves their number. It knows no question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, Final

from ccwatch.analysis.result import Answer, Result
from ccwatch.errors import AnalysisError

ONE_BY_ONE: Final = ("symbol",)
"""Fields that name the subject of an answer: None in an answer about several subjects."""
NOTES_KEPT: Final = 30
"""Notes of a merged answer: thousands of sessions have thousands of them."""


def merge_all(results: Sequence[Answer], *, apart: bool | None = None) -> Answer:
    """Return the answer for all sessions of the answers, which may be in any order.

    Args:
        results: answers to one question, asked alike; of several symbols, the merged answer names none.
        apart: of different streams, as two desks are: times may overlap, and nothing is counted from one to the next. None is where
            they overlap.

    Raises:
        ValueError: no answers, answers to several questions, or asked differently.
        AnalysisError: the question's answers do not merge, or they overlap and `apart` is False.
    """
    if not results:
        raise ValueError("merge_all: expected at least one answer")
    questions = {result.question for result in results}
    if len(questions) > 1:
        raise ValueError(f"merge_all: expected answers to one question, got {', '.join(sorted(questions))}")
    if len(results) == 1:
        return results[0]
    if not hasattr(results[0], "merge"):
        raise AnalysisError(
            f"{results[0].question}: answers of several sessions do not merge; ask each session, or one frame that holds all"
        )
    level: list[Any] = sorted(_of_no_symbol(results), key=_begin)
    if apart is None:
        apart = overlap(level)
    while len(level) > 1:
        pairs = [_short(one.merge(two, apart=apart)) for one, two in zip(level[::2], level[1::2], strict=False)]
        level = [*pairs, *level[len(pairs) * 2 :]]
    return level[0]  # type: ignore[no-any-return] # of the type that came in


def overlap(ordered: Sequence[Result]) -> bool:
    """Return whether one of the answers, ordered by their start, begins before another one has ended."""
    end = None
    for result in ordered:
        if result.basis.start is not None and end is not None and result.basis.start < end:
            return True
        if result.basis.end is not None:
            end = result.basis.end if end is None else max(end, result.basis.end)
    return False


def _begin(result: Result) -> tuple[bool, int]:
    start = result.basis.start
    return (start is None, 0 if start is None else start.value)


def _of_no_symbol(results: Sequence[Answer]) -> list[Answer]:
    """Return the answers; where they are about several symbols, with the symbol set to None."""
    found = list(results)
    for name in ONE_BY_ONE:
        if any(field.name == name for field in fields(found[0])) and len({getattr(result, name) for result in found}) > 1:  # type: ignore[arg-type] # each one is a dataclass
            found = [replace(result, **{name: None}) for result in found]  # type: ignore[type-var] # see above
    return found


def _short(result: Any) -> Any:
    """Return the answer with a bounded number of notes (see NOTES_KEPT): those that hold for all sessions first."""
    if len(result.notes) <= NOTES_KEPT:
        return result
    more = "further notes hold of single sessions: ask each session for them"
    notes = [note for note in result.notes if note != more]
    general = [note for note in notes if not note.startswith("of the session")]
    single = [note for note in notes if note.startswith("of the session")]
    return replace(result, notes=(*general[:NOTES_KEPT], *single[: max(0, NOTES_KEPT - 1 - len(general))], more))
