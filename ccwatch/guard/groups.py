"""Who is told what: alerts in, messages out. Groups, inhibition, silences, repetition, escalation; it knows no receiver and no clock.

Made of the parts of Prometheus' Alertmanager: one drawdown is one message, the worse hides the milder, a halt mutes what follows from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ccwatch.alerts import RANK, Alert, Severity, group_of

_MUTES: Final = {"halt": ("drawdown", "silence", "latency"), "silence": ("latency",)}
"""What fires mutes what follows from it."""


@dataclass(frozen=True)
class Notice:
    """Something that people are to be told.

    Attributes:
        name: the same whenever the same thing is told: a message is sent once under it.
        kind: "firing", "worse", "resolved", "repeat" or "escalation".
        group: what it is about.
        alert: the one that it is told for.
        also: the others of the group that fire.
    """

    name: str
    kind: str
    group: str
    alert: Alert
    also: tuple[Alert, ...] = ()


@dataclass
class _Group:
    open: dict[str, Alert] = field(default_factory=dict)
    told: int = 0  # the worst severity that was told
    told_for: list[Alert] = field(default_factory=list)
    told_at: int = 0
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
        """No alert yet.

        Args:
            repeat_s: what nobody acknowledged is told again after so long.
            escalate_s: a critical one that nobody acknowledged is escalated after so long.
            is_quiet: whether an alert is silenced now.
            is_seen: whether someone has acknowledged it.
        """
        self._repeat_ns, self._escalate_ns = round(repeat_s * 1e9), round(escalate_s * 1e9)
        self._is_quiet, self._is_seen = is_quiet, is_seen
        self._groups: dict[str, _Group] = {}

    @property
    def groups(self) -> dict[str, tuple[Alert, ...]]:
        """What fires, by what it is about, the worst first."""
        return {
            name: tuple(sorted(group.open.values(), key=lambda a: (-RANK[a.severity], a.fired_ns)))
            for name, group in self._groups.items()
            if group.open
        }

    def take(self, alert: Alert, now_ns: int) -> list[Notice]:
        """An alert began to fire, or was resolved."""
        name = group_of(alert)
        group = self._groups.setdefault(name, _Group())
        if alert.is_open:
            group.open[alert.id] = alert
            return self._judged(name, group, alert, now_ns)
        was_seen = self._is_seen(alert) or any(self._is_seen(other) for other in group.told_for)
        group.open.pop(alert.id, None)
        if group.open or not group.told:
            return []
        del self._groups[name]
        if was_seen or self._is_muted(name) or self._is_quiet(alert):
            return []
        return [Notice(f"{alert.id}-resolved", "resolved", name, alert)]

    def due(self, now_ns: int) -> list[Notice]:
        """What time alone makes worth telling: repetition and escalation of what nobody acknowledged; what was muted and is no more."""
        found = []
        for name, group in list(self._groups.items()):
            waiting = [alert for alert in group.open.values() if not self._is_seen(alert) and not self._is_quiet(alert)]
            if not waiting or self._is_muted(name):
                continue
            worst = max(waiting, key=lambda alert: (RANK[alert.severity], -alert.fired_ns))
            if RANK[worst.severity] > group.told:
                found += self._judged(name, group, worst, now_ns)
                continue
            since = now_ns - group.told_at
            if worst.severity is Severity.CRITICAL and not group.is_escalated and since >= self._escalate_ns:
                group.is_escalated = True
                found.append(self._notice(f"{worst.id}-escalation", "escalation", name, group, worst))
            if group.told and since >= self._repeat_ns * (group.repeats + 1):
                group.repeats += 1
                found.append(self._notice(f"{worst.id}-repeat-{group.repeats}", "repeat", name, group, worst))
        return found

    def _judged(self, name: str, group: _Group, alert: Alert, now_ns: int) -> list[Notice]:
        rank = RANK[alert.severity]
        if self._is_seen(alert):  # as after a restart: who has seen it was told, of its group too
            group.told = max(group.told, rank)
            group.told_for.append(alert)
        if rank <= group.told or self._is_muted(name) or self._is_quiet(alert):
            return []
        kind = "worse" if group.told else "firing"
        group.told, group.told_at, group.repeats, group.is_escalated = rank, now_ns, 0, False
        group.told_for.append(alert)
        return [self._notice(f"{alert.id}-firing", kind, name, group, alert)]

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
