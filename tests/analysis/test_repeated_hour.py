"""The hour that comes twice at the end of summer time, by stamps without an offset: it changes no answer."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

import ccwatch as cw
from ccwatch.protocol.messages import Instant, Packet
from ccwatch.protocol.stream_reader import StreamReader
from tests.analysis.conftest import Stream
from tests.protocol.shapes import contract

SECOND = 10**9
NEW_YORK = ZoneInfo("America/New_York")
MIDNIGHT_THERE = int(datetime(2026, 11, 1, tzinfo=NEW_YORK).timestamp())
STEP_S = 3
SECONDS = range(6000, 10_950, STEP_S)
PEAK_S, TROUGH_S, RECOVERED_S = 6300, 8100, 9900
"""01:45 for the first time, 01:15 for the second, 01:45 for the second."""


FALL = {"drawdown-peak-1.5", "drawdown-peak-2", "drawdown-start-1.5", "drawdown-start-2"}


def planted(second):
    """Nav in USD: one fall of 4 %, and back."""
    return round(float(np.interp(second, [PEAK_S, TROUGH_S, RECOVERED_S], [100_000.0, 96_000.0, 100_000.0])), 2)


def session(*, is_naive, clock, cut_s=None):
    """A night's packets through a session.

    Args:
        is_naive: whether the stamps carry no offset.
        clock: "receiver's" clock at the stream's time; one a "day later" (a replay); "virtual" (as fast as it comes).
        cut_s: when the connection is lost, for a second.
    """
    virtual = clock == "virtual"
    made = StreamReader(server_tz="America/New_York", virtual_clock=virtual)
    late = 86_400 if clock == "a day later" else 0

    def instant(second):
        passed = round(second * (1e-4 if virtual else 1.0) * SECOND)
        return Instant((MIDNIGHT_THERE + late) * SECOND + passed, 5 * SECOND + passed)

    items = list(made.opened(instant(SECONDS[0])))
    for second in SECONDS:
        if second == cut_s:
            items += made.closed(instant(second - 2), "reset")
            items += made.opened(instant(second - 1))
        moment = datetime.fromtimestamp(MIDNIGHT_THERE + second, NEW_YORK)
        stamp = moment.replace(tzinfo=None) if is_naive else moment.astimezone(UTC)
        nav = planted(second)
        message = contract(
            timestamp=stamp.isoformat(),
            market={"price": nav / 200.0 + second % 7 / 100.0, "symbol": "SPY"},
            portfolio={"nav": nav, "cash": 1000.0, "daily_pnl": nav - 100_000.0, "max_drawdown": min(0.0, nav / 100_000.0 - 1.0)},
        )
        items += made.receive(json.dumps(message).encode(), instant(second + 0.05))
    return Stream(items)


@pytest.mark.slow
@pytest.mark.parametrize(("clock", "cut_s"), [("receiver's", None), ("receiver's", TROUGH_S), ("a day later", None), ("virtual", None)])
def test_a_fall_through_the_repeated_hour_is_one_episode_without_a_false_gap_or_alert(clock, cut_s):
    naive, aware = (session(is_naive=is_naive, clock=clock, cut_s=cut_s) for is_naive in (True, False))
    frame = naive.frame()
    assert len(frame) == len(SECONDS) == sum(isinstance(item, Packet) for item in naive.items)
    assert (frame.index.as_unit("s").asi8 - MIDNIGHT_THERE).tolist() == list(SECONDS)
    for ours, theirs in ((cw.analyze(naive), cw.analyze(aware)), (cw.analyze(frame), cw.analyze(aware.frame()))):
        (fall,) = ours.drawdowns().to_frame().itertuples()
        there = [pd.Timestamp(MIDNIGHT_THERE + second, unit="s", tz="UTC") for second in (PEAK_S, TROUGH_S, RECOVERED_S)]
        assert [fall.peak_time, fall.trough_time, fall.recovery_time] == there
        assert fall.depth == pytest.approx(-0.04)
        assert len(ours.quality().gaps) == len(theirs.quality().gaps) == int(cut_s is not None)
        pd.testing.assert_frame_equal(ours.alerts().firings, theirs.alerts().firings)
        assert {str(rule) for rule in ours.alerts().firings["rule"]} == FALL
