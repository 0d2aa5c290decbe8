from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from pandas.testing import assert_frame_equal

import ccwatch as cw
from ccwatch.errors import ConfigError, CorruptRecording, RecordingNotFound
from ccwatch.feed.buffer import RollingBuffer
from ccwatch.protocol.columns import TABLES
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.messages import Event, EventKind, Packet
from ccwatch.recording import Recorder, Recording, list_recordings, pack, recover, segment_groups
from ccwatch.recording.arrow_tables import ROWS_AT_ONCE
from ccwatch.recording.journal import journal_files, read_frames
from ccwatch.stream import dataframes

LONG = ("agents", "models", "logs", "forecasts", "events")
STATES = ("open", "killed", "finished")


@pytest.fixture
def recorded(tmp_path):
    """Record items; leave the recording in one of three states."""
    open_ones = []

    def record(items, state="finished", name="s", **options):
        one = Recorder(tmp_path / name, **{"url": "ws://x", "origin": "live", **options})
        for n in range(0, len(items), 50):
            one.receive(items[n : n + 50])
        if state == "open":
            open_ones.append(one)
            while one.stats.packets + one.stats.events < len(items):
                pass
        else:
            one.stop(finish=state == "finished")
        return Recording(one.path)

    yield record
    for one in open_ones:
        one.stop(finish=False)


def buffered(items):
    buffer = RollingBuffer(window="3650D")
    buffer.receive(items)
    return buffer


@pytest.mark.slow
@pytest.mark.parametrize("state", STATES)
def test_frames_and_items_are_those_of_the_live_stream(recorded, varied, usual, state):
    for name, items in (("varied", varied), ("usual", usual)):
        recording = recorded(items, state, name)
        assert recording.status == state
        assert list(recording.items()) == items
        assert [type(item) for item in recording.items()] == [type(item) for item in items]
        live = buffered(items)
        every = [column.name for column in TABLES["packets"][1:]]
        assert_frame_equal(recording.frame(), live.frame())
        assert_frame_equal(recording.frame(every), live.frame(every))
        assert_frame_equal(recording.frame(every, clean=False), live.frame(every, clean=False))
        for last in (0, 3, 10**6, "4s", pd.Timedelta("2min")):
            assert_frame_equal(recording.frame(["price", "reasoning"], last), live.frame(["price", "reasoning"], last))
            for table in LONG:
                assert_frame_equal(getattr(recording, table)(last), live.long(table, last))
        for choices in ({"fill": True}, {"symbol": "SPY"}, {"symbol": "none such"}, {"clean": False, "fill": True, "symbol": "QQQ"}):
            assert_frame_equal(recording.frame(["alpha", "nav"], **choices), live.frame(["alpha", "nav"], **choices))
        for table in LONG:
            assert_frame_equal(getattr(recording, table)(), live.long(table))


@pytest.mark.parametrize("raw", ["auto", "always", "never"])
def test_packets_come_back_with_their_bytes_unless_they_were_not_to_be_kept(recorded, varied, raw):
    found = list(recorded(varied, raw=raw).items())
    if raw == "never":
        assert found == [item._replace(raw=b"") if isinstance(item, Packet) else item for item in varied]
        assert any(isinstance(item, Event) and item.raw for item in found), "malformed bytes are kept whatever the policy"
    else:
        assert found == varied


@pytest.mark.slow
def test_a_message_that_its_fields_and_layout_give_back_is_not_kept_twice(recorded, usual, packets_of):
    items = packets_of(usual)
    recording = recorded(items)
    kept = pq.read_table(next((recording.path / "frames").iterdir()))
    assert kept.num_rows < 10
    assert list(recording.packets()) == items


def test_lists_are_rebuilt_from_the_tables_alone(recorded, usual, packets_of):
    items = packets_of(usual)
    recording = recorded(items, raw="never")
    assert pq.read_table(next((recording.path / "frames").iterdir())).num_rows < 10
    assert [packet.logs for packet in recording.packets()] == [packet.logs for packet in items]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["price", "alpha", "regime", "symbol", "side", "nav", "timestamp", "status", "approved_size", "x"])
sections = st.sampled_from(
    ["market", "portfolio", "signal", "governance", "agents", "models", "forecast", "sentiment", "logs", "status", "y"]
)
bodies = st.dictionaries(sections, json_values | st.dictionaries(names, json_values, max_size=4), max_size=5)
odd_messages = bodies.flatmap(
    lambda body: st.sampled_from([{"type": "TELEMETRY", "data": body}, {"type": "WELCOME", **body}, {"symbol": "A", **body}, body])
).map(codec.dumps)


@pytest.mark.slow
@settings(max_examples=300 if os.environ.get("CCWATCH_FULL") else 6, deadline=None, suppress_health_check=list(HealthCheck))
@given(batches=st.lists(st.lists(odd_messages | st.binary(max_size=20), max_size=6), min_size=1, max_size=3))
def test_whatever_arrives_parquet_and_journal_and_memory_tell_the_same(tmp_path_factory, conversation, batches):
    items = conversation(batches)
    live = buffered(items)
    folder = tmp_path_factory.mktemp("p")
    every = [column.name for column in TABLES["packets"][1:]]
    for raw in ("auto", "never"):
        one = Recorder(folder / raw, url="", origin="live", raw=raw)
        one.receive(items)
        one.stop(finish=False)
        recording = Recording(one.path)
        from_journal = {table: getattr(recording, table)() for table in LONG}
        packets_from_journal = recording.frame(every, clean=False)
        assert list(recording.items()) == items
        finish(one)
        assert journal_files(one.path / "_journal") == []
        expected = items if raw == "auto" else [i._replace(raw=b"") if isinstance(i, Packet) else i for i in items]
        assert list(recording.items()) == expected
        assert_frame_equal(recording.frame(every, clean=False), packets_from_journal)
        assert_frame_equal(packets_from_journal, live.frame(every, clean=False))
        for table in LONG:
            assert_frame_equal(getattr(recording, table)(), from_journal[table])
            assert_frame_equal(from_journal[table], live.long(table))
    shutil.rmtree(folder)


def finish(recorder):
    recover(recorder.path)


@pytest.mark.slow
def test_a_recording_grows_from_call_to_call_while_it_is_written(tmp_path, usual, eventually):
    with Recorder(tmp_path / "s", url="", origin="live") as one:
        recording = Recording(one.path)
        assert recording.frame().empty
        assert recording.info().start is None
        for n in range(0, 300, 20):
            one.receive(usual[n : n + 20])
            eventually(lambda n=n: one.stats.packets + one.stats.events >= min(n + 20, len(usual)))
            assert_frame_equal(recording.frame(), buffered(usual[: n + 20]).frame())
            if n == 100:
                one.rotate()
    assert_frame_equal(recording.frame(), buffered(usual[: n + 20]).frame())


def test_opening_and_reading_write_nothing_and_a_read_only_folder_opens(recorded, usual):
    recording = recorded(usual, "killed")
    for path in [*recording.path.rglob("*"), recording.path]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = snapshot(recording.path)
    again = Recording(recording.path)
    assert list(again.items()) == usual
    again.frame()
    again.info()
    again._repr_html_()
    assert again.verify(deep=True).ok
    assert snapshot(recording.path) == before
    for path in [recording.path, *recording.path.rglob("*")]:
        path.chmod(0o755)


def snapshot(folder):
    return {path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None) for path in [folder, *folder.rglob("*")]}


@pytest.mark.slow
def test_every_state_that_a_kill_of_the_compaction_can_leave_holds_everything_once(recorded, varied, tmp_path):
    """The folder is copied after each step that touches the disk, as a kill there would leave it."""
    recording = recorded(varied, "killed")
    states = []

    def copy():
        target = tmp_path / f"state{len(states)}"
        shutil.copytree(recording.path, target)
        states.append(target)

    with pytest.MonkeyPatch.context() as patched:
        for owner, name in (
            (segment_groups, "sync_folder"),
            (segment_groups, "sync_file"),
            (Path, "replace"),
            (Path, "unlink"),
            (Path, "rmdir"),
        ):
            original = getattr(owner, name)

            def step(*arguments, original=original):
                copy()  # before each step, which is after the one before it
                return original(*arguments)

            patched.setattr(owner, name, step)
        segment_groups.compact(recording.path, recording.session)
    copy()
    assert len(states) > 20
    for state in states:
        opened = Recording(state)
        assert list(opened.items()) == varied
        assert len(opened.frame(clean=False)) == sum(isinstance(item, Packet) for item in varied)
        segment_groups.compact(state, opened.session)
        assert list(Recording(state).items()) == varied
        assert Recording(state).verify(deep=True).ok


def test_a_damaged_frame_of_the_journal_is_told_as_a_gap_by_journal_and_parquet_alike(tmp_path, usual, eventually):
    one = Recorder(tmp_path / "s", url="", origin="live")
    for n in (0, 20, 40):  # three frames
        one.receive(usual[n : n + 20])
        eventually(lambda n=n: one.stats.packets + one.stats.events == n + 20)
    one.stop(finish=False)
    recording = Recording(one.path)
    (file,) = journal_files(one.path / "_journal")
    _, second, _ = read_frames(file, bytes.fromhex(recording.session.nonce))
    damaged = bytearray(file.read_bytes())
    damaged[second.offset + 60] ^= 4
    file.write_bytes(damaged)
    found = list(recording.items())
    assert found[:20] == usual[:20]
    assert (found[20].kind, found[20].detail) == (EventKind.GAP, "entries=20 reason=damaged first_entry=21")
    assert found[21:] == usual[40:60]
    assert recording.info().damaged == 1
    (problem,) = recording.verify().problems
    assert (problem.file, problem.offset, problem.offset + problem.length) == (f"_journal/{file.name}", second.offset, second.end)
    events = recording.events()
    segment_groups.compact(one.path, recording.session)
    assert list(recording.items()) == found
    assert_frame_equal(recording.events(), events)


def test_a_torn_end_is_a_note_and_a_damaged_one_a_problem(recorded, usual):
    recording = recorded(usual, "killed")
    (file,) = journal_files(recording.path / "_journal")
    *_, last = read_frames(file, bytes.fromhex(recording.session.nonce))
    good = file.read_bytes()
    file.write_bytes(good[:-1])
    found = Recording(recording.path)
    verified = found.verify()
    assert verified.ok
    assert [(note.offset, note.offset + note.length) for note in verified.notes] == [(last.offset, len(good) - 1)]
    assert list(found.items()) == usual[: last.first_entry - 1]
    assert found.info().damaged == 0
    file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    found = Recording(recording.path)
    assert [(p.file, p.offset, p.offset + p.length) for p in found.verify().problems] == [(f"_journal/{file.name}", last.offset, len(good))]
    assert found.info().damaged == found.info().damaged == 1


@pytest.mark.slow
def test_verify_names_the_file_and_the_range_and_no_flipped_bit_makes_a_wrong_row(recorded, usual):
    items = usual[:40]
    recording = recorded(items)
    live = buffered(items)
    files = sorted(path for path in recording.path.rglob("*") if path.suffix in {".parquet", ".jsonl"})
    assert len(files) == 9
    wrong = refused = harmless = 0
    for file in files:
        good = file.read_bytes()
        for place in range(3, len(good), max(1, len(good) // (200 if os.environ.get("CCWATCH_FULL") else 4))):
            damaged = bytearray(good)
            damaged[place] ^= 1 << place % 8
            file.write_bytes(damaged)
            checked = Recording(recording.path).verify(deep=True)
            # Without its newline a file of lines ends as a power cut leaves it, which is said, and no damage.
            is_last_newline = place == len(good) - 1 and file.suffix == ".jsonl"
            assert not checked.ok or is_last_newline, f"{file.name} byte {place}: not noticed"
            assert any(
                problem.file == str(file.relative_to(recording.path)) and problem.offset <= place <= problem.offset + problem.length
                for problem in (*checked.problems, *checked.notes)
            )
            opened = Recording(recording.path)
            try:
                same = opened.frame().equals(live.frame()) and all(getattr(opened, t)().equals(live.long(t)) for t in LONG)
                same = same and list(opened.items()) == items
            except CorruptRecording as error:
                refused += file.name in str(error)
            else:
                harmless += same
                # A damaged line of the manifest takes its group away: that is said, not silent.
                wrong += not same and not opened.info().damaged
        file.write_bytes(good)
    assert wrong == 0
    assert refused >= 8  # where the flips land depends on the sizes of the files
    assert harmless > 0  # bytes of page indexes, which nothing here reads
    assert Recording(recording.path).verify(deep=True).ok


def test_a_missing_segment_is_an_error_that_names_it(recorded, usual):
    recording = recorded(usual)
    next((recording.path / "agents").iterdir()).unlink()
    with pytest.raises(CorruptRecording, match=r"agents-.*is missing"):
        recording.agents()
    assert len(recording.models()) > 0
    assert [problem.what for problem in recording.verify().problems] == ["is missing"]


def test_only_the_columns_asked_for_are_read(recorded, usual):
    recording = recorded(usual)
    file = next((recording.path / "packets").iterdir())
    metadata = pq.read_metadata(file)
    names = metadata.schema.names
    damaged = bytearray(file.read_bytes())
    damaged[metadata.row_group(0).column(names.index("nav")).data_page_offset + 40] ^= 1
    file.write_bytes(damaged)
    assert_frame_equal(recording.frame(["price"]), buffered(usual).frame(["price"]))
    with pytest.raises(CorruptRecording, match=r"packets-.*bytes \d+ to \d+"):
        recording.frame(["nav"])


@pytest.mark.slow
@pytest.mark.parametrize("state", STATES)
def test_a_stretch_of_time_is_that_part_of_the_whole(recorded, usual, packets_of, state, monkeypatch):
    monkeypatch.setattr(segment_groups, "BATCH_ITEMS", 32)  # several row groups
    recording = recorded(usual, state)
    whole = recording.frame(["price", "regime"])
    packets = packets_of(usual)
    start, end = packets[100].time, packets[180].time
    assert_frame_equal(recording.frame(["price", "regime"], start=start, end=end), whole.loc[start:end])
    assert_frame_equal(recording.frame(["price", "regime"], start=start), whole.loc[start:])
    assert recording.frame(["price"], end=packets[0].time - pd.Timedelta("1s")).empty
    within = [item for item in usual if start <= pd.Timestamp(item.time_ns, tz="UTC") <= end]
    assert list(recording.items(start=start, end=end)) == within
    for after in (0, 31, 32, 33, 150, len(usual)):
        assert [item for _, item in recording.numbered(after)] == usual[after:]
        assert [item for _, item in recording.numbered(after, after + 40)] == usual[after : after + 40]
    with pytest.raises(ConfigError, match="before the start"):
        recording.frame(start=end, end=start)


@pytest.mark.slow
def test_only_the_row_groups_of_the_stretch_are_read(recorded, usual, packets_of, monkeypatch):
    monkeypatch.setattr(segment_groups, "BATCH_ITEMS", 32)
    recording = recorded(usual)
    (file,) = (recording.path / "packets").iterdir()
    metadata = pq.read_metadata(file)
    assert metadata.num_row_groups > 5
    damaged = bytearray(file.read_bytes())
    damaged[metadata.row_group(1).column(metadata.schema.names.index("price")).data_page_offset + 30] ^= 1
    file.write_bytes(damaged)
    late = packets_of(usual)[200].time
    assert_frame_equal(recording.frame(["price"], start=late), buffered(usual).frame(["price"]).loc[late:])
    assert [item for _, item in recording.numbered(200)] == usual[200:]
    intact = buffered(usual).frame(["price", "seq"], clean=False)
    first, last = packets_of(usual[32:64])[0].seq, packets_of(usual[32:64])[-1].seq
    assert_frame_equal(recording.frame(["price", "seq"], clean=False), intact[~intact["seq"].between(first, last)])
    assert (
        recording.events()["detail"].str.contains(f"entries=32 reason=damaged first_entry=33 seq={first}-{last} tables=packets").sum() == 1
    )
    assert (recording.info().damaged, recording.info().gaps) == (1, 1)


def test_the_tables_are_plain_parquet_with_one_schema(recorded, usual):
    recording = recorded(usual)
    assert {path.name for path in recording.path.iterdir() if path.is_dir()} >= {*TABLES, "frames"}
    found = pd.read_parquet(recording.path / "packets")
    live = buffered(usual).frame(clean=False)
    assert (found["time"].to_numpy() == live.index.to_numpy()).all()
    assert (found["time_us"].to_numpy() == live.index.as_unit("us").asi8).all()
    assert found["price"].tolist() == live["price"].tolist()
    assert found["regime"].tolist() == live["regime"].tolist()


def test_marks_stand_beside_the_data(recorded, usual):
    live = Event(usual[5].time_ns, 3, EventKind.MARK, "text=live", 1, 1, 1)
    recording = recorded([*usual[:10], live])
    before = snapshot(recording.path / "packets")
    later = recording.mark(datetime(2030, 1, 1, tzinfo=UTC), "später")
    early = recording.mark(pd.Timestamp("2020-01-01", tz="Europe/Berlin"), "früher")
    assert [mark.text for mark in Recording(recording.path).marks] == ["früher", "text=live", "später"]
    assert (early.time, later.time) == (datetime(2019, 12, 31, 23, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))
    assert snapshot(recording.path / "packets") == before
    with pytest.raises(ConfigError, match="no time zone"):
        recording.mark(datetime(2030, 1, 1), "naive")  # noqa: DTZ001
    recording.mark("2020-06-01T12:00:00Z", "x" * 10_000)
    for time, text in (("soon", "x"), (None, "x"), (5, "x"), ("2020-01-01T00:00:00Z", 5), ("2020-01-01T00:00:00Z", "x" * 10_001)):
        with pytest.raises(ConfigError):
            recording.mark(time, text)
    with pytest.raises(ConfigError, match="Unicode"):
        recording.mark("2020-01-01T00:00:00Z", "half \ud800 a pair")
    assert len(Recording(recording.path).marks) == 4


def test_info_counts_what_the_stream_held(recorded, varied, packets_of, events_of):
    info = recorded(varied, tags=["a", "b"], origin="synthetic").info()
    packets, kinds = packets_of(varied), [event.kind for event in events_of(varied)]
    assert (info.packets, info.events, info.malformed) == (len(packets), len(kinds), kinds.count(EventKind.MALFORMED))
    assert info.malformed > 0
    assert (info.start, info.end) == (min(p.time for p in packets), max(p.time for p in packets))
    assert info.symbols == ("QQQ", "SPY")
    assert (info.connections, info.tags, info.origin, info.status) == (2, ("a", "b"), "synthetic", "finished")
    assert info.bytes == sum(path.stat().st_size for path in info.path.rglob("*") if path.is_file())
    assert codec.loads(codec.dumps(info.to_dict()))["packets"] == info.packets


def test_the_card_escapes_what_came_from_outside(recorded, usual):
    recording = recorded(usual, url="<script>alert(1)</script>", tags=["<b>"], origin="synthetic")
    card = recording._repr_html_()
    assert "<script>" not in card
    assert "<b>" not in card
    assert "SYNTHETIC" in card


def test_a_folder_without_a_recording_is_not_found(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(RecordingNotFound, match="holds no recording"):
            Recording(path)


def test_an_unknown_column_or_length_of_time_is_refused(recorded, usual):
    recording = recorded(usual[:5])
    with pytest.raises(ConfigError, match="no column 'prise'"):
        recording.frame(["prise"])
    with pytest.raises(ConfigError, match="length of time"):
        recording.frame(last="soon")


@pytest.mark.slow
def test_the_catalog_has_a_row_per_session_damaged_ones_too(recorded, usual, packets_of, tmp_path):
    recorded(usual, name="a", tags=["x"])
    recorded([], name="b")
    broken = recorded(usual, name="c")
    for copy in ("", "_copies"):
        (broken.path / copy / "session.json").write_bytes(b"{}")
    found = list_recordings(tmp_path)
    assert found.index.tolist() == ["a", "b", "c"]
    nav = [packet.nav for packet in packets_of(usual)]
    row = found.loc["a"]
    assert (row["packets"], row["symbols"], row["tags"], row["status"]) == (len(nav), ("SPY",), ("x",), "finished")
    assert row["nav_change"] == pytest.approx(nav[-1] - nav[0])
    highest = pd.Series(nav).cummax()
    assert row["max_drawdown"] == pytest.approx((pd.Series(nav) / highest - 1).min())
    assert (found.loc["b", "packets"], found.loc["b", "start"] is pd.NaT) == (0, True)
    assert found.loc["c", "status"].startswith("unreadable: ")
    assert str(found["start"].dtype) == "datetime64[ns, UTC]"
    empty = list_recordings(tmp_path / "nothing here")
    assert empty.empty
    assert empty.dtypes.equals(found.dtypes)


def test_halts_are_counted_once_each(recorded, conversation):
    def message(n, status):
        return codec.dumps(
            {
                "type": "TELEMETRY",
                "data": {"timestamp": f"2026-01-02T14:30:{n:02d}Z", "status": status, "market": {"symbol": "SPY", "price": 1.0}},
            }
        )

    words = ["HALT", "HALTED_X", "ACTIVE", "active", "HALT", "ACTIVE", "HALTED"]
    recording = recorded(conversation([[message(n, word) for n, word in enumerate(words)]]))
    assert list_recordings(recording.path.parent)["halts"].tolist() == [3]


@pytest.mark.slow
def test_more_packets_than_become_columns_at_once_are_those_of_the_live_stream(tmp_path):
    with cw.synthetic(seed=3, packets=2 * ROWS_AT_ONCE + 100, pace="max") as feed:
        with cw.record(feed, tmp_path) as recorder:
            assert feed.join(60)
        recording = Recording(recorder.path)
        assert len(feed.trades()) > 10
        for table in ("trades", "agents", "models", "logs", "forecasts"):
            assert_frame_equal(getattr(recording, table)(), getattr(feed, table)())
        every = [column.name for column in TABLES["packets"][1:]]
        assert_frame_equal(recording.frame(every, clean=False), feed.frame(every, clean=False))


def test_frames_module_is_what_builds_both(recorded, usual, packets_of):
    """One more time without the buffer: the recording against `dataframes.build` on the packets themselves."""
    packets = packets_of(usual)
    assert_frame_equal(recorded(usual).frame(clean=False), dataframes.build("packets", dataframes.packet_columns(packets)))


FORK = """
import os, sys
from ccwatch.recording import Recording
recording = Recording(sys.argv[1])
if (child := os.fork()) == 0:
    sys.exit()
os.waitpid(child, 0)
print(sum(1 for _ in recording.packets()), recording.folder.parent)
"""


@pytest.mark.slow
def test_a_forked_child_leaves_a_packed_recordings_files_to_its_parent_which_removes_them(recorded, usual, tmp_path):
    pack(recorded(usual[:20]), tmp_path / "sent.zip")
    done = subprocess.run([sys.executable, "-c", FORK, str(tmp_path / "sent.zip")], capture_output=True, text=True, check=True)
    packets, folder = done.stdout.split()
    assert int(packets) == sum(isinstance(item, Packet) for item in usual[:20])
    assert not Path(folder).exists()
