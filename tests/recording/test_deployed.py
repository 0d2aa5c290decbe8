"""What deployed systems send, through buffer, journal, segments and replay: the same rows everywhere, each of them once."""

from __future__ import annotations

import json
from datetime import datetime
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from ccwatch.feed.buffer import RollingBuffer
from ccwatch.protocol.messages import Instant, Packet, StateChange
from ccwatch.protocol.stream_reader import StreamReader
from ccwatch.recording import Recorder, Recording
from ccwatch.stream import dataframes
from tests.protocol import deployed

SECOND = 10**9
NINE = 1_795_770_000  # 2026-11-27T09:00:00Z
ONE_FIRST = int(datetime(2026, 11, 1, 1, tzinfo=ZoneInfo("America/New_York")).timestamp())
TABLES = ("agents", "models", "logs", "forecasts", "trades", "scanner", "bars", "events")


def bff(n):
    calls = [deployed.call(k, 100.0 + k / 3, success=k % 3 != 0) for k in range(n // 2, max(-1, n // 2 - 10), -1)]
    trade = {
        "id": f"t{n // 5}",
        "time": f"2026-11-27T09:00:{n // 5:02d}Z",
        "symbol": "SPY",
        "side": "Side.BUY",
        "quantity": 1,
        "price": 450.0,
    }
    more = {"trades": [trade], "execution_status": "FILLED", "order_id": n // 5}
    return deployed.over_database(n // 2, {"risk": calls, "macro": calls[:1]}, **more)


def loop(n):
    history = [[float(k), k + 1.0, k - 1.0, k + 0.5] for k in range(n, n + 20)]
    market = {**deployed.LOOP["market"], "price": 449.0 + n, "history": history}
    first = {**deployed.RAW_STATE, "price": 449.0 + n, "messages": [f"line {k}" for k in range(max(0, n - 9), n + 1)]}
    return json.dumps(first if n % 2 else {**deployed.LOOP, "market": market, "is_synthetic": n % 4 == 0}, ensure_ascii=False).encode()


def items(make, count=40):
    session = StreamReader()
    found = session.opened(Instant(NINE * SECOND, 0), "url=ws://127.0.0.1:3000")
    for n in range(count):
        found += session.receive(make(n), Instant((NINE + n) * SECOND + 1000, n * SECOND + 1000))
        if n == count // 2:
            found += session.closed(Instant((NINE + n) * SECOND + 2000, n * SECOND + 2000), "reset")
            found += session.opened(Instant((NINE + n) * SECOND + 3000, n * SECOND + 3000), "url=ws://127.0.0.1:3000")
    found += session.receive(b'{"type":"NODE_UPDATE"}', Instant((NINE + count) * SECOND, count * SECOND))
    return [*found, *session.flush()]


@pytest.mark.slow
@pytest.mark.parametrize("make", [bff, loop])
@pytest.mark.parametrize("finish", [False, True])
def test_recorded_and_replayed_rows_are_those_of_the_live_buffer(tmp_path, make, finish):
    sent = items(make)
    kept = [item for item in sent if not isinstance(item, StateChange)]
    live = RollingBuffer()
    live.receive(sent)
    with Recorder(tmp_path / "s", url="", origin="live") as recorder:
        recorder.receive(sent)
        recorder.stop(finish=finish)
    recording = Recording(tmp_path / "s")
    names = [*dataframes.resolve("packets", None), "extra", "order_id", "status_raw", "side_raw"]
    assert_frame_equal(recording.frame(names, clean=False), live.frame(names, clean=False))
    for table in TABLES:
        assert_frame_equal(getattr(recording, table)(), live.long(table))
    assert list(recording.items()) == kept
    assert [item.raw for item in recording.packets()] == [item.raw for item in kept if isinstance(item, Packet)]


@pytest.mark.slow
def test_each_call_trade_and_bar_is_one_row_and_a_mock_forecast_is_told(tmp_path):
    with Recorder(tmp_path / "bff", url="", origin="live") as recorder:
        recorder.receive(items(bff))
    recording = Recording(tmp_path / "bff")
    risk = recording.agents()[lambda rows: rows["agent"] == "risk"].sort_index()
    assert risk["latency_ms"].tolist() == [100.0 + k / 3 for k in range(20)]
    assert risk["invocations"].tolist() == [float(k + 1) for k in range(20)]
    assert recording.trades()["id"].tolist() == [f"t{k}" for k in range(8)]
    assert set(recording.trades()["side"]) == {"BUY"}
    assert recording.frame(["side", "status", "regime"]).iloc[0].tolist() == ["BUY", "ACTIVE", "Gaussian"]
    with Recorder(tmp_path / "loop", url="", origin="live") as recorder:
        recorder.receive(items(loop))
    recording = Recording(tmp_path / "loop")
    bars = recording.bars()
    assert bars["open"].is_unique
    assert bars["open"].tolist() == [float(k) for k in range(len(bars))]
    heard = [packet.is_forecast_synthetic for packet in recording.packets()]
    assert heard == [n % 4 == 0 for n in range(40)]


@pytest.mark.parametrize("finish", [False, True])
def test_stamps_without_an_offset_in_the_repeated_hour_are_those_of_the_live_rows(tmp_path, finish):
    zone = "America/New_York"
    session, sent = StreamReader(server_tz=zone), []
    for second in range(ONE_FIRST, ONE_FIRST + 9000, 450):
        stamps = [datetime.fromtimestamp(second - k, ZoneInfo(zone)).replace(tzinfo=None).isoformat() for k in range(3)]
        lines = [{"level": "INFO", "message": f"line {k}", "timestamp": stamp} for k, stamp in enumerate(stamps)]
        body = {"timestamp": stamps[0], "market": {"symbol": "SPY", "price": 1.0 + second % 77}, "logs": lines}
        now = Instant(second * SECOND, second * SECOND)
        sent += session.opened(now) if not sent else []
        sent += session.receive(json.dumps({"type": "TELEMETRY", "data": body}).encode(), now)
    live = RollingBuffer()
    live.receive(sent)
    assert (live.long("logs").index - live.long("logs")["log_time"]).max() < pd.Timedelta("3s")
    with Recorder(tmp_path / "s", url="", origin="live", server_tz=zone) as recorder:
        recorder.receive(sent)
        recorder.stop(finish=finish)
    recording = Recording(tmp_path / "s")
    assert_frame_equal(recording.logs(), live.long("logs"))
    assert list(recording.items()) == [item for item in sent if not isinstance(item, StateChange)]
