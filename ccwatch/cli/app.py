"""The command line: a skin over `api` and `doctor`. The one module that prints. Exit codes: 0 ok, 1 the answer is no, 2 usage."""

from __future__ import annotations

import queue
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click

from ccwatch import __version__, api
from ccwatch.cli import recordings, rendering
from ccwatch.cli.common import STATUS_PERIOD_S, Progress, json_option, print_line, say, show, show_status, streaming
from ccwatch.cli.serving import EXISTING_FILE, announce, serves, serving_options
from ccwatch.config import Settings
from ccwatch.doctor import LISTEN_S, examine, examine_lab
from ccwatch.errors import CcwatchError, ConfigError
from ccwatch.protocol.messages import Item, Packet, StateChange
from ccwatch.recording import Recording

FOLLOW_PERIOD_S: Final = 0.25
LAST_PACKETS: Final = 10
"""Packets of a recording that `tail` begins with."""


class Group(click.Group):
    """The commands in the order of their use, and every error of ccwatch as one line."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """In the order of their definition."""
        return list(self.commands)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Watch, record and explain the live stream of a Curiosity Cottage trading engine."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The program; ends the process with its exit code."""
    try:
        code = cli.main(args=arguments, prog_name="ccwatch", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        sys.exit(0)
    except ConfigError as error:
        _complain(error)
        sys.exit(2)
    except CcwatchError as error:
        _complain(error)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _complain(error: CcwatchError) -> None:
    click.echo(f"ccwatch: {error}", err=True)


_seed = click.option("--seed", default=0, show_default=True, help="Equal seeds give equal streams.")
_scenario = click.option("--scenario", default="calm", show_default=True, help="What is planted in the stream.")
_rate = click.option("--rate", default=1.0, show_default=True, help="Packets per second.")


@cli.command()
@click.option("--no-browser", is_flag=True, help="Print JupyterLab's address instead of opening it.")
@click.option("--headless", is_flag=True, help="No JupyterLab: record for --seconds, then print the recording's path.")
@click.option("--seconds", type=float, help="With --headless: how long.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="The working folder; ccwatch-demo if not given.")
@_seed
@_scenario
@json_option
@streaming
def demo(*, no_browser: bool, headless: bool, seconds: float | None, folder: Path | None, seed: int, scenario: str, as_json: bool) -> int:
    """Serve a seeded stream, record it, and show it in JupyterLab."""
    from ccwatch.demo import FOLDER, Demo  # noqa: PLC0415 - only this command needs it

    if seconds is not None and not headless:
        raise click.UsageError("--seconds goes with --headless")
    with Demo(folder or Path(FOLDER), seed=seed, scenario=scenario) as running:
        if headless:
            show_status(running.feed, running.recorder, seconds, quiet=as_json)
        else:
            lab = running.lab(browser=not no_browser)
            try:
                lab.wait_until_up()
                say({"url": lab.url, "stream": running.cottage.url}, f"JupyterLab: {lab.url}\nCtrl-C ends it.", as_json=as_json)
                lab.wait()
            except KeyboardInterrupt:
                pass
            finally:
                lab.stop()
    say({"recording": str(running.recorder.path)}, str(running.recorder.path), as_json=as_json)
    return 0


@cli.command()
@_seed
@_scenario
@_rate
@click.option("--packets", type=int, help="Fall silent after so many.")
@click.option("--prices", type=EXISTING_FILE, help="A CSV file with a column price or close: one packet for each.")
@click.option("--symbol", default="SPY", show_default=True, help="What is traded.")
@click.option("--engine", help="URL of another engine, which the BFF polls; then nothing is seeded.")
@click.option("--redis", help="redis://HOST:PORT/DB, whose channels are streamed; then nothing is seeded but with --seeded.")
@click.option("--seeded", is_flag=True, help="With --redis: a seeded stream as well.")
@serves
@json_option
@streaming
def serve(*, as_json: bool, secret_file: Path | None, per_ip: int, seeded: bool, prices: Path | None, **options: Any) -> int:
    """Serve a seeded stream as an engine and a BFF do, until Ctrl-C."""
    with api.serve(prices=prices, seeded=seeded or None, **serving_options(secret_file, per_ip, **options)) as cottage:
        if options["engine"] or (options["redis"] and not seeded):
            what = f"streams {'an engine' if options['engine'] else 'Redis'}"
        else:
            what = f"SYNTHETIC: seed {options['seed']}, scenario {options['scenario']}"
        announce(cottage, what, as_json=as_json)
        while True:
            time.sleep(3600)


@cli.command()
@click.argument("source", metavar="URL|PATH")
@click.option("-n", "--lines", type=click.IntRange(min=1), help="Stop after so many packets; of a recording, show so many of its last.")
@click.option("--follow", is_flag=True, help="Of a recording with -n: go on while it is being written.")
@json_option
@streaming
def tail(*, source: str, lines: int | None, follow: bool, as_json: bool) -> int:
    """Print packets and events as they arrive, from a URL or from a recording (PATH) while it is being written."""

    def show(item: Item) -> None:
        if as_json:
            print_line(rendering.facts_of(item))
        else:
            rendering.show(rendering.line(item))

    if "://" in source:
        return _tail_stream(source, lines, show)
    return _tail_recording(api.open_recording(source), lines or LAST_PACKETS, show, follow=follow or lines is None)


for _command in recordings.COMMANDS:
    cli.add_command(_command)


@cli.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="FILE.html, or FILE.md for Markdown.")
@click.option("--drop", help="Columns or lists to leave out, with commas: nav,cash,logs.")
@json_option
def report(*, path: Path, output: Path, drop: str | None, as_json: bool) -> int:
    """Write the post-mortem of a recording as one offline file."""
    if output.suffix.lower() not in {".html", ".htm", ".md", ".markdown"}:
        raise click.BadParameter(f"{output.name}: expected a name that ends in .html or .md", param_hint="-o")
    names = [name.strip() for name in (drop or "").split(",") if name.strip()]
    asked = api.analyze(path).without(names)
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


@cli.command()
@click.argument("url", required=False)
@click.option("--lab", "lab", is_flag=True, help="Examine the JupyterLab in use instead: can it show the dashboard?")
@click.option("--seconds", type=click.FloatRange(min=0.1), default=LISTEN_S, show_default=True, help="How long to listen.")
@json_option
@streaming
def doctor(*, url: str | None, lab: bool, seconds: float, as_json: bool) -> int:
    """Say what a server's stream speaks and how it fares, and what to set; without URL, try the usual places."""
    if lab:
        if url is not None:
            raise click.UsageError("--lab examines this machine's JupyterLab; it takes no URL")
        looked = examine_lab()
        show(looked.to_dict(), rendering.lab_diagnosis(looked), as_json=as_json)
        return 0 if looked.healthy else 1
    found = examine(url, seconds=seconds)
    show(found.to_dict(), rendering.diagnosis(found), as_json=as_json)
    return 0 if found.healthy else 1


# ── following ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class _QueueSink:
    """Hands what the feed's thread delivers to the printing thread."""

    def __init__(self, arrived: queue.SimpleQueue[Item]) -> None:
        self._arrived = arrived

    def receive(self, items: Sequence[Item]) -> None:
        for item in items:
            self._arrived.put(item)


def _tail_stream(url: str, lines: int | None, show: Callable[[Item], None]) -> int:
    arrived: queue.SimpleQueue[Item] = queue.SimpleQueue()
    left = lines
    with api.live_feed(Settings.load(url=url)) as feed:
        feed.add_sink(_QueueSink(arrived))
        feed.start()
        while left is None or left > 0:
            try:
                item = arrived.get(timeout=STATUS_PERIOD_S)
            except queue.Empty:
                continue
            show(item)
            left = left - 1 if left is not None and isinstance(item, Packet) else left
            if isinstance(item, StateChange) and item.error is not None and item.retry_s is None:
                raise item.error
    return 0


def _tail_recording(recording: Recording, lines: int, show: Callable[[Item], None], *, follow: bool) -> int:
    """The last packets with the events among them; then what is added, until its recorder is gone."""
    is_growing = follow and recording.status == "open"  # asked before reading: what comes between the two is read, too
    info = recording.info()
    likely = max(0, info.packets + info.events - 2 * lines - 100)  # so that what lies far back need not be read
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
        if is_growing:  # what is in the journal is read anew each time: a long one must not keep a core busy
            time.sleep(max(FOLLOW_PERIOD_S, 5 * (time.monotonic() - began)))
    return 0


def _last(recording: Recording, lines: int, after: int) -> list[tuple[int, Item]]:
    """The last packets beyond an entry, and the events among them and behind them, each with its entry."""
    found: deque[tuple[int, Item]] = deque()
    packets = 0
    for numbered in recording.numbered(after):
        found.append(numbered)
        packets += isinstance(numbered[1], Packet)
        while packets > lines or (packets == lines and not isinstance(found[0][1], Packet)):
            packets -= isinstance(found.popleft()[1], Packet)
    return list(found)


if __name__ == "__main__":
    main()
