"""The sending end of one channel: numbers its messages, keeps the last ones, and makes each form of a message once.

It knows no client: which form a client gets is decided in `client_state`.
"""

from __future__ import annotations

import base64
from collections import deque
from typing import Any, Final

from ccwatch.errors import DecodeError
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.wire import delta, envelope, packing
from ccwatch.protocol.wire.packing import Encoding

RING: Final = 512
"""The most messages of a channel that a client can still be given after a cut."""
RING_BYTES: Final = 4 * 1024 * 1024
STEP: Final = 4096
"""The distance of the numbers of two entries of a stream that several servers share: the most messages that one entry may hold."""
WHOLE_EVERY: Final = 120
"""Every so many messages one is sent whole to all clients."""
LARGEST_FOR_DELTAS: Final = 64 * 1024
"""Larger messages are sent whole: comparing them costs more than it saves."""


class Sent:
    """One message of a channel, and the forms in which clients get it, each made for the first client that needs it."""

    __slots__ = ("_forms", "_kind", "_value", "before", "ch", "crc", "epoch", "is_whole", "order", "prev", "seq", "text")

    def __init__(self, ch: str, text: bytes, seq: int, before: Sent | None, epoch: str, prev: int, *, is_whole: bool) -> None:
        self.ch, self.text, self.seq, self.epoch, self.prev = ch, text, seq, epoch, prev
        self.before = before
        """The message before it, while it is the last one; deltas are made of the two."""
        self.is_whole = is_whole
        """Whether all clients are sent it whole."""
        self.order = 0
        """Its place among the messages of all channels."""
        self.crc = -1
        self._kind = ""
        self._value: Any = None
        self._forms: dict[tuple[Encoding, bool], bytes] = {}

    def payload(self, encoding: Encoding, *, as_delta: bool, ref: int | None = None) -> bytes:
        """Return the message as it is sent.

        Args:
            encoding: JSON or MessagePack.
            as_delta: as a delta, where that is possible and smaller.
            ref: the RESYNC that it answers.
        """
        if ref is not None:
            return packing.pack({**self._envelope(), "data": self._data(), "ref": ref}, encoding)
        key = (encoding, as_delta and not self.is_whole)
        found = self._forms.get(key)
        if found is None:
            found = self._forms[key] = self._smaller(encoding) if key[1] else self._whole(encoding)
        return found

    @property
    def value(self) -> Any:
        """Return the message as a value whose JSON is exactly its text; None where there is none."""
        self._look()
        return self._value

    def forget(self) -> None:
        """Free what was made of the text; it is made again where it is asked for."""
        self._kind, self._value = "", None
        self._forms.clear()

    def _look(self) -> None:
        """Find out, once, what sort of message it is."""
        if self._kind:
            return
        self.crc = packing.checksum(self.text)
        kind, value = envelope.TYPE_OF.get(self.ch, "MESSAGE"), None
        try:
            value = codec.loads(self.text)
            if type(value) is not dict or packing.text_of(value) != self.text or not self._is_shallow(value):
                value = None
        except DecodeError:
            value = None
        if value is None:
            kind = "TEXT" if _is_text(self.text) else "BYTES"
        elif self.ch == "state" and list(value) == ["type", "data"] and value["type"] in envelope.CONTRACT_TYPES:
            kind = value["type"]
        self._value, self._kind = value, kind

    def _is_shallow(self, value: Any) -> bool:
        """Return whether a value of JSON is not too deep for a receiver; one with few objects and lists cannot be."""
        return self.text.count(b"{") + self.text.count(b"[") < packing.MOST_LEVELS or packing.is_plain(value)

    def _envelope(self) -> dict[str, Any]:
        self._look()
        return {"type": self._kind, "ch": self.ch, "seq": self.seq, "prev": self.prev, "epoch": self.epoch, "crc": self.crc}

    def _data(self) -> Any:
        if self._value is None:
            return self.text.decode() if self._kind == "TEXT" else base64.b64encode(self.text).decode()
        return self._value["data"] if self._kind in envelope.CONTRACT_TYPES else self._value

    def _whole(self, encoding: Encoding) -> bytes:
        head = self._envelope()
        if encoding == "msgpack" or self._value is None:
            return packing.pack({**head, "data": self._data()}, encoding)
        # The text has its data in JSON already: it is not written again.
        data = self.text[len(b'{"type":"","data":') + len(self._kind) : -1] if self._kind in envelope.CONTRACT_TYPES else self.text
        return b"".join((packing.pack(head, "json")[:-1], b',"data":', data, b"}"))

    def _smaller(self, encoding: Encoding) -> bytes:
        if self.before is None or len(self.text) > LARGEST_FOR_DELTAS:
            return self._whole(encoding)
        change = delta.diff(self.before.value, self.value)
        if change is None or not delta.is_within_bounds(change):
            return self._whole(encoding)
        made = packing.pack({**self._envelope(), "type": envelope.DELTA, "delta": change}, encoding)
        if 2 * len(made) < len(self.text):  # smaller than any whole form
            return made
        whole = self._whole(encoding)
        return made if len(made) < len(whole) else whole


def _is_text(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


class Track:
    """The messages of one channel, numbered from 1 in one epoch, or by the numbers of a stream that several servers share."""

    def __init__(self, ch: str, epoch: str, *, ring: int = RING) -> None:
        self.ch, self.epoch = ch, epoch
        self._sent: deque[Sent] = deque()
        self._bytes = 0
        self._ring = ring
        self._count = 0
        self._floor = 0
        self._known_after = 0  # every message of this epoch with a higher number is kept

    def begin_after(self, seq: int) -> None:
        """Count on from a number, as another form of the same channel does."""
        self._floor = self._known_after = seq

    @property
    def sent(self) -> tuple[Sent, ...]:
        """Return the messages that are kept, the oldest first."""
        return tuple(self._sent)

    @property
    def known_after(self) -> int:
        """Return the number after which every message of the present epoch is kept."""
        return self._known_after

    @property
    def latest(self) -> Sent | None:
        """Return the last message; None before the first."""
        return self._sent[-1] if self._sent else None

    @property
    def seq(self) -> int:
        """Return the number of the last message; 0 before the first."""
        latest = self.latest
        return self._floor if latest is None or latest.epoch != self.epoch else latest.seq

    def add(self, text: bytes, *, number: tuple[str, int] | None = None) -> Sent:
        """Number a message and keep it.

        Args:
            text: the JSON text that a contract client gets.
            number: epoch and number that a shared stream has given it; None counts on.
        """
        before, prev = self.latest, self.seq
        if number is not None:
            prev = self._before(number)
        seq = self.seq + 1 if number is None else number[1]
        sent = Sent(self.ch, text, seq, before, self.epoch, prev, is_whole=self._count % WHOLE_EVERY == 0)
        if before is not None:
            if before.before is not None:
                before.before.forget()
            before.before = None
        self._count += 1
        self._sent.append(sent)
        self._bytes += len(text)
        while len(self._sent) > self._ring or (self._bytes > RING_BYTES and len(self._sent) > 2):
            gone = self._sent.popleft()
            self._bytes -= len(gone.text)
            if gone.epoch == self.epoch:
                self._known_after = gone.seq
        return sent

    def _before(self, number: tuple[str, int]) -> int:
        """Return the number of the message before one of a shared stream, and begin its epoch if it is another one."""
        epoch, seq = number
        entry_before = max(0, seq // STEP - 1) * STEP
        if epoch != self.epoch or seq <= self.seq:
            if epoch == self.epoch:  # numbers that went back say nothing of what is kept
                self._sent.clear()
                self._bytes = 0
            self.epoch, self._count, self._floor, self._known_after = epoch, 0, entry_before, entry_before
            return entry_before
        # `state` has a message of each entry: a hole in the numbers is one in the stream.
        return self.seq if self.ch != "state" or self.seq >= entry_before else entry_before

    def since(self, epoch: str, seq: int) -> list[Sent] | None:
        """Return the messages after number `seq`; None where they are not all known, or the number belongs to another numbering.

        A server that shares the stream may be behind its client, who came from another one: then there are none yet.
        """
        if epoch == self.epoch:
            return [sent for sent in self._sent if sent.epoch == epoch and sent.seq > seq] if seq >= self._known_after else None
        # The epoch has ended since: what was left of it comes first, and the next one begins with a hole.
        at = next((place for place, sent in enumerate(self._sent) if sent.epoch == epoch and sent.seq == seq), None)
        return None if at is None else list(self._sent)[at + 1 :]
