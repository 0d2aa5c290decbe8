"""The evaluator: observations in, changes of state out. The same code for a live stream, item by item, and for a whole recording.

It loops over runs of observations on one side of a limit, never over rows; where a stream is cut into batches does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from ccwatch.alerts.measures import COLUMNS, Floats, Key, Observations, Observer
from ccwatch.alerts.rules import DEFAULT_RULES, AlertState, Rule, Severity, read_objectives
from ccwatch.config import Settings
from ccwatch.errors import ConfigError
from ccwatch.protocol.messages import Item, Packet
from ccwatch.protocol.session import SECOND
from ccwatch.stream import frames

_BEYOND, _BETWEEN, _CLEAR = 1, 0, -1
_PER_SERVICE: Final = frozenset({"latency"})
"""Measures whose subjects are only known once they were seen."""


class Change(NamedTuple):
    """A rule went into another state.

    `time_ns` is on the stream's own clock. `value` is the observation that changed it, in the rule's unit (NaN for NO_DATA); `worst` the
    worst value since the firing began, NaN where nothing fires.
    """

    time_ns: int
    rule: str
    subject: str
    state: AlertState
    before: AlertState
    value: float
    worst: float
    severity: Severity


class Standing(NamedTuple):
    """Where a rule stands now: since when (ns, stream's clock; 0 where it was never observed), its last value, the worst while it fires.

    `is_open`: a firing that nothing has resolved yet, also while its state is NO_DATA.
    """

    rule: str
    subject: str
    state: AlertState
    since_ns: int
    value: float
    worst: float
    is_open: bool
    severity: Severity


class Evaluator:
    """Judges one stream by rules. Used by one thread at a time."""

    def __init__(
        self,
        rules: Sequence[Rule] = DEFAULT_RULES,
        *,
        objectives: Mapping[str, float] | None = None,
        virtual_clock: bool = False,
    ) -> None:
        """Nothing was seen yet: every rule has no data.

        Args:
            rules: each with a name of its own.
            objectives: p95 in ms by the beginning of a service's name; None is those of the default settings.
            virtual_clock: the stream's stamps do not keep pace with the receiver's clock (a seeded stream at pace "max", a replay):
                durations are measured on the stamps.

        Raises:
            ConfigError: two rules of one name.
        """
        names = [rule.name for rule in rules]
        if len(set(names)) < len(names):
            raise ConfigError(f"rules: {next(name for name in names if names.count(name) > 1)!r} is there twice")
        self.rules: tuple[Rule, ...] = tuple(rules)
        self._observer = Observer(read_objectives(Settings().objectives) if objectives is None else objectives, virtual_clock=virtual_clock)
        self._machines: dict[Key, list[_Machine]] = {}
        for rule in self.rules:
            if rule.measure not in _PER_SERVICE:
                self._machines.setdefault((rule.measure, ""), []).append(_Machine(rule, ""))

    def receive(self, items: Sequence[Item]) -> list[Change]:
        """Judge what a source delivers, in its order."""
        packets = [item for item in items if isinstance(item, Packet)]
        if not packets:
            return []
        frame = frames.build("packets", frames.packet_columns(packets, ["time", *COLUMNS]), COLUMNS)
        agents, models = (frames.build(table, frames.long_columns(table, packets)) for table in ("agents", "models"))
        return self.observe(frame, agents, models)

    def observe(self, packets: pd.DataFrame, agents: pd.DataFrame | None = None, models: pd.DataFrame | None = None) -> list[Change]:
        """Judge a batch of frames: what follows on the batches before.

        Args:
            packets: in order of arrival, flagged ones too (`frame(clean=False)`); columns that are lacking give no data.
            agents: the agents table of these packets.
            models: the models table of these packets.

        Returns:
            The changes, in their order.
        """
        changes = self._judge(self._observer.observe(packets, agents, models))
        return self._told(changes + (self._without_data(self._observer.at) if self._observer.at is not None else []))

    def advance(self, mono_ns: int) -> list[Change]:
        """Judge the silence until now, by the clock that packets are received by (or the stamps', where that is virtual)."""
        if self._observer.at is None:
            return []
        return self._told(self._judge(self._observer.overdue(mono_ns)) + self._without_data(mono_ns))

    def gauge(self, measure: str, value: float, mono_ns: int) -> list[Change]:
        """Judge a value that no packet carries, such as `recorder_lag` in s."""
        if self._observer.at is None or not math.isfinite(value):
            return []
        time = np.array([self._observer.time_at(mono_ns)])
        return self._told(self._judge({(measure, ""): Observations(np.array([mono_ns]), time, np.array([value]))}))

    def acknowledge(self, rule: str, subject: str = "") -> None:
        """Someone has seen it: a latched firing whose measure is clear ends with its next observation.

        Raises:
            KeyError: no such rule, or none of that subject yet.
        """
        found = [m for machines in self._machines.values() for m in machines if (m.rule.name, m.subject) == (rule, subject)]
        if not found:
            raise KeyError(f"no rule {rule!r}{f' of {subject!r}' if subject else ''}; there are {', '.join(r.name for r in self.rules)}")
        found[0].is_acknowledged = True

    @property
    def standing(self) -> tuple[Standing, ...]:
        """Where every rule stands, in the order of the rules; one entry per service for rules on latency."""
        places = {rule.name: place for place, rule in enumerate(self.rules)}
        machines = sorted((m for ms in self._machines.values() for m in ms), key=lambda m: (places[m.rule.name], m.subject))
        return tuple(machine.standing() for machine in machines)

    # ── inside ──

    def _judge(self, seen: Mapping[Key, Observations]) -> list[tuple[int, Change]]:
        changes: list[tuple[int, Change]] = []
        for key, observations in seen.items():
            if key not in self._machines:
                self._machines[key] = [_Machine(rule, key[1]) for rule in self.rules if rule.measure == key[0]]
            for machine in self._machines[key]:
                changes += machine.take(observations)
        return changes

    def _without_data(self, at: int) -> list[tuple[int, Change]]:
        return [change for machines in self._machines.values() for machine in machines for change in machine.silent_until(at)]

    def _told(self, changes: list[tuple[int, Change]]) -> list[Change]:
        places = {rule.name: place for place, rule in enumerate(self.rules)}
        return [change for _, change in sorted(changes, key=lambda told: (told[0], places[told[1].rule], told[1].subject))]


class _Machine:
    """The state of one rule on one subject."""

    def __init__(self, rule: Rule, subject: str) -> None:
        self.rule, self.subject = rule, subject
        self.is_acknowledged = False
        self._state = AlertState.NO_DATA
        self._since = 0
        self._value = self._worst = math.nan
        self._open = False  # fired and not resolved, whatever the state
        self._beyond_at: int | None = None  # since when the limit is passed without a break, not yet firing
        self._beyond_n = 0
        self._clear_at: int | None = None  # since when it is clear while open
        self._last: tuple[int, int] | None = None
        self._for, self._keep = round(rule.for_s * SECOND), round(rule.keep_s * SECOND)
        self._no_data = math.inf if math.isinf(rule.no_data_s) else round(rule.no_data_s * SECOND)

    def standing(self) -> Standing:
        return Standing(self.rule.name, self.subject, self._state, self._since, self._value, self._worst, self._open, self.rule.severity)

    def silent_until(self, at: int) -> list[tuple[int, Change]]:
        """No observation came until `at`: once that is too long, there is no data. An open firing stays open."""
        if self._last is None or self._state is AlertState.NO_DATA or at - self._last[0] <= self._no_data:
            return []
        wait = int(self._no_data)
        self._beyond_at = self._clear_at = None
        self._beyond_n = 0
        self._value = math.nan
        return [self._change(AlertState.NO_DATA, self._last[0] + wait, self._last[1] + wait, math.nan)]

    def take(self, seen: Observations) -> list[tuple[int, Change]]:
        """Judge observations, run by run."""
        rule, value = self.rule, seen.value
        clears = rule.limit if rule.clears is None else rule.clears
        if rule.below:
            beyond, clear = value <= rule.limit, value > clears
        else:
            beyond, clear = value >= rule.limit, value < clears
        code = np.where(beyond, _BEYOND, np.where(clear, _CLEAR, _BETWEEN))
        begins = np.ones(len(code), dtype=bool)
        begins[1:] = (code[1:] != code[:-1]) | (np.diff(seen.moment) > self._no_data)
        first = np.flatnonzero(begins)
        changes: list[tuple[int, Change]] = []
        for i, j in zip(first.tolist(), [*first[1:].tolist(), len(code)], strict=True):
            changes += self.silent_until(int(seen.moment[i]))
            changes += self._run(int(code[i]), seen, i, j)
            self._last = int(seen.moment[j - 1]), int(seen.time[j - 1])
            self._value = float(value[j - 1])
        return changes

    def _run(self, code: int, seen: Observations, i: int, j: int) -> list[tuple[int, Change]]:
        """Observations i to j - 1, all on one side of the limits and without a stretch of no data between them."""

        def enter(state: AlertState, row: int) -> tuple[int, Change]:
            return self._change(state, int(seen.moment[row]), int(seen.time[row]), float(seen.value[row]))

        if code != _BEYOND:
            self._beyond_at, self._beyond_n = None, 0
        if self._open:
            return self._run_open(code, seen, i, j)
        if code != _BEYOND:
            return [enter(AlertState.OK, i)] if self._state is not AlertState.OK else []
        if self._beyond_at is None:
            self._beyond_at = int(seen.moment[i])
        row = max(i + int(np.searchsorted(seen.moment[i:j], self._beyond_at + self._for)), i + self.rule.least_n - self._beyond_n - 1)
        self._beyond_n += j - i
        changes = []
        if row > i and self._state is not AlertState.PENDING:
            changes.append(enter(AlertState.PENDING, i))
        if row < j:
            self._open, self._clear_at, self.is_acknowledged = True, None, False
            self._beyond_at, self._beyond_n = None, 0
            self._worst = self._worse(seen.value[row : row + 1])
            changes.append(enter(AlertState.FIRING, row))
            self._worst = self._worse(seen.value[row:j])
        return changes

    def _run_open(self, code: int, seen: Observations, i: int, j: int) -> list[tuple[int, Change]]:
        """A run while a firing is open: it goes on, or it is resolved once it was clear for long enough."""
        resolved = j
        if code == _CLEAR and (not self.rule.latched or self.is_acknowledged):
            self._clear_at = int(seen.moment[i]) if self._clear_at is None else self._clear_at
            resolved = i + int(np.searchsorted(seen.moment[i:j], self._clear_at + self._keep))
        elif code != _CLEAR:
            self._clear_at = None
        if code == _BEYOND:
            self._worst = self._worse(seen.value[i:j])
        changes = []
        if self._state is AlertState.NO_DATA and resolved > i:  # the data are back, and it fires still
            changes.append(self._change(AlertState.FIRING, int(seen.moment[i]), int(seen.time[i]), float(seen.value[i])))
        if resolved < j:
            changes.append(self._change(AlertState.OK, int(seen.moment[resolved]), int(seen.time[resolved]), float(seen.value[resolved])))
            self._open, self._clear_at, self._worst = False, None, math.nan
        return changes

    def _worse(self, values: Floats) -> float:
        return float(np.fmin(self._worst, values.min()) if self.rule.below else np.fmax(self._worst, values.max()))

    def _change(self, state: AlertState, at: int, time: int, value: float) -> tuple[int, Change]:
        change = Change(time, self.rule.name, self.subject, state, self._state, value, self._worst, self.rule.severity)
        self._state, self._since = state, time
        return at, change
