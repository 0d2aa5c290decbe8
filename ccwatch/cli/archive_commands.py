"""The commands of the archive: SQL over all sessions, and recordings to and from other places."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from ccwatch import api
from ccwatch.archives import pull as pull_one, push as push_one, sessions_of
from ccwatch.cli import rendering
from ccwatch.cli.rendering import Progress, print_line, put, say
from ccwatch.cli.shared_options import interruptible, json_option
from ccwatch.config import Settings, recordings_folder
from ccwatch.errors import ConfigError, RecordingNotFound
from ccwatch.recording import is_recording

ROWS: Final = 1000
"""Rows that are shown without `--json`."""
_archive_option = click.option(
    "--archive", "place", metavar="DIR|URL", help="The folder or address of the recordings; the usual one if not given."
)


@click.command()
@click.argument("query")
@_archive_option
@click.option("--memory", default="1GB", show_default=True, help="What DuckDB may use; beyond it, it spills to a temporary folder.")
@json_option
@interruptible
def sql(*, query: str, place: str | None, memory: str, as_json: bool) -> int:
    """Answer a SELECT over all recordings: views packets, agents, models, logs, forecasts, trades, scanner, bars, events, sessions."""
    relation = api.archive(place).sql(query, memory=memory)
    found = relation.arrow()
    for name, why in relation.left_out.items():
        rendering.note(f"left out {name}: {why}")
    names = list(found.schema.names)
    rows = zip(*(column.to_pylist() for column in found.columns), strict=True)
    if as_json:
        for row in rows:
            print_line({name: rendering.plain_value(value) for name, value in zip(names, row, strict=True)})
        return 0
    put(rendering.rows_table(names, list(rows)[:ROWS]))
    if found.num_rows > ROWS:
        rendering.note(f"only the first {ROWS:,} rows; --json prints all")
    return 0


@click.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("url")
@click.option("--follow", is_flag=True, help="Go on while a recorder writes the recording.")
@json_option
@interruptible
def push(*, path: Path, url: str, follow: bool, as_json: bool) -> int:
    """Upload a recording, or all of a folder, to an object store; what is there already is not sent again."""
    folders = [path] if is_recording(path) else sorted(each for each in path.iterdir() if is_recording(each))
    if not folders:
        raise RecordingNotFound(f"{path} holds no recording")
    if follow and len(folders) > 1:
        raise click.UsageError("--follow goes with one recording")
    with Progress("pushed") as progress:
        done = [push_one(folder, url, follow=follow, on_progress=progress) for folder in folders]
    return _report(done, as_json=as_json)


@click.command()
@click.argument("url")
@click.option("--path", type=click.Path(path_type=Path, file_okay=False), help="The folder that the recordings go to.")
@json_option
@interruptible
def pull(*, url: str, path: Path | None, as_json: bool) -> int:
    """Copy a recording, or all of an address, from an object store; files that are here already are not copied again."""
    addresses = list(sessions_of(url))
    if not addresses:
        raise RecordingNotFound(f"{url} holds no recording")
    root = path or recordings_folder(Settings.load())
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{root} cannot be made: {error.strerror}") from None
    with Progress("pulled") as progress:
        done = [pull_one(address, root, on_progress=progress) for address in addresses]
    return _report(done, as_json=as_json)


@click.command()
@click.argument("path")
@click.argument("url")
@click.option("--format", "kind", type=click.Choice(["delta"]), default="delta", show_default=True, help="The tables' format.")
@json_option
@interruptible
def publish(*, path: str, url: str, kind: str, as_json: bool) -> int:
    """Publish the recordings of a folder or address as tables for other engines; what is there already is not written again."""
    with Progress("published") as progress:
        found = api.archive(path).publish(url, format=kind, on_progress=lambda done, _: progress(done))
    facts = found.to_dict()
    words = f"{url}: {len(found.sessions):,} sessions written, {found.unchanged:,} unchanged, {len(found.left_out):,} left out"
    say(facts, words, as_json=as_json)
    return 1 if found.left_out and not found.sessions and not found.unchanged else 0


def _report(done: list[Any], *, as_json: bool) -> int:
    for each in done:
        words = f"{each.session}: {each.segments:,} files, {each.bytes:,} bytes; {each.there:,} were there; "
        say(each.to_dict(), words + ("finished" if each.finished else "not finished"), as_json=as_json)
    return 0
