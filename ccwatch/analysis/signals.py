"""Signals: the returns after each change of side, and whether confidence is calibrated. It must not know where a frame comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ccwatch.analysis import draw
from ccwatch.analysis.calibration import Calibration, calibrate
from ccwatch.analysis.result import Result, count_of, in_order, notes_of, stacked
from ccwatch.analysis.returns import forward_returns, wilson
from ccwatch.analysis.usable_rows import Basis, select_rows
from ccwatch.protocol.messages import Side
from ccwatch.stream.dataframes import TEXT

HORIZONS_S: Final = (5.0, 15.0, 30.0, 60.0, 300.0, 900.0)
CALIBRATED_AT_S: Final = 60.0


@dataclass(frozen=True, eq=False, repr=False)
class Signals(Result):
    """The returns after signals. Returns are fractions in the signal's own direction: above zero it was right.

    Attributes:
        by_horizon: one row per horizon and side; see `to_frame`.
        changes: one row per change of side: time, side, before, regime, confidence, price (USD, at entry: the next packet), then
            return_<horizon>s for each horizon and the calibration's, NaN where the stream ended or had a gap before.
        calibration: confidence against hits at `calibrated_at_s`.
        horizons_s: seconds from entry to exit.
        calibrated_at_s: horizon of the calibration, s.
        symbol: the one that the packets are of; None where they do not say.
        basis: n counts changes of side to BUY or SELL; coverage counts packets that carry side and price.
        notes: limits of the answer, as sentences.
    """

    question: ClassVar[str] = "signals"
    title: ClassVar[str] = "Signals"
    by_horizon: pd.DataFrame
    changes: pd.DataFrame
    calibration: Calibration
    horizons_s: tuple[float, ...]
    calibrated_at_s: float
    symbol: str | None
    basis: Basis
    notes: tuple[str, ...]

    def headline(self) -> str:
        """Say the hit rate at the calibrated horizon, in a sentence."""
        row = self.by_horizon[(self.by_horizon["side"] == "all") & (self.by_horizon["horizon_s"] == self.calibrated_at_s)]
        if not len(row) or not row["n"].iloc[0]:
            return f"{count_of(self.basis.n, 'signal')} to BUY or SELL, of which none can be judged after {self.calibrated_at_s:g} s."
        hit = row.iloc[0]
        n, right = int(hit["n"]), round(hit["hit_rate"] * hit["n"])
        brier = f"; Brier score {self.calibration.brier:.3f}" if self.calibration.n else ""
        were = "was" if n == 1 else "were"
        return (
            f"{right:,} of {count_of(n, 'signal')} {were} right after {self.calibrated_at_s:g} s "
            f"({hit['hit_rate']:.1%}, 95% interval {hit['hit_low']:.1%} to {hit['hit_high']:.1%}){brier}."
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per horizon and side (BUY, SELL, all).

        Columns: horizon_s, side, n, n_missing (the stream ended or had a gap before the exit), coverage (n over both), mean_return,
        median_return (fractions, in the signal's direction), hit_rate (return above zero), hit_low, hit_high (Wilson, 95 %).
        """
        return self.by_horizon.copy()

    def figure(self, *, dark: bool = False) -> go.Figure:
        """Draw the hit rate by horizon with its interval, for each side."""
        colours = draw.colours(dark)
        traces: list[dict[str, Any]] = []
        for side, colour in ((Side.BUY, colours.buy), (Side.SELL, colours.sell), ("all", colours.line)):
            mine = self.by_horizon[self.by_horizon["side"] == side]
            rate = mine["hit_rate"].to_numpy()
            error = {"type": "data", "symmetric": False, "array": np.nan_to_num(mine["hit_high"].to_numpy() - rate), "color": colour}
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers+lines",
                    "name": str(side),
                    "x": mine["horizon_s"].to_numpy(),
                    "y": rate,
                    "error_y": error | {"arrayminus": np.nan_to_num(rate - mine["hit_low"].to_numpy()), "thickness": 1},
                    "line": {"color": colour, "width": 1},
                    "hovertemplate": "%{x:g} s: %{y:.1%}<extra>%{fullData.name}</extra>",
                }
            )
        made = draw.figure(traces, x_title="horizon (s)", y_title="hit rate (%)", dark=dark, y_format=".0%")
        made.update_xaxes(type="log")
        return made

    def merge(self, other: Signals, *, apart: bool = False) -> Signals:
        """Merge the signals of both sessions, judged together.

        Raises:
            ValueError: asked with other horizons, or of another symbol.
            AnalysisError: the sessions overlap in time, and are not `apart`: of different streams, with nothing between them.
        """
        one, two = in_order(self, other, "horizons_s", "calibrated_at_s", "symbol")
        basis, changes = one.basis.merge(two.basis, apart=apart), stacked(one.changes, two.changes)
        by_horizon, calibration = _judged(changes, one.horizons_s, one.calibrated_at_s)
        merged = replace(one, by_horizon=by_horizon, changes=changes, calibration=calibration, basis=basis)
        return replace(merged, notes=notes_of(one, two, merged, _limits))


def signals(
    frame: pd.DataFrame,
    events: pd.DataFrame | None = None,
    *,
    symbol: str | None = None,
    horizons_s: Sequence[float] = HORIZONS_S,
    calibrated_at_s: float = CALIBRATED_AT_S,
) -> Signals:
    """Compute forward returns of changes of side; a repeated side is not a new signal, and the first one is not a change.

    Args:
        frame: packets with side and price, and confidence where it is to be judged.
        events: the events table, for gaps.
        symbol: only rows of this one; needed where the stream holds several.
        horizons_s: seconds from entry to exit.
        calibrated_at_s: the horizon at which confidence is judged.

    Raises:
        MissingColumns: the stream never carried a side or a price.
        NotEnoughData: fewer than two packets carry both.
        MixedSymbols: several symbols and none was chosen.
    """
    found = select_rows("signals", frame, events, needs=("side", "price"), symbol=symbol, one_symbol=True)
    used = found.where(np.isfinite(found.prices()) & (found.words("side").codes >= 0))
    used.need(2, "side and price")
    words, times, price = used.words("side"), used.times, used.prices()
    codes = np.asarray(words.codes)
    rows = np.flatnonzero((codes[1:] != codes[:-1]) & ~used.broken[1:]) + 1
    names = np.asarray(words.categories, dtype=object)
    side = names[codes[rows]]
    direction = np.where(side == Side.BUY, 1.0, np.where(side == Side.SELL, -1.0, np.nan))
    confidence = used.numbers("confidence")[rows]
    forward = {h: direction * forward_returns(times, price, used.broken, rows, h) for h in dict.fromkeys([*horizons_s, calibrated_at_s])}
    entry = np.append(np.where(used.broken[1:], np.nan, price[1:]), np.nan)  # a packet after a gap is no next packet
    changes = {
        "side": pd.array(side.tolist(), dtype=TEXT),
        "before": pd.array(names[codes[rows - 1]].tolist(), dtype=TEXT),
        "regime": used.words("regime")[rows],
        "confidence": confidence,
        "price": entry[rows],
    }
    index = used.frame.index[rows].set_names("time")
    table = pd.DataFrame(changes | {f"return_{h:g}s": returns for h, returns in forward.items()}, index=index).reset_index()
    by_horizon, calibration = _judged(table, horizons_s, calibrated_at_s)
    answer = Signals(
        by_horizon=by_horizon,
        changes=table,
        calibration=calibration,
        horizons_s=tuple(horizons_s),
        calibrated_at_s=calibrated_at_s,
        symbol=found.symbol,
        basis=found.basis(int(np.isfinite(direction).sum()), carrying=len(used)),
        notes=(),
    )
    return replace(answer, notes=_limits(answer))


def _limits(answer: Signals) -> tuple[str, ...]:
    """Return the notes that limit any answer, and those on columns that are missing here."""
    missing = [] if answer.calibration.n else ["no signal with a confidence can be judged: its calibration is missing"]
    return "entry is one packet after the signal; costs are not in the returns", *missing


def _judged(changes: pd.DataFrame, horizons_s: Sequence[float], calibrated_at_s: float) -> tuple[pd.DataFrame, Calibration]:
    """Return, for a table of changes, the returns by horizon and side, and the calibration of confidence against hits."""
    side, confidence = changes["side"].to_numpy(dtype=object), changes["confidence"].to_numpy()
    is_trade = (side == Side.BUY) | (side == Side.SELL)
    rows = [
        _row(h, name, changes[f"return_{h:g}s"].to_numpy()[is_trade & (side == name if name != "all" else True)])
        for h in horizons_s
        for name in (Side.BUY, Side.SELL, "all")
    ]
    at = changes[f"return_{calibrated_at_s:g}s"].to_numpy()
    judged = is_trade & np.isfinite(at) & (confidence >= 0.0) & (confidence <= 1.0)
    return pd.DataFrame(rows), calibrate(confidence[judged], at[judged] > 0.0)


def _row(horizon: float, name: str, mine: Any) -> dict[str, Any]:
    known = mine[np.isfinite(mine)]
    n, hits = len(known), int((known > 0.0).sum())
    low, high = wilson(hits, n)
    return {
        "horizon_s": horizon,
        "side": str(name),
        "n": n,
        "n_missing": len(mine) - n,
        "coverage": n / len(mine) if len(mine) else np.nan,
        "mean_return": known.mean() if n else np.nan,
        "median_return": np.median(known) if n else np.nan,
        "hit_rate": hits / n if n else np.nan,
        "hit_low": low,
        "hit_high": high,
    }
