"""Kills, power cuts, flipped bits and cut files: what was durable is there, and nothing goes silently wrong."""

from __future__ import annotations

import math
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from ccwatch.errors import CorruptRecording, RecordingError, RecordingNotFound
from ccwatch.protocol.messages import Event, EventKind, Packet
from ccwatch.recording import Recorder, Recording, journal, recover
from ccwatch.recording.folder import JOURNAL
from ccwatch.recording.schemas import FRAMES

FULL = bool(os.environ.get("CCWATCH_FULL"))
LONG = ("agents", "models", "logs", "forecasts", "trades", "events")


# ── kill -9 ──

RECORD_AT = """
    import sys, time
    from pathlib import Path
    from ccwatch.feed.synthetic import messages
    from ccwatch.protocol.stream_reader import StreamReader
    from ccwatch.recording import Recorder
    from ccwatch.stream.source import read_clock
    rate = float(sys.argv[2])
    recorder = Recorder(Path(sys.argv[1]), url="", origin="synthetic")
    session = StreamReader(virtual_clock=True)
    recorder.receive(session.opened(read_clock()))
    begun = time.monotonic()
    for n, raw in enumerate(messages(1, "calm", rate)):
        while (left := begun + n / rate - time.monotonic()) > 0:
            time.sleep(left)
        recorder.receive(session.receive(raw, read_clock()))
        stats = recorder.stats
        print(stats.received_seq, stats.written_seq, flush=True)
"""
KILLS = [(rate, n) for rate in (1, 100, 1_000, 5_000) for n in range(25)] if FULL else [(100, 0), (5_000, 1)]


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "n"), KILLS)
def test_a_kill_at_any_rate_loses_no_packet_that_was_written_and_at_most_a_frame_of_those_received(tmp_path, rate, n):
    command = [sys.executable, "-c", textwrap.dedent(RECORD_AT), str(tmp_path / "s"), str(rate)]
    wanted = max(2, int(rate * (0.3 + 0.05 * n)))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        received = written = 0
        while received < wanted:
            received, written = map(int, process.stdout.readline().split())
        process.send_signal(signal.SIGKILL)
        for line in process.stdout.read().splitlines():
            if line.count(" ") == 1:
                received, written = map(int, line.split())
    recording = Recording(tmp_path / "s")
    seqs = [packet.seq for packet in recording.packets()]
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(seqs) >= written
    assert received - len(seqs) <= journal.FRAME_ENTRIES
    assert recording.verify(deep=True).ok


# ── power cuts ──


class Disk:
    """What a disk may hold after a cut, from the moments at which the recorder synced, renamed or deleted.

    Contents go by inode. Of what was written after a file's last sync, any page may be there or not, and the file may end anywhere
    from there on; of the names of a folder, any that changed after its last sync may be the old or the new one.
    """

    PAGE = 4096

    def __init__(self, root: Path) -> None:
        self.root = root
        self.moments = []
        self._synced: dict[int, bytes] = {}
        self._listed: dict[Path, dict[str, int]] = {}
        self._contents: dict[int, bytes] = {}
        self._lock = threading.Lock()

    def look(self, durable_seq: int, synced: os.stat_result | None = None, folder: Path | None = None) -> None:
        """Note a moment, after which a file or a folder is on the disk."""
        with self._lock:
            names: dict[Path, dict[str, int]] = {}
            for place, folders, files in os.walk(self.root):
                here = names[Path(place).relative_to(self.root)] = {}
                for name in files:
                    path = Path(place, name)
                    try:
                        here[name] = path.stat().st_ino
                        self._contents[here[name]] = path.read_bytes()
                    except FileNotFoundError:
                        here.pop(name, None)
                here.update(dict.fromkeys(folders, -1))
            self.moments.append((durable_seq, names, dict(self._listed), dict(self._contents), dict(self._synced)))
            if synced is not None and synced.st_ino in self._contents:
                self._synced[synced.st_ino] = self._contents[synced.st_ino]
            if folder is not None and folder in names:
                self._listed[folder] = names[folder]

    def cut(self, dice: random.Random, target: Path) -> int:
        """One state after a cut, written to `target`; the durable seq of its moment."""
        durable_seq, names, listed, contents, synced = dice.choice(self.moments)
        target.mkdir(parents=True)
        for folder in sorted(names, key=lambda path: len(path.parts)):
            if not (target / folder).is_dir():
                continue
            now, before = names[folder], listed.get(folder, {})
            for name in {*now, *before}:
                inode = dice.choice([now.get(name), before.get(name)])
                if inode is None:
                    continue
                if inode == -1:
                    (target / folder / name).mkdir()
                else:
                    (target / folder / name).write_bytes(self._torn(dice, contents[inode], synced.get(inode, b"")))
        return durable_seq

    def _torn(self, dice: random.Random, content: bytes, safe: bytes) -> bytes:
        if content == safe or not content.startswith(safe):
            return content if dice.random() < 0.5 or not safe else safe
        end = dice.randint(len(safe), len(content))
        found = bytearray(content[:end])
        for page in range(len(safe) // self.PAGE, end // self.PAGE + 1):
            if dice.random() < 0.3:
                start, stop = max(len(safe), page * self.PAGE), min(end, (page + 1) * self.PAGE)
                found[start:stop] = bytes(max(0, stop - start))
        return bytes(found)


@pytest.fixture(scope="module")
def cuts(usual, tmp_path_factory):
    """The moments of a recording of the usual stream: begun, rotated once in between, finished."""
    folder = tmp_path_factory.mktemp("cuts") / "s"
    disk = Disk(folder)
    recorders = []

    def seq():
        return recorders[0].stats.durable_seq if recorders else 0

    def fsync(handle, original=os.fsync):
        original(handle)
        where = os.fstat(handle)
        path = Path(f"/proc/self/fd/{handle}").readlink()
        is_ours = path.is_relative_to(folder)
        disk.look(seq(), where, path.relative_to(folder) if is_ours and path.is_dir() else None)

    def around(original):
        def step(*arguments, **options):
            disk.look(seq())
            return original(*arguments, **options)

        return step

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        patched.setattr(journal, "datasync", fsync)
        for name in ("replace", "unlink", "rmdir"):
            patched.setattr(Path, name, around(getattr(Path, name)))
        recorder = Recorder(folder, url="", origin="live", fsync="strict")
        recorders.append(recorder)
        for n in range(0, len(usual), 10):
            recorder.receive(usual[n : n + 10])
            while recorder.stats.packets + recorder.stats.events < min(n + 10, len(usual)):
                pass
            if n == 150:
                recorder.rotate()
        recorder.stop()
    return disk


@pytest.mark.slow
def test_after_a_power_cut_every_durable_packet_is_there_and_none_is_invented(cuts, usual, tmp_path):
    sent = {item.seq: item for item in usual if isinstance(item, Packet)}
    dice = random.Random(1)
    count = 3_000 if FULL else 30
    refused = 0
    assert len(cuts.moments) > 60
    for n in range(count):
        folder = tmp_path / "cut"
        durable = cuts.cut(dice, folder)
        try:
            recording = Recording(folder)
        except RecordingNotFound:
            assert durable == 0, "a recording that held something is no recording any more"
            refused += 1
        else:
            check(recording, sent, durable, n)
            if n % 10 == 0:
                recover(folder)
                check(Recording(folder), sent, durable, n)
                assert Recording(folder).status == "finished"
                assert recover(folder).entries == 0
        shutil.rmtree(folder)
    assert refused < count / 4


def check(recording, sent, durable, n):
    found = list(recording.packets())
    assert all(sent[packet.seq] == packet for packet in found), f"state {n}: a packet that nobody sent"
    seqs = [packet.seq for packet in found]
    assert seqs == sorted(set(seqs)), f"state {n}: a packet twice"
    assert set(range(1, durable + 1)) <= set(seqs), f"state {n}: {durable} were durable"
    assert recording.frame(["seq"], clean=False)["seq"].tolist() == seqs


# ── flipped bits and cut files ──


@pytest.fixture(scope="module")
def wholes(usual, tmp_path_factory):
    """A finished recording and a killed one, marked, and what each holds."""
    found = []
    for name, finish in (("finished", True), ("killed", False)):
        recorder = Recorder(tmp_path_factory.mktemp("whole") / name, url="", origin="live")
        for n in range(0, 120, 20):
            recorder.receive(usual[n : n + 20])
            while recorder.stats.packets + recorder.stats.events < n + 20:
                pass
        recorder.stop(finish=finish)
        recording = Recording(recorder.path)
        recording.mark(usual[5].time if isinstance(usual[5], Packet) else usual[6].time, "here")
        tables = {table: getattr(recording, table)() for table in LONG}
        found.append((recorder.path, list(recording.items()), recording.frame(), tables))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("how", ["flip", "cut"])
def test_no_damage_makes_a_silently_wrong_row_and_all_outside_it_is_read(wholes, how):
    dice = random.Random(how)
    places = [(whole, file) for whole in wholes for file in sorted(whole[0].rglob("*")) if file.is_file() and file.name != ".lock"]
    kinds = {file.parent.name if file.suffix in {".parquet", ".ccj"} else f"{file.parent.name}/{file.name}" for _, file in places}
    assert len([kind for kind in kinds if "/" not in kind]) == 9, "eight tables and the journal"
    per_file = math.ceil({"flip": 10_000, "cut": 2_000}[how] / len(places)) if FULL else 1
    for whole, file in places:
        good = file.read_bytes()
        for _ in range(per_file):
            place = dice.randrange(len(good))
            damaged = bytearray(good[:place] if how == "cut" else good)
            if how == "flip":
                damaged[place] ^= 1 << dice.randrange(8)
            file.write_bytes(damaged)
            judge(whole, file, place, how)
        file.write_bytes(good)
    assert all(Recording(whole[0]).verify(deep=True).ok for whole in wholes)


def judge(whole, file, place, how):
    folder, items, frame, tables = whole
    name = str(file.relative_to(folder))
    recording = Recording(folder)  # session.json has a copy: it opens whatever is damaged
    verified = recording.verify(deep=True)
    heard = [p for p in (*verified.problems, *verified.notes) if p.file == name and p.offset <= place <= p.offset + p.length]
    at_a_line_or_frame = how == "cut" and not heard  # what is left is whole: as if the rest had never been written
    assert heard or at_a_line_or_frame, f"{how} at {name}:{place} was not noticed"
    if file.parent.name == JOURNAL:
        judge_journal(recording, items, how, heard)
        return
    found = {table: what_is_intact(recording, table, file) for table in LONG}
    gaps = [detail for detail in found["events"]["detail"] if "reason=damaged" in detail]
    read, packets = what_is_intact(recording, "frame", file), list(recording.items())
    assert recording.status == ("finished" if folder.name == "finished" else "killed")
    if file.suffix in {".json", ".jsonl"} or (file.parent.name == FRAMES and not gaps):  # both are there twice; no column needs frames
        assert all(found[table].equals(tables[table]) for table in LONG)
        assert read.equals(frame)
    for table in LONG:
        rows, all_rows = found[table], tables[table]
        if table == "events":
            rows = rows[~rows["detail"].str.contains("reason=damaged")]
        is_lost = not rows.equals(all_rows)
        assert not is_lost or file.parent.name == table, f"{name} took {table} away"
        assert not is_lost or recording.info().damaged, f"{how} at {name}:{place}: {table} is silently wrong"
        assert set(rows["seq"]) <= set(all_rows["seq"])
    assert read.equals(frame) or file.parent.name == "packets"
    kept = [item for item in packets if not is_gap(item)]
    assert kept == items or (recording.info().damaged and len(packets) > len(kept)), f"{how} at {name}:{place}: items are silently wrong"
    assert all(item in items for item in kept)


def what_is_intact(recording, table, file):
    """Rows; none where an error names the file, since none are intact."""
    try:
        return getattr(recording, table)()
    except CorruptRecording as error:
        assert file.name in str(error)  # noqa: PT017 - the other of the two good ends
        return recording.frame(["seq"], end="1970-01-01")


def is_gap(item):
    return isinstance(item, Event) and item.kind == EventKind.GAP and "reason=damaged" in item.detail


def judge_journal(recording, items, how, heard):
    found = list(recording.items())
    kept = [item for item in found if not is_gap(item)]
    assert all(item in items for item in kept), "a row that was never recorded"
    assert len(kept) >= len(items) - 20 or how == "cut", "a frame outside the damage was lost"
    assert len(kept) == len(items) or heard or how == "cut"
    if how == "flip" and len(kept) < len(items) and recording.verify().problems:
        assert len(found) > len(kept), "a loss without its gap"
        assert recording.info().gaps > 0
        assert recording.info().damaged > 0


@pytest.mark.slow
def test_what_only_the_damaged_copy_had_is_mended_and_the_rest_of_a_damaged_journal_is_kept(wholes, tmp_path):
    folder = tmp_path / "s"
    path, items, *_ = wholes[1]
    shutil.copytree(path, folder)
    for name in ("session.json", "_journal/000001.ccj"):
        damaged = bytearray((folder / name).read_bytes())
        damaged[len(damaged) // 2] ^= 8
        (folder / name).write_bytes(damaged)
    found = recover(folder)
    assert (found.mended, found.damaged_bytes > 0, found.finished) == (1, True, True)
    assert [file.name for file in (folder / JOURNAL).iterdir()] == ["000001.damaged"]
    recording = Recording(folder)
    assert [problem.file for problem in recording.verify(deep=True).problems] == ["_journal/000001.damaged"], "what was lost stays lost"
    gaps = [item for item in recording.items() if isinstance(item, Event) and "damaged" in item.detail]
    assert len(gaps) == 1
    assert len(list(recording.items())) == len(items) - 20 + 1


@pytest.mark.slow
def test_recovering_what_cannot_be_written_is_a_clear_error(wholes, tmp_path):
    with pytest.raises(RecordingNotFound):
        recover(tmp_path)
    with pytest.raises(RecordingError, match="holds no recording"):
        recover(wholes[0][0] / "packets")
