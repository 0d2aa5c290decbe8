"""The machine: the state of one rule on one subject, moved by observations; it knows no measure, and loops over runs, never over rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ccwatch.alerts import rule_definitions
from ccwatch.alerts.observations import SECOND, Floats, Observations
from ccwatch.alerts.rules import AlertState, Rule, Severity

BEYOND, BETWEEN, CLEAR = 1, 0, -1
"""On which side of a rule's limits an observation lies."""
Codes = npt.NDArray[np.int64]
AnyRule = Rule | rule_definitions.Rule
"""A limit on one measure, or a condition in words."""


class Change(NamedTuple):
    """A change of a rule's state.

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
    """A rule's current state: since when (ns, stream's clock; 0 where never observed), its last value, the worst while it fires.

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
    fired_ns: int = 0
    """When the open firing began, ns since 1970; 0 without one."""


class Machine:
    """The state of one rule on one subject."""

    def __init__(self, rule: AnyRule, subject: str) -> None:
        self.rule, self.subject = rule, subject
        self.is_acknowledged = False
        self._state = AlertState.NO_DATA
        self._since = 0
        self._value = self._worst = math.nan
        self._fired = 0
        self._open = False  # fired and not resolved, whatever the state
        self._beyond_at: int | None = None  # since when the limit is passed without a break, not yet firing
        self._beyond_n = 0
        self._clear_at: int | None = None  # since when it is clear while open
        self._last: tuple[int, int] | None = None
        self._for, self._keep = round(rule.for_s * SECOND), round(rule.keep_s * SECOND)
        self._no_data = math.inf if math.isinf(rule.no_data_s) else round(rule.no_data_s * SECOND)

    def standing(self) -> Standing:
        """Return its current state."""
        return Standing(
            self.rule.name, self.subject, self._state, self._since, self._value, self._worst, self._open, self.rule.severity, self._fired
        )

    def silent_until(self, at: int) -> list[tuple[int, Change]]:
        """Note that no observation came until `at`: once that is too long, there is no data. An open firing stays open.

        A rule that judges silence goes on without observations, and fires once it was pending for long enough.
        """
        if self._last is None:
            return []
        if math.isinf(self._no_data):
            due = math.inf if self._beyond_at is None or self._open else self._beyond_at + self._for
            if self._state is not AlertState.PENDING or at <= due or self._beyond_n < self.rule.least_n:
                return []
            return [self._fire(int(due), self._last[1] + int(due) - self._last[0], self._value)]
        if self._state is AlertState.NO_DATA or at - self._last[0] <= self._no_data:
            return []
        wait = int(self._no_data)
        self._beyond_at = self._clear_at = None
        self._beyond_n = 0
        self._value = math.nan
        return [self._change(AlertState.NO_DATA, self._last[0] + wait, self._last[1] + wait, math.nan)]

    def take(self, _rule: AnyRule, seen: Observations, code: Codes) -> list[tuple[int, Change]]:
        """Judge observations, run by run; `code` says on which side of the limits each lies."""
        if not len(code):
            return []
        begins = np.ones(len(code), dtype=bool)
        begins[1:] = (code[1:] != code[:-1]) | (np.diff(seen.moment) > self._no_data)
        first = np.flatnonzero(begins)
        changes: list[tuple[int, Change]] = []
        for i, j in zip(first.tolist(), [*first[1:].tolist(), len(code)], strict=True):
            changes += self.silent_until(int(seen.moment[i]))
            changes += self._run(int(code[i]), seen, i, j)
            self._last = int(seen.moment[j - 1]), int(seen.time[j - 1])
            self._value = float(seen.value[j - 1])
        return changes

    def _fire(self, at: int, time: int, value: float) -> tuple[int, Change]:
        self._open, self._clear_at, self.is_acknowledged, self._fired = True, None, False, time
        self._beyond_at, self._beyond_n = None, 0
        self._worst = self._worse(np.array([value]))
        return self._change(AlertState.FIRING, at, time, value)

    def _run(self, code: int, seen: Observations, i: int, j: int) -> list[tuple[int, Change]]:
        """Judge observations i to j - 1, all on one side of the limits and without a stretch of no data between them."""

        def enter(state: AlertState, row: int) -> tuple[int, Change]:
            return self._change(state, int(seen.moment[row]), int(seen.time[row]), float(seen.value[row]))

        if code != BEYOND:
            self._beyond_at, self._beyond_n = None, 0
        if self._open:
            return self._run_open(code, seen, i, j)
        if code != BEYOND:
            return [enter(AlertState.OK, i)] if self._state is not AlertState.OK else []
        if self._beyond_at is None:
            self._beyond_at = int(seen.moment[i])
        row = max(i + int(np.searchsorted(seen.moment[i:j], self._beyond_at + self._for)), i + self.rule.least_n - self._beyond_n - 1)
        self._beyond_n += j - i
        changes = []
        if row > i and self._state is not AlertState.PENDING:
            changes.append(enter(AlertState.PENDING, i))
        if row < j:
            changes.append(self._fire(int(seen.moment[row]), int(seen.time[row]), float(seen.value[row])))
            self._worst = self._worse(seen.value[row:j])
        return changes

    def _run_open(self, code: int, seen: Observations, i: int, j: int) -> list[tuple[int, Change]]:
        """Judge a run while a firing is open, which is resolved once the measure was clear for long enough."""
        resolved = j
        if code == CLEAR and (not self.rule.latched or self.is_acknowledged):
            self._clear_at = int(seen.moment[i]) if self._clear_at is None else self._clear_at
            resolved = i + int(np.searchsorted(seen.moment[i:j], self._clear_at + self._keep))
        elif code != CLEAR:
            self._clear_at = None
        if code == BEYOND:
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

    def adopt(self, fired_ns: int, value: float, worst: float) -> None:
        """Take over a firing that was reported, whether or not it is known here."""
        if not self._open:
            self._state, self._since, self._value, self._clear_at = AlertState.FIRING, fired_ns, value, None
        self._open, self._fired, self._beyond_at, self._beyond_n = True, fired_ns, None, 0
        self._worst = worst if math.isnan(self._worst) else self._worse(np.array([worst]))

    def close(self, fired_ns: int) -> None:
        """End the firing that began then, if it is open here: its end was reported."""
        if self._open and self._fired == fired_ns:
            self._open, self._clear_at, self._worst, self._state = False, None, math.nan, AlertState.OK

    def end(self, at: int, time: int) -> tuple[int, Change]:
        """End the firing that is open here: nothing will ever be observed of its subject."""
        change = self._change(AlertState.OK, at, time, math.nan)
        self._open, self._clear_at, self._worst = False, None, math.nan
        return change

    def snapshot(self) -> dict[str, Any]:
        """Return its state as values that JSON can hold."""
        numbers = {"value": self._value, "worst": self._worst}
        return {
            "state": str(self._state),
            "since": self._since,
            "fired": self._fired,
            "open": self._open,
            "acknowledged": self.is_acknowledged,
            "beyond_at": self._beyond_at,
            "beyond_n": self._beyond_n,
            "clear_at": self._clear_at,
            "last": self._last,
            **{name: None if math.isnan(value) else value for name, value in numbers.items()},
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Restore the state of a snapshot."""
        self._state, self._since, self._open = AlertState(kept["state"]), kept["since"], kept["open"]
        self.is_acknowledged, self._fired = kept["acknowledged"], kept["fired"]
        self._beyond_at, self._beyond_n, self._clear_at = kept["beyond_at"], kept["beyond_n"], kept["clear_at"]
        self._last = None if kept["last"] is None else (kept["last"][0], kept["last"][1])
        self._value, self._worst = (math.nan if kept[name] is None else kept[name] for name in ("value", "worst"))
