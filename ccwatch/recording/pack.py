"""Packing: a recording as one file for a colleague, whole or without confidential columns. The original stays as it is.

A column that is left out is left out everywhere: in the tables, in `extra`, in the messages and in malformed messages. Money that
is scaled keeps its shape: returns, drawdowns and their times are the same.
"""

from __future__ import annotations

import math
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from ccwatch.errors import ConfigError, NotEnoughData, RecordingError, no_such
from ccwatch.protocol.columns import PACKETS
from ccwatch.protocol.facts import UnknownType
from ccwatch.protocol.messages import NAN, NOTHING, Event, Packet
from ccwatch.recording import checked, manifest, segment_groups
from ccwatch.recording.folder import MARKS, seal, sealed_lines, sync_folder
from ccwatch.recording.packed import SUFFIX, pack_folder
from ccwatch.recording.recording import Recording
from ccwatch.stream.time_ranges import Moment, span_of

LISTS: Final = ("agents", "models", "logs", "forecasts", "trades", "scanner", "bars")
MONEY: Final = ("nav", "cash", "daily_pnl")
DROPPABLE: Final = (*(c.name for c in PACKETS if c.wire and c.name not in {"time", "timestamp_raw"}), "extra", *LISTS)
"""Names of the columns and tables that may be left out."""


@dataclass(frozen=True)
class Packed:
    """The result of packing.

    Attributes:
        path: the archive.
        packets: count of packets in it.
        events: count of events.
        bytes: its size.
        dropped: names that were left out of it, with those that had to follow the requested ones.
        nav_factor: the factor that nav, cash and daily_pnl were multiplied by; 1 where they were not.
    """

    path: Path
    packets: int
    events: int
    bytes: int
    dropped: tuple[str, ...]
    nav_factor: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values that JSON can hold."""
        return asdict(self) | {"path": str(self.path), "dropped": list(self.dropped)}


def pack(
    recording: Recording,
    out: str | Path,
    *,
    drop: Sequence[str] = (),
    scale_nav: float | None = None,
    start: Moment = None,
    end: Moment = None,
    on_progress: Callable[[int], None] | None = None,
) -> Packed:
    """Pack a recording into a zip file that `open_recording` opens as it is.

    Args:
        recording: the recording to pack; it may be in progress.
        out: the file, `….zip`; an existing one is not overwritten.
        drop: names of columns, or of agents, models, logs, forecasts, to leave out. Leaving out anything leaves out `extra`, the
            messages' bytes and malformed messages too, since they may hold it; leaving out money leaves out the log lines, which
            quote it.
        scale_nav: the first nav becomes this; cash and daily_pnl are scaled alike. Counts as leaving out money, so log lines and
            `extra` go as well. `reasoning` stays: name it in `drop` if it quotes money.
        start: the first time; text without a zone is UTC.
        end: the last time, included.
        on_progress: called with the count of packets and events so far.

    Raises:
        ConfigError: an unknown column, a scale that is no positive number, or a file name that does not end in .zip.
        NotEnoughData: no nav to scale was ever carried.
        RecordingError: the file exists already, or cannot be written.
    """
    out = Path(out)
    if out.suffix.lower() != SUFFIX:
        raise ConfigError(f"{out}: expected a file name that ends in {SUFFIX}")
    dropped = with_what_follows(drop, money=scale_nav is not None)
    if scale_nav is not None and not 0 < scale_nav < math.inf:
        raise ConfigError(f"scale_nav: expected a number above 0, got {scale_nav!r}")
    if out.exists():
        raise RecordingError(f"{out} is there already; name another file")
    span = span_of(start, end, recording.ends)
    factor = 1.0 if scale_nav is None else scale_nav / _first_nav(recording, start, end)
    work = Path(tempfile.mkdtemp(prefix="ccwatch-"))
    try:
        folder = work / recording.session.session
        folder.mkdir()
        hide = _Hide(dropped, factor)
        items = (hide(item) for item in recording.items(start=start, end=end))
        packets, events = _write(folder, recording, (item for item in items if item is not None), hides=bool(dropped), report=on_progress)
        _copy_marks(recording, folder, span)
        size = pack_folder(folder, out)
    except OSError as error:
        if isinstance(error, RecordingError):
            raise
        raise RecordingError(f"{out} cannot be written: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Packed(out, packets, events, size, dropped, factor)


def with_what_follows(drop: Sequence[str], *, money: bool = False) -> tuple[str, ...]:
    """Return `drop` with the names that must follow: raw text, `extra` and, with money, the log lines that may quote it.

    Raises:
        ConfigError: no such column or list.
    """
    unknown = [name for name in drop if name not in DROPPABLE]
    if unknown:
        raise ConfigError(f"drop: {no_such('column', unknown[0], DROPPABLE)}")
    if not drop and not money:
        return ()
    found = [*drop, "extra"]
    if money or set(drop) & set(MONEY):
        found.append("logs")
    for name in drop:
        found.extend(raw for raw in (f"{name}_raw", f"{name.removesuffix('_raw')}") if raw in DROPPABLE)
    return tuple(dict.fromkeys(found))


def _first_nav(recording: Recording, start: Moment, end: Moment) -> float:
    nav = recording.frame(["nav"], start=start, end=end)["nav"].dropna()
    if nav.empty or not nav.iloc[0] > 0:
        raise NotEnoughData("scale_nav needs a nav above 0, which this recording never carried")
    return float(nav.iloc[0])


class _Hide:
    """Removes the dropped columns from an item and scales its money; an event loses bytes of unknown meaning."""

    def __init__(self, dropped: Sequence[str], factor: float) -> None:
        self._dropped = dropped
        self._factor = factor
        kinds = {column.name: column for column in PACKETS}
        self._blank: dict[str, Any] = {
            name: NAN if kinds[name].dtype == "float64" else NOTHING if name == "extra" else None for name in dropped if name in kinds
        }
        self._blank |= {name: () for name in dropped if name in LISTS}
        self._lists = {name for name in dropped if name in LISTS}
        if "logs" in dropped:
            self._blank["new_logs"] = ()
        if dropped:
            self._blank |= {"raw": b"", "calls": ()}

    def __call__(self, item: Packet | Event) -> Packet | Event | None:
        if isinstance(item, Event):
            return _without_words(item) if self._dropped and item.raw else item
        if not self._dropped:
            return item
        changes: dict[str, Any] = {}
        if self._factor != 1.0:
            scaled = {name: getattr(item, name) * self._factor for name in MONEY}
            changes = {name: value if value == value else NAN for name, value in scaled.items()}  # noqa: PLR0124 - one NaN for all
        if item.new_rows:
            changes["new_rows"] = {table: rows for table, rows in item.new_rows.items() if table not in self._lists}
        return item._replace(**(changes | self._blank))


def _without_words(event: Event) -> Event:
    """Return an event without the bytes that it keeps, nor what they say: with their size, and the type of an unknown message."""
    if isinstance(event.facts, UnknownType):
        return event._replace(raw=b"")
    return event._replace(raw=b"", detail=f"bytes={len(event.raw)}", facts=None)


def _write(
    folder: Path, recording: Recording, items: Iterator[Packet | Event], *, hides: bool, report: Callable[[int], None] | None
) -> tuple[int, int]:
    """Write the items as a finished recording, and return the counts of packets and events."""
    session = replace(recording.session, nonce=secrets.token_hex(8), raw="never" if hides else recording.session.raw)
    session.write(folder)
    counts = {Packet: 0, Event: 0}

    def numbered() -> Iterator[tuple[int, Packet | Event]]:
        for entry, item in enumerate(items, 1):
            counts[type(item)] += 1
            yield entry, item

    segment_groups.write_group(folder, session, numbered(), on_progress=report)
    entries = sum(counts.values())
    manifest.append_finish(folder, {"entries": entries, "packed": True})
    sync_folder(folder)
    return counts[Packet], counts[Event]


def _copy_marks(recording: Recording, folder: Path, span: tuple[int, int] | None) -> None:
    path = recording.folder / MARKS
    lines = [checked.fits(line, checked.CheckedMark, path) for _, _, line in sealed_lines(path) if line is not None]
    if span is not None:
        lines = [line for line in lines if span[0] <= line.time_ns <= span[1]]
    if lines:
        (folder / MARKS).write_bytes(b"".join(seal(asdict(line)) + b"\n" for line in lines))
