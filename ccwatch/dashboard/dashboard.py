"""Dashboard: the live view of a feed or a recording as one widget: status, alerts, charts, tables, controls. It uses no sockets.

Long, since what a user may call of a dashboard and what its one thread and the page may ask of it meet here, behind one lock.

One publisher thread sends: a task on the kernel's loop would freeze while a cell runs. The page's requests may come on any
thread. Both hold the dashboard's lock, so the widget is never touched by two threads at once.

The thread lives from the moment the dashboard is displayed until no page shows it, so a cell that is run again leaves no thread
behind. ipywidgets keeps every widget that was ever shown; so once no page shows the dashboard, it drops a feed that was replaced by
another of the same name.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from math import inf
from threading import Thread
from typing import Any, Final, Self

import pandas as pd

from ccwatch.alerts import Alert, AnyRule, PlanReader, no_plan
from ccwatch.dashboard import marks
from ccwatch.dashboard.alert_strip import AlertWatch
from ccwatch.dashboard.ask_why import explain
from ccwatch.dashboard.cell_output import CellOutput
from ccwatch.dashboard.channel import ASIDE_S, Channel, Showing
from ccwatch.dashboard.page_commands import Commander
from ccwatch.dashboard.panel_choice import DEFAULT_WINDOW_S, Recorder, choose_panels, choose_window
from ccwatch.dashboard.publisher import Publisher
from ccwatch.dashboard.record_button import RecordControl
from ccwatch.dashboard.replaced_feed import Gone
from ccwatch.dashboard.search import decisions
from ccwatch.dashboard.selection import Choices, Selection, select
from ccwatch.dashboard.status_line import status_of
from ccwatch.dashboard.weak_callbacks import weakly
from ccwatch.dashboard.widget import plotly_source
from ccwatch.errors import ConfigError
from ccwatch.stream import registry
from ccwatch.stream.time_ranges import shown_zone
from ccwatch.stream.view import LiveView, View

MAX_RATE_HZ: Final = 10.0
STATUS_S: Final = 0.5
"""The status line changes at most this often."""
BEAT_S: Final = 5.0
"""After so long a silence the pages get a sign that the kernel lives; a page that misses four says that it is gone (`gone.js`)."""
MARK_CHARACTERS: Final = 300


class Dashboard(CellOutput):
    """A live view, shown as the value of a cell or within another widget; `stop()` ends it and the feeds that it owns.

    Args:
        view: a Feed or a Recording, or a dict of several by name, which are shown on one time axis.
        panels: names out of `ccwatch.figures.panels.PANELS`, functions of your own (see `choose_panels`), or "all"; four by default.
        window: the time shown at first: seconds, a timedelta, text such as "15min", or "all"; 30 minutes by default.
        rate: frames per second, above 0 and at most 10.
        display_tz: IANA name of the zone that is shown; that of the settings by default.
        record: a function that starts a recording of the view and returns it; without it there is no record button.
        owns_feed: whether stop() also stops the feeds: True for all of them, or a frozenset of the names of some.
        keep_mark: a function of time and text that writes a mark into every recording that is being made of the view.
        seen_before: a function of view, start, end and zone that answers as `ask_why.explain` does; without it there is no such button.
        rules: the alert rules; None is `ccwatch.alerts.DEFAULT_RULES` and those of ccwatch.toml.
        plan_for: reads what was expected, for rules on the divergence from it; without it they are refused.

    Raises:
        ConfigError: an argument that cannot be used.
    """

    def __init__(
        self,
        view: View | Mapping[str, View],
        *,
        panels: Any = None,
        window: Any = None,
        rate: float = 5.0,
        display_tz: str | None = None,
        record: Callable[[], Recorder] | None = None,
        owns_feed: bool | frozenset[str] = False,
        keep_mark: Callable[[pd.Timestamp, str], None] | None = None,
        seen_before: Callable[[View, pd.Timestamp, pd.Timestamp, str], dict[str, Any]] | None = None,
        rules: Sequence[AnyRule] | None = None,
        plan_for: PlanReader = no_plan,
    ) -> None:
        if not 0 < rate <= MAX_RATE_HZ:
            raise ConfigError(f"rate={rate!r}: expected frames per second above 0 and at most {MAX_RATE_HZ:g}")
        seconds = DEFAULT_WINDOW_S if window is None else choose_window(window)
        views = dict(view) if isinstance(view, Mapping) else {"": view}
        if not views:
            raise ConfigError("expected at least one stream to watch")
        self._tz = display_tz or shown_zone()
        self._panels = choose_panels(panels)
        self._owned = owns_feed if isinstance(owns_feed, frozenset) else frozenset(views if owns_feed else ())
        self._keep_mark = keep_mark
        self._seen_before = seen_before
        self._lock = threading.RLock()  # serialises the publisher with the page's callbacks: both touch the widget and the encoders
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: Thread | None = None
        self._pages: set[str] = set()
        self._was_seen = False  # a page has asked for it
        self._sent_at = -inf
        self._status_at = -inf
        self._status_cost_s = 0.0
        self._symbols_at = -inf
        self._record_control = RecordControl(record)
        self._is_switching = False  # a recording is being begun or ended
        self._chart_trouble = ""
        self._choices = Choices()
        send = weakly(self._send_all)
        self._showing = Showing(self._panels, self._tz, 1.0 / rate, rules, plan_for, send, self._wake.set, self._lock)
        self._bind(views)
        super().__init__(lock=self._lock, window_s=seconds)
        self._refresh_status()

    def _bind(self, views: Mapping[str, View]) -> None:
        """Make a channel for each of these streams."""
        self.view = next(iter(views.values()))
        self._channels = [Channel(one, self._showing, place, name) for place, (name, one) in enumerate(views.items())]
        for channel in self._channels:
            weakref.finalize(self, weakly(channel.alerts.stop)).atexit = False  # its thread must not outlive the dashboard
        self._commander = Commander(self.view, weakly(self._post_said), weakly(self._publisher.send_to_open))
        if self._commander.offers:
            self._publisher.show_side("commands", {"said": []})

    @property
    def _publisher(self) -> Publisher:
        return self._channels[0].publisher

    @property
    def _alerts(self) -> AlertWatch:
        return self._channels[0].alerts

    # ── the user's calls ──────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def widget(self) -> Self:
        """Return the dashboard itself: it is the widget."""
        return self

    @property
    def hidden_packets(self) -> int:
        """Return how many packets came while the charts were paused; 0 when they are not paused."""
        return self._publisher.hidden

    @property
    def is_in_use(self) -> bool:
        """Return whether a page shows it, or may yet for the first time."""
        return not self._stopping.is_set() and (bool(self._pages) or not self._was_seen)

    @property
    def is_paused(self) -> bool:
        """Return whether the charts are paused."""
        return self._publisher.held is not None

    @property
    def selection(self) -> Selection:
        """Return the reader's choice in the page: the zoomed range, and the pinned moment with its packet."""
        return select(self.view, *self._choices.chosen)

    def on_select(self, callback: Callable[[Selection], object]) -> Callable[[], None]:
        """Call `callback(selection)` whenever another range or moment is chosen; return a function that ends this.

        Each call runs on a thread of its own. Exceptions of the callback are counted and reported in the status line.
        """
        return self._choices.listen(callback)

    def pause(self) -> None:
        """Freeze the charts; the feed, its recording and the status line go on."""
        with self._lock:
            for channel in self._channels:
                channel.publisher.pause()
            self._refresh_status()

    def resume(self) -> None:
        """End the pause: show the packets that were held back, then go on live."""
        with self._lock:
            for channel in self._channels:
                channel.publisher.resume()
            self._refresh_status()
        self._wake.set()

    def mark(self, text: str, time: datetime | pd.Timestamp | None = None) -> None:
        """Add a note at an aware time, by default the newest packet's; every view of the same stream shows it.

        The note is saved in the recording that is shown, or in every recording that is being made of the feed.

        Raises:
            ConfigError: a time without a zone, or none where nothing has arrived.
            RecordingError: a recording could not save the note; the views show it all the same.
        """
        if not str(text or "").strip():
            raise ConfigError(f"text={text!r}: expected words to note")
        moment = marks.moment(self.view, time)
        marks.add(self.view, moment, text)
        self._channels[0].show_marks()
        if self._keep_mark is not None:
            self._keep_mark(moment, text)

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """Return the alerts open at the last evaluation; empty until a page has shown the dashboard or a callback listens."""
        return self._alerts.open

    @property
    def callback_errors(self) -> int:
        """Return how many calls of alert callbacks have failed."""
        return self._alerts.callback_errors

    def on_alert(self, callback: Callable[[Alert], object]) -> Callable[[], None]:
        """Call `callback(alert)` for each alert that fires already, then when one begins or ends; return a function that ends this.

        The callback runs on the thread that evaluates the rules, whether or not a page shows the dashboard. It ends with the dashboard,
        so keep the dashboard in a variable. A slow callback delays alerts, never the stream. Its exceptions are counted in
        `callback_errors` and reported in the header; the first is logged, and a script that has not configured logging sees it on
        stderr.
        """
        return self._alerts.listen(callback)

    def acknowledge(self, rule: str, subject: str = "") -> None:
        """Acknowledge an alert, as its button does; soon after, it is muted until it fires again.

        Raises:
            ConfigError: there is no rule of this name.
        """
        known = [known.name for known in self._alerts.rules]
        if rule not in known:
            raise ConfigError(f"rule={rule!r}: expected one of {', '.join(known)}")
        self._channels[0].acknowledge(rule, subject)

    def stop(self) -> None:
        """End the view within a second, then the recording that its button started and the feeds that the dashboard owns."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._wake.set()
        thread = self._thread
        for channel in self._channels:
            channel.background.stop()
            channel.alerts.stop()
        if thread is not None and threading.current_thread() is not thread:
            thread.join(1.0)
        self._record_control.end()
        for channel in self._channels:
            if channel.name in self._owned and isinstance(channel.view, LiveView) and registry.is_last(self, channel.view):
                channel.view.stop()  # only feeds are owned, and dashboards of one url share theirs
        with self._lock:
            self._refresh_status()
            self._publisher.show_side("commands", None)

    def close(self) -> None:
        """End the view and remove it from its pages, as ipywidgets does with any widget; do nothing to a view that was never shown."""
        if self.comm is not None:
            self.stop()
        super().close()

    def _wanted(self) -> None:
        self._start()  # it holds the dashboard until a page has asked, whether or not the user does

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # ── the thread, which lives while a page shows the dashboard ──────────────────────────────────────────────────────

    def _start(self) -> None:
        """Begin to listen and to publish, unless the thread runs already; call it with the lock held."""
        if self._thread is None and not self._stopping.is_set():
            for channel in self._channels:
                channel.listen()
            self._thread = Thread(target=self._publish, name="ccwatch-dashboard", daemon=True)
            self._thread.start()

    def _publish(self) -> None:
        with contextlib.suppress(Exception):  # reported when a page asks, which will meet it again
            plotly_source()  # compressed before a page asks for it
        with self._lock, contextlib.suppress(Exception):
            if not self._was_seen:
                for channel in self._channels:
                    channel.publisher.warm()
        while True:
            with self._lock:
                if self._stopping.is_set() or (self._was_seen and not self._pages):
                    for channel in self._channels:
                        channel.rest()
                    self._thread = None
                    self.let_go()
                    return
                pause_s = self._tick()
            self._rest(pause_s)

    def _rest(self, pause_s: float | None) -> None:
        """Wait until something is due or wanted; meanwhile show the pages that the kernel lives."""
        due = time.monotonic() + (inf if pause_s is None else pause_s)
        while not self._wake.wait(max(0.0, min(due - time.monotonic(), BEAT_S))):
            with self._lock:
                if self._pages and time.monotonic() - self._sent_at >= BEAT_S:
                    self._send_all({"kind": "alive"}, [])
            if time.monotonic() >= due:
                break
        self._wake.clear()

    def _tick(self) -> float | None:
        pauses: list[float | None] = []
        for channel in self._channels:
            try:
                pauses.append(channel.publisher.step())
                if not channel.publisher.is_waiting:
                    self._chart_trouble = ""
            except Exception as error:  # noqa: BLE001 - reported in the status line; the view goes on
                self._chart_trouble = f"the charts could not be updated: {error}"
                pauses.append(STATUS_S)
        known = [pause for pause in pauses if pause is not None]
        began = time.monotonic()
        if not known or began - self._status_at >= max(STATUS_S, 10 * self._status_cost_s):  # a recording's costs most
            self._refresh_status()
            self._refresh_symbols()
            self._status_cost_s = time.monotonic() - began
        return min(*known, STATUS_S) if known else None

    def let_go(self) -> None:
        """Drop the feeds, once no page shows them any more, if all were replaced by others, so that their memory can be freed."""
        with self._lock:
            feeds = [channel.view for channel in self._channels if isinstance(channel.view, LiveView)]
            is_live = len(feeds) == len(self._channels)
            was_left = self._was_seen and not self._pages and self._thread is None
            if is_live and was_left and all(registry.is_replaced(feed) for feed in feeds):
                names = [channel.name for channel in self._channels]
                self._record_control, self._keep_mark = RecordControl(None), None
                self._bind({name: Gone(feed) for name, feed in zip(names, feeds, strict=True)})

    # ── the page's requests, with the lock held ───────────────────────────────────────────────────────────────────────

    def _answer(self, content: dict[str, Any]) -> None:
        page, kind = str(content.get("page", ""))[:64], content.get("type")
        if kind == "asleep":
            self._leave(page)
        elif kind == "painted":
            if not self._stopping.is_set():
                for channel in self._channels:
                    channel.painted()
        elif kind == "acknowledge":
            self._channels[0].acknowledge(str(content.get("rule")), str(content.get("subject", "")))
        elif kind == "command" and not self._stopping.is_set():
            self._commander.ask(page, content)
        elif kind == "pause":
            (self.resume if self.is_paused else self.pause)()
        elif kind == "record":
            self._switch_recording()
        elif kind == "select":
            self._choose(content)
        elif kind in {"ask", "mark", "search", "seen", "silence"}:
            Thread(target=weakly(self._answer_slowly), args=(kind, content), name=f"ccwatch-{kind}", daemon=True).start()
        elif kind == "ready":
            self._enter(page, with_source=bool(content.get("source")))
        self._wake.set()

    def _enter(self, page: str, *, with_source: bool) -> None:
        self._was_seen = True
        self._pages.add(page)
        self._start()  # before everything is read: items that arrive meanwhile wait for the first frame
        try:
            if with_source:
                self.send({"kind": "source"}, [plotly_source()])
            for channel in self._channels:
                channel.publisher.enter(page)
        except Exception as error:  # noqa: BLE001 - a traceback would land in whichever cell ran last
            self._chart_trouble = f"the charts could not be sent: {error}"
        self._refresh_status()

    def _leave(self, page: str) -> None:
        self._pages.discard(page)
        for channel in self._channels:
            channel.publisher.leave(page)
        self.let_go()  # where it was stopped before its last page went

    def _send_all(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        self._sent_at = time.monotonic()
        self.send(content, buffers)

    def _answer_slowly(self, kind: str, content: dict[str, Any]) -> None:
        """Answer a request that takes long or writes to a disk; runs on its own thread, without the lock."""
        try:
            if kind == "mark":
                self.mark(str(content["text"])[:MARK_CHARACTERS], self._moment(content["time"]))
                return
            if kind == "silence":
                reason = str(content.get("reason", ""))[:MARK_CHARACTERS]
                self._channels[0].shared.silence(self._alerts, str(content.get("rule")), str(content.get("subject", "")), reason)
                return
            if kind == "search":
                text = str(content.get("text", ""))[:MARK_CHARACTERS]
                found = decisions(self.view, text, self._publisher.shift_ms)
                with self._lock:
                    self._publisher.send_to_open({"kind": "found", "text": text, "rows": found})
                return
            answer = explain if kind == "ask" or self._seen_before is None else self._seen_before
            said = answer(self.view, self._moment(content["from"]), self._moment(content["to"]), self._tz)
        except Exception as error:  # noqa: BLE001 - a traceback would land in whichever cell ran last
            said = {"title": f"This {kind} failed", "lines": [f"{type(error).__name__}: {error}"], "code": ""}
        with self._lock:
            self._publisher.send_to_open({"kind": "answer", "more": kind == "ask" and self._seen_before is not None, **said})

    def _choose(self, content: dict[str, Any]) -> None:
        start, end, cursor = (None if content.get(name) is None else self._moment(content[name]) for name in ("from", "to", "cursor"))
        self._choices.choose(self.view, (start, end, cursor))

    def _moment(self, shown_ms: Any) -> pd.Timestamp:
        """Return a time of the page, given in ms of the display zone's wall clock, as a Timestamp in UTC."""
        return pd.Timestamp(round(float(shown_ms) - self._publisher.shift_ms), unit="ms", tz="UTC")

    def _switch_recording(self) -> None:
        """Start or finish a recording on a thread of its own, since either takes long."""
        if not self._is_switching and self._record_control.can_begin:
            self._is_switching = True
            Thread(target=self._toggle_recording, name="ccwatch-record-button", daemon=True).start()

    def _toggle_recording(self) -> None:
        if self._record_control.recorder is not None:
            self._alerts.recorder = None
            self._record_control.end()
        elif not self._stopping.is_set():
            self._alerts.recorder = self._record_control.begin()
        with self._lock:
            self._is_switching = False
            self._refresh_status()

    # ── the lines beside the charts, with the lock held ───────────────────────────────────────────────────────────────

    def _post_said(self, _said: object) -> None:
        with self._lock:
            if not self._stopping.is_set():  # asked for again: of two commands that speak at once, the older list may come last
                self._publisher.show_side("commands", {"said": self._commander.said})

    def _refresh_symbols(self) -> None:
        if self._commander.offers and time.monotonic() - self._symbols_at >= ASIDE_S:
            self._symbols_at = time.monotonic()
            self._publisher.show_side("symbols", self._commander.symbols())

    def _refresh_status(self) -> None:
        self._status_at = time.monotonic()
        for channel in self._channels:
            channel.publisher.show_side("status", self._status_of(channel), volatile=("age_s", "packets"))

    def _status_of(self, channel: Channel) -> dict[str, Any]:
        is_stopped = self._stopping.is_set()
        seen, trouble = status_of(channel.view, self._tz, is_stopped=is_stopped)
        troubles = [self._chart_trouble, self._record_control.trouble, channel.trouble, self._choices.trouble, trouble]
        note = "view stopped" if is_stopped else "charts paused" if self.is_paused else "as it ended" if channel.rests else ""
        return seen.to_json(
            recording=self._record_control.words,
            trouble="; ".join(filter(None, troubles)),
            note=note,
            paused=self.is_paused,
            hidden=self.hidden_packets,
            stopped=is_stopped,
            records=self._record_control.recorder is not None if self._record_control.can_begin else None,
        )
