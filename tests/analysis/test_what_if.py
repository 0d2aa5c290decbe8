"""Other rules on the same prices, held against a seeded engine that is run again with them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import ccwatch as cw
from ccwatch.analysis.what_if import LEAST_CHANGED, what_if
from ccwatch.errors import ConfigError, MissingColumns
from ccwatch.feed.seeded_engine import SeededEngine
from ccwatch.feed.synthetic import messages
from tests.analysis.conftest import Stream, receive


def run(seed=3, count=1500):
    return Stream(receive(itertools.islice(messages(seed, "calm", 1.0), count))).frame()


@pytest.fixture(scope="module")
def recorded():
    return run()


@pytest.mark.slow
@pytest.mark.parametrize("cap", [0.05, 0.08, 0.12])
def test_a_size_cap_gives_what_the_engine_makes_with_it(recorded, cap, monkeypatch):
    found = what_if(recorded, size_cap=cap, delay=0)
    monkeypatch.setattr(SeededEngine, "size_cap", cap)
    truth = run()["nav"].to_numpy()
    np.testing.assert_allclose(found.curve["replayed"].to_numpy(), truth, atol=0.005)
    assert found.difference == pytest.approx(truth[-1] - recorded["nav"].iloc[-1], abs=0.005)


@pytest.mark.slow
def test_a_breaker_gives_what_the_engine_makes_with_it(recorded, monkeypatch):
    limit = 0.6 * float((recorded["nav"] / recorded["nav"].cummax() - 1.0).min())
    found = what_if(recorded, breaker=limit, rearm="never", delay=0)
    assert len(found.changed)
    monkeypatch.setattr(SeededEngine, "breaker", limit)
    np.testing.assert_allclose(found.curve["replayed"].to_numpy(), run()["nav"].to_numpy(), atol=0.005)


@pytest.mark.slow
def test_a_rule_that_changes_nothing_makes_no_difference(recorded):
    found = what_if(recorded, size_cap=0.2)
    assert found.difference == 0.0
    assert found.headline().startswith("0 of ")
    assert not len(found.changed)
    assert found.interval is None


def test_the_parts_add_up_and_an_interval_needs_enough(recorded):
    capped = what_if(recorded, size_cap=0.05)
    assert len(capped.changed) >= LEAST_CHANGED
    assert capped.headline().split("; P&L")[0].endswith(("run", "runs"))
    few = what_if(recorded, veto="alpha < 1.9", delay=0)
    assert (few.changed["target_after"] == 0.0).all()
    assert set(few.changed["why"]) == {"veto"}
    if len(few.changed) < LEAST_CHANGED:
        assert few.interval is None
        assert any("no interval" in note for note in few.notes)
    assert few.repeated["delay"].tolist() == [0, 1, 0]
    assert few.repeated["cost_bps"].tolist() == [0.0, 0.0, 5.0]
    assert any("not known" in text for text in few.assumptions)
    assert any("in sample" in note for note in few.notes)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "expected another rule"),
        ({"size_cap": -0.1}, "size_cap"),
        ({"breaker": 0.02}, "breaker"),
        ({"size_cap": 0.1, "delay": "soon"}, "delay"),
        ({"size_cap": 0.1, "rearm": "soon"}, "rearm"),
        ({"size_cap": 0.1, "cost_bps": -1.0}, "cost_bps"),
        ({"breaker": "drawdown_peak <= -2%"}, "breaker"),
        ({"size_cap": True}, "size_cap"),
        ({"size_cap": 0.1, "cost_bps": "1"}, "cost_bps"),
        ({"veto": "alhpa < 2"}, "alpha"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(recorded, asked, message):
    with pytest.raises(ConfigError, match=message):
        what_if(recorded, **asked)


def test_without_an_account_there_is_no_answer(recorded):
    with pytest.raises(MissingColumns, match="nav"):
        cw.analyze(recorded.drop(columns="nav")).what_if(size_cap=0.1)
