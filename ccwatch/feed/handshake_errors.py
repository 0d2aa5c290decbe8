"""Errors of a connect in ccwatch's own words: by the head of the server's answer if there is one, else by the exception."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

import websocket

from ccwatch.errors import ConnectFailed, FeedError, Unauthorized
from ccwatch.feed.address import redact
from ccwatch.feed.dialling import GivenUp, NameLost
from ccwatch.protocol.wire import deflate

_RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class NotOffered(Exception):
    """The handshake selects a subprotocol that was not offered (RFC 6455, section 4.1: the connection is failed)."""


def reason(error: BaseException) -> str:
    """Return one line about an exception of the socket or the library, whose messages never contain a secret."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.strip().splitlines()[0][:200] if text.strip() else type(error).__name__


def failure_of(shown: str, error: Exception, head: bytes, *, has_token: bool) -> FeedError:
    """Return the error of a failed connect in ccwatch's own words, by the head of the answer if there is one, else by the exception."""
    if isinstance(error, deflate.ExtensionError):
        return ConnectFailed(f"{shown}: {error}; is it a WebSocket server of today?", permanent=True)
    status, headers = _parsed(head)
    if isinstance(error, NotOffered):
        text = f"{shown} selects the subprotocol {str(error)[:40]!r}, which was not offered: what it will speak is not known"
        return ConnectFailed(text, status=status, permanent=True)
    if status == 101 and isinstance(error, websocket.WebSocketException):
        return ConnectFailed(f"{shown} answers, but its handshake is no WebSocket's; check port and path", status=status, permanent=True)
    if status is not None:
        return _refusal(shown, status, headers, has_token=has_token)
    if isinstance(error, ssl.SSLError):
        return _tls_failure(shown, error)
    if isinstance(error, NameLost):
        return ConnectFailed(f"{shown}: its name resolved before and does not now ({error.strerror}); is this machine's network gone?")
    if isinstance(error, socket.gaierror):
        return ConnectFailed(f"{shown}: no such host ({error.strerror}); check the name")
    if isinstance(error, UnicodeError):
        return ConnectFailed(f"{shown}: this can be no host's name", permanent=True)
    if isinstance(error, GivenUp):
        return ConnectFailed(f"{shown}: stopped while connecting")
    if isinstance(error, TimeoutError | websocket.WebSocketTimeoutException):
        return ConnectFailed(f"{shown} did not answer in time")
    if isinstance(error, OSError):
        return ConnectFailed(f"{shown}: {reason(error)}; is the server running?")
    if isinstance(error, websocket.WebSocketConnectionClosedException):
        return ConnectFailed(f"{shown} closed the connection during the handshake")
    return ConnectFailed(f"{shown} answers, but not as a WebSocket; check port and path", permanent=True)


def _tls_failure(shown: str, error: ssl.SSLError) -> FeedError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConnectFailed(f"{shown}: its certificate is not trusted: {error.verify_message}; see tls_ca", permanent=True)
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return ConnectFailed(f"{shown} closed the connection during the TLS handshake")
    reason = error.reason or "no reason given"
    if "ALERT" in reason:
        return ConnectFailed(f"{shown} refuses this client ({reason}); does it want a certificate? see tls_cert", permanent=True)
    return ConnectFailed(f"{shown} does not speak TLS as asked ({reason}); expected ws:// instead of wss://?", permanent=True)


def _parsed(head: bytes) -> tuple[int | None, Mapping[str, str]]:
    """Return status and headers (in lower case) of the whole head of an HTTP answer; None where it is not one."""
    first, *lines = head.decode("latin-1").splitlines() or [""]
    words = first.split()
    if not lines or lines[-1] or len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdecimal():
        return None, {}
    pairs = [line.partition(":") for line in lines]
    return int(words[1][:3]), {name.strip().lower(): value.strip() for name, _, value in pairs}


def _refusal(shown: str, status: int, headers: Mapping[str, str], *, has_token: bool) -> FeedError:
    if status == 401:
        return Unauthorized(f"{shown} wants a token (401); pass token=… or set CCWATCH_TOKEN", status=status)
    if status == 403 and has_token:
        return Unauthorized(f"{shown} refuses this token (403); it needs another role or audience", status=status)
    if status == 403:
        return Unauthorized(f"{shown} refuses (403), and no token was sent: is the path right, or does it want a token?", status=status)
    if status in _RETRIED:
        return ConnectFailed(f"{shown} cannot serve now ({status})", status=status, retry_after_s=_retry_after_s(headers))
    if 300 <= status < 400:
        where = _elsewhere(headers.get("location", ""))
        return ConnectFailed(f"{shown} redirects to {where}; connect there if you trust it", status=status, permanent=True)
    return ConnectFailed(f"{shown} is no WebSocket: it answered {status}; check port and path", status=status, permanent=True)


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the server asks to wait, sent as seconds or as a date on the server's own clock."""
    wanted = headers.get("retry-after", "")
    if wanted.isdecimal():
        return float(wanted)
    try:
        return max(0.0, (parsedate_to_datetime(wanted) - parsedate_to_datetime(headers["date"])).total_seconds())
    except (KeyError, ValueError, TypeError):
        return None


def _elsewhere(location: str) -> str:
    """Return a redirect's target, as it may be shown: the server chose these words."""
    try:
        where = redact(location)
    except ValueError:
        where = ""
    return where[:200] if where and where.isprintable() else "elsewhere"
