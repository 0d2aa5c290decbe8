"""Translation of the messages that deployed engines publish on Redis to those of the stream: pure, without Redis or a clock.

A state goes to every client as TELEMETRY, and so does an event that trading is halted or goes on; the other channels become the
partial packets of deployed bridges, on the engine's socket.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from ccwatch.cottage.broadcaster import Message
from ccwatch.errors import DecodeError
from ccwatch.protocol.canonical_words import LONGEST_WORD, enum_name
from ccwatch.protocol.decoding import codec

STATE, FORCES, FORECASTS, SIGNALS, EVENTS = "state_update", "physics.forces", "forecast.signals", "strategy.signals", "system_events"
CHANNELS: Final = (STATE, FORCES, FORECASTS, SIGNALS, EVENTS)
TICKS: Final = "market.tick."
"""Prefix of the channel of each symbol's ticks."""
HALT_KEY: Final = "SYSTEM:HALT"
"""The key that is "true" while trading is halted."""
STATUS_OF: Final = {"SYSTEM_HALT": "HALT", "SYSTEM_RESUME": "ACTIVE"}
"""The status by event of the system."""
MAX_PAYLOAD_BYTES: Final = 1024 * 1024
BINARY: Final = b"\x89BIN\r\n\x1a\n"
RENAMED: Final = {"alpha_coefficient": "alpha", "momentum": "velocity"}
"""Names of fields in physics.forces, and the stream's names for them."""


def read(raw: bytes) -> dict[str, Any]:
    """Return the object in a published message: raw JSON, or JSON in one of FastStream's two envelopes.

    Raises:
        DecodeError: it is none of the three, or no JSON object.
    """
    if len(raw) > MAX_PAYLOAD_BYTES:
        raise DecodeError(f"more than {MAX_PAYLOAD_BYTES} bytes")
    value = codec.loads(_unframed(raw) if raw.startswith(BINARY) else raw)
    if isinstance(value, dict) and isinstance(value.get("data"), str) and value.keys() <= {"data", "headers"}:
        value = codec.loads(value["data"].encode())
    if not isinstance(value, dict):
        raise DecodeError(f"expected a JSON object, got {type(value).__name__}")
    return value


def _unframed(raw: bytes) -> bytes:
    """Return the body of FastStream's binary frame: magic, version (u16), where headers and body begin (u32 each), big-endian."""
    try:
        version, _, body = struct.unpack_from(">HII", raw, len(BINARY))
    except struct.error:
        raise DecodeError("a binary frame that is cut off") from None
    if version != 1 or not len(BINARY) + 10 <= body <= len(raw):
        raise DecodeError(f"a binary frame of version {version} that cannot be read")
    return raw[body:]


def translate(channel: str, value: dict[str, Any], now: str) -> tuple[Message, bool]:
    """Return a channel's message as one of the stream, and whether it is for the BFF's clients too.

    Args:
        channel: the channel that it was published on.
        value: the published object.
        now: the time, ISO 8601, for a message that carries none.
    """
    if channel == STATE:
        return _state(value), True
    if channel == EVENTS:
        text = f"system_events: {codec.text(value)[:500]}"
        status = status_of(value)
        return (log_message("WARNING", text, now) if status is None else status_message(status, text, now)), True
    head: dict[str, Any] = {"timestamp": value.get("timestamp") or now, "source": channel}
    body = {key: entry for key, entry in value.items() if key != "timestamp"}
    if channel == FORECASTS:
        if "p50" in body and "median" not in body:
            body["median"] = body.pop("p50")
        head["forecast"] = body
    elif channel == SIGNALS:
        if "strength" in body and "confidence" not in body:
            body["confidence"] = body.pop("strength")
        head["signal"] = body
    else:
        vectors = body.pop("vectors", None)
        if isinstance(vectors, dict):
            body |= vectors
        elif vectors is not None:
            body["vectors"] = vectors
        if channel.startswith(TICKS):
            body = {"symbol": channel.removeprefix(TICKS), **body}
        head["market"] = {RENAMED.get(key, key): entry for key, entry in body.items()}
    # No state of its own: a part of one must not be taken for the whole in a welcome or in REST.
    return Message.of(codec.dumps(head), is_state=False, symbol=_text(body.get("symbol"))), False


def status_of(event: dict[str, Any]) -> str | None:
    """Return the status that an event of the system announces, also as a printed enum or in lower case; None where it announces none."""
    return STATUS_OF.get(enum_name(str(event.get("event"))[:LONGEST_WORD].strip()).upper())


def is_set(value: bytes | str | None) -> bool:
    """Return whether the value of a key means yes, as Python and JSON write it."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""
    return text.strip().strip("\"'").lower() in {"true", "1", "yes", "on"}


def status_message(status: str, text: str, now: str) -> Message:
    """Return a message with the status, and with the reason as a line of the log."""
    return _carrying({"status": status}, "ERROR" if status == "HALT" else "WARNING", text, now)


def log_message(level: str, text: str, now: str) -> Message:
    """Return a message that carries a log line and nothing else."""
    return _carrying({}, level, text, now)


def _carrying(fields: dict[str, Any], level: str, text: str, now: str) -> Message:
    line = {"level": level, "message": text, "timestamp": now}
    return Message.of(codec.dumps({"type": "TELEMETRY", "data": {"timestamp": now, **fields, "logs": [line]}}), is_state=False)


def _state(value: dict[str, Any]) -> Message:
    enveloped = value.get("data")
    state: dict[str, Any] = enveloped if isinstance(enveloped, dict) else value
    message = {"type": "TELEMETRY", **value} if state is enveloped else {"type": "TELEMETRY", "data": state}
    market = state.get("market")
    return Message.of(codec.dumps(message), symbol=_text(market.get("symbol") if isinstance(market, dict) else state.get("symbol")))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
