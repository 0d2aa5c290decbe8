"""The first sign: which measure had left its usual range before a drawdown began, how long before, and the chance of that by luck.

A measure's usual range is that of the calm before the lead; the chance by luck follows from the greatest departures of calm stretches as
long as the lead, by Gumbel's (1958) law of extremes, and over all measures by Benjamini & Hochberg (1995). It never says "because".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from scipy import stats

from ccwatch.analysis import draw
from ccwatch.analysis.quantiles import MAD_TO_SIGMA
from ccwatch.analysis.result import Result, clock, count_of
from ccwatch.analysis.usable_rows import SECOND_NS, Basis, Floats, Ints, moments_ns, stamp
from ccwatch.errors import NotEnoughData

FALSE_DISCOVERIES: Final = 0.05
OF_NAV: Final = frozenset({"step of nav", "drawdown"})
"""Measures that are the drawdown itself, and so no sign of it."""
LEAST_BLOCKS: Final = 8
"""Calm stretches as long as the lead that the law of extremes is fitted to."""
LEAST_IN_BLOCK: Final = 5
"""Observations of a measure in each of them."""
SMOOTHED: Final = 3
"""Observations whose median is compared with the usual range: a single one is not a sign."""
_COLUMNS: Final = (
    "measure",
    "subject",
    "unit",
    "time",
    "before_s",
    "usual",
    "departure",
    "p_value",
    "q_value",
    "is_sign",
    "n",
    "n_calm",
    "reason",
)
UNSURE: Final = 1.5
LEAST_P: Final = 1e-4
"""The smallest chance reported: a law fitted to some stretches says nothing of one in a million."""
_EULER: Final = 0.5772156649015329


@dataclass(frozen=True, eq=False, repr=False)
class FirstSign(Result):
    """The measures that had left their usual range before an episode began. Times UTC.

    Attributes:
        signs: one row per measure; see `to_frame`.
        start_time: when the fall began: the last packet less than a tenth of the way down to the trough.
        lead_s: how long before it signs were looked for, s.
        level: share of false discoveries.
        blocks: calm stretches as long as the lead, of this session and of the calm ones that were given.
        basis: n counts observations of the lead.
        notes: limits of the answer, as sentences.
    """

    question: ClassVar[str] = "first_sign"
    title: ClassVar[str] = "The first sign before a drawdown"
    signs: pd.DataFrame
    start_time: pd.Timestamp
    lead_s: float
    level: float
    blocks: int
    basis: Basis
    notes: tuple[str, ...]

    @property
    def first(self) -> pd.Series | None:
        """Return the earliest sign; None without any."""
        found = self.signs[self.signs["is_sign"].to_numpy(dtype=bool)]
        return found.iloc[0] if len(found) else None

    def headline(self) -> str:
        """Say in a sentence which measure was the earliest to leave its usual range."""
        first = self.first
        if first is None:
            judged = int(self.signs["p_value"].notna().sum())
            return (
                f"Of {count_of(judged, 'measure')} that could be judged, none had left its usual range in the {self.lead_s:,.0f} s before "
                f"{clock(self.start_time)}."
            )
        of = f" of {first['subject']}" if first["subject"] else ""
        return (
            f"{first['measure']}{of} left its usual range at {clock(first['time'])}, {first['before_s']:,.0f} s before the drawdown began; "
            f"by luck that happens in {first['p_value']:.1g} of calm stretches of {self.lead_s:,.0f} s."
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per measure, the earliest sign first.

        Columns: measure, subject, unit, time (when it left its usual range for good before the start, NaT where it did not), before_s,
        usual (median of the calm), departure (greatest, in standard deviations that the calm's MAD gives), p_value (chance of such a
        departure in a calm stretch as long), q_value (over all measures), is_sign, n, n_calm, reason (why it could not be judged).
        """
        return self.signs.copy()

    def figure(self, *, dark: bool = False) -> go.Figure:
        """Draw when each measure had left its usual range, in seconds before the start; signs are filled."""
        colours = draw.colours(dark)
        shown = self.signs.dropna(subset=["before_s"]).head(25)
        is_sign = shown["is_sign"].to_numpy(dtype=bool)
        trace = {
            "type": "bar",
            "orientation": "h",
            "x": -shown["before_s"].to_numpy(),
            "y": draw.labels(np.where(shown["subject"] == "", shown["measure"], shown["measure"] + " · " + shown["subject"])),
            "marker": {"color": np.where(is_sign, colours.buy, "rgba(0,0,0,0)").tolist(), "line": {"color": colours.buy, "width": 1.5}},
            "hovertemplate": "%{y}: %{x:,.0f} s<extra></extra>",
        }
        made = draw.figure([trace], x_title="seconds to the start of the drawdown", y_title="", dark=dark, height=140 + 24 * len(shown))
        made.update_yaxes(automargin=True, autorange="reversed")
        return made


def first_sign(
    measured: Sequence[Any],
    start: pd.Timestamp,
    basis: Basis,
    *,
    lead_s: float = 300.0,
    busy: pd.DataFrame | None = None,
    calm: Iterable[Sequence[Any]] = (),
    level: float = FALSE_DISCOVERIES,
) -> FirstSign:
    """Find the measures that had left their usual range before an episode began.

    Args:
        measured: the session's measures, each with measure, subject, unit, times (ns) and numbers.
        start: the first packet under water.
        basis: of the session.
        lead_s: how long before the start signs are looked for, s; less where the session does not hold enough calm before.
        busy: other episodes (start_time, recovery_time), which are no calm.
        calm: the measures of calm sessions, which are added to the calm of this one.
        level: share of false discoveries.

    Raises:
        NotEnoughData: nothing was received before the start.
    """
    begin = int(start.as_unit("ns").value)
    first = min((int(seen.times[0]) for seen in measured if len(seen.times)), default=begin)
    others = [list(session) for session in calm]
    if begin <= first:
        raise NotEnoughData(f"first_sign: nothing was received before {start}: the episode begins with the session")
    lead = round(lead_s * SECOND_NS) if others else min(round(lead_s * SECOND_NS), (begin - first) // (LEAST_BLOCKS + 1))
    blocks = 0
    rows = []
    for seen in (one for one in measured if one.measure not in OF_NAV):
        row, n_blocks = _judged(seen, begin, lead, busy, [match for session in others for match in session if _alike(match, seen)])
        blocks = max(blocks, n_blocks)
        rows.append(row)
    table = pd.DataFrame(rows, columns=[name for name in _COLUMNS if name not in {"q_value", "is_sign"}])
    p = table["p_value"].to_numpy(dtype=np.float64)
    q = np.full(len(p), np.nan)
    if np.isfinite(p).any():
        q[np.isfinite(p)] = stats.false_discovery_control(p[np.isfinite(p)])
    table = table.assign(q_value=q, is_sign=(np.nan_to_num(q, nan=1.0) <= level) & table["before_s"].notna())
    table["time"] = pd.to_datetime(table["time"], utc=True).dt.as_unit("ns")
    order = np.lexsort((-np.nan_to_num(table["before_s"].to_numpy(dtype=np.float64), nan=-1.0), ~table["is_sign"].to_numpy(dtype=bool)))
    notes = ["an order in time is no proof of cause; calm stretches of one session resemble each other more than those of many"]
    if lead < round(lead_s * SECOND_NS):
        notes.append(f"looked for signs in {lead / SECOND_NS:,.0f} s, since the session holds no more calm before: hand in calm sessions")
    return FirstSign(
        signs=table.iloc[order].reset_index(drop=True)[[*_COLUMNS]],
        start_time=stamp(begin),
        lead_s=lead / SECOND_NS,
        level=level,
        blocks=blocks,
        basis=basis,
        notes=tuple(notes),
    )


def _alike(one: Any, two: Any) -> bool:
    return bool(one.measure == two.measure and one.subject == two.subject)


def _judged(seen: Any, begin: int, lead: int, busy: pd.DataFrame | None, calm: Sequence[Any]) -> tuple[dict[str, Any], int]:
    """Judge one measure: its greatest departure before the start, since when, and the chance of it by luck."""
    row: dict[str, Any] = {"measure": seen.measure, "subject": seen.subject, "unit": seen.unit, "time": pd.NaT, "before_s": np.nan}
    row |= {"usual": np.nan, "departure": np.nan, "p_value": np.nan, "n": 0, "n_calm": 0, "reason": ""}
    known = np.isfinite(seen.numbers)
    times, values = np.asarray(seen.times)[known], seen.numbers[known]
    inside, before = (times >= begin - lead) & (times < begin), times < begin - lead
    before &= ~_busy(times, busy, begin)
    row |= {"n": int(inside.sum()), "n_calm": int(before.sum())}
    if inside.sum() < SMOOTHED or before.sum() < LEAST_BLOCKS * LEAST_IN_BLOCK:
        return row | {"reason": f"n too small: {int(inside.sum())} before the start, {int(before.sum())} in the calm"}, 0
    middle = float(np.median(values[before]))
    spread = MAD_TO_SIGMA * float(np.median(np.abs(values[before] - middle)))
    spread = spread if spread > 0.0 else float(values[before].std())
    row["usual"] = middle
    if not spread > 0.0:
        return row | {"reason": "it never varied in the calm"}, 0
    # within the calm each stretch is judged as the lead is: smoothed by itself
    usual = np.abs(_smoothed(values[before]) - middle) / spread
    apart = np.abs(_smoothed(values[inside]) - middle) / spread
    joined = _joined(times[before], usual, apart, begin - 2 * lead)
    calm_n = len(usual) - joined
    greatest = _greatest(times[before][:calm_n], usual[:calm_n], begin - lead, lead)
    for other in calm:
        fits = np.isfinite(other.numbers)
        theirs = np.abs(_smoothed(other.numbers[fits]) - np.median(other.numbers[fits])) / spread if fits.any() else np.zeros(0)
        greatest = np.append(greatest, _greatest(np.asarray(other.times)[fits], theirs, None, lead))
    row["departure"] = float(apart.max())
    if len(greatest) < LEAST_BLOCKS:
        return row | {"reason": f"n too small: {len(greatest)} of {LEAST_BLOCKS} calm stretches"}, len(greatest)
    # the spread of few stretches is itself uncertain: it is enlarged, by the amount with which calm sessions keep the stated share
    scale = max(float(greatest.std(ddof=1)) * math.sqrt(6.0) / math.pi, 1e-9) * (1.0 + UNSURE / math.sqrt(len(greatest)))
    place = float(greatest.mean()) - _EULER * scale
    beyond_all = float(-math.expm1(-math.exp(-min(700.0, max(-700.0, (row["departure"] - place) / scale)))))
    row["p_value"] = max(LEAST_P, beyond_all, 0.0 if row["departure"] > greatest.max() else 1.0 / (len(greatest) + 1))
    limit = place - scale * math.log(-math.log1p(-FALSE_DISCOVERIES))
    beyond = apart > limit
    if beyond.any():
        lasts = beyond[-1] and not beyond.all()
        at = len(beyond) - int(np.argmin(beyond[::-1])) if lasts else int(np.argmax(beyond))
        since = int(times[before][calm_n] if at == 0 and joined else times[inside][at])
        row |= {"time": stamp(since), "before_s": (begin - since) / SECOND_NS}
    return row, len(greatest)


def _joined(times: Ints, usual: Floats, apart: Floats, early: int) -> int:
    """Return how many of the calm's last observations belong to a departure that goes on at the start of the lead.

    They are further out than any observation before the moment `early`, up to the very end of the calm; else there are none.
    """
    known = usual[times < early]
    if not len(known) or not len(apart) or not apart[0] > known.max():
        return 0
    within = usual[::-1] <= known.max()
    return int(np.argmax(within)) if within.any() else 0


def _busy(times: Ints, busy: pd.DataFrame | None, begin: int) -> Any:
    """Return, per observation, whether it lies within another episode."""
    found = np.zeros(len(times), dtype=bool)
    if busy is None:
        return found
    starts, ends = moments_ns(busy["start_time"]), moments_ns(busy["recovery_time"].fillna(stamp(begin)))
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):  # deep episodes: a handful
        found |= (times >= start) & (times <= end) & (start < begin)
    return found


def _smoothed(values: Floats) -> Floats:
    """Return the running median of the last SMOOTHED observations."""
    found = pd.Series(values).rolling(SMOOTHED, min_periods=1).median().to_numpy()
    return np.asarray(found, dtype=np.float64)


def _greatest(times: Ints, apart: Floats, end: int | None, lead: int) -> Floats:
    """Return the greatest departure of each stretch as long as the lead, counted back from the end of the calm."""
    if not len(times):
        return np.zeros(0)
    last = int(times[-1]) + 1 if end is None else end
    block = (last - 1 - times) // max(1, lead)
    starts = np.flatnonzero(np.append(True, block[1:] != block[:-1]))
    sizes = np.diff(starts, append=len(block))
    found = np.maximum.reduceat(apart, starts)
    return np.asarray(found[sizes >= LEAST_IN_BLOCK], dtype=np.float64)
