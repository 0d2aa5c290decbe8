"""A seeded stream that speaks the contract, as bytes and as a Source. It knows no server and no socket.

(seed, scenario, rate, n) fix the bytes of packet n on every machine. What an engine would know is made in `seeded_engine`, what
is planted is listed in `scenarios`; here it becomes messages, and some of them get lost, doubled or mangled.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from typing import Any, Final, Literal, get_args

from ccwatch.errors import ConfigError
from ccwatch.feed import scenarios
from ccwatch.feed.scenarios import Plant
from ccwatch.feed.seeded_engine import SeededEngine
from ccwatch.protocol import codec
from ccwatch.protocol.session import Session
from ccwatch.source import Sink, Stop, read_clock

Pace = Literal["wall", "max"]

START: Final = datetime(2026, 1, 2, 14, 30, tzinfo=UTC)
"""The time of packet 0."""
MAX_RATE: Final = 1_000_000.0
"""Packets per second: timestamps have microseconds."""
BATCH: Final = 64
"""Messages handed over at once at pace "max"."""


def messages(seed: int = 0, scenario: str = "calm", rate: float = 1.0) -> Iterator[bytes]:
    """The messages of a seeded stream, without end: TELEMETRY in the contract's envelope, 2 to 5 KB each.

    Args:
        seed: 0 or more.
        scenario: a name of `scenarios.SCENARIOS`.
        rate: packets per second of the stream's own time.

    Raises:
        ConfigError: an argument that cannot be used.
    """
    return (raw for _, raw in emissions(seed, scenario, rate))


def emissions(seed: int, scenario: str, rate: float) -> Iterator[tuple[int, bytes]]:
    """As `messages`, each with the n of its packet, which is due n / rate seconds after the first."""
    if type(seed) is not int or seed < 0:
        raise ConfigError(f"seed: expected an integer from 0, got {seed!r}")
    if type(rate) not in {int, float} or not 0 < rate <= MAX_RATE:
        raise ConfigError(f"rate: expected packets per second, more than 0 and up to {MAX_RATE:g}, got {rate!r}")
    return _emit(seed, scenarios.plants(scenario, rate), rate)


def _emit(seed: int, plants: tuple[Plant, ...], rate: float) -> Iterator[tuple[int, bytes]]:
    engine = SeededEngine(seed, _stamp(-1_000_000))
    sent: dict[str, Any] = {}
    for n in count():
        acting: dict[str, Plant] = {plant.kind: plant for plant in plants if plant.acts_on(n)}
        elapsed_us = round(n * 1e6 / rate)
        state = engine.step(n, _stamp(elapsed_us), acting)
        if "gap" in acting:
            continue
        if "frozen" in acting:
            state = {**sent, "timestamp": state["timestamp"]}
        if "clock-skew" in acting:
            state["timestamp"] = _stamp(elapsed_us + round(scenarios.SKEW_S * 1e6))
        sent = state
        raw = codec.dumps({"type": "TELEMETRY", "data": state})
        if "malformed" in acting:
            raw = _mangled(raw, acting["malformed"].what)
        yield n, raw
        if "duplicate" in acting:
            yield n, raw


def _stamp(elapsed_us: int) -> str:
    """Time since the first packet as the contract's ISO 8601."""
    return (START + timedelta(microseconds=elapsed_us)).isoformat().replace("+00:00", "Z")


def _mangled(raw: bytes, how: str) -> bytes:
    """What a broken engine or proxy would send instead. It stays UTF-8: anything else ends a WebSocket connection."""
    if how == "truncated":
        return raw[: len(raw) // 2].decode(errors="ignore").encode()
    return {"array": b"[" + raw + b"]", "text": b"upstream connect error", "foreign": b'{"error":"internal"}'}[how]


class SyntheticSource:
    """A seeded stream as a Source: on the wall clock, or as fast as it is taken."""

    origin = "synthetic"

    def __init__(
        self, *, seed: int = 0, scenario: str = "calm", rate: float = 1.0, packets: int | None = None, pace: Pace = "wall"
    ) -> None:
        """A stream that has not started; each call of `stream` plays it from its beginning.

        Args:
            seed: 0 or more.
            scenario: a name of `scenarios.SCENARIOS`.
            rate: packets per second of the stream's own time.
            packets: the stream ends after so many messages; None for never.
            pace: "wall" delivers packet n at n / rate seconds; "max" does not wait.

        Raises:
            ConfigError: an argument that cannot be used.
        """
        emissions(seed, scenario, rate)  # judges its arguments, and has not begun
        if packets is not None and (type(packets) is not int or packets < 1):
            raise ConfigError(f"packets: expected an integer from 1, or None for no end, got {packets!r}")
        if pace not in get_args(Pace):
            raise ConfigError(f"pace: expected one of {', '.join(get_args(Pace))}, got {pace!r}")
        self.seed, self.scenario, self.rate, self.packets, self.pace = seed, scenario, rate, packets, pace

    def __repr__(self) -> str:
        return f"<SyntheticSource seed={self.seed} scenario={self.scenario} rate={self.rate:g} pace={self.pace}>"

    def stream(self, sink: Sink, stop: Stop, /) -> None:
        """Deliver to `sink` until `packets` messages are sent or `stop` is set."""
        session = Session(virtual_clock=self.pace == "max")
        sink.receive(session.opened(read_clock(), f"seed={self.seed} scenario={self.scenario} rate={self.rate:g}"))
        emitted = islice(emissions(self.seed, self.scenario, self.rate), self.packets)
        if self.pace == "max":
            _hurry(emitted, session, sink, stop)
        else:
            _keep_pace(emitted, self.rate, session, sink, stop)


def _hurry(emitted: Iterator[tuple[int, bytes]], session: Session, sink: Sink, stop: Stop) -> None:
    while not stop.is_set():
        items = [item for _, raw in islice(emitted, BATCH) for item in session.receive(raw, read_clock())]
        if not items:
            return
        sink.receive(items)


def _keep_pace(emitted: Iterator[tuple[int, bytes]], rate: float, session: Session, sink: Sink, stop: Stop) -> None:
    start = time.monotonic()
    for n, raw in emitted:
        due = start + n / rate  # on an absolute schedule, so that delays do not add up
        while (left := due - time.monotonic()) > 0:
            if stop.wait(min(left, 0.5)):
                return
            late = session.tick(read_clock())  # in a planted gap the stream goes late and stale like any other
            if late:
                sink.receive(late)
        if stop.is_set():
            return
        sink.receive(session.receive(raw, read_clock()))
