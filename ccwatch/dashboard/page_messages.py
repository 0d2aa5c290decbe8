"""Messages to the page: a first picture, the older rows in chunks, then only new rows. No thread, no widget.

A buffer holds columns one after the other in the order of `columns` of the full message, wide types first:
time and price as float64, the other values as float32, codes as uint8. A frame's size depends on what is new, never on the window.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from ccwatch.dashboard.side_tables import newest_within
from ccwatch.figures.figure_data import (
    GAP_KINDS,
    PACKET_COLUMNS,
    REGIME_WORDS,
    SIDE_WORDS,
    STATUS_WORDS,
    Carry,
    Names,
    Series,
    SignalMarker,
    zone_label,
    zone_shift,
)
from ccwatch.figures.figures import agent_names, compose, resolve, service_names, shifted
from ccwatch.figures.panels import TEXT_LIMIT, Line, Panel, computed_traces, live_kinds, marker_px, marker_symbol, service_kinds
from ccwatch.figures.prepare import gap_seqs, prepare, prepare_batch
from ccwatch.figures.theme import theme
from ccwatch.protocol.messages import Item
from ccwatch.stream import dataframes
from ccwatch.stream.batch import Batch
from ccwatch.stream.view import View

PAGE_ROWS: Final = 200_000
"""Rows that the page holds at most; older ones stay in the feed."""
FIRST_ROWS: Final = 800
"""The newest rows, which a full message carries as they are."""
SKETCH_ROWS: Final = 500
"""About so many of the older rows come with them as a sketch, those with minima and maxima, until the rest arrives."""
CHUNK_ROWS: Final = 3_000
"""Older rows per message: about 275 KB with six agents and three models."""
EXACT_ROWS: Final = 200
"""Up to so many new rows go as they are; of more, about so many that hold a minimum or a maximum of their stretch."""
ROWS_BYTES: Final = 36_000
"""Bytes of one frame's new rows at most, for any number of services: with marks and side rows it stays below 64 KB."""
MARKS_BYTES: Final = 6_000
"""Bytes of one frame's signals, the newest first; enough for all of them at any rate that a page can draw."""
SYMBOL_CHARACTERS: Final = 32
PAGE_MARKS: Final = 500
AGENTS: Final = 24
"""Lines that the latency panel draws at most."""
_WIDE: Final = ("price", "nav")

Rows = npt.NDArray[np.intp]


class Message(NamedTuple):
    """One custom message to the page."""

    content: dict[str, Any]
    buffers: list[bytes]


class FullNeeded(Exception):
    """Only a full message can go on: rows are older than the last sent, a service is new, or the display zone's offset changed."""


class _Chunk(NamedTuple):
    """Rows [low, high) of the last full message's series, and the number of its sketch's rows before them."""

    low: int
    high: int
    sketched: int


class Encoder:
    """Turns a view into messages. Remembers the last row that was sent; used by one thread at a time.

    All rows come from the view's frames; new ones of a feed from the packets themselves, which costs a tenth of a frame.
    """

    def __init__(self, view: View, *, tz: str = "UTC", panels: Sequence[str | Panel] | None = None) -> None:
        self._view = view
        self._tz = tz
        self._panels = resolve(panels)
        self._wanted = live_kinds(self._panels)
        self._services = service_kinds(self._panels)
        self._lines: dict[str, list[list[Any]]] = {}  # traces of computed lines that the page has, by panel
        self._names = Names()
        self._carry = Carry()
        self._shift = timedelta(0)
        self._gaps: list[int] = []  # seqs before gaps that no packet has followed yet
        self._started = False
        self._skeletons: dict[tuple[str, ...], dict[str, Any]] = {}
        self._series: Series | None = None  # the series that older() takes its rows from
        self._chunks: list[_Chunk] = []  # the newest last
        self._markers: list[SignalMarker] = []

    @property
    def last_seq(self) -> int:
        """Return the seq of the newest row that was sent; 0 before the first."""
        return self._carry.seq

    @property
    def shift(self) -> timedelta:
        """Return the display zone's offset from UTC, as the page has it."""
        return self._shift

    @property
    def chunks_left(self) -> int:
        """Return how many messages older() still has to give."""
        return len(self._chunks)

    def warm(self) -> None:
        """Make the figure's skeleton for full() ahead of time, from the services and the zone offset known now."""
        newest = self._view.frame(["seq"], 1).index
        self._shift = zone_shift(newest[-1], self._tz) if len(newest) else timedelta(0)
        self._names = self._find_services(self._view.agents(), self._models())
        self._skeleton()

    def full(self, up_to: int | None = None) -> Message:
        """Return the skeleton, the newest rows (of those up to seq `up_to`) and a sketch of the older ones, which older() then gives."""
        frame = self._view.frame([*PACKET_COLUMNS, "reasoning"])
        agents, models = self._view.agents(), self._models()
        if up_to is not None:
            frame = frame[frame["seq"].to_numpy() <= up_to]
        self._names = self._find_services(agents, models)
        self._lines = {}
        self._shift = zone_shift(frame.index[-1], self._tz) if len(frame) else timedelta(0)
        carry = Carry()
        if len(frame) > PAGE_ROWS:  # the peak before the rows that the page holds still counts
            older = frame["nav"].to_numpy()[:-PAGE_ROWS]
            carry = replace(carry, peak=float(np.fmax.reduce(older)))
            frame = frame.iloc[-PAGE_ROWS:]
        gaps = gap_seqs(self._view.events())
        series = prepare(frame, agents, gaps, self._names, models=models, wanted=self._wanted, shift=self._shift, carry=carry)
        self._carry = series.carry
        self._started = bool(len(series))
        self._gaps = [int(seq) for seq in gaps if seq >= series.carry.seq]
        self._markers = list(series.markers[-PAGE_MARKS:])
        sketch = self._cut(series)
        first = max(0, len(series) - FIRST_ROWS)
        rows = series.pick(np.concatenate((sketch, np.arange(first, len(series)))))
        return Message(
            {
                "kind": "full",
                "seq": series.carry.seq,
                "total": len(series),
                "rows": len(rows),
                "sketched": len(sketch),
                "limit": PAGE_ROWS,
                "columns": _columns(series),
                "symbols": self._names.symbols,
                "words": {"regime": REGIME_WORDS, "status": STATUS_WORDS, "side": SIDE_WORDS},
                "marks": self._markers_since(series, first),
                "figure": self._skeleton(),
            },
            [_pack(rows)],
        )

    def older(self) -> Message | None:
        """Return the newest chunk of the rows that full() only sketched and that were not sent yet, or None when all were."""
        if self._series is None or not self._chunks:
            return None
        low, high, sketched = self._chunks.pop()
        series, rows = self._series, self._series.pick(slice(low, high))
        content: dict[str, Any] = {"kind": "older", "at": low, "rows": len(rows), "sketched": sketched}
        markers = self._markers_since(series, low)
        if markers:
            content["marks"] = markers
        if not self._chunks:
            self.forget_older()
        return Message(content, [_pack(rows)])

    def forget_older(self) -> None:
        """Drop the older rows, which no page needs any more."""
        self._series, self._chunks, self._markers = None, [], []

    def new(self, items: Sequence[Item]) -> Message | None:
        """Return the rows of the items that were not sent yet, or None when there are none.

        Args:
            items: all that arrived since the last message, in order of arrival; items that full() sent may be among them.

        Raises:
            FullNeeded: full() must be sent instead.
        """
        batch = Batch.of(items)
        rows = batch.only_packets(after=self._carry.seq, clean=True)
        packets = rows.packets
        gaps = self._gaps + [event.seq for event in batch.events if event.kind in GAP_KINDS]
        if not packets:
            self._gaps = gaps
            return None
        agents = {metric.agent for packet in packets for metric in packet.agents} if "agent" in self._services else set()
        asks = "model" in self._services
        models = {metric.model for packet in packets for metric in packet.models} if asks else set()
        self._check(packets[-1].time, agents, models)
        symbols = len(self._names.symbols)
        series = prepare_batch(
            rows, np.array(gaps, dtype=np.uint64), self._names, wanted=self._wanted, shift=self._shift, carry=self._carry
        )
        return self._rows(series, symbols, EXACT_ROWS)

    def grown(self) -> Message | None:
        """Return the rows of the view's frames after the last that was sent, or None; for a view that delivers no items.

        Raises:
            FullNeeded: full() must be sent instead.
        """
        frame = self._view.frame([*PACKET_COLUMNS, "reasoning"])
        frame = frame[frame["seq"].to_numpy() > self._carry.seq]
        if not len(frame):
            return None
        agents, models = self._view.agents(), self._models()
        agents = agents[agents["seq"].to_numpy() > self._carry.seq]
        if models is not None:
            models = models[models["seq"].to_numpy() > self._carry.seq]
        found = self._find_services(agents, models)
        self._check(frame.index[-1], set(found.agents), set(found.models))
        symbols = len(self._names.symbols)
        gaps = gap_seqs(self._view.events())
        series = prepare(
            frame,
            agents,
            gaps[gaps >= self._carry.seq],
            self._names,
            models=models,
            wanted=self._wanted,
            shift=self._shift,
            carry=self._carry,
        )
        return self._rows(series, symbols, CHUNK_ROWS)

    def computed(self, panel: Panel, lines: Sequence[Line]) -> Message:
        """Return all of a panel's computed lines as a message, with their traces where the page does not have those yet."""
        lines = shifted({panel.name: lines}, self._shift)[panel.name]
        labels = [[line.label, line.fills] for line in lines]
        content: dict[str, Any] = {"kind": "computed", "panel": panel.name, "counts": [len(line.value) for line in lines]}
        if self._lines.get(panel.name) != labels:
            self._lines[panel.name] = labels
            number = [other.name for other in self._panels].index(panel.name) + 1
            place = {"xaxis": "x", "yaxis": f"y{number if number > 1 else ''}", "legend": f"legend{number if number > 1 else ''}"}
            bare = [replace(line, time_ms=np.empty(0), value=np.empty(0)) for line in lines]
            content["traces"] = {
                name: [_traced(trace, panel, place) for trace in computed_traces(panel, bare, theme(dark))]
                for name, dark in (("light", False), ("dark", True))
            }
        buffer = b"".join(line.time_ms.astype("<f8").tobytes() for line in lines)
        buffer += b"".join(line.value.astype("<f4").tobytes() for line in lines)
        return Message(content, [buffer])

    def _models(self) -> pd.DataFrame | None:
        return self._view.models() if "model" in self._services else None

    def _find_services(self, agents: pd.DataFrame, models: pd.DataFrame | None) -> Names:
        drawn = agent_names(agents)[:AGENTS] if "agent" in self._services else []
        return Names(agents=drawn, models=service_names(models, "model")[:AGENTS])

    def _check(self, newest: Any, agents: set[str], models: set[str]) -> None:
        if not self._started or zone_shift(newest, self._tz) != self._shift:
            raise FullNeeded
        for found, known in ((agents, self._names.agents), (models, self._names.models)):
            if len(known) < AGENTS and not found.issubset(known):
                raise FullNeeded

    def _rows(self, series: Series, symbols: int, exact: int) -> Message:
        if series.time_ms[0] < self._carry.time_ms or (np.diff(series.time_ms) < 0).any():
            raise FullNeeded
        self._gaps = []
        after, self._carry = self._carry.seq, series.carry
        fits = ROWS_BYTES // sum(int(kind[1]) for kind, _ in _columns(series))
        rows = series
        if len(series) > min(exact, fits):
            rows = series.pick(_turning_points(series, 0, len(series), min(EXACT_ROWS, fits * 2 // 3), fits))
        content: dict[str, Any] = {"kind": "rows", "after": after, "seq": series.carry.seq, "rows": len(rows)}
        if series.markers:
            content["marks"] = newest_within([_marker_row(marker) for marker in series.markers[-PAGE_MARKS:]], MARKS_BYTES)
        if len(self._names.symbols) > symbols:
            content["symbols"] = [symbol[:SYMBOL_CHARACTERS] for symbol in self._names.symbols]
        return Message(content, [_pack(rows)])

    def _cut(self, series: Series) -> Rows:
        """Cut the rows older than the newest ones into chunks; return the row numbers of their sketch, oldest first."""
        edges = [*range(max(0, len(series) - FIRST_ROWS), 0, -CHUNK_ROWS), 0][::-1]
        pieces = list(itertools.pairwise(edges))
        sketches = [_turning_points(series, low, high, SKETCH_ROWS // len(pieces)) for low, high in pieces]
        before = np.cumsum([0, *(len(rows) for rows in sketches)])
        self._chunks = [_Chunk(low, high, int(before[place])) for place, (low, high) in enumerate(pieces)]
        self._series = series if pieces else None
        return np.concatenate([np.empty(0, dtype=np.intp), *sketches])

    def _markers_since(self, series: Series, row: int) -> list[Any]:
        """Return the marks from a row on that were not sent yet, oldest first."""
        found: list[Any] = []
        while self._markers and self._markers[-1].time_ms >= series.time_ms[row]:
            found.append(_marker_row(self._markers.pop()))
        return found[::-1]

    def _skeleton(self) -> dict[str, Any]:
        zone = zone_label(self._tz, self._shift)
        key = (zone, *self._names.agents, "", *self._names.models)
        if key not in self._skeletons:
            names = Names(agents=self._names.agents, models=self._names.models)
            empty = prepare(dataframes.build("packets", dataframes.packet_columns([])), None, gap_seqs(None), names, wanted=self._wanted)
            self._skeletons[key] = {
                name: json.loads(compose(empty, self._names, zone, dark=dark, panels=self._panels).to_json())
                for name, dark in (("light", False), ("dark", True))
            }
        return self._skeletons[key]


def _columns(series: Series) -> list[list[str]]:
    wide = [name for name in _WIDE if name in series.columns]
    narrow = [name for name in series.columns if name not in _WIDE]
    return [
        *(["f8", name] for name in ("time", *wide)),
        *(["f4", name] for name in narrow),
        *(["u1", name] for name in ("regime", "status", "symbol", "broken")),
    ]


def _pack(series: Series) -> bytes:
    held: dict[str, npt.NDArray[Any]] = {
        "time": series.time_ms,
        "regime": series.regime,
        "status": series.status,
        "symbol": series.symbol,
        "broken": series.broken,
        **series.columns,
    }
    return b"".join(held[name].astype(f"<{kind}", copy=False).tobytes() for kind, name in _columns(series))


def _turning_points(series: Series, low: int, high: int, about: int, most: int | None = None) -> Rows:
    """Return rows of [low, high): ends, gaps, minimum and maximum of each value per stretch, changes of a code.

    They are about `about`, up to half as many more where codes change a lot, and never fewer than the extremes of each value. Where
    they are more than `most`, some are left out, but neither the last row nor one after a gap.
    """
    kept = {low, high - 1}
    stretches = max(1, about // (2 * len(series.columns)))
    edges = np.linspace(low, high, stretches + 1).astype(int)
    for values in series.columns.values():
        for start, end in itertools.pairwise(edges):
            stretch = values[start:end]
            if not np.isnan(stretch).all():
                kept |= {int(start + np.nanargmin(stretch)), int(start + np.nanargmax(stretch))}
    codes = (series.regime[low:high], series.status[low:high], series.symbol[low:high])
    broken = series.broken[low:high]
    gaps = low + 1 + np.flatnonzero(broken[1:])
    turns = low + 1 + np.flatnonzero(np.logical_or.reduce([code[1:] != code[:-1] for code in codes]))
    changes = np.concatenate((gaps, turns))[: about // 4]
    kept |= set(changes.tolist()) | set((changes - 1).tolist())
    rows = np.array(sorted(kept), dtype=np.intp)
    if most is None or len(rows) <= most:
        return rows
    stays = np.isin(rows, gaps)
    stays[::-1][:: -(-len(rows) // max(1, most - int(stays.sum())))] = True
    return rows[stays]


def _marker_row(marker: SignalMarker) -> list[Any]:
    price, confidence, size = (None if np.isnan(value) else round(value, 6) for value in (marker.price, marker.confidence, marker.size))
    text = marker.text if len(marker.text) <= TEXT_LIMIT else marker.text[:TEXT_LIMIT] + "…"
    return [marker.time_ms, price, marker.side, marker.symbol, confidence, size, text, marker_px(marker), marker_symbol(marker)]


def _traced(trace: dict[str, Any], panel: Panel, place: dict[str, str]) -> dict[str, Any]:
    meta = trace["meta"] | {"unit": panel.unit, "digits": panel.digits, "scale": panel.scale}
    return {name: value for name, value in trace.items() if name not in {"x", "y"}} | place | {"meta": meta}
