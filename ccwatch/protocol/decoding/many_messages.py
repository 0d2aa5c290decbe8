"""A text that holds several messages: lines of JSON, JSON one behind the other, or an array; each message by its own bytes."""

from __future__ import annotations

import json
import re
from typing import Final

import msgspec

from ccwatch.errors import DecodeError

MOST: Final = 4096
"""The most messages of one text; the rest is one part, which will not be read."""
MOST_LEVELS: Final = 4
"""How deep arrays may nest in arrays and their entries still be messages."""
_BREAKS: Final = re.compile(rb"[\n\x1e]")
"""Between lines of JSON, and in front of each text of a JSON sequence (RFC 7464)."""
_SIDE_BY_SIDE: Final = re.compile(rb"\}\s*\{")
_ARRAY: Final = msgspec.json.Decoder(list[msgspec.Raw])


def lines(text: bytes) -> list[bytes]:
    """Return the parts of a text that is not JSON as a whole; fewer than two if it has no parts."""
    found = [part for line in _BREAKS.split(text, MOST) if (part := line.strip())]
    return _side_by_side(text) if len(found) == 1 and _SIDE_BY_SIDE.search(text) else found


def entries(text: bytes) -> list[bytes]:
    """Return the entries of an array, those of arrays within it among them.

    Raises:
        DecodeError: the array has no entries.
    """
    found: list[bytes] = []
    _add(text, found, 0)
    if not found:
        raise DecodeError("expected a JSON object, got list without entries")
    return found


def _add(text: bytes, found: list[bytes], level: int) -> None:
    if level >= MOST_LEVELS or not text.lstrip().startswith(b"["):
        found.append(text)
        return
    try:
        parts = _ARRAY.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found.append(text)
        return
    for part in parts:
        if len(found) >= MOST:
            found.append(b"")  # takes the place of the rest, which is not a message
            return
        _add(bytes(part), found, level + 1)


def _side_by_side(text: bytes) -> list[bytes]:
    """Return the objects of a text in which they follow each other without a separator."""
    try:
        rest = text.decode().strip()
    except UnicodeDecodeError:
        return []
    decoder = json.JSONDecoder()
    found: list[bytes] = []
    at = 0
    while at < len(rest) and len(found) < MOST:
        try:
            _, end = decoder.raw_decode(rest, at)
        except (ValueError, RecursionError):
            end = len(rest)
        found.append(rest[at:end].encode())
        at = end + len(rest[end:]) - len(rest[end:].lstrip()) if end < len(rest) and rest[end].isspace() else end
    return [*found, rest[at:].encode()] if at < len(rest) else found
