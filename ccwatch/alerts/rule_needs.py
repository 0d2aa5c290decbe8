"""Needs of rules: the measures and absences that they judge, and whether they judge a divergence from a plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from ccwatch.alerts.conditions import absence_key, absences
from ccwatch.alerts.divergence_plan import MEASURE, Plan
from ccwatch.alerts.grammar import Name, Node, Operation, Window, nearest_word
from ccwatch.alerts.rule_state import AnyRule
from ccwatch.alerts.rules import Rule
from ccwatch.alerts.vocabulary import MEASURES
from ccwatch.errors import ConfigError

LOSSES: Final = frozenset({"drawdown_peak", "drawdown_start", "drawdown_inception", "day_pnl", "max_drawdown"})
"""Measures and columns of one and the same loss."""
RENAMED: Final = {"latency": "latency_objective"}
"""Names of measures in rules with a limit that differ from those in conditions."""


def measures_of(rule: AnyRule | None) -> frozenset[str]:
    """Return the names of the series that a rule judges; none of a function."""
    if isinstance(rule, Rule):
        return frozenset({RENAMED.get(rule.measure, rule.measure)})
    return frozenset() if rule is None or rule.condition is None else rule.condition.measures


def subject_of(rule: AnyRule) -> str:
    """Return the measure that a rule is about: one of losses where it judges one, else the first that has to hold; empty for a function.

    An absence of whatever measure is "absent".
    """
    if isinstance(rule, Rule):
        return RENAMED.get(rule.measure, rule.measure)
    found = [] if rule.condition is None else list(_positive(rule.condition.tree))
    return next((name for name in found if name in LOSSES), found[0] if found else "")


def _positive(node: Node) -> Iterator[str]:
    """Return the measures and columns that must have a value for a condition to hold, in order; those behind a `not` are left out."""
    if isinstance(node, Name):
        yield node.name
    elif isinstance(node, Window):
        yield from ["absent"] if node.function == "absent" else _positive(node.of)
    elif isinstance(node, Operation) and node.sign != "not":
        for part in node.parts:
            yield from _positive(part)


def rules_of(rules: Any) -> tuple[AnyRule, ...]:
    """Return one rule, or several, as a tuple.

    Raises:
        ConfigError: something else.
    """
    found = (rules,) if isinstance(rules, AnyRule | str) else tuple(rules) if isinstance(rules, Iterable) else (rules,)
    for rule in found:
        if not isinstance(rule, AnyRule):
            raise ConfigError(f"rules: expected cw.Rule('name', 'drawdown_peak <= -2%') or a list of rules, got {rule!r:.100}")
    return found


def needs_plan(rules: Sequence[AnyRule]) -> bool:
    """Return whether some rule judges the divergence from a plan."""
    return MEASURE in needed(rules)[0]


def checked(rules: Sequence[AnyRule], plan: Plan | None) -> tuple[frozenset[str], dict[str, tuple[str, float]]]:
    """Return the measures and absences that the rules need.

    Raises:
        ConfigError: two rules of one name, a measure that does not exist, or `divergence` without a plan.
    """
    names = [rule.name for rule in rules]
    if len(set(names)) < len(names):
        raise ConfigError(f"rules: {next(name for name in names if names.count(name) > 1)!r} is there twice")
    if plan is None and needs_plan(rules):
        name = next(rule.name for rule in rules if needs_plan([rule]))
        raise ConfigError(f"rule {name!r} judges {MEASURE}, and nothing is expected: set path in [expected] of ccwatch.toml")
    return needed(rules)


def needed(rules: Sequence[AnyRule]) -> tuple[frozenset[str], dict[str, tuple[str, float]]]:
    """Return the measures that the rules judge, and their absences: by series, the awaited measure and the seconds."""
    wanted: set[str] = set()
    awaited: dict[str, tuple[str, float]] = {}
    for rule in rules:
        if isinstance(rule, Rule):
            measure = RENAMED.get(rule.measure, rule.measure)
            if measure not in MEASURES:
                raise ConfigError(f"rule {rule.name!r}: unknown measure {rule.measure!r}: {nearest_word(rule.measure, tuple(MEASURES))}")
            wanted.add(measure)
        for condition in () if isinstance(rule, Rule) else filter(None, (rule.condition, rule.clearing)):
            wanted |= {name for name in condition.measures if not name.startswith("absent(")}
            for name, seconds in absences(condition.tree):
                awaited[absence_key(name, seconds)] = name.name, seconds
                wanted.add(name.name)
    return frozenset(wanted), awaited
