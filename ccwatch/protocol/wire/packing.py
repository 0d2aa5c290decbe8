"""Values as the bytes of a message, in JSON or MessagePack, and back: bounded, and with nothing in them that JSON could not hold.

MessagePack is read in its shortest form only (and floats of 64 bits): so two entries with one key, which would be shorter once
read, are refused, and the same value always has the same bytes.
"""

from __future__ import annotations

import math
from typing import Any, Final, Literal

import google_crc32c
import msgspec

from ccwatch.errors import DecodeError
from ccwatch.protocol.decoding import codec

Encoding = Literal["json", "msgpack"]
ENCODINGS: Final[tuple[Encoding, ...]] = ("msgpack", "json")
"""The encodings, in the order in which they are asked for."""
MOST_LEVELS: Final = 64
"""The deepest nesting of a message."""
MOST_NODES: Final = 1_000_000
"""The most values in a message; a message of 4 MiB of ones has more."""
_SCALARS: Final = frozenset({str, int, bool, type(None)})
_REFUSALS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError, ValueError, OverflowError)


def pack(value: Any, encoding: Encoding) -> bytes:
    """Return a value as JSON or MessagePack."""
    return msgspec.msgpack.encode(value) if encoding == "msgpack" else codec.dumps(value)


def unpack(payload: bytes | memoryview, encoding: Encoding) -> dict[str, Any]:
    """Return the object in a message.

    Raises:
        DecodeError: not this encoding, not an object, nested too deep; in MessagePack also extension types and one key twice. What
            else JSON cannot hold is refused where a text is made of it.
    """
    value = _unpacked(bytes(payload)) if encoding == "msgpack" else codec.loads(payload)
    if type(value) is not dict:
        raise DecodeError(f"expected an object, got {type(value).__name__}")
    return value


def _unpacked(payload: bytes) -> Any:
    try:
        value = msgspec.msgpack.decode(payload, ext_hook=_no_extension)
        is_shortest = msgspec.msgpack.encode(value) == payload
    except _REFUSALS as error:
        raise DecodeError(f"not MessagePack: {str(error)[:120]}") from None
    if not is_shortest:
        raise DecodeError("not MessagePack in its shortest form, or one key twice")
    return value


def _no_extension(code: int, _data: memoryview) -> Any:
    raise ValueError(f"extension type {code}")


def _expect_plain(value: Any) -> None:
    """Raise DecodeError for what JSON could not hold, or what is too deep or too much."""
    layer, left = [value], MOST_NODES
    for _ in range(MOST_LEVELS):
        below: list[Any] = []
        for entry in layer:
            kind = type(entry)
            if kind is dict:
                if not all(type(key) is str for key in entry):
                    raise DecodeError("a key that is not text")
                below.extend(entry.values())
            elif kind is list:
                below.extend(entry)
            elif kind is float:
                if not math.isfinite(entry):
                    raise DecodeError("a number that is not finite")
            elif kind not in _SCALARS:
                raise DecodeError(f"a value that JSON cannot hold: {kind.__name__}")
        if not below:
            return
        left -= len(below)
        if left < 0:
            raise DecodeError(f"more than {MOST_NODES} values")
        layer = below
    raise DecodeError(f"nested deeper than {MOST_LEVELS} levels")


def is_plain(value: Any) -> bool:
    """Return whether a value can be sent in any encoding."""
    try:
        _expect_plain(value)
    except DecodeError:
        return False
    return True


def text_of(value: Any) -> bytes:
    """Return a value as the JSON text that the receiver of a message rebuilds.

    Raises:
        DecodeError: JSON cannot hold the value: binary data, a time, a key that is not text, too deep.
    """
    try:
        return codec.dumps_plain(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise DecodeError(f"cannot be written as JSON: {str(error)[:120]}") from None


def checksum(text: bytes) -> int:
    """Return the CRC32C of a text."""
    return int(google_crc32c.value(text))
