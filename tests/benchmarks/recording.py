"""The recorder beside JSON lines with zstd, MCAP, Parquet by default and SQLite. Same packets, same run, interleaved."""

from __future__ import annotations

import gc
import itertools
import json
import os
import random
import shutil
import sqlite3
import statistics
import string
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer

from ccwatch.feed.synthetic import messages
from ccwatch.protocol.messages import Event, Instant, Packet, StateChange
from ccwatch.protocol.stream_reader import StreamReader
from ccwatch.recording import Recorder, Recording, compact
from ccwatch.recording.folder import Session
from ccwatch.recording.journal import Frame, journal_files, read_frames
from tests.benchmarks.row import Row

FULL = bool(os.environ.get("CCWATCH_FULL"))
PACKETS = 100_000 if FULL else 20_000
ROUNDS = 3
COLUMNS = ["price", "nav"]
START_NS = 1_767_364_200_000_000_000


def rows() -> list[Row]:
    work = Path(tempfile.mkdtemp(prefix="ccwatch-bench-"))
    try:
        usual = _items(itertools.islice(messages(seed=1, rate=1.0), PACKETS))
        return [*size_rows(work, usual), *ingest_rows(work, usual), *compaction_rows(work, usual), *read_rows(work, usual)]
    finally:
        shutil.rmtree(work)


def _items(raws: itertools.islice[bytes] | list[bytes]) -> list[Packet | Event]:
    """What a feed on the same machine would have received, a second apart, 1 to 9 ms late."""
    talk, dice = StreamReader(virtual_clock=True), random.Random(1)
    found: list[Packet | Event] = []
    for n, raw in enumerate(raws):
        late = n * 1_000_000_000 + dice.randrange(1_000_000, 9_000_000)
        found += [item for item in talk.receive(raw, Instant(START_NS + late, late)) if not isinstance(item, StateChange)]
    return found


def _packets(items: list[Packet | Event]) -> list[Packet]:
    return [item for item in items if isinstance(item, Packet)]


# ── how each keeps them: all with seq, receive time and the whole message ──


def _ours(path: Path, items: list[Packet | Event], *, finish: bool = True) -> None:
    recorder = Recorder(path, url="", origin="synthetic")
    for start in range(0, len(items), 500):
        recorder.receive(items[start : start + 500])
        while recorder.stats.packets + recorder.stats.events < start - 5_000:  # 12 MB: never more than the queue holds
            time.sleep(0.001)
    recorder.stop(finish=finish)
    assert recorder.dropped == 0


def _jsonl(path: Path, items: list[Packet | Event]) -> None:
    with pa.CompressedOutputStream(str(path), "zstd") as file:
        for packet in _packets(items):
            file.write(b'{"seq":%d,"received":%d,"message":%b}\n' % (packet.seq, packet.received_at_ns, packet.raw))


def _mcap(path: Path, items: list[Packet | Event]) -> None:
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=1 << 20, compression=CompressionType.ZSTD)
        writer.start()
        schema = writer.register_schema("telemetry", "jsonschema", b"{}")
        channel = writer.register_channel("/stream", "json", schema)
        for packet in _packets(items):
            writer.add_message(channel, log_time=packet.received_at_ns, publish_time=packet.time_ns, data=packet.raw, sequence=packet.seq)
        writer.finish()
        file.flush()
        os.fsync(file.fileno())


def _parquet(path: Path, items: list[Packet | Event]) -> None:
    packets = _packets(items)
    columns = {"seq": [p.seq for p in packets], "received": [p.received_at_ns for p in packets], "message": [p.raw for p in packets]}
    pq.write_table(pa.table(columns), path)


def _sqlite(path: Path, items: list[Packet | Event]) -> None:
    with sqlite3.connect(path) as base:
        base.execute("pragma journal_mode=wal")
        base.execute("create table packets (seq integer primary key, received integer, message blob)")
        packets = iter(_packets(items))
        while batch := list(itertools.islice(packets, 1000)):
            base.executemany("insert into packets values (?,?,?)", [(p.seq, p.received_at_ns, p.raw) for p in batch])
            base.commit()
        base.execute("pragma wal_checkpoint(truncate)")
    base.close()


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else path.stat().st_size


PEERS: dict[str, Callable[[Path, list[Packet | Event]], None]] = {
    "JSONL.zst": _jsonl,
    "MCAP, 1 MB zstd chunks": _mcap,
    "pyarrow Parquet by default": _parquet,
    "SQLite WAL": _sqlite,
}


def size_rows(work: Path, usual: list[Packet | Event]) -> list[Row]:
    dice = random.Random(2)
    texts = []
    for packet in _packets(usual):
        message = orjson.loads(packet.raw)
        message["data"]["signal"]["reasoning"] = "".join(dice.choices(string.ascii_letters + " ", k=120))
        texts.append(orjson.dumps(message))
    found = []
    for name, items, bounds in (
        ("usual stream", usual, {"JSONL.zst": 0.65, "MCAP, 1 MB zstd chunks": 0.58}),
        ("new random text in each", _items(texts), {"JSONL.zst": 0.85, "MCAP, 1 MB zstd chunks": 0.80}),
    ):
        own = work / f"own {name}"
        _ours(own, items)
        ours = _size(own) / PACKETS
        found.append(Row(f"bytes per packet, {name}", ours, "B", "", f"{PACKETS} packets; every message comes back byte for byte"))
        for peer, write in PEERS.items():
            path = work / f"peer {name}"
            write(path, items)
            bound = f"≤ {bounds[peer]}" if peer in bounds else ""
            found.append(
                Row(f"bytes per packet, {name} / {peer}", ours * PACKETS / _size(path), "×", bound, f"{_size(path) / PACKETS:.0f} B")
            )
            path.unlink()
    return found


def _cpu(work: Callable[[], None]) -> float:
    gc.collect()
    gc.freeze()  # the packets of this benchmark are not to be looked through on the account of what it measures
    try:
        begun = time.process_time()
        work()
        return time.process_time() - begun
    finally:
        gc.unfreeze()


def ingest_rows(work: Path, usual: list[Packet | Event]) -> list[Row]:
    own, mcap = [], []
    for n in range(ROUNDS):
        own.append(_cpu(lambda n=n: _ours(work / f"ingest {n}", usual, finish=False)))
        mcap.append(_cpu(lambda: _mcap(work / "mcap", usual)))
    ratio = statistics.median(theirs / ours for ours, theirs in zip(own, mcap, strict=True))
    return [
        Row("durable ingest", PACKETS / statistics.median(own), "packets/s", "", "per CPU second, all threads, to the journal"),
        Row("durable ingest / MCAP", ratio, "×", "≥ 2", f"packets per CPU second, median of {ROUNDS} interleaved pairs"),
    ]


def compaction_rows(work: Path, usual: list[Packet | Event]) -> list[Row]:
    path = work / "to compact"
    _ours(path, usual, finish=False)
    size = _size(path / "_journal")
    raw = sum(len(packet.raw) for packet in _packets(usual))
    begun = time.perf_counter()
    frame = Recording(path).frame(["price"])
    readable = time.perf_counter() - begun
    assert len(frame) == PACKETS
    floor, opened = [], []
    for _ in range(ROUNDS):
        floor.append(_cpu(lambda: _unpack(path)))
        opened.append(_cpu(lambda: _open(path)))
    killed = statistics.median(ours / least for ours, least in zip(opened, floor, strict=True))
    spent = _cpu(lambda: _none(compact(path)))
    gib = (1 << 30) / raw
    return [
        Row("compaction", PACKETS / spent, "packets/s", "≥ 80000", "per core, CPU time"),
        Row("1 GiB of raw messages in the journal, readable", readable * gib, "s", "≤ 1", f"from {raw >> 20} MiB, {size >> 10} KiB stored"),
        Row("killed journal: open, info, events / unpack + CRC", killed, "×", "≤ 2", f"CPU, median of {ROUNDS} interleaved pairs"),
        Row("1 GiB of raw messages in the journal, compacted", spent * gib, "s", "≤ 8", "the same"),
    ]


def _none(_: object) -> None:
    return None


def _unpack(path: Path) -> None:
    """Read the journal's frames: their CRC and their zstd, and nothing in them."""
    nonce = bytes.fromhex(Session.read(path).nonce)
    frames = [frame for file in journal_files(path / "_journal") for frame in read_frames(file, nonce)]
    assert all(isinstance(frame, Frame) for frame in frames)


def _open(path: Path) -> None:
    found = Recording(path)
    assert found.info().packets == PACKETS
    found.events()


def read_rows(work: Path, usual: list[Packet | Event]) -> list[Row]:
    own, jsonl, mcap = work / "own usual stream", work / "read.jsonl.zst", work / "read.mcap"
    _jsonl(jsonl, usual)
    _mcap(mcap, usual)
    times: dict[str, list[float]] = {"own": [], "jsonl": [], "slice": [], "mcap": []}
    first, last = START_NS + PACKETS // 2 * 10**9, START_NS + (PACKETS // 2 + PACKETS // 100) * 10**9
    span = {"start": pd.Timestamp(first, tz="UTC"), "end": pd.Timestamp(last, tz="UTC")}
    for _ in range(ROUNDS):
        for name, read in (
            ("own", lambda: Recording(own).frame(COLUMNS)),
            ("jsonl", lambda: _read_jsonl(jsonl)),
            ("slice", lambda: Recording(own).frame(COLUMNS, **span)),
            ("mcap", lambda: _slice_mcap(mcap, first, last)),
        ):
            gc.collect()
            begun = time.perf_counter()
            read()
            times[name].append(time.perf_counter() - begun)
    own_s, jsonl_s, slice_s, mcap_s = (statistics.median(found) for found in times.values())
    return [
        Row(f"two columns of {PACKETS:,} packets / JSONL.zst", own_s / jsonl_s, "×", "≤ 0.033", f"{own_s * 1e3:.0f} ms; to pandas"),
        Row("a slice of 1 % of the time / MCAP's index", slice_s / mcap_s, "×", "≤ 1", f"{slice_s * 1e3:.1f} ms; two columns, to pandas"),
    ]


def _read_jsonl(path: Path) -> pd.DataFrame:
    with pa.CompressedInputStream(str(path), "zstd") as file:
        lines = file.read().splitlines()
    data = [orjson.loads(line)["message"]["data"] for line in lines]
    return pd.DataFrame({"price": [d["market"]["price"] for d in data], "nav": [d["portfolio"]["nav"] for d in data]})


def _slice_mcap(path: Path, first: int, last: int) -> pd.DataFrame:
    with path.open("rb") as file:
        found = [json.loads(m.data)["data"] for _, _, m in make_reader(file).iter_messages(start_time=first, end_time=last)]
    return pd.DataFrame({"price": [d["market"]["price"] for d in found], "nav": [d["portfolio"]["nav"] for d in found]})
