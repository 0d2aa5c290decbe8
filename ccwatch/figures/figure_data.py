"""The data of a figure: rows as aligned arrays, signals as marks, and the vocabularies of their codes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from ccwatch.domain.burst_status import NOT_CARRIED, ORDER
from ccwatch.domain.liveness import Pace
from ccwatch.protocol.messages import EventKind, Regime, Side

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint8]
Seqs = npt.NDArray[np.uint64]
Trace = dict[str, Any]
"""A trace as plotly takes it."""

PACKET_COLUMNS: Final = (
    "seq",
    "connection",
    "symbol",
    "regime",
    "side",
    "price",
    "alpha",
    "nav",
    "cash",
    "daily_pnl",
    "status",
    "max_drawdown",
    "confidence",
    "approved_size",
    "velocity",
    "acceleration",
    "received_at",
    "received_mono_ns",
)
"""The columns of the packets table that prepare() reads."""
PLAIN: Final = ("price", "alpha", "nav", "daily_pnl", "max_drawdown", "velocity", "acceleration")
"""Columns of the packets table that are drawn as they are."""
GAUGES: Final = {
    "latency": ("agent", "latency_ms"),
    "success": ("agent", "success_rate"),
    "model": ("model", "latency_ms"),
    "cache": ("model", "cache_hit_rate"),
}
"""Kinds with one column per service, `kind:name`: agent or model, and the gauge."""
WANTED: Final = ("price", "pnl", "alpha", "latency", "model")
"""The kinds that are prepared by default: those of the default panels."""
FACTS: Final = ("price", "nav", "daily_pnl", "pnl", "drawdown", "exposure")
"""The kinds that a live view always has, since its status line shows them at any time."""
STATUS_WORDS: Final = ORDER
"""Canonical words of the status, the worst last."""
REGIME_WORDS: Final = tuple(str(word) for word in Regime)
SIDE_WORDS: Final = tuple(str(word) for word in Side)
NONE: Final = 255
"""The code of "not known"."""
GAP_KINDS: Final = frozenset({EventKind.GAP, EventKind.DISCONNECT, EventKind.STALE})
"""Events after which something of the stream may be missing: no line is drawn across them."""


@dataclass(frozen=True, slots=True)
class SignalMarker:
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
    """The state after the rows before."""

    seq: int = 0
    connection: int = -1
    time_ms: float = -np.inf
    peak: float = -np.inf
    """Running peak of nav."""
    symbol: int = NONE
    side: int = NONE
    mono_ns: int = 0
    """Monotonic receive time."""
    offset_s: float = np.inf
    """Least receive time minus server's time, of this connection."""
    capital: float = np.nan
    """The account's worth when the day began, USD, from which the day's P&L is computed where the stream does not send it."""
    pace: Pace | None = None
    """The pace after the last burst began; a copy is advanced, never this object."""
    burst: int = NOT_CARRIED
    """The rank of the worst status of the burst that may go on."""
    settled: int = NOT_CARRIED
    """The same of the burst before it."""


@dataclass(frozen=True, slots=True)
class Series:
    """Rows ready for drawing; all arrays have one entry per row, NaN where a row did not carry the value."""

    seq: Seqs
    time_ms: Floats
    """Wall time of the display zone, in ms, for an axis that takes every time for UTC."""
    columns: dict[str, Floats]
    """Those of PLAIN in their own units; drawdown, pnl and exposure (fractions), daily_pnl (USD), interval and lag (s), and
    `kind:<service>` (ms, or a fraction)."""
    regime: Codes
    status: Codes
    """Places in STATUS_WORDS: the worst word of the burst so far and of the one before; NONE where no packet carried one yet."""
    symbol: Codes
    broken: Codes
    """1 where the stream has a gap between the row before and this one, else 0."""
    markers: tuple[SignalMarker, ...]
    carry: Carry

    def __len__(self) -> int:
        return len(self.seq)

    def pick(self, rows: slice | npt.NDArray[np.intp]) -> Series:
        """Return some of the rows, in order. A break of a row that is left out counts for the next one that is kept."""
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
            status=self.status[rows],
            symbol=self.symbol[rows],
            broken=broken,
        )


@dataclass(slots=True)
class Names:
    """The open vocabularies, in the order in which they were first seen."""

    agents: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    symbols: list[str] = field(default_factory=list)

    def columns(self, kinds: Sequence[str]) -> list[str]:
        """Return the columns of some kinds: the kind itself, or one per service."""
        found = []
        for kind in kinds:
            found += [f"{kind}:{name}" for name in self.services(kind)] if kind in GAUGES else [kind]
        return found

    def services(self, kind: str) -> list[str]:
        """Return the agents or the models, whichever a kind of gauge belongs to."""
        return self.agents if GAUGES[kind][0] == "agent" else self.models


def zone_shift(at: datetime | pd.Timestamp, tz: str) -> timedelta:
    """Return the offset of the zone from UTC at a time. One shift serves a whole figure, so that its axis never runs backwards."""
    return at.astimezone(ZoneInfo(tz)).utcoffset() or timedelta(0)


def zone_label(tz: str, shift: timedelta) -> str:
    """Return the zone as an axis prints it: `UTC`, or `Europe/Berlin, UTC+01:00`."""
    if tz == "UTC":
        return tz
    minutes = round(shift.total_seconds() / 60)
    return f"{tz}, UTC{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def dates(time_ms: Floats) -> Any:
    """Return times as a date axis takes them: datetime64[ms]."""
    return time_ms.round().astype("datetime64[ms]")
