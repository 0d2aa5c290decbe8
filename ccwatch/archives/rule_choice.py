"""A rule chosen on one half of an archive and judged on the other, and the first sign of a fall against calm sessions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ccwatch.analysis import IN_SAMPLE, Basis, FirstSign, Report, Result, WhatIf, count_of, dollars, draw
from ccwatch.archives.ask import collect
from ccwatch.archives.locations import open_place
from ccwatch.archives.sessions import Session, left_out_note
from ccwatch.errors import AnalysisError, ConfigError, NotEnoughData


@dataclass(frozen=True, eq=False, repr=False)
class Choice(Result):
    """A rule chosen on the earlier sessions of an archive and judged on the later ones, which it has not seen. Amounts in USD.

    Attributes:
        candidates: one row per rule; see `to_frame`.
        rule: the arguments of the chosen one.
        answer: what it would have made of the later sessions, merged.
        chosen_on: names of the earlier sessions.
        judged_on: names of the later ones.
        basis: of the later sessions.
        notes: limits of the answer, as sentences.
    """

    question: ClassVar[str] = "choose"
    title: ClassVar[str] = "A rule chosen on one half, judged on the other"
    candidates: pd.DataFrame
    rule: Mapping[str, Any]
    answer: WhatIf
    chosen_on: tuple[str, ...]
    judged_on: tuple[str, ...]
    basis: Basis
    notes: tuple[str, ...]

    def headline(self) -> str:
        """Say which rule was chosen on how many sessions, and what it makes of the others."""
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.rule.items())
        best = self.candidates.iloc[0]
        return (
            f"{arguments} was the best of {count_of(len(self.candidates), 'rule')} on {count_of(len(self.chosen_on), 'session')} "
            f"({dollars(best['chosen_usd'])}); on the {len(self.judged_on):,} after them: {self.answer.headline()}"
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per rule, the best on the earlier sessions first.

        Columns: rule (its arguments as text), chosen_usd (difference on the earlier sessions), judged_usd (on the later ones).
        """
        return self.candidates.copy()

    def figure(self, *, dark: bool = False) -> go.Figure:
        """Draw the difference that each rule makes, on the earlier and on the later sessions."""
        colours = draw.colours(dark)
        traces = [
            {
                "type": "bar",
                "orientation": "h",
                "name": name,
                "y": draw.labels(self.candidates["rule"]),
                "x": self.candidates[column].to_numpy(),
                "marker": {"color": colour},
            }
            for name, column, colour in (("chosen on", "chosen_usd", colours.line_engine), ("judged on", "judged_usd", colours.line))
        ]
        made = draw.figure(traces, x_title="difference of P&L (USD)", y_title="", dark=dark, height=180 + 44 * len(self.candidates))
        made.update_yaxes(automargin=True, autorange="reversed")
        return made


@dataclass(frozen=True)
class _Each:
    """Each rule's answer on a session: picklable, so that any process can ask it."""

    rules: tuple[tuple[tuple[str, Any], ...], ...]

    def __call__(self, session: Session) -> Iterator[tuple[str, Any]]:
        report = Report(open_place(session.place))
        yield session.name, (session.start_ns or 0, [report.what_if(**dict(rule)) for rule in self.rules])


def choose(
    sessions: Sequence[Session], rules: Sequence[Mapping[str, Any]], executor: Any, *, left_out: dict[str, str], cancel: Any = None
) -> Choice:
    """Choose a rule on the earlier half of the sessions and judge it on the later half; see `Archive.choose`."""
    if not rules:
        raise ConfigError("choose: expected rules, for example [{'size_cap': 0.05}, {'size_cap': 0.10}]")
    asked = _Each(tuple(tuple(sorted(rule.items())) for rule in rules))
    found, left = collect(sessions, asked, _only, executor, cancel=cancel)
    left = left_out | left
    each = sorted((start, name, answers) for name, desks in found.items() for _, (start, answers) in desks)
    half = len(each) // 2
    if not half:
        raise NotEnoughData(f"choose: two sessions are needed; {len(each)} can be replayed. {' '.join(left_out_note(left))}".rstrip())
    made = np.array([[answer.difference for answer in answers] for _, _, answers in each])
    chosen, judged = made[:half].sum(axis=0), made[half:].sum(axis=0)
    order = np.argsort(-chosen, kind="stable")
    table = pd.DataFrame(
        {
            "rule": [", ".join(f"{name}={value!r}" for name, value in rule.items()) for rule in rules],
            "chosen_usd": chosen,
            "judged_usd": judged,
        }
    )
    best = int(order[0])
    answer = WhatIf.merge_all([answers[best] for _, _, answers in each[half:]])
    notes = tuple(note for note in answer.notes if note != IN_SAMPLE)
    answer = replace(answer, notes=(*notes, "out of sample: the rule was chosen on earlier sessions alone"))
    return Choice(
        candidates=table.iloc[order].reset_index(drop=True),
        rule=dict(rules[best]),
        answer=answer,
        chosen_on=tuple(name for _, name, _ in each[:half]),
        judged_on=tuple(name for _, name, _ in each[half:]),
        basis=answer.basis,
        notes=(*answer.notes, *left_out_note(left)),
    )


def _only(parts: list[Any]) -> Any:
    return parts[0]


def first_sign(sessions: Sequence[Session], catalog: pd.DataFrame, name: str, episode: Any, *, lead_s: float, most: int) -> FirstSign:
    """Judge a session's measures before a fall by the calm of other sessions; see `Archive.first_sign`."""
    mine = next((session for session in sessions if session.name == name), None)
    if mine is None:
        raise ConfigError(f"session={name!r}: it cannot be read")
    report = Report(open_place(mine.place))
    worst = report.drawdowns().worst
    limit = 0.5 * (0.0 if worst is None else float(worst["depth"]))
    is_calm = (catalog["halts"] == 0) & (catalog["max_drawdown"] > limit)
    others = [session for session in sessions if session.name != name and bool(is_calm.get(session.name, False))]
    calm: list[Report] = []
    for session in sorted(others, key=lambda one: -(one.start_ns or 0)):
        if len(calm) == most:
            break
        other = Report(open_place(session.place))
        try:
            other.measured()
        except AnalysisError:  # several symbols, or nothing left: it has no calm to give
            continue
        calm.append(other)
    found = report.first_sign(episode, lead_s=lead_s, calm=calm)
    return replace(found, notes=(*found.notes, f"the calm is that of this session and of {count_of(len(calm), 'other one')}"))
