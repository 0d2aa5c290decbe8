"""The command line: one module per group of commands, imported when one of them runs; `rendering` is the only place that prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ccwatch.cli.command_table import overview


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program; the overview alone is printed without what any command needs."""
    given = sys.argv[1:] if arguments is None else arguments
    if list(given) in (["--help"], ["-h"]):
        sys.stdout.write(overview() + "\n")
        return
    from ccwatch.cli.app import main as run  # noqa: PLC0415 - see above

    run(given)
