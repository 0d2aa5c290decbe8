"""A seeded stream that speaks the contract, as bytes and as a Source. It knows no server and no socket.

(seed, scenario, rate, n) fix the bytes of packet n on every machine. The engine's state is made in `seeded_engine`,
incidents are listed in `scenarios`; here they become messages, some of which get lost, doubled or mangled.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from typing import Any, Final, Literal, NamedTuple, get_args

from ccwatch.errors import ConfigError
from ccwatch.feed import scenarios
from ccwatch.feed.prices import Prices, read_prices
from ccwatch.feed.scenarios import Incident, Plant
from ccwatch.feed.seeded_engine import SYMBOL, SeededEngine
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.messages import Item
from ccwatch.protocol.stream_reader import StreamReader
from ccwatch.protocol.wire.damage import SORTS, Damage, flipped
from ccwatch.stream.source import DescribedSource, Sink, Stop, read_clock

Pace = Literal["wall", "max"]

START: Final = datetime(2026, 1, 2, 14, 30, tzinfo=UTC)
"""The time of packet 0."""
MAX_RATE: Final = 1_000_000.0
"""Packets per second: timestamps have microseconds."""
BATCH: Final = 64
"""Messages handed over at once at pace "max"."""


@dataclass
class Controls:
    """The operators' commands to a running stream. Each field is set by any thread and read by the one that makes the packets."""

    halted: bool | None = None
    """True halts, False overrules a planted halt, None follows the scenario."""
    symbols: frozenset[str] = frozenset()
    """Symbols wanted beside the stream's own."""


class Emission(NamedTuple):
    """Something that is due `at` packets after the first one: a message, or, without bytes, the end of every connection."""

    at: float
    raw: bytes
    is_extra: bool = False
    """Whether its symbol was asked for beside the stream's own; then it does not count as one of `packets`."""
    damage: Damage | None = None
    """Its damage on the way."""


def messages(seed: int = 0, scenario: str = "calm", rate: float = 1.0) -> Iterator[bytes]:
    """Return the messages of a seeded stream, without end: TELEMETRY in the contract's envelope, 2 to 5 KB each.

    Args:
        seed: 0 or more.
        scenario: a name of `scenarios.SCENARIOS`, or several: see `scenarios.plants`.
        rate: packets per second of the stream's own time.

    Raises:
        ConfigError: an argument that cannot be used.
    """
    return (emission.raw for emission in emissions(seed, scenario, rate) if emission.raw)


def emissions(
    seed: int,
    scenario: str,
    rate: float,
    *,
    symbol: str = SYMBOL,
    prices: tuple[float, ...] | None = None,
    controls: Controls | None = None,
) -> Iterator[Emission]:
    """Return an endless iterator as `messages` does, with due times, ends of connections and operators' controls; `prices` end it."""
    if type(seed) is not int or seed < 0:
        raise ConfigError(f"seed: expected an integer from 0, got {seed!r}")
    if type(rate) not in {int, float} or not 0 < rate <= MAX_RATE:
        raise ConfigError(f"rate: expected packets per second, more than 0 and up to {MAX_RATE:g}, got {rate!r}")
    engine = SeededEngine(seed, _stamp(-1_000_000), symbol, None if prices is None else prices[0])
    return _emit(engine, seed, scenarios.plants(scenario, rate), rate, prices, controls or Controls())


def _emit(
    engine: SeededEngine, seed: int, plants: tuple[Plant, ...], rate: float, prices: tuple[float, ...] | None, controls: Controls
) -> Iterator[Emission]:
    sent: dict[str, Any] = {}
    others: dict[str, SeededEngine] = {}
    for n in count() if prices is None else range(len(prices)):
        acting: dict[str, Plant] = {plant.kind: plant for plant in plants if plant.acts_on(n)}
        price = None if prices is None else prices[n]
        if "reconnect" in acting:
            yield Emission(n, b"")
        for part in range(scenarios.FLOOD if "flood" in acting else 1):
            at = n + part / scenarios.FLOOD
            elapsed_us = round(at * 1e6 / rate)
            state = engine.step(n, _stamp(elapsed_us), acting, halted=controls.halted, price=price)
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
            yield Emission(at, raw, damage=_damage(n) if "lossy" in acting else None)
            if "duplicate" in acting:
                yield Emission(at, raw)
        wanted = controls.symbols - {engine.symbol}
        if wanted or others:  # each begins its day when it is first asked for, and is forgotten when it is no longer wanted
            stamp = _stamp(round(n * 1e6 / rate))
            others = {name: others.get(name) or SeededEngine(_seed_of(name, seed), stamp, name) for name in sorted(wanted)}
            for other in others.values():
                state = other.step(n, stamp, {}, halted=controls.halted)
                if "gap" not in acting:
                    yield Emission(n, codec.dumps({"type": "TELEMETRY", "data": state}), is_extra=True)


def _damage(n: int) -> Damage | None:
    """Return the damage to packet n on a lossy way: each sort in its turn, at another place each time."""
    turn, rest = divmod(n, scenarios.LOSSY_EVERY)
    return None if rest else Damage(SORTS[turn % len(SORTS)], turn * 7919)


def _damaged(emitted: Iterator[Emission]) -> Iterator[Emission]:
    """Yield emissions as their damage leaves them."""
    late: list[Emission] = []
    for emission in emitted:
        sort = None if emission.damage is None else emission.damage.sort
        if sort == "swap":
            late.append(emission)
        elif sort != "drop":
            is_flipped = emission.damage is not None and sort == "flip"
            raw = flipped(emission.raw, emission.damage.place, is_text=True) if is_flipped and emission.damage else emission.raw
            yield emission._replace(raw=raw)
            if sort == "repeat":
                yield emission
            yield from late
            late.clear()
    yield from late


def _seed_of(symbol: str, seed: int) -> int:
    """Return a seed for each symbol, the same on every machine."""
    return seed + 1 + zlib.crc32(symbol.encode())


def _stamp(elapsed_us: int) -> str:
    """Return a time since the first packet as the contract's ISO 8601 text."""
    return (START + timedelta(microseconds=elapsed_us)).isoformat().replace("+00:00", "Z")


def _mangled(raw: bytes, how: str) -> bytes:
    """Return what a broken engine or proxy would send instead, as valid UTF-8: anything else ends a WebSocket connection."""
    if how == "truncated":
        return raw[: len(raw) // 2].decode(errors="ignore").encode()
    return {"array": b"[" + raw, "text": b"upstream connect error", "foreign": b'{"internal":true}'}[how]


class SyntheticSource(DescribedSource):
    """A seeded stream as a Source: on the wall clock, or as fast as it is taken."""

    origin = "synthetic"
    packets: int | None = None
    symbol: str = SYMBOL
    cuts_connections = True
    """Its disconnects are planted, so a server that streams it cuts its clients with them."""

    def __init__(
        self,
        *,
        seed: int = 0,
        scenario: str = "calm",
        rate: float = 1.0,
        packets: int | None = None,
        pace: Pace = "wall",
        prices: Prices | None = None,
        symbol: str = SYMBOL,
    ) -> None:
        """Set up a stream that has not started; each call of `stream` plays it from its beginning.

        Args:
            seed: 0 or more.
            scenario: a name of `scenarios.SCENARIOS`, or several: see `scenarios.plants`.
            rate: packets per second of the stream's own time.
            packets: the stream ends after this many messages; None for never.
            pace: "wall" delivers packet n at n / rate seconds; "max" does not wait.
            prices: prices to use instead of the market's own, one per packet, in USD: a DataFrame, a Series, the path of a CSV file, or
                numbers; the stream ends with them.
            symbol: what is traded.

        Raises:
            ConfigError: an argument that cannot be used.
        """
        given = None if prices is None else read_prices(prices)
        if not symbol.strip() or not symbol.isprintable():
            raise ConfigError(f"symbol: expected a ticker such as 'SPY', got {symbol!r}")
        emissions(seed, scenario, rate, symbol=symbol, prices=given)  # judges its arguments, and has not begun
        if packets is not None and (type(packets) is not int or packets < 1):
            raise ConfigError(f"packets: expected an integer from 1, or None for no end, got {packets!r}")
        if pace not in get_args(Pace):
            raise ConfigError(f"pace: expected one of {', '.join(get_args(Pace))}, got {pace!r}")
        self.seed, self.scenario, self.rate, self.pace = seed, scenario, rate, pace
        self.packets, self.symbol = packets, symbol
        self._prices = given
        self._controls = Controls()
        self.damages_itself = True
        """Whether planted damage is done here; a server that streams it sets False, and damages what its clients are sent."""
        self.damage: Damage | None = None
        """The damage to the message that is being delivered, for a server. Of the source's thread."""

    def __repr__(self) -> str:
        return f"<SyntheticSource seed={self.seed} scenario={self.scenario} rate={self.rate:g} pace={self.pace}>"

    @property
    def planted(self) -> tuple[Incident, ...]:
        """Return the planted incidents, in seconds of the stream's own time."""
        return scenarios.planted(self.scenario, self.rate)

    @property
    def virtual_clock(self) -> bool:
        """Return whether its stamps run ahead of the clock."""
        return self.pace == "max"

    # ── operators ──

    def halt(self) -> None:
        """Halt the engine with its next packet."""
        self._controls.halted = True

    def resume(self) -> None:
        """Resume trading; a planted halt is overruled for good."""
        self._controls.halted = False

    def follow(self, symbols: frozenset[str], /) -> None:
        """Deliver packets of these symbols as well, each by a separate engine; they do not count as `packets`."""
        self._controls.symbols = symbols

    def stream(self, sink: Sink, stop: Stop, /) -> None:
        """Deliver to `sink` until `packets` messages are sent or `stop` is set."""
        reader = StreamReader(virtual_clock=self.pace == "max")
        sink.receive(reader.opened(read_clock(), self._opening))
        emitted = _counted(
            emissions(self.seed, self.scenario, self.rate, symbol=self.symbol, prices=self._prices, controls=self._controls), self.packets
        )
        if self.damages_itself:
            emitted = _damaged(emitted)
        if self.pace == "max":
            self._hurry(emitted, reader, sink, stop)
        else:
            self._keep_pace(emitted, reader, sink, stop)
        sink.receive(reader.flush())

    @property
    def _opening(self) -> str:
        return f"seed={self.seed} scenario={self.scenario} rate={self.rate:g}"

    def _items(self, emission: Emission, reader: StreamReader) -> list[Item]:
        now = read_clock()
        if emission.raw:
            return reader.receive(emission.raw, now)
        return [*reader.closed(now, "planted"), *reader.opened(now, self._opening)]

    def _hurry(self, emitted: Iterator[Emission], reader: StreamReader, sink: Sink, stop: Stop) -> None:
        while not stop.is_set():
            batch = [*islice(emitted, BATCH)]
            if not batch:
                return
            if self.damages_itself or all(emission.damage is None for emission in batch):
                sink.receive([item for emission in batch for item in self._items(emission, reader)])
                continue
            for emission in batch:
                self._deliver(emission, reader, sink)

    def _keep_pace(self, emitted: Iterator[Emission], reader: StreamReader, sink: Sink, stop: Stop) -> None:
        start = time.monotonic()
        for emission in emitted:
            due = start + emission.at / self.rate  # on an absolute schedule, so that delays do not add up
            while (left := due - time.monotonic()) > 0:
                if stop.wait(min(left, 0.5)):
                    return
                late = reader.tick(read_clock())  # in a planted gap the stream goes late and stale like any other
                if late:
                    sink.receive(late)
            if stop.is_set():
                return
            self._deliver(emission, reader, sink)

    def _deliver(self, emission: Emission, reader: StreamReader, sink: Sink) -> None:
        self.damage = emission.damage
        sink.receive(self._items(emission, reader))
        self.damage = None


def _counted(emitted: Iterator[Emission], packets: int | None) -> Iterator[Emission]:
    """Yield emissions until this many messages of the main stream have come; for None, all of them."""
    left = packets
    for emission in emitted:
        yield emission
        if left is not None and emission.raw and not emission.is_extra:
            left -= 1
            if left == 0:
                return
