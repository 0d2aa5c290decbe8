"""The account's book: the position at each packet, and the account under other positions at the same prices. It knows no rule.

A position follows from nav, cash and price; other positions are replayed trade by trade, with the engine's own way of sizing where
that reproduces every recorded trade.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from ccwatch.analysis.usable_rows import Bools, Floats, Ints, UsableRows
from ccwatch.domain.drawdown import fall
from ccwatch.protocol.messages import Side

_WHOLE: Final = 1e-6
"""How far an implied position may be from a whole number of shares, since nav and cash are rounded."""
_SAME: Final = 1e-12


@dataclass(frozen=True, eq=False)
class Book:
    """The position held, packet by packet.

    Attributes:
        times: ns since 1970.
        price: USD.
        nav: USD.
        cash: USD.
        shares: held after each packet, signed.
        target: the signed fraction of nav that the engine meant to hold.
        decision: number of the decision in force at each packet, from 0; a decision is another target than before.
        is_exact: whether the engine's way of sizing, whole shares worth the target at the packet's price, gives every recorded trade.
        trades: number of changes of the position.
    """

    times: Ints
    price: Floats
    nav: Floats
    cash: Floats
    shares: Floats
    target: Floats
    decision: Ints
    is_exact: bool
    trades: int

    @classmethod
    def of(cls, used: UsableRows) -> Book:
        """Return the book of rows that all carry price, nav and cash."""
        price, nav, cash = used.prices(), used.numbers("nav"), used.numbers("cash")
        shares = (nav - cash) / price
        near = np.rint(shares)
        if (np.abs(shares - near) <= _WHOLE * np.maximum(1.0, np.abs(near))).all():
            shares = near
        moved = np.append(True, np.abs(np.diff(shares)) > _SAME * np.maximum(1.0, np.abs(shares[1:])))
        wanted = _wanted(used)
        sized = np.trunc(wanted * nav / price)
        rows = np.flatnonzero(moved[1:]) + 1
        exact = bool(np.isfinite(wanted).all() and len(rows) and (sized[rows] == shares[rows]).all())
        held = np.maximum.accumulate(np.where(moved, np.arange(len(shares)), 0))
        target = wanted if exact else (shares * price / nav)[held]
        decision = np.cumsum(np.append(False, target[1:] != target[:-1]))
        return cls(used.times, price, nav, cash, shares, target, decision, exact, len(rows))

    def replay(self, scale: Floats, *, breaker: float | None, day: Ints, rearm_ns: int | None, delay: int, cost_bps: float) -> Replay:
        """Replay the account with each target multiplied by `scale`.

        Args:
            scale: of each packet's target; 1 leaves it as it was.
            breaker: a drawdown of the replayed account from its peak, a fraction, at which everything is sold; None for no breaker.
            day: number of the trading day of each packet.
            rearm_ns: how long a breaker stays open; None is until the next day.
            delay: packets from a decision that differs to its trade.
            cost_bps: cost of what is traded beyond the recorded trades, in hundredths of a percent; trading less saves nothing.
        """
        return _Replayer(self, _late(scale, self.decision, delay), breaker, day, rearm_ns, delay, cost_bps).run()


@dataclass(frozen=True, eq=False)
class Replay:
    """The replayed account, packet by packet."""

    nav: Floats
    target: Floats
    """The signed fraction of nav that it meant to hold."""
    changed: Bools
    """Whether the target was another one than the recorded one."""
    stops: Ints
    """Rows at which the breaker opened."""


def _wanted(used: UsableRows) -> Floats:
    """Return the signed fraction of nav that side and approved size ask for; NaN where one is missing."""
    side = np.asarray(used.words("side").astype(object))
    sign = np.where(side == Side.BUY, 1.0, np.where(side == Side.SELL, -1.0, np.where(side == Side.FLAT, 0.0, np.nan)))
    return sign * used.numbers("approved_size") + 0.0


def _late(scale: Floats, decision: Ints, delay: int) -> Floats:
    """Return the scale as it takes effect: `delay` packets after its decision, which is as recorded until then."""
    if not delay:
        return scale
    late = np.ones(len(scale))
    late[delay:] = np.where(decision[delay:] == decision[:-delay], scale[:-delay], 1.0)
    return late


class _Replayer:
    """Replays a book from trade to trade; between two of them all is arithmetic on arrays."""

    def __init__(self, book: Book, scale: Floats, breaker: float | None, day: Ints, rearm_ns: int | None, delay: int, cost: float) -> None:
        self.book, self.scale, self.breaker, self.day = book, scale, breaker, day
        self.rearm_ns, self.delay, self.cost = rearm_ns, delay, cost * 1e-4
        self.effective = book.target * scale
        moved = np.append(True, np.abs(np.diff(book.shares)) > _SAME * np.maximum(1.0, np.abs(book.shares[1:])))
        turned = np.append(True, self.effective[1:] != self.effective[:-1])
        self.rows = np.flatnonzero(moved | turned)
        self.moved = moved
        self.nav = book.nav.copy()
        self.target = book.target.copy()
        self.changed = np.zeros(len(book.nav), dtype=bool)

    def run(self) -> Replay:
        book, size = self.book, len(self.book.nav)
        stops: list[int] = []
        cash, shares, peak = book.cash[0], book.shares[0], -np.inf
        target = book.target[0]
        as_recorded, flat_until = True, 0
        at = 0
        while at < size:
            row = int(at)
            wanted = 0.0 if row < flat_until else self.effective[row]
            is_own = wanted == book.target[row] and as_recorded
            if is_own:
                shares, cash = book.shares[row], book.cash[row]
            elif wanted != target or (self.moved[row] and not book.is_exact and row >= flat_until):
                worth = cash + shares * book.price[row]
                new = wanted * worth / book.price[row]
                new = float(np.trunc(new)) if book.is_exact else new
                cash -= (new - shares) * book.price[row] + self.cost * max(0.0, abs(new - shares) - self._recorded(row)) * book.price[row]
                shares, as_recorded = new, False
            target = wanted
            place = int(np.searchsorted(self.rows, row, side="right"))
            end = int(self.rows[place]) if place < len(self.rows) else size
            end = min(end, flat_until) if row < flat_until else end
            worth_of = book.nav[row:end] if is_own else cash + shares * book.price[row:end]
            peaks = np.fmax.accumulate(np.append(peak, worth_of))[1:]
            if self.breaker is not None and row >= flat_until and shares:
                hit = np.flatnonzero(fall(worth_of, peaks) <= self.breaker)
                if len(hit):
                    stop = row + int(hit[0])
                    stops.append(stop)
                    leave = min(stop + self.delay, size)
                    flat_until = max(self._rearmed(stop), leave)
                    end = max(row, leave)
                    worth_of, peaks = worth_of[: end - row], peaks[: end - row]
                    if end > row + len(worth_of):
                        worth_of = cash + shares * book.price[row:end]
                        peaks = np.fmax.accumulate(np.append(peak, worth_of))[1:]
                    if end == row:
                        continue
            self.nav[row:end] = worth_of
            self.target[row:end] = wanted
            self.changed[row:end] = wanted != book.target[row:end]
            peak = float(peaks[-1]) if len(peaks) else peak
            if flat_until and end >= flat_until > row:
                peak = -np.inf  # after the breaker has closed again, the peak is counted from there
            at = end
        return Replay(self.nav, self.target, self.changed, np.array(stops, dtype=np.int64))

    def _recorded(self, row: int) -> float:
        """Return the number of shares that the recorded account traded at a row."""
        return abs(float(self.book.shares[row] - self.book.shares[row - 1])) if row else 0.0

    def _rearmed(self, stop: int) -> int:
        """Return the first row at which trading goes on after a stop."""
        times, day = self.book.times, self.day
        if self.rearm_ns is not None:
            return int(np.searchsorted(times, times[stop] + self.rearm_ns, side="left"))
        later = np.flatnonzero(day[stop:] != day[stop])
        return stop + int(later[0]) if len(later) else len(times)
