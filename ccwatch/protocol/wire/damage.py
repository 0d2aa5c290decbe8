"""Damage to messages on their way, as a scenario plants it: so that one can watch how a receiver finds out and recovers."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Sort = Literal["flip", "drop", "swap", "repeat"]
SORTS: Final[tuple[Sort, ...]] = ("flip", "drop", "swap", "repeat")


class Damage(NamedTuple):
    """The damage to one message."""

    sort: Sort
    """A bit is flipped, it is lost, it changes places with the next one, or it comes twice."""
    place: int
    """Which of its bits is flipped, counted around the message."""


def flipped(payload: bytes, place: int, *, is_text: bool) -> bytes:
    """Return a message with one bit flipped; a text stays one, since another thing would end the connection."""
    if not payload:
        return payload
    changed = bytearray(payload)
    for step in range(len(payload)):
        at = (place + step) % len(payload)
        if not is_text or changed[at] < 0x80:
            changed[at] ^= 1 << (place % (7 if is_text else 8))
            break
    return bytes(changed)
