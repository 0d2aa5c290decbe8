"""An archive of seeded recordings, made fast: no server, no waiting; all scenarios, two symbols, three desks, damaged and running ones.

python -m tests.archives.seeded FOLDER --sessions 1000 --packets 2000
python -m tests.archives.seeded FOLDER --sessions 200 --packets 60 --copies 50
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import islice
from pathlib import Path

from ccwatch.feed.scenarios import SCENARIOS
from ccwatch.feed.synthetic import emissions
from ccwatch.protocol.messages import Instant, StateChange
from ccwatch.protocol.stream_reader import StreamReader
from ccwatch.recording import Recorder
from ccwatch.recording.folder import Session as Identity

FIRST = date(2026, 1, 5)
DESKS = ("paris", "london", "tokyo")
SYMBOLS = ("SPY", "QQQ")
WALL_NS = 1_767_364_200_000_000_000


@dataclass
class Made:
    """What was made: names by what they are."""

    root: Path
    names: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    running: list[Recorder] = field(default_factory=list)

    def stop(self):
        for recorder in self.running:
            recorder.stop(finish=False)


def items_of(seed, packets, *, scenario="calm", symbol="SPY", day=FIRST, prices=None, edit=lambda raw: raw):
    """Packets and events of one session on a day, as a feed would deliver them."""
    session = StreamReader(server_tz="UTC", virtual_clock=True)
    shift = (day - date(2026, 1, 2)).days * 86_400 * 10**9
    items = list(session.opened(Instant(WALL_NS + shift, 0), "url=ws://x"))
    stamp = day.isoformat().encode() + b"T"
    raws = (emission.raw for emission in emissions(seed, scenario, 1.0, symbol=symbol, prices=prices) if emission.raw)
    for n, raw in enumerate(islice(raws, packets)):
        now = Instant(WALL_NS + shift + n * 10**9, n * 10**9)
        items += session.receive(edit(raw.replace(b"2026-01-02T", stamp)), now)
    items += session.closed(Instant(WALL_NS + shift + packets * 10**9, packets * 10**9), "code=1000")
    return [item for item in items if not isinstance(item, StateChange)]


def write(folder, items, *, url, tags=(), state="finished"):
    """One recording; of a running one, the recorder."""
    recorder = Recorder(folder, url=url, origin="synthetic", tags=tags, fsync="off")
    for start in range(0, len(items), 500):
        recorder.receive(items[start : start + 500])
    if state == "running":
        while recorder.stats.packets + recorder.stats.events < len(items):
            time.sleep(0.005)
        return recorder
    recorder.stop(finish=state != "killed")
    return None


def make(root, *, sessions=24, packets=240, seed=0, desks=DESKS, symbols=SYMBOLS, damaged=1, killed=1, running=1, first=0):
    """An archive: each day every desk records one session, of a scenario and a symbol in turn; without those before the `first`."""
    made = Made(Path(root))
    scenarios = sorted(SCENARIOS)
    for n in range(first, sessions):
        desk, day = desks[n % len(desks)], FIRST + timedelta(days=n // len(desks))
        name = f"{day:%Y%m%d}-{desk}"
        left = sessions - n
        state = "running" if left <= running else "killed" if left <= running + killed else "finished"
        items = items_of(seed + n, packets, scenario=scenarios[n % len(scenarios)], symbol=symbols[n % len(symbols)], day=day)
        recorder = write(made.root / name, items, url=f"ws://{desk}:3000", tags=[desk] if n % 2 else [], state=state)
        made.names.append(name)
        if state == "killed":
            made.killed.append(name)
        if recorder is not None:
            made.running.append(recorder)
        if n < damaged:
            made.damaged.append(name)
            for copy in ("", "_copies"):
                (made.root / name / copy / "session.json").write_bytes(b"{}")
    return made


def copy_of(folder, target, *, desk):
    """Copy a recording as another desk's: its rows are the same, its name and its stream's url are not; tables are linked, not copied."""
    shutil.copytree(folder, target, copy_function=_linked)
    if (folder / "session.json").stat().st_size > 2:  # else it is damaged, and so is the copy
        identity = Identity.read(folder)
        replace(identity, session=target.name, url=f"ws://{desk}:3000").write(target)


def _linked(source, target):
    if source.endswith(".parquet"):  # which no one writes to again
        os.link(source, target)
    else:
        shutil.copy2(source, target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--packets", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="go on at this session")
    parser.add_argument("--copies", type=int, default=1, help="this many of each, under other desks' names")
    asked = parser.parse_args()
    begun = time.perf_counter()
    found = make(asked.folder, sessions=asked.sessions, packets=asked.packets, running=0, first=asked.first)
    for n in range(1, asked.copies):
        for name in found.names:
            desk = f"{name[9:]}{n}"
            copy_of(asked.folder / name, asked.folder / f"{name[:9]}{desk}", desk=desk)
    print(f"{len(found.names) * asked.copies} sessions in {time.perf_counter() - begun:.1f} s")
