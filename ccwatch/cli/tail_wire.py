"""`ccwatch tail --wire`: the messages of a stream as they are on the wire, with their sizes."""

from __future__ import annotations

import queue
from typing import Any, Final

from ccwatch import wiring
from ccwatch.cli import following, rendering
from ccwatch.config import Settings
from ccwatch.errors import DecodeError
from ccwatch.feed.conversation import Passed
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.messages import StateChange, from_ns
from ccwatch.protocol.wire import packing
from ccwatch.text import plain

NAMES: Final = {0x1: "text", 0x2: "binary", 0x8: "close", 0x9: "ping", 0xA: "pong"}
LONGEST: Final = 200
"""Characters of a message that a line shows."""
_MESSAGES: Final = frozenset({"text", "binary"})


class _Errors:
    """Hands on the errors that end a stream; a sink."""

    def __init__(self, arrived: queue.SimpleQueue[Passed | StateChange]) -> None:
        self._arrived = arrived

    def receive(self, items: Any) -> None:
        for item in items:
            if isinstance(item, StateChange) and item.error is not None:
                self._arrived.put(item)


def tail(url: str, lines: int | None, *, as_json: bool) -> int:
    """Print each message of a stream until that many have come from the server."""
    arrived: queue.SimpleQueue[Passed | StateChange] = queue.SimpleQueue()

    def show(found: Passed | StateChange) -> None:
        if isinstance(found, StateChange):
            rendering.print_item(found, as_json=as_json)
        else:
            rendering.say(facts_of(found), line(found), as_json=as_json)

    with wiring.live_feed(Settings.load(url=url), on_wire=arrived.put) as feed:
        feed.add_sink(_Errors(arrived))
        following.follow(feed, arrived, lines, show=show, counts=_is_message)
    return 0


def _is_message(found: Passed | StateChange) -> bool:
    return not isinstance(found, StateChange) and found.way == "<" and NAMES.get(found.opcode) in _MESSAGES


def facts_of(passed: Passed) -> dict[str, Any]:
    """Return a message as one JSON object: when, which way, its sizes in bytes, and what it says."""
    return {
        "time": from_ns(passed.at.wall_ns).isoformat(),
        "way": "in" if passed.way == "<" else "out",
        "opcode": NAMES.get(passed.opcode, str(passed.opcode)),
        "wire_bytes": passed.wire_bytes,
        "bytes": len(passed.payload),
        "message": _said(passed),
    }


def line(passed: Passed) -> str:
    """Return a message as one line."""
    said = _said(passed)
    shown = said if isinstance(said, str) else codec.text(said)
    head = f"{from_ns(passed.at.wall_ns):%H:%M:%S.%f}"[:-3]
    sizes = f"{passed.wire_bytes:>7,} of {len(passed.payload):>7,} B"
    return f"{head} {passed.way} {NAMES.get(passed.opcode, '?'):<6} {sizes}  {plain(shown, LONGEST)}"


def _said(passed: Passed) -> Any:
    """Return what a message says, as a value where it can be read."""
    try:
        if NAMES.get(passed.opcode) == "binary":
            said = packing.unpack(passed.payload, "msgpack")
            return said if packing.is_plain(said) else repr(said)
        return codec.loads(passed.payload) if NAMES.get(passed.opcode) == "text" else passed.payload.decode("utf-8", "replace")
    except DecodeError:
        return passed.payload.decode("utf-8", "replace")
