"""Coverage-guided fuzzing of decode: `python -m tests.protocol.fuzz [runs [seed]]`, or for ever without a number.

Needs atheris. Without a seed each run tries other bytes.

Whatever the bytes: DecodeError, or a packet that can be stored, written, and read again with the same fields;
and a session that takes them twice, on two connections, numbers its packets and keeps its temper.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ccwatch.protocol"]):
    from ccwatch.errors import DecodeError
    from ccwatch.protocol.decoding import codec
    from ccwatch.protocol.messages import Instant, NonPacket, Packet
    from ccwatch.protocol.stream_reader import StreamReader

from tests.protocol.shapes import NOW, SHAPES

ZONE = "America/New_York"


def check(raw: bytes) -> None:
    """Raise for any bytes that are not dealt with as promised."""
    numbers = numbers_of(raw)
    try:
        parts = codec.read(raw, seq=0, connection=0, now=NOW, server_tz=ZONE)
    except DecodeError as error:
        if numbers or not error.reason.isprintable() or len(error.reason) > 400:
            raise AssertionError("a refusal that the session does not share, or that does not print") from error
        return
    packets = [Packet._make(part) for part in parts if not isinstance(part, NonPacket)]
    if numbers != [*range(1, 4 * len(packets) + 1)]:  # a text may hold several messages: lines, an array
        raise AssertionError(f"{len(packets)} packets, taken four times, are numbered {numbers}")
    for packet in packets:
        again = codec.decode(codec.encode(packet), seq=packet.seq, now=NOW, server_tz=ZONE)
        codec.text(packet.extra)
        for name, before, after in zip(Packet._fields[:-1], packet, again, strict=False):
            if before is not after and before != after:
                raise AssertionError(f"{name} was {before!r} and came back as {after!r}")


def numbers_of(raw: bytes) -> list[int]:
    """Return the numbers that a session gives to the packets of a text that comes twice on each of two connections."""
    session = StreamReader(server_tz=ZONE)
    numbers = []
    for second in range(2):
        now = Instant(NOW.wall_ns + second * 1_000_000_000, NOW.mono_ns + second * 1_000_000_000)
        session.opened(now)
        items = [*session.receive(raw, now), *session.receive(raw, now)]
        items += session.closed(now, "")  # which lets go of a state that may have been a replay
        numbers += [item.seq for item in items if isinstance(item, Packet)]
    return numbers


WORDS = ("NaN", "Infinity", "1e999", "null", "$envelope", "data", "type", "logs", "agents", "forecast", "timestamp", "market")


def main() -> None:
    """Fuzz from a corpus of the observed shapes."""
    runs, seed = [*sys.argv[1:], *("-1", "0")[len(sys.argv) - 1 :]]  # in the words of libFuzzer: without end, any seed
    with tempfile.TemporaryDirectory() as folder:
        corpus, dictionary = Path(folder, "corpus"), Path(folder, "words")
        corpus.mkdir()
        for i, message in enumerate(message for group in SHAPES.values() for message in group):
            (corpus / str(i)).write_bytes(json.dumps(message, ensure_ascii=False).encode())
        dictionary.write_text("".join(f'"{word}"\n' for word in WORDS))
        found = f"-artifact_prefix={tempfile.gettempdir()}/"
        atheris.Setup(
            [sys.argv[0], f"-runs={runs}", f"-seed={seed}", "-rss_limit_mb=0", f"-dict={dictionary}", "-max_len=8192", found, str(corpus)],
            check,
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
