"""The live source: a loop that feeds a connection's messages to a reader, reconnects, and sends the pings that the reader asks for."""

from __future__ import annotations

import queue
import ssl
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Final, NamedTuple

from ccwatch.domain.limits import SECOND
from ccwatch.errors import CcwatchError, ConnectFailed, FeedError, Unauthorized
from ccwatch.feed import framing
from ccwatch.feed.connection import Address, Connection, ConnectionLost, Waker, connect
from ccwatch.feed.conversation import Conversation, Passed, Reply, is_capable
from ccwatch.feed.dialling import Dialler
from ccwatch.feed.path_search import find_stream
from ccwatch.protocol import server_texts
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.facts import ServerError
from ccwatch.protocol.messages import Event, EventKind, Instant, Item, Packet, StateChange
from ccwatch.protocol.server_paths import ORIGIN_HEADER, READS_HEADER
from ccwatch.protocol.stream_reader import Duty, StreamReader
from ccwatch.protocol.wire.outputs import Output, Say
from ccwatch.protocol.wire.receiver import Receiver
from ccwatch.stream.source import DescribedSource, Sink, Stop, read_clock

DEFAULT_MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
COTTAGE_HEADERS: Final = "x-ccwatch-"
"""The prefix of handshake headers that name a Cottage, which reads the texts it is sent."""
SEND_S: Final = 1.0
"""How long a message may wait for the feed's thread to send it."""
Token = Callable[[], str | None]


class _Errand(NamedTuple):
    """A request of another thread to the feed's: send a message, put an event into the stream, or note a status."""

    payload: bytes | None
    note: str
    asked_at: Instant
    done: Future[None]
    status: str | None = None
    """The engine's status as reported by a source other than the stream."""


class Wire(NamedTuple):
    """The terms of this connection, and the counts over all connections."""

    compression: str = "none"
    protocol: str = "1"
    """"1", or "2" with what the server granted."""
    wire_bytes: int = 0
    message_bytes: int = 0
    """Bytes of the messages after decompression."""
    resyncs: int = 0
    """How often a whole message was asked for, because one did not fit."""


class LiveSource(DescribedSource):
    """A Source of a server's stream that reconnects until it is stopped."""

    origin: str = "live"
    """The origin that the server names: "live", or "synthetic" from a Cottage."""
    server_tz: str = "UTC"

    def __init__(
        self,
        address: Address,
        *,
        token: Token | None = None,
        server_tz: str = "UTC",
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
        tls: ssl.SSLContext | None = None,
        searches: bool = True,
        compress: bool = False,
        receiver: Receiver | None = None,
        clock: Callable[[], Instant] = read_clock,
        pause: Callable[[Stop, float], bool] = Stop.wait,
    ) -> None:
        """Set up a stream that is not connected yet.

        Args:
            address: where the server is.
            token: called for a token at each connect.
            server_tz: zone of timestamps that carry no offset.
            max_message_bytes: the most that one message may have.
            tls: TLS context for wss; None trusts the system's certificates.
            compress: whether to offer the compression of RFC 7692.
            receiver: the receiving end of protocol 2; None asks servers that name it for the channel `state`.
            searches: whether a refusal without a token is followed by a look at the known paths of the same host and port.
            clock: reads both clocks.
            pause: waits between two attempts; True when asked to stop.
        """
        self.server_tz = server_tz
        self._address = address
        self._token = token
        self._max_message_bytes = max_message_bytes
        self._tls = tls
        self._searches = searches
        self._compress = compress
        self._wire = Wire()  # of the connections before
        self._connection: Connection | None = None  # the open one
        self._said = ""  # the error that the server reported on this connection
        self._receiver = receiver or Receiver()
        self._talk = Conversation(self._receiver)
        self.on_wire: Callable[[Passed], None] | None = None
        """Called with each message as it is on the wire, on the feed's thread; set before it starts."""
        self._clock = clock
        self._pause = pause
        self._reader = StreamReader(server_tz=server_tz)
        self._dialler = Dialler(address.host, address.port)
        self._secrets = address.secrets
        self._errands: queue.SimpleQueue[_Errand] = queue.SimpleQueue()
        self._waker: Waker | None = None  # of the open connection
        self._gate = threading.Lock()  # serialises asking with closing: no errand is left behind, no wake comes too late

    # ── called by other threads ──

    @property
    def interval_s(self) -> float:
        """Return the stream's usual interval; 0 while it is not known."""
        return self._reader.interval_s

    @property
    def wire(self) -> Wire:
        """Return compression and byte counts of the wire. May be read from any thread."""
        before, connection = self._wire, self._connection
        if connection is None:
            return before
        sizes = before.wire_bytes + connection.wire_bytes, before.message_bytes + connection.message_bytes
        return Wire(str(connection.agreement or "none"), self._talk.protocol, *sizes, self._receiver.resyncs)

    def send(self, payload: bytes) -> str | None:
        """Send a message on the open connection; return None, or why it was not sent. It is never sent after a reconnect.

        No text is sent to a server that has not shown that it reads: that would end its connection.
        """
        errand = _Errand(payload, "", self._clock(), Future())
        with self._gate:
            if self._waker is None:
                return "there is no connection to send it on"
            if self._reader.no_text:
                return self._reader.no_text
            self._errands.put(errand)
            self._waker.wake()
        try:
            errand.done.result(SEND_S)
        except TimeoutError:
            if errand.done.cancel():
                return "the connection did not take it in time"
        except ConnectionLost as lost:
            return str(lost)
        return None

    def command(self, what: str, deadline_s: float, wait_s: float) -> Reply | None:
        """Send a command by message, and return the server's answer; None where the connection does not speak protocol 2.

        Args:
            what: HALT or RESUME.
            deadline_s: seconds from now after which the server is not to obey it any more.
            wait_s: how long to wait for the answer.
        """
        asked = self._talk.ask(what, deadline_s, self._clock())
        if asked is None:
            return None
        trouble = self.send(asked.payload)
        return self._talk.await_answer(asked, wait_s) if trouble is None else None

    def note(self, detail: str) -> None:
        """Put a command event with the current time into the stream; without a connection, once there is one."""
        self._ask(_Errand(None, detail, self._clock(), Future()))

    def learn_status(self, status: str) -> None:
        """Take the engine's status from a source other than the stream."""
        self._ask(_Errand(None, "", self._clock(), Future(), status))

    def _ask(self, errand: _Errand) -> None:
        with self._gate:
            self._errands.put(errand)
            if self._waker is not None:  # else: while it connects, a wake would make it give up
                self._waker.wake()

    # ── the feed's thread ──

    def stream(self, sink: Sink, stop: Stop) -> None:
        """Connect, deliver and reconnect; return when stopped, or when an error will not go away by itself."""
        waker = Waker()
        stop.waking(waker.wake)
        try:
            while not stop.is_set():
                sink.receive(self._reader.connecting(self._clock()))
                items = self._connect_once(sink, stop, waker)
                if not items:
                    return
                sink.receive(items)
                change = items[-1]
                if not isinstance(change, StateChange) or change.retry_s is None or self._pause(stop, change.retry_s):
                    return
        finally:
            sink.receive([*self._reader.flush(), *self._run_errands(None)])
            stop.waking(None)
            waker.close()

    def _connect_once(self, sink: Sink, stop: Stop, waker: Waker) -> list[Item]:
        """Run one connection from opening to end; return the items of its end, or none if it was asked to stop."""
        waker.drain()  # of wakes meant for the last connection
        if stop.is_set():
            return []
        try:
            connection = self._open(waker)
        except FeedError as error:
            if stop.is_set():
                return []
            # Kept and raised again later: without the frames of this attempt, whose locals hold the token.
            shown = self._with_another_place(error, waker).with_traceback(None)
            return [] if stop.is_set() else self._reader.closed(self._clock(), str(shown), error=shown)
        with connection:
            with self._gate:
                self._waker = waker
            self._connection = connection
            try:
                return self._converse(connection, sink, stop)
            finally:
                self._wire, self._connection = self.wire, None
                self._talk.ended()
                with self._gate:
                    self._waker = None
                sink.receive(self._run_errands(None))

    def _open(self, waker: Waker) -> Connection:
        token = self._ask_token()
        try:
            return self._connect(token, waker)
        except Unauthorized as error:
            if error.status != 401 or token is None:
                raise
            refused, stale = error, token
        token = self._ask_token()  # it may have expired since it was asked for: once, for a fresh one
        if token == stale:
            what = "does not accept the token that it was given (401): has it expired, or is it of another key or audience?"
            raise Unauthorized(f"{self._address.shown} {what}", status=401) from refused
        return self._connect(token, waker)

    def _with_another_place(self, error: FeedError, waker: Waker) -> FeedError:
        """Return the error of a refused path, naming another path of this host and port if a packet was read there; no token is sent."""
        status = error.status if isinstance(error, ConnectFailed) else None
        if not self._searches or status not in {403, 404} or len(self._secrets) > 0:
            return error
        place = find_stream(self._address, waker=waker, max_message_bytes=self._max_message_bytes, tls=self._tls)
        if place is None:
            return error
        text = f"{self._address.shown} answers {status}, but {place} streams: a packet was read there; connect to it"
        return ConnectFailed(text, status=status, permanent=True)

    @property
    def virtual_clock(self) -> bool:
        """Return whether the server says that its stamps do not keep pace with the clock."""
        return self._reader.virtual_clock

    def _connect(self, token: str | None, waker: Waker) -> Connection:
        return connect(
            self._address,
            token=token,
            waker=waker,
            max_message_bytes=self._max_message_bytes,
            tls=self._tls,
            dialler=self._dialler,
            compress=self._compress,
        )

    def _ask_token(self) -> str | None:
        if self._token is None:
            return None
        try:
            token = self._token()
        except Exception as error:
            why = str(error) if isinstance(error, CcwatchError) else type(error).__name__
            raise ConnectFailed(f"asking for a token failed: {why}") from error
        if token is not None and not isinstance(token, str):
            raise ConnectFailed(f"the token is no text but {type(token).__name__}", permanent=True)
        self._secrets = (*self._address.secrets, *([token.strip()] if token and token.strip() else []))
        return token

    def _converse(self, connection: Connection, sink: Sink, stop: Stop) -> list[Item]:
        reader, clock = self._reader, self._clock
        self._said = ""
        origin = connection.headers.get(ORIGIN_HEADER.lower(), "live")
        self.origin = origin if origin.isidentifier() else "live"
        reader.virtual_clock = connection.headers.get("x-ccwatch-clock") == "virtual"
        is_cottage = any(name.startswith(COTTAGE_HEADERS) for name in connection.headers)
        reads = is_cottage and connection.headers.get(READS_HEADER.lower()) != "no"
        receiver = self._receiver
        now = clock()
        sink.receive(reader.opened(now, f"url={self._address.shown} origin={self.origin}", reads=reads))
        receiver.opened(now.mono_ns, is_capable=is_capable(connection.headers), is_compressed=connection.agreement is not None)
        items: list[Item] = []
        try:
            while not stop.is_set():
                items = self._take(receiver.due(now.mono_ns, may_text=not reader.no_text), now, connection)
                if items:
                    sink.receive(items)
                messages = connection.receive(self._wait_s(now))
                now = clock()
                items = []
                if self.on_wire is not None:
                    for message, size in zip(messages, connection.sizes, strict=False):
                        self.on_wire(Passed(now, "<", message.opcode, size, bytes(message.payload)))
                for opcode, payload in messages:
                    if opcode in (framing.TEXT, framing.BINARY):
                        if receiver.is_plain:
                            items += self._checked(reader.receive(payload, now))
                        else:
                            outputs = receiver.receive(payload, now.mono_ns, is_binary=opcode == framing.BINARY)
                            items += self._take(outputs, now, connection)
                    elif opcode == framing.PONG:
                        reader.pong()
                    elif opcode == framing.PING:
                        connection.send(bytes(payload), framing.PONG)
                    else:
                        raise self._goodbye(bytes(payload))
                items += reader.tick(now)
                items += self._run_errands(connection)
                if items:
                    sink.receive(items)
                    items = []
                for duty in reader.duties(now):
                    self._do(duty, connection)
        except ConnectionLost as lost:
            return [*items, *self._closed(str(lost), lost.code)]
        except framing.MessageTooLarge as error:
            connection.close(error.code)
            return [*reader.oversize(clock(), error.announced, error.limit), *self._closed(str(error))]
        except framing.FramingError as error:
            connection.close(error.code)
            return self._closed(str(error))
        sink.receive(self._take(receiver.closed(), now, None))
        return []

    def _wait_s(self, now: Instant) -> float:
        """Return the seconds until something may be due without an arrival."""
        wait_ns = self._receiver.wait_ns(now.mono_ns)
        seconds = self._reader.wait_s(now)
        return seconds if wait_ns is None or self._reader.no_text else min(seconds, wait_ns / SECOND)

    def _checked(self, received: list[Item]) -> Iterable[Item]:
        return received if len(received) == 1 and type(received[0]) is Packet else map(self._without_secrets, received)

    def _take(self, outputs: Iterable[Output], now: Instant, connection: Connection | None) -> list[Item]:
        """Return the items that the receiving end's outputs give; what it says is sent."""
        items: list[Item] = []
        for output in outputs:
            if isinstance(output, Say):
                if connection is not None:
                    self._say(output.payload, now, connection)
            else:
                items += self._checked(self._talk.items(output, self._reader, now))
        return items

    def _say(self, payload: bytes, now: Instant, connection: Connection) -> bool:
        """Send a text; return whether the system took it."""
        self._reader.texted()
        if self.on_wire is not None:
            self.on_wire(Passed(now, ">", framing.TEXT, len(payload), payload))
        return connection.send(payload)

    def _run_errands(self, connection: Connection | None) -> list[Item]:
        """Send the waiting messages, and return the waiting events; without a connection, nothing is sent."""
        items: list[Item] = []
        while True:
            try:
                errand = self._errands.get_nowait()
            except queue.Empty:
                return items
            if errand.status is not None:
                self._reader.learn_status(errand.status)
                items += self._reader.tick(self._clock())
            elif errand.payload is None:
                items.append(self._reader.event(EventKind.COMMAND, errand.asked_at, errand.note))
            elif errand.done.set_running_or_notify_cancel():
                no_text = self._reader.no_text
                if connection is None or no_text:
                    errand.done.set_exception(ConnectionLost(no_text or "the connection is gone"))
                    continue
                if not self._say(errand.payload, self._clock(), connection):
                    errand.done.set_exception(ConnectionLost("the connection is gone"))
                else:
                    errand.done.set_result(None)

    def _do(self, duty: Duty, connection: Connection) -> None:
        if duty is Duty.SEND_KEEPALIVE:
            self._say(codec.PING, self._clock(), connection)
        elif duty is Duty.SEND_PING:
            connection.send(b"", framing.PING)
        else:
            raise ConnectionLost("a ping was not answered, and nothing else came: the peer is gone")

    def _closed(self, reason: str, code: int | None = None) -> list[Item]:
        if self._said:
            reason = f"{reason}; before that it said: {self._said}"
        error = ConnectFailed(f"{self._address.shown}: {reason}")
        now = self._clock()
        held = self._take(self._receiver.closed(), now, None)
        return [*held, *self._reader.closed(now, reason, error=error, code=code)]

    def _without_secrets(self, item: Item) -> Item:
        """Return the item, where an error of the server is remembered and loses any secret of ours that it repeats."""
        if not isinstance(item, Event) or item.kind != EventKind.ERROR:
            return item
        text = item.facts.text if isinstance(item.facts, ServerError) else item.detail
        raw = item.raw
        for secret in self._secrets:
            text, raw = text.replace(secret, "…"), raw.replace(secret.encode(), "…".encode())
        if not isinstance(item.facts, ServerError):
            return item._replace(detail=text, raw=raw)
        self._said, facts = text or self._said, ServerError(text)
        return item._replace(detail=str(facts), raw=raw, facts=facts)

    def _goodbye(self, payload: bytes) -> ConnectionLost:
        """Return the server's closing frame in words, without any secret of ours that it repeats."""
        if len(payload) < 2:
            return ConnectionLost("the server closed the stream")
        said = payload[2:].decode("utf-8", "replace")
        for secret in self._secrets:
            said = said.replace(secret, "…")
        said, code = server_texts.shown(said), int.from_bytes(payload[:2], "big")
        return ConnectionLost(f"the server closed the stream, code {code}" + (f" {said!r}" if said else ""), code)
