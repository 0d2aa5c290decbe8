"""What goes to the page: a skeleton and all rows once, then only new rows, each as one binary buffer. No thread, no widget.

A buffer holds columns one after the other in the order of `columns` of the full message, wide types first:
time and price as float64, the other values as float32, codes as uint8. Its size depends on what is new, never on the window.
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

from ccwatch.dashboard.panels import View
from ccwatch.figures.figures import agent_names, compose, hover_text
from ccwatch.figures.series import (
    GAP_KINDS,
    PACKET_COLUMNS,
    Carry,
    Mark,
    Names,
    Series,
    gap_seqs,
    prepare,
    prepare_packets,
    zone_label,
    zone_shift,
)
from ccwatch.protocol.messages import UNCLEAN, Event, Item, Packet

PAGE_ROWS: Final = 200_000
"""Rows that the page holds at most; older ones stay in the feed."""
EXACT_ROWS: Final = 200
"""Up to so many new rows go as they are; of more, those that hold a minimum or a maximum of their stretch."""
STRETCHES: Final = 10
PAGE_MARKS: Final = 500
AGENTS: Final = 24
"""Lines that the latency panel draws at most."""
_WIDE: Final = ("price",)


class Message(NamedTuple):
    """One custom message to the page."""

    content: dict[str, Any]
    buffers: list[bytes]


class FullNeeded(Exception):
    """Rows belong before the last that was sent, or there is a new agent, or the display zone's clock changed."""


class Encoder:
    """Turns a view into messages. Remembers the last row that was sent; used by one thread at a time.

    All rows come from the view's frames; new ones from the packets themselves, which costs a tenth of a frame.
    """

    def __init__(self, view: View, *, tz: str = "UTC", panels: Sequence[str] | None = None) -> None:
        self._view = view
        self._tz = tz
        self._panels = panels
        self._names = Names()
        self._carry = Carry()
        self._shift = timedelta(0)
        self._gaps: list[int] = []  # seqs before gaps that no packet has followed yet
        self._started = False
        self._skeletons: dict[tuple[str, ...], dict[str, Any]] = {}

    @property
    def last_seq(self) -> int:
        """The seq of the newest row that was sent; 0 before the first."""
        return self._carry.seq

    def full(self, up_to: int | None = None) -> Message:
        """The skeleton and all rows (those up to seq `up_to`), newest PAGE_ROWS of them."""
        frame = self._view.frame([*PACKET_COLUMNS, "reasoning"])
        agents = self._view.agents()
        if up_to is not None:
            frame = frame[frame["seq"].to_numpy() <= up_to]
        self._names = Names(agents=agent_names(agents)[:AGENTS])
        self._shift = zone_shift(frame.index[-1], self._tz) if len(frame) else timedelta(0)
        carry = Carry()
        if len(frame) > PAGE_ROWS:  # the peak before the rows that the page holds still counts
            older = frame["nav"].to_numpy()[:-PAGE_ROWS]
            carry = replace(carry, peak=float(np.fmax.reduce(older)))
            frame = frame.iloc[-PAGE_ROWS:]
        gaps = gap_seqs(self._view.events())
        series = prepare(frame, agents, gaps, self._names, shift=self._shift, carry=carry)
        self._carry = series.carry
        self._started = bool(len(series))
        self._gaps = [int(seq) for seq in gaps if seq >= series.carry.seq]
        return Message(
            {
                "kind": "full",
                "seq": series.carry.seq,
                "rows": len(series),
                "limit": PAGE_ROWS,
                "columns": _columns(series),
                "symbols": self._names.symbols,
                "marks": [_mark(mark) for mark in series.marks[-PAGE_MARKS:]],
                "figure": self._skeleton(frame),
            },
            [_pack(series)],
        )

    def new(self, items: Sequence[Item]) -> Message | None:
        """Those of the items that were not sent yet, or None when there are none.

        Args:
            items: all that arrived since the last message, in order of arrival; what full() sent may be among it.

        Raises:
            FullNeeded: full() must be sent instead.
        """
        packets = [item for item in items if isinstance(item, Packet) and item.seq > self._carry.seq and not item.flags & UNCLEAN]
        if not packets:
            self._gaps += [item.seq for item in items if isinstance(item, Event) and item.kind in GAP_KINDS]
            return None
        if not self._started:
            raise FullNeeded
        if zone_shift(packets[-1].time, self._tz) != self._shift:
            raise FullNeeded
        if len(self._names.agents) < AGENTS:
            known = set(self._names.agents)
            if any(metric.agent not in known for packet in packets for metric in packet.agents):
                raise FullNeeded
        gaps = self._gaps + [item.seq for item in items if isinstance(item, Event) and item.kind in GAP_KINDS]
        symbols = len(self._names.symbols)
        series = prepare_packets(packets, np.array(gaps, dtype=np.uint64), self._names, shift=self._shift, carry=self._carry)
        if series.time_ms[0] < self._carry.time_ms or (np.diff(series.time_ms) < 0).any():
            raise FullNeeded
        self._gaps = []
        after, self._carry = self._carry.seq, series.carry
        rows = _thin(series)
        content: dict[str, Any] = {"kind": "rows", "after": after, "seq": series.carry.seq, "rows": len(rows)}
        if series.marks:
            content["marks"] = [_mark(mark) for mark in series.marks[-PAGE_MARKS:]]
        if len(self._names.symbols) > symbols:
            content["symbols"] = self._names.symbols
        return Message(content, [_pack(rows)])

    def _skeleton(self, frame: pd.DataFrame) -> dict[str, Any]:
        zone = zone_label(self._tz, self._shift)
        key = (zone, *self._names.agents)
        if key not in self._skeletons:
            empty = prepare(frame.iloc[:0], None, gap_seqs(None), Names(agents=self._names.agents))
            self._skeletons[key] = {
                name: json.loads(compose(empty, self._names, zone, dark=dark, panels=self._panels).to_json())
                for name, dark in (("light", False), ("dark", True))
            }
        return self._skeletons[key]


def _columns(series: Series) -> list[list[str]]:
    narrow = [name for name in series.columns if name not in _WIDE]
    return [
        *(["f8", name] for name in ("time", *_WIDE)),
        *(["f4", name] for name in narrow),
        *(["u1", name] for name in ("regime", "symbol", "broken")),
    ]


def _pack(series: Series) -> bytes:
    held: dict[str, npt.NDArray[Any]] = {
        "time": series.time_ms,
        "regime": series.regime,
        "symbol": series.symbol,
        "broken": series.broken,
        **series.columns,
    }
    return b"".join(held[name].astype(f"<{kind}", copy=False).tobytes() for kind, name in _columns(series))


def _thin(series: Series) -> Series:
    """At most a few rows per stretch: those with a minimum or maximum of any value, and those where a code changes."""
    count = len(series)
    if count <= EXACT_ROWS:
        return series
    kept = {0, count - 1}
    edges = np.linspace(0, count, STRETCHES + 1).astype(int)
    for values in series.columns.values():
        for low, high in itertools.pairwise(edges):
            stretch = values[low:high]
            if not np.isnan(stretch).all():
                kept |= {int(low + np.nanargmin(stretch)), int(low + np.nanargmax(stretch))}
    turns = (series.regime[1:] != series.regime[:-1]) | (series.symbol[1:] != series.symbol[:-1]) | (series.broken[1:] == 1)
    changes = np.flatnonzero(turns) + 1
    kept |= set(changes[:EXACT_ROWS].tolist()) | set((changes[:EXACT_ROWS] - 1).tolist())
    rows = np.array(sorted(kept))
    passed = np.cumsum(series.broken)[rows]  # a break of a row that is left out counts for the next one that is kept
    broken = (np.diff(passed, prepend=0) > 0).astype(np.uint8)
    return replace(
        series,
        seq=series.seq[rows],
        time_ms=series.time_ms[rows],
        columns={name: values[rows] for name, values in series.columns.items()},
        regime=series.regime[rows],
        symbol=series.symbol[rows],
        broken=broken,
    )


def _mark(mark: Mark) -> list[Any]:
    return [mark.time_ms, None if np.isnan(mark.price) else mark.price, mark.side, mark.symbol, hover_text(mark)]
