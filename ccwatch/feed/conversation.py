"""Protocol 2 in a feed: items made of the receiving end's outputs, and commands by message with their answers."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Final, NamedTuple

from ccwatch.domain.limits import SECOND
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.messages import EventKind, Instant, Item, from_ns
from ccwatch.protocol.stream_reader import StreamReader
from ccwatch.protocol.wire import hello
from ccwatch.protocol.wire.outputs import Agreed, Alive, Answer, LostMessages, Note, Odd, Output, Text
from ccwatch.protocol.wire.receiver import Receiver

_PACKETS: Final = frozenset({"state", "market"})
"""The channels whose messages are packets."""


class Passed(NamedTuple):
    """A message as it passed on the wire."""

    at: Instant
    way: str
    """"<" from the server, ">" to it."""
    opcode: int
    wire_bytes: int
    payload: bytes
    """After decompression."""


class Reply(NamedTuple):
    """A server's answer to a command."""

    taken: bool | None
    """None where it has not answered in time."""
    code: str
    """The code of a refusal; empty for none."""
    reason: str


class Asked(NamedTuple):
    """A command on its way."""

    key: str
    payload: bytes
    done: Future[Reply]


def is_capable(headers: Mapping[str, str]) -> bool:
    """Return whether a handshake's headers, names in lower case, say that the server speaks protocol 2."""
    found = headers.get(hello.HEADER.lower(), "").strip()
    return found.isascii() and found.isdecimal() and len(found) < 4 and int(found) >= hello.PROTOCOL


class Conversation:
    """The protocol 2 of one feed. `ask` and `await_answer` may be called from any thread, the rest belongs to the feed's."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._asked: dict[str, Future[Reply]] = {}
        self._lock = threading.Lock()  # guards the commands that wait for an answer: askers add them, the feed's thread answers

    @property
    def protocol(self) -> str:
        """Return what the open connection speaks, in words."""
        got = self._receiver.got
        if got is None:
            return "1"
        return f"2: {got.encoding}, {'deltas' if got.delta else 'whole messages'}, channels {', '.join(got.channels)}"

    def items(self, output: Output, reader: StreamReader, now: Instant) -> list[Item]:
        """Return the items of one output of the receiving end."""
        if isinstance(output, Text):
            if output.ch in _PACKETS:
                return reader.receive(output.text, now, is_late=output.is_late)
            return reader.receive_rows(output.text, now)
        if isinstance(output, LostMessages):
            return reader.lost(now, output.ch, output.messages, output.seconds, output.reason)
        if isinstance(output, Odd):
            return reader.refused(now, output.reason, output.raw)
        if isinstance(output, Alive):
            return reader.alive(now)
        if isinstance(output, Note):
            return [reader.event(EventKind.ERROR, now, output.detail)]
        if isinstance(output, Agreed):
            return reader.resumed(now) if output.recovered and output.got.recovered else []
        if isinstance(output, Answer):
            self._answer(output)
        return []

    def ask(self, what: str, deadline_s: float, now: Instant) -> Asked | None:
        """Return a command to be sent; None where the open connection does not speak protocol 2."""
        if self._receiver.got is None:
            return None
        key = str(uuid.uuid4())
        deadline = from_ns(now.wall_ns + round(deadline_s * SECOND)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        asked = Asked(key, codec.dumps({"type": what, "ref": key, "key": key, "deadline": deadline}), Future())
        with self._lock:
            self._asked[key] = asked.done
        return asked

    def await_answer(self, asked: Asked, seconds: float) -> Reply:
        """Wait for the answer to a command that was sent."""
        try:
            return asked.done.result(seconds)
        except TimeoutError:
            return Reply(None, "", "the server did not answer in time")
        finally:
            with self._lock:
                self._asked.pop(asked.key, None)

    def ended(self) -> None:
        """Answer the commands that wait: their connection is gone."""
        with self._lock:
            waiting, self._asked = self._asked, {}
        for done in waiting.values():
            if not done.done():
                done.set_result(Reply(None, "", "the connection ended before the answer"))

    def _answer(self, answer: Answer) -> None:
        with self._lock:
            done = self._asked.pop(answer.ref, None) if isinstance(answer.ref, str) else None
        if done is not None and not done.done():
            done.set_result(Reply(answer.taken, answer.code, answer.reason))
