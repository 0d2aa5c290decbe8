"""The WebSocket endpoint that both sites of a Cottage have, and commands given there or by REST. It knows no source."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from aiohttp import WSCloseCode, WSMsgType, web

from ccwatch.cottage import descriptor_limit
from ccwatch.cottage.access import Gate, Grant, Pace, Refusal
from ccwatch.cottage.broadcaster import Client, Message, StateBroadcaster
from ccwatch.cottage.command_keys import CommandKeys, OwnKeys
from ccwatch.cottage.requests import Requests
from ccwatch.cottage.site_http import GRANT, answer, refused
from ccwatch.errors import DecodeError
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.server_paths import READS_HEADER
from ccwatch.protocol.wire import deflate, hello
from ccwatch.protocol.wire.message_commands import Answered
from ccwatch.text import plain

log = logging.getLogger("ccwatch.cottage")

MAX_INCOMING_BYTES: Final = 64 * 1024
"""Most bytes of a client's message; a longer one closes the connection with 1009."""
CLOSE_S: Final = 0.3
"""Seconds that a client may take to answer a close."""
LONGEST_SYMBOL: Final = 32
UNREAD_S: Final = 40.0
"""Seconds that a connection lasts whose client's pongs are not read: an interval of 20 s between pings, and 20 s for the answer."""
RECONNECT_S: Final = 60.0
"""Seconds after a connection's end within which a new one from its address counts as a reconnection."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a command: an HTTP status and the body of the answer."""

    status: int
    body: dict[str, Any]


class Site(Protocol):
    """The owner of an endpoint: an engine or a BFF."""

    def greeting(self) -> Iterable[Message]:
        """Return the messages that a new client receives first."""

    async def command(self, what: str, grant: Grant) -> Outcome:
        """Obey HALT or RESUME of a client that may command, and return the outcome."""

    def subscribe(self, client: Client, symbol: str) -> bool:
        """Send this client packets of `symbol` only, and return whether there are any."""


@dataclass(slots=True)
class Traffic:
    """The counters of an endpoint's clients so far."""

    connects: int = 0
    reconnects: int = 0
    received: int = 0
    ignored: int = 0
    """Count of messages that were neither a PING nor a command that could be obeyed."""
    commands: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Count by command and outcome: obeyed, refused, failed."""


class Ended:
    """The connections that ended a short time ago, by address, each until another one of its address comes."""

    def __init__(self) -> None:
        self._ends: deque[tuple[float, str]] = deque()  # the oldest first; thousands in a storm, so none is looked at twice
        self._waiting: Counter[str] = Counter()
        self._taken: Counter[str] = Counter()  # of those in `_ends`, always the oldest of their address

    def add(self, ip: str) -> None:
        """Note that a connection of an address has ended now."""
        self._ends.append((time.monotonic(), ip))
        self._waiting[ip] += 1

    def takes(self, ip: str) -> bool:
        """Return whether a new connection of an address follows one that has ended; that one is taken by it."""
        horizon = time.monotonic() - RECONNECT_S
        while self._ends and self._ends[0][0] <= horizon:
            _, old = self._ends.popleft()
            _less(self._taken if self._taken[old] else self._waiting, old)
        if not self._waiting[ip]:
            return False
        _less(self._waiting, ip)
        self._taken[ip] += 1
        return True


def _less(counts: Counter[str], ip: str) -> None:
    counts[ip] -= 1
    if not counts[ip]:
        del counts[ip]


class Endpoint:
    """A WebSocket endpoint of one broadcaster: greets each client, then leaves it to the broadcaster until it goes."""

    def __init__(
        self,
        title: str,
        broadcaster: StateBroadcaster,
        site: Site,
        gate: Gate,
        welcomed: Callable[[], None],
        *,
        reads: bool = True,
        keys: CommandKeys | None = None,
    ) -> None:
        """Prepare an endpoint without clients.

        Args:
            title: the head of its log lines.
            broadcaster: the broadcaster that its clients are subscribed to.
            site: the engine or BFF that greets clients and obeys commands.
            gate: counts and limits the connections of each address.
            welcomed: called when a new client was greeted and subscribed.
            reads: whether it reads clients' messages. Deployed engines do not: from a client's first text on they read nothing at all,
                not even its pongs, and close the connection with 1011 once their own keepalive has had no answer.
            keys: the commands that were obeyed, where other endpoints obey them too.
        """
        self.traffic = Traffic()
        self.gate = gate
        self._title = title
        self._broadcaster = broadcaster
        self._site = site
        self._welcomed = welcomed
        self._reads = reads
        self._speaks = reads and broadcaster.channels is not None
        self._requests = Requests(broadcaster, self._command, site.subscribe, keys or OwnKeys(), self._count_refusal)
        self.most_descriptors = descriptor_limit.MOST_DESCRIPTORS
        self._open: dict[web.WebSocketResponse, Client] = {}
        self._expiries: dict[web.WebSocketResponse, asyncio.Task[None]] = {}
        self._ended = Ended()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one client until it goes."""
        # Naming `token` selects it as the contract's section 7.1 has it. Other words are refused: aiohttp would log them.
        offered = request.headers.get("Sec-WebSocket-Protocol")
        if offered is not None and "token" not in [word.strip() for word in offered.split(",")]:
            return refused(Refusal(400, "expected Sec-WebSocket-Protocol: token, <JWT>"))
        socket = web.WebSocketResponse(compress=True, max_msg_size=MAX_INCOMING_BYTES, timeout=CLOSE_S, protocols=("token",))
        if not socket.can_prepare(request):
            return web.Response(status=426, text="A WebSocket is served here.\n", headers={"Upgrade": "websocket"})
        grant = request[GRANT]
        refusal = await self._admit(request, grant)
        if refusal is not None:
            log.warning("%s: refused with %d: %s", self._title, refusal.status, refusal.reason)
            response = refused(refusal)
            response.force_close()
            return response
        if self._speaks:
            socket.headers[hello.HEADER] = str(hello.PROTOCOL)
        if not self._reads:
            socket.headers[READS_HEADER] = "no"
        try:
            await socket.prepare(request)
            if request.transport is not None:
                client = self._welcome(socket, request.transport, grant)
                try:
                    await self._listen(socket, client, grant)
                finally:
                    self._see_off(socket, client, grant)
        finally:
            self.gate.leave(grant.ip)
        return socket

    async def _admit(self, request: web.Request, grant: Grant) -> Refusal | None:
        """Count the connection and return None, or return why it is refused."""
        if descriptor_limit.is_nearly_out(request.transport, self.most_descriptors):
            self.gate.refused[503] += 1
            return Refusal(503, f"this server has as many connections as the system lets it have ({self.most_descriptors} open files)")
        return await self.gate.enter(grant.ip)

    def _welcome(self, socket: web.WebSocketResponse, transport: asyncio.Transport, grant: Grant) -> Client:
        log.info("%s: Client Connected", self._title)
        self._count(grant.ip)
        client = self._broadcaster.client(transport, _agreement(socket))
        self._open[socket] = client
        # Nothing is awaited between greeting and subscribing, so a client misses nothing and gets nothing twice.
        for message in self._site.greeting():
            client.send(message)
        self._broadcaster.subscribe(client)
        self._welcomed()
        if grant.expires_at is not None:
            self._expiries[socket] = asyncio.create_task(self._expire(socket, grant.expires_at))
        return client

    def _see_off(self, socket: web.WebSocketResponse, client: Client, grant: Grant) -> None:
        expiry = self._expiries.pop(socket, None)
        if expiry is not None:
            expiry.cancel()
        self._broadcaster.unsubscribe(client)
        self._requests.forget(client)
        if client.symbol is not None:
            self._site.subscribe(client, "")
        del self._open[socket]
        self._ended.add(grant.ip)
        log.info("%s: Client Disconnected", self._title)

    async def _listen(self, socket: web.WebSocketResponse, client: Client, grant: Grant) -> None:
        """Read the client's messages until it goes; a PING is not answered, a malformed one is ignored (contract 2.2, 5.2)."""
        pace = Pace(self.gate.rules)
        while True:
            incoming = await socket.receive()
            if incoming.type in {WSMsgType.CLOSE, WSMsgType.CLOSING}:
                return
            if incoming.type is WSMsgType.CLOSED:  # without a close frame; aiohttp does not distinguish a reset from an end of file
                log.warning("%s: Connection Closed (Connection reset by peer)", self._title)
                return
            if incoming.type is WSMsgType.ERROR:
                log.warning("%s: Connection Closed (%s)", self._title, incoming.data)
                return
            self.traffic.received += 1
            if not self._reads:
                await self._stop_reading(socket, client)
                return
            if not pace.allows():
                await self._turn_out(socket, "too many messages")
                return
            log.debug("%s: Received %s", self._title, _one_line(incoming.data))
            refusal = await self._obey(incoming.data, client, grant)
            if refusal:
                await self._turn_out(socket, refusal)
                return

    async def _stop_reading(self, socket: web.WebSocketResponse, client: Client) -> None:
        """Behave as a server whose application never receives: after a client's text, read nothing until the keepalive ends."""
        client.transport.pause_reading()
        due = time.monotonic() + UNREAD_S
        while time.monotonic() < due and not client.transport.is_closing():  # noqa: ASYNC110 - no event says that a transport is closed
            await asyncio.sleep(0.05)
        await socket.close(code=WSCloseCode.INTERNAL_ERROR, message=b"keepalive ping timeout", drain=False)

    async def _obey(self, said: str | bytes, client: Client, grant: Grant) -> str:
        """Obey a message, and return why the client must be closed; an empty text where it may stay."""
        message, symbol = _command(said)
        what = message.get("type")
        if self._speaks and (
            await self._requests.answer(message, client, grant, symbol) if message else self._requests.refuse(client, "no message")
        ):
            return ""
        if what == "PING":
            return ""
        if what not in {"SUBSCRIBE", "HALT", "RESUME"}:
            self.traffic.ignored += 1
            return ""
        if grant.why_not and (what != "SUBSCRIBE" or "origin" in grant.why_not):
            self.traffic.commands[what, "refused"] += 1
            log.warning("%s: %s refused: %s", self._title, what, grant.why_not)
            return grant.why_not
        if what == "SUBSCRIBE":
            done = symbol is not None and self._site.subscribe(client, symbol)
            self.traffic.ignored += not done
        else:
            await self._command(what, grant)
            return ""
        self.traffic.commands[what, "obeyed" if done else "failed"] += 1
        return ""

    async def _command(self, what: str, grant: Grant) -> Answered:
        """Obey HALT or RESUME, and return the outcome."""
        outcome = await self._site.command(what, grant)
        done = outcome.status < 300
        reason = "" if done else str(outcome.body.get("error"))
        if not done:
            log.warning("%s: %s failed: %s", self._title, what, reason)
        self.traffic.commands[what, "obeyed" if done else "failed"] += 1
        return Answered("" if done else "unable", reason)

    def _count_refusal(self, what: str) -> None:
        self.traffic.commands[what, "refused"] += 1

    async def post(self, request: web.Request, what: str) -> web.Response:
        """Answer a HALT or RESUME by REST."""
        grant = request[GRANT]
        if not grant.may_command:
            self.traffic.commands[what, "refused"] += 1
            log.warning("%s: %s refused: %s", self._title, what, grant.why_not)
            return refused(Refusal(403, grant.why_not))
        outcome = await self._site.command(what, grant)
        self.traffic.commands[what, "obeyed" if outcome.status < 300 else "failed"] += 1
        return answer(outcome.body, status=outcome.status)

    async def close(self) -> None:
        """Send 1001 to every client, and cut those that do not go."""
        clients = tuple(self._open.values())
        closing = [asyncio.create_task(socket.close(code=WSCloseCode.GOING_AWAY, drain=False)) for socket in self._open]
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CLOSE_S
        if closing:
            await asyncio.wait(closing, timeout=CLOSE_S)
        while any(client.waiting_bytes for client in clients) and loop.time() < deadline:  # noqa: ASYNC110 - no event says that a transport is empty
            await asyncio.sleep(0.005)  # asyncio does not report when a buffer is empty
        for client in clients:
            client.abort()
        await asyncio.gather(*closing, return_exceptions=True)

    def cut(self) -> None:
        """Cut every connection without a close frame, as a network does."""
        for client in tuple(self._open.values()):
            client.abort()

    async def _expire(self, socket: web.WebSocketResponse, at: float) -> None:
        await asyncio.sleep(max(0.0, at - time.time()))
        await self._turn_out(socket, "the token has expired")

    async def _turn_out(self, socket: web.WebSocketResponse, why: str) -> None:
        log.warning("%s: a client is closed with 1008: %s", self._title, why)
        self.gate.refused[1008] += 1
        await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=why.encode()[:120], drain=False)

    def _count(self, ip: str) -> None:
        """Count a connection, and a reconnection where this address had one that ended a short time ago."""
        self.traffic.connects += 1
        self.traffic.reconnects += self._ended.takes(ip)


def _agreement(socket: web.WebSocketResponse) -> deflate.Agreement | None:
    """Return how the client takes compressed messages, by the answer to its handshake; None for no compression."""
    try:
        return deflate.agreed(socket.headers.get("Sec-WebSocket-Extensions"), offered=True)
    except deflate.ExtensionError:  # aiohttp's answer has unknown words: then nothing is compressed
        return None


def _command(said: str | bytes) -> tuple[dict[str, Any], str | None]:
    """Return a message with a type, empty where it is none, and its symbol, None where it has no valid one."""
    try:
        message = codec.loads(said.encode() if isinstance(said, str) else said)
    except (DecodeError, UnicodeEncodeError):
        return {}, None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return {}, None
    symbol = message.get("symbol")
    if isinstance(symbol, str) and symbol.strip() and len(symbol) <= LONGEST_SYMBOL and symbol.isprintable():
        return message, symbol.strip()
    return message, None


def _one_line(data: Any) -> str:
    """Return a client's text for a log: short, and without line breaks, which could forge other lines."""
    text = data if isinstance(data, str) else repr(data[:200])
    return plain(text, 200)
