"""The commands that make, read and mend recordings: a skin over `api` and `recording`."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import click
import pandas as pd

from ccwatch import api, recording
from ccwatch.cli import rendering
from ccwatch.cli.common import Progress, json_option, print_line, say, show, show_status, streaming
from ccwatch.cli.serving import announce, serves, serving_options
from ccwatch.config import FSYNC_POLICIES, Settings, recordings_folder
from ccwatch.errors import CorruptRecording
from ccwatch.protocol.columns import TABLES
from ccwatch.protocol.messages import Item
from ccwatch.recording import ReplaySource, Turn
from ccwatch.stream.source import Stop


class Size(click.ParamType[int]):
    """A size: bytes, or with a unit such as 500MB or 2GiB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The count of bytes."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", value.strip(), re.IGNORECASE)
        if found is None:
            self.fail(f"{value!r} is no size; expected for example 500MB, 2GiB or 1048576", param, ctx)
        number, unit, binary = found.groups()
        power = "BKMGT".index(unit.upper() or "B")
        return int(float(number) * (1024 if binary else 1000) ** power)


class Span(click.ParamType[timedelta]):
    """A length of time such as 90s, 12h or 30d."""

    name = "length"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The same as a timedelta."""
        if isinstance(value, timedelta):
            return value
        try:
            found = pd.Timedelta(value).to_pytimedelta()
        except ValueError:
            found = timedelta(0)
        if found <= timedelta(0) or value.strip().replace(".", "").isdigit():
            self.fail(f"{value!r} is no length of time; expected for example 90s, 12h or 30d", param, ctx)
        return found


_path = click.argument("path", type=click.Path(path_type=Path))
_start = click.option("--from", "start", metavar="TIME", help="The first time, of the stream's own clock; UTC unless it says otherwise.")
_end = click.option("--to", "end", metavar="TIME", help="The last time, included.")


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Ctrl-C, and what a service manager sends, are the ordinary end of recording."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        click.echo(err=True)
    finally:
        signal.signal(signal.SIGTERM, before)


@click.command()
@click.argument("url")
@click.option("--path", type=click.Path(path_type=Path, file_okay=False), help="The folder that recordings go to.")
@click.option("--seconds", type=float, help="How long; without it, until Ctrl-C.")
@click.option("--fsync", type=click.Choice(FSYNC_POLICIES), help="When packets reach the disk; balanced (0.2 s) if not given.")
@click.option("--raw", type=click.Choice(["auto", "always", "never"]), default="auto", show_default=True, help="Raw messages to keep.")
@click.option("--tag", "tags", multiple=True, help="A word to find it by; may be given again.")
@click.option("--max-bytes", type=Size(), help="Go on in a new recording once the journal of this one has so many, for example 500MB.")
@click.option("--max-age", type=Span(), help="Go on in a new recording after so long, for example 12h.")
@click.option("--rotate", type=click.Choice(["daily"]), help="Go on in a new recording at midnight, UTC.")
@click.option("--min-free", type=Size(), help="Wait while less than this is free on the disk, for example 1GB.")
@json_option
def record(
    *,
    url: str,
    path: Path | None,
    seconds: float | None,
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
    turn = Turn(max_bytes, max_age, daily=rotate == "daily")
    feed = api.live_feed(Settings.load(url=url))
    with feed, api.record_series(feed, path, turn=turn, fsync=fsync, raw=raw, tags=tags, min_free=min_free) as series:
        feed.start()  # the recorder is there before the first packet
        with _ended_by_signals():
            show_status(feed, series, seconds, quiet=as_json)
    stats, paths = series.stats, [str(folder) for folder in series.paths]
    facts = {"recording": paths[-1], "recordings": paths, "packets": stats.packets, "dropped": stats.dropped, "error": stats.error}
    say(facts, "\n".join(paths), as_json=as_json)
    if not stats.packets:
        click.echo(f"ccwatch: no packet came from {feed.url}{f': {feed.error}' if feed.error else ''}", err=True)
    return 0 if stats.packets else 1


@click.command(name="ls")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@json_option
def list_(*, folder: Path | None, as_json: bool) -> None:
    """List the recordings in a folder."""
    found = api.recordings(folder).reset_index()
    if as_json:
        for row in found.itertuples(index=False):
            print_line({name: rendering.plain_value(value) for name, value in zip(found.columns, row, strict=True)})
        return
    rendering.show(
        rendering.recordings_table(list(map(str, found.columns)), found.itertuples(index=False)) if len(found) else "no recordings here"
    )


@click.command()
@_path
@json_option
def info(*, path: Path, as_json: bool) -> None:
    """Say what a recording holds."""
    facts = api.open_recording(path).info().to_dict()
    if as_json:
        print_line(facts)
        return
    rendering.show(rendering.facts_table(facts))


@click.command()
@_path
@click.option("--deep", is_flag=True, help="Read every byte, not only the journal, the manifest and the footers.")
@json_option
def verify(*, path: Path, deep: bool, as_json: bool) -> int:
    """Compare the checksums of a recording; exit code 1 where one fails."""
    try:
        with Progress("verifying") as progress:
            found = api.open_recording(path).verify(deep, on_progress=progress)
    except CorruptRecording as error:
        if as_json:
            print_line({"path": str(path), "ok": False, "deep": deep, "error": str(error)})
            return 1
        raise
    show(found.to_dict(), rendering.verification(found), as_json=as_json)
    return 0 if found.ok else 1


@click.command()
@_path
@json_option
def recover(*, path: Path, as_json: bool) -> int:
    """Finish a recording whose recorder was killed: make Parquet of its journal. It can be read without, too."""
    with Progress("recovered") as progress:
        found = recording.recover(path, on_progress=progress)
    show(found.to_dict(), rendering.recovery(found), as_json=as_json)
    return 0


@click.command()
@_path
@json_option
def compact(*, path: Path, as_json: bool) -> int:
    """Make Parquet of what a recording has in its journal, without calling it finished."""
    with Progress("compacted") as progress:
        found = recording.compact(path, on_progress=progress)
    show(found.to_dict(), rendering.recovery(found), as_json=as_json)
    return 0


class _Printed:
    """A sink that prints what it takes."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def receive(self, items: Sequence[Item], /) -> None:
        for item in items:
            if self._as_json:
                print_line(rendering.facts_of(item))
            else:
                rendering.show(rendering.line(item))
        sys.stdout.flush()


def _speed(_context: click.Context, _parameter: click.Parameter, value: str) -> Any:
    if value == "max":
        return value
    try:
        return float(value)
    except ValueError:
        raise click.BadParameter(f"expected a number above 0 or max, got {value!r}") from None


@click.command()
@_path
@click.option("--speed", default="1", show_default=True, callback=_speed, help="How many times as fast as it was; max does not wait.")
@_start
@_end
@click.option("--serve", is_flag=True, help="Serve it as an engine and a BFF do, for any client to watch, instead of printing it.")
@serves
@json_option
@streaming
def replay(
    *,
    path: Path,
    speed: Any,
    start: str | None,
    end: str | None,
    serve: bool,
    as_json: bool,
    secret_file: Path | None,
    per_ip: int,
    **options: Any,
) -> int:
    """Play a recording in its own time: print it as `tail` does, or serve it."""
    opened = api.open_recording(path)
    if not serve:
        ReplaySource(opened, speed=speed, start=start, end=end).stream(_Printed(as_json=as_json), Stop())
        return 0
    with api.serve(recording=opened, speed=speed, start=start, end=end, **serving_options(secret_file, per_ip, **options)) as cottage:
        synthetic = "SYNTHETIC: " if opened.origin == "synthetic" else ""
        announce(cottage, f"{synthetic}{opened.path.name}, from its first client on", as_json=as_json)
        while True:
            Stop().wait(3600)


@click.command()
@_path
@click.option("--to", "to", type=click.Choice(recording.FORMATS), required=True, help="The format.")
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="The file; standard output if not given.")
@click.option("--table", type=click.Choice(list(TABLES)), default="packets", show_default=True, help="What to export.")
@_start
@click.option("--until", "end", metavar="TIME", help="The last time, included.")
@json_option
def export(*, path: Path, to: Any, out: Path | None, table: str, start: str | None, end: str | None, as_json: bool) -> int:
    """Write a table of a recording as JSON lines, CSV or Parquet."""
    if out is None and to == "parquet":
        raise click.UsageError("parquet is no text: name a file with -o")
    if out is None and as_json:
        raise click.UsageError("--json tells what was written to the file named by -o; the rows themselves go to standard output")
    opened = api.open_recording(path)
    with Progress("exported") as progress, _readers_leave():
        rows = recording.export(opened, out or sys.stdout.buffer, to, table=table, start=start, end=end, on_progress=progress)
    if out is not None:
        say({"out": str(out), "format": to, "table": table, "rows": rows}, f"{out}: {rows:,} rows", as_json=as_json)
    return 0


@contextlib.contextmanager
def _readers_leave() -> Iterator[None]:
    """A reader of a pipe that has had enough is no error."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        with contextlib.suppress(OSError):
            sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - in place of the pipe, until the process ends


@click.command()
@_path
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file, ….zip.")
@click.option("--drop", help="Columns or lists to leave out, with commas: nav,cash,reasoning,logs.")
@click.option("--scale-nav", type=float, help="The first nav becomes this; cash and daily_pnl are scaled alike.")
@_start
@_end
@json_option
def pack(*, path: Path, out: Path, drop: str | None, scale_nav: float | None, start: str | None, end: str | None, as_json: bool) -> int:
    """Pack a recording into one file for a colleague, whole or without what is nobody's business; ccwatch opens it as it is."""
    names = [name.strip() for name in (drop or "").split(",") if name.strip()]
    with Progress("packed") as progress:
        found = recording.pack(api.open_recording(path), out, drop=names, scale_nav=scale_nav, start=start, end=end, on_progress=progress)
    show(found.to_dict(), rendering.facts_table(found.to_dict()), as_json=as_json)
    return 0


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--max-age", type=Span(), help="Recordings begun longer ago go, for example 30d.")
@click.option("--max-bytes", type=Size(), help="The oldest go until all take no more than this, for example 50GB.")
@click.option("--min-free", type=Size(), help="The oldest go until so much is free on the disk.")
@click.option("--keep-tag", "keep_tags", multiple=True, help="A tag that protects a recording; may be given again.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def prune(
    *,
    folder: Path | None,
    max_age: timedelta | None,
    max_bytes: int | None,
    min_free: int | None,
    keep_tags: tuple[str, ...],
    yes: bool,
    as_json: bool,
) -> int:
    """Delete old recordings so that the rest keep a limit. Asks first, and deletes nothing without a yes."""
    root = folder or recordings_folder(Settings.load())
    found = recording.candidates(root, max_age=max_age, max_bytes=max_bytes, min_free=min_free, keep_tags=keep_tags)
    size = sum(candidate.bytes for candidate in found)
    if not as_json:
        for candidate in found:
            click.echo(f"{candidate.path}  {candidate.bytes / 1e6:,.1f} MB  {candidate.why}")
    is_meant = bool(found) and (yes or (not as_json and _confirmed(f"Delete {len(found)} recordings, {size / 1e6:,.1f} MB, for good?")))
    if is_meant:
        for candidate in found:
            recording.delete(candidate)
    gone = [candidate.to_dict() for candidate in found]
    said = f"{len(found)} recordings deleted" if is_meant else "nothing deleted" if found else "nothing to delete"
    say({"folder": str(root), "deleted": is_meant, "recordings": gone, "bytes": size}, said, as_json=as_json)
    return 0


def _confirmed(question: str) -> bool:
    """Whether someone who was asked said yes; nobody did where nobody can be asked."""
    return sys.stdin.isatty() and click.confirm(question, err=True)


COMMANDS: Final = (record, list_, info, verify, recover, compact, replay, export, pack, prune)
