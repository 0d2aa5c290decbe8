"""The log of alerts: changes of state in, alerts out: those that fire, are over, or were acknowledged. Pure.

An alert is one firing, from the moment at which a rule began to fire until it was resolved; silence in between does not end it.
"""

from __future__ import annotations

import math
from base64 import b32encode
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self
from zoneinfo import ZoneInfo

from ccwatch.alerts.alert_words import in_words
from ccwatch.alerts.rule_needs import subject_of
from ccwatch.alerts.rule_state import AnyRule, Change, Standing
from ccwatch.alerts.rules import AlertState, Rule, Severity, digest_of
from ccwatch.protocol.messages import from_ns
from ccwatch.stream.time_ranges import shown_zone

MOST_PAST: Final = 200
"""How many alerts that are over are kept."""
_WEIGHT: Final = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}


@dataclass(frozen=True, slots=True)
class Alert:
    """One firing of a rule. Times are on the stream's own clock, in ns since 1970, UTC.

    Attributes:
        rule: its name.
        subject: the service that it is about, else empty.
        severity: how much it matters.
        meaning: one line for people.
        unit: of the values.
        state: FIRING; NO_DATA while it is not known whether it still fires; OK once it is resolved.
        fired_ns: since when it fires.
        fired_value: the value that made it fire.
        value: the newest; NaN where there are no data.
        worst: the worst since it began.
        resolved_ns: when it was resolved; None until then.
        is_acknowledged: whether a user has acknowledged it.
        is_waiting: it fires only because it was not acknowledged: its rule is latched, and the newest value is clear.
        runbook: where to read what to do; empty where the rule does not say.
        measure: the measure that it is about, by which alerts are grouped; empty where the rule is a function.
    """

    rule: str
    subject: str
    severity: Severity
    meaning: str
    unit: str
    state: AlertState
    fired_ns: int
    fired_value: float
    value: float
    worst: float
    resolved_ns: int | None = None
    is_acknowledged: bool = False
    is_waiting: bool = False
    runbook: str = ""
    measure: str = ""

    def __str__(self) -> str:
        """Return it as one line, whose time is in the zone in which times are shown: what `feed.on_alert(print)` prints."""
        return in_words(self, ZoneInfo(shown_zone()))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Print a headline in IPython; the attributes have all."""
        printer.text("…" if cycle else f"<Alert {self}>")

    @property
    def is_open(self) -> bool:
        """Return whether it is not resolved yet."""
        return self.resolved_ns is None

    @property
    def name(self) -> str:
        """Return the name of the rule, with the service that it is about."""
        return f"{self.rule} · {self.subject}" if self.subject else self.rule

    @property
    def id(self) -> str:
        """Return six letters and digits that name this firing, the same in every process that judges the same stream."""
        return b32encode(bytes.fromhex(digest_of(self.rule, self.subject, self.fired_ns)))[:6].decode().lower()

    @property
    def fired(self) -> datetime:
        """Return since when it fires, as an aware datetime in UTC."""
        return from_ns(self.fired_ns)

    @property
    def resolved(self) -> datetime | None:
        """Return when it was resolved, as an aware datetime in UTC; None until then."""
        return self.resolved_at

    def to_dict(self) -> dict[str, Any]:
        """Return the alert as values that JSON can hold: times as ISO 8601, numbers that are not known as None."""
        plain = {name: getattr(self, name) for name in ("rule", "subject", "meaning", "unit", "runbook", "measure", "is_acknowledged")}
        numbers = {name: getattr(self, name) for name in ("fired_value", "value", "worst")}
        return {
            "id": self.id,
            **plain,
            "severity": str(self.severity),
            "state": str(self.state),
            "fired": self.fired.isoformat(),
            "fired_ns": self.fired_ns,
            "resolved": None if self.resolved_at is None else self.resolved_at.isoformat(),
            **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Self:
        """Return the alert that `to_dict` returned; times to the nanosecond where they are in it, else to the microsecond.

        Raises:
            KeyError, TypeError, ValueError: these are no facts of an alert.
        """
        words = {name: str(facts[name]) for name in ("rule", "subject", "meaning", "unit")}
        numbers = {name: math.nan if facts[name] is None else float(facts[name]) for name in ("fired_value", "value", "worst")}
        resolved = facts.get("resolved")
        more: dict[str, Any] = words | numbers
        return cls(
            **more,
            severity=Severity(facts["severity"]),
            state=AlertState(facts["state"]),
            fired_ns=int(facts["fired_ns"]) if "fired_ns" in facts else to_ns(datetime.fromisoformat(facts["fired"])),
            resolved_ns=None if resolved is None else to_ns(datetime.fromisoformat(resolved)),
            is_acknowledged=bool(facts.get("is_acknowledged")),
            runbook=str(facts.get("runbook") or ""),
            measure=str(facts.get("measure") or ""),
        )

    @property
    def fired_at(self) -> datetime:
        """Return since when it fires, as an aware datetime in UTC, to the microsecond."""
        return from_ns(self.fired_ns)

    @property
    def resolved_at(self) -> datetime | None:
        """Return when it was resolved, as an aware datetime in UTC; None until then."""
        return None if self.resolved_ns is None else from_ns(self.resolved_ns)


def to_ns(moment: datetime) -> int:
    """Return an aware datetime as ns since 1970."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1_000


class AlertLog:
    """The alerts of one evaluator, in bounded memory. Used by one thread at a time."""

    def __init__(self, rules: Sequence[AnyRule]) -> None:
        self.past: deque[Alert] = deque(maxlen=MOST_PAST)
        """Alerts that are over, the newest last."""
        self._rules = {rule.name: rule for rule in rules}
        self._open: dict[tuple[str, str], Alert] = {}

    @property
    def open(self) -> tuple[Alert, ...]:
        """Return the alerts that are not resolved: those not acknowledged first, then by severity, the newest first."""
        return tuple(sorted(self._open.values(), key=lambda a: (a.is_acknowledged, _WEIGHT[a.severity], -a.fired_ns, a.name)))

    def take(self, changes: Iterable[Change]) -> list[Alert]:
        """Take an evaluator's changes, in their order, and return the alerts that began or ended, as they were then."""
        reported = []
        for change in changes:
            key = change.rule, change.subject
            known = self._open.get(key)
            if known is None and change.state is AlertState.FIRING:
                rule = self._rules[change.rule]
                self._open[key] = Alert(
                    *(
                        change.rule,
                        change.subject,
                        change.severity,
                        rule.meaning or rule.text,
                        rule.unit,
                        AlertState.FIRING,
                        change.time_ns,
                    ),
                    *(change.value, change.value, change.worst),
                    runbook=rule.runbook or "",
                    measure=subject_of(rule),
                )
                reported.append(self._open[key])
            elif known is not None and change.state is AlertState.OK:
                del self._open[key]
                worst = known.worst if math.isnan(change.worst) else change.worst
                over = replace(known, state=AlertState.OK, value=change.value, worst=worst, resolved_ns=change.time_ns, is_waiting=False)
                self.past.append(over)
                reported.append(over)
            elif known is not None:
                self._open[key] = replace(known, state=change.state, value=change.value)
        return reported

    def use_rules(self, rules: Sequence[AnyRule], now_ns: int) -> list[Alert]:
        """Log by other rules from now on; return the alerts that end here, since their rules are gone."""
        self._rules = {rule.name: rule for rule in rules}
        gone = [key for key in self._open if key[0] not in self._rules]
        over = [replace(self._open.pop(key), state=AlertState.OK, resolved_ns=now_ns, is_waiting=False) for key in gone]
        over = [replace(alert, meaning=f"{alert.meaning} (its rule was removed)") for alert in over]
        self.past.extend(over)
        return over

    def adopt(self, alert: Alert) -> None:
        """Take over an alert of a journal, firing or over, whose rule still exists."""
        key = alert.rule, alert.subject
        if alert.is_open and alert.rule in self._rules:
            self._open[key] = alert
        elif key in self._open and self._open[key].id == alert.id:
            del self._open[key]

    def restore_open(self, standing: Iterable[Standing]) -> None:
        """Take over the firings of an evaluator, after a restart that left only its snapshot."""
        for now in standing:
            if now.is_open:
                rule = self._rules[now.rule]
                self._open[now.rule, now.subject] = Alert(
                    *(now.rule, now.subject, now.severity, rule.meaning or rule.text, rule.unit, now.state, now.fired_ns),
                    *(now.value, now.value, now.worst),
                    runbook=rule.runbook or "",
                    measure=subject_of(rule),
                )

    def follow(self, standing: Iterable[Standing]) -> None:
        """Update open alerts with the current values of their rules."""
        for now in standing:
            known = self._open.get((now.rule, now.subject))
            if known is not None:
                rule = self._rules[now.rule]
                is_clear = isinstance(rule, Rule) and (now.value > rule.limit if rule.below else now.value < rule.limit)
                self._open[now.rule, now.subject] = replace(
                    known,
                    value=now.value,
                    worst=known.worst if math.isnan(now.worst) else now.worst,
                    is_waiting=rule.latched and is_clear and not known.is_acknowledged,
                )

    def acknowledge(self, rule: str, subject: str = "") -> bool:
        """Acknowledge what fires now, and return whether anything did. The next firing is a new alert, not acknowledged."""
        known = self._open.get((rule, subject))
        if known is not None:
            self._open[rule, subject] = replace(known, is_acknowledged=True, is_waiting=False)
        return known is not None
