"""Which readings of a gauge show a new call."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from ccwatch.domain.counters import read, renumber


def calls(gauge: list[float], count: list[float], before: tuple[float, float] | None = None) -> list[object]:
    return read(np.array(gauge, dtype=np.float64), np.array(count, dtype=np.float64), before=before).is_call.tolist()


def test_a_call_stands_where_the_counter_rose() -> None:
    """Whatever the gauge does; the first reading is of unknown age."""
    assert calls([5.0, 5.0, 6.0, 6.0], [7.0, 8.0, 8.0, 10.0]) == [False, True, False, True]
    assert calls([5.0], [8.0], (4.0, 7.0)) == [True]


def test_single_calls_are_numbered_from_one() -> None:
    """The first of them is a call as well."""
    found = read(np.array([5.0, 5.0, 5.0]), np.array([1.0, 2.0, 3.0]))
    assert found.is_call.all()
    assert found.made.tolist() == [1.0, 1.0, 1.0]


def test_without_a_counter_a_gauge_that_changed_shows_a_call() -> None:
    """Also over a reading whose counter is missing."""
    nan = np.nan
    assert calls([5.0, 5.0, 6.0], [nan, nan, nan]) == [False, False, True]
    assert calls([5.0, 6.0, 6.0], [1.0, nan, 3.0]) == [True, True, False]


def test_a_counter_that_fell_counts_from_its_start() -> None:
    """A service that was started again has made what its counter says."""
    found = read(np.array([5.0, 5.0, 5.0]), np.array([7.0, 2.0, 0.0]))
    assert found.is_reset.tolist() == [False, True, True]
    assert found.made.tolist() == [0.0, 2.0, 0.0]
    assert found.is_call.tolist() == [False, True, False]
    assert not len(read(np.zeros(0), np.zeros(0)).is_call)


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3)), min_size=1, max_size=20), st.integers(0, 20))
def test_the_cut_into_batches_does_not_matter(steps: list[tuple[int, int]], cut: int) -> None:
    """What a batch says follows from the reading before it."""
    gauge = np.array([float(value) for value, _ in steps])
    count = np.cumsum([float(more) for _, more in steps])
    cut = min(cut, len(gauge))
    whole = read(gauge, count)
    first = read(gauge[:cut], count[:cut])
    rest = read(gauge[cut:], count[cut:], before=(float(gauge[cut - 1]), float(count[cut - 1])) if cut else None)
    for place in range(3):
        np.testing.assert_array_equal(np.concatenate((first[place], rest[place])), whole[place])


def test_a_call_that_comes_after_younger_ones_is_counted_in_the_order_of_call_times() -> None:
    """By arrival: b failed, c, then a, which is older than both; by time a, b, c."""
    seq, count = np.array([9, 3, 5]), np.array([3.0, 1.0, 2.0])
    share = np.array([2.0 / 3.0, 0.0, 0.5])
    renumbered, again = renumber(seq, count, share)
    assert renumbered.tolist() == [1.0, 2.0, 3.0]
    assert again.tolist() == [1.0, 0.5, 2.0 / 3.0]


def test_a_counter_that_was_reset_is_no_late_call() -> None:
    """Though its counts are as many different numbers in a row: they came in the order of time."""
    seq, count, share = np.arange(6), np.array([5.0, 6.0, 1.0, 2.0, 3.0, 4.0]), np.full(6, 1.0)
    assert renumber(seq, count, share)[0] is count


@pytest.mark.slow
@given(st.permutations(range(12)), st.lists(st.booleans(), min_size=12, max_size=12), st.integers(0, 5))
def test_whatever_order_calls_come_in_they_count_the_same(order: list[int], ok: list[bool], before: int) -> None:
    """Calls of a service of which some were made before, all of them with success."""
    count, share = np.empty(12), np.empty(12)
    done = float(before)
    for place, call in enumerate(order):
        done += ok[call]
        count[call] = before + place + 1.0
        share[call] = done / count[call]
    seq = count.astype(np.int64)
    renumbered, again = renumber(seq, count, share)
    if (np.diff(count) < 0.0).any():
        assert renumbered.tolist() == [before + n + 1.0 for n in range(12)]
        expected = (before + np.cumsum(np.array(ok, dtype=np.float64))) / renumbered
        assert np.allclose(again, expected) or not ok[order[0]]
