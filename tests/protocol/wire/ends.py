"""Both ends of protocol 2 without a socket between them: a server's stream, and what its client makes of it."""

from __future__ import annotations

from ccwatch.protocol.decoding import codec
from ccwatch.protocol.wire.channels import Channels
from ccwatch.protocol.wire.client_state import Talk
from ccwatch.protocol.wire.hello import Refused, write_nack
from ccwatch.protocol.wire.outputs import LostMessages, Odd, Say, Text
from ccwatch.protocol.wire.receiver import Receiver

S = 1_000_000_000


class Server:
    """A stream, and at most one client's talk; `say` takes what the client says and returns what it is sent."""

    def __init__(self, epoch="e1", *, counted=True):
        self.channels = Channels(epoch)
        self.counted = counted
        self.talk = None
        self.resyncs = []

    def publish(self, text, *, number=None):
        """Publish one message; return the frames that the client is sent: payload, and whether it is binary."""
        found = self.channels.publish(text, number=number)
        if self.talk is None:
            return [(text, False)]
        return [(self.talk.payload(sent), self.talk.is_binary) for sent in self.talk.wanted(found)]

    def say(self, payload, now=0):
        message = codec.loads(payload)
        if message["type"] == "HELLO":
            try:
                self.talk, answer, missed = Talk.greet(message, self.channels, counted=self.counted)
            except Refused as refusal:
                return [(write_nack(message.get("ref"), refusal.code, str(refusal)), False)]
            return [(answer, False), *((self.talk.payload(sent), self.talk.is_binary) for sent in missed)]
        self.resyncs.append(now)
        *frames, ack = self.talk.resync(message, self.channels)
        return [*((payload, self.talk.is_binary) for payload in frames), (ack, False)]


class Client:
    """A receiver, and what it has handed on."""

    def __init__(self, server, **options):
        self.receiver = Receiver(**options)
        self.server = server
        self.texts, self.lost, self.odd, self.other = [], [], [], []

    def open(self, now, *, capable=True):
        self.receiver.opened(now, is_capable=capable)
        self.tick(now)

    def close(self):
        self.take(self.receiver.closed(), 0)
        self.server.talk = None

    def tick(self, now, link=lambda frames: frames):
        self.take(self.receiver.due(now, may_text=True), now, link)

    def hear(self, frames, now, link=lambda frames: frames):
        for payload, is_binary in frames:
            self.take(self.receiver.receive(payload, now, is_binary=is_binary), now, link)

    def take(self, outputs, now, link=lambda frames: frames):
        for output in outputs:
            if isinstance(output, Text):
                self.texts.append(output)
            elif isinstance(output, LostMessages):
                self.lost.append((len(self.texts), output))
            elif isinstance(output, Odd):
                self.odd.append(output)
            elif isinstance(output, Say):
                self.hear(link(self.server.say(output.payload, now)), now, link)
            else:
                self.other.append(output)

    @property
    def state(self):
        return [text.text for text in self.texts if text.ch == "state"]
