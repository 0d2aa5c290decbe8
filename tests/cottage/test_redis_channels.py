"""What deployed engines publish on Redis, in each of its encodings, and what becomes of it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from ccwatch.cottage.redis_channels import is_set, read, status_of, translate
from ccwatch.errors import DecodeError
from ccwatch.protocol.decoding import codec

NOW = "2026-11-27T14:00:05Z"
SAMPLES = [
    json.loads(line) for line in (Path(__file__).parents[1] / "deployed/redis-messages.jsonl").read_text(encoding="utf-8").splitlines()
]
# As FastStream 0.7.8's BinaryMessageFormatV1 lays out {"symbol":"SPY","price":1.5} with two headers.
FASTSTREAM = base64.b64decode(
    "iUJJTg0KGgoAAQAAABIAAABJAAIADmNvcnJlbGF0aW9uX2lkAANhYmMADGNvbnRlbnQtdHlwZQAQYXBwbGljYXRpb24vanNvbnsic3ltYm9sIjoiU1BZIiwicHJpY2UiOjEuNX0="
)


# ── encodings ──


@pytest.mark.parametrize(
    "raw",
    [
        b'{"symbol":"SPY","price":1.5}',
        b'{"data":"{\\"symbol\\":\\"SPY\\",\\"price\\":1.5}","headers":{"correlation_id":"abc"}}',
        b'{"data":"{\\"symbol\\":\\"SPY\\",\\"price\\":1.5}"}',
        FASTSTREAM,
    ],
)
def test_each_of_the_three_encodings_is_read(raw):
    assert read(raw) == {"symbol": "SPY", "price": 1.5}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"nonsense",
        b"[1]",
        b'{"data":"no json"}',
        FASTSTREAM[:9],
        FASTSTREAM[:20],
        FASTSTREAM[:-3],
        b"\x89BIN\r\n\x1a\n" + b"\xff" * 20,
    ],
)
def test_what_is_none_of_them_is_refused(raw):
    with pytest.raises(DecodeError):
        read(raw)


def test_any_bytes_behind_the_binary_mark_are_read_or_refused():
    for at in range(8, len(FASTSTREAM)):
        for bit in range(8):
            broken = bytearray(FASTSTREAM)
            broken[at] ^= 1 << bit
            try:
                read(bytes(broken))
            except DecodeError:
                continue


# ── channels ──


@pytest.mark.parametrize(
    ("channel", "value", "fields"),
    [
        (
            "physics.forces",
            {"symbol": "SPY", "price": 450.3, "alpha_coefficient": 1.7, "momentum": 0.2},
            {"alpha": 1.7, "velocity": 0.2, "price": 450.3},
        ),
        ("strategy.signals", {"side": "HOLD", "strength": 0.7}, {"side": "FLAT", "confidence": 0.7}),
        ("market.tick.QQQ", {"price": 390.5}, {"symbol": "QQQ", "price": 390.5}),
    ],
)
def test_parts_become_partial_packets_on_their_columns_for_the_engines_clients(channel, value, fields):
    message, for_everybody = translate(channel, value, NOW)
    packet = codec.decode(message.payload)
    assert packet.kind == "PARTIAL"
    assert {name: getattr(packet, name) for name in fields} == fields
    assert not for_everybody
    assert not message.is_state


def test_a_forecast_becomes_its_steps():
    message, _ = translate("forecast.signals", {"p10": [1.0, 2.0], "p50": [3.0, 4.0], "p90": [5.0, 6.0], "horizon": 2}, NOW)
    assert [tuple(point) for point in codec.decode(message.payload).forecasts] == [(1, 1.0, 3.0, 5.0), (2, 2.0, 4.0, 6.0)]


def test_nothing_that_a_channel_carried_is_lost():
    message, _ = translate("physics.forces", {"symbol": "SPY", "price": 1.0, "mass": 3.5, "timestamp": "2026-01-02T10:00:00Z"}, NOW)
    assert json.loads(message.payload)["market"]["mass"] == 3.5


def sample(channel: str, at: int = 0) -> dict:
    return read([line["payload"] for line in SAMPLES if line.get("channel") == channel][at].encode())


def test_forces_are_read_nested_as_they_are_published_and_flat() -> None:
    nested, flat = (codec.decode(translate("physics.forces", sample("physics.forces", at), NOW)[0].payload) for at in (0, 1))
    for packet in (nested, flat):
        assert (packet.symbol, packet.price, packet.alpha, packet.velocity) == ("SPY", 451.25, 1.7, 0.4)
    rest = dict(nested.extra["market"])
    assert rest == {"mass": 1200.0, "entropy": 2.1, "jerk": 0.01, "nash_dist": 0.3}


def test_a_signal_and_a_tick_are_read_as_they_are_published() -> None:
    signal = codec.decode(translate("strategy.signals", sample("strategy.signals"), NOW)[0].payload)
    assert (signal.side, signal.confidence) == ("SELL", 0.6)
    tick = codec.decode(translate("market.tick.SPY", sample("market.tick.SPY"), NOW)[0].payload)
    assert (tick.symbol, tick.price) == ("SPY", 451.3)


def test_a_forecast_keeps_its_horizon_and_that_it_is_a_mock() -> None:
    heard = json.loads(translate("forecast.signals", sample("forecast.signals"), NOW)[0].payload)
    assert heard["forecast"] == {
        "symbol": "SPY", "p10": 440.0, "median": 452.0, "p90": 460.0, "horizon": 10, "confidence": 0.8, "is_synthetic": True
    }  # fmt: skip


@pytest.mark.parametrize(
    ("event", "status"),
    [("SYSTEM_HALT", "HALT"), ("SYSTEM_RESUME", "ACTIVE"), ("SystemEvent.SYSTEM_HALT", "HALT"), ("system_resume", "ACTIVE")],
)
def test_an_event_of_the_system_is_the_status_for_everybody(event: str, status: str) -> None:
    message, for_everybody = translate("system_events", {**sample("system_events"), "event": event}, NOW)
    packet = codec.decode(message.payload)
    assert for_everybody
    assert packet.status == status
    assert "Manual Kill Switch" in packet.logs[0].message


def test_another_event_is_a_line_of_the_log_and_says_nothing_of_the_status() -> None:
    message, for_everybody = translate("system_events", {"event": "DEPLOYED"}, NOW)
    assert for_everybody
    assert codec.decode(message.payload).status is None
    assert status_of({"event": "DEPLOYED"}) is None


def test_the_key_of_a_halt_is_set_as_python_and_json_write_it() -> None:
    assert all(is_set(value) for value in (b"true", b"True", b"TRUE", b"1", b'"true"', b" true\n"))
    assert not any(is_set(value) for value in (None, b"", b"false", b"False", b"0", b"null"))


def test_a_signal_that_names_its_confidence_keeps_it() -> None:
    message, _ = translate("strategy.signals", {"symbol": "SPY", "side": "SELL", "confidence": 0.4}, NOW)
    assert codec.decode(message.payload).confidence == 0.4
