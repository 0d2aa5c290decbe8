"""Publisher: decides which messages a view's pages get, and when. It has no thread of its own.

Everything but receive() is called with the dashboard's lock held; receive() belongs to the feed's thread.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from time import monotonic
from typing import Any, Final

from ccwatch.dashboard import side_tables
from ccwatch.dashboard.page_messages import EXACT_ROWS, Encoder, FullNeeded, Message
from ccwatch.figures.panels import Line, Panel
from ccwatch.protocol.messages import Item
from ccwatch.stream.batch import Batch
from ccwatch.stream.view import LiveView, View, is_growing, is_over

MOST_WAITING: Final = 10_000
"""Items that may wait for one frame; when more arrive, the view is read instead."""
CHUNK_PERIOD_S: Final = 0.1
"""Older rows go at most this often, in between the frames."""
PAINT_PATIENCE_S: Final = 5.0
"""Older rows are held back so long, or until a page says that it has painted the first picture."""
GATHER_S: Final = 0.01
"""Items that arrive within so short a time after a pause go in one frame."""
POLL_PERIOD_S: Final = 1.0
"""A recording in progress is read no more often than this."""
_EARLY: Final = 0.95
"""Share of a period between two frames' due times: with a whole one, a stream of this very rate would stay as late as it once was."""
_SHARE: Final = 10.0
"""A costly update that the stream makes necessary waits ten times as long as it last took."""


class Publisher:
    """Sends a view's rows: all when a page asks (older ones later), then new ones, at most about once per period."""

    def __init__(
        self, view: View, encoder: Encoder, send: Callable[[Message], None], period_s: float, wake: Callable[[], None] = lambda: None
    ) -> None:
        """Prepare; nothing is sent before a page asks.

        Args:
            view: a Feed or a Recording.
            encoder: the encoder of this view.
            send: hands a message to all pages.
            period_s: seconds between two frames, at least; a twentieth less where frames would otherwise come later and later.
            wake: called on the feed's thread when the first item of a frame arrives: step() is due soon.
        """
        self.pages: set[str] = set()
        self.held: int | None = None  # seq of the newest packet when the charts were paused
        self._view = view
        self._encoder = encoder
        self._send = send
        self._period_s = period_s
        self._wake = wake
        self._arrived: deque[Batch] = deque()  # appended by the feed's thread, emptied by the holder of the lock
        self._put = self._taken = 0  # items: the first is counted by the feed's thread, the second by the holder of the lock
        self._overflown = False
        self._resync = False  # a full message is due
        self._full_at = -1e9
        self._full_cost_s = 0.0
        self._frame_due = 0.0
        self._gathering = False  # something has arrived since the last frame, and was noticed
        self._chunk_due = 0.0
        self._live = view if isinstance(view, LiveView) else None
        self._delivers = self._live is not None
        self._grows = is_growing(view)
        self._seen = 0  # newest seq of a view that delivers nothing
        self._counts: dict[str, int] = {}  # rows of a growing recording's tables that were sent
        self._lines: dict[str, tuple[Panel, Sequence[Line]]] = {}  # the newest computed lines, for a page that comes later
        self._side_content: dict[str, Any] = {}  # the same of services, health and the like

    # ── the feed's thread ─────────────────────────────────────────────────────────────────────────────────────────────

    def listen(self) -> Callable[[], None]:
        """Start the view's deliveries, where it has any; return a function that ends them."""
        return (lambda: None) if self._live is None else self._live.add_sink(self)

    def receive(self, items: Sequence[Item], /) -> None:
        """Keep items until the next frame, as a Sink does; if they are too many for one, drop them, and the view is read instead."""
        if not self.pages or self._overflown:
            return
        self._arrived.append(Batch.of(items))
        self._put += len(items)
        if len(self._arrived) == 1:  # nothing waited before, or it was just taken
            self._wake()
        if self._put - self._taken > MOST_WAITING:
            self._overflown = True
            self._arrived.clear()

    # ── the page's requests ───────────────────────────────────────────────────────────────────────────────────────────

    def warm(self) -> None:
        """Prepare, before a page asks, the parts of the picture that do not depend on the rows."""
        self._encoder.warm()

    def enter(self, page: str) -> None:
        """Register a page that shows the view, and send everything."""
        self.pages.add(page)
        self._send_full()

    def leave(self, page: str) -> None:
        """Remove a page that no longer shows the view."""
        self.pages.discard(page)
        if not self.pages:
            self._encoder.forget_older()

    def computed(self, panel: Panel, lines: Sequence[Line]) -> None:
        """Show a panel's computed lines, unless the charts are paused."""
        self._lines[panel.name] = panel, lines
        if self.pages and self.held is None:
            self._send(self._encoder.computed(panel, lines))

    def show_side(self, name: str, content: Any, volatile: Sequence[str] = ()) -> None:
        """Show content beside the charts, in place of any earlier content under that name.

        A change of the `volatile` keys alone is not sent, since the page updates those by itself.
        """
        known, self._side_content[name] = self._side_content.get(name), content
        if self.pages and _steady(known, volatile) != _steady(content, volatile):
            self._send(Message({"kind": "side", "replace": {name: content}}, []))

    def send_to_open(self, content: dict[str, Any]) -> None:
        """Send a message to the pages that are open now; later pages do not get it."""
        if self.pages:
            self._send(Message(content, []))

    @property
    def shift_ms(self) -> float:
        """Return the display zone's offset from UTC in ms, as the pages have it."""
        return self._encoder.shift.total_seconds() * 1000.0

    def painted(self) -> None:
        """Send the older rows at once, since a page has drawn the first picture."""
        self._chunk_due = min(self._chunk_due, monotonic())

    # ── the user's actions ────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def hidden(self) -> int:
        """Return how many packets came while the charts were paused; 0 when they are not paused."""
        held = self.held
        return 0 if held is None else max(0, self._newest() - held)

    @property
    def is_waiting(self) -> bool:
        """Return whether the pages have yet to be sent something."""
        return self.held is None and bool(self.pages) and (self._resync or self._overflown or bool(self._arrived))

    def pause(self) -> None:
        """Hold back the rows that come from now on."""
        if self.held is None:
            if self.pages:
                self._send_new()
            self.held = self._newest()

    def resume(self) -> None:
        """End the pause; the rows that were held back go at the next step."""
        hidden, self.held = self.hidden, None
        self._resync |= hidden > EXACT_ROWS
        self._frame_due = 0.0
        self._send_kept()

    # ── the dashboard's thread ────────────────────────────────────────────────────────────────────────────────────────

    def step(self) -> float | None:
        """Send the messages that are due; return the seconds until more may be due.

        Return inf where an item must arrive first, and None where nothing will be due until a page asks.
        """
        now = monotonic()
        if self._delivers and self.is_waiting and not self._gathering:
            self._gathering = True
            self._frame_due = max(self._frame_due, now + GATHER_S)
        if now >= self._frame_due and (self._gathering or not self._delivers):
            self._gathering = False
            self._frame_due = max(self._frame_due, now - self._period_s / 2) + _EARLY * self._period_s
            if self._delivers:
                if self.is_waiting:
                    self._send_new()
            elif self._grows or (self._resync and self.held is None):
                self._poll()
        if self._encoder.chunks_left and now >= self._chunk_due:
            self._chunk_due = now + CHUNK_PERIOD_S
            self._send_older()
        return self._pause_s()

    def _pause_s(self) -> float | None:
        dues = []
        if self.is_waiting or self._grows:
            dues.append(self._frame_due)
        elif self._delivers and not self._is_over():
            dues.append(inf)  # until something arrives
        if self._encoder.chunks_left:
            dues.append(self._chunk_due)
        return max(0.0, min(dues) - monotonic()) if dues else None

    def _poll(self) -> None:
        """Send the rows that were added to a view that delivers no items."""
        began = monotonic()
        self._grows = is_growing(self._view)  # asked first: rows written before it ended are read below
        try:
            if self.held is not None or not self.pages:
                self._seen = self._last_seq()
                return
            try:
                self._deliver(self._encoder.grown(), side_tables.grown(self._view, self._encoder.shift, self._counts))
            except FullNeeded:
                self._send_full()
            self._resync = False
            self._seen = self._encoder.last_seq
        except Exception:
            self._grows = True  # it may be readable the next time
            raise
        finally:
            took = monotonic() - began
            self._frame_due = monotonic() + max(POLL_PERIOD_S, self._period_s, _SHARE * took)

    def _send_new(self) -> None:
        if self._resync:
            # The older rows of the last full message go first: a stream that made one necessary at each frame would starve them.
            if not self._encoder.chunks_left and monotonic() - self._full_at >= _SHARE * self._full_cost_s:
                self._send_full()
            return
        arrived = []
        with contextlib.suppress(IndexError):  # emptied; the feed's thread may add to it, or clear it, at any moment
            for _ in range(MOST_WAITING):
                arrived.append(self._arrived.popleft())  # noqa: PERF401 - a comprehension would lose them all
        items = Batch.joined(arrived)
        self._taken += len(items)
        message = None
        try:
            self._resync = self._overflown
            if not self._overflown:
                message = self._encoder.new(items)
        except FullNeeded:
            self._resync = True
        if self._resync:
            self._send_new()
        else:
            self._deliver(message, side_tables.of_items(items, self._encoder.shift))

    def _deliver(self, message: Message | None, side_rows: dict[str, list[side_tables.Row]]) -> None:
        """Send new rows and the events and logs beside them, in one message where there are both."""
        if message is not None:
            self._send(Message(message.content | ({"side": side_rows} if side_rows else {}), message.buffers))
        elif side_rows:
            self._send(Message({"kind": "side", "append": side_rows}, []))

    def _send_full(self) -> None:
        began = monotonic()
        self._resync = True  # until it has been done
        self._arrived.clear()  # it is in the view already
        self._taken = self._put
        self._overflown = False
        message = self._encoder.full(self.held)
        if self._grows:
            self._counts = side_tables.counts(self._view)  # before the rows are read: one that comes meanwhile is sent twice, not never
        side_rows = side_tables.tables(self._view, self._encoder.shift, self.held)
        moves = self._delivers and not self._is_over()
        self._send(Message(message.content | {"side": side_rows, "moves": moves or self._grows, "live": self._delivers}, message.buffers))
        self._send_kept()
        self._resync = self.held is not None  # rows that came after a pause were not sent, and wait no more
        self._seen = max(self._seen, self._encoder.last_seq)
        self._full_at = monotonic()
        self._full_cost_s = self._full_at - began
        self._chunk_due = self._full_at + PAINT_PATIENCE_S

    def _send_kept(self) -> None:
        if not self.pages:
            return
        for panel, lines in self._lines.values():
            self._send(self._encoder.computed(panel, lines))
        if self._side_content:
            self._send(Message({"kind": "side", "replace": self._side_content}, []))

    def _send_older(self) -> None:
        message = self._encoder.older()
        if message is not None and self.pages:
            self._send(message)

    def _is_over(self) -> bool:
        return is_over(self._view)

    def _newest(self) -> int:
        if self._live is None:
            return self._seen
        latest = self._live.latest
        return 0 if latest is None else latest.seq

    def _last_seq(self) -> int:
        seq = self._view.frame(["seq"])["seq"].to_numpy()
        return int(seq.max()) if len(seq) else 0


def _steady(content: Any, volatile: Sequence[str]) -> Any:
    return {name: value for name, value in content.items() if name not in volatile} if volatile and isinstance(content, dict) else content
