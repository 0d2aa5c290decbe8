from __future__ import annotations

import json

import numpy as np
import pytest

import ccwatch as cw
from ccwatch.analysis.compare import block_length
from ccwatch.errors import NotEnoughData


def ar1(n, rho, seed, mean=0.0):
    rng = np.random.default_rng(seed)
    values = np.zeros(n)
    for i in range(1, n):
        values[i] = rho * values[i - 1] + rng.normal()
    return mean + values


def test_two_halves_of_one_sort_do_not_differ_and_another_level_does(rows):
    a, b, c = (rows(alpha=ar1(800, 0.5, seed, mean)) for seed, mean in ((1, 2.0), (2, 2.0), (3, 4.0)))
    same = cw.compare(a, b).to_frame().set_index("measure").loc["mean alpha"]
    other = cw.compare(a, c).to_frame().set_index("measure").loc["mean alpha"]
    assert not same["differs"]
    assert other["differs"]
    assert 1.7 < other["low"] < other["high"] < 2.6  # how often the truth lies within is the next test's question
    assert other["difference"] == pytest.approx(other["b"] - other["a"])


def test_the_intervals_cover_about_as_often_as_they_say(rows):
    missed = 0
    for seed in range(40):
        found = cw.compare(rows(alpha=ar1(400, 0.4, seed)), rows(alpha=ar1(400, 0.4, 1000 + seed)))
        missed += bool(found.to_frame().set_index("measure").loc["mean alpha", "differs"])
    assert missed <= 8  # 2 are expected; without blocks about 8 would be, and more by chance


def test_blocks_grow_with_inertia():
    assert block_length(ar1(1000, 0.0, 1)) < block_length(ar1(1000, 0.8, 1))
    assert block_length(np.ones(5)) == 0
    assert block_length(np.ones(100)) == 5


def test_the_same_sessions_give_the_same_answer_and_a_slow_agent_differs(stream):
    a, b = stream("calm", count=400), stream("slow-agent", count=400)
    found = cw.analyze(a).compare(cw.analyze(b))
    again = cw.analyze(a).compare(cw.analyze(b))
    assert json.dumps(found.to_dict(), allow_nan=False) == json.dumps(again.to_dict(), allow_nan=False)
    table = found.to_frame().set_index("measure")
    assert table.index[table["differs"]].tolist() == ["p95 latency of RiskAgent"]
    assert any("SYNTHETIC" in note for note in found.notes)
    assert len(found.figure().data) == 1


def test_a_measure_that_one_session_lacks_is_missing_with_its_reason(rows):
    table = cw.compare(rows(alpha=np.arange(50.0)), rows(confidence=np.linspace(0, 1, 50))).to_frame().set_index("measure")
    assert "n too small" in table.loc["mean alpha", "reason"]
    assert np.isnan(table.loc["mean alpha", "low"])
    with pytest.raises(NotEnoughData):
        cw.compare(rows(alpha=[]), rows(alpha=[1.0]))
