"""A site over HTTP: its routes behind a gate, and JSON answers. It knows no stream."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from aiohttp import web

from ccwatch.cottage.access import JUDGED_BY, Gate, Grant, Refusal
from ccwatch.cottage.broadcaster import StateBroadcaster
from ccwatch.protocol.decoding import codec
from ccwatch.stream.source import DescribedSource

log = logging.getLogger("ccwatch.cottage")

AT_ONCE: Final = 4
"""The most connections that are taken before messages are sent again."""
WAITING: Final = 1024
"""The most connections that wait to be taken; the system may keep fewer."""
GRANT: Final = web.RequestKey("grant", Grant)
PREFLIGHT: Final = {"Access-Control-Allow-Methods": "GET, POST", "Access-Control-Allow-Headers": "Authorization, Content-Type"}


class CalmSite(web.TCPSite):
    """A listening site that takes few of its waiting connections at once: in a storm of them those who are there are served in between."""

    def __init__(self, runner: web.AppRunner, host: str, port: int, *, ssl_context: ssl.SSLContext | None, reuse_port: bool | None) -> None:
        # asyncio accepts so many at once as may wait.
        super().__init__(runner, host, port, ssl_context=ssl_context, reuse_port=reuse_port, backlog=AT_ONCE)

    async def start(self) -> None:
        """Listen, and let the system keep more connections than are taken at once."""
        await super().start()
        if isinstance(self._server, asyncio.Server):
            for listening in self._server.sockets:
                with socket.socket(fileno=os.dup(listening.fileno())) as same:
                    same.listen(WAITING)


def application(routes: Iterable[web.RouteDef], headers: Mapping[str, str], gate: Gate) -> web.Application:
    """Return a site: routes behind the gate, `headers` on every answer and handshake. Other paths are a 404 for everyone."""

    def judge(request: web.Request) -> Grant | Refusal:
        peername = None if request.transport is None else request.transport.get_extra_info("peername")
        # One that was sent twice is one list (RFC 9110, section 5.3), which no origin, host or token is; a proxy may add its own behind.
        headers = {name: ", ".join(request.headers.getall(name)) for name in JUDGED_BY if name in request.headers}
        found = gate.judge(str(peername[0]) if peername else "", headers)
        if isinstance(found, Refusal):
            log.warning("A request is refused with %d: %s", found.status, found.reason)
        return found

    # Around each handler, not as a middleware: aiohttp's chain of them is held for as long as a client is connected.
    def guarded(route: web.RouteDef) -> web.RouteDef:
        async def guard(request: web.Request) -> web.StreamResponse:
            found = judge(request)
            if isinstance(found, Refusal):
                return refused(found)
            request[GRANT] = found
            return await route.handler(request)

        return web.route(route.method, route.path, guard)

    async def preflight(request: web.Request) -> web.Response:
        """Answer a browser that asks, without a token, whether it may send a request with one."""
        if gate.allows_origin(request.headers.get("Origin")):
            return web.Response(status=204, headers=PREFLIGHT)
        found = judge(request)
        return refused(found) if isinstance(found, Refusal) else web.Response(status=204)

    async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(headers)
        origin = request.headers.get("Origin")
        if origin is not None and gate.allows_origin(origin):  # the contract's cors()
            response.headers["Access-Control-Allow-Origin"] = "*" if gate.rules.any_origin else origin
            response.headers["Vary"] = "Origin"

    app = web.Application()
    routes = tuple(routes)
    app.add_routes([guarded(route) for route in routes])
    app.add_routes([web.options(path, preflight) for path in dict.fromkeys(route.path for route in routes)])
    app.on_response_prepare.append(add_headers)
    return app


def answer(value: Any, *, status: int = 200) -> web.Response:
    """Return a value as a JSON answer."""
    return web.Response(body=codec.dumps(value), status=status, content_type="application/json")


def refused(refusal: Refusal) -> web.Response:
    """Return a refusal as an HTTP answer."""
    response = answer({"error": refusal.reason}, status=refusal.status)
    if refusal.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    elif refusal.status in {429, 503}:
        response.headers["Retry-After"] = "5"
    return response


def ready_route(why_not: Callable[[], str | None]) -> web.RouteDef:
    """Return the route `GET /ready`: whether a balancer should send clients here; 503 and the reason where not."""

    async def ready(_request: web.Request) -> web.Response:
        trouble = why_not()
        return answer({"ready": trouble is None, "reason": trouble}, status=200 if trouble is None else 503)

    return web.get("/ready", ready)


def planted_route(source: DescribedSource) -> web.RouteDef:
    """Return the route of the planted incidents, in seconds since the stream's first packet; an `end_s` of null is never."""

    async def planted(_request: web.Request) -> web.Response:
        return answer(
            [
                {"kind": p.kind, "start_s": p.start_s, "end_s": None if p.end_s == float("inf") else p.end_s, "detail": p.detail}
                for p in source.planted
            ]
        )

    return web.get("/api/cottage/planted", planted)


def health(service: str, broadcaster: StateBroadcaster, trouble: str | None = None) -> web.Response:
    """Return the answer of `GET /health` and `GET /api/health`: 503 and the reason where no state can come."""
    tally = broadcaster.tally
    counts = {"clients": len(broadcaster), "sent": tally.sent, "skipped": tally.skipped, "dropped": tally.dropped, "failed": tally.failed}
    if trouble is not None:
        return answer({"status": "unhealthy", "service": service, "reason": trouble, **counts}, status=503)
    return answer({"status": "healthy", "service": service, **counts})
