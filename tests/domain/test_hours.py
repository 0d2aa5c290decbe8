from __future__ import annotations

from datetime import date, datetime, time
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from ccwatch.domain.hours import TradingHours, days_of, read_hours

NEW_YORK = ZoneInfo("America/New_York")
NYSE = read_hours(
    {"timezone": "America/New_York", "open": "09:30", "close": "16:00", "days": "mon-fri"}, ["2026-12-25", "2026-11-27 13:00"]
)


def ns(*local: int, zone: ZoneInfo = NEW_YORK) -> int:
    return round(datetime(*local, tzinfo=zone).timestamp()) * 1_000_000_000


def test_trading_is_open_on_weekdays_between_open_and_close_in_summer_and_winter():
    for day in ((2026, 7, 1), (2026, 12, 1)):
        assert NYSE.is_open(ns(*day, 9, 30))
        assert NYSE.is_open(ns(*day, 15, 59))
        assert not NYSE.is_open(ns(*day, 16, 0))
        assert not NYSE.is_open(ns(*day, 9, 29))
    assert not NYSE.is_open(ns(2026, 11, 28, 12, 0)), "a Saturday"
    assert not NYSE.is_open(ns(2026, 12, 25, 12, 0)), "a holiday"
    assert NYSE.is_open(ns(2026, 11, 27, 12, 59))
    assert not NYSE.is_open(ns(2026, 11, 27, 13, 1)), "it closes early"


def test_a_night_belongs_to_the_day_before_it_and_a_weekend_to_friday():
    friday = ns(2026, 11, 20, 9, 30)
    assert NYSE.day_of(ns(2026, 11, 20, 23, 0)) == friday
    assert NYSE.day_of(ns(2026, 11, 22, 12, 0)) == friday
    assert NYSE.day_of(ns(2026, 11, 23, 9, 30)) == ns(2026, 11, 23, 9, 30)
    assert NYSE.next_open(ns(2026, 12, 24, 17, 0)) == ns(2026, 12, 28, 9, 30), "Christmas is a Friday"
    assert NYSE.close_of(ns(2026, 11, 20, 10, 0)) == ns(2026, 11, 20, 16, 0)
    assert NYSE.close_of(ns(2026, 11, 20, 20, 0)) is None


def test_a_session_over_midnight_belongs_to_its_open():
    futures = TradingHours("America/Chicago", time(17, 0), time(16, 0), (6, 0, 1, 2, 3))
    chicago = ZoneInfo("America/Chicago")
    assert futures.is_open(ns(2026, 11, 24, 2, 0, zone=chicago))
    assert not futures.is_open(ns(2026, 11, 24, 16, 30, zone=chicago))
    assert futures.day_of(ns(2026, 11, 24, 2, 0, zone=chicago)) == ns(2026, 11, 23, 17, 0, zone=chicago)


def test_without_hours_a_day_is_one_of_utc():
    times = np.array([ns(2026, 1, 2, 23, 59, zone=ZoneInfo("UTC")), ns(2026, 1, 3, 0, 0, zone=ZoneInfo("UTC"))])
    assert days_of(times, None)[1] - days_of(times, None)[0] == 86_400_000_000_000


@pytest.mark.parametrize(
    ("words", "holidays", "said"),
    [
        ({"timezone": "New York"}, [], "timezone"),
        ({"open": "half past nine"}, [], "open='half past nine'"),
        ({"days": "mon-fry"}, [], "days"),
        ({}, ["Christmas"], "holidays: 'Christmas'"),
    ],
)
def test_what_is_no_hours_is_refused(words, holidays, said):
    base = {"timezone": "UTC", "open": "09:30", "close": "16:00"}
    with pytest.raises(ValueError, match=said):
        read_hours(base | words, holidays)


def test_days_may_be_a_range_a_list_or_words():
    for days in ("mon-wed", "mon, tue, wed", ["Monday", "tue", "wed"]):
        assert read_hours({"timezone": "UTC", "open": "09:30", "close": "16:00", "days": days}).days == (0, 1, 2)
    assert NYSE.holidays == {date(2026, 12, 25)}


@pytest.mark.parametrize(
    ("said", "days"),
    [
        ("mon-fri", (0, 1, 2, 3, 4)),
        ("mon-wed, fri", (0, 1, 2, 4)),
        (["mon-tue", "Sat"], (0, 1, 5)),
        ("sun-thu", (0, 1, 2, 3, 6)),
        ("wednesday", (2,)),
    ],
)
def test_weekdays_are_names_and_ranges(said, days):
    assert read_hours({"timezone": "UTC", "open": "09:30", "close": "16:00", "days": said}).days == days


@pytest.mark.parametrize("said", ["", [], "mon-", "mon-xyz", "day", ["mon", "noday"], "mon,,fri"])
def test_other_words_are_no_weekdays(said):
    with pytest.raises(ValueError, match="days="):
        read_hours({"timezone": "UTC", "open": "09:30", "close": "16:00", "days": said})
