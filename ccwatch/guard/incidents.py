"""Incidents: the evidence and the page of each alert that was reported, kept up to date until the alert is over."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pandas as pd

from ccwatch.alerts import Alert
from ccwatch.guard.guard_options import GuardOptions
from ccwatch.guard.incident_page import AROUND, hides_money, without_amounts, write_page
from ccwatch.recording import Recording

EXPLAIN_S: Final = 0.4
"""How long a message waits for its evidence; the incident page gets it in any case."""
PAGE_S: Final = 30.0
"""An incident's page is written again at this interval until the incident is over."""
LOOKS_BACK: Final = pd.Timedelta(minutes=18)
"""How far the evidence of a firing reads back: its window, and the quarter of an hour that this is compared with."""
MOST_KEPT: Final = 50
"""Incidents that are over and stay in memory."""


@dataclass
class Incident:
    """An alert that was reported, its page and its evidence."""

    alert: Alert
    page: Path
    explain: list[str] = field(default_factory=list)
    is_explained: bool = False
    """Whether the evidence was looked for; it may be empty."""
    written_at: float = 0.0
    then: list[Callable[[], None]] = field(default_factory=list)
    """Alerts that wait for their evidence."""
    before: pd.DataFrame | None = None
    """Packets around the firing of a recording that an earlier guard made; None where the view has them."""


class Incidents:
    """The incidents of one view. The watch's thread opens and updates them, the guard's own thread writes their pages.

    Evidence is gathered by a thread of its own, one incident after the other: neither the watch nor a message waits for it.
    """

    def __init__(
        self,
        view: Any,
        folder: Path,
        options: GuardOptions,
        *,
        earlier: Callable[[], Sequence[Path]],
        remarks: Callable[[Alert], list[str]],
        on_trouble: Callable[[str], None],
    ) -> None:
        """Begin without any.

        Args:
            view: the Feed or Recording that is watched.
            folder: the folder of the pages.
            options: of which `drop` and `link_base` are used.
            earlier: returns the recordings of the day that were made before this guard began.
            remarks: returns what limits an alert, a line each.
            on_trouble: called with the reason where evidence cannot be gathered.
        """
        self._view, self._folder, self._options = view, folder, options
        self._earlier, self._remarks, self._on_trouble = earlier, remarks, on_trouble
        self._known: dict[str, Incident] = {}
        self._lock = threading.Lock()  # guards what waits for evidence, between those who ask and the thread that gathers
        self._asked: deque[Incident] = deque()
        self._writing = threading.Lock()  # one page at a time: the guard's own thread and finish() write them
        self._is_gathering = self._is_over = False

    def open(self, alert: Alert) -> Incident:
        """Return the incident of an alert; where it is new, its evidence is gathered from now on."""
        return self._known.get(alert.id) or self._begin(alert)

    def when_explained(self, incident: Incident, then: Callable[[], None]) -> None:
        """Call `then` once an incident's evidence is gathered, on the thread that gathers it."""
        with self._lock:
            if not incident.is_explained:
                incident.then.append(then)
                return
        then()

    def stop(self) -> None:
        """Gather no more evidence than what is under way."""
        with self._lock:
            self._is_over = True
            self._asked.clear()

    def finish(self, seconds: float) -> None:
        """Wait up to `seconds` for the evidence that is being gathered; for a stream that is over."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with self._lock:
                if not self._is_gathering:
                    return
            time.sleep(0.05)

    def update(self, alert: Alert, *, was_reported: bool) -> None:
        """Note an alert's newest state; its page is written again, also after a restart where it was reported before."""
        found = self._known.get(alert.id)
        if found is None and alert.is_open and was_reported:
            found = self._begin(alert)
        if found is not None:
            found.alert, found.written_at = alert, 0.0

    def link_of(self, incident: Incident) -> str:
        """Return the address of an incident's page: below `link_base`, else its path."""
        base = self._options.link_base
        return f"{base.rstrip('/')}/{incident.page.name}" if base else str(incident.page)

    def write(self, open_ones: Sequence[Alert]) -> None:
        """Write the pages that are due; `open_ones` are all alerts that fire, as they are now."""
        with self._writing:
            self._write_due(open_ones)

    def _write_due(self, open_ones: Sequence[Alert]) -> None:
        newest = {alert.id: alert for alert in open_ones}
        for incident in list(self._known.values()):
            if incident.alert.is_open:
                incident.alert = newest.get(incident.alert.id, incident.alert)
            alert, moment = incident.alert, time.monotonic()
            if incident.written_at and (not alert.is_open or moment - incident.written_at < PAGE_S):
                continue
            incident.written_at = moment  # first: what comes while it is written makes it due again
            fired = pd.Timestamp(alert.fired_ns, unit="ns", tz="UTC")
            frame = _around(self._view.frame(), fired)
            if incident.before is not None:
                frame = pd.concat([incident.before, frame]).sort_index(kind="stable")
            elif incident.page.exists() and not (len(frame) and frame.index[0] <= fired):
                continue  # nothing is left of the packets around it but the page itself
            write_page(
                incident.page,
                alert,
                [other for other in open_ones if other.id != alert.id],
                frame,
                explain=incident.explain or (["no evidence was found"] if incident.is_explained else []),
                remarks=self._remarks(alert),
                drop=self._options.drop,
                is_synthetic=self._view.origin == "synthetic",
            )
        over = [name for name, incident in list(self._known.items()) if not incident.alert.is_open and incident.written_at]
        for name in over[: max(0, len(over) - MOST_KEPT)]:
            self._known.pop(name, None)

    def _page_of(self, alert: Alert) -> Path:
        return self._folder / f"{alert.fired:%Y%m%dT%H%M%S}-{alert.id}.html"

    def _begin(self, alert: Alert) -> Incident:
        made = Incident(alert, self._page_of(alert))
        with self._lock:
            kept = self._known.setdefault(alert.id, made)
            if kept is made and not self._is_over:
                self._asked.append(made)
                if not self._is_gathering:
                    self._is_gathering = True
                    # A daemon: evidence of a busy stretch takes a while, and must not keep the guard from ending.
                    threading.Thread(target=self._gather, name="ccwatch-evidence", daemon=True).start()
        return kept

    def _gather(self) -> None:
        while True:
            with self._lock:
                if not self._asked:
                    self._is_gathering = False
                    return
                incident = self._asked.popleft()
            lines = self._explain(incident)
            with self._lock:
                incident.explain, incident.is_explained = lines, True
                incident.written_at = 0.0  # the page is written again
                then, incident.then = incident.then, []
            for call in then:
                call()

    def _explain(self, incident: Incident) -> list[str]:
        """Return the first lines of the evidence around a firing; empty where there is none."""
        from ccwatch.analysis import Report  # noqa: PLC0415 - scipy takes a second, and this runs beside the watch

        alert = incident.alert
        try:
            fired = pd.Timestamp(alert.fired_ns, unit="ns", tz="UTC")
            found = Report(self._source_of(incident, fired), start=fired - LOOKS_BACK).explain(alert.fired)
            nearest = found.to_frame()
            nearest = nearest.iloc[nearest["offset_s"].abs().argsort(kind="stable")[:4]].sort_values("offset_s", kind="stable")
            hides = hides_money(self._options.drop)
            lines = [
                f"{row.offset_s:+.0f} s {row.kind} {row.subject}: {row.detail}"
                for row in nearest.itertuples()
                if not (hides and row.kind == "trade")  # its size and price are money
            ]
            said = [found.headline(), *lines]
            return [without_amounts(line) for line in said] if hides else said
        except Exception as error:  # noqa: BLE001 - evidence is a help, not a duty: a message goes without
            self._on_trouble(f"no evidence on {alert.name}: {type(error).__name__}: {error}"[:200])
            return []

    def _source_of(self, incident: Incident, fired: pd.Timestamp) -> Any:
        """Return where the packets before a firing are: in the view, or after a restart in a recording of an earlier guard."""
        times = self._view.frame(["seq"]).index
        if len(times) and times[0] <= fired:
            return self._view
        for path in reversed(self._earlier()):
            recording = Recording(path)
            frame = _around(recording.frame(), fired)
            if len(frame) and frame.index[0] <= fired:
                incident.before = frame
                return recording
        return self._view


def _around(frame: pd.DataFrame, fired: pd.Timestamp) -> pd.DataFrame:
    return frame[(frame.index >= fired - AROUND) & (frame.index <= fired + AROUND)]
