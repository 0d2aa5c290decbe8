"""A JSON text in a file of its own, with its checksum as the last line."""

from __future__ import annotations

from ccwatch.protocol.wire.packing import checksum


def with_checksum(text: bytes) -> bytes:
    """Return the text with its CRC32C behind it."""
    return b"%b\n%08x" % (text, checksum(text))


def without_checksum(data: bytes) -> bytes:
    """Return the text; one that ends as JSON does was written before there were checksums.

    Raises:
        ValueError: the checksum does not match.
    """
    if data.rstrip().endswith((b"}", b"]")):
        return data
    text, _, found = data.rpartition(b"\n")
    if found != b"%08x" % checksum(text):
        raise ValueError("checksum does not match")
    return text
