"""The codec: whatever the bytes, a whole packet or DecodeError; what is written again is the same packet; nothing is lost."""

from __future__ import annotations

import json
import math
import tracemalloc
from typing import get_type_hints

import orjson
import pytest
from hypothesis import example, given, strategies as st

from ccwatch.errors import DecodeError
from ccwatch.protocol import canonical_words
from ccwatch.protocol.columns import DIALECT_NAMES
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.messages import NAN, DeferredBytes, Flag, Instant, Kind, Packet
from tests.protocol import shapes
from tests.protocol.shapes import NOW, SHAPES, contract, decode, examples, json_values, lost, messages

HINTS = get_type_hints(Packet)


def try_decode(raw):
    """The packet of some bytes, None where they are no message."""
    try:
        packet = codec.decode(raw, seq=3, connection=2, now=NOW, server_tz="America/New_York")
    except DecodeError as error:
        reason = error.reason
    else:
        assert_whole(packet)
        return packet
    assert 0 < len(reason) < 400
    assert reason.isprintable()
    return None


def assert_whole(packet):
    """Every field has the type that its annotation gives, in the range that a frame can store."""
    kinds = {int: (int,), str: (str,), float: (float,), str | None: (str, type(None)), bytes | DeferredBytes: (bytes,)}
    for name, annotation in HINTS.items():
        value = getattr(packet, name)
        if annotation in kinds:
            assert isinstance(value, kinds[annotation]), name
            assert not isinstance(value, bool), name
        if isinstance(value, float):
            assert value is NAN or math.isfinite(value), name
    assert abs(packet.time_ns) < canonical_words.FARTHEST_NS < 2**63 - 2**54, "an int64, with room to add half a year"
    assert packet.kind in set(Kind)
    assert packet.dialect in DIALECT_NAMES
    for metric in (*packet.agents, *packet.models, *packet.forecasts):
        assert all(type(number) in {str, int, float} for number in metric)
        assert all(number is NAN or math.isfinite(number) for number in metric[1:])
    for line in packet.logs:
        assert type(line.message) is str
        assert type(line.level) in {str, type(None)}
        assert line.log_time_ns is None or abs(line.log_time_ns) < 2**63
    assert repr(packet)
    assert packet.time.tzinfo is not None
    assert orjson.loads(codec.text(packet.extra)) == dict(packet.extra)


def assert_comes_back(packet):
    """What is written from the fields alone is read as the same fields."""
    again = codec.decode(codec.encode(packet), seq=3, connection=2, now=NOW, server_tz="America/New_York")
    for name, before, after in zip(Packet._fields[:-1], packet, again, strict=False):
        assert before is after or before == after, name
        assert type(before) is type(after), name


@given(st.binary(max_size=300))
@examples(200)
def test_no_bytes_make_decode_raise_anything_but_decode_error(raw):
    try_decode(raw)


@pytest.mark.slow
@given(json_values)
@examples(200)
def test_no_json_value_makes_decode_raise_anything_but_decode_error(value):
    try_decode(orjson.dumps(value))


@pytest.mark.slow
@example({"timestamp": 9_151_314_443, "approved_size": 0.0})  # late in 2259
@example({"symbol": "9" * 400})
@given(messages)
@examples(300)
def test_a_bent_message_is_a_whole_packet_that_is_written_as_it_was_read_and_has_lost_nothing(message):
    packet = try_decode(orjson.dumps(message))
    if packet is not None:
        assert lost(orjson.loads(packet.raw), packet) == []
        assert_comes_back(packet)


@pytest.mark.slow
@given(st.sampled_from([m for group in SHAPES.values() for m in group]), st.data())
@examples(300)
def test_a_valid_message_with_bytes_cut_changed_or_put_in_is_a_whole_packet_or_decode_error(message, data):
    raw = bytearray(json.dumps(message, ensure_ascii=data.draw(st.booleans())).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw)))
        piece = data.draw(st.binary(max_size=3) | st.sampled_from([b"NaN", b"-Infinity", b"1e999", b"null", b"{", b"[]", b'"', b","]))
        raw[at : at + data.draw(st.integers(0, 6))] = piece
    packet = try_decode(bytes(raw))
    if packet is not None:
        assert_comes_back(packet)


def leaf_paths(value, path=()):
    if isinstance(value, dict | list) and value:
        for key, below in value.items() if isinstance(value, dict) else enumerate(value[:2]):
            yield from leaf_paths(below, (*path, key))
            yield (*path, key)


TARGETS = [(message, path) for group in SHAPES.values() for message in group for path in leaf_paths(message)]


@pytest.mark.slow
@pytest.mark.parametrize("odd", [True, [], {}, [1], {"a": {"b": 1}}, "x", "12.5", "", 5, -1, 2**64 - 1, -(2**63), 1e308, None])
def test_an_odd_value_at_any_place_of_any_shape_is_kept_and_comes_back(odd):
    read = 0
    for message, path in TARGETS:
        bent = json.loads(json.dumps(message))
        place = bent
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = odd
        packet = try_decode(json.dumps(bent).encode())
        if packet is not None:
            read += 1
            assert lost(bent, packet) == [], path
            assert_comes_back(packet)
    assert read > len(TARGETS) * 0.8


def test_the_check_of_nothing_lost_does_notice_a_loss():
    message = contract(market={"foreign": 1}, logs=["a", {"level": 5, "message": "b", "timestamp": "x"}])
    packet = decode(message)
    assert lost(message, packet) == []
    assert lost(message, packet._replace(extra={})) == [
        ("data", "market", "foreign"),
        ("data", "logs", 1, "level"),
    ]
    assert ("data", "market", "price") in lost(message, packet._replace(price=450.33))
    assert ("data", "logs", 0) in lost(message, packet._replace(logs=packet.logs[1:] * 2))
    assert ("data", "agents", "MacroAgent", "latency_ms") in lost(message, packet._replace(agents=()))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"\xef\xbb\xbf{}", "no known shape"),
        (b"hello", "not JSON"),
        (b"[]", "expected a JSON object, got list"),
        (b"5", "expected a JSON object, got int"),
        (b"NaN", "expected a JSON object, got str"),
        (b"{}", "no known shape"),
        (b'{"type":"PONG"}', "no known shape"),
        (b'{"type":"TELEMETRY","data":null}', "no known shape"),
        (b'{"type":"TELEMETRY","data":[1]}', "no known shape"),
        (b'{"type":["TELEMETRY"],"data":{}}', "no known shape"),
        (b'{"error":"No state available"}', "no known shape"),
        (b'{"type":"TELEMETRY","data":' * 10_000, "not JSON"),
        (b'{"x":NaN,"data":' + b"[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_message_is_a_decode_error_that_says_why(raw, reason):
    with pytest.raises(DecodeError, match=reason):
        codec.decode(raw)


def test_a_decode_error_quotes_no_more_than_a_few_short_keys_of_a_flood():
    flood = {f"<b>\n{'k' * 5000}{i}": i for i in range(2000)}
    with pytest.raises(DecodeError) as caught:
        codec.decode(json.dumps(flood).encode())
    assert len(caught.value.reason) < 400
    assert "\n" not in caught.value.reason
    assert "2000 keys" in caught.value.reason


@pytest.mark.parametrize("levels", [240, 250, 254, 255, 260, 500, 990, 1020])
@pytest.mark.parametrize("place", ["foreign", "log", "envelope", "envelope_name", "price", "agent", "forecast"])
def test_a_nest_is_stored_and_written_again_or_refused_but_never_kept_where_it_could_not_be_stored(levels, place):
    nest = b"[" * levels + b"]" * levels
    raw = {
        "foreign": b'{"type":"TELEMETRY","data":{"foreign":%s}}',
        "log": b'{"type":"TELEMETRY","data":{"logs":[%s]}}',
        "envelope": b'{"type":"TELEMETRY","data":{},"foreign":%s}',
        "envelope_name": b'{"type":"TELEMETRY","data":{"$envelope":%s}}',
        "price": b'{"type":"TELEMETRY","data":{"market":{"price":%s}}}',
        "agent": b'{"type":"TELEMETRY","data":{"agents":{"A":{"latency_ms":%s}}}}',
        "forecast": b'{"type":"TELEMETRY","forecast":{"median":%s}}',
    }[place] % nest
    packet = try_decode(raw)
    if levels < 250:
        assert packet is not None
    if levels > 254:
        assert packet is None
    if packet is not None:
        assert codec.text(packet.extra)
        assert_comes_back(packet)


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_a_token_that_is_no_number_is_missing_and_flagged_and_its_text_is_kept(token):
    raw = json.dumps(contract(market={"price": "TOKEN"}, foreign="TOKEN")).replace('"TOKEN"', token).encode()
    packet = try_decode(raw)
    assert packet.price is NAN
    assert packet.flags & Flag.COERCED
    assert packet.extra == {"market": {"price": token}, "foreign": token}
    assert packet.alpha == 2.8
    assert_comes_back(packet)


def test_integers_of_64_bits_are_kept_exactly_beside_a_token_and_without_one():
    for token in ("1.5", "NaN"):
        raw = json.dumps(contract(big=[2**64 - 1, -(2**63), 2**53 + 1], x="TOKEN")).replace('"TOKEN"', token).encode()
        assert try_decode(raw).extra["big"] == [2**64 - 1, -(2**63), 2**53 + 1]


def test_an_integer_beyond_64_bits_is_read_as_a_number_with_and_without_a_token():
    for token in ("1.5", "NaN"):
        raw = json.dumps(contract(portfolio={"nav": 2**64}, x="TOKEN")).replace('"TOKEN"', token).encode()
        assert try_decode(raw).nav == 2.0**64


def test_an_integer_that_a_float_rounds_is_kept_exactly_in_extra():
    packet = try_decode(json.dumps(contract(portfolio={"nav": 2**53 + 1}, agents={"A": {"invocations": 2**53 + 1}})).encode())
    assert packet.nav == 2.0**53
    assert packet.extra["portfolio"] == {"nav": 2**53 + 1}
    assert packet.extra["agents"] == {"A": {"invocations": 2**53 + 1}}
    assert packet.flags & Flag.COERCED
    assert_comes_back(packet)


def test_of_duplicate_keys_the_last_wins_with_and_without_a_token():
    for rest in (b"", b',"x":NaN'):
        raw = b'{"type":"TELEMETRY","data":{"market":{"price":1},"market":{"price":2,"price":3}%s}}' % rest
        assert try_decode(raw).price == 3.0


@pytest.mark.slow
def test_ten_thousand_agents_models_logs_and_foreign_keys_are_read_and_come_back():
    packet = try_decode(
        json.dumps(
            contract(
                agents={f"Agent{i}": {"latency_ms": i, "success_rate": 0.5, "invocations": i} for i in range(10_000)},
                models={f"Model{i}": {"latency_ms": i, "odd": i} for i in range(10_000)},
                logs=["line"] * 10_000,
                **{f"key{i}": i for i in range(10_000)},
            )
        ).encode()
    )
    assert len(packet.agents) == 10_001  # the example's own among them
    assert packet.agents[-1] == ("Agent9999", 9999.0, 0.5, 9999.0)
    assert len(packet.models) == 10_001
    assert len(packet.logs) == 10_000
    assert packet.extra["key9999"] == 9999
    assert_comes_back(packet)


@pytest.mark.slow
def test_a_text_of_four_megabytes_is_kept_whole_and_no_cache_holds_on_to_it():
    def flood(i):
        giant = f"{i}" + "x" * 1_000_000
        message = contract(
            timestamp=giant,
            status=giant,
            market={"regime": giant, "symbol": giant},
            signal={"side": giant, "reasoning": giant},
            logs=[{"level": giant, "message": giant, "timestamp": giant}, giant],
        )
        return len(try_decode(json.dumps(message).encode()).reasoning)

    flood(0)
    tracemalloc.start()
    try:
        for i in range(1, 6):
            assert flood(i) == 1_000_001
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_packet_knows_what_it_was_told_about_its_arrival():
    now = Instant(1_766_318_401_000_000_000, 42)
    packet = codec.decode(json.dumps(shapes.CONTRACT).encode(), seq=9, connection=4, now=now)
    assert (packet.seq, packet.connection, packet.received_at_ns, packet.received_mono_ns) == (9, 4, *now)
    assert packet.raw == json.dumps(shapes.CONTRACT).encode()


def test_a_view_of_bytes_is_read_like_bytes_and_copied():
    buffer = bytearray(json.dumps(shapes.CONTRACT).encode())
    packet = codec.decode(memoryview(buffer))
    before = bytes(buffer)
    buffer[:] = b" " * len(buffer)
    assert packet.raw == before


@pytest.mark.parametrize("dialect", SHAPES)
def test_each_observed_shape_is_written_in_its_own_dialect(dialect):
    for message in SHAPES[dialect]:
        packet = try_decode(json.dumps(message).encode())
        assert packet.dialect == dialect
        assert lost(message, packet) == []
        assert_comes_back(packet)


def test_the_contracts_example_is_written_exactly_as_it_stands_in_the_contract():
    assert orjson.loads(codec.encode(decode(shapes.CONTRACT))) == shapes.CONTRACT
