"""Frames and packets made ready for drawing: aligned arrays, breaks, drawdown, marks. It must not know plotly, a widget or a thread.

The static figures and the live view prepare their rows here, so that they cannot disagree. The live view hands in the state
after the row before (`Carry`), and so prepares only new rows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from ccwatch.domain.burst_status import NOT_CARRIED, rank, worst_of_bursts
from ccwatch.domain.drawdown import next_peak, starting_capital, under_water
from ccwatch.domain.exposure import exposure
from ccwatch.domain.liveness import Pace
from ccwatch.figures.figure_data import (
    GAP_KINDS,
    GAUGES,
    NONE,
    PLAIN,
    REGIME_WORDS,
    SIDE_WORDS,
    WANTED,
    Carry,
    Codes,
    Floats,
    Names,
    Seqs,
    Series,
    SignalMarker,
)
from ccwatch.stream.batch import Batch

_ALWAYS: Final = ("price", "nav", "cash", "daily_pnl", "confidence", "approved_size")
"""Numbers that marks, the running peak, P&L and exposure need, whatever is drawn."""


def gap_seqs(events: pd.DataFrame | None) -> Seqs:
    """Return the seq of the last packet before each gap. `events`: columns seq, kind."""
    if events is None or not len(events):
        return np.empty(0, dtype=np.uint64)
    return events["seq"].to_numpy()[events["kind"].isin(list(GAP_KINDS)).to_numpy()].astype(np.uint64)


def breaks(seq: Seqs, connection: npt.NDArray[Any], gaps: Seqs, carry: Carry) -> Codes:
    """Return 1 for each row after a gap that was noticed, or on another connection than the row before; else 0."""
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


def gauges(seq: Seqs, table: pd.DataFrame | None, kind: str, names: Sequence[str]) -> Floats:
    """Return gauges of a kind as a matrix of len(seq) rows and one column per name. `table`: columns seq, agent or model, the gauge."""
    matrix = np.full((len(seq), len(names)), np.nan)
    whose, gauge = GAUGES[kind]
    if table is None or not len(table) or not len(seq) or not names:
        return matrix
    order = np.argsort(seq, kind="stable")
    ranks = np.minimum(np.searchsorted(seq[order], table["seq"].to_numpy()), len(seq) - 1)
    rows = order[ranks]
    columns = _codes(table[whose], names)
    known = (seq[rows] == table["seq"].to_numpy()) & (columns != NONE)
    matrix[rows[known], columns[known]] = table[gauge].to_numpy()[known]
    return matrix


def prepare(
    frame: pd.DataFrame,
    agents: pd.DataFrame | None,
    gaps: Seqs,
    names: Names,
    *,
    models: pd.DataFrame | None = None,
    wanted: Sequence[str] = WANTED,
    shift: timedelta = timedelta(0),
    carry: Carry | None = None,
) -> Series:
    """Prepare the rows of a frame for drawing.

    Args:
        frame: packets, clean, by time; at least those of PACKET_COLUMNS that are wanted, with `reasoning` for the text of marks.
        agents: columns seq, agent, latency_ms, success_rate, or None.
        gaps: the result of gap_seqs().
        names: services and symbols seen so far; new symbols are added to it, services are not.
        models: columns seq, model, latency_ms, cache_hit_rate, or None.
        wanted: kinds of columns: those of PLAIN and GAUGES, drawdown, interval, lag.
        shift: offset of the display zone.
        carry: the state after the rows before; None at the beginning.
    """
    seq = frame["seq"].to_numpy().astype(np.uint64, copy=False)
    text = frame["reasoning"] if "reasoning" in frame.columns else None
    tables = {"agent": agents, "model": models}
    missing = np.full(len(frame), np.nan)
    return _assemble(
        seq=seq,
        connection=frame["connection"].to_numpy(),
        time_ms=_index_ms(frame.index) + shift.total_seconds() * 1000.0,
        received=_received(frame),
        status=_ranks(frame["status"]) if "status" in frame.columns else np.full(len(frame), NOT_CARRIED, dtype=np.int64),
        numbers={name: frame[name].to_numpy(dtype=np.float64) if name in frame.columns else missing for name in _numbers(wanted)},
        regime=_codes(frame["regime"], REGIME_WORDS),
        symbol=_codes(frame["symbol"], names.symbols, grow=True),
        side=_codes(frame["side"], SIDE_WORDS),
        services={kind: gauges(seq, tables[GAUGES[kind][0]], kind, names.services(kind)) for kind in wanted if kind in GAUGES},
        reasoning=lambda rows: [""] * len(rows) if text is None else ["" if pd.isna(word) else str(word) for word in text.iloc[rows]],
        gaps=gaps,
        names=names,
        wanted=wanted,
        shift=shift,
        before=carry or Carry(),
    )


def prepare_batch(
    batch: Batch,
    gaps: Seqs,
    names: Names,
    *,
    wanted: Sequence[str] = WANTED,
    shift: timedelta = timedelta(0),
    carry: Carry | None = None,
) -> Series:
    """Prepare a batch of clean packets, in order, for drawing: the same as prepare() on their frames, without the cost of a frame."""
    packets, column = batch.packets, batch.column
    services = {}
    for kind in wanted:
        if kind in GAUGES:
            whose, gauge = GAUGES[kind]
            places = {name: place for place, name in enumerate(names.services(kind))}
            matrix = services[kind] = np.full((len(packets), len(places)), np.nan)
            for row, packet in enumerate(packets):
                for metric in packet.agents if whose == "agent" else packet.models:
                    place = places.get(metric[0])
                    if place is not None:
                        matrix[row, place] = getattr(metric, gauge)
    for symbol in column("symbol"):
        if symbol is not None and symbol not in names.symbols and len(names.symbols) < NONE:
            names.symbols.append(symbol)
    received = (
        np.array(column("received_mono_ns"), dtype=np.int64),
        np.array(column("received_at_ns"), dtype=np.int64) / 1e6,
    )
    return _assemble(
        seq=np.array(column("seq"), dtype=np.uint64),
        connection=np.array(column("connection"), dtype=np.int32),
        time_ms=np.array(column("time_ns"), dtype=np.int64) / 1e6 + shift.total_seconds() * 1000.0,
        received=received,
        status=np.array([rank(word) for word in column("status")], dtype=np.int64),
        numbers={name: np.array(column(name), dtype=np.float64) for name in _numbers(wanted)},
        regime=_places(column("regime"), REGIME_WORDS),
        symbol=_places(column("symbol"), names.symbols),
        side=_places(column("side"), SIDE_WORDS),
        services=services,
        reasoning=lambda rows: [column("reasoning")[row] or "" for row in rows],
        gaps=gaps,
        names=names,
        wanted=wanted,
        shift=shift,
        before=carry or Carry(),
    )


Received = tuple[npt.NDArray[np.int64], Floats]
"""The monotonic receive time of each row in ns, and the wall clock's in ms."""


def _received(frame: pd.DataFrame) -> Received:
    if not {"received_at", "received_mono_ns"} <= set(frame.columns):
        return np.zeros(len(frame), dtype=np.int64), np.full(len(frame), np.nan)
    return frame["received_mono_ns"].to_numpy(dtype=np.int64), _index_ms(pd.DatetimeIndex(frame["received_at"]))


def _numbers(wanted: Sequence[str]) -> list[str]:
    return [*_ALWAYS, *(name for name in wanted if name in PLAIN and name not in _ALWAYS)]


def _assemble(
    *,
    seq: Seqs,
    connection: npt.NDArray[Any],
    time_ms: Floats,
    received: Received,
    status: npt.NDArray[np.int64],
    numbers: dict[str, Floats],
    regime: Codes,
    symbol: Codes,
    side: Codes,
    services: dict[str, Floats],
    reasoning: Callable[[list[int]], list[str]],
    gaps: Seqs,
    names: Names,
    wanted: Sequence[str],
    shift: timedelta,
    before: Carry,
) -> Series:
    nav = numbers["nav"]
    capital = before.capital if np.isfinite(before.capital) else starting_capital(nav, numbers["daily_pnl"])
    numbers["daily_pnl"] = np.where(np.isnan(numbers["daily_pnl"]), nav - capital, numbers["daily_pnl"])
    symbol, side = _filled(symbol, before.symbol), _filled(side, before.side)
    pace = copy.deepcopy(before.pace) if before.pace is not None else Pace()
    known, burst, settled = _status(received[0], time_ms, status, connection, pace, before)
    timing, mono_ns, offset_s = _timing(received, time_ms - shift.total_seconds() * 1000.0, connection, before)
    # A loss from before the first row is one, too: the day's capital is a peak, as in `analysis.drawdowns`.
    peak, depth = under_water(nav, float(np.fmax(before.peak, capital)))
    columns = _columns(wanted, names, services, numbers, timing | {"drawdown": depth})
    after = before
    if len(seq):
        after = Carry(
            seq=max(before.seq, int(seq.max())),
            connection=int(connection[-1]),
            time_ms=float(time_ms[-1]),
            peak=next_peak(peak, before.peak),
            symbol=int(symbol[-1]),
            side=int(side[-1]),
            mono_ns=mono_ns,
            offset_s=offset_s,
            capital=capital,
            pace=pace,
            burst=burst,
            settled=settled,
        )
    return Series(
        seq=seq,
        time_ms=time_ms,
        columns=columns,
        regime=regime,
        status=known,
        symbol=symbol,
        broken=breaks(seq, connection, gaps, before),
        markers=_markers(seq, time_ms, numbers, side, symbol, before.side, reasoning),
        carry=after,
    )


def _markers(
    seq: Seqs,
    time_ms: Floats,
    numbers: dict[str, Floats],
    side: Codes,
    symbol: Codes,
    side_before: int,
    reasoning: Callable[[list[int]], list[str]],
) -> tuple[SignalMarker, ...]:
    """Return the packets at which the side changed; a first side is no change."""
    previous = np.concatenate(([side_before], side))[: len(side)]
    turns = np.flatnonzero((side != previous) & (previous != NONE) & (side != NONE)).tolist()
    return tuple(
        SignalMarker(
            seq=int(seq[row]),
            time_ms=float(time_ms[row]),
            price=float(numbers["price"][row]),
            side=int(side[row]),
            symbol=int(symbol[row]),
            confidence=float(numbers["confidence"][row]),
            size=float(numbers["approved_size"][row]),
            text=text,
        )
        for row, text in zip(turns, reasoning(turns), strict=True)
    )


def _columns(
    wanted: Sequence[str], names: Names, services: dict[str, Floats], numbers: dict[str, Floats], made: dict[str, Floats]
) -> dict[str, Floats]:
    """Return the columns of the wanted kinds: of each service, made from other columns, or numbers of the packets as they are."""
    columns: dict[str, Floats] = {}
    for kind in wanted:
        if kind in GAUGES:
            columns |= {f"{kind}:{name}": services[kind][:, place] for place, name in enumerate(names.services(kind))}
        elif kind == "exposure":
            columns[kind] = exposure(numbers["nav"], numbers["cash"])
        elif kind == "pnl":
            with np.errstate(over="ignore"):  # what two of the largest numbers make is none
                before = numbers["nav"] - numbers["daily_pnl"]
            columns[kind] = _share(numbers["daily_pnl"], before)
        else:
            columns[kind] = made[kind] if kind in made else numbers[kind]
    return columns


def _share(part: Floats, whole: Floats) -> Floats:
    """Return `part` over `whole` as fractions, where `whole` is a number above zero; NaN elsewhere."""
    with np.errstate(over="ignore"):
        found: Floats = np.divide(part, whole, out=np.full(len(part), np.nan), where=(whole > 0.0) & np.isfinite(whole))
    found[np.isinf(found)] = np.nan
    return found


def _ranks(column: pd.Series) -> npt.NDArray[np.int64]:
    """Return the rank of each status word, NOT_CARRIED where there is none."""
    words = pd.Categorical(column)
    ranks = np.array([*(rank(str(word)) for word in words.categories), NOT_CARRIED], dtype=np.int64)
    found: npt.NDArray[np.int64] = ranks[words.codes]
    return found


def _status(
    mono_ns: npt.NDArray[np.int64],
    time_ms: Floats,
    ranks: npt.NDArray[np.int64],
    connection: npt.NDArray[Any],
    pace: Pace,
    before: Carry,
) -> tuple[Codes, int, int]:
    """Return the status at each row: the worst word of its burst so far and of the burst before it (see `domain.status`).

    The codes come with the rank of the burst that may go on and that of the one before it. Rows without receive times are put into
    bursts by their own time.
    """
    if not len(ranks):
        return np.empty(0, dtype=np.uint8), before.burst, before.settled
    at_ns = mono_ns if mono_ns.any() else (time_ms * 1e6).astype(np.int64)
    fresh = np.concatenate(([connection[0] != before.connection], connection[1:] != connection[:-1]))
    begins = pace.note_all(np.maximum.accumulate(at_ns), is_first=fresh).begins
    number = np.cumsum(begins)  # 0: the burst that went on
    firsts = np.flatnonzero(np.concatenate(([True], number[1:] != number[:-1])))
    going_on = number[0] == 0
    worst = worst_of_bursts(ranks, begins)[firsts]
    worst[0] = max(int(worst[0]), before.burst) if going_on else worst[0]
    # A burst that carries no status keeps that of the burst before it.
    last_known = np.empty(len(firsts) + 1, dtype=np.int64)
    last_known[0] = before.settled if going_on else before.burst if before.burst != NOT_CARRIED else before.settled
    for place, value in enumerate(worst.tolist()):
        last_known[place + 1] = value if value != NOT_CARRIED else last_known[place]
    index = np.repeat(np.arange(len(firsts)), np.diff(firsts, append=len(ranks)))
    base = int(ranks.max()) + 2
    first_burst = before.burst if going_on else NOT_CARRIED
    own = np.maximum.accumulate(index * base + ranks + 1) - index * base - 1
    own[index == 0] = np.maximum(own[index == 0], first_burst)
    found = np.maximum(own, last_known[index])
    codes = np.where(found == NOT_CARRIED, NONE, found).astype(np.uint8)
    return codes, int(worst[-1]), int(last_known[-2])


def _timing(received: Received, time_ms: Floats, connection: npt.NDArray[Any], before: Carry) -> tuple[dict[str, Floats], int, float]:
    """Return the seconds since the packet before on the same connection, and each one's delay over the connection's fastest.

    The server's clock need not be right: only the difference to the least offset so far shows a delay.
    """
    if not len(time_ms):
        return {"interval": np.empty(0), "lag": np.empty(0)}, before.mono_ns, before.offset_s
    mono_ns, wall_ms = received
    same = np.concatenate(([connection[0] == before.connection], connection[1:] == connection[:-1]))
    interval = np.where(same, np.diff(mono_ns, prepend=before.mono_ns) / 1e9, np.nan)
    offset = (wall_ms - time_ms) / 1000.0
    least = np.empty(len(offset))
    edges = [*np.flatnonzero(~same).tolist(), len(offset)]
    first = before.offset_s
    for start, end in zip([0, *edges[:-1]], edges, strict=True):
        least[start:end] = np.fmin(np.fmin.accumulate(offset[start:end]), first) if end > start else np.nan
        first = np.inf
    return {"interval": interval, "lag": offset - least}, int(mono_ns[-1]), float(least[-1])


def _index_ms(index: pd.Index) -> Floats:
    return pd.DatetimeIndex(index).as_unit("ns").asi8 / 1e6


def _places(words: Sequence[str | None], known: Sequence[str]) -> Codes:
    places = {word: place for place, word in enumerate(known[:NONE])}
    return np.array([NONE if word is None else places.get(str(word), NONE) for word in words], dtype=np.uint8)


def _codes(column: pd.Series, words: Sequence[str] | list[str], *, grow: bool = False) -> Codes:
    """Return positions in `words`, NONE for missing and unknown ones; with `grow` unknown ones are appended to `words`."""
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
    """Return codes with NONE replaced by the one before, since a partial packet leaves unchanged what it does not carry."""
    if not len(codes) or not (codes == NONE).any():
        return codes
    extended = np.concatenate((np.array([first], dtype=np.uint8), codes))
    rows = np.where(extended == NONE, 0, np.arange(len(extended)))
    return np.asarray(extended[np.maximum.accumulate(rows)][1:], dtype=np.uint8)
