"""A loss stays reported: what is intact is read everywhere, and what is not is a gap, before recovery and after."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from pandas.testing import assert_frame_equal

import ccwatch as cw
from ccwatch.protocol.messages import Event, Packet
from ccwatch.recording import Recorder, Recording, list_recordings, recover
from ccwatch.recording.journal import Frame, journal_files, read_frames

TABLES = ("agents", "models", "logs", "forecasts", "events")


def ccwatch(*arguments):
    return subprocess.run([sys.executable, "-m", "ccwatch", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def three(usual, tmp_path_factory):
    """A finished recording of three segments, and its items."""
    items = usual[:90]
    with Recorder(tmp_path_factory.mktemp("three") / "s", url="", origin="live") as recorder:
        for n in (0, 30):
            recorder.receive(items[n : n + 30])
            recorder.rotate()
        recorder.receive(items[60:])
    return recorder.path, items


@pytest.fixture
def copied(three, tmp_path):
    shutil.copytree(three[0], tmp_path / "s")
    return tmp_path / "s", three[1]


def segment(folder, table, place):
    return sorted((folder / table).glob("*.parquet"))[place]


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def gaps(recording):
    return [item for item in recording.items() if isinstance(item, Event) and "reason=damaged" in item.detail]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["cut", "gone", "flipped"])
def test_of_three_segments_the_intact_ones_are_read_everywhere(copied, how, tmp_path):
    folder, items = copied
    whole = Recording(folder).frame()
    path = segment(folder, "packets", 1)
    if how == "gone":
        path.unlink()
    elif how == "cut":
        cut(path)
    else:
        damaged = bytearray(path.read_bytes())
        damaged[-9] ^= 1
        path.write_bytes(damaged)
    packets = [item for item in items if isinstance(item, Packet)]
    lost = [item for item in items[30:60] if isinstance(item, Packet)]
    first, last = lost[0].seq, lost[-1].seq
    recording = Recording(folder)
    left = whole[~whole["seq"].between(first, last)]
    assert_frame_equal(recording.frame(), left)
    info = recording.info()
    assert (info.packets, info.gaps, info.damaged, info.status) == (len(packets) - len(lost), 1, 1, "finished")
    kept = list(recording.items())
    assert [item for item in kept if item not in gaps(recording)] == [*items[:30], *items[60:]]
    (gap,) = gaps(recording)
    assert kept[30] == gap
    assert gap.detail == f"entries=30 reason=damaged first_entry=31 seq={first}-{last} tables=packets"
    assert gap.time_ns == lost[0].time_ns
    assert (recording.events()["detail"] == gap.detail).sum() == 1
    assert not recording.verify().ok
    if how == "cut":
        assert len(cw.analyze(recording).timeline().to_frame())
    before, after = packets[0].time, items[29].time
    # Categories are those of the segments that were read; a word of another segment is none of them.
    assert_frame_equal(recording.frame(start=before, end=after), whole.loc[before:after], check_categorical=False)
    if how != "flipped":  # listing looks at sizes; bytes are looked at by who reads them, verify and recover
        assert_listed(folder, info)
    for command in (
        () if how != "cut" else (["info", folder], ["export", folder, "--to", "csv", "-o", tmp_path / "o.csv"], ["tail", folder, "-n", "5"])
    ):
        assert (done := ccwatch(*command)).returncode == 0, done.stderr
    set_aside = [] if how == "gone" else [f"packets/{path.stem}.damaged"]
    if how == "cut":  # by the command line, whose every run costs seconds on a slow machine
        done = ccwatch("recover", folder, "--json")
        heard = json.loads(done.stdout)
        assert (done.returncode, heard["lost"], heard["set_aside"]) == (1, [gap.detail], set_aside)
    else:
        found = recover(folder)
        assert (found.is_whole, list(found.set_aside)) == (False, set_aside)
    again = Recording(folder)
    assert (again.info().damaged, again.info().gaps, again.status) == (1, 1, "finished")
    assert gaps(again) == [gap]
    assert_frame_equal(again.frame(), left)
    assert not again.verify().ok
    assert_listed(folder, info)
    assert recover(folder).is_whole is False, "it stays so"


def assert_listed(folder, info):
    row = list_recordings(folder.parent).loc["s"]
    assert (row["packets"], row["gaps"], row["damaged"] >= 1, row["status"]) == (info.packets, 1, True, "finished")


@pytest.mark.slow
@pytest.mark.parametrize("table", ["agents", "frames", "events"])
def test_a_table_that_is_damaged_takes_no_other_away(copied, table):
    folder, _ = copied
    whole = {name: getattr(Recording(folder), name)() for name in TABLES}
    frame = Recording(folder).frame()
    cut(segment(folder, table, 2))
    recording = Recording(folder)
    assert_frame_equal(recording.frame(), frame)
    for name in set(TABLES) - {table, "events"}:
        assert_frame_equal(getattr(recording, name)(), whole[name])
    assert recording.info().damaged == 1
    assert f"tables={table}" in gaps(recording)[0].detail


def test_events_of_which_nothing_is_intact_are_the_gap_at_the_first_look(copied):
    """Only reading shows that a column is damaged: footers are right."""
    folder, _ = copied
    for path in (folder / "events").glob("*.parquet"):
        data = bytearray(path.read_bytes())
        data[5] ^= 1
        path.write_bytes(data)
    recording = Recording(folder)
    events = recording.events()
    assert len(events) > 0
    assert events["detail"].str.contains("reason=damaged").all()
    assert_frame_equal(events, recording.events())


@pytest.mark.slow
def test_the_damaged_end_of_a_journal_is_a_gap_before_and_after_recovery(usual, tmp_path, eventually):
    recorder = Recorder(tmp_path / "s", url="", origin="live")
    for n in range(0, 90, 10):
        recorder.receive(usual[n : n + 10])
        eventually(lambda n=n: recorder.stats.packets + recorder.stats.events == n + 10)
    recorder.stop(finish=False)
    (path,) = journal_files(recorder.path / "_journal")
    nonce = bytes.fromhex(Recording(recorder.path).session.nonce)
    starts = [frame.offset for frame in read_frames(path, nonce) if isinstance(frame, Frame)]
    damaged = bytearray(path.read_bytes())
    damaged[starts[5] : len(damaged)] = bytes(len(damaged) - starts[5])
    path.write_bytes(damaged)
    for _ in ("before", "after"):
        recording = Recording(recorder.path)
        kept = list(recording.items())
        assert kept[:-1] == usual[:50]
        assert kept[-1].detail == f"bytes={len(damaged) - starts[5]} reason=damaged first_entry=51"
        assert (recording.info().gaps, recording.info().damaged) == (1, 1)
        assert recording.events()["detail"].iloc[-1] == kept[-1].detail
        assert recording.events()["detail"].iloc[-1] == kept[-1].detail, "a second look makes no second gap"
        assert not recording.verify().ok
        done = ccwatch("recover", recorder.path)
        assert done.returncode == 1
        assert "damaged" in done.stdout
    assert Recording(recorder.path).status == "finished"


def test_damage_to_a_journal_that_is_still_written_is_no_end(usual, tmp_path, eventually):
    with Recorder(tmp_path / "s", url="", origin="live") as recorder:
        recorder.receive(usual[:20])
        eventually(lambda: recorder.stats.packets + recorder.stats.events == 20)
        (path,) = journal_files(recorder.path / "_journal")
        with path.open("ab") as file:
            file.write(b"\0" * 500)
        recording = Recording(recorder.path)
        assert list(recording.items()) == usual[:20]
        recorder.receive(usual[20:40])
        eventually(lambda: recorder.stats.packets + recorder.stats.events == 40)
        assert list(recording.items()) == usual[:40]
        assert recording.frame(clean=False)["seq"].tolist() == [item.seq for item in usual[:40] if isinstance(item, Packet)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["session.json", "_copies/session.json", "MANIFEST.jsonl", "_copies/MANIFEST.jsonl"])
def test_a_recording_with_one_of_its_doubled_files_deleted_opens_and_is_healed(copied, name):
    folder, items = copied
    good = (folder / name).read_bytes()
    (folder / name).unlink()
    recording = Recording(folder)
    assert list(recording.items()) == items
    assert list_recordings(folder.parent).loc["s", "status"] == "finished"
    (problem,) = recording.verify().problems
    assert (problem.file, "missing" in problem.what) == (name, True)
    found = recover(folder)
    assert (found.mended, found.is_whole) == (1, True)
    assert (folder / name).read_bytes().splitlines()[0] == good.splitlines()[0]
    assert Recording(folder).verify(deep=True).ok


@pytest.mark.slow
def test_the_lines_of_a_whole_group_that_are_gone_are_a_gap_too(copied):
    folder, items = copied
    for name in ("MANIFEST.jsonl", "_copies/MANIFEST.jsonl"):
        lines = (folder / name).read_bytes().splitlines(keepends=True)
        middle = b'"entries":[31,60]'
        (folder / name).write_bytes(b"".join(line for line in lines if middle not in line))
    recording = Recording(folder)
    (gap,) = gaps(recording)
    assert "entries=30 reason=damaged first_entry=31" in gap.detail
    assert [item for item in recording.items() if item != gap] == [*items[:30], *items[60:]]
    assert (recording.info().gaps, recording.info().damaged) == (1, 1)
    assert not recording.verify().ok


@pytest.mark.slow
def test_pruning_goes_on_after_a_recording_that_cannot_be_deleted(tmp_path, usual):
    for name in ("a", "b", "c"):
        with Recorder(tmp_path / "all" / name, url="", origin="live") as recorder:
            recorder.receive(usual[:10])
    shutil.move(tmp_path / "all" / "b", tmp_path / "b")
    (tmp_path / "all" / "b").symlink_to(tmp_path / "b", target_is_directory=True)
    done = ccwatch("prune", tmp_path / "all", "--max-bytes", "1B", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["b"]
    assert Recording(tmp_path / "b").status == "finished", "what a link leads to is not ours to delete"
