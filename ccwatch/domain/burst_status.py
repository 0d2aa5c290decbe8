"""The status of a burst: the worst of its packets' words. Words and flags in, words out.

A deployed engine says HALTED_DRAWDOWN from its pipeline and `active` from its loop, milliseconds apart, for as long as it is halted. Only
the worst word of a burst is its status; an unreadable word is worse than a healthy one, since it does not prove that all is well.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

ORDER: Final = ("ACTIVE", "SLEEPING", "INITIALIZING", "UNKNOWN", "OFFLINE", "HALT")
"""The canonical words, the worst last."""
HALT, UNREADABLE = "HALT", "UNKNOWN"
_RANK: Final = {word: rank for rank, word in enumerate(ORDER)}
NOT_CARRIED: Final = -1
"""The rank of a packet that carries no status."""


def rank(word: str | None) -> int:
    """Return how bad a canonical word is, from 0; -1 where there is none; a word that is not canonical counts as unreadable."""
    return NOT_CARRIED if word is None else _RANK.get(str(word), _RANK[UNREADABLE])


def worst(words: Iterable[str | None]) -> str | None:
    """Return the worst of some canonical words; None where none is given."""
    found = max((rank(word) for word in words), default=NOT_CARRIED)
    return None if found == NOT_CARRIED else ORDER[found]


def worst_of_bursts(ranks: Ints, begins: Bools) -> Ints:
    """Return per packet the worst rank of its burst.

    Args:
        ranks: the rank of each packet's own word, in order of arrival.
        begins: whether a packet is the first of its burst.
    """
    if not len(ranks):
        return ranks
    first = begins.copy()
    first[0] = True
    starts = np.flatnonzero(first)
    return np.repeat(np.maximum.reduceat(ranks, starts), np.diff(starts, append=len(ranks)))


class BurstStatus:
    """The status of a stream, packet by packet: it rises to a worse word at once, and falls to a better one when a burst has ended.

    Used by one thread. `begins` comes from `domain.liveness`, which knows what a burst is.
    """

    def __init__(self) -> None:
        """Start without a status."""
        self._settled = NOT_CARRIED  # of the last burst that has ended and carried a status
        self._current = NOT_CARRIED  # the worst of the burst that may go on

    @property
    def word(self) -> str | None:
        """Return the current status; None before the first."""
        found = max(self._settled, self._current)
        return None if found == NOT_CARRIED else ORDER[found]

    def receive(self, word: str | None, *, begins: bool) -> str | None:
        """Take one packet's canonical word (None where it carries none) and return the status now."""
        if begins:
            self.settle()
        found = rank(word)
        self._current = max(self._current, found)
        return self.word

    def settle(self) -> str | None:
        """Note that the burst has ended, since nothing came for long enough, and return the status now."""
        if self._current != NOT_CARRIED:
            self._settled, self._current = self._current, NOT_CARRIED
        return self.word
