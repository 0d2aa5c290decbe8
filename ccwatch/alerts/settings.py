"""The settings of alerts in ccwatch.toml: [[rules]] and [hours], checked; errors name file and line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from ccwatch.alerts import rule_definitions
from ccwatch.alerts.grammar import nearest_word
from ccwatch.alerts.rule_state import AnyRule
from ccwatch.alerts.rules import DEFAULT_RULES
from ccwatch.config import Tables
from ccwatch.domain.durations import seconds_of
from ccwatch.domain.hours import TradingHours, read_hours
from ccwatch.errors import ConfigError

_RULE_KEYS: Final = ("name", "when", "for", "clears", "severity", "hours", "runbook", "meaning")
_HOURS_KEYS: Final = ("timezone", "open", "close", "days", "holidays", "grace")


@dataclass(frozen=True)
class AlertSettings:
    """Rules and trading hours of a desk.

    Attributes:
        rules: the default rules and the desk's own; one with a default's name replaces the default.
        own: the desk's own rules.
        hours: when the market trades; None is round the clock.
    """

    rules: tuple[AnyRule, ...] = DEFAULT_RULES
    own: tuple[rule_definitions.Rule, ...] = ()
    hours: TradingHours | None = None

    @classmethod
    def load(cls, tables: Tables | None = None) -> Self:
        """Load the settings of the nearest ccwatch.toml, or of tables that were read.

        Raises:
            ConfigError: says file and line of what cannot be used.
        """
        found = Tables.load() if tables is None else tables
        own = tuple(rule_of(found, number) for number in range(len(found.rules)))
        names = [rule.name for rule in own]
        twice = next((number for number, name in enumerate(names) if name in names[:number]), None)
        if twice is not None:
            raise ConfigError(f"{found.place('rules', 'name', twice)}: a rule named {names[twice]!r} is there twice")
        return cls(with_own(own), own, hours_of(found))


def with_own(own: tuple[rule_definitions.Rule, ...]) -> tuple[AnyRule, ...]:
    """Return the default rules and a desk's own; one with a default's name replaces the default."""
    names = {rule.name for rule in own}
    return (*(rule for rule in DEFAULT_RULES if rule.name not in names), *own)


def rules_file(path: Path) -> tuple[rule_definitions.Rule, ...]:
    """Read the [[rules]] of a TOML file that holds only rules.

    Raises:
        ConfigError: says file and line of what cannot be used.
    """
    tables = Tables.load(file=path)
    return AlertSettings.load(tables).own


def rule_of(tables: Tables, number: int) -> rule_definitions.Rule:
    """Read a rule of the file, by its number from 0.

    Raises:
        ConfigError: says file and line.
    """
    said: Mapping[str, Any] = tables.rules[number]
    for key in said:
        if key not in _RULE_KEYS:
            raise ConfigError(f"{tables.place('rules', key, number)}: unknown key {key!r} in [[rules]]: {nearest_word(key, _RULE_KEYS)}")
    for key in ("name", "when"):
        if not isinstance(said.get(key), str):
            raise ConfigError(f'{tables.place("rules", key, number)}: expected {key} = "…", got {said.get(key)!r}')
    options = {("for_" if key == "for" else key): value for key, value in said.items() if key not in {"name", "when"}}
    try:
        return rule_definitions.Rule(said["name"], said["when"], **options)
    except ConfigError as error:
        key = next((key for key in said if f"{'for_' if key == 'for' else key}=" in str(error)), "when")
        raise ConfigError(f"{tables.place('rules', key, number)}: {error}") from None


def hours_of(tables: Tables) -> TradingHours | None:
    """Read the trading hours of the file; None where it names none.

    Raises:
        ConfigError: says file and line.
    """
    said = dict(tables.hours)
    if not said:
        return None
    for key in said:
        if key not in _HOURS_KEYS:
            raise ConfigError(f"{tables.place('hours', key)}: unknown key {key!r} in [hours]: {nearest_word(key, _HOURS_KEYS)}")
    try:
        if "grace" in said:
            said["grace_s"] = _grace(said.pop("grace"))
        return read_hours(said, _holidays(said.get("holidays", []), tables.path))
    except ValueError as error:
        key = next((key for key in _HOURS_KEYS if str(error).startswith(key)), "")
        raise ConfigError(f"{tables.place('hours', key or None)}: {error}") from None


def _grace(said: Any) -> float:
    try:
        return seconds_of(str(said))
    except ValueError as error:
        raise ValueError(f"grace: {error}") from None


def _holidays(said: Any, file: Path | None) -> list[str]:
    """Return the dates, or those of a file beside the settings with one a line; text after a # is a remark."""
    if isinstance(said, str):
        path = (file.parent if file else Path()) / Path(said).expanduser()
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise ValueError(f"holidays: {path} cannot be read: {error.strerror}") from None
        return [word for line in lines if (word := line.partition("#")[0].strip())]
    if not isinstance(said, list):
        raise ValueError(f"holidays={said!r}: expected a list of dates, or the path of a file")  # noqa: TRY004 - as any other wrong value
    return [str(word) for word in said]
