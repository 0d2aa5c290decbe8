"""Compression between a Cottage and its clients: who asks for nothing gets today's bytes, who asks gets the same messages in fewer."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
import websockets

import ccwatch as cw
from ccwatch.cottage.broadcaster import Message, SlowPolicy, StateBroadcaster
from ccwatch.protocol.wire import deflate

RATE = 200.0


@pytest.fixture
def cottage():
    with cw.serve(rate=RATE) as served:
        yield served


def raws(feed):
    found = {}
    unsubscribe = feed.on_packet(lambda packet: found.setdefault(packet.time_ns, packet.raw))
    time.sleep(1.5)
    unsubscribe()
    return found


@pytest.mark.slow
def test_a_compressed_feed_gets_the_bytes_of_a_plain_one_and_says_what_was_agreed(cottage):
    with cw.connect(cottage.url, name="plain", compress=False) as plain, cw.connect(cottage.url, name="small") as small:
        plain.wait(packets=5)
        small.wait(packets=5)
        of_plain, of_small = raws(plain), raws(small)
        both = of_plain.keys() & of_small.keys() or of_plain.keys()
        assert all(of_plain[ns] == of_small[ns] for ns in both if ns in of_small)
        health, other = small.health(), plain.health()
        assert "permessage-deflate" in health.compression
        assert health.wire_bytes < 0.2 * health.inflated_bytes
        assert other.compression == "none"
        assert other.wire_bytes == other.inflated_bytes > 0
        assert (health.malformed, other.malformed, health.reconnects) == (0, 0, 0)


def test_a_client_that_asks_for_nothing_is_answered_and_sent_as_before(cottage):
    host, port = cottage.url.removeprefix("ws://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as plain:
        plain.sendall(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        answer = b""
        while b"\r\n\r\n" not in answer or len(answer) < 20_000:
            answer += plain.recv(65536)
    head, _, frames = answer.partition(b"\r\n\r\n")
    assert b"extensions" not in head.lower()
    assert frames[0] == 0x81
    assert b'"WELCOME"' in frames[:64]


@pytest.mark.slow
@pytest.mark.parametrize(
    "extension",
    [
        websockets.extensions.permessage_deflate.ClientPerMessageDeflateFactory(),
        websockets.extensions.permessage_deflate.ClientPerMessageDeflateFactory(server_no_context_takeover=True),
        websockets.extensions.permessage_deflate.ClientPerMessageDeflateFactory(server_max_window_bits=10),
    ],
)
def test_another_client_reads_every_message_whatever_it_asks_for(cottage, extension):
    async def listen():
        async with websockets.connect(cottage.url, compression=None, extensions=[extension]) as peer:
            assert peer.protocol.extensions
            return [(await peer.recv()) for _ in range(200)]

    texts = asyncio.run(listen())
    assert all(text.startswith('{"type":') and text.endswith("}") for text in texts)
    assert len({text.partition('"timestamp":')[2][:30] for text in texts[1:]}) == len(texts) - 1


class Transport:
    """What a client's transport is to the broadcaster: it keeps what is written, and can be full."""

    def __init__(self):
        self.written, self.waiting = [], 0

    def write(self, frame):
        self.written.append(frame)

    def get_write_buffer_size(self):
        return self.waiting

    def is_closing(self):
        return False

    def abort(self):
        self.waiting = 0


def texts_of(frames, inflater):
    found = []
    for frame in frames:
        header = 2 if frame[1] < 126 else 4
        payload = frame[header:]
        found.append(inflater.inflate(payload) if frame[0] & 0x40 else payload)
    return found


def test_clients_that_join_late_are_skipped_or_change_their_symbol_read_every_message_that_they_are_sent():
    async def play():
        broadcaster = StateBroadcaster(SlowPolicy())
        agreement = deflate.Agreement(keeps_window=True, window_bits=15)
        transports = [Transport() for _ in range(4)]
        clients = [broadcaster.client(transport, agreement) for transport in transports]
        wanted = [[] for _ in clients]
        broadcaster.subscribe(clients[0])
        for n in range(400):
            if n == 33:
                broadcaster.subscribe(clients[1])
            if n == 60:
                broadcaster.subscribe(clients[2])
                broadcaster.subscribe(clients[3])
            transports[2].waiting = (300 * 1024) if n % 50 in range(40, 45) else 0
            clients[3].symbol = "QQQ" if n % 100 in range(50, 60) else None
            symbol = "QQQ" if n % 7 == 0 else "SPY"
            payload = b'{"n":%d,"symbol":"%b","text":"%b"}' % (n, symbol.encode(), b"the same words again and again " * 20)
            message = Message.of(payload, symbol=symbol, is_main=symbol == "SPY")
            before = [len(transport.written) for transport in transports]
            broadcaster.publish(message)
            for place, transport in enumerate(transports):
                if len(transport.written) > before[place]:
                    wanted[place].append(payload)
        for client in clients:
            client.abort()
        return [t.written for t in transports], wanted

    written, wanted = asyncio.run(play())
    for frames, payloads in zip(written, wanted, strict=True):
        inflater = deflate.Inflater(deflate.Agreement(keeps_window=True, window_bits=13), 1 << 20)
        assert texts_of(frames, inflater) == payloads
    assert len(wanted[0]) == sum(n % 7 != 0 for n in range(400))
    assert sum(map(len, written[0])) < 0.3 * sum(map(len, wanted[0]))
