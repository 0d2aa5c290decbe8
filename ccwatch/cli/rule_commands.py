"""The commands on alert rules: check them, try them on recordings, propose limits from calm ones."""

from __future__ import annotations

from pathlib import Path

import click

from ccwatch import wiring
from ccwatch.cli import rendering
from ccwatch.cli.shared_options import json_option
from ccwatch.config import Settings, recordings_folder
from ccwatch.errors import ConfigError

_paths = click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True))


@click.group()
def rules() -> None:
    """Check alert rules, try them on recordings, or propose limits from calm ones."""


@rules.command()
@_paths
@json_option
def check(*, paths: tuple[Path, ...], as_json: bool) -> int:
    """Check the [[rules]] of ccwatch.toml, or of the files PATHS; names file and line of what cannot be used."""
    from ccwatch.alerts import (  # noqa: PLC0415 - pandas is not needed for --help
        AlertSettings,
        Certificates,
        Evaluator,
        rules_file,
    )

    settings = AlertSettings.load()
    found = [rule for path in paths for rule in rules_file(path)] if paths else list(settings.own)
    Evaluator(found, plan=wiring.plan_for(found))  # refuses names that are there twice, and a divergence from nothing
    kept = Certificates(_folder())
    for rule in found:
        certificate = kept.text_of(rule)
        facts = {
            "name": rule.name,
            "when": rule.text,
            "for": rule.for_,
            "severity": str(rule.severity),
            "hash": rule.digest,
            "certificate": certificate,
        }
        rendering.say(facts, f"ok  {rule.name}: {rule.text}, for {rule.for_}, {rule.severity}; {certificate}", as_json=as_json)
    if not found and not as_json:
        rendering.note("no [[rules]] here: the default rules hold")
    if settings.hours is not None and not as_json:
        rendering.note(f"trading hours: {settings.hours}")
    return 0


@rules.command()
@_paths
@click.option("--rules", "file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A TOML file of [[rules]] to try.")
@click.option("--incidents", help="The depth from which a drawdown is an incident, such as -2%.")
@click.option("--horizon", default="15min", show_default=True, help="How far from an incident a firing counts as of it.")
@click.option("--all", "is_all", is_flag=True, help="The default rules as well.")
@json_option
def test(*, paths: tuple[Path, ...], file: Path | None, incidents: str | None, horizon: str, is_all: bool, as_json: bool) -> int:
    """Try rules on the recordings PATHS, or all of this desk's; their certificates are kept, until the rule is edited."""
    from ccwatch import api  # noqa: PLC0415 - pandas is not needed for --help
    from ccwatch.alerts import (  # noqa: PLC0415 - the same
        AlertSettings,
        rules_file,
    )

    settings = AlertSettings.load()
    own = rules_file(file) if file is not None else settings.own
    tried = settings.rules if is_all or not own else own
    if not paths and not _folder().is_dir():
        raise ConfigError(f"no recording to try rules on: there is no folder {_folder()}; ccwatch record makes one, or name recordings")
    found = api.backtest(tried, list(paths) or [_folder()], incidents=incidents, horizon=horizon)
    found.keep()
    rendering.say(found.to_dict(), str(found), as_json=as_json)
    return 0


@rules.command()
@_paths
@json_option
def suggest(*, paths: tuple[Path, ...], as_json: bool) -> int:
    """Propose limits from the calm recordings PATHS, as [[rules]] for ccwatch.toml."""
    from ccwatch.alerts import AlertSettings  # noqa: PLC0415 - pandas is not needed for --help
    from ccwatch.guard.backtest import opened  # noqa: PLC0415 - the same
    from ccwatch.guard.suggest import suggest as suggested  # noqa: PLC0415 - the same

    found = suggested(opened(list(paths) or [_folder()]), AlertSettings.load().hours)
    table = found.rules
    if found.others:
        rendering.note(f"left out, since they hold an incident: {', '.join(found.others)}")
    if not found.calm:
        raise ConfigError("no calm session to take limits from; expected recordings without a drawdown, a halt or a mark of an incident")
    calm = f"{len(found.calm)} calm session{'' if len(found.calm) == 1 else 's'}"
    for row in table.itertuples():
        lines = f"[[rules]]\nname = \"{row.name}\"\nwhen = '{row.when}'  # the worst of {calm}: {row.worst:.4g}\n"
        rendering.say({"name": row.name, "when": row.when, "worst": row.worst, "sessions": row.sessions}, lines, as_json=as_json)
    return 0 if len(table) else 1


def _folder() -> Path:
    return recordings_folder(Settings.load())
