"""Dashboard: the live view of a feed or a recording, a picture with a header and three controls. It must not know a socket.

One publisher thread sends: a task on the kernel's loop would freeze while a cell runs. The page's requests may come on any
thread. Both hold the dashboard's lock, so no widget is touched by two threads at once.

The thread lives from the moment the dashboard is displayed until the last page that shows it lets it go, so a cell that is run
again leaves none behind. ipywidgets keeps every widget for ever: what the widgets call, they hold weakly.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from threading import Thread
from typing import Any, Final, Self

import ipywidgets
import pandas as pd

from ccwatch.alerts import Alert, AnyRule
from ccwatch.dashboard import marks, still
from ccwatch.dashboard.alerts import AlertWatch, Snapshot, content
from ccwatch.dashboard.ask import explain
from ccwatch.dashboard.background import Background, Job
from ccwatch.dashboard.commands import Commander
from ccwatch.dashboard.computed import COMPUTED
from ccwatch.dashboard.header import Observation, observe, render
from ccwatch.dashboard.live_figure import LiveFigure, Serialised, plotly_source
from ccwatch.dashboard.panels import WINDOWS, Recorder, View, choose_panels, choose_window
from ccwatch.dashboard.publisher import Publisher
from ccwatch.dashboard.record import RecordControl
from ccwatch.dashboard.side import health, services
from ccwatch.dashboard.wire import Encoder
from ccwatch.errors import ConfigError
from ccwatch.figures.panels import Panel
from ccwatch.figures.still import svg

MAX_RATE_HZ: Final = 10.0
HEADER_S: Final = 0.5
"""The header changes at most this often."""
COMPUTED_S: Final = 5.0
OWN_S: Final = 1.0
"""Lines of the registry's panels, and those of your own functions, are computed at most this often."""
ASIDE_S: Final = 2.0
"""What stands beside the charts changes at most this often."""
MARK_CHARACTERS: Final = 300


class _Button(Serialised, ipywidgets.Button):  # type: ignore[misc] # ipywidgets has no types
    pass


class _ToggleButton(Serialised, ipywidgets.ToggleButton):  # type: ignore[misc] # ipywidgets has no types
    pass


class _Dropdown(Serialised, ipywidgets.Dropdown):  # type: ignore[misc] # ipywidgets has no types
    pass


class Dashboard:
    """A live view; the value of a cell shows it. `stop()` ends it, and the feed too where the dashboard owns it.

    Args:
        view: a Feed or a Recording.
        panels: names out of `ccwatch.figures.panels.PANELS`, functions of your own (see `choose_panels`), or "all"; four by default.
        window: the time shown at first: seconds, a timedelta or text such as "15min"; everything by default.
        rate: frames per second, above 0 and at most 10.
        display_tz: IANA name of the zone that the time axis shows; UTC by default.
        record: starts a recording of the view and returns it; without it there is no record button.
        owns_feed: whether stop() stops the view's feed.
        keep_mark: writes a mark, its time and text, into every recording that is being made of the view.
        rules: what alerts are judged by; None is `ccwatch.alerts.DEFAULT_RULES`.

    Raises:
        ConfigError: an argument that cannot be used.
    """

    def __init__(
        self,
        view: View,
        *,
        panels: Any = None,
        window: Any = None,
        rate: float = 5.0,
        display_tz: str | None = None,
        record: Callable[[], Recorder] | None = None,
        owns_feed: bool = False,
        keep_mark: Callable[[pd.Timestamp, str], None] | None = None,
        rules: Sequence[AnyRule] | None = None,
    ) -> None:
        if not 0 < rate <= MAX_RATE_HZ:
            raise ConfigError(f"rate={rate!r}: expected frames per second above 0 and at most {MAX_RATE_HZ:g}")
        seconds = choose_window(window)
        self.view = view
        self._rests = not callable(getattr(view, "add_sink", None)) and getattr(view, "status", None) != "open"  # has ended, and is whole
        self._tz = display_tz or "UTC"
        self._panels = choose_panels(panels)
        self._owns_feed = owns_feed
        self._keep_mark = keep_mark
        self._lock = threading.RLock()  # serialises the publisher with the page's callbacks: both touch widgets and encoder
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._remove_sink: Callable[[], None] = lambda: None
        self._was_seen = False  # a page has asked for it
        self._header_at = -1e9
        self._header_cost_s = 0.0
        self._record_control = RecordControl(record)
        self._chart_trouble = ""
        self._build(seconds)
        send = self.figure.send
        encoder = Encoder(view, tz=self._tz, panels=self._panels)
        self._publisher = Publisher(view, encoder, lambda message: send(message.content, message.buffers), 1.0 / rate, self._wake.set)
        self._alerts = AlertWatch(view, rules, _weakly(self._post_alerts))
        weakref.finalize(self, _weakly(self._alerts.stop)).atexit = False  # its thread must not outlive the dashboard
        self._commander = Commander(view, _weakly(self._post_said), _weakly(self._publisher.tell))
        self._background = Background(self._jobs(), _weakly(self._post))
        if self._commander.offers:
            self._publisher.aside("commands", {"said": []})
        self._refresh_header()

    # ── what a user calls ─────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def hidden_packets(self) -> int:
        """Packets that came while the charts were paused; 0 when they are not."""
        return self._publisher.hidden

    @property
    def is_paused(self) -> bool:
        """Whether the charts stand still."""
        return self._publisher.held is not None

    def pause(self) -> None:
        """Freeze the charts. The feed, its recording and the header go on."""
        with self._lock:
            self._publisher.pause()
            self._toggle.value = True
            self._refresh_controls()
            self._refresh_header()

    def resume(self) -> None:
        """Show what is new, and go on."""
        with self._lock:
            self._publisher.resume()
            self._toggle.value = False
            self._refresh_controls()
            self._refresh_header()
        self._wake.set()

    def mark(self, text: str, time: datetime | pd.Timestamp | None = None) -> None:
        """Note something at a time, aware; the newest packet's where none is given. Every view of the same stream shows it.

        It is kept with a recording that is shown, and with every recording that is being made of a feed.

        Raises:
            ConfigError: a time without a zone, or none where nothing has arrived.
            RecordingError: a recording could not take it; the views show it all the same.
        """
        if not str(text or "").strip():
            raise ConfigError(f"text={text!r}: expected words to note")
        try:
            moment = pd.Timestamp(time) if time is not None else None
        except (TypeError, ValueError) as error:
            raise ConfigError(f"time={time!r}: expected a time with a zone, for example 2026-01-02T14:39:00Z ({error})") from None
        if moment is None:
            newest = self.view.frame(["seq"], 1).index
            moment = newest[-1] if len(newest) else None
        if moment is None or moment.tzinfo is None:
            raise ConfigError(f"a mark at {time!r}: expected a time with a zone, or a stream that has begun")
        marks.add(self.view, moment, text)
        self._show_marks()
        if self._keep_mark is not None:
            self._keep_mark(moment, text)

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """What fires, as it was judged last; nothing before a page has shown the dashboard or a callback listens."""
        return self._alerts.open

    @property
    def callback_errors(self) -> int:
        """How many calls of callbacks on alerts have failed."""
        return self._alerts.callback_errors

    def on_alert(self, callback: Callable[[Alert], object]) -> Callable[[], None]:
        """Call `callback(alert)` for each alert that fires already, then when one begins or ends; returns how to end that.

        It runs on the thread that judges, whether or not a page shows the dashboard, and ends with the dashboard: hold that in a
        variable. A slow callback delays alerts, never the stream. What it raises is counted in `callback_errors` and told in the
        header; the first is logged, and a script that has not configured logging sees it on stderr.
        """
        return self._alerts.listen(callback)

    def acknowledge(self, rule: str, subject: str = "") -> None:
        """Say that an alert was seen, as its button does; soon after, it is muted until it fires anew.

        Raises:
            ConfigError: no such rule.
        """
        known = [known.name for known in self._alerts.rules]
        if rule not in known:
            raise ConfigError(f"rule={rule!r}: expected one of {', '.join(known)}")
        self._alerts.acknowledge(rule, subject)

    def stop(self) -> None:
        """End the view within a second; then the recording that its button started, and the feed where it is the dashboard's."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._wake.set()
        thread = self._thread
        self._background.stop()
        self._alerts.stop()
        if thread is not None and threading.current_thread() is not thread:
            thread.join(1.0)
        self._record_control.end()
        if self._owns_feed:
            self.view.stop()  # type: ignore[attr-defined] # only a feed is owned
        with self._lock:
            for control in (self._toggle, self._window, self._recording):
                control.disabled = True
            self._refresh_controls()
            self._refresh_header()
            self._publisher.aside("commands", None)

    def still(self, *, dark: bool = False) -> still.Still:
        """A picture of the charts as they are now, nav and all: the value of a cell, which is saved with the notebook."""
        return still.Still(svg(still.charts(self.view, self._panels, tz=self._tz, dark=dark), heading=self._title()), self._title())

    def to_html(self, path: str | os.PathLike[str], *, dark: bool = False) -> Path:
        """Write the charts as one offline file; returns its path."""
        return still.write_html(still.charts(self.view, self._panels, tz=self._tz, dark=dark), Path(path), self._title(), dark=dark)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        with self._lock:
            self._start()  # it holds the dashboard until a page has asked, whether or not the user does
        bundle = self.widget._repr_mimebundle_(**kwargs)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        data["text/plain"] = repr(self)
        data["text/html"] = self._card()
        return bundle

    def _card(self) -> str:
        """What a page shows that knows no widgets; see `still` for what it may carry."""
        picture = ""
        if not still.has_page():
            with contextlib.suppress(Exception):  # the widget is shown all the same
                picture = still.market(self.view, tz=self._tz, heading=self._title())
        return still.card(self._title(), picture)

    def _title(self) -> str:
        synthetic = "SYNTHETIC · " if "synthetic" in str(getattr(self.view, "origin", "")).lower() else ""
        return f"{synthetic}ccwatch, {self._name}, {self._state}"

    @property
    def _name(self) -> str:
        return str(getattr(self.view, "name", None) or getattr(self.view, "path", None) or "a stream")

    @property
    def _state(self) -> str:
        return "stopped" if self._stopping.is_set() else str(getattr(self.view, "state", None) or "recording")

    def __repr__(self) -> str:
        return f"<Dashboard of {self._name}, {self._state}; charts need a notebook (`ccwatch doctor --lab`), or dashboard.to_html(path)>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # ── the thread, which lives while a page shows the dashboard ──────────────────────────────────────────────────────

    def _start(self) -> None:
        """Begin to listen and to publish, unless that is so already; with the lock held."""
        if self._thread is None and not self._stopping.is_set():
            self._remove_sink = self._publisher.listen()
            self._thread = threading.Thread(target=self._publish, name="ccwatch-dashboard", daemon=True)
            self._thread.start()

    def _publish(self) -> None:
        with contextlib.suppress(Exception):  # told when a page asks, which will meet it again
            plotly_source()  # compressed before a page asks for it
        with self._lock, contextlib.suppress(Exception):
            if not self._was_seen:
                self._publisher.warm()
        while True:
            with self._lock:
                if self._stopping.is_set() or (self._was_seen and not self._publisher.pages):
                    self._remove_sink()
                    self._background.stop()
                    self._alerts.rest()
                    self._thread = None
                    return
                pause_s = self._tick()
            self._wake.wait(pause_s)
            self._wake.clear()

    def _tick(self) -> float | None:
        pause_s: float | None = HEADER_S
        try:
            pause_s = self._publisher.step()
            if not self._publisher.is_waiting:
                self._chart_trouble = ""
        except Exception as error:  # noqa: BLE001 - told in the header; the view goes on
            self._chart_trouble = f"the charts could not be updated: {error}"
        began = time.monotonic()
        if pause_s is None or began - self._header_at >= max(HEADER_S, 10 * self._header_cost_s):  # a recording's costs most
            self._refresh_controls()
            self._refresh_header()
            self._header_cost_s = time.monotonic() - began
        return None if pause_s is None else min(pause_s, HEADER_S)

    # ── the page's requests, with the lock held ───────────────────────────────────────────────────────────────────────

    def _answer(self, content: dict[str, Any]) -> None:
        page, kind = str(content.get("page", ""))[:64], content.get("type")
        if kind == "asleep":
            self._publisher.leave(page)
        elif kind == "painted":
            self._publisher.painted()
            if not self._stopping.is_set():
                self._background.start()
                self._alerts.start()
        elif kind == "acknowledge":
            self._alerts.acknowledge(str(content.get("rule")), str(content.get("subject", "")))
        elif kind == "command" and not self._stopping.is_set():
            self._commander.ask(page, content)
        elif kind == "pause":
            (self.resume if self.is_paused else self.pause)()
        elif kind in {"ask", "mark"}:
            Thread(target=_weakly(self._answer_slowly), args=(kind, content), name=f"ccwatch-{kind}", daemon=True).start()
        elif kind == "ready":
            self._was_seen = True
            self._start()  # before everything is read: what arrives meanwhile waits for the first frame
            try:
                if content.get("source"):
                    self.figure.send({"kind": "source"}, [plotly_source()])
                self._publisher.enter(page)
            except Exception as error:  # noqa: BLE001 - a traceback would land in whichever cell ran last
                self._chart_trouble = f"the charts could not be sent: {error}"
            self._refresh_header()
        self._wake.set()

    def _answer_slowly(self, kind: str, content: dict[str, Any]) -> None:
        """What takes its time, or writes to a disk: on a thread of its own, without the lock."""
        try:
            if kind == "mark":
                self.mark(str(content["text"])[:MARK_CHARACTERS], self._moment(content["time"]))
                return
            said = explain(self.view, self._moment(content["from"]), self._moment(content["to"]))
        except Exception as error:  # noqa: BLE001 - a traceback would land in whichever cell ran last
            said = {"title": f"This {kind} failed", "lines": [f"{type(error).__name__}: {error}"], "code": ""}
        with self._lock:
            self._publisher.tell({"kind": "answer", **said})

    def _moment(self, shown_ms: Any) -> pd.Timestamp:
        """A time of the page, which is the display zone's wall clock, in UTC."""
        return pd.Timestamp(round(float(shown_ms) - self._publisher.shift_ms), unit="ms", tz="UTC")

    def _show_marks(self) -> None:
        found = marks.of(self.view)
        with self._lock:
            self._publisher.aside("marks", [[time_ns / 1e6 + self._publisher.shift_ms, text] for time_ns, text in found])

    def _toggled(self, change: Any) -> None:
        if change["new"] != self.is_paused:
            (self.pause if change["new"] else self.resume)()

    def _windowed(self, change: Any) -> None:
        self.figure.window_s = float(change["new"])

    def _clicked_record(self, _: Any) -> None:
        """Starting and finishing a recording take their time: a thread of its own does it, and the button waits."""
        self._recording.disabled = True
        threading.Thread(target=self._toggle_recording, name="ccwatch-record-button", daemon=True).start()

    def _toggle_recording(self) -> None:
        if self._record_control.recorder is not None:
            self._alerts.recorder = None
            self._record_control.end()
        elif not self._stopping.is_set():
            self._alerts.recorder = self._record_control.begin()
        with self._lock:
            self._recording.disabled = self._stopping.is_set()
            self._refresh_controls()
            self._refresh_header()

    # ── what is worked out while the charts go on ─────────────────────────────────────────────────────────────────────

    def _jobs(self) -> list[Job]:
        view = self.view  # a job must not hold the dashboard

        def lines(panel: Panel) -> Callable[[], Any]:
            return lambda: panel.compute(view) if panel.compute is not None else []

        own = [
            Job(panel.name, lines(panel), COMPUTED_S if panel.name in COMPUTED else OWN_S, once=self._rests)
            for panel in self._panels
            if panel.compute
        ]
        return [
            *own,
            Job("services", lambda: services(view), ASIDE_S, once=self._rests),
            Job("marks", lambda: marks.of(view), ASIDE_S),
            Job("health", lambda: health(view), ASIDE_S, once=self._rests),
            *([Job("symbols", self._commander.symbols, ASIDE_S)] if self._commander.offers else []),
        ]

    def _post_alerts(self, found: Snapshot) -> None:
        with self._lock:
            strip, history = content(found, self._publisher.shift_ms)
            self._publisher.aside("fired", history)
            self._publisher.aside("alerts", strip)

    def _post_said(self, _said: object) -> None:
        with self._lock:
            if not self._stopping.is_set():  # asked for anew: of two commands that speak at once, the older list may come last
                self._publisher.aside("commands", {"said": self._commander.said})

    def _post(self, name: str, made: Any) -> None:
        with self._lock:
            panel = next((panel for panel in self._panels if panel.name == name and panel.compute is not None), None)
            if panel is not None:
                self._publisher.computed(panel, made)
            elif name == "marks":
                self._publisher.aside(name, [[time_ns / 1e6 + self._publisher.shift_ms, text] for time_ns, text in made])
            else:
                self._publisher.aside(name, made)

    # ── widgets, with the lock held ───────────────────────────────────────────────────────────────────────────────────

    def _build(self, seconds: float) -> None:
        lock = self._lock
        self.header = ipywidgets.HTML()
        self._toggle = _ToggleButton(lock=lock, description="Pause", tooltip="Freeze the charts; the stream goes on")
        self._recording = _Button(lock=lock, description="Record", tooltip="Record the stream to files")
        options = dict(WINDOWS)
        if seconds not in options.values():
            options = {f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s": seconds} | options
        self._window = _Dropdown(
            lock=lock, options=list(options.items()), value=seconds, description="Window", layout=ipywidgets.Layout(width="170px")
        )
        self.figure = LiveFigure(lock=lock, window_s=seconds)
        pause = [] if self._rests else [self._toggle]  # a recording that has ended is played instead
        controls = [*pause, *([self._recording] if self._record_control.can_begin else []), self._window]
        row = ipywidgets.HBox(controls)
        row.add_class("ccw-controls")
        self.widget = ipywidgets.VBox([self.header, row, self.figure])
        self.widget.add_class("ccw-dashboard")
        self._toggle.observe(_weakly(self._toggled), "value")
        self._window.observe(_weakly(self._windowed), "value")
        self._recording.on_click(_weakly(self._clicked_record))
        self.figure.on_request(_weakly(self._answer))

    def _refresh_controls(self) -> None:
        self._toggle.description = f"Resume ({self.hidden_packets} new)" if self.is_paused else "Pause"
        self._recording.description = "Stop recording" if self._record_control.recorder is not None else "Record"

    def _refresh_header(self) -> None:
        self._header_at = time.monotonic()
        note = "view stopped" if self._stopping.is_set() else "charts paused" if self.is_paused else "as it ended" if self._rests else ""
        trouble = "; ".join(
            filter(None, (self._chart_trouble, self._record_control.trouble, self._background.trouble, self._alerts.trouble))
        )
        try:
            seen = observe(self.view)
        except Exception as error:  # noqa: BLE001 - a header that cannot be had must not end the view
            seen, trouble = Observation(state=getattr(self.view, "state", None)), f"the header could not be updated: {error}"
        if self._stopping.is_set():
            seen = replace(seen, is_past=True)
        value = render(seen, recording=self._record_control.words, trouble=trouble, note=note)
        if value != self.header.value:
            self.header.value = value


def _weakly(method: Callable[..., None]) -> Callable[..., None]:
    """The method of an object that the caller does not keep alive; nothing once the object is gone."""
    held = weakref.WeakMethod(method)

    def call(*arguments: Any) -> None:
        target = held()
        if target is not None:
            target(*arguments)

    return call
