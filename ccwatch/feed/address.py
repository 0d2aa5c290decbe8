"""A server's url, split so that its secrets are never shown. It knows no socket."""

from __future__ import annotations

import base64
from typing import Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit, urlunsplit

from ccwatch.errors import ConfigError

DEFAULT_PORTS: Final = {"ws": 80, "wss": 443}
SHORTEST_SECRET: Final = 4
"""How long a value of a url's query is to be hidden: shorter ones would take parts of other words out of a server's texts."""
_URL_CHARACTERS: Final = "%/:@!$&'()*+,;=~?"


class Address(NamedTuple):
    """A server's url, split into a part that may be shown and the parts that may not."""

    shown: str
    """Without userinfo and query, for people, logs and recordings."""
    scheme: str
    host: str
    port: int
    target: str
    """Path and query of the request."""
    basic_auth: str | None

    def __repr__(self) -> str:
        return f"Address({self.shown!r})"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the texts that must not be shown, even where a server repeats them."""
        password = base64.b64decode(self.basic_auth or "").decode().partition(":")[2]
        query = self.target.partition("?")[2]
        values = [value for _, value in parse_qsl(query) if len(value) >= SHORTEST_SECRET]
        return tuple(dict.fromkeys(text for text in (query, *values, password) if text))


def parse_url(url: str) -> Address:
    """Parse a WebSocket url.

    Raises:
        ConfigError: not a ws:// or wss:// url with a host; the message shows neither userinfo nor query.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:  # its message would quote what may be a password with a "/" in it
        raise ConfigError("not a url; expected for example ws://localhost:3000; in a password / is %2F, @ is %40") from None
    shown = redact(parts)
    if parts.scheme in {"http", "https"}:
        raise ConfigError(f"{shown} is a web page's address; expected ws://… or wss://…")
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ConfigError(f"{shown!r} is no WebSocket url; expected for example ws://localhost:3000")
    basic = None
    if parts.username is not None:
        basic = basic_credentials(unquote(parts.username), unquote(parts.password or ""))
    target = quote(urlunsplit(("", "", parts.path or "/", parts.query, "")), safe=_URL_CHARACTERS)
    return Address(shown, parts.scheme, parts.hostname, port or DEFAULT_PORTS[parts.scheme], target, basic)


def basic_credentials(username: str, password: str) -> str:
    """Return name and password encoded for HTTP's Basic scheme (RFC 7617)."""
    return base64.b64encode(f"{username}:{password}".encode()).decode()


def redact(parts: SplitResult | str) -> str:
    """Return a url without userinfo, query and fragment."""
    if isinstance(parts, str):
        parts = urlsplit(parts)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
