"""What the rules are judged on: measures of a stream, observed batch by batch. The cut into batches does not matter.

An observation has a moment on the clock that durations are measured by, its time on the stream's own clock, and a value; a packet that
does not carry what a measure needs is no observation of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from ccwatch.alerts.rules import DRIFTS, objective_of
from ccwatch.domain import counters, status
from ccwatch.domain.drawdown import NO_PEAK, from_capital, next_peak, starting_capital, under_water
from ccwatch.domain.exposure import exposure
from ccwatch.domain.limits import ALPHA_SENTINELS, BURST_NS, LATENCY_LEAST_N, LATENCY_P, LATENCY_WINDOW_S, SECOND
from ccwatch.domain.liveness import PAUSE_NS, Pace, late_ns, stale_ns
from ccwatch.protocol.messages import UNCLEAN, Flag, Kind, Regime
from ccwatch.protocol.ranges import within

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Key = tuple[str, str]
"""Measure and subject: the service that a latency is of, else empty."""

MEASURES: Final = (
    "late",
    "stale",
    "frozen",
    "halt",
    "drawdown_peak",
    "drawdown_start",
    "exposure",
    "latency",
    "critical",
    "size_in_critical",
    "alpha_sentinel",
    "schema_drift",
    "recorder_lag",
)
"""late, stale: 1 while a packet is overdue. frozen: packets since the content last changed. halt, critical, alpha_sentinel, schema_drift:
1 or 0. drawdown_peak, drawdown_start: as they stand, fractions ≤ 0. exposure: implied by nav and cash, a signed fraction of nav. latency:
p95 over objective, per service. size_in_critical: fraction. recorder_lag: s, live only."""
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
"""Columns of the packets table that are read; a frame of one's own may lack any."""
_SILENCES: Final[tuple[tuple[str, Any], ...]] = (("late", late_ns), ("stale", stale_ns))
_NOT_KNOWN, _HEALTHY, _HALTED = -1, 0, 1
_HALT_RANK, _UNREADABLE_RANK = status.rank(status.HALT), status.rank(status.UNREADABLE)
_PRESENCE: Final = COLUMNS[COLUMNS.index("status") :]
_DRIFTS: Final = sum(int(Flag[name]) for name in DRIFTS)


class Observations(NamedTuple):
    """Observations of one measure, in order: `moment` (ns, on the clock of durations), `time` (ns since 1970), `value`."""

    moment: Ints
    time: Ints
    value: Floats


class _Calls(NamedTuple):
    """What is remembered of a service: its last gauge and counter, and the calls of the window that ends with them."""

    gauge: float
    counter: float
    moment: Ints
    latency: Floats


class Observer:
    """Turns batches of a stream into observations; remembers what a measure needs of the batches before."""

    def __init__(self, objectives: Mapping[str, float], *, virtual_clock: bool = False) -> None:
        """Nothing was seen yet.

        Args:
            objectives: p95 in ms by the beginning of a service's name.
            virtual_clock: the stream's stamps do not keep pace with the receiver's clock: durations are measured on the stamps.
        """
        self._objectives = objectives
        self._virtual = virtual_clock
        self.at: int | None = None
        """The clock at the last packet, ns."""
        self.time = 0
        """The last packet's time, ns since 1970."""
        self._connection: int | None = None
        self._pace = Pace()
        self._halt = _Halt()
        self._overdue = [False, False]
        self._frozen = 0
        self._peak = NO_PEAK
        self._start = np.nan
        self._schema: dict[tuple[str, str], int] = {}
        self._services: dict[str, _Calls] = {}

    def observe(
        self, packets: pd.DataFrame, agents: pd.DataFrame | None = None, models: pd.DataFrame | None = None
    ) -> dict[Key, Observations]:
        """The observations of a batch: packets in order of arrival, flagged ones too, with the rows of their agents and models."""
        if not len(packets):
            return {}
        time = _ns(packets.index)
        is_received = "received_mono_ns" in packets.columns and not self._virtual
        at = packets["received_mono_ns"].to_numpy(dtype=np.int64) if is_received else time
        at = np.maximum.accumulate(at if self.at is None else np.maximum(at, self.at))
        flags = packets["flags"].to_numpy().astype(np.int64) if "flags" in packets.columns else np.zeros(len(packets), dtype=np.int64)
        clean = (flags & int(UNCLEAN)) == 0
        found, begins = self._silences(packets, at, time, flags)
        found["halt", ""] = self._halt.take(at, time, _ranks(packets, clean), begins)
        found["frozen", ""] = Observations(at, time, self._still(flags))
        found |= (
            self._contents(packets, at, time, flags)
            if clean.all()  # a long session is copied only where it must be
            else self._contents(packets[clean], at[clean], time[clean], flags[clean])
        )
        seq = packets["seq"].to_numpy().astype(np.int64) if "seq" in packets.columns else None
        for column, table in (("agent", agents), ("model", models)):
            if table is not None and len(table) and {column, "latency_ms"} <= set(table.columns):
                found |= self._latencies(column, table, at, seq, clean)
        self.at, self.time = int(at[-1]), int(time[-1])
        return {key: seen for key, seen in found.items() if len(seen.moment)}

    def overdue(self, at: int) -> dict[Key, Observations]:
        """What silence until `at` makes late or stale."""
        found: dict[Key, Observations] = {}
        if self.at is None:
            return found
        if at - self.at >= PAUSE_NS:
            found["halt", ""] = self._halt.settle()
        for place, (name, limit_of) in enumerate(_SILENCES):
            limit = int(limit_of(self._pace.usual_ns))
            if not self._overdue[place] and at - self.at > limit:
                self._overdue[place] = True
                found[name, ""] = Observations(np.array([self.at + limit]), np.array([self.time + limit]), np.ones(1))
        return {key: seen for key, seen in found.items() if len(seen.moment)}

    def time_at(self, at: int) -> int:
        """The stream's own clock at a moment: the last packet's time and what has passed since."""
        return self.time + (at - self.at if self.at is not None else 0)

    # ── silence and stillness ──

    def _silences(self, packets: pd.DataFrame, at: Ints, time: Ints, flags: Ints) -> tuple[dict[Key, Observations], Bools]:
        """Late and stale as the session knows them: 0 at each packet, 1 once it was overdue; and which packets begin a burst."""
        connection = (
            packets["connection"].to_numpy().astype(np.int64) if "connection" in packets.columns else np.zeros(len(at), dtype=np.int64)
        )
        is_first = self.at is None
        before_at = np.append(at[0] if self.at is None else self.at, at[:-1])
        before_time = np.append(time[0] if is_first else self.time, time[:-1])
        anew = connection != np.append(connection[0] if self._connection is None else self._connection, connection[:-1])
        paces = self._pace.note_all(at, anew=anew, tells=(flags & int(Flag.REPLAYED)) == 0)
        found: dict[Key, Observations] = {}
        for place, (name, limit_of) in enumerate(_SILENCES):
            limit = limit_of(paces.usual_ns)
            silent = paces.step_ns > limit
            silent[0] &= not self._overdue[place] and not is_first  # told already
            rows = np.flatnonzero(silent)
            found[name, ""] = Observations(
                np.insert(at, rows, before_at[rows] + limit[rows]),
                np.insert(time, rows, before_time[rows] + limit[rows]),
                np.insert(np.zeros(len(at)), rows, 1.0),
            )
        self._connection = int(connection[-1])
        self._overdue = [False, False]
        return found, paces.begins

    def _still(self, flags: Ints) -> Floats:
        """Packets whose content stood still while their stamps moved; a poller's repeats between them neither count nor end it."""
        frozen = (flags & int(Flag.FROZEN)) != 0
        counted = _counted(frozen, (flags & int(Flag.FROZEN | Flag.REPEAT)) == 0, self._frozen)
        self._frozen = int(counted[-1])
        return counted.astype(np.float64)

    # ── what packets say ──

    def _contents(self, frame: pd.DataFrame, at: Ints, time: Ints, flags: Ints) -> dict[Key, Observations]:
        if not len(frame):
            return {}

        def where(known: Bools, value: Any) -> Observations:
            values = np.asarray(value, dtype=np.float64)
            return Observations(at, time, values) if known.all() else Observations(at[known], time[known], values[known])

        regime = _words(frame, "regime")
        alpha, size = _numbers(frame, "alpha"), _sent(frame, "approved_size")
        known_regime = regime != ""
        peak, start = self._drawdowns(frame)
        share = exposure(_numbers(frame, "nav"), _numbers(frame, "cash"))
        return {
            ("drawdown_peak", ""): where(np.isfinite(peak), peak),
            ("drawdown_start", ""): where(np.isfinite(start), start),
            ("exposure", ""): where(np.isfinite(share), share),
            ("critical", ""): where(known_regime, regime == Regime.CRITICAL),
            ("size_in_critical", ""): where(known_regime & np.isfinite(size), np.where(regime == Regime.CRITICAL, size, 0.0)),
            ("alpha_sentinel", ""): where(np.isfinite(alpha), np.isin(alpha, ALPHA_SENTINELS)),
            ("schema_drift", ""): where(np.ones(len(frame), dtype=bool), self._drift(frame, flags)),
        }

    def _drawdowns(self, frame: pd.DataFrame) -> tuple[Floats, Floats]:
        """Drawdown now, from the running peak and from the starting capital (nav less the day's P&L at the first packet)."""
        nav, pnl = _numbers(frame, "nav"), _numbers(frame, "daily_pnl")
        if np.isnan(self._start):
            self._start = starting_capital(nav, pnl)
        peak, depth = under_water(nav, self._peak)
        self._peak = next_peak(peak, self._peak)
        return depth, from_capital(nav, self._start)

    def _drift(self, frame: pd.DataFrame, flags: Ints) -> Bools:
        """Packets that do not carry the fields of the first of their kind and dialect, or carry another type, unit or word."""
        drifted: Bools = (flags & _DRIFTS) != 0
        mask = np.zeros(len(frame), dtype=np.int64)
        for bit, name in enumerate(_PRESENCE):
            if name in frame.columns:
                mask |= frame[name].notna().to_numpy().astype(np.int64) << bit
        kind, dialect = _words(frame, "kind"), _words(frame, "dialect")
        for word in pd.unique(pd.Series(kind)):
            if word == Kind.PARTIAL:  # each carries one part of what the next one does not
                continue
            for shape in pd.unique(pd.Series(dialect)):
                mine = np.flatnonzero((kind == word) & (dialect == shape))
                if len(mine):
                    usual = self._schema.setdefault((str(word), str(shape)), int(mask[mine[0]]))
                    drifted[mine] |= mask[mine] != usual
        return drifted

    # ── services ──

    def _latencies(self, column: str, table: pd.DataFrame, at: Ints, seq: Ints | None, clean: Bools) -> dict[Key, Observations]:
        """p95 of the calls of the last two minutes over its objective, at each call; nothing below LATENCY_LEAST_N calls."""
        words = _categorical(table[column])
        found: dict[Key, Observations] = {}
        for code, word in enumerate(words.categories):  # one service after the other: a table of many rows is never copied whole
            name = str(word)
            objective = objective_of(name, self._objectives)
            if np.isnan(objective):
                continue
            mine = table.iloc[np.flatnonzero(words.codes == code)]
            times = _ns(mine.index)
            moments = np.maximum.accumulate(times) if len(times) else times
            if seq is not None and "seq" in mine.columns:
                told = mine["seq"].to_numpy().astype(np.int64)
                rows = np.minimum(np.searchsorted(seq, told), len(seq) - 1)
                kept = (seq[rows] == told) & clean[rows]
                mine, times, moments = mine[kept], times[kept], at[rows][kept]
            if len(mine):
                count = _numbers(mine, "invocations")
                found["latency", name] = self._calls(name, _numbers(mine, "latency_ms"), count, moments, times, objective)
        return found

    def _calls(self, name: str, gauge: Floats, count: Floats, at: Ints, time: Ints, objective: float) -> Observations:
        """A gauge holds the last call: a new one stands where the counter rose, or the gauge changed where there is none."""
        past = self._services.get(name)
        known = np.isfinite(gauge)
        gauge, count, at, time = gauge[known], count[known], at[known], time[known]
        if not len(gauge):
            return Observations(at, time, gauge)
        none = np.zeros(0)
        called = counters.read(gauge, count, before=None if past is None else (past.gauge, past.counter)).is_call
        kept_at, kept = (none.astype(np.int64), none) if past is None else (past.moment, past.latency)
        calls_at, calls = np.concatenate((kept_at, at[called])), np.concatenate((kept, gauge[called]))
        span = pd.Timedelta(seconds=LATENCY_WINDOW_S)
        rolling = pd.Series(calls, index=pd.DatetimeIndex(calls_at.view("M8[ns]"))).rolling(span, min_periods=LATENCY_LEAST_N)
        p95 = rolling.quantile(LATENCY_P).to_numpy()[len(kept) :]
        within = calls_at > at[-1] - int(LATENCY_WINDOW_S * SECOND)
        self._services[name] = _Calls(float(gauge[-1]), float(count[-1]), calls_at[within], calls[within])
        enough = np.isfinite(p95)
        return Observations(at[called][enough], time[called][enough], p95[enough] / objective)


class _Halt:
    """Whether the engine is halted, burst by burst: 1 at once, 0 after a halt only when a burst has ended without one.

    An unreadable status is no observation: nobody can tell that it is not a halt.
    """

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self._before = _NOT_KNOWN  # what the last burst but the one that may go on has said
        self._current = _NOT_KNOWN
        self._waiting: tuple[int, int] | None = None  # the last healthy packet of that one, where a halt may still stand

    def take(self, at: Ints, time: Ints, ranks: Ints, begins: Bools) -> Observations:
        """What the packets of a batch say, in order of arrival."""
        burst: Ints = np.cumsum(begins, dtype=np.int64)  # burst 0 goes on from the batch before
        is_halt, is_healthy = ranks == _HALT_RANK, (ranks != status.NOT_CARRIED) & (ranks != _UNREADABLE_RANK) & (ranks != _HALT_RANK)
        size = int(burst[-1]) + 1
        said = np.full(size, _NOT_KNOWN)
        said[0] = self._current
        np.maximum.at(said, burst[is_healthy], _HEALTHY)
        np.maximum.at(said, burst[is_halt], _HALTED)
        told = np.append(self._before, said)
        known = np.maximum.accumulate(np.where(told != _NOT_KNOWN, np.arange(size + 1), 0))
        before = told[known[:-1]]  # of each burst, what stood before it
        halts_before = np.cumsum(is_halt) - is_halt
        first = np.searchsorted(burst, np.arange(size))
        in_burst = halts_before - np.append(halts_before, is_halt.sum())[first][burst]
        in_burst[burst == 0] += self._current == _HALTED
        held = before[burst] == _HALTED
        at_once = is_healthy & ~held & (in_burst == 0)
        ended = self._ended(at, time, burst, said, is_healthy & held)
        self._before, self._current = int(before[-1]), int(said[-1])
        kept = is_halt | at_once
        moment = np.append(at[kept], np.array([found[0] for found in ended], dtype=np.int64))
        stream = np.append(time[kept], np.array([found[1] for found in ended], dtype=np.int64))
        value = np.concatenate((is_halt[kept].astype(np.float64), np.zeros(len(ended))))
        order = np.argsort(moment, kind="stable")
        return Observations(moment[order], stream[order], value[order])

    def _ended(self, at: Ints, time: Ints, burst: Ints, said: Ints, held: Bools) -> list[tuple[int, int]]:
        """When the bursts had ended that are healthy after a halt; the one that may go on waits."""
        rows = np.flatnonzero(held & (said[burst] == _HEALTHY))
        last = rows[np.append(burst[rows][1:] != burst[rows][:-1], True)] if len(rows) else rows
        found = {int(burst[row]): (int(at[row]), int(time[row])) for row in last.tolist()}  # one per end of a halt
        if self._waiting is not None and said[0] == _HEALTHY:
            found.setdefault(0, self._waiting)
        self._waiting = found.pop(len(said) - 1, None)
        return [(moment + BURST_NS, stream + BURST_NS) for _, (moment, stream) in sorted(found.items())]

    def settle(self) -> Observations:
        """What was kept back: the burst has ended, since nothing came for long enough."""
        told = [] if self._waiting is None else [self._waiting]
        if self._current != _NOT_KNOWN:
            self._before, self._current, self._waiting = self._current, _NOT_KNOWN, None
        return Observations(
            np.array([moment + BURST_NS for moment, _ in told], dtype=np.int64),
            np.array([stream + BURST_NS for _, stream in told], dtype=np.int64),
            np.zeros(len(told)),
        )


def _ranks(packets: pd.DataFrame, clean: Bools) -> Ints:
    """How bad each packet's status is; those of repeats, replays and placeholders say nothing."""
    words = _words(packets, "status")
    ranks = {word: status.rank(str(word) or None) for word in pd.unique(pd.Series(words, dtype=object))}
    found = np.array([ranks[word] for word in words], dtype=np.int64) if len(ranks) > 1 else np.full(len(words), next(iter(ranks.values())))
    return np.where(clean, found, status.NOT_CARRIED)


def _counted(counts: Bools, ends: Bools, carried: int) -> Ints:
    """How many `counts` there were since the last row that `ends` the counting, this row included."""
    total = carried + np.cumsum(counts)
    return np.asarray(total - np.maximum.accumulate(np.where(ends, total, 0)))


def _ns(index: pd.Index) -> Ints:
    return np.asarray(pd.DatetimeIndex(index).as_unit("ns").asi8)


def _numbers(frame: pd.DataFrame, name: str) -> Floats:
    if name not in frame.columns:
        return np.full(len(frame), np.nan)
    return within(name, pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan))


def _sent(frame: pd.DataFrame, name: str) -> Floats:
    """A column as it was sent, values out of its range too: a size that is too large is a size."""
    if name not in frame.columns:
        return np.full(len(frame), np.nan)
    values: Floats = pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def _categorical(column: pd.Series) -> Any:
    values = column.array
    return values if isinstance(values, pd.Categorical) else pd.Categorical(column.astype("str"))


def _words(frame: pd.DataFrame, name: str) -> Any:
    """A column of words as objects, empty where it is missing."""
    if name not in frame.columns:
        return np.full(len(frame), "", dtype=object)
    words = _categorical(frame[name])
    return np.array([*(str(word) for word in words.categories), ""], dtype=object)[np.asarray(words.codes)]
