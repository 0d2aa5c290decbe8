"""A seeded engine: a market, and on it portfolio, signals, governance, agents, models and logs. It knows no bytes and no clock.

Exact everywhere, like `market`: money is whole cents, positions are whole shares, and values are rounded before they leave.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from ccwatch.feed import scenarios
from ccwatch.feed.market import Market, Noise, Tick
from ccwatch.feed.scenarios import Plant
from ccwatch.protocol.messages import Regime, Side, Status

SYMBOL: Final = "SPY"
START_CENTS: Final = 10_000_000
"""Net asset value at the start of the day, in cents."""
MAX_SIZE: Final = 0.20
"""The contract's largest approved size, a fraction of nav."""
AGENTS: Final = {
    "MacroAgent": 45.0,
    "RiskAgent": 12.0,
    "QuantAgent": 30.0,
    "SentimentAgent": 85.0,
    "AllocatorAgent": 20.0,
    "ExecutionAgent": 8.0,
}
"""Median latency of each agent, in ms."""
MODELS: Final = {"ChronosService": (120.0, 0.35), "FinBERT": (38.0, 0.72), "GemmaService": (310.0, 0.18)}
"""Median latency in ms, and share of cache hits, of each model. FinBERT is slower than its default objective (p95 of 25 ms), so that
its latency alerts fire in every seeded stream, calm or not."""
SUCCESS_SHARE, SLOW_SUCCESS_SHARE = 0.985, 0.90
DIRECTION: Final = {Side.BUY: 1, Side.SELL: -1, Side.FLAT: 0}
WARMING_UP: Final = "Warming up: waiting for enough observations to estimate velocity and tail index before a side is taken"


def tidy(value: float) -> float:
    """Round to six decimals, four below 0.0001: no value then needs an exponent, which JSON encoders write in different ways."""
    short = round(value, 6)
    return (short if abs(short) >= 1e-4 else round(value, 4)) + 0.0  # + 0.0: never −0.0


class Book:
    """Cash and a position at a price, in cents and shares; the peak of nav and the worst drawdown from it."""

    def __init__(self, cents: int) -> None:
        self.cash, self.shares, self.cents = START_CENTS, 0, cents
        self.peak, self.max_drawdown = START_CENTS, 0.0

    @property
    def nav(self) -> int:
        """Return the net asset value, in cents."""
        return self.cash + self.shares * self.cents

    @property
    def drawdown(self) -> float:
        """Return the distance of nav from its running peak, a fraction ≤ 0."""
        return self.nav / self.peak - 1.0

    def mark(self, cents: int) -> None:
        """Set the price to `cents`."""
        self.cents = cents
        self.peak = max(self.peak, self.nav)
        self.max_drawdown = min(self.max_drawdown, self.drawdown)

    def hold(self, fraction: float) -> int:
        """Trade to a position of this fraction of nav, negative for short, at the price and without costs; return the shares bought."""
        bought = int(fraction * self.nav / self.cents) - self.shares
        self.cash -= bought * self.cents
        self.shares += bought
        return bought

    def cents_for(self, drawdown: float) -> int:
        """Return the price at which a long position would have this drawdown."""
        return max(1, round((self.peak * (1.0 + drawdown) - self.cash) / self.shares))


class Service:
    """The gauges of an agent or a model: the latency of its last call, its calls and how many of them were good."""

    def __init__(self, name: str, median_ms: float, share: float, noise: Noise) -> None:
        self.name, self.median_ms = name, median_ms
        self._share, self._noise = share, noise
        self.latency_ms = round(median_ms, 1)
        self.invocations = noise.between(180, 420)
        self._good = int(self.invocations * share)
        self.called = False

    @property
    def good_rate(self) -> float:
        """Return good calls (successes, or cache hits) over all calls since the engine's start."""
        return round(self._good / self.invocations, 6)

    def work(self, factor: float = 1.0, share: float | None = None) -> None:
        """Make none to two calls in this period, at `factor` times the usual latency, `share` of them good."""
        calls = self._noise.between(0, 2)
        self.called = calls > 0
        for _ in range(calls):
            self.latency_ms = round(self.median_ms * factor * self._noise.scatter(0.25), 1)
            self.invocations += 1
            self._good += self._noise.uniform() < (self._share if share is None else share)


class SeededEngine:
    """The state of an engine, advanced one packet at a time."""

    size_cap: ClassVar[float] = MAX_SIZE
    """The largest size that governance approves, a fraction of nav."""
    breaker: ClassVar[float | None] = None
    """A drawdown from the peak, a fraction, at which every position is sold for good; None is none."""

    def __init__(self, seed: int, boot_stamp: str, symbol: str = SYMBOL, price: float | None = None) -> None:
        """Start an engine.

        Args:
            seed: of its market.
            boot_stamp: the time of its first log lines.
            symbol: what it trades.
            price: the first of given prices (USD), else the market has its own.
        """
        noise = self._noise = Noise(seed)
        self.symbol = symbol
        self._steps = 0
        self._market = Market(noise, None if price is None else round(100 * price))
        self._book = Book(self._market.cents)
        self._agents = [Service(name, median, SUCCESS_SHARE, noise) for name, median in AGENTS.items()]
        self._models = [Service(name, median, share, noise) for name, (median, share) in MODELS.items()]
        self._logs: deque[dict[str, str]] = deque(maxlen=10)  # as deployed: the last ten lines, again in every packet
        for name in (*AGENTS, *MODELS, "StateBroadcaster"):
            self._log(boot_stamp, "INFO", f"{name}: ready, accepting work from the engine loop")
        self._regime = self._market.regime
        self._side, self._confidence, self._size = Side.FLAT, 0.0, 0.0
        self._reasoning = WARMING_UP
        self._decide_in = 5
        self._is_stopped = False
        self._slide_from = 0.0
        self._status = Status.ACTIVE
        self._orders = 0
        self._fills: list[dict[str, Any]] = []  # of this packet

    def step(
        self, n: int, stamp: str, acting: Mapping[str, Plant], *, halted: bool | None = None, price: float | None = None
    ) -> dict[str, Any]:
        """Return the state at packet n, the contract's `data`.

        Args:
            n: the packet's number.
            stamp: its time.
            acting: the plants that act on it, by kind.
            halted: what an operator wants: True halts, False overrules a planted halt, None leaves it to what is planted.
            price: a given price (USD) instead of the market's own; its book counts whole cents.
        """
        if (
            halted is not None
        ):  # a halted engine holds nothing that could slide; an operator's resume overrules the breaker, and what would trip it
            acting = {kind: plant for kind, plant in acting.items() if kind not in {"halt", "drawdown"}}
        regime, slide, slow = acting.get("regime"), acting.get("drawdown"), acting.get("slow-agent")
        tick = self._market.step(
            regime=None if regime is None else Regime(regime.what),
            cents=self._slide(n, stamp, slide) if slide is not None else None if price is None else round(100 * price),
        )
        self._book.mark(tick.cents)
        if tick.regime is not self._regime:
            self._flip(stamp, tick)
        if halted:
            self._stop(stamp, "Operator: HALT, trading is halted", "Halted by the operator")
        elif "halt" in acting:
            self._halt(stamp)
        elif self._status is Status.HALT:
            self._status = Status.ACTIVE
            self._log(stamp, "WARNING", "Operator: RESUME, trading goes on")
        elif slide is None:
            self._decide(stamp, tick)
            self._govern(stamp, tick)
        self._work(stamp, "" if slow is None else slow.what)
        if self._steps % 12 == 0:
            self._log(stamp, "INFO", f"Physics: {tick.regime} regime confirmed, alpha {tick.alpha:.4f}")
        if self._steps % 20 == 10:
            self._log(stamp, "INFO", f"Portfolio: nav {self._book.nav / 100:.2f} USD, holding {self._book.shares} {self.symbol}")
        self._steps += 1
        state = self._state(stamp, tick)
        if price is not None and slide is None:
            state["market"]["price"] = price
        return state

    def _state(self, stamp: str, tick: Tick) -> dict[str, Any]:
        book, fills = self._book, self._fills
        self._fills = []
        traded = {"execution_status": "FILLED", "order_id": fills[-1]["order_id"], "trades": fills} if fills else {}
        return {
            "timestamp": stamp,
            "status": self._status,
            "market": {
                "symbol": self.symbol,
                "price": tick.cents / 100,
                "alpha": round(tick.alpha, 4),
                "regime": tick.regime,
                "velocity": tidy(tick.velocity),
                "acceleration": tidy(tick.acceleration),
            },
            "portfolio": {
                "nav": book.nav / 100,
                "cash": book.cash / 100,
                "daily_pnl": (book.nav - START_CENTS) / 100,
                "max_drawdown": tidy(book.max_drawdown),
            },
            "signal": {"side": self._side, "confidence": self._confidence, "reasoning": self._reasoning},
            "governance": {"approved_size": self._size},
            "logs": list(self._logs),
            "agents": {
                a.name: {"latency_ms": a.latency_ms, "success_rate": a.good_rate, "invocations": a.invocations} for a in self._agents
            },
            "models": {
                m.name: {"latency_ms": m.latency_ms, "invocations": m.invocations, "cache_hit_rate": m.good_rate} for m in self._models
            },
            **traded,
        }

    def _log(self, stamp: str, level: str, message: str) -> None:
        self._logs.append({"level": level, "message": message, "timestamp": stamp})

    def _flip(self, stamp: str, tick: Tick) -> None:
        level = "WARNING" if tick.regime is Regime.CRITICAL else "INFO"
        self._log(stamp, level, f"Physics: regime flip from {self._regime} to {tick.regime}, alpha {tick.alpha:.4f}")
        self._regime = tick.regime

    def _decide(self, stamp: str, tick: Tick) -> None:
        """Change the side now and then: with the trend, and more surely the faster it is."""
        self._decide_in -= 1
        if self._decide_in > 0:
            return
        noise = self._noise
        self._decide_in = noise.between(20, 60)
        if noise.uniform() < 0.15:
            self._side, self._confidence = Side.FLAT, round(0.3 * noise.uniform(), 4)
            self._reasoning = (
                f"No edge: velocity {tick.velocity:+.4f} $/period is within its noise and the forecast of ChronosService is wide, "
                f"so the agents stay out of {self.symbol}"
            )
        else:
            self._side = Side.BUY if tick.velocity + 0.02 * noise.normal() > 0.0 else Side.SELL
            self._confidence = round(0.5 + min(4.0 * abs(tick.velocity), 0.35) + 0.14 * noise.uniform(), 4)
            self._reasoning = (
                f"Momentum + Forecast alignment: velocity {tick.velocity:+.4f} $/period and the median forecast of ChronosService "
                f"point to {self._side}, with a tail index of {tick.alpha:.2f} in a {tick.regime} market"
            )
        self._log(stamp, "INFO", f"Signal: {self._side} {self.symbol} at {tick.cents / 100:.2f}, confidence {self._confidence:.4f}")

    def _govern(self, stamp: str, tick: Tick) -> None:
        """Approve a size for the signal, none in Critical, and trade to it if it differs from the one before."""
        wanted = 0.0 if self._side is Side.FLAT else round(MAX_SIZE * self._confidence * (0.5 if tick.regime is Regime.LEVY else 1.0), 4)
        wanted = min(wanted, self.size_cap)
        if self.breaker is not None and self._book.drawdown <= self.breaker:
            self._is_stopped = True
        if self._is_stopped:
            wanted = 0.0
        if tick.regime is Regime.CRITICAL:
            if self._size > 0.0:
                self._log(stamp, "WARNING", f"Governance: Physics Veto, {self._side} cut to zero in Critical, alpha {tick.alpha:.4f}")
            wanted = 0.0
        held = (self._book.shares > 0) - (self._book.shares < 0)
        if wanted != self._size or (wanted and held != DIRECTION[self._side]):
            self._size = wanted
            self._trade(stamp, DIRECTION[self._side] * wanted)

    def _trade(self, stamp: str, fraction: float) -> None:
        """Trade to a position worth this fraction of nav, by one order that is filled at once at the price."""
        bought = self._book.hold(fraction)
        if bought:
            self._orders += 1
            self._fills.append(
                {
                    "id": f"T{self._orders:06d}",
                    "symbol": self.symbol,
                    "side": Side.BUY if bought > 0 else Side.SELL,
                    "quantity": abs(bought),
                    "price": self._book.cents / 100,
                    "order_id": f"O{self._orders:06d}",
                    "status": "FILLED",
                    "timestamp": stamp,
                }
            )

    def _work(self, stamp: str, slow: str) -> None:
        for agent in self._agents:
            if agent.name == slow:
                agent.work(scenarios.SLOW_FACTOR, SLOW_SUCCESS_SHARE)
            else:
                agent.work()
            if agent.called and agent.latency_ms > 4.0 * agent.median_ms:
                self._log(stamp, "WARNING", f"{agent.name}: slow call, {agent.latency_ms} ms where {agent.median_ms:g} ms are usual")
        for model in self._models:
            model.work()

    # ── planted incidents only ──

    def _slide(self, n: int, stamp: str, slide: Plant) -> int:
        """Return the price of a slide with the book long: evenly down to just above the halt's limit, and past it with the last packet."""
        if n == slide.first:
            self._side, self._confidence, self._size = Side.BUY, 0.9, MAX_SIZE
            self._reasoning = "Mean reversion: the agents hold on to the largest position while the price slides away under it"
            self._trade(stamp, MAX_SIZE)
            self._slide_from = self._book.drawdown
        if n == slide.last:
            return self._book.cents_for(scenarios.DRAWDOWN_AT_HALT)
        done = (n - slide.first + 1) / (slide.last - slide.first)
        return self._book.cents_for(self._slide_from + (scenarios.DRAWDOWN_BEFORE_HALT - self._slide_from) * done)

    def _halt(self, stamp: str) -> None:
        drawdown = f"{self._book.drawdown:.2%}"
        self._stop(
            stamp,
            f"CircuitBreaker: drawdown {drawdown} is past {scenarios.HALT_LIMIT:.2%}, trading is halted",
            f"Halted by the circuit breaker: the drawdown of {drawdown} is past its limit of {scenarios.HALT_LIMIT:.2%}",
        )

    def _stop(self, stamp: str, line: str, reasoning: str) -> None:
        """Halt, unless halted already: no position, no signal, no size."""
        if self._status is Status.HALT:
            return
        self._status = Status.HALT
        self._log(stamp, "ERROR", line)
        self._side, self._confidence, self._size = Side.FLAT, 0.0, 0.0
        self._reasoning = reasoning
        self._trade(stamp, 0.0)
