"""One connection to a server: handshake, receive, send, wake. The one home of websocket-client and of the socket.

The library makes the handshake and writes frames; reading is `framing`'s, since the library believes any announced length
and validates UTF-8 in Python. It decides nothing: when to ping, what a message means, when to try again is the session's.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Final, Self, TypeVar

import websocket

from ccwatch.errors import ConnectFailed, FeedError, Unauthorized
from ccwatch.feed import framing
from ccwatch.feed.address import Address, parse_url, redact
from ccwatch.feed.dialling import Dialler, GivenUp, NameLost
from ccwatch.protocol.wire import deflate

__all__ = ["Address", "Connection", "ConnectionLost", "Waker", "connect", "parse_url", "redact"]

CONNECT_TIMEOUT_S: Final = 10.0
_RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_HEAD: Final = 64 * 1024
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_Selector: Final = getattr(selectors, "PollSelector", selectors.SelectSelector)  # neither holds a descriptor; Windows has no poll
_Result = TypeVar("_Result")


class ConnectionLost(Exception):
    """The connection is gone; the message says how, `code` is that of the server's closing frame, if it sent one."""

    def __init__(self, how: str, code: int | None = None) -> None:
        super().__init__(how)
        self.code = code


class _NotOffered(Exception):
    """The handshake selects a subprotocol that was not offered (RFC 6455, section 4.1: the connection is failed)."""


class Waker:
    """Wakes a thread that waits on a socket, from any other thread."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable after `wake`."""
        return self._ours.fileno()

    def wake(self) -> None:
        """Make the waiting thread return, now or at its next wait."""
        with contextlib.suppress(OSError):  # full: it is awake already; closed: no thread waits
            self._theirs.send(b"!")

    def drain(self) -> None:
        """Cancel every wake so far."""
        with contextlib.suppress(OSError):
            while self._ours.recv(4096):
                pass

    def close(self) -> None:
        """Free both sockets."""
        self._ours.close()
        self._theirs.close()


class Connection:
    """An open WebSocket, read and written by one thread. A context manager; closing sends a closing frame but never waits."""

    def __init__(
        self, ws: websocket.WebSocket, sock: socket.socket, waker: Waker, max_message_bytes: int, *, compress: bool = False
    ) -> None:
        """Take over a WebSocket and its non-blocking socket after the handshake; see `connect`.

        Raises:
            ExtensionError: the handshake agrees to an extension that was not offered.
        """
        self.headers: Mapping[str, str] = ws.getheaders() or {}
        """The headers of the server's handshake, names in lower case."""
        self.agreement = deflate.agreed(self.headers.get("sec-websocket-extensions"), offered=compress)
        """The server's compression; None if it does not compress."""
        ws.sock = sock
        self._ws = ws
        self._sock = sock
        self._waker = waker
        inflater = None if self.agreement is None else deflate.Inflater(self.agreement, max_message_bytes)
        self._parser = framing.FrameParser(max_message_bytes, inflater)
        self._unsent = ""  # why nothing can be sent any more
        self._selector: selectors.BaseSelector = _Selector()
        self._selector.register(sock, _READ)
        self._selector.register(waker, _READ)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def wire_bytes(self) -> int:
        """Return the bytes of its messages on the wire so far."""
        return self._parser.wire_bytes

    @property
    def message_bytes(self) -> int:
        """Return the bytes of its messages after decompression."""
        return self._parser.message_bytes

    @property
    def sizes(self) -> list[int]:
        """Return the bytes on the wire of each message of the last `receive`."""
        return self._parser.sizes

    def receive(self, timeout_s: float) -> list[framing.Message]:
        """Return the messages that have arrived whole; empty after `timeout_s` or when woken. They are valid until the next call.

        Raises:
            ConnectionLost: the peer closed or reset the connection, or takes nothing any more; what it sent before was received.
            framing.FramingError: the peer sent bytes that are not a WebSocket frame, or a frame that is too large.
        """
        if self._parser.error is not None:
            raise self._parser.error
        messages = self._read()
        if messages is None and self._unsent:
            raise ConnectionLost(self._unsent)
        if messages is None:
            for key, _ in self._selector.select(timeout_s):
                if key.fileobj is self._waker:
                    self._waker.drain()
            messages = self._read() or []
        return messages

    def _read(self) -> list[framing.Message] | None:
        """Return the messages of one read; None where nothing was there."""
        try:
            count = self._sock.recv_into(self._parser.space())
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except OSError as error:
            raise ConnectionLost(_reason(error)) from None
        if count == 0:
            raise ConnectionLost("the server closed the connection without a closing handshake")
        return self._parser.filled(count)

    def send(self, payload: bytes, opcode: int = framing.TEXT) -> bool:
        """Send one small frame; return whether the system took it.

        A failure does not end the reading, since the peer's last messages may still wait here: the next `receive` that finds
        nothing raises it.
        """
        if not self._unsent:
            try:
                self._ws.send(payload, opcode)
            except (OSError, websocket.WebSocketException) as error:
                self._unsent = _reason(error)
        return not self._unsent

    def close(self, code: int = 1000) -> None:
        """Send a closing frame if there is room for it, then close the socket."""
        if not self._unsent:
            with contextlib.suppress(OSError, ValueError, websocket.WebSocketException):
                self._ws.send_close(code)
        self._ws.shutdown()  # type: ignore[no-untyped-call] # the library's
        self._sock.close()


def connect(
    address: Address,
    *,
    token: str | None,
    waker: Waker,
    max_message_bytes: int,
    tls: ssl.SSLContext | None = None,
    dialler: Dialler | None = None,
    timeout_s: float = CONNECT_TIMEOUT_S,
    compress: bool = False,
) -> Connection:
    """Connect and shake hands, without proxy and without an Origin header.

    Args:
        address: the server's address.
        token: a JWT, sent as `Sec-WebSocket-Protocol: token, <JWT>` (contract 7.1).
        waker: ends the attempt to connect at once; later wakes the connection's reader.
        max_message_bytes: the most that one message may have.
        tls: TLS context for wss; None trusts the system's certificates.
        dialler: remembers which of the host's addresses answered; None is a new one.
        timeout_s: seconds for dialling, and then again for the whole handshake.
        compress: whether to offer permessage-deflate (RFC 7692).

    Raises:
        Unauthorized: the server answers 401 or 403.
        ConnectFailed: any other failure; `permanent` where trying again cannot help.
    """
    headers = ["User-Agent: ccwatch"]
    if token:
        headers.append(f"Sec-WebSocket-Protocol: token, {_checked(token)}")
    if compress:
        headers.append(f"Sec-WebSocket-Extensions: {deflate.OFFER}")
    if address.basic_auth:
        headers.append(f"Authorization: Basic {address.basic_auth}")
    host = f"[{address.host}]" if ":" in address.host else address.host
    url = f"{address.scheme}://{host}:{address.port}{address.target}"
    ws = websocket.WebSocket(enable_multithread=False, skip_utf8_validation=True)
    link: _Link | None = None
    try:
        link = _Link((dialler or Dialler(address.host, address.port)).dial(waker, timeout_s), waker, timeout_s)
        if address.scheme == "wss":
            link.encrypt(tls or ssl.create_default_context(), address.host)
        ws.connect(url, socket=link, header=headers, suppress_origin=True, redirect_limit=0)  # type: ignore[no-untyped-call] # its
        _refuse_what_was_not_offered(ws.getheaders() or {}, token)
        return Connection(ws, link.sock, waker, max_message_bytes, compress=compress)
    except Exception as error:  # noqa: BLE001 - the library raises what its sockets and parsers raise
        head = bytes(link.head) if link is not None else b""
        failure = _failure(address.shown, error, head, has_token=bool(token or address.basic_auth))
    if link is not None:
        link.close()
    raise failure  # here, so that it does not carry the library's own error, which quotes headers and body


def _refuse_what_was_not_offered(headers: Mapping[str, str], token: str | None) -> None:
    """Raise _NotOffered where a handshake selects another subprotocol than those offered; some servers say the whole offer back."""
    offered = {"token", token.strip()} if token else set()
    selected = {word.strip() for word in headers.get("sec-websocket-protocol", "").split(",") if word.strip()}
    if selected - offered:
        raise _NotOffered(", ".join(sorted(selected - offered)))


class _Link:
    """The socket as the library's handshake sees it: blocking, but woken by the waker, with one deadline for all of it.

    It hands out the head of the answer and no more: the body of a refusal is of no use, and may never end.
    """

    def __init__(self, sock: socket.socket, waker: Waker, timeout_s: float) -> None:
        self.sock = sock
        self.head = bytearray()
        self._waker = waker
        self._deadline = time.monotonic() + timeout_s

    def encrypt(self, context: ssl.SSLContext, host: str) -> None:
        """Speak TLS from now on."""
        encrypted = context.wrap_socket(self.sock, server_hostname=host, do_handshake_on_connect=False)
        self.sock = encrypted
        self._patiently(encrypted.do_handshake, _READ)

    def recv(self, count: int) -> bytes:
        if len(self.head) > _LONGEST_HEAD or self.head.endswith((b"\r\n\r\n", b"\n\n")):
            raise websocket.WebSocketException("no more than a head is read")
        got = self._patiently(lambda: self.sock.recv(count), _READ)
        self.head += got
        return got

    def send(self, data: bytes) -> int:
        left = memoryview(data)
        while left:
            left = left[self._patiently(lambda left=left: self.sock.send(left), _WRITE) :]  # type: ignore[misc] # binds the loop's value
        return len(data)

    def gettimeout(self) -> float:
        """Return zero, which makes the library leave the waiting to this module."""
        return 0.0

    def close(self) -> None:
        self.sock.close()

    def _patiently(self, operation: Callable[[], _Result], events: int) -> _Result:
        while True:
            try:
                return operation()
            except BlockingIOError:
                wanted = events
            except ssl.SSLWantReadError:
                wanted = _READ
            except ssl.SSLWantWriteError:
                wanted = _WRITE
            _await(self.sock, wanted, self._waker, self._deadline)


def _await(sock: socket.socket, events: int, waker: Waker, deadline: float) -> None:
    """Wait until the socket is ready.

    Raises:
        TimeoutError: it was not by the deadline (of `time.monotonic`).
        GivenUp: woken.
    """
    selector = _Selector()
    selector.register(sock, events)
    selector.register(waker, _READ)
    ready = [key.fileobj for key, _ in selector.select(max(0.0, deadline - time.monotonic()))]
    if waker in ready:
        raise GivenUp
    if not ready:
        raise TimeoutError


# ── errors, in words ────────────────────────────────────────────────────────────────────────────────────────────────


def _checked(token: str) -> str:
    """Return the token, refusing one that could add a header.

    Raises:
        ConnectFailed: it is not one word of printable ASCII.
    """
    token = token.strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConnectFailed("the token is not one word of printable ASCII; expected a JWT: three words joined by dots", permanent=True)
    return token


def _reason(error: BaseException) -> str:
    """Return one line about an exception of the socket or the library, whose messages never contain a secret."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.strip().splitlines()[0][:200] if text.strip() else type(error).__name__


def _failure(shown: str, error: Exception, head: bytes, *, has_token: bool) -> FeedError:
    """Return the error of a failed connect in ccwatch's own words, by the head of the answer if there is one, else by the exception."""
    if isinstance(error, deflate.ExtensionError):
        return ConnectFailed(f"{shown}: {error}; is it a WebSocket server of today?", permanent=True)
    status, headers = _parsed(head)
    if isinstance(error, _NotOffered):
        told = f"{shown} selects the subprotocol {str(error)[:40]!r}, which was not offered: what it will speak is not known"
        return ConnectFailed(told, status=status, permanent=True)
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
        return ConnectFailed(f"{shown}: {_reason(error)}; is the server running?")
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
