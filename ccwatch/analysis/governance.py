"""Governance: vetoes, sizes and broken rules. It must not know where a frame comes from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from scipy import stats

from ccwatch.analysis import draw
from ccwatch.analysis.result import Result, clock, count_of, in_order, notes_of, stacked
from ccwatch.analysis.returns import forward_returns, wilson
from ccwatch.analysis.usable_rows import (
    SECOND_NS,
    Basis,
    Bools,
    Floats,
    Ints,
    UsableRows,
    as_numbers,
    on_utc,
    runs,
    select_rows,
    stamps,
    times_ns,
)
from ccwatch.domain.limits import LARGEST_SIZE
from ccwatch.errors import MissingColumns
from ccwatch.protocol.messages import Flag, Regime, Side, Status
from ccwatch.stream.dataframes import TEXT

HORIZON_S: Final = 60.0
REASON_WITHIN_S: Final = 5.0
"""A log line is a veto's reason when it is at most so old at its first packet."""
_REASONS: Final = r"veto|governance|risk|reject|denied|limit|halt|breaker"
OUTSIDE, IN_CRITICAL, WHILE_HALTED = "size outside 0 to 0.20", "size above 0 in Critical", "size above 0 while halted"


@dataclass(frozen=True, eq=False, repr=False)
class Governance(Result):
    """Vetoes, sizes and broken rules of a session. Sizes and shares are fractions, times UTC.

    Attributes:
        by_regime: one row per regime; see `to_frame`.
        vetoes: stretches in which a BUY or SELL had size 0: start_time, end_time, n (packets), regime and confidence at their start, side,
            reason (the newest log line that may say why, missing where there is none), return_<horizon>s (what the vetoed side would have
            returned from the next packet on; above zero the veto cost money; NaN where the stream ended or had a gap before).
        breaks: stretches in which a rule was broken: rule, start_time, end_time, n (packets), worst (size, fraction).
        horizon_s: seconds that a vetoed signal is followed.
        largest_size: the largest size allowed.
        not_judged: packets whose approved size above 1 is no fraction but an amount: not vetoed, and without a size to judge.
        symbol: the one that the packets are of; None where they do not say.
        basis: n counts packets with a BUY or SELL and a size.
        notes: limits of the answer, as sentences.
    """

    question: ClassVar[str] = "governance"
    title: ClassVar[str] = "Governance: vetoes, sizes, rules"
    by_regime: pd.DataFrame
    vetoes: pd.DataFrame
    breaks: pd.DataFrame
    horizon_s: float
    largest_size: float
    not_judged: int
    symbol: str | None
    basis: Basis
    notes: tuple[str, ...]

    def headline(self) -> str:
        """Say how many vetoes and broken rules there were, in a sentence."""
        vetoed, n = int(self.by_regime["n_vetoed"].sum()), int(self.by_regime["n"].sum())
        broken = count_of(len(self.breaks), "stretch breaks a rule", "stretches break a rule") if len(self.breaks) else "no rule was broken"
        if not len(self.vetoes):
            return f"No veto in {count_of(n, 'packet')} with a BUY or SELL; {broken}."
        vetoes, first = count_of(len(self.vetoes), "veto", "vetoes"), self.vetoes.iloc[0]
        where = "" if pd.isna(first["regime"]) else f" in {first['regime']}"
        return (
            f"{vetoes} over {vetoed:,} of {count_of(n, 'packet')} with a BUY or SELL, "
            f"the first at {clock(first['start_time'], self.basis)}{where}; {broken}."
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per regime.

        Columns: regime, n (packets with BUY or SELL and a size), n_vetoed, veto_rate, veto_low, veto_high (Wilson, 95 %; packets of one
        veto are correlated, so it is too narrow), median_size (of what was not vetoed), size_confidence (Spearman's rank correlation of
        the two where not vetoed, NaN where one of them is constant or n < 3), reason.
        """
        return self.by_regime.copy()

    def figure(self, *, dark: bool = False) -> go.Figure:
        """Draw the veto rate of each regime."""
        colours = draw.colours(dark)
        rate = self.by_regime["veto_rate"].to_numpy()
        trace = {
            "type": "bar",
            "x": draw.labels(self.by_regime["regime"]),
            "y": rate,
            "marker": {"color": colours.buy},
            "hovertemplate": "%{x}: %{y:.1%}<extra></extra>",
        }
        return draw.figure([trace], x_title="regime", y_title="veto rate (%)", dark=dark, y_format=".0%", height=260)

    def merge(self, other: Governance, *, apart: bool = False) -> Governance:
        """Merge vetoes and broken rules of both sessions; medians and rank correlations of sizes cannot be merged.

        Raises:
            ValueError: asked with another `horizon_s` or `largest_size`, or of another symbol.
            AnalysisError: the sessions overlap in time, and are not `apart`: of different streams, with nothing between them.
        """
        one, two = in_order(self, other, "horizon_s", "largest_size", "symbol")
        basis = one.basis.merge(two.basis, apart=apart)
        merged = replace(
            one,
            by_regime=_merged_regimes(one.by_regime, two.by_regime),
            vetoes=stacked(one.vetoes, two.vetoes),
            breaks=stacked(one.breaks, two.breaks),
            not_judged=one.not_judged + two.not_judged,
            basis=basis,
        )
        return replace(merged, notes=notes_of(one, two, merged, _limits))


def governance(
    frame: pd.DataFrame,
    events: pd.DataFrame | None = None,
    logs: pd.DataFrame | None = None,
    *,
    symbol: str | None = None,
    horizon_s: float = HORIZON_S,
    largest_size: float = LARGEST_SIZE,
) -> Governance:
    """Find vetoes and broken rules; a veto is a BUY or SELL with approved size 0.

    Args:
        frame: packets with side and approved_size; regime, confidence, price and status where they are to be judged.
        events: the events table, for gaps.
        logs: the logs table, for reasons.
        symbol: only rows of this one; needed where the stream holds several.
        horizon_s: seconds that a vetoed signal is followed.
        largest_size: the largest size allowed, a fraction.

    Raises:
        MissingColumns: the stream never carried a side or an approved size.
        NotEnoughData: no packet is left.
        MixedSymbols: several symbols and none was chosen.
    """
    found = select_rows("governance", frame, events, needs=("side",), symbol=symbol, one_symbol=True)
    sized = np.isfinite(_sent(found)) | _in_dollars(found)
    if not sized.any():
        raise MissingColumns("governance", ("approved_size",))
    used = found.where(sized & (found.words("side").codes >= 0))
    used.need(1, "side and approved_size")
    size, is_buy = used.numbers("approved_size"), _is_word(used, "side", Side.BUY)
    trade = is_buy | _is_word(used, "side", Side.SELL)
    vetoed = trade & (size == 0.0)
    vetoes = _vetoes(used, is_buy, vetoed, logs, horizon_s)
    notes = ["the stream carries no logs: vetoes have no reason"] if logs is None or not len(logs) else []
    answer = Governance(
        by_regime=_by_regime(used, trade, vetoed, size),
        vetoes=vetoes,
        breaks=_breaks(used, largest_size),
        horizon_s=horizon_s,
        largest_size=largest_size,
        not_judged=int(_in_dollars(found).sum()),
        symbol=found.symbol,
        basis=found.basis(int(trade.sum()), carrying=len(used)),
        notes=(),
    )
    return replace(answer, notes=(*notes, *_limits(answer)))


def _merged_regimes(one: pd.DataFrame, two: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of both tables, those of a regime that is in both added up; as dicts, since pandas is slow at a few rows."""
    unknown = {"median_size": np.nan, "size_confidence": np.nan, "reason": "medians and ranks of two sessions do not merge"}
    rows: dict[str, dict[str, Any]] = {}
    for values in (values for table in (one, two) for values in zip(*(table[name].tolist() for name in table.columns), strict=True)):
        row = dict(zip(one.columns, values, strict=True))
        before = rows.get(row["regime"])
        if before is None:
            rows[row["regime"]] = row
            continue
        n, count = before["n"] + row["n"], before["n_vetoed"] + row["n_vetoed"]
        low, high = wilson(count, n)
        counts = {"n": n, "n_vetoed": count, "veto_rate": count / n, "veto_low": low, "veto_high": high}
        rows[row["regime"]] = before | counts | unknown
    return pd.DataFrame([*rows.values()], columns=one.columns)


def _limits(answer: Governance) -> list[str]:
    """Return the notes that follow from the answer's own tables and counts."""
    notes = []
    if answer.not_judged:
        notes.append(
            f"an approved size above 1 is no fraction but an amount: {count_of(answer.not_judged, 'packet')} count as not vetoed, "
            "without a size to judge"
        )
    if len(answer.vetoes):
        followed = int(answer.vetoes[f"return_{answer.horizon_s:g}s"].notna().sum())
        notes.append(f"{followed:,} of {count_of(len(answer.vetoes), 'veto', 'vetoes')} can be followed for {answer.horizon_s:g} s")
    return notes


def _sent(used: UsableRows) -> Floats:
    """Return sizes as they were sent, those out of range too, since these are the broken rules."""
    if "approved_size" not in used.frame.columns:
        return np.full(len(used), np.nan)
    size = as_numbers(used.frame["approved_size"]).to_numpy(na_value=np.nan)
    return np.where(np.isfinite(size), size, np.nan)


def _in_dollars(used: UsableRows) -> Bools:
    """Return whether each packet's approved size came as an amount: more than nothing was approved, and no fraction is known."""
    if "flags" not in used.frame.columns:
        return np.zeros(len(used), dtype=bool)
    return np.asarray((used.frame["flags"].to_numpy().astype(np.int64) & int(Flag.UNIT)) != 0, dtype=bool)


def _text(words: pd.Categorical) -> Any:
    """Return words as text, missing where they are."""
    return pd.array(np.append(words.categories.to_numpy(dtype=object), np.nan)[words.codes], dtype=TEXT)


def _by_regime(used: UsableRows, trade: Bools, vetoed: Bools, size: Any) -> pd.DataFrame:
    regime, confidence = used.words("regime"), used.numbers("confidence")
    known = [int(code) for code in pd.unique(np.asarray(regime.codes)[trade]) if code >= 0]  # in order of their first packet
    groups = [(str(regime.categories[code]), regime.codes == code) for code in known] + [("(not carried)", regime.codes < 0)]
    rows = []
    for name, of_regime in groups:
        mine = trade & of_regime
        n, count = int(mine.sum()), int((vetoed & mine).sum())
        if not n:
            continue
        low, high = wilson(count, n)
        sized = mine & ~vetoed & np.isfinite(confidence) & np.isfinite(size)
        x, y = confidence[sized], size[sized]
        can = len(x) >= 3 and np.ptp(x) > 0.0 and np.ptp(y) > 0.0
        allowed = size[mine & ~vetoed & np.isfinite(size)]
        row = {"regime": name, "n": n, "n_vetoed": count, "veto_rate": count / n, "veto_low": low, "veto_high": high}
        row |= {
            "median_size": float(np.median(allowed)) if len(allowed) else np.nan,
            "size_confidence": float(stats.spearmanr(x, y).statistic) if can else np.nan,
            "reason": "" if can else "size or confidence does not vary, or n < 3",
        }
        rows.append(row)
    columns = ["regime", "n", "n_vetoed", "veto_rate", "veto_low", "veto_high", "median_size", "size_confidence", "reason"]
    return pd.DataFrame(rows, columns=columns)


def _vetoes(used: UsableRows, is_buy: Bools, vetoed: Bools, logs: pd.DataFrame | None, horizon_s: float) -> pd.DataFrame:
    codes = np.where(vetoed, np.where(is_buy, 1, 2), 0)
    first, end = runs(codes, used.broken)
    kept = codes[first] > 0
    first, end = first[kept], end[kept]
    times, price = used.times, used.prices()
    followed = np.full(len(first), np.nan)
    priced = np.isfinite(price)
    if priced.any():
        rows = np.cumsum(priced)[first] - 1
        at = used.where(priced)
        back = np.where(priced[first], forward_returns(at.times, price[priced], at.broken, np.maximum(rows, 0), horizon_s), np.nan)
        followed = np.where(codes[first] == 1, back, -back)
    return pd.DataFrame(
        {
            "start_time": stamps(times[first]),
            "end_time": stamps(times[end - 1]),
            "n": end - first,
            "side": pd.array(np.where(codes[first] == 1, str(Side.BUY), str(Side.SELL)).astype(object), dtype=TEXT),
            "regime": _text(used.words("regime")[first]),
            "confidence": used.numbers("confidence")[first],
            "reason": _reasons(times[first], logs),
            f"return_{horizon_s:g}s": followed,
        }
    )


def _reasons(starts: Ints, logs: pd.DataFrame | None) -> Any:
    """Return the newest log line that speaks of governance at the start of each veto, at most REASON_WITHIN_S old."""
    missing = pd.array([None] * len(starts), dtype=TEXT)
    if logs is None or not len(logs) or not len(starts):
        return missing
    logs = on_utc("governance", logs)
    speaks = logs["message"].astype(TEXT).str.contains(_REASONS, case=False, regex=True).to_numpy(dtype=bool, na_value=False)
    if not speaks.any():
        return missing
    order = np.argsort(times_ns(logs)[speaks], kind="stable")
    times = times_ns(logs)[speaks][order]
    newest = np.searchsorted(times, starts, side="right") - 1
    near = (newest >= 0) & (starts - times[np.maximum(newest, 0)] <= REASON_WITHIN_S * SECOND_NS)
    words = logs["message"].to_numpy(dtype=object)[speaks][order][np.maximum(newest, 0)]
    return pd.array([word if is_near else None for word, is_near in zip(words, near, strict=True)], dtype=TEXT)


def _breaks(used: UsableRows, largest: float) -> pd.DataFrame:
    size = _sent(used)
    some = (size > 0.0) | _in_dollars(used)
    rules = {
        OUTSIDE: (size < 0.0) | (size > largest),
        IN_CRITICAL: some & _is_word(used, "regime", Regime.CRITICAL),
        WHILE_HALTED: some & _is_word(used, "status", Status.HALT),
    }
    stretches = []
    for against in rules.values():
        first, end = runs(against, used.broken)
        kept = against[first]
        least, most = np.fmin.reduceat(size, first)[kept], np.fmax.reduceat(size, first)[kept]
        stretches.append((first[kept], end[kept], np.where(-least > most, least, most)))
    first, end, worst = (np.concatenate(parts) for parts in zip(*stretches, strict=True))
    words = np.repeat(np.array([*rules], dtype=object), [len(part[0]) for part in stretches])
    order = np.argsort(used.times[first], kind="stable")
    first, end = first[order], end[order]
    return pd.DataFrame(
        {
            "rule": pd.array(words[order], dtype=TEXT),
            "start_time": stamps(used.times[first]),
            "end_time": stamps(used.times[end - 1]),
            "n": end - first,
            "worst": worst[order],
        }
    )


def _is_word(used: UsableRows, name: str, word: str) -> Bools:
    """Return whether a column of words has a word, row by row."""
    words = used.words(name)
    return np.asarray(words == word, dtype=bool) if word in words.categories else np.zeros(len(used), dtype=bool)
