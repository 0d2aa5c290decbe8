"""The index of `similar`: channels of every session on one grid, one after the other, in files that are mapped into memory.

It lives in the user's cache folder and can be deleted at any time. A session that is there already, unchanged, is not read again. Between
two sessions there is one missing value, so that no stretch reaches from one into the next.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from ccwatch.archives.locations import is_remote, open_place
from ccwatch.archives.sessions import Session
from ccwatch.config import cache_folder
from ccwatch.errors import CcwatchError, ConfigError
from ccwatch.protocol.columns import TABLES
from ccwatch.recording import catalog

Floats = npt.NDArray[np.float64]
FOLLOWED: Final = ("price", "nav", "halted")
"""The channels from which what followed a match is computed."""
CARRY_S: Final = 30.0
"""How long a value stays known without a newer one."""
LATENCY: Final = "latency:"
_VERSION: Final = 1


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
    source: Any, channels: Sequence[str], step_ns: int, start_ns: int | None = None, count: int | None = None
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
    if (
        known is not None
        and set(wanted) <= set(known["channels"])
        and all(known["stamps"].get(name) == stamp for name, stamp in stamps.items())
    ):
        return _open(folder, known, step_ns)
    return _rebuilt(folder, known, sessions, stamps, tuple(dict.fromkeys([*(known or {"channels": []})["channels"], *wanted])), step_ns)


class _Kept(NamedTuple):
    """A session of the index that was not asked for this time; it stays."""

    name: str
    place: str = ""


def _rebuilt(
    folder: Path, known: Any, sessions: Sequence[Session], stamps: dict[str, list[int]], channels: tuple[str, ...], step_ns: int
) -> Index:
    """Write the index again, with unchanged sessions copied, in place of the old one."""
    old = None if known is None else _open(folder, known, step_ns)
    places = {} if old is None else {name: place for place, name in enumerate(old.names)}
    work = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}")
    work.mkdir(parents=True)
    rows: list[tuple[str, int, int, int]] = []
    left: dict[str, str] = {}
    at = 0
    files = [(work / f"{place}.f64").open("wb") for place in range(len(channels))]
    try:
        is_wide = old is not None and set(channels) <= set(known["channels"])
        others = [_Kept(name) for name in places if is_wide and name not in stamps]
        stamps |= {other.name: known["stamps"].get(other.name, []) for other in others}
        every: list[Session | _Kept] = [*sessions, *others]
        for session in every:
            place = places.get(session.name, -1)
            stamp = stamps[session.name]
            if old is not None and is_wide and place >= 0 and stamp and known["stamps"].get(session.name) == stamp:
                begin, span = int(old.start_ns[place]), slice(int(old.first[place]), int(old.first[place] + old.count[place]))
                values = [old.channels[name][span] for name in channels]
            else:
                try:
                    begin, values = on_grid(open_place(session.place), channels, step_ns)
                except (CcwatchError, OSError) as error:
                    left[session.name] = str(error)
                    continue
            if not len(values[0]):
                continue
            for file, column in zip(files, values, strict=True):
                file.write(np.append(column, np.nan).astype("<f8").tobytes())
            rows.append((session.name, at, len(values[0]), begin))
            at += len(values[0]) + 1
    finally:
        for file in files:
            file.close()
    found = {"channels": list(channels), "stamps": stamps, "rows": rows, "left_out": left, "size": at, "version": _VERSION}
    (work / "index.json").write_text(json.dumps(found), encoding="utf-8")
    if folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
    try:
        work.replace(folder)
    except OSError:  # another process was faster: its index is as good
        opened = _open(work, found, step_ns)
        shutil.rmtree(work, ignore_errors=True)  # what is mapped stays readable
        return opened
    return _open(folder, found, step_ns)


def _read(folder: Path) -> dict[str, Any] | None:
    """Return the index's description of itself; None where it is no such description."""
    try:
        found = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        whole = all((folder / f"{place}.f64").stat().st_size == 8 * found["size"] for place in range(len(found["channels"])))
        fits = all(first >= 0 and count >= 0 and first + count <= found["size"] for _, first, count, _ in found["rows"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(found) if whole and fits and found.get("version") == _VERSION else None


def _open(folder: Path, known: dict[str, Any], step_ns: int) -> Index:
    rows = known["rows"]
    size = int(known["size"])
    values = {
        name: np.memmap(folder / f"{place}.f64", dtype="<f8", mode="r", shape=(size,)) if size else np.zeros(0)
        for place, name in enumerate(known["channels"])
    }
    first, count, start = (np.array([row[place] for row in rows], dtype=np.int64) for place in (1, 2, 3))
    return Index(tuple(row[0] for row in rows), first, count, start, step_ns, dict(values), dict(known["left_out"]))


def _signature(session: Session) -> list[int]:
    if is_remote(session.place):
        return [session.start_ns or 0, session.end_ns or 0]
    return catalog.signature(Path(session.place))


def _gauge(source: Any, name: str) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return times and values of one service's latency, ms."""
    if isinstance(source, pd.DataFrame):
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    for table, word in (("agents", "agent"), ("models", "model")):
        rows = getattr(source, table)()
        mine = rows[(rows[word] == name).to_numpy(dtype=bool)]
        mine = mine[mine["latency_ms"].notna().to_numpy()]
        if len(mine):
            mine = mine.sort_index(kind="stable")
            return _ns(mine), mine["latency_ms"].to_numpy(dtype=np.float64)
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
