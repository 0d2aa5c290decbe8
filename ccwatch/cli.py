"""The command line: a skin over `api` and `doctor`. The one module that prints. Exit codes: 0 ok, 1 the answer is no, 2 usage."""

from __future__ import annotations

import os
import queue
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click

from ccwatch import __version__, api, terminal
from ccwatch.config import FSYNC_POLICIES, Settings
from ccwatch.doctor import examine, examine_lab
from ccwatch.doctor.stream import LISTEN_S
from ccwatch.errors import CcwatchError, ConfigError
from ccwatch.feed.feed import Feed
from ccwatch.protocol import codec
from ccwatch.protocol.messages import ConnectionState, Item, Packet, StateChange
from ccwatch.recording import Recording

STATUS_PERIOD_S: Final = 0.5
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


def _streaming(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """For a command that goes on until Ctrl-C, which is its ordinary end; and for a reader of a pipe that has left."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> int | None:
        try:
            return command(*arguments, **options)
        except KeyboardInterrupt:
            return 0
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains while it flushes at exit
            return 0
        finally:
            api.stop_all()

    return run


_json = click.option("--json", "as_json", is_flag=True, help="Machine-readable: one object, or one per line where it streams.")
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
@_json
@_streaming
def demo(*, no_browser: bool, headless: bool, seconds: float | None, folder: Path | None, seed: int, scenario: str, as_json: bool) -> int:
    """Serve a seeded stream, record it, and show it in JupyterLab."""
    from ccwatch.demo import FOLDER, Demo  # noqa: PLC0415 - only this command needs it

    if seconds is not None and not headless:
        raise click.UsageError("--seconds goes with --headless")
    with Demo(folder or Path(FOLDER), seed=seed, scenario=scenario) as running:
        if headless:
            _show_status(running.feed, running.recorder, seconds, quiet=as_json)
        else:
            lab = running.lab(browser=not no_browser)
            try:
                lab.wait_until_up()
                _say({"url": lab.url, "stream": running.cottage.url}, f"JupyterLab: {lab.url}\nCtrl-C ends it.", as_json=as_json)
                lab.wait()
            except KeyboardInterrupt:
                pass
            finally:
                lab.stop()
    _say({"recording": str(running.recorder.path)}, str(running.recorder.path), as_json=as_json)
    return 0


@cli.command()
@click.option("--port", default=3000, show_default=True, help="Of the BFF; 0 is a free one.")
@click.option("--engine-port", default=8000, show_default=True, help="Of the engine; 0 is a free one.")
@_seed
@_scenario
@_rate
@click.option("--packets", type=int, help="Fall silent after so many.")
@_json
@_streaming
def serve(*, port: int, engine_port: int, seed: int, scenario: str, rate: float, packets: int | None, as_json: bool) -> int:
    """Serve a seeded stream as an engine and a BFF do, until Ctrl-C."""
    with api.serve(seed=seed, scenario=scenario, rate=rate, packets=packets, port=port, engine_port=engine_port) as cottage:
        _say(
            {"url": cottage.url, "engine_url": cottage.engine_url},
            f"BFF     {cottage.url}\nengine  {cottage.engine_url}\nSYNTHETIC: seed {seed}, scenario {scenario}. Ctrl-C ends it.",
            as_json=as_json,
        )
        while True:
            time.sleep(3600)


@cli.command()
@click.argument("source", metavar="URL|PATH")
@click.option("-n", "--lines", type=click.IntRange(min=1), help="Stop after so many packets; of a recording, show so many of its last.")
@click.option("--follow", is_flag=True, help="Of a recording with -n: go on while it is being written.")
@_json
@_streaming
def tail(*, source: str, lines: int | None, follow: bool, as_json: bool) -> int:
    """Print packets and events as they arrive, from a URL or from a recording (PATH) while it is being written."""

    def show(item: Item) -> None:
        if as_json:
            _print_line(terminal.facts_of(item))
        else:
            terminal.show(terminal.line(item))

    if "://" in source:
        return _tail_stream(source, lines, show)
    return _tail_recording(api.open_recording(source), lines or LAST_PACKETS, show, follow=follow or lines is None)


@cli.command()
@click.argument("url")
@click.option("--path", type=click.Path(path_type=Path, file_okay=False), help="The folder that recordings go to.")
@click.option("--seconds", type=float, help="How long; without it, until Ctrl-C.")
@click.option("--fsync", type=click.Choice(FSYNC_POLICIES), help="When packets reach the disk; balanced (0.2 s) if not given.")
@click.option("--raw", type=click.Choice(["auto", "always", "never"]), default="auto", show_default=True, help="Raw messages to keep.")
@click.option("--tag", "tags", multiple=True, help="A word to find it by; may be given again.")
@_json
def record(*, url: str, path: Path | None, seconds: float | None, fsync: Any, raw: Any, tags: tuple[str, ...], as_json: bool) -> int:
    """Record a stream into a new folder, whose path is printed at the end."""
    with api.connect(url) as feed, api.record(feed, path, fsync=fsync, raw=raw, tags=tags) as recorder:
        try:
            _show_status(feed, recorder, seconds, quiet=as_json)
        except KeyboardInterrupt:
            click.echo(err=True)
    stats = recorder.stats
    facts = {"recording": str(recorder.path), "packets": stats.packets, "dropped": stats.dropped, "error": stats.error}
    _say(facts, str(recorder.path), as_json=as_json)
    if not stats.packets:
        click.echo(f"ccwatch: no packet came from {feed.url}{f': {feed.error}' if feed.error else ''}", err=True)
    return 0 if stats.packets else 1


@cli.command(name="ls")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@_json
def list_(*, folder: Path | None, as_json: bool) -> None:
    """List the recordings in a folder."""
    found = api.recordings(folder).reset_index()
    if as_json:
        for row in found.itertuples(index=False):
            _print_line({name: terminal.plain_value(value) for name, value in zip(found.columns, row, strict=True)})
        return
    terminal.show(
        terminal.recordings_table(list(map(str, found.columns)), found.itertuples(index=False)) if len(found) else "no recordings here"
    )


@cli.command()
@click.argument("path", type=click.Path(path_type=Path))
@_json
def info(*, path: Path, as_json: bool) -> None:
    """Say what a recording holds."""
    facts = api.open_recording(path).info().to_dict()
    if as_json:
        _print_line(facts)
        return
    terminal.show(terminal.facts_table(facts))


@cli.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="FILE.html, or FILE.md for Markdown.")
@_json
def report(*, path: Path, output: Path, as_json: bool) -> int:
    """Write the post-mortem of a recording as one offline file."""
    asked = api.analyze(path)
    try:
        if output.suffix.lower() in {".md", ".markdown"}:
            output.write_text(asked.to_markdown(), encoding="utf-8")
        else:
            asked.to_html(output)
    except OSError as error:
        raise ConfigError(f"{output} cannot be written: {error.strerror}") from None
    sentences = [sentence for _, sentence in asked.what_happened()]
    facts = {"report": str(output), "synthetic": asked.is_synthetic, "what_happened": sentences}
    _say(facts, "\n".join([*sentences, str(output)]), as_json=as_json)
    return 0 if sentences else 1


@cli.command()
@click.argument("url", required=False)
@click.option("--lab", "lab", is_flag=True, help="Examine the JupyterLab in use instead: can it show the dashboard?")
@click.option("--seconds", type=click.FloatRange(min=0.1), default=LISTEN_S, show_default=True, help="How long to listen.")
@_json
@_streaming
def doctor(*, url: str | None, lab: bool, seconds: float, as_json: bool) -> int:
    """Say what a server's stream speaks and how it fares, and what to set; without URL, try the usual places."""
    if lab:
        if url is not None:
            raise click.UsageError("--lab examines this machine's JupyterLab; it takes no URL")
        looked = examine_lab()
        _show(looked.to_dict(), terminal.lab_diagnosis(looked), as_json=as_json)
        return 0 if looked.healthy else 1
    found = examine(url, seconds=seconds)
    _show(found.to_dict(), terminal.diagnosis(found), as_json=as_json)
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


# ── printing ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _say(facts: dict[str, Any], words: str, *, as_json: bool) -> None:
    if as_json:
        _print_line(facts)
    else:
        click.echo(words)
    sys.stdout.flush()


def _show(facts: dict[str, Any], words: Any, *, as_json: bool) -> None:
    if as_json:
        _print_line(facts)
    else:
        terminal.show(words)


def _print_line(facts: dict[str, Any]) -> None:
    click.echo(codec.text(facts))


def _show_status(feed: Feed, recorder: Any, seconds: float | None, *, quiet: bool) -> None:
    """One line that is written over itself on a terminal, and once at the end elsewhere."""
    begun = time.monotonic()
    live = sys.stderr.isatty() and not quiet
    while True:
        passed = time.monotonic() - begun
        over = seconds is not None and passed >= seconds
        stuck = feed.error is not None and feed.health().retry_in_s is None and feed.state is ConnectionState.DISCONNECTED
        if live or (not quiet and (over or stuck)):
            click.echo(("\r" if live else "") + _status_line(feed, recorder, passed), nl=not live or over or stuck, err=True)
        if over or stuck:
            return
        time.sleep(STATUS_PERIOD_S if seconds is None else min(STATUS_PERIOD_S, max(0.0, seconds - passed)))


def _status_line(feed: Feed, recorder: Any, passed_s: float) -> str:
    health, latest, stats = feed.health(), feed.latest, recorder.stats
    price = "–" if latest is None else f"{latest.symbol or ''} {latest.price:.2f} {latest.regime or ''}"
    trouble = "  DEGRADED" if stats.degraded else ""
    synthetic = "  SYNTHETIC" if health.origin == "synthetic" else ""
    line = f"{passed_s:6.1f} s  {health.state:<12}  {price}  {stats.packets} packets recorded  {health.gaps} gaps{trouble}{synthetic}"
    return line[:110].ljust(110)


if __name__ == "__main__":
    main()
