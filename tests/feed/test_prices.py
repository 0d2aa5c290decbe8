"""Given prices: each becomes the price of one packet, exactly, from whatever they are given in."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import ccwatch as cw
from ccwatch.errors import ConfigError
from ccwatch.feed.prices import read_prices

PRICES = [4450.3198, 4451.0, 4449.25, 4452.5, 4460.125]


@pytest.mark.parametrize(
    "given",
    [
        PRICES,
        tuple(PRICES),
        np.array(PRICES),
        pd.Series(PRICES),
        pd.DataFrame({"when": list("abcde"), "Close": PRICES, "volume": 1}),
        pd.DataFrame({"spx": PRICES}),
        pd.DataFrame({"price": PRICES, "close": 1.0}),
    ],
)
def test_prices_are_read_from_what_they_are_usually_held_in(given):
    assert read_prices(given) == tuple(PRICES)


def test_prices_are_read_from_a_csv_file(tmp_path):
    path = tmp_path / "prices.csv"
    pd.DataFrame({"date": pd.date_range("2026-01-02", periods=5), "Adj Close": PRICES}).to_csv(path, index=False)
    assert read_prices(path) == read_prices(str(path)) == tuple(PRICES)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "there are none"),
        ([450.0, float("nan")], "got nan in row 1"),
        ([450.0, 0.5], "from 1 USD, got 0.5 in row 1"),
        (["a"], "got 'a' in row 0"),
        (7, "expected a DataFrame"),
        (pd.DataFrame({"a": [1.0], "b": [2.0]}), "expected a column price, close"),
        ("nowhere.csv", "cannot be read as CSV"),
    ],
)
def test_what_can_be_no_prices_is_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        read_prices(given)


def test_a_stream_of_given_prices_has_each_exactly_once_and_ends_with_them():
    with cw.synthetic(prices=PRICES, symbol="SPX", pace="max") as feed:
        assert feed.join(10)
        frame = feed.frame()
    assert frame.price.tolist() == PRICES
    assert set(frame.symbol) == {"SPX"}
    assert feed.origin == "synthetic"
    assert frame.velocity.abs().max() < 10, "the filter begins at the first of them"


def test_a_cottage_streams_given_prices():
    with cw.serve(prices=PRICES, pace="max") as cottage, cw.connect(cottage.url) as feed:
        assert feed.wait(6).frame().price.tolist() == PRICES
