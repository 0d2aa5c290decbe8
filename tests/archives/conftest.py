from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request

import boto3
import pytest

from tests.archives.seeded import make


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A small archive: three desks, two symbols, every scenario, one damaged, one killed, one running."""
    found = make(tmp_path_factory.mktemp("archive"), sessions=15, packets=150)
    yield found
    found.stop()


@pytest.fixture(scope="session")
def s3():
    """A real server of S3's protocol: moto's, as a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{url}/moto-api/", timeout=1).close()  # noqa: S310 - a server of our own
            break
        except OSError:
            assert server.poll() is None, "moto's server ended"
            time.sleep(0.1)
    yield url
    server.terminate()
    server.wait(10)


@pytest.fixture
def bucket(s3, monkeypatch):
    """An empty bucket, and the environment that reaches it."""
    name = f"b{os.urandom(5).hex()}"
    for key, value in {
        "AWS_ENDPOINT_URL": s3,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "not-a-secret-of-anyone",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(key, value)
    monkeypatch.delenv("http_proxy", raising=False)
    monkeypatch.delenv("HTTP_PROXY", raising=False)
    boto3.client("s3", endpoint_url=s3).create_bucket(Bucket=name)
    return f"s3://{name}"
