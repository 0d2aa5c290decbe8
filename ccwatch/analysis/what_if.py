"""Counterfactual governance: the account under another veto, size cap or breaker at the recorded prices. It must not know a source."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from numbers import Real
from typing import ClassVar, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ccwatch.alerts import AlertState, Evaluator, WrittenRule
from ccwatch.analysis import draw
from ccwatch.analysis.book import Book, Replay
from ccwatch.analysis.bootstrap import interval_of_sum
from ccwatch.analysis.plan import plan_for
from ccwatch.analysis.result import Result, count_of, in_order, notes_of, stacked
from ccwatch.analysis.usable_rows import SECOND_NS, Basis, Bools, Floats, UsableRows, select_rows, stamps
from ccwatch.domain.durations import seconds_of
from ccwatch.domain.hours import TradingHours, days_of
from ccwatch.errors import ConfigError, MissingColumns
from ccwatch.stream.dataframes import TEXT

LEAST_CHANGED: Final = 20
"""Decisions that must differ before an interval is given."""
LARGEST_SHARE: Final = 0.5
"""Where one decision carries more of the difference than this, there is no interval either."""
LEVEL: Final = 0.95
REPLICATES: Final = 2000
MORE_PACKETS, MORE_BPS = 1, 5.0
"""Extra delay (packets) and extra cost (hundredths of a percent) with which the answer is repeated."""
_NO_INTERVAL: Final = "no interval: "
IN_SAMPLE: Final = "in sample: a rule that was chosen by looking at this session is judged by it, too"
_MINUS: Final = "\N{MINUS SIGN}"


@dataclass(frozen=True, eq=False, repr=False)
class WhatIf(Result):
    """The account under other rules of governance, and how sure that is. Amounts in USD.

    Attributes:
        difference: the replayed account less the recorded one, at the last packet.
        interval: of the difference, by a studentised block bootstrap over decisions; None where too few differ, or one carries most of it.
        level: probability of the interval.
        changed: one row per decision that differs; see `to_frame`.
        decisions: decisions with a position, changed or not.
        runs: runs of changed decisions next to each other.
        repeated: the difference with more delay and more cost: delay (packets), cost_bps, difference.
        curve: index time; recorded and replayed nav.
        shares: the part of the difference that each decision made, changed or not (USD), by time.
        rule: the rules that were asked for, as one text.
        assumptions: those behind the number, and its blind spots.
        basis: n counts packets that carry price, nav and cash.
        notes: limits of the answer, as sentences.
    """

    question: ClassVar[str] = "what_if"
    title: ClassVar[str] = "What another rule would have made"
    difference: float
    interval: tuple[float, float] | None
    level: float
    changed: pd.DataFrame
    decisions: int
    runs: int
    repeated: pd.DataFrame
    curve: pd.DataFrame
    shares: Floats
    rule: str
    assumptions: tuple[str, ...]
    basis: Basis
    notes: tuple[str, ...]

    def headline(self) -> str:
        """Say what changed, what it was worth, and whether the sign holds."""
        differ = f"{len(self.changed):,} of {count_of(self.decisions, 'decision')} differ, in {count_of(self.runs, 'run')}"
        if not len(self.changed):
            return f"0 of {count_of(self.decisions, 'decision')} differ; P&L +$0."
        spread = "" if self.interval is None else f" ({_signed(self.interval[0])} … {_signed(self.interval[1])})"
        turned = self.repeated[np.sign(self.repeated["difference"].to_numpy()) == -np.sign(self.difference)]
        turns = [
            f"one packet more of delay makes it {_money(row['difference'])}"
            if row["cost_bps"] == self.repeated["cost_bps"].iloc[0]
            else f"{MORE_BPS:g} bp more of cost make it {_money(row['difference'])}"
            for row in turned.to_dict("records")
        ]
        return f"{differ}; P&L {_money(self.difference)}{spread}{''.join(f'; the sign turns: {text}' for text in turns)}."

    def to_frame(self) -> pd.DataFrame:
        """Return one row per decision that differs, by time.

        Columns: start_time, end_time, side, target (signed fraction of nav, as recorded), target_after (the least of it in the
        replayed account), n (packets), why (veto, size cap, breaker), difference_usd (of the account over the decision).
        """
        return self.changed.copy()

    def listed(self) -> pd.DataFrame:
        """Return the rows of `to_frame`, the decision with the largest difference first."""
        return self.changed.iloc[np.argsort(-self.changed["difference_usd"].abs().to_numpy(), kind="stable")].reset_index(drop=True)

    def to_dict(self) -> dict[str, object]:
        """Return the answer as plain values, without the curve and the decisions that are as they were."""
        return {name: value for name, value in super().to_dict().items() if name not in {"curve", "shares"}}

    def merge(self, other: WhatIf, *, apart: bool = False) -> WhatIf:
        """Merge the decisions of both sessions: differences add up, and the interval is that of all decisions.

        Raises:
            ValueError: other rules, another delay or another cost.
            AnalysisError: the sessions overlap in time, and are not `apart`: of different streams, with nothing between them.
        """
        one, two = in_order(self, other, "rule")
        shares = np.concatenate((one.shares, two.shares))
        changed, difference = stacked(one.changed, two.changed), one.difference + two.difference
        interval, why = _interval(shares, len(changed), difference)
        merged = replace(
            one,
            difference=difference,
            interval=interval,
            changed=changed,
            decisions=one.decisions + two.decisions,
            runs=one.runs + two.runs,
            repeated=one.repeated.assign(difference=one.repeated["difference"] + two.repeated["difference"]),
            curve=stacked(one.curve, two.curve),
            shares=shares,
            assumptions=tuple(dict.fromkeys((*one.assumptions, *two.assumptions))),
            basis=one.basis.merge(two.basis, apart=apart),
        )
        said = [[note for note in part.notes if not note.startswith(_NO_INTERVAL)] for part in (one, two)]
        plain = replace(one, notes=tuple(said[0])), replace(two, notes=tuple(said[1]))
        return replace(merged, notes=(*([f"{_NO_INTERVAL}{why}"] if why else []), *notes_of(*plain, merged)))

    def figure(self, *, dark: bool = False) -> go.Figure:
        """Draw recorded and replayed nav over time."""
        return draw.pair(self.curve, ("recorded", "replayed"), y_title="nav (USD)", dark=dark)


def what_if(
    frame: pd.DataFrame,
    events: pd.DataFrame | None = None,
    *,
    veto: str | None = None,
    size_cap: float | None = None,
    breaker: float | None = None,
    rearm: str = "next day",
    delay: str | int = "1 packet",
    cost_bps: float = 0.0,
    symbol: str | None = None,
    hours: TradingHours | None = None,
) -> WhatIf:
    """Replay the account under other rules of governance, at the recorded prices.

    Args:
        frame: packets with price, nav and cash; side and approved_size where the engine's targets are to be known exactly.
        events: the events table, for gaps.
        veto: a rule in words, such as "alpha < 1.7": while it holds, every target is 0.
        size_cap: the largest target, a fraction of nav.
        breaker: a drawdown from the account's peak, a fraction below 0, at which everything is sold.
        rearm: when a breaker closes again: "next day", "never", or a duration such as "30min".
        delay: packets from a decision that differs to its trade: "1 packet", "0 packets", or a number.
        cost_bps: cost of what is traded beyond the recorded trades, in hundredths of a percent of the amount.
        symbol: only rows of this one.
        hours: the trading hours, which say when the next day begins; None is UTC.

    Raises:
        ConfigError: no rule at all, or an impossible one.
        MissingColumns: the stream never carried price, nav or cash.
        NotEnoughData: fewer than two packets carry all three.
        MixedSymbols: several symbols and none was chosen.
    """
    late = _packets(delay)
    _refuse_impossible(veto, size_cap, breaker, cost_bps)
    found = select_rows("what_if", frame, events, needs=("price", "nav", "cash"), symbol=symbol, one_symbol=True)
    used = found.where(np.isfinite(found.prices()) & (found.numbers("nav") > 0.0) & np.isfinite(found.numbers("cash")))
    used.need(2, "price, nav and cash")
    book = Book.of(used)
    if not book.trades and not (book.shares != 0.0).any():
        raise MissingColumns("what_if", ("a position: nav and cash never differ",))
    vetoed = _vetoed(used, veto)
    scale, capped = _scaled(book, vetoed, size_cap)
    day, rearm_ns = days_of(used.times, hours), _rearm_ns(rearm)
    repeated = [(late, cost_bps), (late + MORE_PACKETS, cost_bps), (late, cost_bps + MORE_BPS)]
    main, *others = [
        book.replay(scale, breaker=breaker, day=day, rearm_ns=rearm_ns, delay=packets, cost_bps=bps) for packets, bps in repeated
    ]
    changed, share = _changed(book, main, used, vetoed, capped)
    differences = [float(round((replay.nav - book.nav)[-1], 6)) for replay in (main, *others)]
    interval, why = _interval(share, len(changed), differences[0])
    held = np.union1d(book.decision[book.target != 0.0], changed["decision"].to_numpy(dtype=np.int64))
    order = np.searchsorted(held, changed["decision"].to_numpy(dtype=np.int64))
    return WhatIf(
        difference=differences[0],
        interval=interval,
        level=LEVEL,
        changed=changed.drop(columns="decision"),
        decisions=len(held),
        runs=int((np.diff(order, prepend=-2) > 1).sum()) if len(order) else 0,
        repeated=pd.DataFrame({"delay": [h[0] for h in repeated], "cost_bps": [h[1] for h in repeated], "difference": differences}),
        curve=pd.DataFrame({"recorded": book.nav, "replayed": main.nav}, index=used.frame.index),
        shares=share,
        rule=f"veto={veto!r}, size_cap={size_cap!r}, breaker={breaker!r}, rearm={rearm!r}, delay={late} packets, cost_bps={cost_bps:g}",
        assumptions=_assumptions(book, late, cost_bps),
        basis=found.basis(len(used)),
        notes=(*([f"{_NO_INTERVAL}{why}"] if why else []), IN_SAMPLE),
    )


def _refuse_impossible(veto: str | None, size_cap: float | None, breaker: float | None, cost_bps: float) -> None:
    """Raise ConfigError for impossible rules, or for none.

    Raises:
        ConfigError: says what was expected.
    """
    if veto is None and size_cap is None and breaker is None:
        raise ConfigError("what_if: expected another rule: veto='alpha < 1.7', size_cap=0.10 or breaker=-0.015")
    if size_cap is not None and not (_is_number(size_cap) and 0.0 <= size_cap < math.inf):
        raise ConfigError(f"size_cap={size_cap!r}: expected a fraction of nav from 0, for example 0.10")
    if breaker is not None and not (_is_number(breaker) and -1.0 < breaker < 0.0):
        raise ConfigError(f"breaker={breaker!r}: expected a drawdown between -1 and 0, for example -0.015")
    if not (_is_number(cost_bps) and 0.0 <= cost_bps < math.inf):
        raise ConfigError(f"cost_bps={cost_bps!r}: expected a number from 0")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _scaled(book: Book, vetoed: Bools, size_cap: float | None) -> tuple[Floats, Bools]:
    """Return what each target is multiplied by under veto and size cap, and whether the cap is what counts."""
    scale = np.where(vetoed, 0.0, 1.0)
    if size_cap is None:
        return scale, np.zeros(len(scale), dtype=bool)
    size = np.abs(book.target)
    capped = np.asarray(size > size_cap, dtype=bool)
    return np.where(capped, scale * size_cap / np.where(size > 0.0, size, 1.0), scale), capped


def _packets(delay: str | int) -> int:
    """Return the packets of a delay such as "1 packet"."""
    word = str(delay).strip().lower().removesuffix("s").removesuffix("packet").strip()
    if isinstance(delay, bool) or not word.isdecimal():
        raise ConfigError(f"delay={delay!r}: expected packets, for example '1 packet' or 0")
    return int(word)


def _rearm_ns(rearm: str) -> int | None:
    """Return how long a breaker stays open, ns; None until the next day."""
    word = " ".join(str(rearm).lower().split())
    if word == "next day":
        return None
    if word == "never":
        return 2**62
    try:
        return round(seconds_of(word) * SECOND_NS)
    except ValueError as error:
        raise ConfigError(f"rearm={rearm!r}: expected 'next day', 'never' or a duration such as '30min'; {error}") from None


def _vetoed(used: UsableRows, veto: str | None) -> Bools:
    """Return, per packet, whether a rule in words holds, judged as alerts judge it."""
    held = np.zeros(len(used), dtype=bool)
    if veto is None:
        return held
    rule = WrittenRule("veto", veto, hours="always")
    evaluator = Evaluator([rule], objectives={}, plan=plan_for([rule]), virtual_clock=True)
    since: int | None = None
    times = used.times
    for change in evaluator.observe(used.frame):
        if change.state is AlertState.FIRING and since is None:
            since = int(np.searchsorted(times, change.time_ns))
        elif change.state is not AlertState.FIRING and since is not None:
            held[since : int(np.searchsorted(times, change.time_ns))] = True
            since = None
    if since is not None:
        held[since:] = True
    return held


def _changed(book: Book, main: Replay, used: UsableRows, vetoed: Bools, capped: Bools) -> tuple[pd.DataFrame, Floats]:
    """Return the decisions that differ, and the part of the difference (USD) that each decision, changed or not, made."""
    gap = main.nav - book.nav
    starts = np.flatnonzero(np.diff(book.decision, prepend=-1))
    ends = np.append(starts[1:], len(gap) - 1)
    share = gap[ends] - np.where(starts > 0, gap[starts], 0.0)
    differs = np.logical_or.reduceat(main.changed, starts)
    rows = np.flatnonzero(differs)
    first = starts[rows]
    last = np.maximum(ends[rows] - (rows < len(starts) - 1), first)
    side = np.asarray(used.words("side").astype(object))[first] if "side" in used.frame.columns else np.sign(book.target[first])
    reasons = [
        ", ".join(
            word
            for word, hit in (
                ("veto", vetoed[a : b + 1].any()),
                ("size cap", capped[a : b + 1].any()),
                ("breaker", bool(len(main.stops)) and (main.changed & ~vetoed & ~capped)[a : b + 1].any()),
            )
            if hit
        )
        for a, b in zip(first.tolist(), last.tolist(), strict=True)  # one per decision that differs
    ]
    least = np.array(
        [main.target[a : b + 1][np.argmin(np.abs(main.target[a : b + 1]))] for a, b in zip(first, last, strict=True)], dtype=np.float64
    )
    table = pd.DataFrame(
        {
            "decision": book.decision[first],
            "start_time": stamps(used.times[first]),
            "end_time": stamps(used.times[last]),
            "side": pd.array([None if word is None else str(word) for word in side], dtype=TEXT),
            "target": book.target[first],
            "target_after": least,
            "n": last - first + 1,
            "why": pd.array(reasons, dtype=TEXT),
            "difference_usd": share[rows],
        }
    )
    return table, share


def _interval(share: Floats, changed: int, difference: float) -> tuple[tuple[float, float] | None, str]:
    """Return the interval of the expected sum over decisions, or why there is none; see `bootstrap.interval_of_sum`."""
    if changed < LEAST_CHANGED:
        return None, f"{count_of(changed, 'decision differs', 'decisions differ')}, and {LEAST_CHANGED} are needed"
    if np.abs(share).max() > LARGEST_SHARE * abs(difference):
        return None, "one decision carries more than half of the difference"
    return interval_of_sum(share, level=LEVEL, replicates=REPLICATES), ""


def _assumptions(book: Book, delay: int, cost_bps: float) -> tuple[str, ...]:
    """Return the assumptions behind the number, and what it cannot know."""
    sized = (
        f"whole shares worth the target at the packet's price reproduce all {book.trades:,} recorded trades, so sizes are the engine's own"
        if book.is_exact
        else "targets are the recorded positions as shares of nav: side and approved size do not reproduce every recorded trade"
    )
    return (
        sized,
        f"what differs trades {count_of(delay, 'packet')} after its decision, at that packet's price, for {cost_bps:g} bp",
        "not known: fills at other prices, the market's answer to other trades, and what the engine would have decided afterwards",
    )


def _money(value: float) -> str:
    return f"{_MINUS if value < 0 else '+'}${abs(value):,.0f}"


def _signed(value: float) -> str:
    return f"{_MINUS if value < 0 else '+'}{abs(value):,.0f}"
