"""permessage-deflate: what is agreed, what is inflated, and one stream for many receivers."""

from __future__ import annotations

import json
import random
import tracemalloc
import zlib

import pytest

from ccwatch.protocol.wire.deflate import (
    NAME,
    TAIL,
    Agreement,
    ExtensionError,
    InflatedTooLarge,
    InflateError,
    Inflater,
    SharedStream,
    agreed,
    alone,
)
from tests.protocol.shapes import contract

MANY = [
    json.dumps(contract(market={"price": 450 + n / 7}, timestamp=f"2026-01-02T14:{n // 60 % 60:02d}:{n % 60:02d}Z")).encode()
    for n in range(400)
]
LIMIT = 1 << 20


@pytest.mark.parametrize(
    ("header", "agreement"),
    [
        (None, None),
        (" ", None),
        (NAME, Agreement(keeps_window=True, window_bits=15)),
        (f"{NAME}; server_max_window_bits=12", Agreement(keeps_window=True, window_bits=12)),
        (f'{NAME}; server_max_window_bits="9"; client_max_window_bits=15', Agreement(keeps_window=True, window_bits=9)),
        (f"{NAME};server_no_context_takeover;client_no_context_takeover", Agreement(keeps_window=False, window_bits=15)),
    ],
)
def test_what_a_server_agrees_to(header, agreement):
    assert agreed(header, offered=True) == agreement


@pytest.mark.parametrize(
    "header",
    [
        "x-webkit-deflate-frame",
        f"{NAME}, {NAME}",
        f"{NAME}; server_max_window_bits",
        f"{NAME}; client_max_window_bits",
        f"{NAME}; server_max_window_bits=7",
        f"{NAME}; server_max_window_bits=16",
        f"{NAME}; server_no_context_takeover; server_no_context_takeover",
        f"{NAME}; server_no_context_takeover=1",
        f"{NAME}; other=1",
        f"{NAME};",
        "; ;",
    ],
)
def test_what_a_server_must_not_agree_to_fails(header):
    with pytest.raises(ExtensionError):
        agreed(header, offered=True)


def test_an_extension_that_was_not_offered_fails():
    assert agreed(None, offered=False) is None
    with pytest.raises(ExtensionError, match="not offered"):
        agreed(NAME, offered=False)


@pytest.mark.parametrize("bits", [9, 13, 15])
@pytest.mark.parametrize("keeps", [True, False])
def test_messages_of_any_window_are_inflated_to_the_byte(bits, keeps):
    inflater = Inflater(Agreement(keeps_window=keeps, window_bits=bits), LIMIT)
    stream = zlib.compressobj(9, zlib.DEFLATED, -bits)
    for message in MANY[:50]:
        if not keeps:
            stream = zlib.compressobj(9, zlib.DEFLATED, -bits)
        made = stream.compress(message) + stream.flush(zlib.Z_SYNC_FLUSH)
        assert inflater.inflate(memoryview(made[:-4])) == message


def test_a_final_block_and_an_empty_message_are_read():
    inflater = Inflater(Agreement(keeps_window=True, window_bits=15), LIMIT)
    final = zlib.compressobj(9, zlib.DEFLATED, -15)
    assert inflater.inflate(final.compress(b"first") + final.flush() + b"\x00") == b"first"
    assert inflater.inflate(b"\x00") == b""
    assert inflater.inflate(alone(b"second")) == b"second"


@pytest.mark.slow
def test_a_bomb_is_refused_with_no_more_than_the_limit_made_of_it():
    bomb = alone(bytes(200 << 20))
    assert len(bomb) < 1 << 18
    inflater = Inflater(Agreement(keeps_window=True, window_bits=15), LIMIT)
    tracemalloc.start()
    with pytest.raises(InflatedTooLarge, match=str(LIMIT)):
        inflater.inflate(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * LIMIT
    assert Inflater(Agreement(keeps_window=True, window_bits=15), LIMIT).inflate(alone(bytes(LIMIT))) == bytes(LIMIT)


@pytest.mark.parametrize("payload", [b"\xff\xff\xff", b"\x07"])
def test_what_is_no_deflate_stream_is_an_error(payload):
    with pytest.raises(InflateError):
        Inflater(Agreement(keeps_window=True, window_bits=15), LIMIT).inflate(payload)


def test_all_receivers_of_a_shared_stream_read_every_message_whenever_they_join_and_whatever_they_miss():
    chance = random.Random(7)
    shared = SharedStream(restart=20)
    receivers = [Inflater(Agreement(keeps_window=True, window_bits=13), LIMIT) for _ in range(6)]
    in_step = [False] * 6
    joins = [0, 0, 5, 19, 20, 133]
    heard = [[] for _ in receivers]
    for n, message in enumerate(MANY):
        made, begins, number = shared.next(message)
        assert number == n + 1
        for place, receiver in enumerate(receivers):
            if n < joins[place]:
                continue
            if place % 2 and chance.random() < 0.02:
                in_step[place] = False  # it was skipped
                continue
            in_step[place] |= begins
            heard[place].append((n, receiver.inflate(made if in_step[place] else alone(message))))
    assert all(text == MANY[n] for texts in heard for n, text in texts)
    assert len(heard[0]) == len(MANY)


def test_a_kept_window_pays():
    shared = SharedStream()
    sizes = [len(shared.next(message).payload) for message in MANY]
    assert sum(sizes) / sum(map(len, MANY)) < 0.25 * len(alone(MANY[0])) / len(MANY[0])
    shared.reset()
    assert shared.next(MANY[0]).begins
    assert not alone(b"x").endswith(TAIL)
