"""Access to a Cottage: who may watch and command, by token, origin and address, and rate limits. It knows no stream.

The contract's section 7: a JWT in `Sec-WebSocket-Protocol: token, <JWT>`, ten connections per address, origins restricted.
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import jwt

from ccwatch.errors import ConfigError

ALGORITHM: Final = "HS256"
"""The only algorithm, whatever a token's header names: so neither `none` nor a confusion of keys can get in."""
SHORTEST_SECRET: Final = 32
"""Fewest bytes of a secret: a key of HS256 must be at least as long as its hash (RFC 7518, section 3.2)."""
LATEST_S: Final = 253_402_300_799
"""The end of the year 9999, s since 1970: no token is valid for longer."""
LEEWAY_S: Final = 5.0
"""Seconds that two machines' clocks may differ by."""
ROLES: Final = ("watch", "command")
LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
ANY: Final = "*"
JUDGED_BY: Final = ("Host", "Origin", "Authorization", "Sec-WebSocket-Protocol", "X-Forwarded-For", "Forwarded")
"""The headers by which a request is judged."""

_ORIGIN: Final = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", re.IGNORECASE | re.ASCII)
"""No user, path or query: text with more parts than an origin has is refused, whatever a parser makes of it. Names of other letters are
sent as `xn--…`."""
_PORTS: Final = {"http": 80, "https": 443}

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class AccessRules:
    """The rules by which a Cottage serves clients."""

    secret: str | None = field(default=None, repr=False)
    """Key of the tokens (HS256); None requires no token, and serves this machine only."""
    audience: str = "ccwatch"
    """The name that a token's `aud` must contain."""
    origins: tuple[str, ...] = ()
    """Origins of pages that may connect, besides localhost; "*" lets every page watch, as in the contract."""
    per_ip: int | None = 10
    """Most WebSockets per address and site; None is no limit."""
    proxies: tuple[str, ...] = ()
    """Addresses or networks of proxies whose `X-Forwarded-For` is trusted."""
    messages_per_s: float = 20.0
    """Messages per second that a client may send, on average."""
    burst: int = 50
    """Count of messages that a client may send at once."""

    def __post_init__(self) -> None:
        """Raise ConfigError for rules that cannot be used.

        Raises:
            ConfigError: a rule that cannot be used; the message names it and the allowed values.
        """
        if self.secret is not None and len(self.secret.encode()) < SHORTEST_SECRET:
            raise ConfigError(f"secret: expected at least {SHORTEST_SECRET} bytes, got {len(self.secret.encode())}")
        if self.per_ip is not None and (type(self.per_ip) is not int or self.per_ip < 1):
            raise ConfigError(f"per_ip: expected a number from 1, or None for any, got {self.per_ip!r}")
        for origin in self.origins:
            if origin != ANY and _origin(origin) is None:
                raise ConfigError(
                    f"origins: expected for example 'https://dash.example' or 'https://xn--brse-5qa.example', or '*', got {origin!r}"
                )
        if not self.messages_per_s > 0 or not self.burst >= 1:  # NaN is neither
            raise ConfigError("messages_per_s and burst: expected numbers above zero")
        _networks(self.proxies)

    @property
    def any_origin(self) -> bool:
        """Return whether pages of every origin may watch."""
        return ANY in self.origins


@dataclass(frozen=True, slots=True)
class Grant:
    """The rights of a request."""

    ip: str
    may_command: bool
    expires_at: float | None
    """When its token expires, by `time.time`; None without a token."""
    token: str | None = field(repr=False)
    """The verified token, to be passed on to an engine."""
    why_not: str = ""
    """The reason why it may not command; empty where it may."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The reason why a request is not served: an HTTP status and one line of text."""

    status: int
    reason: str


class Elsewhere(Protocol):
    """The other processes of the same site, which count connections together with this one."""

    async def fits(self, ip: str, own: int, limit: int) -> bool:
        """Return whether all processes together have no more connections of an address than the limit, with so many here."""

    def left(self, ip: str, own: int) -> None:
        """Note that a connection of an address has ended, and how many are left here."""


class Gate:
    """Judges requests by the rules, and counts the connections of each address. Used on the loop's thread only."""

    def __init__(self, rules: AccessRules) -> None:
        """Prepare a gate without connections."""
        self.rules = rules
        self.elsewhere: Elsewhere | None = None
        """The other processes of the same site; None without any."""
        self.refused: Counter[int] = Counter()
        self._origins = {_origin(origin) for origin in rules.origins if origin != ANY}
        self._proxies = _networks(rules.proxies)
        self._connections: Counter[str] = Counter()

    def judge(self, peer: str, headers: Mapping[str, str]) -> Grant | Refusal:
        """Return the rights of a request from `peer` with these headers, or why it is refused."""
        found = self._judge(peer, headers)
        if isinstance(found, Refusal):
            self.refused[found.status] += 1
        return found

    async def enter(self, ip: str) -> Refusal | None:
        """Count a connection of this address and return None, or return why it is refused."""
        limit = self.rules.per_ip
        self._connections[ip] += 1
        if limit is None:
            return None
        own, fits = self._connections[ip], False
        try:
            fits = own <= limit and (self.elsewhere is None or await self.elsewhere.fits(ip, own, limit))
        finally:
            if not fits:
                self.leave(ip)
        if fits:
            return None
        self.refused[429] += 1
        return Refusal(429, f"{limit} connections from one address are open already")

    def leave(self, ip: str) -> None:
        """Note that a connection of this address has ended."""
        self._connections[ip] -= 1
        left = self._connections[ip]
        if left <= 0:
            del self._connections[ip]
        if self.elsewhere is not None and self.rules.per_ip is not None:
            self.elsewhere.left(ip, left)

    @property
    def connections(self) -> dict[str, int]:
        """Return the count of open connections by address."""
        return dict(self._connections)

    def allows_origin(self, origin: str | None) -> bool:
        """Return whether a page of this origin may connect."""
        return origin is None or self.rules.any_origin or self._is_known(origin)

    def _is_known(self, origin: str) -> bool:
        found = _origin(origin)
        return found is not None and (found in self._origins or found[1] in LOCAL_HOSTS)

    def _is_own_host(self, host: str | None) -> bool:
        """Return whether `Host` names this machine: a page whose name resolves to it (DNS rebinding) sends no foreign Origin."""
        if host is None or self.rules.any_origin:
            return True  # no browser leaves it out
        found = _origin(f"http://{host}")
        # No address can be made to lead elsewhere, only a name.
        if found is None:
            return False
        return is_loopback_host(found[1]) or _ip(found[1]) is not None or found[1] in {known[1] for known in self._origins if known}

    def _judge(self, peer: str, headers: Mapping[str, str]) -> Grant | Refusal:
        origin = headers.get("Origin")
        if not self.allows_origin(origin):
            return Refusal(403, "this origin is not allowed here; pages of localhost are")
        ip, is_direct = self._address(peer, headers)
        is_foreign = origin is not None and not self._is_known(origin)
        why_not = "commands from a foreign origin are refused" if is_foreign else ""
        is_local = is_direct and _is_loopback(ip)
        if is_local and not self._is_own_host(headers.get("Host")):
            return Refusal(
                403, "expected localhost, an address or a named origin's host in Host: another name may be a page's that leads here"
            )
        if self.rules.secret is None:
            if not is_local:
                return Refusal(401, "this server serves its own machine only: it was given no secret to verify tokens with")
            return Grant(ip, not why_not, None, None, why_not)
        token = _token(headers)
        if token is None:
            if not is_local:
                return Refusal(401, "a token is needed: Sec-WebSocket-Protocol: token, <JWT>, or Authorization: Bearer <JWT>")
            return Grant(ip, not why_not, None, None, why_not)
        claims = self._verify(token, self.rules.secret)
        if isinstance(claims, Refusal):
            return claims
        role = claims.get("role", "watch")
        if role not in ROLES:
            return Refusal(403, f"the token's role is none of {', '.join(ROLES)}")
        if role != "command":
            why_not = why_not or "the token's role is watch; command is needed"
        return Grant(ip, not why_not, float(claims["exp"]) + LEEWAY_S, token, why_not)

    def _verify(self, token: str, secret: str) -> dict[str, Any] | Refusal:
        options: Any = {"require": ["exp", "aud"]}
        try:
            claims = jwt.decode(token, secret, algorithms=[ALGORITHM], audience=self.rules.audience, leeway=LEEWAY_S, options=options)
            for name in ("exp", "nbf", "iat"):  # an integer of JSON may have any length; PyJWT takes texts and truth values for times
                if name in claims and (type(claims[name]) not in {int, float} or not 0 <= float(claims[name]) <= LATEST_S):
                    return Refusal(401, f"the token's {name} is no time")
        except jwt.ExpiredSignatureError:
            return Refusal(401, "the token has expired")
        except jwt.InvalidAudienceError:
            return Refusal(401, f"the token is for another audience than {self.rules.audience}")
        except jwt.MissingRequiredClaimError as error:
            return Refusal(401, f"the token has no {error.claim}")
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError):  # its message may quote the token
            return Refusal(401, "the token is not valid")
        return claims

    def _address(self, peer: str, headers: Mapping[str, str]) -> tuple[str, bool]:
        """Return the client's address, and whether it is certain: not if a header names hops that no trusted proxy confirms."""
        forwarded = headers.get("X-Forwarded-For")
        if not self._is_proxy(peer):
            return peer, forwarded is None and "Forwarded" not in headers
        hops = [hop.strip() for hop in (forwarded or "").split(",") if hop.strip()]
        for hop in reversed(hops):  # from our side: hops beyond the first unknown address cannot be trusted
            if not self._is_proxy(hop):
                return (hop, True) if _ip(hop) else (peer, False)
        return peer, not hops and "Forwarded" not in headers

    def _is_proxy(self, address: str) -> bool:
        ip = _ip(address)
        return ip is not None and any(ip in network for network in self._proxies)


class Pace:
    """A token bucket that limits how fast a client may send messages."""

    __slots__ = ("_at", "_burst", "_left", "_per_s")  # one for each client

    def __init__(self, rules: AccessRules) -> None:
        self._per_s, self._burst = rules.messages_per_s, float(rules.burst)
        self._left, self._at = self._burst, time.monotonic()

    def allows(self) -> bool:
        """Count one more message, and return whether it is within the pace."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


def issue(rules: AccessRules, role: str, seconds: float) -> str:
    """Return a token that is signed with the secret of these rules.

    Raises:
        ConfigError: there is no secret, or no such role.
    """
    if rules.secret is None:
        raise ConfigError("token: this Cottage was given no secret, so it asks for none")
    if role not in ROLES:
        raise ConfigError(f"role: expected one of {', '.join(ROLES)}, got {role!r}")
    now = int(time.time())
    return jwt.encode({"aud": rules.audience, "role": role, "iat": now, "exp": now + seconds}, rules.secret, algorithm=ALGORITHM)


def is_loopback_host(host: str) -> bool:
    """Return whether a host to bind to can be reached from this machine only."""
    return host == "localhost" or _is_loopback(host)


def _token(headers: Mapping[str, str]) -> str | None:
    """Return the token in the contract's header or in `Authorization`; None where there is none."""
    words = [word.strip() for word in headers.get("Sec-WebSocket-Protocol", "").split(",")]
    if words[0] == "token" and len(words) > 1:
        return words[1]
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _origin(origin: str) -> tuple[str, str, int] | None:
    """Return an origin as scheme, host and port (RFC 6454, sections 4 and 7); None where it is not an origin of a web page."""
    if _ORIGIN.fullmatch(origin) is None:
        return None
    try:
        parts = urlsplit(origin)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        return None
    return (scheme, host, _PORTS[scheme] if port is None else port) if host else None


def _ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip


def _is_loopback(address: str) -> bool:
    ip = _ip(address)
    return ip is not None and ip.is_loopback


def _networks(proxies: tuple[str, ...]) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(proxy) for proxy in proxies)
    except ValueError as error:
        raise ConfigError(f"proxies: expected addresses or networks such as 10.0.0.0/8: {error}") from None
