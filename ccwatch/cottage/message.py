"""A message of the stream as a Cottage holds it, and the frames of RFC 6455 that carry messages."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from ccwatch.protocol.wire.damage import Damage

TEXT, BINARY = 0x1, 0x2
COMPRESSED: Final = 0x40
"""The bit RSV1 of a frame, which says that a message is compressed."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message, ready to be written to every client."""

    payload: bytes
    frame: bytes
    """The payload as one unmasked frame of RFC 6455."""
    is_state: bool
    """Whether it is a whole state that can be shown again; malformed and partial messages only pass through."""
    symbol: str | None = None
    """The symbol that it is about; None where it names none."""
    is_main: bool = True
    """Whether it is also for clients without a subscription to a symbol."""
    number: tuple[str, int] | None = None
    """Epoch and number that a shared stream has given it; None where this server counts."""
    damage: Damage | None = None
    """Its damage on the way to every client, where a scenario plants some."""

    def compressed(self, payload: bytes) -> bytes:
        """Return a frame that carries the message deflated (RFC 7692, section 6)."""
        return framed(COMPRESSED | self.frame[0] & 0x0F, payload)

    @classmethod
    def of(
        cls,
        payload: bytes,
        *,
        is_state: bool = True,
        symbol: str | None = None,
        is_main: bool = True,
        number: tuple[str, int] | None = None,
        damage: Damage | None = None,
    ) -> Message:
        """Return the message with this payload: as text, or as binary if it is no UTF-8, which would end the connection."""
        opcode = TEXT if is_state or _is_utf8(payload) else BINARY
        return cls(payload, framed(opcode, payload), is_state, symbol, is_main, number, damage)


def framed(opcode: int, payload: bytes) -> bytes:
    """Return a final, unmasked frame (RFC 6455, section 5.2)."""
    first, size = 0x80 | opcode, len(payload)
    if size < 126:
        return struct.pack("!BB", first, size) + payload
    if size < 65_536:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
