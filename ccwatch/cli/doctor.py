"""The command that examines a stream, or the JupyterLab that has to show it."""

from __future__ import annotations

import click

from ccwatch.cli import rendering
from ccwatch.cli.common import json_option, streaming
from ccwatch.cli.rendering import show
from ccwatch.doctor import LISTEN_S, examine, examine_lab


@click.command()
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
