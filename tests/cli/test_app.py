"""The command line as a user meets it: processes, pipes, exit codes."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

import ccwatch as cw
from tests.cli.running import ROOT, ccwatch, in_a_process
from tests.contract.conftest import wait_until
from tests.feed.servers import foreign, free_port

pytestmark = pytest.mark.slow
"""Most start processes."""


@pytest.fixture  # of one test: a streaming command ends all that runs in its process, which may be this one
def cottage() -> Iterator[cw.Cottage]:
    with cw.serve(seed=7, rate=50) as running:
        yield running


def test_a_headless_demo_shows_a_status_and_ends_with_the_path_of_a_finished_recording(tmp_path: Path) -> None:
    done = in_a_process("demo", "--headless", "--seconds", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    path = tmp_path / done.stdout.strip()
    assert cw.open_recording(path).info().status == "finished"
    assert len(cw.open_recording(path).frame()) >= 5
    assert "SYNTHETIC" in done.stderr


def test_a_headless_demo_speaks_json_when_asked(tmp_path: Path) -> None:
    done = ccwatch("demo", "--headless", "--seconds", "1", "--json", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == ""
    assert (tmp_path / json.loads(done.stdout)["recording"]).is_dir()


def test_serve_says_where_it_listens_logs_when_asked_and_ctrl_c_ends_it_well(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ccwatch", "serve", "--port", "0", "--engine-port", "0", "--rate", "20", "--json", "--log"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes, text=True, encoding="utf-8")
    assert process.stdout is not None
    assert process.stderr is not None
    said = json.loads(process.stdout.readline())
    with cw.connect(said["url"]) as bff, cw.connect(said["engine_url"]) as engine:
        bff.wait(3, timeout=90)
        engine.wait(3, timeout=90)
    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=90)
    assert process.returncode == 0
    assert "INFO: 🧠 BrainStream: Client Connected" in log.splitlines()


def exhaust(client: ClientConnection) -> None:
    """Read until the connection ends, and longer."""
    while True:
        client.recv(timeout=90)


def test_sigterm_ends_every_streaming_command_as_ctrl_c_does(cottage: cw.Cottage, tmp_path: Path) -> None:
    """As a service manager ends them: clients get 1001, the recording is finished, the exit code is 0."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    commands = {
        "serve": ["serve", "--port", "0", "--engine-port", "0", "--json"],
        "record": ["record", cottage.url, "--path", "recorded", "--json"],
        "demo": ["demo", "--headless", "--folder", "demo", "--json"],
        "tail": ["tail", cottage.url],
    }
    running = {
        name: subprocess.Popen(
            [sys.executable, "-m", "ccwatch", *command], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
        )
        for name, command in commands.items()
    }
    with connect(json.loads(running["serve"].stdout.readline())["url"]) as client:
        client.recv(timeout=90)
        assert "SPY" in "".join(running["tail"].stdout.readline() for _ in range(5))
        for folder in ("recorded", "demo/recordings"):
            wait_until(
                lambda folder=folder: any(cw.open_recording(p.parent).info().packets for p in tmp_path.glob(f"{folder}/*/session.json"))
            )
        for process in running.values():
            process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            exhaust(client)
    said = {name: process.communicate(timeout=90)[0] for name, process in running.items()}
    assert {name: process.returncode for name, process in running.items()} == dict.fromkeys(commands, 0)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
    for name in ("record", "demo"):
        assert cw.open_recording(tmp_path / json.loads(said[name])["recording"]).status == "finished"


def test_a_command_that_is_interrupted_and_does_not_stream_has_not_said_yes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ccwatch", "export", str(ROOT / "recordings" / "sample-bad-session"), "--to", "jsonl"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.read(1)  # and no more: it waits for a reader
    process.send_signal(signal.SIGTERM)
    assert b"Traceback" not in process.communicate(timeout=90)[1]
    assert process.returncode == 130


def test_a_port_in_use_is_an_error_that_names_port_0(cottage: cw.Cottage, tmp_path: Path) -> None:
    port = cottage.url.rpartition(":")[2]
    done = in_a_process("serve", "--port", port, "--engine-port", "0", cwd=tmp_path)
    assert done.returncode == 2
    assert "--port 0" in done.stderr
    assert "Traceback" not in done.stderr


def test_tail_prints_packets_and_stops_after_as_many_as_asked(cottage: cw.Cottage, tmp_path: Path) -> None:
    done = in_a_process("tail", cottage.url, "-n", "4", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sum("SPY" in line for line in done.stdout.splitlines()) == 4


def test_tail_as_json_is_one_object_per_line_with_the_whole_message(cottage: cw.Cottage, tmp_path: Path) -> None:
    done = ccwatch("tail", cottage.url, "-n", "3", "--json", cwd=tmp_path)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    messages = [line["message"] for line in lines if "message" in line]
    assert len(messages) == 3
    assert messages[0]["type"] == "WELCOME"
    assert messages[1]["data"]["market"]["price"] > 0


def test_record_prints_the_path_and_info_ls_and_tail_read_it(cottage: cw.Cottage, tmp_path: Path) -> None:
    done = ccwatch("record", cottage.url, "--path", "here", "--seconds", "1.5", "--tag", "monday", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["packets"] > 10
    facts = json.loads(ccwatch("info", said["recording"], "--json", cwd=tmp_path).stdout)
    assert facts["packets"] == said["packets"]
    assert facts["tags"] == ["monday"]
    listed = [json.loads(line) for line in ccwatch("ls", "here", "--json", cwd=tmp_path).stdout.splitlines()]
    assert [row["packets"] for row in listed] == [said["packets"]]
    shown = ccwatch("ls", "here", cwd=tmp_path).stdout
    assert "monday" in shown
    assert f"1 recording in {tmp_path / 'here'}" in shown
    assert "finished" in ccwatch("info", said["recording"], cwd=tmp_path).stdout
    assert len(ccwatch("tail", said["recording"], "-n", "5", cwd=tmp_path).stdout.splitlines()) == 5


def test_recording_what_does_not_answer_says_so_and_exits_1(tmp_path: Path) -> None:
    done = ccwatch("record", "ws://127.0.0.1:1", "--path", "here", "--seconds", "0.5", cwd=tmp_path)
    assert done.returncode == 1
    assert "refused" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "run"),
    [
        (["tail", "http://x"], 2, in_a_process),
        (["info", "nowhere"], 1, in_a_process),
        (["nonsense"], 2, ccwatch),
        (["demo", "--seconds", "3"], 2, ccwatch),
        (["--help"], 0, ccwatch),
        (["--version"], 0, ccwatch),
    ],
)
def test_exit_codes_are_2_for_usage_and_1_for_no(arguments: list[str], code: int, run: Callable[..., Any], tmp_path: Path) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_of_a_pipe_that_leaves_is_no_error(cottage: cw.Cottage, tmp_path: Path) -> None:
    command = f"{sys.executable} -m ccwatch tail {cottage.url} --json | head -n 2"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0


# ── tail ──


def on_a_terminal(*arguments: str, cwd: Path, **variables: str) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": "160"} | variables
    process = subprocess.Popen([sys.executable, "-m", "ccwatch", *arguments], cwd=cwd, env=environment, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # how Linux says that the other end is closed
            part = b""
        if not part:
            break
        said += part
    os.close(ours)
    assert process.wait(90) == 0, said
    return said.decode()


def test_a_terminal_sees_a_regime_by_colour_and_by_word_and_no_color_leaves_the_word(cottage: cw.Cottage, tmp_path: Path) -> None:
    coloured = on_a_terminal("tail", cottage.url, "-n", "2", cwd=tmp_path)
    colours = {"Gaussian": "\x1b[34m", "Lévy Stable": "\x1b[33m", "Critical": "\x1b[1;35m"}
    lines = [line for line in coloured.splitlines() if "SPY" in line]
    assert len(lines) == 2
    assert all(any(word in line and line.startswith(code) for word, code in colours.items()) for line in lines)
    bare = on_a_terminal("tail", cottage.url, "-n", "2", cwd=tmp_path, NO_COLOR="1")
    assert "\x1b" not in bare
    assert any(word in bare for word in colours)


def test_a_pipe_gets_no_escape_codes_and_whole_lines(cottage: cw.Cottage, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"PYTHONPATH": str(ROOT), "COLUMNS": "40"}
    command = [sys.executable, "-m", "ccwatch", "tail", cottage.url, "-n", "2"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert "\x1b" not in done.stdout
    packets = [line for line in done.stdout.splitlines() if "SPY" in line]
    assert len(packets) == 2
    assert all("nav" in line and "ACTIVE" in line for line in packets)


def test_what_a_stream_writes_cannot_drive_the_terminal(tmp_path: Path) -> None:
    symbol = "\x1b]0;owned\x07\x1b[2J\r"
    state = {"timestamp": "2026-01-02T10:00:00Z", "market": {"symbol": symbol, "price": 1.0, "regime": "Gaussian"}, "\x1b[31mred": 1}

    def hostile(connection) -> None:
        connection.send(json.dumps({"type": "TELEMETRY", "data": state}))
        connection.send("{\x1b[2J")
        for _ in connection:
            pass

    with foreign(hostile) as server:
        tailed = on_a_terminal("tail", server.url, "-n", "1", cwd=tmp_path, NO_COLOR="1")
        heard = ccwatch("doctor", server.url, "--seconds", "0.3", cwd=tmp_path)
    assert "\x1b" not in tailed
    assert "\x1b" not in heard.stdout
    assert "[31mred" in heard.stdout


def test_a_piped_tail_whose_reader_leaves_is_no_error_in_words_either(cottage: cw.Cottage, tmp_path: Path) -> None:
    command = f"set -o pipefail; {sys.executable} -m ccwatch tail {cottage.url} | head -n 2"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_tail_follows_a_recording_in_progress_and_ends_with_it(cottage: cw.Cottage, tmp_path: Path) -> None:
    with cw.connect(cottage.url, name="followed") as feed:
        recorder = cw.record(feed, tmp_path)
        feed.wait(20, timeout=90)
        command = [sys.executable, "-m", "ccwatch", "tail", str(recorder.path), "--json"]
        process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        first = [json.loads(process.stdout.readline()) for _ in range(10)]
        known = feed.health().packets
        feed.wait(known + 20, timeout=90)
        while json.loads(process.stdout.readline()).get("seq", 0) <= known:
            pass
        assert process.poll() is None, "it goes on while the recorder does"
        recorder.stop()
        rest = process.stdout.read()
        assert process.wait(90) == 0
        process.stdout.close()
    seqs = [json.loads(line)["seq"] for line in rest.splitlines()]
    assert len([entry for entry in first if "message" in entry]) > 7, "the rest are gaps of a machine that pauses"
    assert seqs[-1] == int(cw.open_recording(recorder.path).frame(["seq"], clean=False)["seq"].iloc[-1])
    assert seqs == sorted(set(seqs)), "each packet once"


def test_with_n_tail_shows_so_many_of_a_recording_in_progress_and_leaves_unless_told_to_follow(cottage: cw.Cottage, tmp_path: Path) -> None:
    with cw.connect(cottage.url, name="glanced at") as feed, cw.record(feed, tmp_path) as recorder:
        feed.wait(40, timeout=90)
        done = ccwatch("tail", str(recorder.path), "-n", "3", cwd=tmp_path)
        assert done.returncode == 0
        assert len(done.stdout.splitlines()) == 3
        command = [sys.executable, "-m", "ccwatch", "tail", str(recorder.path), "-n", "3", "--follow", "--json"]
        process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert len([process.stdout.readline() for _ in range(9)]) == 9
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=90)
        assert process.returncode == 0, "Ctrl-C is its ordinary end"


def test_the_last_packets_of_a_recording_are_found_among_many_events(tmp_path: Path) -> None:
    def mostly_rubbish(connection) -> None:
        for n in range(600):
            connection.send(json.dumps({"type": "TELEMETRY", "data": {"market": {"price": 1.0 + n}}}) if n % 200 == 0 else "{rubbish")
        for _ in connection:
            pass

    with foreign(mostly_rubbish) as server, cw.record(server.url, tmp_path) as recorder:
        deadline = time.monotonic() + 90
        while recorder.stats.packets < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    done = ccwatch("tail", str(recorder.path), "-n", "3", "--json", cwd=tmp_path)
    prices = [line["message"]["data"]["market"]["price"] for line in map(json.loads, done.stdout.splitlines()) if "message" in line]
    assert prices == [1.0, 201.0, 401.0]


# ── doctor ──


def test_doctor_says_what_a_healthy_server_speaks(cottage: cw.Cottage, tmp_path: Path) -> None:
    done = in_a_process("doctor", cottage.url, "--seconds", "0.5", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith(f"healthy: {cottage.url}")
    for words in ("contract", "handshake", " ms", "per second", "SYNTHETIC", "never came"):
        assert words in done.stdout
    as_json = in_a_process("doctor", cottage.url, "--seconds", "0.5", "--json", cwd=tmp_path)
    facts = json.loads(as_json.stdout)
    assert facts["healthy"] is True
    assert facts["packets"] > 5


def test_doctor_of_what_does_not_answer_tells_what_it_tried_and_exits_1(tmp_path: Path) -> None:
    url = f"ws://127.0.0.1:{free_port()}"
    done = ccwatch("doctor", url, "--seconds", "0.2", cwd=tmp_path)
    assert done.returncode == 1
    assert f"{url} " in done.stdout
    assert "/api/ws/brain" in done.stdout
    assert json.loads(ccwatch("doctor", url, "--seconds", "0.2", "--json", cwd=tmp_path).stdout)["healthy"] is False


def test_doctor_shows_flags_with_their_meaning_and_what_to_set(tmp_path: Path) -> None:
    def dollars(connection) -> None:
        state = {"timestamp": "2026-01-02T10:00:00Z", "market": {"price": 1.0}, "governance": {"approved_size": 15000.0}, "colour": 1}
        connection.send(json.dumps({"type": "TELEMETRY", "data": state}))
        for _ in connection:
            pass

    with foreign(dollars) as server:
        done = ccwatch("doctor", server.url, "--seconds", "0.3", cwd=tmp_path)
    assert "approved_size_raw" in done.stdout
    assert "colour" in done.stdout
    assert "portfolio.nav" in done.stdout


def test_doctor_lab_finds_this_environments_lab_and_takes_no_url(tmp_path: Path) -> None:
    done = ccwatch("doctor", "--lab", "--json", cwd=tmp_path)
    facts = json.loads(done.stdout)
    assert done.returncode == (0 if facts["healthy"] else 1)
    assert "this interpreter" in {lab["where"] for lab in facts["labs"]} or "jupyter on the PATH" in {lab["where"] for lab in facts["labs"]}
    assert facts["versions"]["anywidget"]
    assert ccwatch("doctor", "--lab", "ws://localhost:1", cwd=tmp_path).returncode == 2


def recorded(folder: Path) -> Path:
    """A recording of thirty packets and the welcome before them."""
    with cw.serve(packets=30, pace="max") as cottage, cw.record(cottage.url, folder) as recorder:
        deadline = time.monotonic() + 90
        while recorder.stats.packets < 31:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    return recorder.path


def test_a_recording_is_replayed_as_lines_of_its_packets_and_ends(tmp_path: Path) -> None:
    path = recorded(tmp_path)
    done = ccwatch("replay", str(path), "--speed", "max", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    packets = [line for line in map(json.loads, done.stdout.splitlines()) if "message" in line]
    prices = [packet["message"]["data"]["market"]["price"] for packet in packets[1:]]
    assert prices == cw.open_recording(path).frame().price.tolist()
    assert len(prices) == 30
    assert ccwatch("replay", str(path), "--speed", "quick", cwd=tmp_path).returncode == 2


def test_a_served_recording_can_be_watched_by_any_client_as_it_was(tmp_path: Path) -> None:
    path = recorded(tmp_path)
    options = ["--serve", "--speed", "max", "--port", "0", "--engine-port", "0", "--json"]
    command = [sys.executable, "-m", "ccwatch", "replay", str(path), *options]
    process = subprocess.Popen(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    expected = cw.open_recording(path).frame().price.tolist()
    with cw.connect(said["engine_url"]) as watcher:
        assert watcher.wait(len(expected) + 1, timeout=90).frame().price.tolist() == expected
        assert watcher.origin == "synthetic"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=90)
    assert process.returncode == 0


def test_serve_takes_its_access_from_options_and_a_bad_one_is_usage(tmp_path: Path) -> None:
    assert in_a_process("serve", "--host", "0.0.0.0", "--port", "0", cwd=tmp_path).returncode == 2
    (tmp_path / "key").write_text("short")
    done = in_a_process("serve", "--secret-file", "key", "--port", "0", "--engine-port", "0", cwd=tmp_path)
    assert done.returncode == 2
    assert "at least 32 bytes" in done.stderr


def test_report_writes_the_post_mortem_of_a_recording_as_a_page_or_as_markdown(tmp_path: Path) -> None:
    with cw.synthetic(seed=3, scenario="drawdown-halt", rate=150, packets=450) as feed, cw.record(feed, tmp_path) as recorder:
        assert feed.join(90)
    said = ccwatch("report", str(recorder.path), "-o", "r.html", "--json", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    facts = json.loads(said.stdout)
    assert facts["synthetic"]
    assert facts["what_happened"]
    assert "SYNTHETIC" in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert ccwatch("report", str(recorder.path), "-o", "r.md", cwd=tmp_path).returncode == 0
    assert "Kalman audit" in (tmp_path / "r.md").read_text(encoding="utf-8")
    assert ccwatch("report", str(recorder.path), cwd=tmp_path).returncode == 2
    assert ccwatch("report", "nothing", "-o", "r.html", cwd=tmp_path).returncode == 1
    assert ccwatch("report", str(recorder.path), "-o", "s.md", "--drop", "nav, cash", cwd=tmp_path).returncode == 0
    assert "Left out of this report on purpose: cash, extra, logs, nav" in (tmp_path / "s.md").read_text(encoding="utf-8")
    refused = ccwatch("report", str(recorder.path), "-o", "t.md", "--drop", "navv", cwd=tmp_path)
    assert (refused.returncode, "no column 'navv'" in refused.stderr) == (2, True)
