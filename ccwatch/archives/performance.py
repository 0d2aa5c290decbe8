"""Performance over sessions: equity, returns and their measures by day, week, month or session. Days without a recording are holes.

A return is that of a period's last nav against the period before it that was recorded (of the first one, against its first nav), so
returns multiply up to the whole change; `spans` says how many calendar periods lie in one. Several desks are one portfolio of all their
navs, in which one that did not record a period counts as it was; by session, a return is of the session's own nav. Sharpe and Sortino
are per period and not annualised, as empyrical's with `annualization=1`; `*_annual` are times the root of the periods in a year.
Intervals: Lo (2002) for Sharpe, Wilson for the hit rate, a seeded bootstrap for Sortino, Student's t for the mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go
from scipy import stats

from ccwatch.analysis import Basis, Report, Result, count_of, dollars, draw, percent, wilson
from ccwatch.archives import kernels
from ccwatch.archives.ask import collect, nothing_found
from ccwatch.archives.locations import open_place
from ccwatch.archives.sessions import Session, left_out_note
from ccwatch.domain import drawdown
from ccwatch.errors import AnalysisError, ConfigError, NotEnoughData
from ccwatch.stream.dataframes import TEXT

BY: Final = ("day", "week", "month", "session")
IN_A_YEAR: Final = {"day": 252, "week": 52, "month": 12}
LEAST: Final = 10
"""Count of returns below which a ratio has no interval."""
RESAMPLES: Final = 2000
_LEVEL: Final = 0.95
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Performance(Result):
    """Profit and loss by period, with the measures of performance.

    Attributes:
        by: "day", "week", "month" or "session".
        periods: one row per period, holes included; see `to_frame`.
        metrics: one row per measure: metric, value, low, high (95 %), n, reason (why a number is missing).
        by_regime: one row per regime of the market: regime, change_usd (profit in it), n (changes), time_s.
        desks: count of the streams that the sessions are of.
        basis: n counts periods that were recorded.
        notes: the limits of the answer.
    """

    question: ClassVar[str] = "performance"
    title: ClassVar[str] = "Performance"
    by: str
    periods: pd.DataFrame
    metrics: pd.DataFrame
    by_regime: pd.DataFrame
    desks: int
    basis: Basis
    notes: tuple[str, ...]

    def __getattr__(self, name: str) -> float:
        """Return a measure by its name: sharpe, sortino, hit_rate, max_drawdown, total_return, mean_return, volatility, …."""
        metrics = self.__dict__.get("metrics")
        if metrics is None or name.startswith("_") or name not in set(metrics["metric"]):
            raise AttributeError(f"Performance has no attribute {name!r}")
        return float(metrics.set_index("metric").loc[name, "value"])

    @property
    def returns(self) -> pd.Series:
        """Return the returns of the periods that were recorded, indexed by period."""
        return self.periods["return"].dropna()

    def headline(self) -> str:
        """Return a sentence with the profit, the total return, Sharpe and the deepest drawdown."""
        known = int(self.periods["return"].notna().sum())
        holes = int(self.periods["is_hole"].sum())
        sharpe = float(self.sharpe)
        ratio = f", Sharpe {sharpe:.2f} per {self.by}" if np.isfinite(sharpe) else ""
        deepest = percent(self.max_drawdown)
        return (
            f"{dollars(float(self.periods['pnl'].sum()))} ({percent(self.total_return)}) over {count_of(known, self.by)}{ratio}, deepest "
            f"{deepest}{f'; {count_of(holes, self.by)} without a recording' if holes else ''}."
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per period, indexed by its first day (UTC) or its session.

        Columns: equity (USD: the last nav, of several desks the sum of their last ones), return (fraction), drawdown (of the equity,
        fraction ≤ 0), pnl (USD), worst (the deepest drawdown within a session of the period), sessions, packets, halts, spans
        (calendar periods since the one before), is_hole. A hole (a period without a recording) has no numbers.
        """
        return self.periods.copy()

    def figure(self, *, dark: bool = False) -> go.Figure:
        """Draw equity over time; holes break the line."""
        colours = draw.colours(dark)
        x = self.periods.index if self.by == "session" else draw.ms(pd.Series(self.periods.index))
        trace = {
            "type": "scatter",
            "mode": "lines+markers",
            "name": "equity",
            "x": x,
            "y": self.periods["equity"].to_numpy(),
            "connectgaps": False,
            "line": {"color": colours.line},
            "hovertemplate": "%{y:,.2f} USD<extra></extra>",
        }
        return draw.figure([trace], x_title=self.by, y_title="equity (USD)", dark=dark, dates=self.by != "session")


@dataclass(frozen=True)
class _Closes:
    """The kernel: yields the first and last nav and the halts of each period of a session, and the profit in each regime."""

    by: str

    def __call__(self, session: Session) -> Iterator[tuple[str, Any]]:
        source = open_place(session.place)
        frame = source.frame(["nav", "status"], clean=True)
        nav = frame["nav"].dropna()
        if not len(nav):
            raise NotEnoughData("it carries no nav")
        labels = pd.Index([session.name] * len(nav)) if self.by == "session" else _starts(nav.index, self.by)
        rows = []
        for label, mine in nav.groupby(labels, sort=False):
            status = frame["status"][(frame.index >= mine.index[0]) & (frame.index <= mine.index[-1])].dropna() == "HALT"
            rows.append(
                {
                    "period": label,
                    "desk": session.desk,
                    "begin": mine.index[0],
                    "first": float(mine.iloc[0]),
                    "last": float(mine.iloc[-1]),
                    "worst": drawdown.worst_drawdown(mine.to_numpy()),
                    "packets": len(mine),
                    "halts": int((status & ~status.shift(fill_value=False)).sum()),
                }
            )
        report = Report(source)
        try:
            regimes: Any = report.attribution()
        except AnalysisError:
            regimes = None
        basis = report.drawdowns(column="nav").basis if regimes is None else regimes.basis
        yield kernels.WHOLE, (rows, regimes, basis)


def merge(parts: list[Any], *, apart: bool | None = None) -> Any:
    """Merge the closes of several sessions of one desk or, with `apart`, of several desks."""
    rows = [row for part in parts for row in part[0]]
    regimes = [part[1] for part in parts if part[1] is not None]
    basis = parts[0][2]
    for part in parts[1:]:
        basis = basis.merge(part[2], apart=True)
    return rows, Result.merge_all(regimes, apart=apart) if regimes else None, basis


def performance(
    sessions: Sequence[Session], by: str, executor: Any, *, left_out: dict[str, str], on_progress: Any = None, cancel: Any = None
) -> Performance:
    """Return the performance over sessions; see `Archive.performance`."""
    if by not in BY:
        raise ConfigError(f"by={by!r}: expected one of {', '.join(BY)}")
    found, left = collect(sessions, _Closes(by), merge, executor, on_progress=on_progress, cancel=cancel)
    left = left_out | left
    if not found:
        raise nothing_found("performance", left, len(sessions), "carries a nav")
    rows, regimes, basis = merge([part for _, part in found[kernels.WHOLE]], apart=True)
    closes = pd.DataFrame(rows).sort_values(["desk", "begin"], kind="stable")
    periods = of_closes(closes, by)
    known = int(periods["return"].notna().sum())
    notes = ["the nav of packets is used; what happened while nothing was recorded is in the next recorded period's return"]
    desks = int(closes["desk"].nunique())
    if by == "session" and desks > 1:
        notes.append(f"a session's return is of its own nav, of {desks} streams one after the other; by day they are one portfolio")
    notes += left_out_note(left)
    return Performance(
        by=by,
        periods=periods,
        metrics=measures(periods["return"].dropna().to_numpy(), IN_A_YEAR.get(by)),
        by_regime=_by_regime(regimes),
        desks=desks,
        basis=_with_n(basis, known),
        notes=tuple(notes),
    )


def of_closes(closes: pd.DataFrame, by: str) -> pd.DataFrame:
    """Return the periods of `Performance.to_frame`, from the first and last nav of each session in each period."""
    each = []
    for _, mine in closes.groupby("desk", sort=False):
        whole = mine.groupby("period", sort=False).agg(first=("first", "first"), last=("last", "last"))
        base = whole["last"].shift(1)
        base.iloc[0] = whole["first"].iloc[0]
        each.append(pd.DataFrame({"base": base, "pnl": whole["last"] - base, "last": whole["last"]}))
    start = float(sum(desk["base"].iloc[0] for desk in each))
    summed = pd.concat(each).groupby(level=0, sort=False).agg(base=("base", "sum"), pnl=("pnl", "sum"), last=("last", "sum"))
    counted = closes.groupby("period", sort=False).agg(
        worst=("worst", "min"), sessions=("first", "size"), packets=("packets", "sum"), halts=("halts", "sum"), begin=("begin", "min")
    )
    found = summed.join(counted).sort_values("begin", kind="stable")
    pnl = found["pnl"].to_numpy(dtype=np.float64)
    equity: Floats = found["last"].to_numpy(dtype=np.float64) if len(each) == 1 else start + np.cumsum(pnl)
    began = found["base"].to_numpy(dtype=np.float64) if by == "session" else equity - pnl
    returns = np.where(began > 0.0, pnl / np.where(began > 0.0, began, 1.0), np.nan)
    rows = pd.DataFrame(
        {
            "equity": equity,
            "return": returns,
            "drawdown": drawdown.under_water(equity, start)[1],
            "pnl": pnl,
            "worst": found["worst"],
            "sessions": found["sessions"],
            "packets": found["packets"],
            "halts": found["halts"],
        },
        index=found.index,
    )
    return _with_holes(rows, by)


def measures(returns: Floats, in_a_year: int | None) -> pd.DataFrame:
    """Return the measures of a series of simple returns with 95 % intervals, or the reason why there is no interval.

    Equal to empyrical's: sharpe_ratio, sortino_ratio and annual_volatility with annualization=1, max_drawdown, cum_returns_final.
    """
    n = len(returns)
    few = f"n too small: {n} of {LEAST}" if n < LEAST else ""
    mean = float(returns.mean()) if n else np.nan
    spread = float(returns.std(ddof=1)) if n > 1 else np.nan
    rows: list[tuple[Any, ...]] = [("total_return", float(np.prod(1.0 + returns) - 1.0) if n else np.nan, np.nan, np.nan, "" if n else few)]
    half = float(stats.t.ppf(0.5 + _LEVEL / 2, n - 1)) * spread / np.sqrt(n) if n > 1 else np.nan
    rows.append(("mean_return", mean, mean - half, mean + half, few))
    rows.append(("volatility", spread, np.nan, np.nan, few))
    sharpe = mean / spread if n > 1 and spread > 0.0 else np.nan
    error = float(stats.norm.ppf(0.5 + _LEVEL / 2)) * np.sqrt((1.0 + 0.5 * sharpe**2) / n) if n else np.nan
    ratios = [("sharpe", sharpe, sharpe - error, sharpe + error)]
    low, high = _bootstrapped(returns)
    ratios.append(("sortino", sortino(returns), low, high))
    for name, value, lower, upper in ratios:
        reason = few or ("" if np.isfinite(value) else "the returns do not vary" if name == "sharpe" else "no return is below zero")
        kept = [value, np.nan, np.nan] if few else [value, lower, upper]
        rows.append((name, *kept, reason))
        if in_a_year is not None:
            rows.append((f"{name}_annual", *(number * np.sqrt(in_a_year) for number in kept), reason))
    curve = np.append(1.0, np.cumprod(1.0 + returns))
    rows.append(
        ("max_drawdown", float((curve / np.maximum.accumulate(curve) - 1.0).min()) if n else np.nan, np.nan, np.nan, "" if n else few)
    )
    wins = int((returns > 0.0).sum())
    lower, upper = wilson(wins, n) if n else (np.nan, np.nan)
    rows.append(("hit_rate", wins / n if n else np.nan, lower, upper, few))
    return pd.DataFrame(rows, columns=["metric", "value", "low", "high", "reason"]).assign(n=n)[
        ["metric", "value", "low", "high", "n", "reason"]
    ]


def sortino(returns: Floats) -> float:
    """Return the mean return over the root mean square of the returns capped at zero; NaN where none is below zero."""
    downside = float(np.sqrt(np.mean(np.square(np.minimum(returns, 0.0))))) if len(returns) else 0.0
    return float(returns.mean()) / downside if downside > 0.0 else np.nan


def _bootstrapped(returns: Floats) -> tuple[float, float]:
    """Return the 95 % percentile interval of Sortino's ratio, by a seeded bootstrap; NaN for too few returns."""
    if len(returns) < LEAST:
        return np.nan, np.nan
    drawn = returns[np.random.default_rng(0).integers(0, len(returns), (RESAMPLES, len(returns)))]
    downside = np.sqrt(np.mean(np.square(np.minimum(drawn, 0.0)), axis=1))
    ratios = drawn.mean(axis=1)[downside > 0.0] / downside[downside > 0.0]
    if len(ratios) < RESAMPLES // 2:
        return np.nan, np.nan
    low, high = np.quantile(ratios, [(1.0 - _LEVEL) / 2, (1.0 + _LEVEL) / 2])
    return float(low), float(high)


def _with_holes(rows: pd.DataFrame, by: str) -> pd.DataFrame:
    """Return the rows with one more, without numbers, for each calendar period without a recording."""
    if by == "session":
        rows.index = pd.Index(rows.index.astype(TEXT), name="session")
        return rows.assign(spans=1, is_hole=False)
    starts = pd.DatetimeIndex(rows.index)
    every = pd.period_range(starts[0].tz_localize(None), starts[-1].tz_localize(None), freq=kernels.PERIODS[by])
    whole = rows.reindex(pd.DatetimeIndex(every.start_time).tz_localize("UTC").as_unit("ns"))
    is_hole = whole["sessions"].isna().to_numpy()
    places = np.flatnonzero(~is_hole)
    spans = np.full(len(whole), np.nan)
    spans[places] = np.diff(places, prepend=places[0] - 1)
    for name in ("sessions", "packets", "halts"):
        whole[name] = whole[name].astype("Int64")
    whole.index.name = by
    return whole.assign(spans=pd.array(np.where(is_hole, 0, spans), dtype="int64"), is_hole=is_hole)


def _starts(times: Any, by: str) -> pd.DatetimeIndex:
    """Return the first day, UTC, of the period of each time."""
    periods = pd.DatetimeIndex(times).tz_localize(None).to_period(kernels.PERIODS[by])
    return pd.DatetimeIndex(periods.start_time).tz_localize("UTC").as_unit("ns")


def _by_regime(attributed: Any) -> pd.DataFrame:
    if attributed is None:
        return pd.DataFrame({"regime": pd.array([], "str"), "change_usd": [], "n": pd.array([], "int64"), "time_s": []})
    rows: pd.DataFrame = attributed.to_frame()
    rows = rows[rows["split"] == "regime"]
    return rows.loc[:, ["regime", "change_usd", "n", "time_s"]].reset_index(drop=True)


def _with_n(basis: Basis, n: int) -> Basis:
    return replace(basis, n=n)
