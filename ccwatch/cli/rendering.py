"""The command line's output: items, recordings as lines and tables, and progress. It is the one place that prints.

Text from a stream is shown without control characters, since a terminal would obey them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import click
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from ccwatch.protocol.decoding import codec
from ccwatch.protocol.messages import ConnectionState, Event, Flag, Item, Packet, Regime, Status
from ccwatch.text import plain, plain_json

if TYPE_CHECKING:
    import pandas as pd

    from ccwatch.feed.feed import Feed
    from ccwatch.recording import Problem, Recovery, Verification

STATUS_PERIOD_S: Final = 0.5
PROGRESS_AFTER_S: Final = 1.0
"""Progress is shown only after so long."""
PROGRESS_PERIOD_S: Final = 0.1

REGIME_STYLES: Final = {Regime.GAUSSIAN: "blue", Regime.LEVY: "yellow", Regime.CRITICAL: "bold magenta"}
_LISTED: Final = ("session", "start", "status", "origin", "symbols", "packets", "max_drawdown", "halts", "gaps", "tags", "bytes")
"""Columns shown in the list of recordings; --json has all columns."""
LONG: Final = 300
"""Characters at most of a value that a server wrote."""
WIDE: Final = 4096
"""Width of a line that goes to a pipe, whose reader wants it uncut."""


class _Console(Console):
    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments to print, without control characters in their text; only our own colours remain."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(plain(segment.text, keep="\n"), segment.style)

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError for the command to handle, since rich would end the process with its own exit code."""
        raise BrokenPipeError


def put(*things: RenderableType) -> None:
    """Print to standard output: in colour on a terminal, unless NO_COLOR says not to; plain, and never cut, to a pipe."""
    console = _Console(highlight=False, soft_wrap=True)
    if console.no_color or not console.is_terminal:
        width = None if console.is_terminal else WIDE
        console = _Console(highlight=False, soft_wrap=True, color_system=None, width=width)  # without bold or dim, too
    for thing in things:
        console.print(thing, markup=False)


def say(facts: Mapping[str, Any], words: str, *, as_json: bool) -> None:
    """Print the answer: the facts as JSON, or the words."""
    if as_json:
        print_line(facts)
    else:
        click.echo(plain(words, keep="\n"))
    sys.stdout.flush()


def show(facts: Mapping[str, Any], words: RenderableType, *, as_json: bool) -> None:
    """Print the answer: the facts as JSON, or a table."""
    if as_json:
        print_line(facts)
    else:
        put(words)


def print_line(facts: Mapping[str, Any]) -> None:
    """Print the facts as one line of JSON."""
    click.echo(plain_json(codec.text(facts)))


def print_item(item: Item, *, as_json: bool) -> None:
    """Print a packet, an event or a change of state as one line."""
    if as_json:
        print_line(facts_of(item))
    else:
        put(line(item))


def note(text: str = "") -> None:
    """Print a remark beside the answer, to standard error."""
    click.echo(plain(text, keep="\n"), err=True)


def show_status(feed: Feed, recorder: Any, seconds: float | None, *, quiet: bool) -> None:
    """Show one status line until the time is over: rewritten on a terminal, printed once at the end elsewhere."""
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
    return plain(line, 110).ljust(110)


class Progress:
    """Shows a command's progress on a terminal once it takes longer than a second; silent elsewhere. A context manager."""

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
        """Show a count, or the name of the current part."""
        now = time.monotonic()
        if now - self._begun < PROGRESS_AFTER_S or now - self._shown_at < PROGRESS_PERIOD_S or not sys.stderr.isatty():
            return
        self._shown_at, self._is_shown = now, True
        progress = f"{so_far:,}" if isinstance(so_far, int) else so_far
        click.echo("\r" + plain(f"{self._what} {progress}", 100).ljust(100), nl=False, err=True)


# ── items of a stream ──────────────────────────────────────────────────────────────────────────────────────────────────


def line(item: Item) -> Text:
    """Return a packet, event or change of state as one line; a packet has its regime's colour, and the regime as a word too."""
    if isinstance(item, Event):
        return Text(f"· {item.kind} {plain(item.detail, LONG)}", style="dim")
    if not isinstance(item, Packet):
        retry = "" if item.retry_s is None else f", next try in {item.retry_s:g} s"
        why = "" if item.error is None else f": {plain(str(item.error), LONG)}"
        return Text(f"· {item.state}{retry}{why}", style="dim" if item.error is None else "red")
    regime = item.regime or "–"
    parts = (
        f"{item.time:%H:%M:%S.%f}"[:-3],
        f"{plain(item.symbol or '–', 12):<6} {number(item.price, '10.2f')}",
        f"{regime:<12}",
        f"α {number(item.alpha, '6.3f')}",
        f"{item.side or '–':<4} {number(item.confidence, '4.2f')}",
        f"nav {number(item.nav, '12,.2f')}",
        f"dd {number(item.max_drawdown * 100, '6.2f')} %",
    )
    text = Text("  ".join(parts), style=REGIME_STYLES.get(regime, ""))  # type: ignore[call-overload] # a StrEnum is its word
    if item.status is not None:
        text.append(f"  {item.status}", style="bold red" if item.status == Status.HALT else "")
    if item.flags:
        text.append(f"  {flags(item)}", style="dim")
    return text


def facts_of(item: Item) -> dict[str, Any]:
    """Return an item as a dict for one JSON object; a packet contains the whole message."""
    if isinstance(item, Packet):
        from ccwatch.recording import packet_facts  # noqa: PLC0415 - pyarrow is not needed for words

        return packet_facts(item)
    if isinstance(item, Event):
        return {"event": item.kind, "seq": item.seq, "detail": item.detail}
    return {"state": item.state, "retry_s": item.retry_s, "error": None if item.error is None else str(item.error)}


def flags(packet: Packet) -> str:
    """Return the names of a packet's flags, separated by spaces."""
    return " ".join(flag.name or "" for flag in Flag(packet.flags))


# ── recordings ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def recordings_table(found: pd.DataFrame) -> Table:
    """Return the list of recordings as a table of the columns that are shown; a status says what is damaged, not why."""
    shown = found[list(_LISTED)].assign(status=[_status(row) for row in found.itertuples()])
    return rows_table(list(shown.columns), list(shown.itertuples(index=False, name=None)))


def _status(row: Any) -> str:
    status = str(row.status).partition(":")[0]
    return f"{status}, {row.damaged:,} damaged" if row.damaged and status != "unreadable" else status


def rows_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """Return rows of any columns as a table, numbers aligned to the right."""
    table = Table(box=None, header_style="bold")
    for at, name in enumerate(columns):
        numeric = all(isinstance(plain_value(row[at]), int | float | None) for row in rows)
        table.add_column(name, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*map(cell, row))
    return table


def facts_table(facts: Mapping[str, Any]) -> Table:
    """Return names and values as a table of two columns."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, value if isinstance(value, Text) else cell(value))
    return table


def verification(found: Verification) -> Group:
    """Return the result of comparing the checksums: each place that fails, and each that a kill explains."""
    depth = "every byte" if found.deep else "the journal, the manifest and the footers; --deep reads every byte"
    parts: list[RenderableType] = [
        Text.assemble(("ok", "bold green") if found.ok else ("damaged", "bold red"), f": {plain(str(found.path))}"),
        Text(f"  {found.files} files: {depth}"),
        *(Text(f"  {_place(problem)}", style="red") for problem in found.problems),
        *(Text(f"  {_place(note)}", style="dim") for note in found.notes),
    ]
    return Group(*parts)


def _place(problem: Problem) -> str:
    return f"{plain(problem.file)}, bytes {problem.offset} to {problem.offset + problem.length}: {plain(problem.what, LONG)}"


def recovery(found: Recovery) -> Group:
    """Return the changes that were made to a recording, as lines."""
    done = "finished" if found.finished else "not finished"
    parts: list[RenderableType] = [Text(f"{plain(str(found.path))}: {found.entries:,} entries from journal to Parquet; {done}")]
    if found.torn_bytes:
        parts.append(Text(f"  {found.torn_bytes:,} bytes of a torn frame at the journal's end, as a kill leaves it", style="dim"))
    if found.damaged_bytes:
        parts.append(Text(f"  {found.damaged_bytes:,} bytes fail their checksum and are reported as gaps; kept in *.damaged", style="red"))
    if found.mended:
        parts.append(Text(f"  {found.mended} damaged lines were rewritten from their copies", style="dim"))
    return Group(*parts)


# ── values ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def number(value: float, layout: str) -> str:
    """Return the number in this format; for NaN, a dash of the same width."""
    if value == value:  # noqa: PLR0124 - NaN
        return format(value, layout)
    return "–".rjust(int(layout.split(".", maxsplit=1)[0].rstrip(",")))


def plain_value(value: Any) -> Any:
    """Return a cell of a frame as a plain value that JSON can hold; None for NaN and NaT."""
    if isinstance(value, list | tuple):
        return [plain_value(entry) for entry in value]
    if value is None or value != value:  # noqa: PLR0124 - NaN and NaT
        return None
    if isinstance(value, str | bool | int | float):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def cell(value: Any) -> str:
    """Return a value as text for a table; a dash for a missing one."""
    found = plain_value(value)
    if found is None:
        return "–"
    if isinstance(found, list):
        return plain(", ".join(map(str, found)), LONG)
    return f"{found:,.4g}" if isinstance(found, float) else plain(str(found), LONG)
