"""Alpha audit: Hill's estimator on the recorded returns beside the engine's alpha. It must not know where a frame comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from scipy import stats

from ccwatch.analysis import draw
from ccwatch.analysis.regimes import EXPECTED
from ccwatch.analysis.result import Result, count_of
from ccwatch.analysis.tail import TailIndex, hill
from ccwatch.analysis.usable_rows import SECOND_NS, Basis, Floats, Ints, UsableRows, runs, select_rows
from ccwatch.domain.limits import ALPHA_CUTS, ALPHA_SENTINELS
from ccwatch.errors import NotEnoughData
from ccwatch.stream.dataframes import TEXT

WINDOW: Final = 200
"""Returns in each window."""
SHARE: Final = 0.1
"""Share of the returns of a window that make its tail."""
UNDECIDED: Final = "undecided"
_CHUNK: Final = 10_000
"""Windows that are sorted at once: 16 MB."""


@dataclass(frozen=True, eq=False, repr=False)
class Alpha(Result):
    """The tail index of the recorded returns, beside the engine's. Without unit; times UTC.

    Attributes:
        windows: one row per window of returns; see `to_frame`.
        whole: Hill's estimate from |returns| of the whole range; None where the tail says nothing.
        sentinels: value, n (packets at which the engine's alpha was it), share, longest_s (without a break).
        level: probability of the intervals.
        cuts: cut-offs of alpha between Critical, Lévy Stable and Gaussian.
        basis: n counts returns.
        notes: limits of the answer, as sentences.
    """

    question: ClassVar[str] = "alpha"
    title: ClassVar[str] = "Alpha audit: Hill's estimator beside the engine's"
    windows: pd.DataFrame
    whole: TailIndex | None
    sentinels: pd.DataFrame
    level: float
    cuts: tuple[float, float]
    basis: Basis
    notes: tuple[str, ...]

    def headline(self) -> str:
        """Say the whole range's estimate, how often the engine's alpha lies within the interval, and how often nothing can be decided."""
        if self.whole is None:
            ours = "The recorded returns give no tail index"
        else:
            interval = f"{self.whole.level:.0%} interval {self.whole.low:.2f} to {self.whole.high:.2f}"
            ours = f"Hill's estimate on the recorded returns is {self.whole.alpha:.2f} ({interval})"
        judged = self.windows["agrees"].dropna()
        if not len(judged):
            return f"{ours}; the engine's alpha cannot be held against it."
        open_ = float((self.windows["regime"] == UNDECIDED).mean())
        marked = float(self.sentinels["share"].sum())
        return (
            f"{ours}; the engine's alpha lies in the interval of {judged.mean():.0%} of {count_of(len(judged), 'window')}, "
            f"{open_:.0%} of the windows are undecided, and {marked:.1%} of the engine's values are sentinels."
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per window.

        Columns: time (of its last return), n (returns that are not 0), k, hill, low, high (exact for a Pareto tail), regime (that the
        cut-offs give, "undecided" where the interval covers one), engine_alpha, engine_regime (by the same cut-offs), sentinel (the
        engine's alpha is one), agrees (it lies in the interval; missing where either is), reason (why a number is missing).
        """
        return self.windows.copy()

    def figure(self, *, dark: bool = False) -> go.Figure:
        """Draw Hill's estimate with its interval, and the engine's alpha."""
        colours = draw.colours(dark)
        times = np.asarray(pd.DatetimeIndex(self.windows["time"]).as_unit("ns").asi8)
        edge = {"mode": "lines", "showlegend": False, "hoverinfo": "skip"}
        band = {"fill": "tonexty", "fillcolor": "rgba(128,128,128,0.2)"}
        traces = [
            draw.line("low", times, self.windows["low"].to_numpy(), colours.grid) | edge,
            draw.line("high", times, self.windows["high"].to_numpy(), colours.grid) | edge | band,
            draw.line("Hill", times, self.windows["hill"].to_numpy(), colours.line),
            draw.line("engine", times, self.windows["engine_alpha"].to_numpy(), colours.line_engine),
        ]
        return draw.figure(traces, x_title="time (UTC)", y_title="tail index", dark=dark, dates=True)


_COLUMNS: Final = ("time", "n", "k", "hill", "low", "high", "regime", "engine_alpha", "engine_regime", "sentinel", "agrees", "reason")


def alpha(
    frame: pd.DataFrame,
    events: pd.DataFrame | None = None,
    *,
    symbol: str | None = None,
    window: int = WINDOW,
    k: int | None = None,
    every: int | None = None,
    level: float = 0.95,
    cuts: tuple[float, float] = ALPHA_CUTS,
) -> Alpha:
    """Apply Hill's (1975) estimator to |log returns| between neighbouring packets, with its exact interval for Pareto tails.

    2kα/estimate follows χ² with 2k degrees of freedom for a Pareto tail. Where the returns have another tail, the interval is too
    narrow; nor does it allow for ties, as prices in whole cents make them.

    Args:
        frame: packets with price, and alpha where it is to be judged.
        events: the events table: no return is made across a gap.
        symbol: only rows of this one; needed where the stream holds several.
        window: returns in each window.
        k: how many of the largest make the tail; None is a tenth of the window.
        every: returns from one window to the next; None is a quarter of the window.
        level: probability of the intervals.
        cuts: the engine's cut-offs of alpha.

    Raises:
        MissingColumns: the stream never carried a price.
        NotEnoughData: fewer returns than a window.
        MixedSymbols: several symbols and none was chosen.
        ValueError: a k that is not within 1 and window - 1.
    """
    k = max(1, round(window * SHARE)) if k is None else k
    if not 1 <= k < window:
        raise ValueError(f"k={k}: expected from 1 to window - 1 = {window - 1}")
    found = select_rows("alpha", frame, events, needs=("price",), symbol=symbol, one_symbol=True)
    used = found.where(np.isfinite(found.prices()))
    steps = np.diff(np.log(used.prices()))
    rows = np.flatnonzero(~used.broken[1:]) + 1
    returns = np.abs(steps[rows - 1])
    if len(returns) < window:
        raise NotEnoughData(f"alpha needs at least {window} returns; there are {len(returns)}")
    notes = ["the intervals are exact for Pareto tails, and too narrow for others"]
    ends = np.arange(window - 1, len(returns), every or max(1, window // 4))
    estimate, low, high, n = _hill(returns, ends, window, k, level)
    engine = used.numbers("alpha")[rows[ends]]
    if not np.isfinite(used.numbers("alpha")).any():
        notes.append("the stream carries no alpha: there is nothing to hold Hill's estimate against")
    windows = pd.DataFrame(
        {"time": used.frame.index[rows[ends]], "n": n, "k": k, "hill": estimate, "low": low, "high": high, "engine_alpha": engine}
    )
    try:
        whole = hill(returns, max(1, round(np.count_nonzero(returns) * SHARE)), level=level)
    except NotEnoughData as error:
        whole = None
        notes.append(str(error))
    return Alpha(
        windows=_judged(windows, cuts),
        whole=whole,
        sentinels=_sentinels(used),
        level=level,
        cuts=cuts,
        basis=found.basis(len(returns), carrying=len(used)),
        notes=tuple(notes),
    )


def _judged(windows: pd.DataFrame, cuts: tuple[float, float]) -> pd.DataFrame:
    """Return the windows with the regimes that the estimate and the engine's alpha mean, whether they agree, and why there is none."""
    estimate, low, high, engine = (windows[name].to_numpy() for name in ("hill", "low", "high", "engine_alpha"))
    both = np.isfinite(engine) & np.isfinite(estimate)
    names = np.array([str(word) for word in EXPECTED], dtype=object)
    covers = np.isnan(estimate) | (np.searchsorted(cuts, low) != np.searchsorted(cuts, high))
    ours = np.where(covers, UNDECIDED, names[np.searchsorted(cuts, np.nan_to_num(estimate), side="right")])
    theirs = names[np.searchsorted(cuts, np.nan_to_num(engine), side="right")]
    theirs[np.isnan(engine)] = None
    agrees = [bool(lo <= e <= hi) if is_both else None for lo, e, hi, is_both in zip(low, engine, high, both, strict=True)]
    reasons = [
        "" if np.isfinite(found) else f"fewer than k + 1 = {k + 1} returns other than 0, or all equal"
        for found, k in zip(estimate, windows["k"], strict=True)
    ]
    return windows.assign(
        regime=pd.array(ours.tolist(), dtype=TEXT),
        engine_regime=pd.array(theirs.tolist(), dtype=TEXT),
        sentinel=np.isin(engine, ALPHA_SENTINELS),
        agrees=pd.array(agrees, dtype="boolean"),
        reason=pd.array(reasons, dtype=TEXT),
    )[[*_COLUMNS]]


def _hill(returns: Floats, ends: Ints, window: int, k: int, level: float) -> tuple[Floats, Floats, Floats, Ints]:
    """Return Hill's estimate of each window, its interval, and the number of returns that are not 0; NaN where the tail says nothing."""
    views = np.lib.stride_tricks.sliding_window_view(returns, window)
    estimate, n = np.full(len(ends), np.nan), np.zeros(len(ends), dtype=np.int64)
    for start in range(0, len(ends), _CHUNK):
        part = views[ends[start : start + _CHUNK] - window + 1]
        top = np.sort(np.partition(part, window - k - 1, axis=1)[:, window - k - 1 :], axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            total = np.log(top[:, 1:] / top[:, :1]).sum(axis=1)
            estimate[start : start + _CHUNK] = np.where((top[:, 0] > 0.0) & (total > 0.0), k / total, np.nan)
        n[start : start + _CHUNK] = (part > 0.0).sum(axis=1)
    lower, upper = stats.chi2.ppf([(1.0 - level) / 2, (1.0 + level) / 2], 2 * k) / (2 * k)
    return estimate, estimate * lower, estimate * upper, n


def _sentinels(used: UsableRows) -> pd.DataFrame:
    engine = used.numbers("alpha")
    known = int(np.isfinite(engine).sum())
    rows = []
    for value in ALPHA_SENTINELS:  # six
        at = engine == value
        first, end = runs(at, used.broken)
        mine = at[first] if len(first) else np.zeros(0, dtype=bool)
        spans = (used.times[end[mine] - 1] - used.times[first[mine]]) / SECOND_NS
        rows.append(
            {
                "value": value,
                "n": int(at.sum()),
                "share": at.sum() / known if known else np.nan,
                "longest_s": spans.max() if len(spans) else 0.0,
            }
        )
    return pd.DataFrame(rows)
