"""What a Cottage does where the system lets it have no more connections, and what it says of requests that are none."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ccwatch.cottage import Cottage, Options
from ccwatch.cottage.descriptor_limit import RESERVE, raise_descriptors
from ccwatch.feed.synthetic import SyntheticSource
from tests.contract.conftest import wait_until
from tests.cottage.conftest import handshake

ROOT = Path(__file__).parents[2]
OPEN_FILES = 160


@pytest.mark.slow
def test_at_the_limit_of_descriptors_clients_are_refused_politely_and_the_metrics_answer() -> None:
    command = f"ulimit -n {OPEN_FILES}; exec {sys.executable} -m ccwatch serve --port 0 --engine-port 0 --per-ip 0 --json"
    process = subprocess.Popen(
        ["bash", "-c", command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    address = urlsplit(json.loads(process.stdout.readline())["url"])
    answers: Counter[str] = Counter()
    with contextlib.ExitStack() as stack:
        for _ in range(OPEN_FILES + 40):
            client = stack.enter_context(socket.create_connection((address.hostname, address.port), timeout=5))
            client.sendall(handshake(address.netloc))
            answers[client.recv(12).decode().split()[1]] += 1
        assert set(answers) == {"101", "503"}
        assert answers["101"] <= OPEN_FILES - RESERVE
        with socket.create_connection((address.hostname, address.port), timeout=5) as client:
            client.sendall(f"GET /metrics HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
    process.terminate()
    _, said = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in said
    assert "503" in said


@pytest.mark.slow
def test_the_soft_limit_of_descriptors_is_raised_to_the_hard_one() -> None:
    code = "import resource; from ccwatch.cottage.descriptor_limit import raise_descriptors as raised; "
    code += "print(raised(), *resource.getrlimit(resource.RLIMIT_NOFILE))"
    done = subprocess.run(
        ["bash", "-c", f"ulimit -S -n 100; ulimit -H -n 900; {sys.executable} -c '{code}'"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["900", "900", "900"]
    assert raise_descriptors() == raise_descriptors()


@pytest.mark.parametrize(
    "said", [b"nonsense\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n"]
)
def test_a_request_that_is_none_is_one_line_of_the_log(said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    def lines() -> list[logging.LogRecord]:
        return [record for record in caplog.records if "request that is none" in record.getMessage()]

    with caplog.at_level(logging.DEBUG), Cottage(SyntheticSource(), Options()) as cottage:
        address = urlsplit(cottage.url)
        with socket.create_connection((address.hostname, address.port), timeout=5) as client:
            client.sendall(said)
            client.settimeout(20)
            with contextlib.suppress(TimeoutError):
                client.recv(100)
        wait_until(lines)  # the answer may be here before its line
    assert len(lines()) == 1
    assert all(record.exc_info is None for record in caplog.records)
    assert "\n" not in lines()[0].getMessage()


HALT = b"POST /api/system/halt HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    ("said", "how"),
    [(said, how) for said in ("handshake", "a wait for 100") for how in ("cut", "half closed")]
    + [("a body that does not unpack", "waits")],
)
def test_a_client_that_goes_before_its_answer_is_one_line_of_the_log(said: str, how: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), Cottage(SyntheticSource(), Options()) as cottage:
        address = urlsplit(cottage.url)
        data = {
            "handshake": handshake(address.netloc),
            "a wait for 100": HALT + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
            "a body that does not unpack": HALT + b"Content-Encoding: deflate\r\nContent-Length: 5\r\n\r\nabcde",
        }[said]
        for _ in range(20):
            with socket.create_connection((address.hostname, address.port), timeout=20) as client:
                client.sendall(data)
                if how == "cut":
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                elif how == "waits":
                    assert client.recv(12) == b"HTTP/1.1 200"
                    while client.recv(4096):
                        pass
                else:
                    client.shutdown(socket.SHUT_WR)
    lines = [record for record in caplog.records if record.name == "ccwatch.cottage.requests"]
    assert len(lines) <= 20
    assert all(record.exc_info is None and record.levelno == logging.WARNING and "\n" not in record.getMessage() for record in lines)
