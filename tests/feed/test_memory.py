"""Memory in bytes: what the feed's buffer holds is bounded whatever is in the messages, and what left the window is let go."""

from __future__ import annotations

import gc
import mmap
import time
import tracemalloc
import weakref

import numpy as np
import pytest

import ccwatch as cw
from ccwatch.errors import ConfigError
from ccwatch.feed.buffer import RollingBuffer, parse_size
from ccwatch.feed.slab import Stale
from ccwatch.protocol.messages import Flag, Instant
from ccwatch.protocol.stream_reader import StreamReader
from tests.protocol.shapes import NOON, contract, decode, dumps_n

SECOND = 1_000_000_000


class Filled:
    """A buffer behind a session, with a clock that is turned by hand."""

    def __init__(self, **options):
        self.buffer, self.session = RollingBuffer(**options), StreamReader()
        self.now = Instant(NOON, SECOND)
        self.session.opened(self.now)

    def send(self, n, *, after=0.01, **changes):
        self.now = Instant(self.now.wall_ns + round(after * SECOND), self.now.mono_ns + round(after * SECOND))
        self.buffer.receive(self.session.receive(dumps_n(n, **changes), self.now))


@pytest.mark.parametrize(
    ("size", "bytes_"), [("1GB", 10**9), ("512 MB", 512 * 10**6), ("64MiB", 64 << 20), ("1.5kb", 1500), (4096, 4096), ("4096", 4096)]
)
def test_sizes_are_read(size, bytes_):
    assert parse_size(size) == bytes_


@pytest.mark.parametrize("size", ["", "GB", "-1GB", "0", "1 EB", "many", True, 0, -5, "1e9", "0GB"])
def test_what_is_no_size_is_refused(size):
    with pytest.raises(ConfigError, match="memory="):
        parse_size(size)
    with pytest.raises(ConfigError, match="memory="):
        cw.connect("ws://127.0.0.1:1", memory=size or "x")


@pytest.mark.slow
def test_text_that_left_the_window_is_let_go():
    filled = Filled(window="2s")
    tracemalloc.start()
    sizes = []
    for n in range(600):
        filled.send(n, after=0.1, signal={"reasoning": f"{n}" + "x" * 100_000})
        if n >= 100 and n % 100 == 0:
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert max(sizes) - min(sizes) < 1_500_000, sizes
    assert max(sizes) < 12_000_000, "twenty of them are in the window, and as many bytes in the memory for replays"
    assert filled.buffer.evicted["window"] > 500
    kept = filled.buffer.frame(["reasoning"])
    assert 18 <= len(kept) <= 22
    assert kept["reasoning"].str.len().min() > 100_000


@pytest.mark.slow
def test_bytes_are_bounded_and_what_they_let_go_is_counted():
    filled = Filled(memory="8MB")
    for n in range(1000):
        filled.send(n, signal={"reasoning": f"{n}" + "x" * 50_000})
        assert filled.buffer.bytes < 9_000_000
    frame = filled.buffer.frame(["seq", "reasoning"])
    assert 50 < len(frame) < 170
    assert frame["seq"].iloc[-1] == 1000
    assert filled.buffer.evicted == {"window": 0, "rows": 0, "bytes": 1000 - len(frame)}


def test_a_flood_of_log_lines_costs_log_lines_not_packets():
    filled = Filled(memory="4MB")
    for n in range(400):
        filled.send(n, logs=[f"{n} {place} " + "y" * 200 for place in range(100)])
    assert len(filled.buffer.frame()) == 400
    assert len(filled.buffer.long("logs")) < 20_000
    assert filled.buffer.evicted["bytes"] > 10_000


def test_a_single_message_above_the_limit_is_kept():
    filled = Filled(memory="1kB")
    for n in range(5):
        filled.send(n, signal={"reasoning": "x" * 10_000})
    assert len(filled.buffer.frame()) == 1


def test_words_of_any_length_are_cut_and_the_raw_bytes_keep_them():
    long = "S" * 10_000
    packet = decode(
        contract(
            market={"symbol": long},
            status=long,
            agents={long: {"latency_ms": 1.0}},
            models={long: {"latency_ms": 1.0}},
            signal={"reasoning": long},
            logs=[{"level": "INFO", "message": long, "timestamp": "2026-01-02T10:00:00Z"}],
        )
    )
    assert packet.flags & Flag.CUT
    words = (packet.symbol, packet.status_raw, packet.agents[-1].agent, packet.models[-1].model)
    assert [len(word) for word in words] == [256] * 4
    assert packet.reasoning == long
    assert packet.logs[0].message == long
    assert long.encode() in packet.raw
    assert not decode(contract(market={"symbol": "S" * 256})).flags & Flag.CUT


@pytest.fixture
def small(monkeypatch):
    """Vocabularies of a tenth of their size."""
    monkeypatch.setattr("ccwatch.feed.slab.MOST_WORDS", 3_000)
    monkeypatch.setattr("ccwatch.feed.slab.MANY_WORDS", 300)


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_vocabularies_forget_what_left_the_window_so_that_new_symbols_are_kept():
    filled = Filled(window="5s")
    for n in range(7_000):
        filled.send(n, market={"symbol": f"SYM{n}"})
    assert filled.buffer.dropped == 0
    frame = filled.buffer.frame()
    assert 480 < len(frame) < 520
    assert frame["symbol"].iloc[-1] == "SYM6999"
    assert list(frame["symbol"].astype("str")) == [f"SYM{n}" for n in range(7_000 - len(frame), 7_000)]
    assert frame["symbol"].cat.categories.is_monotonic_increasing
    assert len(frame["symbol"].cat.categories) == len(frame)
    assert len(filled.buffer._clean._slab.vocabularies.codes[8]) <= 3_001


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_more_words_than_a_vocabulary_holds_are_a_flood_until_they_left_the_window():
    filled = Filled(window="400s")
    for n in range(3_500):
        filled.send(n, market={"symbol": f"SYM{n}"})
    assert filled.buffer.dropped > 0
    for n in range(400):
        filled.send(n, after=2, market={"symbol": "SPY"})
    dropped = filled.buffer.dropped
    for n in range(400):
        filled.send(n, after=2, market={"symbol": f"LAST{n}"})
    assert filled.buffer.dropped == dropped
    assert filled.buffer.frame()["symbol"].iloc[-1] == "LAST399"


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_values_are_the_same_while_vocabularies_are_begun_anew():
    filled = Filled(window="30s")
    rng = np.random.default_rng(0)
    sent = []
    for n in range(3_000):
        symbol = f"S{rng.integers(0, n // 4 + 1)}"
        sent.append(symbol)
        filled.send(n, market={"symbol": symbol}, agents={f"A{n % 700}": {"latency_ms": float(n)}})
        if n % 555 == 0:
            frame = filled.buffer.frame()
            assert list(frame["symbol"].astype("str")) == sent[-len(frame) :]
    agents = filled.buffer.long("agents")
    assert list(agents["agent"].astype("str")) == [f"A{int(latency) % 700}" for latency in agents["latency_ms"]]


@pytest.mark.slow
def test_a_frame_of_a_flood_takes_at_most_ten_times_that_of_a_calm_hour():
    calm, flood = Filled(window="8h"), Filled(window="8h")
    for n in range(1_200):
        calm.send(n, after=1)
    for n in range(3_000):
        flood.send(n, after=0.001, market={"symbol": f"SYM{n}"})

    def took(buffer):
        times = []
        for _ in range(40):
            began = time.perf_counter()
            buffer.frame()
            times.append(time.perf_counter() - began)
        return float(np.median(times))

    assert took(flood.buffer) < 10 * took(calm.buffer)


def test_a_reader_of_text_never_sees_it_let_go():
    filled = Filled(window="1s")
    for n in range(50):
        filled.send(n, after=0.05, signal={"reasoning": f"text {n}"})
    filled.buffer.frame()
    view = filled.buffer._packets[0]
    for n in range(50, 100):
        filled.send(n, after=0.05, signal={"reasoning": f"text {n}"})
    filled.buffer.frame()
    with pytest.raises(Stale):
        view.frame(["reasoning"], None)
    assert filled.buffer.frame(["reasoning"])["reasoning"].notna().all()


@pytest.mark.slow
def test_health_says_what_let_rows_go():
    with cw.synthetic(packets=2000, pace="max") as feed:
        feed.join(20)
        health = feed.health()
    assert health.evicted == {"window": 0, "rows": 0, "bytes": 0}
    assert health.buffer_bytes > 100_000


def owner(values):
    """The object that has an array's memory."""
    found = values
    while isinstance(found, np.ndarray):
        found = found.base
    return found.obj if isinstance(found, memoryview) else found


@pytest.mark.slow
def test_slabs_have_memory_of_their_own_which_the_system_gets_back():
    """In the C library's heap they would leave holes between what stays, and a process would creep for hours."""
    filled = Filled(window="5s")
    slab = filled.buffer._clean._slab
    assert type(owner(slab.received)) is mmap.mmap
    assert owner(slab._floats) is owner(slab.received)
    gone = weakref.ref(slab)
    del slab
    for n in range(5_000):
        filled.send(n, after=0.1)
    gc.collect()
    assert gone() is None
