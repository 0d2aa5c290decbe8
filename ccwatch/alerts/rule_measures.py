"""The measures that rules judge, observed batch by batch. The cut into batches does not matter.

An observation has a moment on the clock that durations are measured by, its time on the stream's own clock, and a value; a packet that
does not carry what a measure needs is no observation of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from ccwatch.alerts.account import Account
from ccwatch.alerts.batch_columns import Calls, Columns
from ccwatch.alerts.divergence_plan import Divergence, Plan
from ccwatch.alerts.halts import Halt, ranks_of
from ccwatch.alerts.observations import SECOND, Bools, Floats, Ints, Key, Observations
from ccwatch.alerts.rules import DRIFTS, SENTINELS
from ccwatch.alerts.service_measures import Services
from ccwatch.alerts.traffic import Traffic
from ccwatch.alerts.vocabulary import MEASURES, NUMBERS, WORDS
from ccwatch.domain.hours import TradingHours
from ccwatch.domain.liveness import PAUSE_NS, Pace, late_ns, stale_ns
from ccwatch.protocol.messages import UNCLEAN, Flag, Kind, Regime, Status

__all__ = ["COLUMNS", "Observer"]

COLUMNS: Final = (
    "seq",
    "connection",
    "received_mono_ns",
    "kind",
    "dialect",
    "flags",
    "status",
    "symbol",
    "regime",
    "side",
    "price",
    "alpha",
    "velocity",
    "acceleration",
    "nav",
    "cash",
    "daily_pnl",
    "max_drawdown",
    "confidence",
    "approved_size",
)
"""Columns of the packets table that the default rules read; a frame may lack any of them."""
_PRESENCE: Final = COLUMNS[COLUMNS.index("status") :]
_DRIFTS: Final = sum(int(Flag[name]) for name in DRIFTS)
_LIMITS: Final = {"late": late_ns, "stale": stale_ns}


class Observer:
    """The observer that turns batches of a stream into observations; it keeps what a measure needs of earlier batches."""

    def __init__(
        self,
        objectives: Mapping[str, float],
        *,
        hours: TradingHours | None = None,
        plan: Plan | None = None,
        virtual_clock: bool = False,
    ) -> None:
        """Begin with no packet seen.

        Args:
            objectives: p95 in ms by the beginning of a service's name.
            hours: when the market trades; None is round the clock, in days of UTC.
            plan: what was expected, for the measure `divergence`; without one it is not observed.
            virtual_clock: the stream's stamps do not keep pace with the receiver's clock: durations are measured on the stamps.
        """
        self._virtual = virtual_clock
        self.hours = hours
        self.offset = 0
        """Offset added to the receiver's clock, ns, which puts successive recordings and processes on one clock."""
        self.at: int | None = None
        """The clock at the last packet, or since when the stream is watched, ns."""
        self.time = 0
        """The last packet's time, ns since 1970."""
        self.account = Account(hours)
        self.divergence = None if plan is None else Divergence(plan)
        self._packets = 0
        self._connection: int | None = None
        self._pace = Pace()
        self._overdue = {"late": False, "stale": False}
        self._missed_open = 0  # the open that was reported as missed
        self._frozen = 0
        self._schema: dict[tuple[str, str], int] = {}
        self.services = Services(objectives)
        self._traffic = Traffic()
        self._malformed = 0  # messages since the last packet
        self._halt = Halt()
        self._absences: dict[str, _Absence] = {}
        self.want(frozenset(MEASURES), {})

    @property
    def order(self) -> int:
        """Return the `order` of observations made in the silence after the last packet."""
        return 2 * self._packets - 1

    def want(self, wanted: frozenset[str], absences: Mapping[str, tuple[str, float]]) -> None:
        """Observe these from now on.

        Args:
            wanted: the measures, columns and words ("status=HALT") that are judged; every measure until this is called.
            absences: by the name of a series, the measure that it awaits, and for how many seconds.
        """
        self._wanted = wanted
        self.services.want(wanted)
        self._absences = {key: self._absences.get(key) or _Absence(*of) for key, of in absences.items()}

    def use_hours(self, hours: TradingHours | None) -> None:
        """Use other trading hours from now on; the trading day that runs goes on."""
        self.hours = hours
        self.account.use_hours(hours, self.time)

    def use_plan(self, plan: Plan | None) -> None:
        """Compare with another plan from now on; the same one goes on where it was."""
        if plan is None or self.divergence is None or self.divergence.plan != plan:
            self.divergence = None if plan is None else Divergence(plan)

    def watch_from(self, time_ns: int, at_ns: int) -> None:
        """Watch the stream from now on, before its first packet."""
        if self.at is None:
            self.at, self.time = at_ns, time_ns

    def skip_to(self, at: int) -> None:
        """Skip a time in which the stream was not watched: it does not count as silence."""
        if self.at is not None and at > self.at:
            self.time, self.at = self.time + at - self.at, at
            self._overdue = dict.fromkeys(self._overdue, True)  # until the next packet nothing is known
            for absence in self._absences.values():
                absence.skip_to(at)

    def observe(self, packets: Columns, tables: Sequence[Calls | None] = (), malformed: Ints | None = None) -> dict[Key, Observations]:
        """Return the observations of a batch: packets in order of arrival, flagged ones too, with the rows of their agents and models.

        `malformed` counts the messages before each packet that could not be read; one more entry for those behind the last.
        """
        if not len(packets):
            self._malformed += 0 if malformed is None else int(malformed.sum())
            return {}
        time = packets.time
        received = None if self._virtual else packets.whole("received_mono_ns")
        at = time if received is None else received + self.offset
        at = np.maximum.accumulate(at if self.at is None else np.maximum(at, self.at))
        order = 2 * np.arange(self._packets, self._packets + len(packets), dtype=np.int64)
        carried_flags = packets.whole("flags")
        flags = np.zeros(len(packets), dtype=np.int64) if carried_flags is None else carried_flags
        clean = (flags & int(UNCLEAN)) == 0
        carried_connection = packets.whole("connection")
        connection = np.zeros(len(at), dtype=np.int64) if carried_connection is None else carried_connection
        is_first = connection != np.append(connection[0] if self._connection is None else self._connection, connection[:-1])
        self._connection = int(connection[-1])
        found, begins = self._silences(is_first, order, at, time, flags)
        halted = self._halt.take(order, at, time, ranks_of(packets.words("status"), clean), begins)
        unread = np.zeros(len(packets) + 1, dtype=np.int64) if malformed is None else malformed
        unread[0] += self._malformed
        self._malformed = int(unread[-1])
        for name, values in self._traffic.observe(at, flags, is_first, unread[:-1]).items():
            found[name, ""] = Observations(order, at, time, values).where(np.isfinite(values))
        found["frozen", ""] = Observations(order, at, time, self._still(flags))
        found["not_started", ""] = self._openings(order, at, time)
        if clean.all():
            found |= self._contents(packets, order, at, time, flags)
        else:
            found |= self._contents(packets.where(clean), order[clean], at[clean], time[clean], flags[clean])
        found["halt", ""] = halted
        found[f"status={Status.HALT}", ""] = halted
        for calls in tables:
            if calls is not None:
                found |= self.services.observe(calls, packets.whole("seq"), order, at, clean)
        for key, absence in self._absences.items():
            found[key, ""] = absence.observe(found.get((absence.name, "")), order, at, time)
        self.at, self.time = int(at[-1]), int(time[-1])
        self._packets += len(packets)
        return {key: seen for key, seen in found.items() if len(seen.moment)}

    def overdue(self, at: int) -> dict[Key, Observations]:
        """Return the observations of late, stale, absent and not started that follow from silence until `at`."""
        found: dict[Key, Observations] = {}
        if self.at is None:
            return found
        order = self.order
        if self._packets and at - self.at >= PAUSE_NS:
            found["halt", ""] = found[f"status={Status.HALT}", ""] = self._halt.settle()
        for name, limit in (("late", self._pace.late_ns), ("stale", self._pace.stale_ns)):
            if self._packets and not self._overdue[name] and at - self.at > limit:
                self._overdue[name] = True
                found[name, ""] = _one(order, self.at + limit, self.time + limit)
        for key, absence in self._absences.items():
            due = absence.due(at)
            if due is not None:
                found[key, ""] = _one(order, due, self.time + due - self.at)
        if self.hours is not None:
            now = self.time_at(at)
            opened = self.hours.day_of(now)
            due = opened + round(self.hours.grace_s * SECOND)
            if opened > self.time and now >= due and self.hours.is_open(due) and self._missed_open != opened:
                self._missed_open = opened
                found["not_started", ""] = _one(order, self.at + due - self.time, due)
        return {key: seen for key, seen in found.items() if len(seen.moment)}

    def time_at(self, at: int) -> int:
        """Return the stream's own clock at a moment: the last packet's time plus the time since, ns since 1970."""
        return self.time + (at - self.at if self.at is not None else 0)

    # ── silence and stillness ──

    def _silences(self, is_first: Bools, order: Ints, at: Ints, time: Ints, flags: Ints) -> tuple[dict[Key, Observations], Bools]:
        """Return late and stale, 0 at each packet and 1 from the moment at which one was overdue; and where bursts begin."""
        before_at = np.append(at[0] if self.at is None or not self._packets else self.at, at[:-1])
        before_time = np.append(time[0] if not self._packets else self.time, time[:-1])
        paces = self._pace.note_all(at, is_first=is_first, is_original=(flags & int(Flag.REPLAYED)) == 0)
        found: dict[Key, Observations] = {}
        for name, limit_of in _LIMITS.items():
            limit = np.asarray(limit_of(paces.usual_ns))
            silent = paces.step_ns > limit
            silent[0] &= not self._overdue[name] and self._packets > 0  # reported already
            rows = np.flatnonzero(silent)
            found[name, ""] = Observations(
                np.insert(order, rows, order[rows] - 1),
                np.insert(at, rows, before_at[rows] + limit[rows]),
                np.insert(time, rows, before_time[rows] + limit[rows]),
                np.insert(np.zeros(len(at)), rows, 1.0),
            )
        self._overdue = dict.fromkeys(self._overdue, False)
        return found, paces.begins

    def _openings(self, order: Ints, at: Ints, time: Ints) -> Observations:
        """Return 1 once the open and its grace have passed without a packet since the open; 0 at each packet."""
        if self.hours is None:
            return Observations(order[:0], at[:0], time[:0], np.zeros(0))
        grace = round(self.hours.grace_s * SECOND)
        before_at = np.append(at[0] if self.at is None else self.at, at[:-1])
        before_time = np.append(time[0] if self.at is None else self.time, time[:-1])
        rows, missed = [], []
        for row in np.flatnonzero(time - before_time > grace).tolist():  # a handful: nights
            opened = self.hours.day_of(int(time[row]))
            is_missed = before_time[row] < opened and time[row] >= opened + grace and opened != self._missed_open
            if is_missed and self.hours.is_open(opened + grace):
                rows.append(row)
                missed.append(opened + grace)
        where, due = np.array(rows, dtype=np.int64), np.array(missed, dtype=np.int64)
        return Observations(
            np.insert(order, where, order[where] - 1),
            np.insert(at, where, np.minimum(before_at[where] + due - before_time[where], at[where])),
            np.insert(time, where, due),
            np.insert(np.zeros(len(at)), where, 1.0),
        )

    def _still(self, flags: Ints) -> Floats:
        """Count packets in a row whose content stood still while their stamps moved; repeats in between neither count nor end it."""
        frozen = (flags & int(Flag.FROZEN)) != 0
        ends = (flags & int(Flag.FROZEN | Flag.REPEAT)) == 0
        total = self._frozen + np.cumsum(frozen)
        counted = total - np.maximum.accumulate(np.where(ends, total, 0))
        self._frozen = int(counted[-1])
        return counted.astype(np.float64)

    # ── contents of packets ──

    def _contents(self, frame: Columns, order: Ints, at: Ints, time: Ints, flags: Ints) -> dict[Key, Observations]:
        if not len(frame):
            return {}
        wanted = self._wanted

        def where(known: Bools, value: Any) -> Observations:
            return Observations(order, at, time, np.asarray(value, dtype=np.float64)).where(known)

        status, regime = frame.words("status"), frame.words("regime")
        alpha, size = frame.numbers("alpha"), frame.sent("approved_size")
        known_regime = regime != ""
        found = {
            ("critical", ""): where(known_regime, regime == Regime.CRITICAL),
            ("size_in_critical", ""): where(known_regime & np.isfinite(size), np.where(regime == Regime.CRITICAL, size, 0.0)),
            ("alpha_sentinel", ""): where(np.isfinite(alpha), np.isin(alpha, SENTINELS)),
            ("schema_drift", ""): where(np.ones(len(frame), dtype=bool), self._drift(frame, flags)),
        }
        account = self.account.observe(time, *(frame.numbers(name) for name in ("nav", "cash", "daily_pnl")))
        if self.divergence is not None:
            account["divergence"] = self.divergence.observe(frame)
        found |= {(name, ""): where(np.isfinite(values), values) for name, values in account.items()}
        for name in sorted(wanted):
            column, is_word, word = name.partition("=")
            if name in NUMBERS:
                values = frame.numbers(name)
                found[name, ""] = where(np.isfinite(values), values)
            elif is_word:
                words = status if column == "status" else frame.words(column)
                found[name, ""] = where(words != "", words == word)
        return found

    def _drift(self, frame: Columns, flags: Ints) -> Bools:
        """Return whether each packet lacks fields of the first of its kind and dialect, has others, or another type, unit or word."""
        drifted: Bools = (flags & _DRIFTS) != 0
        mask = np.zeros(len(frame), dtype=np.int64)
        for bit, name in enumerate(_PRESENCE):
            if name in frame:
                carried = frame.words(name) != "" if name in WORDS else np.isfinite(frame.sent(name))
                mask |= carried.astype(np.int64) << bit
        kind, dialect = frame.words("kind"), frame.words("dialect")
        for word, shape in dict.fromkeys(zip(kind.tolist(), dialect.tolist(), strict=True)):
            if word == Kind.PARTIAL:  # each carries one part of what the next one does not
                continue
            mine = np.flatnonzero((kind == word) & (dialect == shape))
            usual = self._schema.setdefault((word, shape), int(mask[mine[0]]))
            drifted[mine] |= mask[mine] != usual
        return drifted


class _Absence:
    """The absence of a measure: 0 while it is observed, 1 from the moment at which it had been awaited for too long."""

    def __init__(self, name: str, seconds: float) -> None:
        self.name = name
        self._span = round(seconds * SECOND)
        self._last: int | None = None  # moment of the last one, or of the first packet
        self._is_reported = False

    def observe(self, seen: Observations | None, order: Ints, at: Ints, time: Ints) -> Observations:
        """Judge a batch of packets, of which those in `seen` carried it."""
        carried = np.isin(order, seen.order) if seen is not None else np.zeros(len(order), dtype=bool)
        last = np.maximum.accumulate(np.where(carried, at, at[0] if self._last is None else self._last))
        before = np.append(at[0] if self._last is None else self._last, last[:-1])
        absent = at - last >= self._span
        late = (at - before >= self._span) & ~np.append(self._is_reported, (at[:-1] - last[:-1] >= self._span))
        rows = np.flatnonzero(late)
        due = before[rows] + self._span
        previous_at, previous_time = np.append(at[0], at[:-1])[rows], np.append(time[0], time[:-1])[rows]
        self._last, self._is_reported = int(last[-1]), bool(absent[-1])
        return Observations(
            np.insert(order, rows, order[rows] - 1),
            np.insert(at, rows, due),
            np.insert(time, rows, previous_time + np.maximum(due - previous_at, 0)),
            np.insert(absent.astype(np.float64), rows, 1.0),
        )

    def skip_to(self, at: int) -> None:
        """Skip a time in which the stream was not watched."""
        if self._last is not None and not self._is_reported:
            self._last = max(self._last, at)

    def due(self, at: int) -> int | None:
        """Return the moment at which it had been awaited for too long, once that has passed, and only once; else None."""
        if self._last is None or self._is_reported or at - self._last < self._span:
            return None
        self._is_reported = True
        return self._last + self._span


def _one(order: int, at: int, time: int) -> Observations:
    return Observations(np.array([order]), np.array([at]), np.array([time]), np.ones(1))
