"""Plan and fact: a session compared with its expectation, packet by packet. `ccwatch.compare` is for two equals.

The expectation is anything that has a nav, a price, a side or returns over time: another recording, a back-test's frame, a CSV file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ccwatch.analysis import draw
from ccwatch.analysis.divergence import Divergence, divergence_of
from ccwatch.analysis.result import Result, cell_text, clock, count_of, dollars
from ccwatch.analysis.usable_rows import SECOND_NS, Basis, Bools, Floats, Ints, UsableRows, paces, select_rows, stamp, stamps
from ccwatch.config import ALIGNMENTS, Align
from ccwatch.domain.liveness import late_ns
from ccwatch.errors import ConfigError, MissingColumns, NotEnoughData
from ccwatch.protocol.messages import Side
from ccwatch.stream.dataframes import TEXT

HALF_A_CENT: Final = 0.005
_RELATIVE: Final = 1e-9
COMPARED: Final = ("price", "side", "approved_size", "status", "nav", "cash")
"""Columns in which a packet may depart from the plan, in the order in which they are named."""
PARTS: Final = ("timing", "size", "price", "missing signals")


@dataclass(frozen=True, eq=False, repr=False)
class Against(Result):
    """A session compared with its expectation. Amounts in USD, of an account that began with as much as the recorded one.

    Attributes:
        difference_usd: actual less expected profit and loss, at the last matched packet; NaN where either has no nav.
        tracking_error: standard deviation of the difference of returns, packet by packet, a fraction.
        split_usd: that difference by cause: part (timing, size, price, missing signals), change_usd; to the cent, or without rows where
            `split` raises.
        first: the first packet that departs from the plan: time, seq, columns; None where none does.
        divergences: one row per packet that departs; see `to_frame`.
        curve: index time; actual, expected (USD of profit and loss), divergence (a fraction of the first nav).
        plan: index time, as moved to meet the session; the plan's whole profit and loss (USD), of later times, too.
        started_at: time of the first packet that meets the plan.
        start_usd: nav at that packet.
        align: how the two were aligned.
        shift_s: by how much the expectation was moved to meet the session, s.
        expected: name of the expectation.
        basis: n counts packets that met an expected one.
        notes: limits of the answer, as sentences.
    """

    question: ClassVar[str] = "against"
    title: ClassVar[str] = "Against what was expected"
    difference_usd: float
    tracking_error: float
    split_usd: pd.DataFrame
    first: dict[str, Any] | None
    divergences: pd.DataFrame
    curve: pd.DataFrame
    plan: pd.Series
    started_at: pd.Timestamp
    start_usd: float
    align: str
    shift_s: float
    expected: str
    why_no_split: str
    basis: Basis
    notes: tuple[str, ...]

    def headline(self) -> str:
        """Say the tracking difference, its largest part, and where the two first differ."""
        result = "neither nav can be compared" if np.isnan(self.difference_usd) else f"P&L {dollars(self.difference_usd)} against the plan"
        if len(self.split_usd) and self.split_usd["change_usd"].any():
            most = self.split_usd.iloc[int(self.split_usd["change_usd"].abs().argmax())]
            result += f", most of it from {most['part']} ({dollars(most['change_usd'])})"
        if self.first is None:
            return f"No packet of {self.basis.n:,} departs from the plan; {result}."
        return (
            f"{count_of(len(self.divergences), 'packet departs', 'packets depart')} from the plan, the first at "
            f"{clock(self.first['time'])} in {self.first['columns']}; {result}."
        )

    def split(self) -> pd.DataFrame:
        """Return the tracking difference by cause: part, change_usd; adds up to the cent.

        Raises:
            MissingColumns: the positions of one of the two are not known: that needs price, nav and cash in every packet.
        """
        if not len(self.split_usd):
            raise MissingColumns("against", (self.why_no_split or "trades",))
        return self.split_usd.copy()

    def to_frame(self) -> pd.DataFrame:
        """Return one row per packet that departs from the plan, by time.

        Columns: time, seq, columns (those that differ, in words), actual, expected (their values as text), difference_usd (so far).
        """
        return self.divergences.copy()

    def to_dict(self) -> dict[str, object]:
        """Return the answer as plain values, without the curves."""
        return {name: value for name, value in super().to_dict().items() if name not in {"curve", "plan"}}

    def figure(self, *, dark: bool = False) -> go.Figure:
        """Draw actual and expected profit and loss over time."""
        return draw.pair(self.curve, ("actual", "expected"), y_title="profit and loss (USD)", dark=dark)

    @property
    def divergence(self) -> Divergence:
        """Return the divergence from the plan as a function of a frame, for `cw.watch(panels=…)` and for rules."""
        return Divergence(self.plan, self.started_at, self.start_usd)


def against(
    frame: pd.DataFrame,
    expected: pd.DataFrame,
    events: pd.DataFrame | None = None,
    *,
    align: Align = "clock",
    symbol: str | None = None,
    name: str = "the expectation",
    said: tuple[str, ...] = (),
) -> Against:
    """Compare a session with a plan, packet by packet.

    Args:
        frame: packets of the session.
        expected: packets, or a frame with nav, price, returns or side, and a DatetimeIndex with a zone.
        events: the session's events table, for gaps.
        align: "clock" aligns the two by time, "open" by their first packets, "event" by their first BUY or SELL.
        symbol: only rows of this one.
        name: of the expectation.
        said: notes on how it was read.

    Raises:
        ConfigError: another `align`.
        MissingColumns: the two have no column in common, or no BUY or SELL where they are aligned by events.
        NotEnoughData: fewer than two packets meet.
        MixedSymbols: several symbols and none was chosen.
    """
    pair, actual, common, shift = _matched(frame, expected, events, align, symbol)
    if not common:
        raise MissingColumns("against", COMPARED)
    used = pair.used
    made, meant = pair.profit()
    departs = {column: pair.departs(column) for column in common}
    any_departs = np.logical_or.reduce(list(departs.values()))
    table = _table(pair, departs, any_departs, made - meant)
    parts, why = pair.split(made - meant)
    start = pair.start
    returns = np.diff(made - meant) / start if start > 0.0 else np.full(len(made) - 1, np.nan)
    notes = [*said, f"compared: {', '.join(common)}"]
    unmet = len(actual) - len(used)
    notes += [f"without an expected packet: {count_of(unmet, 'packet')}"] if unmet else []
    return Against(
        difference_usd=round(float(made[-1] - meant[-1]), 2),
        tracking_error=float(np.std(returns, ddof=1)) if len(returns) > 1 and np.isfinite(returns).all() else np.nan,
        split_usd=parts,
        first={str(key): value for key, value in table.iloc[0].to_dict().items()} if len(table) else None,
        divergences=table,
        curve=pd.DataFrame({"actual": made, "expected": meant, "divergence": divergence_of(made, meant, start)}, index=used.frame.index),
        plan=pair.plan(shift),
        started_at=used.frame.index[0],
        start_usd=start,
        align=align,
        shift_s=shift / SECOND_NS,
        expected=name,
        why_no_split=why,
        basis=actual.basis(len(used)),
        notes=tuple(notes),
    )


def expected_curve(frame: pd.DataFrame, expected: pd.DataFrame, *, align: Align = "clock") -> pd.DataFrame:
    """Return the profit and loss of a session beside the expected one, packet by packet, without the rest of an answer.

    An expectation of signals alone is the result of holding them at the session's own prices: `approved_size` is the share of the nav
    that is held, all of it where there is no such column.

    Args:
        frame: packets of the session, of one symbol or several.
        expected: as for `against`.
        align: as for `against`.

    Returns:
        Index time; actual, expected: float64, profit and loss since the first matched packet as a fraction of the session's nav there;
        divergence: float64, the one less the other; broken: bool, whether a gap of the session lies before the row.

    Raises:
        ConfigError: another `align`.
        MissingColumns: the session has no nav, or the expectation none of nav, returns and side.
        NotEnoughData: fewer than two packets meet.
    """
    newest = [str(word) for word in frame["symbol"].dropna().iloc[-1:]] if "symbol" in frame.columns else []
    pair, _, _, _ = _matched(frame, expected, None, align, newest[0] if newest else None)
    made, meant = pair.profit()
    if not np.isfinite(made).any():
        raise MissingColumns("against", ("nav",))
    if not np.isfinite(meant).any():
        meant = pair.start * pair.held_signals()
    columns = {"actual": made / pair.start, "expected": meant / pair.start, "divergence": divergence_of(made, meant, pair.start)}
    return pd.DataFrame(columns | {"broken": pair.used.broken}, index=pair.used.frame.index)


def _matched(
    frame: pd.DataFrame, expected: pd.DataFrame, events: pd.DataFrame | None, align: Align, symbol: str | None
) -> tuple[_Pair, UsableRows, list[str], int]:
    """Return the packets that meet an expected one, the whole session, the columns that both carry, and the plan's shift in ns."""
    if align not in ALIGNMENTS:
        raise ConfigError(f"align={align!r}: expected one of {', '.join(ALIGNMENTS)}")
    actual = select_rows("against", frame, events, symbol=symbol, one_symbol=True)
    planned = select_rows("against", with_nav(expected), symbol=symbol if "symbol" in expected.columns else None, one_symbol=True)
    common = [column for column in COMPARED if _has(actual, column) and _has(planned, column)]
    shift = _shift(actual, planned, align)
    rows, met = _meet(actual, planned, shift)
    if int(met.sum()) < 2:
        raise NotEnoughData(
            f"against: {int(met.sum())} packets meet an expected one; the session goes from {stamp(actual.times[0])} to "
            f"{stamp(actual.times[-1])}, the expectation from {stamp(planned.times[0] + shift)} to {stamp(planned.times[-1] + shift)}; "
            "align='open' lays the two by their first packets"
        )
    return _Pair(actual.where(met), planned, rows[met]), actual, common, shift


def with_nav(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the plan with a nav made from its returns, where it has none."""
    if "returns" not in frame.columns or "nav" in frame.columns:
        return frame
    steps = frame["returns"].fillna(0.0).to_numpy(dtype=np.float64)
    return frame.assign(nav=100_000.0 * np.cumprod(1.0 + steps))


def _has(found: UsableRows, name: str) -> bool:
    if name not in found.frame.columns:
        return False
    if name in {"side", "status"}:
        return bool((found.words(name).codes >= 0).any())
    return bool(np.isfinite(found.numbers(name)).any())


def _shift(actual: UsableRows, planned: UsableRows, align: Align) -> int:
    """Return by how many ns the plan is moved."""
    if align == "clock":
        return 0
    if align == "open":
        return int(actual.times[0] - planned.times[0])
    firsts = []
    for found in (actual, planned):
        acts = np.flatnonzero(np.isin(np.asarray(found.words("side").astype(object)), [Side.BUY, Side.SELL]))
        if not len(acts):
            raise MissingColumns("against", ("side: no BUY or SELL to lay the two by",))
        firsts.append(int(found.times[acts[0]]))
    return firsts[0] - firsts[1]


def _meet(actual: UsableRows, planned: UsableRows, shift: int) -> tuple[Ints, Bools]:
    """Return each packet's row of the plan, the newest by its time, and whether that is recent by the plan's own pace."""
    times = planned.times + shift
    rows = np.searchsorted(times, actual.times, side="right") - 1
    intervals = paces(planned.frame).interval_ns
    usual = int(np.median(intervals[intervals >= 0])) if (intervals >= 0).any() else 0
    near = actual.times - times[np.maximum(rows, 0)] <= late_ns(usual)
    return rows, (rows >= 0) & near


class _Pair:
    """Packets of a session, each with the row of the plan that it meets."""

    def __init__(self, used: UsableRows, planned: UsableRows, rows: Ints) -> None:
        self.used, self.planned, self.rows = used, planned, rows
        nav = used.numbers("nav")
        known = nav[np.isfinite(nav)]
        plan = planned.numbers("nav")[rows]
        meant = plan[np.isfinite(plan)]
        self.start = float(known[0]) if len(known) else float(meant[0]) if len(meant) else np.nan
        self._scale = self.start / float(meant[0]) if len(meant) and meant[0] > 0.0 else np.nan

    def both(self, name: str) -> tuple[Floats, Floats]:
        """Return a column of numbers of both; the plan's nav and cash are scaled to begin with as much as the recorded nav."""
        theirs = self.planned.numbers(name)[self.rows]
        return self.used.numbers(name), theirs * self._scale if name in {"nav", "cash"} else theirs

    def words(self, name: str) -> tuple[Any, Any]:
        """Return a column of words of both, as object arrays."""
        return (
            np.asarray(self.used.words(name).astype(object)),
            np.asarray(self.planned.words(name).astype(object))[self.rows],
        )

    def departs(self, name: str) -> Bools:
        """Return whether each packet's value is known in both and differs: a number beyond rounding, an amount by over half a cent."""
        if name in {"side", "status"}:
            ours, theirs = self.words(name)
            known = ~(pd.isna(ours) | pd.isna(theirs))
            return np.asarray(known & (ours != theirs), dtype=bool)
        mine, meant = self.both(name)
        least = HALF_A_CENT if name in {"nav", "cash"} else 0.0
        with np.errstate(invalid="ignore"):
            return np.asarray(np.abs(mine - meant) > np.maximum(least, _RELATIVE * np.maximum(np.abs(mine), np.abs(meant))), dtype=bool)

    def profit(self) -> tuple[Floats, Floats]:
        """Return the profit and loss of both since the first matched nav, USD; a missing nav repeats the last one."""
        mine, meant = (pd.Series(values).ffill().to_numpy() for values in self.both("nav"))
        first = [values[np.isfinite(values)][:1] for values in (mine, meant)]
        return tuple(values - (start[0] if len(start) else np.nan) for values, start in zip((mine, meant), first, strict=True))  # type: ignore[return-value] # two in, two out

    def held_signals(self) -> Floats:
        """Return the return since the first packet of holding the plan's signals at the session's prices; NaN without side or price."""
        _, side = self.words("side")
        held = pd.Series(side).map({Side.BUY: 1.0, Side.SELL: -1.0, Side.FLAT: 0.0}).astype(np.float64)
        if _has(self.planned, "approved_size"):
            held *= pd.Series(self.both("approved_size")[1]).ffill().fillna(0.0)
        price = pd.Series(self.used.numbers("price")).ffill()
        moves = held.ffill().shift().fillna(0.0) * price.pct_change(fill_method=None).fillna(0.0)
        return np.asarray((1.0 + moves).cumprod() - 1.0) if held.notna().any() and price.notna().any() else np.full(len(price), np.nan)

    def plan(self, shift: int) -> pd.Series:
        """Return the plan's whole profit and loss since its first matched nav, USD, moved by `shift` ns; a missing nav repeats the last."""
        worth = pd.Series(self.planned.numbers("nav") * self._scale, index=stamps(self.planned.times + shift)).ffill()
        return worth - self.start

    def split(self, gap: Floats) -> tuple[pd.DataFrame, str]:
        """Split the tracking difference by cause, in whole cents; without rows where a position is not known, and with the reason.

        Positions are those that nav, cash and price imply. At one position the two differ by price. Where both hold the same side, the
        rest is size. Where only one holds it: timing, if the other holds that side at some time of the same holding; else a signal that
        is missing, or was not expected.
        """
        empty = pd.DataFrame({"part": pd.array([], dtype=TEXT), "change_usd": np.zeros(0)})
        held = []
        for place, who in enumerate(("the session", "the expectation")):
            nav, cash, price = (self.both(name)[place] for name in ("nav", "cash", "price"))
            if not all(np.isfinite(values).all() for values in (nav, cash, price)):
                return empty, f"trades: the positions of {who} are not known without price, nav and cash in every packet"
            held.append((nav - cash) / np.where(price != 0.0, price, np.nan))
        mine, meant = held
        moves = np.diff(self.used.numbers("price"))
        apart = (mine - meant)[:-1] * moves
        ours, theirs = np.sign(np.round(mine[:-1], 9)), np.sign(np.round(meant[:-1], 9))
        same = ours == theirs
        late = ~same & (_met_in(theirs, ours) | _met_in(ours, theirs))
        total = round(100.0 * float(gap[-1]))
        cents = {
            "timing": round(100.0 * float(apart[late].sum())),
            "size": round(100.0 * float(apart[same].sum())),
            "missing signals": round(100.0 * float(apart[~same & ~late].sum())),
        }
        cents["price"] = total - sum(cents.values())
        return pd.DataFrame({"part": pd.array(PARTS, dtype=TEXT), "change_usd": [cents[part] / 100.0 for part in PARTS]}), ""


def _met_in(side: Floats, other: Floats) -> Bools:
    """Return the rows of each holding of `side` during which `other` holds that side too at some time."""
    starts = np.flatnonzero(np.append(True, side[1:] != side[:-1]))
    meets = np.logical_or.reduceat((side == other) & (side != 0.0), starts)
    return np.asarray(np.repeat(meets, np.diff(starts, append=len(side))) & (side != 0.0), dtype=bool)


def _table(pair: _Pair, departs: dict[str, Bools], any_departs: Bools, gap: Floats) -> pd.DataFrame:
    """Return one row per packet that departs, with the differing values as text."""
    rows = np.flatnonzero(any_departs)
    seq = pair.used.frame["seq"].to_numpy()[rows] if "seq" in pair.used.frame.columns else np.full(len(rows), np.nan)
    values = {name: pair.words(name) if name in {"side", "status"} else pair.both(name) for name in departs}
    columns, ours, theirs = [], [], []
    for row in rows.tolist():  # those that depart; a table has a row for each
        names = [name for name, found in departs.items() if found[row]]
        columns.append(", ".join(names))
        ours.append(", ".join(f"{name} {cell_text(values[name][0][row])}" for name in names))
        theirs.append(", ".join(f"{name} {cell_text(values[name][1][row])}" for name in names))
    return pd.DataFrame(
        {
            "time": pair.used.frame.index[rows],
            "seq": seq,
            "columns": pd.array(columns, dtype=TEXT),
            "actual": pd.array(ours, dtype=TEXT),
            "expected": pd.array(theirs, dtype=TEXT),
            "difference_usd": gap[rows],
        }
    )
