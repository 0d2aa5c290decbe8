"""Replay: a recording as a Source, in its own time or as fast as the sink takes it."""

from __future__ import annotations

import time
from typing import Final, Literal

from ccwatch.errors import ConfigError
from ccwatch.protocol.messages import ConnectionState, Event, EventKind, Instant, Item, Packet, StateChange
from ccwatch.recording.recording import Recording
from ccwatch.stream.moments import Moment, span_of
from ccwatch.stream.source import Sink, Stop

BATCH: Final = 256
"""Items handed over at once where nothing has to be waited for."""
_STATES: Final = {
    EventKind.CONNECT: ConnectionState.OPEN,
    EventKind.DISCONNECT: ConnectionState.DISCONNECTED,
    EventKind.STALE: ConnectionState.STALE,
}


class ReplaySource:
    """A recorded stream: its packets and events as they were received, with their original numbers, flags and clocks."""

    is_replay = True

    def __init__(self, recording: Recording, *, speed: float | Literal["max"] = 1.0, start: Moment = None, end: Moment = None) -> None:
        """Prepare a replay; each call of `stream` plays it from its beginning.

        Args:
            recording: the recording to play.
            speed: how many times as fast as it was received; "max" does not wait.
            start: first moment on the server's clock, as for `Recording.frame`. None is the recording's start.
            end: last moment, included.

        Raises:
            ConfigError: a speed that is neither a number above 0 nor "max", or a time that is none.
        """
        is_number = isinstance(speed, int | float) and not isinstance(speed, bool)
        if not (speed == "max" or (is_number and 0 < float(speed) < float("inf"))):
            raise ConfigError(f"speed: expected a number above 0 or 'max', got {speed!r}")
        self.recording = recording
        self.speed = speed
        span_of(start, end, recording.ends)  # refuses a bad moment now, not in the thread that plays
        self._start, self._end = start, end

    def __repr__(self) -> str:
        return f"<ReplaySource {self.recording.path} speed={self.speed}>"

    @property
    def origin(self) -> str:
        """Return "replay" for a recording of a live stream; any other origin, such as "synthetic", stays."""
        return "replay" if self.recording.origin == "live" else self.recording.origin

    @property
    def virtual_clock(self) -> bool:
        """Return whether the recorded stream ran ahead of the receiver's clock; see `Recording.virtual_clock`."""
        return self.recording.virtual_clock

    def stream(self, sink: Sink, stop: Stop, /) -> None:
        """Deliver to `sink` until the recording ends or `stop` is set."""
        waiting: list[Item] = []
        begin: tuple[float, int] | None = None
        is_open = False
        for item in self.recording.items(start=self._start, end=self._end):
            if self.speed != "max":
                if begin is None:
                    begin = time.monotonic(), item.received_mono_ns
                due = begin[0] + (item.received_mono_ns - begin[1]) / 1e9 / float(self.speed)  # absolute: delays do not add up
                if due > time.monotonic() and waiting:
                    sink.receive(waiting)
                    waiting = []
                while (left := due - time.monotonic()) > 0:
                    if stop.wait(left):
                        return
            if not is_open and isinstance(item, Packet):  # a replay that starts in mid-connection
                waiting.append(StateChange(ConnectionState.OPEN, _instant(item)))
            is_open = is_open or isinstance(item, Packet)
            waiting.append(item)
            if isinstance(item, Event) and item.kind in _STATES:
                state = _STATES[EventKind(item.kind)]
                is_open = state is ConnectionState.OPEN
                waiting.append(StateChange(state, _instant(item)))
            if len(waiting) >= BATCH:
                sink.receive(waiting)
                waiting = []
            if stop.is_set():
                return
        if waiting:
            sink.receive(waiting)


def _instant(item: Packet | Event) -> Instant:
    return Instant(item.received_at_ns, item.received_mono_ns)
