"""Real servers for a real feed: the `websockets` package as a foreign one, and a raw socket that a test scripts byte by byte."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from websockets.sync.server import Server, ServerConnection, serve

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
START = datetime(2026, 1, 2, 10, tzinfo=UTC)


def telemetry(n: int, **market: object) -> bytes:
    """The contract's message number n: one second after the one before, its price 100 + n."""
    stamp = (START + timedelta(seconds=n)).isoformat().replace("+00:00", "Z")
    state = {"timestamp": stamp, "status": "ACTIVE", "market": {"symbol": "SPY", "price": 100.0 + n, "regime": "Gaussian", **market}}
    return json.dumps({"type": "TELEMETRY", "data": state}).encode()


def frame(
    payload: bytes = b"", opcode: int = TEXT, *, fin: bool = True, rsv: int = 0, masked: bool = False, length: int | None = None
) -> bytes:
    """A frame by RFC 6455 5.2, also one that no server should send. `length` is announced in place of the payload's own."""
    announced = len(payload) if length is None else length
    first = bytes([fin << 7 | rsv << 4 | opcode])
    mask = masked << 7
    if announced < 126:
        head = first + bytes([mask | announced])
    elif announced < 2**16:
        head = first + bytes([mask | 126]) + announced.to_bytes(2, "big")
    else:
        head = first + bytes([mask | 127]) + announced.to_bytes(8, "big")
    return head + (b"\0\0\0\0" if masked else b"") + payload


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.head = b""

    def read_head(self) -> bytes:
        while not self.head.endswith(b"\r\n\r\n"):
            byte = self.sock.recv(1)
            if not byte:
                raise ConnectionError("no whole request")
            self.head += byte
        return self.head

    def header(self, name: str) -> str | None:
        for line in self.head.decode().split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None

    def accept_value(self) -> str:
        key = (self.header("Sec-WebSocket-Key") or "").encode()
        return base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()  # noqa: S324 - RFC 6455 wants it

    def answer(self, status: str, *headers: str, body: bytes = b"") -> None:
        self.read_head()
        self.send("\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode() + body)

    def shake(self, *headers: str) -> Peer:
        """Accept the WebSocket."""
        self.read_head()
        standard = ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {self.accept_value()}"]
        self.answer("101 Switching Protocols", *standard, *headers)
        return self

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.sock.recv(count - len(data))
            if not more:
                raise ConnectionError("the client is gone")
            data += more
        return data

    def frame(self) -> tuple[int, bytes]:
        """The client's next frame, unmasked."""
        first, second = self.exactly(2)
        assert second & 0x80, "a client's frame must be masked"
        mask, payload = self.exactly(4), b""
        payload = self.exactly(second & 0x7F)
        return first & 0x0F, bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """All that the client still sends, until it is gone."""
        with contextlib.suppress(ConnectionError, OSError):
            while True:
                yield self.frame()

    def until_gone(self) -> None:
        """Do nothing until the client is gone."""
        with contextlib.suppress(OSError):
            while self.sock.recv(65536):
                pass

    def reset(self) -> None:
        """Leave without a goodbye: the client sees a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()


class RawServer:
    """Accepts, and runs `script(peer)` for each connection on a thread of its own."""

    def __init__(
        self, script: Callable[[Peer], object], *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.peers: list[Peer] = []
        self.faults: list[BaseException] = []
        self._script = script
        self._tls = tls
        self._listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.port = self._listener.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"{'wss' if tls else 'ws'}://{shown}:{self.port}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            peer = Peer(sock)
            self.peers.append(peer)
            thread = threading.Thread(target=self._serve, args=(peer,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer: Peer) -> None:
        try:
            with peer.sock:
                if self._tls is not None:
                    peer.sock = self._tls.wrap_socket(peer.sock, server_side=True)
                with peer.sock:
                    self._script(peer)
        except OSError:
            pass  # the client left, or the test is over
        except BaseException as fault:  # noqa: BLE001 - told by close(), in the test's own thread
            self.faults.append(fault)

    def close(self) -> None:
        """Stop listening and drop everyone."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in list(self.peers):
            with contextlib.suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(2)
        if self.faults:
            raise self.faults[0]


@contextmanager
def foreign(handler: Callable[[ServerConnection], None], *, host: str = "127.0.0.1", port: int = 0, **options: object) -> Iterator[Server]:
    """A server of the `websockets` package in a thread; `.url` is where it is."""
    server = serve(handler, host, port, compression=None, **options)
    scheme = "wss" if options.get("ssl") else "ws"
    server.url = f"{scheme}://{host}:{server.socket.getsockname()[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(2)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
