"""The index of `similar`: channels of every session on one grid, one after the other, in files that are mapped into memory.

It lives in the user's cache folder and can be deleted at any time. A session that is there already, unchanged, is not read again. Between
two sessions there is one missing value, so that no stretch reaches from one into the next.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from ccwatch.archives.locations import is_remote, open_place
from ccwatch.archives.sessions import Session
from ccwatch.config import cache_folder
from ccwatch.errors import CcwatchError, ConfigError
from ccwatch.protocol.checked_text import with_checksum, without_checksum
from ccwatch.protocol.columns import TABLES
from ccwatch.protocol.ranges import within
from ccwatch.recording import catalog
from ccwatch.stream.table_reader import TableReader

Floats = npt.NDArray[np.float64]
FOLLOWED: Final = ("price", "nav", "halted")
"""The channels from which what followed a match is computed."""
CARRY_S: Final = 30.0
"""How long a value stays known without a newer one."""
LATENCY: Final = "latency:"
_VERSION: Final = 2
_DESCRIPTION: Final = "index.json"
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**50)]
_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


@dataclass(frozen=True)
class Index:
    """Channels of several sessions, one session after the other on one grid.

    Attributes:
        names: names of the sessions, in order.
        first: by session, the place of its first value.
        count: by session, the count of its values.
        start_ns: by session, the time of its first value, ns since 1970 UTC.
        step_ns: step of the grid, ns.
        channels: by channel, the values of all sessions (float64, NaN where missing), mapped from a file.
        left_out: by session that could not be read, the reason.
    """

    names: tuple[str, ...]
    first: npt.NDArray[np.int64]
    count: npt.NDArray[np.int64]
    start_ns: npt.NDArray[np.int64]
    step_ns: int
    channels: dict[str, Floats]
    left_out: dict[str, str]

    def locate(self, place: int) -> int:
        """Return the session that a value belongs to."""
        return int(np.searchsorted(self.first, place, side="right")) - 1


def check_channel(name: str) -> None:
    """Refuse a name that is no channel.

    Raises:
        ConfigError: it is neither a numeric column of the packets nor a latency.
    """
    numbers = [column.name for column in TABLES["packets"] if column.dtype == "float64"]
    if name not in numbers and not (name.startswith(LATENCY) and len(name) > len(LATENCY)):
        raise ConfigError(f"on: no channel {name!r}; there are {', '.join(numbers)}, and latency:NAME of an agent or model")


def on_grid(
    source: TableReader | pd.DataFrame, channels: Sequence[str], step_ns: int, start_ns: int | None = None, count: int | None = None
) -> tuple[int, list[Floats]]:
    """Return channels of one session on a grid: at each point the newest value, known for at most 30 s or 3 steps.

    Args:
        source: a Recording, a Feed, or a frame of packets.
        channels: names, or "halted" (1 while the status is HALT).
        step_ns: step of the grid, ns.
        start_ns: the grid's first point; None is that of the first packet.
        count: count of points; None is up to the last packet.

    Returns:
        The time of the first point, and an array per channel; empty arrays without packets.
    """
    columns = [name for name in channels if not name.startswith(LATENCY) and name != "halted"]
    wanted = [*columns, *(["status"] if "halted" in channels else [])]
    frame = source.sort_index(kind="stable") if isinstance(source, pd.DataFrame) else source.frame(wanted or ["price"], clean=True)
    if not len(frame) and start_ns is None:
        return 0, [np.zeros(0) for _ in channels]
    times = _ns(frame)
    begin = int(times[0]) if start_ns is None else start_ns
    points = int((int(times[-1]) - begin) // step_ns) + 1 if count is None else count
    grid = begin + step_ns * np.arange(points, dtype=np.int64)
    carry = max(int(CARRY_S * 1e9), 3 * step_ns)
    found = []
    for name in channels:
        if name == "halted":
            status = frame["status"] if "status" in frame.columns else pd.Series(pd.NA, frame.index)
            known = status.notna().to_numpy()
            found.append(_held(times[known], np.asarray(status[known] == "HALT", dtype=np.float64), grid, carry))
        elif name.startswith(LATENCY):
            found.append(_held(*_gauge(source, name.removeprefix(LATENCY)), grid, carry))
        else:
            column = frame[name].to_numpy(dtype=np.float64, na_value=np.nan) if name in frame.columns else np.full(len(frame), np.nan)
            column = within(name, column)
            known = np.isfinite(column)
            found.append(_held(times[known], column[known], grid, carry))
    return begin, found


def build(root: str | Path, sessions: Sequence[Session], channels: Sequence[str], step_ns: int) -> Index:
    """Return the index of an archive, brought up to date.

    Args:
        root: the archive's place.
        sessions: the sessions to hold.
        channels: the channels to hold, beside those for what followed.
        step_ns: step of the grid, ns.
    """
    key = hashlib.sha256(f"{root if is_remote(root) else Path(root).absolute()}|{step_ns}|{_VERSION}".encode("utf-8", "surrogateescape"))
    folder = cache_folder() / f"similar-{key.hexdigest()[:24]}"
    wanted = tuple(dict.fromkeys([*FOLLOWED, *channels]))
    known = _read(folder)
    stamps = {session.name: _signature(session) for session in sessions}
    if known is not None and set(wanted) <= set(known.channels) and all(known.stamps.get(name) == stamp for name, stamp in stamps.items()):
        return _open(folder, known, step_ns)
    work = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}")
    work.mkdir(parents=True)
    try:
        made = _written(work, folder, known, sessions, stamps, wanted, step_ns)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            work.replace(folder)
        except OSError:  # another process was faster: its index is as good, and what is mapped here stays readable
            return _open(work, made, step_ns)
        return _open(folder, made, step_ns)
    finally:
        shutil.rmtree(work, ignore_errors=True)


class _Row(msgspec.Struct, frozen=True, array_like=True):
    """A session of the index: the place of its first value, the count of its values, and the first one's time, ns since 1970 UTC."""

    name: str
    first: _Count
    count: _Count
    start_ns: _Int64


class _Known(msgspec.Struct, frozen=True, kw_only=True):
    """The index's description of itself, `index.json`; `stamps` are numbers by session that change with its content."""

    version: Literal[2]
    size: _Count
    channels: tuple[str, ...]
    rows: tuple[_Row, ...]
    stamps: dict[str, list[int]]
    left_out: dict[str, str]

    def is_whole(self, folder: Path) -> bool:
        """Return whether the sessions lie one after the other, with one value between them, in files of the right size."""
        ends = [0, *(row.first + row.count + 1 for row in self.rows)]
        follow = all(row.first == end for row, end in zip(self.rows, ends, strict=False)) and ends[-1] == self.size
        return follow and all((folder / f"{place}.f64").stat().st_size == 8 * self.size for place in range(len(self.channels)))


_DESCRIBED: Final = msgspec.json.Decoder(_Known)


def _written(
    work: Path,
    folder: Path,
    known: _Known | None,
    sessions: Sequence[Session],
    stamps: dict[str, list[int]],
    wanted: tuple[str, ...],
    step_ns: int,
) -> _Known:
    """Write an index of these sessions and of those of the old one; what is unchanged is copied from there."""
    channels = tuple(dict.fromkeys([*(known.channels if known is not None else ()), *wanted]))
    kept: dict[str, tuple[int, list[Floats]]] = {}
    if known is not None and channels == known.channels:
        old = _open(folder, known, step_ns)
        for row in known.rows:
            if known.stamps.get(row.name) and stamps.setdefault(row.name, known.stamps[row.name]) == known.stamps[row.name]:
                kept[row.name] = row.start_ns, [old.channels[name][row.first : row.first + row.count] for name in channels]
    places = {session.name: session.place for session in sessions}
    rows: list[_Row] = []
    left: dict[str, str] = {}
    at = 0
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context((work / f"{place}.f64").open("wb")) for place in range(len(channels))]
        for name in dict.fromkeys([*places, *kept]):
            try:
                begin, values = kept[name] if name in kept else on_grid(open_place(places[name]), channels, step_ns)
            except (CcwatchError, OSError) as error:
                left[name] = str(error)
                continue
            if not len(values[0]):
                continue
            for file, column in zip(files, values, strict=True):
                file.write(np.append(column, np.nan).astype("<f8").tobytes())
            rows.append(_Row(name, at, len(values[0]), begin))
            at += len(values[0]) + 1
    made = _Known(version=_VERSION, size=at, channels=channels, rows=tuple(rows), stamps=stamps, left_out=left)
    (work / _DESCRIPTION).write_bytes(with_checksum(msgspec.json.encode(made)))
    return made


def _read(folder: Path) -> _Known | None:
    """Return the index's description of itself; None where it is no such description."""
    try:
        found = _DESCRIBED.decode(without_checksum((folder / _DESCRIPTION).read_bytes()))
        return found if found.is_whole(folder) else None
    except (OSError, ValueError):  # msgspec's errors are ValueErrors
        return None


def _open(folder: Path, known: _Known, step_ns: int) -> Index:
    values = {
        name: np.memmap(folder / f"{place}.f64", dtype="<f8", mode="r", shape=(known.size,)) if known.size else np.zeros(0)
        for place, name in enumerate(known.channels)
    }
    places = np.array([(row.first, row.count, row.start_ns) for row in known.rows], dtype=np.int64).reshape(-1, 3)
    first, count, start = places.T
    return Index(tuple(row.name for row in known.rows), first, count, start, step_ns, dict(values), dict(known.left_out))


def _signature(session: Session) -> list[int]:
    if is_remote(session.place):
        return [session.start_ns or 0, session.end_ns or 0]
    return catalog.signature(Path(session.place))


def _gauge(source: TableReader | pd.DataFrame, name: str) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return times and values of one service's latency, ms."""
    if isinstance(source, pd.DataFrame):
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    for rows, word in ((source.agents(), "agent"), (source.models(), "model")):
        mine = rows[(rows[word] == name).to_numpy(dtype=bool)]
        mine = mine[np.isfinite(within("latency_ms", mine["latency_ms"].to_numpy(dtype=np.float64, na_value=np.nan)))]
        if len(mine):
            mine = mine.sort_index(kind="stable")
            return _ns(mine), within("latency_ms", mine["latency_ms"].to_numpy(dtype=np.float64))
    return np.zeros(0, dtype=np.int64), np.zeros(0)


def _ns(frame: pd.DataFrame) -> npt.NDArray[np.int64]:
    return np.asarray(pd.DatetimeIndex(frame.index).as_unit("ns").asi8)


def _held(times: npt.NDArray[np.int64], values: Floats, grid: npt.NDArray[np.int64], carry_ns: int) -> Floats:
    """Return at each point of the grid the newest value, NaN where it is too old or there is none."""
    if not len(times):
        return np.full(len(grid), np.nan)
    places = np.searchsorted(times, grid, side="right") - 1
    safe = np.maximum(places, 0)
    known = (places >= 0) & (grid - times[safe] <= carry_ns)
    return np.where(known, values[safe], np.nan)


__all__ = ["FOLLOWED", "Index", "build", "check_channel", "on_grid"]
