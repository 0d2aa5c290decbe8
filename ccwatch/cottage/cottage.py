"""The Cottage: an engine and a BFF in one process, fed by any Source. It knows no market; what it streams is handed in."""

from __future__ import annotations

import ssl
import warnings
from types import TracebackType
from typing import Any, Self

from ccwatch.cottage.access import AccessRules, is_loopback_host, issue
from ccwatch.cottage.broadcaster import SlowPolicy
from ccwatch.cottage.server import Plan, Server
from ccwatch.errors import ConfigError
from ccwatch.protocol.decoding.places import ORIGIN_HEADER, rest_base
from ccwatch.stream.source import Source


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
        access: AccessRules | None = None,
        tls_cert: str | None = None,
        tls_key: str | None = None,
        dialect: str = "contract",
        redis_url: str | None = None,
    ) -> None:
        """A Cottage that does not listen yet.

        Args:
            source: what its engine streams; None with `engine_url`, or where Redis alone is streamed.
            host: where to listen; other than a loopback address only with a secret in `access`.
            port: of the BFF; 0 is a free one.
            engine_port: of the engine; 0 is a free one.
            virtual_clock: the source does not keep pace with the wall clock. Clients are told, and none skips a message: the
                source waits for the slowest.
            start_on_first_client: the source starts when the first client was welcomed, on either site, and none skips a message.
            engine_url: another engine, which is polled; then there is no embedded one.
            push: the BFF is pushed each message by its engine, byte for byte; False polls the engine over HTTP once a second.
            slow: when a slow client skips, and when it is dropped.
            access: who may watch and command; None is this machine.
            tls_cert: file of a certificate chain: both sites then speak wss and https.
            tls_key: file of its key, where that is another one.
            dialect: the shape in which the engine speaks on its socket: contract, engine_loop, bridge, pipeline.
            redis_url: redis://HOST:PORT/DB, whose channels are streamed as well, and where commands are announced.

        Raises:
            ConfigError: an argument that cannot be used.
        """
        rules = access or AccessRules()
        if (engine_url is not None) == (source is not None or redis_url is not None):
            raise ConfigError("expected either a source or redis_url for the embedded engine, or engine_url")
        if rules.secret is None and not is_loopback_host(host):
            raise ConfigError(f"host: {host!r} is open to other machines, which needs a secret to verify tokens with; else 127.0.0.1")
        for name, number in (("port", port), ("engine_port", engine_port)):
            if type(number) is not int or not 0 <= number <= 65_535:
                raise ConfigError(f"{name}: expected 0 to 65535, got {number!r}")
        headers = {}
        if origin := getattr(source, "origin", None):
            headers[ORIGIN_HEADER] = str(origin)
        if virtual_clock:
            headers["X-Ccwatch-Clock"] = "virtual"
        plan = Plan(
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
            rules=rules,
            tls=None if tls_cert is None else _server_tls(tls_cert, tls_key),
            dialect=dialect,
            redis_url=redis_url,
        )
        self._rules = rules
        self._source = source
        self._server = Server(plan)

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

    @property
    def planted(self) -> tuple[Any, ...]:
        """The truth of what its stream has planted: incidents with kind, start_s, end_s and detail."""
        return tuple(getattr(self._source, "planted", ()))

    def token(self, role: str = "watch", *, seconds: float = 3600) -> str:
        """A JWT by its own secret, for its clients.

        Args:
            role: "watch" or "command".
            seconds: how long it is good for.

        Raises:
            ConfigError: it was given no secret, or no such role.
        """
        return issue(self._rules, role, seconds)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def __del__(self) -> None:
        server = getattr(self, "_server", None)
        if server is not None and server.is_running:
            warnings.warn(f"a Cottage at {server.url} was never stopped", ResourceWarning, source=self, stacklevel=2)
            server.stop()


def _server_tls(cert: str, key: str | None) -> ssl.SSLContext:
    """How to be known by clients.

    Raises:
        ConfigError: the files cannot be used.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"tls_cert or tls_key cannot be used: {error}") from None
    return context
