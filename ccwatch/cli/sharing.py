"""The commands that make files of a recording for others: tables, a packed copy, a report."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ccwatch import api, recording
from ccwatch.cli import rendering
from ccwatch.cli.rendering import Progress, say, show
from ccwatch.cli.shared_options import end_option, json_option, names_of, path_argument, start_option
from ccwatch.errors import ConfigError
from ccwatch.protocol.columns import TABLES


@click.command()
@path_argument
@click.option("--to", "to", type=click.Choice(recording.FORMATS), required=True, help="The format.")
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="The file; standard output if not given.")
@click.option("--table", type=click.Choice(list(TABLES)), default="packets", show_default=True, help="What to export.")
@start_option
@click.option("--to-time", "--until", "end", metavar="TIME", help="The last time, included.")
@click.option("--quote-formulas", is_flag=True, help="In CSV: an apostrophe before text that a spreadsheet would compute.")
@json_option
def export(
    *, path: Path, to: Any, out: Path | None, table: str, start: str | None, end: str | None, quote_formulas: bool, as_json: bool
) -> int:
    """Write a table of a recording as JSON lines, CSV, Parquet or MCAP."""
    if out is None and to in {"parquet", "mcap"}:
        raise click.UsageError(f"{to} is no text: name a file with -o")
    if out is None and as_json:
        raise click.UsageError("--json describes what was written to the file named by -o; the rows themselves go to standard output")
    opened = api.open_recording(path)
    with Progress("exported") as progress, _readers_leave():
        rows = recording.export(
            opened, out or sys.stdout.buffer, to, table=table, start=start, end=end, quote_formulas=quote_formulas, on_progress=progress
        )
    if out is not None:
        say({"out": str(out), "format": to, "table": table, "rows": rows}, f"{out}: {rows:,} rows", as_json=as_json)
    return 0


@contextlib.contextmanager
def _readers_leave() -> Iterator[None]:
    """Treat a reader that closes its pipe as an ordinary end, not as an error."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        with contextlib.suppress(OSError):
            sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - in place of the pipe, until the process ends


@click.command()
@path_argument
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file, ….zip.")
@click.option("--drop", help="Columns or lists to leave out, with commas: nav,cash,reasoning,logs.")
@click.option("--scale-nav", type=float, help="The first nav becomes this; cash and daily_pnl are scaled alike.")
@start_option
@end_option
@json_option
def pack(*, path: Path, out: Path, drop: str | None, scale_nav: float | None, start: str | None, end: str | None, as_json: bool) -> int:
    """Pack a recording into one file for a colleague, whole or without what is private; ccwatch opens it as it is."""
    with Progress("packed") as progress:
        found = recording.pack(
            api.open_recording(path), out, drop=names_of(drop), scale_nav=scale_nav, start=start, end=end, on_progress=progress
        )
    show(found.to_dict(), rendering.facts_table(found.to_dict()), as_json=as_json)
    return 0


@click.command()
@path_argument
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="FILE.html, or FILE.md for Markdown.")
@click.option("--drop", help="Columns or lists to leave out, with commas: nav,cash,logs.")
@click.option("--symbol", help="Only this one, of a recording that holds several.")
@start_option
@end_option
@json_option
def report(*, path: Path, output: Path, drop: str | None, symbol: str | None, start: str | None, end: str | None, as_json: bool) -> int:
    """Write the post-mortem of a recording as one offline file."""
    if output.suffix.lower() not in {".html", ".htm", ".md", ".markdown"}:
        raise click.BadParameter(f"{output.name}: expected a name that ends in .html or .md", param_hint="-o")
    asked = api.analyze(path, symbol=symbol).without(names_of(drop))
    if start is not None or end is not None:
        asked = asked.between(start, end)
    try:
        with Progress("asking") as progress:
            asked.answers(on_progress=progress)
            progress("what happened")
            asked.what_happened()
            progress("for the page")
            if output.suffix.lower() in {".md", ".markdown"}:
                output.write_text(asked.to_markdown(), encoding="utf-8")
            else:
                asked.to_html(output)
    except OSError as error:
        raise ConfigError(f"{output} cannot be written: {error.strerror}") from None
    sentences = [sentence for _, sentence in asked.what_happened()]
    facts = {"report": str(output), "synthetic": asked.is_synthetic, "what_happened": sentences}
    say(facts, "\n".join([*sentences, str(output)]), as_json=as_json)
    return 0 if sentences else 1
