"""A guard's settings from ccwatch.toml and options: receivers by name, the [guard] table, the guard's folder. It starts nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

from ccwatch.alerts import AlertSettings, nearest_word, rules_file, with_own
from ccwatch.config import Settings, Tables, recordings_folder
from ccwatch.domain.durations import seconds_of
from ccwatch.errors import ConfigError
from ccwatch.guard.guard_options import GuardOptions
from ccwatch.guard.receivers import Receiver, check_address
from ccwatch.protocol.columns import PACKETS
from ccwatch.recording import guard_name

_KEYS: Final = {
    "notify": "notify",
    "escalate_to": "escalate_to",
    "repeat": "repeat_s",
    "escalate": "escalate_s",
    "heartbeat": "heartbeat",
    "heartbeat_every": "heartbeat_s",
    "digest": "digest_at",
    "digest_to": "digest_to",
    "link_base": "link_base",
    "drop": "drop",
}
"""Keys of the [guard] table, and the options that they set."""
_DROPPED: Final = tuple(column.name for column in PACKETS)


def read_options(tables: Tables, given: Mapping[str, Any]) -> GuardOptions:
    """Return a guard's options: those that were given, else the [guard] table, else the defaults.

    Raises:
        ConfigError: a value cannot be used; the message names file and line, or the option.
    """
    said: dict[str, Any] = {}
    for key, value in tables.guard.items():
        if key not in _KEYS:
            raise ConfigError(f"{tables.place('guard', key)}: unknown key {key!r} in [guard]: {nearest_word(key, tuple(_KEYS))}")
        said[_KEYS[key]] = _value(tables.place("guard", key), _KEYS[key], value)
    known = {f.name for f in fields(GuardOptions)}
    said |= {name: value for name, value in given.items() if value not in (None, (), "") and name in known}
    found = replace(GuardOptions(), **said)
    _check_columns("--drop", found.drop)
    if found.digest_at and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", found.digest_at):
        raise ConfigError(f"digest={found.digest_at!r}: expected a time of day such as '16:05'")
    if "://" in found.heartbeat or found.heartbeat.startswith(("env:", "file:")):
        check_address("heartbeat", found.heartbeat)
    return found


def _value(place: str, option: str, value: Any) -> Any:
    if option in {"notify", "escalate_to", "drop"}:
        words = [word.strip() for word in value.split(",")] if isinstance(value, str) else value
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ConfigError(f"{place}: expected a name or a list of names, got {value!r}")
        if option == "drop":
            _check_columns(f"{place}: drop", words)
        return tuple(words)
    if not isinstance(value, str):
        raise ConfigError(f"{place}: expected text, got {value!r}")
    if option.endswith("_s"):
        try:
            seconds = seconds_of(value)
        except ValueError as error:
            raise ConfigError(f"{place}: {error}") from None
        if seconds <= 0.0 and option != "escalate_s":
            raise ConfigError(f"{place}: expected a duration above 0, got {value!r}")
        return seconds
    return value


def _check_columns(place: str, names: Sequence[str]) -> None:
    for name in names:
        if name not in _DROPPED:
            raise ConfigError(f"{place}: unknown column {name!r}: {nearest_word(name, _DROPPED)}")


def chosen(receivers: Mapping[str, Receiver], names: Sequence[str], tables: Tables) -> list[Receiver]:
    """Return the receivers of these names.

    Raises:
        ConfigError: a name that [receivers] does not have; the message suggests the nearest.
    """
    for name in names:
        if name not in receivers:
            nearest = nearest_word(name, tuple(receivers)) if receivers else "there is none"
            raise ConfigError(f"no receiver {name!r} in [receivers] of {tables.path or 'ccwatch.toml'}: {nearest}")
    return [receivers[name] for name in dict.fromkeys(names)]


def read_alert_settings(tables: Tables, rules: Path | None = None) -> AlertSettings:
    """Return rules and hours of ccwatch.toml, with the rules of a further file, which replace those of the same names."""
    found = AlertSettings.load(tables)
    if rules is None:
        return found
    more = rules_file(rules)
    names = {rule.name for rule in more}
    own = (*(rule for rule in found.own if rule.name not in names), *more)
    return replace(found, own=own, rules=with_own(own))


def guard_folder(settings: Settings, url: str, root: Path | None = None) -> Path:
    """Return the folder where a stream's guard keeps its state: among the recordings, under the stream's name."""
    return (recordings_folder(settings) if root is None else root).resolve() / "_guard" / guard_name(url)
