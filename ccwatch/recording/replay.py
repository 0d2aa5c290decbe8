"""Replay: a recording as a Source, in its own time or as fast as the sink takes it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Literal

from ccwatch.errors import ConfigError
from ccwatch.protocol.messages import ConnectionState, Event, EventKind, Instant, Item, Packet, StateChange
from ccwatch.recording.recording import Recording
from ccwatch.stream.source import DescribedSource, Sink, Stop
from ccwatch.stream.time_ranges import Moment, span_of

BATCH: Final = 256
"""Items handed over at once where nothing has to be waited for."""
_STATES: Final = {
    EventKind.CONNECT: ConnectionState.OPEN,
    EventKind.DISCONNECT: ConnectionState.DISCONNECTED,
    EventKind.STALE: ConnectionState.STALE,
}


class ReplayClock:
    """The clock of replays that play together: each begins as long after the first as its recording did, idle time between them left out.

    Where recordings overlap, they play side by side; where one ends before the next begins, they play one after the other.
    """

    def __init__(self) -> None:
        self._spans: list[tuple[int, int]] = []
        self._began: float | None = None
        self._beginning = threading.Lock()  # each replay has a thread of its own; the first one sets the beginning

    def place(self, recording: Recording, span: tuple[int, int] | None, speed: float | Literal["max"]) -> Callable[[], float]:
        """Take one more replay, and the ns between which it plays; return a function that says at which monotonic time it is to begin."""
        ends = recording.ends()
        if ends is None or speed == "max":
            return time.monotonic
        first, last = (int(end.value) for end in ends)
        low, high = span or (first, last)
        first = max(first, low)
        self._spans.append((first, max(first, min(last, high))))
        return lambda: self._begins() + self._after(first) / float(speed)

    def _begins(self) -> float:
        with self._beginning:
            if self._began is None:
                self._began = time.monotonic()
            return self._began

    def _after(self, start: int) -> float:
        spans = sorted(self._spans)
        idle, until = 0, spans[0][1]
        for begin, end in spans:
            if begin > start:
                break
            idle += max(0, begin - until)
            until = max(until, end)
        return (start - spans[0][0] - idle) / 1e9


class ReplaySource(DescribedSource):
    """A recorded stream: its packets and events as they were received, with their original numbers, flags and clocks."""

    is_replay = True

    def __init__(
        self,
        recording: Recording,
        *,
        speed: float | Literal["max"] = 1.0,
        start: Moment = None,
        end: Moment = None,
        clock: ReplayClock | None = None,
    ) -> None:
        """Prepare a replay; each call of `stream` plays it from its beginning.

        Args:
            recording: the recording to play.
            speed: how many times as fast as it was received; "max" does not wait.
            start: first moment on the server's clock, as for `Recording.frame`. None is the recording's start.
            end: last moment, included.
            clock: a clock shared with other replays; None is a clock of its own.

        Raises:
            ConfigError: a speed that is neither a number above 0 nor "max", or a time that is none.
        """
        is_number = isinstance(speed, int | float) and not isinstance(speed, bool)
        if not (speed == "max" or (is_number and 0 < float(speed) < float("inf"))):
            raise ConfigError(f"speed: expected a number above 0 or 'max', got {speed!r}")
        self.recording = recording
        self.speed = speed
        span = span_of(start, end, recording.ends)  # refuses a bad moment now, not in the thread that plays
        self._begin = time.monotonic if clock is None else clock.place(recording, span, speed)
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
                    begin = self._begin(), item.received_mono_ns
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
