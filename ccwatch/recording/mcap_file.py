"""A recording as an MCAP file, for Foxglove and others that play streams: each message as it arrived, at the time that it did."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

from ccwatch.errors import ConfigError
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.messages import Event, Packet
from ccwatch.recording.folder import Session

Lines = Callable[[str, Packet | Event], Iterable[dict[str, Any]]]
"""A function that returns the rows of a table that an item makes, as JSON objects."""


def write(
    out: IO[bytes], session: Session, table: str, items: Iterator[Packet | Event], lines: Lines, report: Callable[[int], None]
) -> int:
    """Write one table, and return the count of messages.

    For packets, the channel `/stream` has each message byte for byte, as JSON, its sequence the packet's (modulo 2^32). Any other table
    is the channel of its name, with a message per row. Log time is when it was received, publish time the stream's own, both ns.

    Raises:
        ConfigError: mcap is not installed.
    """
    try:
        from mcap.writer import CompressionType, Writer  # noqa: PLC0415 - an optional extra
    except ImportError:
        raise ConfigError("exporting to mcap needs: pip install 'ccwatch[mcap]'") from None
    writer = Writer(out, compression=CompressionType.ZSTD)
    writer.start(profile="", library="ccwatch")
    about = {"session": session.session, "origin": session.origin, "url": session.url, "tags": " ".join(session.tags)}
    writer.add_metadata("ccwatch", about)
    schema = writer.register_schema(f"ccwatch.{table}", "jsonschema", b'{"type":"object"}')
    channel = writer.register_channel("/stream" if table == "packets" else f"/{table}", "json", schema)
    count = 0
    for item in items:
        for data in _messages(table, item, lines):
            writer.add_message(
                channel,
                log_time=max(0, item.received_at_ns),
                publish_time=max(0, item.time_ns),
                data=data,
                sequence=item.seq & 0xFFFFFFFF,
            )
            count += 1
        report(count)
    writer.finish()  # type: ignore[no-untyped-call] # it has no annotations, the rest of mcap has
    return count


def _messages(table: str, item: Packet | Event, lines: Lines) -> Iterator[bytes]:
    if table == "packets":
        if isinstance(item, Packet):
            yield item.raw or codec.encode(item)
        return
    for line in lines(table, item):
        yield codec.dumps(line)
