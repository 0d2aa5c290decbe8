"""The typed decoder beside the dialects' own reading of the same bytes: where it answers at all, the two are the same."""

from __future__ import annotations

import itertools
import json

import orjson
import pytest
from hypothesis import given, strategies as st

from ccwatch.errors import DecodeError
from ccwatch.feed.synthetic import messages as seeded
from ccwatch.protocol.decoding import codec, packet_fields, tolerant
from ccwatch.protocol.decoding.contract import read as read_contract
from tests.protocol.shapes import CONTRACT, NOW, contract, examples, messages, texts, words_

ZONE = "America/New_York"


def typed_fields(raw):
    return read_contract(raw, seq=3, connection=2, now=NOW, server_tz=ZONE)


def plain_fields(raw):
    """The same without the typed decoder."""
    values = tolerant.read(orjson.loads(raw), NOW.wall_ns, ZONE)
    values[packet_fields.SEQ], values[packet_fields.CONNECTION] = 3, 2
    values[packet_fields.RECEIVED_AT], values[packet_fields.RECEIVED_MONO] = NOW
    values[packet_fields.RAW] = bytes(raw)
    return values


def assert_same(raw):
    found = typed_fields(raw)
    if found is not None:
        assert repr(found) == repr(plain_fields(raw)), "with the sign of each zero and the type of each number"


fraction = st.floats(0, 1) | st.sampled_from([0, 1, 0.0, -0.0, 1e-300])
value = (
    st.floats(-1e6, 1e6)
    | st.integers(-(2**54), 2**54)
    | st.sampled_from([2**53 - 1, 2**53, 2**53 + 1, 9007199254740993, 0.1 + 0.2, 5e-324])
)
stamp = st.sampled_from(
    ["2025-12-21T12:00:00Z", "2025-12-21T12:00:00.123456789+02:00", "2025-12-21T12:00:00", "20251221T120000Z", "1766318400", "soon", ""]
)
name = texts | st.sampled_from(["A", "Unknown", "SPY"])


def some(known):
    return st.fixed_dictionaries({}, optional=known)


trade = st.dictionaries(
    st.sampled_from(["id", "trade_id", "symbol", "side", "quantity", "price", "order_id", "status", "timestamp", "venue"]),
    name | stamp | value | words_ | st.none() | st.booleans() | st.sampled_from([-0.0, 2**63, 1766318400, 1e20, "w" * 300, [], {}]),
    max_size=6,
)


usual = st.builds(
    lambda kind, data: {"type": kind, "data": data},
    st.sampled_from(["WELCOME", "TELEMETRY"]),
    some(
        {
            "timestamp": stamp,
            "status": words_,
            "market": some(
                {"symbol": name, "regime": words_, "price": value} | dict.fromkeys(("alpha", "velocity", "acceleration"), value)
            ),
            "portfolio": some(dict.fromkeys(("nav", "cash", "daily_pnl"), value) | {"max_drawdown": st.floats(-1, 0)}),
            "signal": some({"side": words_, "confidence": fraction, "reasoning": texts}),
            "governance": some({"approved_size": st.floats(0, 0.2) | fraction}),
            "sentiment": some({"label": texts, "score": value}),
            "agents": st.dictionaries(name, some({"latency_ms": value, "success_rate": fraction, "invocations": value}), max_size=3),
            "models": st.dictionaries(name, some({"latency_ms": value, "invocations": value, "cache_hit_rate": fraction}), max_size=3),
            "logs": st.lists(texts | st.fixed_dictionaries({"level": texts, "message": texts, "timestamp": stamp}), max_size=3),
            "trades": st.lists(trade, max_size=3),
        }
    ),
)


@pytest.mark.slow
@given(usual)
@examples(500)
def test_what_the_typed_decoder_accepts_has_the_fields_that_the_dialects_read(message):
    assert_same(orjson.dumps(message))


@pytest.mark.slow
@given(messages)
@examples(200)
def test_a_bent_message_is_refused_or_read_alike(message):
    assert_same(orjson.dumps(message))


@pytest.mark.slow
@given(st.data())
@examples(300)
def test_bytes_that_json_forbids_are_refused_as_the_plain_decoder_does(data):
    raw = bytearray(json.dumps(CONTRACT, ensure_ascii=data.draw(st.booleans())).encode())
    at = data.draw(st.integers(0, len(raw)))
    piece = data.draw(st.binary(max_size=3) | st.sampled_from([b"NaN", b"1e999", b"\\ud800", b"\n", b"-", b"0", b'"', b"\xed\xa0\x80"]))
    raw[at : at + data.draw(st.integers(0, 3))] = piece
    try:
        plain_fields(raw)
    except (orjson.JSONDecodeError, DecodeError):
        assert typed_fields(raw) is None
    else:
        assert_same(raw)


def test_every_message_of_a_healthy_engine_is_accepted():
    fills = 0
    for raw in itertools.islice(seeded(seed=3), 300):
        fills += b'"trades":[' in raw
        assert typed_fields(raw) is not None
        assert_same(raw)
    assert 0 < fills < 30


@pytest.mark.parametrize(
    "changes",
    [
        {"market": {"price": 0.0}},
        {"market": {"price": "450.3"}},
        {"market": {"price": True}},
        {"market": {"price": 2**53 + 1}},
        {"market": {"symbol": "Unknown"}},
        {"market": {"regime": "x" * 300}},
        {"status": "Initializing"},
        {"timestamp": None},
        {"timestamp": 1766318400},
        {"timestamp": "1766318400"},
        {"governance": {"approved_size": 15000.0}},
        {"signal": {"confidence": 1.5}},
        {"signals": []},
        {"agents": {"A": {"latency_ms": 1.0, "errors": 2}}},
        {"logs": [{"level": "INFO", "message": "m", "timestamp": "t", "more": 1}]},
        {"logs": [{"level": "INFO", "message": "m" * 2000, "timestamp": "2025-12-21T12:00:00Z"}]},
        {"trades": [{"id": "w" * 300}]},
        {"trades": [{"legs": [1]}]},
        {"trades": [{"quantity": 2**60}]},
        {"trades": None},
    ],
    ids=str,
)
def test_whatever_asks_for_a_closer_look_is_left_to_the_dialects(changes):
    raw = orjson.dumps(contract(**changes))
    assert typed_fields(raw) is None
    assert codec.decode(raw).kind == "TELEMETRY"
