from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, strategies as st

from ccwatch.analysis import Report, changepoints, page_hinkley, pelt
from ccwatch.errors import NotEnoughData
from ccwatch.feed.scenarios import planted


def cost(values, cuts):
    return sum(float(np.sum(np.square(part - part.mean()))) for part in np.split(values, cuts))


@pytest.mark.slow
@given(st.lists(st.integers(-9, 9), min_size=3, max_size=9), st.sampled_from([0.5, 4.0, 30.0]), st.sampled_from([1, 2]))
def test_pelt_finds_the_least_cost_of_all_segmentations(values, penalty, least):
    values = np.array(values, dtype=float)
    inner = range(1, len(values))
    every = (cuts for size in range(len(values)) for cuts in itertools.combinations(inner, size))
    allowed = [cuts for cuts in every if min(np.diff([0, *cuts, len(values)])) >= least]
    best = min(cost(values, cuts) + penalty * len(cuts) for cuts in allowed)
    found = pelt(values, penalty, least)
    assert cost(values, found) + penalty * len(found) == pytest.approx(best, abs=1e-9)
    assert min(np.diff([0, *found, len(values)])) >= least


def test_a_step_is_found_where_it_is():
    rng = np.random.default_rng(1)
    values = np.concatenate((rng.normal(size=300), 4.0 + rng.normal(size=200)))
    assert pelt(values, 3 * np.log(500), 10) == [300]


def test_page_and_hinkley_notice_a_step_soon_and_are_silent_without_one():
    rng = np.random.default_rng(1)
    noticed = page_hinkley(np.concatenate((rng.normal(size=300), 4.0 + rng.normal(size=200))), allowed=0.5, threshold=25.0)
    assert len(noticed) == 1
    assert 300 <= noticed[0] < 315
    assert page_hinkley(rng.normal(size=2000), allowed=0.5, threshold=25.0) == []
    assert len(page_hinkley(np.concatenate((rng.normal(size=300), rng.normal(size=200) - 4.0)), allowed=0.5, threshold=25.0)) == 1


@pytest.mark.slow
def test_a_planted_slow_agent_is_a_change_there_and_back(stream, at):
    found = Report(stream("slow-agent", count=400)).changepoints().to_frame()
    mine = found[(found["series"] == "latency of RiskAgent") & (found["method"] == "PELT")]
    truth = planted("slow-agent")[0]
    for time, second in zip(mine["time"], (truth.start_s, truth.end_s), strict=True):
        assert abs((time - at(second)).total_seconds()) <= 4
    others = found[found["series"].str.startswith("latency") & (found["series"] != "latency of RiskAgent") & (found["method"] == "PELT")]
    assert not len(others)


def test_noise_has_no_change(rows):
    rng = np.random.default_rng(6)
    found = changepoints(rows(alpha=2.0 + 0.1 * rng.normal(size=3000)))
    assert not len(found.to_frame())
    assert found.headline() == "No measure changed its level."
    assert any("buckets" in note for note in found.notes)


def test_a_constant_series_is_a_note_and_too_few_an_error(rows):
    answer = changepoints(rows(alpha=np.append(np.zeros(50), np.ones(50)), confidence=np.ones(100)))
    assert any("confidence" in note for note in answer.notes)
    with pytest.raises(NotEnoughData):
        changepoints(rows(alpha=np.ones(100)))
