"""Ask: one question to all sessions. A kernel reads each session, a tree merges the answers, and groups become a DataFrame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from inspect import signature
from typing import Any, ClassVar, Final

import pandas as pd

from ccwatch import analysis
from ccwatch.analysis import QUESTIONS, Latency, Report, Result, question_name
from ccwatch.archives import kernels, stacking
from ccwatch.archives.executors import TASK_SESSIONS, run_all
from ccwatch.archives.kernels import NEEDS_ALL, WHOLE, Answered, Asked, Group
from ccwatch.archives.locations import open_place
from ccwatch.archives.sessions import Session, left_out_note
from ccwatch.archives.views import Joined, Part, Range
from ccwatch.errors import ConfigError, NotEnoughData, no_such
from ccwatch.recording import Recording
from ccwatch.stream.dataframes import TEXT

ASKED: Final = (*QUESTIONS, "reasoning", "what_if")
BY: Final = ("session", "day", "week", "month", "symbol", "regime", "tag")


class Groups(pd.DataFrame):
    """A DataFrame of one answer per group: the rows of each answer's table, under the group's name.

    `.attrs["left_out"]` says which sessions are not in it, and why. For latencies, `quantile` returns any quantile.
    """

    _metadata: ClassVar[list[str]] = ["answers"]
    answers: dict[Group, Result]

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame  # what is cut out of it is a plain frame

    def quantile(self, q: Any = 0.5, *arguments: Any, **options: Any) -> Any:
        """Return latencies in ms, a row per group and a column per agent and model, within 1 % of an order statistic.

        Of several quantiles, a row per group and quantile. For other answers this is `DataFrame.quantile`.
        """
        answers = getattr(self, "answers", None)
        if not answers or not all(isinstance(answer, Latency) for answer in answers.values()):
            return super().quantile(q, *arguments, **options)
        if pd.api.types.is_list_like(q):
            several = pd.concat({one: self.quantile(one) for one in q}, names=["quantile"]).swaplevel()
            return several.reindex([(group, one) for group in answers for one in q])
        rows = {group: {name: sketch.quantile(q) for name, sketch in answer.sketches().items()} for group, answer in answers.items()}
        found = pd.DataFrame.from_dict(rows, orient="index").reindex(list(rows))
        found.index.name, found.columns.name = self.index.name, "service"
        return found


def ask(
    sessions: Sequence[Session],
    question: str | Callable[..., Result],
    by: str | None,
    executor: Any,
    *,
    left_out: dict[str, str],
    on_progress: Any = None,
    cancel: Any = None,
    **options: Any,
) -> Any:
    """Ask all sessions; see `Archive.ask`."""
    check(question, by, options)
    if question in NEEDS_ALL and by != "session":
        answers, left = _of_all_packets(sessions, question, by, executor, on_progress=on_progress, cancel=cancel, options=options)
    else:
        kernel = Asked(question, by, tuple(sorted(options.items())))
        found, left = collect(sessions, kernel, kernels.merged_in_turn, executor, on_progress=on_progress, cancel=cancel)
        answers = {group: kernels.merged_apart([answer for _, answer in each]) for group, each in found.items()}
    left = left_out | left
    if not answers:
        raise nothing_found(question_name(question), left, len(sessions))
    if by is None:
        answer = answers[WHOLE]
        return replace(answer, notes=(*answer.notes, *left_out_note(left)))
    return _frame(answers, by, left)


def check(question: str | Callable[..., Result], by: str | None, options: Mapping[str, Any]) -> None:
    """Refuse an unknown question, group or argument, before any session is read.

    Raises:
        ConfigError: it is unknown; the message lists the known ones.
    """
    if question not in ASKED and not callable(question):
        raise ConfigError(f"{no_such('question', question, ASKED)}, or a function of your own")
    if by is not None and by not in BY:
        raise ConfigError(f"by={by!r}: expected None or one of {', '.join(BY)}")
    if isinstance(question, str):
        known = _arguments_of(question)
        for name in options:
            if name not in known:
                raise ConfigError(no_such("argument", name, known, where=f" of {question}"))


def _arguments_of(question: str) -> list[str]:
    """Return the names of a question's arguments: those of the Report's method and of the function of that name that it calls."""
    method = signature(getattr(Report, question)).parameters.values()
    kernel = getattr(analysis, question, None)
    passed = any(each.kind is each.VAR_KEYWORD for each in method)
    given = [*method, *(signature(kernel).parameters.values() if passed and callable(kernel) else ())]
    return list(dict.fromkeys(each.name for each in given if each.kind is each.KEYWORD_ONLY))


def collect(
    sessions: Sequence[Session], kernel: Any, merge: Any, executor: Any, *, on_progress: Any = None, cancel: Any = None
) -> tuple[dict[Group, list[tuple[str, Any]]], dict[str, str]]:
    """Run a kernel on each session; return by group the desks with their merged answers, and by session why it is left out."""
    tasks = list(tasks_of(sessions))
    work = partial(_run, kernel, merge)
    done: list[Answered] = run_all(work, tasks, executor, on_progress=on_progress, cancel=cancel)
    by_desk: dict[Group, dict[str, list[Any]]] = {}
    left: dict[str, str] = {}
    for answered in done:
        left |= answered.left_out
        for found in answered.found:
            by_desk.setdefault(found.group, {}).setdefault(found.desk, []).append(found.answer)
    groups = sorted(by_desk, key=lambda group: (isinstance(group, str), group))
    return {group: [(desk, merge(parts)) for desk, parts in by_desk[group].items()] for group in groups}, left


def tasks_of(sessions: Sequence[Session]) -> Iterable[tuple[Session, ...]]:
    """Return the sessions, by desk and time, in tasks of a few of one desk: cut the same way for every executor."""
    some: list[Session] = []
    for session in sessions:
        if some and (session.desk != some[0].desk or len(some) == TASK_SESSIONS):
            yield tuple(some)
            some = []
        some.append(session)
    if some:
        yield tuple(some)


def _run(kernel: Any, merge: Any, sessions: tuple[Session, ...]) -> Answered:
    return kernels.run(kernel, sessions, merge)


def _of_all_packets(
    sessions: Sequence[Session], question: str, by: str | None, executor: Any, *, on_progress: Any, cancel: Any, options: dict[str, Any]
) -> tuple[dict[Group, Any], dict[str, str]]:
    """Return by group the answers of a question that needs all packets at once, of each desk's sessions one after the other."""
    grouped: dict[tuple[Group, str], list[tuple[Session, Any, Any, Any]]] = {}
    left: dict[str, str] = {}
    for session in sessions:
        try:
            mine = list(kernels.parts(session, open_place(session.place), by))
        except Exception as error:  # noqa: BLE001 - one session that cannot be read ends no question
            left[session.name] = kernels.why(error)
            continue
        if not mine:
            left[session.name] = kernels.NO_GROUP
        for group, part, start, end in mine:
            grouped.setdefault((group, session.desk), []).append((session, part, start, end))
    tasks = [(question, tuple(sorted(options.items())), part) for part in grouped.values()]
    done = run_all(_asked_together, tasks, executor if executor in {None, "threads"} else "threads", on_progress=on_progress, cancel=cancel)
    by_group: dict[Group, list[Any]] = {}
    for (group, _), (answer, why) in zip(grouped, done, strict=True):
        left |= why
        if answer is not None:
            by_group.setdefault(group, []).append(answer)
    answers = {group: by_group[group] for group in sorted(by_group, key=lambda group: (isinstance(group, str), group))}
    return {group: stacking.stack(each) if len(each) > 1 else each[0] for group, each in answers.items()}, left


def _asked_together(task: tuple[str, tuple[tuple[str, Any], ...], list[Any]]) -> tuple[Any, dict[str, str]]:
    question, options, asked = task
    readable: list[Recording | Part | Range] = []
    left: dict[str, str] = {}
    for session, part, start, end in asked:
        try:
            source = part if start is None else Range(part, start, end)
            source.frame(["seq"], clean=False)
            readable.append(source)
        except Exception as error:  # noqa: BLE001 - as above
            left[session.name] = kernels.why(error)
    if not readable:
        return None, left
    try:
        return Report(readable[0] if len(readable) == 1 else Joined(readable)).ask(question, **dict(options)), left
    except ConfigError:  # an argument that no session can be asked with
        raise
    except Exception as error:  # noqa: BLE001 - as above
        return None, left | {session.name: kernels.why(error) for session, *_ in asked}


def _frame(answers: dict[Group, Result], by: str, left: dict[str, str]) -> Groups:
    """Return the rows of each group's answer, under its group."""
    tables = []
    for group, answer in answers.items():
        table = answer.to_frame()
        table = table.reset_index() if table.index.name is not None else table.reset_index(drop=True)
        tables.append(table.set_axis(pd.Index([group] * len(table)), axis=0))
    whole = Groups(pd.concat(tables))
    whole.index = pd.DatetimeIndex(whole.index, dtype="datetime64[ns, UTC]") if by in kernels.PERIODS else whole.index.astype(TEXT)
    whole.index.name = by
    whole.answers = answers
    whole.attrs["left_out"] = dict(left)
    return whole


def nothing_found(question: str, left: dict[str, str], sessions: int, missing: str = "answers") -> NotEnoughData:
    """Return the error for a question that no session answers: what none does or has, and which were left out."""
    if not sessions and not left:
        remedy = "cw.record(url) makes one, cw.archive(folder) opens those of another folder"
        return NotEnoughData(f"{question}: the archive holds no session; {remedy}")
    return NotEnoughData(f"{question}: no session of {max(sessions, len(left))} {missing}. {' '.join(left_out_note(left))}".rstrip())
