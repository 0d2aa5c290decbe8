"""Fuzzing of the readers with right checksums: `python -m tests.recording.fuzz [READER] [--seconds S] [--inputs N] [--seed K]`.

Each mutation is sealed again before it is read, so that what a checksum would catch is not what is tried. Whatever the files say: no
exception but ours, no more memory than checked counts allow and 64 MB, and at most a second of CPU.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import resource
import shutil
import struct
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import google_crc32c
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from ccwatch.errors import CcwatchError
from ccwatch.feed.synthetic import messages
from ccwatch.protocol.messages import Instant
from ccwatch.protocol.stream_reader import StreamReader
from ccwatch.recording import Recorder, Recording, list_recordings, pack
from ccwatch.recording.folder import seal, sealed_lines, unseal
from ccwatch.recording.journal import Frame, read_frames
from ccwatch.recording.manifest import FILES, read as read_manifest
from ccwatch.recording.schemas import SCHEMAS, encodings
from ccwatch.recording.segment_file import SegmentFile
from ccwatch.recording.segments import chunk_crcs, footer, footer_crc

GROWTH_KB = 64 << 10
CPU_S = 1.0
ODD: list[Any] = [
    *(None, True, -1, 0, 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1, 1e308, 0.5, "", "x", "../evil", "/etc/passwd", "\x1b[2J", "a" * 5000),
    *([], {}, [1, 2], [-1, 2**64 - 1], [[]], {"a": {"b": []}}, "é\u202e", "0" * 16, "packets/packets-1-2.parquet"),
]
TABLES = ("agents", "models", "logs", "forecasts", "trades", "scanner", "bars", "events")


def use(folder: Path) -> None:
    """Everything that reads a recording."""
    recording = Recording(folder)
    recording.info()
    recording.frame()
    recording.frame(["reasoning", "extra", "price"], start="2026-01-02T14:30:05Z", end="2026-01-02T14:30:15Z")
    for table in TABLES:
        getattr(recording, table)()
    for packet in recording.packets():
        packet.raw  # noqa: B018 - made when it is read
    recording.marks  # noqa: B018 - read for its errors
    recording.verify(deep=True)


def made(folder: Path, *, finish: bool) -> None:
    """A recording of 40 packets of two shapes, rotated once if it is to be finished."""
    session = StreamReader(virtual_clock=True)
    recorder = Recorder(folder, url="ws://x", origin="live", tags=["a"])
    recorder.receive(session.opened(Instant(1_767_364_200 * 10**9, 0)))
    for n, raw in enumerate(islice(messages(3, "malformed", 1.0), 40), 1):
        recorder.receive(session.receive(raw, Instant((1_767_364_200 + n) * 10**9, n * 10**9)))
        if finish and n == 20:
            recorder.rotate()
    recorder.stop(finish=finish)


# ── the mutations, one per reader ──


def changed(dice: random.Random, value: Any) -> Any:
    """A JSON value with something else in one place."""
    if isinstance(value, dict) and value and dice.random() < 0.9:
        key = dice.choice(list(value))
        if dice.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        return value | {key: changed(dice, value[key])}
    if isinstance(value, list) and value and dice.random() < 0.5:
        place = dice.randrange(len(value))
        return [*value[:place], changed(dice, value[place]), *value[place + 1 :]]
    if isinstance(value, int) and dice.random() < 0.3:
        return max(-(2**63), min(2**64 - 1, value ^ (1 << dice.randrange(63))))
    if isinstance(value, str) and value and dice.random() < 0.4:
        place = dice.randrange(len(value))
        return value[:place] + dice.choice("/\\.\0\x1b9azé") + value[place + 1 :]
    return dice.choice(ODD)


def session_json(dice: random.Random, folder: Path) -> None:
    found = unseal((folder / "session.json").read_bytes())
    for name in ("session.json", "_copies/session.json"):
        (folder / name).write_bytes(seal(changed(dice, found)) + b"\n")


def manifest(dice: random.Random, folder: Path) -> None:
    lines = [line for _, _, line in sealed_lines(folder / FILES[0]) if line is not None]
    for _ in range(dice.randint(1, 2)):
        place = dice.randrange(len(lines))
        found = changed(dice, lines[place])
        lines[place] = found if isinstance(found, dict) and found else {"line": found}
    for file in FILES:
        (folder / file).write_bytes(b"".join(seal(line) + b"\n" for line in lines))


def marks(dice: random.Random, folder: Path) -> None:
    found = changed(dice, {"time_ns": 1_767_364_205 * 10**9, "text": "here"})
    (folder / "marks.jsonl").write_bytes(seal(found if isinstance(found, dict) and found else {"x": found}) + b"\n")


def journal(dice: random.Random, folder: Path) -> None:
    """Bytes and integers of a frame's payload, or of its header, with the checksum that they then have."""
    (path,) = (folder / "_journal").glob("*.ccj")
    nonce = bytes.fromhex(unseal((folder / "session.json").read_bytes())["nonce"])
    out = bytearray()
    for frame in read_frames(path, nonce):
        assert isinstance(frame, Frame)
        payload, count, first, size = bytearray(frame.payload), frame.entries, frame.first_entry, len(frame.payload)
        for _ in range(dice.randint(0, 3)):
            place = dice.randrange(len(payload))
            if dice.random() < 0.5:
                payload[place] ^= 1 << dice.randrange(8)
            else:
                payload[place : place + 4] = struct.pack("<I", dice.choice([0, 1, 4, 5, 2**31, 2**32 - 1, len(payload)]))
        if dice.random() < 0.3:
            count = dice.choice([0, 1, count + 1, 2**31, 2**32 - 1])
        if dice.random() < 0.2:
            first = dice.choice([0, 1, first + 1, 2**62, 2**64 - 1])
        if dice.random() < 0.2:
            size = dice.choice([0, 1, size - 1, size + 1, 2**30, 2**32 - 1])
        stored = bytearray(pa.Codec("zstd").compress(bytes(payload), asbytes=True))
        if dice.random() < 0.2:
            stored[dice.randrange(len(stored))] ^= 1 << dice.randrange(8)
        header = struct.pack("<4s8sIIIQQ", b"CCJ1", nonce, len(stored), size, count, first, 1)
        out += header + struct.pack("<I", google_crc32c.extend(google_crc32c.value(header), bytes(stored))) + stored
    path.write_bytes(out)


def parquet(dice: random.Random, folder: Path) -> None:
    """Another schema, other values, or flipped bytes, with a manifest that agrees."""
    path = dice.choice(sorted(folder.glob("*/*.parquet")))
    how = dice.random()
    if how < 0.4:
        flipped(dice, path)
    else:
        rows = pq.read_table(path)
        place = dice.randrange(rows.num_columns)
        field = rows.schema.field(place)
        if how < 0.6:
            rows = rows.set_column(place, field.name, pa.array([dice.choice(["x", "{", ""])] * rows.num_rows))
        elif how < 0.7:
            rows = rows.drop_columns([field.name])
        elif how < 0.8:
            rows = pa.concat_tables([rows] * dice.choice([2, 100]))
        else:
            odd = dice.choice([0, 1, 2**31 - 1, -1]) if pa.types.is_integer(field.type) else dice.choice(["[", '["compact",0]', "é"])
            try:
                rows = rows.set_column(place, field, pa.array([odd] * rows.num_rows).cast(field.type))
            except (pa.ArrowException, OverflowError):
                return
        pq.write_table(rows, path, compression="zstd")
    name = path.relative_to(folder).as_posix()
    try:
        facts = {"bytes": path.stat().st_size, "footer_crc": footer_crc(path), "chunks": chunk_crcs(path)}
        facts["rows"] = footer(path).rows
    except (CcwatchError, OSError):
        return  # the footer is none: there is nothing for a manifest to agree with
    if not all(0 <= value < 2**63 for value in (facts["bytes"], facts["rows"])):
        return
    for file in FILES:
        lines = [line for _, _, line in sealed_lines(folder / file) if line is not None]
        lines = [line | facts if line.get("path") == name else line for line in lines]
        (folder / file).write_bytes(b"".join(seal(line) + b"\n" for line in lines))


def flipped(dice: random.Random, path: Path) -> None:
    """Flip bits, mostly of the footer or of pages that neither a checksum nor compression protects."""
    if dice.random() < 0.6:
        rows = pq.read_table(path)
        dictionaries, others = encodings(path.parent.name, rows)
        kept: dict[str, Any] = {"use_dictionary": dictionaries, "column_encoding": others} if dice.random() < 0.7 else {}
        pq.write_table(rows, path, compression=dice.choice(["none", "none", "zstd", "snappy"]), write_page_index=True, **kept)
    data = bytearray(path.read_bytes())
    footer_at = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    first, last = dice.choice([(4, footer_at), (footer_at, len(data) - 8)] if footer_at > 4 else [(footer_at, len(data) - 8)])
    for _ in range(dice.randint(1, 3)):
        if dice.random() < 0.7:
            data[dice.randrange(first, last)] ^= 1 << dice.randrange(8)
        else:
            data[dice.randrange(first, last)] = dice.choice([0, 1, 0x7F, 0x80, 0xFF])
    path.write_bytes(data)


def segment(dice: random.Random, folder: Path) -> None:
    """Read one flipped segment alone, which goes faster: whatever is in it, Arrow gives rows or an error, and does not end the process."""
    path = dice.choice([path for path in sorted(folder.glob("*/*.parquet")) if pq.read_metadata(path).num_rows])
    flipped(dice, path)
    found = footer(path)
    kept = next(one for group in read_manifest(folder).groups for one in group.files.values() if folder / one.path == path)
    facts = replace(kept, rows=found.rows, footer_crc=footer_crc(path), chunks=tuple(chunk_crcs(path)))
    file = SegmentFile(folder, facts)
    names = list(SCHEMAS[kept.table].names)
    for name in dice.sample(names, min(4, len(names))):
        with contextlib.suppress(CcwatchError):
            file.read_all([name]).to_pydict()
    file.read_all(names).to_pydict()


def archive(dice: random.Random, folder: Path) -> None:
    """Bytes of a zip's headers, lists and end, or names and sizes in them."""
    path = folder / "packed.zip"
    data = bytearray(path.read_bytes())
    places = [at for mark in (b"PK\1\2", b"PK\3\4", b"PK\5\6") for at in _all(data, mark)]
    for _ in range(dice.randint(1, 4)):
        at = dice.choice(places) + dice.randrange(4, 60)
        if at + 4 >= len(data):
            continue
        if dice.random() < 0.5:
            data[at] ^= 1 << dice.randrange(8)
        else:
            data[at : at + 4] = struct.pack("<I", dice.choice([0, 1, 2**31, 2**32 - 1, len(data)]))
    path.write_bytes(data[: dice.randrange(len(data))] if dice.random() < 0.1 else data)


def _all(data: bytes | bytearray, mark: bytes) -> list[int]:
    found, at = [], data.find(mark)
    while at >= 0:
        found.append(at)
        at = data.find(mark, at + 1)
    return found


READERS: dict[str, Callable[[random.Random, Path], None]] = {
    "session": session_json,
    "manifest": manifest,
    "marks": marks,
    "journal": journal,
    "parquet": parquet,
    "segment": segment,
    "archive": archive,
}


def fuzz(reader: str, *, cpu_s: float = 1e9, inputs: int | None = None, seed: int = 0) -> tuple[int, int]:
    """Try mutations until the CPU time is spent, or so many; how many, and how many of them were refused.

    Raises:
        AssertionError: an exception that is not ours, too much memory or too much CPU.
    """
    dice = random.Random(f"{reader} {seed}")
    tried = refused = 0
    begun = time.process_time()
    with tempfile.TemporaryDirectory() as place:
        whole, work = Path(place, "whole"), Path(place, "work")
        made(whole / "s", finish=reader != "journal")
        made(whole / "other", finish=True)
        use(whole / "s")
        if reader == "archive":
            pack(Recording(whole / "s"), whole / "s" / "packed.zip")
        while time.process_time() - begun < cpu_s and (inputs is None or tried < inputs):
            shutil.rmtree(work, ignore_errors=True)
            shutil.copytree(whole, work)
            tried += 1
            memory, cpu = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
            try:
                READERS[reader](dice, work / "s")
                if reader != "segment":
                    cpu = time.process_time()
                    use(work / "s" / "packed.zip" if reader == "archive" else work / "s")
            except CcwatchError:
                refused += 1
            except (zipfile.BadZipFile, Exception) as error:
                raise AssertionError(f"{reader}, input {tried}: {type(error).__name__}: {error}") from error
            spent = time.process_time() - cpu
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
            if spent > CPU_S or grown > GROWTH_KB:
                raise AssertionError(f"{reader}, input {tried}: {spent:.2f} s of CPU, {grown / 1024:.0f} MB more")
            if tried % 50 == 1 and list_recordings(work).loc["other", "status"] != "finished":
                raise AssertionError(f"{reader}, input {tried}: hides the recording beside it")
    return tried, refused


def main() -> None:
    """Fuzz one reader, or each in turn, for so long or so many inputs."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("reader", nargs="?", choices=READERS)
    arguments.add_argument("--seconds", type=float, default=1800.0, help="of CPU")
    arguments.add_argument("--inputs", type=int)
    arguments.add_argument("--seed", type=int, default=0)
    asked = arguments.parse_args()
    warnings.filterwarnings("ignore", "Duplicate name", UserWarning)  # zipfile's own, of an archive that lies
    for name in [asked.reader] if asked.reader else READERS:
        tried, refused = fuzz(name, cpu_s=asked.seconds, inputs=asked.inputs, seed=asked.seed)
        print(orjson.dumps({"reader": name, "inputs": tried, "refused": refused, "seed": asked.seed}).decode(), flush=True)


if __name__ == "__main__":
    main()
