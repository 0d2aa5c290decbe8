"""Sentences about a session, made of evidence. It words the answers and computes nothing that they do not contain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import numpy as np
import pandas as pd

from ccwatch.alerts import Severity, objective_of
from ccwatch.analysis.alerts import Alerts
from ccwatch.analysis.drawdowns import Drawdowns
from ccwatch.analysis.explain import Explanation
from ccwatch.analysis.governance import Governance
from ccwatch.analysis.latency import Latency
from ccwatch.analysis.quality import Quality
from ccwatch.analysis.quality_measures import OK
from ccwatch.analysis.result import Result, amount, clock, count_of, count_or_none, dollars, percent
from ccwatch.analysis.timeline import Timeline
from ccwatch.analysis.usable_rows import Basis
from ccwatch.domain.burst_status import HALT, UNREADABLE
from ccwatch.errors import AnalysisError

Answers = Mapping[str, Result | AnalysisError]
Found = TypeVar("Found", bound=Result)

MOST_DIFFERENCES: Final = 3


def what_happened(answers: Answers, explanation: Explanation | None, objectives: Mapping[str, float]) -> list[tuple[str, str]]:
    """Return at most five sentences, each with the question whose answer is its evidence; the last one says which have none.

    Args:
        answers: by question: the answer, or why there is none.
        explanation: of the moment at which the worst drawdown began; None where there is none.
        objectives: p95 in ms by the beginning of a service's name.
    """
    sentences = [
        _of(answers, "drawdowns", Drawdowns, _worst_drawdown),
        ("explain", _what_changed(explanation, answers)) if explanation is not None else None,
        _of(answers, "latency", Latency, lambda found: _slowest(found, objectives)),
        _actions(answers),
        _of(answers, "quality", Quality, lambda found: _limits(found, answers)),
    ]
    return [sentence for sentence in sentences if sentence is not None]


def _of(answers: Answers, question: str, kind: type[Found], say: Callable[[Found], str]) -> tuple[str, str] | None:
    found = answers.get(question)
    return (question, say(found)) if isinstance(found, kind) else None


def _worst_drawdown(found: Drawdowns) -> str:
    """Say depth, times, size and regimes of the deepest episode."""
    worst = found.worst
    if worst is None:
        return found.headline()
    recovered = f"recovered at {clock(worst['recovery_time'], found.basis)}"
    end = "had not recovered at the end" if worst["is_open"] else recovered
    passed = f", through {worst['regimes']}" if worst["regimes"] else ""
    return (
        f"The {found.column} fell {percent(worst['depth'])} ({dollars(worst['depth_usd'])}) from its peak "
        f"at {found.beginning(worst)} to its trough at {clock(worst['trough_time'], found.basis)}{passed}, and {end}."
    )


def _what_changed(found: Explanation, answers: Answers) -> str:
    """Say what differed from before when the worst drawdown began: an order in time, not a cause."""
    worst = answers.get("drawdowns")
    session = worst.basis if isinstance(worst, Drawdowns) else found.basis
    about = f"Around its start ({clock(found.start, session)} to {clock(found.end, session)})"
    flips = found.evidence[(found.evidence["kind"] == "regime").to_numpy()]
    turned = "; ".join(f"{row['detail']} at {clock(row['time'], session)}" for _, row in flips.head(2).iterrows())
    regime = f"; the regime turned: {turned}" if turned else ""
    differing = found.differences[found.differences["differs"].to_numpy(dtype=bool)].head(MOST_DIFFERENCES)
    if not np.isfinite(found.differences["p_value"].to_numpy(dtype=np.float64)).any():
        return f"{about} too little is known of the stretch before it to say what changed{regime}."
    if not len(differing):
        return f"{about} no measure differed from the stretch before it{regime}."
    return (
        f"{about} these differed most from the stretch before it: {'; '.join(_difference(row) for _, row in differing.iterrows())}{regime}."
    )


def _difference(row: pd.Series) -> str:
    name = f"{row['measure']} of {row['subject']}" if row["subject"] else str(row["measure"])
    unit = str(row["unit"])
    return f"{name} (median {amount(row['median'], unit)}, before {amount(row['baseline_median'], unit)})"


def _slowest(found: Latency, objectives: Mapping[str, float]) -> str:
    """Name the service whose p95 is farthest above its objective, and when it was slow; without objectives, repeat the headline."""
    known = found.services.dropna(subset=["p95_ms"])
    wanted = np.array([objective_of(str(name), objectives) for name in known["name"]], dtype=np.float64)
    with np.errstate(invalid="ignore"):
        ratios = known["p95_ms"].to_numpy(dtype=np.float64) / wanted
    judged = np.isfinite(ratios)
    if not judged.any():
        return f"{found.headline()} No service that was seen often enough has an objective."
    place = int(np.nanargmax(ratios))
    name = str(known["name"].iloc[place])
    side = "above" if ratios[place] > 1.0 else "within"
    stretches = found.slow[(found.slow["name"] == name).to_numpy()]
    said = f"Against its objective {name} was the slowest: p95 {known['p95_ms'].iloc[place]:,.1f} ms, {side} its {wanted[place]:,.0f} ms"
    if len(stretches):
        return f"{said}; {_stretch(stretches.iloc[int(stretches['times_usual'].argmax())], found.basis)}."
    if len(found.slow):
        worst = found.slow.iloc[int(found.slow["times_usual"].argmax())]
        return f"{said}; {worst['name']} was slow for its own measure, {_stretch(worst, found.basis)}."
    return f"{said}, and no service was slow for long."


def _stretch(row: pd.Series, within: Basis) -> str:
    until = f"until {clock(row['end_time'], within)}" if pd.notna(row["end_time"]) else "to the end"
    calls = count_of(int(row["n"]), "call")
    return f"slow from {clock(row['start_time'], within)} {until}, {row['times_usual']:.1f} times its usual over {calls}"


def _actions(answers: Answers) -> tuple[str, str] | None:
    """Say which vetoes, broken rules, halts and alerts there were."""
    vetoes, order, fired = answers.get("governance"), answers.get("timeline"), answers.get("alerts")
    said = []
    if isinstance(vetoes, Governance):
        first = (
            f", the first at {clock(vetoes.vetoes['start_time'].iloc[0], vetoes.basis)} in {vetoes.vetoes['regime'].iloc[0]}"
            if len(vetoes.vetoes)
            else ""
        )
        said.append(
            f"governance vetoed {count_of(len(vetoes.vetoes), 'time')}{first}"
            if len(vetoes.vetoes)
            else f"governance vetoed nothing{_as_received(vetoes)}"
        )
        said += [f"{count_of(len(vetoes.breaks), 'stretch', 'stretches')} broke a rule"] if len(vetoes.breaks) else []
    if isinstance(order, Timeline):
        said.append(_halts(order))
    if isinstance(fired, Alerts):
        serious = fired.firings[(fired.firings["severity"] == Severity.CRITICAL).to_numpy()]
        first = ""
        if len(serious):
            first = f", the first by the rule {serious['rule'].iloc[0]} at {clock(serious['fired_time'].iloc[0], fired.basis)}"
        count = count_of(len(fired.firings), "alert")
        critical = f"{count} would have fired, {count_or_none(len(serious))} critical{first}"
        said.append(critical if len(fired.firings) else f"no alert would have fired{_as_received(fired)}")
    if not said:
        return None
    text = "; ".join(said)
    evidence = next(question for question in ("governance", "timeline", "alerts") if isinstance(answers.get(question), Result))
    return evidence, f"{text[0].upper()}{text[1:]}."


def _as_received(found: Result) -> str:
    """Return the limit of "nothing happened" in words, since the gaps are not known; empty without gaps."""
    return " in what was received" if found.basis.gaps else ""


def _halts(order: Timeline) -> str:
    """Say when the engine halted; that it did not is said only where its status was read all along."""
    seen = order.statuses
    if not len(seen):
        return "the stream carried no status, so whether the engine halted is not known"
    halts = seen[(seen["status"] == HALT).to_numpy(dtype=bool)]
    if len(halts):
        at = clock(halts["start_time"].iloc[0], order.basis)
        return f"the engine was halted when the stream began, at {at}" if halts.index[0] == 0 else f"the engine halted at {at}"
    unread = int(seen.loc[(seen["status"] == UNREADABLE).to_numpy(dtype=bool), "n"].sum())
    if unread:
        return f"whether the engine halted is not known, for its status could not be read in {unread:,} of {int(seen['n'].sum()):,} bursts"
    if order.halts_before:
        before = count_of(order.halts_before, "state", "states")
        return f"the engine did not halt while it was watched, but {before} of before, at a time that is not known, said HALT"
    return f"the engine did not halt{_as_received(order)}"


def _limits(found: Quality, answers: Answers) -> str:
    """Say how good the data are, and which questions they leave open."""
    seen = found.headline().rstrip(".")
    missing = [question.replace("_", " ") for question, answer in answers.items() if not isinstance(answer, Result)]
    unanswered = f"the data cannot answer {', '.join(missing)}" if missing else "every question has an answer"
    gaps = f"; nothing is known of {count_of(found.basis.gaps, 'gap')} of {found.basis.gap_s:,.1f} s" if found.basis.gaps else ""
    limit = "" if found.verdict == OK else ", which limits every other answer"
    return f"{seen}{limit}{gaps}; {unanswered}."
