from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import ccwatch as cw
from ccwatch.analysis import Report, timeline
from ccwatch.analysis.timeline import KINDS
from ccwatch.errors import NotEnoughData
from ccwatch.feed.scenarios import planted
from ccwatch.recording import Mark


def seconds(answer, kind, start):
    mine = answer.events[answer.events["kind"] == kind]
    return [(time - start).total_seconds() for time in mine["time"]]


def test_planted_flips_are_in_the_timeline_at_their_times(stream, at):
    answer = Report(stream("regime-flip", count=400)).timeline()
    assert seconds(answer, "regime", at(0)) == [i.start_s for i in planted("regime-flip")][1:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "kind", "incident"),
    [("drawdown-halt", "status", "halt"), ("gap", "gap end", "gap"), ("drawdown-halt", "drawdown trough", "halt")],
)
def test_a_planted_incident_stands_at_its_time(stream, at, scenario, kind, incident):
    truth = next(i for i in planted(scenario) if i.kind == incident)
    expected = truth.end_s if incident == "gap" else truth.start_s
    assert expected in seconds(Report(stream(scenario, count=400)).timeline(), kind, at(0))


@pytest.mark.slow
def test_a_slow_agent_begins_and_ends_in_the_timeline_near_the_planted_times(stream, at):
    answer = Report(stream("slow-agent", count=400)).timeline()
    truth = planted("slow-agent")[0]
    assert 0 <= seconds(answer, "slow", at(0))[0] - truth.start_s < 10
    assert 0 <= seconds(answer, "slow end", at(0))[0] - truth.end_s < 10
    assert answer.events[answer.events["kind"] == "slow"]["subject"].tolist() == ["RiskAgent"]


def test_two_events_of_one_packet_are_marked_as_without_order(stream, at):
    events = Report(stream("drawdown-halt", count=400)).timeline().to_frame()
    halt = events[events["time"] == at(180)]
    assert {"status", "regime", "signal", "drawdown trough"} <= set(halt["kind"])
    assert halt["same_packet"].all()
    assert not events[events["time"] == at(210)]["same_packet"].any()


def test_the_timeline_is_in_order_and_knows_its_kinds(stream):
    events = Report(stream("drawdown-halt", count=400)).timeline().to_frame()
    assert events["time"].is_monotonic_increasing
    assert list(events["kind"].cat.categories) == list(KINDS)
    assert events["kind"].notna().all()


def test_a_log_line_stands_once_at_its_own_time(rows):
    frame = rows(price=[1.0, 2.0, 3.0], seq=np.arange(1, 4, dtype=np.uint64))
    own = pd.DatetimeIndex([frame.index[0], frame.index[0], pd.NaT])
    logs = pd.DataFrame(
        {"seq": np.array([2, 3, 3], dtype=np.uint64), "level": ["ERROR"] * 3, "message": ["boom", "boom", "boom"], "log_time": own},
        index=frame.index[[1, 2, 2]],
    )
    events = timeline(frame, logs=logs).to_frame()
    assert events["time"].tolist() == [frame.index[0], frame.index[2]]
    assert set(events["kind"]) == {"error log"}


def test_what_the_stream_does_not_carry_is_a_note_and_the_rest_stands(rows):
    answer = timeline(rows(nav=[100.0, 90.0, 101.0]))
    assert answer.events["kind"].tolist() == ["drawdown start", "drawdown trough", "recovery"]
    assert any("regime" in note for note in answer.notes)
    assert any("latency" in note for note in answer.notes)


def test_several_symbols_are_a_note_for_what_needs_one(rows):
    answer = timeline(
        rows(nav=[1.0, 1.0], price=[1.0, 2.0], symbol=["SPY", "QQQ"], regime=["Gaussian", "Critical"], status=["ACTIVE", "HALT"])
    )
    assert answer.events["kind"].tolist() == ["status"]
    assert any("SPY" in note for note in answer.notes)


def test_a_flip_across_a_gap_says_that_nobody_saw_when(rows):
    answer = timeline(rows(regime=["Gaussian"] * 10 + ["Critical"] * 3, times=[*range(10), 60, 61, 62]))
    assert "somewhere in a gap" in answer.events[answer.events["kind"] == "regime"]["detail"].iloc[0]


def test_marks_of_the_events_and_beside_the_data_are_there_once(stream):
    source = stream("calm", count=60)
    time = source.frame().index[10]

    class Marked(type(source)):
        marks = (Mark(time.value, "look here"),)

    events = Report(Marked(source.items)).timeline().to_frame()
    assert events[events["kind"] == "mark"]["detail"].tolist() == ["look here"]


def test_an_empty_stream_has_no_timeline(rows):
    with pytest.raises(NotEnoughData):
        timeline(rows(price=[]))


def test_a_page_lists_what_is_rare_before_what_is_common():
    """Of a hundred events a page shows twenty: a mark and a halt are among them, whatever the warnings before them."""
    logs = pd.DataFrame(
        {"seq": np.arange(1, 61, dtype=np.uint64), "level": "WARNING", "message": "slow", "log_time": pd.NaT},
        index=pd.date_range("2026-01-02T14:30:00Z", periods=60, freq="s", unit="ns", name="time"),
    )
    packets = pd.DataFrame({"seq": logs["seq"], "price": 100.0, "status": ["ACTIVE"] * 50 + ["HALT"] * 10}, index=logs.index)
    found = timeline(packets, logs=logs, marks=[(logs.index[55].value, "why?")])
    assert set(found.listed()["kind"].head(2)) == {"status", "mark"}
    assert "why?" in found.to_markdown()
    assert found.to_frame()["time"].is_monotonic_increasing


def bursts_of(rows, *words, every=5.0):
    """One burst of packets, some milliseconds apart, for each tuple of status words."""
    times = [n * every + place * 0.003 for n, burst in enumerate(words) for place in range(len(burst))]
    return rows(status=pd.Categorical([word for burst in words for word in burst]), price=np.full(len(times), 100.0), times=times)


def test_a_burst_has_the_worst_of_its_statuses_and_does_not_flicker(rows):
    halted = ("HALT", "ACTIVE"), ("ACTIVE", "HALT"), ("HALT", "ACTIVE")
    found = timeline(bursts_of(rows, ("ACTIVE", "ACTIVE"), *halted, ("ACTIVE", "ACTIVE")))
    changes = found.events[found.events["kind"] == "status"]
    assert changes["detail"].tolist() == ["ACTIVE → HALT", "HALT → ACTIVE"]
    assert found.statuses["status"].tolist() == ["ACTIVE", "HALT", "ACTIVE"]
    assert found.statuses["n"].tolist() == [1, 3, 1]
    assert found.listed()["detail"].iloc[0] == "ACTIVE → HALT"


def test_an_unreadable_status_is_reported_as_that(rows):
    frame = bursts_of(rows, ("ACTIVE",), ("UNKNOWN", "ACTIVE"), ("ACTIVE",))
    found = timeline(frame)
    assert "could not be read" in found.events["detail"].iloc[0]
    assert any("could not be read" in note for note in found.notes)
    said = " ".join(sentence for _, sentence in cw.analyze(frame).what_happened()).lower()
    assert "whether the engine halted is not known" in said
    assert "did not halt" not in said


@pytest.mark.slow
def test_that_nothing_happened_is_said_only_of_what_was_received(rows):
    frame = rows(price=np.full(30, 100.0), status=["ACTIVE"] * 30, times=[*range(15), *range(100, 115)])
    assert "the engine did not halt in what was received" in " ".join(heard for _, heard in cw.analyze(frame).what_happened()).lower()
    assert "carried no status" in " ".join(heard for _, heard in cw.analyze(frame.drop(columns="status")).what_happened()).lower()
    halted = cw.analyze(frame.assign(status="HALT"))
    assert "halted when the stream began" in " ".join(heard for _, heard in halted.what_happened())


def test_trades_stand_at_their_own_time(rows):
    frame = rows(price=np.full(5, 100.0), status=["ACTIVE"] * 5)
    trades = pd.DataFrame(
        {"seq": [3], "id": ["a"], "symbol": ["SPY"], "side": ["BUY"], "quantity": [12.0], "price": [450.25], "status": ["FILLED"]},
        index=frame.index[[2]],
    )
    (row,) = timeline(frame, trades=trades).events.query("kind == 'trade'").to_dict("records")
    assert (row["subject"], row["detail"], row["value"]) == ("BUY", "12 SPY at 450.25 FILLED", 450.25)
