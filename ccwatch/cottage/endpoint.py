"""What the Cottage's two sites share: handshake, one WebSocket endpoint, JSON answers. It knows no state and no source."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import WSCloseCode, WSMsgType, web

from ccwatch.cottage.broadcaster import Client, Message, StateBroadcaster
from ccwatch.protocol import codec

log = logging.getLogger("ccwatch.cottage")

MAX_INCOMING_BYTES: Final = 64 * 1024
"""A client has nothing longer to say; 1009 where it tries."""
CLOSE_S: Final = 0.3
"""How long a client may take to answer a close."""
LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Endpoint:
    """A WebSocket endpoint of one broadcaster: greets each client, then leaves it to the broadcaster until it goes."""

    def __init__(
        self, title: str, broadcaster: StateBroadcaster, greeting: Callable[[], Iterable[Message]], welcomed: Callable[[], None]
    ) -> None:
        """An endpoint without clients.

        Args:
            title: heads its log lines.
            broadcaster: what its clients are subscribed to.
            greeting: what a new client is sent first.
            welcomed: called when a new client was greeted and subscribed.
        """
        self._title = title
        self._broadcaster = broadcaster
        self._greeting = greeting
        self._welcomed = welcomed
        self._open: dict[web.WebSocketResponse, Client] = {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one client until it goes."""
        # Naming `token` selects it as the contract's section 7.1 has it, and keeps aiohttp from logging the JWT beside it.
        socket = web.WebSocketResponse(compress=False, max_msg_size=MAX_INCOMING_BYTES, timeout=CLOSE_S, protocols=("token",))
        if not socket.can_prepare(request):
            return web.Response(status=426, text="A WebSocket is served here.\n", headers={"Upgrade": "websocket"})
        await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket
        log.info("%s: Client Connected", self._title)
        client = self._broadcaster.client(transport)
        self._open[socket] = client
        # Nothing is awaited between greeting and subscribing, so a client misses nothing and gets nothing twice.
        for message in self._greeting():
            client.send(message)
        self._broadcaster.subscribe(client)
        self._welcomed()
        try:
            await self._listen(socket)
        finally:
            self._broadcaster.unsubscribe(client)
            del self._open[socket]
            log.info("%s: Client Disconnected", self._title)
        return socket

    async def _listen(self, socket: web.WebSocketResponse) -> None:
        """Take what the client says, until it goes. A PING is not answered, anything else not obeyed (contract 2.2, 5.2)."""
        while True:
            incoming = await socket.receive()
            if incoming.type in {WSMsgType.CLOSE, WSMsgType.CLOSING}:
                return
            if incoming.type is WSMsgType.CLOSED:  # without a close frame; aiohttp does not tell a reset from an end of file
                log.warning("%s: Connection Closed (Connection reset by peer)", self._title)
                return
            if incoming.type is WSMsgType.ERROR:
                log.warning("%s: Connection Closed (%s)", self._title, incoming.data)
                return
            log.debug("%s: Received %s", self._title, _one_line(incoming.data))

    async def close(self) -> None:
        """Send 1001 to every client, and cut those that do not go."""
        clients = tuple(self._open.values())
        closing = [asyncio.create_task(socket.close(code=WSCloseCode.GOING_AWAY, drain=False)) for socket in self._open]
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CLOSE_S
        if closing:
            await asyncio.wait(closing, timeout=CLOSE_S)
        while any(client.waiting_bytes for client in clients) and loop.time() < deadline:  # noqa: ASYNC110 - no event says that a transport is empty
            await asyncio.sleep(0.005)  # asyncio tells nobody when a buffer has run empty
        for client in clients:
            client.abort()
        await asyncio.gather(*closing, return_exceptions=True)


def _one_line(data: Any) -> str:
    """What a client sent, fit for a log: short, and without the line breaks that would forge other lines."""
    text = data if isinstance(data, str) else repr(data[:200])
    return "".join(char if char.isprintable() else "�" for char in text[:200])


def application(routes: Iterable[web.RouteDef], headers: Mapping[str, str]) -> web.Application:
    """A site: routes behind the origin policy, `headers` on every answer and handshake."""

    async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(headers)

    app = web.Application(middlewares=[_refuse_foreign_origins])
    app.add_routes(routes)
    app.on_response_prepare.append(add_headers)
    return app


@web.middleware
async def _refuse_foreign_origins(request: web.Request, handler: Handler) -> web.StreamResponse:
    """403 for pages of other sites: a browser lets any page open a WebSocket to this machine."""
    origin = request.headers.get("Origin")
    if origin is not None and not _is_local(origin):
        return web.Response(status=403, text="This origin is not allowed here; pages of localhost are.\n")
    return await handler(request)


def _is_local(origin: str) -> bool:
    try:
        return urlsplit(origin).hostname in LOCAL_HOSTS
    except ValueError:
        return False


def answer(value: Any) -> web.Response:
    """A value as JSON."""
    return web.Response(body=codec.dumps(value), content_type="application/json")


def health(service: str, broadcaster: StateBroadcaster) -> web.Response:
    """The answer of `GET /api/health`."""
    tally = broadcaster.tally
    counts = {"clients": len(broadcaster), "sent": tally.sent, "skipped": tally.skipped, "dropped": tally.dropped}
    return answer({"status": "healthy", "service": service, **counts})
