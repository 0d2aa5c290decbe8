"""From alerts to notices: groups, inhibition, silences, repetition, escalation. It knows no receiver and no clock.

It follows Prometheus' Alertmanager: one drawdown is one message, the worse hides the milder, a halt mutes its consequences.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ccwatch.alerts import RANK, Alert, Severity, group_of

_MUTES: Final = {"halt": ("drawdown", "silence", "latency"), "silence": ("latency",)}
"""By group: the groups that it mutes while it fires, as they follow from it."""


@dataclass(frozen=True)
class Notice:
    """A message that is due to people.

    Attributes:
        name: identifies the message, which is sent once under this name.
        kind: "firing", "worse", "resolved", "repeat" or "escalation".
        group: the name of the alerts' group.
        alert: the alert that made it due.
        also: the other firing alerts of the group.
    """

    name: str
    kind: str
    group: str
    alert: Alert
    also: tuple[Alert, ...] = ()


@dataclass
class _Group:
    open: dict[str, Alert] = field(default_factory=dict)
    reported: int = 0  # the worst severity that was reported
    reported_for: list[Alert] = field(default_factory=list)
    reported_at: int = 0
    repeats: int = 0
    is_escalated: bool = False


class Notifier:
    """The groups of one stream. Used by one thread at a time."""

    def __init__(
        self,
        *,
        repeat_s: float = 4 * 3600.0,
        escalate_s: float = 600.0,
        is_quiet: Callable[[Alert], bool] = lambda _: False,
        is_seen: Callable[[Alert], bool] = lambda _: False,
    ) -> None:
        """Start without alerts.

        Args:
            repeat_s: seconds after which an alert that was not acknowledged is reported again.
            escalate_s: seconds after which a critical alert that was not acknowledged is escalated.
            is_quiet: returns whether an alert is silenced now.
            is_seen: returns whether someone has acknowledged an alert.
        """
        self._repeat_ns, self._escalate_ns = round(repeat_s * 1e9), round(escalate_s * 1e9)
        self._is_quiet, self._is_seen = is_quiet, is_seen
        self._groups: dict[str, _Group] = {}

    @property
    def groups(self) -> dict[str, tuple[Alert, ...]]:
        """Return the firing alerts by group, the worst first."""
        return {
            name: tuple(sorted(group.open.values(), key=lambda a: (-RANK[a.severity], a.fired_ns)))
            for name, group in self._groups.items()
            if group.open
        }

    def take(self, alert: Alert, now_ns: int) -> list[Notice]:
        """Take an alert that began to fire or was resolved; return the notices due for it."""
        name = group_of(alert)
        group = self._groups.setdefault(name, _Group())
        if alert.is_open:
            group.open[alert.id] = alert
            return self._judged(name, group, alert, now_ns)
        was_seen = self._is_seen(alert) or any(self._is_seen(other) for other in group.reported_for)
        group.open.pop(alert.id, None)
        if group.open or not group.reported:
            return []
        del self._groups[name]
        if was_seen or self._is_muted(name) or self._is_quiet(alert):
            return []
        return [Notice(f"{alert.id}-resolved", "resolved", name, alert)]

    def due(self, now_ns: int) -> list[Notice]:
        """Return the notices due by time alone: repetitions and escalations of unacknowledged alerts, and alerts no longer muted."""
        found = []
        for name, group in list(self._groups.items()):
            waiting = [alert for alert in group.open.values() if not self._is_covered(group, alert)]
            if not waiting or self._is_muted(name):
                continue
            worst = max(waiting, key=lambda alert: (RANK[alert.severity], -alert.fired_ns))
            if RANK[worst.severity] > group.reported:
                found += self._judged(name, group, worst, now_ns)
                continue
            since = now_ns - group.reported_at
            if worst.severity is Severity.CRITICAL and not group.is_escalated and since >= self._escalate_ns:
                group.is_escalated = True
                found.append(self._notice(f"{worst.id}-escalation", "escalation", name, group, worst))
            if group.reported and since >= self._repeat_ns * (group.repeats + 1):
                group.repeats += 1
                found.append(self._notice(f"{worst.id}-repeat-{group.repeats}", "repeat", name, group, worst))
        return found

    def _judged(self, name: str, group: _Group, alert: Alert, now_ns: int) -> list[Notice]:
        rank = RANK[alert.severity]
        if self._is_seen(alert):  # as after a restart: it was reported before, and its group with it
            group.reported = max(group.reported, rank)
            group.reported_for.append(alert)
        if rank <= group.reported or self._is_muted(name) or self._is_covered(group, alert):
            return []
        kind = "worse" if group.reported else "firing"
        group.reported, group.reported_at, group.repeats, group.is_escalated = rank, now_ns, 0, False
        group.reported_for.append(alert)
        return [self._notice(f"{alert.id}-firing", kind, name, group, alert)]

    def _is_covered(self, group: _Group, alert: Alert) -> bool:
        """Return whether someone has acknowledged or silenced this alert, or one of its group that is as bad: they are one to people."""
        alike = (other for other in (alert, *group.reported_for, *group.open.values()) if RANK[other.severity] >= RANK[alert.severity])
        return any(self._is_seen(other) or self._is_quiet(other) for other in alike)

    def _notice(self, message: str, kind: str, name: str, group: _Group, alert: Alert) -> Notice:
        also = sorted((other for other in group.open.values() if other.id != alert.id), key=lambda a: (-RANK[a.severity], a.fired_ns))
        return Notice(message, kind, name, alert, tuple(also))

    def _is_muted(self, name: str) -> bool:
        return any(
            self._groups.get(loud, _Group()).open
            and RANK[Severity.WARNING] <= max(RANK[a.severity] for a in self._groups[loud].open.values())
            for loud, muted in _MUTES.items()
            if any(name == word or name.startswith(f"{word} ") for word in muted)
        )
