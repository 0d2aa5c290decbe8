"""Comparison of two sessions, with intervals that allow for autocorrelation. It knows frames, not sources."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ccwatch.analysis import draw
from ccwatch.analysis.bootstrap import CHUNK, block_length, block_means
from ccwatch.analysis.result import Result, amount, count_of
from ccwatch.analysis.usable_rows import SECOND_NS, Basis, Floats, UsableRows
from ccwatch.protocol.messages import Regime, Side

REPLICATES: Final = 1000
LEAST_N: Final = 30
LEVEL: Final = 0.95
P95: Final = 0.95
LONG: Final = 20_000
"""Number of values from which on a quantile is bootstrapped by shares; see `_drawn`."""


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Result):
    """Two sessions compared, measure by measure.

    Attributes:
        measures: one row per measure; see `to_frame`.
        names: of the two sessions.
        level: probability of the intervals.
        replicates: bootstrap samples of each session.
        basis: of the first session; n counts packets of both.
        notes: limits of the answer, as sentences.
    """

    question: ClassVar[str] = "compare"
    title: ClassVar[str] = "Comparison of two sessions"
    measures: pd.DataFrame
    names: tuple[str, str]
    level: float
    replicates: int
    basis: Basis
    notes: tuple[str, ...]

    def headline(self) -> str:
        """Say how many measures differ, and which one does most clearly."""
        differing = self.measures[self.measures["differs"]]
        if not len(differing):
            return f"Of {count_of(len(self.measures), 'measure')} none differs beyond its {self.level:.0%} interval."
        width = (differing["high"] - differing["low"]).to_numpy()
        clear = np.abs(differing["difference"].to_numpy()) / np.where(width > 0.0, width, np.nan)
        top = differing.iloc[int(np.nanargmax(clear)) if np.isfinite(clear).any() else 0]
        differ = "differs" if len(differing) == 1 else "differ"
        return (
            f"{len(differing):,} of {count_of(len(self.measures), 'measure')} {differ} beyond {self.level:.0%} intervals; the clearest is "
            f"{top['measure']}: {amount(top['a'], top['unit'])} against {amount(top['b'], top['unit'])}."
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per measure.

        Columns: measure, unit, a, b, difference (b less a), low, high (its interval), differs (0 lies outside), n_a, n_b, block_a,
        block_b (values per block), reason (why a number is missing).
        """
        return self.measures.copy()

    def figure(self, *, dark: bool = False) -> go.Figure:
        """Draw each difference in halves of its interval's width, with the interval: one that does not touch 0 differs."""
        colours = draw.colours(dark)
        shown = self.measures.dropna(subset=["low"])
        half = ((shown["high"] - shown["low"]) / 2.0).to_numpy()
        half = np.where(half > 0.0, half, np.nan)
        x = shown["difference"].to_numpy() / half
        trace = {
            "type": "scatter",
            "mode": "markers",
            "x": x,
            "y": draw.labels(shown["measure"]),
            "error_x": {
                "type": "data",
                "symmetric": False,
                "array": shown["high"].to_numpy() / half - x,
                "arrayminus": x - shown["low"].to_numpy() / half,
                "color": colours.line,
            },
            "marker": {"size": 8, "color": np.where(shown["differs"], colours.sell, colours.line).tolist()},
            "hovertemplate": "%{y}: %{x:+.2f}<extra></extra>",
        }
        made = draw.figure(
            [trace], x_title="difference, b less a (half widths of its interval)", y_title="", dark=dark, height=140 + 24 * len(x)
        )
        made.update_yaxes(automargin=True, autorange="reversed")
        return made


Values = dict[str, tuple[str, str, Floats]]
"""Series of one session by measure: unit, statistic (mean, std, p95), values."""


def series_of(used: UsableRows, calls: pd.DataFrame | None) -> Values:
    """Return the series that a comparison is made of: one entry per packet or call, nothing missing."""
    price, nav = used.prices(), used.numbers("nav")
    steady = ~used.broken
    if len(steady):
        steady[0] = False
    with np.errstate(invalid="ignore", divide="ignore"):
        returns = np.append(np.nan, np.diff(np.log(price)))[: len(price)]
    regime, side = used.words("regime"), used.words("side")
    carried = np.asarray(regime.codes >= 0)
    size = used.numbers("approved_size")
    trade = np.asarray(side.isin([str(Side.BUY), str(Side.SELL)])) & np.isfinite(size)
    found: Values = {
        "mean return": ("fraction", "mean", np.where(steady, returns, np.nan)),
        "volatility": ("fraction per packet", "std", np.where(steady, returns, np.nan)),
        "mean step of nav": ("USD", "mean", np.where(steady, np.append(np.nan, np.diff(nav))[: len(nav)], np.nan)),
        "mean alpha": ("", "mean", used.numbers("alpha")),
        "share of packets in Critical": (
            "fraction",
            "mean",
            np.where(carried, np.asarray(regime.isin([str(Regime.CRITICAL)])).astype(np.float64), np.nan),
        ),
        "mean confidence": ("fraction", "mean", used.numbers("confidence")),
        "mean size": ("fraction", "mean", size),
        "veto rate": ("fraction", "mean", np.where(trade, (size == 0.0).astype(np.float64), np.nan)),
        "mean interval": ("s", "mean", np.where(steady, np.append(np.nan, np.diff(used.times))[: len(used)] / SECOND_NS, np.nan)),
    }
    if calls is not None:
        for name, mine in calls.groupby("name", sort=True):
            found[f"p95 latency of {name}"] = ("ms", "p95", mine["latency_ms"].to_numpy())
    return {name: (unit, how, values[np.isfinite(values)]) for name, (unit, how, values) in found.items()}


def compare(
    a: Values,
    b: Values,
    *,
    names: tuple[str, str],
    basis: Basis,
    notes: tuple[str, ...] = (),
    replicates: int = REPLICATES,
    level: float = LEVEL,
    seed: int = 0,
) -> Comparison:
    """Compare two sessions with percentile intervals of the circular block bootstrap (Politis & Romano 1992), drawn independently.

    A block has n^(1/3) values times a factor for the series' own autocorrelation (see `block_length`), so that correlated neighbours
    stay together.

    Args:
        a: series of the first session.
        b: of the second.
        names: of the two.
        basis: of the answer.
        notes: limits of the answer, as sentences.
        replicates: bootstrap samples.
        level: probability of the intervals.
        seed: of the drawing.
    """
    rows = []
    rng = np.random.default_rng(seed)
    for measure in [*a, *(name for name in b if name not in a)]:
        unit, how, mine = a.get(measure) or (*b[measure][:2], np.zeros(0))
        theirs = b[measure][2] if measure in b else np.zeros(0)
        row: dict[str, Any] = {"measure": measure, "unit": unit}
        row |= {key: _STATISTICS[how](v) if len(v) else np.nan for key, v in (("a", mine), ("b", theirs))}
        row["difference"] = row["b"] - row["a"]
        row |= {"low": np.nan, "high": np.nan, "differs": False, "n_a": len(mine), "n_b": len(theirs)}
        row |= {"block_a": block_length(mine), "block_b": block_length(theirs), "reason": ""}
        if not len(mine) and not len(theirs):
            continue
        if min(len(mine), len(theirs)) < LEAST_N:
            row["reason"] = f"n too small: {len(mine)} and {len(theirs)} of {LEAST_N}"
        else:
            drawn = _drawn(theirs, how, replicates, rng) - _drawn(mine, how, replicates, rng)
            low, high = np.quantile(drawn, [(1.0 - level) / 2, (1.0 + level) / 2])
            row |= {"low": float(low), "high": float(high), "differs": bool(low > 0.0 or high < 0.0)}
        rows.append(row)
    columns = ["measure", "unit", "a", "b", "difference", "low", "high", "differs", "n_a", "n_b", "block_a", "block_b", "reason"]
    table = pd.DataFrame(rows, columns=columns).astype({"differs": bool})
    return Comparison(
        measures=table,
        names=names,
        level=level,
        replicates=replicates,
        basis=basis,
        notes=(
            *notes,
            f"a is {names[0]}, b is {names[1]}",
            "intervals are per measure: of twenty measures that do not differ, one will seem to",
        ),
    )


def _drawn(values: Floats, how: str, replicates: int, rng: np.random.Generator, *, long: int = LONG) -> Floats:
    """Return the statistic of each bootstrap sample.

    A mean and a deviation need only the sums of the blocks, so a sample costs as much as it has blocks. A quantile of a long series is
    derived from the share of the sample below the series' own quantile (Bahadur 1966; Sun & Lahiri 2006 for blocks), which is a mean.

    Args:
        values: the series, nothing missing.
        how: mean, std or p95.
        replicates: bootstrap samples.
        rng: draws where blocks begin.
        long: number of values from which on a quantile is derived from shares.
    """
    n = len(values)
    if how == "mean":
        return block_means(values, n, replicates, rng, block_length(values))[0]
    if how == "std":
        centred = values - values.mean()
        first, second = block_means(centred, n, replicates, rng, block_length(values), np.square(centred))
        spread: Floats = np.sqrt(np.maximum(second - np.square(first), 0.0) * n / (n - 1))
        return spread
    ordered = np.sort(values)
    if n > long:
        below = (values <= np.quantile(ordered, P95, method="linear")).astype(np.float64)
        share = block_means(below, n, replicates, rng, block_length(values))[0]
        return np.asarray(np.quantile(ordered, np.clip(P95 + below.mean() - share, 0.0, 1.0), method="linear"))
    block = block_length(values)
    at_once = max(1, CHUNK // n)
    found = []
    for start in range(0, replicates, at_once):
        begins = rng.integers(0, n, size=(min(at_once, replicates - start), -(-n // block)))
        rows = ((begins[:, :, None] + np.arange(block)) % n).reshape(len(begins), -1)[:, :n]
        found.append(np.quantile(values[rows], P95, axis=1, method="linear"))
    return np.concatenate(found)


_STATISTICS: Final[dict[str, Callable[[Any], float]]] = {
    "mean": lambda v: float(v.mean()),
    "std": lambda v: float(v.std(ddof=1)) if len(v) > 1 else math.nan,
    "p95": lambda v: float(np.quantile(v, P95, method="linear")),
}
