"""Problems, advice and settings that follow from what a stream delivered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ccwatch.doctor import server_clock
from ccwatch.doctor.diagnosis import Attempt, Diagnosis
from ccwatch.feed.health import unknown_words
from ccwatch.protocol.facts import Disconnected, ServerError, UnknownType
from ccwatch.protocol.messages import SEEN_BEFORE, ConnectionState, Event, EventKind, Flag, Packet


class Findings:
    """Collects problems, advice and settings."""

    def __init__(self) -> None:
        """Begin with none."""
        self.problems: list[str] = []
        self.advice: list[str] = []
        self.settings: dict[str, str] = {}

    def of_silence(self, attempts: Sequence[Attempt]) -> None:
        """Note that no place gave a stream."""
        self.problems += [attempt.error for attempt in attempts[:1] if attempt.error]
        self.problems.append(f"no place gives a stream: {len(attempts)} tried")
        if any("(401)" in (attempt.error or "") for attempt in attempts[:1]):
            self.advice.append("the server runs: set CCWATCH_TOKEN, or CCWATCH_TOKEN_FILE, to a token that it accepts, and try again")
            return
        if any("(401)" in (attempt.error or "") for attempt in attempts[1:]):
            self.advice.append("a usual place wants a token: name it as URL, since a token is sent to no other")
        self.advice.append(
            "start the engine's BFF, or `ccwatch serve` for a seeded stream, or name the server: ccwatch doctor ws://host:port"
        )

    def of_the_place(self, found: Diagnosis, asked: str | None) -> None:
        """Note that another place answers than the one that was asked for."""
        first = found.attempts[0]
        if found.url == first.url:
            return
        self.settings["url"] = str(found.url)
        if asked is not None:
            self.problems.append(first.error or f"{asked} does not answer")
        self.advice.append(f"{found.url} answers: connect there")

    def of_the_connection(self, found: Diagnosis, events: Sequence[Event]) -> None:
        """Note lost connections, messages that cannot be read or are too large, and what the server reports."""
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
        """Note what is odd in the packets, or that none came."""
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
        """Note a clock that is off, and the zone that it seems to keep."""
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


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
