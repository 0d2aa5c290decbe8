"""The vocabulary: everything that can arrive on a stream, as frozen values. It knows no socket, no thread, no clock.

Long, since the words of a stream are to be found in one place; it holds types and hardly any code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import IntFlag, StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from ccwatch.errors import FeedError
from ccwatch.protocol.facts import Facts

NAN: Final = math.nan
"""The one NaN of decoded packets: tuples that hold it compare equal, because tuples compare by identity first."""
NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


NewRows = Mapping[str, tuple[tuple[Any, ...], ...]]
"""Rows by table, each in the order of its columns without `seq`."""


class Kind(StrEnum):
    """The sort of message that a packet came in."""

    WELCOME = "WELCOME"
    TELEMETRY = "TELEMETRY"
    PARTIAL = "PARTIAL"
    STATE = "STATE"


class Status(StrEnum):
    """Canonical status of the engine; every HALTED_* is HALT, an unheard-of word is UNKNOWN."""

    ACTIVE = "ACTIVE"
    HALT = "HALT"
    INITIALIZING = "INITIALIZING"
    SLEEPING = "SLEEPING"
    OFFLINE = "OFFLINE"
    UNKNOWN = "UNKNOWN"


class Regime(StrEnum):
    """Canonical market regime; the server's own word stays in `regime_raw`."""

    GAUSSIAN = "Gaussian"
    LEVY = "Lévy Stable"
    CRITICAL = "Critical"
    UNKNOWN = "Unknown"


class Side(StrEnum):
    """Canonical side of a signal; HOLD is FLAT."""

    BUY = "BUY"
    SELL = "SELL"
    FLAT = "FLAT"


class Flag(IntFlag):
    """Observations about a packet made while it was read. Nothing flagged is lost."""

    NO_TIME = 1 << 0
    """The server gave no usable timestamp; `time` is the receive time."""
    NAIVE_TIME = 1 << 1
    """The timestamp had no offset; it was read in the feed's `server_tz`."""
    REPEAT = 1 << 2
    """Same timestamp and content as the packet before it on this connection."""
    REPLAYED = 1 << 3
    """Seen on an earlier connection."""
    PLACEHOLDER = 1 << 4
    """Zeros that mean "not known yet": status INITIALIZING, or a price that cannot be one."""
    FROZEN = 1 << 5
    """Same content as the packet before it, while its timestamp moved."""
    CLOCK_SKEW = 1 << 6
    """The server's clock departs from this connection's median offset."""
    OUT_OF_ORDER = 1 << 7
    """Its timestamp lies before that of a packet that came earlier."""
    UNIT = 1 << 8
    """approved_size above 1 cannot be a fraction; its value is in `approved_size_raw`."""
    RANGE = 1 << 9
    """A value outside the contract's range, kept as it came."""
    COERCED = 1 << 10
    """A number sent as text was read, a time sent as a number too; a NaN or Infinity token became missing; an integer was rounded."""
    WRONG_TYPE = 1 << 11
    """A field of another type than the contract's is missing from its column and kept in `extra`."""
    UNKNOWN_WORD = 1 << 12
    """A status, regime or side that ccwatch does not know; the server's word is in the `_raw` column."""
    SYNTHETIC_FORECAST = 1 << 13
    """The server says that its forecast is a mock one (`is_synthetic`): shown wherever the forecast is."""
    CUT = 1 << 14
    """A symbol, name or other word of more than 256 characters was cut there; `extra` and the raw bytes keep it whole."""


UNCLEAN: Final = Flag.REPEAT | Flag.REPLAYED | Flag.PLACEHOLDER
"""A packet with one of these is left out of `frame(clean=True)`."""
SEEN_BEFORE: Final = Flag.REPEAT | Flag.REPLAYED


class ConnectionState(StrEnum):
    """The state of a feed's connection."""

    CONNECTING = "CONNECTING"
    OPEN = "OPEN"
    LATE = "LATE"
    STALE = "STALE"
    DISCONNECTED = "DISCONNECTED"
    ENDED = "ENDED"
    STOPPED = "STOPPED"


class Instant(NamedTuple):
    """A reading of both clocks: the wall clock (ns since 1970, UTC) and the monotonic one (ns)."""

    wall_ns: int
    mono_ns: int


class AgentMetric(NamedTuple):
    """One agent's gauges in one packet: latency in ms, success_rate 0 to 1, invocations since start."""

    agent: str
    latency_ms: float
    success_rate: float
    invocations: float


class ModelMetric(NamedTuple):
    """One model's gauges in one packet: latency in ms, invocations since start, cache_hit_rate 0 to 1."""

    model: str
    latency_ms: float
    invocations: float
    cache_hit_rate: float


class LogLine(NamedTuple):
    """One line of the engine's log. A line sent as plain text has no level and no time of its own."""

    level: str | None
    message: str
    log_time_ns: int | None
    log_time_raw: str | None


class ForecastPoint(NamedTuple):
    """One step of a forecast: quantiles of the price, in USD, `step` periods ahead (1 is the next)."""

    step: int
    p10: float
    median: float
    p90: float


class ServiceCall(NamedTuple):
    """One call of an agent or a model, or gauges of one, with a time of its own."""

    table: str
    """"agents" or "models"."""
    name: str
    time_ns: int | None
    """None where the call has no usable time of its own."""
    latency_ms: float
    success: float
    """1 where it succeeded, 0 where it failed; NaN where the server does not say."""
    gauge: AgentMetric | ModelMetric | None = None
    """Gauges as of that time, where the server counts itself; None for a single call."""


class Trade(NamedTuple):
    """One trade: `quantity` units at `price` USD each."""

    time_ns: int | None
    id: str | None
    symbol: str | None
    side: str | None
    quantity: float
    price: float
    order_id: str | None
    status: str | None


class ScannerEntry(NamedTuple):
    """One ticker of the engine's scanner or watch list."""

    symbol: str | None
    price: float
    hurst: float
    volatility: float
    signal_potential: float


class Bar(NamedTuple):
    """One bar of the packet's symbol, prices in USD; the close alone where the server sends a list of prices."""

    time_ns: int | None
    open: float
    high: float
    low: float
    close: float


class DeferredBytes:
    """Bytes that are made when they are first asked for; equal to the bytes once made."""

    __slots__ = ("_found", "_make")

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make = make
        self._found: bytes | None = None

    def get(self) -> bytes:
        """Return the bytes, which are made at the first call."""
        if self._found is None:
            self._found = self._make()
        return self._found

    def __eq__(self, other: object) -> bool:
        return self.get() == (other.get() if isinstance(other, DeferredBytes) else other)

    def __hash__(self) -> int:
        return hash(self.get())

    def __reduce__(self) -> tuple[Any, ...]:
        return bytes, (self.get(),)


class _PacketFields(NamedTuple):
    """One message of the stream, on the columns of the packets table, plus the lists that it carries.

    The fields up to `extra` are the packets table's columns in its order (a time column `x` is the field `x_ns`, ns since
    1970 UTC). Numbers are float, NaN where the message did not carry them; words are None where it did not.
    """

    time_ns: int
    seq: int
    connection: int
    received_at_ns: int
    received_mono_ns: int
    kind: str
    dialect: str
    flags: int
    status: str | None
    symbol: str | None
    regime: str | None
    side: str | None
    price: float
    alpha: float
    velocity: float
    acceleration: float
    nav: float
    cash: float
    daily_pnl: float
    max_drawdown: float
    confidence: float
    approved_size: float
    sentiment_score: float
    score: float
    sentiment_label: str | None
    strategy: str | None
    execution_status: str | None
    reasoning: str | None
    status_raw: str | None
    regime_raw: str | None
    side_raw: str | None
    approved_size_raw: str | None
    order_id: str | None
    timestamp_raw: str | None
    extra: Mapping[str, Any]
    agents: tuple[AgentMetric, ...]
    models: tuple[ModelMetric, ...]
    logs: tuple[LogLine, ...]
    """All log lines of the message, as sent."""
    forecasts: tuple[ForecastPoint, ...]
    calls: tuple[ServiceCall, ...]
    """All calls of agents and models of the message, as sent; the last one of each name is in `agents` or `models` too."""
    trades: tuple[Trade, ...]
    scanner: tuple[ScannerEntry, ...]
    bars: tuple[Bar, ...]
    new_logs: tuple[LogLine, ...]
    """Those of `logs` that no earlier packet of this feed carried."""
    new_rows: NewRows
    """Rows at times of their own (calls, trades, bars) that no earlier packet of this feed carried: by table, in the order of
    its columns without `seq`."""
    raw: bytes | DeferredBytes
    """The message as it arrived; empty where a recording did not keep it."""


class Packet(_PacketFields):
    """One message of the stream: see its fields. Frozen; it can be pickled and copied."""

    __slots__ = ()

    @property
    def raw(self) -> bytes:
        """Return the message as it arrived; empty where a recording did not keep it."""
        kept = self[-1]
        return kept.get() if isinstance(kept, DeferredBytes) else kept

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the parts to pickle: immutable mappings cannot be pickled, so dicts with their contents replace them."""
        return _restored, ([dict(value) if isinstance(value, MappingProxyType) else value for value in self],)

    def __copy__(self) -> Packet:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Packet:
        return self

    @property
    def time(self) -> datetime:
        """Return the server's time, aware, UTC, to the microsecond."""
        return from_ns(self.time_ns)

    @property
    def received_at(self) -> datetime:
        """Return when it was received, by this machine's clock, aware, UTC."""
        return from_ns(self.received_at_ns)

    @property
    def is_clean(self) -> bool:
        """Return whether it is neither a repeat nor a replay nor a placeholder."""
        return not self.flags & UNCLEAN

    @property
    def is_forecast_synthetic(self) -> bool:
        """Return whether the server says that its forecast is a mock one."""
        return bool(self.flags & Flag.SYNTHETIC_FORECAST)

    def __repr__(self) -> str:
        return (
            f"<Packet {self.seq} {self.kind} {self.time.isoformat()} {self.symbol or '-'} "
            f"price={self.price} regime={self.regime or '-'} flags={Flag(self.flags)!s}>"
        )


def _restored(values: list[Any]) -> Packet:
    """Return a packet from its pickled fields, with the one NaN of all packets."""
    return Packet._make(map(_with_one_nan, values))


def _with_one_nan(value: Any) -> Any:
    if type(value) is float:
        return NAN if math.isnan(value) else value
    if isinstance(value, tuple):
        found = map(_with_one_nan, value)
        return value._make(found) if hasattr(value, "_make") else tuple(found)
    if type(value) is dict:  # of a packet itself: those below `extra` are reached by no tuple
        return MappingProxyType({key: part if type(part) is dict else _with_one_nan(part) for key, part in value.items()}) or NOTHING
    return value


class NonPacketSort(StrEnum):
    """The sorts of messages that are not packets."""

    HEARTBEAT = "heartbeat"
    PONG = "pong"
    ERROR = "error"
    UNKNOWN = "unknown"
    MALFORMED = "malformed"


class NonPacket(NamedTuple):
    """A message that is not a packet: a sign of life, an error that the server reports, or a type outside the contract."""

    sort: NonPacketSort
    type: str | None
    """The server's word for it, bounded."""
    text: str
    """The error that the server reports, or why a part is not a message: one line, bounded, without secrets; else empty."""
    raw: bytes


class EventKind(StrEnum):
    """The kinds of events of a stream."""

    CONNECT = "connect"
    DISCONNECT = "disconnect"
    GAP = "gap"
    DROP = "drop"
    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    """A message of a type that ccwatch does not know; kept with its bytes."""
    ERROR = "error"
    """An error that the server reports or makes, while the stream goes on."""
    OVERSIZE = "oversize"
    STALE = "stale"
    FROZEN = "frozen"
    COMMAND = "command"
    MARK = "mark"
    ALERT = "alert"
    ROWS = "rows"
    """Rows that no packet carried: of the channels logs and trades of protocol 2. Its bytes are the rows, see `codec.read_rows`."""


class Event(NamedTuple):
    """Something that happened to the stream.

    `time_ns` is on the stream's own clock (the last packet's time plus what has passed since), so that events and packets
    share one time axis. `seq` is that of the last packet before it. `detail` is one line for people, `key=value` first; who reckons
    with an event asks its `facts`.
    """

    time_ns: int
    seq: int
    kind: str
    detail: str
    connection: int
    received_at_ns: int
    received_mono_ns: int
    raw: bytes = b""
    """The bytes that could not be placed, for malformed ones."""
    facts: Facts | None = None
    """The facts of `detail` as values; None for kinds whose line is all they say."""


class StateChange(NamedTuple):
    """The connection went into another state. Not recorded: it can be derived from events and packets."""

    state: ConnectionState
    at: Instant
    retry_s: float | None = None
    """Seconds until the next attempt, from `at`."""
    error: FeedError | None = None


Item = Packet | Event | StateChange


def from_ns(ns: int) -> datetime:
    """Return nanoseconds since 1970 as an aware datetime in UTC, to the microsecond."""
    return EPOCH + timedelta(microseconds=ns // 1000)
