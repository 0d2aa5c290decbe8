"""The doctor's diagnoses as lines and tables. Text that a server wrote is shown without control characters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ccwatch.cli.rendering import LONG, facts_table
from ccwatch.text import plain

if TYPE_CHECKING:
    from ccwatch.doctor import Diagnosis, LabDiagnosis

_SHOWN_FIELDS: Final = 12


def diagnosis(found: Diagnosis) -> Group:
    """Return the doctor's diagnosis of a stream, as lines and tables."""
    parts: list[RenderableType] = [_verdict(found.healthy, found.url or "no stream")]
    if found.url is None or len(found.attempts) > 1:
        tried = {
            a.url: f"answers in {a.handshake_ms:.1f} ms" if a.handshake_ms is not None else _why(a.url, a.error) for a in found.attempts
        }
        parts += [Text("\ntried", style="bold"), facts_table(tried)]
    if found.url is not None:
        parts.append(facts_table(_facts(found)))
    if found.flags:
        parts += [Text("\nflags", style="bold"), _flags_table(found)]
    return Group(*parts, *_remarks(found.problems, found.advice), *_settings(found.settings))


def lab_diagnosis(found: LabDiagnosis) -> Group:
    """Return the doctor's diagnosis of the JupyterLab, as lines and tables."""
    kernel = {"interpreter": found.python} | {name: version or "missing" for name, version in found.versions.items()}
    parts: list[RenderableType] = [
        _verdict(found.healthy, "the dashboard in JupyterLab"),
        Text("\nkernel", style="bold"),
        facts_table(kernel),
    ]
    for lab in found.labs:
        extensions = {name: e.version + ("" if e.works else ", does not work") for name, e in lab.extensions.items()}
        state = Text("; ".join(lab.problems) or "shows the dashboard", style="red" if lab.problems else "green")
        facts = {"interpreter": lab.python, "JupyterLab": lab.version} | extensions | {"result": state}
        title = f"\nLab: {lab.where}" + (", taken for the one in use" if lab is found.labs[0] else "")
        parts += [Text(title, style="bold"), facts_table(facts)]
    return Group(*parts, *_remarks(found.problems, found.advice))


def _facts(found: Diagnosis) -> dict[str, Any]:
    first = "" if found.first_packet_ms is None else f", the first packet {found.first_packet_ms:.1f} ms later"
    rate = "" if found.rate_hz is None else f", {found.rate_hz:.3g} per second"
    size = "" if found.message_bytes_mean is None else f", {found.message_bytes_mean:,.0f} bytes each"
    return {
        "origin": found.origin.upper() if found.origin != "live" else found.origin,
        "state": found.state,
        "handshake": "–" if found.handshake_ms is None else f"{found.handshake_ms:.1f} ms{first}",
        "packets": f"{found.packets} in {found.seconds:g} s{rate}{size}",
        "dialect": _counts(found.dialects),
        "wire": _compression(found),
        "kind": _counts(found.kinds),
        "symbols": _some(found.symbols),
        "clock": _clock(found),
        "never came": _some(found.missing) if found.packets else "–",
        "beyond the contract": _some(found.beyond),
        "foreign, in extra": _some(found.foreign),
        "events": _counts(found.events),
    }


def _clock(found: Diagnosis) -> str:
    naive = f"; stamps carry no offset, read as {found.server_tz}" if found.naive_time else ""
    if found.clock_offset_s is None:
        return "unknown from these stamps" + naive
    if found.origin == "synthetic":
        return "seeded stamps" + naive
    ahead = "behind" if found.clock_offset_s > 0 else "ahead of"
    return f"the server's is {abs(found.clock_offset_s):.3f} s {ahead} this machine's, travel included{naive}"


def _flags_table(found: Diagnosis) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    for noticed in found.flags:
        table.add_row(noticed.flag, str(noticed.packets), noticed.meaning)
    return table


def _verdict(healthy: bool, what: str) -> Text:
    return Text.assemble(("healthy", "bold green") if healthy else ("not healthy", "bold red"), f": {plain(what)}")


def _remarks(problems: Sequence[str], advice: Sequence[str]) -> list[RenderableType]:
    return [
        *([Text("\nproblems", style="bold")] if problems else []),
        *(Text(f"  {plain(problem, LONG)}", style="red") for problem in problems),
        *([Text("\nadvice", style="bold")] if advice else []),
        *(Text(f"  {plain(piece, LONG)}") for piece in advice),
    ]


def _settings(settings: Mapping[str, str]) -> list[RenderableType]:
    if not settings:
        return []
    return [
        Text("\nset", style="bold"),
        *(Text(f'  {name}="{value}"  or CCWATCH_{name.upper()}={value}') for name, value in settings.items()),
    ]


def _why(url: str, error: str | None) -> Text:
    return Text(plain((error or "").removeprefix(url).lstrip(": "), LONG), style="red")


def _compression(found: Diagnosis) -> str:
    """Return the stream's compression in words; an empty text where it is not known."""
    if found.compression is None or not found.inflated_bytes:
        return ""
    return (
        f"protocol {found.protocol}; compression {found.compression}; {found.wire_bytes:,} bytes for {found.inflated_bytes:,} of messages"
    )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "–"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN_FIELDS} more: see --json" if len(names) > _SHOWN_FIELDS else ""
    return ", ".join(plain(name, LONG) for name in names[:_SHOWN_FIELDS]) + more if names else "nothing"
