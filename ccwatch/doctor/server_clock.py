"""The server's clock compared with this machine's, and the time zone of its timestamps. Pure: it reads no clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from ccwatch.protocol.messages import Flag, Packet

NOTABLE_S: Final = 2.0
_QUARTER_S: Final = 900
"""Time zones differ by multiples of a quarter of an hour."""
_TRADING: Final = (
    *("UTC", "America/New_York", "America/Chicago", "America/Los_Angeles", "America/Sao_Paulo", "Europe/London", "Europe/Paris"),
    *("Asia/Dubai", "Asia/Kolkata", "Asia/Singapore", "Asia/Tokyo", "Australia/Sydney"),
)
"""Zones that an engine's server is likely to be in; of several with one offset, the first counts."""


def offset_s(packets: Sequence[Packet]) -> float | None:
    """Return the seconds that this machine's clock is ahead of the server's: the least of receive time minus timestamp.

    It is the least, since a state may be old when it is sent, and takes time to travel. Return None where fewer than two different
    timestamps came, since one alone may be of any age.
    """
    stamped = [packet for packet in packets if not packet.flags & Flag.NO_TIME]
    if len({packet.time_ns for packet in stamped}) < 2:
        return None
    return min(packet.received_at_ns - packet.time_ns for packet in stamped) / 1e9


def zone(offset: float, server_tz: str, now: datetime) -> str | None:
    """Return a zone in which timestamps that are `offset` seconds behind when read in `server_tz` would be right.

    Args:
        offset: seconds, as from `offset_s`.
        server_tz: IANA zone in which they were read.
        now: an aware time, at which the zones' offsets are compared.

    Returns:
        An IANA zone; None where the offset is not near a quarter of an hour, or no zone has it.
    """
    quarters = round(offset / _QUARTER_S)
    if quarters == 0 or abs(offset - quarters * _QUARTER_S) > 60:
        return None
    wanted = (now.astimezone(ZoneInfo(server_tz)).utcoffset() or timedelta()) - timedelta(seconds=quarters * _QUARTER_S)
    known = available_timezones()
    likely = [name for name in _TRADING if name in known]
    return next((name for name in [*likely, *sorted(known)] if now.astimezone(ZoneInfo(name)).utcoffset() == wanted), None)


def hours(offset: float) -> str:
    """Return an offset in words: "5 h behind"."""
    return f"{abs(offset) / 3600:.3g} h {'behind' if offset > 0 else 'ahead'}"
