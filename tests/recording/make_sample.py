"""`python -m tests.recording.make_sample [FOLDER]`: the sample recordings, from fixed seeds and without a clock.

Run it anew after a change of the format, into recordings/; what a released ccwatch wrote stays in tests/recording/released.
"""

from __future__ import annotations

import shutil
import sys
from itertools import islice
from pathlib import Path

from ccwatch.feed.synthetic import START, emissions
from ccwatch.protocol.messages import Event, EventKind, Instant, Packet, StateChange
from ccwatch.protocol.stream_reader import StreamReader as Conversation
from ccwatch.recording import manifest, segment_groups
from ccwatch.recording.folder import MARKS, Session, append_durably, seal

FIRST_RELEASED = {
    b"[": (b"%b]", "expected a JSON object, got list"),
    b'{"internal"': (b'{"error":"internal"}', "no known shape: 1 keys 'error'"),
}
"""What the first released ccwatch planted in the place of today's malformed messages, since it could not read it, and why not."""
WALL_NS = int(START.timestamp()) * 1_000_000_000
NAME, SCENARIO, SEED, PACKETS = "sample-regimes", "regime-flip", 11, 900
BAD_NAME = "sample-bad-session"
BAD_SCENARIO, BAD_SEED = "regime-flip+frozen@330+slow-agent@450+drawdown-halt@480+gap@620", 8
"""A quarter of an hour in which most goes wrong: vetoes at 200 s, a stale stretch at 330 s, and a slow agent before the drawdown."""


def items(scenario: str = SCENARIO, seed: int = SEED, packets: int = PACKETS, *, as_first_released: bool = False) -> list[Packet | Event]:
    """The stream as a feed on the same machine would have received it, 3 to 12 ms after each stamp.

    `as_first_released`: with the malformed messages of the first released ccwatch, which today would be read, and without the trades
    that its engine did not tell.
    """
    talk = Conversation(virtual_clock=True)
    found = talk.opened(Instant(WALL_NS, 0), f"seed={seed} scenario={scenario} rate=1")
    for n, emission in enumerate(islice((found for found in emissions(seed, scenario, 1.0) if found.raw), packets)):
        late = round(emission.at * 1_000_000_000) + 3_000_000 + n * 7919 % 9_000_000
        now, raw = Instant(WALL_NS + late, late), _without_trades(emission.raw) if as_first_released else emission.raw
        planted = next((then for start, then in FIRST_RELEASED.items() if raw.startswith(start)), None) if as_first_released else None
        if planted is not None:
            sent = planted[0].replace(b"%b", raw)
            found.append(talk.event(EventKind.MALFORMED, now, f"bytes={len(sent)} {planted[1]}", sent))
        else:
            found += talk.receive(raw, now)
    return [item for item in found if not isinstance(item, StateChange)]


def _without_trades(raw: bytes) -> bytes:
    """A message of the seeded engine as the first released ccwatch made it; what is malformed is cut off before its trades."""
    head, heard, tail = raw.partition(b',"execution_status":')
    return head + b"}}" + tail[tail.index(b"]}}") + 3 :] if heard else raw


def make(
    folder: Path,
    stream: list[Packet | Event],
    *,
    marks: tuple[tuple[int, str], ...] = (),
    raw: str = "auto",
    scenario: str = SCENARIO,
    seed: int = SEED,
) -> Path:
    """A finished recording of a stream, in a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    session = Session(
        session=folder.name,
        url=f"synthetic:{scenario}?seed={seed}&rate=1",
        origin="synthetic",
        tags=("sample",),
        server_tz="UTC",
        fsync="balanced",
        raw=raw,
        wall_ns=WALL_NS,
        mono_ns=0,
        boot_id="",
        nonce="5a" * 8,
        writer="0.1.0",
    )
    session.write(folder)
    segment_groups.write_group(folder, session, enumerate(stream, 1))
    manifest.append_finish(folder, {"entries": len(stream), "wall_ns": WALL_NS, "mono_ns": 0, "dropped": 0})
    for seconds, text in marks:
        append_durably(folder / MARKS, seal({"time_ns": WALL_NS + seconds * 1_000_000_000, "text": text}) + b"\n")
    return folder


def main(root: Path) -> None:
    """All samples, below a folder."""
    make(root / NAME, items(), marks=((120, "regime turns Lévy Stable"), (200, "Critical: every size is vetoed")))
    make(root / BAD_NAME, items(BAD_SCENARIO, BAD_SEED), scenario=BAD_SCENARIO, seed=BAD_SEED)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "recordings"))
