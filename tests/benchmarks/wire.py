"""The wire: bytes by form, what compression costs a server per client and message, and what it and protocol 2 cost a client."""

from __future__ import annotations

import asyncio
import itertools
import selectors
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterable

from ccwatch.cottage.broadcaster import Message, StateBroadcaster
from ccwatch.cottage.forms import WINDOW_BITS
from ccwatch.feed.buffer import RollingBuffer
from ccwatch.feed.conversation import Conversation
from ccwatch.feed.framing import TEXT, FrameParser
from ccwatch.feed.health import HealthCounter
from ccwatch.feed.synthetic import messages
from ccwatch.protocol.messages import Instant
from ccwatch.protocol.stream_reader import StreamReader
from ccwatch.protocol.wire import deflate
from ccwatch.protocol.wire.channels import Channels
from ccwatch.protocol.wire.client_state import Kind, Talk
from ccwatch.protocol.wire.outputs import Say
from ccwatch.protocol.wire.packing import Encoding
from ccwatch.protocol.wire.receiver import Receiver
from tests.benchmarks.row import Row

PACKETS = 3_000
CLIENTS, SENT, ROUNDS = 500, 60, 5
KEEPS = deflate.Agreement(keeps_window=True, window_bits=15)


def rows() -> list[Row]:
    """All rows of this module."""
    stream = list(itertools.islice(messages(), PACKETS))
    return [*size_rows(stream), *server_rows(stream[:SENT]), *client_rows(stream[:1_000])]


def forms(stream: list[bytes], encoding: Encoding, *, delta: bool) -> list[bytes]:
    """A stream as a client of protocol 2 gets it, not compressed."""
    channels, talk = Channels("a7e6fb36"), Talk(Kind(encoding, delta, ("state",)))
    return [talk.payload(channels.publish(text)["state"]) for text in stream]


def shared(payloads: Iterable[bytes], bits: int = deflate.SHARED_BITS) -> list[bytes]:
    """Messages in a shared deflate stream: the contract's, or with protocol 2's window."""
    one = deflate.SharedStream(bits=bits)
    return [one.next(payload).payload for payload in payloads]


def size_rows(stream: list[bytes]) -> list[Row]:
    """Bytes on the wire over bytes of the contract's JSON."""
    total, note = sum(map(len, stream)), f"{PACKETS:,} packets of {sum(map(len, stream)) // PACKETS:,} B, seed 0"

    def row(name: str, payloads: Iterable[bytes], bound: str = "") -> Row:
        return Row(f"{name}, bytes / contract's JSON", sum(map(len, payloads)) / total, "", bound, note)

    whole, deltas = (forms(stream, "json", delta=delta) for delta in (False, True))
    packed, packed_deltas = (forms(stream, "msgpack", delta=delta) for delta in (False, True))
    return [
        row("contract, shared deflate", shared(stream), "≤ 0.065"),
        row("contract, each deflated alone", map(deflate.alone, stream)),
        row("protocol 2, JSON whole", whole),
        row("protocol 2, JSON whole, shared deflate", shared(whole, WINDOW_BITS)),
        row("protocol 2, JSON deltas", deltas),
        row("protocol 2, JSON deltas, shared deflate", shared(deltas, WINDOW_BITS), "≤ 0.062"),
        row("protocol 2, MessagePack whole", packed),
        row("protocol 2, MessagePack whole, shared deflate", shared(packed, WINDOW_BITS)),
        row("protocol 2, MessagePack deltas", packed_deltas, "≤ 0.30"),
        row("protocol 2, MessagePack deltas, shared deflate", shared(packed_deltas, WINDOW_BITS)),
    ]


# ── the server ──


def server_rows(stream: list[bytes]) -> list[Row]:
    """CPU of the loop's thread per client and message, over real sockets, against the same without compression."""
    found: dict[str, list[float]] = {"plain": [], "shared": [], "json": []}
    for _ in range(ROUNDS):
        for name, spent in found.items():
            spent.append(asyncio.run(_published_us(stream, name)))
    plain = found["plain"]
    note = f"{CLIENTS} clients, {SENT} messages, median of {ROUNDS} interleaved rounds; plain {statistics.median(plain):.1f} µs"

    def ratio(name: str) -> float:
        return statistics.median(b / a for a, b in zip(plain, found[name], strict=True))

    return [
        Row("server CPU, compressed / plain", ratio("shared"), "×", "≤ 1.3", note),
        Row("server CPU, protocol 2 compressed / plain", ratio("json"), "×", "", note),
    ]


async def _published_us(stream: list[bytes], form: str) -> float:
    """CPU per client and message, µs."""
    broadcaster = StateBroadcaster(protocol=2)
    pairs = [socket.socketpair() for _ in range(CLIENTS)]
    stop = threading.Event()
    reader = threading.Thread(target=_drain, args=([ours for ours, _ in pairs], stop))
    reader.start()
    loop = asyncio.get_running_loop()
    transports = []
    try:
        for _, theirs in pairs:
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=theirs)
            transports.append(transport)
            client = broadcaster.client(transport, None if form == "plain" else KEEPS)
            broadcaster.subscribe(client)
            if form == "json":
                assert broadcaster.channels is not None
                client.begin(Talk(Kind("json", delta=True, channels=("state",))), broadcaster.channels, b"{}", [])
        broadcaster.regroup()
        begun = time.thread_time()
        for text in stream:
            broadcaster.publish(Message.of(text))
            await asyncio.sleep(0.001)
        spent = time.thread_time() - begun
    finally:
        for transport in transports:
            transport.abort()
        await asyncio.sleep(0)
        stop.set()
        reader.join()
        for ours, _ in pairs:
            ours.close()
    return spent / CLIENTS / len(stream) * 1e6


def _drain(clients: list[socket.socket], stop: threading.Event) -> None:
    with selectors.DefaultSelector() as selector:
        for client in clients:
            client.setblocking(False)
            selector.register(client, selectors.EVENT_READ)
        while not stop.is_set():
            for key, _ in selector.select(0.05):
                client = key.fileobj
                assert isinstance(client, socket.socket)
                if not client.recv(1 << 16):
                    selector.unregister(client)


# ── the client ──


def client_rows(stream: list[bytes]) -> list[Row]:
    """CPU of a feed's thread per message: frames to packets, rows and counters; against plain JSON in the same run."""
    cases: dict[str, Callable[[], float]] = {
        "plain": lambda: _received_us(stream, None, compressed=False),
        "compressed": lambda: _received_us(stream, None, compressed=True),
        "protocol 2, JSON deltas, compressed": lambda: _received_us(stream, "json", compressed=True),
        "protocol 2, MessagePack deltas": lambda: _received_us(stream, "msgpack", compressed=False),
    }
    found: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, case in cases.items():
            found[name].append(case())
    plain = found.pop("plain")
    note = f"{len(stream):,} messages, median of {ROUNDS} interleaved rounds; plain {statistics.median(plain):.1f} µs"
    return [
        Row(
            f"client CPU, {name} / plain",
            statistics.median(b / a for a, b in zip(plain, spent, strict=True)),
            "×",
            "≤ 1.5" if name == "compressed" else "",
            note,
        )
        for name, spent in found.items()
    ]


def _received_us(stream: list[bytes], encoding: Encoding | None, *, compressed: bool) -> float:
    """CPU per message, µs."""
    receiver = Receiver(encodings=None if encoding is None else (encoding,))
    channels = Channels("a7e6fb36")
    receiver.opened(0, is_capable=encoding is not None)
    payloads = stream
    if encoding is not None:
        [said] = receiver.due(0, may_text=True)
        assert isinstance(said, Say)
        talk, answer, _ = Talk.greet({"type": "HELLO", "ref": 1, "want": {"encodings": [encoding], "delta": True}}, channels)
        receiver.receive(answer, 0, is_binary=False)
        payloads = [talk.payload(channels.publish(text)["state"]) for text in stream]
    opcode = TEXT if encoding != "msgpack" else TEXT + 1
    wire = b"".join(_frame(opcode, body, compressed=compressed) for body in (shared(payloads) if compressed else payloads))
    parser = FrameParser(1 << 22, deflate.Inflater(KEEPS, 1 << 22) if compressed else None)
    session, buffer, counter = StreamReader(virtual_clock=True), RollingBuffer(), HealthCounter()
    talk_of = Conversation(receiver)
    session.opened(Instant(0, 0))
    at, now = 0, 0
    begun = time.thread_time()
    while at < len(wire):
        space = parser.space()
        size = min(len(space), 4096, len(wire) - at)
        space[:size] = wire[at : at + size]
        at += size
        for kind, payload in parser.filled(size):
            now += 1_000_000_000
            moment = Instant(now, now)
            if receiver.is_plain:
                items = session.receive(payload, moment)
            else:
                outputs = receiver.receive(payload, now, is_binary=kind != TEXT)
                items = [item for output in outputs for item in talk_of.items(output, session, moment)]
            buffer.receive(items)
            counter.receive(items)
    spent = time.thread_time() - begun
    assert counter.packets == len(stream)
    assert counter.malformed == 0
    return spent / len(stream) * 1e6


def _frame(opcode: int, body: bytes, *, compressed: bool) -> bytes:
    head = bytes([0x80 | (0x40 if compressed else 0) | opcode])
    size = bytes([len(body)]) if len(body) < 126 else bytes([126]) + len(body).to_bytes(2, "big")
    return head + size + body
