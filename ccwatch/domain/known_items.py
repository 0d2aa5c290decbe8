"""Items that are sent again and again but count once: a bounded multiset of the items seen, fed message by message."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Final

MOST_KNOWN: Final = 65_536
"""Items that are remembered beyond those of the last message."""


class KnownItems:
    """The items of all messages so far, as a multiset: two equal items of one message are two. Used by one thread."""

    def __init__(self, most: int = MOST_KNOWN) -> None:
        self._most = most
        self._counts: dict[Hashable, int] = {}

    def new_of(self, items: Sequence[Hashable]) -> list[int]:
        """Return the places of a message's items that were not seen before, and remember the items.

        An item that is there n times is new as often as n exceeds the most times that any earlier message had it.
        """
        here: Counter[Hashable] = Counter()
        found = []
        for place, item in enumerate(items):
            here[item] += 1
            if here[item] > self._counts.get(item, 0):
                found.append(place)
        for item, count in here.items():
            known = max(count, self._counts.pop(item, 0))
            self._counts[item] = known  # at the end: what is still sent is not forgotten
        while len(self._counts) > self._most + len(here):
            del self._counts[next(iter(self._counts))]
        return found
