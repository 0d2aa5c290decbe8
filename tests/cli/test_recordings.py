"""The commands of recordings as a user meets them: processes, pipes, exit codes."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import ccwatch as cw
from ccwatch.feed.synthetic import SyntheticSource, messages
from ccwatch.protocol.columns import TABLES
from ccwatch.recording import Recorder
from ccwatch.stream.source import Stop
from tests.cli.running import ROOT, ccwatch


@pytest.fixture(scope="module")
def cottage() -> Iterator[cw.Cottage]:
    with cw.serve(seed=7, rate=50) as running:
        yield running


def seeded(folder: Path, *, seed: int, packets: int, **options: Any) -> Path:
    """A finished recording of a whole seeded stream."""
    with Recorder(folder, url="synthetic:calm", origin="synthetic", **options) as recorder:
        SyntheticSource(seed=seed, packets=packets, pace="max").stream(recorder, Stop())
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished recording of 120 packets, a second apart."""
    return seeded(tmp_path_factory.mktemp("finished") / "s", seed=5, packets=120, raw="always", tags=["a"])


@pytest.fixture
def killed(cottage: cw.Cottage, tmp_path: Path) -> Path:
    """A recording whose recorder was killed."""
    command = [sys.executable, "-m", "ccwatch", "record", cottage.url, "--path", str(tmp_path), "--seconds", "60", "--tag", "x"]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not (found := list(tmp_path.glob("*/session.json"))) or cw.open_recording(found[0].parent).info().packets < 20:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    return found[0].parent


def as_json(*arguments: str, cwd: Path, code: int = 0) -> dict:
    done = ccwatch(*arguments, "--json", cwd=cwd)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_killed_recording_is_verified_read_and_finished(killed: Path, tmp_path: Path) -> None:
    before = as_json("info", str(killed), cwd=tmp_path)
    assert (before["status"], before["tags"]) == ("killed", ["x"])
    assert as_json("verify", str(killed), "--deep", cwd=tmp_path)["ok"] is True
    found = as_json("recover", str(killed), cwd=tmp_path)
    assert found["entries"] == before["packets"] + before["events"]
    assert found["finished"] is True
    after = as_json("info", str(killed), cwd=tmp_path)
    assert (after["status"], after["packets"], after["journal_bytes"]) == ("finished", before["packets"], 0)
    again = as_json("recover", str(killed), cwd=tmp_path)
    assert (again["entries"], again["torn_bytes"], again["damaged_bytes"], again["mended"]) == (0, 0, 0, 0)
    assert "finished" in ccwatch("recover", str(killed), cwd=tmp_path).stdout


@pytest.mark.slow
def test_compact_empties_the_journal_and_calls_nothing_finished(killed: Path, tmp_path: Path) -> None:
    before = as_json("info", str(killed), cwd=tmp_path)
    assert as_json("compact", str(killed), cwd=tmp_path)["finished"] is False
    after = as_json("info", str(killed), cwd=tmp_path)
    assert (after["status"], after["packets"], after["journal_bytes"]) == ("killed", before["packets"], 0)


def test_a_recording_in_progress_can_be_verified_but_not_recovered(cottage: cw.Cottage, tmp_path: Path) -> None:
    with cw.connect(cottage.url, name="busy") as feed, cw.record(feed, tmp_path) as recorder:
        feed.wait(20)
        done = ccwatch("recover", str(recorder.path), cwd=tmp_path)
        assert done.returncode == 1
        assert "is being written" in done.stderr
        assert ccwatch("verify", str(recorder.path), cwd=tmp_path).returncode == 0


@pytest.mark.slow
def test_verify_names_the_damaged_place_and_exits_1(killed: Path, tmp_path: Path) -> None:
    ccwatch("recover", str(killed), cwd=tmp_path)
    (file,) = (killed / "packets").iterdir()
    damaged = bytearray(file.read_bytes())
    damaged[300] ^= 1
    file.write_bytes(damaged)
    assert as_json("verify", str(killed), cwd=tmp_path)["ok"] is True
    found = as_json("verify", str(killed), "--deep", cwd=tmp_path, code=1)
    assert found["problems"][0]["file"] == f"packets/{file.name}"
    heard = ccwatch("verify", str(killed), "--deep", cwd=tmp_path).stdout
    assert "damaged" in heard
    assert f"{file.name}, bytes" in heard


@pytest.mark.slow
def test_record_goes_on_in_a_new_recording_once_one_is_large_or_old_and_loses_no_packet_between_them(
    cottage: cw.Cottage, tmp_path: Path
) -> None:
    for option in (("--max-bytes", "12kB"), ("--max-age", "0.7s")):
        folder = tmp_path / option[0]
        found = as_json("record", cottage.url, "--path", str(folder), "--seconds", "3", *option, cwd=tmp_path)
        paths = [Path(path) for path in found["recordings"]]
        assert len(paths) > 1
        assert found["recording"] == str(paths[-1])
        seqs = [packet.seq for path in paths for packet in cw.open_recording(path).packets()]
        assert seqs == list(range(1, len(seqs) + 1))
        assert len(seqs) == found["packets"]
        assert {cw.open_recording(path).status for path in paths} == {"finished"}


@pytest.mark.slow
def test_record_waits_while_the_disk_has_less_free_than_asked_and_says_so(cottage: cw.Cottage, tmp_path: Path) -> None:
    done = ccwatch("record", cottage.url, "--path", str(tmp_path), "--seconds", "1", "--min-free", "999TB", "--json", cwd=tmp_path)
    assert done.returncode == 1
    assert "are to remain free" in done.stderr + done.stdout


@pytest.mark.parametrize("option", [("--max-bytes", "lots"), ("--max-age", "soon"), ("--max-age", "5"), ("--rotate", "never")])
def test_a_limit_that_is_none_is_a_usage_error(option: tuple[str, str], tmp_path: Path) -> None:
    assert ccwatch("record", "ws://localhost:1", *option, cwd=tmp_path).returncode == 2


@pytest.mark.slow
def test_sigterm_finishes_a_recording_as_ctrl_c_does(cottage: cw.Cottage, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ccwatch", "record", cottage.url, "--path", str(tmp_path), "--json"]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not (found := list(tmp_path.glob("*/session.json"))) or cw.open_recording(found[0].parent).info().packets < 5:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert cw.open_recording(json.loads(said)["recording"]).status == "finished"


def test_replay_prints_a_stretch_of_a_recording(finished: Path, tmp_path: Path) -> None:
    stretch = ("--from", "2026-01-02T14:30:10Z", "--to", "2026-01-02T14:30:19Z")
    done = ccwatch("replay", str(finished), "--speed", "max", *stretch, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    seqs = [line["seq"] for line in map(json.loads, done.stdout.splitlines()) if "message" in line]
    assert seqs == list(range(11, 21))
    assert ccwatch("replay", str(finished), "--speed", "fast", cwd=tmp_path).returncode == 2
    assert ccwatch("replay", str(finished), "--from", "soon", cwd=tmp_path).returncode == 2


@pytest.mark.slow
def test_replay_serves_a_recording_byte_for_byte(finished: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ccwatch", "replay", str(finished), "--speed", "max", "--serve"]
    command += ["--port", "0", "--engine-port", "0", "--json"]
    process = subprocess.Popen(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        said = json.loads(process.stdout.readline())
        received: dict[int, bytes] = {}
        with cw.connect(said["engine_url"], name="served again") as feed:
            feed.on_packet(lambda packet: received.setdefault(packet.time_ns, packet.raw))
            feed.wait(120, timeout=30)
            assert feed.origin == "synthetic", "replaying makes nothing real"
            deadline = time.monotonic() + 10
            while len(received) < 100:
                assert time.monotonic() < deadline
                time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        process.stdout.close()
    assert set(received.values()) <= set(islice(messages(5), 120))


@pytest.mark.slow
def test_export_writes_json_lines_csv_and_parquet_of_the_same_rows(finished: Path, tmp_path: Path) -> None:
    lines = ccwatch("export", str(finished), "--to", "jsonl", cwd=tmp_path).stdout.splitlines()
    sent = list(islice(messages(5), 120))
    assert [json.loads(line)["message"] for line in lines] == [json.loads(raw) for raw in sent]
    rows = list(csv.DictReader(io.StringIO(ccwatch("export", str(finished), "--to", "csv", cwd=tmp_path).stdout)))
    assert [float(row["price"]) for row in rows] == [json.loads(raw)["data"]["market"]["price"] for raw in sent]
    assert rows[0]["time"] == "2026-01-02T14:30:00.000000000Z"
    assert rows[0]["sentiment_score"] == ""
    out = tmp_path / "agents.parquet"
    heard = as_json("export", str(finished), "--to", "parquet", "-o", str(out), "--table", "agents", cwd=tmp_path)
    table = pq.read_table(out)
    assert table.num_rows == heard["rows"] == len(cw.open_recording(finished).agents())
    assert table.column_names == [column.name for column in TABLES["agents"]]
    part = ccwatch(
        "export", str(finished), "--to", "csv", "--from", "2026-01-02T14:31:00Z", "--until", "2026-01-02T14:31:04Z", cwd=tmp_path
    )
    assert len(part.stdout.splitlines()) == 1 + 5
    assert ccwatch("export", str(finished), "--to", "parquet", cwd=tmp_path).returncode == 2


@pytest.mark.slow
def test_an_export_whose_reader_leaves_is_no_error(finished: Path, tmp_path: Path) -> None:
    command = f"set -o pipefail; {sys.executable} -m ccwatch export {finished} --to jsonl | head -n 1"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_pack_leaves_out_what_is_nobodys_business_and_the_file_opens_as_it_is(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.zip"
    heard = as_json("pack", str(finished), "-o", str(out), "--drop", "cash,reasoning", "--scale-nav", "100", cwd=tmp_path)
    assert heard["packets"] == 120
    assert {"cash", "reasoning", "logs", "extra"} <= set(heard["dropped"])
    found, whole = cw.open_recording(out), cw.open_recording(finished).frame(["nav", "price"])
    frame = found.frame(["nav", "cash", "price", "reasoning"])
    assert frame["nav"].iloc[0] == pytest.approx(100)
    assert (frame["nav"].pct_change() - whole["nav"].pct_change()).abs().max() < 1e-12
    assert frame["price"].tolist() == whole["price"].tolist()
    assert frame["cash"].isna().all()
    assert frame["reasoning"].isna().all()
    assert found.logs().empty
    assert found.origin == "synthetic"
    kept = pq.read_table(found.folder / "frames")
    assert set(kept["why"].to_pylist()) <= {"lists"}, "no message is kept as it came, only what packets with fills still say"
    for line in kept["raw"].to_pylist():
        portfolio = json.loads(line)["data"]["portfolio"]
        assert portfolio.get("cash") is None
        assert portfolio["nav"] < 200, "scaled"
    assert not any(packet.raw for packet in found.packets())
    assert as_json("info", str(out), cwd=tmp_path)["packets"] == 120
    assert as_json("verify", str(out), "--deep", cwd=tmp_path)["ok"] is True
    again = ccwatch("pack", str(finished), "-o", str(out), cwd=tmp_path)
    assert again.returncode == 1
    assert "is there already" in again.stderr
    assert ccwatch("pack", str(finished), "-o", str(tmp_path / "y.zip"), "--drop", "fortune", cwd=tmp_path).returncode == 2


def test_prune_asks_and_deletes_nothing_that_nobody_confirmed(tmp_path: Path) -> None:
    old, protected = (seeded(tmp_path / tag, seed=1, packets=5, tags=[tag]) for tag in ("old", "kept"))
    options = ("prune", str(tmp_path), "--max-bytes", "1", "--keep-tag", "kept")
    asked = ccwatch(*options, cwd=tmp_path)
    assert (asked.returncode, old.is_dir()) == (0, True)
    assert "nothing deleted" in asked.stdout
    assert as_json(*options, cwd=tmp_path)["deleted"] is False
    assert old.is_dir()
    heard = as_json(*options, "--yes", cwd=tmp_path)
    assert ([entry["path"] for entry in heard["recordings"]], heard["deleted"]) == ([str(old)], True)
    assert (old.exists(), protected.is_dir()) == (False, True)
    assert ccwatch("prune", str(tmp_path), cwd=tmp_path).returncode == 2


def test_ls_says_which_recordings_are_damaged_and_how(finished: Path, tmp_path: Path) -> None:
    whole, flipped, gone = (tmp_path / "here" / name for name in ("a-whole", "b-flipped", "c-gone"))
    for folder in (whole, flipped, gone):
        shutil.copytree(finished, folder)
    manifest = bytearray((flipped / "MANIFEST.jsonl").read_bytes())
    manifest[-40] ^= 1
    (flipped / "MANIFEST.jsonl").write_bytes(manifest)
    next((gone / "packets").glob("*.parquet")).unlink()
    shown = ccwatch("ls", "here", cwd=tmp_path).stdout.splitlines()
    assert [line.split()[2:5] for line in shown[1:4]] == [
        ["finished", "synthetic", "SPY"],
        ["finished,", "1", "damaged"],
        ["unreadable", "synthetic", "SPY"],
    ]
    assert shown[4].startswith("c-gone is unreadable: ")
    assert shown[4].endswith(" is missing")


@pytest.mark.slow
@pytest.mark.parametrize("option", ["", "--json"])
def test_a_list_whose_reader_leaves_is_no_error(option: str, tmp_path: Path) -> None:
    for n in range(800):
        (tmp_path / "here" / f"{n:0200}").mkdir(parents=True)
        (tmp_path / "here" / f"{n:0200}" / "session.json").write_bytes(b"{}")
    command = f"set -o pipefail; {sys.executable} -m ccwatch ls here {option} | head -n 1"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
