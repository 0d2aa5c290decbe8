"""Paths on a server: those of the stream and of REST, and those that follow from a server's url. It opens no connection."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from ccwatch.errors import ConfigError

STREAM_PATHS: Final = ("/ws/stream", "/api/ws/stream", "/api/ws/brain")
"""Where engines stream; the first is the contract's."""
KNOWN_PATHS: Final = ("/api/ws/stream", "/ws/stream", "/api/ws/brain", "/")
"""Where a host's port may stream, in the order in which they are tried."""
STATE_PATH: Final = "/api/system/state/current"
HISTORY_PATH: Final = "/api/system/state/history"
AGENTS_PATH: Final = "/api/system/metrics/agents"
MODELS_PATH: Final = "/api/system/metrics/models"
STATUS_PATH: Final = "/api/system/status"
COMMAND_PATHS: Final = {"HALT": ("/api/system/halt", "/api/actions/halt"), "RESUME": ("/api/system/resume", "/api/actions/resume")}
"""Where a command is posted, in the order in which deployed engines are asked."""
ORIGIN_HEADER: Final = "X-Ccwatch-Origin"
"""The header of a Cottage's handshakes and answers that names the origin of its stream if that is not an engine."""
READS_HEADER: Final = "X-Ccwatch-Reads"
"""The header of a handshake that is "no" where a Cottage behaves as a deployed engine, which reads no texts."""

_HTTP: Final = {"ws": "http", "http": "http", "wss": "https", "https": "https"}


def rest_base(url: str) -> str:
    """Return the base url of the REST routes of the server behind a url: its host and port, and any path before the stream's path.

    Args:
        url: http(s)://HOST:PORT or ws(s)://HOST:PORT/ws/stream.

    Raises:
        ConfigError: not such a url; the message shows nothing of it, since it may hold a password.
    """
    wanted = "engine_url: expected http://HOST:PORT or ws://HOST:PORT/ws/stream"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigError(wanted) from None
    scheme = _HTTP.get(parts.scheme)
    if scheme is None or not host:
        raise ConfigError(wanted)
    path = parts.path
    for stream in sorted(STREAM_PATHS, key=len, reverse=True):
        path = path.removesuffix(stream)
    return f"{scheme}://{parts.netloc}{path.rstrip('/')}"
