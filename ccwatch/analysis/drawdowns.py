"""Drawdown episodes of nav or price: when, how deep, how long, and in which regimes. It must not know where a frame comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ccwatch.analysis import draw
from ccwatch.analysis.result import Result, clock, count_of, dollars, percent
from ccwatch.analysis.trading_days import day_table, desk_hours
from ccwatch.analysis.usable_rows import SECOND_NS, Basis, Floats, Ints, UsableRows, as_numbers, select_rows, stamps
from ccwatch.domain.drawdown import Episodes, episodes, fall, starting_capital, under_water
from ccwatch.domain.hours import TradingHours
from ccwatch.errors import MissingColumns
from ccwatch.stream.dataframes import TEXT

_BITS: Final = 63
"""Of a 64-bit number, the sign left out."""


@dataclass(frozen=True, eq=False, repr=False)
class Drawdowns(Result):
    """Episodes of drawdown. Fractions are ≤ 0 and of the running peak; times are UTC.

    Attributes:
        column: the measured one, nav or price, in USD.
        episodes: one row per episode; see `to_frame`.
        max_drawdown: the deepest, a fraction; 0.0 where the value never fell below its peak, NaN where no peak was above zero.
        current: drawdown at the last sample, a fraction.
        ulcer_index: sqrt(mean D²), a fraction.
        under_water_s: seconds under water, each episode from its first sample under water to its recovery.
        curve: index time; columns value (USD), drawdown (fraction), after_gap; the data of the figure.
        days: one row per trading day, whose capital, peak and profit and loss begin from zero; see `trading_days.day_table`.
            Without rows where no trading hours are set, or of a price.
        basis: n counts samples of the column.
        notes: limits of the answer, as sentences.
    """

    question: ClassVar[str] = "drawdowns"
    title: ClassVar[str] = "Drawdown episodes"
    column: str
    episodes: pd.DataFrame
    max_drawdown: float
    current: float
    ulcer_index: float
    under_water_s: float
    curve: pd.DataFrame
    days: pd.DataFrame
    basis: Basis
    notes: tuple[str, ...]

    @property
    def worst(self) -> pd.Series | None:
        """Return the deepest episode, the first of equals; None without any."""
        return self.episodes.iloc[int(self.episodes["depth"].argmin())] if len(self.episodes) else None

    def headline(self) -> str:
        """Say in a sentence how deep the deepest episode was, and when."""
        worst = self.worst
        if worst is None and np.isnan(self.max_drawdown):
            return f"The {self.column} was never above zero, so it has no drawdown."
        if worst is None:
            received = " in what was received" if self.basis.gaps else ""
            return f"The {self.column} never stood below its running peak{received}."
        came_back = "had not recovered at the end" if worst["is_open"] else f"recovered at {clock(worst['recovery_time'], self.basis)}"
        return (
            f"The {self.column} fell {percent(worst['depth'])} ({dollars(worst['depth_usd'])}) "
            f"from {self.beginning(worst)} to {clock(worst['trough_time'], self.basis)} "
            f"and {came_back}; {count_of(len(self.episodes), 'episode')} in all."
        )

    def beginning(self, episode: pd.Series) -> str:
        """Return when an episode began to fall; in words where it was under water before the first packet, so that no time is known."""
        if episode["left_censored"] and episode["start_time"] == episode["peak_time"]:
            return "the day's start, before the first packet,"
        return clock(episode["peak_time"], self.basis)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per episode, by time.

        Columns: peak_time, start_time (first sample under water), trough_time, recovery_time (NaT while open), peak, trough (USD),
        depth (fraction ≤ 0), depth_usd, decline_s (peak to trough), recovery_s (trough to recovery, NaN while open), duration_s (peak to
        recovery, or to the last sample while open), n (samples under water), is_open, left_censored (the value was never above the
        first sample, so the true peak may lie before it), regimes (seen under water), min_alpha.
        """
        return self.episodes.copy()

    def listed(self) -> pd.DataFrame:
        """Return the rows of `to_frame`, the deepest episode first."""
        return self.episodes.sort_values("depth", kind="stable", ignore_index=True)

    def to_dict(self) -> dict[str, object]:
        """Return the answer as plain values, without the curve, and without days where no trading hours are set."""
        return {name: value for name, value in super().to_dict().items() if name != "curve" and (name != "days" or len(self.days))}

    def figure(self, *, dark: bool = False) -> go.Figure:
        """Draw the drawdown over time, broken at gaps, with the trough of each of the ten deepest episodes."""
        colours = draw.colours(dark)
        times = np.asarray(pd.DatetimeIndex(self.curve.index).asi8)
        deepest = self.episodes.nsmallest(10, "depth")
        traces = [
            draw.line(
                "drawdown",
                times,
                self.curve["drawdown"].to_numpy(),
                colours.line,
                broken=self.curve["after_gap"].to_numpy(),
                fill="tozeroy",
                fillcolor="rgba(128,128,128,0.2)",
                hovertemplate="%{y:.2%}<extra></extra>",
            ),
            {
                "type": "scatter",
                "mode": "markers",
                "name": "trough",
                "x": draw.ms(deepest["trough_time"]),
                "y": deepest["depth"].to_numpy(),
                "marker": {"symbol": "triangle-down", "size": 10, "color": colours.line_engine},
                "hovertemplate": "trough %{y:.2%}<extra></extra>",
            },
        ]
        return draw.figure(traces, x_title="time (UTC)", y_title=f"drawdown of {self.column} (%)", dark=dark, y_format=".2%", dates=True)


def drawdowns(
    frame: pd.DataFrame,
    events: pd.DataFrame | None = None,
    *,
    column: str | None = None,
    symbol: str | None = None,
    hours: TradingHours | None = None,
) -> Drawdowns:
    """Find drawdown episodes by the definition of Magdon-Ismail & Atiya (2004).

    With X the value, P its running maximum and D = X/P - 1, an episode is a maximal run of D < 0. Gaps do not end an episode: what
    the value did in them is not known, and the basis counts them.

    Args:
        frame: packets with `nav` or `price`; any order, flagged rows are left out.
        events: the events table, for gaps.
        column: nav or price; None is nav where the stream carries it, else price.
        symbol: only rows of this one; needed for the price of a stream of several.
        hours: when the market trades, for `days`; None is [hours] of ccwatch.toml. Episodes are of the peak since the first packet.

    Raises:
        MissingColumns: neither nav nor price, or not the one named.
        NotEnoughData: fewer than two samples.
        MixedSymbols: the price of several symbols.
    """
    found, name, values = choose(frame, events, "drawdowns", column, symbol)
    known = np.isfinite(values)
    used = found.where(known)
    used.need(2, name)
    values = values[known] if len(used) < len(found) else values  # a copy of a million rows costs as much as their running peak
    times = used.times
    notes = []
    days = day_table(times, values, used.numbers("daily_pnl"), desk_hours(hours) if name == "nav" else None)
    if len(days) > 1:
        notes.append(f"episodes are of the peak since the first packet; each of {len(days)} trading days by itself is in days")
    capital = _capital_before(used, name)
    if capital is not None:
        notes.append(
            f"the first nav, {values[0]:,.2f} USD, is below the {capital:,.2f} USD that the day began with by its daily_pnl: that loss "
            "came before the first packet, and is counted from there as a lower bound"
        )
        times, values = np.append(times[0], times), np.append(capital, values)
    peak, depth = under_water(values)
    runs = episodes(depth, values)
    if column is None and name == "price":
        notes.append("no nav is at hand: these are drawdowns of the price")
    undefined = int(np.isnan(depth).sum())
    if undefined:
        notes.append(f"without a drawdown, since the {name} had not been above zero: {count_of(undefined, 'sample')}")
    defined = depth[~np.isnan(depth)] if undefined else depth
    table = _table(used, times, values, peak, depth, runs)
    if bool(table["left_censored"].any()):
        notes.append("the first peak may lie before the first packet: depths of the episodes marked left_censored are lower bounds")
    ends = np.minimum(runs.end, len(times) - 1)
    return Drawdowns(
        column=name,
        episodes=table,
        max_drawdown=float(table["depth"].min()) if len(table) else 0.0 if len(defined) else np.nan,
        current=float(depth[-1]),
        ulcer_index=float(np.sqrt(np.dot(defined, defined) / len(defined))) if len(defined) else np.nan,
        under_water_s=float((times[ends] - times[runs.start]).sum()) / SECOND_NS,
        curve=_curve(used, name, depth[len(depth) - len(used) :]),
        days=days,
        basis=found.basis(len(used)),
        notes=tuple(notes),
    )


def choose(
    frame: pd.DataFrame, events: pd.DataFrame | None, question: str, column: str | None, symbol: str | None
) -> tuple[UsableRows, str, Floats]:
    """Return the sample, the column to measure and its values: the one named, else nav where it is carried, else price."""
    found = select_rows(question, frame, events, symbol=symbol)
    if column not in (None, "nav", "price"):
        raise MissingColumns(question, (column,))
    for name in (column,) if column is not None else ("nav", "price"):
        values = found.numbers(name)
        if np.isfinite(values).any():
            if name == "price":  # a nav is the account's, whatever it trades; a price is one symbol's
                select_rows(question, frame, events, symbol=symbol, one_symbol=True)
            return found, name, values
    raise MissingColumns(question, (column,) if column is not None else ("nav", "price"))


def _curve(used: UsableRows, name: str, depth: Floats) -> pd.DataFrame:
    """Return the curve of the figure. Values are copied: a view would keep the whole frame alive, and show later writes to it."""
    return pd.DataFrame({"value": as_numbers(used.frame[name]).copy(), "drawdown": depth, "after_gap": used.broken}, copy=False)


def _capital_before(used: UsableRows, column: str) -> float | None:
    """Return the day's starting capital, USD, where the first packet shows that the nav has already fallen from it."""
    if column != "nav":
        return None
    nav = used.numbers("nav")
    capital = starting_capital(nav, used.numbers("daily_pnl"))
    return capital if capital > nav[0] > 0.0 and fall(nav[0], capital) < 0.0 else None


def _table(used: UsableRows, times: Ints, values: Floats, peak: Floats, depth: Floats, found: Episodes) -> pd.DataFrame:
    """Build the table of episodes; `values` may have one entry before the rows of `used`, the capital that the day began with."""
    count = len(values)
    rows = Episodes(*(np.maximum(place - (count - len(used)), 0) for place in found))
    is_open = found.end == count
    end = np.minimum(found.end, count - 1)
    recovery_ns = times[end]

    def seconds(late: Ints, early: Ints) -> Floats:
        return (late - early) / SECOND_NS

    return pd.DataFrame(
        {
            "peak_time": stamps(times[found.peak]),
            "start_time": stamps(times[found.start]),
            "trough_time": stamps(times[found.trough]),
            "recovery_time": stamps(recovery_ns, ~is_open),
            "peak": values[found.peak],
            "trough": values[found.trough],
            "depth": depth[found.trough],
            "depth_usd": values[found.trough] - values[found.peak],
            "decline_s": seconds(times[found.trough], times[found.peak]),
            "recovery_s": np.where(is_open, np.nan, seconds(recovery_ns, times[found.trough])),
            "duration_s": seconds(recovery_ns, times[found.peak]),
            "n": found.end - found.start,
            "is_open": is_open,
            "left_censored": peak[found.peak] == values[0],
            "regimes": _regimes(used, rows),
            "min_alpha": _least(used.numbers("alpha"), rows) if "alpha" in used.frame.columns else np.full(len(found.start), np.nan),
        },
        copy=False,
    )


def _regimes(used: UsableRows, found: Episodes) -> pd.api.extensions.ExtensionArray:
    """Return the regimes seen in each episode, in the vocabulary's order."""
    if "regime" not in used.frame.columns:
        return pd.array([""], dtype=TEXT).take(np.zeros(len(found.start), dtype=np.int64))
    words = used.words("regime")
    codes = np.asarray(words.codes)
    begins = np.append(0, np.flatnonzero(codes[1:] != codes[:-1]) + 1)  # stretches of one word are far fewer than packets
    first, end = np.searchsorted(begins, found.start, side="right") - 1, np.searchsorted(begins, found.end, side="left")
    stretches = codes[begins]
    present = [code for code in range(len(words.categories)) if (stretches == code).any()]
    seen = np.zeros((len(found.start), len(present)), dtype=bool)
    for column, code in enumerate(present):
        passed = np.append(0, np.cumsum(stretches == code))
        seen[:, column] = passed[end] > passed[first]
    if seen.shape[1] < _BITS:  # a number per episode sorts far faster than a row of it
        _, at, which = np.unique(seen @ (1 << np.arange(seen.shape[1])), return_index=True, return_inverse=True)
    else:
        _, at, which = np.unique(np.packbits(seen, axis=1), axis=0, return_index=True, return_inverse=True)
    names = np.array([str(words.categories[code]) for code in present], dtype=object)
    texts = [", ".join(names[row]) for row in seen[at]]
    return pd.array(texts, dtype=TEXT).take(which)


def _least(values: Floats, found: Episodes) -> Floats:
    """Return the least known value in each episode; NaN where none is known."""
    if not len(found.start):
        return np.zeros(0)
    bounds = np.column_stack((found.start, found.end)).ravel()
    padded = np.append(np.where(np.isnan(values), np.inf, values), np.inf)  # an open episode ends beyond the last value
    least = np.minimum.reduceat(padded, bounds)[::2]
    return np.where(np.isinf(least), np.nan, least)
