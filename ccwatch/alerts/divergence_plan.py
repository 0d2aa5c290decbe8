"""Plans: what a stream was expected to make, and the measure `divergence`: how far it departs. It reads no file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ccwatch.alerts.batch_columns import Columns
from ccwatch.alerts.observations import Bools, Floats, Ints
from ccwatch.alerts.rule_state import AnyRule
from ccwatch.config import Align
from ccwatch.protocol.messages import Side

MEASURE = "divergence"


@dataclass(frozen=True, eq=False)
class Plan:
    """The expected course of a stream.

    Attributes:
        times: of its entries, ns since 1970, rising.
        values: what the account was to be worth at each; of signals the share of it to be held, below 0 for short.
        lasts_ns: how long an entry holds that no other follows; later than that nothing is expected.
        is_signals: whether the values are signals, which are held at the stream's own prices.
        symbol: whose prices; None is any.
        align: "clock" takes the times as they are; "open" lays `origin_ns` on the stream's first packet, "event" on its first BUY or SELL.
        origin_ns: the plan's own first packet, or its first BUY or SELL.
    """

    times: Ints
    values: Floats
    lasts_ns: int
    is_signals: bool = False
    symbol: str | None = None
    align: Align = "clock"
    origin_ns: int = 0

    def __eq__(self, other: object) -> bool:
        """Return whether the other plan expects the same."""
        if not isinstance(other, Plan):
            return NotImplemented
        mine, theirs = ((plan.lasts_ns, plan.is_signals, plan.symbol, plan.align, plan.origin_ns) for plan in (self, other))
        return mine == theirs and np.array_equal(self.times, other.times) and np.array_equal(self.values, other.values, equal_nan=True)

    __hash__ = None  # type: ignore[assignment] # it is compared by its arrays


PlanReader = Callable[[Sequence[AnyRule]], Plan | None]
"""Returns the plan that rules are judged against; None where none of them needs one."""


def no_plan(rules: Sequence[AnyRule]) -> None:
    """Return no plan: a rule that needs one is refused."""


class Divergence:
    """The return of a stream less that of its plan, both since the first packet that meets the plan. It is carried from batch to batch."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.since: int | None = None
        """When both began, ns since 1970; None before."""
        self._shift: int | None = 0 if plan.align == "clock" else None
        self._start = self._planned = np.nan  # worth of the account and of the plan where both began
        self._held, self._price, self._worth = 0.0, np.nan, 1.0  # of signals: held since the last packet, its price, and what that has made

    def observe(self, packets: Columns) -> Floats:
        """Return the divergence at each clean packet, a fraction; NaN where the packet has no nav, or the plan says nothing."""
        found = np.full(len(packets), np.nan)
        times, nav = packets.time, packets.numbers("nav")
        begin = 0
        if self._shift is None:
            begin, self._shift = self._laid(packets)
        if self._shift is None or not len(self.plan.times):
            return found
        place = np.searchsorted(self.plan.times, times - self._shift, side="right") - 1
        row = np.maximum(place, 0)
        met = (place >= 0) & (np.arange(len(times)) >= begin) & (times - self._shift - self.plan.times[row] <= self.plan.lasts_ns)
        planned = np.where(met, self.plan.values[row], np.nan)
        if self.plan.is_signals:
            planned = self._made(planned, packets, met)
        known = np.isfinite(nav) & np.isfinite(planned)
        if self.since is None:
            first = np.flatnonzero(known & (nav > 0.0) & (planned > 0.0))[:1]
            if not len(first):
                return found
            self.since = int(times[first[0]])
            self._start, self._planned = float(nav[first[0]]), float(planned[first[0]])
            known[: first[0]] = False
        found[known] = nav[known] / self._start - planned[known] / self._planned
        return found

    def _laid(self, packets: Columns) -> tuple[int, int | None]:
        """Return the row of the packet on which the plan is laid, and by how much it is moved; None before that packet."""
        rows = np.arange(len(packets))
        if self.plan.align == "event":
            rows = np.flatnonzero(np.isin(packets.words("side"), [str(Side.BUY), str(Side.SELL)]))
        return (int(rows[0]), int(packets.time[rows[0]]) - self.plan.origin_ns) if len(rows) else (0, None)

    def _made(self, signals: Floats, packets: Columns, met: Bools) -> Floats:
        """Return what holding the signals at the stream's prices has made of 1, at each packet that meets the plan."""
        price = packets.numbers("price")
        usable = met & np.isfinite(price) & (price > 0.0)
        if self.plan.symbol is not None:
            usable &= packets.words("symbol") == self.plan.symbol
        rows = np.flatnonzero(usable)
        worth = np.full(len(price), np.nan)
        if len(rows):
            held = np.append(self._held, np.nan_to_num(signals[rows]))
            before = np.append(self._price, price[rows][:-1])
            moves = np.where(np.isfinite(before), held[:-1] * (price[rows] / before - 1.0), 0.0)
            worth[rows] = np.cumprod(np.append(self._worth, 1.0 + moves))[1:]
            self._held, self._price, self._worth = float(held[-1]), float(price[rows[-1]]), float(worth[rows[-1]])
        return worth

    def snapshot(self) -> dict[str, Any]:
        """Return the state needed to go on from here, as values that JSON can hold."""
        return {
            "since": self.since,
            "shift": self._shift,
            "held": self._held,
            **{name: value if np.isfinite(value) else None for name, value in self._numbers().items()},
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Restore the state of a snapshot."""
        self.since, self._shift, self._held = kept["since"], kept["shift"], kept["held"]
        names = ("start", "planned", "price", "worth")
        self._start, self._planned, self._price, self._worth = (np.nan if kept[name] is None else kept[name] for name in names)

    def _numbers(self) -> dict[str, float]:
        return {"start": self._start, "planned": self._planned, "price": self._price, "worth": self._worth}
