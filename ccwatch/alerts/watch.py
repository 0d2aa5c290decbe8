"""The watch: judges a view (a feed or a recording) by rules, on its own thread, and calls callbacks. It knows no widget.

Arriving packets wait in a bounded queue; those that do not fit, or came while the watch rested, are read from the view. A recording
is judged whole, at once, by the same evaluator.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import numpy as np

from ccwatch.alerts.batch_columns import by_seq, within_seq
from ccwatch.alerts.divergence_plan import Plan, PlanReader, no_plan
from ccwatch.alerts.evaluator import Evaluator
from ccwatch.alerts.log import Alert, AlertLog
from ccwatch.alerts.paced_loop import Loop
from ccwatch.alerts.receiver_clock import ReceiverClock
from ccwatch.alerts.recorder_lag import RecorderLag
from ccwatch.alerts.rule_needs import rules_of
from ccwatch.alerts.rule_state import AnyRule
from ccwatch.alerts.rules import AlertState, read_objectives
from ccwatch.alerts.settings import AlertSettings
from ccwatch.config import Settings
from ccwatch.protocol.messages import Item, Packet
from ccwatch.stream.batch import Batch
from ccwatch.stream.callback_errors import Failures
from ccwatch.stream.source import read_clock
from ccwatch.stream.view import LiveView, RecordedView, View, is_growing, is_over

MOST_WAITING: Final = 10_000
"""Most packets that wait to be judged; with more, they are read from the view."""
AT_ONCE: Final = 5_000
"""Rows of a view that are judged in one go, about 50 ms; the other threads have a turn in between."""
GROWN_S: Final = 1.0
"""A recording in progress is looked at no more often than this."""
CLOCK_MS: Final = 5_000
"""While something fires, pages get the time at least this often."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The alerts at a moment, for display."""

    open: tuple[Alert, ...] = ()
    past: tuple[Alert, ...] = ()
    rules: int = 0
    silent: tuple[str, ...] = ()
    """Names of rules that have no data."""
    has_begun: bool = False
    now_ns: int | None = None
    """The stream's own clock, which goes on in a silence, no finer than CLOCK_MS; None where it does not
    keep pace with ours, or nothing fires."""


@dataclass(slots=True, eq=False)
class _Listener:
    callback: Callable[[Alert], object]
    is_new: bool = True
    """Whether it has not been called yet for alerts that fire already."""
    failures: Failures = field(default_factory=lambda: Failures("a callback on alerts"))


class AlertWatch:
    """The watch of one view. It judges while a page is shown or a callback listens; in between it keeps its place."""

    def __init__(
        self,
        view: View,
        rules: Sequence[AnyRule] | None = None,
        post: Callable[[Snapshot], None] = lambda _: None,
        *,
        settings: AlertSettings | None = None,
        plan_for: PlanReader = no_plan,
        ends_with_view: bool = False,
        judged: tuple[Evaluator, AlertLog] | None = None,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        """Hold the view and the rules; nothing is judged before start() or listen().

        Args:
            view: a Feed or a Recording.
            rules: to judge by; None for the default rules and those of ccwatch.toml.
            post: called with a Snapshot after a change, on this watch's own thread.
            settings: rules and trading hours of ccwatch.toml; None reads them.
            plan_for: reads what was expected, where a rule judges the divergence from it.
            judged: an evaluator that has judged the stream so far, and its log.
            after: called on this watch's own thread whenever it has judged.
            ends_with_view: its thread ends once the view is over and was judged.

        Raises:
            ConfigError: two rules of one name, or `divergence` without a plan.
        """
        self._ends_with_view = ends_with_view
        self._settings = AlertSettings.load() if settings is None else settings
        self.rules = self._settings.rules if rules is None else rules_of(rules)
        self._plan_for = plan_for
        self._plan: Plan | None = plan_for(self.rules)
        self._columns = Evaluator(self.rules, plan=self._plan).columns  # refuses here what it would refuse on the thread
        self.recorder: Any = None  # of the view, whose lag is judged while it runs
        self._trouble = ""
        self._view = view
        self._post = post
        self._after = after
        self.is_caught_up = False
        """Whether everything that the view held has been judged, and its alerts reported."""
        self.evaluator: Evaluator | None = None if judged is None else judged[0]
        self.log = AlertLog(self.rules) if judged is None else judged[1]
        self.arrived: deque[Batch] = deque()  # appended by the feed's thread, emptied by ours
        self._put = self._taken = 0  # packets: the first is counted by the feed's thread, the second by ours
        self._asked: deque[tuple[str, str]] = deque()  # acknowledgements, appended by any thread, taken by ours
        self._listeners: tuple[_Listener, ...] = ()  # replaced, never changed
        self._past_errors = 0  # of listeners that are gone
        self.behind = True  # rows of the view wait to be read
        self.seq = 0  # the newest that was judged
        self._entry = 0  # the newest entry of a recording in progress
        self._clock = ReceiverClock(view)
        self._grown_at = -math.inf
        self._lag = RecorderLag()
        self.shown = Snapshot()
        self._live = view if isinstance(view, LiveView) else None
        self._thread: Loop | None = None  # only while it runs: it holds us
        self.judging = threading.Lock()  # serialises a thread that is about to end with the one that takes its place
        self._life = threading.RLock()  # serialises start with stop: pages and callbacks come and go on any thread
        self._has_page = False
        self._is_over = False
        self._unreported: list[Alert] = []  # began or ended, and not reported yet
        self._remove: Callable[[], None] = lambda: None

    # ── from any thread ───────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def open(self) -> tuple[Alert, ...]:
        """Return the alerts that fire, or fired when data were last there."""
        return self.shown.open

    @property
    def callback_errors(self) -> int:
        """Return how many calls of callbacks have failed, including those of callbacks that no longer listen."""
        return self._past_errors + sum(listener.failures.count for listener in self._listeners)

    @property
    def trouble(self) -> str:
        """Return why judging failed, and the newest failure of each callback, in a line; empty without any."""
        failed = (listener.failures for listener in self._listeners)
        return "; ".join(filter(None, (self._trouble, *(f"{f.last} ({f.count:,} in all)" for f in failed if f.count))))

    @property
    def known_from_ns(self) -> int | None:
        """Return since when the account's peak is known, ns since 1970; None before its first nav."""
        return None if self.evaluator is None else self.evaluator.known_from_ns

    @property
    def account(self) -> dict[str, float]:
        """Return the account's measures as of the newest nav that was judged, by name; empty before the first."""
        return {} if self.evaluator is None else self.evaluator.account

    def use_rules(self, settings: AlertSettings) -> None:
        """Judge by other rules and hours from now on; rules that remain go on where they were. Waits for the pass that runs.

        Raises:
            ConfigError: two rules of one name, or a measure that does not exist; nothing has changed then.
        """
        plan = self._plan_for(settings.rules)
        columns = Evaluator(settings.rules, plan=plan).columns
        with self.judging:
            self.rules, self._settings, self._plan, self._columns = settings.rules, settings, plan, columns
            if self.evaluator is not None:
                self.evaluator.use_rules(settings.rules, settings.hours, plan)
            self._unreported += self.log.use_rules(settings.rules, time.time_ns() if self._clock.last is None else self._clock.last[0])

    def start(self) -> None:
        """Judge while a page is shown, until `rest` is called."""
        with self._life:
            self._has_page = True
            self._run()

    def rest(self) -> None:
        """Stop judging for a page; go on only where callbacks listen."""
        with self._life:
            self._has_page = False
            if not self._listeners:
                self._stop()

    def stop(self) -> None:
        """End, and call callbacks no more."""
        with self._life:
            self._past_errors = self.callback_errors
            self._has_page, self._listeners, self._is_over = False, (), True
            self._stop()

    def listen(self, callback: Callable[[Alert], object], *, past: bool = False) -> Callable[[], None]:
        """Call `callback(alert)` for alerts that fire already, then for each that begins or ends; return a function that ends this.

        Args:
            callback: takes a frozen Alert, on this watch's own thread.
            past: of a view that is not judged yet, call it first for each alert that began or ended in the data that it holds already.
        """
        listener = _Listener(callback, is_new=not past)

        def unsubscribe() -> None:
            with self._life:
                if listener in self._listeners:
                    self._past_errors += listener.failures.count
                self._listeners = tuple(other for other in self._listeners if other is not listener)
                if not self._listeners and not self._has_page:
                    self._stop()

        with self._life:
            self._listeners = (*self._listeners, listener)
            self._run()
        return unsubscribe

    def acknowledge(self, rule: str, subject: str = "") -> None:
        """Acknowledge a firing; done on this watch's own thread."""
        self._asked.append((rule, subject))

    def receive(self, items: Sequence[Item], /) -> None:
        """Keep packets until they are judged; called as a sink, on the feed's thread."""
        if self.behind:
            return  # they are in the view
        batch = Batch.of(items).only_packets()
        if batch:
            self.arrived.append(batch)
            self._put += len(batch)
            if self.waiting > MOST_WAITING:
                self.behind = True

    @property
    def waiting(self) -> int:
        """Return how many packets wait to be judged."""
        return self._put - self._taken

    def _run(self) -> None:
        if self._thread is None and not self._is_over:
            if self._live is not None:
                self._remove = self._live.add_sink(self)
            self.behind = True  # last: a thread that is about to end may just be catching up
            self._thread = Loop(self._step, self._is_done)

    def _is_done(self) -> bool:
        """Return whether nothing more will come, for a watch that ends with its view."""
        return self._ends_with_view and is_over(self._view)

    def _stop(self) -> None:
        if self._thread is not None:
            self._thread.stop()
            self._thread = None
            self._remove()

    # ── on the watch's own thread ─────────────────────────────────────────────────────────────────────────────────────

    def _step(self) -> None:
        with self.judging:
            self._look()

    def _look(self) -> None:
        try:
            self._judge()
            self._trouble = ""
        except ReferenceError:
            raise
        except Exception as error:  # noqa: BLE001 - shown in the header; what was not judged is read again
            self._trouble = f"alerts could not be judged: {type(error).__name__}: {error}"
            self.behind = True
        for key in islice(iter(self._asked.popleft, None), len(self._asked)):
            if self.log.acknowledge(*key) and self.evaluator is not None:
                self.evaluator.acknowledge(*key)
        found = self._snapshot()
        if found != self.shown:
            self.shown = found
            self._post(found)
        news, self._unreported = self._unreported, []  # also those that a pass had found before it failed
        self._call_listeners(news)
        self._after()
        self.is_caught_up = self.evaluator is not None and not self.behind

    def _judge(self) -> None:
        """Judge what has come since, and note the alerts that began or ended."""
        if is_growing(self._view) or self._entry > 0:
            if time.monotonic() >= self._grown_at:
                self._read_grown()
        elif self.behind:
            self._catch_up()
        if self.evaluator is None and self.arrived:
            self._begin()
        if self.evaluator is None:
            return
        self._judge_packets(Batch.joined(self._take()).only_packets(after=self.seq))
        known_ns = self._clock.judged_ns()
        if known_ns is not None:
            self._unreported += self.log.take(self.evaluator.advance(known_ns))
            self._unreported += self.log.take(self.evaluator.gauge("recorder_lag", self._lag.seconds(self.recorder), known_ns))
        if self.log.open:
            self.log.follow(self.evaluator.standing)

    def _begin(self) -> Evaluator:
        if self.evaluator is None:
            self.evaluator = Evaluator(
                self.rules,
                objectives=read_objectives(Settings.load().objectives),
                hours=self._settings.hours,
                plan=self._plan,
                virtual_clock=self._view.virtual_clock,
            )
        return self.evaluator

    def _take(self) -> list[Batch]:
        """Return the batches that wait, which wait no more."""
        found = [*islice(iter(self.arrived.popleft, None), len(self.arrived))]
        self._taken += sum(map(len, found))
        return found

    def _judge_packets(self, batch: Batch) -> None:
        packets = batch.packets
        if packets:
            self.seq = packets[-1].seq
            self._clock.note(batch)
            self._unreported += self.log.take(self._begin().receive(batch))

    def _catch_up(self) -> None:
        """Judge the rows of the view beyond what was judged, a part at a time."""
        self._take()
        self.behind = False  # from here on what arrives waits; what is in both is left out by its seq
        frame = self._view.frame(self._columns, clean=False)
        seqs = frame["seq"].to_numpy().astype(np.int64)
        frame, seqs = frame[seqs > self.seq], seqs[seqs > self.seq]
        if not len(frame):
            return
        evaluator = self._begin()
        parts = {name: by_seq(table) for name, table in (("agents", self._view.agents()), ("models", self._view.models()))}
        for at in range(0, len(frame), AT_ONCE):
            if self._thread is None:
                self.behind = True
                break
            rows = frame.iloc[at : at + AT_ONCE]
            low, high = int(seqs[at]), int(seqs[min(at + AT_ONCE, len(seqs)) - 1])
            self._unreported += self.log.take(evaluator.observe(rows, *(within_seq(part, low, high) for part in parts.values())))
            self.seq = high
            self._clock.last = int(rows.index[-1].value), int(rows["received_mono_ns"].iloc[-1])
            time.sleep(0.002)

    def _read_grown(self) -> None:
        """Judge the entries that a recording in progress has gained."""
        began, began_ns = time.monotonic(), read_clock().wall_ns
        view, waiting = self._view, list[Packet]()
        read, newest_ns = self._entry, self._clock.newest_ns
        for entry, item in view.numbered(read) if isinstance(view, RecordedView) else ():
            read = entry
            if isinstance(item, Packet):
                waiting.append(item)
            if len(waiting) >= AT_ONCE:
                self._judge_packets(Batch(waiting))
                self._entry, waiting = read, []
        self._judge_packets(Batch(waiting))
        self._entry = read  # only now: what was read and not judged is read again
        self._clock.note_read(began_ns, newest_ns)
        now = time.monotonic()
        self._grown_at = now + max(GROWN_S, 10.0 * (now - began))

    def _call_listeners(self, news: Sequence[Alert]) -> None:
        for listener in self._listeners:
            due = [*self.log.open] if listener.is_new and self.evaluator is not None else [] if listener.is_new else news
            listener.is_new &= self.evaluator is None
            for alert in due:
                listener.failures.guard(listener.callback, alert)

    def _snapshot(self) -> Snapshot:
        if self.evaluator is None:
            return Snapshot(rules=len(self.rules))
        has_data = {s.rule for s in self.evaluator.standing if s.state is not AlertState.NO_DATA}
        now, last = None, self._clock.last
        receiver_ns = self._clock.now_ns() if self.log.open else None
        if last is not None and receiver_ns is not None:
            now = last[0] + receiver_ns - last[1]
            now -= now % (CLOCK_MS * 1_000_000)
        return Snapshot(
            self.log.open,
            tuple(self.log.past),
            len(self.rules),
            tuple(rule.name for rule in self.rules if rule.name not in has_data),
            has_begun=True,
            now_ns=now,
        )
