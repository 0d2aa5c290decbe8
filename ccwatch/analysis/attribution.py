"""Attribution: each change of nav, booked to the state of the packet before it. It must not know where a frame comes from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import ClassVar, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ccwatch.analysis import draw
from ccwatch.analysis.result import Result, count_of, dollars, in_order, notes_of
from ccwatch.analysis.usable_rows import SECOND_NS, Basis, Floats, Ints, UsableRows, select_rows, stamp
from ccwatch.stream.dataframes import TEXT

GAP: Final = "(gap)"
NOT_CARRIED: Final = "(not carried)"
SPLITS: Final = ("regime", "side", "both")
_MOST_DECIMALS: Final = 9
_DIGITS: Final = 15
"""Digits of a decimal number that a float always gives back (IEEE 754: 53 bits)."""
_WORDS_SHARE: Final = 0.15
"""Room for words on either side of bars, as a share of what they span."""


@dataclass(frozen=True, eq=False, repr=False)
class Attribution(Result):
    """The change of nav by regime and side, in USD.

    Attributes:
        parts: one row per split and state; see `to_frame`.
        change_usd: the whole change of nav: last less first, exact in `decimals`.
        start_usd: first nav, as it was added up.
        end_usd: last nav, likewise.
        start_time: time of the first nav.
        end_time: time of the last nav.
        decimals: decimals of a dollar that are added up, in whole numbers, so that nothing is rounded on the way.
        adds_up: whether the parts of each split are the whole change exactly.
        symbol: the one that the packets are of; None where they do not say.
        basis: n counts changes between neighbouring packets.
        notes: limits of the answer, as sentences.
    """

    question: ClassVar[str] = "attribution"
    title: ClassVar[str] = "Attribution of the change of nav"
    parts: pd.DataFrame
    change_usd: float
    start_usd: float
    end_usd: float
    start_time: pd.Timestamp
    end_time: pd.Timestamp
    decimals: int
    adds_up: bool
    symbol: str | None
    basis: Basis
    notes: tuple[str, ...]

    def headline(self) -> str:
        """Say the change of nav and the regime that it was made in, in a sentence."""
        regimes = self.parts[self.parts["split"] == "regime"]
        top = regimes.iloc[int(regimes["change_usd"].abs().argmax())]
        n, state = int(top["n"]), str(top["regime"])
        where = {
            GAP: f"in {count_of(n, 'gap')}",
            NOT_CARRIED: f"over {count_of(n, 'packet')} whose regime is not known",
        }.get(state, f"over {count_of(n, 'packet')} in the regime {state}")
        return f"The nav changed by {dollars(self.change_usd)}, of which {dollars(top['change_usd'])} {where}."

    def to_frame(self) -> pd.DataFrame:
        """Return one row per split and state; within each split the parts add up to the change of nav.

        Columns: split (regime, side, both), regime, side (of the packet before the change; "(gap)" for what happened in gaps, "(not
        carried)" where that packet did not say), change_usd, gain_usd, loss_usd, n (changes), time_s.
        """
        return self.parts.copy()

    def figure(self, *, dark: bool = False) -> go.Figure:
        """Draw the parts by regime and side as bars."""
        colours = draw.colours(dark)
        both = self.parts[self.parts["split"] == "both"].sort_values("change_usd")
        labels = [GAP if regime == GAP else f"{regime} · {side}" for regime, side in zip(both["regime"], both["side"], strict=True)]
        change = both["change_usd"].to_numpy()
        trace = {
            "type": "bar",
            "orientation": "h",
            "x": change,
            "y": draw.labels(labels),
            "marker": {"color": np.where(change < 0.0, colours.sell, colours.buy).tolist()},
            "text": [f"{value:+,.2f}" for value in change],
            "hovertemplate": "%{x:+,.2f} USD<extra>%{y}</extra>",
        }
        made = draw.figure([trace], x_title="change of nav (USD)", y_title="", dark=dark, height=140 + 26 * len(both))
        made.update_yaxes(automargin=True)
        if len(change):  # the words beside a bar need room that plotly does not leave
            low, high = min(0.0, float(change.min())), max(0.0, float(change.max()))
            room = _WORDS_SHARE * (high - low or 1.0)
            made.update_xaxes(range=[low - room, high + room])
        return made

    def merge(self, other: Attribution, *, apart: bool = False) -> Attribution:
        """Merge both sessions' parts; the change between the two is booked to the gap.

        Raises:
            ValueError: asked of another symbol.
            AnalysisError: the sessions overlap in time, and are not `apart`: of different streams, with nothing between them.
        """
        one, two = in_order(self, other, "symbol")
        basis = one.basis.merge(two.basis, apart=apart)
        step, total = _exact(two.start_usd) - _exact(one.end_usd), _exact(two.end_usd) - _exact(one.start_usd)
        start_usd, end_usd, end_time = one.start_usd, two.end_usd, two.end_time
        if apart:  # two portfolios, whose changes add up
            total -= step
            start_usd, end_usd = float(_exact(one.start_usd) + _exact(two.start_usd)), float(_exact(one.end_usd) + _exact(two.end_usd))
            end_time = max(one.end_time, two.end_time)
        between = {
            "split": pd.array(SPLITS, dtype=TEXT),
            "regime": pd.array([GAP] * len(SPLITS), dtype=TEXT),
            "side": pd.array([GAP] * len(SPLITS), dtype=TEXT),
            "change_usd": float(step),
            "gain_usd": float(max(step, Decimal(0))),
            "loss_usd": float(min(step, Decimal(0))),
            "n": 1,
            "time_s": (two.start_time - one.end_time).total_seconds(),
        }
        rows = pd.concat([*([] if apart else [pd.DataFrame(between)]), one.parts, two.parts], ignore_index=True)
        amounts = ["change_usd", "gain_usd", "loss_usd"]
        for name in amounts:
            rows[name] = pd.Series([_exact(value) for value in rows[name]], dtype=object)
        parts = rows.groupby(["split", "regime", "side"], sort=False, as_index=False).sum()
        parts = parts.sort_values("split", key=lambda split: split.map(SPLITS.index), kind="stable", ignore_index=True)
        adds_up = all(change == total for change in parts.groupby("split")["change_usd"].sum())
        parts = parts.astype(dict.fromkeys(amounts, np.float64))
        merged = replace(
            one,
            parts=parts,
            change_usd=float(total),
            start_usd=start_usd,
            end_usd=end_usd,
            end_time=end_time,
            decimals=max(one.decimals, two.decimals),
            adds_up=adds_up,
            basis=replace(basis, n=basis.n + (not apart)),
        )
        return replace(merged, notes=notes_of(one, two, merged))


def attribution(frame: pd.DataFrame, events: pd.DataFrame | None = None, *, symbol: str | None = None) -> Attribution:
    """Assign each change of nav between neighbouring packets to the regime and side of the earlier packet.

    A change across a gap is booked to the gap, since the state within it is not known. Sums are made of whole numbers, so that they add up
    exactly.

    Args:
        frame: packets with nav, and regime and side where the stream carries them.
        events: the events table, for gaps.
        symbol: only rows of this one; needed where the stream holds several.

    Raises:
        MissingColumns: no nav, or neither regime nor side.
        NotEnoughData: fewer than two packets carry a nav.
        MixedSymbols: several symbols and none was chosen.
    """
    found = select_rows("attribution", frame, events, needs=("nav",), symbol=symbol, one_symbol=True)
    if not any((found.words(name).codes >= 0).any() for name in ("regime", "side")):
        select_rows("attribution", frame, events, needs=("regime", "side"), symbol=symbol, one_symbol=True)
    used = found.where(np.isfinite(found.numbers("nav")))
    used.need(2, "nav")
    nav = used.numbers("nav")
    units, decimals = whole(nav)
    steps = np.diff(units)
    notes = []
    if decimals == _MOST_DECIMALS or not np.array_equal(units / 10.0**decimals, nav):
        notes.append(f"nav is added up in units of 1e-{decimals} USD")
    notes += [f"the stream carries no {name}" for name in ("regime", "side") if not (used.words(name).codes >= 0).any()]
    parts = pd.concat([_split(split, used, steps, decimals) for split in SPLITS], ignore_index=True)
    total = int(units[-1] - units[0])
    sums = parts.groupby("split", sort=False)["units"].sum()
    return Attribution(
        parts=parts.drop(columns="units"),
        change_usd=total / 10**decimals,
        start_usd=float(units[0] / 10**decimals),
        end_usd=float(units[-1] / 10**decimals),
        start_time=stamp(used.times[0]),
        end_time=stamp(used.times[-1]),
        decimals=decimals,
        adds_up=bool((sums == total).all()),
        symbol=found.symbol,
        basis=found.basis(len(steps), carrying=len(used)),
        notes=tuple(notes),
    )


def whole(nav: Floats) -> tuple[Ints, int]:
    """Return amounts as whole numbers of 10^-decimals USD, with the fewest decimals that keep every amount.

    At most nine, and so few that each amount, and every sum of steps between them, is a float that gives its decimals back.
    """
    largest = max(1.0, float(np.abs(nav).max()), float(np.abs(np.diff(nav)).sum()))
    most = max(0, min(_MOST_DECIMALS, int(np.floor(_DIGITS - np.log10(largest)))))
    for decimals in range(2, most + 1):
        units = np.rint(nav * 10.0**decimals)
        if np.array_equal(units / 10.0**decimals, nav):
            return units.astype(np.int64), decimals
    return np.rint(nav * 10.0**most).astype(np.int64), most


def _exact(usd: float) -> Decimal:
    """Return an amount that was counted in whole numbers as a decimal number of USD."""
    return Decimal(repr(float(usd)))


def _split(split: str, used: UsableRows, steps: Ints, decimals: int) -> pd.DataFrame:
    """Return the parts of one split."""
    states = {name: _state(used, name) for name in ("regime", "side")}
    chosen = [name for name in ("regime", "side") if split in {name, "both"}]
    wide = len(states["side"][1])
    keys = sum((states[name][0] * (wide if name == "regime" else 1) for name in chosen), np.zeros(len(steps), dtype=np.int64))
    keys = np.where(used.broken[1:], -1, keys)
    kinds, which, n = np.unique(keys, return_inverse=True, return_counts=True)
    size = len(kinds)
    units, gains = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    np.add.at(units, which, steps)  # in whole numbers: bincount's weights are floats
    np.add.at(gains, which, np.maximum(steps, 0))
    seconds = np.bincount(which, weights=np.diff(used.times) / SECOND_NS, minlength=size)
    names = {}
    for name in ("regime", "side"):
        words, codes = states[name][1], kinds // wide if name == "regime" else kinds % wide
        labels = [GAP if kind < 0 else words[code] if name in chosen else "" for kind, code in zip(kinds, codes, strict=True)]
        names[name] = pd.array(labels, dtype=TEXT)
    scale = 10**decimals
    values = {"change_usd": units / scale, "gain_usd": gains / scale, "loss_usd": (units - gains) / scale}
    return pd.DataFrame({"split": pd.array([split] * size, dtype=TEXT), **names, **values, "n": n, "time_s": seconds, "units": units})


def _state(used: UsableRows, name: str) -> tuple[Ints, list[str]]:
    """Return the state of the packet before each change, as codes into words; the last word is "not carried"."""
    words = used.words(name)
    codes = np.asarray(words.codes[:-1], dtype=np.int64)
    names = [*(str(word) for word in words.categories), NOT_CARRIED]
    return np.where(codes < 0, len(names) - 1, codes), names
