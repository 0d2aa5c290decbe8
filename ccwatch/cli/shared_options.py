"""Parts that the commands share: options, the types of their values, and the end of a streaming command. It prints nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click

from ccwatch.config import Settings, recordings_folder
from ccwatch.domain.durations import for_pandas
from ccwatch.stream import registry

EXISTING_FILE: Final = click.Path(path_type=Path, exists=True, dir_okay=False)

json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable: one object, or one per line where it streams.")


class RecordingPath(click.ParamType[Path]):
    """A recording: its path, its name in the folder of recordings, or "latest"."""

    name = "path"

    def convert(self, value: Any, _param: click.Parameter | None, _context: click.Context | None) -> Path:
        """Return the recording's path; raise RecordingNotFound, with the places that were searched, if there is none."""
        from ccwatch.recording import locate  # noqa: PLC0415 - pyarrow is not needed for most commands

        if isinstance(value, str) and "://" in value:
            return value  # type: ignore[return-value] # an address, which only `open_recording` reads
        return locate(value, recordings_folder(Settings.load()))


path_argument = click.argument("path", type=RecordingPath())
start_option = click.option(
    "--from", "start", metavar="TIME", help="The first time, of the stream's own clock: 14:38, or 2026-01-02T14:38Z."
)
end_option = click.option("--to", "end", metavar="TIME", help="The last time, included.")
seed_option = click.option("--seed", default=0, show_default=True, help="Equal seeds give equal streams.")
scenario_option = click.option("--scenario", default="calm", show_default=True, help="What is planted in the stream.")


Command = Callable[..., int | None]


def interruptible(command: Command) -> Command:
    """Make Ctrl-C and SIGTERM ordinary ends of the command, with exit code 0."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> int | None:
        try:
            return command(*arguments, **options)
        except KeyboardInterrupt:
            return 0

    return run


def streaming(command: Command) -> Command:
    """Do the same as `interruptible`, and at the end stop every dashboard, recorder, feed and server of this process."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> int | None:
        try:
            return interruptible(command)(*arguments, **options)
        finally:
            registry.stop_all()

    return run


def names_of(text: str | None) -> list[str]:
    """Return the words of an option that takes several, separated by commas."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


class Size(click.ParamType[int]):
    """A size: bytes, or with a unit such as 500MB or 2GiB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the size in bytes."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", value.strip(), re.IGNORECASE)
        if found is None:
            self.fail(f"{value!r} is no size; expected for example 500MB, 2GiB or 1048576", param, ctx)
        number, unit, binary = found.groups()
        power = "BKMGT".index(unit.upper() or "B")
        return int(float(number) * (1024 if binary else 1000) ** power)


class Span(click.ParamType[timedelta]):
    """A length of time such as 90s, 12h or 30d."""

    name = "length"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return the length as a timedelta."""
        if isinstance(value, timedelta):
            return value
        try:
            import pandas as pd  # noqa: PLC0415 - only where a length of time is given

            found = pd.Timedelta(for_pandas(value)).to_pytimedelta()
        except ValueError:
            found = timedelta(0)
        if found <= timedelta(0) or value.strip().replace(".", "").isdigit():
            self.fail(f"{value!r} is no length of time; expected for example 90s, 12h or 30d", param, ctx)
        return found
