"""The Cottage: an engine and a BFF in one process, fed by any Source. It knows no market: it streams what the Source gives it."""

from __future__ import annotations

import warnings
from types import TracebackType
from typing import Any, Self

from ccwatch.cottage.access import issue
from ccwatch.cottage.cottage_options import Options
from ccwatch.cottage.server import Server
from ccwatch.errors import ConfigError
from ccwatch.stream.source import Source, described


class Cottage:
    """The contract's server on this machine: an engine with `/ws/stream` and REST, and a BFF, in their own thread.

    A context manager; left open, it warns with a ResourceWarning.
    """

    def __init__(self, source: Source | None = None, options: Options | None = None) -> None:
        """Prepare a Cottage; it listens from `start` on.

        Args:
            source: the Source that its engine streams; None with another engine, or where Redis alone is streamed.
            options: all other settings; None is an engine and a BFF on free ports of this machine.

        Raises:
            ConfigError: settings that cannot be used together, or a certificate that cannot be read.
        """
        asked = options or Options()
        if (asked.engine_url is not None) == (source is not None or asked.redis_url is not None):
            raise ConfigError("expected either a source or redis_url for the embedded engine, or engine_url")
        self._rules = asked.access
        self._source = source
        self._server = Server(source, asked)

    def start(self) -> Self:
        """Listen, and return once both sites do. Starting again does nothing.

        Raises:
            ConfigError: a port is in use, or the Cottage was stopped.
        """
        self._server.start()
        return self

    def stop(self) -> None:
        """Close every client with 1001, stop the source and join the threads, within a second. Stopping again does nothing."""
        self._server.stop()

    @property
    def url(self) -> str:
        """Return where the BFF listens: ws://HOST:PORT."""
        return self._server.address(self._server.url)

    @property
    def engine_url(self) -> str:
        """Return the url of the engine's stream: ws://HOST:PORT/ws/stream."""
        return self._server.address(self._server.engine_url)

    @property
    def planted(self) -> tuple[Any, ...]:
        """Return the incidents that a synthetic source plants, each with kind, start_s, end_s and detail; empty for any other."""
        return described(self._source).planted

    def answers(self, seconds: float = 3.0) -> bool:
        """Return whether its loop comes round within so many seconds; one that hangs serves no client."""
        return self._server.answers(seconds)

    def token(self, role: str = "watch", *, seconds: float = 3600) -> str:
        """Return a JWT for its clients, signed with its own secret.

        Args:
            role: "watch" or "command".
            seconds: how long it is valid.

        Raises:
            ConfigError: the Cottage has no secret, or there is no such role.
        """
        return issue(self._rules, role, seconds)

    def __enter__(self) -> Self:
        return self.start()

    def __repr__(self) -> str:
        where = f"{self.url}, its engine {self.engine_url}" if self._server.is_running else "stopped"
        return f"<Cottage {where}>"

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def __del__(self) -> None:
        server = getattr(self, "_server", None)
        if server is not None and server.is_running:
            warnings.warn(f"a Cottage at {server.url} was never stopped", ResourceWarning, source=self, stacklevel=2)
            server.stop()
