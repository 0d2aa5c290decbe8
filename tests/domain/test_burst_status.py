"""The worst word of a burst is its status."""

from __future__ import annotations

import numpy as np

from ccwatch.domain.burst_status import ORDER, BurstStatus, rank, worst, worst_of_bursts
from ccwatch.protocol.messages import Status


def test_every_canonical_word_has_a_place() -> None:
    """A word that is added to the protocol must be ranked."""
    assert sorted(ORDER) == sorted(str(word) for word in Status)


def test_the_worst_word_counts() -> None:
    """HALT above all, an unreadable word above a healthy one, no word below all."""
    assert worst(["ACTIVE", "HALT", "OFFLINE"]) == "HALT"
    assert worst(["ACTIVE", "UNKNOWN", None]) == "UNKNOWN"
    assert worst(["never heard of"]) == "UNKNOWN"
    assert worst([None]) is None
    assert worst([]) is None


def test_a_burst_has_one_status() -> None:
    """Whatever the order within it."""
    words = ["HALT", "ACTIVE", "ACTIVE", "HALT", "ACTIVE", None]
    begins = np.array([True, False, True, False, True, True])
    ranks = np.array([rank(word) for word in words])
    assert [ORDER[found] if found >= 0 else None for found in worst_of_bursts(ranks, begins)] == ["HALT"] * 4 + ["ACTIVE", None]
    assert not len(worst_of_bursts(ranks[:0], begins[:0]))


def test_live_it_rises_at_once_and_falls_when_a_burst_has_ended() -> None:
    """Two orders of the words within a burst; neither flickers."""
    for burst in (("HALT", "ACTIVE"), ("ACTIVE", "HALT")):
        status = BurstStatus()
        assert status.word is None
        assert status.receive("ACTIVE", begins=True) == "ACTIVE"
        for place, word in enumerate(burst):
            status.receive(word, begins=not place)
        seen = [status.receive(word, begins=not place) for _ in range(5) for place, word in enumerate(burst)]
        assert set(seen) == {"HALT"}
        status.receive("ACTIVE", begins=True)
        status.receive("ACTIVE", begins=False)
        assert status.settle() == "ACTIVE"
        assert status.receive(None, begins=True) == "ACTIVE"
