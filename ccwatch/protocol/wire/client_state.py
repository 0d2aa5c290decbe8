"""One client's protocol 2 at its server: what it was granted, what it has, and the form in which it gets each message. Pure.

Clients that were granted the same and have all that was sent get the same bytes: `kind` names them, so that what is made for one of
them, compression included, serves all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ccwatch.protocol.wire import hello
from ccwatch.protocol.wire.channel_sender import STEP, Sent
from ccwatch.protocol.wire.channels import WITHOUT_LOGS, Channels
from ccwatch.protocol.wire.hello import Got, Refused
from ccwatch.protocol.wire.packing import Encoding


class Kind(NamedTuple):
    """The values that clients which get the same bytes have in common."""

    encoding: Encoding
    delta: bool
    channels: tuple[str, ...]


class Talk:
    """The grants and the position of one client. Used by one thread."""

    __slots__ = ("_ahead", "_is_base", "_last", "_names", "kind")

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._last: dict[str, int] = {}  # the number of the last message that it was sent, by channel
        self._is_base: set[str] = set()  # channels on which a delta may follow that message
        self._names = _names(kind.channels)
        self._ahead: dict[str, tuple[str, int]] = {}  # where it is further than this server, by channel

    @property
    def is_binary(self) -> bool:
        """Return whether its messages are binary ones."""
        return self.kind.encoding == "msgpack"

    def wanted(self, found: Mapping[str, Sent]) -> list[Sent]:
        """Return what it gets of a message, by what the message is on each channel."""
        wanted = [sent for name, sent in found.items() if name in self._names]
        return self._without_known(wanted) if self._ahead else wanted

    def _without_known(self, wanted: list[Sent]) -> list[Sent]:
        """Leave out the messages that it has from a server that was further."""
        kept = []
        for sent in wanted:
            epoch, seq = self._ahead.get(sent.ch, ("", 0))
            if sent.epoch != epoch or sent.seq > seq:
                self._ahead.pop(sent.ch, None)
                kept.append(sent)
        return kept

    def payload(self, sent: Sent, *, ref: int | None = None) -> bytes:
        """Return a message in its form, and count it as sent: a delta if it has the message before.

        Args:
            sent: the message.
            ref: the RESYNC that it answers.
        """
        as_delta = self.advance(sent) and self.kind.delta and ref is None
        return sent.payload(self.kind.encoding, as_delta=as_delta, ref=ref)

    def advance(self, sent: Sent) -> bool:
        """Count a message as sent, and return whether the client had the one before it."""
        ch, is_base = sent.ch, self._is_base
        is_in_step = ch in is_base and self._last.get(ch) == sent.prev
        self._last[ch] = sent.seq
        if not is_in_step:
            is_base.add(ch)
        return is_in_step

    def whole(self, sent: Sent) -> bytes:
        """Return a message whole, in the client's encoding."""
        return sent.payload(self.kind.encoding, as_delta=False)

    def skipped(self) -> None:
        """Note that it misses messages: the next of each channel is sent whole."""
        self._is_base.clear()

    def begin(self, channels: Channels) -> dict[str, int]:
        """Continue with the next message of each channel, and return the number of the last one on each."""
        self._is_base.clear()
        self._last = {ch: channels.track(ch, has_logs="logs" in self.kind.channels).seq for ch in self.kind.channels}
        return dict(self._last)

    def behind(self, channels: Channels) -> list[Sent]:
        """Return the last message of each channel that it was not sent."""
        latest = [channels.track(ch, has_logs="logs" in self.kind.channels).latest for ch in self.kind.channels]
        return [sent for sent in latest if sent is not None and sent.seq != self._last.get(sent.ch)]

    # ── requests ──

    @classmethod
    def greet(cls, message: Mapping[str, Any], channels: Channels, *, counted: bool = True) -> tuple[Talk, bytes, list[Sent]]:
        """Return the talk that a HELLO begins, its answer, and what the client missed since its last connection.

        Args:
            message: the HELLO.
            channels: the channels of the stream.
            counted: whether numbers go up by one.

        Raises:
            Refused: the HELLO cannot be granted.
        """
        want = hello.read_want(message)
        encoding, granted, refused = hello.choose(want)
        talk = cls(Kind(encoding, want.delta, granted))
        latest = talk.begin(channels)
        at = dict(latest)
        missed: list[Sent] = []
        recovered: dict[str, bool] = {}
        for ch in granted:
            track = channels.track(ch, has_logs="logs" in granted)
            if not want.epoch or ch not in want.seq:
                continue
            found = [] if ch == "heartbeat" else track.since(want.epoch, want.seq[ch])
            recovered[ch] = found is not None
            if found:
                # A hole right behind the client's place is for the client to see.
                at[ch] = min(found[0].prev, want.seq[ch]) if found[0].epoch == want.epoch else want.seq[ch]
                missed += found
            elif found is not None and ch != "heartbeat" and want.seq[ch] > track.seq:
                at[ch], talk._ahead[ch] = want.seq[ch], (want.epoch, want.seq[ch])
        got = Got(channels.epoch, encoding, want.delta, granted, refused, at, latest, counted, recovered, 1 if counted else STEP)
        return talk, hello.write_got(message.get("ref"), got), sorted(missed, key=lambda sent: sent.order)

    def change(self, message: Mapping[str, Any], channels: Channels) -> bytes:
        """Obey SUBSCRIBE or UNSUBSCRIBE for channels, and return the answer.

        Raises:
            Refused: it names no channel that there is.
        """
        asked = message.get("channels")
        if type(asked) is not list or not 0 < len(asked) <= hello.MOST_WORDS or not all(type(word) is str for word in asked):
            raise Refused("malformed", f"channels: expected a list of 1 to {hello.MOST_WORDS} words")
        granted, refused = hello.sort_channels(asked)
        refused = {word[:40]: why for word, why in refused.items()}
        if not granted:
            raise Refused("channel", "no such channel")
        before = set(self.kind.channels)
        after = before | set(granted) if message.get("type") == "SUBSCRIBE" else before - set(granted)
        if ("logs" in before) != ("logs" in after):
            self._is_base.discard("state")  # its other form is another text
        self._is_base -= before - after
        self.kind = self.kind._replace(channels=hello.sort_channels(after)[0])
        self._names = _names(self.kind.channels)
        at = {ch: channels.track(ch, has_logs="logs" in after).seq for ch in self.kind.channels}
        self._last = {ch: self._last.get(ch, seq) for ch, seq in at.items()}
        return hello.write_ack(message.get("ref"), channels=list(granted), at=at, **({"refused": refused} if refused else {}))

    def resync(self, message: Mapping[str, Any], channels: Channels) -> list[bytes]:
        """Return the last message of each channel that a RESYNC names, whole, and an ACK with their numbers.

        Raises:
            Refused: it names no channel that the client gets, or has no number to be answered by.
        """
        asked, ref = message.get("channels"), message.get("ref")
        if type(asked) is not list or len(asked) > hello.MOST_WORDS or type(ref) is not int:
            raise Refused("malformed", "expected a list of channels, and a number as ref")
        named = [ch for ch in self.kind.channels if ch in asked]
        if not named:
            raise Refused("channel", "no channel of these is sent to this client")
        tracks = [channels.track(ch, has_logs="logs" in self.kind.channels) for ch in named]
        found = [self.payload(track.latest, ref=ref) for track in tracks if track.latest is not None]
        return [*found, hello.write_ack(ref, at={track.ch: track.seq for track in tracks})]


def _names(granted: Iterable[str]) -> frozenset[str]:
    found = set(granted)
    return frozenset(found - {"state"} | {WITHOUT_LOGS} if {"state", "logs"} <= found else found)
