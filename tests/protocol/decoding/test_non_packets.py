"""What a text of the stream may hold besides one packet: nothing of it is called malformed that is not."""

from __future__ import annotations

import json
import time

import orjson
import pytest

from ccwatch.errors import DecodeError
from ccwatch.protocol import server_texts
from ccwatch.protocol.decoding import codec, many_messages
from ccwatch.protocol.messages import Flag, NonPacket, NonPacketSort, Packet
from tests.protocol.shapes import BRIDGE_MARKET, CONTRACT, NOW, PIPELINE, contract, decode


def read(raw):
    parts = codec.read(raw if isinstance(raw, bytes) else json.dumps(raw).encode(), seq=5, connection=1, now=NOW, server_tz="UTC")
    return [part if isinstance(part, NonPacket) else Packet._make(part) for part in parts]


@pytest.mark.parametrize(
    ("sent", "sort", "kind"),
    [
        (b' {"type":"HEARTBEAT","timestamp":"2026-11-27T14:00:01+00:00"}', "heartbeat", "HEARTBEAT"),
        ({"type": "heartbeat"}, "heartbeat", "heartbeat"),
        ({"event": "keepalive"}, "heartbeat", "keepalive"),
        ({"op": "pong", "id": 5}, "pong", "pong"),
        ({"type": "PONG"}, "pong", "PONG"),
        ({"ping": 1795770000}, "heartbeat", None),
        (b"PONG", "pong", "PONG"),
        (b'"ping"', "heartbeat", "PING"),
        ({"type": "NODE_UPDATE", "data": {"node": "risk", "status": "running"}}, "unknown", "NODE_UPDATE"),
        ({"type": "x" * 1000}, "unknown", "x" * 64),
        ({"type": 7}, "unknown", "7"),
    ],
)
def test_life_and_types_that_are_not_the_contracts_are_told_apart(sent, sort, kind):
    (aside,) = read(sent)
    assert (aside.sort, aside.type, aside.text) == (sort, kind, "")


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        ({"type": "ERROR", "data": {"code": 406, "msg": "connection limit exceeded"}}, "406 connection limit exceeded"),
        ({"type": "error", "message": "no"}, "no"),
        ({"error": "forbidden"}, "forbidden"),
        ({"error": {"code": 1, "message": "bad"}}, "1 bad"),
        ({"status": "ERROR", "message": "Redis is down"}, "Redis is down"),
        ({"type": "AUTH_ERROR"}, "an error without a text"),
        ({"type": "NOTICE", "errors": ["a", {"message": "b"}]}, "a b"),
        ({"type": "ERROR", "detail": "Bearer abc.def-ghi rejected"}, "Bearer … rejected"),
        ({"error": "token=s3cr3t is not valid"}, "token=… is not valid"),
        ({"error": 'bad {"api_key": "s3cr3t"}'}, 'bad {"api_key": "…"}'),
        ({"error": "eyJhbGciOi.eyJzdWIi.sig expired"}, "… expired"),
        ({"error": "APCA-API-SECRET-KEY: s3cr3t, retry"}, "APCA-API-SECRET-KEY: …, retry"),
        ({"error": "access_key=s3cr3t"}, "access_key=…"),
        ({"error": "/p?key=s3cr3t&symbol=SPY"}, "/p?key=…&symbol=SPY"),
        ({"error": '{"password": "two w0rds"}'}, '{"password": "…"}'),
        ({"error": "Authorization: Token s3cr3t"}, "Authorization: …"),
        ({"error": "invalid token s3cr3t"}, "invalid token …"),
        ({"error": "token expired"}, "token expired"),
        ({"error": "ws://user:pass@host:3000 refused"}, "ws://…@host:3000 refused"),
        ({"error": "a\nb\t\x00c"}, "a b �c"),
    ],
)
def test_what_a_server_says_is_wrong_is_one_line_without_secrets(sent, text):
    (aside,) = read(sent)
    assert (aside.sort, aside.text) == (NonPacketSort.ERROR, text)
    assert aside.raw == json.dumps(sent).encode()


def test_an_error_is_bounded():
    (aside,) = read({"error": "x" * 100_000})
    assert len(aside.text) == 300


def test_an_engine_that_was_reached_and_has_nothing_yet_is_offline():
    for sent in ({"error": "No state available", "status": "offline"}, {"status": "SystemStatus.OFFLINE"}):
        (packet,) = read(sent)
        assert (packet.status, packet.kind) == ("OFFLINE", "STATE")
    (packet,) = read({"timestamp": "2026-11-27T09:00:00Z", "source": "system_events", "status": "HALTED"})
    assert (packet.status, packet.kind, packet.dialect) == ("HALT", "PARTIAL", "bridge")


def test_an_error_about_a_symbol_is_no_state_of_it():
    (aside,) = read({"error": "unknown symbol", "symbol": "XYZ"})
    assert aside.text == "unknown symbol"


@pytest.mark.parametrize("sent", [{"type": "TELEMETRY"}, {"type": "WELCOME", "data": 5}, {"foo": 1}, {}, {"status": "ok"}])
def test_what_is_of_no_shape_and_of_no_type_is_malformed(sent):
    with pytest.raises(DecodeError, match="no known shape"):
        read(sent)


ONE, TWO, THREE = (json.dumps(message).encode() for message in (CONTRACT, BRIDGE_MARKET, PIPELINE))


@pytest.mark.parametrize(
    "text",
    [
        b"\n".join((ONE, TWO, THREE)),
        b"\r\n".join((ONE, b"", TWO, THREE, b"")),
        b"\x1e" + b"\n\x1e".join((ONE, TWO, THREE)),
        ONE + TWO + b"  " + THREE,
        b"[" + b",".join((ONE, TWO, THREE)) + b"]",
        b"[" + ONE + b",[" + TWO + b",[" + THREE + b"]]]",
    ],
)
def test_several_messages_of_one_text_are_read_each_by_its_own_bytes_and_number(text):
    packets = read(text)
    assert [packet.raw for packet in packets] == [ONE, TWO, THREE]
    assert [packet.seq for packet in packets] == [5, 6, 7]
    assert [packet.dialect for packet in packets] == ["contract", "bridge", "pipeline"]


def test_a_part_that_is_no_message_costs_no_other():
    parts = read(b"[" + ONE + b',5,{"type":"PONG"},' + TWO + b"]")
    assert [getattr(part, "sort", "packet") for part in parts] == ["packet", "malformed", "pong", "packet"]
    assert [part.seq for part in parts if isinstance(part, Packet)] == [5, 6]
    parts = read(ONE + b"\n{broken\n" + TWO)
    assert [getattr(part, "sort", "packet") for part in parts] == ["packet", "malformed", "packet"]
    assert parts[1].raw == b"{broken"


@pytest.mark.parametrize("text", [b"[]", b"[[],[]]", b"[1,2]", b"a\nb", b'{\n"a": 1,\n}', b"[" * 100_000, b"", b" ", b"\xef\xbb\xbf"])
def test_a_text_without_any_message_is_malformed_once(text):
    with pytest.raises(DecodeError):
        read(text)


@pytest.mark.slow
def test_a_million_entries_are_bounded_and_read_in_no_time():
    began = time.thread_time()
    parts = read(b"[" + ONE + b",1" * 1_000_000 + b"]")
    assert len(parts) <= many_messages.MOST + 1
    with pytest.raises(DecodeError):
        read(b"[" + b"[]," * 300_000 + b"[]]")
    assert time.thread_time() - began < 5.0


def test_a_byte_order_mark_costs_no_packet():
    packet = decode(b"\xef\xbb\xbf" + ONE)
    assert packet.price == 450.32
    assert packet.flags == 0
    assert packet.raw == b"\xef\xbb\xbf" + ONE


@pytest.mark.parametrize("half", ["\\ud83d", "\\udc00", "\\ud83d\\u0041"])
def test_half_a_surrogate_pair_is_a_replacement_character(half):
    raw = ONE.replace(b"Momentum", b"up " + half.encode())
    packet = decode(raw)
    assert packet.reasoning.startswith("up �")
    assert packet.flags == Flag.COERCED
    assert orjson.loads(codec.encode(packet))


def test_half_a_pair_as_bytes_and_a_whole_pair_as_two_halves_are_read():
    half = decode(ONE.replace(b"Momentum", b"up \xed\xa0\xbd"))
    assert (half.reasoning[:4], half.flags) == ("up �", Flag.COERCED)
    whole = decode(ONE.replace(b"Momentum", b"up \xed\xa0\xbd\xed\xb8\x80"))
    assert whole.reasoning[:4] == "up \U0001f600"


@pytest.mark.parametrize(("sent", "symbol"), [(600519, "600519"), (7.0, "7"), (1.5, "1.5")])
def test_a_symbol_of_digits_is_its_text(sent, symbol):
    packet = decode(contract(market={"symbol": sent}))
    assert (packet.symbol, packet.flags) == (symbol, Flag.COERCED)
    assert json.loads(codec.encode(packet))["data"]["market"]["symbol"] == sent


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (None, "null"),
        (5, "5"),
        ({"a": [1]}, '{"a": [1]}'),
        ({"msg": "hello", "level": "INFO"}, "hello"),
        ({"message": "m", "timestamp": 1795888951138319}, "m"),
        (["x"], '["x"]'),
    ],
)
def test_a_log_entry_of_any_kind_is_a_line_and_costs_no_packet(entry, message):
    packet = decode(contract(logs=["before", entry, "after"]))
    assert [line.message for line in packet.logs] == ["before", message, "after"]
    assert json.loads(codec.encode(packet))["data"]["logs"] == ["before", entry, "after"]


@pytest.mark.slow
@pytest.mark.parametrize("text", ["a-" * 2048, "access-" * 600, "a.b+" * 1024, "token=" * 700, "http:/" * 700])
def test_a_servers_words_are_searched_for_secrets_in_a_time_that_grows_with_their_length(text):
    begun = time.process_time()
    for _ in range(200):
        server_texts.shown(text)
    assert time.process_time() - begun < 5.0, "over 25 ms each: an address without an end was sought from every letter"
