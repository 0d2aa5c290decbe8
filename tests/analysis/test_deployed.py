"""Streams as deployed engines send them, of other members of each kind than the samples: what the answers make of them."""

from __future__ import annotations

import json

import pandas as pd
import pytest

import ccwatch as cw
from ccwatch.analysis.explain import observed
from ccwatch.analysis.usable_rows import select_rows
from ccwatch.protocol.messages import Instant
from ccwatch.protocol.stream_reader import StreamReader
from tests.analysis.conftest import SECOND, Stream

START = pd.Timestamp("2026-11-27T14:00:00Z")


def heard(timed):
    """The stream of messages (dicts) with the seconds at which they are received."""
    session = StreamReader()
    items = list(session.opened(Instant(START.value, 5 * SECOND)))
    for after_s, message in timed:
        passed = round(after_s * SECOND)
        items += session.receive(json.dumps(message).encode(), Instant(START.value + passed, 5 * SECOND + passed))
    return Stream(items, origin="live")


def state(n, **fields):
    return {"symbol": "SPY", "price": 100.0 + n / 8, "nav": 1e5, "cash": 6e4, "regime": "Regime.LEVY_STABLE", "signal_side": "BUY"} | fields


def telemetry(n, **sections):
    stamp = (START + pd.Timedelta(seconds=n)).isoformat()
    return {"type": "TELEMETRY", "data": {"timestamp": stamp, "market": {"symbol": "SPY", "price": 100.0 + n / 8}} | sections}


def unknown(source):
    return cw.analyze(source).quality().unknown_fields.set_index("field")["n"].to_dict() if source.items else {}


def test_what_a_table_or_a_column_holds_is_not_an_unknown_field() -> None:
    call = {"timestamp": START.isoformat(), "latency_ms": 3.0, "success": True, "output": {"x": 1}}
    forecast = {"p10": 99.0, "p50": 100.0, "p90": 101.0, "horizon": 10, "is_synthetic": True}
    sections = {
        "agents": {"quant": [call], "risk": {"latency_ms": 1.0, "success_rate": 1.0, "invocations": 2}},
        "models": {"lstm": {"avg_latency_ms": 3.0, "invocations": [call]}},
        "trades": [{"id": "t1", "side": "BUY", "quantity": 2, "price": 100.0}],
        "watchlist": ["SPY", "QQQ"],
        "portfolio": {"nav": "100000.5", "cash": 1.0},
    }
    timed = [(float(n), telemetry(n, forecast=forecast, **sections)) for n in range(3)]
    timed += [(3.0, state(3, chronos_forecast={"low": 1.0, "median": 2.0, "high": 3.0}, history=[]))]
    assert unknown(heard(timed)) == {"models.*.avg_latency_ms": 3}


@pytest.mark.parametrize(
    ("sections", "field"),
    [
        ({"trades": [1, 2]}, "trades"),
        ({"fills": "none"}, "fills"),
        ({"scanner": [{"hurst": 0.5}]}, "scanner"),
        ({"agents": {"quant": [{"duration": 3.0}]}}, "agents.*"),
        ({"bars": [{"volume": 3.0}]}, "bars"),
        ({"forecast": {"p10": [1.0], "spread": 0.1}}, "forecast.spread"),
    ],
)
def test_a_list_that_cannot_be_read_is_named(sections, field) -> None:
    assert unknown(heard([(float(n), telemetry(n, **sections)) for n in range(2)])) == {field: 2}


@pytest.mark.slow
@pytest.mark.parametrize("word", ["HALTED_DRAWDOWN", "SystemStatus.HALTED_MANUAL", "halted", "Status.Halt"])
def test_while_one_of_five_packets_of_a_burst_says_halt_the_engine_is_halted(word) -> None:
    """The word wanders from packet to packet, so that neither the first nor the last of a burst says it."""
    timed = []
    for burst in range(12):
        for place in range(5):
            halted = 4 <= burst < 8 and place == burst % 5
            timed.append((5.0 * burst + 0.01 * place, state(5 * burst + place, status=word if halted else "active")))
    report = cw.analyze(heard(timed))
    assert report.timeline().statuses[["status", "n"]].to_numpy().tolist() == [["ACTIVE", 4], ["HALT", 4], ["ACTIVE", 4]]
    assert [row for row in report.timeline().events["kind"] if row == "status"] == ["status"] * 2
    assert "The engine halted at 14:00:20 UTC" in " ".join(sentence for _, sentence in report.what_happened())
    quality = report.quality()
    assert (quality.value("gaps"), quality.value("interval_median")) == (0.0, pytest.approx(5.0, abs=0.1))


@pytest.mark.slow
def test_a_halt_that_only_states_of_before_the_connection_tell_is_not_denied() -> None:
    timed = [(0.0, state(n, status="HALTED" if n < 3 else "active")) for n in range(6)]
    timed += [(5.0 * n, state(6 + n, status="active")) for n in range(1, 4)]
    story = " ".join(sentence for _, sentence in cw.analyze(heard(timed)).what_happened())
    assert "3 states of before" in story
    assert "said HALT" in story


def test_a_call_that_is_listed_after_younger_ones_is_counted_by_its_own_time() -> None:
    """And a call that only a state of before the connection carries is counted, too."""

    def call(second, ms, *, ok=True):
        return {"timestamp": (START + pd.Timedelta(seconds=second)).isoformat(), "latency_ms": ms, "success": ok}

    lists = [
        [call(2, 12.0), call(1, 11.0, ok=False)],
        [call(5, 15.0), call(2, 12.0)],
        [call(4, 14.0, ok=False), call(3, 13.0)],
        [call(6, 16.0)],
    ]
    report = cw.analyze(heard([(10.0 + n, telemetry(10 + n, agents={"quant": calls})) for n, calls in enumerate(lists)]))
    services = report.latency().services
    assert services[["n", "calls", "resets"]].to_numpy().tolist() == [[6, 6.0, 0]]
    assert report.latency().observations["latency_ms"].tolist() == [11.0, 12.0, 13.0, 14.0, 15.0, 16.0]
    assert report.burn_rate().services[["calls", "misses"]].to_numpy().tolist() == [[6.0, 2.0]]

    replayed = [(0.0, state(n, agents={"quant": [call(n, 10.0 + n)]})) for n in range(4)]
    assert cw.analyze(heard([*replayed, (5.0, state(5))])).latency().services["n"].tolist() == [4]


def test_exposure_is_called_implied_where_it_was_not_sent() -> None:
    source = heard([(float(n), telemetry(n, portfolio={"nav": 1e5, "cash": 6e4 + n})) for n in range(3)])
    frame = source.frame()
    names = {seen.measure for seen in observed(select_rows("explain", frame), None)}
    assert "implied exposure" in names
    assert "exposure" not in names
    names = {seen.measure for seen in observed(select_rows("explain", frame.assign(exposure=0.4)), None)}
    assert "exposure" in names
    assert "implied exposure" not in names
