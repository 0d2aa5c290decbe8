"""The commands that listen to a stream: print it, record it."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ccwatch import api, wiring
from ccwatch.cli import following, rendering
from ccwatch.cli.shared_options import Size, Span, interruptible, json_option, streaming
from ccwatch.config import FSYNC_POLICIES, Settings
from ccwatch.protocol.messages import Item, Packet

if TYPE_CHECKING:
    from ccwatch.recording import Recording

FOLLOW_PERIOD_S: Final = 0.25
LAST_PACKETS: Final = 10
"""Packets of a recording that `tail` begins with."""


@click.command()
@click.argument("source", metavar="URL|PATH")
@click.option("-n", "--lines", type=click.IntRange(min=1), help="Stop after so many packets; of a recording, show so many of its last.")
@click.option("--follow", is_flag=True, help="Of a recording with -n: go on while it is being written.")
@click.option("--wire", is_flag=True, help="Of a URL: the messages as they are on the wire, with their sizes.")
@json_option
@streaming
def tail(*, source: str, lines: int | None, follow: bool, wire: bool, as_json: bool) -> int:
    """Print packets and events as they arrive, from a URL or from a recording (PATH) while it is being written."""
    if wire:
        from ccwatch.cli import tail_wire as on_the_wire  # noqa: PLC0415 - only with --wire

        if "://" not in source or source.startswith("redis"):
            raise click.UsageError("--wire shows the messages of a server: expected ws:// or wss://")
        return on_the_wire.tail(source, lines, as_json=as_json)

    def show(item: Item) -> None:
        rendering.print_item(item, as_json=as_json)

    if "://" in source:
        return _tail_stream(source, lines, show)
    return _tail_recording(api.open_recording(source), lines or LAST_PACKETS, show, follow=follow or lines is None)


@click.command()
@click.argument("url")
@click.option("--path", type=click.Path(path_type=Path, file_okay=False), help="The folder that recordings go to.")
@click.option("--seconds", type=float, help="How long; without it, until Ctrl-C.")
@click.option("--duration", help="How long, for example 1h.")
@click.option("--until", help="Until this time, for example 16:00, which is the next one.")
@click.option("--fsync", type=click.Choice(FSYNC_POLICIES), help="When packets reach the disk; balanced (0.2 s) if not given.")
@click.option("--raw", type=click.Choice(["auto", "always", "never"]), default="auto", show_default=True, help="Raw messages to keep.")
@click.option("--tag", "tags", multiple=True, help="A word to find it by; may be given again.")
@click.option("--max-bytes", type=Size(), help="Go on in a new recording once the journal of this one has so many, for example 500MB.")
@click.option("--max-age", type=Span(), help="Go on in a new recording after so long, for example 12h.")
@click.option("--rotate", type=click.Choice(["daily"]), help="Go on in a new recording at midnight, UTC.")
@click.option("--min-free", type=Size(), help="Wait while less than this is free on the disk, for example 1GB.")
@json_option
@interruptible
def record(
    *,
    url: str,
    path: Path | None,
    seconds: float | None,
    duration: str | None,
    until: str | None,
    fsync: Any,
    raw: Any,
    tags: tuple[str, ...],
    max_bytes: int | None,
    max_age: timedelta | None,
    rotate: str | None,
    min_free: int | None,
    as_json: bool,
) -> int:
    """Record a stream into a new folder, whose path is printed at the end."""
    from ccwatch.recording import RolloverPolicy  # noqa: PLC0415 - pyarrow is not needed by `tail`

    if sum(given is not None for given in (seconds, duration, until)) > 1:
        raise click.UsageError("expected one of --seconds, --duration and --until")
    seconds = wiring.seconds_until(duration, until) if seconds is None else seconds
    rollover = RolloverPolicy(max_bytes, max_age, daily=rotate == "daily")
    feed = wiring.live_feed(Settings.load(url=url))
    with feed, api.record_series(feed, path, rollover=rollover, fsync=fsync, raw=raw, tags=tags, min_free=min_free) as series:
        feed.start()  # the recorder is there before the first packet
        try:
            rendering.show_status(feed, series, seconds, quiet=as_json)
        except KeyboardInterrupt:
            rendering.note()
    stats, paths = series.stats, [str(folder) for folder in series.paths]
    facts = {"recording": paths[-1], "recordings": paths, "packets": stats.packets, "dropped": stats.dropped, "error": stats.error}
    rendering.say(facts, "\n".join(paths), as_json=as_json)
    has_stood_by = not stats.packets and not feed.error and "&group=" in feed.name  # another recorder of the group had it all
    if not stats.packets and not has_stood_by:
        rendering.note(f"ccwatch: no packet came from {feed.url}{f': {feed.error}' if feed.error else ''}")
    return 0 if stats.packets or has_stood_by else 1


# ── following ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class _QueueSink:
    """Hands the items that the feed's thread delivers to the printing thread."""

    def __init__(self, arrived: queue.SimpleQueue[Item]) -> None:
        self._arrived = arrived

    def receive(self, items: Sequence[Item]) -> None:
        for item in items:
            self._arrived.put(item)


def _tail_stream(url: str, lines: int | None, show: Callable[[Item], None]) -> int:
    arrived: queue.SimpleQueue[Item] = queue.SimpleQueue()
    with wiring.live_feed(Settings.load(url=url)) as feed:
        feed.add_sink(_QueueSink(arrived))
        following.follow(feed, arrived, lines, show=show, counts=lambda item: isinstance(item, Packet))
    return 0


def _tail_recording(recording: Recording, lines: int, show: Callable[[Item], None], *, follow: bool) -> int:
    """Show the last packets with the events among them; with `follow`, then show new items until the recorder has ended."""
    is_growing = follow and recording.status == "open"  # asked before reading, so that entries that come in between are read, too
    info = recording.info()
    likely = max(0, info.packets + info.events - 2 * lines - 100)  # so that entries far back need not be read
    found = _last(recording, lines, likely)
    if likely and sum(isinstance(item, Packet) for _, item in found) < lines:
        found = _last(recording, lines, 0)
    for _, item in found:
        show(item)
    entry = found[-1][0] if found else 0
    while is_growing:
        is_growing = recording.status == "open"
        began = time.monotonic()
        for entry, item in recording.numbered(entry):  # noqa: B007, B020 - the next look goes on behind the last entry
            show(item)
        if is_growing:  # the whole journal is read again each time: a long one must not keep a core busy
            time.sleep(max(FOLLOW_PERIOD_S, 5 * (time.monotonic() - began)))
    return 0


def _last(recording: Recording, lines: int, after: int) -> list[tuple[int, Item]]:
    """Return the last packets beyond an entry, and the events among them and after them, each with its entry."""
    found: deque[tuple[int, Item]] = deque()
    packets = 0
    for numbered in recording.numbered(after):
        found.append(numbered)
        packets += isinstance(numbered[1], Packet)
        while packets > lines or (packets == lines and not isinstance(found[0][1], Packet)):
            packets -= isinstance(found.popleft()[1], Packet)
    return list(found)
