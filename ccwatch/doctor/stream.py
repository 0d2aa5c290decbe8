"""Examine a server's stream: its address, dialect, departures from the contract, and the settings it needs. It prints nothing.

`examine` visits and listens; `diagnose` is pure and evaluates the received items.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace as changed
from typing import Any, Final, Self

from ccwatch import wiring
from ccwatch.config import DEFAULT_URL, Settings
from ccwatch.doctor import field_comparison, server_clock
from ccwatch.errors import FeedError
from ccwatch.feed.address import parse_url
from ccwatch.feed.elsewhere import known_places
from ccwatch.feed.health import unknown_words
from ccwatch.protocol.facts import Disconnected, ServerError, UnknownType
from ccwatch.protocol.messages import SEEN_BEFORE, ConnectionState, Event, EventKind, Flag, Item, Packet, StateChange

LISTEN_S: Final = 6.0
"""How long to listen: enough to hear an engine that sends every five seconds."""
PATIENCE_S: Final = 10.0
"""How long the url that was asked for may take to answer."""
KNOCK_S: Final = 3.0
"""How long the usual places may take, all at once."""
MOST_PACKETS: Final = 5_000
"""Listening ends after so many packets."""
USUAL: Final = ((3000, ""), (8000, "/ws/stream"), (8000, "/api/ws/stream"), (8000, "/api/ws/brain"))
"""Ports and paths that deployed servers use."""
MEANINGS: Final = {
    Flag.NO_TIME: "no usable timestamp: placed at the time of its receipt",
    Flag.NAIVE_TIME: "its timestamp has no offset: read in server_tz",
    Flag.REPEAT: "the same state again; left out of frame()",
    Flag.REPLAYED: "already seen on an earlier connection; left out of frame()",
    Flag.PLACEHOLDER: "zeros that mean “not known yet”; left out of frame()",
    Flag.FROZEN: "the same content, while the timestamp moves",
    Flag.CLOCK_SKEW: "the server's clock jumped",
    Flag.OUT_OF_ORDER: "older than a packet that came before it",
    Flag.UNIT: "approved_size is no fraction (dollars?): its value is in approved_size_raw",
    Flag.RANGE: "a value outside the contract's range, kept as it came",
    Flag.COERCED: "a number that came as text was read, or a NaN token is missing",
    Flag.WRONG_TYPE: "a field of another type than the contract's: kept in extra",
    Flag.SYNTHETIC_FORECAST: "the server says that its forecast is a mock one",
    Flag.CUT: "a word of more than 256 characters was cut; `extra` and the raw bytes keep it",
    Flag.UNKNOWN_WORD: "an unknown status, regime or side: the word is in the _raw column",
}


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
        """Return it as plain values that JSON can hold."""
        return asdict(self)


def examine(url: str | None = None, *, seconds: float = LISTEN_S, token: wiring.Token = None, server_tz: str | None = None) -> Diagnosis:
    """Try a server, or else the usual ports and paths of its host, and listen to the first that answers.

    Args:
        url: ws:// or wss://; None is CCWATCH_URL, else whichever usual place of this machine answers.
        seconds: how long to listen.
        token: as for `connect`; it is sent to the url alone, not to the usual places beside it.
        server_tz: IANA zone of timestamps that carry no offset; None is UTC.

    Raises:
        ConfigError: a setting that cannot be used.
    """
    settings = Settings.load(url=url, server_tz=server_tz)
    is_asked = url is not None or settings.url != DEFAULT_URL
    address = parse_url(settings.url)
    with ExitStack() as stack:
        visits = [stack.enter_context(_Visit(settings, token))]
        visits[0].until(visits[0].is_settled, PATIENCE_S)
        if not visits[0].is_open():
            stranger = changed(settings, token=None, token_file=None)
            places = [*(known_places(address) if visits[0].is_wrong_path() else []), *usual_places(settings.url)]
            visits += [stack.enter_context(_Visit(changed(stranger, url=place))) for place in dict.fromkeys(places)]
            deadline = time.monotonic() + KNOCK_S
            for visit in visits[1:]:
                visit.until(visit.is_settled, deadline - time.monotonic())
            if not any(visit.has_packets() for visit in visits[1:]):
                for visit in visits[1:]:  # a server may accept any path: the one that says something is meant
                    visit.until(lambda visit=visit: visit.has_packets() or not visit.is_open(), deadline - time.monotonic())  # type: ignore[misc] # binds the loop's value
        found = next((visit for visit in visits if visit.has_packets()), None) or next((visit for visit in visits if visit.is_open()), None)
        for visit in visits:
            if visit is not found:
                visit.feed.stop()
        if found is not None:
            found.until(found.is_heard, seconds)
            found.feed.stop()
    diagnosis = diagnose(
        () if found is None else found.items,
        attempts=[visit.attempt() for visit in visits],
        url=None if found is None else found.feed.url,
        asked=visits[0].feed.url if is_asked else None,
        origin="live" if found is None else found.feed.origin,
        seconds=seconds,
        settings=settings,
    )
    if found is None:
        return diagnosis
    health = found.feed.health()
    diagnosis = changed(diagnosis, compression=health.compression, protocol=health.protocol)
    return changed(diagnosis, wire_bytes=health.wire_bytes, inflated_bytes=health.inflated_bytes)


def usual_places(url: str) -> list[str]:
    """Return the usual ports and paths on the host of a url as urls, without the url itself."""
    address = parse_url(url)
    host = f"[{address.host}]" if ":" in address.host else address.host
    places = [f"{address.scheme}://{host}:{port}{path}" for port, path in USUAL]
    return [place for place in places if place != address.shown.rstrip("/")]


def diagnose(
    items: Sequence[Item],
    *,
    attempts: Sequence[Attempt],
    url: str | None,
    asked: str | None,
    seconds: float,
    settings: Settings,
    origin: str = "live",
) -> Diagnosis:
    """Return the diagnosis from the items of one feed, from its start on.

    Args:
        items: all items, in order.
        attempts: every place that was tried; the first is the one that was asked for, or that the settings name.
        url: the place that the items come from; None where none answers.
        asked: the url that was asked for; None where any would do.
        seconds: how long the feed was set to listen.
        settings: the feed's settings.
        origin: "live" or "synthetic".
    """
    packets = [item for item in items if isinstance(item, Packet)]
    events = [item for item in items if isinstance(item, Event)]
    changes = [item for item in items if isinstance(item, StateChange)]
    opened = next((change for change in changes if change.state is ConnectionState.OPEN), None)
    spoken = [change.state for change in changes if change.state is not ConnectionState.STOPPED]
    span_s = (packets[-1].received_mono_ns - packets[0].received_mono_ns) / 1e9 if packets else 0.0
    flags = Counter(flag for packet in packets for flag in Flag(packet.flags))
    findings = _Findings()
    found = Diagnosis(
        url=url,
        healthy=False,
        problems=(),
        advice=(),
        settings=findings.settings,
        attempts=tuple(attempts),
        origin=origin,
        state=str(spoken[-1]) if spoken else None,
        handshake_ms=next((attempt.handshake_ms for attempt in attempts if attempt.url == url), None),
        first_packet_ms=(packets[0].received_mono_ns - opened.at.mono_ns) / 1e6 if packets and opened else None,
        seconds=seconds,
        packets=len(packets),
        rate_hz=(len(packets) - 1) / span_s if span_s > 0 else None,
        message_bytes_mean=sum(len(packet.raw) for packet in packets) / len(packets) if packets else None,
        dialects=dict(Counter(packet.dialect for packet in packets)),
        kinds=dict(Counter(str(packet.kind) for packet in packets)),
        symbols=tuple(sorted({packet.symbol for packet in packets if packet.symbol is not None})),
        missing=field_comparison.missing(packets) if packets else (),
        beyond=field_comparison.beyond(packets),
        foreign=field_comparison.foreign(packets),
        clock_offset_s=server_clock.offset_s(packets),
        naive_time=Flag.NAIVE_TIME in flags,
        server_tz=settings.server_tz,
        flags=tuple(Noticed(str(flag.name), flags[flag], MEANINGS[flag]) for flag in Flag if flag in flags),
        events=dict(Counter(str(event.kind) for event in events)),
    )
    if url is None:
        findings.of_silence(attempts)
    else:
        findings.of_the_place(found, asked)
        findings.of_the_connection(found, events)
        findings.of_the_packets(found, packets)
        findings.of_the_clock(found, packets)
    return changed(found, healthy=not findings.problems, problems=tuple(findings.problems), advice=tuple(findings.advice))


class _Findings:
    """Collects problems, advice and settings."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.advice: list[str] = []
        self.settings: dict[str, str] = {}

    def of_silence(self, attempts: Sequence[Attempt]) -> None:
        self.problems += [attempt.error for attempt in attempts[:1] if attempt.error]
        self.problems.append(f"no place answers: {len(attempts)} tried")
        if any("(401)" in (attempt.error or "") for attempt in attempts[1:]):
            self.advice.append("a usual place wants a token: name it as URL, since a token is sent to no other")
        self.advice.append(
            "start the engine's BFF, or `ccwatch serve` for a seeded stream, or name the server: ccwatch doctor ws://host:port"
        )

    def of_the_place(self, found: Diagnosis, asked: str | None) -> None:
        first = found.attempts[0]
        if found.url == first.url:
            return
        self.settings["url"] = str(found.url)
        if asked is not None:
            self.problems.append(first.error or f"{asked} does not answer")
        self.advice.append(f"{found.url} answers: connect there")

    def of_the_connection(self, found: Diagnosis, events: Sequence[Event]) -> None:
        lost = [event.facts.reason for event in events if isinstance(event.facts, Disconnected)]
        if lost:
            self.problems.append(f"the connection was lost {_times(len(lost))}: {lost[-1]}")
        malformed = [event for event in events if event.kind == EventKind.MALFORMED]
        if malformed:
            self.problems.append(f"{len(malformed)} messages cannot be read; the last: {malformed[-1].detail}")
        oversize = [event for event in events if event.kind == EventKind.OVERSIZE]
        if oversize:
            self.problems.append(f"a message is too large: {oversize[-1].detail}")
            self.advice.append("raise max_message_bytes, if messages of this size are meant")
        said = [
            event.facts.text if isinstance(event.facts, ServerError) else event.detail for event in events if event.kind == EventKind.ERROR
        ]
        if said:
            self.problems.append(f"the server says that something is wrong: {said[-1]}")
        unknown = Counter(event.facts.type for event in events if isinstance(event.facts, UnknownType))
        if unknown:
            named = ", ".join(f"{name} ({count})" for name, count in unknown.most_common(8))
            self.advice.append(f"messages of types that are not the contract's are kept and counted as unknown: {named}")
        if found.state == ConnectionState.STALE:
            self.problems.append("the stream fell silent with its socket open")

    def of_the_packets(self, found: Diagnosis, packets: Sequence[Packet]) -> None:
        if not packets:
            self.problems.append(f"connected, but no packet within {found.seconds:g} s: a BFF is silent while its engine is down")
            return
        if all(packet.flags & Flag.PLACEHOLDER for packet in packets):
            self.problems.append("nothing but placeholders: the BFF has not reached its engine")
        elif len(packets) > 1 and all(packet.flags & SEEN_BEFORE for packet in packets[1:]):
            self.advice.append("the same state again and again: the engine is idle or halted, or its loop has stopped")
        if "contract" not in found.dialects and "portfolio.nav" in found.missing:
            self.advice.append("no nav, cash or drawdown comes here: the BFF (port 3000) carries the portfolio")
        words = Counter(word for packet in packets if packet.flags & Flag.UNKNOWN_WORD for word in unknown_words(packet))
        if words:
            named = ", ".join(f"{word!r} ({count})" for word, count in words.most_common(8))
            self.advice.append(f"words that ccwatch does not know, kept in the _raw columns: {named}")
        if any(packet.flags & Flag.UNIT for packet in packets):
            self.advice.append("approved_size comes in dollars: its column is empty, read approved_size_raw")

    def of_the_clock(self, found: Diagnosis, packets: Sequence[Packet]) -> None:
        offset = found.clock_offset_s
        if offset is None or found.origin == "synthetic" or abs(offset) < server_clock.NOTABLE_S:
            return
        zone = server_clock.zone(offset, found.server_tz, packets[-1].received_at) if found.naive_time else None
        if zone is not None:
            self.settings["server_tz"] = zone
            self.advice.append(
                f"timestamps are {server_clock.hours(offset)} and carry no offset: the server seems to stamp the time of {zone}"
            )
        else:
            self.advice.append(
                f"the server's clock is {abs(offset):.1f} s {'behind' if offset > 0 else 'ahead'}: set one of the two by NTP"
            )


class _Visit:
    """A feed of one place, with all that it delivered. A context manager."""

    def __init__(self, settings: Settings, token: wiring.Token = None) -> None:
        shown = parse_url(settings.url).shown
        self.feed = wiring.live_feed(settings, token, f"doctor of {shown}", searches=False)
        self.items: list[Item] = []
        self._packets = 0
        self._changed = threading.Condition()  # serialises the feed's thread, which appends to items, with the one that waits
        self.feed.add_sink(self)

    def __enter__(self) -> Self:
        self.feed.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.feed.stop()

    def receive(self, items: Sequence[Item]) -> None:
        with self._changed:
            if self._packets < MOST_PACKETS:
                self.items.extend(items)
                self._packets += sum(isinstance(item, Packet) for item in items)
            self._changed.notify_all()

    def until(self, condition: Callable[[], bool], seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(condition, max(0.0, seconds))

    def is_open(self) -> bool:
        return any(change.state is ConnectionState.OPEN for change in self._changes())

    def has_packets(self) -> bool:
        return self._packets > 0

    def is_wrong_path(self) -> bool:
        """Return whether the server answers but refuses this path, and not because of a token."""
        return getattr(self._error(), "status", None) in {403, 404} and "refuses this token" not in str(self._error())

    def is_settled(self) -> bool:
        return self.is_open() or self._error() is not None

    def is_heard(self) -> bool:
        """Return whether listening longer would show nothing new: enough packets came, or the server refused for good."""
        last = self.items[-1]
        return self._packets >= MOST_PACKETS or (isinstance(last, StateChange) and last.error is not None and last.retry_s is None)

    def attempt(self) -> Attempt:
        began = opened = None
        for change in self._changes():
            if change.state is ConnectionState.CONNECTING:
                began = change.at
            elif change.state is ConnectionState.OPEN:
                opened = change.at
                break
        if opened is not None and began is not None:
            return Attempt(self.feed.url, (opened.mono_ns - began.mono_ns) / 1e6, None)
        return Attempt(self.feed.url, None, str(self._error() or f"{self.feed.url} did not answer in time"))

    def _changes(self) -> list[StateChange]:
        return [item for item in self.items if isinstance(item, StateChange)]

    def _error(self) -> FeedError | None:
        return next((change.error for change in self._changes() if change.error is not None), None)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
