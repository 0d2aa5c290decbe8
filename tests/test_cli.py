"""The command line as a user meets it: processes, pipes, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ccwatch as cw

ROOT = Path(__file__).parent.parent


def ccwatch(*arguments: str, cwd: Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    command = [sys.executable, "-W", "error", "-m", "ccwatch", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.fixture(scope="module")
def cottage() -> Iterator[cw.Cottage]:
    with cw.serve(seed=7, rate=50) as running:
        yield running


def test_a_headless_demo_shows_a_status_and_ends_with_the_path_of_a_finished_recording(tmp_path: Path) -> None:
    done = ccwatch("demo", "--headless", "--seconds", "2", cwd=tmp_path)
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


def test_serve_says_where_it_listens_and_ctrl_c_ends_it_well(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ccwatch", "serve", "--port", "0", "--engine-port", "0", "--rate", "20", "--json"]
    process = subprocess.Popen(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    with cw.connect(said["url"]) as bff, cw.connect(said["engine_url"]) as engine:
        bff.wait(3)
        engine.wait(3)
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == 0
    process.stdout.close()


def test_a_port_in_use_is_an_error_that_names_port_0(cottage: cw.Cottage, tmp_path: Path) -> None:
    port = cottage.url.rpartition(":")[2]
    done = ccwatch("serve", "--port", port, "--engine-port", "0", cwd=tmp_path)
    assert done.returncode == 2
    assert "--port 0" in done.stderr
    assert "Traceback" not in done.stderr


def test_tail_prints_packets_and_stops_after_as_many_as_asked(cottage: cw.Cottage, tmp_path: Path) -> None:
    done = ccwatch("tail", cottage.url, "-n", "4", cwd=tmp_path)
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
    assert "monday" in ccwatch("ls", "here", cwd=tmp_path).stdout
    assert "finished" in ccwatch("info", said["recording"], cwd=tmp_path).stdout
    assert len(ccwatch("tail", said["recording"], "-n", "5", cwd=tmp_path).stdout.splitlines()) == 5


def test_recording_what_does_not_answer_says_so_and_exits_1(tmp_path: Path) -> None:
    done = ccwatch("record", "ws://127.0.0.1:1", "--path", "here", "--seconds", "0.5", cwd=tmp_path)
    assert done.returncode == 1
    assert "refused" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["tail", "http://x"], 2),
        (["info", "nowhere"], 1),
        (["nonsense"], 2),
        (["demo", "--seconds", "3"], 2),
        (["--help"], 0),
        (["--version"], 0),
    ],
)
def test_exit_codes_are_2_for_usage_and_1_for_no(arguments: list[str], code: int, tmp_path: Path) -> None:
    done = ccwatch(*arguments, cwd=tmp_path)
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
        timeout=30,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
