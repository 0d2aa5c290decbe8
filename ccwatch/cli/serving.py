"""The options of the commands that serve a stream: where, to whom, in which dialect; and what they print."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from ccwatch.cli.common import say
from ccwatch.errors import ConfigError

EXISTING_FILE: Final = click.Path(path_type=Path, exists=True, dir_okay=False)
_OPTIONS: Final = (
    click.option("--port", default=3000, show_default=True, help="Of the BFF; 0 is a free one."),
    click.option("--engine-port", default=8000, show_default=True, help="Of the engine; 0 is a free one."),
    click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; beyond this machine only with --secret-file."),
    click.option("--secret-file", type=EXISTING_FILE, help="Holds the key of the clients' tokens (HS256), at least 32 bytes."),
    click.option("--origin", "origins", multiple=True, help="A page that may connect beside localhost's; '*' is every one, to watch."),
    click.option("--per-ip", type=click.IntRange(min=0), default=10, show_default=True, help="WebSockets per address; 0 for any number."),
    click.option("--proxy", "proxies", multiple=True, help="An address or network whose X-Forwarded-For is believed."),
    click.option("--tls-cert", type=EXISTING_FILE, help="A certificate chain: speak wss and https."),
    click.option("--tls-key", type=EXISTING_FILE, help="Its key."),
    click.option("--log", is_flag=True, help="Print the servers' log lines, as a container's log has them, to standard error."),
    click.option("--dialect", default="contract", show_default=True, help="How the engine speaks: see notebook 02."),
)


def serves(command: Callable[..., Any]) -> Callable[..., Any]:
    """With the options of everything that serves."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def serving_options(secret_file: Path | None, per_ip: int, *, log: bool, **options: Any) -> dict[str, Any]:
    """Options of the command line as `api.serve` takes them; --log takes effect here; without it warnings alone are printed."""
    _print_log(logging.DEBUG if log else logging.WARNING)
    try:
        secret = None if secret_file is None else secret_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--secret-file cannot be read: {error}") from None
    files = {name: None if options[name] is None else str(options[name]) for name in ("tls_cert", "tls_key")}
    return options | files | {"secret": secret, "per_ip": per_ip or None}


def _print_log(level: int) -> None:
    """Send the Cottage's log to standard error; a program may do that, the library never does."""
    handler = logging.StreamHandler()
    handler.setLevel(level)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    cottage = logging.getLogger("ccwatch.cottage")
    cottage.addHandler(handler)
    cottage.setLevel(level)


def announce(cottage: Any, what: str, *, as_json: bool) -> None:
    """Say where it listens, once it does."""
    facts = {"url": cottage.url, "engine_url": cottage.engine_url}
    say(facts, f"BFF     {cottage.url}\nengine  {cottage.engine_url}\n{what}. Ctrl-C ends it.", as_json=as_json)
