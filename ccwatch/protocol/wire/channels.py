"""The channels of protocol 2: the part of a contract message that each of them carries, as JSON texts that the decoder reads.

`market`, `logs` and `trades` carry the time of the message that they are of, so that their rows have the times that a contract client
gives them. `logs` is the message's whole list, sent when it changes: a receiver knows which lines are new, as with the contract.
"""

from __future__ import annotations

from typing import Any, Final

from ccwatch.errors import DecodeError
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.decoding.log_lines import write_log
from ccwatch.protocol.messages import NAN, LogLine, Packet
from ccwatch.protocol.wire.channel_sender import Sent, Track
from ccwatch.protocol.wire.envelope import CHANNELS

MARKET_FIELDS: Final = ("symbol", "price", "alpha", "regime", "velocity", "acceleration")
WITHOUT_LOGS: Final = "state without logs"
"""The messages of the channel `state` for who asks for the channel `logs` as well."""


class Channels:
    """The channels of one stream: every message, numbered on each channel that it is part of. Used by one thread.

    `state` is numbered from the beginning; the others from when someone first asks for them.
    """

    def __init__(self, epoch: str) -> None:
        self._tracks = {"state": Track("state", epoch)}
        self._epoch = epoch
        self._lines: list[Any] | None = None
        self._is_shared = False  # whether other servers give the same numbers
        self._beats = 0
        self._order = 0

    @property
    def epoch(self) -> str:
        """Return the name of the present numbering."""
        return self._tracks["state"].epoch

    def track(self, ch: str, *, has_logs: bool = False) -> Track:
        """Return a channel, numbered from now on if it was not yet; `has_logs` is whether the receiver asks for `logs` as well."""
        name = WITHOUT_LOGS if ch == "state" and has_logs else ch
        found = self._tracks.get(name)
        if found is None:
            found = self._tracks[name] = Track(ch, self.epoch)
            state = self._tracks["state"]
            if name == WITHOUT_LOGS and not self._is_shared:
                found.begin_after(state.seq)
            if self._is_shared and ch != "heartbeat":
                self._fill(name, found, state)
        return found

    def _fill(self, name: str, track: Track, state: Track) -> None:
        """Number what is kept of the stream on a channel that begins, so that clients of another server can resume it here."""
        track.begin_after(state.known_after)
        for message in state.sent:
            if message.epoch != state.epoch:
                continue
            number = (message.epoch, message.seq)
            if name == WITHOUT_LOGS:
                track.add(_without_logs(message.text), number=number).order = message.order
            elif (packet := _packet(message.text)) is not None and (part := self._part(name, packet)) is not None:
                track.add(codec.dumps(part), number=number).order = message.order

    def publish(self, text: bytes, *, number: tuple[str, int] | None = None) -> dict[str, Sent]:
        """Take a message of the stream; return what it is on each channel that carries a part of it, in the order of sending.

        Args:
            text: the message, as a contract client gets it.
            number: epoch and number that a shared stream has given it.
        """
        self._is_shared = number is not None
        found = {"state": self._tracks["state"].add(text, number=number)}
        if len(self._tracks) > 1:
            self._publish_parts(text, number, found)
        for sent in found.values():
            self._order += 1
            sent.order = self._order
        return found

    def _publish_parts(self, text: bytes, number: tuple[str, int] | None, found: dict[str, Sent]) -> None:
        packet = _packet(text)
        without = self._tracks.get(WITHOUT_LOGS)
        if without is not None:
            found[WITHOUT_LOGS] = without.add(_without_logs(text), number=number)
        for ch in ("market", "logs", "trades"):
            track = self._tracks.get(ch)
            part = None if track is None or packet is None else self._part(ch, packet)
            if track is not None and part is not None:
                found[ch] = track.add(codec.dumps(part), number=number)

    def beat(self, time: str) -> Sent:
        """Return a heartbeat, which says where each channel is."""
        track = self.track("heartbeat")
        self._beats += 1
        at = {ch: self._tracks[ch].seq for ch in CHANNELS if ch in self._tracks and ch != "heartbeat"}
        return track.add(codec.dumps({"count": self._beats, "time": time, "at": at}))

    def _part(self, ch: str, packet: Packet) -> dict[str, Any] | None:
        head = {} if packet.timestamp_raw is None else {"timestamp": packet.timestamp_raw}
        if ch == "market":
            market = _market(packet)
            return {**head, "market": market} if market else None
        if ch == "trades":
            lists = {key: packet.extra[key] for key in ("trades", "fills") if key in packet.extra}
            return {**head, **lists} if packet.trades and lists else None
        lines = [_line(line) for line in packet.logs]
        if not lines or lines == self._lines:
            return None
        self._lines = lines
        return {**head, "logs": lines}


def _packet(text: bytes) -> Packet | None:
    try:
        return codec.decode(text)
    except DecodeError:
        return None


def _market(packet: Packet) -> dict[str, Any]:
    values = (packet.symbol, packet.price, packet.alpha, packet.regime_raw, packet.velocity, packet.acceleration)
    return {name: value for name, value in zip(MARKET_FIELDS, values, strict=True) if value is not None and value is not NAN}


def _line(line: LogLine) -> Any:
    return {"level": line.level, "message": line.message} if line.level and line.log_time_raw is None else write_log(line)


def _without_logs(text: bytes) -> bytes:
    """Return a message without its log lines; what cannot be read stays as it is."""
    try:
        message = codec.loads(text)
    except DecodeError:
        return text
    if type(message) is not dict:
        return text
    body: dict[str, Any] = message
    if type(message.get("data")) is dict:
        body = message["data"]
    gone = [key for key in ("logs", "messages") if type(body.get(key)) is list]
    for key in gone:
        del body[key]
    return codec.dumps(message) if gone else text
