"""Settings, by precedence: argument, CCWATCH_* environment variable, ccwatch.toml, default. Frozen, and no secret is in their repr."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Literal, Self, get_args
from zoneinfo import ZoneInfo

from ccwatch.errors import ConfigError, no_such

FILE_NAME: Final = "ccwatch.toml"
DEFAULT_URL: Final = "ws://localhost:3000"
FSYNC_POLICIES: Final = ("strict", "balanced", "lazy", "off")
TABLES: Final = ("hours", "receivers", "rules", "guard", "expected")
Align = Literal["clock", "open", "event"]
"""How a plan is laid beside a stream: by its times, by the first packets of both, or by their first BUY or SELL."""
ALIGNMENTS: Final[tuple[Align, ...]] = get_args(Align)
"""Tables of ccwatch.toml beside the settings; see `Tables`."""


@dataclass(frozen=True)
class Settings:
    """All settings. The environment variable of `x` is CCWATCH_X, its key in ccwatch.toml is `x`."""

    url: str = DEFAULT_URL
    token: str | None = field(default=None, repr=False)
    token_file: str | None = None
    """A file whose first line is the token; read at each connect."""
    engine_url: str | None = None
    recordings: str | None = None
    """The folder that recordings are written to."""
    cache: str | None = None
    """The folder that caches results computed from recordings; never inside a recording."""
    window: str = "8h"
    max_rows: int = 1_000_000
    memory: str = "1GB"
    """How many bytes a feed's buffer takes at most."""
    max_message_bytes: int = 4 * 1024 * 1024
    server_tz: str = "UTC"
    """Zone of timestamps that carry no offset."""
    display_tz: str = "UTC"
    """Zone of the charts, of sentences and tables, and of times that are typed; where it is not set, the timezone of `[hours]`."""
    fsync: str = "balanced"
    objectives: str = ""
    """Limits in ms for the 95 % quantile of a service's latency, by the beginning of the service's name. By default no service has an
    objective, and each is judged against its own usual latency."""
    tls_ca: str | None = None
    """A file of certificates to trust instead of the system's, for wss."""
    tls_cert: str | None = None
    """A client certificate."""
    tls_key: str | None = None
    """The client certificate's key."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: with the setting's name, its value and what is allowed.
        """
        for name in ("server_tz", "display_tz"):
            try:
                ZoneInfo(getattr(self, name))
            except (ValueError, OSError, KeyError):
                raise ConfigError(f"{name}={getattr(self, name)!r} is no time zone; expected for example 'UTC', 'Europe/Paris'") from None
        for name in ("max_rows", "max_message_bytes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: expected a number above zero")
        if self.fsync not in FSYNC_POLICIES:
            raise ConfigError(f"fsync={self.fsync!r}: expected one of {', '.join(FSYNC_POLICIES)}")

    @classmethod
    def load(cls, folder: Path | None = None, environment: Mapping[str, str] = os.environ, **arguments: Any) -> Self:
        """Return the settings of a process that works in `folder`; an argument of None counts as not given.

        Raises:
            ConfigError: a value that cannot be used, an unknown key of the file, or a file that is not TOML.
        """
        found: dict[str, Any] = {}
        path = nearest(FILE_NAME, folder)
        known = {f.name: f.type for f in fields(cls)}
        if path is not None:
            found |= _read(path)[0]
            hours = found.get("hours")
            for name in TABLES:
                found.pop(name, None)
            if isinstance(hours, dict) and _is_zone(hours.get("timezone")):  # else those who read the table say file and line
                found.setdefault("display_tz", hours["timezone"])
            unknown = [key for key in found if key not in known]
            if unknown:
                raise ConfigError(f"{path}: {no_such('setting', unknown[0], (*known, *TABLES))}")
        found |= {name: environment[f"CCWATCH_{name.upper()}"] for name in known if environment.get(f"CCWATCH_{name.upper()}")}
        found |= {name: value for name, value in arguments.items() if value is not None}
        for name, value in found.items():
            if known[name] == "int" and not isinstance(value, int):
                try:
                    found[name] = int(value)
                except (ValueError, TypeError):
                    raise ConfigError(f"{name}={value!r}: expected a whole number") from None
            elif known[name] != "int" and not isinstance(value, str):
                raise ConfigError(f"{name}={value!r}: expected text")
        return replace(cls(), **found)

    def ask_token(self) -> str | None:
        """Return the token to use now: the setting, else the first line of the token file.

        Raises:
            ConfigError: the token file cannot be read.
        """
        if self.token is not None or self.token_file is None:
            return self.token
        try:
            lines = Path(self.token_file).expanduser().read_text(encoding="utf-8").split()
        except OSError as error:
            raise ConfigError(f"token_file {self.token_file!r} cannot be read: {error.strerror}") from None
        return lines[0] if lines else None


@dataclass(frozen=True)
class Tables:
    """The tables of ccwatch.toml, unchecked: the packages that use a table check it, and name file and line in their errors.

    Attributes:
        path: the file; None if there is none.
        hours: `[hours]`: when the market trades.
        receivers: `[receivers]`: who is notified, by name; the repr leaves the addresses out.
        rules: `[[rules]]`, in their order.
        guard: `[guard]`: defaults for the options of `ccwatch guard`.
        expected: `[expected]`: what a live day is compared with.
        text: the file's own text, for `line_of`.
    """

    path: Path | None = None
    hours: Mapping[str, Any] = field(default_factory=dict)
    receivers: Mapping[str, Any] = field(default_factory=dict, repr=False)
    rules: tuple[Mapping[str, Any], ...] = ()
    guard: Mapping[str, Any] = field(default_factory=dict)
    expected: Mapping[str, Any] = field(default_factory=dict)
    text: str = field(default="", repr=False)

    @classmethod
    def load(cls, folder: Path | None = None, *, file: Path | None = None) -> Self:
        """Return the tables of a file, or of the nearest ccwatch.toml at or above `folder`.

        Raises:
            ConfigError: the file is not TOML, or a table is of another type.
        """
        path = file or nearest(FILE_NAME, folder)
        if path is None:
            return cls()
        found, text = _read(path)
        for name in TABLES:
            is_list = name == "rules"
            table = found.get(name, [] if is_list else {})
            parts = table if is_list and isinstance(table, list) else [table]
            if is_list is not isinstance(table, list) or not all(isinstance(part, dict) for part in parts):
                header = "[[rules]]" if is_list else f"[{name}]"
                raise ConfigError(f"{path}: expected {header} to be a table, got {name} = {table!r:.60}")
        tables = {name: found.get(name, {}) for name in TABLES if name != "rules"}
        return cls(path=path, rules=tuple(found.get("rules", ())), text=text, **tables)

    def place(self, table: str, key: str | None = None, number: int = 0) -> str:
        """Return the file and line of a table or of a key in it, as "ccwatch.toml:12", for errors; `number` counts tables of one name."""
        if self.path is None:
            return FILE_NAME
        line, seen, inside = 0, -1, False
        for at, written in enumerate(self.text.splitlines(), start=1):
            word = written.strip()
            if word.startswith("["):
                is_header = word.strip("[] \t").split("]")[0].strip() == table
                inside = False
                if is_header:
                    seen += 1
                    inside = seen == number
                    line = at if inside else line
            elif inside and key is not None and word.partition("=")[0].strip().strip("\"'") == key:
                return f"{self.path}:{at}"
        return f"{self.path}:{line}" if line else str(self.path)


def _is_zone(name: Any) -> bool:
    try:
        return isinstance(name, str) and bool(name) and ZoneInfo(name) is not None
    except (ValueError, OSError, KeyError):
        return False


@dataclass(frozen=True, slots=True)
class ExpectedPlan:
    """`[expected]` of ccwatch.toml: what a stream is held against where nothing is named.

    Attributes:
        path: of a recording or a CSV file, absolute; or the name of a recording.
        align: how it is laid beside the stream, one of ALIGNMENTS.
        symbol: the one to take where it has several.
    """

    path: str
    align: Align = "clock"
    symbol: str | None = None


def default_expected(folder: Path | None = None) -> ExpectedPlan | None:
    """Return what a stream is held against where nothing is named; None if `[expected]` names no path.

    Raises:
        ConfigError: another key in the table, or a value that cannot be used.
    """
    tables = Tables.load(folder)
    known = {
        "path": "the path or the name of a recording, or of a CSV file",
        "align": f"one of {', '.join(ALIGNMENTS)}",
        "symbol": "the symbol to take where there are several",
    }
    for key, value in tables.expected.items():
        if key not in known:
            raise ConfigError(f"{tables.place('expected', key)}: {no_such('setting of [expected]', key, known)}")
        if not isinstance(value, str) or not value.strip() or (key == "align" and value not in ALIGNMENTS):
            raise ConfigError(f"{tables.place('expected', key)}: {key}={value!r}: expected {known[key]}")
    found = tables.expected.get("path")
    if found is None or tables.path is None:
        return None
    candidate = tables.path.parent / Path(found).expanduser()
    return ExpectedPlan(
        str(candidate) if candidate.exists() else found, tables.expected.get("align", "clock"), tables.expected.get("symbol")
    )


def alignment(align: Align | None, expected: object) -> Align:
    """Return how a plan is laid beside a stream: as asked; else, where none is named, as `[expected]` says; else by the clock."""
    plan = default_expected() if align is None and expected is None else None
    return align or ("clock" if plan is None else plan.align)


def _read(path: Path) -> tuple[dict[str, Any], str]:
    try:
        text = path.read_text(encoding="utf-8")
        return tomllib.loads(text), text
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:  # the last: lists in lists in lists
        raise ConfigError(f"{path} is not TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None


def nearest(name: str, folder: Path | None = None) -> Path | None:
    """Return the file of this name in the folder or the closest one above it."""
    start = (folder or Path.cwd()).resolve()
    return next((place / name for place in (start, *start.parents) if (place / name).is_file()), None)


def user_path(path: str | Path) -> Path:
    """Return a path that a user gave, with `~` as the home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # "~name" of no user: then it is a file's name
        return Path(path)


def recordings_folder(settings: Settings, folder: Path | None = None) -> Path:
    """Return the folder of recordings: the setting, or recordings/ beside the nearest ccwatch.toml or pyproject.toml, or in `folder`."""
    if settings.recordings:
        return Path(settings.recordings).expanduser()
    project = nearest(FILE_NAME, folder) or nearest("pyproject.toml", folder)
    return (project.parent if project else (folder or Path.cwd())) / "recordings"


def cache_folder(settings: Settings | None = None, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the user's cache folder: the setting, else ccwatch/ in XDG_CACHE_HOME, else in the system's place for caches."""
    found = (settings or Settings.load()).cache
    if found:
        return Path(found).expanduser()
    if environment.get("XDG_CACHE_HOME"):
        return Path(environment["XDG_CACHE_HOME"]) / "ccwatch"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "ccwatch"
