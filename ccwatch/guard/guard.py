"""The guard: evaluates rules on a feed or a growing recording, remembers across restarts, and notifies people. No widget.

The watch's thread evaluates and queues; the outbox's threads deliver; the guard's own thread does the work due by time alone: the
heartbeat, repetition, escalation, acknowledgements from other processes, the day's first message, the digest, incident pages.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self
from zoneinfo import ZoneInfo

import numpy as np

from ccwatch.alerts import (
    NEVER,
    Alert,
    AlertLog,
    AlertSettings,
    AlertWatch,
    Certificates,
    Evaluator,
    PlanReader,
    Severity,
    in_words,
    measures_of,
    no_plan,
    read_objectives,
)
from ccwatch.config import Settings
from ccwatch.domain.hours import days_of
from ccwatch.guard.alert_messages import body_of
from ccwatch.guard.daybook import Daybook
from ccwatch.guard.guard_options import GuardOptions
from ccwatch.guard.heartbeat import Heartbeat
from ccwatch.guard.incidents import EXPLAIN_S, Incident, Incidents
from ccwatch.guard.notices import Notice, Notifier
from ccwatch.guard.outbox import Outbox
from ccwatch.guard.receivers import Delivery, Receiver
from ccwatch.guard.state import GuardState
from ccwatch.protocol.messages import ConnectionState, Event, EventKind, Packet
from ccwatch.recording import AlertJournal, Recording
from ccwatch.stream.source import read_clock
from ccwatch.stream.view import LiveView, name_of

TICK_S: Final = 0.5
KNOWN_AT_ONCE_NS: Final = 60_000_000_000
"""A peak known since at most so long after the open counts as the day's."""
BATCH: Final = 5_000
_OF_THE_DAY: Final = frozenset({"drawdown_peak", "drawdown_start", "drawdown_inception", "day_pnl", "halt"})
"""Measures of the account since its day began, and what follows from them."""
_BLIND_STATES: Final = frozenset({ConnectionState.CONNECTING, ConnectionState.DISCONNECTED, ConnectionState.STOPPED, ConnectionState.ENDED})


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
        certificates: Path | None = None,
        plan_for: PlanReader = no_plan,
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
            certificates: the folder of the rules' certificates; None is the one above `folder`.
            plan_for: reads what was expected, for rules on the divergence from it; without it they are refused.
            on_event: called with the name and the facts of each of its actions, for a log.
        """
        self.options = options or GuardOptions()
        self.settings = settings
        self.folder = folder
        self.view = view
        self.recorder = recorder
        self._plan_for = plan_for
        self.on_event = on_event
        self.state = GuardState.read(folder)
        self.outbox = Outbox(folder, receivers, on_result=self._delivered)
        self.journal = AlertJournal(self._journal_folder())
        self._before = self._take_over_journal()
        self._taken_over: Evaluator | None = None  # of a feed: it has judged what earlier guards saw
        self.certificates = Certificates(folder.parent if certificates is None else certificates)
        self._tested = self.certificates.read()
        self.incidents = Incidents(
            view,
            folder / "incidents",
            self.options,
            earlier=lambda: [Path(path) for path in self.state.sessions if Path(path).exists()],
            remarks=self._remarks,
            on_trouble=lambda text: on_event("explain", {"text": text}),
        )
        self.daybook = Daybook(view, self.outbox, self.state, self.options, on_event=on_event)
        self._lock = threading.Lock()  # serialises the notifier between the watch's thread and the guard's own
        self.notifier = self._new_notifier()
        self.watch = self._new_watch()
        self.heartbeat = Heartbeat(self.options.heartbeat, self.options.heartbeat_s, receivers)
        self._writing = threading.Lock()  # the watch's thread may still write the state while stop() does
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ccwatch-guard", daemon=True)
        self._saved, self._saved_seq = 0.0, -1
        self._troubles: dict[str, str] = {}  # of rules that are functions, as reported

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Start to evaluate and deliver, and return at once."""
        # The modules for evidence take a second to import: before the first alert.
        threading.Thread(target=importlib.import_module, args=("ccwatch.analysis",), name="ccwatch-imports", daemon=True).start()
        self.outbox.start()
        self.watch.listen(self._note, past=True)
        self._thread.start()
        if self.settings.hours is None and "round the clock" not in self.state.told:
            self.state.told.append("round the clock")
            self.on_event("hours", {"text": "no [hours] in ccwatch.toml: judging round the clock, in days of UTC"})
        return self

    def stop(self) -> None:
        """End within a second; undelivered messages wait in the outbox."""
        self._over.set()
        self.watch.stop()
        self.incidents.stop()
        if self._thread.is_alive():
            self._thread.join(0.5)
        try:
            self._save()
        finally:
            self.outbox.stop()

    def finish(self, seconds: float = 40.0) -> None:
        """Wait up to `seconds` until pages have their evidence and messages are delivered, for a stream that is over."""
        until = time.monotonic() + seconds
        self.incidents.finish(seconds - 10.0)
        self.incidents.write(self.watch.open)
        self.outbox.drain(max(0.0, until - time.monotonic()))

    def reload(self, settings: AlertSettings) -> None:
        """Judge by other rules and hours from now on; rules that remain go on where they were.

        Raises:
            ConfigError: two rules of one name, or a measure that does not exist; nothing has changed then.
        """
        self.watch.use_rules(settings)
        self.settings = settings
        self._tested = self.certificates.read()
        self.on_event("reload", {"rules": len(settings.rules), "text": f"judging by {len(settings.rules)} rules from now on"})

    # ── taking over earlier state ──

    def _journal_folder(self) -> Path:
        if self.recorder is not None:
            return Path(self.recorder.path)
        return Path(self.view.folder) if isinstance(self.view, Recording) else self.folder

    def _take_over_journal(self) -> Mapping[str, Any]:
        """Take over the open alerts of an earlier journal; return all of its alerts, which are known."""
        before = Path(self.state.journal) if self.state.journal else None
        self.state.journal = str(self._journal_folder())
        if before is None or before == self._journal_folder() or not before.exists():
            return {}
        book = AlertJournal(before).book()
        self.journal.carry(book)
        return book.alerts

    def _new_notifier(self) -> Notifier:
        return Notifier(
            repeat_s=self.options.repeat_s,
            escalate_s=self.options.escalate_s,
            is_quiet=lambda alert: self.journal.book().silence_of(alert.to_dict()) is not None,
            is_seen=lambda alert: alert.id in self.journal.book().acknowledged,
        )

    def _new_watch(self) -> AlertWatch:
        judged, plan = None, self._plan_for(self.settings.rules)
        if not isinstance(self.view, Recording):
            evaluator = Evaluator(
                self.settings.rules,
                objectives=read_objectives(Settings.load().objectives),
                hours=self.settings.hours,
                plan=plan,
                virtual_clock=self.view.virtual_clock,
            )
            log = AlertLog(self.settings.rules)
            self._taken_over = evaluator
            self._go_on(evaluator, log)
            now = read_clock()
            evaluator.use_clock(now.wall_ns - now.mono_ns)
            evaluator.watch_from(now.wall_ns, now.mono_ns)
            judged = evaluator, log
        watch = AlertWatch(
            self.view, self.settings.rules, settings=self.settings, plan_for=self._plan_for, judged=judged, after=self._after
        )
        watch.recorder = self.recorder
        return watch

    def _go_on(self, evaluator: Evaluator, log: AlertLog) -> None:
        """Replay the day's recordings, so that peak, capital, latches and running durations are what they were."""
        state = self.state
        if state.carry is not None:
            evaluator.restore(state.carry)
        sessions = [Path(path) for path in state.sessions if Path(path).exists()]
        changed: list[Alert] = []
        for place, path in enumerate(sessions):
            if self.recorder is not None and path == Path(self.recorder.path):
                continue
            recording = Recording(path)
            evaluator.use_clock(recording.session.wall_ns - recording.session.mono_ns)
            after = state.carry_seq if place == 0 else 0
            items = [item for item in recording.items() if not isinstance(item, Packet) or item.seq > after]
            for at in range(0, len(items), BATCH):
                changed += log.take(evaluator.receive(items[at : at + BATCH]))
        if self.recorder is None and state.carry is not None and not sessions:
            log.restore_open(evaluator.standing)
        now = read_clock()
        evaluator.use_clock(now.wall_ns - now.mono_ns)
        evaluator.skip_to(now.mono_ns)
        self._adopt(evaluator, log)
        for alert in (*changed, *log.open):
            self._note(alert)
        if self.recorder is not None:
            state.sessions = [*map(str, sessions), str(self.recorder.path)]

    def _adopt(self, evaluator: Evaluator, log: AlertLog) -> None:
        """Take over the reported alerts from the journal: the last packets before a kill may be in no recording and no snapshot."""
        book = self.journal.book()
        for facts in book.alerts.values():
            alert = Alert.from_dict(facts)
            evaluator.adopt(alert)
            log.adopt(alert)
        for alert in log.open:
            if alert.id in book.acknowledged:
                log.acknowledge(alert.rule, alert.subject)
                evaluator.acknowledge(alert.rule, alert.subject)

    # ── on the watch's thread ──

    def _note(self, alert: Alert) -> None:
        """Take an alert that began or ended: write it down, and queue its messages.

        A kill between the two loses nothing: one that fires is written down first, and its message is sent after the restart; for
        one that is over the message is queued first, and it ends again after the restart.
        """
        facts = alert.to_dict()
        known = self.journal.book().alerts.get(alert.id) or self._before.get(alert.id)
        is_new = known is None or (known["resolved"] is None and facts["resolved"] is not None)
        if is_new and alert.is_open:
            self.journal.note(facts)
        with self._lock:
            notices = self.notifier.take(alert, time.time_ns())
        for notice in notices:
            self._queue(notice)
        if is_new:
            if not alert.is_open:
                self.journal.note(facts)
            self._record(alert)
            self.on_event("alert", facts | {"text": in_words(alert, self._zone)})
        self.incidents.update(alert, was_reported=self.outbox.has(f"{alert.id}-firing"))

    def _record(self, alert: Alert) -> None:
        """Add an alert to the recording's events."""
        if self.recorder is None:
            return
        now, latest = read_clock(), self.view.latest if isinstance(self.view, LiveView) else None
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
        incident = self.incidents.open(alert)
        body = self._body_of(notice, incident)
        self.outbox.queue(notice.name, body, receivers, hold_s=0.0 if incident.is_explained else EXPLAIN_S)
        self.incidents.when_explained(incident, lambda: self.outbox.amend(notice.name, self._body_of(notice, incident)))
        if receivers:
            self.on_event("message", {"name": notice.name, "kind": notice.kind, "receivers": list(receivers), "text": body["sentence"]})

    def _body_of(self, notice: Notice, incident: Incident) -> dict[str, Any]:
        alert = notice.alert
        rule = next((rule for rule in self.settings.rules if rule.name == alert.rule), None)
        return body_of(
            notice,
            stream=name_of(self.view),
            is_synthetic=self.view.origin == "synthetic",
            certificate=NEVER if rule is None else self.certificates.text_of(rule, self._tested),
            explain=incident.explain,
            page=self.incidents.link_of(incident),
            remarks=self._remarks(alert),
            zone=self._zone,
        )

    def _remarks(self, alert: Alert) -> list[str]:
        """Return what limits an alert on the account: since when the peak is known, where that is less than the day."""
        evaluator = self._taken_over or self.watch.evaluator
        known_ns = None if evaluator is None else evaluator.known_from_ns
        rule = next((rule for rule in self.settings.rules if rule.name == alert.rule), None)
        if known_ns is None or not (measures_of(rule) & _OF_THE_DAY):
            return []
        day_ns = int(days_of(np.array([alert.fired_ns], dtype=np.int64), self.settings.hours)[0])
        if known_ns <= day_ns + KNOWN_AT_ONCE_NS:
            return []
        return [f"peak known only since {datetime.fromtimestamp(known_ns / 1e9, self._zone):%H:%M}"]

    @property
    def _zone(self) -> Any:
        return UTC if self.settings.hours is None else ZoneInfo(self.settings.hours.timezone)

    def _after(self) -> None:
        """Save the state: once a second, and with each packet where no recording holds the stream."""
        now, seq = time.monotonic(), self.watch.seq
        if now - self._saved >= 1.0 or (self.recorder is None and seq != self._saved_seq):
            self._saved, self._saved_seq = now, seq
            self._save()
            troubles = {} if self.watch.evaluator is None else self.watch.evaluator.troubles
            for name, text in troubles.items() - self._troubles.items():
                self.on_event("trouble", {"rule": name, "text": f"rule {name!r} cannot be judged: {text}"})
            self._troubles = troubles

    def _save(self) -> None:
        state = self.state
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
        now_ns = time.time_ns()
        self.daybook.see(now_ns, is_blind=self.is_blind, hours=self.settings.hours, zone=self._zone)
        if not self.is_blind:
            self.heartbeat.beat()
        evaluator = self.watch.evaluator
        self.daybook.digest(now_ns, self.settings.hours, self._zone, None if evaluator is None else evaluator.trading_day)
        self.incidents.write(self.watch.open)

    @property
    def is_blind(self) -> bool:
        """Return whether the guard cannot see the stream, or cannot evaluate its rules."""
        if self.watch.trouble or isinstance(self.view, Recording):
            return bool(self.watch.trouble)
        return isinstance(self.view, LiveView) and self.view.state in _BLIND_STATES and self._is_in_hours()

    def _is_in_hours(self) -> bool:
        return self.settings.hours is None or self.settings.hours.is_open(time.time_ns())

    def _delivered(self, message: str, receiver: str, found: Delivery) -> None:
        """Log the outcome of a delivery; called on the receiver's thread."""
        what = "delivered" if found.done else "not delivered"
        self.on_event(what, {"name": message, "receiver": receiver, "detail": found.detail})
