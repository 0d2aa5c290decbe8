"""Frames made ready for drawing: aligned arrays, breaks, drawdown, marks. Pure; it must not know plotly, a widget or a thread.

The static figures and the live view prepare their rows here, so that they cannot disagree. The live view hands in what it
remembers of the row before (`Carry`), and so prepares only what is new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from ccwatch.protocol.messages import EventKind, Regime, Side

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint8]

PACKET_COLUMNS: Final = (
    "seq",
    "connection",
    "symbol",
    "regime",
    "side",
    "price",
    "alpha",
    "nav",
    "max_drawdown",
    "confidence",
    "approved_size",
)
"""What prepare() reads of the packets table."""
REGIME_WORDS: Final = tuple(str(word) for word in Regime)
SIDE_WORDS: Final = tuple(str(word) for word in Side)
NONE: Final = 255
"""The code of "not known"."""
GAP_KINDS: Final = frozenset({EventKind.GAP, EventKind.DISCONNECT, EventKind.STALE})
"""Events after which something of the stream may be missing: no line is drawn across them."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A change of the signal's side. `size` is a fraction, `text` the engine's reasoning, as it came."""

    seq: int
    time_ms: float
    price: float
    side: int
    confidence: float
    size: float
    text: str = ""


@dataclass(frozen=True, slots=True)
class Carry:
    """What the rows before left behind."""

    seq: int = 0
    connection: int = -1
    time_ms: float = -np.inf
    peak: float = -np.inf
    """Running peak of nav."""
    symbol: int = NONE
    side: int = NONE
    price: float = np.nan


@dataclass(frozen=True, slots=True)
class Series:
    """Rows ready for drawing; all arrays have one entry per row, NaN where a row did not carry the value."""

    seq: npt.NDArray[np.uint64]
    time_ms: Floats
    """Wall time of the display zone, in ms: what an axis prints that takes every time for UTC."""
    values: dict[str, Floats]
    """price (USD), alpha, drawdown and max_drawdown (fractions), then `latency:<agent>` (ms)."""
    regime: Codes
    symbol: Codes
    broken: Codes
    """1: the stream has a gap between the row before and this one."""
    marks: tuple[Mark, ...]
    carry: Carry

    def __len__(self) -> int:
        return len(self.seq)


@dataclass(slots=True)
class Names:
    """The open vocabularies, in the order in which they were first seen."""

    agents: list[str] = field(default_factory=list)
    symbols: list[str] = field(default_factory=list)


def zone_shift(at: datetime | pd.Timestamp, tz: str) -> timedelta:
    """The offset of the zone from UTC at a time. One shift serves a whole figure, so that its axis never runs backwards."""
    return at.astimezone(ZoneInfo(tz)).utcoffset() or timedelta(0)


def zone_label(tz: str, shift: timedelta) -> str:
    """The zone as an axis prints it: `UTC`, or `Europe/Berlin, UTC+01:00`."""
    if tz == "UTC":
        return tz
    minutes = round(shift.total_seconds() / 60)
    return f"{tz}, UTC{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def drawdown(value: npt.ArrayLike, peak: float = -np.inf) -> Floats:
    """D = X/P - 1 with P the maximum of X so far (and of `peak`): fractions ≤ 0, NaN where X is missing."""
    values = np.asarray(value, dtype=np.float64)
    running = np.fmax(np.fmax.accumulate(values), peak) if len(values) else values
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(running > 0, values / running - 1.0, np.nan)


def gap_seqs(events: pd.DataFrame | None) -> npt.NDArray[np.uint64]:
    """The seq of the last packet before each gap. `events`: columns seq, kind."""
    if events is None or not len(events):
        return np.empty(0, dtype=np.uint64)
    return events["seq"].to_numpy()[events["kind"].isin(list(GAP_KINDS)).to_numpy()].astype(np.uint64)


def breaks(seq: npt.NDArray[np.uint64], connection: npt.NDArray[Any], gaps: npt.NDArray[np.uint64], carry: Carry) -> Codes:
    """Which rows come after a gap: one that was noticed, or another connection than the row before."""
    broken = np.zeros(len(seq), dtype=np.uint8)
    if not len(seq):
        return broken
    before = np.concatenate(([carry.connection if carry.seq else connection[0]], connection[:-1]))
    broken[connection != before] = 1
    if len(gaps):
        order = np.argsort(seq, kind="stable")  # sorted by time is not always sorted by seq
        position = np.searchsorted(seq[order], gaps, side="right")
        follows = (position < len(seq)) & ((position > 0) | ((carry.seq > 0) & (gaps >= carry.seq)))
        broken[order[position[follows]]] = 1
    if not carry.seq:
        broken[0] = 0
    return broken


def latencies(seq: npt.NDArray[np.uint64], agents: pd.DataFrame | None, names: Sequence[str]) -> Floats:
    """Latencies in ms as a matrix of len(seq) rows and one column per name. `agents`: columns seq, agent, latency_ms."""
    matrix = np.full((len(seq), len(names)), np.nan)
    if agents is None or not len(agents) or not len(seq) or not names:
        return matrix
    order = np.argsort(seq, kind="stable")
    ranks = np.minimum(np.searchsorted(seq[order], agents["seq"].to_numpy()), len(seq) - 1)
    rows = order[ranks]
    columns = _codes(agents["agent"], names)
    known = (seq[rows] == agents["seq"].to_numpy()) & (columns != NONE)
    matrix[rows[known], columns[known]] = agents["latency_ms"].to_numpy()[known]
    return matrix


def prepare(
    frame: pd.DataFrame,
    agents: pd.DataFrame | None,
    gaps: npt.NDArray[np.uint64],
    names: Names,
    *,
    shift: timedelta = timedelta(0),
    carry: Carry | None = None,
) -> Series:
    """Rows ready for drawing.

    Args:
        frame: packets, clean, by time; at least PACKET_COLUMNS, with `reasoning` for the text of marks.
        agents: columns seq, agent, latency_ms, or None.
        gaps: what gap_seqs() gave.
        names: agents and symbols seen so far; new symbols are added to it, agents are not.
        shift: offset of the display zone.
        carry: what the rows before left behind; None at the beginning.
    """
    before = carry or Carry()
    seq = frame["seq"].to_numpy().astype(np.uint64, copy=False)
    count = len(seq)
    time_ms = _index_ms(frame.index) + shift.total_seconds() * 1000.0
    connection = frame["connection"].to_numpy()
    price = frame["price"].to_numpy(dtype=np.float64)
    nav = frame["nav"].to_numpy(dtype=np.float64)
    values = {
        "price": price,
        "alpha": frame["alpha"].to_numpy(dtype=np.float64),
        "drawdown": drawdown(nav, before.peak),
        "max_drawdown": frame["max_drawdown"].to_numpy(dtype=np.float64),
    }
    matrix = latencies(seq, agents, names.agents)
    values.update({f"latency:{name}": matrix[:, column] for column, name in enumerate(names.agents)})
    symbol = _filled(_codes(frame["symbol"], names.symbols, grow=True), before.symbol)
    side = _filled(_codes(frame["side"], SIDE_WORDS), before.side)
    after = before
    if count:
        known = price[~np.isnan(price)]
        after = Carry(
            seq=max(before.seq, int(seq.max())),
            connection=int(connection[-1]),
            time_ms=float(time_ms[-1]),
            peak=float(np.fmax(before.peak, np.fmax.reduce(nav))),
            symbol=int(symbol[-1]),
            side=int(side[-1]),
            price=float(known[-1]) if len(known) else before.price,
        )
    return Series(
        seq=seq,
        time_ms=time_ms,
        values=values,
        regime=_codes(frame["regime"], REGIME_WORDS),
        symbol=symbol,
        broken=breaks(seq, connection, gaps, before),
        marks=_marks(frame, seq, time_ms, price, side, before),
        carry=after,
    )


def _marks(
    frame: pd.DataFrame, seq: npt.NDArray[np.uint64], time_ms: Floats, price: Floats, side: Codes, before: Carry
) -> tuple[Mark, ...]:
    """Where the side changed; a first side is no change."""
    if not len(seq):
        return ()
    previous = np.concatenate(([before.side], side[:-1]))
    rows = np.flatnonzero((side != previous) & (previous != NONE) & (side != NONE))
    if not len(rows):
        return ()
    confidence, size = frame["confidence"].to_numpy(), frame["approved_size"].to_numpy()
    text = frame["reasoning"] if "reasoning" in frame.columns else None
    return tuple(
        Mark(
            seq=int(seq[row]),
            time_ms=float(time_ms[row]),
            price=float(price[row]),
            side=int(side[row]),
            confidence=float(confidence[row]),
            size=float(size[row]),
            text="" if text is None or pd.isna(text.iloc[row]) else str(text.iloc[row]),
        )
        for row in rows
    )


def _index_ms(index: pd.Index) -> Floats:
    return pd.DatetimeIndex(index).as_unit("ns").asi8 / 1e6


def _codes(column: pd.Series, words: Sequence[str] | list[str], *, grow: bool = False) -> Codes:
    """Positions in `words`, NONE for missing and unknown ones; with `grow` unknown ones are appended to `words`."""
    values = column.array
    if not isinstance(values, pd.Categorical):
        values = pd.Categorical(column)
    places = {word: place for place, word in enumerate(words)}
    table = np.full(len(values.categories) + 1, NONE, dtype=np.uint8)  # its last entry serves the code -1, missing
    for code, word in enumerate(values.categories):
        place = places.get(str(word))
        if place is None and grow and isinstance(words, list) and len(words) < NONE:
            place = len(words)
            words.append(str(word))
        if place is not None and place < NONE:
            table[code] = place
    return np.asarray(table[values.codes], dtype=np.uint8)


def _filled(codes: Codes, first: int) -> Codes:
    """Codes with NONE replaced by the one before: a partial packet says nothing of what it does not carry."""
    if not len(codes) or not (codes == NONE).any():
        return codes
    extended = np.concatenate((np.array([first], dtype=np.uint8), codes))
    rows = np.where(extended == NONE, 0, np.arange(len(extended)))
    return np.asarray(extended[np.maximum.accumulate(rows)][1:], dtype=np.uint8)
