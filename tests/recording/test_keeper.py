"""What the next reader of a group learns of the recording of the former one."""

from __future__ import annotations

import shutil

from ccwatch.recording import Recorder, RecordingKeeper
from ccwatch.stream.source import Held
from tests.archives.seeded import items_of


def test_a_recording_is_growing_then_holds_its_last_packet_and_none_where_another_is_in_its_place(tmp_path):
    items = items_of(1, 30)
    recorder = Recorder(tmp_path / "a", url="redis://x", origin="live")
    keeper = RecordingKeeper(recorder)
    recorder.receive(items)
    places = keeper.places()
    other = Recorder(tmp_path / "b", url="redis://x", origin="live")
    asking = RecordingKeeper(other)
    assert asking.held(places) == Held(None, is_growing=True)
    recorder.stop(finish=False)
    assert keeper.durable_seq() == 30
    assert asking.held(places) == Held(30)
    other.stop()
    assert asking.held(asking.places()) == Held(0)
    assert asking.held([*places, *asking.places()]) == Held(30)
    shutil.rmtree(tmp_path / "a")
    (tmp_path / "b").rename(tmp_path / "a")
    assert asking.held(places) == Held(None)
    assert asking.held([f"0 {tmp_path / 'nowhere'}", "", "nonsense"]) == Held(None)
