"""Measures of agents and models: their calls, and each service against its own usual, its objective and its error budget.

A gauge holds the last call: a new one is counted where the counter rose, or where the gauge changed when there is no counter. A call that
was sent by itself, with a time of its own, is a row of its own and counts once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from ccwatch.alerts.batch_columns import Calls
from ccwatch.alerts.observations import Bools, Floats, Ints, Key, Observations, joined, none, quantiles
from ccwatch.alerts.rules import objective_of
from ccwatch.domain import counters
from ccwatch.domain.limits import BURN_LEAST_N, LATENCY_LEAST_N, LATENCY_P, LATENCY_WINDOW_S, SECOND, SUCCESS_OBJECTIVE

RECENT_S: Final = 60.0
"""A service is judged by the median of the calls of the last so many seconds."""
RECENT_LEAST_N: Final = 10
"""With fewer calls than this in that time, a service is judged by its last so many; one with fewer calls in all is not judged."""
RECENT_MOST_S: Final = 900.0
"""Calls older than this say nothing about now."""
USUAL_LEAST_N: Final = 60
"""Calls from which on a service's usual is known."""
USUAL_CALLS: Final = 3_600
"""A service's usual latency is the median of at most so many of its calls."""
USUAL_BLOCK: Final = 20
"""The usual is computed again after so many calls."""
USUAL_FACTOR: Final = 3.0
"""A call above so many times the usual does not become usual: a service that stays slow stays slow."""
ERRORS_S, ERRORS_LONG_S = 300, 3600
"""Errors are counted over both, which begin with a whole second; the budget burns only where both say so."""
MOST_SERVICES: Final = 256
"""Services that are judged at a time; the one that was silent for the longest makes room for a new one."""


class _Errors:
    """Calls, and failed ones, of the last hour. They are added up by the second: memory does not grow with the rate of a stream."""

    def __init__(self) -> None:
        self._second = np.zeros(0, dtype=np.int64)
        self._failed = self._made = np.zeros(0)

    def shares(self, at: Ints, failed: Floats, made: Floats) -> list[Floats]:
        """Note calls, and return the failed share of each window up to each of them; NaN with too few calls."""
        if not len(at):
            return [np.zeros(0), np.zeros(0)]
        old = len(self._second)
        second = np.maximum.accumulate(np.append(self._second, at // SECOND))
        counts = np.append(self._failed, failed), np.append(self._made, made)
        totals = [np.append(0.0, np.cumsum(part)) for part in counts]  # whole numbers: exact wherever they begin
        found = []
        for window in (ERRORS_S, ERRORS_LONG_S):
            first = np.searchsorted(second, second[old:] - window, side="right")
            misses, n = (total[old + 1 :] - total[first] for total in totals)
            found.append(np.where(n >= BURN_LEAST_N, misses / np.where(n > 0.0, n, 1.0), np.nan))
        begins = np.flatnonzero(np.append(True, second[1:] != second[:-1]))
        kept = second[begins] > second[-1] - ERRORS_LONG_S
        self._second = second[begins][kept]
        self._failed, self._made = (np.add.reduceat(part, begins)[kept] for part in counts)
        return found


class Service:
    """One agent or model."""

    def __init__(self, name: str, objectives: Mapping[str, float], wanted: frozenset[str]) -> None:
        """Begin with no call seen.

        Args:
            name: of the service.
            objectives: p95 in ms by the beginning of a service's name.
            wanted: the measures that some rule judges; the others are not computed.
        """
        self._objective = objective_of(name, objectives)
        self.wanted = wanted
        self._last: tuple[float, float] | None = None  # gauge and counter
        self._calls = none()  # as far back as some measure looks
        self._failures = _Errors()
        self._counted: tuple[float, float] | None = None  # calls, and failed ones, when the counter was last sent
        self._usual: Floats = np.zeros(0)  # calls that are usual
        self._block: Floats = np.zeros(0)  # calls since the usual was computed
        self._level = np.nan

    @property
    def state(self) -> tuple[float, float, float]:
        """Return its usual, and its last gauge and counter; NaN where they are not known."""
        return self._level, *(self._last or (np.nan, np.nan))

    @state.setter
    def state(self, state: tuple[float, float, float]) -> None:
        self._level = state[0]
        self._last = None if np.isnan(state[1]) else state[1:]

    def observe(self, order: Ints, at: Ints, time: Ints, gauge: Floats, count: Floats, rate: Floats) -> dict[str, Observations]:
        """Return the observations of a batch of rows of this service.

        Args:
            order: of the packet of each row; see `Observations`.
            at: when it was received.
            time: the row's own.
            gauge: latency, ms.
            count: calls since the engine's start, NaN where it is not known.
            rate: share of them that succeeded.
        """
        known = np.isfinite(gauge)
        if not known.all():
            order, at, time = order[known], at[known], time[known]
            gauge, count, rate = gauge[known], count[known], rate[known]
        if not len(gauge):
            return {}
        called = counters.read(gauge, count, before=self._last).is_call
        calls = Observations(order[called], at[called], time[called], gauge[called])
        found = {"latency": calls}
        if "latency_usual" in self.wanted:
            found["latency_usual"] = self._against_usual(calls)
        if "latency_objective" in self.wanted and np.isfinite(self._objective):
            found["latency_objective"] = self._against_objective(calls)
        if self.wanted & {"error_rate", "burn_rate"}:
            found |= self._errors(order, at, time, count, rate)
        self._keep(calls, int(at[-1]))
        self._last = float(gauge[-1]), float(count[-1])
        return {name: seen for name, seen in found.items() if len(seen.value)}

    def _keep(self, calls: Observations, now: int) -> None:
        """Keep the calls that later ones are judged with: those of the window, and the last few of any age."""
        seen = joined(self._calls, calls)
        kept_s = LATENCY_WINDOW_S if np.isfinite(self._objective) else RECENT_S
        since = int(np.searchsorted(seen.moment, now - round(kept_s * SECOND), side="right"))
        first = min(since, max(0, len(seen.value) - RECENT_LEAST_N))
        order, moment, time, value = seen
        self._calls = Observations(order[first:].copy(), moment[first:].copy(), time[first:].copy(), value[first:].copy())

    def _against_objective(self, calls: Observations) -> Observations:
        seen = joined(self._calls, calls)
        p95 = _rolling(seen, len(self._calls.value), LATENCY_WINDOW_S, LATENCY_LEAST_N, LATENCY_P)
        return calls._replace(value=p95 / self._objective).where(np.isfinite(p95))

    def _against_usual(self, calls: Observations) -> Observations:
        """Return the level of the last calls over the usual of those before them."""
        seen = joined(self._calls, calls)
        old = len(self._calls.value)
        level = _rolling(seen, old, RECENT_S, RECENT_LEAST_N, 0.5)
        if len(seen.value) >= RECENT_LEAST_N:  # few calls in a minute: the last ones, where they are not old
            rows = np.flatnonzero(~np.isfinite(level))
            rows = rows[old + rows + 1 >= RECENT_LEAST_N]
            first = old + rows + 1 - RECENT_LEAST_N
            recent = seen.moment[old + rows] - seen.moment[first] <= round(RECENT_MOST_S * SECOND)
            if recent.any():
                level[rows[recent]] = quantiles(seen.value, first[recent], old + rows[recent] + 1, 0.5, RECENT_LEAST_N)
        usual = self._learn(calls.value)
        ratio = np.divide(level, usual, out=np.full(len(level), np.nan), where=usual > 0.0)
        return calls._replace(value=ratio).where(np.isfinite(ratio))

    def _learn(self, latencies: Floats) -> Floats:
        """Return the usual before each of these calls, and note them; the usual is computed again after each block of calls."""
        usual = np.empty(len(latencies))
        done = 0
        while done < len(latencies):
            taken = latencies[done : done + USUAL_BLOCK - len(self._block)]
            usual[done : done + len(taken)] = self._level
            done += len(taken)
            self._block = np.append(self._block, taken)
            if len(self._block) >= USUAL_BLOCK:
                bound = USUAL_FACTOR * self._level if np.isfinite(self._level) else np.inf
                self._usual = np.append(self._usual, self._block[self._block <= bound])[-USUAL_CALLS:]
                self._block = self._block[:0]
                if len(self._usual) >= USUAL_LEAST_N:
                    self._level = float(np.median(self._usual))
        return usual

    def _errors(self, order: Ints, at: Ints, time: Ints, count: Floats, rate: Floats) -> dict[str, Observations]:
        """Return error rate and burn rate, from failed calls by counter and success rate together; a counter that falls was reset."""
        bad = np.rint(count * (1.0 - rate))
        known = np.isfinite(bad)
        if not known.any():
            return {}
        order, at, time, count, bad = order[known], at[known], time[known], count[known], bad[known]
        first_count, first_bad = (float(count[0]), float(bad[0])) if self._counted is None else self._counted
        before_count, before_bad = np.append(first_count, count[:-1]), np.append(first_bad, bad[:-1])
        self._counted = float(count[-1]), float(bad[-1])
        again = count < before_count
        made = np.where(again, count, count - before_count)
        failed = np.clip(np.where(again, bad, bad - before_bad), 0.0, made)
        kept = made > 0.0
        fresh = Observations(order[kept], at[kept], time[kept], failed[kept])
        shares = self._failures.shares(fresh.moment, fresh.value, made[kept])
        budget = round(1.0 - SUCCESS_OBJECTIVE, 12)
        burn = np.minimum(shares[0], shares[1]) / budget
        return {
            "error_rate": fresh._replace(value=shares[0]).where(np.isfinite(shares[0])),
            "burn_rate": fresh._replace(value=burn).where(np.isfinite(burn)),
        }


class Services:
    """All agents and models of a stream."""

    def __init__(self, objectives: Mapping[str, float]) -> None:
        self._objectives = objectives
        self._wanted: frozenset[str] = frozenset()
        self._known: dict[str, Service] = {}  # the one that was silent for the longest first

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def forget(self) -> list[str]:
        """Forget the services beyond the most that are judged, and return their names."""
        names = [*self._known][: max(0, len(self._known) - MOST_SERVICES)]
        for name in names:
            del self._known[name]
        return names

    def want(self, wanted: frozenset[str]) -> None:
        """Compute these measures from now on."""
        self._wanted = wanted
        for service in self._known.values():
            service.wanted = wanted

    def snapshot(self) -> dict[str, list[float | None]]:
        """Return each service's usual, and its last gauge and counter, as values that JSON can hold."""
        return {name: [value if np.isfinite(value) else None for value in service.state] for name, service in self._known.items()}

    def restore(self, kept: Mapping[str, list[float | None]]) -> None:
        """Restore the state of a snapshot, which has no calls of earlier minutes."""
        for name, state in kept.items():
            service = self._known[name] = Service(name, self._objectives, self._wanted)
            usual, gauge, count = (np.nan if value is None else value for value in state)
            service.state = usual, gauge, count

    def observe(self, calls: Calls, seq: Ints | None, order: Ints, at: Ints, clean: Bools) -> dict[Key, Observations]:
        """Return the observations of a table's rows.

        Args:
            calls: its rows, in order.
            seq: of the packets of the batch, whose rows alone count; None where rows are placed by their times.
            order: of these packets; see `Observations`.
            at: when they were received.
            clean: which of them count.
        """
        if seq is None or calls.seq is None:
            moments = np.maximum.accumulate(calls.time)
            rows = np.minimum(np.searchsorted(at, moments), len(order) - 1)
            kept = np.ones(len(rows), dtype=np.bool_)
        else:
            rows = np.minimum(np.searchsorted(seq, calls.seq), len(seq) - 1)
            kept = (seq[rows] == calls.seq) & clean[rows]
            moments = at[rows]
        found: dict[Key, Observations] = {}
        for name in dict.fromkeys(calls.service.tolist()):
            mine = np.flatnonzero((calls.service == name) & kept)
            if not name or not len(mine):
                continue
            service = self._known.pop(name, None) or Service(name, self._objectives, self._wanted)
            self._known[name] = service
            not_carried = np.full(len(mine), np.nan)
            values = [
                calls.gauges[part][mine] if part in calls.gauges else not_carried for part in ("latency_ms", "invocations", "success_rate")
            ]
            seen = service.observe(order[rows[mine]], moments[mine], calls.time[mine], *values)
            found |= {(measure, name): one for measure, one in seen.items()}
        return found


def _rolling(seen: Observations, old: int, seconds: float, least: int, p: float) -> Floats:
    """Return a quantile of the values of the last seconds, for each observation but the `old` ones; NaN with fewer than `least`."""
    first = np.searchsorted(seen.moment, seen.moment[old:] - round(seconds * SECOND), side="right")
    return quantiles(seen.value, first, np.arange(old, len(seen.value)) + 1, p, least)
