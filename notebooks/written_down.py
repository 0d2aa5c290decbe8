"""A server whose messages are written down, for the notebook on real servers: what it says is heard as from a socket."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import ccwatch as cw
from ccwatch.protocol.messages import Instant
from ccwatch.protocol.stream_reader import StreamReader

BEGIN = int(datetime(2026, 1, 2, 15, 0, 0, tzinfo=UTC).timestamp())


class Messages:
    """A server whose messages are written down: one list per connection, a message per second."""

    origin = "synthetic"

    def __init__(self, *connections, server_tz="UTC"):
        self.connections, self.server_tz = connections, server_tz

    def stream(self, sink, stop):
        session, second = StreamReader(server_tz=self.server_tz), 0
        for messages in self.connections:
            sink.receive(session.opened(at(second)))
            for message in messages:
                if stop.is_set():
                    return
                sink.receive(session.receive(json.dumps(message).encode(), at(second)))
                second += 1
            sink.receive(session.closed(at(second), "reason=the server went away"))


def at(second):
    return Instant((BEGIN + second) * 10**9, second * 10**9)


def listen(*connections, **options):
    """A feed that has heard all of it: the same Feed that cw.connect returns, over another source."""
    feed = cw.Feed(Messages(*connections, **options), name="written down", url="synthetic:messages").start()
    feed.join(10)
    return feed


def named(flags):
    return " ".join(flag.name for flag in cw.Flag(flags))
