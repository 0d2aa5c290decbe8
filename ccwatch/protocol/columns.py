"""The only column table: every column of every table, with its dtype, unit, place on the wire and meaning.

Buffer, recording, encoder, documentation and tests read it; a new column is one line here and one field of its type in
`messages`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from ccwatch.protocol.messages import EventKind, Kind, Regime, Side, Status

DType = Literal["time", "uint64", "int64", "int32", "uint32", "float64", "category", "text"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column. A `time` is datetime64[ns, UTC]; a `text` is str, missing where it was not carried."""

    name: str
    dtype: DType
    unit: str
    wire: str
    """Dotted path below the contract's `data`; empty for a column that ccwatch adds."""
    meaning: str
    words: tuple[str, ...] = ()
    """The categories of a closed vocabulary, in their order; empty for an open one."""
    low: float | None = None
    """The contract's range: a value outside is kept and its packet flagged RANGE."""
    high: float | None = None

    @property
    def field(self) -> str:
        """Return the name of the attribute that holds it on Packet, AgentMetric, …, where times are integers."""
        return f"{self.name}_ns" if self.dtype == "time" else self.name


def _f(name: str, unit: str, wire: str, meaning: str, low: float | None = None, high: float | None = None) -> Column:
    return Column(name, "float64", unit, wire, meaning, low=low, high=high)


def _text(name: str, wire: str, meaning: str) -> Column:
    return Column(name, "text", "", wire, meaning)


TIME: Final = Column("time", "time", "UTC", "timestamp", "the server's timestamp, else the receive time with flag NO_TIME")
SEQ: Final = Column("seq", "uint64", "", "", "this feed's own number of the packet, from 1")
DIALECT_NAMES: Final = ("contract", "engine_loop", "bridge", "pipeline")

PACKETS: Final[tuple[Column, ...]] = (
    TIME,
    SEQ,
    Column("connection", "int32", "", "", "which connection of this feed, from 1"),
    Column("received_at", "time", "UTC", "", "when it was received, by this machine's wall clock"),
    Column("received_mono_ns", "int64", "ns", "", "when it was received, by this machine's monotonic clock"),
    Column("kind", "category", "", "", "the sort of message that it came in", words=tuple(Kind)),
    Column("dialect", "category", "", "", "which of the observed shapes it had", words=DIALECT_NAMES),
    Column("flags", "uint32", "", "", "findings of the reading: ccwatch.Flag"),
    Column("status", "category", "", "status", "system status, canonical", words=tuple(Status)),
    Column("symbol", "category", "", "market.symbol", "active ticker"),
    Column("regime", "category", "", "market.regime", "market regime, canonical", words=tuple(Regime)),
    Column("side", "category", "", "signal.side", "side of the signal, canonical", words=tuple(Side)),
    _f("price", "USD", "market.price", "current market price; below 0 where the market is"),
    _f("alpha", "", "market.alpha", "Hill estimator of the tail index"),
    _f("velocity", "$/period", "market.velocity", "Kalman velocity estimate"),
    _f("acceleration", "$/period²", "market.acceleration", "Kalman acceleration"),
    _f("nav", "USD", "portfolio.nav", "net asset value"),
    _f("cash", "USD", "portfolio.cash", "available cash"),
    _f("daily_pnl", "USD", "portfolio.daily_pnl", "today's profit and loss"),
    _f("max_drawdown", "fraction", "portfolio.max_drawdown", "the engine's own maximum drawdown, of either sign", -1.0, 1.0),
    _f("confidence", "fraction", "signal.confidence", "confidence of the signal", 0.0, 1.0),
    _f("approved_size", "fraction", "governance.approved_size", "position size after the Physics Veto", 0.0, 0.20),
    _f("sentiment_score", "", "sentiment.score", "sentiment score"),
    _f("score", "", "signal.score", "score of the strategy that gave the signal"),
    Column("sentiment_label", "category", "", "sentiment.label", "sentiment, the server's word"),
    Column("strategy", "category", "", "signal.strategy", "the strategy that gave the signal, the server's word"),
    Column("execution_status", "category", "", "execution_status", "the outcome of the signal's order, the server's word"),
    _text("reasoning", "signal.reasoning", "the engine's explanation of the signal"),
    _text("status_raw", "status", "status, the server's word"),
    _text("regime_raw", "market.regime", "regime, the server's word"),
    _text("side_raw", "signal.side", "side, the server's word"),
    _text("approved_size_raw", "governance.approved_size", "JSON of an approved size that cannot be a fraction"),
    _text("order_id", "order_id", "the signal's order, as the broker names it"),
    _text("timestamp_raw", "timestamp", "the server's timestamp, as it came"),
    _text("extra", "", "JSON of what has no column"),
)

AGENTS: Final[tuple[Column, ...]] = (
    TIME,
    SEQ,
    Column("agent", "category", "", "agents", "the agent's name"),
    _f("latency_ms", "ms", "latency_ms", "latency of its last call", low=0.0),
    _f("success_rate", "fraction", "success_rate", "successes over calls since the engine's start", 0.0, 1.0),
    _f("invocations", "", "invocations", "calls since the engine's start", low=0.0),
)

MODELS: Final[tuple[Column, ...]] = (
    TIME,
    SEQ,
    Column("model", "category", "", "models", "the model's name"),
    _f("latency_ms", "ms", "latency_ms", "latency of its last call", low=0.0),
    _f("invocations", "", "invocations", "calls since the engine's start", low=0.0),
    _f("cache_hit_rate", "fraction", "cache_hit_rate", "cache hits over calls since the engine's start", 0.0, 1.0),
)

LOGS: Final[tuple[Column, ...]] = (
    TIME,
    SEQ,
    Column("level", "category", "", "level", "INFO, WARNING, ERROR; missing for a plain text line"),
    _text("message", "message", "the line"),
    Column("log_time", "time", "UTC", "timestamp", "the line's own time, where it has one"),
)

FORECASTS: Final[tuple[Column, ...]] = (
    TIME,
    SEQ,
    Column("step", "int32", "periods", "", "periods ahead, from 1"),
    _f("p10", "USD", "forecast.p10", "10 % quantile of the price"),
    _f("median", "USD", "forecast.median", "median of the price"),
    _f("p90", "USD", "forecast.p90", "90 % quantile of the price"),
)

TRADES: Final[tuple[Column, ...]] = (
    Column("time", "time", "UTC", "time", "when it was made; the packet's time where it does not say"),
    SEQ,
    _text("id", "id", "the trade, as the server names it"),
    Column("symbol", "category", "", "symbol", "the instrument that was traded"),
    Column("side", "category", "", "side", "side of the trade, canonical", words=tuple(Side)),
    _f("quantity", "", "quantity", "units traded"),
    _f("price", "USD", "price", "price per unit"),
    _text("order_id", "order_id", "the order that it fills"),
    Column("status", "category", "", "status", "state of the trade, the server's word"),
)

SCANNER: Final[tuple[Column, ...]] = (
    TIME,
    SEQ,
    Column("symbol", "category", "", "symbol", "a ticker that the engine looks at"),
    _f("price", "USD", "price", "its price"),
    _f("hurst", "", "hurst", "its Hurst exponent", 0.0, 1.0),
    _f("volatility", "", "volatility", "its volatility", low=0.0),
    _f("signal_potential", "", "signal_potential", "how promising the engine finds it"),
)

BARS: Final[tuple[Column, ...]] = (
    Column("time", "time", "UTC", "time", "the bar's own time; the packet's time where it does not say"),
    SEQ,
    _f("open", "USD", "open", "first price"),
    _f("high", "USD", "high", "highest price"),
    _f("low", "USD", "low", "lowest price"),
    _f("close", "USD", "close", "last price; the only one where the server sends a list of prices"),
)

EVENTS: Final[tuple[Column, ...]] = (
    Column("time", "time", "UTC", "", "when it happened, on the stream's own clock"),
    SEQ,
    Column("kind", "category", "", "", "the sort of event", words=tuple(EventKind)),
    _text("detail", "", "the facts, as key=value"),
)

TABLES: Final[dict[str, tuple[Column, ...]]] = {
    "packets": PACKETS,
    "agents": AGENTS,
    "models": MODELS,
    "logs": LOGS,
    "forecasts": FORECASTS,
    "trades": TRADES,
    "scanner": SCANNER,
    "bars": BARS,
    "events": EVENTS,
}
