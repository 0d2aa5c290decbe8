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
import pandas as pd

from ccwatch.alerts.evaluator import Evaluator
from ccwatch.alerts.log import Alert, AlertLog
from ccwatch.alerts.machine import AnyRule
from ccwatch.alerts.rules import AlertState, read_objectives
from ccwatch.alerts.settings import AlertSettings
from ccwatch.config import Settings
from ccwatch.protocol.messages import Item, Packet
from ccwatch.stream.batch import Batch
from ccwatch.stream.callback_errors import Failures
from ccwatch.stream.source import read_clock
from ccwatch.stream.view import OVER, LiveView, RecordedView, View, is_growing, is_over

PERIOD_S: Final = 0.25
"""A batch is judged at most this often."""
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
    tell: Callable[[Alert], object]
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
            judged: an evaluator that has judged the stream so far, and its log.
            after: called on this watch's own thread whenever it has judged.
            ends_with_view: its thread ends once the view is over and was judged.

        Raises:
            ConfigError: two rules of one name.
        """
        self._ends_with_view = ends_with_view
        self._settings = AlertSettings.load() if settings is None else settings
        self.rules = self._settings.rules if rules is None else tuple(rules)
        self._columns = Evaluator(self.rules).columns  # refuses here what it would refuse on the thread
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
        self._last: tuple[int, int] | None = None  # time and receiver's clock of the newest packet, ns
        self._grown_at = -math.inf
        self._first: tuple[int, int] | None = None  # the same of the oldest packet of a recording in progress
        self._wall_ns = 0  # when its newest packet was received
        self._read_ns = 0  # up to when it is known, by this machine's wall clock
        self._ahead_ns: int | None = None  # how far that clock is ahead of the recorder's, at most
        self._lag_since: tuple[int, int] | None = None  # seq that was not on the disk, and since when
        self.shown = Snapshot()
        self._live = view if isinstance(view, LiveView) else None
        self._thread: _Loop | None = None  # only while it runs: it holds us
        self.judging = threading.Lock()  # serialises a thread that is about to end with the one that takes its place
        self._life = threading.RLock()  # serialises start with stop: pages and callbacks come and go on any thread
        self._has_page = False
        self._is_over = False
        self._told: list[Alert] = []  # began or ended, and not reported yet
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
        columns = Evaluator(settings.rules).columns
        with self.judging:
            self.rules, self._settings, self._columns = settings.rules, settings, columns
            if self.evaluator is not None:
                self.evaluator.use_rules(settings.rules, settings.hours)
            self._told += self.log.use_rules(settings.rules, time.time_ns() if self._last is None else self._last[0])

    def start(self) -> None:
        """Judge for a page, until rest()."""
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
            self._thread = _Loop(self._step, self._is_done)

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
        told, self._told = self._told, []  # also those that a pass had found before it failed
        self._tell(told)
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
        known_ns = self._receiver_ns(self._read_ns)
        if known_ns is not None:
            self._told += self.log.take(self.evaluator.advance(known_ns))
            self._told += self.log.take(self.evaluator.gauge("recorder_lag", self.lag_s(), known_ns))
        if self.log.open:
            self.log.follow(self.evaluator.standing)

    def _begin(self) -> Evaluator:
        if self.evaluator is None:
            self.evaluator = Evaluator(
                self.rules,
                objectives=read_objectives(Settings.load().objectives),
                hours=self._settings.hours,
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
            self._last = packets[-1].time_ns, packets[-1].received_mono_ns
            self._first = self._first or (packets[0].time_ns, packets[0].received_mono_ns)
            self._wall_ns = packets[-1].received_at_ns
            self._told += self.log.take(self._begin().receive(batch))

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
        parts = {name: _by_seq(table) for name, table in (("agents", self._view.agents()), ("models", self._view.models()))}
        for at in range(0, len(frame), AT_ONCE):
            if self._thread is None:
                self.behind = True
                break
            rows = frame.iloc[at : at + AT_ONCE]
            low, high = int(seqs[at]), int(seqs[min(at + AT_ONCE, len(seqs)) - 1])
            self._told += self.log.take(evaluator.observe(rows, *(_within(part, low, high) for part in parts.values())))
            self.seq = high
            self._last = int(rows.index[-1].value), int(rows["received_mono_ns"].iloc[-1])
            time.sleep(0.002)

    def _read_grown(self) -> None:
        """Judge the entries that a recording in progress has gained."""
        began, began_ns = time.monotonic(), read_clock().wall_ns
        view, waiting = self._view, list[Packet]()
        read, newest_ns = self._entry, self._wall_ns
        for entry, item in view.numbered(read) if isinstance(view, RecordedView) else ():
            read = entry
            if isinstance(item, Packet):
                waiting.append(item)
            if len(waiting) >= AT_ONCE:
                self._judge_packets(Batch(waiting))
                self._entry, waiting = read, []
        self._judge_packets(Batch(waiting))
        self._entry = read  # only now: what was read and not judged is read again
        self._read_ns = began_ns
        if self._wall_ns != newest_ns:
            ahead_ns = began_ns - self._wall_ns
            self._ahead_ns = ahead_ns if self._ahead_ns is None else min(self._ahead_ns, ahead_ns)
        now = time.monotonic()
        self._grown_at = now + max(GROWN_S, 10.0 * (now - began))

    def _receiver_ns(self, wall_ns: int) -> int | None:
        """Return the monotonic clock that packets are received by, ns: of a feed now, of a recording in progress at `wall_ns`.

        None where silence means nothing: the stream is over, or its stamps do not keep pace with that clock.
        """
        if self._live is not None:
            return read_clock().mono_ns if self._keeps_pace() else None
        view = self._view
        if self._first is None or self._last is None or not (isinstance(view, RecordedView) and view.status == "open"):
            return None
        if self._last[0] - self._first[0] > 2 * (self._last[1] - self._first[1]):
            return None  # made faster than the clock
        # Another process receives: the time since its newest packet is taken from the wall clock. That of another machine may differ
        # by as much as the newest packet ever seemed old when it was read.
        ours = view.is_of_this_boot
        return self._last[1] + max(0, wall_ns - self._wall_ns - (0 if ours else self._ahead_ns or 0))

    def _keeps_pace(self) -> bool:
        """Return whether a feed goes on, and its clock is the receiver's."""
        view = self._live  # whether it is a replay first: that may read its whole recording to know its clock
        return view is not None and view.state not in OVER and not view.is_replay and not view.virtual_clock

    def lag_s(self) -> float:
        """Return for how long received data has not been on the disk, s; NaN where nothing records, or nothing is ever synced."""
        recorder = self.recorder
        if recorder is None:
            self._lag_since = None
            return math.nan
        stats, now = recorder.stats, time.monotonic_ns()
        if not stats.durable_seq or stats.durable_seq >= stats.received_seq:
            self._lag_since = None
        elif self._lag_since is None or stats.durable_seq >= self._lag_since[0]:
            self._lag_since = stats.received_seq, now
        return math.nan if not stats.durable_seq else 0.0 if self._lag_since is None else (now - self._lag_since[1]) / 1e9

    def _tell(self, told: Sequence[Alert]) -> None:
        for listener in self._listeners:
            news = [*self.log.open] if listener.is_new and self.evaluator is not None else [] if listener.is_new else told
            listener.is_new &= self.evaluator is None
            for alert in news:
                listener.failures.guard(listener.tell, alert)

    def _snapshot(self) -> Snapshot:
        if self.evaluator is None:
            return Snapshot(rules=len(self.rules))
        has_data = {s.rule for s in self.evaluator.standing if s.state is not AlertState.NO_DATA}
        now = None
        receiver_ns = self._receiver_ns(read_clock().wall_ns) if self.log.open else None
        if self._last is not None and receiver_ns is not None:
            now = self._last[0] + receiver_ns - self._last[1]
            now -= now % (CLOCK_MS * 1_000_000)
        return Snapshot(
            self.log.open,
            tuple(self.log.past),
            len(self.rules),
            tuple(rule.name for rule in self.rules if rule.name not in has_data),
            has_begun=True,
            now_ns=now,
        )


def _by_seq(table: pd.DataFrame | None) -> pd.DataFrame | None:
    if table is None or table["seq"].is_monotonic_increasing:
        return table
    return table.iloc[np.argsort(table["seq"].to_numpy(), kind="stable")]


def _within(table: pd.DataFrame | None, low: int, high: int) -> pd.DataFrame | None:
    """Return the rows of packets low to high, of a table in order of seq."""
    if table is None:
        return None
    seq = table["seq"].to_numpy().astype(np.int64)
    return table.iloc[np.searchsorted(seq, low) : np.searchsorted(seq, high, side="right")]


class _Loop:
    """A thread that calls `step` repeatedly, each time after a pause of at least as long as it last took."""

    def __init__(self, step: Callable[[], None], is_done: Callable[[], bool]) -> None:
        self._step, self._is_done = step, is_done
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ccwatch-alerts", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the step that runs, without waiting for it, since a callback may call this."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                is_over = self._is_done()  # asked before: what came until then is judged
                self._step()
            except ReferenceError:  # the view was let go
                return
            if is_over:
                return
            took = time.monotonic() - began
            self._stop.wait(max(PERIOD_S - took, took, 0.05))
