"""Which readings of a gauge show a new call."""

from __future__ import annotations

import numpy as np
from hypothesis import given, strategies as st

from ccwatch.domain.counters import read


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
