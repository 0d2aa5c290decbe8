"""Settings: argument over CCWATCH_* environment over ccwatch.toml over default. Read once, frozen, without secrets in its repr."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Self
from zoneinfo import ZoneInfo

from ccwatch.errors import ConfigError, no_such

FILE_NAME: Final = "ccwatch.toml"
DEFAULT_URL: Final = "ws://localhost:3000"
FSYNC_POLICIES: Final = ("strict", "balanced", "lazy", "off")
OBJECTIVES: Final = "Chronos=150, FinBERT=25, reasoning LLM=3000, memory search=200, scanner=2000"


@dataclass(frozen=True)
class Settings:
    """All settings. The environment variable of `x` is CCWATCH_X, its key in ccwatch.toml is `x`."""

    url: str = DEFAULT_URL
    token: str | None = field(default=None, repr=False)
    token_file: str | None = None
    """A file whose first line is the token; read at each connect."""
    engine_url: str | None = None
    recordings: str | None = None
    """Where recordings go."""
    cache: str | None = None
    """Where what was found in recordings is kept, so that it need not be found again; never in a recording."""
    window: str = "8h"
    max_rows: int = 1_000_000
    max_message_bytes: int = 4 * 1024 * 1024
    server_tz: str = "UTC"
    """Zone of timestamps that carry no offset."""
    display_tz: str = "UTC"
    fsync: str = "balanced"
    objectives: str = OBJECTIVES
    """What the 95 % quantile of a service's latency should keep, in ms, by the beginning of its name."""
    tls_ca: str | None = None
    """A file of certificates to trust instead of the system's, for wss."""
    tls_cert: str | None = None
    """A client certificate."""
    tls_key: str | None = None
    """The client certificate's key."""

    def __post_init__(self) -> None:
        """Refuse what cannot be used.

        Raises:
            ConfigError: names the setting, what came and what is allowed.
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
        """Settings for a process that works in `folder`; an argument of None counts as not given.

        Raises:
            ConfigError: a value that cannot be used, an unknown key of the file, or a file that is no TOML.
        """
        found: dict[str, Any] = {}
        path = nearest(FILE_NAME, folder)
        known = {f.name: f.type for f in fields(cls)}
        if path is not None:
            try:
                found |= tomllib.loads(path.read_text(encoding="utf-8"))
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise ConfigError(f"{path} is not TOML: {error}") from None
            unknown = [key for key in found if key not in known]
            if unknown:
                raise ConfigError(f"{path}: {no_such('setting', unknown[0], known)}")
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
        """The token to use now: the setting, else the first line of the token file.

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


def nearest(name: str, folder: Path | None = None) -> Path | None:
    """The file of this name in the folder or the closest one above it."""
    start = (folder or Path.cwd()).resolve()
    return next((place / name for place in (start, *start.parents) if (place / name).is_file()), None)


def recordings_folder(settings: Settings, folder: Path | None = None) -> Path:
    """Where recordings go: the setting, else recordings/ beside the nearest ccwatch.toml or pyproject.toml, else in the folder."""
    if settings.recordings:
        return Path(settings.recordings).expanduser()
    beside = nearest(FILE_NAME, folder) or nearest("pyproject.toml", folder)
    return (beside.parent if beside else (folder or Path.cwd())) / "recordings"


def cache_folder(settings: Settings | None = None, environment: Mapping[str, str] = os.environ) -> Path:
    """The user's cache folder: the setting, else ccwatch/ in XDG_CACHE_HOME, else in the system's place for caches."""
    found = (settings or Settings.load()).cache
    if found:
        return Path(found).expanduser()
    if environment.get("XDG_CACHE_HOME"):
        return Path(environment["XDG_CACHE_HOME"]) / "ccwatch"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "ccwatch"
