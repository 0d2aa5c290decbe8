"""The one door to the decoders: `decoder_for(layout)`.

Three decoders read messages. The contract's takes its usual messages in one pass (`contract`); the tolerant one takes every other
(`tolerant`); and one is made per layout, for many messages at once (`one_layout`). They agree on every message that they take.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Final, Protocol, overload

from ccwatch.errors import DecodeError
from ccwatch.protocol.columns import PACKETS
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.decoding.one_layout import Columns, Metrics, OneLayout
from ccwatch.protocol.messages import Instant, Packet

_CARRIED: Final = [
    column.name for column in PACKETS if column.name == "kind" or (column.wire and column.name not in {"time", "approved_size_raw"})
]


class Decoder(Protocol):
    """A reader of messages, one by one or many at once. May be used by any thread."""

    def packet(
        self, raw: bytes | memoryview, *, seq: int = 0, connection: int = 0, now: Instant = codec.NEVER, server_tz: str = "UTC"
    ) -> Packet:
        """Return a message as a Packet; see `codec.decode`.

        Raises:
            DecodeError: it is not a packet.
        """

    def columns(self, raws: Sequence[bytes], server_tz: str = "UTC") -> Columns:
        """Return messages as columns; those that the decoder does not take are named in `refused`."""


@overload
def decoder_for(layout: None = None) -> Decoder: ...
@overload
def decoder_for(layout: str) -> OneLayout: ...
@lru_cache(maxsize=64)
def decoder_for(layout: str | None = None) -> Decoder:
    """Return the decoder of the messages of a layout, which is made once; None for messages of any layout.

    Raises:
        NoDecoder: a value of the layout has no column, or the layout is not of style "compact".
    """
    return _AnyLayout() if layout is None else OneLayout(layout)


class _AnyLayout:
    """The contract's decoder, and the tolerant one for what that refuses."""

    packet = staticmethod(codec.decode)

    def columns(self, raws: Sequence[bytes], server_tz: str = "UTC") -> Columns:
        packets, refused = [], []
        for place, raw in enumerate(raws):
            try:
                packets.append(codec.decode(raw, server_tz=server_tz))
            except DecodeError:
                refused.append(place)
        values = {name: [getattr(packet, name) for packet in packets] for name in _CARRIED}
        metrics = {
            table: Metrics(
                [metric[0] for entries in per_packet for metric in entries],
                [*map(len, per_packet)],
                chain.from_iterable(metric[1:] for entries in per_packet for metric in entries),
            )
            for table, per_packet in (("agents", [p.agents for p in packets]), ("models", [p.models for p in packets]))
        }
        return Columns(values, metrics, [packet.logs for packet in packets], refused)
