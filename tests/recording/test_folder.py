from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from ccwatch.errors import CorruptRecording, RecordingBusy, RecordingNotFound, UnsupportedFormat
from ccwatch.recording import folder
from ccwatch.recording.folder import Session, WriterLock, append_durably, is_being_written, new_session_path, seal, sealed_lines, unseal

SESSION = Session("s", "ws://x", "live", ("fomc", "día"), "UTC", "strict", "auto", 1, 2, "boot", "00" * 8, "0.1.0")


def test_no_single_flipped_bit_of_a_sealed_line_goes_unnoticed():
    line = seal({"text": "é", "n": 1, "list": [1.5, None]})
    assert unseal(line) == {"text": "é", "n": 1, "list": [1.5, None]}
    for bit in range(8 * len(line)):
        damaged = bytearray(line)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match=r".+"):
            unseal(bytes(damaged))


def test_a_torn_line_spoils_neither_the_lines_before_it_nor_those_after(tmp_path):
    path = tmp_path / "lines"
    append_durably(path, seal({"n": 1}) + b"\n")
    with path.open("ab") as file:
        file.write(seal({"n": 2})[:-4])
    append_durably(path, seal({"n": 3}) + b"\n")
    assert [line and line["n"] for _, _, line in sealed_lines(path)] == [1, None, 3]


def test_session_json_comes_back_and_says_what_is_wrong_with_it(tmp_path):
    with pytest.raises(RecordingNotFound, match="holds no recording"):
        Session.read(tmp_path)
    SESSION.write(tmp_path)
    assert Session.read(tmp_path) == SESSION
    path = tmp_path / "session.json"
    path.write_bytes(path.read_bytes().replace(b"fomc", b"fomd"))
    assert Session.read(tmp_path) == SESSION, "its copy is whole"
    copy = tmp_path / "_copies" / "session.json"
    copy.write_bytes(copy.read_bytes().replace(b"fomc", b"fomd"))
    with pytest.raises(CorruptRecording, match=r"session\.json, bytes 0 to"):
        Session.read(tmp_path)
    path.write_bytes(seal({"format": folder.FORMAT, "version": folder.VERSION + 1}))
    with pytest.raises(UnsupportedFormat, match="update it"):
        Session.read(tmp_path)
    path.write_bytes(seal({"format": "mcap", "version": 1}))
    with pytest.raises(UnsupportedFormat, match="mcap"):
        Session.read(tmp_path)


def test_a_field_that_a_later_version_adds_to_session_json_does_no_harm(tmp_path):
    SESSION.write(tmp_path)
    path = tmp_path / "session.json"
    path.write_bytes(seal(unseal(path.read_bytes()) | {"later": 1}))
    assert Session.read(tmp_path) == SESSION


def test_the_lock_is_held_by_one_and_seen_by_others(tmp_path):
    assert not is_being_written(tmp_path)
    assert list(tmp_path.iterdir()) == []
    lock = WriterLock(tmp_path)
    assert is_being_written(tmp_path)
    with pytest.raises(RecordingBusy, match="another recorder"):
        WriterLock(tmp_path)
    lock.release()
    assert not is_being_written(tmp_path)
    WriterLock(tmp_path).release()


@pytest.mark.slow
def test_the_lock_of_a_killed_process_is_free(tmp_path):
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom ccwatch.recording.folder import WriterLock\n"
        "lock = WriterLock(Path(sys.argv[1]))\nprint(1, flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"1\n"
        assert is_being_written(tmp_path)
        process.kill()
        process.wait()
    assert not is_being_written(tmp_path)


def test_a_new_session_has_a_folder_of_its_own_with_a_harmless_name(tmp_path):
    now = datetime(2026, 1, 2, 14, 30, tzinfo=UTC)
    names = {new_session_path(tmp_path, "ws://localhost:3000/ws/../stream?x=ü", now).name for _ in range(20)}
    assert len(names) > 1
    assert {name[:-4] for name in names} == {"20260102T143000Z-localhost-3000-ws-..-stream-x-"}
    assert new_session_path(tmp_path, "///", now).name.startswith("20260102T143000Z-session-")
