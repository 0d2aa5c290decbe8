from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from ccwatch.figures.figure_data import NONE, STATUS_WORDS, Carry, Names, zone_label, zone_shift
from ccwatch.figures.prepare import gap_seqs, prepare
from ccwatch.stream import dataframes

START_NS = pd.Timestamp("2026-01-02T14:30", tz="UTC").value


def packets(count: int, **columns: object) -> pd.DataFrame:
    """A packets frame as a feed makes it, one row a second, with the given columns laid over plain values."""
    values: dict[str, object] = {
        "time_ns": START_NS + np.arange(count, dtype=np.int64) * 1_000_000_000,
        "seq": np.arange(1, count + 1),
        "connection": np.ones(count),
        "symbol": ["SPY"] * count,
        "regime": ["Gaussian"] * count,
        "side": ["FLAT"] * count,
        "price": np.arange(count) + 100.0,
        "alpha": np.full(count, 2.5),
        "nav": np.full(count, 1000.0),
        "max_drawdown": np.zeros(count),
        "confidence": np.full(count, 0.5),
        "approved_size": np.full(count, 0.1),
        "reasoning": [None] * count,
    }
    values.update(columns)
    return dataframes.build("packets", values, [name for name in values if name != "time_ns"])


def events(*rows: tuple[int, str]) -> pd.DataFrame:
    return dataframes.build(
        "events",
        {
            "time_ns": np.full(len(rows), START_NS),
            "seq": np.array([seq for seq, _ in rows]),
            "kind": [kind for _, kind in rows],
            "detail": [""] * len(rows),
        },
    )


NO_GAPS = np.empty(0, dtype=np.uint64)


@pytest.mark.parametrize("kind", ["gap", "disconnect", "stale"])
def test_the_row_after_a_gap_is_broken_off(kind):
    series = prepare(packets(6), None, gap_seqs(events((3, kind))), Names())
    assert series.broken.tolist() == [0, 0, 0, 1, 0, 0]


@pytest.mark.parametrize("kind", ["connect", "malformed", "mark", "alert"])
def test_events_without_a_loss_break_nothing(kind):
    assert not prepare(packets(6), None, gap_seqs(events((3, kind))), Names()).broken.any()


def test_a_gap_before_the_first_row_breaks_nothing():
    assert not prepare(packets(3), None, gap_seqs(events((0, "disconnect"))), Names()).broken.any()


def test_another_connection_breaks_the_line_even_without_an_event():
    assert prepare(packets(4, connection=[1, 1, 2, 2]), None, NO_GAPS, Names()).broken.tolist() == [0, 0, 1, 0]


def test_a_gap_is_found_where_seq_and_time_stand_in_different_orders():
    series = prepare(packets(4, seq=np.array([1, 4, 2, 3])), None, gap_seqs(events((2, "gap"))), Names())
    assert series.broken.tolist() == [0, 0, 0, 1]


def test_preparing_in_two_parts_gives_the_same_as_in_one():
    frame = packets(
        40,
        nav=1000 + np.sin(np.arange(40)) * 50,
        side=[("BUY", "SELL", "FLAT", None)[n // 3 % 4] for n in range(40)],
        symbol=["SPY" if n < 17 else "QQQ" if n % 5 else None for n in range(40)],
        connection=[1] * 22 + [2] * 18,
    )
    gaps = gap_seqs(events((9, "gap"), (19, "stale"), (22, "disconnect")))
    whole = prepare(frame, None, gaps, Names())
    names = Names()
    first = prepare(frame.iloc[:19], None, gaps, names)
    second = prepare(frame.iloc[19:], None, gaps, names, carry=first.carry)
    for name in ("time_ms", "regime", "symbol", "broken"):
        assert np.array_equal(np.concatenate((getattr(first, name), getattr(second, name))), getattr(whole, name)), name
    for name, values in whole.columns.items():
        assert np.array_equal(np.concatenate((first.columns[name], second.columns[name])), values, equal_nan=True), name
    assert first.markers + second.markers == whole.markers
    assert replace(second.carry, pace=None) == replace(whole.carry, pace=None)
    assert whole.broken.sum() == 3
    assert len(whole.markers) > 5


def test_a_mark_is_a_change_of_side_and_a_partial_packet_is_none():
    frame = packets(6, side=["FLAT", "BUY", None, "BUY", "SELL", "SELL"], reasoning=[None, "up", None, None, "down", None])
    marks = prepare(frame, None, NO_GAPS, Names()).markers
    assert [(mark.seq, mark.side, mark.text) for mark in marks] == [(2, 0, "up"), (5, 1, "down")]


def test_a_packet_without_a_symbol_belongs_to_the_symbol_before_it():
    names = Names()
    series = prepare(packets(5, symbol=[None, "SPY", None, "QQQ", None]), None, NO_GAPS, names)
    assert names.symbols == ["QQQ", "SPY"]
    assert [None if code == NONE else names.symbols[code] for code in series.symbol] == [None, "SPY", "SPY", "QQQ", "QQQ"]


def test_latencies_stand_in_the_row_of_their_packet():
    agents = dataframes.build(
        "agents",
        {
            "time_ns": np.full(4, START_NS),
            "seq": np.array([1, 1, 3, 9]),
            "agent": ["Risk", "Macro", "Risk", "Risk"],
            "latency_ms": np.array([1.0, 2.0, 3.0, 4.0]),
            "success_rate": np.ones(4),
            "invocations": np.ones(4),
        },
    )
    columns = prepare(packets(3), agents, NO_GAPS, Names(agents=["Macro", "Risk"])).columns
    assert columns["latency:Risk"] == pytest.approx([1.0, np.nan, 3.0], nan_ok=True)
    assert columns["latency:Macro"] == pytest.approx([2.0, np.nan, np.nan], nan_ok=True)


def test_no_rows_leave_the_carry_as_it_was():
    carry = Carry(seq=7, connection=1, peak=5.0, time_ms=1.0)
    assert prepare(packets(0), None, NO_GAPS, Names(), carry=carry).carry == carry


def test_times_are_those_of_the_display_zone():
    frame = packets(1)
    shift = zone_shift(frame.index[-1], "Asia/Kolkata")
    assert shift == timedelta(hours=5, minutes=30)
    assert prepare(frame, None, NO_GAPS, Names(), shift=shift).time_ms[0] == (START_NS / 1e6) + 5.5 * 3_600_000
    assert zone_label("Asia/Kolkata", shift) == "Asia/Kolkata, UTC+05:30"
    assert zone_label("America/St_Johns", timedelta(hours=-3.5)) == "America/St_Johns, UTC-03:30"
    assert zone_label("UTC", timedelta(0)) == "UTC"


def test_a_burst_has_the_worst_of_its_status_words_until_a_burst_without_it_has_ended():
    times = [0.0, 0.02, 5.0, 5.02, 10.0, 10.02, 15.0, 15.02]
    words = ["ACTIVE", "ACTIVE", "HALT", "ACTIVE", "ACTIVE", "ACTIVE", None, "ACTIVE"]
    frame = packets(8, status=words)
    frame = frame.assign(received_mono_ns=[int(t * 1e9) + 1 for t in times], received_at=frame.index)
    heard = lambda series: [STATUS_WORDS[code] for code in series.status]  # noqa: E731
    expected = ["ACTIVE", "ACTIVE", "HALT", "HALT", "HALT", "HALT", "ACTIVE", "ACTIVE"]
    assert heard(prepare(frame, None, NO_GAPS, Names())) == expected
    for cut in range(1, 8):
        first = prepare(frame.iloc[:cut], None, NO_GAPS, Names())
        second = prepare(frame.iloc[cut:], None, NO_GAPS, Names(), carry=first.carry)
        assert heard(first) + heard(second) == expected, cut


def test_profit_is_measured_by_what_the_account_was_worth_and_exposure_is_what_is_not_cash():
    frame = packets(3, nav=[100_000.0, 99_000.0, 101_000.0], cash=[100_000.0, 59_400.0, None], daily_pnl=[0.0, -1_000.0, None])
    columns = prepare(frame, None, NO_GAPS, Names(), wanted=("pnl", "daily_pnl", "exposure")).columns
    assert columns["daily_pnl"].tolist() == [0.0, -1_000.0, 1_000.0]
    assert columns["pnl"].tolist() == [0.0, -0.01, 0.01]
    assert columns["exposure"][:2].tolist() == [0.0, 0.4]
    assert np.isnan(columns["exposure"][2])


def test_a_reader_who_joins_after_the_loss_sees_the_drawdown_beside_the_days_loss():
    """The day's capital, nav less profit and loss, is a peak that was: else the status would say 0 beside a loss of 2 %."""
    late = packets(4, nav=[980.0, 978.0, 990.0, 1010.0], daily_pnl=[-20.0, -22.0, -10.0, 10.0])
    series = prepare(late, None, NO_GAPS, Names(), wanted=("drawdown",))
    assert series.columns["drawdown"] == pytest.approx([-0.02, -0.022, -0.01, 0.0])
    after = prepare(packets(1, nav=[999.9], daily_pnl=[-0.1]), None, NO_GAPS, Names(), wanted=("drawdown",), carry=series.carry)
    assert after.columns["drawdown"] == pytest.approx([-0.01])
