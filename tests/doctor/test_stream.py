"""The doctor on real servers, ill in every way that is known from the field; and on items with hands-set clocks."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from websockets.sync.server import ServerConnection

import ccwatch as cw
from ccwatch.config import Settings
from ccwatch.doctor import Diagnosis, diagnose, examine, stream, visit
from ccwatch.doctor.diagnosis import Attempt
from ccwatch.protocol.facts import ServerError, UnknownType
from ccwatch.protocol.messages import EventKind, Flag, Instant, Item
from ccwatch.protocol.stream_reader import StreamReader
from tests.feed.servers import Peer, RawServer, foreign, frame

NOW = Instant(1_767_348_000_000_000_000, 5_000_000_000)
START = datetime(2026, 1, 5, 15, 0, tzinfo=UTC)
BFF_WELCOME = {
    "type": "WELCOME",
    "data": {
        "timestamp": None,
        "status": "Initializing",
        "market": {"price": 0.0, "alpha": 0.0, "regime": "Unknown"},
        "sentiment": {"label": "Neutral", "score": 0.0},
        "signals": [],
        "logs": [],
    },
}


@pytest.fixture(scope="module")
def cottage() -> Iterator[cw.Cottage]:
    with cw.serve(seed=7, rate=50) as running:
        yield running


@pytest.fixture
def no_usual_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which nothing else listens, whatever runs on the one that tests."""
    monkeypatch.setattr(stream, "USUAL", ((1, ""),))


def telemetry(n: int, **data: Any) -> dict[str, Any]:
    stamp = (START + timedelta(seconds=n)).isoformat().replace("+00:00", "Z")
    market = {"symbol": "SPY", "price": 450.0 + n, "regime": "Gaussian"}
    return {"type": "TELEMETRY", "data": {"timestamp": stamp, "status": "ACTIVE", "market": market, **data}}


def sending(*messages: Any) -> Callable[[ServerConnection], None]:
    def handler(connection: ServerConnection) -> None:
        for message in messages:
            connection.send(message if isinstance(message, str) else json.dumps(message))
        for _ in connection:
            pass

    return handler


def heard(*messages: dict[str, Any], ahead_s: float = 0.0, server_tz: str = "UTC", origin: str = "live") -> Diagnosis:
    """The diagnosis of messages that came one second apart, from START on this machine's clock, which is `ahead_s` ahead."""
    session = StreamReader(server_tz=server_tz)
    begin = int((START.timestamp() + ahead_s) * 1e9)
    items: list[Item] = [*session.connecting(Instant(begin, 0)), *session.opened(Instant(begin, 0))]
    for n, message in enumerate(messages):
        items += session.receive(json.dumps(message).encode(), Instant(begin + n * 10**9, n * 10**9))
    attempt = Attempt("ws://x", 1.0, None)
    return diagnose(
        items, attempts=[attempt], url="ws://x", asked="ws://x", seconds=6, settings=Settings(server_tz=server_tz), origin=origin
    )


# ── real servers ──


def test_a_healthy_server_is_called_healthy_with_its_dialect_rate_and_handshake(cottage: cw.Cottage) -> None:
    found = examine(cottage.url, seconds=1.0)
    assert found.healthy
    assert found.problems == found.advice == found.missing == found.foreign == ()
    assert set(found.dialects) == {"contract"}
    assert set(found.kinds) == {"WELCOME", "TELEMETRY"}
    assert found.rate_hz == pytest.approx(50, rel=0.3)
    assert 0 < (found.handshake_ms or 0) < 5000
    assert 0 <= (found.first_packet_ms if found.first_packet_ms is not None else -1) < 1000
    assert found.origin == "synthetic"
    assert cw.feeds() == []


@pytest.mark.usefixtures("no_usual_place")
def test_where_nobody_answers_every_usual_place_is_tried_and_named() -> None:
    found = examine("ws://127.0.0.1:1/elsewhere", seconds=0.2)
    assert not found.healthy
    assert found.url is None
    assert [attempt.url for attempt in found.attempts] == ["ws://127.0.0.1:1/elsewhere", "ws://127.0.0.1:1"]
    assert all("refused" in (attempt.error or "") for attempt in found.attempts)


def test_the_usual_places_are_those_of_the_field_on_the_host_that_was_asked_for() -> None:
    assert stream.usual_places("wss://user:secret@engine.example:3000/?key=1") == [
        "wss://engine.example:8000/ws/stream",
        "wss://engine.example:8000/api/ws/stream",
        "wss://engine.example:8000/api/ws/brain",
    ]
    assert stream.usual_places("ws://[::1]:99/x")[0] == "ws://[::1]:3000"


def test_a_server_that_answers_beside_the_url_is_found_and_named_but_the_url_stays_ill(
    cottage: cw.Cottage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "USUAL", ((int(cottage.url.rpartition(":")[2]), ""),))
    found = examine("ws://127.0.0.1:1", seconds=0.3)
    assert found.url == found.settings["url"] == cottage.url
    assert found.packets > 1
    assert not found.healthy
    assert "refused" in found.problems[0]


def test_without_a_url_whichever_usual_place_answers_will_do(
    cottage: cw.Cottage, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))
    monkeypatch.setattr(stream, "DEFAULT_URL", "ws://127.0.0.1:1")
    monkeypatch.setenv("CCWATCH_URL", "ws://127.0.0.1:1")
    monkeypatch.setattr(stream, "USUAL", ((int(cottage.url.rpartition(":")[2]), ""),))
    found = examine(seconds=0.3)
    assert found.healthy, found.problems
    assert found.settings == {"url": cottage.url}


def test_a_token_goes_to_the_url_alone_and_never_to_the_places_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCWATCH_TOKEN", "from-the-environment")
    asked = RawServer(lambda peer: peer.answer("403 Forbidden"))
    beside = RawServer(lambda peer: peer.answer("401 Unauthorized"))
    try:
        monkeypatch.setattr(stream, "USUAL", ((beside.port, ""),))
        found = examine(asked.url, seconds=0.2, token="s3cret")
        assert asked.peers[0].header("Sec-WebSocket-Protocol") == "token, s3cret"
        assert beside.peers[0].header("Sec-WebSocket-Protocol") is None
    finally:
        asked.close()
        beside.close()
    assert "403" in found.problems[0]
    assert any("token" in advice for advice in found.advice)
    assert "s3cret" not in json.dumps(found.to_dict())


@pytest.mark.usefixtures("no_usual_place")
def test_a_server_that_refuses_the_token_runs_and_wants_another_one() -> None:
    server = RawServer(lambda peer: peer.answer("401 Unauthorized"))
    try:
        found = examine(server.url, seconds=0.2, token="expired")
    finally:
        server.close()
    assert not found.healthy
    assert "(401)" in found.problems[0]
    assert "CCWATCH_TOKEN" in found.advice[0]
    assert not any("start the engine" in advice for advice in found.advice)


def test_an_open_socket_that_says_nothing_is_ill() -> None:
    with foreign(sending()) as server:
        found = examine(server.url, seconds=0.3)
    assert not found.healthy
    assert "engine is down" in found.problems[0]
    assert found.rate_hz is None


def test_a_bff_that_has_not_reached_its_engine_is_ill_and_its_zeros_count_as_never_come() -> None:
    with foreign(sending(BFF_WELCOME)) as server:
        found = examine(server.url, seconds=0.3)
    assert any("has not reached its engine" in problem for problem in found.problems)
    assert "market.price" in found.missing
    assert found.foreign == ("signals",), "zeros of known fields are not foreign"
    assert {noticed.flag for noticed in found.flags} >= {"PLACEHOLDER", "NO_TIME"}


def test_messages_that_cannot_be_read_and_a_lost_connection_are_told() -> None:
    first = threading.Event()

    def once_broken(connection: ServerConnection) -> None:
        connection.send(json.dumps(telemetry(0)))
        if not first.is_set():
            first.set()
            connection.send("{not json")
            connection.close(1011, "out of memory")
        for _ in connection:
            pass

    with foreign(once_broken) as server:
        found = examine(server.url, seconds=2.0)
    assert any("cannot be read" in problem for problem in found.problems)
    assert any("lost" in problem and "out of memory" in problem for problem in found.problems)
    assert found.events["malformed"] == 1
    assert "REPLAYED" in {noticed.flag for noticed in found.flags}, "the state that the next connection repeats"


def test_a_flood_is_listened_to_no_longer_than_it_teaches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visit, "MOST_PACKETS", 200)

    def flood(peer: Any) -> None:
        peer.shake()
        for n in range(100_000):
            peer.send(frame(json.dumps(telemetry(n)).encode()))

    server = RawServer(flood)
    try:
        found = examine(server.url, seconds=60)  # the suite would not wait that long
    finally:
        server.close()
    assert 200 <= found.packets < 50_000


# ── what the packets tell ──


def test_fields_that_never_came_and_fields_without_a_column_are_named_by_their_path() -> None:
    agents = {"RiskAgent": {"latency_ms": 3.0, "success_rate": 1.0, "p99_ms": 9.0}}
    found = heard(telemetry(0, agents=agents, scanner=[1], market={"symbol": "SPY", "price": 1.0, "history": [1, 2], "book": {"bid": 1}}))
    assert found.foreign == ("market.book.bid", "agents.*.p99_ms", "scanner")
    assert {"portfolio.nav", "signal.side", "governance.approved_size", "models", "logs", "agents.*.invocations"} <= set(found.missing)
    assert not {"agents", "agents.*.latency_ms", "market.price", "status", "timestamp"} & set(found.missing)


def test_what_has_a_column_but_came_oddly_is_flagged_not_foreign() -> None:
    found = heard(
        telemetry(0, portfolio={"nav": "100000.5", "cash": [1]}, agents={"A": {"latency_ms": "3"}}, logs=[{"message": "x", "n": 1}])
    )
    assert found.foreign == ()
    assert {noticed.flag for noticed in found.flags} == {"COERCED", "WRONG_TYPE"}


def test_sentiment_and_forecast_are_beyond_the_contract_and_not_missed() -> None:
    with_them = heard(telemetry(0, sentiment={"label": "Bullish", "score": 0.4}, forecast={"p10": [1.0], "median": [2.0], "horizon": 5}))
    assert with_them.beyond == ("sentiment", "forecast")
    assert with_them.foreign == ()
    without = heard(telemetry(0))
    assert without.beyond == ()
    assert not [path for path in without.missing if path.startswith(("sentiment", "forecast"))]


def test_an_engines_own_socket_is_told_from_the_bff_by_its_missing_portfolio() -> None:
    partial = {"timestamp": "2026-01-05T15:00:00.5", "source": "watchtower", "market": {"symbol": "SPY", "price": 450.3}}
    loop = {"type": "TELEMETRY", "timestamp": "2026-01-05T15:00:01", "status": "active", "market": {"symbol": "SPY", "price": 450.3}}
    state = {"symbol": "SPY", "price": 450.3, "current_alpha": 2.1, "signal_side": "BUY", "chronos_forecast": {"p10": [1.0]}}
    found = heard(partial, loop, state)
    assert found.dialects == {"bridge": 1, "engine_loop": 1, "pipeline": 1}
    assert "port 3000" in " ".join(found.advice)
    assert found.foreign == ("source",)


def test_dollars_in_approved_size_are_explained() -> None:
    found = heard(telemetry(0, governance={"approved_size": 15000.0}))
    assert {noticed.flag: noticed.packets for noticed in found.flags} == {"UNIT": 1}
    assert "approved_size_raw" in " ".join(found.advice)
    assert "governance.approved_size" not in found.missing


def test_a_state_that_is_sent_again_and_again_is_an_idle_engine_and_no_illness() -> None:
    found = heard(*[telemetry(0)] * 5)
    assert found.healthy
    assert "again and again" in found.advice[0]
    assert found.clock_offset_s is None, "one timestamp may be of any age"


@pytest.mark.parametrize(
    ("server_tz", "ahead_h", "zone"),
    [("UTC", 5, "America/New_York"), ("UTC", -5.5, "Asia/Kolkata"), ("America/New_York", -5, "UTC"), ("UTC", -9, "Asia/Tokyo")],
)
def test_local_time_without_an_offset_tells_the_zone_to_set(server_tz: str, ahead_h: float, zone: str) -> None:
    naive = [telemetry(n) for n in range(4)]
    for n, message in enumerate(naive):
        offset = (START + timedelta(seconds=n)).astimezone(ZoneInfo(server_tz)).replace(tzinfo=None)
        message["data"]["timestamp"] = offset.isoformat()
    found = heard(*naive, ahead_s=ahead_h * 3600, server_tz=server_tz)
    assert found.settings == {"server_tz": zone}
    assert found.naive_time
    assert found.healthy


def test_a_clock_that_is_off_is_told_and_a_little_travel_or_a_seeded_stream_is_not() -> None:
    messages = [telemetry(n) for n in range(4)]
    assert "behind" in heard(*messages, ahead_s=7.5).advice[-1]
    assert "ahead" in heard(*messages, ahead_s=-30).advice[-1]
    assert heard(*messages, ahead_s=7.5).settings == {}
    assert not [piece for piece in heard(*messages, ahead_s=0.4).advice if "clock" in piece]
    assert not [piece for piece in heard(*messages, ahead_s=1e6, origin="synthetic").advice if "clock" in piece]


def test_the_clocks_offset_is_that_of_the_freshest_state_not_of_replayed_ones() -> None:
    replayed_then_fresh = [telemetry(-100), telemetry(-99), telemetry(2)]
    assert heard(*replayed_then_fresh, ahead_s=0.25).clock_offset_s == pytest.approx(0.25)


def test_every_flag_has_a_line_that_says_what_it_means() -> None:
    assert set(stream.MEANINGS) == set(Flag)
    assert all(line and "\n" not in line for line in stream.MEANINGS.values())


def test_a_server_that_invents_a_field_per_message_fills_no_memory() -> None:
    found = heard(*[telemetry(n, **{f"made_up_{n}": 1}) for n in range(300)])
    assert len(found.foreign) == 100


def test_a_diagnosis_is_plain_values_for_json() -> None:
    found = heard(telemetry(0), telemetry(1))
    assert json.loads(json.dumps(found.to_dict()))["dialects"] == {"contract": 2}


@pytest.mark.usefixtures("no_usual_place")
@pytest.mark.parametrize("streams", ["/api/ws/stream", "/api/ws/brain", "/"])
def test_where_a_path_is_refused_the_known_ones_of_that_host_and_port_are_tried(streams: str) -> None:
    def script(peer: Peer) -> None:
        path = peer.read_head().split(b" ")[1].decode()
        if path != streams:
            peer.answer("403 Forbidden", "Content-Length: 0")
            return
        peer.shake().send(b"".join(frame(json.dumps(telemetry(n)).encode()) for n in range(2)))
        peer.until_gone()

    server = RawServer(script)
    found = examine(f"{server.url}/ws/stream", seconds=0.5)
    server.close()
    assert found.url is not None
    assert found.url.rstrip("/") == f"{server.url}{streams}".rstrip("/")
    assert found.settings["url"] == found.url
    assert "no token was sent" in found.problems[0]


def test_unknown_types_and_words_are_named_and_are_no_illness() -> None:
    session = StreamReader()
    items: list[Item] = session.opened(NOW)
    message = json.dumps(telemetry(0, status="PONDERING")).encode()
    items += session.receive(message, NOW)
    items += [session.event(EventKind.UNKNOWN, NOW, UnknownType("NODE_UPDATE", 66)) for _ in range(3)]
    found = diagnose(items, attempts=[Attempt("ws://x", 1.0, None)], url="ws://x", asked=None, seconds=1, settings=Settings.load())
    assert any("NODE_UPDATE (3)" in line for line in found.advice)
    assert any("'PONDERING' (1)" in line for line in found.advice)
    assert found.problems == ()


def test_what_the_server_says_is_wrong_is_a_problem() -> None:
    session = StreamReader()
    items = [*session.opened(NOW), session.event(EventKind.ERROR, NOW, ServerError("connection limit exceeded"))]
    found = diagnose(items, attempts=[Attempt("ws://x", 1.0, None)], url="ws://x", asked=None, seconds=1, settings=Settings.load())
    assert any("connection limit exceeded" in line for line in found.problems)
