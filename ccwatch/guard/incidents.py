"""Incidents: the evidence and the page of each alert that people were told of, kept up to date until the alert is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pandas as pd

from ccwatch.alerts import Alert
from ccwatch.guard.options import GuardOptions
from ccwatch.guard.page import AROUND, write_page

EXPLAIN_S: Final = 0.5
"""How long a message waits for its evidence; the incident page gets it in any case."""
PAGE_S: Final = 30.0
"""An incident's page is written again at this interval until the incident is over."""
LOOKS_BACK: Final = pd.Timedelta(minutes=18)
"""How far the evidence of a firing reads back: its window, and the quarter of an hour that this is compared with."""
MOST_KEPT: Final = 50
"""Incidents that are over and stay in memory."""


@dataclass
class Incident:
    """An alert that people were told of, its page and its evidence."""

    alert: Alert
    page: Path
    explain: list[str] = field(default_factory=list)
    written_at: float = 0.0


class Incidents:
    """The incidents of one view. The watch's thread opens and updates them, the guard's own thread writes their pages."""

    def __init__(
        self,
        view: Any,
        folder: Path,
        options: GuardOptions,
        *,
        remarks: Callable[[Alert], list[str]],
        on_trouble: Callable[[str], None],
    ) -> None:
        """Begin without any.

        Args:
            view: the Feed or Recording that is watched.
            folder: the folder of the pages.
            options: of which `drop` and `link_base` are used.
            remarks: returns what limits an alert, a line each.
            on_trouble: called with the reason where evidence cannot be gathered.
        """
        self._view, self._folder, self._options = view, folder, options
        self._remarks, self._on_trouble = remarks, on_trouble
        self._known: dict[str, Incident] = {}

    def open(self, alert: Alert) -> Incident:
        """Return the incident of an alert, a new one with its evidence, if that is gathered quickly."""
        found = self._known.get(alert.id)
        if found is None:
            found, done = self._begin(alert)
            done.wait(EXPLAIN_S)
        return found

    def update(self, alert: Alert) -> None:
        """Note an alert's newest state; its page is written again. One that has a page from before a restart goes on with it."""
        found = self._known.get(alert.id)
        if found is None and alert.is_open and self._page_of(alert).exists():
            found, _ = self._begin(alert)
        if found is not None:
            found.alert, found.written_at = alert, 0.0

    def link_of(self, incident: Incident) -> str:
        """Return the address of an incident's page: below `link_base`, else its path."""
        base = self._options.link_base
        return f"{base.rstrip('/')}/{incident.page.name}" if base else str(incident.page)

    def write(self, open_ones: Sequence[Alert]) -> None:
        """Write the pages that are due; `open_ones` are all alerts that fire."""
        for incident in list(self._known.values()):
            alert, moment = incident.alert, time.monotonic()
            if incident.written_at and (not alert.is_open or moment - incident.written_at < PAGE_S):
                continue
            fired = pd.Timestamp(alert.fired_ns, unit="ns", tz="UTC")
            frame = self._view.frame()
            incident.written_at = moment  # first: what comes while it is written makes it due again
            write_page(
                incident.page,
                alert,
                [other for other in open_ones if other.id != alert.id],
                frame[(frame.index >= fired - AROUND) & (frame.index <= fired + AROUND)],
                explain=incident.explain,
                remarks=self._remarks(alert),
                drop=self._options.drop,
                is_synthetic=getattr(self._view, "origin", "") == "synthetic",
            )
        over = [name for name, incident in list(self._known.items()) if not incident.alert.is_open and incident.written_at]
        for name in over[: max(0, len(over) - MOST_KEPT)]:
            self._known.pop(name, None)

    def _page_of(self, alert: Alert) -> Path:
        return self._folder / f"{alert.fired:%Y%m%dT%H%M%S}-{alert.id}.html"

    def _begin(self, alert: Alert) -> tuple[Incident, threading.Event]:
        made, done = Incident(alert, self._page_of(alert)), threading.Event()
        kept = self._known.setdefault(alert.id, made)
        if kept is not made:  # the other thread has just begun it
            done.set()
            return kept, done

        def gather() -> None:
            made.explain = self._explain(alert)
            made.written_at = 0.0  # the page is written again
            done.set()

        # A daemon: evidence of a busy stretch takes a while, and must not keep the guard from ending.
        threading.Thread(target=gather, name="ccwatch-evidence", daemon=True).start()
        return made, done

    def _explain(self, alert: Alert) -> list[str]:
        """Return the first lines of the evidence around a firing; empty where there is none."""
        from ccwatch.analysis import Report  # noqa: PLC0415 - scipy takes a second, and this runs beside the watch

        try:
            fired = pd.Timestamp(alert.fired_ns, unit="ns", tz="UTC")
            found = Report(self._view, start=fired - LOOKS_BACK).explain(alert.fired)
            nearest = found.to_frame()
            nearest = nearest.iloc[nearest["offset_s"].abs().argsort(kind="stable")[:4]].sort_values("offset_s", kind="stable")
            lines = [f"{row.offset_s:+.0f} s {row.kind} {row.subject}: {row.detail}" for row in nearest.itertuples()]
            return [found.headline(), *lines]
        except Exception as error:  # noqa: BLE001 - evidence is a help, not a duty: a message goes without
            self._on_trouble(f"no evidence on {alert.name}: {type(error).__name__}: {error}"[:200])
            return []
