"""The program `ccwatch`: its commands and exit codes. It imports a command only when that one runs, so `--help` is quick.

Exit codes: 0 ok, and Ctrl-C or SIGTERM of a streaming command; 1 the answer is no; 2 usage; 130 any other command was interrupted.
"""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

import click

from ccwatch import __version__
from ccwatch.cli.command_table import COMMANDS, WHAT, overview
from ccwatch.errors import CcwatchError, ConfigError
from ccwatch.text import plain


class Group(click.Group):
    """The commands of the table `COMMANDS`, each imported when it is asked for."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """Return the commands' names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """Return the command of this name, or None."""
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"ccwatch.cli.{COMMANDS[name][0]}")
        command: click.Command = getattr(module, name, None) or getattr(module, f"{name}_")
        return command

    def invoke(self, context: click.Context) -> Any:
        """Run the command; a reader that closes its pipe, such as `head`, has what it wanted, and that is no error."""
        try:
            return super().invoke(context)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains while it flushes at exit
            return 0

    def format_help(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the overview, without importing the commands that it lists."""
        formatter.write(overview() + "\n")


@click.group(cls=Group, help=WHAT, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Run a command."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program; end the process with its exit code."""
    before = _end_by_sigterm_as_by_ctrl_c()
    try:
        code = cli.main(args=arguments, prog_name="ccwatch", standalone_mode=False)
    except click.ClickException as error:
        said = io.StringIO()
        error.show(said)
        click.echo(plain(said.getvalue(), keep="\n"), err=True, nl=False)
        sys.exit(2)
    except click.Abort:
        sys.exit(130)
    except ConfigError as error:
        _complain(error)
        sys.exit(2)
    except CcwatchError as error:
        _complain(error)
        sys.exit(1)
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
    sys.exit(code if isinstance(code, int) else 0)


def _end_by_sigterm_as_by_ctrl_c() -> Any:
    """Turn a service manager's SIGTERM into KeyboardInterrupt; return the handler before, or None off the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return None

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second SIGTERM must not cut short the end that the first has begun
        raise KeyboardInterrupt

    return signal.signal(signal.SIGTERM, interrupt)


def _complain(error: CcwatchError) -> None:
    click.echo(plain(f"ccwatch: {error}", keep="\n"), err=True)


if __name__ == "__main__":
    main()
