"""Real ends for the contract: a Cottage, a server that a test scripts byte by byte, a raw client, and Node's packages."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import pytest

from tests.feed.servers import Peer, RawServer

NODE_PACKAGES = ("ws", "wscat")


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Poll until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


@pytest.fixture
def raw_server() -> Iterator[Callable[..., RawServer]]:
    """Starts servers that run a script for each connection."""
    with contextlib.ExitStack() as stack:

        def start(script: Callable[[Peer], object]) -> RawServer:
            server = RawServer(script)
            stack.callback(server.close)
            return server

        yield start


class RawClient:
    """A socket that says what a test wants said."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.sock = socket.create_connection((parts.hostname or "", port_of(url)), timeout=5)

    def ask(self, request: str) -> list[str]:
        """Send a request; the lines of the answer's head."""
        self.sock.sendall(request.encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.exactly(1)
        return head.decode("ascii").split("\r\n")[:-2]

    def exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.sock.recv(count - len(data))
            assert more, "the server is gone"
            data += more
        return data

    def frame(self) -> tuple[int, bytes]:
        """The server's next frame: opcode and payload; it must be final and unmasked."""
        first, size = self.exactly(2)
        assert first & 0xF0 == 0x80
        if size >= 126:
            size = int.from_bytes(self.exactly(2 if size == 126 else 8), "big")
        return first & 0x0F, self.exactly(size)

    def send(self, opcode: int, payload: bytes) -> None:
        """A masked frame (RFC 6455, 5.3) of less than 126 bytes; the mask of zeros leaves the payload as it is."""
        self.sock.sendall(bytes([0x80 | opcode, 0x80 | len(payload), 0, 0, 0, 0]) + payload)


@pytest.fixture
def raw_client() -> Iterator[Callable[[str], RawClient]]:
    """Opens raw clients."""
    with contextlib.ExitStack() as stack:

        def start(url: str) -> RawClient:
            client = RawClient(url)
            stack.callback(client.sock.close)
            return client

        yield start


@pytest.fixture
def rest_health() -> Callable[[str], dict[str, Any]]:
    """Asks a site of a Cottage, given by its ws url, how it is."""

    def ask(url: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://{urlsplit(url).netloc}/api/health", timeout=5) as answer:
            health: dict[str, Any] = json.loads(answer.read())
            return health

    return ask


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What the Cottage has logged so far, as the contract prints it: `LEVEL: message`."""
    caplog.set_level(logging.DEBUG, "ccwatch.cottage")
    return lambda: [f"{record.levelname}: {record.getMessage()}" for record in caplog.records if record.name == "ccwatch.cottage"]


@pytest.fixture(scope="session")
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which Node finds `ws`, and a shell `wscat`: the user's own, or installed into pytest's cache."""
    if shutil.which("node") is None:
        _missing("no node on the PATH (Debian: apt-get install nodejs npm)")
    elsewhere = tmp_path_factory.mktemp("node")
    resolves = subprocess.run(["node", "-e", "require.resolve('ws')"], cwd=elsewhere, capture_output=True, check=False)
    if resolves.returncode == 0 and shutil.which("wscat"):
        return dict(os.environ)
    cache = getattr(request.config, "cache", None)  # pytest can be run without one
    folder = Path(cache.mkdir("node")) if cache is not None else tmp_path_factory.mktemp("packages")
    modules = folder / "node_modules"
    if not all((modules / name).is_dir() for name in NODE_PACKAGES):
        _install(folder)
    return os.environ | {"NODE_PATH": str(modules), "PATH": f"{modules / '.bin'}{os.pathsep}{os.environ['PATH']}"}


def _install(folder: Path) -> None:
    if shutil.which("npm") is None:
        _missing("no npm on the PATH to install ws and wscat with (Debian: apt-get install npm)")
    quiet = ["--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
    command = ["npm", "install", "--prefix", str(folder), *quiet, *NODE_PACKAGES]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        _missing("npm did not install ws and wscat within two minutes")
    if done.returncode != 0:
        _missing(f"npm could not install ws and wscat: {done.stderr.strip()[-300:]}")


def _missing(reason: str) -> NoReturn:
    """Skip; a failure where CCWATCH_REQUIRE says that Node must be there."""
    if "node" in os.environ.get("CCWATCH_REQUIRE", ""):
        pytest.fail(reason)
    pytest.skip(reason)
