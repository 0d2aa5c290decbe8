"""Regimes: segments, transitions, dwell times, and whether alpha agrees with the label. It must not know where a frame comes from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ccwatch.analysis import draw, survival
from ccwatch.analysis.result import Result, clock, count_of, in_order, notes_of, stacked
from ccwatch.analysis.usable_rows import SECOND_NS, Basis, Bools, Floats, Ints, UsableRows, runs, select_rows, stamps
from ccwatch.domain.limits import ALPHA_CUTS
from ccwatch.figures.theme import REGIMES
from ccwatch.protocol.messages import Regime
from ccwatch.stream.dataframes import TEXT

HOLD: Final = 3
"""Packets in a row that a new regime needs before hysteresis believes it."""
EXPECTED: Final = (Regime.CRITICAL, Regime.LEVY, Regime.GAUSSIAN)
"""The regime below the first cut-off of alpha, between the two, and above the second."""
_ENDS: Final = ("transition", "gap", "end of stream")


@dataclass(frozen=True, eq=False, repr=False)
class Regimes(Result):
    """The regimes of a session, their durations and transitions. Durations in s, probabilities as fractions, times UTC.

    Attributes:
        segments: stretches of one regime, cut at gaps; see `to_frame`.
        smoothed: the same with hysteresis: a regime counts once `hold` packets in a row carried it, from the first of them.
        hold: packets in a row that hysteresis asks for.
        transitions: columns from, to, n (pairs of packets without a gap between them), probability (n over all pairs that begin in
            `from`: the maximum likelihood of Anderson & Goodman 1957), changes (0 on the diagonal), change_probability.
        dwell: per regime: n (segments), n_censored, total_s, share (of the time that all segments cover), median_s (Kaplan & Meier; NaN
            where too many are censored), longest_s, mean_s (of those that ended), reason.
        survival: per regime the Kaplan-Meier curve: regime, dwell_s, at_risk, ended, survival, std_error.
        alpha: alpha beside the label, per regime: n, alpha_min, alpha_median, alpha_max, n_contradicts, contradicts (share).
        contradictions: stretches where the label is not the one that the cut-offs give: start_time, end_time, n, regime, expected,
            alpha_min, alpha_max.
        cuts: cut-offs of alpha between Critical, Lévy Stable and Gaussian.
        symbol: the one that the packets are of; None where they do not say.
        basis: n counts packets that carry a regime.
        notes: limits of the answer, as sentences.
    """

    question: ClassVar[str] = "regimes"
    title: ClassVar[str] = "Regimes"
    segments: pd.DataFrame
    smoothed: pd.DataFrame
    hold: int
    transitions: pd.DataFrame
    dwell: pd.DataFrame
    survival: pd.DataFrame
    alpha: pd.DataFrame
    contradictions: pd.DataFrame
    cuts: tuple[float, float]
    symbol: str | None
    basis: Basis
    notes: tuple[str, ...]

    def headline(self) -> str:
        """Say how often the regime changed, in a sentence."""
        changes = int(self.transitions["changes"].sum())
        shown = self.dwell.dropna(subset="share")
        shares = ", ".join(f"{name} {share:.1%}" for name, share in zip(shown["regime"], shown["share"], strict=True))
        critical = self.segments[self.segments["regime"] == Regime.CRITICAL]
        first = f"; Critical for the first time at {clock(critical['start_time'].iloc[0], self.basis)}" if len(critical) else ""
        changed = f"changed {count_of(changes, 'time')}" if changes else "did not change"
        return f"The regime {changed} ({shares or 'too short to give shares'}){first}."

    def to_frame(self) -> pd.DataFrame:
        """Return one row per segment, by time.

        Columns: regime, start_time, end_time (of the first packet of the next regime, or of the last packet before a gap or the end),
        duration_s, n (packets), ended_by (transition, gap, end of stream), is_censored (it may have gone on), left_censored (it may have
        begun before), min_alpha, mean_alpha.
        """
        return self.segments.copy()

    def figure(self, *, dark: bool = False) -> go.Figure:
        """Draw the segments over time, raw above and with hysteresis below, in the colours and patterns of the live view."""
        colours = draw.colours(dark)
        traces: list[dict[str, Any]] = []
        for row, table in (("raw", self.segments), (f"hysteresis of {self.hold}", self.smoothed)):
            for word in pd.unique(table["regime"]):
                mine = table[table["regime"] == word]
                style = REGIMES.get(str(word), REGIMES[Regime.UNKNOWN])
                traces.append(
                    {
                        "type": "bar",
                        "orientation": "h",
                        "name": draw.labels([word])[0],
                        "legendgroup": draw.labels([word])[0],
                        "showlegend": row == "raw",
                        "base": draw.ms(mine["start_time"]),
                        "x": np.maximum(mine["duration_s"].to_numpy() * 1000.0, 1.0),
                        "y": [row] * len(mine),
                        "marker": {
                            "color": style.colour,
                            "line": {"width": 0},
                            "pattern": {"shape": style.pattern, "fgcolor": "#ffffff", "bgcolor": style.colour, "size": 6, "solidity": 0.25},
                        },
                        "customdata": mine["duration_s"].to_numpy(),
                        "hovertemplate": "%{base|%H:%M:%S}, %{customdata:,.1f} s<extra>%{fullData.name}</extra>",
                    }
                )
        made = draw.figure(traces, x_title="time (UTC)", y_title="", dark=dark, dates=True, height=220)
        made.update_layout(yaxis={"color": colours.muted, "autorange": "reversed", "automargin": True})
        return made

    def merge(self, other: Regimes, *, apart: bool = False) -> Regimes:
        """Merge the regimes of both sessions: counts add up, dwell times are estimated again; medians of alpha cannot be merged.

        Raises:
            ValueError: asked with another `hold`, other `cuts`, or of another symbol.
            AnalysisError: the sessions overlap in time, and are not `apart`: of different streams, with nothing between them.
        """
        one, two = in_order(self, other, "hold", "cuts", "symbol")
        basis = one.basis.merge(two.basis, apart=apart)
        before, held = (one.segments, one.smoothed) if apart else (_before_a_gap(one.segments), _before_a_gap(one.smoothed))
        segments = stacked(before, two.segments)
        names = [str(word) for word in segments["regime"].cat.categories]
        counts = _counts(one.transitions, names) + _counts(two.transitions, names)
        dwell, curves = _dwell(segments, names)
        merged = replace(
            one,
            segments=segments,
            smoothed=stacked(held, two.smoothed),
            transitions=_transition_table(counts, names),
            dwell=dwell,
            survival=curves,
            alpha=_alpha_of_both(one.alpha, two.alpha, names),
            contradictions=stacked(one.contradictions, two.contradictions),
            basis=basis,
        )
        return replace(merged, notes=notes_of(one, two, merged, _limits))


def _before_a_gap(segments: pd.DataFrame) -> pd.DataFrame:
    """Return segments after which others of the stream follow: the last one was ended by a gap, not by the stream."""
    ends = segments["ended_by"].where(segments["ended_by"] != "end of stream", "gap")
    return segments.assign(ended_by=ends)


def regimes(
    frame: pd.DataFrame,
    events: pd.DataFrame | None = None,
    *,
    symbol: str | None = None,
    hold: int = HOLD,
    cuts: tuple[float, float] = ALPHA_CUTS,
) -> Regimes:
    """Find segments of one regime, cut at gaps; what happened in a gap is not known, so nothing is counted across it.

    Args:
        frame: packets with `regime`; `alpha` where the label is to be judged.
        events: the events table, for gaps.
        symbol: only rows of this one; needed where the stream holds several.
        hold: packets in a row that a new regime needs before hysteresis believes it.
        cuts: the engine's cut-offs of alpha: below the first Critical, below the second Lévy Stable, else Gaussian.

    Raises:
        MissingColumns: the stream never carried a regime.
        NotEnoughData: fewer than two packets carry one.
        MixedSymbols: several symbols and none was chosen.
        ValueError: a hold below 1.
    """
    if hold < 1:
        raise ValueError(f"hold={hold}: expected a number of packets from 1")
    found = select_rows("regimes", frame, events, needs=("regime",), symbol=symbol, one_symbol=True)
    used = found.where(np.asarray(found.words("regime").codes >= 0))
    used.need(2, "a regime")
    words = used.words("regime").remove_unused_categories()
    codes = np.asarray(words.codes, dtype=np.int64)
    names = [str(word) for word in words.categories]
    first, end = runs(codes, used.broken)
    segments = _segments(used, codes, names, first, end)
    alpha, contradictions = _judge(used, codes, names, cuts)
    dwell, curves = _dwell(segments, names)
    answer = Regimes(
        segments=segments,
        smoothed=_segments(used, *_held(codes, used.broken, names, hold)),
        hold=hold,
        transitions=_transitions(codes, used.broken, names),
        dwell=dwell,
        survival=curves,
        alpha=alpha,
        contradictions=contradictions,
        cuts=cuts,
        symbol=found.symbol,
        basis=found.basis(len(used)),
        notes=(),
    )
    return replace(answer, notes=_limits(answer))


def _limits(answer: Regimes) -> tuple[str, ...]:
    """Return the notes that follow from the answer's own tables."""
    lower = int(answer.segments["left_censored"].sum())
    begun = f"{count_of(lower, 'segment')} may have begun before the stream or in a gap: a dwell time there is a lower bound"
    unjudged = "the stream carries no alpha: the label cannot be judged"
    return *([begun] if lower else []), *([] if answer.alpha["n"].any() else [unjudged])


def _segments(used: UsableRows, codes: Ints, names: list[str], first: Ints, end: Ints) -> pd.DataFrame:
    times, broken, count = used.times, used.broken, len(codes)
    cut = np.append(broken[first[1:]], False)
    is_last = end == count
    stops = np.where(is_last | cut, end - 1, np.minimum(end, count - 1))
    alpha = used.numbers("alpha")
    known = np.isfinite(alpha)
    total = np.add.reduceat(np.where(known, alpha, 0.0), first)
    carried = np.add.reduceat(known.astype(np.int64), first)
    least = np.minimum.reduceat(np.where(known, alpha, np.inf), first)
    starts_cut = broken[first].copy()
    starts_cut[0] = True
    return pd.DataFrame(
        {
            "regime": pd.Categorical.from_codes(codes[first], categories=pd.Index(names, dtype=TEXT)),
            "start_time": stamps(times[first]),
            "end_time": stamps(times[stops]),
            "duration_s": (times[stops] - times[first]) / SECOND_NS,
            "n": end - first,
            "ended_by": pd.Categorical.from_codes(np.where(is_last, 2, np.where(cut, 1, 0)), categories=pd.Index(_ENDS, dtype=TEXT)),
            "is_censored": is_last | cut,
            "left_censored": starts_cut,
            "min_alpha": np.where(carried > 0, least, np.nan),
            "mean_alpha": np.where(carried > 0, total / np.maximum(carried, 1), np.nan),
        }
    )


def _held(codes: Ints, broken: Bools, names: list[str], hold: int) -> tuple[Ints, list[str], Ints, Ints]:
    """Apply hysteresis: a run shorter than `hold` belongs to the regime before it; at the beginning of a stretch, to itself."""
    first, end = runs(codes, broken)
    fresh = broken[first].copy()
    fresh[0] = True
    believed = (end - first >= hold) | fresh
    source = np.maximum.accumulate(np.where(believed, np.arange(len(first)), -1))
    codes = np.repeat(codes[first][source], end - first)
    return codes, names, *runs(codes, broken)


def _transitions(codes: Ints, broken: Bools, names: list[str]) -> pd.DataFrame:
    """Return counts and probabilities of transitions between neighbouring packets without a gap between them."""
    size = len(names)
    pairs = codes[:-1] * size + codes[1:]
    return _transition_table(np.bincount(pairs[~broken[1:]], minlength=size * size).reshape(size, size), names)


def _counts(transitions: pd.DataFrame, names: list[str]) -> Ints:
    """Return the counts of a table of transitions as a square matrix over these names."""
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    places = (np.array([names.index(str(word)) for word in transitions[end]], dtype=np.int64) for end in ("from", "to"))
    counts[tuple(places)] = transitions["n"].to_numpy()
    return counts


def _transition_table(counts: Ints, names: list[str]) -> pd.DataFrame:
    size = len(names)
    changes = counts * (1 - np.eye(size, dtype=np.int64))
    with np.errstate(invalid="ignore"):
        probability = counts / counts.sum(axis=1, keepdims=True)
        change_probability = changes / changes.sum(axis=1, keepdims=True)
    labels = pd.Index(names, dtype=TEXT)
    return pd.DataFrame(
        {
            "from": pd.Categorical.from_codes(np.repeat(np.arange(size), size), categories=labels),
            "to": pd.Categorical.from_codes(np.tile(np.arange(size), size), categories=labels),
            "n": counts.ravel(),
            "probability": probability.ravel(),
            "changes": changes.ravel(),
            "change_probability": change_probability.ravel(),
        }
    )


def _dwell(segments: pd.DataFrame, names: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return each regime's dwell times and Kaplan-Meier curve; a segment cut off by a gap or the end is censored."""
    rows, curves = [], []
    covered = float(segments["duration_s"].sum())
    for name in names:
        mine = segments[segments["regime"] == name]
        seconds, ended = mine["duration_s"].to_numpy(), ~mine["is_censored"].to_numpy()
        curve = survival.kaplan_meier(seconds, ended)
        median = survival.quantile(curve, 0.5)
        total = float(seconds.sum())
        rows.append(
            {
                "regime": name,
                "n": len(mine),
                "n_censored": int((~ended).sum()),
                "total_s": total,
                "share": total / covered if covered > 0.0 else np.nan,
                "median_s": median,
                "mean_s": float(seconds[ended].mean()) if ended.any() else np.nan,
                "longest_s": float(seconds.max()),
                "reason": "more than half may have lasted longer than any that ended" if np.isnan(median) else "",
            }
        )
        curves.append(curve.rename(columns={"duration": "dwell_s"}).assign(regime=name))
    order = ["regime", "dwell_s", "at_risk", "ended", "survival", "std_error"]
    return pd.DataFrame(rows), pd.concat(curves, ignore_index=True)[order]


def _alpha_of_both(one: pd.DataFrame, two: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Return alpha beside the label in both sessions; the median only where a single one has the regime with an alpha."""
    a, b = (table.set_index("regime").reindex(names) for table in (one, two))
    n = a["n"].fillna(0) + b["n"].fillna(0)
    against = a["n_contradicts"].fillna(0) + b["n_contradicts"].fillna(0)
    alone = (a["n"].fillna(0) == 0) | (b["n"].fillna(0) == 0)
    judged = (n > 0) & np.isin(names, EXPECTED)
    table = {
        "regime": pd.array(names, dtype=TEXT),
        "n": n.to_numpy(dtype=np.int64),
        "alpha_min": np.fmin(a["alpha_min"].to_numpy(), b["alpha_min"].to_numpy()),
        "alpha_median": a["alpha_median"].fillna(b["alpha_median"]).where(alone).to_numpy(),
        "alpha_max": np.fmax(a["alpha_max"].to_numpy(), b["alpha_max"].to_numpy()),
        "n_contradicts": against.to_numpy(dtype=np.int64),
        "contradicts": (against / n.where(n > 0)).where(judged).to_numpy(),
    }
    return pd.DataFrame(table)


def _judge(used: UsableRows, codes: Ints, names: list[str], cuts: tuple[float, float]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare alpha with the label, per regime and per stretch of contradiction; a value on a cut-off contradicts neither side."""
    alpha = used.numbers("alpha")
    known = np.isfinite(alpha)
    places = np.array([names.index(word) if word in names else -1 for word in EXPECTED])
    labels = np.array([name in EXPECTED for name in names])
    low = places[np.searchsorted(cuts, alpha, side="left")]
    high = places[np.searchsorted(cuts, alpha, side="right")]
    wrong = known & labels[codes] & (codes != low) & (codes != high)
    rows = []
    for code, name in enumerate(names):
        mine = known & (codes == code)
        count, against = int(mine.sum()), int((wrong & mine).sum())
        values: Floats = alpha[mine] if count else np.array([np.nan])
        row = {"regime": name, "n": count, "alpha_min": values.min(), "alpha_median": float(np.median(values)), "alpha_max": values.max()}
        judged = count and labels[code]
        rows.append(row | {"n_contradicts": against, "contradicts": against / count if judged else np.nan})
    words = pd.Index([*(str(word) for word in EXPECTED)], dtype=TEXT)
    expected = np.searchsorted(cuts, np.where(known, alpha, 0.0), side="right")
    first, end = runs(np.where(wrong, codes * len(words) + expected, -1), used.broken)
    at = wrong[first] if len(first) else np.zeros(0, dtype=bool)
    filled = np.where(known, alpha, np.nan)
    times = used.times
    stretches = pd.DataFrame(
        {
            "start_time": stamps(times[first[at]]),
            "end_time": stamps(times[end[at] - 1]),
            "n": (end - first)[at],
            "regime": pd.Categorical.from_codes(codes[first[at]], categories=pd.Index(names, dtype=TEXT)),
            "expected": pd.Categorical.from_codes(expected[first[at]], categories=words),
            "alpha_min": np.minimum.reduceat(filled, first)[at],
            "alpha_max": np.maximum.reduceat(filled, first)[at],
        }
    )
    return pd.DataFrame(rows), stretches
