from __future__ import annotations

import pandas as pd
import pytest

import ccwatch as cw
from ccwatch.alerts import Certificates
from ccwatch.errors import ConfigError
from ccwatch.guard.backtest import opened
from ccwatch.guard.suggest import suggest
from ccwatch.guard.tuning import Session, trading_days

DEEP = cw.Rule("deep", "drawdown_peak <= -1%")
NEVER = cw.Rule("never", "price < 0.5")


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    root = tmp_path_factory.mktemp("recordings")
    for seed in range(7):
        scenario = "calm" if seed == 3 else "drawdown-halt"
        feed = cw.synthetic(seed=seed, scenario=scenario, packets=240, pace="max", name=f"backtest {seed}")
        with feed, cw.record(feed, root, name=f"s{seed}"):
            feed.join(30)
    return root


@pytest.mark.slow
def test_a_rule_is_tried_on_incidents_and_its_certificate_holds_until_it_is_edited(desk):
    found = cw.backtest([DEEP, NEVER], desk)
    table = found.to_frame().set_index("rule")
    assert (table.loc["deep", "caught"], table.loc["deep", "missed"], table.loc["deep", "false_alarms"]) == (6, 0, 0)
    assert (table.loc["never", "caught"], table.loc["never", "missed"]) == (0, 6)
    assert table.loc["deep", "lead_s"] > 0
    assert str(found).startswith("An incident is a drawdown")
    certificate = found.certificate(DEEP)
    assert str(certificate) == "6 of 6, 0 false a day, 7 sessions"
    found.keep(desk)
    kept = Certificates(desk)
    assert kept.text_of(DEEP) == str(certificate)
    edited = cw.Rule("deep", "drawdown_peak <= -1.1%")
    assert kept.text_of(edited) == "never tested"
    with pytest.raises(ConfigError, match="was edited"):
        found.certificate(edited)


@pytest.mark.slow
def test_a_limit_is_chosen_on_one_half_and_judged_on_the_other(desk):
    curve = cw.backtest([DEEP], desk).curve("deep")
    assert curve["chosen"].sum() == 1
    assert curve.iloc[-1]["caught"] == 0.0, "a limit below the deepest drawdown catches nothing"
    assert {"judged_caught", "caught_low", "caught_high", "false_low", "false_high"} <= set(curve.columns)
    assert (curve["caught_low"] <= curve["judged_caught"]).all()


@pytest.mark.slow
def test_under_five_incidents_there_is_no_curve_but_the_list(desk):
    found = cw.backtest(DEEP, desk, incidents=["2026-01-02T14:33:00Z"])
    assert {i.kind for i in found.incidents} == {"given"}
    few = cw.backtest(DEEP, min(desk.glob("2*")))
    with pytest.raises(ConfigError, match="too few"):
        few.curve("deep")


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong",
    [
        {"incidents": "deep"},
        {"incidents": 0.02},
        {"horizon": "soon"},
        {"rules": []},
        {"incidents": ["yesterday-ish"]},
        {"incidents": [5]},
        {"rules": "deep"},
        {"rules": [DEEP, "deep"]},
        {"recordings": 3},
        {"recordings": {"a": 1}},
    ],
)
def test_what_cannot_be_tried_is_refused(desk, wrong):
    with pytest.raises(ConfigError):
        cw.backtest(**({"rules": [DEEP], "recordings": desk} | wrong))


@pytest.mark.slow
def test_an_archive_and_its_list_are_tried_as_their_folder_is(desk):
    by_folder = cw.backtest(DEEP, desk).to_frame()
    pd.testing.assert_frame_equal(cw.backtest(DEEP, cw.archive(desk)).to_frame(), by_folder)
    pd.testing.assert_frame_equal(cw.backtest(DEEP, cw.recordings(desk)).to_frame(), by_folder)


@pytest.mark.slow
def test_a_moment_that_no_recording_holds_is_named(desk):
    assert "In no recording, and left out: 1999-12-31T00:00:00+00:00." in cw.backtest(DEEP, desk, incidents=["1999-12-31"]).definition


def test_days_are_counted_once_though_a_recording_is_cut_and_each_of_sessions_side_by_side():
    def session(first, last, *days):
        return Session("s", days, (first, last), (), {})

    assert trading_days([session(0, 5, 0), session(5, 9, 0)]) == 1, "one day in two recordings"
    assert trading_days([session(0, 9, 0), session(0, 9, 0), session(0, 4, 0)]) == 3, "seeded sessions of one date"
    assert trading_days([session(0, 12, 0, 10), session(13, 19, 10)]) == 2


@pytest.mark.slow
def test_limits_are_suggested_from_calm_sessions_alone(desk):
    found = suggest(opened([desk]))
    assert len(found.calm) == 1
    assert len(found.others) == 6
    table = found.rules.set_index("name")
    assert table.loc["drawdown-peak", "worst"] > -0.015
    for when in table["when"]:
        cw.Rule("suggested", when)
