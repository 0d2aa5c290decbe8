"""From socket to row: CPU per packet against the floor of the same run, and frames at three sizes."""

from __future__ import annotations

import contextlib
import gc
import itertools
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import orjson

from ccwatch.feed.buffer import RollingBuffer
from ccwatch.feed.framing import FrameParser
from ccwatch.feed.synthetic import messages
from ccwatch.protocol.messages import Instant, Packet
from ccwatch.protocol.stream_reader import StreamReader
from ccwatch.stream.source import read_clock
from tests.benchmarks.row import Row

PACKETS = 8_000
ROUNDS = 7


def rows() -> list[Row]:
    return [*socket_rows(), *frame_rows()]


def _frames() -> list[bytes]:
    """Frames of a seeded stream as a server sends them, unmasked; its stamps keep about the pace at which they are read."""
    raws = itertools.islice(messages(seed=1, rate=10_000.0), PACKETS)
    return [b"\x81\x7e" + struct.pack(">H", len(raw)) + raw for raw in raws]


@contextlib.contextmanager
def _sent(frames: list[bytes]) -> Iterator[socket.socket]:
    """A socket on which the frames arrive, as fast as they are read, from another process: as from a server, with no part in the GIL."""
    ours, theirs = socket.socketpair()
    with ours, theirs, tempfile.NamedTemporaryFile() as file:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        file.write(b"".join(frames))
        file.flush()
        send = "import socket, sys; socket.socket(fileno=int(sys.argv[1])).sendall(open(sys.argv[2], 'rb').read())"
        command = [sys.executable, "-S", "-c", send, str(theirs.fileno()), file.name]
        with subprocess.Popen(command, pass_fds=[theirs.fileno()]):
            yield ours


def _floor(frames: list[bytes]) -> float:
    """recv into a buffer, cut at the known lengths, orjson.loads: what no client can do without. CPU s per packet of this thread."""
    lengths = [len(frame) for frame in frames]
    buffer = bytearray(1 << 19)
    view = memoryview(buffer)
    end = start = at = 0
    with _sent(frames) as sock:
        begun = time.thread_time()
        while at < len(lengths):
            count = sock.recv_into(view[end:])
            end += count
            while at < len(lengths) and end - start >= lengths[at]:
                orjson.loads(view[start + 4 : start + lengths[at]])
                start += lengths[at]
                at += 1
            view[: end - start] = bytes(view[start:end])
            start, end = 0, end - start
        return (time.thread_time() - begun) / len(frames)


def _whole(frames: list[bytes]) -> float:
    """recv, frames, session with all its flags, rows of all tables. CPU s per packet of this thread."""
    parser, session, buffer = FrameParser(1 << 22), StreamReader(), RollingBuffer()
    seen = 0
    with _sent(frames) as sock:
        session.opened(read_clock())
        begun = time.thread_time()
        while seen < len(frames):
            items = []
            arrived = parser.filled(sock.recv_into(parser.space()))
            now = read_clock()  # once for what came at once, as the feed does
            for _, payload in arrived:
                items += session.receive(payload, now)
                seen += 1
            buffer.receive(items)
        spent = time.thread_time() - begun
    assert len(buffer.frame(clean=False)) == len(frames)
    return spent / len(frames)


def socket_rows() -> list[Row]:
    frames = _frames()
    floor, whole = [], []
    for _ in range(ROUNDS):
        floor.append(_floor(frames))
        whole.append(_whole(frames))
    ratio = statistics.median(w / f for w, f in zip(whole, floor, strict=True))
    size = statistics.mean(map(len, frames))
    return [
        Row("floor: recv + orjson.loads", statistics.median(floor) * 1e6, "µs CPU", "", f"{PACKETS} packets of {size:.0f} B"),
        Row("socket to row", statistics.median(whole) * 1e6, "µs CPU", "", "frames, session, rows of all tables"),
        Row("socket to row / floor", ratio, "×", "≤ 5", f"median of {ROUNDS} interleaved pairs"),
    ]


def frame_rows() -> list[Row]:
    raw = next(messages(seed=1))
    session = StreamReader(virtual_clock=True)
    session.opened(Instant(0, 0))
    packet = next(item for item in session.receive(raw, Instant(1, 1)) if isinstance(item, Packet))
    bare = packet._replace(agents=(), models=(), logs=(), new_logs=())
    found = []
    for count in (1_000, 100_000, 1_000_000):
        buffer = RollingBuffer(window="1000D", max_rows=1_000_000)
        for start in range(0, count, 500):
            buffer.receive([bare._replace(seq=n, time_ns=n * 10**9, received_at_ns=n * 10**9) for n in range(start, start + 500)])
        assert len(buffer.frame()) == count
        gc.collect()
        times = []
        for _ in range(2_000):
            begun = time.perf_counter()
            buffer.frame()
            times.append(time.perf_counter() - begun)
        found.append(Row(f"frame() at {count:,} rows", statistics.median(times) * 1e6, "µs", "≤ 50", "clean rows, no text"))
    return found
