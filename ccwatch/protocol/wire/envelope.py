"""The envelope of protocol 2: which channel a message belongs to, its number there, and the checksum of its JSON text.

A message that is sent whole has `data`, one that is sent as a change of the message before has `delta`:

    {"type":"TELEMETRY","ch":"state","seq":813,"prev":812,"epoch":"9f1c…","crc":1496571325,"data":{…}}
    {"type":"DELTA","ch":"state","seq":814,"prev":813,"epoch":"9f1c…","crc":80331713,"delta":{"set":{…}}}

Its text is `{"type":…,"data":…}` for TELEMETRY and WELCOME; the JSON of `data` for MESSAGE, MARKET, LOGS, TRADES and HEARTBEAT; `data`
itself, a string, for TEXT; and the bytes that `data` has as base64 for BYTES.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final, NamedTuple

from ccwatch.errors import DecodeError
from ccwatch.protocol.wire.packing import text_of

CHANNELS: Final = ("state", "market", "logs", "trades", "heartbeat")
"""The channels: `state` is what a contract client gets."""
CONTRACT_TYPES: Final = frozenset({"TELEMETRY", "WELCOME"})
BODY_TYPES: Final = frozenset({"MESSAGE", "MARKET", "LOGS", "TRADES", "HEARTBEAT"})
DELTA: Final = "DELTA"
TYPE_OF: Final = {"market": "MARKET", "logs": "LOGS", "trades": "TRADES", "heartbeat": "HEARTBEAT"}
LONGEST_EPOCH: Final = 64
HIGHEST: Final = 2**53 - 1
"""The highest number of a message: a browser counts no further."""
_REQUIRED: Final = frozenset({"type", "ch", "seq", "prev", "epoch", "crc"})


class Envelope(NamedTuple):
    """A message of protocol 2 whose envelope was checked; its body was not."""

    type: str
    ch: str
    seq: int
    prev: int
    """The number of the message before it on the channel; 0 for none."""
    epoch: str
    crc: int
    body: Any
    """The value of `data` or, for the type DELTA, of `delta`."""
    ref: int | None = None
    """The RESYNC that it answers."""

    @property
    def is_delta(self) -> bool:
        """Return whether it is a change of the message before."""
        return self.type == DELTA


def read(message: dict[str, Any]) -> Envelope:
    """Return the envelope of a message.

    Raises:
        DecodeError: a field is missing or cannot be one.
    """
    missing = _REQUIRED - message.keys()
    if missing:
        raise DecodeError(f"no envelope: without {', '.join(sorted(missing))}")
    kind, ch, seq, prev, epoch, crc = (message[name] for name in ("type", "ch", "seq", "prev", "epoch", "crc"))
    if type(ch) is not str or ch not in CHANNELS:
        raise DecodeError(f"ch: expected one of {', '.join(CHANNELS)}, got {ch!r:.40}")
    if type(seq) is not int or not 0 < seq <= HIGHEST:
        raise DecodeError(f"seq: expected a number from 1, got {seq!r:.40}")
    if type(prev) is not int or not 0 <= prev < seq:
        raise DecodeError(f"prev: expected a number below seq, got {prev!r:.40}")
    if type(epoch) is not str or not 0 < len(epoch) <= LONGEST_EPOCH or not epoch.isprintable():
        raise DecodeError(f"epoch: expected a word of at most {LONGEST_EPOCH} characters")
    if type(crc) is not int or not 0 <= crc < 2**32:
        raise DecodeError(f"crc: expected 32 bits, got {crc!r:.40}")
    field = "delta" if kind == DELTA else "data"
    if field not in message:
        raise DecodeError(f"a message without {field}")
    ref = message.get("ref")
    return Envelope(str(kind)[:LONGEST_EPOCH], ch, seq, prev, epoch, crc, message[field], ref if type(ref) is int else None)


def value_of(envelope: Envelope) -> tuple[Any, bytes]:
    """Return the value and the JSON text of a message that was sent whole; the value is None where deltas cannot follow it.

    Raises:
        DecodeError: the type is unknown, does not belong to the channel, or its data cannot be of this type.
    """
    kind, data = envelope.type, envelope.body
    wanted = TYPE_OF.get(envelope.ch)
    if wanted is not None and kind != wanted:
        raise DecodeError(f"type: expected {wanted} on the channel {envelope.ch}, got {kind!r:.40}")
    if wanted is None and kind in TYPE_OF.values():
        raise DecodeError(f"type: {kind} belongs to another channel than {envelope.ch}")
    if kind in CONTRACT_TYPES:
        value = {"type": kind, "data": data}
        return value, text_of(value)
    if kind in BODY_TYPES and type(data) is dict:
        return data, text_of(data)
    if kind == "TEXT" and type(data) is str:
        try:
            return None, data.encode()
        except UnicodeEncodeError:
            raise DecodeError("a text with half a surrogate pair") from None
    if kind == "BYTES" and type(data) is str:
        try:
            return None, base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            raise DecodeError("bytes that are not base64") from None
    raise DecodeError(f"no type of protocol 2: {kind!r:.40}, or with data of another sort")
