"""The catalog: rows without opening a table, kept in the user's cache, and the notes that colleagues add."""

from __future__ import annotations

import shutil
import sys
import threading

import pandas as pd
import pytest

from ccwatch.errors import ConfigError
from ccwatch.recording import Recorder, Recording, catalog, list_recordings, manifest, notes
from ccwatch.recording.folder import JOURNAL, MANIFEST, SESSION
from ccwatch.recording.segment_file import SegmentFile


@pytest.fixture
def recorded(tmp_path):
    def record(items, name="a", finish=True, **options):
        one = Recorder(tmp_path / name, url="ws://x", origin="live", **options)
        one.receive(items)
        one.stop(finish=finish)
        return Recording(one.path)

    return record


@pytest.fixture
def opened():
    """Names of the files that Python opens."""
    seen = []
    is_on = [True]

    def look(event, arguments):
        if event == "open" and is_on[0]:
            seen.append(str(arguments[0]))

    sys.addaudithook(look)
    yield seen
    is_on[0] = False


def test_a_finished_recording_is_listed_from_session_json_and_the_end_of_its_manifest(recorded, usual, opened, tmp_path, monkeypatch):
    folder = recorded(usual, name="a").path
    monkeypatch.setattr(SegmentFile, "read", lambda *_: pytest.fail("a table was read"))
    del opened[:]
    cold = list_recordings(tmp_path)
    inside = {name for name in opened if str(folder) in name}
    assert {name.rpartition("/")[2] for name in inside} <= {SESSION, MANIFEST}, inside
    del opened[:]
    warm = list_recordings(tmp_path)
    assert not [name for name in opened if str(folder) in name], "a warm listing opens nothing of a recording"
    pd.testing.assert_frame_equal(cold, warm)


def test_the_row_is_what_the_tables_say(recorded, usual, tmp_path):
    recording = recorded(usual, name="a", tags=["x"])
    row, info, nav = list_recordings(tmp_path).loc["a"], recording.info(), recording.frame(["nav"])["nav"].dropna()
    assert (row["start"], row["end"], row["packets"], row["gaps"], row["symbols"]) == (
        info.start,
        info.end,
        info.packets,
        info.gaps,
        info.symbols,
    )
    assert row["bytes"] == info.bytes
    assert row["nav_change"] == pytest.approx(nav.iloc[-1] - nav.iloc[0])
    assert row["max_drawdown"] == pytest.approx((nav / nav.cummax() - 1).min())


@pytest.mark.slow
def test_a_recording_without_the_row_is_looked_into_and_so_is_a_killed_one(recorded, usual, tmp_path, monkeypatch):
    with monkeypatch.context() as old:
        old.setattr("ccwatch.recording.summary.of_finished", lambda _: {})
        recorded(usual, name="earlier")
    now = recorded(usual, name="now")
    killed = recorded(usual, name="killed", finish=False)
    assert "row" not in manifest.finish_line(tmp_path / "earlier")
    found = list_recordings(tmp_path)
    names = ["start", "end", "symbols", "packets", "nav_change", "max_drawdown", "halts", "gaps", "damaged"]
    for name in ("earlier", "killed"):
        pd.testing.assert_series_equal(found.loc[name, names], found.loc[now.path.name, names], check_names=False)
    assert found["status"].to_dict() == {"earlier": "finished", "killed": "killed", "now": "finished"}
    assert any((killed.path / JOURNAL).iterdir())


def test_a_table_that_lost_bytes_after_it_was_finished_is_said_to_be_damaged(recorded, usual, tmp_path):
    whole = recorded(usual, name="a")
    shutil.copytree(whole.path, tmp_path / "b")
    (segment,) = (tmp_path / "b" / "packets").iterdir()
    segment.write_bytes(segment.read_bytes()[:-100])
    found = list_recordings(tmp_path)
    assert found.loc["a", ["status", "damaged"]].tolist() == ["finished", 0]
    assert found.loc["b", "damaged"] >= 1
    assert found.loc["b", "packets"] == found.loc["a", "packets"], "what the row says is still known"


@pytest.mark.slow
def test_a_row_of_another_shape_is_no_row(recorded, usual, tmp_path):
    recording = recorded(usual, name="a")
    right = list_recordings(tmp_path).loc["a"]
    for wrong in ({"packets": "many"}, {"symbols": 5}, {"curve": ["x"]}, "text", None):
        manifest.append_finish(recording.path, {"entries": 1, "wall_ns": 1, "row": wrong})
        again = list_recordings(tmp_path).loc["a"]
        assert again.drop("bytes").equals(right.drop("bytes"))


@pytest.mark.slow
def test_the_cache_follows_what_comes_and_goes_and_survives_rubbish(recorded, usual, tmp_path):
    recorded(usual, name="a")
    assert list_recordings(tmp_path).index.tolist() == ["a"]
    recorded(usual[:9], name="b")
    shutil.rmtree(tmp_path / "a")
    assert list_recordings(tmp_path).index.tolist() == ["b"]
    kept = catalog._cache_path(tmp_path)
    for rubbish in (b"", b"ARROW1", kept.read_bytes()[:-50]):
        kept.write_bytes(rubbish)
        assert list_recordings(tmp_path).index.tolist() == ["b"]


def test_colleagues_on_one_folder_lose_no_tag_and_no_note(recorded, usual, tmp_path):
    recording = recorded(usual, name="a", tags=["x"])
    before = sorted(path.name for path in recording.path.rglob("*"))

    def write(author):
        for n in range(50):
            notes.append(tmp_path, [notes.Note("a", n, author, "tag", f"{author}-{n}")])

    threads = [threading.Thread(target=write, args=(author,)) for author in ("Ann", "../Bo", "..", "Çé/" * 60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(notes.read(tmp_path)) == 200
    assert len(list((tmp_path / notes.NOTES).iterdir())) == 4
    notes.append(tmp_path, [notes.Note("a", 100, "Ann", "untag", "x"), notes.Note("a", 101, "Bo", "note", "<b>odd</b>")])
    row = list_recordings(tmp_path).loc["a"]
    assert (len(row["tags"]), "x" in row["tags"], row["note"]) == (200, False, "<b>odd</b>")
    assert sorted(path.name for path in recording.path.rglob("*")) == before, "a note is beside the recording, not in it"
    assert Recording(recording.path).verify(deep=True).ok
    for author, kind, text in (("", "tag", "x"), ("Ann", "tag", ""), ("Ann", "note", "x" * 10_001)):
        with pytest.raises(ConfigError):
            notes.append(tmp_path, [notes.Note("a", 1, author, kind, text)])


def test_a_damaged_line_of_notes_hides_no_other_and_is_logged(recorded, usual, tmp_path, caplog):
    recorded(usual[:5], name="a")
    notes.append(tmp_path, [notes.Note("a", 1, "Ann", "tag", "one"), notes.Note("a", 2, "Ann", "tag", "two")])
    path = tmp_path / notes.NOTES / "Ann.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"one"', b'"on3"') + b'{"torn')
    notes.append(tmp_path, [notes.Note("a", 3, "Ann", "tag", "three")])
    assert list_recordings(tmp_path).loc["a", "tags"] == ("two", "three")
    assert "2 of 4 lines are damaged" in caplog.text
