"""Conditions: a rule's text, compiled once, and judged on the observations of a stream, batch by batch. It knows no packets.

Every name is a series of observations. A condition is looked at wherever one of its series has one; the others keep their last value
for as long as that is fresh. Truth has three values: what cannot be known is no observation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from ccwatch.alerts import vocabulary
from ccwatch.alerts.grammar import Name, Node, Number, Operation, Window, Word, names_in, parse
from ccwatch.alerts.observations import SECOND, Floats, Key, Observations, Sums, joined, none, over, upto
from ccwatch.alerts.resolution import COMPARISONS, is_truth, per_second, resolved, unit_of
from ccwatch.domain.durations import duration_text
from ccwatch.errors import ConfigError

FRESH_NS: Final = 60 * SECOND
"""How long a value counts that no packet repeats."""
FRESH_CALL_NS: Final = 600 * SECOND
"""How long the last call of a service counts."""
_BELOW: Final = {"<", "<="}


class Judged(NamedTuple):
    """A condition's results: at which points, the value of its leading measure, and whether it holds (1) or not (0)."""

    seen: Observations
    truth: Floats


@dataclass(frozen=True, slots=True)
class Condition:
    """A text that is true or false of a stream.

    Attributes:
        text: as it was written.
        tree: its parsed form.
        lead: the leading measure, whose value an alert shows; None where the condition compares no measure.
        below: whether the lead's low values are the bad ones.
        limit: the limit of a single comparison; NaN for anything else.
        slots: the services that it names, by the beginnings of their names; None is each service.
    """

    text: str
    tree: Node
    lead: Node | None
    below: bool
    limit: float
    slots: tuple[str | None, ...]

    @property
    def unit(self) -> str:
        """Return the unit of its leading measure."""
        return unit_of(self.lead)

    @property
    def awaits(self) -> bool:
        """Return whether silence itself can make it true, so that silence is never a lack of data."""
        return any(name.name in vocabulary.MEASURES and vocabulary.MEASURES[name.name].is_silence for name in names_in(self.tree)) or bool(
            absences(self.tree)
        )

    @property
    def measures(self) -> frozenset[str]:
        """Return the names of the series that it needs."""
        return frozenset(_needs(self.tree))


@lru_cache(maxsize=512)
def compile_condition(text: str) -> Condition:
    """Compile a condition from its text.

    Raises:
        ConfigError: it does not follow the grammar, names what does not exist, or is a number instead of true or false.
    """
    tree = resolved(parse(text))
    if not is_truth(tree):
        raise ConfigError(f"{text!r} is neither true nor false; expected a comparison, as in 'drawdown_peak <= -2%'")
    if not any(True for _ in names_in(tree)):
        raise ConfigError(f"{text!r} judges nothing of the stream; expected a measure or a column, as in 'drawdown_peak <= -2%'")
    lead, below, limit = _lead(tree)
    single = isinstance(tree, Operation) and tree.sign in COMPARISONS
    slots = tuple(
        dict.fromkeys(n.service for n in names_in(tree) if n.name in vocabulary.MEASURES and vocabulary.MEASURES[n.name].per_service)
    )
    return Condition(text, tree, lead, below, limit if single else np.nan, slots)


def clearing(condition: Condition, text: str) -> Condition:
    """Compile the condition that ends a firing: a separate condition, or a bare value for the only comparison's measure.

    Raises:
        ConfigError: it is neither, or lies beyond the limit.
    """
    tree = parse(text)
    if not isinstance(tree, Number):
        return compile_condition(text)
    if tree.is_duration:
        tree = Number(tree.value * per_second(condition.lead, text))
    if not isinstance(condition.tree, Operation) or np.isnan(condition.limit):
        raise ConfigError(
            f"clears={text!r}: a bare value needs a condition of one comparison; expected one such as 'drawdown_peak > -1.5%'"
        )
    if tree.value < condition.limit if condition.below else tree.value > condition.limit:
        raise ConfigError(f"clears={text!r} should lie {'above' if condition.below else 'below'} the limit of {condition.text!r}")
    sign = ">" if condition.below else "<"
    lead = condition.lead if condition.lead is not None else Number(0.0)
    return Condition(f"… {sign} {text}", Operation(sign, (lead, tree)), condition.lead, not condition.below, tree.value, condition.slots)


class Judge:
    """A condition on one stream and one service; it keeps what it needs of earlier batches."""

    def __init__(self, condition: Condition, service: str = "", since: int = 0) -> None:
        """Hold the condition; observations before `since`, the first packet that carried the service, are not judged."""
        self._since = since
        self.condition = condition
        self._bound: dict[str | None, str] = {None: service}  # which service a slot is of
        self._is_own = bool(service)
        self._service = service
        self.last: dict[Key, Observations] = {}  # the last observation of each series
        self.tails: dict[Window, tuple[Observations, Sums | None]] = {}  # what a window reaches back to, and its sums

    def judge(self, found: Mapping[Key, Observations]) -> Judged:
        """Judge the condition wherever this batch has a new observation."""
        if self._since:
            found = {key: seen.where(seen.order >= self._since) for key, seen in found.items() if seen.order[-1] >= self._since}
        keys = [self.key(name, found) for name in _series_of(self.condition.tree)]
        series = {key: found[key] for key in keys if key in found}
        if not series:
            return Judged(none(), np.zeros(0))
        grid = _grid([*series.values()])
        scope = _Scope(self, found, grid)
        truth = scope.value(self.condition.tree)
        lead = truth if self.condition.lead is None else scope.value(self.condition.lead)
        for key, seen in series.items():
            self.last[key] = Observations(seen.order[-1:], seen.moment[-1:], seen.time[-1:], seen.value[-1:])
        for window, past in scope.tails.items():
            self.tails[window] = past
        self._since = 0  # what follows is later
        known = np.isfinite(truth)
        value = np.where(np.isfinite(lead), lead, truth)
        return Judged(Observations(grid.order[known], grid.moment[known], grid.time[known], value[known]), truth[known])

    def key(self, name: Name, found: Mapping[Key, Observations]) -> Key:
        """Return the series that a name means for this service."""
        measure = vocabulary.MEASURES.get(name.name)
        if measure is None or not measure.per_service:
            return (name.name, "")
        if self._is_own:
            return (name.name, self._service)
        if name.service not in self._bound:
            match = next((key[1] for key in found if key[0] == name.name and is_of(key[1], name.service)), None)
            if match is None:
                return (name.name, str(name.service))
            self._bound[name.service] = match
        return (name.name, self._bound[name.service])


class _Scope:
    """One evaluation: the values of nodes on a grid of points."""

    def __init__(self, judge: Judge, found: Mapping[Key, Observations], grid: Observations) -> None:
        self._judge, self._found, self._grid = judge, found, grid
        self.tails: dict[Window, tuple[Observations, Sums | None]] = {}

    def value(self, node: Node) -> Floats:
        """Return the node's value at each point; NaN where it is not known."""
        size = len(self._grid.order)
        if isinstance(node, Number):
            return np.full(size, node.value)
        if isinstance(node, Name):
            return self._carried(node)
        if isinstance(node, Window):
            is_absence = node.function == "absent" and isinstance(node.of, Name)
            return self._carried(Name(absence_key(node.of, node.seconds))) if is_absence else self._window(node)  # type: ignore[arg-type] # an absence is of a name
        if isinstance(node, Word):  # only occurs in a comparison, which was resolved
            return np.full(size, np.nan)
        return _apply(node.sign, [self.value(part) for part in node.parts])

    def _series(self, name: Name) -> Observations:
        key = self._judge.key(name, self._found)
        past = self._judge.last.get(key, none())
        return joined(past, self._found[key]) if key in self._found else past

    def _carried(self, name: Name) -> Floats:
        fresh_ones = self._found.get(self._judge.key(name, self._found))
        if fresh_ones is not None and np.array_equal(fresh_ones.order, self._grid.order):
            return fresh_ones.value  # each of a packet's calls is looked at
        seen = self._series(name)
        count = upto(seen, self._grid.order, self._grid.moment)
        row = np.maximum(count - 1, 0)
        if not len(seen.value):
            return np.full(len(count), np.nan)
        measure = vocabulary.MEASURES.get(name.name)
        is_silence = name.name.startswith("absent(") or (measure is not None and measure.is_silence)
        lasts = FRESH_CALL_NS if measure is not None and measure.per_service else FRESH_NS
        fresh = np.full(len(count), is_silence) | (self._grid.moment - seen.moment[row] <= lasts)
        return np.where((count > 0) & fresh, seen.value[row], np.nan)

    def _window(self, window: Window) -> Floats:
        span = round(window.seconds * SECOND)
        past, sums = self._judge.tails.get(window, (none(), Sums.of(window.function)))
        if isinstance(window.of, Name):
            key = self._judge.key(window.of, self._found)
            fresh = self._found.get(key, none())
        else:
            values = self.value(window.of)
            fresh = Observations(*self._grid[:3], values).where(np.isfinite(values))
        seen = joined(past, fresh)
        end = len(past.value) + upto(fresh, self._grid.order, self._grid.moment)  # what is past was before each of these points
        first = np.minimum(np.searchsorted(seen.moment, self._grid.moment - span, side="right"), end)
        sums = None if sums is None else sums.extended(fresh.value)
        kept = int(np.searchsorted(seen.moment, self._grid.moment[-1] - span, side="right")) if len(self._grid.moment) else 0
        self.tails[window] = seen.since(kept), None if sums is None else sums.since(kept)
        return over(window.function, seen, first, end, sums)


def is_of(service: str, beginning: str | None) -> bool:
    """Return whether a service's name begins with `beginning`, without case, blanks and signs; None matches any."""
    plain = ["".join(sign for sign in word.casefold() if sign.isalnum()) for word in (service, beginning or "")]
    return beginning is None or plain[0].startswith(plain[1])


def absence_key(name: Name, seconds: float) -> str:
    """Return the name of the series of an absence, which is 1 once `name` was not observed for so long."""
    return f"absent({name}, {duration_text(seconds)})"


def _grid(series: list[Observations]) -> Observations:
    """Return the points of all series, each once."""
    order, moment, time = (np.concatenate([seen[at] for seen in series]) for at in range(3))
    rows = np.lexsort((moment, order))
    order, moment, time = order[rows], moment[rows], time[rows]
    is_new = np.ones(len(order), dtype=bool)
    is_new[:-1] = (order[1:] != order[:-1]) | (moment[1:] != moment[:-1])
    if len(series) == 1 and len(series[0].order) == len(order):
        is_new[:] = True  # each call of a packet counts
    return Observations(order[is_new], moment[is_new], time[is_new], np.zeros(int(is_new.sum())))


def _apply(sign: str, parts: list[Floats]) -> Floats:  # one line per operator
    with np.errstate(all="ignore"):
        a, b = parts[0], parts[-1]
        if sign == "abs":
            return np.abs(a)
        if sign in {"min", "max"}:
            both: Floats = np.minimum.reduce(parts) if sign == "min" else np.maximum.reduce(parts)
            return both
        if sign == "not":
            return 1.0 - a
        if sign == "and":
            return np.where(np.any([p == 0.0 for p in parts], axis=0), 0.0, np.where(np.any(np.isnan(parts), axis=0), np.nan, 1.0))
        if sign == "or":
            return np.where(np.any([p == 1.0 for p in parts], axis=0), 1.0, np.where(np.any(np.isnan(parts), axis=0), np.nan, 0.0))
        if sign in COMPARISONS:
            holds = {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b, "==": a == b, "!=": a != b}[sign]
            found: Floats = np.where(np.isnan(a) | np.isnan(b), np.nan, holds.astype(np.float64))
            return found
        found = {"+": a + b, "-": a - b, "*": a * b, "/": np.divide(a, b)}[sign]
        finite: Floats = np.where(np.isfinite(found), found, np.nan)
        return finite


def _lead(node: Node) -> tuple[Node | None, bool, float]:
    """Return the leading measure of a tree, whether low values are its bad ones, and its limit."""
    if isinstance(node, Operation) and node.sign in COMPARISONS:
        left, right = node.parts
        is_turned = isinstance(left, Number) and not isinstance(right, Number)
        lead, other = (right, left) if is_turned else (left, right)
        if not isinstance(lead, Number):
            below = (node.sign in _BELOW) is not is_turned
            return lead, below and node.sign not in {"==", "!="}, other.value if isinstance(other, Number) else np.nan
    if isinstance(node, Operation) and node.sign != "not":
        for part in node.parts:
            found = _lead(part)
            if found[0] is not None:
                return found
    return None, False, np.nan


def _series_of(node: Node) -> list[Name]:
    """Return the names of the series at whose observations a tree is judged."""
    if isinstance(node, Name):
        return [node]
    if isinstance(node, Window):
        if node.function == "absent" and isinstance(node.of, Name):
            return [Name(absence_key(node.of, node.seconds))]
        return _series_of(node.of)
    if isinstance(node, Operation):
        return [name for part in node.parts for name in _series_of(part)]
    return []


def _needs(node: Node) -> list[str]:
    return [name.name for name in _series_of(node)]


def absences(node: Node) -> list[tuple[Name, float]]:
    """Return the names whose absence a tree judges, each with its seconds."""
    if isinstance(node, Window) and node.function == "absent" and isinstance(node.of, Name):
        return [(node.of, node.seconds)]
    if isinstance(node, Operation):
        return [pair for part in node.parts for pair in absences(part)]
    return absences(node.of) if isinstance(node, Window) else []
