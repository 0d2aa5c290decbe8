"""Both ends of protocol 2: what a client hands on is the stream's texts byte for byte, whatever happens to messages on their way."""

from __future__ import annotations

import itertools
import json
import random

import orjson
import pytest
from hypothesis import given, strategies as st

from ccwatch.feed.synthetic import messages
from ccwatch.protocol.wire import packing
from ccwatch.protocol.wire.channel_sender import RING, STEP
from ccwatch.protocol.wire.outputs import Agreed, Alive, Note, Say
from ccwatch.protocol.wire.receiver import MOST_HELD
from tests.protocol.shapes import FULL, SHAPES, examples
from tests.protocol.wire.ends import Client, S, Server

ENCODINGS = [("msgpack",), ("json",)]
STREAM = list(itertools.islice(messages(3, "drawdown-halt+malformed@20"), 400))


def play(server, client, texts, now=0):
    for text in texts:
        now += S
        client.hear(server.publish(text), now)
        client.tick(now)
    return now


@pytest.mark.parametrize("encodings", ENCODINGS)
def test_every_text_arrives_byte_for_byte_and_in_fewer_bytes(encodings):
    server = Server()
    client = Client(server, encodings=encodings)
    play(server, client, STREAM[:3])
    client.open(0)
    size = 0
    for text in STREAM[3:]:
        frames = server.publish(text)
        size += sum(len(payload) for payload, _ in frames)
        client.hear(frames, 0)
    assert client.state == STREAM
    assert (client.lost, client.odd) == ([], [])
    assert size < 0.4 * sum(map(len, STREAM[3:]))


ANYTHING = st.lists(
    st.sampled_from([orjson.dumps(message) for group in SHAPES.values() for message in group])
    | st.binary(max_size=40)
    | st.sampled_from([b"[1, 2]", b'{"a": 1}', b'{"a":1.0}', b'{"a":1e400}', b'"HELLO"', b'{"type":"TELEMETRY","data":5}', b"[" * 300]),
    max_size=12,
)


@given(ANYTHING, st.sampled_from(ENCODINGS))
@examples(60)
def test_whatever_a_server_streams_is_rebuilt_exactly(texts, encodings):
    server = Server()
    client = Client(server, encodings=encodings)
    client.open(0)
    play(server, client, texts)
    assert client.state == texts
    assert (client.lost, client.odd) == ([], [])


# ── cuts ──


@pytest.mark.parametrize("encodings", ENCODINGS)
def test_after_a_cut_what_was_missed_comes_once_and_in_order(encodings):
    server = Server()
    client = Client(server, encodings=encodings)
    client.open(0)
    now = play(server, client, STREAM[:50])
    client.close()
    for text in STREAM[50:60]:
        server.publish(text)
    client.receiver.opened(now, is_capable=True)
    client.hear([(STREAM[59], False)], now)  # what the server greets everyone with, before it has read the HELLO
    client.tick(now)
    play(server, client, STREAM[60:], now)
    assert client.state == STREAM
    assert (client.lost, client.odd) == ([], [])
    assert [text.is_late for text in client.texts] == [50 <= n < 60 for n in range(len(STREAM))]
    assert client.other[-1].recovered


@pytest.mark.parametrize("greeted", [3, MOST_HELD + 20])
def test_what_a_busy_server_sends_before_it_answers_comes_once_and_in_order(greeted):
    """A worker with too much to do reads the HELLO after 20 s; until then it sends what a client of the contract gets."""
    server = Server()
    client = Client(server)
    client.open(0)
    now = play(server, client, STREAM[:20])
    client.close()
    sent = [b'{"type":"TELEMETRY","data":{"n":%d}}' % n for n in range(greeted)]
    client.receiver.opened(now, is_capable=True)
    (hello,) = [output.payload for output in client.receiver.due(now, may_text=True) if isinstance(output, Say)]
    for text in sent:
        client.hear(server.publish(text), now)
    for _ in range(20):
        now += S
        client.tick(now)
    client.hear(server.say(hello, now), now)
    play(server, client, STREAM[20:40], now)
    kept = sent[-RING:] if greeted > RING else sent
    if len(sent) == len(kept):
        assert client.state == [*STREAM[:20], *sent, *STREAM[20:40]]
        assert client.lost == []
    else:  # more than the server keeps: a gap, and then the newest ones
        (at, gap), *more = client.lost
        assert (at, more) == (20, [])
        assert gap.messages == len(sent) - (len(client.state) - 40)


def test_a_server_that_dies_before_it_answers_gives_nothing_out_of_order():
    server = Server()
    client = Client(server)
    client.open(0)
    now = play(server, client, STREAM[:20])
    client.close()
    for text in STREAM[20:30]:
        server.publish(text)
    client.receiver.opened(now, is_capable=True)
    client.hear([(text, False) for text in STREAM[25:30]], now)  # its greeting
    client.close()
    client.open(now)
    play(server, client, STREAM[30:40], now)
    assert client.state == STREAM[:40]
    assert client.lost == []


def test_a_server_that_never_answers_is_read_by_the_contract_after_a_gap():
    server = Server()
    client = Client(server)
    client.open(0)
    now = play(server, client, STREAM[:20])
    client.close()
    client.receiver.opened(now, is_capable=True)
    client.hear([(text, False) for text in STREAM[25:30]], now)
    client.take([output for output in client.receiver.due(now + 31 * S, may_text=True) if not isinstance(output, Say)], now)
    client.take([output for output in client.receiver.due(now + 62 * S, may_text=True) if not isinstance(output, Say)], now)
    assert client.state == [*STREAM[:20], *STREAM[25:30]]
    assert [(at, gap.messages) for at, gap in client.lost] == [(20, None)]


@pytest.mark.parametrize("change", ["ring", "epoch"])
def test_what_cannot_be_recovered_is_a_gap_and_what_was_greeted_with_is_kept(change):
    server = Server()
    client = Client(server)
    client.open(0)
    now = play(server, client, STREAM[:50])
    client.close()
    if change == "epoch":
        client.server = server = Server("e2")
    texts = [b'{"n":%d}' % n for n in range(RING + 10)] if change == "ring" else STREAM[50:60]
    for text in texts:
        server.publish(text)
    client.receiver.opened(now, is_capable=True)
    client.hear([(texts[-1], False)], now)
    client.tick(now)
    play(server, client, STREAM[60:70], now)
    assert client.state == [*STREAM[:50], texts[-1], *STREAM[60:70]]
    [(_, lost)] = client.lost
    missing = RING + 9 if change == "ring" else None  # another numbering says nothing of how many
    assert (lost.ch, lost.messages, lost.reason) == ("state", missing, "disconnect")


def test_a_hole_of_another_server_right_behind_the_client_is_a_gap():
    client = Client(Server(counted=False))
    client.open(0)
    for n in (1, 2):
        client.hear(client.server.publish(STREAM[n], number=("e1", n * STEP)), n * S)
    client.close()
    client.server = other = Server(counted=False)
    for n in (1, 2, 6, 7):
        other.publish(STREAM[n], number=("e1", n * STEP))
    client.open(8 * S)
    assert client.state == [STREAM[n] for n in (1, 2, 6, 7)]
    ((_, lost),) = client.lost
    assert (lost.ch, lost.messages) == ("state", 3)


def test_a_server_that_does_not_answer_or_refuses_is_read_as_before():
    server = Server()
    for say in (lambda _payload, _now: [], lambda _payload, _now: [(b'{"type":"NACK","ref":1,"code":"unknown","reason":"?"}', False)]):
        client = Client(server)
        server.say = say
        client.open(0)
        client.hear([(text, False) for text in STREAM[:5]], S)
        client.tick(6 * S)
        client.hear([(text, False) for text in STREAM[5:9]], S)
        assert client.state == STREAM[:9]
        assert [type(output) for output in client.other] == [Note]
        assert client.odd == []


def test_hello_is_said_once_and_only_where_it_may_be():
    said = []
    for options, capable, may_text in [
        ({}, False, True),
        ({"protocol": 1}, True, True),
        ({"protocol": 2}, False, False),
        ({}, True, True),
        ({"protocol": 2}, False, True),
    ]:
        receiver = Client(Server(), **options).receiver
        receiver.opened(0, is_capable=capable)
        said.append(sum(len(receiver.due(n * S, may_text=may_text)) for n in range(4)))
    assert said == [0, 0, 0, 1, 1]


# ── damage ──


def lossy(rng, share):
    """A way on which so many messages are dropped, flipped, repeated, or change places with the next."""
    late = []

    def link(frames):
        found = []
        for payload, is_binary in frames:
            fate = rng.random() / share
            if fate < 1:
                continue
            if fate < 2:
                changed = bytearray(payload)
                changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
                found.append((bytes(changed), is_binary))
            elif fate < 3:
                found += [(payload, is_binary)] * 2
            elif fate < 4:
                late.append((payload, is_binary))
            else:
                found += [(payload, is_binary), *late]
                late.clear()
        return found

    return link


@pytest.mark.slow
@pytest.mark.parametrize("encodings", ENCODINGS)
def test_on_a_lossy_way_no_row_is_wrong_every_loss_is_a_gap_and_resync_keeps_its_rate(encodings):
    rng = random.Random(20)
    link = lossy(rng, 0.02)
    count = 125_000 if FULL else 1_000  # 8 % of them are damaged
    texts = list(itertools.islice(messages(5, "drawdown-halt"), 1_000))
    server = Server()
    client = Client(server, encodings=encodings)
    client.open(0)
    now = 0
    numbers = {}
    for n in range(count):
        now += S // 5
        text = texts[n % len(texts)].replace(b'"INITIALIZING"', b'"ACTIVE"')
        text = b'{"n":%d,%b' % (n, text[1:])
        numbers[text] = n
        client.hear(link(server.publish(text)), now, link)
        client.tick(now, link)
    got = [numbers[text] for text in client.state]  # a wrong row is a KeyError
    assert got == sorted(set(got))
    holes = {at for at in range(1, len(got)) if got[at] != got[at - 1] + 1}
    assert holes <= {at for at, _ in client.lost}
    proven = {at: lost.messages for at, lost in client.lost if lost.messages is not None}
    assert all(proven[at] == got[at] - got[at - 1] - 1 for at in holes & proven.keys())
    assert len(got) > 0.9 * count
    assert all(later - earlier >= S for earlier, later in itertools.pairwise(server.resyncs))


def test_resync_slows_down_while_no_answer_comes():
    server = Server()
    client = Client(server)
    client.open(0)
    client.hear(server.publish(STREAM[0]), 0)
    asked = []
    server.say = lambda _payload, now: asked.append(now) or []
    server.publish(STREAM[1])
    for n in range(100):
        client.hear(server.publish(STREAM[2 + n]), n * S)
        client.tick(n * S)
    assert asked[:5] == [0, S, 3 * S, 7 * S, 15 * S]
    assert all(later - earlier <= 30 * S for earlier, later in itertools.pairwise(asked))


# ── lies ──


def envelope(server, **changed):
    sent = server.channels.track("state").latest
    found = json.loads(sent.payload("json", as_delta=False))
    found |= changed
    if "delta" in changed:
        del found["data"]
    return orjson.dumps({key: value for key, value in found.items() if value is not ...})


CASES = {
    "an unknown channel": {"ch": "orders"},
    "a channel that was not asked for": {"ch": "logs"},
    "no number": {"seq": "5"},
    "a number of 2^64": {"seq": 2**64 - 1},
    "a true number": {"seq": True},
    "a negative number": {"seq": -1},
    "prev beyond seq": {"prev": 10_000},
    "no epoch": {"epoch": ...},
    "an empty epoch": {"epoch": ""},
    "an epoch of 1 MB": {"epoch": "e" * 1_000_000},
    "another crc": {"crc": 5},
    "a crc of 64 bits": {"crc": 2**63},
    "another type": {"type": "MARKET"},
    "an unknown type": {"type": "FOO"},
    "a type that is none": {"type": ["DELTA"]},
    "a delta on nothing": {"type": "DELTA", "delta": {"set": {"a": {"b": 1}}}, "epoch": "e9"},
    "append beyond a list": {"type": "DELTA", "delta": {"append": [[["data", "logs"], [1], 10_000]]}},
    "a million operations": {"type": "DELTA", "delta": {"set": {f"k{n}": n for n in range(1_000_000)}}},
    "a deep delta": {"type": "DELTA", "delta": json.loads('{"set":' * 200 + "1" + "}" * 200)},
    "data of another sort": {"type": "TEXT"},
    "base64 that is none": {"type": "BYTES", "data": "§"},
    "a message of the contract": {"ch": ..., "crc": ...},
}


@pytest.mark.slow
@pytest.mark.parametrize("changed", CASES.values(), ids=CASES)
def test_a_lie_is_an_event_and_the_stream_goes_on_after_resync(changed):
    server = Server()
    client = Client(server, encodings=("json",))
    client.open(0)
    now = play(server, client, STREAM[:5])
    server.publish(STREAM[5])
    client.hear([(envelope(server, **changed), False)], now)
    assert len(client.odd) == 1
    assert len(client.odd[0].reason) < 400
    now = play(server, client, STREAM[6:12], now)
    assert client.state[:5] == STREAM[:5]
    assert client.state[-4:] == STREAM[8:12]
    assert set(client.state) <= set(STREAM[:12])


def test_numbers_that_lie_ahead_cost_a_gap_and_no_more():
    server = Server()
    client = Client(server, encodings=("json",))
    client.open(0)
    now = play(server, client, STREAM[:5])
    server.publish(STREAM[5])
    client.hear([(envelope(server, seq=2**50), False)], now)
    now = play(server, client, STREAM[6:20], now)
    assert client.state[:6] == STREAM[:6]
    assert client.state[-5:] == STREAM[15:20]
    assert client.lost
    assert len(client.state) == len(set(client.state))


BINARY = {
    "an extension type": b"\x81\xa1a\xc7\x01\x05a",
    "a timestamp": b"\x81\xa1a\xd7\xff" + bytes(8),
    "binary data": b"\x81\xa1a\xc4\x01a",
    "keys that are no text": b"\x81\x01\x02",
    "keys that are lists": b"\x81\x91\x01\x02",
    "one key twice": b"\x82\xa1a\x01\xa1a\x02",
    "a list of 2^32": b"\xdd\xff\xff\xff\xff",
    "a map of 2^32": b"\xdf\xff\xff\xff\xff",
    "a text of 2^32": b"\x81\xa1a\xdb\xff\xff\xff\xff",
    "an extension of 2^32": b"\xc9\xff\xff\xff\xff\x01",
    "a number of 2^64": b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
    "NaN": b"\x81\xa1a\xcb\x7f\xf8" + bytes(6),
    "half a text": b"\x81\xa1a\xa2\xc3",
    "depth": b"\x81\xa1a" + b"\x91" * 100_000 + b"\x01",
    "two messages": b"\x80\x80",
    "nothing": b"",
}


@pytest.mark.parametrize("payload", BINARY.values(), ids=BINARY)
def test_messagepack_that_json_could_not_hold_is_an_event_and_the_stream_goes_on(payload):
    server = Server()
    client = Client(server, encodings=("msgpack",))
    client.open(0)
    now = play(server, client, STREAM[:3])
    client.hear([(payload, True)], now)
    assert len(client.odd) == 1
    play(server, client, STREAM[3:6], now)
    assert client.state == STREAM[:6]
    assert client.lost == []


def test_a_second_a_late_and_a_giant_hello_are_events():
    server = Server()
    client = Client(server)
    hello = {"type": "HELLO", "ref": 1, "protocol": 2, "epoch": "e1", "got": {"encoding": "json", "channels": ["state"]}}
    client.open(0)
    assert any(isinstance(output, Agreed) for output in client.other)
    client.hear([(orjson.dumps(hello), False)], 0)
    client.hear([(orjson.dumps(hello | {"x": "x" * 1_000_000}), False)], 0)
    assert len(client.odd) == 2
    play(server, client, STREAM[:5])
    assert client.state == STREAM[:5]
    unasked = Client(server, protocol=1)
    unasked.receiver.opened(0, is_capable=True)
    unasked.hear([(orjson.dumps(hello), False)], 0)
    assert unasked.state == [orjson.dumps(hello)]  # a text like any other: no protocol is spoken by guess


@pytest.mark.parametrize(
    "changed",
    [
        {"protocol": 3},
        {"epoch": ""},
        {"epoch": 5},
        {"got": None},
        {"got": {"encoding": "protobuf", "channels": ["state"]}},
        {"got": {"encoding": "json", "channels": ["logs"]}},
        {"got": {"encoding": "json", "channels": []}},
        {"at": {"state": "x"}},
    ],
)
def test_a_hello_that_grants_what_was_not_asked_for_is_an_event_and_protocol_1_goes_on(changed):
    server = Server()
    client = Client(server)
    answer = {"type": "HELLO", "ref": 1, "protocol": 2, "epoch": "e1", "got": {"encoding": "json", "channels": ["state"]}} | changed
    server.say = lambda _payload, _now: [(orjson.dumps(answer), False)]
    client.open(0)
    assert len(client.odd) == 1
    client.hear([(text, False) for text in STREAM[:3]], 0)
    assert client.state == STREAM[:3]


# ── heartbeat ──


def test_a_heartbeat_tells_loss_from_silence():
    server = Server()
    client = Client(server, channels=("state", "heartbeat"))
    client.open(0)
    now = play(server, client, STREAM[:5])

    def beat():
        sent = server.channels.beat("2026-01-02T14:30:00Z")
        return [(server.talk.payload(sent), server.talk.is_binary)]

    client.hear(beat(), now)
    client.tick(now)
    assert server.resyncs == []
    assert isinstance(client.other[-1], Alive)
    server.publish(STREAM[5])  # is lost, and nothing follows
    client.hear(beat(), now + S)
    client.tick(now + S)
    assert client.state == STREAM[:6]
    assert len(server.resyncs) == 1
    assert packing.checksum(b"123456789") == 0xE3069283  # CRC32C, as published (RFC 3720, B.4)
