"""Every observed shape, and everything "also seen" in the field notes, onto the rows and flags of the packets table."""

from __future__ import annotations

import json
import math

import pytest

from ccwatch.errors import DecodeError
from ccwatch.feed.buffer import RollingBuffer
from ccwatch.protocol.columns import DIALECT_NAMES
from ccwatch.protocol.decoding import codec, dialects
from ccwatch.protocol.decoding.dialects import Dialect
from ccwatch.protocol.messages import NAN, AgentMetric, Flag, ForecastPoint, Kind, LogLine, ModelMetric
from ccwatch.protocol.stream_reader import StreamReader
from ccwatch.stream import dataframes
from tests.protocol.shapes import (
    BRIDGE_FORECAST,
    BRIDGE_MARKET,
    BRIDGE_SIGNAL,
    CONTRACT,
    ENGINE_LOOP,
    NOON,
    NOW,
    PIPELINE,
    WELCOME_BEFORE_ENGINE,
    changed,
    contract,
    decode,
    lost,
)


def carried(packet):
    """The values of the wire that a packet carries, by column."""
    fields = packet._asdict()
    names = list(fields)[list(fields).index("status") : list(fields).index("extra")]
    return {name: fields[name] for name in names if fields[name] is not None and fields[name] is not NAN}


# ── the four shapes ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_contracts_telemetry_is_read_onto_all_its_columns_without_a_flag():
    packet = decode(CONTRACT)
    assert (packet.kind, packet.dialect, packet.flags) == (Kind.TELEMETRY, "contract", 0)
    assert packet.time_ns == NOON
    assert carried(packet) == {
        "status": "ACTIVE",
        "symbol": "SPY",
        "regime": "Lévy Stable",
        "side": "BUY",
        "price": 450.32,
        "alpha": 2.8,
        "velocity": 0.0012,
        "acceleration": 0.00003,
        "nav": 105234.56,
        "cash": 85000.0,
        "daily_pnl": 1234.56,
        "max_drawdown": -0.05,
        "confidence": 0.85,
        "approved_size": 0.15,
        "reasoning": "Momentum + Forecast alignment",
        "status_raw": "ACTIVE",
        "regime_raw": "Lévy Stable",
        "side_raw": "BUY",
        "timestamp_raw": "2025-12-21T12:00:00Z",
    }
    assert packet.agents == (AgentMetric("MacroAgent", 45.2, 0.98, NAN),)
    assert packet.models == (ModelMetric("ChronosService", 120.5, 1523.0, NAN),)
    assert packet.logs == (LogLine("INFO", "Physics: Gaussian regime confirmed", NOON - 2_000_000_000, "2025-12-21T11:59:58Z"),)
    assert packet.forecasts == ()
    assert packet.extra == {}


def test_a_welcome_is_read_like_telemetry_and_says_that_it_is_one():
    packet, telemetry = decode(contract(envelope={"type": "WELCOME"})), decode(CONTRACT)
    assert packet.kind == Kind.WELCOME
    assert packet._replace(kind=telemetry.kind, raw=telemetry.raw) == telemetry


def test_a_welcome_before_the_engine_answered_has_neither_time_nor_price_and_keeps_its_zeros_aside():
    packet = decode(WELCOME_BEFORE_ENGINE)
    assert packet.flags == Flag.NO_TIME | Flag.PLACEHOLDER
    assert packet.time_ns == NOW.wall_ns
    assert carried(packet) == {
        "status": "INITIALIZING",
        "regime": "Unknown",
        "sentiment_score": 0.0,
        "sentiment_label": "Neutral",
        "status_raw": "Initializing",
        "regime_raw": "Unknown",
    }
    assert packet.extra == {"market": {"price": 0.0, "alpha": 0.0}, "signals": []}


def test_the_engine_loop_is_read_beside_its_type_with_forecast_and_text_logs():
    packet = decode(ENGINE_LOOP)
    assert (packet.kind, packet.dialect, packet.flags) == (Kind.TELEMETRY, "engine_loop", 0)
    assert (packet.status, packet.status_raw) == ("ACTIVE", "active")
    assert (packet.side, packet.side_raw, packet.confidence) == ("FLAT", "HOLD", 0.4)
    assert (packet.sentiment_label, packet.sentiment_score) == ("Bullish", 0.7)
    assert packet.nav is NAN
    assert packet.forecasts == (ForecastPoint(1, 449.0, 451.0, 453.0), ForecastPoint(2, 448.0, 452.0, 456.0))
    assert packet.logs == (LogLine(None, "[RISK]: Position approved", None, None), LogLine(None, "[PHYSICS]: Gaussian", None, None))
    assert packet.extra == {
        "market": {"history": [[1.0, 2.0, 0.5, 1.5]] * 300},
        "scanner": [{"symbol": "QQQ", "rank": 1}],
    }
    assert (packet.strategy, packet.score) == ("momentum", 0.4)


def test_a_bridges_packet_is_partial_and_carries_only_its_part():
    packet = decode(BRIDGE_MARKET)
    assert (packet.kind, packet.dialect, packet.flags) == (Kind.PARTIAL, "bridge", Flag.NAIVE_TIME)
    assert (packet.regime, packet.regime_raw) == ("Lévy Stable", "LÉVY STABLE (Risky)")
    assert set(carried(packet)) == {
        *("symbol", "regime", "price", "alpha", "velocity", "acceleration", "regime_raw", "timestamp_raw"),
    }
    assert packet.extra == {"source": "watchtower", "market": {"history": []}}

    packet = decode(BRIDGE_FORECAST)
    assert packet.kind == Kind.PARTIAL
    assert packet.forecasts == (ForecastPoint(1, 449.0, 450.0, 452.0), ForecastPoint(2, 449.5, 451.0, 453.0))
    assert set(carried(packet)) == {"timestamp_raw"}

    packet = decode(BRIDGE_SIGNAL)
    assert packet.kind == Kind.PARTIAL
    assert set(carried(packet)) == {
        *("side", "confidence", "reasoning", "side_raw", "sentiment_score", "sentiment_label", "timestamp_raw"),
    }


def test_a_pipelines_state_is_read_from_its_flat_names():
    packet = decode(PIPELINE)
    assert (packet.kind, packet.dialect, packet.flags) == (Kind.STATE, "pipeline", Flag.NO_TIME)
    assert carried(packet) == {
        "status": "ACTIVE",
        "symbol": "SPY",
        "regime": "Gaussian",
        "side": "BUY",
        "price": 450.3,
        "alpha": 2.1,
        "velocity": 0.1,
        "acceleration": 0.01,
        "nav": 105000.0,
        "cash": 85000.0,
        "daily_pnl": 12.5,
        "max_drawdown": -0.02,
        "confidence": 0.8,
        "approved_size": 0.1,
        "reasoning": "trend",
        "status_raw": "ACTIVE",
        "regime_raw": "Gaussian",
        "side_raw": "BUY",
    }
    assert [line.message for line in packet.logs] == ["Physics done", "Risk done"]
    assert packet.forecasts == (ForecastPoint(1, 450.0, 451.0, 452.0),)
    assert packet.extra == {"chronos_forecast": {"horizon": 1}, "iteration": 12}


def test_a_pipelines_state_with_parts_of_its_own_is_still_a_pipelines_state():
    packet = decode({**PIPELINE, "sentiment": {"label": "Bullish"}, "forecast": {"median": [1.0]}})
    assert packet.dialect == "pipeline"
    assert packet.price == 450.3
    assert packet.extra["sentiment"] == {"label": "Bullish"}


def test_a_type_in_another_case_is_understood_and_kept():
    packet = decode(contract(envelope={"type": "telemetry"}))
    assert packet.kind == Kind.TELEMETRY
    assert packet.extra == {"$envelope": {"type": "telemetry"}}


# ── times ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stamp", [None, ..., "", "soon", True, 5, -5, [], {}, [["x"]], "9999-12-31T00:00:00Z", 2**64 - 1, 99_999_999_999])
def test_a_timestamp_that_is_none_leaves_the_receive_time_and_a_flag(stamp):
    message = contract(timestamp=stamp)
    packet = decode(message)
    assert packet.time_ns == NOW.wall_ns
    assert packet.flags & Flag.NO_TIME
    assert lost(message, packet) == []


def test_a_timestamp_without_offset_is_read_in_the_servers_zone_and_flagged():
    packet = decode(contract(timestamp="2025-12-21T07:00:00"), server_tz="America/New_York")
    assert (packet.time_ns, packet.flags) == (NOON, Flag.NAIVE_TIME)


def test_the_time_of_a_log_line_without_offset_is_read_in_the_servers_zone_as_well():
    logs = [{"level": "INFO", "message": "x", "timestamp": "2025-12-21T07:00:00"}]
    assert decode(contract(logs=logs), server_tz="America/New_York").logs[0].log_time_ns == NOON
    assert decode(contract(logs=logs), server_tz="UTC").logs[0].log_time_ns == NOON - 5 * 3600 * 10**9


@pytest.mark.parametrize("stamp", [1766318400, 1766318400.0, 1766318400000, "1766318400"])
def test_a_timestamp_in_seconds_or_milliseconds_since_1970_is_read_and_flagged(stamp):
    packet = decode(contract(timestamp=stamp))
    assert (packet.time_ns, packet.flags) == (NOON, Flag.COERCED)
    assert packet.timestamp_raw == str(stamp)


# ── words ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("change", "column"),
    [({"status": "DREAMING"}, "status"), ({"market": {"regime": "Bullish"}}, "regime"), ({"signal": {"side": "SHORT"}}, "side")],
)
def test_a_word_that_nobody_knows_is_flagged_and_kept_as_it_came(change, column):
    packet = decode(contract(**change))
    assert packet.flags == Flag.UNKNOWN_WORD
    assert getattr(packet, column) in {"UNKNOWN", "Unknown", None}
    assert getattr(packet, f"{column}_raw") in {"DREAMING", "Bullish", "SHORT"}


def test_a_halt_for_whatever_reason_is_a_halt_and_the_reason_stays():
    packet = decode(contract(status="HALTED_DRAWDOWN"))
    assert (packet.status, packet.status_raw, packet.flags) == ("HALT", "HALTED_DRAWDOWN", 0)


def test_a_regime_in_garbled_text_is_canonical_and_stays_garbled_in_its_raw_column():
    packet = decode(contract(market={"regime": "LÃ©vy Stable"}))
    assert (packet.regime, packet.regime_raw, packet.flags) == ("Lévy Stable", "LÃ©vy Stable", 0)


@pytest.mark.parametrize("word", ["", "Unknown"])
def test_a_symbol_that_a_bff_made_up_for_a_missing_one_is_missing(word):
    packet = decode(contract(market={"symbol": word}))
    assert packet.symbol is None
    assert packet.extra == {"market": {"symbol": word}}
    assert decode({**PIPELINE, "symbol": word}).symbol is None


# ── numbers ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("change", [{"status": "Initializing"}, {"market": {"price": 0.0}}, {"market": {"price": 0}}])
def test_zeros_of_market_and_portfolio_mean_not_known_yet_while_initializing_or_without_a_price(change):
    zeros = {
        "market": {"price": 0.0, "alpha": 0.0, "velocity": 0.0, "acceleration": 0.0},
        "portfolio": {"nav": 0.0, "cash": 0.0, "daily_pnl": 0.0, "max_drawdown": 0.0},
    }
    packet = decode(contract(**zeros | {k: v for k, v in change.items() if k == "status"}, signal={"confidence": 0.0}))
    assert packet.flags == Flag.PLACEHOLDER
    assert all(getattr(packet, name) is NAN for group in zeros.values() for name in group)
    assert packet.confidence == 0.0
    assert packet.extra == zeros


def test_other_zeros_are_zeros():
    packet = decode(contract(market={"velocity": 0.0}, portfolio={"daily_pnl": 0.0, "max_drawdown": 0}, governance={"approved_size": 0.0}))
    assert packet.flags == 0
    assert (packet.velocity, packet.daily_pnl, packet.max_drawdown, packet.approved_size) == (0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("market", [{"price": -1.5}, {"price": -37.63, "velocity": 0}])
def test_a_negative_price_is_a_price(market):
    packet = decode(contract(market=market))
    assert packet.price == market["price"]
    assert packet.velocity == market.get("velocity", 0.0012)
    assert packet.flags == 0


@pytest.mark.parametrize(("sent", "kept"), [(15000.0, "15000.0"), (15000, "15000.0"), (1.0001, "1.0001"), (1e30, "1e+30")])
def test_an_approved_size_in_dollars_is_missing_with_its_value_beside_it(sent, kept):
    flat = {**PIPELINE, "timestamp": "2025-12-21T12:00:00Z", "approved_size": sent}
    for packet in (decode(contract(governance={"approved_size": sent})), decode(flat)):
        assert packet.approved_size is NAN
        assert packet.approved_size_raw == kept
        assert packet.flags == Flag.UNIT


@pytest.mark.parametrize("drawdown", [-0.05, 0.05, 0, 1.0, -1.0])
def test_a_max_drawdown_of_either_sign_is_in_range(drawdown):
    packet = decode(contract(portfolio={"max_drawdown": drawdown}))
    assert (packet.max_drawdown, packet.flags) == (drawdown, 0)


@pytest.mark.parametrize(
    ("change", "column", "value"),
    [
        ({"governance": {"approved_size": 0.5}}, "approved_size", 0.5),
        ({"governance": {"approved_size": -0.1}}, "approved_size", -0.1),
        ({"signal": {"confidence": 1.5}}, "confidence", 1.5),
        ({"portfolio": {"max_drawdown": 1.5}}, "max_drawdown", 1.5),
        ({"portfolio": {"max_drawdown": -1.5}}, "max_drawdown", -1.5),
    ],
)
def test_a_value_outside_the_contracts_range_is_kept_and_flagged(change, column, value):
    packet = decode(contract(**change))
    assert getattr(packet, column) == value
    assert packet.flags == Flag.RANGE


@pytest.mark.parametrize("edge", [0.0, 0.2, 1.0])
def test_the_edges_of_the_contracts_ranges_are_within(edge):
    packet = decode(contract(signal={"confidence": edge}, governance={"approved_size": min(edge, 0.2)}, portfolio={"max_drawdown": -edge}))
    assert packet.flags == 0


@pytest.mark.parametrize(("sent", "read"), [("450.5", 450.5), (" 7 ", 7.0), ("1e3", 1000.0), ("-0", 0.0)])
def test_a_number_sent_as_text_is_read_flagged_and_kept_as_it_came(sent, read):
    packet = decode(contract(market={"alpha": sent}))
    assert packet.alpha == read
    assert packet.flags == Flag.COERCED
    assert packet.extra == {"market": {"alpha": sent}}


def test_a_placeholder_zero_that_came_as_text_is_kept_as_text():
    packet = decode(contract(market={"price": "0.0"}))
    assert packet.price is NAN
    assert packet.flags == Flag.COERCED | Flag.PLACEHOLDER
    assert packet.extra == {"market": {"price": "0.0"}}


@pytest.mark.parametrize("sent", [True, False, [], [1.0], {}, {"value": 1}, "high", "1_000", ""])
def test_what_is_no_number_is_missing_flagged_and_kept(sent):
    packet = decode(contract(market={"alpha": sent}))
    assert packet.alpha is NAN
    assert packet.flags == Flag.WRONG_TYPE
    assert packet.extra == {"market": {"alpha": sent}}


@pytest.mark.parametrize("section", ["market", "portfolio", "signal", "governance", "sentiment", "agents", "models", "logs", "forecast"])
@pytest.mark.parametrize("sent", [[1], "text", 5, True])
def test_a_section_of_another_type_is_kept_whole_and_flagged(section, sent):
    if section == "logs" and isinstance(sent, list):
        sent = {"0": "x"}
    packet = decode(contract(**{section: sent}))
    assert packet.flags == Flag.WRONG_TYPE
    assert packet.extra == {section: sent}


@pytest.mark.parametrize("column", ["symbol", "regime", "side", "status", "reasoning"])
@pytest.mark.parametrize("sent", [True, ["x"], {"a": 1}])
def test_a_word_of_another_type_is_missing_flagged_and_kept(column, sent):
    section = {"symbol": "market", "regime": "market", "side": "signal", "reasoning": "signal"}.get(column)
    packet = decode(contract(**({section: {column: sent}} if section else {column: sent})))
    assert getattr(packet, column) is None
    assert packet.flags == Flag.WRONG_TYPE
    assert packet.extra == ({section: {column: sent}} if section else {column: sent})


# ── lists ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_gauges_of_an_agent_may_be_missing_odd_or_foreign_each_on_its_own():
    packet = decode(
        contract(
            agents={
                "MacroAgent": ...,
                "A": {"latency_ms": 1, "success_rate": 0.5, "invocations": 3},
                "B": {"latency_ms": "2.5", "p99": 9.0},
                "C": {"latency_ms": -1.0, "success_rate": 0.5, "invocations": 3},
                "D": {},
                "E": 5,
                "F": {"latency_ms": True, "success_rate": None, "invocations": [1]},
            }
        )
    )
    assert packet.agents == (
        AgentMetric("A", 1.0, 0.5, 3.0),
        AgentMetric("B", 2.5, NAN, NAN),
        AgentMetric("C", -1.0, 0.5, 3.0),
        AgentMetric("D", NAN, NAN, NAN),
        AgentMetric("F", NAN, NAN, NAN),
    )
    assert packet.flags == Flag.COERCED | Flag.RANGE | Flag.WRONG_TYPE
    assert packet.extra == {"agents": {"B": {"latency_ms": "2.5", "p99": 9.0}, "E": 5, "F": {"latency_ms": True, "invocations": [1]}}}


def test_each_entry_of_the_logs_has_its_line_and_what_a_line_cannot_hold_stays_at_its_position():
    logs = [
        "[RISK]: Position approved",
        {"level": "INFO", "message": "whole", "timestamp": "2025-12-21T12:00:00Z"},
        {"level": "INFO", "message": "no time"},
        {"level": "INFO", "message": "foreign", "timestamp": "2025-12-21T12:00:00Z", "agent": "Risk"},
        {"message": "other third", "timestamp": "2025-12-21T12:00:00Z", "agent": "Risk"},
        {"level": 5, "message": "odd level", "timestamp": "2025-12-21T12:00:00Z"},
        {"level": "INFO", "message": "number", "timestamp": 1766318400},
        {"level": None, "message": "no level", "timestamp": "2025-12-21T12:00:00Z"},
        {"level": "INFO", "message": "odd time", "timestamp": "soon"},
        {"level": "INFO", "message": None, "timestamp": "soon"},
        5,
        None,
        ["nested"],
    ]
    message = contract(logs=logs)
    packet = decode(message)
    assert packet.logs[:9] == (
        LogLine(None, "[RISK]: Position approved", None, None),
        LogLine("INFO", "whole", NOON, "2025-12-21T12:00:00Z"),
        LogLine("INFO", "no time", None, None),
        LogLine("INFO", "foreign", NOON, "2025-12-21T12:00:00Z"),
        LogLine(None, "other third", NOON, "2025-12-21T12:00:00Z"),
        LogLine(None, "odd level", NOON, "2025-12-21T12:00:00Z"),
        LogLine("INFO", "number", NOON, "1766318400"),
        LogLine(None, "no level", NOON, "2025-12-21T12:00:00Z"),
        LogLine("INFO", "odd time", None, "soon"),
    )
    assert len(packet.logs) == len(logs)
    assert packet.flags == Flag.WRONG_TYPE | Flag.COERCED
    assert packet.extra == {"logs": {str(i): logs[i] for i in (2, 3, 4, 5, 6, 9, 10, 11, 12)}}
    assert lost(message, packet) == []


def test_a_log_line_with_html_is_kept_as_it_came():
    hostile = "<script>alert(1)</script>\x00\u202e"
    assert decode(contract(logs=[hostile])).logs[0].message == hostile


def test_a_forecast_whose_quantiles_differ_in_length_is_missing_where_they_end():
    packet = decode(changed(BRIDGE_FORECAST, forecast={"p10": [1.0], "median": [2, None, 4.0], "p90": []}))
    assert packet.forecasts == (ForecastPoint(1, 1.0, 2.0, NAN), ForecastPoint(2, NAN, NAN, NAN), ForecastPoint(3, NAN, 4.0, NAN))
    assert packet.extra["forecast"] == {"p90": []}


def test_a_quantile_that_is_no_list_of_numbers_is_kept_and_flagged_and_the_others_are_read():
    packet = decode(changed(BRIDGE_FORECAST, forecast={"p10": [1.0, "x"], "p90": 5, "horizon": 2}))
    assert packet.forecasts == (ForecastPoint(1, NAN, 450.0, NAN), ForecastPoint(2, NAN, 451.0, NAN))
    assert packet.flags == Flag.NAIVE_TIME | Flag.WRONG_TYPE
    assert packet.extra["forecast"] == {"p10": [1.0, "x"], "p90": 5, "horizon": 2}


# ── what has no column ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_foreign_fields_land_in_extra_at_their_own_path():
    message = contract(
        envelope={"version": 2, "trace": {"id": "x"}},
        signals=[{"side": "BUY"}],
        scanner={"top": ["QQQ"]},
        market={"history": [1.0, 2.0], "depth": {"bid": 1}},
        agents={"MacroAgent": {"p99": 3}},
    )
    packet = decode(message)
    assert packet.flags == 0
    assert packet.extra == {
        "$envelope": {"version": 2, "trace": {"id": "x"}},
        "signals": [{"side": "BUY"}],
        "scanner": {"top": ["QQQ"]},
        "market": {"history": [1.0, 2.0], "depth": {"bid": 1}},
        "agents": {"MacroAgent": {"p99": 3}},
    }


def test_a_field_named_like_the_place_of_the_envelopes_fields_is_not_mistaken_for_it():
    for envelope in ({}, {"version": 2}, {"type": "telemetry"}):
        message = contract(envelope=envelope, **{"$envelope": {"version": 3}})
        packet = decode(message)
        assert lost(message, packet) == []
        assert json.loads(codec.encode(packet)) == message


# ── another dialect ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def tape():
    """A made-up fifth dialect, known for the length of a test."""
    dialect = Dialect(
        "tape",
        lambda message: Kind.STATE if "tape" in message else None,
        body="tape",
        places={"": {"at": "timestamp_raw", "mood": "regime_raw"}, "last": {"ticker": "symbol", "px": "price", "size": "approved_size"}},
        logs="lines",
        forecast="cone",
        has_type=False,
    )
    dialects.DIALECTS.append(dialect)
    yield dialect
    dialects.DIALECTS.remove(dialect)


TAPE = {
    "tape": {
        "at": 1766318400,
        "mood": "gaussian",
        "last": {"ticker": "Unknown", "px": "450.5", "size": 20.0, "venue": "X"},
        "lines": ["one"],
        "cone": {"median": [1.0]},
    },
    "v": 1,
}


@pytest.mark.usefixtures("tape")
def test_a_fifth_dialect_is_one_entry_that_is_read_and_written_like_the_others():
    packet = decode(TAPE)
    assert (packet.kind, packet.dialect) == (Kind.STATE, "tape")
    assert (packet.time_ns, packet.regime, packet.price, packet.approved_size_raw) == (NOON, "Gaussian", 450.5, "20.0")
    assert packet.flags == Flag.COERCED | Flag.UNIT
    assert packet.logs[0].message == "one"
    assert packet.forecasts[0].median == 1.0
    assert packet.extra == {"$envelope": {"v": 1}, "last": {"ticker": "Unknown", "px": "450.5", "venue": "X"}}
    assert json.loads(codec.encode(packet)) == TAPE


@pytest.mark.usefixtures("tape")
def test_a_fifth_dialect_appears_in_the_dialect_column_of_a_live_frame():
    session, buffer = StreamReader(), RollingBuffer()
    session.opened(NOW)
    for message in (CONTRACT, TAPE, contract(timestamp="2025-12-21T12:00:01Z")):
        buffer.receive(session.receive(json.dumps(message).encode(), NOW))
    frame = buffer.frame()
    assert sorted(frame["dialect"]) == ["contract", "contract", "tape"]
    assert list(frame["dialect"].cat.categories) == [*DIALECT_NAMES, "tape"]
    assert frame.index.is_monotonic_increasing
    assert math.isnan(frame["approved_size"][frame["dialect"] == "tape"].iloc[0])
    assert dataframes.resolve("packets", ["dialect"]) == ["dialect"]


def test_without_its_entry_the_fifth_dialect_is_refused():
    with pytest.raises(DecodeError):
        decode(TAPE)
