from __future__ import annotations

import os
import tracemalloc

import pytest
from hypothesis import given, settings, strategies as st
from websockets.frames import Frame, Opcode

from ccwatch.feed import framing
from ccwatch.feed.framing import FrameParser, FramingError, MessageTooLarge
from ccwatch.protocol.wire import deflate
from tests.feed.servers import frame

LIMIT = 1024 * 1024
SLACK = 600 * 1024
MORE = 20 if os.environ.get("CCWATCH_FULL") else 1


def feed(parser, data, sizes=(2**62,)):
    """All messages of `data`, given to the parser in pieces of these sizes, the last one again and again."""
    sizes = list(sizes)
    messages, at = [], 0
    while at < len(data) and parser.error is None:
        space = parser.space()
        assert len(space) > 0
        count = min(len(space), len(data) - at, sizes.pop(0) if len(sizes) > 1 else sizes[0])
        space[:count] = data[at : at + count]
        at += count
        messages += [(opcode, bytes(payload)) for opcode, payload in parser.filled(count)]
    return messages


def served(opcode, payload, fin=True):
    """A server's frame by the `websockets` package."""
    return bytes(Frame(opcode, payload, fin).serialize(mask=False))


PAYLOADS = st.one_of(st.binary(max_size=300), st.sampled_from([b"", b"x" * 125, b"y" * 126, b"z" * 65535, b"w" * 65536, b"v" * 300_000]))
CONTROL = st.tuples(st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=125))


@st.composite
def conversations(draw):
    """Bytes of valid frames, and the messages that they mean."""
    data, expected = b"", []
    for _ in range(draw(st.integers(1, 6))):
        if draw(st.booleans()):
            opcode, payload = draw(CONTROL)
            data += served(opcode, payload)
            expected.append((int(opcode), payload))
            continue
        opcode = draw(st.sampled_from([Opcode.TEXT, Opcode.BINARY]))
        parts = draw(st.lists(PAYLOADS, min_size=1, max_size=4))
        for i, part in enumerate(parts):
            data += served(opcode if i == 0 else Opcode.CONT, part, fin=i == len(parts) - 1)
            if i < len(parts) - 1 and draw(st.booleans()):
                control, payload = draw(CONTROL)
                data += served(control, payload)
                expected.append((int(control), payload))
        expected.append((int(opcode), b"".join(parts)))
    return data, expected


@pytest.mark.slow
@settings(deadline=None, max_examples=60 * MORE)
@given(conversations(), st.lists(st.integers(1, 70_000), min_size=1, max_size=20))
def test_any_split_of_any_sequence_of_valid_frames_gives_the_same_messages(conversation, sizes):
    data, expected = conversation
    parser = FrameParser(8 * LIMIT)
    assert feed(parser, data, sizes) == expected
    assert parser.error is None


@pytest.mark.slow
@settings(deadline=None, max_examples=100 * MORE)
@given(conversations())
def test_frames_that_come_byte_by_byte_give_the_same_messages(conversation):
    data, expected = conversation
    if len(data) < 4000:
        assert feed(FrameParser(8 * LIMIT), data, [1]) == expected


@pytest.mark.slow
@settings(deadline=None, max_examples=200 * MORE)
@given(st.binary(max_size=2000), st.lists(st.integers(1, 500), min_size=1, max_size=10))
def test_no_bytes_make_the_parser_raise_anything_or_hold_more_than_its_limit(data, sizes):
    parser = FrameParser(1000)
    messages = feed(parser, data, sizes)
    assert all(len(payload) <= 1000 for _, payload in messages)
    assert parser.error is None or isinstance(parser.error, FramingError)


def test_the_payload_of_a_whole_message_is_no_copy():
    parser = FrameParser(LIMIT)
    data = served(Opcode.TEXT, b"hello")
    parser.space()[: len(data)] = data
    [(opcode, payload)] = parser.filled(len(data))
    assert opcode == framing.TEXT
    assert isinstance(payload, memoryview)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (frame(b"a", masked=True), "masked"),
        (frame(b"a", rsv=4), "reserved"),
        (frame(b"a", rsv=1), "reserved"),
        (frame(b"a", opcode=3), "unknown opcode 3"),
        (frame(b"a", opcode=11), "unknown opcode 11"),
        (frame(b"a" * 126, opcode=9), "control frame"),
        (frame(b"a", opcode=9, fin=False), "control frame"),
        (frame(b"a", opcode=0), "continuation without a beginning"),
        (frame(b"a", fin=False) + frame(b"b"), "inside a fragmented one"),
    ],
)
def test_what_rfc_6455_forbids_ends_the_stream_after_the_messages_before_it(data, said):
    parser = FrameParser(LIMIT)
    assert feed(parser, frame(b"before") + data + frame(b"after")) == [(framing.TEXT, b"before")]
    assert said in str(parser.error)
    assert parser.error.code == 1002


@pytest.mark.parametrize("head", [b"\x83\x7f", b"\x89\x7e", b"\xf1\x7e", b"\x81\xff"])
def test_a_frame_that_is_wrong_in_its_first_two_bytes_is_refused_before_the_rest_comes(head):
    parser = FrameParser(LIMIT)
    feed(parser, head)
    assert parser.error is not None


@pytest.mark.parametrize("length", [LIMIT + 1, 2**40, 2**63, 2**64 - 1])
def test_a_header_that_announces_too_much_is_refused_at_once_and_nothing_is_kept_for_it(length):
    parser = FrameParser(LIMIT)
    tracemalloc.start()
    feed(parser, frame(b"x", length=length))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(parser.error, MessageTooLarge)
    assert (parser.error.announced, parser.error.limit, parser.error.code) == (length, LIMIT, 1009)
    assert peak < 100_000


@pytest.mark.parametrize("size", [LIMIT - 1, LIMIT])
def test_a_message_of_the_limit_is_read_whole_or_in_fragments(size):
    payload = b"p" * size
    assert feed(FrameParser(LIMIT), served(Opcode.TEXT, payload), [4096]) == [(framing.TEXT, payload)]
    half = size // 2
    fragments = served(Opcode.TEXT, payload[:half], fin=False) + served(Opcode.CONT, payload[half:])
    assert feed(FrameParser(LIMIT), fragments, [4096]) == [(framing.TEXT, payload)]


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 1000, 200_000])
def test_endless_fragments_are_refused_when_their_sum_passes_the_limit_and_memory_stays_bounded(size):
    limit = LIMIT if size > 1 else 20_000
    parser = FrameParser(limit)
    data = frame(b"f" * size, fin=False)
    piece = frame(b"f" * size, opcode=0, fin=False)
    tracemalloc.start()
    count = 0
    while parser.error is None:
        feed(parser, data)
        data = piece
        count += 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(parser.error, MessageTooLarge)
    assert count == limit // size + 1
    assert peak < limit * 9 / 8 + SLACK  # a growing bytearray takes an eighth ahead


def test_a_large_message_leaves_no_large_buffer_behind_for_the_fragments_of_the_next():
    parser = FrameParser(LIMIT)
    feed(parser, served(Opcode.TEXT, b"p" * LIMIT), [65536])
    feed(parser, served(Opcode.TEXT, b"small"))
    parser.space()
    assert len(parser._buffer) <= SLACK


def test_empty_fragments_without_end_take_no_memory():
    parser = FrameParser(LIMIT)
    feed(parser, frame(b"", fin=False))
    assert feed(parser, frame(b"", opcode=0, fin=False) * 50_000) == []
    assert len(parser._fragments) == 0
    assert feed(parser, frame(b"end", opcode=0)) == [(framing.TEXT, b"end")]


# ── compression ────────────────────────────────────────────────────────────────────────────────────────────────────────

KEPT = deflate.Agreement(keeps_window=True, window_bits=15)


def compressed(opcode, payload, fin=True):
    """A frame with RSV1, also where there must be none."""
    plain = bytearray(Frame(Opcode.TEXT, payload, fin).serialize(mask=False))
    plain[0] = (0x80 if fin else 0) | 0x40 | opcode
    return bytes(plain)


@pytest.mark.parametrize("sizes", [[2**62], [1], [7, 50]])
def test_compressed_plain_and_fragmented_messages_stand_side_by_side(sizes):
    shared, texts = deflate.SharedStream(bits=15), [b"the first " * 30, b"the second " * 3000, b"third"]
    first, second, third = (shared.next(text).payload for text in texts)
    data = (
        compressed(Opcode.TEXT, first)
        + served(Opcode.TEXT, b"plain")
        + compressed(Opcode.TEXT, second[:10], fin=False)
        + served(Opcode.PING, b"?")
        + served(Opcode.CONT, second[10:])
        + compressed(Opcode.BINARY, third)
    )
    parser = FrameParser(LIMIT, deflate.Inflater(KEPT, LIMIT))
    assert feed(parser, data, sizes) == [(1, texts[0]), (1, b"plain"), (9, b"?"), (1, texts[1]), (2, texts[2])]
    assert parser.error is None
    assert parser.message_bytes == sum(map(len, texts)) + 5
    assert parser.wire_bytes == len(first) + len(second) + len(third) + 5


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (compressed(Opcode.TEXT, b"x", fin=False) + compressed(Opcode.CONT, b"y"), "reserved"),
        (compressed(Opcode.PING, b"x"), "reserved"),
        (frame(b"a", rsv=2), "reserved"),
        (frame(b"a", rsv=6), "reserved"),
        (compressed(Opcode.TEXT, b"\xff\xff\xff"), "inflated"),
    ],
)
def test_a_compressed_frame_where_none_may_be_ends_the_stream(data, what):
    parser = FrameParser(LIMIT, deflate.Inflater(KEPT, LIMIT))
    feed(parser, data)
    assert what in str(parser.error)


@pytest.mark.slow
def test_a_bomb_ends_the_stream_with_1009():
    parser = FrameParser(LIMIT, deflate.Inflater(KEPT, LIMIT))
    assert feed(parser, compressed(Opcode.TEXT, deflate.alone(bytes(50 << 20)))) == []
    assert isinstance(parser.error, MessageTooLarge)
    assert "more than" in str(parser.error)
