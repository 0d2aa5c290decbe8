"""The Cottage: an engine and a BFF in one process, fed by any Source. It knows no market; what it streams is handed in."""

from __future__ import annotations

import warnings
from types import TracebackType
from typing import Any, Self

from ccwatch.cottage.access import issue
from ccwatch.cottage.options import Options
from ccwatch.cottage.server import Server
from ccwatch.errors import ConfigError
from ccwatch.stream.source import Source


class Cottage:
    """The contract's server on this machine: an engine with `/ws/stream` and REST, and a BFF, in a thread of its own.

    A context manager; left open, it warns with a ResourceWarning.
    """

    def __init__(self, source: Source | None = None, options: Options | None = None) -> None:
        """A Cottage that does not listen yet.

        Args:
            source: what its engine streams; None with another engine, or where Redis alone is streamed.
            options: all else; None is an engine and a BFF on free ports of this machine.

        Raises:
            ConfigError: what cannot be used together, or a certificate that cannot be read.
        """
        asked = options or Options()
        if (asked.engine_url is not None) == (source is not None or asked.redis_url is not None):
            raise ConfigError("expected either a source or redis_url for the embedded engine, or engine_url")
        self._rules = asked.access
        self._source = source
        self._server = Server(source, asked)

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
