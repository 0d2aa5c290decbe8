"""The receiving end of protocol 2: bytes and time in, texts and duties out. It knows no socket, no thread and no clock.

It says HELLO where the server may be sent texts, takes messages whose number and checksum fit, asks for a whole one (RESYNC) where they
do not, and says what was lost. What it hands on is the JSON text that a contract client would have got.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from ccwatch.domain.limits import SECOND
from ccwatch.errors import DecodeError
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.wire import delta, envelope, hello, packing
from ccwatch.protocol.wire.envelope import Envelope
from ccwatch.protocol.wire.hello import Got, Want
from ccwatch.protocol.wire.outputs import Agreed, Alive, Answer, LostMessages, Note, Odd, Output, Say, Text

Protocol = Literal["auto", 1, 2]

ANSWER_NS: Final = 5 * SECOND
"""How long a server may take to answer HELLO."""
RESUME_NS: Final = 30 * SECOND
"""The same where a stream is to be resumed, and what comes meanwhile is held back: once that was given, what was missed comes too late."""
RESYNC_NS: Final = SECOND
"""The shortest time between two RESYNCs; it doubles while no whole message comes."""
LONGEST_RESYNC_NS: Final = 30 * SECOND
MOST_HELD: Final = 512
MOST_HELD_BYTES: Final = 8 * 1024 * 1024
MOST_STRAY: Final = 3
"""So many messages in a row with numbers of the past mean that the numbers cannot be believed."""
_CONTROL: Final = frozenset({"HELLO", "ACK", "NACK"})


@dataclass
class _Place:
    """Where one channel is."""

    epoch: str = ""
    seq: int = 0
    value: Any = None
    """The last message, for a delta to follow; None where none can."""
    at_ns: int = 0
    """When it came."""
    lost: str = ""
    """Why messages are missing since; empty where none are."""
    strays: int = 0


@dataclass
class _Resync:
    """The RESYNCs of a connection."""

    ref: int = 0
    open_for: set[str] = field(default_factory=set)
    """The channels for which the last one has not been answered."""
    due_ns: int | None = None
    wait_ns: int = RESYNC_NS
    next_ns: int = 0
    """When the next one may be sent."""


class Receiver:
    """The receiving end of one feed, across its connections. Used by one thread."""

    def __init__(
        self,
        *,
        protocol: Protocol = "auto",
        channels: tuple[str, ...] | None = None,
        encodings: tuple[str, ...] | None = None,
        delta: bool = True,
    ) -> None:
        """Start without a connection.

        Args:
            protocol: 1 never asks for protocol 2; "auto" asks servers whose handshake names it, 2 also others that may be sent texts.
            channels: the channels to ask for; None is `state`.
            delta: whether to ask for deltas.
            encodings: the encodings to ask for, the best first; None is all of them, the smaller first.
        """
        self._protocol = protocol
        self._encodings = encodings
        self._want = Want(encodings or packing.ENCODINGS, delta=delta, channels=channels or ("state",))
        self._places: dict[str, _Place] = {}
        self._resync = _Resync()
        self._got: Got | None = None  # of this connection
        self._ref = 0
        self._hello_ref: int | None = None  # of the HELLO that waits for its answer
        self._wants_to_ask = False
        self._ask_until_ns: int | None = None
        self._held: list[bytes] | None = None
        self._held_bytes = 0
        self.resyncs = 0
        """RESYNCs so far, over all connections."""
        self.discarded = 0
        """Messages that were not taken, over all connections."""

    @property
    def is_plain(self) -> bool:
        """Return whether the connection speaks protocol 1, and no answer to a HELLO is waited for."""
        return self._got is None and self._hello_ref is None and self._held is None

    @property
    def got(self) -> Got | None:
        """Return what the open connection was granted; None where it speaks protocol 1."""
        return self._got

    def next_ref(self) -> int:
        """Return a number for a request of this feed."""
        self._ref += 1
        return self._ref

    # ── the connection ──

    def opened(self, now_ns: int, *, is_capable: bool, is_compressed: bool = False) -> None:
        """Begin a connection.

        Args:
            now_ns: when, on the monotonic clock.
            is_capable: whether the handshake names protocol 2.
            is_compressed: whether compression was agreed: then JSON is the smaller encoding, else MessagePack.
        """
        if self._encodings is None:
            self._want = replace(self._want, encodings=packing.ENCODINGS[::-1] if is_compressed else packing.ENCODINGS)
        self._got = None
        self._resync = _Resync(next_ns=self._resync.next_ns)
        self._wants_to_ask = self._protocol == 2 or (self._protocol == "auto" and is_capable)
        self._hello_ref, self._ask_until_ns = None, None
        self._held = [] if is_capable and self._wants_to_ask and self._places else None
        self._held_bytes = 0
        if self._held is not None:
            self._ask_until_ns = now_ns + RESUME_NS
        for place in self._places.values():
            place.value, place.lost, place.strays = None, "", 0

    def closed(self) -> list[Output]:
        """End a connection; what was held back is dropped, since the next one resumes before it."""
        self._got, self._wants_to_ask, self._hello_ref, self._ask_until_ns = None, False, None, None
        self._release()
        return []

    def due(self, now_ns: int, *, may_text: bool) -> list[Output]:
        """Return what time alone makes due: a HELLO, a RESYNC, or that the server has not answered."""
        found: list[Output] = []
        if self._wants_to_ask and may_text:
            self._wants_to_ask = False
            self._hello_ref = self.next_ref()
            self._ask_until_ns = now_ns + (ANSWER_NS if self._held is None else RESUME_NS)
            found.append(Say(hello.write_hello(self._hello_ref, self._asked())))
        if self._ask_until_ns is not None and now_ns >= self._ask_until_ns:
            self._ask_until_ns = None
            found += [Note("protocol=1 the server has not answered HELLO"), *self._give_up_resuming(now_ns)]
        resync = self._resync
        if self._got is not None and resync.due_ns is not None and now_ns >= resync.due_ns and may_text:
            lost = [ch for ch, place in self._places.items() if place.lost]
            resync.ref, resync.open_for = self.next_ref(), set(lost)
            resync.next_ns = now_ns + resync.wait_ns
            resync.wait_ns = min(2 * resync.wait_ns, LONGEST_RESYNC_NS)
            resync.due_ns = resync.next_ns
            self.resyncs += 1
            found.append(Say(codec.dumps({"type": "RESYNC", "ref": resync.ref, "channels": lost})))
        return found

    def wait_ns(self, now_ns: int) -> int | None:
        """Return the ns until `due` may have something new; None for not before something comes."""
        moments = [moment for moment in (self._ask_until_ns, self._resync.due_ns) if moment is not None]
        return max(0, min(moments) - now_ns) if moments else None

    # ── arrivals ──

    def receive(self, payload: bytes | memoryview, now_ns: int, *, is_binary: bool) -> list[Output]:
        """Take one message; return what it is."""
        if self._got is None:
            return self._receive_plain(payload, now_ns, is_binary=is_binary)
        encoding = self._got.encoding
        if is_binary and encoding == "json":
            return self._odd("a binary message, and JSON was agreed", payload)
        try:
            message = packing.unpack(payload, "msgpack" if is_binary else "json")
            if "ch" not in message and str(message.get("type")) in _CONTROL:
                return self._control(message, payload, now_ns)
            found = envelope.read(message)
        except DecodeError as error:
            return [*self._odd(error.reason, payload), *self._all_lost(now_ns)]
        if not is_binary and encoding == "msgpack":
            return self._odd("a message of the stream in JSON, and MessagePack was agreed", payload)
        if found.ch not in self._got.channels:
            return self._odd(f"the channel {found.ch} was not asked for", payload)
        return self._take(found, payload, now_ns)

    def _receive_plain(self, payload: bytes | memoryview, now_ns: int, *, is_binary: bool) -> list[Output]:
        if self._hello_ref is not None and not is_binary:
            head = bytes(payload[:256])
            if b'"HELLO"' in head or b'"NACK"' in head:
                try:
                    message = packing.unpack(payload, "json")
                except DecodeError:
                    message = {}
                if str(message.get("type")) in {"HELLO", "NACK"}:
                    return self._control(message, payload, now_ns)
        if self._held is None:
            return [Text(bytes(payload) if type(payload) is memoryview else payload)]
        self._held.append(bytes(payload))
        self._held_bytes += len(payload)
        while len(self._held) > MOST_HELD or self._held_bytes > MOST_HELD_BYTES:
            self._held_bytes -= len(self._held.pop(0))  # it is among what is resumed, or within the gap before the newest ones
        return []

    def _release(self) -> list[Output]:
        """Deliver the messages that were held back, and hold back no more."""
        held, self._held, self._held_bytes = self._held or [], None, 0
        return [Text(text) for text in held]

    def _give_up_resuming(self, now_ns: int) -> list[Output]:
        """Read the stream as a client of the contract does: after a hole of unknown size, where it was to be resumed."""
        state = None if self._held is None else self._places.get("state")
        hole = [] if state is None else [LostMessages("state", None, (now_ns - state.at_ns) / SECOND, "disconnect")]
        return [*hole, *self._release()]

    def _odd(self, reason: str, payload: bytes | memoryview) -> list[Output]:
        self.discarded += 1
        return [Odd(reason, bytes(payload))]

    # ── control ──

    def _control(self, message: Mapping[str, Any], payload: bytes | memoryview, now_ns: int) -> list[Output]:
        kind, ref = message.get("type"), message.get("ref")
        if len(payload) > hello.LONGEST_TEXT:
            return self._odd(f"{kind} of more than {hello.LONGEST_TEXT} bytes", payload)
        if kind == "HELLO":
            return self._agree(message, payload, now_ns)
        code, reason = (str(message.get(name, ""))[:200] for name in ("code", "reason"))
        if kind == "NACK" and ref is not None and ref == self._hello_ref and self._got is None:
            self._hello_ref = self._ask_until_ns = None
            return [Note(f"protocol=1 the server refuses HELLO: {code}: {reason}"), *self._give_up_resuming(now_ns)]
        if kind == "ACK" and self._got is not None:
            self._move(message, now_ns, answers=ref is not None and ref == self._resync.ref)
        return [Answer(ref if type(ref) in {int, str} else None, kind == "ACK", code, reason)]

    def _agree(self, message: Mapping[str, Any], payload: bytes | memoryview, now_ns: int) -> list[Output]:
        if self._got is not None:
            return self._odd("HELLO twice", payload)
        if self._hello_ref is None or message.get("ref") != self._hello_ref:
            return self._odd("HELLO, and none was asked for", payload)
        try:
            got = hello.read_got(message, self._want)
        except DecodeError as error:
            self._hello_ref = self._ask_until_ns = None
            return [*self._odd(error.reason, payload), *self._give_up_resuming(now_ns)]
        was_held = self._held is not None
        asked = bool(self._asked().epoch)
        known = [ch for ch in self._asked().seq if ch in got.channels]
        main = ["state"] if "state" in known else known  # what is held back is of this channel
        recovered = not asked or (was_held and all(got.recovered.get(ch, False) for ch in main))
        self._hello_ref = self._ask_until_ns = None
        self._got = got
        found: list[Output] = [Agreed(got, recovered)]
        if got.refused:
            found.append(Note(f"channels={','.join(got.refused)} the server has no such channel"))
        greeted = 0 if self._held is None or (asked and recovered) else len(self._held)
        held: list[Output] = self._release()
        if asked and recovered:
            held = []  # all of it comes again, by its numbers
        for ch in got.channels:
            place = self._places.get(ch)
            is_resumed = ch in known and got.recovered.get(ch, False)
            if asked and place is not None and not is_resumed:
                count = self._count(ch, place, got.epoch, got.at.get(ch, 0))
                if count is not None and ch == "state":
                    count = max(0, count - greeted)  # of these the greeting brought the last ones
                if count != 0:
                    found.append(LostMessages(ch, count, (now_ns - place.at_ns) / SECOND, "disconnect"))
            epoch = place.epoch if place is not None and is_resumed and ch != "heartbeat" else got.epoch
            self._places[ch] = _Place(epoch, got.at.get(ch, 0), at_ns=now_ns if place is None else place.at_ns)
        return [*found, *held]  # the hole is before the greeting

    def _count(self, ch: str, place: _Place, epoch: str, last: int) -> int | None:
        """Return how many messages there are between a place and a later one, its last included; None where the numbers do not say."""
        got = self._got
        if got is None or epoch != place.epoch or last < place.seq or ch == "heartbeat":
            return None
        if got.counted:
            return last - place.seq
        entries = last // got.step - place.seq // got.step
        return entries if got.step > 1 and ch == "state" and (entries or last == place.seq) else None

    def _asked(self) -> Want:
        """Return what to ask for, with where the channels are."""
        known = {ch: place for ch, place in self._places.items() if place.seq}
        if not known:
            return self._want
        epoch = next(iter(known.values())).epoch
        seq = {ch: place.seq for ch, place in known.items() if place.epoch == epoch}
        return Want(self._want.encodings, self._want.delta, self._want.channels, epoch, seq)

    def _move(self, message: Mapping[str, Any], now_ns: int, *, answers: bool) -> None:
        """Take the positions that an ACK gives: of channels that begin, of another symbol's stream, or where a RESYNC finds them."""
        at, epoch = message.get("at"), message.get("epoch")
        if type(at) is not dict or not all(type(seq) is int and 0 <= seq <= envelope.HIGHEST for seq in at.values()):
            return
        got = self._got
        assert got is not None  # noqa: S101 - the only caller has looked
        is_other = type(epoch) is str and 0 < len(epoch) <= envelope.LONGEST_EPOCH
        known = str(epoch) if is_other else got.epoch
        for ch in self._want.channels:
            if ch in at and (is_other or ch not in self._places):
                self._places[ch] = _Place(known, at[ch], at_ns=now_ns)
            elif ch in at and answers and at[ch] == self._places[ch].seq:
                self._found_again(self._places[ch], ch)

    # ── the stream ──

    def _take(self, message: Envelope, payload: bytes | memoryview, now_ns: int) -> list[Output]:
        place = self._places.setdefault(message.ch, _Place(at_ns=now_ns))
        answers = message.ref is not None and message.ref == self._resync.ref and message.ch in self._resync.open_for
        is_same = message.epoch == place.epoch
        if is_same and message.seq <= place.seq and not answers:
            place.strays += 1
            if place.strays < MOST_STRAY:
                return self._odd(f"seq {message.seq} was taken already on {message.ch}", payload)
            return self._mismatch(place, message.ch, f"seq {message.seq} is behind {place.seq}", payload, now_ns)
        try:
            if message.is_delta:
                if not is_same or message.prev != place.seq or place.value is None:
                    what = "epoch" if not is_same else "prev" if message.prev != place.seq else "delta"
                    return self._mismatch(place, message.ch, f"{what} of a delta is not known", payload, now_ns)
                value: Any = delta.rebuild(place.value, message.body)
                text = packing.text_of(value)
            else:
                value, text = envelope.value_of(message)
        except DecodeError as error:
            return self._mismatch(place, message.ch, error.reason, payload, now_ns)
        if packing.checksum(text) != message.crc:
            return self._mismatch(place, message.ch, "crc", payload, now_ns)
        return self._accept(place, message, value, text, now_ns)

    def _accept(self, place: _Place, message: Envelope, value: Any, text: bytes, now_ns: int) -> list[Output]:
        found: list[Output] = []
        is_first = not place.epoch
        is_known = message.epoch == place.epoch and message.seq == place.seq  # a RESYNC finds that nothing is missing
        follows = is_first or (message.epoch == place.epoch and message.prev == place.seq)
        if not follows and not is_known and message.ch != "heartbeat":  # a beat less is no loss
            reason = place.lost or ("prev" if message.epoch == place.epoch else "restarted")
            count = self._count(message.ch, place, message.epoch, message.prev) or None
            found.append(LostMessages(message.ch, count, (now_ns - place.at_ns) / SECOND, reason))
        if not message.is_delta or follows:
            place.strays = 0
        if not message.is_delta:
            self._found_again(place, message.ch)
        place.epoch, place.seq, place.value, place.at_ns = message.epoch, message.seq, value, now_ns
        if is_known:
            return [*found, Alive()]
        if message.ch == "heartbeat":
            return [*found, Alive(), *self._compare(value, now_ns)]
        late = self._got is not None and message.seq <= self._got.latest.get(message.ch, 0) and message.epoch == self._got.epoch
        return [*found, Text(text, message.ch, late)]

    def _compare(self, value: Any, now_ns: int) -> list[Output]:
        """Compare where the server says that the channels are with where they are: silence is no loss, and loss no silence."""
        at = value.get("at") if type(value) is dict else None
        for ch, place in self._places.items():
            server_seq = at.get(ch) if type(at) is dict else None
            if type(server_seq) is int and server_seq > place.seq and not place.lost and ch != "heartbeat":
                place.lost = "heartbeat"
                self._ask_again(now_ns)
        return []

    def _mismatch(self, place: _Place, ch: str, reason: str, payload: bytes | memoryview, now_ns: int) -> list[Output]:
        """Drop a message that does not fit, and ask for a whole one; the first of several is reported."""
        was_lost, place.lost = bool(place.lost), place.lost or reason.split(" ", 1)[0]
        self._ask_again(now_ns)
        if was_lost:
            self.discarded += 1
            return [Alive()]
        return self._odd(f"{reason} (channel {ch})", payload)

    def _all_lost(self, now_ns: int) -> list[Output]:
        """Take a message that cannot be read: it may have been one of any channel."""
        for place in self._places.values():
            place.lost = place.lost or "malformed"
        self._ask_again(now_ns)
        return []

    def _ask_again(self, now_ns: int) -> None:
        if self._resync.due_ns is None:
            self._resync.due_ns = max(now_ns, self._resync.next_ns)

    def _found_again(self, place: _Place, ch: str) -> None:
        """End the search for a channel that has a whole message again."""
        place.lost = ""
        self._resync.open_for.discard(ch)
        if not any(other.lost for other in self._places.values()):
            self._resync.due_ns, self._resync.wait_ns = None, RESYNC_NS
