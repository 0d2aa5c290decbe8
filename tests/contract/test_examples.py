"""Section 8's examples as printed, and 9.1's command, against a Cottage: they work as far as they do, and where they do not is pinned.

Only the port is another one, and only the functions that the contract leaves out are supplied.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

import ccwatch as cw
from ccwatch.feed.synthetic import messages
from tests.contract.conftest import port_of, wait_until
from tests.contract.contract import fences
from tests.feed.servers import frame, free_port

# What the contract leaves to its reader: a WebSocket where there is no browser, and what becomes of the data.
SUPPLIED = """
globalThis.WebSocket = require("ws");
globalThis.updateDashboard = (data) => console.log("DASHBOARD " + JSON.stringify(data));
"""
# `connect`, which the example calls and does not define: the example over again. What it asks of the clock is told, and happens sooner.
WITH_CONNECT = """
const sooner = (name, factor) => {
  const real = globalThis[name];
  globalThis[name] = (f, ms) => {
    if (f !== connect && name !== "setInterval") return real(f, ms);
    console.log(name + " " + ms);
    return real(f, ms / factor);
  };
};
function connect() {
  console.log("CONNECT");
  %s
}
sooner("setTimeout", 20);
sooner("setInterval", 100);
connect();
"""


class Program:
    """A running program whose output goes to a file."""

    def __init__(self, command: list[str], output: Path, environment: dict[str, str]) -> None:
        self._output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file, stderr=subprocess.STDOUT, env=environment)

    def text(self) -> str:
        return self._output.read_text(encoding="utf-8")

    def lines(self, beginning: str) -> list[str]:
        """What followed this beginning, in each whole line that had it."""
        return [line.removeprefix(beginning) for line in self.text().split("\n")[:-1] if line.startswith(beginning)]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Starts programs, and ends them with the test."""
    started: list[Program] = []

    def start(command: list[str], environment: dict[str, str]) -> Program:
        program = Program(command, tmp_path / f"{len(started)}.out", environment)
        started.append(program)
        return program

    yield start
    for program in started:
        program.end()


@pytest.fixture
def javascript(run, node, tmp_path) -> Callable[..., Program]:
    """Runs the JavaScript example against a port."""

    def start(port: int, frame: str = "%s") -> Program:
        (printed,) = fences("8.1", "javascript")
        script = tmp_path / "example.cjs"
        script.write_text(SUPPLIED + frame.replace("%s", printed.replace("localhost:3000", f"localhost:{port}")), encoding="utf-8")
        return run(["node", str(script)], node)

    return start


@pytest.fixture
def python(run, tmp_path) -> Callable[[int], Program]:
    """Runs the Python example against a port."""

    def start(port: int) -> Program:
        (printed,) = fences("8.2", "python")
        script = tmp_path / "example.py"
        script.write_text(printed.replace("localhost:3000", f"localhost:{port}"), encoding="utf-8")
        return run([sys.executable, "-u", str(script)], dict(os.environ))

    return start


def streamed(count: int, **arguments) -> list[dict]:
    return [orjson.loads(raw)["data"] for raw in itertools.islice(messages(**arguments), count)]


# ── 8.1 JavaScript ──


@pytest.mark.slow
@pytest.mark.node
def test_the_javascript_example_takes_the_welcome_and_every_telemetry(javascript):
    expected = streamed(200, seed=7, rate=50.0)
    with cw.serve(seed=7, rate=50) as cottage:
        program = javascript(port_of(cottage.url))
        wait_until(lambda: len(program.lines("DASHBOARD ")) >= 20)
    first, second = program.text().splitlines()[:2]
    assert first == "🧠 Connected to Curiosity Cottage"
    assert second.startswith("Initial state: {")
    shown = [json.loads(line) for line in program.lines("DASHBOARD ")]
    begin = expected.index(shown[0])
    assert shown[:20] == expected[begin : begin + 20]


@pytest.mark.slow
@pytest.mark.node
def test_the_javascript_examples_keepalive_is_sent_every_30_seconds_and_the_connection_stays(javascript, said):
    with cw.serve(rate=50) as cottage:
        program = javascript(port_of(cottage.url), WITH_CONNECT)
        wait_until(lambda: sum(line.endswith('Received {"type":"PING"}') for line in said()) >= 2)
        assert program.lines("setInterval ") == ["30000"]
        before = len(program.lines("DASHBOARD "))
        wait_until(lambda: len(program.lines("DASHBOARD ")) > before + 5)
        assert "Disconnected" not in program.text()


@pytest.mark.slow
@pytest.mark.node
def test_the_javascript_example_as_printed_dies_of_its_undefined_connect_a_second_after_a_disconnect(javascript):
    with cw.serve(rate=50) as cottage:
        program = javascript(port_of(cottage.url))
        wait_until(lambda: program.lines("DASHBOARD "))
    assert program.process.wait(10) == 1
    assert "Disconnected. Reconnecting..." in program.text()
    assert "ReferenceError: connect is not defined" in program.text()


@pytest.mark.slow
@pytest.mark.node
def test_the_javascript_example_given_a_connect_comes_back_but_never_backs_off_and_piles_up_its_timers(javascript):
    port = free_port()
    program = javascript(port, WITH_CONNECT)
    wait_until(lambda: len(program.lines("setTimeout ")) >= 8)
    assert set(program.lines("setTimeout ")) == {"1000"}, "section 5.1 wants 1, 2, 4, 8 and at most 30 s"
    assert len(program.lines("WebSocket error:")) >= 8
    assert program.lines("Disconnected. Reconnecting...")
    with cw.serve(rate=50, port=port):
        wait_until(lambda: program.lines("DASHBOARD "))
        assert program.lines("🧠 Connected to Curiosity Cottage")
        assert program.process.poll() is None
    assert len(program.lines("setInterval ")) == len(program.lines("CONNECT")) > 8, "a keepalive timer of each attempt goes on"


# ── 8.2 Python ──


@pytest.mark.slow
def test_the_python_example_prints_the_price_of_every_packet(python):
    expected = [f"Price: {data['market']['price']}" for data in streamed(200, seed=7, rate=50.0)]
    with cw.serve(seed=7, rate=50) as cottage:
        program = python(port_of(cottage.url))
        wait_until(lambda: len(program.text().splitlines()) > 21)
    welcome, *shown = program.text().splitlines()[:21]
    assert re.fullmatch(r"Price: \d+\.\d+", welcome)
    assert shown in [expected[n : n + 20] for n in range(180)]


def test_the_python_examples_on_close_is_never_entered_and_it_does_not_come_back(python):
    with cw.serve(rate=50) as cottage:
        program = python(port_of(cottage.url))
        wait_until(lambda: "Price: " in program.text())
    assert program.process.wait(10) == 0, "it ends with its first connection, against section 5.1"
    assert "Error: on_close() takes 1 positional argument but 3 were given" in program.text()
    assert "Disconnected" not in program.text()


@pytest.mark.slow
def test_the_python_example_takes_a_refusal_for_an_error_and_a_message_without_a_price_too(python, raw_server):
    program = python(free_port())
    program.process.wait(10)
    assert "refused" in program.text()
    assert program.lines("Error: ")

    def script(peer):
        peer.shake()
        peer.send(frame(b'{"type":"TELEMETRY","data":{"logs":[]}}'))
        peer.until_gone()

    other = python(raw_server(script).port)
    wait_until(lambda: other.lines("Error: ") == ["'market'"])
    assert other.process.poll() is None, "the stream goes on"


# ── 9.1 ──


@pytest.mark.slow
@pytest.mark.node
def test_the_contracts_wscat_command_shows_a_welcome_at_once(run, node):
    (printed,) = fences("9.1", "bash")
    with cw.serve(rate=0.01) as cottage:
        begin = time.monotonic()
        program = run(shlex.split(printed.replace("localhost:3000", f"localhost:{port_of(cottage.url)}")), node)
        wait_until(lambda: "\n" in program.text())
        assert time.monotonic() - begin < 5
    welcome = json.loads(program.text().splitlines()[0].removeprefix("< "))
    assert welcome["type"] == "WELCOME"
