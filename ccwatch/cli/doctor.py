"""The command that examines a stream, or the JupyterLab that has to show it."""

from __future__ import annotations

from typing import Any

import click

from ccwatch import wiring
from ccwatch.cli import diagnoses, rendering
from ccwatch.cli.rendering import show
from ccwatch.cli.shared_options import json_option, streaming
from ccwatch.doctor import LISTEN_S, examine, examine_lab


@click.command()
@click.argument("url", required=False)
@click.option("--lab", "lab", is_flag=True, help="Examine the JupyterLab in use instead: can it show the dashboard?")
@click.option("--ready", "is_ready", is_flag=True, help="Say whether a day can begin, a line for each thing it needs.")
@click.option("--seconds", type=click.FloatRange(min=0.1), default=LISTEN_S, show_default=True, help="How long to listen.")
@json_option
@streaming
def doctor(*, url: str | None, lab: bool, is_ready: bool, seconds: float, as_json: bool) -> int:
    """Say what a server's stream speaks and how it fares, and what to set; without URL, try the usual places."""
    if lab:
        if url is not None:
            raise click.UsageError("--lab examines this machine's JupyterLab; it takes no URL")
        looked = examine_lab()
        show(looked.to_dict(), diagnoses.lab_diagnosis(looked), as_json=as_json)
        return 0 if looked.healthy else 1
    found = examine(url, seconds=seconds)
    if is_ready:
        return _ready(found, as_json=as_json)
    show(found.to_dict(), diagnoses.diagnosis(found), as_json=as_json)
    return 0 if found.healthy else 1


def _ready(found: Any, *, as_json: bool) -> int:
    """Print the checks before a trading day, a line each; return the exit code, 1 where one fails."""
    from ccwatch.config import Settings, Tables, recordings_folder  # noqa: PLC0415 - only this looks at the guard's side
    from ccwatch.guard import guard_settings, ready  # noqa: PLC0415 - the same
    from ccwatch.guard.receivers import read_receivers  # noqa: PLC0415 - the same

    tables, settings = Tables.load(), Settings.load()
    options = guard_settings.read_options(tables, {})
    checks = ready.examine_readiness(
        found,
        recordings=recordings_folder(settings),
        guard_folder=guard_settings.guard_folder(settings, found.url or settings.url),
        settings=guard_settings.read_alert_settings(tables),
        receivers=list(read_receivers(tables).values()),
        heartbeat=options.heartbeat,
        heartbeat_s=options.heartbeat_s,
        plan_for=wiring.plan_for,
    )
    for check in checks:
        facts = {"check": check.name, "ok": check.ok, "detail": check.detail}
        rendering.say(facts, f"{'ok     ' if check.ok else 'missing'}  {check.name}: {check.detail}", as_json=as_json)
    return 0 if all(check.ok for check in checks) else 1
