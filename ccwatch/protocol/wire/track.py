"""The sending end of one channel: numbers its messages, keeps the last ones, and makes each form of a message once.

It knows no client: which form a client gets is decided in `talk`.
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

    def begin_after(self, seq: int) -> None:
        """Count on from a number, as another form of the same channel does."""
        self._floor = seq

    @property
    def latest(self) -> Sent | None:
        """Return the last message; None before the first."""
        return self._sent[-1] if self._sent else None

    @property
    def seq(self) -> int:
        """Return the number of the last message; 0 before the first."""
        return self._sent[-1].seq if self._sent else self._floor

    def add(self, text: bytes, *, number: tuple[str, int] | None = None) -> Sent:
        """Number a message and keep it.

        Args:
            text: the JSON text that a contract client gets.
            number: epoch and number that a shared stream has given it; None counts on.
        """
        if number is not None and (number[0] != self.epoch or number[1] <= self.seq):
            self._sent.clear()
            self._bytes = self._count = self._floor = 0
            self.epoch = number[0]
        before = self.latest
        seq = self.seq + 1 if number is None else number[1]
        sent = Sent(self.ch, text, seq, before, self.epoch, self.seq, is_whole=self._count % WHOLE_EVERY == 0)
        if before is not None:
            if before.before is not None:
                before.before.forget()
            before.before = None
        self._count += 1
        self._sent.append(sent)
        self._bytes += len(text)
        while len(self._sent) > self._ring or (self._bytes > RING_BYTES and len(self._sent) > 2):
            self._bytes -= len(self._sent.popleft().text)
        return sent

    def since(self, epoch: str, seq: int) -> list[Sent] | None:
        """Return the messages after number `seq`; None where they are not all known, or the number belongs to another numbering."""
        if epoch != self.epoch or seq > self.seq:
            return None
        found = [sent for sent in self._sent if sent.seq > seq]
        return found if not found or found[0].prev == seq else None
