"""Measures of the account: drawdowns by three definitions, the day's profit and loss, exposure. Each trading day starts afresh."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np

from ccwatch.alerts.observations import Floats, Ints
from ccwatch.domain import drawdown, exposure
from ccwatch.domain.hours import TradingHours, days_of

_SAME: Final = 0.01
"""Two amounts at most so many USD apart count as the same."""


class Account:
    """The account's peaks and capital, carried from batch to batch.

    Attributes:
        known_from: when its first nav was seen, ns since 1970; None before. Earlier peaks are not known.
        latest: each measure's value at the last packet that carried a nav.
    """

    def __init__(self, hours: TradingHours | None) -> None:
        self._hours = hours
        self.known_from: int | None = None
        self.latest: dict[str, float] = {}  # replaced, never changed: other threads read it
        self.day: int | None = None
        self._peak = self._highest = drawdown.NO_PEAK
        self._capital = np.nan
        self._last = np.nan, np.nan  # nav and the engine's profit and loss of the last packet that carried a nav

    def observe(self, time: Ints, nav: Floats, cash: Floats, pnl: Floats) -> dict[str, Floats]:
        """Return the account's measures for each packet; NaN where the packet does not carry what they need."""
        size = len(nav)
        found = {name: np.full(size, np.nan) for name in ("drawdown_peak", "drawdown_start", "drawdown_inception", "day_pnl")}
        found["exposure"] = exposure.exposure(nav, cash)
        known = np.flatnonzero(np.isfinite(nav))
        if not len(known):
            return found
        if self.known_from is None:
            self.known_from = int(time[known[0]])
        days = days_of(time, self._hours)
        cuts = [known[0], *(known[1:][days[known[1:]] != days[known[:-1]]]), size]
        for first, end in pairwise(cuts):  # a handful: days
            if days[first] != self.day:
                self._begin(int(days[first]), nav[first : first + 1], pnl[first : first + 1])
            rows = slice(first, end)
            peak, found["drawdown_peak"][rows] = drawdown.under_water(nav[rows], self._peak)
            self._peak = drawdown.next_peak(peak, self._peak)
            found["drawdown_start"][rows] = drawdown.from_capital(nav[rows], self._capital)
            found["day_pnl"][rows] = nav[rows] - self._capital
            carried = np.flatnonzero(np.isfinite(nav[rows]))[-1] + first
            self._last = float(nav[carried]), float(pnl[carried])
        highest, found["drawdown_inception"] = drawdown.under_water(nav, self._highest)
        self._highest = drawdown.next_peak(highest, self._highest)
        self.latest = {name: float(values[known[-1]]) for name, values in found.items()}
        return found

    def use_hours(self, hours: TradingHours | None, now_ns: int) -> None:
        """Use other trading hours from now on; the trading day that runs goes on, with its peak and its capital."""
        self._hours = hours
        if self.day is not None:
            self.day = int(days_of(np.array([now_ns], dtype=np.int64), hours)[0])

    def _begin(self, day: int, nav: Floats, pnl: Floats) -> None:
        """Begin a trading day with this nav.

        An engine whose profit and loss goes on from the day before has not begun its day: then the starting capital is this nav.
        """
        last_nav, last_pnl = self._last
        goes_on = self.day is not None and np.isfinite(last_pnl) and abs((pnl[0] - last_pnl) - (nav[0] - last_nav)) <= _SAME
        self._capital = float(nav[0]) if goes_on else drawdown.starting_capital(nav, pnl)
        self.day, self._peak = day, drawdown.NO_PEAK

    def snapshot(self) -> dict[str, Any]:
        """Return the state needed to go on from here, as values that JSON can hold."""
        return {
            "known_from": self.known_from,
            "day": self.day,
            "peak": _plain(self._peak),
            "highest": _plain(self._highest),
            "capital": _plain(self._capital),
            "last": [_plain(value) for value in self._last],
        }

    def restore(self, kept: dict[str, Any]) -> None:
        """Restore the state of a snapshot."""
        self.known_from, self.day = kept["known_from"], kept["day"]
        self._peak, self._highest = (drawdown.NO_PEAK if kept[name] is None else float(kept[name]) for name in ("peak", "highest"))
        self._capital = np.nan if kept["capital"] is None else float(kept["capital"])
        first, second = (np.nan if value is None else float(value) for value in kept["last"])
        self._last = first, second


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
