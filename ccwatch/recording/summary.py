"""A session in one row, for listings: made once, when the recording is finished, and kept in the manifest's last line.

So a listing opens no Parquet. The row is made group by group, with one group in memory at a time. It knows no folder of recordings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ccwatch.domain import drawdown
from ccwatch.errors import RecordingError
from ccwatch.protocol.messages import UNCLEAN, EventKind, Status
from ccwatch.recording import holes, manifest
from ccwatch.recording.checked import prepare
from ccwatch.recording.folder import COPIES, LOCK, MANIFEST, MARKS
from ccwatch.recording.schemas import ALL_TABLES
from ccwatch.recording.segment_file import SegmentFile

CURVE: Final = 40
"""Most points of a session's nav that its row keeps, for a small picture."""
COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "packets": ("time", "connection", "symbol", "nav", "status", "flags"),
    "events": ("kind",),
}
"""The columns that a row is made from, by table."""
_OUTSIDE: Final = frozenset({MANIFEST, f"{COPIES}/{MANIFEST}", MARKS, LOCK})
"""Files that may grow after the row was made."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of one session.

    Attributes:
        start_ns: lowest time of a packet, ns since 1970 UTC; None without packets.
        end_ns: the highest one.
        packets: count of packets.
        events: count of events.
        symbols: in alphabetical order.
        nav_first: the first nav of a clean packet, USD; None where none was carried.
        nav_last: the last one.
        max_drawdown: lowest nav over its running maximum, less 1; None where no nav above zero was carried.
        halts: how often the engine went into HALT.
        gaps: count of gap and drop events.
        connections: count of connections.
        malformed: count of messages that could not be placed.
        damaged: count of places that fail their checksum.
        bytes: size of the folder, without the manifest, its copy, the marks and the lock.
        segment_bytes: size of the tables' files.
        curve: nav at up to 40 moments, in order of time, USD.
    """

    start_ns: int | None = None
    end_ns: int | None = None
    packets: int = 0
    events: int = 0
    symbols: tuple[str, ...] = ()
    nav_first: float | None = None
    nav_last: float | None = None
    max_drawdown: float | None = None
    halts: int = 0
    gaps: int = 0
    connections: int = 0
    malformed: int = 0
    damaged: int = 0
    bytes: int = 0
    segment_bytes: int = 0
    curve: tuple[float, ...] = ()

    @classmethod
    def read(cls, found: Any) -> Self | None:
        """Return the row in a manifest's line; None where it has another shape."""
        try:
            return msgspec.convert(found, cls)
        except msgspec.ValidationError:
            return None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values that JSON can hold."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


prepare(Summary)


@dataclass
class Sums:
    """The running sums of a session, whose tables are added in order of arrival, one stretch after the other."""

    start_ns: int | None = None
    end_ns: int | None = None
    packets: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    symbols: set[str] = field(default_factory=set)
    connections: set[int] = field(default_factory=set)
    nav_first: float | None = None
    nav_last: float | None = None
    peak: float = drawdown.NO_PEAK
    max_drawdown: float | None = None
    is_halted: bool = False
    halts: int = 0
    curve: list[float] = field(default_factory=list)

    def add(self, packets: Any, events: Any) -> None:
        """Count the rows of one stretch: Arrow tables with `COLUMNS`."""
        for kind in events["kind"].to_pylist():
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
        self.packets += packets.num_rows
        if not packets.num_rows:
            return
        times = packets["time"].cast(pa.int64()).to_numpy()
        self.start_ns = min(int(times.min()), times[0] if self.start_ns is None else self.start_ns)
        self.end_ns = max(int(times.max()), times[0] if self.end_ns is None else self.end_ns)
        self.symbols.update(word for word in packets["symbol"].unique().to_pylist() if word is not None)
        self.connections.update(packets["connection"].unique().to_pylist())
        clean = np.flatnonzero((packets["flags"].to_numpy() & np.uint32(UNCLEAN)) == 0)
        clean = clean[np.argsort(times[clean], kind="stable")]
        nav = packets["nav"].to_numpy()[clean]
        self._add_nav(nav[np.isfinite(nav)])
        self._add_status(packets["status"].take(pa.array(clean)))

    def _add_nav(self, nav: npt.NDArray[np.float64]) -> None:
        if not len(nav):
            return
        self.nav_first = float(nav[0]) if self.nav_first is None else self.nav_first
        self.nav_last = float(nav[-1])
        self.curve += _thinned(nav)
        peaks, depths = drawdown.under_water(nav, self.peak)
        self.peak = drawdown.next_peak(peaks, self.peak)
        deepest = float(np.fmin.reduce(depths))
        if np.isfinite(deepest):
            self.max_drawdown = deepest if self.max_drawdown is None else min(self.max_drawdown, deepest)

    def _add_status(self, status: Any) -> None:
        known = status.drop_null()
        if not len(known):
            return
        halted = np.array([word == Status.HALT for word in known.to_pylist()])
        self.halts += int((halted[1:] & ~halted[:-1]).sum()) + int(halted[0] and not self.is_halted)
        self.is_halted = bool(halted[-1])

    def summary(self, *, damaged: int, missing: int, folder: Path) -> Summary:
        """Return the row of the session.

        Args:
            damaged: count of places that fail their checksum.
            missing: how many of these are stretches of entries that are in no table: each is a gap, too.
            folder: the recording's folder, for its size.
        """
        whole, segment = sizes(folder)
        return Summary(
            start_ns=None if self.start_ns is None else int(self.start_ns),
            end_ns=None if self.end_ns is None else int(self.end_ns),
            packets=self.packets,
            events=sum(self.kinds.values()),
            symbols=tuple(sorted(self.symbols)),
            nav_first=self.nav_first,
            nav_last=self.nav_last,
            max_drawdown=self.max_drawdown,
            halts=self.halts,
            gaps=self.kinds.get(EventKind.GAP, 0) + self.kinds.get(EventKind.DROP, 0) + missing,
            connections=len(self.connections),
            malformed=self.kinds.get(EventKind.MALFORMED, 0),
            damaged=damaged,
            bytes=whole,
            segment_bytes=segment,
            curve=tuple(_thinned(np.array(self.curve))),
        )


def of_tables(packets: Any, events: Any, **about: Any) -> Summary:
    """Return the row of a session whose tables are in memory; see `Sums.summary`."""
    sums = Sums()
    sums.add(packets, events)
    return sums.summary(**about)


def of_finished(folder: Path) -> dict[str, Any]:
    """Return the fields for the manifest's last line of a recording without a journal; empty where a file cannot be read."""
    sums = Sums()
    try:
        found = manifest.read(folder)
        for group in found.groups:
            parts = {}
            for table, names in COLUMNS.items():
                parts[table] = SegmentFile(folder, group.files[table]).read_all(names)
            sums.add(**parts)
        missing = len(holes.merged(found.lost, holes.missing(found)))
        return {"row": sums.summary(damaged=len(found.damaged) + missing, missing=missing, folder=folder).to_dict()}
    except RecordingError:
        return {}  # a listing then reads the recording itself, and reports the damage


def sizes(folder: Path) -> tuple[int, int]:
    """Return the bytes of the folder without the files that may grow later, and the bytes of the tables' files."""
    whole = segment = 0
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if name in _OUTSIDE:
            continue
        try:
            size = path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue  # a recorder has just moved it
        whole += size
        segment += size if name.partition("/")[0] in ALL_TABLES else 0
    return whole, segment


def _thinned(values: npt.NDArray[np.float64] | Sequence[float]) -> list[float]:
    """Return at most `CURVE` of the values, evenly spaced, with the first and the last."""
    if len(values) <= CURVE:
        return [float(value) for value in values]
    places: Iterable[int] = np.linspace(0, len(values) - 1, CURVE).round().astype(int).tolist()
    return [float(values[place]) for place in places]
