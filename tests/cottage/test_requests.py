"""Requests of clients of protocol 2 at a server that reads a stream which other servers read as well."""

from __future__ import annotations

import json
import threading
import time

import pytest
import websockets.sync.client

from ccwatch.cottage import Cottage, Options
from ccwatch.feed.synthetic import messages
from ccwatch.protocol.stream_reader import StreamReader
from ccwatch.protocol.wire.channel_sender import STEP
from ccwatch.stream.source import DescribedSource, read_clock


class Lagging(DescribedSource):
    """A numbered stream whose second numbering is read late: entries 1 to 3 are of one writer, 4 to 6 of the next."""

    def __init__(self):
        self.reads_on = threading.Event()
        self._at = ("", 0)
        self._caught_up_to_s = 0.0

    @property
    def position(self):
        return self._at

    @property
    def caught_up_to_s(self):
        return self._caught_up_to_s

    def stream(self, sink, stop, /):
        reader, source = StreamReader(), messages(seed=1)
        sink.receive(reader.opened(read_clock()))
        for n in range(1, 7):
            while n == 4 and not self.reads_on.is_set():
                if stop.wait(0.01):
                    return
            self._at = ("aaaaaaaa" if n < 4 else "bbbbbbbb", n)
            sink.receive(reader.receive(next(source), read_clock()))
        self._caught_up_to_s = time.monotonic()
        while not stop.wait(0.05):
            self._caught_up_to_s = time.monotonic()


def numbers(client, until):
    """Return the answer to a HELLO, and the numbers of the states from then until one of them or silence, and a moment after."""
    answer, found = None, []
    try:
        while True:
            message = json.loads(client.recv(timeout=0.3 if until in found else 30))
            if message["type"] == "HELLO":
                answer = message
                if until is None:
                    return answer, found
            elif "seq" in message:
                found.append((message["epoch"], message["seq"] // STEP))
    except TimeoutError:
        return answer, found


@pytest.mark.slow
def test_a_client_that_was_further_at_another_server_gets_nothing_twice():
    source = Lagging()
    with Cottage(source, Options()) as cottage, websockets.sync.client.connect(cottage.engine_url) as client:
        resume = {"epoch": "bbbbbbbb", "seq": {"state": 5 * STEP}}
        client.send(json.dumps({"type": "HELLO", "ref": 1, "want": {"encodings": ["json"], "channels": ["state"], "resume": resume}}))
        threading.Timer(0.5, source.reads_on.set).start()
        answer, found = numbers(client, ("bbbbbbbb", 6))
    assert answer["recovered"] == {"state": True}
    assert found == [("bbbbbbbb", 6)]


def test_a_client_of_a_numbering_that_is_gone_is_answered_once_the_stream_was_read():
    source = Lagging()
    source.reads_on.set()
    with Cottage(source, Options()) as cottage, websockets.sync.client.connect(cottage.engine_url) as client:
        resume = {"epoch": "cccccccc", "seq": {"state": 5 * STEP}}
        client.send(json.dumps({"type": "HELLO", "ref": 1, "want": {"encodings": ["json"], "channels": ["state"], "resume": resume}}))
        answer, _ = numbers(client, None)
    assert answer["recovered"] == {"state": False}
