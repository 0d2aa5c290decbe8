"""The command that lists alerts, acknowledges and silences them, in the journal that dashboard and guard share."""

from __future__ import annotations

import getpass
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from ccwatch.cli import rendering
from ccwatch.cli.shared_options import json_option
from ccwatch.config import Settings, recordings_folder
from ccwatch.domain.durations import seconds_of
from ccwatch.errors import ConfigError, RecordingNotFound
from ccwatch.text import plain


@click.command()
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--ack", metavar="ID", help="Acknowledge an alert: someone has seen it.")
@click.option("--silence", nargs=2, metavar="ID DURATION", help="Notify no one of it, nor of others of its rule and subject, for so long.")
@click.option("--reason", help="With --silence: why.")
@click.option("--by", default=None, help="Who; the user's name if not given.")
@json_option
def alerts(
    *, path: Path | None, ack: str | None, silence: tuple[str, str] | None, reason: str | None, by: str | None, as_json: bool
) -> int:
    """List the alerts of a recording or of a folder of recordings (PATH), or acknowledge and silence one."""
    journal = find_journal(path)
    who = by or _user()
    if ack is not None:
        alert = journal.acknowledge(ack, who)
        rendering.say({"acknowledged": alert["id"], "by": who}, f"{alert['id']} {alert['rule']}: acknowledged by {who}", as_json=as_json)
        return 0
    if silence is not None:
        word, length = silence
        try:
            seconds = seconds_of(length)
        except ValueError as error:
            raise ConfigError(f"--silence: {error}") from None
        made = journal.silence(word, seconds, who, reason or "")
        until = datetime.fromtimestamp(made.until_ns / 1e9, UTC).isoformat(timespec="seconds")
        facts = {"silenced": made.id, "rule": made.rule, "subject": made.subject, "until": until, "by": who, "reason": reason}
        rendering.say(facts, f"{made.id} {made.rule}: silenced until {until} by {who}: {reason}", as_json=as_json)
        return 0
    book, now = journal.book(), time.time_ns()
    rows: list[dict[str, Any]] = []
    for alert in book.alerts.values():
        seen, quiet = book.acknowledged.get(str(alert["id"])), book.silence_of(alert, now)
        ends = None if quiet is None else datetime.fromtimestamp(quiet.until_ns / 1e9, UTC).isoformat(timespec="seconds")
        rows.append({**alert, "acknowledged_by": None if seen is None else seen.by, "silenced_until": ends})
    for row in rows:
        words = [row["id"], row["severity"], row["rule"], row["subject"], "over" if row["resolved"] else "fires", f"since {row['fired']}"]
        words += [f"acknowledged by {row['acknowledged_by']}"] if row["acknowledged_by"] else []
        words += [f"silenced until {row['silenced_until']}"] if row["silenced_until"] else []
        rendering.say(row, plain("  ".join(filter(None, words))), as_json=as_json)
    if book.refused:
        rendering.note(f"{journal.path}: {book.refused} lines are damaged or are no facts, and are left out")
    if not rows and not as_json:
        rendering.note(f"no alert in {journal.path}")
    return 0


def _user() -> str:
    """Return the user's name; "unknown" where the system has none, as in some containers."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"


def find_journal(path: Path | None) -> Any:
    """Return the journal of a recording, or the newest one in a folder of recordings.

    Raises:
        RecordingNotFound: there is no journal at this path.
    """
    from ccwatch.recording import ALERTS, AlertJournal  # noqa: PLC0415 - pyarrow is not needed for --help

    root = recordings_folder(Settings.load()) if path is None else path
    if (root / ALERTS).exists():
        return AlertJournal(root)
    found = sorted(root.glob(f"*/{ALERTS}"), key=lambda file: file.stat().st_mtime) or sorted(
        root.glob(f"_guard/*/{ALERTS}"), key=lambda file: file.stat().st_mtime
    )
    if not found:
        raise RecordingNotFound(f"no alerts in {root}: ccwatch guard writes them beside the recording")
    return AlertJournal(found[-1].parent)
