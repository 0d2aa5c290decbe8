from __future__ import annotations

import pandas as pd
import pytest

from ccwatch.domain import durations
from ccwatch.domain.durations import duration_text, seconds_of
from ccwatch.stream import dataframes


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("5m", 300), ("5min", 300), ("1h 30min", 5400), ("0s", 0), ("2 d", 172_800)])
def test_durations_are_text(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "5 minutes and", "min", "-3s", "5x"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="is no duration"):
        seconds_of(text)


def test_seconds_are_told_in_the_largest_units():
    assert [duration_text(s) for s in (45, 600, 5400, 90_000)] == ["45 s", "10 min", "1 h 30 min", "1 d 1 h"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("text", "hours"), [("1d", 24), ("30d", 720), ("1 d", 24), ("1d 2h", 26), ("2D", 48), ("90min", 1.5), ("3 days", 72)]
)
def test_pandas_reads_days_without_a_warning(text, hours):
    assert pd.Timedelta(durations.for_pandas(text)) == pd.Timedelta(hours=hours)
    assert dataframes.span_ns(text) == hours * 3_600 * 10**9
