"""From socket to row: CPU per packet against the floor of the same run, and frames at three sizes."""

from __future__ import annotations

import contextlib
import gc
import itertools
import random
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import orjson

from ccwatch.feed.buffer import RollingBuffer
from ccwatch.feed.framing import FrameParser
from ccwatch.feed.synthetic import messages
from ccwatch.protocol.messages import Instant, Packet
from ccwatch.protocol.stream_reader import StreamReader
from ccwatch.recording import Recorder
from ccwatch.stream.source import read_clock
from tests.benchmarks.row import Row

PACKETS = 8_000
ROUNDS = 7


CALM_S = 15
"""How long each process of a calm stream is measured, after twenty seconds: a dashboard has imported scipy by then, once."""


def rows() -> list[Row]:
    return [*socket_rows(), *calm_rows(), *frame_rows()]


def _frames(*, with_text: bool = False) -> list[bytes]:
    """Frames of a seeded stream as a server sends them, unmasked; its stamps keep about the pace at which they are read."""
    raws = itertools.islice(messages(seed=1, rate=10_000.0), PACKETS)
    if with_text:
        raws = map(_with_new_text, raws, itertools.count())
    return [b"\x81\x7e" + struct.pack(">H", len(raw)) + raw for raw in raws]


def _with_new_text(raw: bytes, number: int) -> bytes:
    """Return a message with another log line and 1 KB of text that no other has."""
    message = orjson.loads(raw)
    text = random.Random(number).randbytes(512).hex()
    message["data"]["signal"]["reasoning"] = text
    message["data"]["logs"] = [{"timestamp": message["data"]["timestamp"], "level": "INFO", "message": text[:80]}]
    return orjson.dumps(message)


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


def _whole(frames: list[bytes], recorder: Recorder | None = None) -> float:
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
            if recorder is not None:
                recorder.receive(items)
        spent = time.thread_time() - begun
    assert len(buffer.frame(clean=False)) == len(frames)
    return spent / len(frames)


def _recorded(frames: list[bytes]) -> float:
    """The same with a recorder, until its journal is durable. CPU s per packet of the whole process."""
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(Path(folder) / "r", url="", origin="synthetic")
        begun = time.process_time()
        _whole(frames, recorder)
        while recorder.stats.durable_seq < len(frames):
            time.sleep(0.01)
        spent = time.process_time() - begun
        recorder.stop()
    return spent / len(frames)


def socket_rows() -> list[Row]:
    frames, with_text = _frames(), _frames(with_text=True)
    floor, whole, recorded, texts = [], [], [], []
    for _ in range(ROUNDS):
        floor.append(_floor(frames))
        whole.append(_whole(frames))
        recorded.append(_recorded(frames))
        texts.append(_whole(with_text) / _floor(with_text))
    ratio = statistics.median(w / f for w, f in zip(whole, floor, strict=True))
    recording = statistics.median(r / f for r, f in zip(recorded, floor, strict=True))
    size = statistics.mean(map(len, frames))
    return [
        Row("floor: recv + orjson.loads", statistics.median(floor) * 1e6, "µs CPU", "", f"{PACKETS} packets of {size:.0f} B"),
        Row("socket to row", statistics.median(whole) * 1e6, "µs CPU", "", "frames, session, rows of all tables"),
        Row("socket to row / floor", ratio, "×", "≤ 2.5", f"median of {ROUNDS} interleaved pairs"),
        Row(
            "the same with a new log line and 1 KB of new text",
            statistics.median(texts),
            "×",
            "≤ 3.5",
            "against the floor of those messages",
        ),
        Row("the same with a recorder, whole process / floor", recording, "×", "≤ 4", "until the journal is durable"),
    ]


_CALM = """
import sys, time
url, seconds, what = sys.argv[1], float(sys.argv[2]), sys.argv[3]
if what == "floor":
    import select, orjson, websocket
    ws = websocket.create_connection(url, suppress_origin=True)
    data = b""
    def serve():
        global data
        select.select([ws.sock], [], [])
        data += ws.sock.recv(1 << 19)
        while len(data) > 3:
            head = 4 if data[1] == 126 else 2
            end = head + (int.from_bytes(data[2:4], "big") if head == 4 else data[1])
            if len(data) < end:
                return
            if data[0] == 0x81:
                orjson.loads(data[head:end])
            data = data[end:]
else:
    import ccwatch as cw, tempfile
    feed = cw.connect(url)
    if what in ("recorder", "all"):
        recorder = cw.record(feed, tempfile.mkdtemp() + "/r")
    if what in ("alerts", "all"):
        feed.on_alert(lambda alert: None)
    if what == "all":
        dashboard = cw.watch(feed)
        dashboard.send = lambda content, buffers=None: None
        dashboard._answer({"page": "one", "type": "ready"})
    def serve():
        time.sleep(0.2)
        what == "all" and dashboard._answer({"page": "one", "type": "painted"})
begun = time.monotonic()
while time.monotonic() - begun < 20:
    serve()
cpu, begun = time.process_time(), time.monotonic()
while time.monotonic() - begun < seconds:
    serve()
print((time.process_time() - cpu) / (time.monotonic() - begun), flush=True)
import os
os._exit(0)
"""


def calm_rows() -> list[Row]:
    """A live stream of 200 packets a second, one per read: the share of a core that its whole client takes."""
    serve = [sys.executable, "-m", "ccwatch", "serve", "--port", "0", "--engine-port", "0", "--seed", "1", "--rate", "200", "--json"]
    share = {}
    with subprocess.Popen(serve, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            url = orjson.loads(server.stdout.readline())["engine_url"]
            for what in ("floor", "feed", "recorder", "alerts", "all"):
                done = subprocess.run([sys.executable, "-c", _CALM, url, str(CALM_S), what], capture_output=True, text=True, check=True)
                share[what] = float(done.stdout)
        finally:
            server.terminate()
    return [
        Row("calm stream, feed / (select + recv + orjson.loads)", share["feed"] / share["floor"], "×", "≤ 2", "CPU, 200 packets a second"),
        *(
            Row(f"calm stream, share of a core: {what}", share[what] * 100, "%", "≤ 20" if what != "floor" else "", "200 packets a second")
            for what in share
        ),
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
