"""Coverage-guided fuzzing of the frame parser: `python -m tests.feed.fuzz [runs [seed]]`, or for ever without a number.

Needs atheris. Without a seed each run tries other bytes.

Whatever bytes a peer sends and however they are cut: the same messages and the same end as in one piece, no
exception, no message above the limit, and no more memory than the limit and a few reads.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ccwatch.feed.framing"]):
    from ccwatch.feed.framing import FrameParser

from tests.feed.servers import frame

LIMIT = 2000
SLACK = 300 * 1024


def parsed(data: bytes, size: int) -> tuple[list[tuple[int, bytes]], str]:
    """What comes of bytes that are read `size` at a time, and why it ended, if it did."""
    parser = FrameParser(LIMIT)
    messages: list[tuple[int, bytes]] = []
    for start in range(0, len(data), size):
        piece = data[start : start + size]
        space = parser.space()
        if len(space) < len(piece):
            raise AssertionError(f"room for {len(space)} of {len(piece)} bytes")
        space[: len(piece)] = piece
        messages += [(opcode, bytes(payload)) for opcode, payload in parser.filled(len(piece))]
        if len(parser._buffer) + len(parser._fragments or b"") > LIMIT + SLACK:
            raise AssertionError("more memory than was allowed")
        if parser.error is not None:
            break
    return messages, str(parser.error or "")


def check(data: bytes) -> None:
    """Raise for any bytes that are not dealt with as promised. The first says how the others are cut."""
    size, data = (data[0] if data else 0) + 1, data[1:]
    whole = parsed(data, 1 << 16)
    if parsed(data, size) != whole:
        raise AssertionError(f"in pieces of {size} other messages, or another end")
    if any(len(payload) > LIMIT for _, payload in whole[0]):
        raise AssertionError("a message above the limit")


def main() -> None:
    """Fuzz from a corpus of usual frames."""
    runs, seed = [*sys.argv[1:], *("-1", "0")[len(sys.argv) - 1 :]]  # in the words of libFuzzer: without end, any seed
    seeds = [
        frame(b"{}"),
        frame(b"x" * 130),
        frame(b"a", fin=False) + frame(b"b", opcode=0),
        frame(b"", opcode=9),
        frame(b"\x03\xe8", opcode=8),
    ]
    with tempfile.TemporaryDirectory() as folder:
        for i, message in enumerate(seeds):
            Path(folder, str(i)).write_bytes(bytes([i * 7]) + message)
        found = f"-artifact_prefix={tempfile.gettempdir()}/"
        atheris.Setup([sys.argv[0], f"-runs={runs}", f"-seed={seed}", "-rss_limit_mb=0", "-max_len=4096", found, folder], check)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
