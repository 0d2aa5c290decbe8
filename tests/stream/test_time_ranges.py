"""Moments as users name them: the same words mean the same everywhere."""

from __future__ import annotations

import pandas as pd
import pytest

from ccwatch.errors import ConfigError
from ccwatch.stream.time_ranges import next_moment, parse_time, range_of, span_of

DAY = "2026-01-02T14:30:00Z", "2026-01-02T21:00:00Z"


def read(value, ends=DAY, zone="UTC"):
    start, end = map(pd.Timestamp, ends)
    return parse_time(value, "time", lambda: (start, end), zone=zone)


def test_a_clock_time_is_read_on_the_sessions_date_in_the_display_zone():
    assert read("14:32") == pd.Timestamp("2026-01-02T14:32:00Z")
    assert read("9:32:05.5", zone="America/New_York") == pd.Timestamp("2026-01-02T14:32:05.5Z")


def test_the_zone_of_a_text_without_one_is_the_settings(monkeypatch):
    monkeypatch.setenv("CCWATCH_DISPLAY_TZ", "America/New_York")
    assert read("09:32", zone=None) == read("2026-01-02 09:32", zone=None) == pd.Timestamp("2026-01-02T14:32:00Z")


def test_the_minute_in_which_a_session_begins_is_in_it():
    assert read("14:30", ("2026-01-02T14:30:20Z", DAY[1])) == pd.Timestamp("2026-01-02T14:30:00Z")
    with pytest.raises(ConfigError, match="does not lie in this session"):
        read("14:29", ("2026-01-02T14:30:20Z", DAY[1]))


def test_a_clock_time_that_two_days_of_the_session_have_is_an_error_that_lists_both():
    ends = "2026-01-02T10:00:00Z", "2026-01-03T12:00:00Z"
    with pytest.raises(ConfigError, match="ambiguous") as error:
        read("10:32", ends)
    assert "2026-01-02T10:32" in str(error.value)
    assert "2026-01-03T10:32" in str(error.value)
    assert read("13:00", ends) == pd.Timestamp("2026-01-02T13:00:00Z")


def test_a_clock_time_of_a_year_is_refused_in_one_short_line():
    with pytest.raises(ConfigError, match="366 in all") as error:
        read("10:32", ("2025-01-02T10:00:00Z", "2026-01-02T12:00:00Z"))
    assert len(str(error.value)) < 200
    assert "\n" not in str(error.value)


def test_an_hour_that_the_clocks_went_back_through_is_ambiguous_and_one_that_they_skipped_never_was():
    ends = "2026-10-24T22:00:00Z", "2026-10-25T06:00:00Z"
    for text in ("02:30", "2026-10-25 02:30"):
        with pytest.raises(ConfigError, match="ambiguous"):
            read(text, ends, "Europe/Berlin")
    with pytest.raises(ConfigError, match="clocks went past it"):
        read("2026-03-29 02:30", ends, "Europe/Berlin")


@pytest.mark.parametrize("value", ["22:00", "soon", "25:00", "10:32+01:00", "14", pd.Timestamp("2026-01-02 14:32"), pd.NaT, 5j])
def test_what_names_no_moment_of_the_session_is_refused(value):
    with pytest.raises(ConfigError):
        read(value, ("2026-01-02T14:30:00Z", "2026-01-02T15:00:00Z"))


def test_a_time_with_a_zone_needs_nothing_else():
    assert parse_time("2026-01-02T15:32:00+01:00", "time") == pd.Timestamp("2026-01-02T14:32:00Z")
    with pytest.raises(ConfigError, match="no session to take it from"):
        parse_time("15:32", "time")


def test_a_span_has_both_its_ends_and_its_end_does_not_lie_before_its_start():
    start, end = map(pd.Timestamp, DAY)
    assert span_of("14:32", "14:33", lambda: (start, end)) == tuple(pd.Timestamp(f"2026-01-02T14:{m}:00Z").value for m in (32, 33))
    assert span_of(None, None) is None
    with pytest.raises(ConfigError, match="lies before the start"):
        span_of("14:33", "14:32", lambda: (start, end))


def test_a_slice_is_a_span():
    start, end = map(pd.Timestamp, DAY)
    session = lambda: (start, end)  # noqa: E731
    assert span_of(slice("14:32", "14:33"), None, session) == span_of("14:32", "14:33", session)
    assert span_of(slice("14:32", None), None, session) == span_of("14:32", None, session)
    assert span_of(slice(None), None, session) is None
    for bad in ((slice("14:32", "14:33"), "14:33"), (slice("14:32", "14:33", 2), None)):
        with pytest.raises(ConfigError, match="a slice alone"):
            span_of(*bad, session)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("16:00", "2026-01-02T16:00"), ("14:00", "2026-01-03T14:00"), ("14:32", "2026-01-03T14:32"), ("2026-02-01", "2026-02-01T00:00")],
)
def test_a_time_of_the_day_in_advance_is_the_next_one(text, expected):
    now = pd.Timestamp("2026-01-02T14:32:10Z").to_pydatetime()
    assert next_moment(text, "until", now) == pd.Timestamp(f"{expected}Z")


def test_a_date_alone_is_its_whole_day_in_a_range_and_days_may_have_23_hours():
    day = pd.Timedelta(days=1) - pd.Timedelta(1, "ns")
    assert span_of("2026-01-02", "2026-01-02") == span_of(slice("2026-01-02", "2026-01-02"), None)
    low, high = range_of("2026-01-02", "2026-01-03")
    assert low == pd.Timestamp("2026-01-02T00:00Z")
    assert high == pd.Timestamp("2026-01-03T00:00Z") + day
    low, high = range_of("2026-03-29", "2026-03-29", zone="Europe/Berlin")
    assert low == pd.Timestamp("2026-03-28T23:00Z")
    assert high - low == day - pd.Timedelta(hours=1)
    assert range_of(None, "2026-01-02")[0] is None
    assert range_of("2026-01-02", pd.Timestamp("2026-01-02T00:00Z")) == (low := pd.Timestamp("2026-01-02T00:00Z"), low), "no text: a moment"
