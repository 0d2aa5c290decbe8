"""One connection to a server: handshake, receive, send, wake. The one home of websocket-client and of the socket.

The library makes the handshake and writes frames; reading is `framing`'s, since the library believes any announced length
and validates UTF-8 in Python. It decides nothing: when to ping, what a message means, when to try again is the stream reader's.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Final, Self, TypeVar

import websocket

from ccwatch.errors import ConnectFailed
from ccwatch.feed import framing
from ccwatch.feed.address import Address, parse_url, redact
from ccwatch.feed.dialling import Dialler, GivenUp
from ccwatch.feed.handshake_errors import NotOffered, failure_of, reason
from ccwatch.protocol.wire import deflate

__all__ = ["Address", "Connection", "ConnectionLost", "Waker", "connect", "parse_url", "redact"]

CONNECT_TIMEOUT_S: Final = 10.0
_LONGEST_HEAD: Final = 64 * 1024
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_Selector: Final = getattr(selectors, "PollSelector", selectors.SelectSelector)  # neither holds a descriptor; Windows has no poll
_Result = TypeVar("_Result")


class ConnectionLost(Exception):
    """The connection is gone; the message says how, `code` is that of the server's closing frame, if it sent one."""

    def __init__(self, how: str, code: int | None = None) -> None:
        super().__init__(how)
        self.code = code


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
            raise ConnectionLost(reason(error)) from None
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
                self._unsent = reason(error)
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
        failure = failure_of(address.shown, error, head, has_token=bool(token or address.basic_auth))
    if link is not None:
        link.close()
    raise failure  # here, so that it does not carry the library's own error, which quotes headers and body


def _refuse_what_was_not_offered(headers: Mapping[str, str], token: str | None) -> None:
    """Raise NotOffered where a handshake selects another subprotocol than those offered; some servers say the whole offer back."""
    offered = {"token", token.strip()} if token else set()
    selected = {word.strip() for word in headers.get("sec-websocket-protocol", "").split(",") if word.strip()}
    if selected - offered:
        raise NotOffered(", ".join(sorted(selected - offered)))


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


def _checked(token: str) -> str:
    """Return the token, refusing one that could add a header.

    Raises:
        ConnectFailed: it is not one word of printable ASCII.
    """
    token = token.strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConnectFailed("the token is not one word of printable ASCII; expected a JWT: three words joined by dots", permanent=True)
    return token
