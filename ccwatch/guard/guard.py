"""The guard: evaluates rules on a feed or a growing recording, remembers across restarts, and notifies people. No widget.

The watch's thread evaluates and queues; the outbox's threads deliver; the guard's own thread does the work due by time alone: the
heartbeat, repetition, escalation, acknowledgements from other processes, the day's first message, the digest, incident pages.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from ccwatch.alerts import Alert, AlertLog, AlertSettings, AlertWatch, AnyRule, Certificates, Evaluator, Severity, read_objectives
from ccwatch.config import Settings
from ccwatch.domain.hours import days_of
from ccwatch.guard.groups import Notice, Notifier
from ccwatch.guard.heartbeat import Heartbeat
from ccwatch.guard.messages import body_of, plain_body
from ccwatch.guard.outbox import Outbox
from ccwatch.guard.page import AROUND, write_page
from ccwatch.guard.receivers import Delivery, Receiver
from ccwatch.guard.state import GuardState
from ccwatch.protocol.messages import ConnectionState, Event, EventKind, Packet
from ccwatch.recording import AlertJournal, Recording
from ccwatch.stream.source import read_clock

TICK_S: Final = 0.5
EXPLAIN_S: Final = 0.6
"""How long a message waits for its evidence; the incident page gets it in any case."""
PAGE_S: Final = 30.0
"""An incident's page is written again at this interval until the incident is over."""
KNOWN_AT_ONCE_NS: Final = 60_000_000_000
"""A peak known since at most so long after the open counts as the day's."""
BATCH: Final = 5_000
_BLIND_STATES: Final = frozenset({ConnectionState.CONNECTING, ConnectionState.DISCONNECTED, ConnectionState.STOPPED, ConnectionState.ENDED})


@dataclass(frozen=True)
class GuardOptions:
    """The options of a guard.

    Attributes:
        notify: names of the receivers of messages.
        escalate_to: names of the receivers of escalations; empty is those of `notify`.
        repeat_s: seconds after which an alert that was not acknowledged is reported again.
        escalate_s: seconds after which a critical alert that was not acknowledged is escalated.
        heartbeat: where the sign of life goes while the guard sees: a file, a json:// address or a receiver's name; empty is none.
        heartbeat_s: seconds from one beat to the next.
        digest_at: local time of day of the digest, "16:05"; empty is none.
        digest_to: who gets the digest; empty is the first of `notify`.
        link_base: the URL that links to incident pages begin with; empty links by path.
        drop: columns that incident pages leave out, such as nav.
    """

    notify: tuple[str, ...] = ()
    escalate_to: tuple[str, ...] = ()
    repeat_s: float = 4 * 3600.0
    escalate_s: float = 600.0
    heartbeat: str = ""
    heartbeat_s: float = 30.0
    digest_at: str = ""
    digest_to: str = ""
    link_base: str = ""
    drop: tuple[str, ...] = ()


@dataclass
class _Incident:
    alert: Alert
    page: Path
    explain: list[str] = field(default_factory=list)
    written_at: float = 0.0


class Guard:
    """Watches one stream and notifies people. A context manager; `stop` ends it."""

    def __init__(
        self,
        view: Any,
        folder: Path,
        *,
        settings: AlertSettings,
        receivers: Sequence[Receiver] = (),
        options: GuardOptions | None = None,
        recorder: Any = None,
        on_event: Callable[[str, dict[str, Any]], None] = lambda *_: None,
    ) -> None:
        """Take up the state that an earlier guard has left; no rule is evaluated before start().

        Args:
            view: a Feed that has not started, or a Recording.
            folder: the folder of the guard's own state, outbox and incident pages.
            settings: rules and trading hours.
            receivers: all receivers that messages may go to.
            options: the guard's options.
            recorder: the RecordingSeries that records the feed; None where none does.
            on_event: called with the name and the facts of each of its actions, for a log.
        """
        self.options = options or GuardOptions()
        self.settings = settings
        self.folder = folder
        self.view = view
        self.recorder = recorder
        self.on_event = on_event
        self.state = GuardState.read(folder)
        self.began_ns = time.time_ns()
        self.blind_since_ns = self.state.alive_ns
        self.outbox = Outbox(folder, receivers, on_result=self._delivered)
        self.journal = AlertJournal(self._journal_folder())
        self._take_over_journal()
        self.certificates = Certificates(folder.parent)
        self._known = self.certificates.read()
        self._incidents: dict[str, _Incident] = {}
        self._zone: Any = ZoneInfo(settings.hours.timezone) if settings.hours is not None else UTC
        self._lock = threading.Lock()  # serialises the notifier between the watch's thread and the guard's own
        self.notifier = self._new_notifier()
        self.watch = self._new_watch(settings.rules)
        self.heartbeat = Heartbeat(self.options.heartbeat, self.options.heartbeat_s, receivers)
        self._writing = threading.Lock()  # the watch's thread may still write the state while stop() does
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ccwatch-guard", daemon=True)
        self._saved = 0.0

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Start to evaluate and deliver, and return at once."""
        self.outbox.start()
        self.watch.listen(self._take, past=True)
        self._thread.start()
        if self.settings.hours is None and "round the clock" not in self.state.told:
            self.state.told.append("round the clock")
            self.on_event("hours", {"text": "no [hours] in ccwatch.toml: judging round the clock, in days of UTC"})
        return self

    def stop(self) -> None:
        """End within a second; undelivered messages wait in the outbox."""
        self._over.set()
        self.watch.stop()
        if self._thread.is_alive():
            self._thread.join(0.5)
        try:
            self._save()
        finally:
            self.outbox.stop()

    def reload(self, settings: AlertSettings) -> None:
        """Evaluate other rules from now on; alerts of the rules that remain go on firing."""
        old = self.watch
        self.settings = settings
        self._known = self.certificates.read()
        kept = old.snapshot_of_evaluator()
        old.stop()
        self.watch = self._new_watch(settings.rules, kept)
        self.watch.listen(self._take, past=True)
        self.on_event("reload", {"rules": len(settings.rules)})

    # ── taking over earlier state ──

    def _journal_folder(self) -> Path:
        if self.recorder is not None:
            return Path(self.recorder.path)
        return Path(self.view.folder) if isinstance(self.view, Recording) else self.folder

    def _take_over_journal(self) -> None:
        before = Path(self.state.journal) if self.state.journal else None
        if before is not None and before != self._journal_folder() and before.exists():
            self.journal.carry(AlertJournal(before).book())
        self.state.journal = str(self._journal_folder())

    def _new_notifier(self) -> Notifier:
        return Notifier(
            repeat_s=self.options.repeat_s,
            escalate_s=self.options.escalate_s,
            is_quiet=lambda alert: self.journal.book().silence_of(alert.to_dict()) is not None,
            is_seen=lambda alert: alert.id in self.journal.book().acknowledged,
        )

    def _new_watch(self, rules: Sequence[AnyRule], kept: dict[str, Any] | None = None) -> AlertWatch:
        judged = None
        if not isinstance(self.view, Recording):
            evaluator = Evaluator(
                rules,
                objectives=read_objectives(Settings.load().objectives),
                hours=self.settings.hours,
                virtual_clock=bool(getattr(self.view, "virtual_clock", False)),
            )
            log = AlertLog(rules)
            if kept is not None:
                evaluator.restore(kept)
                log.restore(self.watch.log.open)
            else:
                self._go_on(evaluator, log)
            now = read_clock()
            evaluator.use_clock(now.wall_ns - now.mono_ns)
            evaluator.watch_from(now.wall_ns, now.mono_ns)
            judged = evaluator, log
        watch = AlertWatch(self.view, rules, settings=self.settings, judged=judged, after=self._after, ends_with_view=False)
        watch.recorder = self.recorder
        return watch

    def _go_on(self, evaluator: Evaluator, log: AlertLog) -> None:
        """Replay the day's recordings, so that peak, capital, latches and running durations are what they were."""
        state = self.state
        if state.carry is not None:
            evaluator.restore(state.carry)
        sessions = [Path(path) for path in state.sessions if Path(path).exists()]
        told: list[Alert] = []
        for place, path in enumerate(sessions):
            if self.recorder is not None and path == Path(self.recorder.path):
                continue
            recording = Recording(path)
            evaluator.use_clock(recording.session.wall_ns - recording.session.mono_ns)
            after = state.carry_seq if place == 0 else 0
            items = [item for item in recording.items() if not isinstance(item, Packet) or item.seq > after]
            for at in range(0, len(items), BATCH):
                told += log.take(evaluator.receive(items[at : at + BATCH]))
        if self.recorder is None and state.carry is not None and not sessions:
            log.restore_open(evaluator.standing)
        now = read_clock()
        evaluator.use_clock(now.wall_ns - now.mono_ns)
        evaluator.skip_to(now.mono_ns)
        book = self.journal.book()
        for (rule, subject), alert in [((a.rule, a.subject), a) for a in log.open]:
            if alert.id in book.acknowledged:
                log.acknowledge(rule, subject)
                evaluator.acknowledge(rule, subject)
        for alert in told:
            self._note(alert)
        if self.recorder is not None:
            state.sessions = [*map(str, sessions), str(self.recorder.path)]

    # ── on the watch's thread ──

    def _take(self, alert: Alert) -> None:
        """Take an alert that began or ended: queue its messages, then write down that it did."""
        self._note(alert)

    def _note(self, alert: Alert) -> None:
        facts = alert.to_dict()
        known = self.journal.book().alerts.get(alert.id)
        with self._lock:
            notices = self.notifier.take(alert, time.time_ns())
        for notice in notices:
            self._queue(notice)
        if known is None or (known["resolved"] is None) is not (facts["resolved"] is None):
            self.journal.note(facts)
            self._record(alert)
            self.on_event("alert", facts)
        incident = self._incidents.get(alert.id)
        if incident is not None:
            incident.alert, incident.written_at = alert, 0.0

    def _record(self, alert: Alert) -> None:
        """Put an alert into the recording's events."""
        if self.recorder is None:
            return
        now, latest = read_clock(), getattr(self.view, "latest", None)
        moment = alert.fired_ns if alert.resolved_ns is None else alert.resolved_ns
        state = "fired" if alert.resolved_ns is None else "resolved"
        detail = f"rule={alert.rule} state={state} severity={alert.severity} id={alert.id} {alert.subject}".strip()
        seq, connection = (0, 0) if latest is None else (latest.seq, latest.connection)
        self.recorder.receive([Event(moment, seq, EventKind.ALERT, detail, connection, now.wall_ns, now.mono_ns)])

    def _queue(self, notice: Notice) -> None:
        receivers = self.options.notify
        if notice.kind == "escalation":
            receivers = self.options.escalate_to or receivers
        alert = notice.alert
        if alert.severity is Severity.INFO or self.outbox.has(notice.name):
            return
        incident = self._incident(alert)
        rule = next((rule for rule in self.settings.rules if rule.name == alert.rule), None)
        certificate = "never tested" if rule is None else self.certificates.text_of(rule, self._known)
        link = f"{self.options.link_base.rstrip('/')}/{incident.page.name}" if self.options.link_base else str(incident.page)
        body = body_of(
            notice,
            stream=str(getattr(self.view, "url", "") or getattr(self.view, "path", "")),
            is_synthetic=getattr(self.view, "origin", "") == "synthetic",
            certificate=certificate,
            explain=incident.explain,
            page=link,
            remarks=self._remarks(alert),
            zone=self._zone,
        )
        self.outbox.queue(notice.name, body, receivers)
        self.on_event("message", {"name": notice.name, "kind": notice.kind, "receivers": list(receivers), "text": body["sentence"]})

    def _remarks(self, alert: Alert) -> list[str]:
        known_ns = self.watch.known_from_ns if hasattr(self, "watch") else None
        if "drawdown" not in alert.rule and alert.unit != "fraction":
            return []
        if known_ns is None:
            return []
        day_ns = int(days_of(np.array([alert.fired_ns], dtype=np.int64), self.settings.hours)[0])
        if known_ns <= day_ns + KNOWN_AT_ONCE_NS:
            return []
        return [f"peak known only since {datetime.fromtimestamp(known_ns / 1e9, self._zone):%H:%M}"]

    def _incident(self, alert: Alert) -> _Incident:
        found = self._incidents.get(alert.id)
        if found is None:
            found = _Incident(alert, self.folder / "incidents" / f"{alert.fired:%Y%m%dT%H%M%S}-{alert.id}.html")
            self._incidents[alert.id] = found
            done = threading.Event()

            def explain() -> None:
                found.explain = self._explain(alert)
                found.written_at = 0.0  # the page is written again
                done.set()

            # A daemon: evidence of a long session takes a while, and must not keep the guard from ending.
            threading.Thread(target=explain, name="ccwatch-evidence", daemon=True).start()
            done.wait(EXPLAIN_S)
        return found

    def _explain(self, alert: Alert) -> list[str]:
        """Return the first lines of the evidence around a firing; empty where there is none."""
        from ccwatch.analysis import Report  # noqa: PLC0415 - scipy takes a second, and this runs beside the watch

        try:
            found = Report(self.view).explain(alert.fired)
            nearest = found.to_frame()
            nearest = nearest.iloc[nearest["offset_s"].abs().argsort(kind="stable")[:4]].sort_values("offset_s", kind="stable")
            lines = [f"{row.offset_s:+.0f} s {row.kind} {row.subject}: {row.detail}" for row in nearest.itertuples()]
            return [found.headline(), *lines]
        except Exception as error:  # noqa: BLE001 - evidence is a help, not a duty: a message goes without
            self.on_event("explain", {"trouble": f"{type(error).__name__}: {error}"[:200]})
            return []

    def _after(self) -> None:
        """Save the state, at most once a second; called after each evaluation."""
        now = time.monotonic()
        if now - self._saved >= 1.0:
            self._saved = now
            self._save()

    def _save(self) -> None:
        state = self.state
        state.alive_ns = time.time_ns()
        evaluator = self.watch.evaluator
        if evaluator is not None and not isinstance(self.view, Recording):
            if self.recorder is None:
                state.carry, state.sessions = evaluator.snapshot(), []
            else:
                current = str(self.recorder.path)
                if not state.sessions or state.sessions[-1] != current:
                    state.sessions.append(current)
                day = evaluator.trading_day
                if day is not None and state.told[-1:] != [f"day {day}"] and f"day {day}" not in state.told:
                    state.told = [*[word for word in state.told if not word.startswith("day ")][-20:], f"day {day}"]
                    if len(state.sessions) > 1 or state.carry is not None:  # the time before this day is in the snapshot
                        state.carry, state.carry_seq, state.sessions = evaluator.snapshot(), self.watch.seq, [current]
        with self._writing:
            state.write(self.folder)

    # ── on the guard's own thread ──

    def _run(self) -> None:
        while not self._over.wait(TICK_S):
            try:
                self._tick()
            except Exception as error:  # noqa: BLE001 - reported, and tried again: this thread must not die unseen
                self.on_event("trouble", {"text": f"{type(error).__name__}: {error}"})

    def _tick(self) -> None:
        book = self.journal.book()
        for alert in self.watch.open:
            if alert.id in book.acknowledged and not alert.is_acknowledged:
                self.watch.acknowledge(alert.rule, alert.subject)
        if self._is_in_hours():
            with self._lock:
                notices = self.notifier.due(time.time_ns())
            for notice in notices:
                self._queue(notice)
        if not self.is_blind:
            self._first_of_the_day()
            self.heartbeat.beat()
        self._digest()
        self._write_pages()

    @property
    def is_blind(self) -> bool:
        """Return whether the guard cannot see the stream, or cannot evaluate its rules."""
        state = getattr(self.view, "state", None)
        if isinstance(self.view, Recording):
            return bool(self.watch.trouble)
        return bool(self.watch.trouble) or (state in _BLIND_STATES and self._is_in_hours())

    def _is_in_hours(self) -> bool:
        return self.settings.hours is None or self.settings.hours.is_open(time.time_ns())

    def _first_of_the_day(self) -> None:
        if not self._is_in_hours() or not self.options.notify:
            return
        now = datetime.now(self._zone)
        name = f"watching-{now:%Y%m%d}"
        if not self.outbox.has(name):
            text = f"Watching {getattr(self.view, 'url', '')} since {now:%H:%M} {now:%Z}."
            self.outbox.queue(name, self._plain("day", "ccwatch is watching", text + self._blind_text()), self.options.notify)
        elif self.blind_since_ns and "blind" not in self.state.told[-1:]:
            text = f"Watching again since {now:%H:%M} {now:%Z}.{self._blind_text()}"
            if self.began_ns - self.blind_since_ns > 60_000_000_000:
                self.outbox.queue(f"blind-{self.blind_since_ns}", self._plain("blind", "ccwatch was blind", text), self.options.notify[:1])
        self.blind_since_ns = 0

    def _blind_text(self) -> str:
        if not self.blind_since_ns or self.began_ns - self.blind_since_ns < 2_000_000_000:
            return ""
        start, end = (datetime.fromtimestamp(ns / 1e9, self._zone) for ns in (self.blind_since_ns, self.began_ns))
        return f" It saw nothing from {start:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S}."

    def _plain(self, kind: str, title: str, text: str) -> dict[str, Any]:
        return plain_body(kind, title, text, stream=str(getattr(self.view, "url", "")))

    def _digest(self) -> None:
        now = datetime.now(self._zone)
        to = self.options.digest_to or (self.options.notify[0] if self.options.notify else "")
        if not self.options.digest_at or not to or f"{now:%H:%M}" < self.options.digest_at:
            return
        name = f"digest-{now:%Y%m%d}"
        if self.outbox.has(name) or (self.settings.hours is not None and not self.settings.hours.session_of(now.date())):
            return
        self.outbox.queue(name, self._plain("digest", f"ccwatch: {now:%Y-%m-%d}", self._day_in_words(now)), [to])

    def _day_in_words(self, now: datetime) -> str:
        from ccwatch.analysis import Report  # noqa: PLC0415 - see _explain

        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        alerts = [a for a in self.journal.book().alerts.values() if datetime.fromisoformat(str(a["fired"])) >= midnight]
        counted = f"{len(alerts)} alerts fired today: {', '.join(str(a['rule']) for a in alerts)}." if alerts else "No alert fired today."
        try:
            source = Recording(self.recorder.path) if self.recorder is not None else self.view
            sentences = [sentence for _, sentence in Report(source).what_happened()]
        except Exception as error:  # noqa: BLE001 - the digest goes out without the report
            sentences = [f"The day's report could not be made: {type(error).__name__}."]
        return "\n".join([counted, *sentences])

    def _write_pages(self) -> None:
        for incident in list(self._incidents.values()):
            alert = incident.alert
            moment = time.monotonic()
            if incident.written_at and (not alert.is_open or moment - incident.written_at < PAGE_S):
                continue
            fired = pd.Timestamp(alert.fired_ns, unit="ns", tz="UTC")
            frame = self.view.frame()
            frame = frame[(frame.index >= fired - AROUND) & (frame.index <= fired + AROUND)]
            write_page(
                incident.page,
                alert,
                [other for other in self.watch.open if other.id != alert.id],
                frame,
                explain=incident.explain,
                remarks=self._remarks(alert),
                drop=self.options.drop,
                is_synthetic=getattr(self.view, "origin", "") == "synthetic",
            )
            incident.written_at = moment
            over_ns = alert.resolved_ns
            if over_ns is not None and len(self._incidents) > 50:
                self._incidents.pop(alert.id, None)

    def _delivered(self, message: str, receiver: str, found: Delivery) -> None:
        """Log the outcome of a delivery; called on the receiver's thread."""
        what = "delivered" if found.done else "not delivered"
        self.on_event(what, {"name": message, "receiver": receiver, "detail": found.detail})
