"""What the server's words and timestamps mean."""

from __future__ import annotations

import contextlib
import itertools
import unicodedata
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, strategies as st

from ccwatch.protocol import canonical_words
from tests.protocol.shapes import NOON, examples

REGIMES = {
    "Gaussian": "Gaussian",
    "Lévy Stable": "Lévy Stable",
    "Critical": "Critical",
    "GAUSSIAN (Safe)": "Gaussian",
    "LÉVY STABLE (Risky)": "Lévy Stable",
    "CRITICAL (Chaos)": "Critical",
    "Unknown": "Unknown",
    "WAIT": "Unknown",
}


def garbled():
    """UTF-8 that somebody read in a one-byte code, once or twice, as happens on the way through badly set up processes."""
    for word, form, *codecs in itertools.product(
        ["Lévy Stable", "LÉVY STABLE (Risky)", "lévy"], ["NFC", "NFD"], ["latin-1", "cp1252"], ["latin-1", "cp1252", None]
    ):
        text = unicodedata.normalize(form, word)
        with contextlib.suppress(UnicodeDecodeError):  # no such character in this code: nothing can be garbled by it
            for codec in filter(None, codecs):
                text = text.encode().decode(codec)
            yield text


@pytest.mark.parametrize(("word", "canonical"), REGIMES.items())
def test_each_observed_regime_is_known_by_its_canonical_name(word, canonical):
    assert canonical_words.regime(word) == (canonical, True)


@given(st.sampled_from(list(REGIMES)), st.sampled_from(["upper", "lower", "title", "swapcase"]), st.sampled_from(["NFC", "NFD", "NFKD"]))
@examples(60)
def test_case_and_composition_of_accents_do_not_matter_to_a_regime(word, case, form):
    assert canonical_words.regime(unicodedata.normalize(form, getattr(word, case)())) == (REGIMES[word], True)


@pytest.mark.parametrize("word", sorted(set(garbled())))
def test_a_regime_that_was_encoded_twice_or_three_times_on_its_way_is_understood(word):
    assert canonical_words.regime(word) == ("Lévy Stable", True)


def test_the_garbled_word_of_the_field_notes_is_understood():
    assert canonical_words.regime("LÃ©vy Stable") == ("Lévy Stable", True)


@pytest.mark.parametrize("word", ["Levy stable", "levy-stable", " Lévy Stable "])
def test_a_regime_without_accents_or_with_spaces_around_is_understood(word):
    assert canonical_words.regime(word) == ("Lévy Stable", True)


@pytest.mark.parametrize("word", ["Bullish", "Поздно", "混沌", "not gaussian", "\x00"])
def test_a_regime_that_nobody_knows_is_unknown_and_said_to_be_so(word):
    assert canonical_words.regime(word) == ("Unknown", False)


@given(st.text(max_size=40))
@examples(300)
def test_no_word_makes_the_meanings_raise(word):
    assert canonical_words.regime(word)[0] in {"Gaussian", "Lévy Stable", "Critical", "Unknown"}
    assert canonical_words.status(word)[0] in {"ACTIVE", "HALT", "INITIALIZING", "SLEEPING", "OFFLINE", "UNKNOWN"}
    assert canonical_words.side(word)[0] in {"BUY", "SELL", "FLAT", None}
    ns, is_naive = canonical_words.time_ns(word, "UTC")
    assert ns is None or isinstance(ns, int)
    assert isinstance(is_naive, bool)


@pytest.mark.parametrize(
    ("word", "canonical"),
    {
        "ACTIVE": "ACTIVE",
        "active": "ACTIVE",
        "HALT": "HALT",
        "HALTED": "HALT",
        "HALTED_PHYSICS": "HALT",
        "HALTED_DRAWDOWN": "HALT",
        "HALTED_SYSTEM": "HALT",
        "halted_of_tomorrow": "HALT",
        "SYSTEM_HALT": "HALT",
        "system:halt": "HALT",
        "Event.SYSTEM_HALT": "HALT",
        "SYSTEM_RESUME": "ACTIVE",
        "SLEEPING": "SLEEPING",
        "INITIALIZING": "INITIALIZING",
        "Initializing": "INITIALIZING",
        "offline": "OFFLINE",
        "Unknown": "UNKNOWN",
        "": "UNKNOWN",
    }.items(),
)
def test_each_observed_status_is_known_by_its_canonical_name(word, canonical):
    assert canonical_words.status(word) == (canonical, True)


def test_a_status_that_nobody_knows_is_unknown_and_said_to_be_so():
    assert canonical_words.status("DREAMING") == ("UNKNOWN", False)


@pytest.mark.parametrize(
    ("word", "canonical"), [("BUY", "BUY"), ("sell", "SELL"), ("FLAT", "FLAT"), ("HOLD", "FLAT"), ("hold", "FLAT"), ("", None)]
)
def test_each_observed_side_is_known_by_its_canonical_name(word, canonical):
    assert canonical_words.side(word) == (canonical, True)


def test_a_side_that_nobody_knows_is_none_and_said_to_be_so():
    assert canonical_words.side("SHORT") == (None, False)


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [
        ("2025-12-21T12:00:00Z", 0),
        ("2025-12-21T12:00:00+00:00", 0),
        ("2025-12-21T12:00:00.5Z", 0.5),
        ("2025-12-21T14:00:00+02:00", 0),
        ("2025-12-21 12:00:00+00:00", 0),
        ("20251221T120000Z", 0),
        ("1766318400", 0),
        ("1766318400.25", 0.25),
        ("1766318400250", 0.25),
    ],
)
def test_a_stamp_with_an_offset_or_a_number_since_1970_is_that_moment(stamp, seconds):
    assert canonical_words.time_ns(stamp, "America/New_York") == (NOON + int(seconds * 10**9), False)


def test_nanoseconds_of_a_stamp_are_kept():
    assert canonical_words.time_ns("2025-12-21T12:00:00.123456789Z", "UTC") == (NOON + 123_456_789, False)
    assert canonical_words.time_ns("2025-12-21T12:00:00.1234567+00:00", "UTC") == (NOON + 123_456_700, False)


def test_a_stamp_without_offset_is_read_in_the_servers_zone():
    assert canonical_words.time_ns("2025-12-21T12:00:00", "UTC") == (NOON, True)
    assert canonical_words.time_ns("2025-12-21T07:00:00", "America/New_York") == (NOON, True)
    assert canonical_words.time_ns("2025-12-21", "UTC") == (NOON - 12 * 3600 * 10**9, True)


def test_an_ambiguous_hour_at_the_end_of_summer_time_is_the_first_one():
    first = datetime(2025, 11, 2, 5, 30, tzinfo=UTC)
    assert canonical_words.time_ns("2025-11-02T01:30:00", "America/New_York") == (int(first.timestamp()) * 10**9, True)


@given(
    st.datetimes(min_value=datetime(1700, 1, 1), max_value=datetime(2250, 1, 1)),  # noqa: DTZ001 - the zone is drawn beside it
    st.integers(-14 * 60, 14 * 60),
)
@examples(200)
def test_any_moment_with_any_offset_is_read_to_the_microsecond(moment, offset):
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=offset)))
    passed = aware - datetime(1970, 1, 1, tzinfo=UTC)
    assert canonical_words.time_ns(aware.isoformat(), "UTC") == (passed // timedelta(microseconds=1) * 1000, False)


NO_TIMES = [
    *("", "soon", "NaN", "12:00:00", "2025", "-1766318400", "２０２５-12-21T12:00:00Z", "١٧٦٦٣١٨٤٠٠"),
    *("2025-13-01T00:00:00Z", "2025-02-30T00:00:00Z", "2025-12-21T25:00:00Z", "2025-12-21T12:00:00Z" * 9),
    *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59Z", "1677-01-01T00:00:00Z", "2262-04-11T23:47:16Z"),
    *("99999999999", "9999999999999"),  # seconds of the year 5138, milliseconds of 2286
]


@pytest.mark.parametrize("stamp", NO_TIMES)
def test_what_is_no_time_or_none_that_a_frame_can_hold_is_no_time(stamp):
    assert canonical_words.time_ns(stamp, "UTC") == (None, False)


def test_a_giant_stamp_is_refused_unread():
    assert canonical_words.time_ns("2025-12-21T12:00:00." + "0" * 1_000_000 + "Z", "UTC") == (None, False)


@pytest.mark.parametrize(
    ("meaning", "word", "canonical"),
    [
        (canonical_words.status, "TradingStatus.HALTED_DRAWDOWN", "HALT"),
        (canonical_words.status, "tradingstatus.active", "ACTIVE"),
        (canonical_words.status, "<TradingStatus.ACTIVE: 'active'>", "ACTIVE"),
        (canonical_words.status, "engine.state.Status.Sleeping", "SLEEPING"),
        (canonical_words.status, "<Status.S3: 'offline'>", "OFFLINE"),
        (canonical_words.side, "Side.BUY", "BUY"),
        (canonical_words.side, "<Side.BUY: 1>", "BUY"),
        (canonical_words.side, "OrderSide.hold", "FLAT"),
        (canonical_words.regime, "MarketRegime.LEVY_STABLE", "Lévy Stable"),
        (canonical_words.regime, "Regime.LÉVY_STABLE", "Lévy Stable"),
        (canonical_words.regime, "CriticalityLevel.GAUSSIAN", "Gaussian"),
        (canonical_words.regime, "<Regime.R2: 'LÃ©vy Stable'>", "Lévy Stable"),
        (canonical_words.regime, "LÉVY STABLE (alpha 1.7)", "Lévy Stable"),
    ],
)
def test_a_printed_enum_means_the_text_behind_its_last_dot(meaning, word, canonical):
    assert meaning(word) == (canonical, True)


@pytest.mark.parametrize(
    ("meaning", "word", "canonical"),
    [
        (canonical_words.status, "TradingStatus.PAUSED", "UNKNOWN"),
        (canonical_words.side, "Side.LONG", None),
        (canonical_words.regime, "Regime.CALM", "Unknown"),
    ],
)
def test_a_printed_enum_of_an_unknown_name_is_unknown(meaning, word, canonical):
    assert meaning(word) == (canonical, False)


AT = 1_795_888_951  # 2026-11-28T18:02:31Z


@pytest.mark.parametrize(
    ("stamp", "ns"),
    [
        ("1795888951", AT * 10**9),
        ("1795888951.5", AT * 10**9 + 500_000_000),
        ("1795888951138", AT * 10**9 + 138_000_000),
        ("1795888951138.319360", AT * 10**9 + 138_319_360),
        ("1795888951138319", AT * 10**9 + 138_319_000),
        ("1795888951138319360", AT * 10**9 + 138_319_360),
        ("2026-11-28t18:02:31.138319360z", AT * 10**9 + 138_319_360),
        ("2026-11-28T18:02:31,138319360Z", AT * 10**9 + 138_319_360),
        ("2026-11-28 18:02:31 UTC", AT * 10**9),
        ("2026-11-28T18:02:31GMT", AT * 10**9),
        ("2026-11-28 18:02:31 +0000 UTC", AT * 10**9),
        ("2026-11-28T24:00:00Z", 1_795_910_400 * 10**9),
        ("2026-11-28T24:00:00.000+01:00", 1_795_906_800 * 10**9),
        ("2016-12-31T23:59:60Z", 1_483_228_800 * 10**9),
        ("2016-12-31T23:59:60.25+00:00", 1_483_228_800 * 10**9 + 250_000_000),
        ("20161231T235960Z", 1_483_228_800 * 10**9),
    ],
)
def test_stamps_of_every_kind_are_the_same_instant(stamp, ns):
    assert canonical_words.time_ns(stamp, "America/New_York") == (ns, False)


@pytest.mark.parametrize("stamp", ["now", "2026-11-28T24:00:01Z", "2026-11-28T25:00:00Z", "20261128180231", "12345678901234567", "9" * 40])
def test_what_is_no_stamp_is_no_time(stamp):
    assert canonical_words.time_ns(stamp, "UTC") == (None, False)


@pytest.mark.parametrize(
    ("value", "text"),
    [(AT, str(AT)), (AT + 0.5, f"{AT}.5"), (1.795888951138319e18, "1795888951138319104"), (1.5, None), (-1e18, None), (1e300, None)],
)
def test_a_number_since_1970_is_a_stamp_also_where_it_is_a_float(value, text):
    assert canonical_words.epoch_text(value) == text


def test_the_repeated_hour_has_a_second_reading_and_no_other_hour_has():
    first, is_naive = canonical_words.time_ns("2026-11-01T01:30:00", "America/New_York")
    assert is_naive
    assert canonical_words.second_reading("2026-11-01T01:30:00", "America/New_York") == first + 3600 * 10**9
    assert canonical_words.second_reading("2026-11-01T01:30:00", "UTC") is None
    assert canonical_words.second_reading("2026-11-01T03:30:00", "America/New_York") is None
    assert canonical_words.second_reading("2026-03-08T02:30:00", "America/New_York") is None  # the hour that is left out
    assert canonical_words.second_reading("2026-11-01T01:30:00-04:00", "America/New_York") is None
