from __future__ import annotations

import itertools
import json

import numpy as np
import pandas as pd
import pytest

import ccwatch as cw
from ccwatch.analysis import quality
from ccwatch.errors import NotEnoughData
from ccwatch.feed.synthetic import messages
from ccwatch.protocol.messages import Flag, Instant
from ccwatch.protocol.stream_reader import StreamReader

SECOND = 1_000_000_000


def judged(source, **options):
    return quality(source.frame(clean=False), source.events(), **options)


class Line:
    """A session on a line whose delays, losses and breaks are scripted, with the real clocks' meaning."""

    def __init__(self, stream_class):
        self.stream_class = stream_class
        self.session = StreamReader()
        self.items = []
        self.start = pd.Timestamp("2026-01-02T14:30:00Z").value
        self.open(0.0)

    def now(self, seconds):
        passed = round(seconds * SECOND)
        return Instant(self.start + passed, 7 * SECOND + passed)

    def open(self, seconds):
        self.items += self.session.opened(self.now(seconds))

    def close(self, seconds):
        self.items += self.session.closed(self.now(seconds), "reset")

    def receive(self, raw, seconds):
        self.items += self.session.receive(raw, self.now(seconds))

    def judged(self, **options):
        return judged(self.stream_class(self.items), **options)


@pytest.fixture
def line(stream):
    return Line(type(stream("calm", count=2)))


@pytest.fixture(scope="module")
def raws():
    return list(itertools.islice(messages(0, "calm", 1.0), 120))


def test_a_calm_stream_is_ok(line, raws):
    for n, raw in enumerate(raws):
        line.receive(raw, n + 0.02)
    found = line.judged()
    assert found.verdict == "OK"
    assert found.reasons == ()
    assert found.value("rate") == pytest.approx(1.0)
    assert found.value("completeness") == 1.0
    assert found.value("clock_offset") == pytest.approx(0.02)
    assert found.value("clock_drift") == pytest.approx(0.0, abs=1e-6)
    assert found.value("jitter") == pytest.approx(0.0, abs=1e-9)


def test_jitter_is_rfc_3550s(line, raws):
    delays = np.random.default_rng(2).uniform(0.0, 0.2, len(raws))
    for n, (raw, delay) in enumerate(zip(raws, delays, strict=True)):
        line.receive(raw, n + delay)
    expected = 0.0
    for change in np.abs(np.diff(delays)):
        expected += (change - expected) / 16.0
    assert line.judged().value("jitter") == pytest.approx(expected, abs=1e-9)


def test_a_clock_that_drifts_and_is_off_is_measured(line, raws):
    for n, raw in enumerate(raws):
        line.receive(raw, n * 1.0005 + 5.0)
    found = line.judged()
    assert found.value("clock_drift") == pytest.approx(500.0, rel=0.01)
    assert found.value("clock_offset") == pytest.approx(5.03, abs=0.01)
    assert found.verdict == "WARN"
    assert any("clock" in reason for reason in found.reasons)


def test_a_gap_is_a_warning_with_its_length(stream, at):
    found = judged(stream("gap", count=300))
    assert found.verdict == "WARN"
    assert found.gaps[["start_time", "end_time", "duration_s", "reason"]].to_dict("records") == [
        {"start_time": at(89), "end_time": at(120), "duration_s": 31.0, "reason": "silence"}
    ]
    assert found.value("completeness") == pytest.approx(300 / 330)


def test_a_sleep_of_the_machine_is_a_gap_by_that_name(line, raws):
    for n, raw in enumerate(raws[:20]):
        line.receive(raw, n)
    line.items += line.session.receive(raws[20], Instant(line.start + 3620 * SECOND, 7 * SECOND + 20 * SECOND))
    assert line.judged().gaps["reason"].tolist() == ["sleep"]


def test_planted_duplicates_and_malformed_messages_are_counted(stream):
    doubled = judged(stream("duplicate", count=300))
    assert doubled.value("duplicates") == 10
    assert doubled.basis.left_out == 10
    broken = judged(stream("malformed", count=300))
    assert broken.value("malformed") == 4
    assert broken.verdict == "WARN"


def test_content_that_stood_still_is_a_warning_and_a_stall_where_it_lasts(stream):
    assert judged(stream("frozen", count=300)).verdict == "WARN"
    assert judged(stream("frozen", count=300)).value("frozen_longest") == 30
    at_end = judged(stream("frozen", count=115))
    assert at_end.verdict == "STALLED"
    assert "same content" in at_end.reasons[0]


def test_silence_at_the_end_is_a_stall_while_connected_and_a_stop_without(line, raws):
    for n, raw in enumerate(raws[:30]):
        line.receive(raw, n)
    later = pd.Timestamp("2026-01-02T14:31:00Z")
    assert line.judged(now=later).verdict == "STALLED"
    assert line.judged(now=later).value("silence_at_end") == 31.0
    assert line.judged().verdict == "OK"  # a stream that ended with its last packet is not silent
    line.close(29.5)
    assert line.judged().verdict == "OK"
    assert line.judged(now=later).verdict == "STOPPED"


def test_an_engine_that_speaks_every_five_seconds_is_not_stalled(line, raws):
    for n, raw in enumerate(raws[:30]):
        line.receive(raw, 5.0 * n)
    assert line.judged(now=pd.Timestamp("2026-01-02T14:30:29Z") + pd.Timedelta(seconds=40)).value("silence_at_end") == 40.0
    assert "STALLED" not in set(line.judged(now=pd.Timestamp("2026-01-02T14:30:29Z") + pd.Timedelta(seconds=40)).to_frame()["level"])


def test_reconnects_replays_and_downtime_are_counted(line, raws):
    for n, raw in enumerate(raws[:20]):
        line.receive(raw, n)
    line.close(19.2)
    line.open(24.0)
    for raw in raws[15:20]:
        line.receive(raw, 24.1)
    for n, raw in enumerate(raws[20:40], start=25):
        line.receive(raw, n)
    found = line.judged()
    assert found.value("reconnects") == 1
    assert found.value("replays") == 5
    assert found.value("downtime") == pytest.approx(24.1 - 19.0)
    assert found.verdict == "WARN"


def test_reordering_is_counted_with_its_extent(line, raws):
    for n, place in enumerate([0, 1, 2, 5, 3, 4, 6, 7]):
        line.receive(raws[place], n)
    found = line.judged()
    assert found.value("reordered") == 2 / 8
    assert found.value("reordered_by") == 2.0


def test_unknown_fields_and_odd_values_are_named(line, raws):
    for n, raw in enumerate(raws[:10]):
        message = json.loads(raw)
        message["data"]["market"]["beta"] = n
        message["data"]["governance"]["approved_size"] = 1500.0
        line.receive(json.dumps(message).encode(), n)
    source = line.stream_class(line.items)
    found = quality(source.frame([*source.frame().columns, "extra"], clean=False), source.events())
    assert found.unknown_fields.set_index("field")["n"].to_dict() == {"market.beta": 10}
    assert found.flags.set_index("flag")["n"].to_dict() == {Flag.UNIT.name: 10}
    assert found.value("odd_values") == 10


def test_what_the_stream_cannot_tell_is_missing_with_its_reason(stream):
    found = judged(stream("calm", count=60))
    table = found.to_frame().set_index("measure")
    for measure in ("clock_offset", "jitter", "message_size", "unknown_fields"):
        assert np.isnan(table.loc[measure, "value"])
        assert table.loc[measure, "reason"]
    assert quality(stream("calm", count=60).frame(clean=False), message_bytes_mean=3000.0).value("message_size") == 3000.0


def test_a_frame_of_ones_own_can_be_judged(rows):
    found = quality(rows(price=[1.0, 2.0, 3.0, 4.0, 5.0], times=[0, 1, 2, 40, 41]))
    assert found.verdict == "WARN"
    assert found.gaps["duration_s"].tolist() == [38.0]
    assert np.isnan(found.value("malformed"))


def test_rows_of_ones_own_in_another_order_are_out_of_order_and_no_gap(rows):
    frame = rows(price=np.arange(1.0, 61.0))
    found = quality(frame.iloc[np.random.default_rng(0).permutation(60)])
    assert found.value("reordered") > 0.5
    assert len(found.gaps) == 0
    assert found.basis.gaps == 0
    assert found.value("completeness") == quality(frame).value("completeness") == 1.0


def test_without_packets_the_stream_has_stopped_and_without_anything_there_is_no_answer(line):
    found = line.judged()
    assert found.verdict == "STOPPED"
    assert found.value("silence_at_end") != 0.0
    found.figure()
    found.to_markdown()
    with pytest.raises(NotEnoughData):
        quality(line.stream_class([]).frame(clean=False))


def test_one_packet_and_all_repeats_and_one_time_give_an_answer_without_zeros_that_mean_nothing(rows, line, raws):
    assert np.isnan(quality(rows(price=[1.0])).value("completeness"))
    for n in range(5):
        line.receive(raws[0], n)
    assert line.judged().value("duplicates") == 4
    same = quality(rows(price=[1.0, 2.0], times=[0, 0]))
    assert np.isnan(same.value("rate"))
    assert np.isnan(same.value("completeness"))


def test_seeded_stamps_are_no_trouble_of_a_synthetic_streams_clock():
    with cw.serve(seed=1, rate=100) as cottage, cw.connect(cottage.url) as feed:
        feed.wait(40, timeout=10)
        frame = feed.frame(clean=False)
        for known, level in ((True, "OK"), (False, "WARN")):
            assert quality(frame, is_synthetic=known).to_frame().set_index("measure").loc["clock_offset", "level"] == level
        table = cw.analyze(feed).quality().to_frame().set_index("measure")
        assert table.loc["clock_offset", "level"] == "OK"
        assert abs(table.loc["clock_offset", "value"]) > 86_400, "it is told nevertheless"


def bursts(rows, count=60, *, size=5, every=5.0):
    """Bursts of packets some milliseconds apart, with the receiver's clock beside the stamps."""
    times = np.array([n * every + place * 0.003 for n in range(count) for place in range(size)])
    frame = rows(price=np.full(len(times), 100.0) + np.arange(len(times)), times=times)
    mono = (times * SECOND).astype(np.int64) + 7 * SECOND
    return frame.assign(received_mono_ns=mono, received_at=frame.index, connection=1, seq=np.arange(1, len(times) + 1).astype(np.uint64))


def test_bursts_are_no_gaps_and_tell_the_pace_as_a_whole(rows):
    found = quality(bursts(rows))
    assert found.basis.gaps == 0
    assert found.verdict == "OK"
    assert found.value("interval_median") == pytest.approx(5.0)
    assert found.value("rate") == pytest.approx(0.2, rel=0.01)
    assert found.value("packets_per_s") == pytest.approx(1.0, rel=0.02)
    assert found.value("completeness") == pytest.approx(1.0)


def test_a_silence_between_bursts_is_one_gap(rows):
    frame = bursts(rows)
    found = quality(frame.drop(frame.index[100:150]))
    assert found.basis.gaps == 1
    assert found.gaps["duration_s"].iloc[0] == pytest.approx(55.0, abs=0.1)


def test_stamps_that_are_all_equal_are_not_ok(rows):
    found = quality(rows(price=[1.0, 2.0, 3.0], times=[0.0, 0.0, 0.0]))
    assert found.verdict == "WARN"
    assert "came at one time" in found.headline()
