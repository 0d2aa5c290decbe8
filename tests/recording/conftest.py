from __future__ import annotations

import json
import time
from itertools import islice

import pytest

from ccwatch.feed.synthetic import messages
from ccwatch.protocol.messages import Event, Instant, Packet, StateChange
from ccwatch.protocol.stream_reader import StreamReader

WALL_NS = 1_767_364_200_000_000_000

OBSERVED = [  # one of each shape of the field notes, and what departs from it
    {"type": "WELCOME", "data": {"timestamp": None, "status": "Initializing", "market": {"price": 0.0, "regime": "Unknown"}, "logs": []}},
    {
        "type": "TELEMETRY",
        "timestamp": "2026-01-02T14:30:01Z",
        "status": "active",
        "market": {"symbol": "QQQ", "price": 400, "history": [1, 2, 3]},
        "forecast": {"median": [1.5, None], "p10": [1.0], "p90": [2.0, 3.0]},
        "signal": {"side": "HOLD", "strategy": "x", "score": 0.4},
        "logs": ["[RISK]: Position approved", "[RISK]: Position approved"],
    },
    {
        "timestamp": "2026-01-02T14:30:02.123456",
        "source": "watchtower",
        "market": {"symbol": "SPY", "price": 450.3, "regime": "LÉVY STABLE (Risky)", "history": []},
    },
    {
        "symbol": "SPY",
        "price": 450.3,
        "nav": 1e5,
        "current_alpha": 2.1,
        "regime": "LÃ©vy Stable",
        "signal_side": "BUY",
        "approved_size": 15000.0,
        "status": "ACTIVE",
        "messages": ["a", {"level": "INFO", "message": "b", "timestamp": "2026-01-02T14:30:00.5Z"}],
        "chronos_forecast": {"median": [1.0]},
    },
    {
        "type": "TELEMETRY",
        "data": {
            "timestamp": "2026-01-02T14:30:04Z",
            "status": "HALTED_PHYSICS",
            "market": {"symbol": "SPY", "price": "449.5", "alpha": {"odd": 1}, "regime": "WAIT"},
            "agents": {"MacroAgent": {"latency_ms": 45, "success_rate": 0.98, "mood": "ok"}, "Odd": 7},
            "models": {"ChronosService": {"latency_ms": 120.5, "invocations": 1523}},
            "logs": [{"level": "INFO", "message": "x\u0000y", "timestamp": "2026-01-02T14:29:58Z"}, 5],
            "sentiment": {"label": "N/A", "score": 0.0},
            "new": {"deep": [1, {"a": None}], "n": 12345678901234567890},
        },
    },
]


def converse(batches, *, server_tz="UTC", step_ns=1_000_000_000):
    """Packets and events of the messages of each connection, as a feed would deliver them."""
    session = StreamReader(server_tz=server_tz, virtual_clock=True)
    items = []
    n = 0
    for batch in batches:
        items += session.opened(Instant(WALL_NS + n * step_ns, n * step_ns), "url=ws://localhost:3000")
        for raw in batch:
            n += 1
            items += session.receive(raw, Instant(WALL_NS + n * step_ns, n * step_ns))
        items += session.closed(Instant(WALL_NS + n * step_ns, n * step_ns), "code=1006")
    return [item for item in items if not isinstance(item, StateChange)]


@pytest.fixture(scope="session")
def conversation():
    return converse


@pytest.fixture(scope="session")
def observed():
    return [json.dumps(message, ensure_ascii=False).encode() for message in OBSERVED]


@pytest.fixture(scope="session")
def usual():
    """300 packets of the seeded stream, with its planted malformed ones, as one connection."""
    return converse([list(islice(messages(3, "malformed", 1.0), 300))])


@pytest.fixture(scope="session")
def varied(observed):
    """All shapes, repeats within a connection, replays after a reconnect, and bytes that are no message."""
    some = list(islice(messages(5, "calm", 1.0), 12))
    first = [*observed, observed[-1], *some, some[-1], b"\xff\x00 no JSON", b'{"type":"TELEMETRY","data":{"price":NaN}}', b"[]"]
    return converse([first, [*some[-3:], *observed[1:3], b'{"type":"TELEMETRY","data":{"status":"ACTIVE","market":{"price":NaN}}}']])


def wait_until(holds, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


@pytest.fixture(scope="session")
def eventually():
    return wait_until


@pytest.fixture(scope="session")
def packets_of():
    return lambda items: [item for item in items if isinstance(item, Packet)]


@pytest.fixture(scope="session")
def events_of():
    return lambda items: [item for item in items if isinstance(item, Event)]
