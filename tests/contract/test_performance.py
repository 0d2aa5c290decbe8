"""Section 6 of the contract. Each takes the best of several tries: what a busy neighbour adds says nothing of the code.

The medians and p99, beside those of other servers, are rows of `python -m tests.benchmarks cottage`.
"""

from __future__ import annotations

import itertools
import re
import socket
import time
from urllib.parse import urlsplit

import ccwatch as cw
from ccwatch.cottage import Cottage
from ccwatch.cottage.broadcaster import Message
from ccwatch.cottage.cottage_options import Options
from ccwatch.feed.synthetic import SyntheticSource, messages
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.messages import Packet
from tests.contract.contract import rows
from tests.contract.test_handshake import request_of

BOUND_S = {row["Metric"].strip("*"): float(re.sub(r"[^\d.]", "", row["Value"])) / 1e3 for row in rows("6.1")}


def test_a_handshake_takes_less_than_the_contracts_time():
    taken = []
    with cw.serve(rate=50) as cottage:
        parts = urlsplit(cottage.engine_url)
        for _ in range(20):
            begun = time.perf_counter()
            with socket.create_connection((parts.hostname, parts.port), timeout=5) as client:
                client.sendall(request_of(cottage.engine_url).encode())
                assert client.recv(4096).startswith(b"HTTP/1.1 101")
                taken.append(time.perf_counter() - begun)
    assert min(taken) < BOUND_S["Connection Establishment"]


def test_serialisation_takes_less_than_the_contracts_time():
    states = [codec.loads(raw) for raw in itertools.islice(messages(), 50)]
    taken = []
    for state in states:
        begun = time.perf_counter()
        Message.of(codec.dumps(state))
        taken.append(time.perf_counter() - begun)
    assert min(taken) < BOUND_S["Message Serialization"]


def test_a_round_trip_takes_less_than_the_contracts_time(raw_client):
    taken = []
    with cw.serve(packets=1) as cottage:
        client = raw_client(cottage.engine_url)
        assert client.ask(request_of(cottage.engine_url))[0].startswith("HTTP/1.1 101")
        for n in range(20):
            begun = time.perf_counter()
            client.send(9, bytes([n]))
            while client.frame() != (10, bytes([n])):
                pass
            taken.append(time.perf_counter() - begun)
    assert min(taken) < BOUND_S["Network RTT"]


class Stamping:
    """A source that notes when it hands each message over."""

    def __init__(self, source):
        self.source = source
        self.handed_ns = []

    def stream(self, sink, stop):
        stamping = self

        class Noting:
            def receive(self, items):
                stamping.handed_ns += [time.monotonic_ns() for item in items if isinstance(item, Packet)]
                sink.receive(items)

        self.source.stream(Noting(), stop)


def test_from_the_source_to_the_feeds_packet_it_takes_less_than_the_contracts_time():
    source = Stamping(SyntheticSource(rate=50.0, packets=60))
    with Cottage(source, Options(start_on_first_client=True)) as cottage, cw.connect(cottage.engine_url) as feed:
        received_ns = feed.wait(60, timeout=20).frame().received_mono_ns.tolist()
    assert min(got - handed for handed, got in zip(source.handed_ns, received_ns, strict=True)) / 1e9 < BOUND_S["Total Latency"]
