from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from ccwatch.errors import ConfigError, RecordingError
from ccwatch.protocol.messages import Packet
from ccwatch.recording import Recorder, Recording, RecordingSeries, RolloverPolicy


@pytest.fixture
def begin(tmp_path):
    numbers = count(1)
    return lambda: Recorder(tmp_path / f"s{next(numbers)}", url="", origin="live")


@pytest.mark.slow
def test_at_midnight_a_new_recording_begins_and_each_item_is_in_exactly_one(begin, usual, eventually):
    now = [datetime(2026, 1, 2, 23, 59, tzinfo=UTC)]
    with RecordingSeries(begin, RolloverPolicy(daily=True), clock=lambda: now[0]) as series:
        series.receive(usual[:50])
        eventually(lambda: series.stats.packets + series.stats.events == 50)
        now[0] += timedelta(minutes=2)
        for n in range(50, 100):
            series.receive(usual[n : n + 1])
        eventually(lambda: len(series.paths) == 2)
        series.receive(usual[100:150])
    first, second = (list(Recording(path).items()) for path in series.paths)
    assert first + second == usual[:150]
    assert len(second) >= 50
    assert [Recording(path).status for path in series.paths] == ["finished", "finished"]
    assert series.stats.packets == sum(isinstance(item, Packet) for item in usual[:150])
    assert series.path == series.paths[-1]


def test_no_empty_recording_follows_an_empty_one(begin, usual, eventually):
    with RecordingSeries(begin, RolloverPolicy(max_age=timedelta(microseconds=1))) as series:
        series.receive(usual[:5])
        eventually(lambda: len(series.paths) == 2)
        assert series.stats.packets + series.stats.events == 5
    assert len(series.paths) == 2


def test_where_the_next_recording_cannot_be_begun_the_old_one_goes_on_and_says_so(tmp_path, usual, eventually):
    may = [True]

    def begin():
        if not may[0]:
            raise RecordingError("no room")
        may[0] = False
        return Recorder(tmp_path / "s", url="", origin="live")

    with RecordingSeries(begin, RolloverPolicy(max_bytes=1)) as series:
        series.receive(usual[:50])
        eventually(lambda: series.stats.degraded)
        assert "no room" in series.stats.error
        series.receive(usual[50:100])
    assert list(Recording(series.path).items()) == usual[:100]


@pytest.mark.parametrize("limits", [{"max_bytes": 0}, {"max_age": timedelta(0)}])
def test_a_limit_that_would_begin_recordings_for_ever_is_refused(limits):
    with pytest.raises(ConfigError, match="above 0"):
        RolloverPolicy(**limits)
