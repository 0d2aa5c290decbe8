"""The diagnosis of a stream: what was tried, what was noticed, and what to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Attempt:
    """One place that was tried, with the handshake's time where it answered, else the error."""

    url: str
    handshake_ms: float | None
    """Milliseconds from the beginning of the attempt (name, TCP, TLS, token) to the accepted handshake."""
    error: str | None


@dataclass(frozen=True, slots=True)
class Noticed:
    """A flag of packets: how many have it, and its meaning."""

    flag: str
    packets: int
    meaning: str


@dataclass(frozen=True)
class Diagnosis:
    """The result of `examine`. Names that end in `_s` are in seconds; None where a value is not known.

    Attributes:
        url: the place that was listened to, without secrets; None where none answers.
        healthy: whether there is no problem; advice alone counts as healthy.
        problems: the problems, a line each.
        advice: things to know or to do, a line each.
        settings: the values to set, by the name of the setting.
        attempts: every place that was tried, in order.
        origin: "live" or "synthetic".
        state: the connection's state at the end.
        handshake_ms: see Attempt.
        first_packet_ms: milliseconds from the accepted handshake to the first packet.
        seconds: how long it was set to listen.
        packets: count of packets.
        rate_hz: packets per second.
        message_bytes_mean: mean size of a message in bytes.
        dialects: packets by dialect.
        kinds: packets by kind.
        symbols: symbols that were named, sorted.
        missing: fields of the contract that never came.
        beyond: sections that the contract lacks and ccwatch has columns for.
        foreign: fields without a column; they are kept in `extra`.
        clock_offset_s: seconds that this machine's clock is ahead of the server's, travel time included.
        naive_time: whether there are timestamps without an offset.
        server_tz: the zone in which those were read.
        flags: the packets' flags, with counts and meanings.
        events: counts of gaps, disconnects and the like, by kind.
    """

    url: str | None
    healthy: bool
    problems: tuple[str, ...]
    advice: tuple[str, ...]
    settings: dict[str, str]
    attempts: tuple[Attempt, ...]
    origin: str
    state: str | None
    handshake_ms: float | None
    first_packet_ms: float | None
    seconds: float
    packets: int
    rate_hz: float | None
    message_bytes_mean: float | None
    dialects: dict[str, int]
    kinds: dict[str, int]
    symbols: tuple[str, ...]
    missing: tuple[str, ...]
    beyond: tuple[str, ...]
    foreign: tuple[str, ...]
    clock_offset_s: float | None
    naive_time: bool
    server_tz: str
    flags: tuple[Noticed, ...]
    events: dict[str, int]
    compression: str | None = None
    """The compression that was negotiated; the fields below hold the connection's bytes on the wire and inflated."""
    protocol: str | None = None
    """The protocol that the connection speaks: "1", or "2" with what was granted."""
    wire_bytes: int | None = None
    inflated_bytes: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the diagnosis as plain values that JSON can hold."""
        return asdict(self)
