"""Coverage-guided fuzzing of decode: `python -m tests.protocol.fuzz [runs]`, or for ever without a number.

Needs atheris. Whatever the bytes: DecodeError, or a packet that can be stored, written, and read again with the same fields;
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
    from ccwatch.protocol.messages import Instant, Packet
    from ccwatch.protocol.session import Session

from tests.protocol.shapes import NOW, SHAPES


def check(raw: bytes) -> None:
    """Raise for any bytes that are not dealt with as promised."""
    session = Session(server_tz="America/New_York")
    numbers = []
    for second in range(2):
        now = Instant(NOW.wall_ns + second * 1_000_000_000, NOW.mono_ns + second * 1_000_000_000)
        session.opened(now)
        items = [*session.receive(raw, now), *session.receive(raw, now)]
        items += session.closed(now, "")  # which lets go of a state that may have been a replay
        numbers += [item.seq for item in items if isinstance(item, Packet)]
    if numbers not in ([], [1, 2, 3, 4]):
        raise AssertionError(f"packets numbered {numbers}")
    try:
        packet = codec.decode(raw, now=NOW, server_tz="America/New_York")
    except DecodeError as error:
        if numbers or not error.reason.isprintable() or len(error.reason) > 400:
            raise AssertionError("a refusal that the session does not share, or that does not print") from error
        return
    again = codec.decode(codec.encode(packet), now=NOW, server_tz="America/New_York")
    codec.text(packet.extra)
    for name, before, after in zip(Packet._fields[:-1], packet, again, strict=False):
        if before is not after and before != after:
            raise AssertionError(f"{name} was {before!r} and came back as {after!r}")


WORDS = ("NaN", "Infinity", "1e999", "null", "$envelope", "data", "type", "logs", "agents", "forecast", "timestamp", "market")


def main() -> None:
    """Fuzz from a corpus of the observed shapes."""
    runs = sys.argv[1] if len(sys.argv) > 1 else "-1"
    with tempfile.TemporaryDirectory() as folder:
        corpus, dictionary = Path(folder, "corpus"), Path(folder, "words")
        corpus.mkdir()
        for i, message in enumerate(message for group in SHAPES.values() for message in group):
            (corpus / str(i)).write_bytes(json.dumps(message, ensure_ascii=False).encode())
        dictionary.write_text("".join(f'"{word}"\n' for word in WORDS))
        found = f"-artifact_prefix={tempfile.gettempdir()}/"
        atheris.Setup([sys.argv[0], f"-runs={runs}", f"-dict={dictionary}", "-max_len=8192", found, str(corpus)], check)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
