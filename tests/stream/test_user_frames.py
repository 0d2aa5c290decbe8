"""Prices and frames as users have them."""

from __future__ import annotations

import pandas as pd
import pytest

from ccwatch.errors import ConfigError, MixedSymbols
from ccwatch.stream.user_frames import read_given


def csv(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "prices.csv"
    path.write_text(text, encoding=encoding)
    return path


def test_a_european_file_has_its_numbers_and_its_order(tmp_path):
    given = read_given(csv(tmp_path, "Date;Close\n2026-01-05;1.742,83\n2026-01-02;742,5\n", "utf-8-sig"))
    assert given.frame["price"].tolist() == [742.5, 1742.83]
    assert given.frame.index.is_monotonic_increasing
    said = " ".join(given.said)
    assert "newest came first" in said
    assert "decimal commas" in said
    assert "UTC" in said


def test_an_english_file_has_its_thousands(tmp_path):
    given = read_given(csv(tmp_path, 'time,price\n2026-01-02T14:30:00Z,"1,742.83"\n2026-01-02T14:30:01Z,"742.5"\n'))
    assert given.frame["price"].tolist() == [1742.83, 742.5]


@pytest.mark.parametrize("values", [["1,001", "1,002"], ["999,001"]])
def test_what_could_be_read_in_two_ways_is_refused(values):
    with pytest.raises(ConfigError, match="could be"):
        read_given(pd.DataFrame({"price": values}))


def test_what_is_no_number_is_refused():
    with pytest.raises(ConfigError, match="got 'n/b' in row 1"):
        read_given(pd.DataFrame({"price": ["1.5", "n/b"]}))
    with pytest.raises(ConfigError, match="expected a DataFrame"):
        read_given(3)


def test_several_symbols_are_never_chained(tmp_path):
    long = "Date,Ticker,Close\n2026-01-02,SPY,1.0\n2026-01-02,QQQ,2.0\n2026-01-05,SPY,1.5\n"
    with pytest.raises(MixedSymbols):
        read_given(csv(tmp_path, long))
    assert read_given(csv(tmp_path, long), symbol="SPY").frame["price"].tolist() == [1.0, 1.5]
    with pytest.raises(ConfigError, match="SPY, QQQ"):
        read_given(csv(tmp_path, long), symbol="IWM")


def test_columns_in_levels_are_of_one_symbol():
    days = pd.date_range("2026-01-02", periods=2, freq="D")
    wide = pd.DataFrame([[1.0, 2.0], [3.0, 4.0]], index=days, columns=pd.MultiIndex.from_tuples([("Close", "SPY"), ("Close", "QQQ")]))
    with pytest.raises(MixedSymbols):
        read_given(wide)
    assert read_given(wide, symbol="QQQ").frame["price"].tolist() == [2.0, 4.0]
    assert read_given(wide.iloc[:, :1]).frame["price"].tolist() == [1.0, 3.0]


def test_series_and_numbers_are_prices():
    assert read_given([1, 2.5]).frame["price"].tolist() == [1.0, 2.5]
    assert read_given(pd.Series([1.0, 2.0], name="nav")).frame["nav"].tolist() == [1.0, 2.0]
