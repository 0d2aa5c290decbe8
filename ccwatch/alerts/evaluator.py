"""The evaluator: observations in, changes of state out. The same code for a live stream, item by item, and for a whole recording.

It loops over runs of observations on one side of a limit, never over rows; where a stream is cut into batches does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from ccwatch.alerts import rule_definitions
from ccwatch.alerts.batch_columns import Calls, Columns, unread_events, unread_items
from ccwatch.alerts.conditions import Judge, is_of
from ccwatch.alerts.divergence_plan import Plan
from ccwatch.alerts.functions import FunctionJudge
from ccwatch.alerts.log import Alert
from ccwatch.alerts.observations import Floats, Ints, Key, Observations, upto
from ccwatch.alerts.rule_measures import COLUMNS, Observer
from ccwatch.alerts.rule_needs import RENAMED, checked, needed
from ccwatch.alerts.rule_state import BETWEEN, BEYOND, CLEAR, AnyRule, Change, Codes, Machine, Standing
from ccwatch.alerts.rules import DEFAULT_RULES, Rule, read_objectives
from ccwatch.alerts.service_measures import MOST_SERVICES
from ccwatch.alerts.vocabulary import MEASURES, NUMBERS, WORDS
from ccwatch.config import Settings
from ccwatch.domain.hours import TradingHours
from ccwatch.protocol.messages import Item
from ccwatch.stream import dataframes
from ccwatch.stream.batch import Batch

_SERVICES: Final = ("agents", "models")


class Evaluator:
    """The judge of one stream by rules. Used by one thread at a time."""

    def __init__(
        self,
        rules: Sequence[AnyRule] = DEFAULT_RULES,
        *,
        objectives: Mapping[str, float] | None = None,
        hours: TradingHours | None = None,
        plan: Plan | None = None,
        virtual_clock: bool = False,
    ) -> None:
        """Hold the rules; until the first observation each has no data.

        Args:
            rules: with distinct names.
            objectives: p95 in ms by the beginning of a service's name; None is those of the default settings: none.
            hours: when the market trades: rules of the session are judged only then, and each trading day starts afresh.
            plan: what was expected, for rules on `divergence`.
            virtual_clock: the stream's stamps do not keep pace with the receiver's clock (a seeded stream at pace "max", a replay):
                durations are measured on the stamps.

        Raises:
            ConfigError: two rules of one name, a measure that does not exist, or `divergence` without a plan.
        """
        self._observer = Observer(
            read_objectives(Settings().objectives) if objectives is None else objectives,
            hours=hours,
            plan=plan,
            virtual_clock=virtual_clock,
        )
        self._services: set[str] = set()  # for which conditions have machines
        self._gone: dict[str, None] = {}  # services that are no longer judged, of which something fires; the first gone first
        self._hold(rules, *checked(rules, plan))

    def _hold(self, rules: Sequence[AnyRule], wanted: frozenset[str], awaited: Mapping[str, tuple[str, float]]) -> None:
        """Make the machines of these rules, in place of any others."""
        self.rules: tuple[AnyRule, ...] = tuple(rules)
        self._places = {rule.name: place for place, rule in enumerate(self.rules)}
        self._observer.want(wanted, awaited)
        self._machines: dict[tuple[str, str], Machine] = {}
        self._limits: dict[Key, list[Machine]] = {}  # machines of limits, by what they judge
        self._conditions: list[tuple[Machine, Judge, Judge | None]] = []
        self._functions: list[tuple[Machine, FunctionJudge]] = []
        self._per_service: list[rule_definitions.Rule] = []
        for rule in self.rules:
            self._add(rule)
        for service in self._services:
            self._serve(service)
        self._read = self.columns

    def use_rules(self, rules: Sequence[AnyRule], hours: TradingHours | None, plan: Plan | None = None) -> None:
        """Judge by other rules, hours and plan from now on. What is the same goes on where it was; an edited rule keeps its firing.

        Raises:
            ConfigError: two rules of one name, a measure that does not exist, or `divergence` without a plan; nothing has changed then.
        """
        needed = checked(rules, plan)
        machines = self._machines
        judges = {(m.rule.name, m.subject): (judge, ends) for m, judge, ends in self._conditions}
        functions = {m.rule.name: judge for m, judge in self._functions}
        self._hold(rules, *needed)
        self._observer.use_hours(hours)
        self._observer.use_plan(plan)
        for key, machine in self._machines.items():
            if key in machines:
                machine.restore(machines[key].snapshot())
        for at, (machine, judge, ends) in enumerate(self._conditions):
            was = judges.get((machine.rule.name, machine.subject), (None, None))
            kept = [
                old if old and new and old.condition.text == new.condition.text else new
                for old, new in zip(was, (judge, ends), strict=True)
            ]
            self._conditions[at] = machine, kept[0] or judge, kept[1]
        for at, (machine, function) in enumerate(self._functions):
            old = functions.get(machine.rule.name)
            self._functions[at] = machine, old if old is not None and old.function is function.function else function

    def _add(self, rule: AnyRule) -> None:
        """Add the machines of a rule whose subjects are known from the beginning."""
        if isinstance(rule, Rule):
            measure = RENAMED.get(rule.measure, rule.measure)
            if not MEASURES[measure].per_service:
                self._limits.setdefault((measure, ""), []).append(self._machine(rule, ""))
        elif rule.condition is None:
            self._functions.append((self._machine(rule, ""), FunctionJudge(rule)))
        elif len(rule.condition.slots) == 1:
            self._per_service.append(rule)
        else:
            self._conditions.append((self._machine(rule, ""), *_judges(rule, "")))

    def _machine(self, rule: AnyRule, subject: str) -> Machine:
        return self._machines.setdefault((rule.name, subject), Machine(rule, subject))

    @property
    def columns(self) -> list[str]:
        """Return the columns of the packets table that the rules need."""
        if self._functions:
            return [*COLUMNS, *(name for name in (*NUMBERS, *WORDS) if name not in COLUMNS)]
        wanted, _ = needed(self.rules)
        more = {name.partition("=")[0] for name in wanted} & {*NUMBERS, *WORDS}
        return [*COLUMNS, *sorted(more - set(COLUMNS))]

    @property
    def known_from_ns(self) -> int | None:
        """Return since when the account's peak is known, ns since 1970; None before its first nav."""
        return self._observer.account.known_from

    @property
    def account(self) -> dict[str, float]:
        """Return the account's measures as of the last nav, by name; see `Account.observe`. Empty before the first."""
        return self._observer.account.latest

    @property
    def trading_day(self) -> int | None:
        """Return when the trading day of the last packet began, ns since 1970; None before the first nav."""
        return self._observer.account.day

    @property
    def troubles(self) -> dict[str, str]:
        """Return the newest failure of each rule that is a function, by the rule's name."""
        return {machine.rule.name: judge.trouble for machine, judge in self._functions if judge.trouble}

    def watch_from(self, time_ns: int, mono_ns: int) -> None:
        """Watch the stream from this moment on, so that one that never begins is noticed."""
        self._observer.watch_from(time_ns, mono_ns + self._observer.offset)

    def use_clock(self, offset_ns: int) -> None:
        """Use another clock for the packets that follow: the receiver's monotonic time, and the offset from it to the wall clock."""
        self._observer.offset = offset_ns

    def skip_to(self, mono_ns: int) -> None:
        """Skip a time in which the stream was not watched: it does not count as silence."""
        self._observer.skip_to(mono_ns + self._observer.offset)

    def receive(self, items: Sequence[Item]) -> list[Change]:
        """Judge what a source delivers, in its order."""
        batch = Batch.of(items)
        packets = batch.packets
        unread = unread_items(items) if len(packets) < len(items) else None
        if not packets:
            self._observer.observe(Columns.of_batch(Batch([]), []), (), unread)
            return []
        frame = None
        if self._functions:
            frame = dataframes.build("packets", dataframes.packet_columns(packets, ["time", *self._read]), self._read)
        return self._take(Columns.of_batch(batch, self._read), [Calls.of_batch(table, batch) for table in _SERVICES], frame, unread)

    def observe(
        self,
        packets: pd.DataFrame,
        agents: pd.DataFrame | None = None,
        models: pd.DataFrame | None = None,
        events: pd.DataFrame | None = None,
    ) -> list[Change]:
        """Judge a batch of frames, which continues the batches before.

        Args:
            packets: in order of arrival, flagged ones too (`frame(clean=False)`); columns that are lacking give no data.
            agents: the agents table of these packets.
            models: the models table of these packets.
            events: the events table, for messages that could not be read.

        Returns:
            The changes, in their order.
        """
        tables = [Calls.of_frame(table, frame) for table, frame in zip(_SERVICES, (agents, models), strict=True)]
        batch = Columns.of_frame(packets, self._read)
        return self._take(batch, tables, packets, unread_events(batch, events))

    def _take(self, batch: Columns, tables: Sequence[Calls | None], frame: pd.DataFrame | None, unread: Ints | None) -> list[Change]:
        found = self._observer.observe(batch, tables, unread)
        changes = self._judge(found)
        for machine, judge in self._functions:
            if frame is not None:
                changes += machine.take(*self._in_hours(machine.rule, *judge.judge(frame, found)))
        if self._observer.at is not None:
            changes += self._without_data(self._observer.at)
        changes += self._forget(self._observer.services.forget())
        return self._in_order(changes)

    def advance(self, mono_ns: int) -> list[Change]:
        """Judge the silence until now, by the clock that packets are received by (or the stamps', where that is virtual)."""
        if self._observer.at is None:
            return []
        at = mono_ns + self._observer.offset
        return self._in_order(self._judge(self._observer.overdue(at)) + self._without_data(at))

    def gauge(self, measure: str, value: float, mono_ns: int) -> list[Change]:
        """Judge a value that no packet carries, such as `recorder_lag` in s."""
        if self._observer.at is None or not math.isfinite(value):
            return []
        at = mono_ns + self._observer.offset
        time = np.array([self._observer.time_at(at)])
        seen = Observations(np.array([self._observer.order]), np.array([at]), time, np.array([value]))
        return self._in_order(self._judge({(measure, ""): seen}))

    def acknowledge(self, rule: str, subject: str = "") -> None:
        """Acknowledge a firing: a latched one whose measure is clear ends with its next observation.

        Raises:
            KeyError: no such rule, or none of that subject yet.
        """
        found = self._machines.get((rule, subject))
        if found is None:
            raise KeyError(f"no rule {rule!r}{f' of {subject!r}' if subject else ''}; there are {', '.join(r.name for r in self.rules)}")
        found.is_acknowledged = True

    @property
    def standing(self) -> tuple[Standing, ...]:
        """Return the state of every rule, in the order of the rules; one entry per service for rules on services."""
        machines = sorted(self._machines.values(), key=lambda m: (self._places[m.rule.name], m.subject))
        return tuple(machine.standing() for machine in machines)

    def snapshot(self) -> dict[str, Any]:
        """Return the state to go on from after a restart, as values that JSON can hold; the contents of windows are not in it."""
        return {
            "account": self._observer.account.snapshot(),
            "services": self._observer.services.snapshot(),
            "divergence": None if self._observer.divergence is None else self._observer.divergence.snapshot(),
            "machines": [[rule, subject, machine.snapshot()] for (rule, subject), machine in self._machines.items()],
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Restore the state of a snapshot; entries for rules that are no longer judged are left out."""
        self._observer.account.restore(kept["account"])
        self._observer.services.restore(kept.get("services", {}))
        if self._observer.divergence is not None and kept.get("divergence") is not None:
            self._observer.divergence.restore(kept["divergence"])
        for name, subject, state in kept["machines"]:
            machine = self._machine_of(name, subject)
            if machine is not None:
                machine.restore(state)

    def adopt(self, alert: Alert) -> None:
        """Take over an alert as it was reported: one that fires, or one that is over."""
        machine = self._machine_of(alert.rule, alert.subject)
        if machine is None:
            return
        if alert.is_open:
            machine.adopt(alert.fired_ns, alert.value, alert.worst)
        else:
            machine.close(alert.fired_ns)

    def _machine_of(self, name: str, subject: str) -> Machine | None:
        if subject:
            self._serve(subject, name)
        return self._machines.get((name, subject))

    # ── inside ──

    def _judge(self, seen: Mapping[Key, Observations]) -> list[tuple[int, Change]]:
        changes: list[tuple[int, Change]] = []
        for key, observations in seen.items():
            if key[1] and (key not in self._limits or key[1] not in self._services):
                self._serve(key[1], since=min(int(one.order[0]) for of, one in seen.items() if of[1] == key[1]))
            for machine in self._limits.get(key, ()):
                changes += machine.take(*self._in_hours(machine.rule, observations, _codes(machine.rule, observations.value)))
        for machine, judge, ends in self._conditions:
            changes += machine.take(*self._in_hours(machine.rule, *_judged(judge, ends, seen)))
        return changes

    def _serve(self, service: str, only: str | None = None, since: int = 0) -> None:
        """Make the machines of a service that is seen for the first time; `only` those of one rule."""
        for rule in self.rules:
            if only is not None and rule.name != only:
                continue
            if isinstance(rule, Rule):
                measure = RENAMED.get(rule.measure, rule.measure)
                if MEASURES[measure].per_service and (rule.name, service) not in self._machines:
                    self._limits.setdefault((measure, service), []).append(self._machine(rule, service))
            elif rule in self._per_service and (rule.name, service) not in self._machines:
                slot = rule.condition.slots[0] if rule.condition is not None else None
                if is_of(service, slot):
                    self._conditions.append((self._machine(rule, service), *_judges(rule, service, since)))
        if only is None:
            self._services.add(service)

    def _forget(self, services: Sequence[str]) -> list[tuple[int, Change]]:
        """Forget services that are no longer judged, but for those of which something fires; of too many of these, the first ones end."""
        if not services:
            return []
        self._gone = {name: None for name in (*self._gone, *services) if name not in self._observer.services}
        firing = {machine.subject for machine in self._machines.values() if machine.standing().is_open}
        open_ones = [name for name in self._gone if name in firing]
        ended = {*open_ones[: max(0, len(open_ones) - MOST_SERVICES)]}
        at, time = self._observer.at or 0, self._observer.time
        over = [m for m in self._machines.values() if m.subject in ended and m.standing().is_open]
        changes = [machine.end(at, time) for machine in over]
        gone = self._gone.keys() - firing | ended
        self._services -= gone
        self._machines = {key: machine for key, machine in self._machines.items() if key[1] not in gone}
        self._limits = {key: machines for key, machines in self._limits.items() if key[1] not in gone}
        self._conditions = [found for found in self._conditions if found[0].subject not in gone]
        self._gone = {name: None for name in self._gone if name not in gone}
        return changes

    def _in_hours(self, rule: AnyRule, seen: Observations, code: Codes) -> tuple[AnyRule, Observations, Codes]:
        hours = self._observer.hours
        if hours is None or rule.hours == "always" or not len(seen.time):
            return rule, seen, code
        is_open = hours.place(seen.time)[1]
        return rule, seen.where(is_open), code[is_open]

    def _without_data(self, at: int) -> list[tuple[int, Change]]:
        return [change for machine in self._machines.values() for change in machine.silent_until(at)]

    def _in_order(self, changes: list[tuple[int, Change]]) -> list[Change]:
        return [change for _, change in sorted(changes, key=lambda found: (found[0], self._places[found[1].rule], found[1].subject))]


def _judges(rule: rule_definitions.Rule, service: str, since: int = 0) -> tuple[Judge, Judge | None]:
    if rule.condition is None:
        raise TypeError("a function is judged otherwise")
    return Judge(rule.condition, service, since), None if rule.clearing is None else Judge(rule.clearing, service, since)


def _judged(judge: Judge, ends: Judge | None, seen: Mapping[Key, Observations]) -> tuple[Observations, Codes]:
    """Return the points of a condition, and on which side of its limits each lies."""
    found, truth = judge.judge(seen)
    code = np.where(truth == 1.0, BEYOND, CLEAR)
    if ends is not None:
        over = ends.judge(seen)
        place = upto(over.seen, found.order, found.moment) - 1
        is_clear = np.zeros(len(code), dtype=bool)
        if len(over.truth):
            is_clear = (place >= 0) & (over.truth[np.maximum(place, 0)] == 1.0)
        code = np.where(code == BEYOND, BEYOND, np.where(is_clear, CLEAR, BETWEEN))
    return found, code


def _codes(rule: AnyRule, value: Floats) -> Codes:
    """Return on which side of a rule's limit and clearing value each observation lies."""
    if not isinstance(rule, Rule):
        raise TypeError("a condition says so itself")
    clears = rule.limit if rule.clears is None else rule.clears
    if rule.below:
        beyond, clear = value <= rule.limit, value > clears
    else:
        beyond, clear = value >= rule.limit, value < clears
    return np.where(beyond, BEYOND, np.where(clear, CLEAR, BETWEEN))
