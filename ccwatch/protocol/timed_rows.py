"""Rows with their own times: calls, trades and bars that a stream carries again and again, each of them taken once.

The state of one feed, across its connections; it knows no clock and no connection.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from types import MappingProxyType
from typing import Any, Final

from ccwatch.domain.known_items import KnownItems
from ccwatch.domain.service_calls import Call, ServiceCalls
from ccwatch.protocol.decoding.packet_fields import BARS, CALLS, SYMBOL, TIME, TRADES
from ccwatch.protocol.messages import NAN, NOTHING, AgentMetric, Bar, ModelMetric, NewRows, ServiceCall, Trade

MOST_SYMBOLS: Final = 1024
"""Symbols whose last list of prices is remembered."""
MOST_TRADES: Final = 8_192
"""Trades that are remembered beyond those of the last message: an engine sends its newest again, or all of its day. Bars and gauges
of many symbols take turns, so more of them are remembered."""


class OwnRows:
    """The calls, trades and bars seen so far. Used by one thread."""

    def __init__(self) -> None:
        self._calls = {"agents": ServiceCalls(), "models": ServiceCalls()}
        self._known = {"gauges": KnownItems(), "trades": KnownItems(MOST_TRADES), "bars": KnownItems()}
        self._prices: dict[str | None, tuple[Bar, ...]] = {}

    def of(self, values: Sequence[Any]) -> NewRows:
        """Return the rows that a packet's fields are the first to carry, by table, in the order of its columns without `seq`."""
        calls, trades, bars = values[CALLS], values[TRADES], values[BARS]
        if not (calls or trades or bars):
            return NOTHING
        time_ns = values[TIME]
        found: dict[str, tuple[tuple[Any, ...], ...]] = {}
        for table in ("agents", "models"):
            rows = self._call_rows(table, [call for call in calls if call.table == table], time_ns)
            if rows:
                found[table] = rows
        if trades and (rows := self._trade_rows(trades, time_ns)):
            found["trades"] = rows
        if bars and (rows := self._bar_rows(bars, values[SYMBOL], time_ns)):
            found["bars"] = rows
        return MappingProxyType(found) if found else NOTHING

    def _call_rows(self, table: str, calls: Sequence[ServiceCall], packet_ns: int) -> tuple[tuple[Any, ...], ...]:
        single = [call for call in calls if call.gauge is None]
        rows: list[tuple[Any, ...]] = []
        for place, success_rate, invocations in self._calls[table].count(
            [Call(c.name, c.time_ns, c.latency_ms, c.success) for c in single]
        ):
            call = single[place]
            time_ns = packet_ns if call.time_ns is None else call.time_ns
            if table == "agents":
                rate = NAN if success_rate != success_rate else success_rate  # noqa: PLR0124 - packets share one NaN
                rows.append((time_ns, *AgentMetric(call.name, call.latency_ms, rate, float(invocations))))
            else:
                rows.append((time_ns, *ModelMetric(call.name, call.latency_ms, float(invocations), NAN)))
        gauges = [(packet_ns if c.time_ns is None else c.time_ns, *c.gauge) for c in calls if c.gauge is not None]
        return (*rows, *[gauges[place] for place in self._known["gauges"].new_of([(table, *row) for row in gauges])])

    def _trade_rows(self, trades: Sequence[Trade], packet_ns: int) -> tuple[tuple[Any, ...], ...]:
        return tuple([_at(trades[place], packet_ns) for place in self._known["trades"].new_of(trades)])

    def _bar_rows(self, bars: tuple[Bar, ...], symbol: str | None, packet_ns: int) -> tuple[tuple[Any, ...], ...]:
        timed = [bar for bar in bars if bar.time_ns is not None]
        keys: list[Hashable] = [(symbol, bar) for bar in timed]
        rows: list[tuple[Any, ...]] = [timed[place] for place in self._known["bars"].new_of(keys)]
        timeless = tuple([bar for bar in bars if bar.time_ns is None])
        if timeless:
            before = self._prices.pop(symbol, ())
            self._prices[symbol] = timeless
            while len(self._prices) > MOST_SYMBOLS:
                del self._prices[next(iter(self._prices))]
            rows += [_at(bar, packet_ns) for bar in timeless[overlap(before, timeless) :]]
        return tuple(rows)


def _at(entry: Trade | Bar, packet_ns: int) -> tuple[Any, ...]:
    return tuple(entry) if entry.time_ns is not None else (packet_ns, *entry[1:])


def overlap(before: Sequence[Any], entries: Sequence[Any]) -> int:
    """Return the length of the longest head of `entries` that is a tail of those `before`.

    By Knuth, Morris and Pratt, since a malicious list may have a million entries.
    """
    tail = before[-len(entries) :]
    if not tail:
        return 0
    head = entries[: len(tail)]
    borders = [0] * len(head)
    size = 0
    for i in range(1, len(head)):
        while size and head[i] != head[size]:
            size = borders[size - 1]
        size += head[i] == head[size]
        borders[i] = size
    size = 0
    for entry in tail:
        while size and entry != head[size]:
            size = borders[size - 1]
        size += entry == head[size]
    return size
