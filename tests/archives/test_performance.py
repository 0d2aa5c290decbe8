from __future__ import annotations

from datetime import date, timedelta

import empyrical
import numpy as np
import pandas as pd
import pytest

import ccwatch as cw
from ccwatch.archives import Archive
from ccwatch.archives.performance import measures, of_closes
from ccwatch.errors import ConfigError, NotEnoughData
from tests.archives.seeded import items_of, write


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    """Eight days of one desk, over two weeks, with two of them missing."""
    root = tmp_path_factory.mktemp("days")
    for n in range(8):
        if n not in {2, 3}:
            day = date(2026, 3, 2) + timedelta(days=n)
            write(root / f"{day:%Y%m%d}", items_of(n, 60, day=day), url="ws://x")
    return Archive(root)


def test_measures_are_empyricals_to_1e9():
    returns = np.random.default_rng(1).normal(1e-3, 1e-2, 250)
    found = measures(returns, 252).set_index("metric")["value"]
    for name, expected in {
        "sharpe": empyrical.sharpe_ratio(returns, annualization=1),
        "sharpe_annual": empyrical.sharpe_ratio(returns),
        "sortino": empyrical.sortino_ratio(returns, annualization=1),
        "sortino_annual": empyrical.sortino_ratio(returns),
        "max_drawdown": empyrical.max_drawdown(returns),
        "total_return": empyrical.cum_returns_final(returns),
        "volatility": empyrical.annual_volatility(returns, annualization=1),
        "hit_rate": (returns > 0).mean(),
    }.items():
        assert found[name] == pytest.approx(expected, abs=1e-9), name


@pytest.mark.slow
def test_days_without_a_recording_are_holes_and_returns_multiply_up(days):
    found = days.performance()
    table = found.to_frame()
    assert table["is_hole"].tolist() == [False] * 2 + [True] * 2 + [False] * 4
    assert table.loc[table["is_hole"], ["equity", "return", "drawdown", "pnl", "worst"]].isna().all(axis=None)
    assert table["spans"].tolist() == [1] * 2 + [0] * 2 + [3] + [1] * 3
    navs = [cw.open_recording(path).frame(["nav"])["nav"].dropna() for path in days.sessions["path"]]
    assert found.total_return == pytest.approx(navs[-1].iloc[-1] / navs[0].iloc[0] - 1.0, abs=1e-12)
    np.testing.assert_allclose(table["equity"].dropna(), [nav.iloc[-1] for nav in navs])
    assert found.sharpe == pytest.approx(empyrical.sharpe_ratio(found.returns, annualization=1), abs=1e-9)
    assert found.max_drawdown == pytest.approx(empyrical.max_drawdown(found.returns), abs=1e-9)
    assert found.by_regime["change_usd"].sum() == pytest.approx(navs[-1].iloc[-1] - navs[0].iloc[0], abs=0.01 * len(navs))
    for shown in (found.headline(), found.to_markdown(), found._repr_html_()):
        assert "without a recording" in shown
    found.figure()
    with pytest.raises(AttributeError):
        _ = found.nothing


@pytest.mark.slow
def test_weeks_months_and_sessions_add_up_to_the_same(days):
    whole = days.performance().total_return
    for by, rows in (("week", 2), ("month", 1), ("session", 6)):
        found = days.performance(by=by)
        assert len(found.to_frame()) == rows
        assert found.total_return == pytest.approx(whole, abs=1e-12)
    with pytest.raises(ConfigError, match="expected one of day"):
        days.performance(by="year")


@pytest.mark.slow
def test_several_desks_are_one_portfolio(made):
    archive = Archive(made.root)
    found = archive.performance()
    assert found.desks == 3
    sums = sum(
        archive.filter(where=lambda frame, url=url: frame["url"] == url).performance().to_frame()["pnl"].sum()
        for url in archive.sessions["url"].unique()
        if url
    )
    assert found.to_frame()["pnl"].sum() == pytest.approx(sums)


def test_a_desk_that_did_not_record_a_day_keeps_its_part_of_the_portfolio():
    days = pd.date_range("2026-03-02", periods=4, freq="D", tz="UTC")
    navs = {"paris": [101.0, 99.0, 103.0, 104.0], "london": [202.0, None, 198.0, 204.0], "tokyo": [None, None, 50.0, 40.0]}
    first = {"paris": 100.0, "london": 200.0, "tokyo": 60.0}
    closes = pd.DataFrame(
        [
            {"period": day, "desk": desk, "begin": day, "first": first[desk], "last": nav, "worst": 0.0, "packets": 1, "halts": 0}
            for desk, each in navs.items()
            for day, nav in zip(days, each, strict=True)
            if nav is not None
        ]
    )
    found = of_closes(closes, "day")
    held = pd.DataFrame(navs, index=days).ffill().fillna(pd.Series(first)).sum(axis=1)
    np.testing.assert_allclose(found["equity"], held)
    np.testing.assert_allclose(found["return"], held / held.shift(1, fill_value=360.0) - 1.0)
    assert np.prod(1.0 + found["return"]) - 1.0 == pytest.approx(found["pnl"].sum() / 360.0)


def test_few_returns_have_no_interval_and_no_nav_is_an_error(tmp_path):
    few = measures(np.array([0.01, -0.01, 0.02]), 252).set_index("metric")
    assert few.loc["sharpe", "reason"] == "n too small: 3 of 10"
    assert np.isnan(few.loc["sharpe", "low"])
    assert np.isfinite(few.loc["sharpe", "value"])
    items = items_of(1, 20, edit=lambda raw: raw.replace(b'"nav"', b'"net"'))
    write(tmp_path / "a", items, url="ws://x")
    with pytest.raises(NotEnoughData, match="carries a nav"):
        cw.archive(tmp_path).performance()


@pytest.mark.slow
def test_the_page_is_offline_whole_and_escaped(days, tmp_path):
    archive = days.filter(start="2026-03-03", end="2026-03-06")  # a day, the hole, and a day
    page = archive.to_html(tmp_path / "archive.html")
    text = page.read_text()
    for word in ("Equity", "<polyline", "without a recording", "Alerts and quality by day", "SYNTHETIC"):
        assert word in text
    assert "http" not in text.replace("http-equiv", "")
    assert "<script" not in text
    links = [part.partition('"')[0] for part in text.split('href="')[1:]]
    assert links
    assert all((tmp_path / link).is_file() for link in links)
    hidden = archive.to_html(tmp_path / "shared.html", drop=["nav"]).read_text()
    assert "Left out: the money" in hidden
    assert "USD" not in hidden
    with pytest.raises(ConfigError):
        archive.to_html(tmp_path / "x.html", drop=["weather"])
    with pytest.raises(ConfigError):
        archive.to_html(tmp_path / "x.txt")


@pytest.mark.slow
def test_a_name_is_text_on_the_page_and_on_the_card(tmp_path):
    odd = "<img src=x onerror=alert(1)>"
    write(tmp_path / "r" / odd, items_of(6, 60, scenario="calm"), url="ws://x", tags=[odd])
    archive = cw.archive(tmp_path / "r")
    for text in (archive.to_html(tmp_path / "a.html").read_text(), archive._repr_html_()):
        assert odd not in text
    assert pd.notna(archive.performance().total_return)
