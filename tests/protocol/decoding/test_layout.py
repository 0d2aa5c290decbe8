from __future__ import annotations

import json
import os

import pytest
from hypothesis import given, settings

from ccwatch.errors import DecodeError
from ccwatch.feed.synthetic import messages
from ccwatch.protocol.decoding import codec, layout
from ccwatch.recording import arrow_tables
from tests.recording.test_recording import odd_messages


def rebuilt(raw):
    found = layout.Layouts().of(raw)
    return None if found is None else layout.encode(codec.decode(raw), found)


def test_a_packets_fields_and_its_layout_give_its_message_byte_for_byte_whatever_its_order_and_spelling():
    raw = next(messages(4))
    message = json.loads(raw)
    data = message["data"]
    shuffled = {"data": dict(reversed(data.items())), "type": "TELEMETRY"}
    whole = {**message, "data": {**data, "portfolio": {**data["portfolio"], "nav": 100_000, "cash": None}, "logs": [], "agents": {}}}
    for variant in (message, shuffled, whole):
        for text in (codec.dumps(variant), json.dumps(variant).encode(), json.dumps(variant, ensure_ascii=False).encode()):
            assert rebuilt(text) == text


@pytest.mark.parametrize("spelling", [b'{"type":"TELEMETRY","data":{"market":{"price":1.50}}}', b'{"type":"TELEMETRY", "data":{}}', b"[] "])
def test_a_message_in_no_known_style_has_no_layout(spelling):
    assert layout.Layouts().of(spelling) is None


def test_one_layout_serves_all_messages_of_a_shape_and_tells_shapes_apart():
    layouts = layout.Layouts()
    found = {layouts.of(raw) for raw, _ in zip(messages(2), range(200), strict=False)}
    assert len(found) <= 3, "lists that begin empty, and the rest"
    texts = [
        b'{"a":1}',
        b'{"a":1.0}',
        b'{"a":null}',
        b'{"b":1}',
        b'{"a":[1]}',
        b'{"a":[1,1.0]}',
        b'{"a":{"b":1}}',
        b'{"a":{}}',
        b'{"a":[]}',
    ]
    assert len({layouts.of(text) for text in texts}) == len(texts)
    alike = [b'{"a":[{"x":1},{"x":2}]}', b'{"a":[{"x":1}]}', b'{"a":[{"x":5},{"x":6},{"x":7}]}']
    assert len({layouts.of(text) for text in alike}) == 1
    unlike = [b'{"a":[{"x":1},{"x":2.5}]}', b'{"a":[{"x":{}},{"x":{"y":1}}]}', b'{"a":[{"x":1},{"y":1}]}']
    assert len({layouts.of(text) for text in (*alike, *unlike)}) == 4


def test_a_layout_of_another_message_is_refused():
    one, other = (
        codec.dumps({"type": "TELEMETRY", "data": {"status": "ACTIVE"}}),
        codec.dumps({"type": "TELEMETRY", "data": {"x": [1, 2.5]}}),
    )
    for raw, foreign in ((one, other), (other, one)):
        found = layout.Layouts().of(foreign)
        with pytest.raises(layout.Unfit):
            layout.encode(codec.decode(raw), found)


@pytest.mark.slow
@settings(max_examples=5_000 if os.environ.get("CCWATCH_FULL") else 200)
@given(odd_messages)
def test_a_message_with_nothing_odd_about_it_comes_back_byte_for_byte(raw):
    """What recordings rely on where they do not try a layout out on every message (see `segments`)."""
    try:
        packet = codec.decode(raw)
    except DecodeError:
        return
    found = layout.Layouts().of(raw)
    if found and not (packet.extra or packet.forecasts or packet.flags & arrow_tables.ODD):
        assert layout.encode(packet, found) == raw
