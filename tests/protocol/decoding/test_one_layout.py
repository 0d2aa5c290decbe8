from __future__ import annotations

import json
import random
import struct

import pytest
from hypothesis import given, strategies as st

from ccwatch.errors import DecodeError
from ccwatch.feed.synthetic import messages
from ccwatch.protocol.columns import PACKETS
from ccwatch.protocol.decoding import codec, layout
from ccwatch.protocol.decoding.decoders import decoder_for
from ccwatch.protocol.decoding.dialects import DIALECTS
from ccwatch.protocol.decoding.one_layout import NoDecoder
from ccwatch.recording.arrow_tables import ODD
from tests.protocol.shapes import examples

LINES = [{"level": "INFO", "message": "Physics: wait", "timestamp": "2026-01-02T14:29:58Z"}] * 2
BODY = {
    "timestamp": "2026-01-02T14:30:00.25Z",
    "status": "ACTIVE",
    "market": {"symbol": "SPY", "price": 450.32, "alpha": 2.8, "regime": "Lévy Stable", "velocity": 0.0012, "acceleration": None},
    "portfolio": {"nav": 105234.56, "cash": 85000, "daily_pnl": 1234.5, "max_drawdown": -0.05},
    "signal": {"side": "HOLD", "confidence": 0.85, "reasoning": "Momentum"},
    "governance": {"approved_size": 0.15},
    "sentiment": None,
    "logs": LINES,
    "agents": {
        "A b": {"success_rate": 0.98, "latency_ms": 45.2, "invocations": 5},
        "é": {"success_rate": 1.0, "latency_ms": 5, "invocations": 6},
    },
    "models": {"Chronos": {"latency_ms": 120.5, "invocations": 1523, "cache_hit_rate": 0.5}},
}
SHAPES = {
    "contract": {"type": "TELEMETRY", "data": BODY},
    "engine_loop": {"type": "TELEMETRY", **BODY, "logs": ["[RISK]: approved", "x"]},
    "bridge": {**BODY, "logs": []},
    "pipeline": {
        "symbol": "SPY",
        "price": 450.3,
        "nav": 1e5,
        "regime": "LÃ©vy Stable",
        "signal_side": "BUY",
        "status": "ACTIVE",
        "messages": LINES,
    },
}
VALUES = (
    st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**60), 2**60)
    | st.sampled_from([0, -0.0, 1.0, 2**53, 1e16, 1e-7, "", "Unknown", "Initializing", "HALTED_X", "€\n\u2028\x7f", None, True, [], {}])
    | st.text(max_size=5)
)


def reader(message):
    raw = codec.dumps(message)
    packet = codec.decode(raw)
    found = layout.Layouts().of(raw)
    assert layout.encode(packet, found) == raw
    return decoder_for(found)


def places(value, path=()):
    """The path of each value that is no object or list."""
    if isinstance(value, (dict, list)):
        keys = value if isinstance(value, dict) else range(len(value))
        return [found for key in keys for found in places(value[key], (*path, key))] or [path]
    return [path]


def changed(message, path, value):
    copy = json.loads(json.dumps(message))
    below = copy
    for key in path[:-1]:
        below = below[key]
    below[path[-1]] = value
    return copy


def check(usual, raw):
    """Whether the message is read; then it must be as `codec` reads it."""
    found = usual.read(raw, "UTC")
    if found is None:
        return False
    packet = codec.decode(raw)
    if packet.flags & ODD:
        return True  # a recording's packet of these flags does not come here
    _, logs = found
    assert (packet.extra, packet.forecasts, packet.dialect) == ({}, (), usual.dialect)
    assert layout.Layouts().of(raw) == usual.layout
    assert layout.encode(packet, usual.layout) == raw
    assert logs == packet.logs
    columns = usual.columns([raw, raw])
    assert (columns.logs, columns.refused) == ([packet.logs] * 2, [])
    values = columns.packets
    for column in PACKETS:
        sent = getattr(packet, column.field)
        if column.name in values:
            assert values[column.name] == [sent, sent], column.name
        elif column.wire:
            assert sent is None or sent != sent or column.name == "time"  # noqa: PLR0124 - NaN
    for table in ("agents", "models"):
        names, counts, gauges = columns.metrics[table]
        metrics = getattr(packet, table)
        assert (names, counts) == ([metric[0] for metric in metrics], None)
        assert list(gauges) == [gauge for metric in metrics for gauge in metric[1:]] * 2
    return True


@pytest.mark.parametrize("dialect", SHAPES)
def test_a_message_of_each_dialect_is_read_as_the_codec_reads_it(dialect):
    usual = reader(SHAPES[dialect])
    assert usual.dialect == dialect
    assert check(usual, codec.dumps(SHAPES[dialect])), "refused: is a time a number, or another value flagged COERCED?"
    assert {d.name for d in DIALECTS} == {*SHAPES}


@pytest.mark.parametrize("dialect", SHAPES)
def test_whatever_changes_in_a_message_is_read_as_the_codec_reads_it_or_refused(dialect):
    message = SHAPES[dialect]
    usual = reader(message)
    spots = places(message)
    read = {True: 0, False: 0}

    @examples(150)
    @given(st.sampled_from(spots), VALUES)
    def holds(path, value):
        raw = codec.dumps(changed(message, path, value))
        try:
            codec.decode(raw)
        except DecodeError:
            assert usual.read(raw, "UTC") is None
            return
        read[check(usual, raw)] += 1

    holds()
    assert min(read.values()) > 2  # which values are drawn depends on the modules that are loaded


def test_other_spellings_orders_and_keys_are_refused():
    message = SHAPES["contract"]
    usual = reader(message)
    raw = codec.dumps(message)
    for other in (
        json.dumps(message).encode(),
        raw.replace(b"450.32", b"450.320"),
        raw.replace(b"450.32", b"4.5032e2"),
        raw.replace(b'"price":450.32', b'"price":1.0,"price":450.32'),
        raw.replace(b'"nav":', b'"new":1,"nav":'),
        raw.replace(b'"WELCOME"', b'"telemetry"'),
        codec.dumps({"data": BODY, "type": "TELEMETRY"}),
        codec.dumps({**message, "data": {**BODY, "agents": dict(reversed(BODY["agents"].items()))}}),
        codec.dumps({**message, "data": {**BODY, "logs": []}}),
        codec.dumps({**message, "data": {**BODY, "logs": [*LINES, "text"]}}),
        codec.dumps({**message, "data": {**BODY, "logs": [{**LINES[0], "level": None}]}}),
    ):
        assert other == raw or usual.read(other, "UTC") is None, other
    assert check(usual, codec.dumps({**message, "data": {**BODY, "logs": LINES[:1]}})), "a shorter list has the same layout"


def test_what_has_no_column_gets_no_decoder():
    data = {key: value for key, value in BODY.items() if key != "agents"}
    for odd in (
        {**data, "x": 1},
        {**data, "market": {**BODY["market"], "x": 1.0}},
        {**data, "agents": {"A": {"latency_ms": 1.0}}},
        {**data, "logs": [*LINES, "text"]},
        {**data, "signal": {"reasoning": 1}},
        {**data, "market": [1]},
    ):
        raw = codec.dumps({"type": "TELEMETRY", "data": odd})
        with pytest.raises(NoDecoder):
            decoder_for(layout.Layouts().of(raw))


@pytest.mark.parametrize("odd", ["", "{", "[]", "[1,2]", '["compact",[0]]', '["spaced",{"data":{"x":0}}]', '["compact",{"x":0}]'])
def test_what_is_no_layout_gets_no_decoder(odd):
    with pytest.raises(NoDecoder):
        decoder_for(odd)


def test_both_encoders_spell_every_number_alike_that_a_decoder_takes():
    usual = reader({"type": "TELEMETRY", "data": {"market": {"symbol": "SPY", "velocity": 1.5}}})
    dice = random.Random(1)
    for _ in range(20_000):
        (bits,) = struct.unpack("<d", struct.pack("<Q", dice.getrandbits(64)))
        value = dice.choice([bits, dice.gauss(0, 1) * 10.0 ** dice.randint(-20, 20)])
        if value - value == 0.0:
            raw = codec.dumps({"type": "TELEMETRY", "data": {"market": {"symbol": "SPY", "velocity": value}}})
            assert (usual.read(raw, "UTC") is not None) == (abs(value) < 2**53)


def test_nearly_all_messages_of_the_seeded_stream_are_read():
    sent = [raw for raw, _ in zip(messages(2), range(300), strict=False)]
    usual = reader(json.loads(sent[100]))
    assert sum(check(usual, raw) for raw in sent) > 290
