"""The guide's examples of messages: each can be read, and every type of message has one."""

from __future__ import annotations

import re
from pathlib import Path

import orjson

from ccwatch.protocol.wire import delta, envelope, hello, packing

GUIDE = (Path(__file__).parents[3] / ".github" / "guide" / "wire.md").read_text(encoding="utf-8")
MESSAGES = [
    orjson.loads(line)
    for fence in re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)
    for line in fence.splitlines()
    if line.startswith('{"type"')
]


def test_every_type_of_message_has_an_example_that_can_be_read():
    streamed = [message for message in MESSAGES if "ch" in message]
    before = None
    for message in streamed:
        found = envelope.read(message)
        before, text = (value := delta.rebuild(before, found.body), packing.text_of(value)) if found.is_delta else envelope.value_of(found)
        assert packing.checksum(text) == found.crc
    others = {message["type"] for message in MESSAGES if "ch" not in message}
    assert {message["type"] for message in streamed} >= envelope.BODY_TYPES | {"TELEMETRY", "DELTA", "TEXT", "BYTES"}
    assert others == {"HELLO", "RESYNC", "SUBSCRIBE", "UNSUBSCRIBE", "HALT", "ACK", "NACK"}


def test_the_examples_of_the_agreement_and_of_a_delta_are_what_the_two_ends_read():
    asked, granted = (message for message in MESSAGES if message["type"] == "HELLO")
    want = hello.read_want(asked)
    assert hello.read_got(granted, want).recovered == {"state": True}
    change = orjson.loads(re.search(r"### Deltas\n\n```json\n(.*?)```", GUIDE, re.DOTALL)[1])
    before = {"data": {"sentiment": 1, "market": {"price": 1}, "signal": {}, "logs": ["a", "b"]}}
    after = {"data": {"market": {"price": 451.0}, "signal": {"side": "BUY"}, "logs": ["b", "d"]}}
    assert delta.rebuild(before, change) == after


def test_every_code_of_a_refusal_is_in_the_guide():
    package = Path(hello.__file__).parents[2]
    sources = [*package.glob("protocol/wire/*.py"), package / "cottage" / "requests.py", package / "cottage" / "endpoint.py"]
    codes = {code for source in sources for code in re.findall(r'Refused\("(\w+)"|Answered\("(\w+)"', source.read_text(encoding="utf-8"))}
    assert {word for pair in codes for word in pair if word} <= set(re.findall(r"`(\w+)`", GUIDE))
