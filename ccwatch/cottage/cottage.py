"""The Cottage: an engine and a BFF in one process, fed by any Source. It knows no market; what it streams is handed in."""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import ipaddress
import logging
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from ccwatch.cottage.bff import Bff, Poller, rest_base
from ccwatch.cottage.broadcaster import Message, SlowPolicy
from ccwatch.cottage.endpoint import application
from ccwatch.cottage.engine import STREAM_PATHS, TITLE, Engine
from ccwatch.errors import ConfigError
from ccwatch.protocol import codec
from ccwatch.protocol.messages import Event, EventKind, Item, Packet
from ccwatch.source import Source, Stop

log = logging.getLogger("ccwatch.cottage")

SOURCE_STOP_S: Final = 0.4
"""How long a source may take to end when the Cottage stops."""


class Cottage:
    """The contract's server on this machine: an engine with `/ws/stream` and REST, and a BFF, in a thread of its own.

    A context manager; left open, it warns with a ResourceWarning.
    """

    def __init__(
        self,
        source: Source | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        engine_port: int = 0,
        virtual_clock: bool = False,
        start_on_first_client: bool = False,
        engine_url: str | None = None,
        push: bool = True,
        slow: SlowPolicy | None = None,
    ) -> None:
        """A Cottage that does not listen yet.

        Args:
            source: what its engine streams; None with `engine_url`.
            host: a loopback address.
            port: of the BFF; 0 is a free one.
            engine_port: of the engine; 0 is a free one.
            virtual_clock: the source does not keep pace with the wall clock. Clients are told, and none skips a message: the
                source waits for the slowest.
            start_on_first_client: the source starts when the first client was welcomed, on either site, and none skips a message.
            engine_url: another engine, which is polled; then there is no embedded one.
            push: the BFF is pushed each message by its engine, byte for byte; False polls the engine over HTTP once a second.
            slow: when a slow client skips, and when it is dropped.

        Raises:
            ConfigError: an argument that cannot be used.
        """
        if (source is None) == (engine_url is None):
            raise ConfigError("expected either a source for the embedded engine, or engine_url")
        if not _is_loopback(host):
            raise ConfigError(f"host: expected a loopback address such as 127.0.0.1, got {host!r}: there is no access control yet")
        for name, number in (("port", port), ("engine_port", engine_port)):
            if type(number) is not int or not 0 <= number <= 65_535:
                raise ConfigError(f"{name}: expected 0 to 65535, got {number!r}")
        headers = {}
        if origin := getattr(source, "origin", None):
            headers["X-Ccwatch-Origin"] = str(origin)
        if virtual_clock:
            headers["X-Ccwatch-Clock"] = "virtual"
        plan = _Plan(
            source=source,
            host=host,
            port=port,
            engine_port=engine_port,
            headers=headers,
            lossless=virtual_clock or start_on_first_client,
            start_on_first_client=start_on_first_client,
            engine_base=None if engine_url is None else rest_base(engine_url),
            push=push and engine_url is None,
            slow=slow or SlowPolicy(),
        )
        self._server = _Server(plan)  # the threads hold this one, not the Cottage, so that a forgotten Cottage is noticed

    def start(self) -> Self:
        """Listen; returns when both sites do. Starting again is nothing.

        Raises:
            ConfigError: a port is in use, or the Cottage was stopped.
        """
        self._server.start()
        return self

    def stop(self) -> None:
        """Close every client with 1001, stop the source and join the threads, within a second. Stopping again is nothing."""
        self._server.stop()

    @property
    def url(self) -> str:
        """Where the BFF listens: ws://HOST:PORT."""
        return self._server.address(self._server.url)

    @property
    def engine_url(self) -> str:
        """Where the engine's stream is: ws://HOST:PORT/ws/stream."""
        return self._server.address(self._server.engine_url)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def __del__(self) -> None:
        server = getattr(self, "_server", None)
        if server is not None and server.is_running:
            warnings.warn(f"a Cottage at {server.url} was never stopped", ResourceWarning, source=self, stacklevel=2)
            server.stop()


@dataclass(frozen=True)
class _Plan:
    """What a Cottage was asked to be."""

    source: Source | None
    host: str
    port: int
    engine_port: int
    headers: dict[str, str]
    lossless: bool
    start_on_first_client: bool
    engine_base: str | None
    push: bool
    slow: SlowPolicy


class _Server:
    """The Cottage's two threads: the loop that serves, and the source, whose Sink this is."""

    def __init__(self, plan: _Plan) -> None:
        self._plan = plan
        self._bff = Bff(self._welcomed, plan.slow)
        self._engine = Engine(self._welcomed, plan.slow)
        self._listening: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._run, name="ccwatch-cottage", daemon=True)
        self._source_thread = threading.Thread(target=self._play, name="ccwatch-cottage-source", daemon=True)
        self._stop_source = Stop()
        self._life = threading.Lock()  # serialises start() with stop(): neither sees the other half done
        self._stopped = False
        self._loop: asyncio.AbstractEventLoop
        self._stopping: asyncio.Event
        self.url = self.engine_url = ""

    # ── on the caller's thread ──

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def address(self, url: str) -> str:
        if not url:
            raise ConfigError("the Cottage is not started: use it in a with statement, or call start()")
        return url

    def start(self) -> None:
        with self._life:
            if self._stopped:
                raise ConfigError("the Cottage was stopped; make another")
            if self._thread.ident is None:
                self._thread.start()
            self._listening.result()

    def stop(self) -> None:
        with self._life:
            self._stopped = True
            if self._thread.is_alive():
                self._stop_source.set()
                self._loop.call_soon_threadsafe(self._stopping.set)
                if threading.current_thread() is not self._thread:  # it is where the collector found a forgotten Cottage
                    self._thread.join()

    # ── on the source's thread ──

    def _play(self) -> None:
        source = self._plan.source
        if source is None:
            return
        try:
            source.stream(self, self._stop_source)
            log.info("%s: the source has ended", TITLE)
        except Exception:
            log.exception("%s: the source failed", TITLE)

    def receive(self, items: Sequence[Item], /) -> None:
        """Hand messages to the loop, and wait until it has taken them: so the source is no faster than the server."""
        messages = []
        for item in items:
            if isinstance(item, Packet):
                messages.append(Message.of(item.raw or codec.encode(item)))
            elif isinstance(item, Event) and item.kind == EventKind.MALFORMED:
                messages.append(Message.of(item.raw, is_state=False))
        if not messages or self._stop_source.is_set():
            return
        try:
            asyncio.run_coroutine_threadsafe(self._publish(messages), self._loop).result()
        except concurrent.futures.CancelledError:
            log.debug("%s: stopped while a client was waited for", TITLE)

    # ── on the loop's thread ──

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:
            if self._listening.done():
                log.exception("%s: the server failed", TITLE)
            else:
                self._listening.set_exception(error)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        plan = self._plan
        runners: list[web.AppRunner] = []
        poller: asyncio.Task[None] | None = None
        try:
            base = plan.engine_base
            if base is None:
                base = await self._open(runners, self._engine.routes(), plan.engine_port)
            self.url = _ws(await self._open(runners, self._bff.routes(), plan.port))
            self.engine_url = _ws(base) + STREAM_PATHS[0]
            if not plan.push:
                poller = asyncio.create_task(Poller(base, self._bff.publish).run())
            if not plan.start_on_first_client:
                self._start_source()
            self._listening.set_result(None)
            await self._stopping.wait()
        finally:
            await self._shut_down(runners, poller)

    async def _open(self, runners: list[web.AppRunner], routes: list[web.RouteDef], port: int) -> str:
        """Listen on a port; returns the site's http url."""
        runner = web.AppRunner(application(routes, self._plan.headers), access_log=None, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, self._plan.host, port)
        try:
            await site.start()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise ConfigError(f"cannot listen on {self._plan.host} port {port}: {error.strerror or error}") from error
            raise ConfigError(f"port {port} is in use on {self._plan.host}; --port 0 and --engine-port 0 take free ones") from error
        return site.name

    def _welcomed(self) -> None:
        if self._plan.start_on_first_client:
            self._start_source()

    def _start_source(self) -> None:
        if self._plan.source is not None and self._source_thread.ident is None and not self._stop_source.is_set():
            self._source_thread.start()

    async def _publish(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if self._plan.lossless:
                await self._engine.broadcaster.room()
                await self._bff.broadcaster.room()
            self._engine.publish(message)
            if self._plan.push:
                self._bff.publish(message)

    async def _shut_down(self, runners: list[web.AppRunner], poller: asyncio.Task[None] | None) -> None:
        self._stop_source.set()
        if poller is not None:
            poller.cancel()
            await asyncio.gather(poller, return_exceptions=True)
        for site in [site for runner in runners for site in runner.sites]:
            await site.stop()
        await asyncio.gather(self._end_source(), self._engine.endpoint.close(), self._bff.endpoint.close())
        for runner in runners:
            await runner.cleanup()

    async def _end_source(self) -> None:
        """Wait for the source's thread; if that waits for a stalled client, then until the client is cut."""
        deadline = self._loop.time() + SOURCE_STOP_S
        while self._source_thread.is_alive():
            if self._loop.time() > deadline:
                log.error("%s: the source did not end within %g s of being asked to", TITLE, SOURCE_STOP_S)
                return
            await asyncio.sleep(0.005)


def _ws(http_url: str) -> str:
    return "ws" + http_url.removeprefix("http")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
