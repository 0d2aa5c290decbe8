"""Prices and frames as users have them."""

from __future__ import annotations

import pandas as pd
import pytest

import ccwatch as cw
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
    with pytest.raises(MixedSymbols, match="symbol='SPY', or hand in the rows of one"):
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


@pytest.mark.parametrize(
    ("lines", "times", "said"),
    [
        (["05.01.2026", "06.01.2026"], ["2026-01-05", "2026-01-06"], "day and month"),
        (["05/01/2026", "13/01/2026"], ["2026-01-05", "2026-01-13"], "day and month"),
        (["01/13/2026", "02/03/2026"], ["2026-01-13", "2026-02-03"], "month and day"),
        (["1767607200", "1767607260"], ["2026-01-05 10:00", "2026-01-05 10:01"], "s since 1970"),
        (["1767607200000", "1767607260000"], ["2026-01-05 10:00", "2026-01-05 10:01"], "ms since 1970"),
        (["2026-01-05T10:00:00+01:00", "2026-07-05T10:00:00+02:00"], ["2026-01-05 09:00", "2026-07-05 08:00"], "CSV"),
    ],
)
def test_times_are_read_in_their_one_way(tmp_path, lines, times, said):
    given = read_given(csv(tmp_path, "Date,Close\n" + "".join(f"{line},{row + 1}\n" for row, line in enumerate(lines))))
    assert given.frame.index.tolist() == [pd.Timestamp(time, tz="UTC") for time in times]
    assert said in " ".join(given.said)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Date,Close\n01/02/2026,1\n02/03/2026,2\n", "day and month or month and day"),
        ("Date,Close\n1-2-26,1\n2-3-26,2\n", "day and month or month and day"),
        ("Date,Close\n13/01/2026,1\n01/14/2026,2\n", "no times of one form"),
        ("Time,Close\n10:00,1\n10:01,2\n", "no times of one form"),
        ("Date;Close\n2026-01-05;4.742\n2026-01-06;4.743\n", "could be 4.742 or 4742"),
        ("2026-01-05,1\n2026-01-06,2\n", "no line of names"),
    ],
)
def test_a_file_that_can_be_read_in_two_ways_is_refused(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        read_given(csv(tmp_path, text))


def test_what_was_taken_and_what_is_missing_is_said(tmp_path):
    given = read_given(csv(tmp_path, "# made by X\nDate,Time,Close\n2026-01-05,10:00,1\n2026-01-05,10:00,n/a\n2026-01-05,10:02,3\n"))
    assert given.frame.index.tolist() == [pd.Timestamp(f"2026-01-05 10:0{minute}", tz="UTC") for minute in (0, 0, 2)]
    said = " ".join(given.said)
    assert "'Date' with the times of column 'Time'" in said
    assert "1 of 3 values of column 'price' are missing" in said
    assert "1 of 3 rows have the time of another" in said


def test_rows_in_levels_are_of_one_symbol():
    days = pd.date_range("2026-01-02", periods=2, freq="D", tz="UTC")
    long = pd.DataFrame({"close": [1.0, 2.0, 3.0, 4.0]}, pd.MultiIndex.from_product([["SPY", "QQQ"], days], names=["symbol", "time"]))
    with pytest.raises(MixedSymbols):
        read_given(long)
    assert read_given(long, symbol="QQQ").frame["price"].tolist() == [3.0, 4.0]


def test_true_and_false_are_no_numbers():
    with pytest.raises(ConfigError, match="true and false"):
        read_given(pd.DataFrame({"close": [True, False]}))


def test_a_report_reads_files_and_series_as_a_server_of_prices_does(tmp_path):
    report = cw.analyze(csv(tmp_path, "Date;Close\n05.01.2026;1.742,5\n06.01.2026;1.700,0\n"))
    assert report.drawdowns().to_frame()["depth"].tolist() == [pytest.approx(1700 / 1742.5 - 1)]
    assert "decimal commas" in " ".join(report.said)
    assert cw.analyze(pd.Series([2.0, 1.0], pd.date_range("2026-01-02", periods=2, freq="D", tz="UTC"))).drawdowns().basis.n == 2


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"Close": [2.0, 1.0]}, pd.date_range("2026-01-02", periods=2, freq="D")),
        pd.Series([2.0, 1.0], pd.date_range("2026-01-02", periods=2, freq="D")),
        pd.DataFrame({"time": pd.date_range("2026-01-02", periods=2, freq="D"), "Schluss": [2.0, 1.0]}),
    ],
)
def test_a_file_that_pandas_wrote_is_read(tmp_path, frame):
    """With an index without a name, or numbers of rows; one column of numbers is the price."""
    frame.to_csv(tmp_path / "made.csv")
    given = read_given(tmp_path / "made.csv")
    assert given.frame["price"].tolist() == [2.0, 1.0]
    assert given.frame.index.tolist() == [pd.Timestamp(f"2026-01-0{day}", tz="UTC") for day in (2, 3)]
    assert "the first column, which has no name" in " ".join(given.said)


def test_a_file_without_times_is_refused_by_a_report(tmp_path):
    with pytest.raises(ConfigError, match="has no column time, date, datetime or timestamp; its columns: price"):
        cw.analyze(csv(tmp_path, "Close\n2\n1\n"))


def test_a_report_of_one_of_several_symbols(tmp_path):
    path = csv(tmp_path, "Date,Ticker,Close\n2026-01-02,SPY,1.0\n2026-01-02,QQQ,2.0\n2026-01-05,SPY,0.5\n2026-01-05,QQQ,1.5\n")
    assert cw.analyze(path, symbol="SPY").drawdowns().to_frame()["depth"].tolist() == [-0.5]
    assert cw.analyze(path, symbol="QQQ").drawdowns().to_frame()["depth"].tolist() == [-0.25]
    packets = [pd.Timestamp("2026-01-02T14:30:00Z") + pd.Timedelta(seconds=second) for second in range(4)]
    frame = pd.DataFrame({"symbol": ["SPY", "QQQ"] * 2, "price": [4.0, 8.0, 3.0, 4.0]}, packets)
    report = cw.analyze(frame)
    with pytest.raises(MixedSymbols):
        report.explain("14:30:02")
    assert cw.analyze(report, symbol="QQQ").drawdowns().to_frame()["depth"].tolist() == [-0.5]
    assert cw.analyze(report, symbol="SPY").between(packets[0], packets[-1]).drawdowns().to_frame()["depth"].tolist() == [-0.25]
    assert cw.compare(frame, frame, symbol="SPY").basis.n
