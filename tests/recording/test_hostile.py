"""Files that lie with a right checksum: each is refused with the file and the field, and hides no other recording."""

from __future__ import annotations

import os
import resource
import shutil
import struct
import tempfile
import time
import zipfile
from pathlib import Path

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ccwatch.errors import CcwatchError, ConfigError, CorruptRecording, RecordingError, RecordingNotFound, UnsupportedFormat
from ccwatch.recording import Recorder, Recording, candidates, journal as journal_module, list_recordings, pack, recover
from ccwatch.recording.folder import seal, sealed_lines, unseal
from ccwatch.recording.manifest import FILES
from ccwatch.recording.segments import chunk_crcs, footer_crc

HUGE = 2**64 - 1


@pytest.fixture
def made(tmp_path, usual):
    """A finished recording of 60 items, and one beside it that nobody touches."""
    for name in ("bad", "good"):
        with Recorder(tmp_path / name, url="", origin="live", tags=["t"]) as recorder:
            recorder.receive(usual[:60])
    return tmp_path / "bad"


@pytest.fixture
def killed(tmp_path, usual):
    recorder = Recorder(tmp_path / "bad", url="", origin="live")
    recorder.receive(usual[:60])
    recorder.stop(finish=False)
    return recorder.path


def lie(folder, names, change):
    """Rewrite sealed lines, with right checksums: `change` gets each line's object and returns another, or None to leave it out."""
    for name in names:
        lines = [change(dict(line)) for _, _, line in sealed_lines(folder / name)]
        (folder / name).write_bytes(b"".join(seal(line) + b"\n" for line in lines if line is not None))


def session_says(folder, **fields):
    lie(folder, ("session.json", "_copies/session.json"), lambda line: {k: v for k, v in (line | fields).items() if v is not ...})


def segment_says(folder, of, **fields):
    lie(folder, FILES, lambda line: line | fields if line.get("table") == of else line)


def use(folder):
    """Everything that reads a recording; what it raises is one of ours."""
    recording = Recording(folder)
    for read in (
        recording.info,
        recording.frame,
        lambda: recording.frame(["reasoning", "extra"]),
        *(getattr(recording, table) for table in ("agents", "models", "logs", "forecasts", "trades", "scanner", "bars", "events")),
        lambda: [packet.raw for packet in recording.packets()],
        lambda: list(recording.items(start="2026-01-02T14:30:10Z", end="2026-01-02T14:30:20Z")),
        lambda: recording.marks,
        lambda: recording.verify(deep=True),
    ):
        read()


SESSIONS = {
    "missing": ("server_tz", {"server_tz": ...}),
    "of another type": ("wall_ns", {"wall_ns": "now"}),
    "huge": ("wall_ns", {"wall_ns": HUGE}),
    "below zero": ("mono_ns", {"mono_ns": -1}),
    "a number that is none": ("wall_ns", {"wall_ns": True}),
    "a path": ("session", {"session": "../evil"}),
    "a path below": ("session", {"session": "a/b"}),
    "dots": ("session", {"session": ".."}),
    "nothing": ("session", {"session": ""}),
    "too long": ("session", {"session": "x" * 300}),
    "another list": ("tags", {"tags": "t"}),
    "a list of numbers": ("tags", {"tags": [1]}),
    "many": ("tags", {"tags": ["t"] * 5000}),
    "no zone": ("server_tz", {"server_tz": "../../etc/passwd"}),
    "no hex": ("nonce", {"nonce": "zz" * 8}),
    "a long nonce": ("nonce", {"nonce": "00" * 9}),
    "an unknown policy": ("fsync", {"fsync": "never"}),
    "an origin of other words": ("origin", {"origin": "<script>"}),
    "a version of text": ("version", {"version": "1"}),
    "a nested field": ("url", {"url": {"a": [1]}}),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", SESSIONS)
def test_a_field_of_session_json_that_cannot_be_is_named(made, case):
    field, fields = SESSIONS[case]
    session_says(made, **fields)
    with pytest.raises(CorruptRecording, match=rf"session\.json.*\b{field}\b"):
        Recording(made)
    listed = list_recordings(made.parent)
    assert listed.loc["bad", "status"].startswith("unreadable: ")
    assert (listed.loc["good", "status"], listed.loc["good", "packets"]) == ("finished", Recording(made.parent / "good").info().packets)
    assert [candidate.path.name for candidate in candidates(made.parent, max_bytes=1)] == ["good"]


def test_another_format_or_version_is_told_apart_from_a_lie(made):
    session_says(made, version=2)
    with pytest.raises(UnsupportedFormat, match="update it"):
        Recording(made)
    session_says(made, version=1, format="mcap")
    with pytest.raises(UnsupportedFormat, match="not ccwatch's"):
        Recording(made)


@pytest.mark.parametrize("what", ["list", "folder", "pipe", "giant"])
def test_a_session_json_that_is_something_else_is_refused_at_once(made, what):
    for path in (made / "session.json", made / "_copies" / "session.json"):
        path.unlink()
        if what == "list":
            body = b'[1,{"a":1'  # sealed, and no object
            path.write_bytes(b'%s,"crc32c":"%08x"}\n' % (body, google_crc32c.value(body + b"}")))
        elif what == "folder":
            path.mkdir()
        elif what == "pipe":
            os.mkfifo(path)
        else:
            with path.open("wb") as file:
                file.truncate(1 << 32)
    began = time.monotonic()
    with pytest.raises(CorruptRecording, match=r"session\.json"):
        Recording(made)
    assert list_recordings(made.parent)["status"].to_list()[1] == "finished"
    assert time.monotonic() - began < 5


SEGMENTS = {
    "a path elsewhere": ("path", {"path": "../good/packets/packets-000000001-000000058.parquet"}),
    "an absolute path": ("path", {"path": "/etc/passwd"}),
    "a path of another table": ("path", {"path": "agents/agents-000000001-000000058.parquet"}),
    "a hidden path": ("path", {"path": "packets/../../good/x.parquet"}),
    "rows of text": ("rows", {"rows": "many"}),
    "more rows than entries": ("rows", {"rows": 10**9}),
    "rows below zero": ("rows", {"rows": -1}),
    "entries that end before they begin": ("entries", {"entries": [9, 3]}),
    "entries without an end": ("entries", {"entries": [1]}),
    "huge entries": ("entries", {"entries": [1, HUGE]}),
    "entry zero": ("entries", {"entries": [0, 5]}),
    "a time of text": ("time_ns", {"time_ns": ["a", "b"]}),
    "times that end before they begin": ("time_ns", {"time_ns": [2, 1]}),
    "checksums of text": ("chunks", {"chunks": ["x"]}),
    "a digest that is none": ("sha256", {"sha256": "x" * 64}),
    "a table that is a path": ("table", {"table": "../x"}),
    "more packets than entries": ("entries", {"packets": 10**6}),
}


@pytest.mark.parametrize("case", SEGMENTS)
def test_a_field_of_the_manifest_that_cannot_be_is_named(made, case):
    field, fields = SEGMENTS[case]
    segment_says(made, "packets", **fields)
    recording = Recording(made)
    for read in (recording.frame, recording.info, lambda: list(recording.items()), recording.agents):
        with pytest.raises(CorruptRecording, match=rf"MANIFEST\.jsonl.*\b{field}\b"):
            read()
    verified = recording.verify()
    assert not verified.ok
    assert field in verified.problems[0].what
    assert list_recordings(made.parent).loc["good", "status"] == "finished"
    with pytest.raises(CorruptRecording):
        recover(made)


def test_groups_that_overlap_are_refused(made):
    lie(made, FILES, lambda line: line | {"entries": [1, 60]} if line.get("line") == "segment" else line)
    lines = [(made / file).read_bytes() for file in FILES]
    for file, line in zip(FILES, lines, strict=True):
        more = [seal(found | {"entries": [30, 90]}) for _, _, found in sealed_lines(made / file) if found["line"] == "segment"]
        (made / file).write_bytes(line + b"\n".join(more) + b"\n")
    with pytest.raises(CorruptRecording, match="overlaps"):
        Recording(made).frame()


def test_a_mark_of_another_type_is_named(made):
    (made / "marks.jsonl").write_bytes(seal({"time_ns": "soon", "text": "x"}) + b"\n")
    with pytest.raises(CorruptRecording, match=r"marks\.jsonl: time_ns"):
        _ = Recording(made).marks


# ── the journal ──


def frame(folder, payload, count, *, first_entry=1, size=None, garbled=False):
    """A frame with a right checksum."""
    nonce = bytes.fromhex(unseal((folder / "session.json").read_bytes())["nonce"])
    stored = pa.Codec("zstd").compress(payload, asbytes=True)
    if garbled:
        stored = stored[: len(stored) // 2] + b"\xff" * (len(stored) - len(stored) // 2)
    header = struct.pack("<4s8sIIIQQ", b"CCJ1", nonce, len(stored), len(payload) if size is None else size, count, first_entry, 1)
    return header + struct.pack("<I", google_crc32c.extend(google_crc32c.value(header), stored)) + stored


def packet_entry(raw, *, places=0, size=None, record=1):
    fields = struct.pack("<qQiqqIBII", 1, 1, 1, 1, 1, 0, 0, places, len(raw) if size is None else size)
    body = fields + b"\0" * 4 * places + raw
    return struct.pack("<IB", 5 + len(body), record) + body


FRAMES = {
    "an entry of size 0, 2^31 times": lambda f: frame(f, b"\0\0\0\0\x01", 2**31),
    "an entry of size 0": lambda f: frame(f, b"\0\0\0\0\x01" * 3, 3),
    "an entry longer than its frame": lambda f: frame(f, struct.pack("<IB", 500, 1) + b"x" * 60, 1),
    "a message longer than its entry": lambda f: frame(f, packet_entry(b"{}", size=10**6), 1),
    "a count that is too low": lambda f: frame(f, packet_entry(b"{}") * 2, 1),
    "places that are not there": lambda f: frame(f, struct.pack("<IB", 54, 1) + struct.pack("<qQiqqIBII", *[1] * 5, 0, 0, 2**31, 0), 1),
    "an event longer than its entry": lambda f: frame(f, struct.pack("<IBqQiqqBII", 50, 2, 1, 1, 1, 1, 1, 9, 2**31, 2**31), 1),
    "bytes that zstd does not unpack": lambda f: frame(f, packet_entry(b"{}" * 50), 1, garbled=True),
    "4 GiB of zeros": lambda f: frame(f, b"\0" * (1 << 20), 1, size=2**32 - 1),
    "another size": lambda f: frame(f, packet_entry(b"{}"), 1, size=10_000),
    "an entry number that no recording has": lambda f: frame(f, packet_entry(b"{}"), 1, first_entry=2**63),
    "entry zero": lambda f: frame(f, packet_entry(b"{}"), 1, first_entry=0),
}


@pytest.mark.parametrize("case", FRAMES)
def test_a_frame_of_the_journal_that_lies_is_a_hole_and_all_others_are_read(killed, usual, case):
    (path,) = (killed / "_journal").glob("*.ccj")
    path.write_bytes(path.read_bytes() + FRAMES[case](killed))
    began = time.process_time()
    recording = Recording(killed)
    kept = [item for item in recording.items() if "reason=damaged" not in getattr(item, "detail", "")]
    assert kept == usual[:60]
    assert (recording.info().damaged, recording.info().gaps) == (1, 1)
    assert not recording.verify().ok
    assert time.process_time() - began < 3
    found = recover(killed)
    assert (found.is_whole, found.set_aside) == (False, ("_journal/000001.damaged",))
    assert (Recording(killed).info().damaged, Recording(killed).info().gaps) == (1, 1), "a loss survives recovery"


ENTRIES = {
    "no message": packet_entry(b"\xff\xfe no JSON"),
    "lines that are not its own": packet_entry(b'{"type":"TELEMETRY","data":{"price":1,"logs":["a"]}}', places=0)[: -0 or None],
    "rows of no table": packet_entry(b'{"type":"TELEMETRY","data":{"status":"ACTIVE"}}') + b"\x81\xa4evil\x91\x91\x01",
}


@pytest.mark.slow
@pytest.mark.parametrize("case", ENTRIES)
def test_an_entry_whose_message_lies_is_an_event_and_no_error(killed, case):
    entry = bytearray(ENTRIES[case])
    entry[:4] = struct.pack("<I", len(entry))
    (path,) = (killed / "_journal").glob("*.ccj")
    path.write_bytes(path.read_bytes() + frame(killed, bytes(entry), 1, first_entry=61))
    use(killed)
    assert recover(killed).entries == 61
    use(killed)


# ── Parquet ──


def replaced(folder, table, rows, **options):
    """Put another Parquet file in a segment's place, and let the manifest agree with it."""
    (path,) = (folder / table).glob("*.parquet")
    pq.write_table(rows, path, **options)
    facts = {"bytes": path.stat().st_size, "footer_crc": footer_crc(path), "chunks": chunk_crcs(path), "rows": rows.num_rows}
    segment_says(folder, table, **facts)


def test_parquet_of_another_schema_is_named_by_its_column(made):
    rows = pq.read_table(next((made / "packets").iterdir()))
    place = rows.schema.get_field_index("price")
    replaced(made, "packets", rows.set_column(place, "price", pa.array(["x"] * rows.num_rows)))
    with pytest.raises(CorruptRecording, match=r"packets-.*price: expected double, got string"):
        Recording(made).frame()
    with pytest.raises(CorruptRecording):
        Recording(made).frame(["price"])


def test_parquet_without_a_column_that_must_be_there_is_refused(made):
    rows = pq.read_table(next((made / "packets").iterdir()))
    replaced(made, "packets", rows.drop_columns(["connection"]))
    with pytest.raises(CorruptRecording, match="connection"):
        Recording(made).frame()


@pytest.mark.slow
@pytest.mark.parametrize("groups", ["one", "many"])
def test_sixty_million_equal_rows_in_less_than_a_megabyte_are_refused(made, groups):
    count = 60_000_000 if os.environ.get("CCWATCH_FULL") else 6_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    schema = pa.schema([pa.field("seq", pa.uint64(), nullable=False), pa.field("entry", pa.uint64(), nullable=False)])
    (path,) = (made / "agents").glob("*.parquet")
    step = count if groups == "one" else 1 << 18
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=True) as writer:
        for _ in range(count // step):
            same = pa.array(np.ones(step, np.uint64))
            writer.write_table(pa.Table.from_arrays([same, same], schema=schema), row_group_size=step)
    written = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    facts = {"bytes": path.stat().st_size, "footer_crc": footer_crc(path), "chunks": chunk_crcs(path), "rows": count // step * step}
    assert path.stat().st_size < 900_000
    segment_says(made, "agents", **facts)
    began = time.process_time()
    with pytest.raises(CorruptRecording, match="rows"):
        Recording(made).agents()
    assert time.process_time() - began < 4
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - max(before, written) < 64 << 10


def test_words_that_are_no_text_are_refused(made):
    rows = pq.read_table(next((made / "logs").iterdir()))
    bad = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(struct.pack("<ii", 0, 2)), pa.py_buffer(b"\xff\xfe")])
    place = rows.schema.get_field_index("message")
    texts = pa.concat_arrays([bad] * rows.num_rows)
    replaced(made, "logs", rows.set_column(place, rows.schema.field("message"), texts))
    with pytest.raises(CorruptRecording, match=r"logs-"):
        Recording(made).logs()


def test_a_column_chunk_of_another_type_than_its_column_is_refused_and_ends_no_process(made):
    """Arrow ends the whole process when the statistics of such a chunk are asked for."""
    (path,) = (made / "models").glob("*.parquet")
    data = path.read_bytes()
    at = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    changed = data[:at] + data[at:].replace(b"\x15\x04\x19", b"\x15\x00\x19")  # INT64 becomes BOOLEAN
    assert changed != data
    path.write_bytes(changed)
    segment_says(made, "models", footer_crc=footer_crc(path))
    with pytest.raises(CorruptRecording, match=r"models-.*another column's"):
        Recording(made).models()
    assert len(Recording(made).agents())
    assert Recording(made).info().damaged == 1


@pytest.mark.slow
@pytest.mark.parametrize(("column", "options"), [
    ("reasoning", {}),
    ("layout", {}),
    ("reasoning", {"use_dictionary": False, "column_encoding": {"reasoning": "DELTA_BYTE_ARRAY"}}),
])  # fmt: skip
def test_texts_that_few_bytes_make_long_are_refused_before_they_take_memory(made, column, options):
    rows = pq.read_table(next((made / "packets").iterdir()))
    field = rows.schema.field(column)
    same = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows.num_rows, np.int32)), pa.array(["x" * (8 << 20)]))
    changed = rows.set_column(rows.schema.get_field_index(column), field, same.cast(field.type))
    replaced(made, "packets", changed, compression="zstd", **options)
    del changed, same
    assert next((made / "packets").iterdir()).stat().st_size < 100_000
    with pytest.raises(CorruptRecording, match=r"of text|texts of"):
        _ = [packet.raw for packet in Recording(made).packets()]


@pytest.mark.parametrize(("column", "value"), [("extra", "{"), ("layout", '["compact",{"a":'), ("layout", "[1]"), ("layout", '["no",0]')])
def test_columns_that_make_no_packet_are_named(made, column, value):
    rows = pq.read_table(next((made / "packets").iterdir()))
    place = rows.schema.get_field_index(column)
    values = pa.array([value] * rows.num_rows, pa.string()).cast(rows.schema.field(column).type)
    replaced(made, "packets", rows.set_column(place, rows.schema.field(column), values))
    with pytest.raises(CorruptRecording, match=r"entry|layout"):
        _ = [packet.raw for packet in Recording(made).packets()]


# ── packed recordings ──


def entry(name, data=b"x", **fields):
    found = zipfile.ZipInfo(name)
    for field, value in fields.items():
        setattr(found, field, value)
    return found, data


def packed(path, entries):
    with zipfile.ZipFile(path, "w") as file:
        for found, data in entries:
            file.writestr(found, data)
    return path


def test_names_that_lead_elsewhere_are_refused_and_nothing_is_unpacked(tmp_path):
    for n, name in enumerate(["../evil", "/etc/evil", "a/../../evil", "s/packets/x/y.parquet", "s\\..\\evil", "s/" + "d/" * 3000 + "x"]):
        path = packed(tmp_path / f"{n}.zip", [entry("s/session.json"), entry(name)])
        with pytest.raises(RecordingError):
            Recording(path)
    assert not (tmp_path.parent / "evil").exists()


def test_files_that_overlap_or_grow_are_refused(tmp_path, made):
    whole = pack(Recording(made), tmp_path / "whole.zip").path
    good = whole.read_bytes()
    directory = good.rindex(b"PK\x05\x06")
    at = int.from_bytes(good[directory + 16 : directory + 20], "little")
    listed = good[at:directory]
    first = listed[: 46 + int.from_bytes(listed[28:30], "little") + int.from_bytes(listed[30:32], "little")]
    bombs = b"".join(first.replace(b"session.json", b"%011d.x" % n) for n in range(200)) if b"session.json" in first else first * 200
    lying = bytearray(good[:at] + bombs + good[directory:])
    end = len(lying) - 22
    lying[end + 8 : end + 12] = struct.pack("<HH", 200, 200)
    lying[end + 12 : end + 16] = struct.pack("<I", len(bombs))
    (tmp_path / "bomb.zip").write_bytes(lying)
    with pytest.raises(RecordingError):
        Recording(tmp_path / "bomb.zip")


@pytest.mark.slow
def test_an_encrypted_a_truncated_and_a_compressed_archive_are_refused(tmp_path, made):
    whole = pack(Recording(made), tmp_path / "whole.zip").path
    good = whole.read_bytes()
    for place in range(0, len(good), max(1, len(good) // 40)):
        (tmp_path / "cut.zip").write_bytes(good[:place])
        with pytest.raises(RecordingError):
            Recording(tmp_path / "cut.zip")
    encrypted = bytearray(good)
    at = good.index(b"PK\x01\x02")
    while at >= 0:
        encrypted[at + 8] |= 1
        at = good.find(b"PK\x01\x02", at + 1)
    (tmp_path / "encrypted.zip").write_bytes(encrypted)
    with pytest.raises(CorruptRecording, match="encrypted"):
        Recording(tmp_path / "encrypted.zip")
    with zipfile.ZipFile(tmp_path / "small.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("s/session.json", b"0" * 10**6)
    with pytest.raises(CorruptRecording, match="stored"):
        Recording(tmp_path / "small.zip")
    with pytest.raises(RecordingNotFound):
        Recording(packed(tmp_path / "none.zip", [entry("s/other.json")]))
    assert not list(Path(tempfile.gettempdir()).glob("ccwatch-*/s/other.json"))


def test_a_session_id_that_is_a_path_packs_nowhere(made, tmp_path):
    session_says(made, session="../evil")
    with pytest.raises(CorruptRecording, match="session"):
        pack(Recording(made), tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()
    with pytest.raises(ConfigError):
        pack(Recording(made.parent / "good"), tmp_path / "out.txt")


def test_a_link_to_a_recording_is_listed_and_never_pruned(made):
    (made.parent / "link").symlink_to(made, target_is_directory=True)
    shutil.rmtree(made / "agents")
    names = {candidate.path.name for candidate in candidates(made.parent, max_bytes=1)}
    assert "link" not in names
    assert "good" in names
    assert "link" in list_recordings(made.parent).index


def test_every_error_is_one_of_ours():
    assert issubclass(CorruptRecording, CcwatchError)
    assert journal_module.MOST_ENTRY == 64 << 20
