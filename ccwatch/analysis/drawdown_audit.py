"""Audit of the engine's max_drawdown: which definition and sign it follows, and what a breaker on it would miss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ccwatch.analysis import draw
from ccwatch.analysis.result import Result, clock, percent
from ccwatch.analysis.trading_days import account as account_of, begins, desk_hours
from ccwatch.analysis.usable_rows import Basis, Floats, Ints, select_rows, stamp
from ccwatch.domain.drawdown import from_capital, starting_capital, under_water
from ccwatch.domain.hours import TradingHours
from ccwatch.domain.limits import DRAWDOWN_HALTS, DRAWDOWN_TOLERANCE, DRAWDOWN_WARNS

PEAK, START = "running peak", "starting capital"
DAY_PEAK, DAY_START = "the trading day's peak", "the trading day's starting capital"
DEFINITIONS = frozenset({PEAK, START, DAY_PEAK, DAY_START})


@dataclass(frozen=True, eq=False, repr=False)
class DrawdownAudit(Result):
    """The definition that the engine's max_drawdown follows. Fractions ≤ 0 unless a column says otherwise.

    Attributes:
        definition: "running peak" or "starting capital"; over several trading days also "the trading day's peak" or "the trading day's
            starting capital"; "undecided" where several fit, "none" where none does.
        statistic: "worst so far" or "current"; "undecided" or "none" likewise.
        sign: "negative" as in the contract, "positive", or "undecided" where the engine never left zero.
        candidates: one row per definition, statistic and sign: how well it explains the engine's values.
        breaches: one row per limit: when ours from the peak, ours from the start and the engine's value first passed it.
        from_peak: our worst drawdown from the running peak, which begins from zero on each trading day where trading hours are set.
        from_start: our worst drawdown from the starting capital, likewise; 0.0 where the nav never fell below it.
        engine: the engine's worst, with the contract's sign.
        starting_capital: USD: nav less the day's P&L at the first packet, else the first nav; over several trading days that of the last.
        tolerance: how far apart two values may be to count as the same.
        curve: index time; columns from_peak, from_start (worst so far), engine.
        basis: n counts packets that carry both nav and max_drawdown.
        notes: limits of the answer, as sentences.
    """

    question: ClassVar[str] = "drawdown_audit"
    title: ClassVar[str] = "Drawdown audit: the engine's own beside ours"
    definition: str
    statistic: str
    sign: str
    candidates: pd.DataFrame
    breaches: pd.DataFrame
    from_peak: float
    from_start: float
    engine: float
    starting_capital: float
    tolerance: float
    curve: pd.DataFrame
    basis: Basis
    notes: tuple[str, ...]

    def headline(self) -> str:
        """Say which definition the engine follows, and what its breaker missed."""
        if self.definition in DEFINITIONS:
            name = self.definition if self.definition.startswith("the ") else f"the {self.definition}"
            follows = f"The engine's max_drawdown follows {name} ({self.statistic}, {self.sign} sign)"
        elif self.definition == "undecided":
            follows = "The stream does not show whether the engine's max_drawdown follows the running peak or the starting capital"
        else:
            follows = "The engine's max_drawdown follows neither the running peak nor the starting capital"
        missed = self.breaches[self.breaches["peak_time"].notna() & self.breaches["engine_time"].isna()]
        silent = ""
        if len(missed):
            limit, since = missed["limit"].iloc[-1], missed["peak_time"].iloc[-1]
            silent = f"; a breaker on it at {percent(float(limit))} stayed silent from {clock(since, self.basis)} on"
        return (
            f"{follows}: engine {percent(self.engine)}, ours {percent(self.from_peak)} from the peak and "
            f"{percent(self.from_start)} from the start{silent}."
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per candidate, the best first.

        Columns: definition, statistic, sign, worst (fraction, the candidate's own), max_abs_error, rms_error (fractions), agrees (share of
        packets within the tolerance), n, fits.
        """
        return self.candidates.copy()

    def to_dict(self) -> dict[str, object]:
        """Return the answer as plain values, without the curve."""
        return {name: value for name, value in super().to_dict().items() if name != "curve"}

    def figure(self, *, dark: bool = False) -> go.Figure:
        """Draw the engine's value and both of ours over time."""
        colours = draw.colours(dark)
        times = np.asarray(pd.DatetimeIndex(self.curve.index).asi8)
        looks: tuple[tuple[str, str, str], ...] = (
            ("from_peak", colours.line, "solid"),
            ("from_start", colours.muted, "dash"),
            ("engine", colours.line_engine, "dot"),
        )
        traces = []
        for name, colour, dash in looks:
            trace = draw.line(name.replace("_", " "), times, self.curve[name].to_numpy(), colour)
            traces.append(trace | {"line": {"color": colour, "dash": dash, "width": 1.6, "shape": "hv"}})
        return draw.figure(traces, x_title="time (UTC)", y_title="worst drawdown so far (%)", dark=dark, y_format=".2%", dates=True)


def drawdown_audit(
    frame: pd.DataFrame,
    events: pd.DataFrame | None = None,
    *,
    symbol: str | None = None,
    limits: tuple[float, ...] = (DRAWDOWN_WARNS, DRAWDOWN_HALTS),
    tolerance: float = DRAWDOWN_TOLERANCE,
    hours: TradingHours | None = None,
) -> DrawdownAudit:
    """Compare the engine's max_drawdown with each definition that it may follow.

    A worst so far continues from the engine's first value, which includes the time before the stream. A definition fits where every packet
    agrees within the tolerance.

    Args:
        frame: packets with nav and max_drawdown.
        events: the events table, for gaps.
        symbol: only rows of this one.
        limits: drawdowns whose first breach is looked for (fractions < 0).
        tolerance: how far apart two values may be to count as the same.
        hours: when the market trades: peak and starting capital begin from zero on each trading day; None is [hours] of ccwatch.toml.

    Raises:
        MissingColumns: the stream never carried nav or max_drawdown.
        NotEnoughData: fewer than two packets carry both.
    """
    found = select_rows("drawdown_audit", frame, events, needs=("nav", "max_drawdown"), symbol=symbol)
    known = np.isfinite(found.numbers("nav"))
    used = found.where(known)
    nav, engine = used.numbers("nav"), used.numbers("max_drawdown")
    both = np.isfinite(engine)
    used.where(both).need(2, "nav and max_drawdown")
    notes: list[str] = []
    pnl = used.numbers("daily_pnl")
    start = starting_capital(nav, pnl)
    if not np.isfinite(pnl[0]):
        notes.append("no daily_pnl: the first nav is taken for the starting capital")
    if start <= 0.0:
        notes.append(f"a starting capital of {start:,.2f} USD gives no drawdown from it")
    current = {PEAK: under_water(nav)[1], START: from_capital(nav, start)}
    cuts, ours = [0], (PEAK, START)
    trading = desk_hours(hours)
    if trading is not None and begins(used.times, trading).sum() > 1:
        account = account_of(used.times, nav, pnl, trading)
        current |= {DAY_PEAK: account["drawdown_peak"], DAY_START: account["drawdown_start"]}
        cuts, ours = np.flatnonzero(begins(used.times, trading)).tolist(), (DAY_PEAK, DAY_START)
        start = float(nav[-1] - account["day_pnl"][-1])
        notes.append(f"peak and starting capital begin from zero on each of {len(cuts)} trading days")
    table = _candidates(current, engine, both, tolerance, cuts)
    fitting = table[table["fits"]]
    sign = _decided(fitting["sign"])
    negative = engine if sign != "positive" else -engine
    worst = {name: _worst_so_far(np.where(np.isnan(current[name]), 0.0, current[name]), cuts) for name in ours}
    peak, from_start = ours
    times = used.times
    engine_worst = np.fmin.accumulate(negative)
    if not len(fitting):
        notes.append(
            f"no definition agrees with every packet within {tolerance:g}; the best is off by {table['max_abs_error'].iloc[0]:.4g}"
        )
    return DrawdownAudit(
        definition=_decided(fitting["definition"]),
        statistic=_decided(fitting["statistic"]),
        sign=sign,
        candidates=table,
        breaches=_breaches(times, worst[peak], worst[from_start] if start > 0.0 else current[from_start], engine_worst, limits),
        from_peak=float(worst[peak].min()) if np.isfinite(current[peak]).any() else np.nan,
        from_start=float(worst[from_start].min()) if start > 0.0 else np.nan,
        engine=float(engine_worst[-1]),
        starting_capital=start,
        tolerance=tolerance,
        curve=pd.DataFrame({"from_peak": worst[peak], "from_start": worst[from_start], "engine": negative}, index=used.frame.index),
        basis=found.basis(int(both.sum())),
        notes=tuple(notes),
    )


def _worst_so_far(values: Floats, cuts: Sequence[int]) -> Floats:
    """Return the least value so far, from each of these rows afresh."""
    parts: Floats = np.concatenate([np.fmin.accumulate(part) for part in np.split(values, cuts[1:])])
    return parts


def _candidates(
    current: dict[str, Floats], engine: Floats, both: np.ndarray[Any, Any], tolerance: float, days: Sequence[int]
) -> pd.DataFrame:
    """Return how well each definition, statistic and sign explains the engine's values; `days` are the first rows of trading days."""
    rows = []
    first = engine[both][0]
    for definition, values in current.items():
        for sign, factor in (("negative", 1.0), ("positive", -1.0)):
            before = np.minimum(factor * first, 0.0)  # what was worst before the stream began
            worst = _worst_so_far(np.append(before, values), [0, *(row + 1 for row in days[1:] if definition in {DAY_PEAK, DAY_START})])[1:]
            for statistic, ours in (("worst so far", worst), ("current", values)):
                error = np.abs(factor * ours - engine)[both]
                known = error[np.isfinite(error)]
                row = {
                    "definition": definition,
                    "statistic": statistic,
                    "sign": sign,
                    "worst": factor * np.nanmin(ours) if len(known) else np.nan,
                }
                row |= {
                    "max_abs_error": known.max() if len(known) else np.nan,
                    "rms_error": np.sqrt(np.mean(np.square(known))) if len(known) else np.nan,
                    "agrees": np.mean(known <= tolerance) if len(known) else np.nan,
                    "n": len(known),
                    "fits": bool(len(known)) and bool((known <= tolerance).all()),
                }
                rows.append(row)
    return pd.DataFrame(rows).sort_values(["max_abs_error", "rms_error"], kind="stable", ignore_index=True)


def _decided(words: pd.Series) -> str:
    """Return the one word that all candidates that fit have in common."""
    found = list(dict.fromkeys(words))
    return "none" if not found else str(found[0]) if len(found) == 1 else "undecided"


def _breaches(times: Ints, peak: Floats, start: Floats, engine: Floats, limits: tuple[float, ...]) -> pd.DataFrame:
    """Return when each series first reached each limit; silent_s is the engine's delay after ours from the peak."""
    rows: list[dict[str, Any]] = []
    for limit in limits:
        row: dict[str, Any] = {"limit": limit}
        for name, values in (("peak_time", peak), ("start_time", start), ("engine_time", engine)):
            beyond = np.flatnonzero(values <= limit)
            row[name] = stamp(times[beyond[0]]) if len(beyond) else pd.NaT
        row["silent_s"] = (row["engine_time"] - row["peak_time"]).total_seconds()
        rows.append(row)
    table = pd.DataFrame(rows, columns=["limit", "peak_time", "start_time", "engine_time", "silent_s"])
    for name in ("peak_time", "start_time", "engine_time"):
        table[name] = pd.to_datetime(table[name], utc=True).dt.as_unit("ns")
    table["silent_s"] = table["silent_s"].astype(np.float64)
    return table
