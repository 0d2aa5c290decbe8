"""Parsing of a WebSocket's bytes into messages (RFC 6455, client side): pure, bounded, and without a copy of whole messages.

It knows no socket: the caller fills `space()` and says how much came.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ccwatch.protocol.wire.deflate import InflatedTooLarge, InflateError, Inflater

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
_CONTINUATION: Final = 0x0
_KNOWN: Final = frozenset({_CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})
_COMPRESSED: Final = 0x40
"""RSV1: set on the first frame of a message that is compressed (RFC 7692, section 6)."""
_WHOLE: Final = frozenset({0x80 | TEXT, 0x80 | BINARY})
"""The first byte of nearly every frame: a message that is not fragmented."""
_BUFFER_BYTES: Final = 128 * 1024
"""Some 50 packets: the bytes read at once and the values made of them then stay in the processor's cache."""
_LONGEST_HEADER: Final = 10
_LONGEST_CONTROL: Final = 125


class Message(NamedTuple):
    """A whole message or a control frame. The payload of a message is valid until the next `space()`."""

    opcode: int
    payload: memoryview | bytes


class FramingError(Exception):
    """The peer does not speak RFC 6455; `code` is the close code that says so."""

    code = 1002


class MessageTooLarge(FramingError):
    """A message above the limit was announced, or grew fragment by fragment."""

    code = 1009

    def __init__(self, announced: int, limit: int) -> None:
        """Report a message of `announced` bytes, or, if that is not known, of more than the limit after decompression."""
        super().__init__(f"a message of {announced if announced > limit else f'more than {limit}'} bytes is above the limit of {limit}")
        self.announced = announced
        self.limit = limit


class FrameParser:
    """Holds the bytes of unfinished frames; at most `limit` bytes of one message, even if a header announces more."""

    def __init__(self, limit: int, inflater: Inflater | None = None) -> None:
        """Start a parser at the beginning of a stream.

        Args:
            limit: the most that one message may have, also once it is inflated.
            inflater: where compression was agreed; without it a compressed frame ends the stream.
        """
        self.limit = limit
        self.wire_bytes = 0
        """Bytes of messages on the wire, without the headers of their frames."""
        self.message_bytes = 0
        """Bytes of messages after decompression."""
        self.sizes: list[int] = []
        """Bytes on the wire of each message of the last `filled`."""
        self._inflater = inflater
        self._is_compressed = False  # of the fragments
        self.error: FramingError | None = None
        """The error that ended the stream: set once, after the messages before it were handed out."""
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._start = 0  # of the first unread byte
        self._end = 0
        self._wanted = 0  # bytes of the frame that is not whole yet
        self._fragments: bytearray | None = None
        self._fragments_opcode = 0

    def space(self) -> memoryview:
        """Return the memory that the next bytes are to be written into; never empty."""
        left = self._end - self._start
        fitting = _BUFFER_BYTES if self._wanted <= _BUFFER_BYTES else self._wanted + _BUFFER_BYTES
        if fitting > len(self._buffer) or (fitting < len(self._buffer) and left < fitting):
            # Larger for a large message, and small again after it: fragments may grow to the limit beside it.
            fresh = memoryview(bytearray(fitting))
            fresh[:left] = self._buffer[self._start : self._end]
            self._buffer = fresh
        elif self._start:
            self._buffer[:left] = bytes(self._buffer[self._start : self._end])  # the two may overlap
        self._start, self._end = 0, left
        return self._buffer[left:]

    def filled(self, count: int) -> list[Message]:
        """Take `count` bytes that were written into `space()`; return the messages that are whole now."""
        self._end += count
        messages: list[Message] = []
        self.sizes = []
        try:
            while self._parse_one(messages):
                pass
        except FramingError as error:
            self.error = error
        return messages

    def _parse_one(self, messages: list[Message]) -> bool:
        buffer, at = self._buffer, self._start
        available = self._end - at
        if available < 2:
            return False
        first, length = buffer[at], buffer[at + 1]
        opcode, last = first & 0x0F, bool(first & 0x80)
        is_usual = first in _WHOLE and length < 0x80 and self._fragments is None
        if not is_usual:
            self._judge(opcode, length, reserved=first & 0x70, last=last)
        header = 2
        if length == 126:
            header = 4
        elif length == 127:
            header = _LONGEST_HEADER
        if available < header:
            return False
        if header > 2:
            length = int.from_bytes(buffer[at + 2 : at + header], "big")
        if opcode < CLOSE:
            whole = length + len(self._fragments or b"")
            if whole > self.limit:
                raise MessageTooLarge(whole, self.limit)
        if available < header + length:
            self._wanted = header + length
            return False
        payload = buffer[at + header : at + header + length]
        self._start, self._wanted = at + header + length, 0
        if is_usual:
            self.wire_bytes += length
            self.message_bytes += length
            messages.append(Message(opcode, payload))
            self.sizes.append(length)
        else:
            self._take(opcode, payload, messages, last=last, is_compressed=bool(first & _COMPRESSED))
        return True

    def _judge(self, opcode: int, length: int, *, reserved: int, last: bool) -> None:
        """Refuse a frame by its first two bytes, before anything is kept for it."""
        if reserved and not (reserved == _COMPRESSED and self._inflater is not None and opcode in (TEXT, BINARY)):
            raise FramingError("reserved bits are set, and no extension was agreed that gives them a meaning")
        if opcode not in _KNOWN:
            raise FramingError(f"unknown opcode {opcode}")
        if length & 0x80:
            raise FramingError("a server's frame is masked")
        if opcode >= CLOSE and (length > _LONGEST_CONTROL or not last):
            raise FramingError("a control frame is too long or fragmented")
        if opcode == _CONTINUATION and self._fragments is None:
            raise FramingError("a continuation without a beginning")
        if opcode in (TEXT, BINARY) and self._fragments is not None:
            raise FramingError("a new message began inside a fragmented one")

    def _take(self, opcode: int, payload: memoryview, messages: list[Message], *, last: bool, is_compressed: bool) -> None:
        if opcode >= CLOSE:
            messages.append(Message(opcode, bytes(payload)))
            self.sizes.append(len(payload))
            return
        if self._fragments is None:
            if last:  # not the usual, so it is compressed
                messages.append(self._whole(opcode, payload, is_compressed=is_compressed))
                return
            self._fragments, self._fragments_opcode, self._is_compressed = bytearray(payload), opcode, is_compressed
            return
        self._fragments += payload
        if last:
            messages.append(self._whole(self._fragments_opcode, bytes(self._fragments), is_compressed=self._is_compressed))
            self._fragments = None

    def _whole(self, opcode: int, payload: bytes | memoryview, *, is_compressed: bool) -> Message:
        """Return a message joined from all its fragments, decompressed if it was compressed."""
        wire_bytes = len(payload)
        self.wire_bytes += wire_bytes
        if is_compressed and self._inflater is not None:
            try:
                payload = self._inflater.inflate(payload)
            except InflatedTooLarge:
                raise MessageTooLarge(self.limit, self.limit) from None
            except InflateError as error:
                raise FramingError(str(error)) from None
        self.message_bytes += len(payload)
        self.sizes.append(wire_bytes)
        return Message(opcode, payload)
