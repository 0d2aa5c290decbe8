"""The base class of every answer, which becomes a frame, plain values or a card in a notebook. It knows no question."""

from __future__ import annotations

import html
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, TypeVar

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from pandas.api.types import union_categoricals

from ccwatch import text as leaving
from ccwatch.analysis.usable_rows import Basis
from ccwatch.stream import arrow
from ccwatch.stream.time_ranges import shown

Answer = TypeVar("Answer", bound="Result")

ROWS_SHOWN = 20
"""Rows of a table that a card shows."""
_SEVERAL: Final = "of several sessions, one after the other: nothing is counted from one to the next"
_OF: Final = "of the session"


class Result(ABC):
    """An answer: frozen, with its units in its names, the basis it rests on and the notes that limit it.

    Answers that are made of counts and stretches have `merge(other)`: the answer for both of two sessions that do not overlap in time
    (or are `apart`: of different streams), in either order, with nothing counted from one to the other; `Result.merge_all` is for many.
    Drawdowns and their audit have none, since an episode may start from a peak of the session before; nor have alpha, Kalman,
    changepoints and quality, which fit or rank the packets of one session, nor explanation and first sign, which are about one moment,
    nor comparison and against, which are about a session and another one. Ask those of one frame that holds both.
    """

    question: ClassVar[str]
    """The name of the Report method that gives it."""
    title: ClassVar[str]
    basis: Basis
    notes: tuple[str, ...]

    @staticmethod
    def merge_all(results: Sequence[Answer], *, apart: bool | None = None) -> Answer:
        """Return the answer for all sessions of the answers, in any order; see `ccwatch.analysis.merging`."""
        from ccwatch.analysis.merging import merge_all  # noqa: PLC0415 - which knows this class

        return merge_all(results, apart=apart)

    def to_arrow(self) -> Any:
        """Return the answer's table as a pyarrow.Table; an index of times comes as its first column."""
        return arrow.table_of(self.to_frame())

    def to_polars(self) -> Any:
        """Return the answer's table as a polars.DataFrame, see `to_arrow`.

        Raises:
            ConfigError: polars is not installed.
        """
        return arrow.polars_of(self.to_arrow())

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    @abstractmethod
    def headline(self) -> str:
        """Return the answer in one sentence, made of evidence; plain text."""

    @abstractmethod
    def to_frame(self) -> pd.DataFrame:
        """Return the answer's table, a copy: editing it changes nothing else."""

    @abstractmethod
    def figure(self, *, dark: bool = False) -> go.Figure:
        """Return the answer as a plotly figure, times in UTC."""

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain values that JSON can hold: times as ISO 8601 in UTC, missing numbers as None."""
        values = {f.name: plain(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type] # each one is a dataclass
        return {"question": self.question, "headline": self.headline(), **values}

    def listed(self) -> pd.DataFrame:
        """Return the rows of `to_frame`, the weightiest first, for a page or a text that shows only the first of them."""
        return self.to_frame()

    def to_markdown(self) -> str:
        """Return the answer as Markdown: headline, notes, table."""
        lines = [f"### {self.title}", "", markdown_text(self.headline()), ""]
        lines += [f"- {markdown_text(note)}" for note in self.notes]
        return "\n".join([*lines, "", markdown_table(self.listed()), "", f"*{basis_line(self.basis)}*", ""])

    def __repr__(self) -> str:
        """Return the headline, where a dataclass would give its tables; `to_frame()` has the rows. Each answer has repr=False for it."""
        return f"<{self.title}: {self.headline()}>"

    def _repr_html_(self) -> str:
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        return (
            f"<div class='ccwatch-answer'><h4>{html.escape(self.title)}</h4><p>{html.escape(self.headline())}</p>"
            f"{f'<ul>{notes}</ul>' if notes else ''}{html_table(self.listed())}"
            f"<p><small>{html.escape(basis_line(self.basis))}</small></p></div>"
        )


def in_order(one: Answer, two: Answer, *asked: str, **alike: tuple[Any, Any]) -> tuple[Answer, Answer]:
    """Return the earlier and the later of two answers.

    Args:
        one: an answer.
        two: another one to the same question.
        asked: names of fields that must be equal in both.
        alike: by name, other values that must be equal.

    Raises:
        ValueError: answers that were asked differently.
    """
    pairs = {name: (getattr(one, name), getattr(two, name)) for name in asked} | alike
    for name, (mine, theirs) in pairs.items():
        if mine != theirs:
            raise ValueError(f"{one.question}: {name}={mine!r} and {theirs!r} do not merge; ask both sessions with the same one")
    starts = one.basis.start, two.basis.start
    return (two, one) if starts[0] is not None and starts[1] is not None and starts[1] < starts[0] else (one, two)


def stacked(one: pd.DataFrame, two: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of two tables of one shape, those of the first table first; categorical columns stay categorical."""
    if not len(one) or not len(two):
        return (two if len(two) else one).copy()
    words = sorted({*one.columns[_are_words(one)]} & {*two.columns[_are_words(two)]}, key=list(one.columns).index)
    if not words:
        return pd.concat([one, two], ignore_index=isinstance(one.index, pd.RangeIndex))
    whole = pd.concat([one.drop(columns=words), two.drop(columns=words)], ignore_index=True)
    for name in words:
        whole.insert(list(one.columns).index(name), name, pd.Series(union_categoricals([one[name].array, two[name].array])))
    return whole if isinstance(one.index, pd.RangeIndex) else whole.set_axis(one.index.append(two.index), axis=0)


def _are_words(table: pd.DataFrame) -> list[bool]:
    return [isinstance(dtype, pd.CategoricalDtype) for dtype in table.dtypes]


def notes_of(one: Answer, two: Answer, merged: Answer, limits: Callable[[Answer], Sequence[str]] | None = None) -> tuple[str, ...]:
    """Return the notes of a merged answer: those of both, those of one (naming it), and those that follow from its own tables.

    Args:
        one: the earlier answer.
        two: the later one.
        merged: that of both, whose notes are not made yet.
        limits: the notes that follow from an answer's tables, made again since their counts have changed.
    """
    made = [() if limits is None else tuple(limits(part)) for part in (one, two, merged)]
    own_notes = [
        [note for note in part.notes if note not in (*of_tables, _SEVERAL)] for part, of_tables in zip((one, two), made, strict=False)
    ]
    notes = []
    for part, mine, others in ((one, own_notes[0], own_notes[1]), (two, own_notes[1], own_notes[0])):
        of = f"{_OF}{'s' if _SEVERAL in part.notes else ''} "
        notes += [note if note in others or note.startswith(_OF) else f"{of}{span_of(part.basis)}: {note}" for note in mine]
    return *dict.fromkeys(notes), *made[-1], _SEVERAL


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it."""
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, pd.DataFrame):
        # tolist() of an object column keeps Timestamps, so that one rule serves all
        columns = {str(name): [plain(cell) for cell in value[name].tolist()] for name in value.columns}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list | np.ndarray):
        return [plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    return str(value)


def cell_text(value: Any) -> str:
    """Return a table's cell as text for people; a dash where it is missing."""
    found = plain(value)
    if found is None or found == "":
        return "–"
    if isinstance(value, datetime):
        here = value if value.tzinfo is None else shown(value)
        return f"{here:%Y-%m-%d %H:%M:%S}.{here.microsecond // 1000:03d}"
    if isinstance(found, bool):
        return "yes" if found else "no"
    if isinstance(found, float):
        return f"{found:,.6g}"
    return f"{found:,}" if isinstance(found, int) else str(found)


def html_table(frame: pd.DataFrame, limit: int = ROWS_SHOWN) -> str:
    """Return the first rows as an HTML table, escaped, with the number of rows left out and how to see them."""
    head = "".join(f"<th scope='col'>{html.escape(str(name))}</th>" for name in frame.columns)
    shown = frame.head(limit)
    columns = [[html.escape(cell_text(cell)) for cell in shown[name].tolist()] for name in shown.columns]
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in zip(*columns, strict=True))
    more = f"<p><small>{html.escape(left_out(frame, limit))}</small></p>" if len(frame) > limit else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def markdown_table(frame: pd.DataFrame, limit: int = ROWS_SHOWN) -> str:
    """Return the first rows as a Markdown table, with the number of rows left out and how to see them."""
    if not len(frame):
        return "No rows."
    names = [markdown_text(str(name)) for name in frame.columns]
    shown = frame.head(limit)
    columns = [[markdown_text(cell_text(cell)) for cell in shown[name].tolist()] for name in shown.columns]
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    lines += ["| " + " | ".join(row) + " |" for row in zip(*columns, strict=True)]
    return "\n".join([*lines, *([f"\n{markdown_text(left_out(frame, limit))}"] if len(frame) > limit else [])])


def left_out(frame: pd.DataFrame, limit: int) -> str:
    """Say how many rows a shortened table leaves out, and how to see them: rows are listed by weight, so the lightest are left out."""
    return f"{count_of(len(frame) - limit, 'more row')} of less weight; to_frame() of this answer has all {len(frame):,}, by time"


def markdown_text(text: str) -> str:
    """Return the text with all markup escaped, since the stream's text may look like Markdown or HTML."""
    text = html.escape(leaving.plain(text, keep="\n"), quote=False).replace("\n", " ")
    return "".join("\\" + sign if sign in "\\`*_[]|#" else sign for sign in text)


def basis_line(basis: Basis) -> str:
    """Return an answer's basis in one line: observations, coverage, rows left out, time span and gaps."""
    gaps = f"{count_of(basis.gaps, 'gap')} of {basis.gap_s:,.1f} s" if basis.gaps else "no gaps"
    covers = "" if math.isnan(basis.coverage) else f", {basis.coverage:.1%} of {basis.packets:,} packets"
    return f"n = {basis.n:,}{covers}; {basis.left_out:,} repeats, replays and placeholders left out; {span_of(basis)}; {gaps}"


def span_of(basis: Basis) -> str:
    """Return the first and the last time of an answer as text, in the zone in which times are shown."""
    if basis.start is None or basis.end is None:
        return "no packets"
    return f"{shown(basis.start):%Y-%m-%d %H:%M:%S} to {shown(basis.end):%Y-%m-%d %H:%M:%S %Z}"


def count_of(n: int, one: str, many: str | None = None) -> str:
    """Return a count with its noun: 1 gap, 2,000 gaps; `many` where the plural is not `one` with an s."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def count_or_none(n: int) -> str:
    """Return a count as text, "none" for 0."""
    return f"{n:,}" if n else "none"


def clock(moment: Any, within: Basis | None = None, *, dated: bool = False) -> str:
    """Return a time for a sentence, in the zone in which times are shown: the time of day, and its date where `within` spans days."""
    if moment is None or pd.isna(moment):
        return "–"
    if within is not None and within.start is not None and within.end is not None:
        dated = dated or shown(within.start).date() != shown(within.end).date()
    return f"{shown(moment):%Y-%m-%d %H:%M:%S %Z}" if dated else f"{shown(moment):%H:%M:%S %Z}"


def percent(value: float, decimals: int = 2) -> str:
    """Return a fraction as a percentage for a sentence, with a true minus sign; no sign where it rounds to zero."""
    if math.isnan(value):
        return "unknown"
    text = f"{value:.{decimals}%}"
    return text.removeprefix("-") if not text.strip("-0.%") else text.replace("-", "\N{MINUS SIGN}")


def amount(value: float, unit: str) -> str:
    """Return a number with its unit for a sentence, to four digits; a fraction in percent."""
    if math.isnan(value):
        return "unknown"
    shown, unit = (100.0 * value, "%") if unit == "fraction" else (value, f" {unit}".rstrip())
    sign = "\N{MINUS SIGN}" if shown < 0.0 else ""  # not by replacing: an exponent has a hyphen too
    return f"{sign}{abs(shown):,.4g}{unit}"


def dollars(value: float) -> str:
    """Return an amount of USD for a sentence, with its sign."""
    return "unknown" if math.isnan(value) else f"{value:+,.2f} USD".replace("-", "\N{MINUS SIGN}")
