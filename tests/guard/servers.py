"""A real web server that takes messages, and fails in the ways that it is told to."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any


class Desk:
    """What it took, and how it answers the next requests: a status, "cut" before the answer, "torn" within it, or "slow"."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.answers: list[Any] = []
        self.retry_after = "1"
        self.port = 0

    @property
    def address(self) -> str:
        return f"json://127.0.0.1:{self.port}/hook"

    @property
    def names(self) -> list[str]:
        return [body.get("message", "") for body in self.taken]

    def kinds(self, *wanted: str) -> list[dict[str, Any]]:
        return [body for body in self.taken if body.get("kind") in wanted]


@contextlib.contextmanager
def desk(port: int = 0) -> Iterator[Desk]:
    found = Desk()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = found.answers.pop(0) if found.answers else 200
            if answer == "slow":
                time.sleep(1.5)
                answer = 200
            if answer in {200, "cut", "torn"}:  # what lost its answer was taken all the same
                found.taken.append(body)
                found.headers.append(dict(self.headers))
                found.times.append(time.time())
            if answer == "torn":
                self.wfile.write(b"HTTP/1.0 20")
            if answer in {"cut", "torn"}:
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.send_response(answer)
            if answer == 429:
                self.send_header("Retry-After", found.retry_after)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    found.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
