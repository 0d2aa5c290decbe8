"""Certificates: the results of a rule tried on recorded sessions, kept under the rule's digest, so that editing the rule voids them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Protocol

import msgspec

from ccwatch.errors import ConfigError
from ccwatch.protocol.checked_text import with_checksum, without_checksum

FILE: Final = "certificates.json"
NEVER: Final = "never tested"


class HasDigest(Protocol):
    """A rule, as a certificate knows it."""

    @property
    def digest(self) -> str:
        """Return a text that differs for every other rule."""


@dataclass(frozen=True)
class Certificate:
    """The results of a rule on recorded sessions.

    Attributes:
        rule: its name.
        digest: of the rule as it was tried.
        incidents: that it could have caught.
        caught: of these.
        false_a_day: false alarms per day of stream.
        lead_s: median seconds from a firing to its incident; None where it caught none.
        sessions: names of the recordings.
        days: of stream that they hold.
        tried_at: when, ISO 8601.
    """

    rule: str
    digest: str
    incidents: int
    caught: int
    false_a_day: float
    lead_s: float | None
    sessions: tuple[str, ...]
    days: float
    tried_at: str

    def __str__(self) -> str:
        n = len(self.sessions)
        return f"{self.caught} of {self.incidents}, {self.false_a_day:.2g} false a day, {n} session{'' if n == 1 else 's'}"

    def holds_for(self, rule: HasDigest) -> bool:
        """Return whether the rule is still the one that was tried."""
        return rule.digest == self.digest


msgspec.json.Decoder(Certificate)  # looks at the types before threads do: two that are the first at once end the process


class Certificates:
    """The certificates in a folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE

    def read(self) -> dict[str, Certificate]:
        """Return the certificates by the rule's digest; none where the file cannot be read."""
        with contextlib.suppress(OSError, ValueError, RecursionError, msgspec.ValidationError):
            return msgspec.convert(json.loads(without_checksum(self.path.read_bytes())), dict[str, Certificate])
        return {}

    def keep(self, made: Certificate) -> None:
        """Write a certificate, in place of an older one of the same rule.

        Raises:
            ConfigError: the folder cannot be written.
        """
        every = {key: asdict(value) for key, value in self.read().items()} | {made.digest: asdict(made)}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            part = self.path.with_suffix(".part")
            part.write_bytes(with_checksum(json.dumps(every, indent=1).encode()))
            part.replace(self.path)
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be written: {error.strerror}") from None

    def text_of(self, rule: HasDigest, known: Mapping[str, Certificate] | None = None) -> str:
        """Return the words of messages about a rule: its figures, or "never tested"."""
        found = (self.read() if known is None else known).get(rule.digest)
        return NEVER if found is None else str(found)
