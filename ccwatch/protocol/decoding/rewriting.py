"""Packets back to the messages of their dialects: what `tolerant` read, with the values that it kept in `extra` over it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ccwatch.protocol import canonical_words
from ccwatch.protocol.decoding import forecasts, log_lines, service_metrics
from ccwatch.protocol.decoding.dialects import DIALECTS, ENVELOPE
from ccwatch.protocol.decoding.packet_fields import INDEX
from ccwatch.protocol.messages import NAN, Packet


def write(packet: Packet) -> dict[str, Any]:
    """Return the message of a packet, rebuilt from its columns and the fields that were left in `extra`."""
    dialect = next((d for d in DIALECTS if d.name == packet.dialect), DIALECTS[0])
    body: dict[str, Any] = {}
    for section, keys in dialect.places.items():
        into = body.setdefault(section, {}) if section else body
        for key, name in keys.items():
            value = packet[INDEX[name]]
            if value is not None and value is not NAN:
                into[key] = value
    if packet.approved_size_raw is not None:
        section, key = dialect.place_of("approved_size")
        (body[section] if section else body)[key] = float(packet.approved_size_raw)
    stamp = packet.timestamp_raw
    if stamp is not None and stamp[4:5] != "-" and canonical_words.is_epoch(stamp):
        section, key = dialect.place_of("timestamp_raw")
        (body[section] if section else body)[key] = int(stamp) if stamp.isdecimal() else float(stamp)
    body = {key: value for key, value in body.items() if value != {}}
    if packet.agents:
        body["agents"] = service_metrics.write_metrics(packet, "agents")
    if packet.models:
        body["models"] = service_metrics.write_metrics(packet, "models")
    if packet.logs:
        body[dialect.logs] = [log_lines.write_log(line) for line in packet.logs]
    extra = dict(packet.extra)
    if packet.forecasts and (written := forecasts.write_forecast(packet, extra.get(dialect.forecast))):
        body[dialect.forecast] = written
    envelope = extra.pop(ENVELOPE, {}) if dialect.body else {}
    _insert(body, extra)
    message: dict[str, Any] = {"type": str(packet.kind)} if dialect.has_type else {}
    message |= {dialect.body: body} if dialect.body else body
    _insert(message, envelope)
    return message


def _insert(body: dict[str, Any], extra: Mapping[str, Any]) -> None:
    """Put the fields kept in `extra` over the rebuilt ones, path by path; entries of a list go by their position."""
    for key, value in extra.items():
        below = body.get(key)
        if type(below) is dict and type(value) is dict:
            _insert(below, value)
        elif type(below) is list and type(value) is dict:
            for position, entry in value.items():
                below[int(position)] = entry
        else:
            body[key] = value
