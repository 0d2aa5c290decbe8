"""Names and units of a rule's tree, checked: every name exists, words and durations are in the terms of what they are compared with."""

from __future__ import annotations

import math
from typing import Final

from ccwatch.alerts import vocabulary
from ccwatch.alerts.grammar import Name, Node, Number, Operation, Window, Word, names_in, text_of
from ccwatch.errors import ConfigError
from ccwatch.protocol.ranges import bounds

COMPARISONS: Final = {"<", "<=", ">", ">=", "==", "!="}
_AMOUNTS: Final = {"USD", "ms", "s", "packets", "$/period"}
"""Units of amounts, which no percentage is one of."""
_MOST_EXPOSURE: Final = 10.0
"""Ten times the nav: a greater number was meant as a percentage."""
_TRUTHS: Final = {*COMPARISONS, "and", "or", "not"}


def resolved(node: Node) -> Node:
    """Return the tree with every name checked, and each comparison of a word as a series."""
    if isinstance(node, Name):
        found = vocabulary.known(node)
        if found.name in vocabulary.WORDS:
            raise ConfigError(f"{found.name} is a word: compare it, as in {found.name} == {_example(found.name)!r}")
        return found
    if isinstance(node, Window):
        if node.function == "absent":
            name = vocabulary.known(node.of) if isinstance(node.of, Name) else None
            return Window("absent", name or node.of, node.seconds)
        return Window(node.function, resolved(node.of), node.seconds)
    if not isinstance(node, Operation):
        return node
    if node.sign in {"==", "!="} and any(isinstance(part, Name) and part.name in vocabulary.WORDS for part in node.parts):
        return _word_test(node)
    if node.sign in COMPARISONS and any(isinstance(part, Word) for part in node.parts):
        for name in names_in(node):
            vocabulary.known(name)
        raise ConfigError(f"a text can only be compared with a word of the stream, as in status == 'HALT'; got {_shown(node)}")
    parts = tuple(resolved(part) for part in node.parts)
    if node.sign in {"and", "or", "not"} and not all(map(is_truth, parts)):
        raise ConfigError(f"{node.sign} joins comparisons; got a number in {_shown(node)}")
    return _in_one_unit(Operation(node.sign, parts))


def _in_one_unit(node: Operation) -> Operation:
    """Return an operation with its durations in the unit of the measure that they are compared with or added to.

    Raises:
        ConfigError: that is no measure of time, or a fraction is compared with a percentage that lacks its sign.
    """
    other = next((part for part in node.parts if not isinstance(part, Number)), None)
    numbers = [part for part in node.parts if isinstance(part, Number)]
    if node.sign in COMPARISONS and numbers and abs(numbers[0].value) > _most(other) and not numbers[0].is_percent:
        raise ConfigError(f"{_shown(node)} is never reached: it is a fraction; write {numbers[0].value:g}% for {numbers[0].value / 100:g}")
    if node.sign in COMPARISONS and any(number.is_percent for number in numbers) and unit_of(other) in _AMOUNTS:
        raise ConfigError(f"{_shown(node)}: a percentage of what? It is in {unit_of(other)}; for example drawdown_start is a fraction")
    if numbers and isinstance(other, Name) and node.sign != "!=":
        _reachable(node, other, numbers[0].value)
    durations = [number for number in numbers if number.is_duration]
    if not durations:
        return node
    scale = per_second(None if node.sign in {"*", "/"} else other, _shown(node))
    return Operation(node.sign, tuple(Number(part.value * scale) if part in durations else part for part in node.parts))


def _reachable(node: Operation, name: Name, limit: float) -> None:
    """Raise an error where no value of a measure or column can be beyond a limit.

    Raises:
        ConfigError: says between which values it lies.
    """
    low, high = (-1.0, 0.0) if name.name.startswith("drawdown_") else bounds(name.name)
    rises = {">": True, ">=": True, "<": False, "<=": False}.get(node.sign)
    if rises is not None and isinstance(node.parts[0], Number):
        rises = not rises
    if (limit > high and rises is not False) or (limit < low and rises is not True):
        shown = [f"{100 * end:g}%" if unit_of(name) == "fraction" else f"{end:g}" for end in (low, high)]
        raise ConfigError(f"{_shown(node)} is never reached: {name} lies between {shown[0]} and {shown[1]}")


def per_second(node: Node | None, text: str) -> float:
    """Return how many units of a measure of time are a second.

    Raises:
        ConfigError: it is no measure of time.
    """
    scale = {"ms": 1_000.0, "s": 1.0}.get(unit_of(node))
    if scale is None:
        raise ConfigError(f"{text}: a duration can only be compared with what is in ms or s, such as latency or recorder_lag")
    return scale


def unit_of(node: Node | None) -> str:
    """Return the unit of a measure, or of a stretch of one; empty for anything else."""
    while isinstance(node, Window) and node.function in {"mean", "std", "min", "max", "change"}:
        node = node.of
    if isinstance(node, Operation) and node.sign in {"abs", "min", "max", "+", "-"}:
        return next(filter(None, map(unit_of, node.parts)), "")
    return vocabulary.unit_of(node.name) if isinstance(node, Name) else ""


def _most(node: Node | None) -> float:
    """Return the largest number that a measure can be compared with: a fraction lies between -1 and 1, exposure may be lent."""
    while isinstance(node, Window) and node.function in {"mean", "min", "max"}:
        node = node.of
    if not isinstance(node, Name) or unit_of(node) != "fraction":
        return math.inf
    return _MOST_EXPOSURE if node.name == "exposure" else 1.0


def _word_test(node: Operation) -> Node:
    """Return the comparison of a column's word as a test of a series that is 1 where the column has this word."""
    name = next(part for part in node.parts if isinstance(part, Name) and part.name in vocabulary.WORDS)
    other = next(part for part in node.parts if part is not name)
    text = other.text if isinstance(other, Word) else other.name if isinstance(other, Name) else ""
    if not text:
        raise ConfigError(f"{name.name}: expected a text to compare it with, as in {name.name} == {_example(name.name)!r}")
    test = Operation("==", (Name(f"{name.name}={vocabulary.word_of(name.name, text)}"), Number(1.0)))
    return test if node.sign == "==" else Operation("not", (test,))


def is_truth(node: Node) -> bool:
    """Return whether a tree is true or false, not a number."""
    if isinstance(node, Operation):
        return node.sign in _TRUTHS
    if isinstance(node, Window):
        return node.function == "absent"
    return isinstance(node, Name) and (node.name in vocabulary.MEASURES and not vocabulary.MEASURES[node.name].unit)


def _example(column: str) -> str:
    words = vocabulary.WORDS[column].words
    return str(words[0]) if words else "SPY"


def _shown(node: Node) -> str:
    if isinstance(node, Operation):
        return f" {node.sign} ".join(map(_shown, node.parts))
    return node.text if isinstance(node, Word) else text_of(node)
