"""The hour that comes twice at the end of summer time: which of its two times the stamps inside a packet mean.

The packet's own reading is the stream reader's choice (see `stream_clock`); log lines, calls, trades and bars follow it. None of them is
later than the packet that carries it, so a stamp without an offset is its second reading unless that lies in the packet's future.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from ccwatch.domain.limits import SECOND
from ccwatch.errors import DecodeError
from ccwatch.protocol import canonical_words
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.decoding.packet_fields import BARS, CALLS, LOGS, RAW, TIME, TRADES
from ccwatch.protocol.messages import Instant, Packet

AHEAD_NS: Final = 60 * SECOND
"""How far a stamp inside a packet may lie beyond the packet's own: services have clocks of their own."""
_BEFORE, _AFTER = 26 * 3600, 2 * 3600
"""Seconds around the repeated hour in which packets carry stamps of it: lists go back a day."""
_HOUR_NS: Final = 3600 * SECOND
_TIMES: Final = {LOGS: 2, CALLS: 2, TRADES: 0, BARS: 0}
"""The lists whose entries have their own times, and the time's place in an entry."""


class OwnStamps:
    """Chooses the readings of the stamps inside packets. Used by one thread."""

    def __init__(self, server_tz: str) -> None:
        self._server_tz = server_tz
        self._chosen: dict[int, dict[Any, Any]] = {}
        """By list: the entries of the last packet that had any, as they are read first, and as they were chosen: a line that is
        sent again and again keeps its time."""

    def settled(self, values: list[Any]) -> list[Any]:
        """Return a packet's fields with the times of its entries as the packet's own time makes likely.

        Args:
            values: the fields, with the packet's own time already chosen. They are not changed.
        """
        if self._server_tz == "UTC" or not any(values[place] for place in _TIMES):
            return values
        if not is_near(values[TIME], self._server_tz):
            self._chosen.clear()
            return values
        try:
            later = codec.draft(values[RAW], seq=0, connection=0, now=Instant(0, 0), server_tz=canonical_words.second_pass(self._server_tz))
        except DecodeError:  # a part of a text that is no message by itself
            return values
        found = values.copy()
        for place in _TIMES:
            if values[place] and values[place] != later[place]:
                found[place] = self._choose(place, values[place], later[place], values[TIME] + AHEAD_NS)
        return found

    def _choose(self, place: int, first: tuple[Any, ...], second: tuple[Any, ...], latest_ns: int) -> tuple[Any, ...]:
        """Return the entries of a list at their likelier times."""
        at, known = _TIMES[place], self._chosen.get(place, {})
        chosen = []
        pairs = [*zip(first, second, strict=True)]
        for one, other in reversed(pairs) if place == BARS else pairs:
            entry = known.get(one)
            if entry is None:
                entry = other if one[at] is not None and other[at] <= latest_ns else one
            if place == BARS and entry[at] is not None:
                latest_ns = entry[at] - 1  # bars follow each other: the one before is an earlier one, also where it looks the same
            chosen.append(entry)
        if place == BARS:
            return tuple(reversed(chosen))
        self._chosen[place] = dict(zip(first, chosen, strict=True))
        return tuple(chosen)


def settled(packet: Packet, server_tz: str) -> Packet:
    """Return a packet read from its kept message and its kept time, with the times of its entries as they follow from that time."""
    return Packet._make(OwnStamps(server_tz).settled([*packet])) if is_near(packet.time_ns, server_tz) else packet


def is_near(time_ns: int, server_tz: str) -> bool:
    """Return whether a packet of this time may hold stamps of an hour that came twice in a zone."""
    return server_tz != "UTC" and _is_near(time_ns // _HOUR_NS, server_tz)


@lru_cache(maxsize=64)
def _is_near(hour: int, server_tz: str) -> bool:
    """Return whether the zone's clocks were set back a short time before this hour since 1970, or are about to be."""
    zone = ZoneInfo(server_tz)
    try:
        before, after = (datetime.fromtimestamp(hour * 3600 + s, UTC).astimezone(zone).utcoffset() for s in (-_BEFORE, _AFTER))
    except (OverflowError, ValueError, OSError):
        return False
    return before is not None and after is not None and after < before
