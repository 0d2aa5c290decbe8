from __future__ import annotations

from collections.abc import Iterator

import pytest

import ccwatch as cw
from ccwatch.dashboard.search import TEXT_LIMIT, decisions

HOUR_MS = 3_600_000.0


@pytest.fixture(scope="module")
def feed() -> Iterator[cw.Feed]:
    with cw.synthetic(seed=2, scenario="drawdown-halt", packets=400, pace="max") as running:
        running.join(60)
        yield running


@pytest.mark.parametrize("text", ["TAIL INDEX", " momentum ", "-0.0446 $/period", "past its limit"])
def test_each_decision_that_says_a_text_is_found_once_at_its_time(feed: cw.Feed, text: str) -> None:
    expected, before = [], None
    for time, row in feed.frame(["side", "reasoning"]).iterrows():
        now = (row["side"], row["reasoning"])
        if text.strip().lower() in row["reasoning"].lower() and now != before:
            expected.append([time.value / 1e6 + HOUR_MS, row["side"], row["reasoning"][:TEXT_LIMIT]])
        before = now
    assert expected
    assert decisions(feed, text, HOUR_MS) == expected


@pytest.mark.parametrize("text", ["", "  ", "no such word", "(", ".*"])
def test_a_text_that_is_not_said_finds_nothing_and_is_no_expression(feed: cw.Feed, text: str) -> None:
    assert decisions(feed, text, 0.0) == []
