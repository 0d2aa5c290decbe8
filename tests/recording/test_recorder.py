from __future__ import annotations

import errno
import gc
import itertools
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from ccwatch.config import FSYNC_POLICIES
from ccwatch.errors import ConfigError, RecordingBusy, RecordingError
from ccwatch.protocol.messages import Event, EventKind, Flag
from ccwatch.recording import Recorder, Recording, folder, intake, recover, segment_groups, syncer, writer
from ccwatch.recording.journal import journal_files


@pytest.fixture
def start(tmp_path):
    started = []

    def begin(name="session", **options):
        started.append(Recorder(tmp_path / name, **{"url": "ws://localhost:3000", "origin": "live", **options}))
        return started[-1]

    yield begin
    for one in started:
        one.stop(finish=False)


def run_python(code, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)], stdout=subprocess.PIPE, text=True, **options
    )


RECORD = """
    import sys, time, itertools
    from pathlib import Path
    from ccwatch.feed.synthetic import messages
    from ccwatch.protocol.stream_reader import StreamReader
    from ccwatch.recording import Recorder
    from ccwatch.stream.source import read_clock
    recorder = Recorder(Path(sys.argv[1]), url="ws://localhost:3000", origin="synthetic", fsync=sys.argv[2])
    session = StreamReader(virtual_clock=True)
    recorder.receive(session.opened(read_clock()))
    for raw in messages(1, "calm", 1.0):
        recorder.receive(session.receive(raw, read_clock()))
        time.sleep(0.0005)
        print(recorder.stats.written_seq, recorder.stats.durable_seq, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("fsync", ["strict", "balanced"])
def test_a_recorder_that_is_killed_leaves_all_that_it_said_was_written(tmp_path, fsync):
    path = tmp_path / "killed"
    with run_python(RECORD, path, fsync) as process:
        written = durable = 0
        while written < 150 or durable < 20:
            written, durable = map(int, process.stdout.readline().split())
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().splitlines()
    written = max([written, *(int(line.split()[0]) for line in rest if len(line.split()) == 2)])
    recording = Recording(path)
    assert recording.status == "killed"
    seqs = [packet.seq for packet in recording.packets()]
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(seqs) >= written
    assert recording.frame(clean=False)["seq"].tolist() == seqs
    assert recording.verify(deep=True).ok


def test_stop_brings_everything_to_the_disk_within_a_second_and_makes_parquet_of_it(start, usual, packets_of):
    recorder = start(fsync="lazy")
    recorder.receive(usual)
    began = time.monotonic()
    recorder.stop(finish=False)
    assert time.monotonic() - began < 4
    last = packets_of(usual)[-1].seq
    stats = recorder.stats
    assert (stats.received_seq, stats.written_seq, stats.durable_seq) == (last, last, last)
    assert (stats.packets, stats.events) == (len(packets_of(usual)), len(usual) - len(packets_of(usual)))
    assert not stats.degraded
    assert Recording(recorder.path).status == "killed"

    finished = start("finished")
    finished.receive(usual)
    finished.stop()
    assert Recording(finished.path).status == "finished"
    assert journal_files(finished.path / "_journal") == []
    assert sorted(path.name for path in finished.path.iterdir() if path.is_dir() and any(path.iterdir())) == sorted(
        ["_copies", "packets", "agents", "models", "logs", "forecasts", "events", "frames", "trades"]
    )


@pytest.mark.parametrize("fsync", ["strict", "balanced"])
def test_packets_reach_the_disk_while_it_runs(start, usual, packets_of, eventually, fsync):
    recorder = start(fsync=fsync)
    recorder.receive(usual[:50])
    last = packets_of(usual[:50])[-1].seq
    eventually(lambda: recorder.stats.durable_seq == last)
    recorder.receive(usual[50:100])
    eventually(lambda: recorder.stats.durable_seq == packets_of(usual[:100])[-1].seq)


def test_policy_off_syncs_only_at_the_end(start, usual, packets_of, eventually):
    recorder = start(fsync="off")
    recorder.receive(usual)
    last = packets_of(usual)[-1].seq
    eventually(lambda: recorder.stats.written_seq == last)
    assert recorder.stats.durable_seq == 0
    recorder.stop(finish=False)
    assert recorder.stats.durable_seq == last


@pytest.mark.slow
def test_a_second_recorder_on_a_folder_is_refused_in_any_process(start, usual):
    recorder = start()
    with pytest.raises(RecordingBusy):
        start()
    code = """
        import sys
        from pathlib import Path
        from ccwatch.errors import RecordingBusy
        from ccwatch.recording import Recorder
        try:
            Recorder(Path(sys.argv[1]), url="", origin="live")
        except RecordingBusy:
            print("busy")
    """
    with run_python(code, recorder.path) as process:
        assert process.stdout.read() == "busy\n"
    recorder.receive(usual)
    recorder.stop()
    with pytest.raises(RecordingError, match="holds a recording already"):
        start()
    assert list(Recording(recorder.path).items()) == usual


@pytest.mark.slow
def test_a_recorder_that_is_left_open_says_so_and_keeps_what_it_was_given(tmp_path, usual):
    recorder = Recorder(tmp_path / "left", url="", origin="live")
    recorder.receive(usual)
    holder = [recorder]
    del recorder
    with pytest.warns(ResourceWarning, match="was left open"):
        holder.clear()
    gc.collect()
    assert list(Recording(tmp_path / "left").items()) == usual
    assert Recording(tmp_path / "left").status == "killed"


@pytest.mark.slow
def test_a_recorder_that_is_open_when_python_ends_keeps_what_it_was_given(tmp_path):
    code = RECORD.replace("for raw in messages", "for raw in list(itertools.islice(messages").replace("1.0):", "1.0), 100)):")
    code = code.replace("time.sleep(0.0005)", "pass").replace(
        "print(recorder.stats.written_seq, recorder.stats.durable_seq, flush=True)", "pass"
    )
    with run_python(code, tmp_path / "ended", "lazy", stderr=subprocess.PIPE) as process:
        process.communicate(timeout=20)
        assert process.returncode == 0
    assert len(list(Recording(tmp_path / "ended").packets())) == 100


def test_the_source_is_never_kept_waiting_and_what_found_no_room_is_counted_and_told(start, usual, monkeypatch, eventually):
    monkeypatch.setattr(intake, "QUEUE_ITEMS", 10)
    one = start()
    writing, go_on = threading.Event(), threading.Event()
    append = one._writer._journal.append

    def slow(*arguments, **options):
        writing.set()
        go_on.wait(10)
        return append(*arguments, **options)

    monkeypatch.setattr(one._writer._journal, "append", slow)
    one.receive(usual[:1])
    assert writing.wait(5)
    began = time.monotonic()
    one.receive(usual[1:100])
    assert time.monotonic() - began < 3
    assert one.stats.degraded
    assert one.dropped == one.stats.dropped == 89
    go_on.set()
    eventually(lambda: one.stats.written_seq == usual[10].seq)
    one.receive(usual[100:105])
    one.stop()
    assert not one.stats.degraded
    drop, *others = [item for item in Recording(one.path).items() if isinstance(item, Event) and item.kind == EventKind.DROP]
    assert others == []
    assert drop.detail == f"items=89 first_seq={usual[11].seq} last_seq={usual[99].seq} reason=queue-full"
    kept = [item for item in Recording(one.path).items() if item != drop]
    assert kept == [*usual[:11], *usual[100:105]]
    assert Recording(one.path).info().gaps == 1


@pytest.mark.slow
def test_what_a_full_disk_refused_is_written_once_there_is_room_again(tmp_path):
    code = """
        import resource, signal, sys, time
        from itertools import islice
        from pathlib import Path
        from ccwatch.feed.synthetic import messages
        from ccwatch.protocol.messages import Packet
        from ccwatch.protocol.stream_reader import StreamReader
        from ccwatch.recording import Recorder, Recording
        from ccwatch.stream.source import read_clock
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        recorder = Recorder(Path(sys.argv[1]), url="", origin="live")
        session = StreamReader(virtual_clock=True)
        items = [item for raw in islice(messages(), 400) for item in session.receive(raw, read_clock())]
        resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, resource.RLIM_INFINITY))
        for item in items:
            recorder.receive([item])
            time.sleep(0.0002)
        deadline = time.monotonic() + 10
        while recorder.stats.error is None and time.monotonic() < deadline:
            time.sleep(0.01)
        before = recorder.stats
        print(before.degraded, before.written_seq < 400, before.error)
        kept = [packet.seq for packet in Recording(recorder.path).packets()]
        print(kept == list(range(1, before.written_seq + 1)))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        recorder.stop()
        sent = [item for item in items if isinstance(item, Packet)]
        print(recorder.stats.degraded, recorder.stats.dropped, len(sent), list(Recording(recorder.path).packets()) == sent)
    """
    with run_python(code, tmp_path / "full", stderr=subprocess.DEVNULL) as process:
        before, kept, after = process.stdout.read().splitlines()
    assert before.startswith("True True the journal cannot be written: [Errno 27] File too large")
    assert kept == "True"
    assert after == "False 0 400 True"


def test_a_recorder_on_a_disk_that_refuses_stops_within_a_second_and_says_what_is_missing(start, usual, monkeypatch, eventually):
    one = start()
    one.receive(usual[:10])
    eventually(lambda: one.stats.written_seq == usual[9].seq)
    os.close(one._writer._journal._handle)
    one._writer._journal._handle = os.open(one._writer._journal.path, os.O_RDONLY)
    monkeypatch.setattr(one._writer._journal, "_open_next", lambda: (_ for _ in ()).throw(OSError("no room")))
    one.receive(usual[10:20])
    eventually(lambda: one.stats.degraded)
    began = time.monotonic()
    with pytest.raises(RecordingError, match="cannot be written"):
        one.stop()
    assert time.monotonic() - began < 5
    assert one.dropped == 10
    assert list(Recording(one.path).items()) == usual[:10]


def test_an_item_that_cannot_be_stored_is_counted_and_the_others_are(start, usual, caplog):
    odd = usual[5]._replace(flags=1 << 40)
    with caplog.at_level(logging.CRITICAL + 1), start() as one:
        one.receive([*usual[:5], odd, *usual[6:20]])
    assert one.dropped == 1
    assert list(Recording(one.path).items()) == [*usual[:5], *usual[6:20]]


def test_a_thread_that_fails_shows_it_and_stop_still_ends(start, usual, monkeypatch, caplog, eventually):
    one = start()
    monkeypatch.setattr(one._writer._intake, "_take", lambda: 1 / 0)
    with caplog.at_level(logging.CRITICAL + 1):
        one.receive(usual[:5])
        eventually(lambda: one.stats.error is not None)
    assert "ZeroDivisionError" in one.stats.error
    assert one.stats.degraded
    with pytest.raises(RecordingError, match="ZeroDivisionError"):
        one.stop()


@pytest.mark.slow
def test_rotating_makes_parquet_while_recording_goes_on(start, usual):
    one = start()
    one.receive(usual[:100])
    one.rotate()
    halfway = Recording(one.path)
    assert list(halfway.items()) == usual[:100]
    assert len(list((one.path / "packets").iterdir())) == 1
    one.receive(usual[100:])
    one.rotate()
    one.rotate()
    assert list(halfway.items()) == usual
    one.stop()
    assert list(halfway.items()) == usual
    assert halfway.frame(clean=False)["seq"].is_monotonic_increasing
    with pytest.raises(RecordingError, match="stopped"):
        one.rotate()


def test_events_alone_between_two_rotations_are_kept_each_time(start, usual):
    marks = [usual[0]._replace(kind=EventKind.MARK, detail=f"text={n}") for n in range(3)]
    one = start()
    for mark in marks:
        one.receive([mark])
        one.rotate()
    one.stop()
    assert list(Recording(one.path).items()) == marks
    assert len(list((one.path / "events").iterdir())) == 3


@pytest.mark.slow
def test_the_journal_rolls_and_all_its_files_become_parquet(start, usual, monkeypatch, eventually):
    monkeypatch.setattr(writer, "ROLL_PACKETS", 120)
    one = start()
    for n in range(0, len(usual), 50):
        one.receive(usual[n : n + 50])
        eventually(lambda n=n: one.stats.packets + one.stats.events >= min(n + 50, len(usual)))
    eventually(lambda: one.stats.bytes > 0 and not one.stats.compacting and len(journal_files(one.path / "_journal")) == 1, 60)
    assert one.stats.error is None
    assert len(list((one.path / "packets").iterdir())) > 0, "Parquet is made while it runs"
    assert list(Recording(one.path).items()) == usual
    one.stop()
    assert list(Recording(one.path).items()) == usual


@pytest.mark.slow
def test_the_compactor_ends_with_its_recorder_and_what_it_had_not_done_is_done_later(tmp_path, eventually):
    path = tmp_path / "s"
    code = RECORD.replace("recorder = Recorder(", "from ccwatch.recording import writer; writer.ROLL_PACKETS = 1500; recorder = Recorder(")
    code = code.replace("time.sleep(0.0005)", "pass").replace("recorder.stats.durable_seq, flush", "recorder.stats.compacting, flush")
    with run_python(code, path, "balanced") as process:
        while (said := process.stdout.readline().split())[1] != "True":
            pass
        process.send_signal(signal.SIGKILL)
    eventually(lambda: Recording(path).status == "killed", 20)  # the compactor held its lock as well
    found = [packet.seq for packet in Recording(path).packets()]
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= int(said[0])
    assert recover(path).finished
    assert [packet.seq for packet in Recording(path).packets()] == found
    assert Recording(path).verify(deep=True).ok


@pytest.mark.slow
def test_a_compaction_that_fails_is_shown_and_the_journal_holds_everything(start, usual, monkeypatch, caplog, eventually):
    monkeypatch.setattr(writer, "ROLL_PACKETS", 40)
    monkeypatch.setattr("ccwatch.recording.background_compaction.MODULE", "no.such.module")
    with caplog.at_level(logging.CRITICAL + 1):
        one = start()
        one.receive(usual)
        eventually(lambda: one.stats.error is not None, 30)
    assert "compaction failed, the journal holds everything" in one.stats.error
    assert list(Recording(one.path).items()) == usual
    one.stop()
    assert Recording(one.path).status == "finished"
    assert list(Recording(one.path).items()) == usual


@pytest.mark.slow
def test_stop_asks_its_source_to_end_first_and_is_harmless_twice(tmp_path, usual):
    asked = []
    one = Recorder(tmp_path / "s", url="", origin="live", on_stop=lambda: (asked.append(1), one.receive(usual)))
    one.stop()
    one.stop()
    one.receive(usual)
    assert asked == [1]
    assert list(Recording(one.path).items()) == usual


def test_origin_is_asked_again_at_each_connect(start, usual, eventually):
    known = ["live"]
    one = start(origin=lambda: known[0])
    assert Recording(one.path).origin == "live"
    known[0] = "synthetic"
    assert usual[0].kind == EventKind.CONNECT
    one.receive(usual[:5])
    eventually(lambda: Recording(one.path).origin == "synthetic")


def test_an_unknown_policy_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(ConfigError, match="fsync: expected one of strict, balanced, lazy, off"):
        Recorder(tmp_path / "s", url="", origin="live", fsync="sometimes")
    with pytest.raises(ConfigError, match="raw: expected"):
        Recorder(tmp_path / "s", url="", origin="live", raw="maybe")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match="cannot be written"):
        Recorder(tmp_path / "file" / "s", url="", origin="live")


def test_flags_are_kept(start, varied):
    with start() as one:
        one.receive(varied)
    flags = [item.flags for item in varied if not isinstance(item, Event)]
    assert [packet.flags for packet in Recording(one.path).packets()] == flags
    assert any(flag & Flag.REPEAT for flag in flags)
    assert any(flag & Flag.REPLAYED for flag in flags)


def test_one_failed_rewrite_of_session_json_is_tried_again_and_freezes_nothing(start, usual, packets_of, eventually, monkeypatch):
    known, refused = ["live"], []
    one = start(origin=lambda: known[0], fsync="strict")
    write_durably = folder.write_durably

    def refuse_once(path, data):
        if not refused:
            refused.append(path.name)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_durably(path, data)

    monkeypatch.setattr(folder, "write_durably", refuse_once)
    known[0] = "synthetic"
    one.receive(usual[:50])
    eventually(lambda: one.stats.written_seq == packets_of(usual[:50])[-1].seq)
    eventually(lambda: one.stats.durable_seq == one.stats.written_seq)
    assert refused == ["session.json"]
    one.receive(usual[50:100])
    eventually(lambda: one.stats.durable_seq == packets_of(usual[:100])[-1].seq)
    one.stop()
    assert not one.stats.degraded
    assert (Recording(one.path).origin, Recording(one.path).status) == ("synthetic", "finished")


def test_an_origin_that_no_frame_could_write_is_written_at_the_end(start, usual, eventually, monkeypatch):
    known, refuses = ["live"], [True]
    one = start(origin=lambda: known[0])
    write_durably = folder.write_durably

    def refuse(path, data):
        if refuses[0]:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        write_durably(path, data)

    monkeypatch.setattr(folder, "write_durably", refuse)
    known[0] = "synthetic"
    one.receive(usual[:50])
    eventually(lambda: one.stats.error is not None)
    assert "session.json cannot be written" in one.stats.error
    refuses[0] = False
    one.stop()
    assert (one.stats.error, Recording(one.path).origin) == (None, "synthetic")


def test_trouble_that_is_over_in_one_thread_hides_none_of_another(start, usual, eventually, monkeypatch):
    one = start(fsync="strict")
    monkeypatch.setattr(one._writer._journal, "sync", lambda: (_ for _ in ()).throw(OSError("no power")))
    one.receive(usual[:50])
    eventually(lambda: one.stats.error is not None)
    assert "does not reach the disk: no power" in one.stats.error
    durable = one.stats.durable_seq
    monkeypatch.undo()
    one.receive(usual[50:100])
    eventually(lambda: one.stats.packets + one.stats.events == 100)
    assert "does not reach the disk: no power" in one.stats.error, "what the kernel has thrown away does not come back"
    assert one.stats.durable_seq == durable
    one.stop()
    assert not one.stats.degraded, "all of it was read back, and is in Parquet"
    assert list(Recording(one.path).items()) == usual[:100]


@pytest.mark.slow
def test_a_status_is_one_frozen_value_in_which_no_number_overtakes_another(start, usual):
    one = start(fsync="strict")
    seen, over = [], threading.Event()

    def watch():
        while not over.is_set():
            seen.append(one.stats)

    thread = threading.Thread(target=watch)
    thread.start()
    for item in usual:
        one.receive([item])
    one.stop()
    over.set()
    thread.join()
    assert len(seen) > 100
    assert all(s.durable_seq <= s.written_seq <= s.received_seq for s in seen)
    assert all(a.packets <= b.packets and a.durable_seq <= b.durable_seq for a, b in itertools.pairwise(seen))
    with pytest.raises(AttributeError):
        one.stats.packets = 1


def test_the_queue_holds_no_more_bytes_than_its_own_bound(start, usual, monkeypatch):
    monkeypatch.setattr(intake, "QUEUE_BYTES", 200_000)
    one = start()
    writing, go_on = threading.Event(), threading.Event()
    append = one._writer._journal.append

    def slow(*arguments, **options):
        writing.set()
        go_on.wait(10)
        return append(*arguments, **options)

    monkeypatch.setattr(one._writer._journal, "append", slow)
    one.receive(usual[:1])
    assert writing.wait(5)
    one.receive(usual[1:])
    waiting = one._writer._intake._queue
    assert 150_000 < sum(len(entry) for entry, _ in waiting) <= 200_000
    dropped = one.dropped
    go_on.set()
    one.stop()
    kept = list(Recording(one.path).items())
    drops = [item for item in kept if isinstance(item, Event) and item.kind == EventKind.DROP]
    assert sum(int(drop.detail.split()[0].removeprefix("items=")) for drop in drops) == dropped == one.dropped
    assert len(kept) - len(drops) + dropped == len(usual)


@pytest.mark.slow
def test_what_stop_has_no_time_to_finish_is_left_to_recover_and_said(start, usual, monkeypatch):
    monkeypatch.setattr(writer, "FINISH_S", 0.05)
    take = segment_groups.ArrowTables.of

    def slow(self, batch):
        time.sleep(0.1)
        return take(self, batch)

    monkeypatch.setattr(segment_groups.ArrowTables, "of", slow)
    one = start()
    one.receive(usual)
    with pytest.warns(RuntimeWarning, match=f"{len(usual)} packets and events are not in Parquet yet.*recover"):
        one.stop()
    assert (one.stats.left, one.stats.error) == (len(usual), None)
    assert one.stats.durable_seq == one.stats.written_seq == one.stats.received_seq
    assert Recording(one.path).status == "killed"
    assert list(Recording(one.path).items()) == usual
    monkeypatch.undo()
    assert recover(one.path).finished
    assert list(Recording(one.path).items()) == usual


@pytest.mark.slow
def test_a_folder_that_is_moved_while_it_is_recorded_takes_the_recording_with_it(start, usual, eventually, tmp_path):
    one = start()
    one.receive(usual[:50])
    eventually(lambda: one.stats.packets + one.stats.events == 50)
    (tmp_path / "elsewhere").mkdir()
    moved = one.path.rename(tmp_path / "elsewhere" / "moved")
    one.receive(usual[50:100])
    eventually(lambda: one.stats.packets + one.stats.events == 100)
    assert one.path == moved
    one.rotate()
    one.receive(usual[100:])
    one.stop()
    assert one.stats.error is None
    assert not (tmp_path / "session").exists()
    assert list(Recording(moved).items()) == usual
    assert (Recording(moved).status, Recording(moved).verify(deep=True).ok) == ("finished", True)


@pytest.mark.slow
def test_a_recorder_that_sleeps_in_the_middle_goes_on_when_it_wakes(tmp_path):
    path = tmp_path / "s"
    with run_python(RECORD, path, "balanced") as process:
        while int(process.stdout.readline().split()[0]) < 50:
            pass
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        held = [packet.seq for packet in Recording(path).packets()]
        assert held == list(range(1, len(held) + 1))
        assert Recording(path).status == "open"
        process.send_signal(signal.SIGCONT)
        while (written := int(process.stdout.readline().split()[0])) < len(held) + 50:
            pass
        process.kill()
    seqs = [packet.seq for packet in Recording(path).packets()]
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(seqs) >= written


def test_each_policy_of_the_settings_has_its_pace():
    assert set(syncer.SYNC_EVERY_S) == set(FSYNC_POLICIES)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.slow
def test_a_forked_child_that_stops_the_recorder_leaves_the_recording_to_its_parent(start, usual):
    recorder = start()
    recorder.receive(usual[:3])
    child = os.fork()
    if child == 0:
        left = 1
        try:
            recorder.stop()
            left = 0 if recorder.join(0.0) and not recorder.is_recording else 2
        finally:
            os._exit(left)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    recorder.receive(usual[3:6])
    recorder.stop()
    assert list(Recording(recorder.path).items()) == usual[:6]
