"""The Feed: a source read on its own thread, its buffer, its health counters and its listeners.

Long, since the public surface of a feed is one class, with its docstrings.
"""

from __future__ import annotations

import threading
import time
import warnings
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, Self, runtime_checkable

from ccwatch.errors import CommandsDisabled, ConfigError, FeedClosed, FeedError, FeedTimeout
from ccwatch.feed.buffer import RollingBuffer
from ccwatch.feed.callback_sink import CallbackSink
from ccwatch.feed.fan_out import FanOut
from ccwatch.feed.feed_card import COLUMNS, ROWS, card
from ccwatch.feed.health import Health
from ccwatch.protocol.messages import ConnectionState, Packet, StateChange
from ccwatch.stream import dataframes
from ccwatch.stream.source import Handing, Keeper, Sink, Source, read_clock
from ccwatch.stream.table_reader import TableReader
from ccwatch.stream.time_ranges import Moment, span_of
from ccwatch.stream.view import OVER, LiveView

if TYPE_CHECKING:
    import pandas as pd

    from ccwatch.alerts import Alert, AnyRule, PlanReader
    from ccwatch.feed.engine_commands import CommandResult, Commands, OnSent
    from ccwatch.feed.live import Wire

STOP_TIMEOUT_S: Final = 0.9
"""How long stop() waits for the thread, which only the lookup of a host name can keep from ending in time."""
FIRST_READ_S: Final = 5.0
"""How long the first read of an on-demand stream with a fixed number of packets waits for the stream's end."""


_HEARD: Final[dict[object, Feed]] = {}
"""The feeds with callbacks, by subscription: one that nothing else refers to continues until they leave or it is stopped."""


@runtime_checkable
class Wired(Protocol):
    """A source with a connection, whose bytes are counted."""

    @property
    def wire(self) -> Wire:
        """Return compression and byte counts of the wire."""


class Feed(TableReader, LiveView):
    """A stream in this process: live, replayed or synthetic. A context manager; made by `connect`, `synthetic` or `replay`."""

    def __init__(
        self,
        source: Source,
        *,
        name: str,
        url: str,
        window: str = "8h",
        max_rows: int = 1_000_000,
        memory: str | int = "1GB",
        commands: Commands | None = None,
        on_demand: bool = False,
        plan_for: PlanReader | None = None,
    ) -> None:
        """Make a feed, not yet started.

        Args:
            source: the source of its items.
            name: its name in this process.
            url: shown to people; holds no secret.
            window: how much received time its buffer keeps.
            max_rows: how many packets its buffer keeps at most.
            memory: how many bytes its buffer takes at most, such as "1GB".
            commands: sends commands to its engine; None makes a feed for watching only.
            on_demand: begin the stream not at `start` but when a caller first listens, waits, joins or reads, so that the caller gets
                the first packet: for streams that do not keep pace with the clock and would be over before.
            plan_for: reads what was expected, for rules on the divergence from it; None refuses such rules.

        Raises:
            ConfigError: the window is not a length of time.
        """
        self.name = name
        self.url = url
        self._commands = commands
        self._on_demand = on_demand
        self._plan_for = plan_for
        self._begun = threading.Lock()  # serialises the first who listens with the others: a thread starts once
        self._fan_out = FanOut(source, RollingBuffer(window=window, max_rows=max_rows, memory=memory))
        self._thread = threading.Thread(target=self._fan_out.run, name=f"ccwatch-feed-{name}", daemon=True)
        self._finalizer = weakref.finalize(self, _left_open, self._fan_out, self._thread, name)
        self._finalizer.atexit = False

    def start(self) -> Self:
        """Start the thread and return at once; a feed that already runs is left as it is.

        Raises:
            FeedClosed: the feed was stopped or its stream has ended; a feed runs only once.
        """
        if self.has_ended:
            raise FeedClosed(f"{self.url}: this feed has ended, and a feed runs once; make another by connect, replay or synthetic")
        if not self._on_demand:
            self._begin()
        return self

    def _begin(self) -> bool:
        """Begin the stream unless it has begun; return whether this call began it."""
        with self._begun:
            if self._thread.ident is not None or self._fan_out.stop.is_set():
                return False
            self._thread.start()
            return True

    def _demand(self) -> None:
        """Begin an on-demand stream before a read; one with a fixed number of packets is read to its end, for up to FIRST_READ_S."""
        if self._on_demand and self._begin() and self._fan_out.described.packets is not None:
            self._thread.join(FIRST_READ_S)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} cannot be pickled or copied: it owns a thread and a connection. Hand over its frame(), its packets, or its url "
            "for another connect()"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Feed {self.name!r} {self.state} packets={self._fan_out.counter.packets} {self.url}>"

    def _repr_html_(self) -> str:
        return card(self.health(), self._fan_out.buffer.frame(COLUMNS, ROWS), self.name)  # begins no stream that waits for a reader

    # ── state ──

    @property
    def state(self) -> ConnectionState:
        """Return the state of the connection."""
        return self._fan_out.counter.state.state

    @property
    def latest(self) -> Packet | None:
        """Return the last packet, with any flags."""
        self._demand()
        return self._fan_out.counter.last

    @property
    def origin(self) -> str:
        """Return where the stream comes from: "live", "synthetic", or the origin that a recording names."""
        return self._fan_out.described.origin

    @property
    def label(self) -> str:
        """Return its url."""
        return self.url

    @property
    def planted(self) -> tuple[Any, ...]:
        """Return the incidents planted in a seeded stream, with kind, start_s, end_s and detail; an empty tuple for any other stream."""
        return self._fan_out.described.planted

    @property
    def virtual_clock(self) -> bool:
        """Return whether the stream's stamps do not keep pace with the receiver's clock, as at pace "max"."""
        return self._fan_out.described.virtual_clock

    @property
    def is_replay(self) -> bool:
        """Return whether packets carry the times at which a recording received them, not this feed."""
        return self._fan_out.described.is_replay

    @property
    def server_tz(self) -> str:
        """Return the zone in which timestamps without an offset are read."""
        return self._fan_out.described.server_tz

    @property
    def has_ended(self) -> bool:
        """Return whether it will deliver nothing any more: it was stopped, its stream has ended, or it was refused for good."""
        return self._fan_out.stop.is_set() or (self._thread.ident is not None and not self._thread.is_alive())

    @property
    def error(self) -> FeedError | None:
        """Return why the feed has no stream, or why its last connection ended, or the error that the server reports; else None."""
        counter = self._fan_out.counter
        if counter.error is None and counter.is_server_ill:
            return FeedError(f"{self.url}: the server says: {counter.server_error}")
        return counter.error

    def health(self) -> Health:
        """Return counters and rates, which a notebook shows as a table."""
        fan_out = self._fan_out
        dropped, errors, compacting = fan_out.sink_counts()
        found = fan_out.counter.report(
            read_clock(),
            url=self.url,
            origin=self.origin,
            dropped=dropped + fan_out.buffer.dropped,
            callback_errors=errors,
            compacting=compacting,
            evicted=fan_out.buffer.evicted,
            buffer_bytes=fan_out.buffer.bytes,
        )
        wire = fan_out.source.wire if isinstance(fan_out.source, Wired) else None
        if wire is None:
            return found
        found = replace(found, compression=wire.compression, protocol=wire.protocol, resyncs=wire.resyncs)
        return replace(found, wire_bytes=wire.wire_bytes, inflated_bytes=wire.message_bytes)

    def wait(self, packets: int = 1, timeout: float = 10) -> Self:
        """Wait until this many packets have arrived since the start.

        Args:
            packets: the number of packets, repeats included.
            timeout: seconds.

        Raises:
            FeedError: the connection has an error that will not go away by itself (401, 403, not a WebSocket).
            FeedClosed: the feed was stopped, or its stream ended, before that; its cause is the last error, if any.
            FeedTimeout: too few packets in time; its cause is the last error of the connection.
        """
        if self._on_demand:
            self._begin()
        fan_out = self._fan_out
        deadline = time.monotonic() + timeout
        with fan_out.changed:
            while fan_out.counter.packets < packets:
                change, error = fan_out.counter.state, self.error
                had = f"{fan_out.counter.packets} of {packets} packets from {self.url}"
                if fan_out.stop.is_set():
                    raise FeedClosed(f"{had}: {fan_out.closed or 'the feed was stopped'}") from error
                if change.state is ConnectionState.ENDED:
                    raise FeedClosed(f"{had}: the stream has ended")
                if change.error is not None and change.retry_s is None:
                    raise change.error.with_traceback(None)  # it may be raised many times: its traces would add up
                left = deadline - time.monotonic()
                if left <= 0:
                    why = f"; last error: {error}" if error is not None else f"; state {change.state}"
                    raise FeedTimeout(f"{had} within {timeout} s{why}") from error
                fan_out.changed.wait(left)
        return self

    # ── rows ──

    def frame(
        self,
        columns: Sequence[str] | None = None,
        last: dataframes.Last = None,
        *,
        clean: bool = True,
        fill: bool = False,
        symbol: str | None = None,
        start: Moment = None,
        end: Moment = None,
    ) -> pd.DataFrame:
        """Return the packets that the buffer holds.

        Args:
            columns: names of columns, which may be text columns; None is all columns except the text columns.
            last: only this many of the last rows, or a length of received time ("5min", timedelta); None is all.
            clean: leave out repeats, replays and placeholders, and sort by time; False is every row in order of arrival.
            fill: carry values forward per symbol, within a connection, at most 30 s.
            symbol: only rows of this symbol.
            start: only rows from this time on; see `ccwatch.stream.time_ranges`. `last` counts from what remains.
            end: only rows up to this time, included.

        Returns:
            A frame with DatetimeIndex `time` (ns, UTC) and the columns of `ccwatch.protocol.columns.PACKETS`. Editing the frame
            changes nothing else.
        """
        self._demand()
        buffer = self._fan_out.buffer
        span = span_of(start, end, lambda: dataframes.ends(buffer.frame(["seq"])))
        if span is None:
            return buffer.frame(columns, last, clean=clean, fill=fill, symbol=symbol)
        names = dataframes.resolve("packets", columns)
        found = buffer.frame([*dict.fromkeys([*names, "received_at"])], clean=clean, fill=fill, symbol=symbol)
        return dataframes.within(found, span, last)[names]

    def _long(self, table: str, last: dataframes.Last) -> pd.DataFrame:
        self._demand()
        return self._fan_out.buffer.long(table, last)

    # ── listeners ──

    def kept_by(self, keeper: Keeper) -> None:
        """Set the recorder that saves the packets of a source which hands unsaved ones to other readers."""
        source = self._fan_out.source
        if isinstance(source, Handing):
            source.kept_by(keeper)

    def on_packet(self, callback: Callable[[Packet], object]) -> Callable[[], None]:
        """Call `callback(packet)` for each packet from now on, on a separate thread; return a function that ends this.

        A slow or failing callback never hurts the feed: `health()` counts the packets that it missed and its failures. Its first
        failure is logged; a script that has not configured logging sees it on stderr.
        """
        sink = CallbackSink(callback, f"ccwatch-callback-{self.name}")
        remove = self.add_sink(sink)

        def unsubscribe() -> None:
            sink.close()
            remove()

        return self._kept_until(unsubscribe)

    def on_alert(self, callback: Callable[[Alert], object], rules: Sequence[AnyRule] | None = None) -> Callable[[], None]:
        """Call `callback(alert)` when an alert fires and when it is resolved, on a separate thread; return a function that ends this.

        Alerts that fire already are reported first. For a stream that does not keep pace with the clock (pace "max", a replay), and for
        one that is over, every alert within the buffer is reported, one after the other.

        Args:
            callback: takes a frozen `Alert`: rule, subject, severity, state ("FIRING", at the end "OK"), fired, value, worst, meaning.
                An exception from it is logged once and stops nothing.
            rules: the rules to apply, `cw.Rule` or `ccwatch.alerts.Rule`; None is the default rules and those of ccwatch.toml.

        Raises:
            ConfigError: a rule cannot be applied, or the callback cannot be called.
        """
        if not callable(callback):
            raise ConfigError(f"callback={callback!r:.80}: expected a function that takes an Alert")
        from ccwatch.alerts import AlertWatch, no_plan  # noqa: PLC0415 - not needed to watch packets

        watch = AlertWatch(weakref.proxy(self), rules, plan_for=self._plan_for or no_plan, ends_with_view=True)
        is_past = self.virtual_clock or self.is_replay or self.state in {ConnectionState.ENDED, ConnectionState.STOPPED}
        forget = watch.listen(callback, past=is_past)

        def unsubscribe() -> None:
            forget()
            watch.stop()

        return self._kept_until(unsubscribe)

    def _kept_until(self, leave: Callable[[], None]) -> Callable[[], None]:
        """Keep the feed alive for a callback until the returned function is called: `cw.connect(url).on_alert(print)` refers to no feed."""
        subscription = object()
        _HEARD[subscription] = self

        def unsubscribe() -> None:
            _HEARD.pop(subscription, None)
            leave()

        return unsubscribe

    def add_sink(self, sink: Sink) -> Callable[[], None]:
        """Pass every batch of items to `sink` from now on, on the feed's thread; return a function that ends this.

        The sink must return at once. A sink that raises is removed, logged and counted as dropped.
        """
        fan_out = self._fan_out
        with fan_out.changed:
            fan_out.sinks = (*fan_out.sinks, sink)
        if self._on_demand:
            self._begin()
        return lambda: fan_out.remove(sink)

    # ── commands ──

    def subscribe(self, symbol: str, *, on_sent: OnSent | None = None) -> CommandResult:
        """Ask the server for another symbol on this connection; confirmed by a packet of that symbol.

        Waits for that packet up to 5 s, or three of the stream's intervals if that is longer. Deployed engines ignore such messages, so
        nothing is confirmed there.

        Raises:
            CommandsDisabled: the feed was opened for watching only.
            ConfigError: not a symbol.
        """
        return self._allowed("subscribe").subscribe(symbol, self.add_sink, on_sent)

    def halt(self, confirm: str | None = None, *, on_sent: OnSent | None = None) -> CommandResult:
        """Stop trading: an emergency stop, by REST at the engine. Confirmed only by a status HALT seen after sending.

        The status is looked for in the stream, and by REST at the same place: a halted loop broadcasts nothing.

        Args:
            confirm: must be "HALT", typed out, so that running a notebook's cells can halt nothing by accident.
            on_sent: called on the caller's thread once the command has left this machine, before the wait for its confirmation.

        Raises:
            CommandsDisabled: the feed was opened for watching only.
            ConfigError: `confirm` is not "HALT"; nothing was sent.
            NoCommandRoute: the server has no route for it, and no engine_url was given; no server carried it out.
        """
        commands = self._allowed("halt")
        _insist("halt", confirm)
        return self._learn(commands.halt(self.add_sink, on_sent))

    def resume(self, confirm: str | None = None, *, on_sent: OnSent | None = None) -> CommandResult:
        """Resume trading after a halt; confirmed by a status ACTIVE or SLEEPING. `confirm` must be "RESUME"; the rest is as for `halt`."""
        commands = self._allowed("resume")
        _insist("resume", confirm)
        return self._learn(commands.resume(self.add_sink, on_sent))

    @property
    def takes_commands(self) -> bool:
        """Return whether the feed was opened with `commands=True`."""
        return self._commands is not None

    def _learn(self, result: CommandResult) -> CommandResult:
        if result.evidence == "rest" and result.status is not None:
            self._fan_out.counter.learn_status(result.status)
        return result

    def _allowed(self, what: str) -> Commands:
        if self._commands is None:
            raise CommandsDisabled(f"{what}: this feed only watches; a feed of connect(url, commands=True) gives commands")
        return self._commands

    # ── the end ──

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the stream to end by itself, as replays and streams of a fixed length do; return whether it has ended."""
        if self._on_demand:
            self._begin()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def stop(self) -> None:
        """End the stream, within a second, and keep the rows in the buffer; stopping again does nothing."""
        fan_out = self._fan_out
        for subscription in self._subscriptions():
            _HEARD.pop(subscription, None)
        self._finalizer.detach()
        fan_out.stop.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(STOP_TIMEOUT_S)
        fan_out.close_callbacks()
        with fan_out.changed:
            fan_out.changed.notify_all()  # waiters learn of it even while the thread is still ending
        if not self._thread.is_alive() and self.state not in {ConnectionState.STOPPED, ConnectionState.ENDED}:
            error = FeedClosed(fan_out.closed) if fan_out.closed else None
            fan_out.receive([StateChange(ConnectionState.STOPPED, read_clock(), None, error)])  # its thread never began, or gave up

    def give_way(self, why: str) -> int:
        """Stop, since another feed takes the place of this one; `error`, `health()` and each view of it then say why.

        Args:
            why: the reason, in words.

        Returns:
            How many callbacks on packets and alerts ended with it; 0 for a feed that had ended before.
        """
        if self.state in OVER:
            return 0
        lost = len(self._subscriptions())
        self._fan_out.closed = why
        self.stop()
        return lost

    def _subscriptions(self) -> list[object]:
        return [subscription for subscription, feed in list(_HEARD.items()) if feed is self]


def _insist(what: str, confirm: str | None) -> None:
    """Raise an error for a command that was not confirmed by its word.

    Raises:
        ConfigError: `confirm` is not the command in capitals.
    """
    word = what.upper()
    if confirm != word:
        raise ConfigError(
            f"{what} acts on a trading engine: expected feed.{what}(confirm={word!r}), got confirm={confirm!r:.40}; nothing was sent"
        )


def _left_open(fan_out: FanOut, thread: threading.Thread, name: str) -> None:
    fan_out.close_callbacks()
    if thread.is_alive():
        fan_out.stop.set()
        warnings.warn(f"feed {name!r} was left open; call stop() or use it as a context manager", ResourceWarning, stacklevel=2)
