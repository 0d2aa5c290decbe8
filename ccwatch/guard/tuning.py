"""Tuning: what rules caught on the sessions that they were tried on, and what they would have caught at other limits. It reads no file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from ccwatch.alerts import AnyRule, Name, Number, Operation, Rule, WrittenRule, text_of

Ints = npt.NDArray[np.int64]
LIMITS: Final = 12
"""How many limits a tuning curve tries."""
RESAMPLED: Final = 500
SEED: Final = 20_260_102
"""Seed of the bootstrap: the same sessions give the same intervals."""


@dataclass(frozen=True)
class Incident:
    """An event that an alert should have reported."""

    session: str
    kind: str
    time_ns: int
    detail: str


@dataclass(frozen=True)
class Session:
    """One recording, and what rules did on it."""

    name: str
    days: tuple[int, ...]
    """When each of its trading days began, ns since 1970."""
    span: tuple[int, int]
    """Time of its first and last packet, ns since 1970."""
    incidents: tuple[Incident, ...]
    fired: Mapping[str, Ints]
    """Times in ns at which each rule fired, by the rule's name."""


@dataclass(frozen=True)
class Score:
    """The results of one rule on some sessions: `lead_s` is NaN where it caught nothing."""

    incidents: int
    caught: int
    lead_s: float
    fired: int
    false: int


def trading_days(sessions: Sequence[Session]) -> int:
    """Return how many trading days some sessions hold: parts of one day count once, sessions of one date side by side each."""
    total = 0
    for day in {day for session in sessions for day in session.days}:
        ends: list[int] = []  # of the chains of sessions that follow each other
        for first, last in sorted(session.span for session in sessions if day in session.days):
            before = next((at for at, end in enumerate(ends) if end <= first), None)
            if before is None:
                ends.append(last)
            else:
                ends[before] = last
        total += len(ends)
    return total


def score(sessions: Sequence[Session], rule: str, horizon_s: float) -> Score:
    """Return one rule's counts on some sessions."""
    reach = round(horizon_s * 1e9)
    caught, false, fired, total = 0, 0, 0, 0
    leads: list[float] = []
    for session in sessions:
        moments = session.fired[rule]
        incidents = np.array([i.time_ns for i in session.incidents], dtype=np.int64)
        fired += len(moments)
        total += len(incidents)
        false += sum(not (np.abs(incidents - moment) <= reach).any() for moment in moments)
        for at in incidents:
            near = moments[np.abs(moments - at) <= reach]
            if len(near):
                caught += 1
                leads.append(float(at - near[0]) / 1e9)
    return Score(total, caught, float(np.median(leads)) if leads else float("nan"), fired, false)


def variants(rule: AnyRule) -> list[tuple[float, AnyRule]]:
    """Return the rule at other limits, around its own."""
    if isinstance(rule, Rule):
        if rule.limit in {0.0, 1.0} or not rule.unit:
            return []
        return [(v, replace(rule, name=f"{rule.name} @{v:.6g}", limit=v, clears=None)) for v in _around(rule.limit)]
    condition = rule.condition
    if condition is None or np.isnan(condition.limit) or not isinstance(condition.tree, Operation) or condition.lead is None:
        return []
    if isinstance(condition.lead, Name) and "=" in condition.lead.name:
        return []
    found: list[tuple[float, AnyRule]] = []
    for value in _around(condition.limit):
        below = condition.below
        text = text_of(Operation("<=" if below else ">=", (condition.lead, Number(value))))
        found.append((value, WrittenRule(f"{rule.name} @{value:.6g}"[:80], text, for_=rule.for_, hours=rule.hours)))
    return found


def _around(limit: float) -> list[float]:
    return [float(f"{limit * factor:.6g}") for factor in np.geomspace(0.25, 2.5, LIMITS)] if limit else []


def tuning_curve(sessions: Sequence[Session], limits: Sequence[tuple[float, str]], horizon_s: float) -> pd.DataFrame:
    """Return the tuning curve: limits chosen on every second session, judged on the others, with intervals over sessions."""
    chosen_on, judged_on = list(sessions[::2]), list(sessions[1::2])
    draw = np.random.default_rng(SEED)
    picks = draw.integers(0, max(len(judged_on), 1), size=(RESAMPLED, max(len(judged_on), 1)))
    rows = []
    for limit, name in limits:
        ours = score(chosen_on, name, horizon_s)
        parts = [(score([session], name, horizon_s), len(session.days)) for session in judged_on]
        hits, all_of, false, days = (
            (np.array(values, dtype=np.float64) for values in zip(*[(s.caught, s.incidents, s.false, d) for s, d in parts], strict=True))
            if parts
            else (np.zeros(1), np.zeros(1), np.zeros(1), np.zeros(1))
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = hits[picks].sum(axis=1) / all_of[picks].sum(axis=1)
            rates = false[picks].sum(axis=1) / days[picks].sum(axis=1)
        rows.append(
            {
                "limit": limit,
                "caught": ours.caught / ours.incidents if ours.incidents else np.nan,
                "false_a_day": ours.false / max(sum(len(s.days) for s in chosen_on), 1),
                "judged_caught": _share(hits.sum(), all_of.sum()),
                "judged_false_a_day": _share(false.sum(), days.sum()),
                **dict(zip(("caught_low", "caught_high"), _bounds(shares), strict=True)),
                **dict(zip(("false_low", "false_high"), _bounds(rates), strict=True)),
            }
        )
    table = pd.DataFrame(rows)
    worth = table["caught"].fillna(0.0) - table["false_a_day"].clip(upper=1.0)
    best = np.flatnonzero(worth.to_numpy() >= worth.max() - 1e-12)
    table.insert(3, "chosen", np.arange(len(table)) == int(best[len(best) // 2]))  # of equally good ones the one in the middle
    return table


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


def _bounds(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    return (float(np.quantile(known, 0.025)), float(np.quantile(known, 0.975))) if len(known) else (float("nan"), float("nan"))
