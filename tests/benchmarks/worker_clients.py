"""`python tests/benchmarks/worker_clients.py hold|stall|probe|storm PORT …`: many WebSocket clients in a process of their own.

    hold PORT N          connect N, say "up", read everything; at each line of input say the bytes that came so far
    stall PORT N         connect N, say "up", read nothing
    probe PORT N         connect N, say "up", read; at each line of input say the delays of the messages since the last one, in ms
    storm PORT RATE S    at a line of input connect RATE new ones each second for S seconds, read them, say how many were welcomed

All end when their input is closed.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

STAMP = re.compile(rb"sent (\d{19})!")
REQUEST = (
    b"GET /ws/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def connect(port: int) -> socket.socket:
    """Return a client whose handshake was answered."""
    client = socket.create_connection(("127.0.0.1", port), timeout=30)
    client.sendall(REQUEST)
    head = b""
    while b"\r\n\r\n" not in head:
        got = client.recv(1)
        assert got, f"refused: {head!r}"
        head += got
    assert head.startswith(b"HTTP/1.1 101"), head
    client.setblocking(False)
    return client


def say(value: Any) -> None:
    print(json.dumps(value), flush=True)


def answering(answer: Callable[[], Any]) -> threading.Thread:
    """Answer each line of the input, in a thread that ends with it."""

    def run() -> None:
        for _ in sys.stdin:
            say(answer())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def hold(port: int, count: int) -> None:
    total, buffer = 0, bytearray(1 << 18)
    with selectors.DefaultSelector() as selector:

        def read(seconds: float) -> None:
            nonlocal total
            for key, _ in selector.select(seconds):
                got = key.fileobj.recv_into(buffer)
                assert got, "a client was cut"
                total += got

        for _ in range(count):
            selector.register(connect(port), selectors.EVENT_READ)
            read(0)  # a client that is not read from while others connect is a slow one
        say("up")
        telling = answering(lambda: total)
        while telling.is_alive():
            read(0.2)


def stall(port: int, count: int) -> None:
    clients = [connect(port) for _ in range(count)]
    say("up")
    sys.stdin.read()
    assert clients


def probe(port: int, count: int) -> None:
    clients = {connect(port): b"" for _ in range(count)}
    lock, delays = threading.Lock(), []

    def since_last() -> list[float]:
        with lock:
            found = delays.copy()
            delays.clear()
        return found

    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client, selectors.EVENT_READ)
        say("up")
        telling = answering(since_last)
        while telling.is_alive():
            for key, _ in selector.select(0.2):
                got, now = key.fileobj.recv(1 << 18), time.time_ns()
                assert got, "a client was cut"
                text = clients[key.fileobj] + got
                found = [*STAMP.finditer(text)]
                clients[key.fileobj] = text[found[-1].end() if found else 0 :][-100:]
                with lock:
                    delays.extend((now - int(stamp[1])) / 1e6 for stamp in found)


def storm(port: int, rate: int, seconds: int) -> None:
    say("up")
    sys.stdin.readline()
    begun, welcomed, late = time.monotonic(), 0, 0.0
    open_: set[socket.socket] = set()
    buffer = bytearray(1 << 18)
    with selectors.DefaultSelector() as selector:
        for n in range(rate * seconds):
            due = begun + n / rate
            while (left := due - time.monotonic()) > 0:
                for key, _ in selector.select(left):
                    welcomed += key.fileobj.recv_into(buffer) > 0 and key.data.pop("new", 0)
            late = max(late, -left)
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            while client not in open_:  # loopback: at once
                try:
                    client.sendall(REQUEST)
                    open_.add(client)
                except (BlockingIOError, OSError):
                    time.sleep(0.0005)
            selector.register(client, selectors.EVENT_READ, {"new": 1})
        took = time.monotonic() - begun
        deadline = time.monotonic() + 10
        while welcomed < len(open_) and time.monotonic() < deadline:
            for key, _ in selector.select(0.2):
                welcomed += key.fileobj.recv_into(buffer) > 0 and key.data.pop("new", 0)
    say({"asked": len(open_), "welcomed": welcomed, "rate": len(open_) / took, "late_s": late})


if __name__ == "__main__":
    {"hold": hold, "stall": stall, "probe": probe, "storm": storm}[sys.argv[1]](*map(int, sys.argv[2:]))
