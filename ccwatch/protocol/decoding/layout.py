"""The layout of a message: the part of its bytes that its packet's fields do not determine. It keeps no state and reads no clock.

A packet's fields and its layout give the message byte for byte. The layout is the message itself with each value replaced by
a code: 1 for a whole number, null for null, 0 for anything else. A list whose entries all have one layout
holds it once. The style of the JSON comes first: how its writer separates, escapes and spells numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from ccwatch.errors import ProtocolError
from ccwatch.protocol.decoding import codec, rewriting
from ccwatch.protocol.messages import Packet

PLAIN, WHOLE, NESTED, FIRST_NUMBER = 0, 1, 2, 3
"""The codes of values; while shapes are worked out, also of an object or a list, and where the numbers of their shapes begin."""
_NESTING: Final = frozenset({dict, list})
_CODES: Final[dict[type, int | None]] = {float: PLAIN, str: PLAIN, bool: PLAIN, int: WHOLE, type(None): None}
STYLES: Final[dict[str, Callable[[Any], bytes]]] = {
    "compact": codec.dumps,
    "spaced": lambda value: json.dumps(value, ensure_ascii=False).encode(),
    "escaped": lambda value: json.dumps(value).encode(),
}
"""How servers were seen to write JSON: orjson and JavaScript, and Python's json with and without its escapes."""


class Unfit(ProtocolError):
    """A layout does not belong to the packet that it was to arrange."""


class Layouts:
    """The layouts of many messages, each shape worked out once. Used by one thread."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[Any, ...], int] = {}
        self._shapes: list[Any] = []
        self._texts: dict[tuple[str, int], str] = {}

    def of(self, raw: bytes) -> str | None:
        """Return the layout of a message, as text; None where none of the known styles writes its bytes."""
        message = codec.loads(raw)
        for style, write in STYLES.items():
            if write(message) == raw:
                key = style, self._number(message)
                if key not in self._texts:
                    self._texts[key] = codec.text([style, self._shapes[key[1] - FIRST_NUMBER]])
                return self._texts[key]
        return None

    def shape(self, value: dict[str, Any] | list[Any]) -> Any:
        """Return the shape of an object or a list of a message: the very same one for each of that shape."""
        return self._shapes[self._number(value) - FIRST_NUMBER]

    def _number(self, value: dict[str, Any] | list[Any]) -> int:
        """Return the number of an object's or a list's shape: equal for equal shapes, so that no shape is built twice."""
        entries: list[Any] = list(value.values() if isinstance(value, dict) else value)
        codes: list[int | None]
        if _are_alike(entries):
            codes = [self._number(entries[0])] * len(entries)
        else:
            codes = [_CODES.get(type(entry), NESTED) for entry in entries]
            if NESTED in codes:
                codes = [self._number(entry) if known == NESTED else known for known, entry in zip(codes, entries, strict=True)]
        if isinstance(value, list) and len(codes) > 1 and codes.count(codes[0]) == len(codes):
            del codes[1:]
        key = (tuple(value) if isinstance(value, dict) else None, *codes)
        number = self._numbers.get(key)
        if number is None:
            below = [self._shapes[c - FIRST_NUMBER] if c is not None and c >= FIRST_NUMBER else c for c in codes]
            self._shapes.append(dict(zip(value, below, strict=True)) if isinstance(value, dict) else below)
            number = self._numbers[key] = len(self._shapes) - 1 + FIRST_NUMBER
        return number


def _are_alike(entries: list[Any]) -> bool:
    """Return whether all are flat objects of one shape, as agents, models and log lines are: a message has two dozen of them."""
    if len(entries) < 2 or set(map(type, entries)) != {dict} or len(set(map(tuple, entries))) > 1:
        return False
    kinds = {tuple(map(type, entry.values())) for entry in entries}
    return len(kinds) == 1 and _NESTING.isdisjoint(next(iter(kinds)))


def encode(packet: Packet, layout: str) -> bytes:
    """Return the packet's message in a layout, rebuilt from its fields.

    Raises:
        Unfit: the packet has other fields than the layout.
    """
    style, shape = _parsed(layout)
    return STYLES[style](_arranged(rewriting.write(packet), shape))


def _arranged(value: Any, shape: Any) -> Any:
    if type(shape) is dict:
        if type(value) is not dict or not value.keys() <= shape.keys():
            raise Unfit("another object")
        return {key: _arranged(value[key], below) if key in value else _absent(below) for key, below in shape.items()}
    if type(shape) is list:
        if type(value) is not list:
            raise Unfit("no list")
        shapes = shape * len(value) if len(shape) == 1 else shape
        if len(shapes) != len(value):
            raise Unfit("another length")
        return [_arranged(entry, below) for entry, below in zip(value, shapes, strict=True)]
    if shape == WHOLE and type(value) is float:
        return int(value)
    return value


def _absent(shape: Any) -> Any:
    """Return the value of a message where a packet carries nothing: null, or something empty."""
    if shape is None:
        return None
    if type(shape) is dict:
        return {key: _absent(below) for key, below in shape.items()}
    if shape == []:
        return []
    raise Unfit("a value is missing")


@lru_cache(maxsize=1024)  # a stream has a handful
def _parsed(layout: str) -> tuple[str, Any]:
    style, shape = codec.loads(layout.encode())
    return style, shape
