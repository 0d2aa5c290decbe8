"""The compose file of the guide: it refers to nothing that it does not declare, and each of its commands runs as a process.

Docker itself is not needed: Redis, the paths of the containers and the ports are replaced, and there is one worker.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import pytest
import yaml

import ccwatch as cw
from ccwatch.cli.app import cli
from tests.contract.conftest import wait_until
from tests.cottage.conftest import Redis, server  # noqa: F401 - a fixture

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / ".github" / "guide" / "compose.yaml"
FILE = yaml.safe_load(COMPOSE.read_text())
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
KEYS = {"image", "command", "volumes", "ports", "secrets", "depends_on", "ulimits", "restart", "healthcheck"}
"""Keys of a service in the Compose specification that the file uses."""


def test_each_service_has_keys_of_the_specification_and_refers_to_what_is_declared() -> None:
    assert FILE.keys() <= {"services", "secrets", "volumes"}
    for name, service in SERVICES.items():
        assert service.keys() <= KEYS, name
        assert set(service.get("depends_on", [])) <= SERVICES.keys(), name
        assert set(service.get("secrets", [])) <= FILE["secrets"].keys(), name
        assert {volume.split(":")[0] for volume in service.get("volumes", [])} <= FILE["volumes"].keys(), name
        assert all(left == right for left, _, right in (port.partition(":") for port in service.get("ports", []))), name


@pytest.mark.slow
def test_the_file_holds_by_the_schema_of_the_compose_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_command_line_takes_every_command_as_it_is_written(tmp_path: Path) -> None:
    commands = [service["command"] for service in SERVICES.values() if service["image"] == "ccwatch"]
    assert len(commands) == 3
    (tmp_path / "key").write_text("a secret of the desk")
    with click.Context(cli) as context:
        for words in (shlex.split(line.replace("/run/secrets", str(tmp_path))) for line in commands):
            assert words.pop(0) == "ccwatch"
            command = cli.get_command(context, words[0])
            assert command is not None
            found = command.make_context(words[0], words[1:], parent=context)
            assert found.params
    assert SERVICES.keys() >= {"redis", "serve", "record-a", "record-b"}


@pytest.mark.slow
@pytest.mark.redis
def test_the_commands_are_one_desk(server: Redis, tmp_path: Path) -> None:  # noqa: F811
    server.start()
    (tmp_path / "key").write_text("k" * 32)
    places = {"redis://redis:6379/0": server.url, "/run/secrets/key": str(tmp_path / "key"), "/recordings": str(tmp_path), "1GB": "1MB"}

    def words(service: str, **changed: str) -> list[str]:
        command = SERVICES[service]["command"]
        for before, after in {**places, **changed}.items():
            command = command.replace(before, after)
        program, *more = shlex.split(command)
        assert program == "ccwatch"
        return [sys.executable, "-m", "ccwatch", *more, "--json"]

    with contextlib.ExitStack() as stack:

        def start(command: list[str]) -> subprocess.Popen[str]:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
            stack.enter_context(process)
            stack.callback(process.terminate)
            return process

        ports = {"--workers 4": "--workers 1 --port 0 --engine-port 0", "0.0.0.0": "127.0.0.1"}
        serving = start(words("serve", **ports))
        assert serving.stdout is not None
        port = urlsplit(json.loads(serving.stdout.readline())["url"]).port
        probe = SERVICES["serve"]["healthcheck"]["test"].replace("3000", str(port)).replace("python", sys.executable, 1)
        subprocess.run(probe, shell=True, check=True)  # noqa: S602 - the file's own words
        recording = [start(words(name)) for name in ("record-a", "record-b")]
        sent = 0

        def is_recorded() -> bool:
            """Publish a state, as an engine does, until some are in a recording."""
            nonlocal sent
            sent += 1
            server.publish("state_update", {"timestamp": "2026-01-02T14:30:00Z", "status": "ACTIVE", "market": {"price": sent}})
            return sum(prices(tmp_path).values()) >= 3

        wait_until(is_recorded, 60)
        for process in recording:
            process.terminate()
            assert process.wait(30) == 0
        assert set(prices(tmp_path).values()) == {1}, "each packet is in one recording, once"


def prices(folder: Path) -> Counter[float]:
    """Return how often each price is in the recordings of the folder."""
    found: Counter[float] = Counter()
    for path in folder.glob("*/session.json"):
        with contextlib.suppress(cw.RecordingError):  # it has only begun
            found.update(packet.price for packet in cw.open_recording(path.parent).packets() if packet.price is not None)
    return found
