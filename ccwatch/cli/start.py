"""The commands to begin with: demo and init."""

from __future__ import annotations

from pathlib import Path

import click

from ccwatch import setup
from ccwatch.cli.diagnoses import diagnosis
from ccwatch.cli.rendering import note, put, say, show_status
from ccwatch.cli.shared_options import interruptible, json_option, scenario_option, seed_option, streaming
from ccwatch.demo import FOLDER, Demo


@click.command()
@click.option("--no-browser", is_flag=True, help="Print JupyterLab's address instead of opening it.")
@click.option("--headless", is_flag=True, help="No JupyterLab: record for --seconds, then print the recording's path.")
@click.option("--seconds", type=float, help="With --headless: how long.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="The working folder; ccwatch-demo if not given.")
@seed_option
@scenario_option
@json_option
@streaming
def demo(*, no_browser: bool, headless: bool, seconds: float | None, folder: Path | None, seed: int, scenario: str, as_json: bool) -> int:
    """Serve a seeded stream, record it, and show it in JupyterLab."""
    if seconds is not None and not headless:
        raise click.UsageError("--seconds goes with --headless")
    with Demo(folder or Path(FOLDER), seed=seed, scenario=scenario) as active:
        try:
            if headless:
                show_status(active.feed, active.recorder, seconds, quiet=as_json)
            else:
                _show_lab(active, browser=not no_browser, as_json=as_json)
        except KeyboardInterrupt:
            note()
    say({"recording": str(active.recorder.path)}, str(active.recorder.path), as_json=as_json)
    return 0


def _show_lab(active: Demo, *, browser: bool, as_json: bool) -> None:
    lab = active.lab(browser=browser)
    try:
        lab.wait_until_up()
        say({"url": lab.url, "stream": active.cottage.url}, f"JupyterLab: {lab.url}\nCtrl-C ends it.", as_json=as_json)
        lab.wait()
    finally:
        lab.stop()


@click.command()
@click.argument("url", required=False)
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Where the files go; the working folder if not given.")
@json_option
@interruptible
def init(*, url: str | None, folder: Path | None, as_json: bool) -> int:
    """Look at your engine's stream, and make what you need to watch it: ccwatch.toml and a notebook with its address."""
    made = setup.init(url, folder)
    if not as_json:
        put(diagnosis(made.found))
    left = [f"left {path} as it is" + (f": it does not name {made.url}" if path in made.stale else "") for path in made.kept]
    lines = [*(f"made {path}" for path in made.made), *left, "", "next:"]
    say(made.to_dict(), "\n".join(["", *lines, *(f"  {command}" for command in made.next)]), as_json=as_json)
    return 0 if made.found.healthy else 1
