"""Values that the receiving end of protocol 2 hands on: messages and losses for the stream, texts to send, and the answers of a server."""

from __future__ import annotations

from typing import Any, NamedTuple

from ccwatch.protocol.wire.hello import Got


class Text(NamedTuple):
    """A message: its JSON text, and its channel."""

    text: bytes
    ch: str = "state"
    is_late: bool = False
    """Whether it was missed on an earlier connection and is given now."""


class LostMessages(NamedTuple):
    """Messages of a channel are lost; the next one follows."""

    ch: str
    messages: int | None
    """How many; None where the numbers do not prove it."""
    seconds: float
    """The time from the last message before them until now."""
    reason: str


class Odd(NamedTuple):
    """A message that cannot be taken, and why."""

    reason: str
    raw: bytes


class Say(NamedTuple):
    """A text to be sent."""

    payload: bytes


class Note(NamedTuple):
    """Where the server departs from the request, in one line."""

    detail: str


class Alive(NamedTuple):
    """A sign of life that is no message of the stream."""


class Agreed(NamedTuple):
    """Protocol 2 begins with the next message."""

    got: Got
    recovered: bool
    """Whether nothing was missed, or all that was comes next."""


class Answer(NamedTuple):
    """The server's answer to a request."""

    ref: Any
    taken: bool
    code: str
    reason: str


Output = Text | LostMessages | Odd | Say | Note | Alive | Agreed | Answer
