from __future__ import annotations

import numpy as np
import pytest

from ccwatch.analysis import Report, alpha, hill
from ccwatch.errors import MissingColumns, NotEnoughData


def prices(tail, count, seed=3):
    rng = np.random.default_rng(seed)
    return 100.0 * np.exp(np.cumsum(1e-4 * (rng.pareto(tail, count) + 1.0) * rng.choice([-1.0, 1.0], count)))


def test_each_window_has_hills_estimate_and_its_exact_interval(rows):
    price = prices(1.7, 1200)
    found = alpha(rows(price=price), window=300, k=40, every=100)
    returns = np.abs(np.diff(np.log(price)))
    for place, row in enumerate(found.to_frame().to_dict("records")):
        expected = hill(returns[100 * place : 100 * place + 300], 40)
        assert (row["hill"], row["low"], row["high"]) == pytest.approx((expected.alpha, expected.low, expected.high), rel=1e-9)
    assert found.whole.low < 1.7 < found.whole.high


def test_a_regime_is_undecided_where_the_interval_covers_a_cut_off(rows):
    table = alpha(rows(price=prices(1.7, 4000)), window=400, k=40).to_frame()
    covers = [(low < 1.5 < high) or (low < 2.0 < high) for low, high in zip(table["low"], table["high"], strict=True)]
    assert (table["regime"] == "undecided").tolist() == covers
    assert any(covers)
    clear = alpha(rows(price=prices(0.6, 4000)), window=2000, k=1000, every=500).to_frame()
    assert set(clear["regime"]) == {"Critical"}


def test_the_engines_alpha_is_held_against_the_interval_and_its_sentinels_are_marked(rows):
    engine = np.where(np.arange(1000) < 600, 1.7, 3.0)
    found = alpha(rows(price=prices(1.7, 1000), alpha=engine), window=200, k=60)
    table = found.to_frame()
    late = table["engine_alpha"] == 3.0
    assert table["sentinel"].tolist() == late.tolist()
    assert not table[late]["agrees"].any()
    assert table[~late]["agrees"].mean() > 0.7
    at = found.sentinels.set_index("value").loc[3.0]
    assert (at["n"], at["longest_s"]) == (400, 399.0)


def test_no_return_is_made_across_a_gap(rows):
    price = np.append(np.linspace(100.0, 101.0, 300), np.linspace(200.0, 201.0, 300))
    found = alpha(rows(price=price, times=[*range(300), *range(900, 1200)]), window=100)
    assert found.basis.n == 598
    assert found.whole.threshold < 1e-4


def test_a_constant_price_has_no_tail_and_says_so(rows):
    found = alpha(rows(price=np.full(500, 7.0)))
    assert found.whole is None
    assert found.to_frame()["hill"].isna().all()
    assert found.to_frame()["reason"].str.contains("fewer").all()
    assert found.headline().startswith("The recorded returns give no tail index")


def test_what_is_missing_is_named(rows):
    with pytest.raises(NotEnoughData, match="200 returns"):
        alpha(rows(price=[1.0, 2.0, 3.0]))
    with pytest.raises(MissingColumns, match="price"):
        alpha(rows(nav=[1.0, 2.0, 3.0]))
    with pytest.raises(ValueError, match="k=0"):
        alpha(rows(price=np.ones(300)), k=0)


def test_a_report_asks_it(stream):
    assert Report(stream("calm", count=400)).alpha().basis.n == 399
