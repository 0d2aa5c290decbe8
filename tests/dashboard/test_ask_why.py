from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import ccwatch as cw
from ccwatch.dashboard.ask_why import explain

BAD_SESSION = Path(__file__).parents[2] / "recordings" / "sample-bad-session"


@pytest.mark.slow
def test_what_is_answered_is_what_the_code_beside_it_gives():
    with cw.synthetic(seed=2, scenario="drawdown-halt", packets=400, pace="max") as feed:
        assert feed.join(60)
        moment = pd.Timestamp("2026-01-02T14:33:00Z")
        said = explain(feed, moment, moment)
        found = eval(said["code"], {"cw": cw, "feed": feed})  # noqa: S307 - the code that a user copies
        assert said["lines"][0] == found.headline()
        assert any("ACTIVE → HALT" in line for line in said["lines"])
        assert 'window="60s"' in explain(feed, moment, moment + pd.Timedelta("60s"))["code"]


def test_a_moment_outside_the_stream_is_told_not_raised():
    with cw.synthetic(seed=2, packets=50, pace="max") as feed:
        assert feed.join(60)
        moment = pd.Timestamp("2030-01-01", tz="UTC")
        assert explain(feed, moment, moment)["lines"]


@pytest.mark.slow
def test_of_many_warnings_around_a_halt_the_halt_is_told():
    moment = pd.Timestamp("2026-01-02T14:39:00Z")
    lines = explain(cw.open_recording(BAD_SESSION), moment, moment)["lines"]
    heard = [line for line in lines if " · " in line]
    assert any("status · ACTIVE → HALT" in line for line in heard)
    assert any("drawdown trough" in line for line in heard)
    assert [line[:12] for line in heard] == sorted(line[:12] for line in heard), "by time"
    assert any("more: .evidence" in line for line in lines)


@pytest.mark.slow
def test_without_a_baseline_it_is_said_that_there_is_nothing_to_compare_with_and_what_to_do():
    frame = cw.open_recording(BAD_SESSION).frame()
    first = explain(cw.open_recording(BAD_SESSION), frame.index[0], frame.index[-1])["lines"][0]
    assert "nothing to compare it with" in first
    assert "shorter range" in first
    assert "no measure differs" not in first
