"""Checks before a trading day: stream, clock, disk, recorder, heartbeat, receivers, certificates; one line each."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ccwatch.alerts import AlertSettings, Certificates, Evaluator, PlanReader, no_plan
from ccwatch.errors import CcwatchError
from ccwatch.guard.heartbeat import Heartbeat
from ccwatch.guard.outbox import OUTBOX, Outbox
from ccwatch.guard.receivers import Receiver

MOST_OFFSET_S: Final = 2.0
DAY_BYTES: Final = 24 * 3600 * 1_500
"""Bytes of a recorded day of packets at one per second, with room to spare."""
RECENT_S: Final = 7 * 86_400.0


@dataclass(frozen=True)
class Check:
    """One check before a trading day, and its outcome."""

    name: str
    ok: bool
    detail: str


def examine_readiness(
    diagnosis: Any,
    *,
    recordings: Path,
    guard_folder: Path,
    settings: AlertSettings,
    receivers: Sequence[Receiver],
    heartbeat: str = "",
    heartbeat_s: float = 30.0,
    plan_for: PlanReader = no_plan,
) -> tuple[Check, ...]:
    """Run all checks before a trading day; return one Check each.

    Args:
        diagnosis: the doctor's Diagnosis of the stream.
        recordings: the folder of the recordings.
        guard_folder: the folder of the guard's state; see `guard_settings.guard_folder`.
        settings: rules and trading hours.
        receivers: the receivers of ccwatch.toml.
        heartbeat: where the guard's sign of life goes; empty is nowhere.
        heartbeat_s: seconds from one beat to the next.
        plan_for: reads what was expected, for rules on the divergence from it.
    """
    return (
        _stream(diagnosis),
        _clock(diagnosis),
        _disk(recordings),
        _recorder(recordings),
        _heartbeat(heartbeat, heartbeat_s, receivers),
        *_receivers(guard_folder, receivers),
        _rules(settings, recordings, plan_for),
    )


def _stream(found: Any) -> Check:
    if found.url is None or not found.packets:
        return Check("stream", ok=False, detail=f"{'; '.join(found.problems) or 'no packet came'}")
    return Check("stream", ok=found.healthy, detail=f"{found.url}: {found.packets} packets; {'; '.join(found.problems) or 'healthy'}")


def _clock(found: Any) -> Check:
    offset = found.clock_offset_s
    if offset is None or found.origin == "synthetic":
        return Check("clock", ok=found.origin == "synthetic", detail="unknown from these stamps")
    return Check("clock", ok=abs(offset) <= MOST_OFFSET_S, detail=f"the server's is {offset:+.3f} s from this machine's")


def _disk(folder: Path) -> Check:
    place = next((path for path in (folder, *folder.parents) if path.exists()), Path())
    free = shutil.disk_usage(place).free
    return Check("disk", ok=free >= DAY_BYTES, detail=f"{free / 1e9:,.1f} GB free, a day takes up to {DAY_BYTES / 1e9:,.1f} GB")


def _recorder(folder: Path) -> Check:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".ready-{time.time_ns()}"
        probe.write_bytes(b"ready")
        probe.unlink()
    except OSError as error:
        return Check("recorder", ok=False, detail=f"{folder} cannot be written: {error.strerror}")
    return Check("recorder", ok=True, detail=f"{folder} can be written")


def _heartbeat(where: str, every_s: float, receivers: Sequence[Receiver]) -> Check:
    beat = Heartbeat(where, every_s, receivers)
    if not beat.is_set:
        return Check("heartbeat", ok=False, detail='none: set heartbeat = "PATH" in [guard] of ccwatch.toml')
    try:
        is_taken = beat.send()
    except CcwatchError as error:
        return Check("heartbeat", ok=False, detail=str(error))
    return Check("heartbeat", ok=is_taken, detail="sent" if is_taken else "it was not taken")


def _receivers(folder: Path, receivers: Sequence[Receiver]) -> list[Check]:
    if not receivers:
        return [Check("receivers", ok=False, detail='none: set [receivers] NAME = "env:VAR" in ccwatch.toml')]
    successes: dict[str, int] = {}
    for place in {folder, *(file.parent for file in folder.parent.glob(f"*/{OUTBOX}"))}:  # a test is noted by whichever stream it named
        for name, at_ns in Outbox(place, []).successes.items():
            successes[name] = max(at_ns, successes.get(name, 0))
    found = []
    for receiver in receivers:
        try:
            receiver.address()
        except CcwatchError as error:
            found.append(Check(f"receiver {receiver.name}", ok=False, detail=str(error)))
            continue
        last = successes.get(receiver.name)
        if last is None:
            found.append(Check(f"receiver {receiver.name}", ok=False, detail="never took a message: try ccwatch guard --test"))
        else:
            at = datetime.fromtimestamp(last / 1e9, UTC).isoformat(timespec="seconds")
            found.append(Check(f"receiver {receiver.name}", ok=time.time() - last / 1e9 < RECENT_S, detail=f"last took a message at {at}"))
    return found


def _rules(settings: AlertSettings, recordings: Path, plan_for: PlanReader) -> Check:
    try:
        Evaluator(settings.rules, plan=plan_for(settings.rules))
    except CcwatchError as error:
        return Check("rules", ok=False, detail=str(error))
    known = Certificates(recordings).read()
    untested = [rule.name for rule in settings.own if rule.digest not in known]
    if untested:
        return Check("rules", ok=False, detail=f"without a certificate: {', '.join(untested)}; try ccwatch rules test")
    return Check("rules", ok=True, detail=f"{len(settings.own)} of the desk's own, all with a certificate; {len(settings.rules)} in all")
