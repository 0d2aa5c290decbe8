"""Trades, scanners, watch lists and bars, in all the shapes in which servers send them."""

from __future__ import annotations

import pytest

from ccwatch.protocol.messages import NAN, Bar, ScannerEntry, Trade
from tests.protocol import deployed
from tests.protocol.shapes import changed, contract, decode

NINE_NS = 1_795_770_000 * 10**9


def test_the_pipelines_state_has_its_watch_list_its_order_and_its_forecast():
    packet = decode(deployed.RAW_STATE)
    assert packet.scanner == (ScannerEntry("SPY", 449.34, 0.55, 0.012, 0.4),)
    assert (packet.status, packet.status_raw) == ("HALT", "HALTED_DRAWDOWN")
    assert (packet.execution_status, packet.order_id, packet.side) == ("SIMULATED", "sim_5", "SELL")
    assert (packet.forecasts[0].p10, packet.forecasts[0].median, packet.forecasts[0].p90) == (444.8, 449.7, 453.8)
    assert "candidates" in packet.extra


def test_the_loops_telemetry_has_its_scanner_and_its_strategy():
    packet = decode(deployed.LOOP)
    assert packet.scanner == (ScannerEntry("QQQ", 380.1, 0.5, NAN, 0.4),)
    assert (packet.strategy, packet.score) == ("Reflexive", 0.25)
    assert packet.extra["scanner"] == deployed.LOOP["scanner"]


@pytest.mark.parametrize(
    ("sent", "entries"),
    [
        (["SPY", "QQQ", ""], [("SPY", NAN, NAN, NAN, NAN), ("QQQ", NAN, NAN, NAN, NAN)]),
        ({"SPY": {"price": 450.0}}, [("SPY", 450.0, NAN, NAN, NAN)]),
        ([{"symbol": 600519, "price": 1450.0}, {"price": 1.0}, None, 5], [("600519", 1450.0, NAN, NAN, NAN)]),
        ("SPY", []),
        (5, []),
    ],
)
def test_a_scanner_of_any_shape_is_read_as_far_as_it_goes(sent, entries):
    packet = decode(contract(scanner=sent))
    assert packet.scanner == tuple(ScannerEntry(*entry) for entry in entries)
    assert packet.extra["scanner"] == sent


def test_trades_are_read_under_the_names_that_servers_use():
    sent = [
        {"id": "t1", "time": "2026-11-27T09:00:00Z", "symbol": "SPY", "side": "BUY", "quantity": 2, "price": 450.5, "order_id": "o1"},
        {"trade_id": 7, "timestamp": 1795770001, "side": "OrderSide.SELL", "qty": "3", "fill_price": 451.0, "status": "OrderStatus.FILLED"},
        None,
        {},
    ]
    packet = decode(contract(trades=sent))
    assert packet.trades == (
        Trade(NINE_NS, "t1", "SPY", "BUY", 2.0, 450.5, "o1", None),
        Trade(NINE_NS + 10**9, "7", None, "SELL", 3.0, 451.0, None, "FILLED"),
    )
    assert packet.extra["trades"] == sent
    assert packet.flags == 0


@pytest.mark.parametrize(
    ("history", "bars"),
    [
        ([450.0, 451], [(None, NAN, NAN, NAN, 450.0), (None, NAN, NAN, NAN, 451.0)]),
        ([[1.0, 2.0, 0.5, 1.5]], [(None, 1.0, 2.0, 0.5, 1.5)]),
        ([[1795770000, 1.0, 2.0, 0.5, 1.5, 1000]], [(NINE_NS, 1.0, 2.0, 0.5, 1.5)]),
        ([{"t": "2026-11-27T09:00:00Z", "o": 1, "h": 2, "l": "0.5", "c": 1.5, "v": 9}], [(NINE_NS, 1.0, 2.0, 0.5, 1.5)]),
        ([{"close": 1.5}, {"volume": 3}, None, "x", []], [(None, NAN, NAN, NAN, 1.5)]),
        ({"close": [1.5]}, []),
        ([], []),
    ],
)
def test_bars_of_any_shape_are_read_wherever_they_are(history, bars):
    wanted = tuple(Bar(*bar) for bar in bars)
    assert decode(contract(market={"history": history})).bars == wanted
    assert decode(contract(bars=history)).bars == wanted
    assert decode(changed(deployed.RAW_STATE, history=...) | {"history": history}).bars == wanted
