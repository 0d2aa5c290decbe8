from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ccwatch.alerts import DEFAULT_RULES, Rule
from ccwatch.analysis import Report, alerts
from ccwatch.errors import NotEnoughData
from ccwatch.feed.scenarios import planted


def found(source, **options):
    return alerts(source.frame(clean=False), source.events(), source.agents(), source.models(), **options)


@pytest.mark.slow
def test_a_planted_halt_is_found_with_its_lead_time_to_the_trough(stream, at):
    answer = found(stream("drawdown-halt", count=400))
    firings = answer.to_frame().set_index("rule")
    halt_s = next(i.start_s for i in planted("drawdown-halt") if i.kind == "halt")
    assert firings.loc["halt", "fired_time"] == at(halt_s)
    assert pd.isna(firings.loc["halt", "resolved_time"])
    warned = firings.loc["drawdown-peak-1.5"]
    assert warned["fired_time"] == at(167)
    assert warned["lead_s"] == 13.0
    assert not warned["false_alarm"]
    assert answer.troughs["trough_time"].tolist() == [at(180)]


@pytest.mark.slow
def test_an_alarm_that_no_trough_followed_is_false_only_if_the_stream_went_on_for_long_enough(stream):
    source = stream("regime-flip", count=400)
    early = found(source, within_s=100.0).to_frame()
    assert early[early["rule"] == "critical"]["false_alarm"].tolist() == [True]
    late = found(source, within_s=900.0).to_frame()
    assert late[late["rule"] == "critical"]["false_alarm"].isna().all()


@pytest.mark.slow
def test_a_rule_about_the_stream_is_no_false_alarm_of_a_drawdown(stream, at):
    firings = found(stream("gap", count=400), within_s=10.0).to_frame()
    late = firings[firings["rule"] == "late"]
    assert late["fired_time"].tolist() == [at(92)]
    assert late["resolved_time"].tolist() == [at(120)]
    assert late["false_alarm"].isna().all()


def test_no_data_stands_in_the_answer_with_its_reason(rows):
    answer = alerts(rows(price=[1.0, 2.0, 3.0]))
    heard = answer.rules.set_index("rule")
    assert heard.loc["halt", "state"] == "NO_DATA"
    assert heard.loc["halt", "reason"]
    assert heard.loc["stale", "state"] == "OK"
    assert set(heard.index) == {rule.name for rule in DEFAULT_RULES}
    assert any("without data" in note for note in answer.notes)


def test_a_stream_that_ends_in_silence_is_stale_at_its_end(rows):
    frame = rows(price=np.ones(30), seq=np.arange(1, 31, dtype=np.uint64))
    events = pd.DataFrame(
        {"seq": np.array([30], dtype=np.uint64), "kind": ["stale"], "detail": [""]}, index=[frame.index[-1] + pd.Timedelta(seconds=30)]
    )
    events.index = pd.DatetimeIndex(events.index)
    firings = alerts(frame, events).to_frame().set_index("rule")
    assert firings.loc["stale", "fired_time"] == frame.index[-1] + pd.Timedelta(seconds=10)
    assert firings.loc["stale", "duration_s"] == 20.0


@pytest.mark.slow
def test_rules_and_objectives_of_ones_own_are_used(stream):
    rule = Rule("mine", "drawdown_start", -0.001, "a tenth of a percent", below=True)
    assert set(found(stream("drawdown-halt", count=400), rules=[rule]).to_frame()["rule"]) == {"mine"}
    slow = found(stream("slow-agent", count=400), objectives={"risk": 20.0}).to_frame()
    assert slow[slow["rule"] == "latency-1.5x"]["subject"].tolist() == ["RiskAgent"]


def test_a_stream_without_packets_cannot_be_judged(rows):
    with pytest.raises(NotEnoughData):
        alerts(rows(price=[]))


def test_the_report_judges_by_the_settings(stream, monkeypatch):
    monkeypatch.setenv("CCWATCH_OBJECTIVES", "RiskAgent=20")
    firings = Report(stream("slow-agent", count=400)).alerts().to_frame()
    assert "RiskAgent" in set(firings["subject"])
    assert "FinBERT" not in set(firings["subject"])


def test_a_trading_day_over_midnight_is_one_day_where_the_settings_say_so(tmp_path, monkeypatch):
    index = pd.DatetimeIndex(["2026-01-05T23:00Z", "2026-01-05T23:30Z", "2026-01-06T01:00Z"], name="time")
    frame = pd.DataFrame({"nav": [99.0, 100.0, 97.9]}, index=index)
    monkeypatch.chdir(tmp_path)
    deep = "drawdown-peak-2"
    assert deep not in set(Report(frame).alerts().firings["rule"]), "days of UTC"
    (tmp_path / "ccwatch.toml").write_text('[hours]\ntimezone = "UTC"\nopen = "22:00"\nclose = "04:00"\n')
    assert deep in set(Report(frame).alerts().firings["rule"])


@pytest.mark.slow
def test_the_desks_own_rules_judge_a_recording_as_they_judge_a_live_stream(stream, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ccwatch.toml").write_text('[[rules]]\nname = "any-fall"\nwhen = "drawdown_peak < -0.01%"\nhours = "always"\n')
    source = stream("drawdown-halt", count=200)
    answer = Report(source).alerts()
    heard = answer.rules.set_index("rule")
    assert heard.loc["any-fall", "n"] >= 1
    assert heard.loc["any-fall", "meaning"] == "drawdown_peak < -0.01%"
    assert set(heard.index) == {*(rule.name for rule in DEFAULT_RULES), "any-fall"}
    assert "any-fall" in str(answer.to_dict())
    only = Report(source).alerts(rules=[Rule("deep", "drawdown_peak", -0.5, "", below=True)])
    assert set(only.rules["rule"]) == {"deep"}
