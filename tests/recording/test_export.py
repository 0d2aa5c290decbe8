"""A recording for other programs: what they read is what was recorded."""

from __future__ import annotations

import json

import polars as pl
import pyarrow as pa
import pytest
from mcap.reader import make_reader
from pandas.testing import assert_frame_equal

from ccwatch.protocol.messages import Packet
from ccwatch.recording import Recorder, Recording, export


@pytest.fixture(scope="module")
def recording(varied, tmp_path_factory):
    with Recorder(tmp_path_factory.mktemp("export") / "s", url="ws://x", origin="live", tags=["a"]) as recorder:
        recorder.receive(varied)
    return Recording(recorder.path)


def test_an_mcap_file_has_each_message_byte_for_byte_at_its_time(recording, varied, tmp_path):
    packets = [item for item in varied if isinstance(item, Packet)]
    assert export(recording, tmp_path / "o.mcap", "mcap") == len(packets)
    with (tmp_path / "o.mcap").open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        found = list(reader.iter_messages(log_time_order=False))
        assert {channel.topic for _, channel, _ in found} == {"/stream"}
        assert [(m.data, m.log_time, m.publish_time, m.sequence) for _, _, m in found] == [
            (packet.raw, packet.received_at_ns, packet.time_ns, packet.seq) for packet in packets
        ]
        (about,) = reader.iter_metadata()
        assert about.metadata["session"] == recording.session.session


@pytest.mark.parametrize("table", ["agents", "events", "logs"])
def test_any_other_table_is_a_channel_with_a_message_per_row(recording, table, tmp_path):
    rows = export(recording, tmp_path / "o.mcap", "mcap", table=table)
    assert rows == len(getattr(recording, table)())
    with (tmp_path / "o.mcap").open("rb") as file:
        found = [json.loads(message.data) for _, _, message in make_reader(file).iter_messages(log_time_order=False)]
    export(recording, tmp_path / "o.jsonl", "jsonl", table=table)
    assert found == [json.loads(line) for line in (tmp_path / "o.jsonl").read_text(encoding="utf-8").splitlines()]


def test_arrow_and_polars_take_a_recording_as_it_is(recording):
    frame = recording.frame()
    table = recording.to_arrow()
    assert table.column_names == ["time", *frame.columns]
    assert_frame_equal(pa.table(recording).to_pandas(), table.to_pandas())
    assert_frame_equal(recording.to_polars(["price", "seq"]).to_pandas().set_index("time")[["seq"]], frame[["seq"]], check_index_type=False)
    assert pl.DataFrame(recording).height == len(frame)
