"""What the commands of the command line share: options, the ends of a streaming command, what is printed. Only these modules print."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import wraps
from types import TracebackType
from typing import Any, Final, Self

import click

from ccwatch.cli import rendering
from ccwatch.feed.feed import Feed
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.messages import ConnectionState
from ccwatch.stream import registry

STATUS_PERIOD_S: Final = 0.5
PROGRESS_AFTER_S: Final = 1.0
"""What takes less long needs no progress."""
PROGRESS_PERIOD_S: Final = 0.1

json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable: one object, or one per line where it streams.")


def streaming(command: Callable[..., int | None]) -> Callable[..., int | None]:
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
            registry.stop_all()

    return run


def say(facts: dict[str, Any], words: str, *, as_json: bool) -> None:
    """The answer: the facts as JSON, or in words."""
    if as_json:
        print_line(facts)
    else:
        click.echo(words)
    sys.stdout.flush()


def show(facts: dict[str, Any], words: Any, *, as_json: bool) -> None:
    """The answer: the facts as JSON, or as a table."""
    if as_json:
        print_line(facts)
    else:
        rendering.show(words)


def print_line(facts: dict[str, Any]) -> None:
    """One line of JSON."""
    click.echo(codec.text(facts))


def show_status(feed: Feed, recorder: Any, seconds: float | None, *, quiet: bool) -> None:
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


class Progress:
    """How far a command is, on a terminal, once it takes longer than a second; silent elsewhere. A context manager."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._begun = time.monotonic()
        self._shown_at = 0.0
        self._is_shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._is_shown:
            click.echo("\r" + " " * 100 + "\r", nl=False, err=True)

    def __call__(self, so_far: int | str) -> None:
        """Show a count, or what is worked on."""
        now = time.monotonic()
        if now - self._begun < PROGRESS_AFTER_S or now - self._shown_at < PROGRESS_PERIOD_S or not sys.stderr.isatty():
            return
        self._shown_at, self._is_shown = now, True
        told = f"{so_far:,}" if isinstance(so_far, int) else so_far
        click.echo(f"\r{self._what} {told}"[:100].ljust(101), nl=False, err=True)
