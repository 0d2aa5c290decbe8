"""Trading days of a session: the account of each by itself, by the code that judges live streams. It knows no source."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ccwatch.alerts import Account, AlertSettings
from ccwatch.analysis.usable_rows import Bools, Floats, Ints, stamps
from ccwatch.domain.hours import TradingHours, days_of


def desk_hours(hours: TradingHours | None) -> TradingHours | None:
    """Return these trading hours, or those of ccwatch.toml; None without [hours]."""
    return AlertSettings.load().hours if hours is None else hours


def account(times: Ints, nav: Floats, pnl: Floats, hours: TradingHours) -> dict[str, Floats]:
    """Return drawdown_peak, drawdown_start (fractions) and day_pnl (USD) of each packet; each trading day begins from zero.

    Args:
        times: of the packets, in order, ns since 1970 UTC.
        nav: in USD, none missing.
        pnl: the engine's daily_pnl, USD, NaN where it is not carried.
        hours: when the market trades.
    """
    return Account(hours).observe(times, nav, np.full(len(nav), np.nan), pnl)


def begins(times: Ints, hours: TradingHours) -> Bools:
    """Return whether a packet is the first of its trading day."""
    days = days_of(times, hours)
    return np.append(np.ones(min(1, len(days)), dtype=np.bool_), days[1:] != days[:-1])


def day_table(times: Ints, nav: Floats, pnl: Floats, hours: TradingHours | None) -> pd.DataFrame:
    """Return one row per trading day.

    Columns: day (its open), first_time, last_time, capital (that it began with, USD), peak, low (USD), pnl_usd (at its last packet),
    from_peak (worst fall from the day's peak, a fraction), from_start (from its capital, likewise), n. Without rows where there are no
    trading hours.
    """
    if hours is None or not len(times):
        none = np.zeros(0, dtype=np.int64)
        made = {name: stamps(none) for name in ("day", "first_time", "last_time")}
        return pd.DataFrame(
            made | dict.fromkeys(("capital", "peak", "low", "pnl_usd", "from_peak", "from_start"), np.zeros(0)) | {"n": none}
        )
    found = account(times, nav, pnl, hours)
    first = np.flatnonzero(begins(times, hours))
    last = np.append(first[1:], len(times)) - 1
    return pd.DataFrame(
        {
            "day": stamps(days_of(times, hours)[first]),
            "first_time": stamps(times[first]),
            "last_time": stamps(times[last]),
            "capital": nav[first] - found["day_pnl"][first],
            "peak": np.maximum.reduceat(nav, first),
            "low": np.minimum.reduceat(nav, first),
            "pnl_usd": found["day_pnl"][last],
            "from_peak": np.fmin.reduceat(found["drawdown_peak"], first),
            "from_start": np.fmin.reduceat(found["drawdown_start"], first),
            "n": last - first + 1,
        }
    )
