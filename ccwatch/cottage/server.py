"""The Cottage's two threads: the loop that serves both sites, and the source, whose Sink the server is."""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import logging
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

from aiohttp import web

from ccwatch.cottage import descriptor_limit
from ccwatch.cottage.access import Gate
from ccwatch.cottage.bff import Bff, Poller
from ccwatch.cottage.broadcaster import Message
from ccwatch.cottage.command_keys import CommandKeys, OwnKeys, SharedKeys
from ccwatch.cottage.cottage_options import Options
from ccwatch.cottage.dialect import Speaker
from ccwatch.cottage.engine import TITLE, Engine
from ccwatch.cottage.redis_bridge import RedisBridge, commands_from
from ccwatch.cottage.redis_channels import log_message
from ccwatch.cottage.server_metrics import CottageCollector, figures, metrics_route
from ccwatch.cottage.site_http import CalmSite, application, planted_route, ready_route
from ccwatch.errors import ConfigError
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.facts import Gap
from ccwatch.protocol.messages import Event, EventKind, Item, Packet, from_ns
from ccwatch.protocol.server_paths import ORIGIN_HEADER, STREAM_PATHS, rest_base
from ccwatch.protocol.wire.channel_sender import STEP
from ccwatch.stream.source import Damaging, DescribedSource, Source, Steerable, Stop, described, read_clock

log = logging.getLogger("ccwatch.cottage")

SOURCE_STOP_S: Final = 0.4
"""Seconds that a source may take to end when the Cottage stops."""
CANCEL_S: Final = 0.1
"""Seconds that a task may take to end once it is cancelled, before it is cancelled again."""
CATCH_UP_S: Final = 3.0
"""Longest time that a worker reads the stream's last entries before it listens: clients of another worker then resume here."""
HEAD_S: Final = 10.0
"""Seconds that a connection may take over a request, or be idle between two."""


class Server:
    """The running part of a Cottage. The threads refer to it and not to the Cottage, so that a forgotten Cottage is noticed."""

    def __init__(self, source: Source | None, options: Options) -> None:
        self._source, self._options = source, options
        self._described = described(source)
        given: object = source  # mypy takes two protocols for exclusive
        self._damaging = given if isinstance(given, Damaging) else None
        if self._damaging is not None:
            self._damaging.damages_itself = False  # what is damaged is what clients are sent, envelope included
        self._tls = options.listen.tls()
        self._headers = _headers(source, options)
        self._base = None if options.engine_url is None else rest_base(options.engine_url)
        speaker = Speaker(options.dialect)
        self._push = options.push and self._base is None and not speaker.is_deployed  # deployed BFFs poll
        self._stream_path = STREAM_PATHS[speaker.is_deployed]
        spoken: dict[str, Any] = {"policy": options.slow, "protocol": options.protocol, "keys": _keys(options)}
        self._engine = Engine(self._welcomed, self._gate("engine"), speaker=speaker, steering=self._steerable, **spoken)
        self._bff = Bff(
            self._welcomed,
            self._gate("bff"),
            engine=self._engine if self._base is None else None,
            base=self._base,
            pushed=self._push,
            **spoken,
        )
        self._engine.on_follow = self._follow
        for site in (self._engine, self._bff):
            site.broadcaster.caught_up_to_s = lambda: self._described.caught_up_to_s
        self._bridge = self._listener(options)
        if self._bridge is not None:
            self._engine.announce = self._bridge.announce
        self._bridge_task: asyncio.Task[None] | None = None
        sites = {"engine": (self._engine.broadcaster, self._engine.endpoint), "bff": (self._bff.broadcaster, self._bff.endpoint)}
        self._metrics = CottageCollector(sites, lambda: None if self._bridge is None else self._bridge.tally)
        self._is_draining = False
        self._position: tuple[str, int] | None = None  # the entry of a shared stream that came last
        self._place = 0  # how many messages it had
        # A source that can be asked for other symbols has one of its own, which is the main stream.
        self._own_symbol = self._described.symbol
        self._listening: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._run, name="ccwatch-cottage", daemon=True)
        self._source_thread = threading.Thread(target=self._play, name="ccwatch-cottage-source", daemon=True)
        self._stop_source = Stop()
        self._life = threading.Lock()  # serialises start() with stop(): neither sees the other half done
        self._stopped = False
        self._loop: asyncio.AbstractEventLoop
        self._stopping: asyncio.Event
        self.url = self.engine_url = ""
        if options.shared is not None:
            options.shared.use_figures(self._figures)  # its thread runs already

    def _listener(self, options: Options) -> RedisBridge | None:
        """Return what listens to Redis: to all that engines publish there, or at a worker, which reads the stream, to commands alone."""
        if options.shared is not None:
            return commands_from(options.shared.address.url, self._redis_says)
        return None if options.redis_url is None else RedisBridge(options.redis_url, self._from_redis, on_status=self._redis_says)

    def _gate(self, site: str) -> Gate:
        gate, shared = Gate(self._options.access), self._options.shared
        if shared is not None:
            gate.elsewhere = shared.count(site, lambda: gate.connections)
        return gate

    def _figures(self) -> str:
        """Return the figures that this worker shares with the others; called by another thread."""
        if not self._listening.done() or self._stop_source.is_set():
            return ""
        asked: concurrent.futures.Future[bytes] = concurrent.futures.Future()
        self._loop.call_soon_threadsafe(lambda: asked.set_result(figures(self._metrics)))
        return asked.result(1.0).decode()

    # ── on the caller's thread ──

    @property
    def is_running(self) -> bool:
        """Return whether its loop runs."""
        return self._thread.is_alive()

    def address(self, url: str) -> str:
        """Return the url; raise a ConfigError before the Cottage has started."""
        if not url:
            raise ConfigError("the Cottage is not started: use it in a with statement, or call start()")
        return url

    def answers(self, seconds: float) -> bool:
        """Return whether the loop comes round within so many seconds."""
        came = threading.Event()
        try:
            self._loop.call_soon_threadsafe(came.set)
        except RuntimeError:  # it has ended
            return False
        return came.wait(seconds)

    def start(self) -> None:
        """Listen, and return once both sites do."""
        with self._life:
            if self._stopped:
                raise ConfigError("the Cottage was stopped; make another")
            if self._thread.ident is None:
                self._thread.start()
            self._listening.result()

    def stop(self) -> None:
        """Close everything, and return once it is closed."""
        with self._life:
            self._stopped = True
            if self._thread.is_alive():
                self._stop_source.set()
                self._loop.call_soon_threadsafe(self._stopping.set)
                if threading.current_thread() is not self._thread:  # the collector may find a forgotten Cottage there
                    self._thread.join()

    # ── on the source's thread ──

    def _play(self) -> None:
        source = self._source
        if source is None:
            return
        try:
            source.stream(self, self._stop_source)
            log.info("%s: the source has ended", TITLE)
        except Exception as error:
            self._engine.trouble = f"the source of the stream failed: {type(error).__name__}: {error}"
            log.exception("%s: the source failed", TITLE)

    def receive(self, items: Sequence[Item], /) -> None:
        """Pass messages to the loop, and wait until it has taken them, so that the source is no faster than the server."""
        messages: list[Message | None] = []
        position = self._described.position
        if position != self._position:
            if self._position is None:
                self._headers.update(_headers(self._source, self._options))  # the first entry of a shared stream names its origin
            self._position, self._place = position, 0
        damage = None if self._damaging is None else self._damaging.damage
        for item in items:
            if isinstance(item, Packet):
                raw, is_main = item.raw or codec.encode(item), self._own_symbol is None or item.symbol in {None, self._own_symbol}
                messages.append(Message.of(raw, symbol=item.symbol, is_main=is_main, number=self._next(), damage=damage))
            elif isinstance(item, Event) and item.kind == EventKind.MALFORMED:
                messages.append(Message.of(item.raw, is_state=False, number=self._next(), damage=damage))
            elif isinstance(item, Event) and isinstance(item.facts, Gap) and item.facts.is_numbered:
                messages.append(log_message("WARNING", f"gap: {item.detail}", from_ns(item.received_at_ns).isoformat()))
            elif isinstance(item, Event) and item.kind == EventKind.DISCONNECT and self._described.cuts_connections:
                messages.append(None)  # the moment at which all connections are cut
        if not messages or self._stop_source.is_set():
            return
        taken: concurrent.futures.Future[None] = concurrent.futures.Future()
        born_ns = read_clock().mono_ns
        try:
            if self._options.is_lossless:
                taken = asyncio.run_coroutine_threadsafe(self._publish_to_the_slowest(messages, born_ns), self._loop)
            else:
                self._loop.call_soon_threadsafe(self._take, messages, born_ns, taken)
            taken.result()
        except concurrent.futures.CancelledError:
            log.debug("%s: stopped while a client was waited for", TITLE)

    def _next(self) -> tuple[str, int] | None:
        """Return the number of the next message of a stream that several servers read; None where they count themselves."""
        if self._position is None:
            return None
        epoch, n = self._position
        self._place += 1
        return epoch, n * STEP + min(self._place, STEP) - 1

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
        self._loop.set_exception_handler(descriptor_limit.complain_in_one_line)
        self._engine.endpoint.most_descriptors = self._bff.endpoint.most_descriptors = descriptor_limit.raise_descriptors()
        self._stopping = asyncio.Event()
        runners: list[web.AppRunner] = []
        poller: asyncio.Task[None] | None = None
        beats = [asyncio.create_task(site.broadcaster.beat_for_ever()) for site in (self._engine, self._bff)]
        try:
            base = self._base
            if self._options.shared is not None:
                beats.append(asyncio.create_task(self._options.shared.keep_counts()))
                await self._catch_up()
            if base is None:
                base = await self._open(runners, self._engine.routes(), self._engine.endpoint.gate, self._options.listen.engine_port)
            self.url = _ws(await self._open(runners, self._bff.routes(), self._bff.endpoint.gate, self._options.listen.port))
            self.engine_url = _ws(base) + self._stream_path
            if not self._push:
                poller = asyncio.create_task(Poller(base, self._bff, self._headers).run())
            if not self._options.start_on_first_client:
                self._start_source()
            self._listening.set_result(None)
            await self._stopping.wait()
        finally:
            await self._shut_down(runners, [*beats, *([] if poller is None else [poller])])

    async def _catch_up(self) -> None:
        """Read the last entries and if trading is halted before any client comes; a Redis that does not answer is not waited for."""
        begun_s = time.monotonic()
        self._start_source()
        self._start_bridge()
        while not (self._described.caught_up_to_s >= begun_s and (self._bridge is None or self._bridge.has_looked)):
            if time.monotonic() > begun_s + CATCH_UP_S:
                break
            if self._stopping.is_set():
                return
            await asyncio.sleep(0.01)
        self._headers.update(_headers(self._source, self._options))  # the entries name the origin

    async def _open(self, runners: list[web.AppRunner], routes: list[web.RouteDef], gate: Gate, port: int) -> str:
        """Listen on a port, and return the site's http url."""
        shared = [
            metrics_route(self._metrics, self._options.shared),
            ready_route(self._why_not_ready),
            planted_route(self._described),
        ]
        app = application([*shared, *routes], self._headers, gate)
        # The keep-alive timer runs from the first byte: a client that never finishes a request is cut as well.
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, keepalive_timeout=HEAD_S, logger=descriptor_limit.requests)
        runners.append(runner)
        await runner.setup()
        host = self._options.listen.host
        site = CalmSite(runner, host, port, ssl_context=self._tls, reuse_port=self._options.listen.shared or None)
        try:
            await site.start()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise ConfigError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
            raise ConfigError(f"port {port} is in use on {host}; --port 0 and --engine-port 0 take free ones") from error
        return site.name

    def _why_not_ready(self) -> str | None:
        return self._engine.trouble or self._described.trouble or ("it ends" if self._is_draining else None)

    def _welcomed(self) -> None:
        self._start_bridge()  # with the first client (contract 1.2)
        if self._options.start_on_first_client:
            self._start_source()

    def _start_bridge(self) -> None:
        if self._bridge is not None and self._bridge_task is None:
            self._bridge_task = asyncio.create_task(self._bridge.run())

    def _from_redis(self, message: Message, for_everybody: bool) -> None:
        self._engine.publish(message)
        if for_everybody:
            self._bff.publish(message)

    def _redis_says(self, status: str, message: Message) -> None:
        """Obey a halt or its end announced on Redis, and keep a halt's message for clients that come later."""
        self._engine.standing = message if status == "HALT" else None
        source = self._steerable()
        if source is not None:
            (source.halt if status == "HALT" else source.resume)()

    def _steerable(self) -> Steerable | None:
        """Return the source if it obeys commands and has not ended; otherwise None."""
        source: object = self._source  # mypy takes two protocols for exclusive
        return source if isinstance(source, Steerable) and self._source_thread.is_alive() else None

    def _follow(self) -> None:
        """Inform the source which symbols are wanted beside its own."""
        source = self._steerable()
        if source is not None:
            wanted = self._engine.broadcaster.symbols | self._bff.broadcaster.symbols
            source.follow(wanted)

    def _start_source(self) -> None:
        if self._source is not None and self._source_thread.ident is None and not self._stop_source.is_set():
            self._source_thread.start()

    def _take(self, messages: Sequence[Message | None], born_ns: int, taken: concurrent.futures.Future[None]) -> None:
        try:
            self._publish(messages)
            self._note_lag(born_ns)
        except Exception as error:  # noqa: BLE001 - raised again where the source waits
            taken.set_exception(error)
        else:
            taken.set_result(None)

    async def _publish_to_the_slowest(self, messages: Sequence[Message | None], born_ns: int) -> None:
        for message in messages:
            await self._engine.broadcaster.room()
            await self._bff.broadcaster.room()
            self._publish([message])
        self._note_lag(born_ns)

    def _publish(self, messages: Sequence[Message | None]) -> None:
        for message in messages:
            if message is None:
                self._engine.endpoint.cut()
                self._bff.endpoint.cut()
                continue
            self._engine.publish(message)
            if self._push:
                self._bff.publish(message)

    def _note_lag(self, born_ns: int) -> None:
        lag_s = (read_clock().mono_ns - born_ns) / 1e9
        for tally in (self._engine.broadcaster.tally, self._bff.broadcaster.tally):
            tally.lag_s, tally.lag_max_s = lag_s, max(tally.lag_max_s, lag_s)

    async def _shut_down(self, runners: list[web.AppRunner], tasks: list[asyncio.Task[None]]) -> None:
        self._is_draining = True
        self._stop_source.set()
        for task in [*tasks, *([] if self._bridge_task is None else [self._bridge_task])]:
            await _end(task)
        for site in [site for runner in runners for site in runner.sites]:
            await site.stop()
        await asyncio.gather(self._end_source(), self._engine.endpoint.close(), self._bff.endpoint.close())
        for runner in runners:
            await runner.cleanup()
        if self._options.shared is not None:
            await self._options.shared.close()

    async def _end_source(self) -> None:
        """Wait for the source's thread; if that waits for a stalled client, then until the client is cut."""
        deadline = self._loop.time() + SOURCE_STOP_S
        while self._source_thread.is_alive():
            if self._loop.time() > deadline:
                log.error("%s: the source did not end within %g s of being asked to", TITLE, SOURCE_STOP_S)
                return
            await asyncio.sleep(0.005)


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel a task until it ends: before Python 3.12 asyncio.wait_for loses a cancellation that meets what it waited for."""
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=CANCEL_S)


def _keys(options: Options) -> CommandKeys:
    return OwnKeys() if options.shared is None else SharedKeys(options.shared.address)


def _headers(source: Source | None, options: Options) -> dict[str, str]:
    """Return what every answer says of the stream: what it is made of, and whether it keeps pace with the clock."""
    headers = {}
    if isinstance(source, DescribedSource) and (origin := source.origin):
        headers[ORIGIN_HEADER] = str(origin)
    if options.virtual_clock:
        headers["X-Ccwatch-Clock"] = "virtual"
    return headers


def _ws(http_url: str) -> str:
    return "ws" + http_url.removeprefix("http")
