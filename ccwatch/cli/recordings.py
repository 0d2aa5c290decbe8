"""The commands that list, read, mend, play and delete recordings: a skin over `api` and `recording`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from ccwatch import api, recording
from ccwatch.cli import rendering
from ccwatch.cli.rendering import Progress, print_line, put, say, show
from ccwatch.cli.serve_command import announce, serves, serving_options
from ccwatch.cli.shared_options import Size, Span, end_option, json_option, path_argument, start_option, streaming
from ccwatch.config import Settings, recordings_folder, user_path
from ccwatch.errors import CorruptRecording, RecordingError
from ccwatch.protocol.messages import Item
from ccwatch.recording import ReplaySource
from ccwatch.stream.source import Stop


@click.command()
@click.argument("folder", required=False)
@json_option
def ls(*, folder: str | None, as_json: bool) -> None:
    """List the recordings in a folder, or at an address such as s3://BUCKET/FOLDER."""
    found = api.recordings(folder).reset_index()
    if as_json:
        for row in found.itertuples(index=False):
            print_line({name: rendering.plain_value(value) for name, value in zip(found.columns, row, strict=True)})
        return
    place = folder if folder and "://" in folder else user_path(folder or recordings_folder(Settings.load())).absolute()
    if not len(found):
        put(f"no recordings in {place}")
        return
    put(rendering.recordings_table(found))
    for name, status in zip(found["session"], found["status"], strict=True):
        if status.startswith("unreadable"):
            put(f"{name} is {status}")
    put(f"{len(found):,} recording{'s' if len(found) > 1 else ''} in {place}")


@click.command()
@path_argument
@json_option
def info(*, path: Path, as_json: bool) -> None:
    """Say what a recording holds."""
    facts = api.open_recording(path).info().to_dict()
    if as_json:
        print_line(facts)
        return
    put(rendering.facts_table(facts))


@click.command()
@path_argument
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
@path_argument
@json_option
def recover(*, path: Path, as_json: bool) -> int:
    """Finish a recording whose recorder was killed: make Parquet of its journal. It can be read without, too.

    What cannot be read any more is set aside and said, and stays a gap event; the exit code is 1 then.
    """
    with Progress("recovered") as progress:
        found = recording.recover(path, on_progress=progress)
    show(found.to_dict(), rendering.recovery(found), as_json=as_json)
    return 0 if found.is_whole else 1


@click.command()
@path_argument
@json_option
def compact(*, path: Path, as_json: bool) -> int:
    """Make Parquet of what a recording has in its journal, without calling it finished."""
    with Progress("compacted") as progress:
        found = recording.compact(path, on_progress=progress)
    show(found.to_dict(), rendering.recovery(found), as_json=as_json)
    return 0


class _Printed:
    """A sink that prints the items that it takes."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def receive(self, items: Sequence[Item], /) -> None:
        for item in items:
            rendering.print_item(item, as_json=self._as_json)
        sys.stdout.flush()


def _speed(_context: click.Context, _parameter: click.Parameter, value: str) -> Any:
    if value == "max":
        return value
    try:
        return float(value)
    except ValueError:
        raise click.BadParameter(f"expected a number above 0 or max, got {value!r}") from None


@click.command()
@path_argument
@click.option("--speed", default="1", show_default=True, callback=_speed, help="How many times as fast as it was; max does not wait.")
@start_option
@end_option
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
            rendering.put(f"{candidate.path}  {candidate.bytes / 1e6:,.1f} MB  {candidate.why}")
    is_meant = bool(found) and (yes or (not as_json and _confirmed(f"Delete {len(found)} recordings, {size / 1e6:,.1f} MB, for good?")))
    failed = [why for candidate in found if (why := _not_deleted(candidate)) is not None] if is_meant else []
    gone = [candidate.to_dict() for candidate in found]
    said = f"{len(found) - len(failed)} recordings deleted" if is_meant else "nothing deleted" if found else "nothing to delete"
    say({"folder": str(root), "deleted": is_meant, "recordings": gone, "bytes": size, "failed": failed}, said, as_json=as_json)
    for why in failed:
        rendering.note(f"ccwatch: {why}")
    return 1 if failed else 0


def _not_deleted(candidate: recording.Candidate) -> str | None:
    """Delete a recording; return why that failed, else None. A failure must not end the pruning of the others."""
    try:
        recording.delete(candidate)
    except RecordingError as error:
        return str(error)
    return None


def _confirmed(question: str) -> bool:
    """Return whether the user, asked on the terminal, said yes; False where there is no terminal to ask on."""
    return sys.stdin.isatty() and click.confirm(question, err=True)
