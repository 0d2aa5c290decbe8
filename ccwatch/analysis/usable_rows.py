"""The sample that every question begins with: the usable rows of one session, its gaps, and the basis of an answer.

It knows the columns of a frame, not where the frame comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from ccwatch.domain.limits import SECOND
from ccwatch.domain.liveness import Pace, Paces, slept_ns
from ccwatch.errors import AnalysisError, MissingColumns, MixedSymbols, NotEnoughData
from ccwatch.figures import figure_data, prepare
from ccwatch.protocol.messages import UNCLEAN, EventKind, Flag
from ccwatch.protocol.ranges import within
from ccwatch.stream.dataframes import TEXT

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

SECOND_NS: Final = SECOND
_MISSING: Final = frozenset({*figure_data.GAP_KINDS, EventKind.DROP})


@dataclass(frozen=True, slots=True)
class Basis:
    """The basis of an answer: how many observations, of which stretch, with which gaps.

    Attributes:
        n: observations used.
        packets: clean packets of the stream in the range asked about.
        left_out: repeats, replays and placeholders that were left out first.
        coverage: fraction of the packets that carried what the question needs.
        start: time of the first packet, UTC; None without packets.
        end: time of the last one.
        duration_s: seconds between them.
        gaps: stretches in which the stream was not received.
        gap_s: seconds of `duration_s` in them.
    """

    n: int
    packets: int
    left_out: int
    coverage: float
    start: pd.Timestamp | None
    end: pd.Timestamp | None
    duration_s: float
    gaps: int
    gap_s: float

    def merge(self, later: Basis, *, apart: bool = False) -> Basis:
        """Return the basis of an answer about this session and a later one: the time between the two is one more gap.

        Args:
            later: of the other session.
            apart: they are of different streams: they may overlap, their lengths add up, and nothing lies between them.

        Raises:
            AnalysisError: they overlap in time, and are not `apart`.
        """
        packets = self.packets + later.packets
        carrying = sum(round(part.coverage * part.packets) for part in (self, later) if part.packets and not np.isnan(part.coverage))
        known = self.packets > 0 and later.packets > 0 and not (np.isnan(self.coverage) or np.isnan(later.coverage))
        between_s = 0.0
        if self.end is not None and later.start is not None and not apart:
            between_s = (later.start - self.end).total_seconds()
            if between_s < 0.0:
                raise AnalysisError(
                    f"merge: sessions that overlap in time ({self.end} is after {later.start}): their packets would count twice"
                )
        one = self.start is None or later.start is None or apart
        starts = [part.start for part in (self, later) if part.start is not None]
        ends = [part.end for part in (self, later) if part.end is not None]
        return Basis(
            n=self.n + later.n,
            packets=packets,
            left_out=self.left_out + later.left_out,
            coverage=carrying / packets if known else np.nan,
            start=min(starts, default=None),
            end=max(ends, default=None),
            duration_s=self.duration_s + between_s + later.duration_s,
            gaps=self.gaps + later.gaps + (0 if one else 1),
            gap_s=self.gap_s + between_s + later.gap_s,
        )


@dataclass(frozen=True, eq=False, slots=True)
class UsableRows:
    """The clean rows of one session, by time.

    Attributes:
        question: name of the question, for errors.
        frame: the rows; DatetimeIndex in UTC, ns.
        broken: per row, whether a gap lies between the row before and this one.
        received: number of rows that were given, whatever their flags.
        symbol: the one that the rows are of; None where they name none, or several.
    """

    question: str
    frame: pd.DataFrame
    broken: Bools
    received: int
    symbol: str | None = None

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def times(self) -> Ints:
        """Return the time of each row, ns since 1970."""
        return times_ns(self.frame)

    def numbers(self, name: str) -> Floats:
        """Return a column as float64: NaN where it is missing, not a number or out of its range, and throughout for an absent column."""
        if name not in self.frame.columns:
            return np.full(len(self.frame), np.nan)
        found = numbers(self.frame[name])
        return np.where(found == 0.0, np.nan, found) if name == "price" else found  # a price of 0 is one that is not known yet

    def prices(self) -> Floats:
        """Return the prices that a return can be computed from: those above zero, else NaN."""
        found = self.numbers("price")
        with np.errstate(invalid="ignore"):
            return np.where(found > 0.0, found, np.nan)

    def outside(self, name: str) -> int:
        """Return the number of values of a column that enter no answer, since they lie outside its range."""
        if name not in self.frame.columns:
            return 0
        return int(np.isfinite(as_numbers(self.frame[name]).to_numpy(na_value=np.nan)).sum() - np.isfinite(numbers(self.frame[name])).sum())

    def words(self, name: str) -> Any:
        """Return a column of words as a Categorical, missing throughout for an absent column."""
        if name not in self.frame.columns:
            return pd.Categorical.from_codes(np.full(len(self.frame), -1, dtype=np.int8), categories=pd.Index([], dtype=TEXT))
        return categorical(self.frame[name])

    def where(self, kept: Bools) -> UsableRows:
        """Return the rows where `kept`; a gap before a row that goes counts for the next one that stays."""
        if kept.all():
            return self
        passed = np.cumsum(self.broken)[kept]
        broken = np.zeros(len(passed), dtype=bool)
        broken[1:] = np.diff(passed) > 0
        return UsableRows(self.question, self.frame[kept], broken, self.received, self.symbol)

    def need(self, least: int, what: str) -> None:
        """Raise where there are fewer than `least` rows.

        Raises:
            NotEnoughData: says how many there are of how many needed.
        """
        if len(self) < least:
            raise NotEnoughData(f"{self.question} needs at least {least} packets with {what}; there are {len(self)}")

    def basis(self, n: int, *, carrying: int | None = None) -> Basis:
        """Return the basis of an answer from `n` observations; `carrying` is the number of packets that gave them, else n."""
        times, packets = self.times, len(self)
        start, end = (stamp(times[0]), stamp(times[-1])) if packets else (None, None)
        after = np.flatnonzero(self.broken)
        steps = times[after] - times[after - 1]
        return Basis(
            n=int(n),
            packets=packets,
            left_out=self.received - packets,
            coverage=(n if carrying is None else carrying) / packets if packets else np.nan,
            start=start,
            end=end,
            duration_s=float(times[-1] - times[0]) / SECOND_NS if packets else 0.0,
            gaps=int(self.broken.sum()),
            gap_s=float(steps.sum()) / SECOND_NS,
        )


def select_rows(
    question: str,
    frame: pd.DataFrame,
    events: pd.DataFrame | None = None,
    *,
    needs: Sequence[str] = (),
    symbol: str | None = None,
    one_symbol: bool = False,
) -> UsableRows:
    """Return the rows of a packets frame that a question may use: no repeats, replays and placeholders, by time, of one symbol.

    Args:
        question: name of the question, for errors.
        frame: packets, as `protocol.columns` lists them, clean or not, in any order; other frames need no `flags`, `seq` or `connection`.
        events: the events table, whose gaps count; without it, gaps are found in the intervals.
        needs: columns that must be carried at least once.
        symbol: only rows of this one.
        one_symbol: refuse several symbols, for questions about a market.

    Raises:
        AnalysisError: an index that is not a DatetimeIndex with a zone.
        NotEnoughData: no row is left.
        MixedSymbols: several symbols where one_symbol, and none was chosen.
        MissingColumns: the stream never carried one of `needs`.
    """
    frame = on_utc(question, frame)
    frame = as_arrived(frame)
    received = len(frame)
    broken = find_breaks(frame, events)
    kept = np.ones(received, dtype=bool)
    if "flags" in frame.columns:
        kept = (frame["flags"].to_numpy().astype(np.int64) & int(UNCLEAN)) == 0
    if not kept.any():
        raise NotEnoughData(f"{question}: no packet is left of {received}, after repeats, replays and placeholders")
    symbols = categorical(frame["symbol"]) if "symbol" in frame.columns else None
    if symbols is not None:
        present = tuple(str(word) for word in symbols[kept].remove_unused_categories().categories)
        if symbol is not None:
            kept &= np.asarray(symbols == symbol)
            if not kept.any():
                raise NotEnoughData(f"{question}: no packet of {symbol!r}; the stream holds {', '.join(present) or 'no symbol'}")
        elif one_symbol and len(present) > 1:
            raise MixedSymbols(present)
        symbol = present[0] if symbol is None and len(present) == 1 else symbol
    elif symbol is not None:
        raise MissingColumns(question, ("symbol",))
    if not kept.all() or not frame.index.is_monotonic_increasing:  # a long session is copied only where it must be
        rows = np.flatnonzero(kept)
        rows = rows[np.argsort(times_ns(frame)[rows], kind="stable")]
        frame, broken = frame.iloc[rows], np.append(False, np.diff(np.cumsum(broken)[rows]) != 0)
    found = UsableRows(question, frame, broken, received, symbol)
    missing = tuple(name for name in needs if not _is_carried(found, name))
    if missing:
        raise MissingColumns(question, missing)
    return found


def on_utc(question: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with its index in UTC and ns; rows without a time are left out.

    Raises:
        AnalysisError: an index that is not a DatetimeIndex with a zone.
    """
    index = frame.index
    if not isinstance(index, pd.DatetimeIndex) or index.tz is None:
        raise AnalysisError(
            f"{question} needs a frame with a DatetimeIndex that has a time zone, got {type(index).__name__} without one: "
            "frame.tz_localize('UTC') gives it one, frame.set_index('time') makes a column the index"
        )
    if index.unit != "ns" or index.tz is not UTC:
        frame = frame.set_axis(index.tz_convert("UTC").as_unit("ns"), axis=0)
    return frame[frame.index.notna()] if index.hasnans else frame


def as_arrived(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame by time where it has no `seq`, which would say in which order rows arrived; else unchanged."""
    if "seq" in frame.columns or frame.index.is_monotonic_increasing:
        return frame
    return frame.iloc[np.argsort(times_ns(frame), kind="stable")]


def times_ns(frame: pd.DataFrame) -> Ints:
    """Return the index as ns since 1970."""
    return moments_ns(frame.index)


def without_doubles(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the values without those equal to the one before: for sorted values the distinct ones, far faster than np.unique."""
    return values[np.append(True, values[1:] != values[:-1])] if len(values) else values


def moments_ns(moments: Any) -> Ints:
    """Return a column of times as ns since 1970 (int64); the least integer where one is missing."""
    index = pd.DatetimeIndex(moments)
    return np.asarray(index.asi8 if index.unit == "ns" else index.as_unit("ns").asi8)  # as_unit copies whatever the unit is


def stamp(ns: Any) -> pd.Timestamp:
    """Return nanoseconds since 1970 as a timestamp in UTC."""
    return pd.Timestamp(int(ns), unit="ns", tz="UTC")


def stamps(ns: Ints, known: Bools | None = None) -> pd.DatetimeIndex:
    """Return nanoseconds since 1970 as times in UTC; NaT where not `known`."""
    values = ns if known is None else np.where(known, ns, np.iinfo(np.int64).min)
    return pd.DatetimeIndex(np.asarray(values, dtype=np.int64).view("M8[ns]")).tz_localize("UTC")


def as_numbers(column: pd.Series) -> pd.Series:
    """Return a column as float64, missing where it is not a number; a float64 column is returned itself, since to_numeric copies."""
    return column if column.dtype == np.float64 else pd.to_numeric(column, errors="coerce").astype("float64")


def numbers(column: pd.Series) -> Floats:
    """Return a column as float64 to read only, NaN for values missing, not numbers, or outside the range of the column of that name."""
    return within(str(column.name), as_numbers(column).to_numpy(na_value=np.nan))


def categorical(column: pd.Series) -> Any:
    """Return the column as an unordered Categorical of str, for any input dtype."""
    words = column.array
    if not isinstance(words, pd.Categorical):
        return pd.Categorical(column.astype(TEXT))
    if words.ordered:
        words = words.as_unordered()
    return words if words.categories.dtype == "str" else words.rename_categories(str)


def runs(codes: npt.NDArray[Any], broken: Bools) -> tuple[Ints, Ints]:
    """Return maximal stretches of one code without a gap: index of the first row of each, and of the row after its last."""
    if not len(codes):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    begins = np.ones(len(codes), dtype=bool)
    begins[1:] = (codes[1:] != codes[:-1]) | broken[1:]
    first = np.flatnonzero(begins)
    return first, np.append(first[1:], len(codes))


def _is_carried(found: UsableRows, name: str) -> bool:
    if name not in found.frame.columns:
        return False
    if isinstance(found.frame[name].dtype, pd.CategoricalDtype) or found.frame[name].dtype in ("str", "object"):
        return bool(found.frame[name].notna().any())
    return bool(np.isfinite(found.numbers(name)).any())


def find_breaks(frame: pd.DataFrame, events: pd.DataFrame | None) -> Bools:
    """Return, per row in the order given, whether it comes after a gap or on another connection than the row before."""
    connection = frame["connection"].to_numpy() if "connection" in frame.columns else None
    if events is None or not len(events) or "seq" not in frame.columns:
        broken = _silences(frame)
        if connection is not None:
            broken[1:] |= connection[1:] != connection[:-1]
        return broken
    missing = events["seq"].to_numpy()[events["kind"].isin(list(_MISSING)).to_numpy()].astype(np.uint64)
    seq = frame["seq"].to_numpy().astype(np.uint64)
    return prepare.breaks(seq, np.zeros(len(seq)) if connection is None else connection, missing, figure_data.Carry()).astype(bool)


def _silences(frame: pd.DataFrame) -> Bools:
    """Return, per row, whether too long a silence lay before it: by the receiver's monotonic clock, else by the stream's stamps."""
    at, by_receiver = arrivals(frame)
    paces = Pace().note_all(at, is_first=_first_of_connection(frame), is_original=_is_original(frame))
    broken = paces.silent.copy()
    if by_receiver and "received_at" in frame.columns and len(frame):
        wall = pd.DatetimeIndex(frame["received_at"]).as_unit("ns").asi8
        broken[1:] |= slept_ns(np.diff(wall), np.diff(at)) > 0
    return broken


def arrivals(frame: pd.DataFrame) -> tuple[Ints, bool]:
    """Return when each row came, in ns of a clock that never goes back, and whether that is the receiver's monotonic one.

    Where receive times were not kept, or the stamps run ahead of them (a seeded stream at pace "max"), the stamps are used.
    """
    times = times_ns(frame)
    if len(frame) > 1 and "received_mono_ns" in frame.columns and frame["received_mono_ns"].notna().all():
        mono = frame["received_mono_ns"].to_numpy(dtype=np.int64)
        if keeps_pace(times, mono):
            return np.maximum.accumulate(mono), True
    return np.maximum.accumulate(times) if len(times) else times, False


def paces(frame: pd.DataFrame) -> Paces:
    """Return the pace of the stream at each row, in the order given: bursts, intervals between them, silences."""
    return Pace().note_all(arrivals(frame)[0], is_first=_first_of_connection(frame), is_original=_is_original(frame))


def _first_of_connection(frame: pd.DataFrame) -> Bools | None:
    """Return, per row, whether it is the first of a connection after another; None without a connection column."""
    if "connection" not in frame.columns or not len(frame):
        return None
    connection = frame["connection"].to_numpy()
    return np.append(False, connection[1:] != connection[:-1])


def _is_original(frame: pd.DataFrame) -> Bools | None:
    """Return, per row, whether its arrival shows the stream's pace, as that of a replayed one does not; None without flags."""
    return (frame["flags"].to_numpy().astype(np.int64) & int(Flag.REPLAYED)) == 0 if "flags" in frame.columns else None


def keeps_pace(times: Ints, mono: Ints) -> bool:
    """Return whether the stamps keep pace with the receiver's clock; a seeded stream at pace "max" runs ahead of it."""
    return len(times) > 1 and 2 * int(mono[-1] - mono[0]) >= int(times.max() - times.min())
