"""The state of alerts that page, guard and commands share: the journal beside the recording, and rules' certificates. It knows no widget.

An acknowledgement made on the page is written into the journal; those made elsewhere, and silences, show on the page.
"""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ccwatch.alerts import NEVER, Alert, AlertWatch, Certificate, Certificates, group_of
from ccwatch.config import Settings, recordings_folder
from ccwatch.errors import ConfigError, RecordingError
from ccwatch.recording import AlertBook, AlertJournal, Recording, journal_of_stream
from ccwatch.stream import registry
from ccwatch.stream.view import LiveView

LOOKS_S: Final = 5.0
"""A journal that a guard has begun, and new certificates, are looked for at this interval."""
SILENCE_S: Final = 1800.0
"""How long the page's button silences an alert."""


class SharedAlerts:
    """The alerts of one view, as others know them too. `follow` is called on the watch's thread, the rest on any."""

    def __init__(self, view: Any, again: Callable[[], None]) -> None:
        """Begin without a journal; nothing is read yet.

        Args:
            view: a Feed or a Recording.
            again: called when what is known elsewhere has changed, so that the page shows it.
        """
        self._view, self._again = view, again
        self._book, self._known = AlertBook(), dict[str, Certificate]()
        self._journal: AlertJournal | None = None
        self._looked = -LOOKS_S
        self.trouble = ""
        """Why the last acknowledgement could not be written; empty where it was."""

    def follow(self, watch: AlertWatch) -> None:
        """Read what others have written since: acknowledge it in the watch, and say so to the page."""
        now = time.monotonic()
        if now - self._looked >= LOOKS_S:
            self._looked = now
            self._journal = self._find(watch)
            self._known = Certificates(recordings_folder(Settings.load())).read()
        book = AlertBook() if self._journal is None else self._journal.book()
        for alert in watch.open:
            if not alert.is_acknowledged and alert.id in book.acknowledged:
                watch.acknowledge(alert.rule, alert.subject)
        if book is not self._book:
            self._book = book
            self._again()

    def acknowledge(self, watch: AlertWatch, rule: str, subject: str) -> None:
        """Acknowledge what fires, here and in the journal; a finished recording that has none gets none."""
        watch.acknowledge(rule, subject)
        journal = self._journal or self._find(watch)
        for alert in watch.open if journal is not None else ():
            if (alert.rule, alert.subject) == (rule, subject) and journal is not None:
                try:
                    if alert.id not in journal.book().alerts:
                        journal.note(alert.to_dict())
                    journal.acknowledge(alert.id, getpass.getuser())
                    self.trouble = ""
                except RecordingError as error:
                    self.trouble = f"the acknowledgement is not written down: {error}"

    def silence(self, watch: AlertWatch, rule: str, subject: str, reason: str) -> None:
        """Silence what fires for SILENCE_S seconds, in the journal, and have the page say so.

        Raises:
            ConfigError: no reason, or no recording that has a journal.
            RecordingError: the journal cannot be written.
        """
        journal = self._journal or self._find(watch)
        if journal is None:
            raise ConfigError(f"{rule} cannot be silenced: no recording is being made, in whose journal it would be kept")
        for alert in watch.open:
            if (alert.rule, alert.subject) == (rule, subject):
                if alert.id not in journal.book().alerts:
                    journal.note(alert.to_dict())
                journal.silence(alert.id, SILENCE_S, getpass.getuser(), reason)
        self._book = journal.book()
        self._again()

    def words_of(self, watch: AlertWatch, alert: Alert, shift_ms: float) -> dict[str, Any]:
        """Return what the page shows of an alert beside its values: names, whether it was seen or silenced, how its rule did when tried."""
        rule = next((rule for rule in watch.rules if rule.name == alert.rule), None)
        seen = self._book.acknowledged.get(alert.id)
        quiet = self._book.silence_of(alert.to_dict()) if self._book.silences else None
        found = None if rule is None else self._known.get(rule.digest)
        return {
            "id": alert.id,
            "keeps": self._journal is not None,
            "group": group_of(alert),
            "runbook": alert.runbook,
            "certificate": NEVER if found is None else str(found),
            "by": "" if seen is None else seen.by,
            "silenced": None if quiet is None else [quiet.until_ns / 1e6 + shift_ms, quiet.by, quiet.reason],
        }

    def _find(self, watch: AlertWatch) -> AlertJournal | None:
        """Return the journal of the recording that is shown or made here, else that of a guard of the same stream."""
        if isinstance(self._view, Recording):
            journal = AlertJournal(Path(self._view.folder))
            return journal if self._view.status == "open" or journal.path.exists() else None
        made = (one.path for one in registry.recorders_of(self._view) if one.is_recording)  # in this process, by whatever cell
        path = getattr(watch.recorder, "path", None) or next(made, None)
        if path is not None:
            return AlertJournal(Path(path))
        url = self._view.url if isinstance(self._view, LiveView) else ""
        return journal_of_stream(recordings_folder(Settings.load()), url) if "://" in url else None
