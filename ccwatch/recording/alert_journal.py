"""The journal beside a recording of its alerts, acknowledgements and silences. Dashboard, guard and commands share it.

It has one sealed line per fact, appended by whichever process knows it; the newest line about an alert counts. It knows no rule.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from ccwatch.errors import ConfigError, CorruptRecording, RecordingError
from ccwatch.recording.checked import Int64, Text, Word, fits, prepare
from ccwatch.recording.folder import append_durably, seal, sealed_lines

ALERTS: Final = "alerts.jsonl"


@dataclass(frozen=True)
class Acknowledgement:
    """The fact that someone has seen an alert."""

    id: Word
    by: Text
    at_ns: Int64


@dataclass(frozen=True)
class Silence:
    """A period in which an alert, or every alert of a rule and subject, reaches no one.

    Attributes:
        name: the silence's short name.
        id: the alert's id; empty where a rule is silenced.
        rule: the rule's name.
        subject: the subject of the silenced alerts; empty for any.
        until_ns: its end, wall clock, ns since 1970.
        by: the name of the person who asked for it.
        reason: the reason given.
        at_ns: its beginning, wall clock, ns since 1970.
    """

    name: Word
    id: Word
    rule: Text
    subject: Text
    until_ns: Int64
    by: Text
    reason: Text
    at_ns: Int64

    def covers(self, alert: Mapping[str, Any], now_ns: int) -> bool:
        """Return whether it silences an alert at a moment: the one that it names, or one of the same rule and subject."""
        if not self.at_ns <= now_ns < self.until_ns:
            return False
        same = alert["rule"] == self.rule and (not self.subject or alert["subject"] == self.subject)
        return alert["id"] == self.id or (bool(self.rule) and same)


Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class _Facts(msgspec.Struct):
    """The types of an alert's facts, as `Alert.to_dict` returns them."""

    id: Word
    rule: Text
    subject: Text
    severity: Literal["info", "warning", "critical"]
    state: Word
    fired: Moment
    resolved: Moment | None
    meaning: Text
    unit: Word
    fired_value: float | None
    value: float | None
    worst: float | None
    fired_ns: Int64 | None = None
    runbook: Text = ""
    measure: Word = ""
    is_acknowledged: bool = False


prepare(Acknowledgement, Silence, _Facts)


@dataclass(frozen=True)
class AlertBook:
    """The content of an alert journal.

    Attributes:
        alerts: the newest fact of each alert, by its id, in order of firing; see `Alert.to_dict`.
        acknowledged: the first acknowledgement of each alert, by the alert's id.
        silences: every silence that was ever asked for, in order.
        refused: how many lines are damaged, or are no facts; they are passed over.
    """

    alerts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    acknowledged: Mapping[str, Acknowledgement] = field(default_factory=dict)
    silences: tuple[Silence, ...] = ()
    refused: int = 0

    @property
    def open(self) -> tuple[Mapping[str, Any], ...]:
        """Return the alerts that are not resolved yet."""
        return tuple(alert for alert in self.alerts.values() if alert.get("resolved") is None)

    def silence_of(self, alert: Mapping[str, Any], now_ns: int | None = None) -> Silence | None:
        """Return the newest silence that covers an alert at a moment (None is now); None where there is none."""
        moment = time.time_ns() if now_ns is None else now_ns
        return next((silence for silence in reversed(self.silences) if silence.covers(alert, moment)), None)

    def find(self, word: str) -> Mapping[str, Any]:
        """Return the alert with this id, or whose id begins with this text.

        Raises:
            ConfigError: no alert has such an id, or several have.
        """
        found = [alert for name, alert in self.alerts.items() if name.startswith(word.strip().casefold())] if word.strip() else []
        if len(found) != 1:
            known = ", ".join(alert["id"] for alert in self.open) or "none is open"
            raise ConfigError(f"{'no' if not found else 'more than one'} alert {word!r}; open alerts: {known}")
        return found[0]


class AlertJournal:
    """The journal in a recording's folder. May be used by any thread, and by several processes at once."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / ALERTS
        self._lock = threading.Lock()  # serialises this process's lines, and reading with its memory
        self._read: tuple[tuple[int, int], AlertBook] | None = None

    def book(self) -> AlertBook:
        """Return the journal's content as it is now; the file is read again only if it has changed."""
        with self._lock:
            try:
                state = self.path.stat()
            except OSError:
                return AlertBook()
            stamp = state.st_size, state.st_mtime_ns
            if self._read is None or self._read[0] != stamp:
                self._read = stamp, _book(self.path)
            return self._read[1]

    def note(self, alert: Mapping[str, Any]) -> None:
        """Append the newest state of an alert, as `Alert.to_dict` returns it."""
        self._append({"kind": "alert", "at_ns": time.time_ns(), "alert": dict(alert)})

    def carry(self, book: AlertBook) -> None:
        """Take over the open alerts of an earlier journal, with their acknowledgements, and the silences that have not ended."""
        now = time.time_ns()
        for alert in book.open:
            self._append({"kind": "alert", "at_ns": now, "alert": dict(alert)})
            known = book.acknowledged.get(str(alert["id"]))
            if known is not None:
                self._append({"kind": "acknowledged", "id": known.id, "by": known.by, "at_ns": known.at_ns})
        for silence in book.silences:
            if silence.until_ns > now:
                self._append({"kind": "silence", **silence.__dict__})

    def acknowledge(self, word: str, by: str) -> Mapping[str, Any]:
        """Note that someone has seen an alert, and return the alert.

        Raises:
            ConfigError: no such alert, or an empty name.
        """
        if not by.strip():
            raise ConfigError("an acknowledgement needs a name: who has seen it?")
        alert = self.book().find(word)
        self._append({"kind": "acknowledged", "id": alert["id"], "by": by, "at_ns": time.time_ns()})
        return alert

    def silence(self, word: str, seconds: float, by: str, reason: str) -> Silence:
        """Silence an alert, and others of its rule and subject, for some seconds, and return the silence.

        Raises:
            ConfigError: no such alert, no reason, or no length of time.
        """
        if seconds <= 0.0 or not reason.strip():
            raise ConfigError("a silence needs an end and a reason: ccwatch alerts --silence ID 30min --reason TEXT")
        alert, now = self.book().find(word), time.time_ns()
        until = now + round(seconds * 1e9)
        made = Silence(secrets.token_hex(3), str(alert["id"]), str(alert["rule"]), str(alert["subject"]), until, by, reason, now)
        self._append({"kind": "silence", **made.__dict__})
        return made

    def _append(self, fact: Mapping[str, Any]) -> None:
        with self._lock:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                append_durably(self.path, seal(fact) + b"\n")
            except OSError as error:
                raise RecordingError(f"{self.path} cannot be written: {error}") from error


def guard_name(url: str) -> str:
    """Return the name of the folder, below `_guard` among the recordings, in which a stream's guard keeps its state."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", re.sub(r"^\w+://", "", url)).strip("-.")[:60] or "stream"


def journal_of_stream(root: Path, url: str) -> AlertJournal | None:
    """Return the journal that a guard of this stream writes: beside the recording that it makes, else in its own folder.

    Args:
        root: the folder of recordings.
        url: the stream's, without secrets.
    """
    folder = root / "_guard" / guard_name(url)
    try:
        named = Path(json.loads((folder / "state.json").read_text(encoding="utf-8"))["journal"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        named = folder
    return next((AlertJournal(place) for place in (named, folder) if (place / ALERTS).exists()), None)


def _book(path: Path) -> AlertBook:
    alerts: dict[str, Mapping[str, Any]] = {}
    acknowledged: dict[str, Acknowledgement] = {}
    silences: list[Silence] = []
    refused = 0
    for _, _, line in sealed_lines(path):
        kind = None if line is None else line.get("kind")
        try:
            if line is None:
                refused += 1
            elif kind == "alert":
                facts: Any = line.get("alert")
                alerts[fits(facts, _Facts, path).id] = facts
            elif kind == "acknowledged":
                seen = fits(line, Acknowledgement, path)
                acknowledged.setdefault(seen.id, seen)
            elif kind == "silence":
                silences.append(fits(line, Silence, path))
        except CorruptRecording:  # one line that lies hides no other
            refused += 1
    return AlertBook(alerts, acknowledged, tuple(silences), refused)
