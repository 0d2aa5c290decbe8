"""Messages that are not packets: heartbeats, answers to a ping, errors that the server reports, and types outside the contract."""

from __future__ import annotations

from typing import Any, Final

from ccwatch.protocol import server_texts
from ccwatch.protocol.messages import NonPacket, NonPacketSort

_HEARTBEATS: Final = frozenset({"HEARTBEAT", "KEEPALIVE", "KEEP_ALIVE", "KEEP-ALIVE", "PING", "HB"})
_PONGS: Final = frozenset({"PONG"})
_ERRORS: Final = frozenset({"ERROR", "ERRORS", "EXCEPTION", "FAULT", "FAILURE"})
_TYPES: Final = ("type", "event", "op", "msg_type")
"""Where servers name the type of a message; the first is the contract's."""
_LONGEST_TEXT: Final = 32
_LONGEST_TYPE: Final = 64


def of_text(text: bytes) -> NonPacket | None:
    """Return a bare word that is proof of life, not JSON; None for any other text."""
    if len(text) > _LONGEST_TEXT:
        return None
    word = text.strip().strip(b'"').decode("ascii", "replace").upper()
    sort = _sort_of(word)
    return NonPacket(sort, word, "", text) if sort in {NonPacketSort.HEARTBEAT, NonPacketSort.PONG} else None


def of_message(message: dict[str, Any], raw: bytes) -> NonPacket | None:
    """Return the NonPacket of a message of unknown shape, by its type or the error that it reports; None if it has neither."""
    named = next((message[key] for key in _TYPES if type(message.get(key)) in {str, int} and message[key] != ""), None)
    kind = None if named is None else server_texts.shown(str(named))[:_LONGEST_TYPE]
    sort = None if kind is None else _sort_of(kind.upper())
    if sort is NonPacketSort.ERROR or (sort in {None, NonPacketSort.UNKNOWN} and _says_error(message)):
        return NonPacket(NonPacketSort.ERROR, kind, server_texts.of_message(message) or "an error without a text", raw)
    if sort is None and not message.keys().isdisjoint({"ping", "pong", "heartbeat"}) and len(message) <= 3:
        return NonPacket(NonPacketSort.PONG if "pong" in message else NonPacketSort.HEARTBEAT, None, "", raw)
    if sort is None or kind is None or kind.upper() in {"WELCOME", "TELEMETRY"}:
        return None  # of the contract's types, and yet not of its shape: malformed
    return NonPacket(sort, kind, "", raw)


def _sort_of(word: str) -> NonPacketSort:
    if word in _HEARTBEATS:
        return NonPacketSort.HEARTBEAT
    if word in _PONGS:
        return NonPacketSort.PONG
    return NonPacketSort.ERROR if word in _ERRORS or word.endswith(("_ERROR", ".ERROR", "-ERROR")) else NonPacketSort.UNKNOWN


def _says_error(message: dict[str, Any]) -> bool:
    status = message.get("status")
    return bool(message.get("error") or message.get("errors")) or (type(status) is str and status.upper() in _ERRORS)
