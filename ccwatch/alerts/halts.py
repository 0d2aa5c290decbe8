"""The engine's halts, burst by burst: the worst word of a burst counts. It knows no rule."""

from __future__ import annotations

from typing import Any

import numpy as np

from ccwatch.alerts.observations import Bools, Ints, Observations
from ccwatch.domain import burst_status
from ccwatch.domain.limits import BURST_NS

_NOT_KNOWN, _HEALTHY, _HALTED = -1, 0, 1
_HALT_RANK, _UNREADABLE_RANK = burst_status.rank(burst_status.HALT), burst_status.rank(burst_status.UNREADABLE)


class Halt:
    """The state of halt, burst by burst: 1 at once, 0 after a halt only when a burst has ended without one.

    An unreadable status is no observation, since it may be a halt.
    """

    def __init__(self) -> None:
        """Begin with no packet seen."""
        self._before = _NOT_KNOWN  # the state by the burst before the one that may go on
        self._current = _NOT_KNOWN
        self._waiting: tuple[int, int, int] | None = (
            None  # order, moment and time of the last healthy packet of that one, where the halt may still hold
        )

    def take(self, order: Ints, at: Ints, time: Ints, ranks: Ints, begins: Bools) -> Observations:
        """Return the observations of a batch of packets, given in order of arrival."""
        burst: Ints = np.cumsum(begins, dtype=np.int64)  # burst 0 goes on from the batch before
        is_halt = ranks == _HALT_RANK
        is_healthy = (ranks != burst_status.NOT_CARRIED) & (ranks != _UNREADABLE_RANK) & ~is_halt
        size = int(burst[-1]) + 1
        said = np.full(size, _NOT_KNOWN)
        said[0] = self._current
        np.maximum.at(said, burst[is_healthy], _HEALTHY)
        np.maximum.at(said, burst[is_halt], _HALTED)
        states = np.append(self._before, said)
        known = np.maximum.accumulate(np.where(states != _NOT_KNOWN, np.arange(size + 1), 0))
        before = states[known[:-1]]  # of each burst, the state before it
        halts_before = np.cumsum(is_halt) - is_halt
        first = np.searchsorted(burst, np.arange(size))
        in_burst = halts_before - np.append(halts_before, is_halt.sum())[first][burst]
        in_burst[burst == 0] += self._current == _HALTED
        held = before[burst] == _HALTED
        at_once = is_healthy & ~held & (in_burst == 0)
        ended = self._ended(order, at, time, burst, said, is_healthy & held)
        self._before, self._current = int(before[-1]), int(said[-1])
        kept = is_halt | at_once
        places, moment, stream = (
            np.append(part[kept], np.array([found[at] for found in ended], dtype=np.int64)) for at, part in enumerate((order, at, time))
        )
        value = np.concatenate((is_halt[kept].astype(np.float64), np.zeros(len(ended))))
        rows = np.lexsort((moment, places))
        return Observations(places[rows], moment[rows], stream[rows], value[rows])

    def _ended(self, order: Ints, at: Ints, time: Ints, burst: Ints, said: Ints, held: Bools) -> list[tuple[int, int, int]]:
        """Return when the bursts ended that are healthy after a halt; the one that may go on is kept back."""
        rows = np.flatnonzero(held & (said[burst] == _HEALTHY))
        last = rows[np.append(burst[rows][1:] != burst[rows][:-1], True)] if len(rows) else rows
        found = {int(burst[row]): (int(order[row]), int(at[row]), int(time[row])) for row in last.tolist()}  # one per end of a halt
        if self._waiting is not None and said[0] == _HEALTHY:
            found.setdefault(0, self._waiting)
        self._waiting = found.pop(len(said) - 1, None)
        return [(place + 1, moment + BURST_NS, stream + BURST_NS) for _, (place, moment, stream) in sorted(found.items())]

    def settle(self) -> Observations:
        """Return the observation that was kept back: the burst has ended, since nothing came for long enough."""
        kept_back = [] if self._waiting is None else [self._waiting]
        if self._current != _NOT_KNOWN:
            self._before, self._current, self._waiting = self._current, _NOT_KNOWN, None
        places, moments, times = (np.array([found[at] for found in kept_back], dtype=np.int64) for at in range(3))
        return Observations(places + 1, moments + BURST_NS, times + BURST_NS, np.zeros(len(kept_back)))


def ranks_of(words: Any, clean: Bools) -> Ints:
    """Return the rank of each packet's status; NOT_CARRIED for repeats, replays and placeholders."""
    ranks = {word: burst_status.rank(str(word) or None) for word in set(words.tolist())}
    return np.where(clean, np.fromiter(map(ranks.__getitem__, words.tolist()), np.int64, len(words)), burst_status.NOT_CARRIED)
