"""The facts of a recording, and the moments that are marked in it."""

from __future__ import annotations

import html
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from ccwatch.protocol.messages import from_ns


@dataclass(frozen=True)
class Info:
    """The facts of a recording: its origin, times, counts and sizes.

    Attributes:
        path: its folder.
        session: its id.
        status: "open" while a recorder writes it, "finished", or "killed".
        origin: "live", "synthetic" or "replay".
        url: where the stream came from.
        tags: the words that the user gave it.
        start: the earliest time of a packet, by the server's clock; None without packets.
        end: the latest one.
        duration_s: seconds between them.
        packets: count of packets.
        events: count of events.
        symbols: in alphabetical order.
        gaps: count of gap and drop events, each of which says that something is missing.
        connections: count of connections.
        malformed: count of messages that could not be placed.
        bytes: its size on the disk.
        journal_bytes: the part of `bytes` that is not in Parquet yet.
        damaged: count of places that cannot be read, or could not be when it was recovered (see `verify` and the gap events).
    """

    path: Path
    session: str
    status: str
    origin: str
    url: str
    tags: tuple[str, ...]
    start: datetime | None
    end: datetime | None
    duration_s: float
    packets: int
    events: int
    symbols: tuple[str, ...]
    gaps: int
    connections: int
    malformed: int
    bytes: int
    journal_bytes: int
    damaged: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values that JSON can hold."""
        plain = asdict(self) | {"path": str(self.path), "tags": list(self.tags), "symbols": list(self.symbols)}
        return plain | {name: moment.isoformat() for name in ("start", "end") if (moment := plain[name]) is not None}

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Print a headline in IPython; `to_dict()` has all."""
        counts = f"{self.packets:,} packets in {timedelta(seconds=round(self.duration_s))}, {self.gaps} gaps, {self.damaged} damaged places"
        printer.text("…" if cycle else f"<Info {self.session}: {self.status}, {self.origin}, {', '.join(self.symbols)}, {counts}>")

    def _repr_html_(self) -> str:
        rows = [
            ("status", self.status + (" · SYNTHETIC" if self.origin == "synthetic" else "")),
            ("from", self.url),
            ("start", "" if self.start is None else f"{self.start:%Y-%m-%d %H:%M:%S} UTC"),
            ("duration", str(timedelta(seconds=round(self.duration_s)))),
            ("packets", f"{self.packets:,} in {self.connections} connections, {self.events:,} events"),
            ("symbols", ", ".join(self.symbols)),
            ("health", f"{self.gaps} gaps, {self.malformed} malformed, {self.damaged} damaged places"),
            ("size", f"{self.bytes / 1e6:,.2f} MB, of these {self.journal_bytes / 1e6:,.2f} MB not in Parquet yet"),
            ("tags", ", ".join(self.tags)),
        ]
        cells = "".join(
            f'<tr><th style="text-align:left">{name}</th><td style="text-align:left">{html.escape(value)}</td></tr>' for name, value in rows
        )
        return f"<table><caption>{html.escape(self.session)}</caption>{cells}</table>"


class Mark(NamedTuple):
    """A marked moment with a text; the time is by the stream's own clock, ns since 1970 UTC."""

    time_ns: int
    text: str

    @property
    def time(self) -> datetime:
        """Return the moment as an aware datetime in UTC."""
        return from_ns(self.time_ns)
