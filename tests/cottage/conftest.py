"""Real clients for a real server: `websockets`, and raw sockets for what a well-behaved client would not do."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import pytest
import redis
from websockets.sync.client import connect

from tests.feed.servers import free_port


def handshake(host, path="/"):
    """A client's request for a WebSocket, as bytes."""
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade"]
    return "\r\n".join([*lines, f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]).encode()


@pytest.fixture
def ws():
    """Opens clients of the `websockets` package, which read as fast as they can."""
    with contextlib.ExitStack() as stack:
        yield lambda url, **options: stack.enter_context(connect(url, compression=None, max_queue=None, **options))


@pytest.fixture
def lazy_ws():
    """Opens clients that take nothing from their socket but a few messages ahead of `recv()`."""
    with contextlib.ExitStack() as stack:

        def open_lazy(url):
            parts = urlsplit(url)
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((parts.hostname, parts.port))
            return stack.enter_context(connect(url, sock=client, compression=None, max_queue=2, close_timeout=0.2, max_size=None))

        yield open_lazy


@pytest.fixture
def raw():
    """Opens sockets that ask for a WebSocket and then do nothing by themselves; returns the socket and the answer's head."""
    with contextlib.ExitStack() as stack:

        def open_raw(url, *headers, path="/ws/stream"):
            parts = urlsplit(url)
            client = stack.enter_context(socket.create_connection((parts.hostname, parts.port), timeout=5))
            lines = [
                f"GET {path} HTTP/1.1",
                f"Host: {parts.netloc}",
                "Upgrade: websocket",
                "Connection: Upgrade",
                f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
                "Sec-WebSocket-Version: 13",
                *headers,
            ]
            client.sendall("\r\n".join([*lines, "", ""]).encode())
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += client.recv(1)
            return client, head.decode()

        yield open_raw


@pytest.fixture
def rest():
    """GET at a site that is given by its ws url: status, and JSON or text."""

    def get(url, path, **headers):
        request = urllib.request.Request(f"http://{urlsplit(url).netloc}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - http, three lines above
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return get


@pytest.fixture
def post():
    """POST at a site that is given by its ws url: status and text."""

    def send(url, path, **headers):
        request = urllib.request.Request(f"http://{urlsplit(url).netloc}{path}", headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - http, three lines above
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return send


@pytest.fixture
def metric():
    """One of a Cottage's figures, by its line in what Prometheus reads; 0 where it has none yet."""

    def read(cottage, line):
        with urllib.request.urlopen(f"http://{urlsplit(cottage.engine_url).netloc}/metrics", timeout=5) as answer:
            found = [text.rpartition(" ") for text in answer.read().decode().splitlines()]
        return next((float(value) for name, _, value in found if name == line), 0.0)

    return read


@pytest.fixture
def until():
    """Polls until a condition holds, returns what it returned, and fails where it never does."""

    def wait(condition, seconds=20.0):
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, "it never happened"
            time.sleep(0.005)
        return found

    return wait


@pytest.fixture(autouse=True)
def no_thread_is_left():
    """Fails a test that leaves a thread of the Cottage behind."""
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("ccwatch-cottage")] == []


class Redis:
    """A redis-server on a port of its own."""

    def __init__(self, folder):
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.folder = folder
        self.process = None

    def start(self):
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(self.folder)]
        self.process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while True:
            try:
                with redis.Redis(port=self.port) as client:
                    client.ping()
            except redis.ConnectionError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            else:
                return self

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def publish(self, channel, message):
        """Publish; how many heard it."""
        with redis.Redis(port=self.port) as client:
            return client.publish(channel, message if isinstance(message, bytes) else json.dumps(message))


@pytest.fixture
def server(tmp_path):
    if shutil.which("redis-server") is None:
        if "redis" in os.environ.get("CCWATCH_REQUIRE", ""):
            pytest.fail("no redis-server on the PATH")
        pytest.skip("no redis-server on the PATH (Debian: apt-get install redis-server)")
    running = Redis(tmp_path)
    yield running
    running.kill()
