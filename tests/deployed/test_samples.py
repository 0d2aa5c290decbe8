"""The samples of the deployed system (made-up values, shapes as seen), through socket, buffer, recording, replay, doctor and report."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import ccwatch as cw
from ccwatch.doctor import examine
from tests.feed.servers import foreign

HERE = Path(__file__).parent
NAMES = "bff-over-database-engine", "engine-socket"


def sample(name: str) -> list[str]:
    return [json.loads(line)["message"] for line in (HERE / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


class Seen:
    """What a feed of one sample had, and the recording of it."""

    def __init__(self, name: str, folder: Path) -> None:
        messages = sample(name)
        heard = threading.Event()  # whether who is to hear them is there
        heard.set()

        def speak(connection: Any) -> None:
            heard.wait(10)
            for message in messages:
                connection.send(message)
            for _ in connection:
                pass

        with foreign(speak) as server:
            self.found = examine(server.url, seconds=1.5)
            heard.clear()
            with cw.connect(server.url, name=f"live {name}") as self.feed, cw.record(self.feed, folder) as recorder:
                heard.set()
                self.feed.wait(len(messages), timeout=20)
        self.messages = [json.loads(message) for message in messages]
        self.recording = cw.open_recording(recorder.path)
        self.frame = self.feed.frame(["status", "price", "nav", "status_raw", "approved_size_raw", "execution_status"], clean=False)


@pytest.fixture(scope="module", params=NAMES)
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    yield Seen(request.param, tmp_path_factory.mktemp(request.param))
    cw.stop_all()


@pytest.fixture(scope="module")
def bff(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return Seen(NAMES[0], tmp_path_factory.mktemp("bff"))


def test_nothing_is_malformed_and_every_message_is_a_packet(seen: Seen) -> None:
    health = seen.feed.health()
    assert (health.packets, health.malformed, health.dropped) == (len(seen.messages), 0, 0)


def test_the_doctor_finds_nothing_that_is_malformed_or_unknown(seen: Seen) -> None:
    assert seen.found.packets == len(seen.messages)
    assert not [problem for problem in seen.found.problems if "malformed" in problem or "cannot be read" in problem]


def test_a_printed_enum_is_its_status_and_its_word_is_kept(bff: Seen) -> None:
    reported = [message["data"]["status"] for message in bff.messages]
    assert list(bff.frame["status_raw"]) == reported
    assert list(bff.frame["status"]) == ["HALT" if "HALTED" in word else "ACTIVE" for word in reported]
    assert "HALT" in set(bff.frame["status"])


def test_dollars_are_no_fraction_and_are_kept(bff: Seen) -> None:
    assert [float(raw) for raw in bff.frame["approved_size_raw"]] == [m["data"]["governance"]["approved_size"] for m in bff.messages]
    assert bff.feed.frame(["approved_size"], clean=False)["approved_size"].isna().all()


@pytest.mark.parametrize("table", ["agents", "models"])
def test_each_call_is_one_row_at_its_own_time_however_often_it_was_sent(bff: Seen, table: str) -> None:
    calls: set[tuple[str, str, float]] = set()
    for message in bff.messages:
        for name, service in message["data"][table].items():
            listed = service if table == "agents" else service["invocations"]
            calls |= {(name, call["timestamp"], call["latency_ms"]) for call in listed}
    rows = getattr(bff.feed, table)()
    stamps = [at.tz_localize(None).isoformat(timespec="microseconds") for at in rows.index]
    key = rows["agent" if table == "agents" else "model"].astype(str)
    assert Counter(zip(key, stamps, rows["latency_ms"], strict=True)) == Counter(calls)
    for _, group in rows.groupby(key):
        assert list(group.sort_index()["invocations"]) == list(range(1, len(group) + 1))


def test_while_a_packet_of_a_burst_says_halt_the_report_says_that_it_halted(tmp_path: Path) -> None:
    seen = Seen(NAMES[1], tmp_path)
    assert {"HALT", "ACTIVE"} <= set(seen.frame["status"].dropna())
    assert "HALTED_DRAWDOWN" in set(seen.frame["status_raw"].dropna())
    assert set(seen.frame["execution_status"].dropna()) == {"SIMULATED"}
    scanner = seen.feed.scanner()
    assert set(scanner["symbol"].astype(str)) == {"SPY", "QQQ"}


def test_the_recording_and_its_replay_have_the_same_rows_as_the_feed(seen: Seen) -> None:
    pd.testing.assert_frame_equal(seen.recording.frame(clean=False), seen.feed.frame(clean=False))
    for table in ("agents", "models", "logs", "forecasts", "trades", "scanner", "bars"):
        pd.testing.assert_frame_equal(getattr(seen.recording, table)(), getattr(seen.feed, table)())
    with cw.replay(seen.recording, speed="max") as again:
        again.join(20)
        pd.testing.assert_frame_equal(again.frame(["price", "status"], clean=False), seen.recording.frame(["price", "status"], clean=False))


@pytest.mark.slow
def test_the_report_answers_on_it(seen: Seen) -> None:
    report = cw.analyze(seen.feed)
    assert report.what_happened()
    assert "HALT" in report.to_markdown() or "halt" in report.to_markdown()
