"""Kalman audit: whether the engine's velocity is that of a constant-acceleration filter of the price, and with which parameters."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go
from scipy import optimize, signal

from ccwatch.analysis import draw
from ccwatch.analysis.result import Result, percent
from ccwatch.analysis.usable_rows import Basis, Floats, select_rows

BURN_IN: Final = 60
"""Packets after the start and after each gap that are not judged: the engine's filter may still be settling, and so is ours."""
KALMAN, NONE, UNDECIDED = "Kalman velocity", "no Kalman velocity", "undecided"
EXPLAINS: Final = 0.99
"""Share of the velocity's variance that a filter must explain for it to be one."""
TRANSITION: Final = np.array([[1.0, 1.0, 0.5], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
_NOISES: Final = {
    "wiener acceleration": np.outer([0.5, 1.0, 1.0], [0.5, 1.0, 1.0]),
    "white jerk": np.array([[1 / 20, 1 / 8, 1 / 6], [1 / 8, 1 / 3, 1 / 2], [1 / 6, 1 / 2, 1.0]]),
    "equal and independent": np.eye(3),
}
"""Shapes of process noise of variance q, period 1: Bar-Shalom, Li & Kirubarajan (2001), sections 6.3.3 and 6.2.3, and the plain one."""
_LOG_RATIOS: Final = np.linspace(-9.0, 3.0, 25)
_MOST_FITTED: Final = 5_000
_MOST_DOUBLINGS: Final = 60


@dataclass(frozen=True, eq=False, repr=False)
class Kalman(Result):
    """The verdict on the engine's velocity ($/period) as that of a constant-acceleration Kalman filter of the price.

    Attributes:
        verdict: "Kalman velocity" (a filter explains at least 99 % of its variance), "no Kalman velocity", or "undecided" where it does
            not vary.
        models: one row per filter and per plain alternative, the best first; see `to_frame`.
        noise: shape of the best filter's process noise.
        ratio: its process noise over its measurement noise, q/r, in units of a period; the gain depends on nothing else.
        gain: its steady gain for price, velocity and acceleration.
        riccati_residual: largest departure of that gain's covariance from the discrete Riccati equation, relative to it.
        gain_ratio: the engine's own acceleration gain over its velocity gain, from its velocity and acceleration alone; NaN where the
            stream carries no acceleration.
        explained: share of the velocity's variance that the best filter explains; below zero it is worse than a constant.
        curve: index time; columns engine, ours ($/period).
        basis: n counts packets judged.
        notes: limits of the answer, as sentences.
    """

    question: ClassVar[str] = "kalman"
    title: ClassVar[str] = "Kalman audit: the engine's velocity beside a filter of its price"
    verdict: str
    models: pd.DataFrame
    noise: str
    ratio: float
    gain: tuple[float, float, float]
    riccati_residual: float
    gain_ratio: float
    explained: float
    curve: pd.DataFrame
    basis: Basis
    notes: tuple[str, ...]

    def headline(self) -> str:
        """Say the verdict and the parameters that explain the velocity best."""
        if self.verdict == UNDECIDED:
            return "The engine's velocity does not vary, so nothing says whether it is a Kalman velocity."
        best = self.models[self.models["kind"] == "plain"].iloc[0]
        what = "is" if self.verdict == KALMAN else "is not"
        other = "" if self.verdict == KALMAN else f"; the best plain explanation is {best['model']} with {percent(best['explained'], 1)}"
        return (
            f"The engine's velocity {what} that of a constant-acceleration Kalman filter: "
            f"the best one (q/r = {self.ratio:.3g}, {self.noise}) explains {percent(self.explained, 1)} of it{other}."
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per model, the best first.

        Columns: model, kind (filter, plain), ratio (q/r of a filter), explained (share of variance), max_abs_error, rms_error
        ($/period), n.
        """
        return self.models.copy()

    def to_dict(self) -> dict[str, object]:
        """Return the answer as plain values, without the curve."""
        return {name: value for name, value in super().to_dict().items() if name != "curve"}

    def figure(self, *, dark: bool = False) -> go.Figure:
        """Draw the engine's velocity and the best filter's."""
        colours = draw.colours(dark)
        times = np.asarray(pd.DatetimeIndex(self.curve.index).as_unit("ns").asi8)
        traces = [
            draw.line("engine", times, self.curve["engine"].to_numpy(), colours.line_engine),
            draw.line("filter", times, self.curve["ours"].to_numpy(), colours.line),
        ]
        return draw.figure(traces, x_title="time (UTC)", y_title="velocity ($/period)", dark=dark, dates=True)


def kalman(frame: pd.DataFrame, events: pd.DataFrame | None = None, *, symbol: str | None = None) -> Kalman:
    """Filter the price with steady constant-acceleration filters, one period per packet, and find the q/r that explains velocity best.

    Args:
        frame: packets with price and velocity, and acceleration where its gain is to be read from the engine.
        events: the events table: a filter starts again after a gap.
        symbol: only rows of this one; needed where the stream holds several.

    Raises:
        MissingColumns: the stream never carried a price or a velocity.
        NotEnoughData: fewer than 100 packets can be judged.
        MixedSymbols: several symbols and none was chosen.
    """
    found = select_rows("kalman", frame, events, needs=("price", "velocity"), symbol=symbol, one_symbol=True)
    used = found.where(np.isfinite(found.numbers("price")) & np.isfinite(found.numbers("velocity")))
    used.need(BURN_IN + 40, "price and velocity")
    price, velocity = used.numbers("price"), used.numbers("velocity")
    rows = np.arange(len(price))
    edges = [0, *np.flatnonzero(used.broken).tolist(), len(price)]
    judged = rows - np.maximum.accumulate(np.where(used.broken, rows, 0)) >= BURN_IN
    used.where(judged).need(40, f"price and velocity, {BURN_IN} after each gap")
    notes = ["one period per packet; the first packets after the start and after each gap are not judged: a filter settles"]
    if judged.sum() > _MOST_FITTED:
        notes.append(f"parameters are found on the first {_MOST_FITTED:,} packets and judged on all")
    table = _models(price, velocity, edges, judged)
    top = table[table["kind"] == "filter"].iloc[0]
    shape, ratio = str(top["model"]).removeprefix("filter, "), float(top["ratio"])
    gain, residual = gain_of(ratio, shape)
    varies = float(np.ptp(velocity[judged])) > 0.0
    if not varies:
        notes.append("the engine's velocity is constant")
    return Kalman(
        verdict=UNDECIDED if not varies else KALMAN if top["explained"] >= EXPLAINS else NONE,
        models=table,
        noise=shape,
        ratio=ratio,
        gain=(float(gain[0]), float(gain[1]), float(gain[2])),
        riccati_residual=residual,
        gain_ratio=_gain_ratio(velocity, used.numbers("acceleration"), judged, used.broken),
        explained=float(top["explained"]),
        curve=pd.DataFrame({"engine": velocity, "ours": filtered(price, gain, edges, (1,))[:, 0]}, index=used.frame.index),
        basis=found.basis(int(judged.sum())),
        notes=tuple(notes),
    )


def _models(price: Floats, velocity: Floats, edges: list[int], judged: npt.NDArray[np.bool_]) -> pd.DataFrame:
    """Return a row per filter, each at the q/r that explains velocity best, and per plain alternative; the best first."""
    fitted = np.flatnonzero(judged)[:_MOST_FITTED]
    end = int(fitted[-1]) + 1
    until = [edge for edge in edges if edge < end] + [end]

    def error(log_ratio: float, shape: str) -> float:
        ours = filtered(price[:end], gain_of(10.0**log_ratio, shape)[0], until, (1,))[:, 0]
        return float(np.mean(np.square(ours - velocity[:end])[fitted]))

    rows = []
    for shape in _NOISES:
        near = float(min(_LOG_RATIOS, key=lambda log_ratio: error(float(log_ratio), shape)))
        bounds = (near - 0.5, near + 0.5)
        best = optimize.minimize_scalar(error, bounds=bounds, args=(shape,), method="bounded", options={"xatol": 1e-7})
        ratio = float(10.0**best.x)
        rows.append(
            _row(f"filter, {shape}", "filter", ratio, filtered(price, gain_of(ratio, shape)[0], edges, (1,))[:, 0], velocity, judged)
        )
    step = np.append(np.nan, np.diff(price))
    for name, values in (("price step", step), ("mean price step of 10", pd.Series(step).rolling(10).mean().to_numpy())):
        rows.append(_row(name, "plain", np.nan, values, velocity, judged))
    return pd.DataFrame(rows).sort_values("rms_error", kind="stable", ignore_index=True)


def gain_of(ratio: float, noise: str = "wiener acceleration") -> tuple[Floats, float]:
    """Return the steady gain (price, velocity, acceleration) at q/r = `ratio`, and the discrete Riccati equation's relative residual."""
    q = ratio * _NOISES[noise]
    p = _covariance(q)
    gain = p[:, 0] / (p[0, 0] + 1.0)
    again = TRANSITION @ (p - np.outer(gain, p[0])) @ TRANSITION.T + q
    return np.asarray(gain, dtype=np.float64), float(np.abs(again - p).max() / np.abs(p).max())


def _covariance(q: Floats) -> Floats:
    """Return the steady covariance before a measurement of variance 1, by the doubling algorithm (Anderson & Moore 1979, section 6.7).

    It is scipy's `solve_discrete_are` to 1e-13 for these three states, in a fraction of the time: a filter is fitted by a hundred calls.
    """
    a, g, p = TRANSITION.T, np.diag([1.0, 0.0, 0.0]), q
    for _ in range(_MOST_DOUBLINGS):
        shrunk = a @ np.linalg.inv(np.eye(3) + g @ p)
        before, p = p, p + a.T @ p @ np.linalg.solve(np.eye(3) + g @ p, a)
        g, a = g + shrunk @ g @ a.T, shrunk @ a
        if np.abs(p - before).max() <= 1e-15 * np.abs(p).max():
            break
    return p


def filtered(price: Floats, gain: Floats, edges: list[int], columns: Sequence[int] = (0, 1, 2)) -> Floats:
    """Return price (0), velocity (1), acceleration (2) of a filter with this steady gain, started at rest at each edge's price.

    Args:
        price: USD, nothing missing.
        gain: for price, velocity and acceleration.
        edges: first row of each stretch, and the number of rows at the end.
        columns: which of the three are wanted.

    Returns:
        One row per price, one column for each that is wanted.
    """
    kept = (np.eye(3) - np.outer(gain, [1.0, 0.0, 0.0])) @ TRANSITION
    found = np.zeros((len(price), len(columns)))
    poles = np.real(np.poly(kept))
    for place, column in enumerate(columns):
        taps = signal.ss2tf(kept, (kept @ gain)[:, None], np.eye(3)[column : column + 1], gain[column : column + 1, None])[0][0]
        for a, b in itertools.pairwise(edges):  # one per stretch without a gap
            found[a:b, place] = signal.lfilter(taps, poles, price[a:b] - price[a])  # linear: at rest the state is zero
            if column == 0:
                found[a:b, place] += price[a]
    return found


def _row(model: str, kind: str, ratio: float, ours: Floats, velocity: Floats, judged: npt.NDArray[np.bool_]) -> dict[str, object]:
    known = judged & np.isfinite(ours)
    error, spread = (ours - velocity)[known], float(np.var(velocity[known]))
    return {
        "model": model,
        "kind": kind,
        "ratio": ratio,
        "explained": 1.0 - float(np.mean(np.square(error))) / spread if spread > 0.0 else np.nan,
        "max_abs_error": float(np.abs(error).max()),
        "rms_error": float(np.sqrt(np.mean(np.square(error)))),
        "n": int(known.sum()),
    }


def _gain_ratio(velocity: Floats, acceleration: Floats, judged: npt.NDArray[np.bool_], broken: npt.NDArray[np.bool_]) -> float:
    """Return the acceleration gain over the velocity gain: steps of acceleration regressed on velocity's surprise; NaN without any."""
    surprise = np.diff(velocity) - acceleration[:-1]
    step = np.diff(acceleration)
    known = judged[1:] & ~broken[1:] & np.isfinite(surprise) & np.isfinite(step)
    square = float(np.sum(np.square(surprise[known])))
    return float(np.sum(surprise[known] * step[known])) / square if square > 0.0 else np.nan
