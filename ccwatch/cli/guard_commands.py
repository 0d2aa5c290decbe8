"""The command that guards a stream unattended: it evaluates rules, remembers, and notifies people."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from ccwatch import api, wiring
from ccwatch.cli.shared_options import interruptible
from ccwatch.config import Settings, Tables, recordings_folder
from ccwatch.errors import ConfigError, FeedError
from ccwatch.stream.view import LiveView

WAIT_S: Final = 0.2


@click.command()
@click.argument("source", metavar="URL|PATH", required=False)
@click.option(
    "--record", "record", is_flag=False, flag_value="", default=None, metavar="[DIR]", help="Record the stream as well, into DIR."
)
@click.option("--notify", multiple=True, metavar="NAME", help="A receiver of ccwatch.toml to notify; may be given again.")
@click.option("--rules", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A TOML file with more [[rules]].")
@click.option("--metrics", type=int, metavar="PORT", help="Serve the watched engine's figures for Prometheus; 0 is a free port.")
@click.option("--test", "is_test", is_flag=True, help="Send one marked message to each receiver; exit code 1 where one fails.")
@click.option("--digest", metavar="HH:MM", help="Send the day's report at this local time to the first receiver.")
@click.option("--heartbeat", help="A file that is touched, or a receiver that is notified, while the guard sees.")
@click.option("--drop", help="Columns that incident pages leave out, with commas: nav,cash.")
@click.option("--seconds", type=float, help="How long; without it, until SIGTERM or Ctrl-C.")
@click.option("--log", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How each event is printed.")
@interruptible
def guard(
    *,
    source: str | None,
    record: str | None,
    notify: tuple[str, ...],
    rules: Path | None,
    metrics: int | None,
    is_test: bool,
    digest: str | None,
    heartbeat: str | None,
    drop: str | None,
    seconds: float | None,
    log: str,
) -> int:
    """Watch a stream, or a recording while it is being written, and send its alerts. SIGHUP reads the rules again."""
    from ccwatch.guard import guard_settings  # noqa: PLC0415 - pyarrow and scipy are not needed for --help
    from ccwatch.guard.receivers import read_receivers  # noqa: PLC0415 - the same

    tables = Tables.load()
    receivers = read_receivers(tables)
    dropped = tuple(name.strip() for name in (drop or "").split(",") if name.strip())
    options = guard_settings.read_options(tables, {"notify": notify, "digest_at": digest, "heartbeat": heartbeat, "drop": dropped})
    settings = guard_settings.read_alert_settings(tables, rules)
    names = [*options.notify, *options.escalate_to, *([options.digest_to] if options.digest_to else [])]
    chosen = guard_settings.chosen(receivers, names, tables)
    say = _log(as_json=log == "json")
    if is_test:
        return _test(source, record, chosen or list(receivers.values()), say)
    again = threading.Event()
    before = signal.signal(signal.SIGHUP, lambda *_: again.set())
    try:
        return _guard(source, record, metrics, seconds, options, settings, chosen, say, again, rules)
    finally:
        signal.signal(signal.SIGHUP, before)


def _guard(
    source: str | None,
    record: str | None,
    metrics: int | None,
    seconds: float | None,
    options: Any,
    settings: Any,
    chosen: list[Any],
    say: Callable[[str, dict[str, Any]], None],
    again: threading.Event,
    rules: Path | None,
) -> int:
    from ccwatch.guard import guard_settings  # noqa: PLC0415 - see guard
    from ccwatch.guard.guard import Guard  # noqa: PLC0415 - the same
    from ccwatch.recording import RolloverPolicy  # noqa: PLC0415 - the same

    common: dict[str, Any] = {
        "settings": settings,
        "receivers": chosen,
        "options": options,
        "certificates": recordings_folder(Settings.load()),  # where `ccwatch rules test` keeps them
        "plan_for": wiring.plan_for,
        "on_event": say,
    }
    until = None if seconds is None else time.monotonic() + seconds
    if source is not None and "://" not in source:
        recording = api.open_recording(source)
        root = Path(recording.path).parent
        folder = guard_settings.guard_folder(Settings.load(), str(recording.session.session), root)
        with Guard(recording, folder, **common) as running:
            say("watching", {"source": str(recording.path), "rules": len(settings.rules)})
            return _wait(running, until, again, rules, is_over=lambda: recording.status != "open" and running.watch.is_caught_up)
    made = Settings.load(url=source)
    feed = wiring.live_feed(made)
    root_of = Path(record) if record else None
    folder = guard_settings.guard_folder(made, feed.url, root_of)
    series = None if record is None else api.record_series(feed, root_of, rollover=RolloverPolicy(), tags=["guard"])
    exported = None
    try:
        guard = Guard(feed, folder, recorder=series, **common)
        with feed, guard as running:
            feed.start()
            if metrics is not None:
                exported = api.export_metrics(feed, metrics, watch=running.watch)
            facts = {"source": feed.url, "rules": len(settings.rules), "recording": None if series is None else str(series.path)}
            say("watching", facts | ({} if exported is None else {"metrics": exported.url}))
            return _wait(running, until, again, rules, is_over=lambda: False)
    finally:
        if exported is not None:
            exported.stop()
        if series is not None:
            series.stop()


def _wait(running: Any, until: float | None, again: threading.Event, rules: Path | None, *, is_over: Callable[[], bool]) -> int:
    """Wait until the guard is over or the time has passed, and return 0; raise the stream's error where it refuses for good."""
    from ccwatch.guard import guard_settings  # noqa: PLC0415 - see guard

    while until is None or time.monotonic() < until:
        if is_over():
            running.finish()
            return 0
        if again.is_set():
            again.clear()
            try:
                running.reload(guard_settings.read_alert_settings(Tables.load(), rules))
            except ConfigError as error:  # a file that is half edited must not end the guard
                running.on_event("trouble", {"text": f"the rules stay as they were: {error}"})
        refused = running.view.error if isinstance(running.view, LiveView) else None
        if isinstance(refused, FeedError) and refused.permanent:
            raise refused
        time.sleep(WAIT_S)
    return 0


def _test(source: str | None, record: str | None, receivers: list[Any], say: Callable[[str, dict[str, Any]], None]) -> int:
    """Send one message, marked as a test, to each receiver; return the exit code, 1 where one fails."""
    from ccwatch.guard import guard_settings  # noqa: PLC0415 - the same
    from ccwatch.guard.alert_messages import plain_body  # noqa: PLC0415 - the same
    from ccwatch.guard.outbox import Outbox  # noqa: PLC0415 - the same

    if not receivers:
        raise ConfigError('no receiver to test; expected for example [receivers] desk = "env:DESK_WEBHOOK" in ccwatch.toml')
    url = source if source is not None and "://" in source else Settings.load().url
    outbox = Outbox(guard_settings.guard_folder(Settings.load(), url, Path(record) if record else None), [])
    failed = 0
    for receiver in receivers:
        body = plain_body("test", "TEST of ccwatch guard", "TEST: ccwatch guard can reach you. Nothing has happened.", stream="")
        found = receiver.send(body | {"message": f"test-{time.time_ns()}", "test": True})
        failed += not found.done
        if found.done:
            outbox.note_success(receiver.name)
        words = f"{receiver.name} {'took it' if found.done else 'did not take it'}: {found.detail}"
        say("test", {"receiver": receiver.name, "ok": found.done, "detail": found.detail, "text": words})
    return 1 if failed else 0


def _log(*, as_json: bool) -> Callable[[str, dict[str, Any]], None]:
    """Return a function that prints the guard's events, a line each, to standard error."""
    lock = threading.Lock()  # serialises lines of several threads

    def say(event: str, facts: dict[str, Any]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        if as_json:
            line = json.dumps({"time": now, "event": event, **facts}, default=str, ensure_ascii=False)
        else:
            shown = facts.get("text") or " ".join(f"{name}={value}" for name, value in facts.items() if value not in (None, "", []))
            line = f"{now} {event}: {shown}"
        with lock:
            click.echo(line, err=True)

    return say
