"""Channel: one stream of a dashboard, with its publisher, its alerts and its background jobs. It knows no widget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Any, Final

from ccwatch.alerts import AnyRule, PlanReader
from ccwatch.dashboard import marks
from ccwatch.dashboard.alert_strip import AlertWatch, Snapshot, content
from ccwatch.dashboard.background_jobs import Background, Job
from ccwatch.dashboard.computed import COSTLY
from ccwatch.dashboard.page_messages import Encoder, Message
from ccwatch.dashboard.publisher import Publisher
from ccwatch.dashboard.shared_alerts import SharedAlerts
from ccwatch.dashboard.side_tables import health, services
from ccwatch.dashboard.weak_callbacks import weakly
from ccwatch.figures.panels import Panel
from ccwatch.stream.view import LiveView, View, is_growing

COMPUTED_S: Final = 5.0
OWN_S: Final = 1.0
"""Lines are computed at most this often: those of the costly panels, and the forecast's and those of a user's own functions."""
ASIDE_S: Final = 2.0
"""The tables beside the charts change at most this often."""


@dataclass(frozen=True, slots=True)
class Showing:
    """A dashboard's settings, the same for all of its streams."""

    panels: tuple[Panel, ...]
    tz: str
    period_s: float
    rules: Sequence[AnyRule] | None
    plan_for: PlanReader
    send: Callable[[dict[str, Any], list[bytes]], None]
    """Hands a message to all pages."""
    wake: Callable[[], None]
    """Called when a frame is due soon."""
    lock: RLock
    """The dashboard's lock, held while anything is sent."""


class Channel:
    """One stream; everything but the watching of alerts is done with the dashboard's lock held."""

    def __init__(self, view: View, showing: Showing, place: int = 0, name: str = "") -> None:
        """Prepare; nothing runs and nothing is sent before a page asks.

        Args:
            view: a Feed or a Recording.
            showing: how the dashboard shows its streams.
            place: the stream's position among the dashboard's, from 0.
            name: the stream's name where there are several.
        """
        self.view = view
        self.place = place
        self.name = name
        self._showing = showing
        self._rests = not isinstance(view, LiveView) and not is_growing(view)  # has ended, and is whole
        encoder = Encoder(view, tz=showing.tz, panels=showing.panels)
        self.publisher = Publisher(view, encoder, self._send, showing.period_s, showing.wake)
        self.shared = SharedAlerts(view, weakly(self._post_again))
        post, after = weakly(self._post_alerts), weakly(self._follow)
        self.alerts = AlertWatch(view, showing.rules, post, plan_for=showing.plan_for, after=after)
        self.background = Background(self._jobs(), weakly(self._post))
        self._remove_sink: Callable[[], None] = lambda: None

    @property
    def rests(self) -> bool:
        """Return whether the view is a recording that has ended."""
        return self._rests

    @property
    def trouble(self) -> str:
        """Return what went wrong beside the charts, for the status line; empty where nothing did."""
        return "; ".join(filter(None, (self.background.trouble, self.alerts.trouble, self.shared.trouble)))

    def listen(self) -> None:
        """Start the view's deliveries."""
        self._remove_sink = self.publisher.listen()

    def rest(self) -> None:
        """Stop all work, since no page shows the stream any more."""
        self._remove_sink()
        self.background.stop()
        self.alerts.rest()

    def painted(self) -> None:
        """Start the background jobs and the alerts, since a page has drawn the first picture."""
        self.publisher.painted()
        self.background.start()
        self.alerts.start()

    def show_marks(self) -> None:
        """Send the marks as they are now."""
        found = marks.of(self.view)
        with self._showing.lock:
            self.publisher.show_side("marks", self._placed(found))

    def _send(self, message: Message) -> None:
        head: dict[str, Any] = {"stream": self.place} if self.place else {}
        if message.content["kind"] == "full":
            head["name"] = self.name
        self._showing.send(message.content | head, message.buffers)

    def _placed(self, found: Sequence[marks.Mark]) -> list[list[Any]]:
        return [[time_ns / 1e6 + self.publisher.shift_ms, text] for time_ns, text in found]

    def _jobs(self) -> list[Job]:
        view = self.view  # a job must not hold the channel

        def lines(panel: Panel) -> Callable[[], Any]:
            return lambda: panel.compute(view) if panel.compute is not None else []

        own = [
            Job(panel.name, lines(panel), COMPUTED_S if panel.name in COSTLY else OWN_S, once=self._rests)
            for panel in self._showing.panels
            if panel.compute and not self.place
        ]
        return [
            *own,
            Job("services", lambda: services(view), ASIDE_S, once=self._rests),
            Job("marks", lambda: marks.of(view), ASIDE_S),
            Job("health", lambda: health(view), ASIDE_S, once=self._rests),
        ]

    def acknowledge(self, rule: str, subject: str) -> None:
        """Acknowledge what fires, on the page and in the recording's journal."""
        self.shared.acknowledge(self.alerts, rule, subject)

    def _follow(self) -> None:
        self.shared.follow(self.alerts)

    def _post_again(self) -> None:
        self._post_alerts(self.alerts.shown)

    def _post_alerts(self, found: Snapshot) -> None:
        with self._showing.lock:
            shift = self.publisher.shift_ms
            strip, history = content(found, shift, lambda alert: self.shared.words_of(self.alerts, alert, shift))
            self.publisher.show_side("fired", history)
            self.publisher.show_side("alerts", strip)

    def _post(self, name: str, made: Any) -> None:
        with self._showing.lock:
            panel = next((panel for panel in self._showing.panels if panel.name == name and panel.compute is not None), None)
            if panel is not None:
                self.publisher.computed(panel, made)
            elif name == "marks":
                self.publisher.show_side(name, self._placed(made))
            else:
                self.publisher.show_side(name, made)
