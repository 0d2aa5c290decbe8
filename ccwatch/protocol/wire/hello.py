"""The agreement on protocol 2, and the small messages beside the stream: HELLO, SUBSCRIBE, RESYNC, commands, ACK and NACK.

They are JSON texts in either direction, whatever the encoding of the stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ccwatch.errors import DecodeError
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.wire.envelope import CHANNELS, HIGHEST, LONGEST_EPOCH
from ccwatch.protocol.wire.packing import ENCODINGS, Encoding

PROTOCOL: Final = 2
HEADER: Final = "X-Ccwatch-Protocol"
"""The header of the handshake's answer by which a capable server names itself."""
CAPABILITIES: Final = ("msgpack", "delta", "channels", "resume", "resync", "heartbeat", "commands")
MOST_WORDS: Final = 16
"""The most encodings or channels of one request; more are refused."""
LONGEST_TEXT: Final = 64 * 1024
"""Most bytes of one of these messages."""
LONGEST_KEY: Final = 128


class Refused(ValueError):
    """A request that a server does not grant; `code` is one of the codes of a NACK."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True)
class Want:
    """A client's request."""

    encodings: tuple[str, ...] = ENCODINGS
    delta: bool = True
    channels: tuple[str, ...] = ("state",)
    epoch: str = ""
    """The numbering that it knows; empty for none."""
    seq: Mapping[str, int] = field(default_factory=dict)
    """The last number that it has on each channel."""


@dataclass(frozen=True, slots=True)
class Got:
    """A server's grant, and the position of the stream."""

    epoch: str
    encoding: Encoding
    delta: bool
    channels: tuple[str, ...]
    refused: Mapping[str, str] = field(default_factory=dict)
    """Channels that there are not, and why."""
    at: Mapping[str, int] = field(default_factory=dict)
    """The number of the last message on each channel that the client gets no more: the next one follows it."""
    latest: Mapping[str, int] = field(default_factory=dict)
    """The number of the last message of each channel: those up to it come late, as recovered ones."""
    counted: bool = True
    """Whether numbers go up by one, so that they prove how many messages are missing."""
    recovered: Mapping[str, bool] = field(default_factory=dict)
    """Whether all that was missed on a channel comes next; empty where the client has not asked to resume."""
    step: int = 1
    """The distance of the numbers of two entries of the stream that several servers share; 1 where a server counts by itself."""


def write_hello(ref: int, want: Want) -> bytes:
    """Return a client's HELLO."""
    asked: dict[str, Any] = {"encodings": list(want.encodings), "delta": want.delta, "channels": list(want.channels)}
    if want.epoch:
        asked["resume"] = {"epoch": want.epoch, "seq": dict(want.seq)}
    return codec.dumps({"type": "HELLO", "ref": ref, "want": asked})


def read_want(message: Mapping[str, Any]) -> Want:
    """Return what a client's HELLO asks for.

    Raises:
        Refused: it asks for nothing that can be read.
    """
    asked = message.get("want")
    if type(asked) is not dict:
        raise Refused("malformed", "want: expected an object with encodings, delta, channels")
    encodings = _words(asked, "encodings", ("json",))
    channels = _words(asked, "channels", ("state",))
    delta = asked.get("delta", False)
    if type(delta) is not bool:
        raise Refused("malformed", "delta: expected true or false")
    resume = asked.get("resume")
    if resume is None:
        return Want(encodings, delta, channels)
    if type(resume) is not dict or type(resume.get("epoch")) is not str or len(resume["epoch"]) > LONGEST_EPOCH:
        raise Refused("malformed", "resume: expected an epoch and numbers")
    return Want(encodings, delta, channels, resume["epoch"], _numbers(resume.get("seq")))


def choose(want: Want) -> tuple[Encoding, tuple[str, ...], dict[str, str]]:
    """Return the encoding and the channels that a server grants, and the channels that it refuses.

    Raises:
        Refused: it knows none of the encodings, or none of the channels.
    """
    encoding = next((known for word in want.encodings for known in ENCODINGS if known == word), None)
    if encoding is None:
        raise Refused("encoding", f"no encoding of these is known here; there are {', '.join(ENCODINGS)}")
    granted, refused = sort_channels(want.channels)
    if not granted:
        raise Refused("channel", f"no such channel; there are {', '.join(CHANNELS)}")
    return encoding, granted, refused


def sort_channels(asked: Iterable[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the channels that there are, in their order, and a reason for each that there is not."""
    words = tuple(dict.fromkeys(asked))
    return tuple(ch for ch in CHANNELS if ch in words), {word: "no such channel" for word in words if word not in CHANNELS}


def write_got(ref: Any, got: Got) -> bytes:
    """Return a server's answer to a HELLO."""
    granted: dict[str, Any] = {"encoding": got.encoding, "delta": got.delta, "channels": list(got.channels), "counted": got.counted}
    if got.step > 1:
        granted["step"] = got.step
    if got.refused:
        granted["refused"] = dict(got.refused)
    answer: dict[str, Any] = {"type": "HELLO", "ref": _ref(ref), "protocol": PROTOCOL, "epoch": got.epoch, "got": granted}
    answer |= {"at": dict(got.at), "latest": dict(got.latest)}
    if got.recovered:
        answer["recovered"] = dict(got.recovered)
    return codec.dumps({**answer, "capabilities": list(CAPABILITIES)})


def read_got(message: Mapping[str, Any], want: Want) -> Got:
    """Return what a server's HELLO grants.

    Raises:
        DecodeError: it cannot be read, or grants what was not asked for.
    """
    granted, epoch = message.get("got"), message.get("epoch")
    if message.get("protocol") != PROTOCOL or type(granted) is not dict:
        raise DecodeError(f"HELLO: expected protocol {PROTOCOL} and what was granted")
    if type(epoch) is not str or not 0 < len(epoch) <= LONGEST_EPOCH or not epoch.isprintable():
        raise DecodeError("HELLO: expected an epoch")
    try:
        channels = _words(granted, "channels", ())
        encoding = next((known for known in ENCODINGS if known == granted.get("encoding")), None)
        at, latest = _numbers(message.get("at")), _numbers(message.get("latest"))
        recovered, refused = message.get("recovered"), granted.get("refused")
    except Refused as error:
        raise DecodeError(f"HELLO: {error}") from None
    if encoding is None or encoding not in want.encodings or not set(channels) <= set(want.channels) or not channels:
        raise DecodeError("HELLO: an encoding or channels that were not asked for")
    said = {ch: flag is True for ch, flag in recovered.items() if ch in channels} if type(recovered) is dict else {}
    refusals = {ch: "refused" for ch in refused if ch in want.channels} if type(refused) is dict else {}
    step = granted.get("step", 1)
    if type(step) is not int or not 0 < step <= HIGHEST:
        raise DecodeError("HELLO: step: expected a number from 1")
    return Got(epoch, encoding, granted.get("delta") is True, channels, refusals, at, latest, granted.get("counted") is True, said, step)


def write_ack(ref: Any, **facts: Any) -> bytes:
    """Return the message that says that a request was taken."""
    return codec.dumps({"type": "ACK", "ref": _ref(ref), **facts})


def write_nack(ref: Any, code: str, reason: str, **facts: Any) -> bytes:
    """Return the message that says that a request was refused.

    Args:
        ref: the request's own reference.
        code: malformed, unknown, encoding, channel, twice, late, forbidden, unable, key or busy.
        reason: one line for people.
        facts: further fields.
    """
    return codec.dumps({"type": "NACK", "ref": _ref(ref), "code": code, "reason": reason[:200], **facts})


def _ref(ref: Any) -> int | str | None:
    """Return a reference that may be said back: a number or a short text."""
    if type(ref) is int and abs(ref) <= HIGHEST:
        return ref
    return ref if type(ref) is str and len(ref) <= LONGEST_KEY else None


def _words(asked: Mapping[str, Any], name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    found = asked.get(name)
    if found is None:
        return default
    if type(found) is not list or len(found) > MOST_WORDS or not all(type(word) is str and len(word) <= LONGEST_EPOCH for word in found):
        raise Refused("malformed", f"{name}: expected a list of at most {MOST_WORDS} words")
    return tuple(found)


def _numbers(found: Any) -> dict[str, int]:
    """Return the numbers by channel; those of unknown channels are left out."""
    if found is None:
        return {}
    if type(found) is not dict or not all(type(seq) is int and 0 <= seq <= HIGHEST for seq in found.values()):
        raise Refused("malformed", "seq: expected a number for each channel")
    return {ch: seq for ch, seq in found.items() if ch in CHANNELS}
