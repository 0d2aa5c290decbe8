"""Frames made ready for drawing: aligned arrays, breaks, drawdown, marks. Pure; it must not know plotly, a widget or a thread.

The static figures and the live view prepare their rows here, so that they cannot disagree. The live view hands in what it
remembers of the row before (`Carry`), and so prepares only what is new.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from ccwatch.protocol.messages import EventKind, Packet, Regime, Side

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint8]
Seqs = npt.NDArray[np.uint64]

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
_NUMBERS: Final = ("price", "alpha", "nav", "max_drawdown", "confidence", "approved_size")
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
    symbol: int
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


@dataclass(frozen=True, slots=True)
class Series:
    """Rows ready for drawing; all arrays have one entry per row, NaN where a row did not carry the value."""

    seq: Seqs
    time_ms: Floats
    """Wall time of the display zone, in ms: what an axis prints that takes every time for UTC."""
    columns: dict[str, Floats]
    """price (USD), alpha, drawdown and max_drawdown (fractions), then `latency:<agent>` (ms)."""
    regime: Codes
    symbol: Codes
    broken: Codes
    """1: the stream has a gap between the row before and this one."""
    marks: tuple[Mark, ...]
    carry: Carry

    def __len__(self) -> int:
        return len(self.seq)

    def pick(self, rows: slice | npt.NDArray[np.intp]) -> Series:
        """Some of the rows, in order. A break of a row that is left out counts for the next one that is kept."""
        broken = self.broken[rows]
        if not isinstance(rows, slice):
            passed = np.cumsum(self.broken, dtype=np.int64)[rows]
            broken = (np.diff(passed, prepend=0) > 0).astype(np.uint8)
        return replace(
            self,
            seq=self.seq[rows],
            time_ms=self.time_ms[rows],
            columns={name: values[rows] for name, values in self.columns.items()},
            regime=self.regime[rows],
            symbol=self.symbol[rows],
            broken=broken,
        )


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


def gap_seqs(events: pd.DataFrame | None) -> Seqs:
    """The seq of the last packet before each gap. `events`: columns seq, kind."""
    if events is None or not len(events):
        return np.empty(0, dtype=np.uint64)
    return events["seq"].to_numpy()[events["kind"].isin(list(GAP_KINDS)).to_numpy()].astype(np.uint64)


def breaks(seq: Seqs, connection: npt.NDArray[Any], gaps: Seqs, carry: Carry) -> Codes:
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


def latencies(seq: Seqs, agents: pd.DataFrame | None, names: Sequence[str]) -> Floats:
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
    gaps: Seqs,
    names: Names,
    *,
    shift: timedelta = timedelta(0),
    carry: Carry | None = None,
) -> Series:
    """Rows of a frame, ready for drawing.

    Args:
        frame: packets, clean, by time; at least PACKET_COLUMNS, with `reasoning` for the text of marks.
        agents: columns seq, agent, latency_ms, or None.
        gaps: what gap_seqs() gave.
        names: agents and symbols seen so far; new symbols are added to it, agents are not.
        shift: offset of the display zone.
        carry: what the rows before left behind; None at the beginning.
    """
    seq = frame["seq"].to_numpy().astype(np.uint64, copy=False)
    text = frame["reasoning"] if "reasoning" in frame.columns else None
    return _assemble(
        seq=seq,
        connection=frame["connection"].to_numpy(),
        time_ms=_index_ms(frame.index) + shift.total_seconds() * 1000.0,
        numbers={name: frame[name].to_numpy(dtype=np.float64) for name in _NUMBERS},
        regime=_codes(frame["regime"], REGIME_WORDS),
        symbol=_codes(frame["symbol"], names.symbols, grow=True),
        side=_codes(frame["side"], SIDE_WORDS),
        latency=latencies(seq, agents, names.agents),
        reasoning=lambda rows: [""] * len(rows) if text is None else ["" if pd.isna(word) else str(word) for word in text.iloc[rows]],
        gaps=gaps,
        names=names,
        before=carry or Carry(),
    )


def prepare_packets(
    packets: Sequence[Packet], gaps: Seqs, names: Names, *, shift: timedelta = timedelta(0), carry: Carry | None = None
) -> Series:
    """Clean packets, in order, ready for drawing: what prepare() makes of their frames, without the cost of a frame."""
    latency = np.full((len(packets), len(names.agents)), np.nan)
    places = {name: place for place, name in enumerate(names.agents)}
    for row, packet in enumerate(packets):
        for metric in packet.agents:
            place = places.get(metric.agent)
            if place is not None:
                latency[row, place] = metric.latency_ms
        if packet.symbol is not None and packet.symbol not in names.symbols and len(names.symbols) < NONE:
            names.symbols.append(packet.symbol)
    return _assemble(
        seq=np.array([packet.seq for packet in packets], dtype=np.uint64),
        connection=np.array([packet.connection for packet in packets], dtype=np.int32),
        time_ms=np.array([packet.time_ns for packet in packets], dtype=np.int64) / 1e6 + shift.total_seconds() * 1000.0,
        numbers={name: np.array([getattr(packet, name) for packet in packets], dtype=np.float64) for name in _NUMBERS},
        regime=_places([packet.regime for packet in packets], REGIME_WORDS),
        symbol=_places([packet.symbol for packet in packets], names.symbols),
        side=_places([packet.side for packet in packets], SIDE_WORDS),
        latency=latency,
        reasoning=lambda rows: [packets[row].reasoning or "" for row in rows],
        gaps=gaps,
        names=names,
        before=carry or Carry(),
    )


def _assemble(
    *,
    seq: Seqs,
    connection: npt.NDArray[Any],
    time_ms: Floats,
    numbers: dict[str, Floats],
    regime: Codes,
    symbol: Codes,
    side: Codes,
    latency: Floats,
    reasoning: Callable[[list[int]], list[str]],
    gaps: Seqs,
    names: Names,
    before: Carry,
) -> Series:
    price, nav = numbers["price"], numbers["nav"]
    symbol, side = _filled(symbol, before.symbol), _filled(side, before.side)
    columns = {
        "price": price,
        "alpha": numbers["alpha"],
        "drawdown": drawdown(nav, before.peak),
        "max_drawdown": numbers["max_drawdown"],
    }
    columns.update({f"latency:{name}": latency[:, place] for place, name in enumerate(names.agents)})
    after = before
    if len(seq):
        after = Carry(
            seq=max(before.seq, int(seq.max())),
            connection=int(connection[-1]),
            time_ms=float(time_ms[-1]),
            peak=float(np.fmax(before.peak, np.fmax.reduce(nav))),
            symbol=int(symbol[-1]),
            side=int(side[-1]),
        )
    previous = np.concatenate(([before.side], side))[: len(side)]
    turns = np.flatnonzero((side != previous) & (previous != NONE) & (side != NONE)).tolist()  # a first side is no change
    marks = tuple(
        Mark(
            seq=int(seq[row]),
            time_ms=float(time_ms[row]),
            price=float(price[row]),
            side=int(side[row]),
            symbol=int(symbol[row]),
            confidence=float(numbers["confidence"][row]),
            size=float(numbers["approved_size"][row]),
            text=text,
        )
        for row, text in zip(turns, reasoning(turns), strict=True)
    )
    return Series(
        seq=seq,
        time_ms=time_ms,
        columns=columns,
        regime=regime,
        symbol=symbol,
        broken=breaks(seq, connection, gaps, before),
        marks=marks,
        carry=after,
    )


def _index_ms(index: pd.Index) -> Floats:
    return pd.DatetimeIndex(index).as_unit("ns").asi8 / 1e6


def _places(words: Sequence[str | None], known: Sequence[str]) -> Codes:
    places = {word: place for place, word in enumerate(known[:NONE])}
    return np.array([NONE if word is None else places.get(str(word), NONE) for word in words], dtype=np.uint8)


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
