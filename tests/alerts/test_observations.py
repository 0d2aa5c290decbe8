"""Functions over a stretch, against the plain definition, however a series is cut into batches."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from ccwatch.alerts.observations import Observations, Sums, over, quantiles

values = st.lists(st.floats(-1e9, 1e9).map(lambda v: round(v, 3)), min_size=1, max_size=40)


def series(numbers):
    at = np.arange(len(numbers), dtype=np.int64)
    return Observations(2 * at, at * 1_000_000_000, at, np.array(numbers, dtype=np.float64))


def plainly(function, part):
    if len(part) < (2 if function == "std" else 1):
        return math.nan
    return {"min": min, "max": max, "mean": statistics.fmean, "std": statistics.stdev}[function](part)


@given(values, st.integers(1, 45), st.integers(0, 40), st.sampled_from(["min", "max", "mean", "std"]))
@settings(max_examples=150)
@pytest.mark.slow
def test_a_stretch_has_the_value_of_its_definition(numbers, length, begin, function):
    """Stretches of `length` rows that end at each row from `begin` on: short ones do not overlap, long ones share a part."""
    begin = min(begin, len(numbers) - 1)
    seen = series(numbers)
    end = np.arange(begin, len(numbers)) + 1
    first = np.maximum(end - length, 0)
    sums = Sums.of(function)
    if sums is not None:
        sums = sums.extended(seen.value[:begin]).extended(seen.value[begin:])
    found = over(function, seen, first, end, sums)
    expected = [plainly(function, numbers[a:b]) for a, b in zip(first, end, strict=True)]
    assert found.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-6, nan_ok=True)


def test_sums_go_on_without_the_rows_before_them():
    """The sums of a stretch do not change when earlier rows are let go, nor with where the series was cut."""
    numbers = np.array([0.1, 1e9, -1e9, 0.2, 0.3])
    whole = Sums.of("std").extended(numbers)
    parts = Sums.of("std").extended(numbers[:2]).since(1).extended(numbers[2:]).since(2)
    late = whole.since(3)
    assert (parts.totals[-1] - parts.totals[0], parts.squares[-1] - parts.squares[0]) == (
        late.totals[-1] - late.totals[0],
        late.squares[-1] - late.squares[0],
    )
    assert len(parts.totals) == 3, "one more than the rows that are kept"


@given(
    st.lists(st.one_of(st.floats(-1e9, 1e9), st.integers(0, 3).map(float)), min_size=1, max_size=200),
    st.integers(1, 250),
    st.integers(0, 190),
    st.integers(1, 12),
    st.sampled_from([0.0, 0.05, 0.5, 0.95, 0.99, 1.0]),
)
@settings(max_examples=200)
@pytest.mark.slow
def test_a_quantile_of_a_stretch_is_that_of_its_values(numbers, length, begin, least, p):
    begin = min(begin, len(numbers) - 1)
    end = np.arange(begin, len(numbers)) + 1
    first = np.maximum(end - length, 0)
    found = quantiles(np.array(numbers), first, end, p, least)
    expected = [np.quantile(numbers[a:b], p) if b - a >= least else math.nan for a, b in zip(first, end, strict=True)]
    assert found == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_the_quantiles_of_long_stretches_do_not_depend_on_the_cut():
    numbers = np.random.default_rng(7).lognormal(size=3_000)
    end = np.arange(1, 3_001)
    first = np.maximum(end - 700, 0)
    whole = quantiles(numbers, first, end, 0.95, 10)
    parts = [quantiles(numbers[: cut + 37], first[cut : cut + 37], end[cut : cut + 37], 0.95, 10) for cut in range(0, 3_000, 37)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()
