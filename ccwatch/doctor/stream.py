"""Examine a server's stream: its address, dialect, departures from the contract, and the settings it needs. It prints nothing.

`examine` visits and listens; `diagnose` is pure and evaluates the received items.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace as changed
from typing import Final

from ccwatch import wiring
from ccwatch.config import DEFAULT_URL, Settings
from ccwatch.doctor import field_comparison, server_clock
from ccwatch.doctor.diagnosis import Attempt, Diagnosis, Noticed
from ccwatch.doctor.findings import Findings
from ccwatch.doctor.visit import Visit
from ccwatch.feed.address import parse_url
from ccwatch.feed.path_search import known_places
from ccwatch.protocol.messages import ConnectionState, Event, Flag, Item, Packet, StateChange

LISTEN_S: Final = 6.0
"""How long to listen: enough to hear an engine that sends every five seconds."""
PATIENCE_S: Final = 10.0
"""How long the url that was asked for may take to answer."""
KNOCK_S: Final = 3.0
"""How long the usual places may take, all at once."""
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
        visits = [stack.enter_context(Visit(settings, token))]
        visits[0].until(visits[0].is_settled, PATIENCE_S)
        if not visits[0].is_open():
            stranger = changed(settings, token=None, token_file=None)
            places = [*(known_places(address) if visits[0].is_wrong_path() else []), *usual_places(settings.url)]
            visits += [stack.enter_context(Visit(changed(stranger, url=place))) for place in dict.fromkeys(places)]
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
    findings = Findings()
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
