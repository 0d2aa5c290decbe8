"""The command that serves a stream, and the options of all commands that serve: where, to whom, in which dialect."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from ccwatch import api
from ccwatch.cli.rendering import say
from ccwatch.cli.shared_options import EXISTING_FILE, json_option, scenario_option, seed_option, streaming
from ccwatch.errors import ConfigError

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
    click.option("--protocol", type=click.IntRange(1, 2), default=2, show_default=True, help="The highest that clients may ask for."),
    click.option("--dialect", default="contract", show_default=True, help="How the engine speaks: see the notebook on real servers."),
)


def serves(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of all commands that serve to the command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def serving_options(secret_file: Path | None, per_ip: int, *, log: bool, **options: Any) -> dict[str, Any]:
    """Return the command line's options as `api.serve` takes them; --log takes effect here, and without it only warnings are printed."""
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
    """Print the addresses that the server listens at, once it does."""
    facts = {"url": cottage.url, "engine_url": cottage.engine_url}
    say(facts, f"BFF     {cottage.url}\nengine  {cottage.engine_url}\n{what}. Ctrl-C ends it.", as_json=as_json)


@click.command()
@seed_option
@scenario_option
@click.option("--rate", default=1.0, show_default=True, help="Packets per second.")
@click.option("--packets", type=int, help="Fall silent after so many.")
@click.option("--prices", type=EXISTING_FILE, help="A CSV file with a column price or close: one packet for each.")
@click.option("--symbol", default="SPY", show_default=True, help="What is traded.")
@click.option("--engine", help="URL of another engine, which the BFF polls; then nothing is seeded.")
@click.option("--redis", help="redis://HOST:PORT/DB, whose channels are streamed; then nothing is seeded but with --seeded.")
@click.option("--seeded", is_flag=True, help="With --redis: a seeded stream as well.")
@click.option("--workers", type=click.IntRange(min=1), help="With --redis: so many processes serve one stream of Redis on the same port.")
@click.option("--stream", default="ccwatch", show_default=True, help="With --workers: the stream's name.")
@serves
@json_option
@streaming
def serve(
    *,
    as_json: bool,
    secret_file: Path | None,
    per_ip: int,
    seeded: bool,
    prices: Path | None,
    workers: int | None,
    stream: str,
    **options: Any,
) -> int:
    """Serve a seeded stream as an engine and a BFF do, until Ctrl-C."""
    if workers is not None:
        if prices is not None or options["engine"]:
            raise click.UsageError("--workers serve a stream of Redis: --prices and --engine do not go with it")
        return _serve_workers(workers, stream, seeded, as_json=as_json, **serving_options(secret_file, per_ip, **options))
    with api.serve(prices=prices, seeded=seeded or None, **serving_options(secret_file, per_ip, **options)) as cottage:
        if options["engine"] or (options["redis"] and not seeded):
            what = f"streams {'an engine' if options['engine'] else 'Redis'}"
        else:
            what = f"SYNTHETIC: seed {options['seed']}, scenario {options['scenario']}"
        announce(cottage, what, as_json=as_json)
        while True:
            time.sleep(3600)


def _serve_workers(workers: int, stream: str, seeded: bool, *, as_json: bool, **options: Any) -> int:
    """Serve one stream of Redis by several processes, until Ctrl-C; SIGHUP starts one after another again."""
    if not options["redis"]:
        raise click.UsageError("--workers need --redis URL: the stream of Redis is what they share")
    if options["dialect"] != "contract":
        raise click.UsageError("--workers speak the contract: --dialect does not go with them")
    try:
        from ccwatch.cottage import AccessRules, Listen  # noqa: PLC0415 - an optional extra
        from ccwatch.workers import Plan, Workers  # noqa: PLC0415 - only with --workers
    except ImportError as error:
        raise ConfigError(f"serving needs {error.name}, which comes with: pip install 'ccwatch[server]'") from None
    listen = Listen(options["host"], options["port"], options["engine_port"], options["tls_cert"], options["tls_key"])
    access = AccessRules(options["secret"], "ccwatch", tuple(options["origins"]), options["per_ip"], tuple(options["proxies"]))
    source = {name: options[name] for name in ("seed", "scenario", "rate", "packets", "symbol")} if seeded else None
    prints_log = logging.getLogger("ccwatch.cottage").isEnabledFor(logging.DEBUG)
    plan = Plan(options["redis"], stream, workers, listen, access, source, options["protocol"], prints_log)
    with Workers(plan) as group:
        what = f"SYNTHETIC: seed {options['seed']}, scenario {options['scenario']}" if seeded else "streams Redis"
        again, has_terminal = threading.Event(), os.isatty(0)
        signal.signal(signal.SIGHUP, lambda *_: again.set())
        announce(group, f"{what}, by {workers} workers", as_json=as_json)
        while again.wait():
            again.clear()
            if has_terminal and not os.isatty(0):  # the terminal was closed
                return 0
            group.restart()
    return 0
