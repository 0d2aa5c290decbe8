"""A pusher, killed at random moments: the store never names what it does not hold, and the push that comes through completes it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ccwatch.archives import pull
from ccwatch.recording import Recording
from tests.archives.seeded import items_of, write

KILLED = """
import os, random, signal, subprocess, sys, time
from pathlib import Path
from ccwatch.archives import push
from ccwatch.archives.object_store import Store
from ccwatch.recording import manifest
path, bucket, kills = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
rng, done, through, longest = random.Random(os.environ.get("CCWATCH_SEED", "5")), 0, 0, 1.0

def check(url):
    store = Store(url)
    try:
        lines, _ = store.get("MANIFEST.jsonl")
    except FileNotFoundError:
        return 0
    named = manifest.segments_of(lines, Path("MANIFEST.jsonl"))
    for segment in named:
        found = store.head(segment.path)
        assert found is not None and found["size"] == segment.bytes, segment.path
    return len(named)

def run(work):  # obstore has threads of its own, which a fork would lose: a fork for each use
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    return child

while done < kills:
    begun, url = time.monotonic(), f"{bucket}/n{through}"
    child = run(lambda: push(path, url))
    time.sleep(rng.uniform(0.0, longest))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or status == 0, "the push failed"
    done += os.WIFSIGNALED(status)
    assert os.waitpid(run(lambda: check(f"{url}/{path.name}")), 0)[1] == 0
    if not os.WIFSIGNALED(status):
        through, longest = through + 1, max(0.05, min(longest, time.monotonic() - begun))
assert os.waitpid(run(lambda: push(path, f"{bucket}/n{through}")), 0)[1] == 0
print(done, through)
"""


@pytest.mark.slow
def test_killed_at_random_no_manifest_names_what_is_missing_and_all_arrives(bucket, tmp_path, capsys):
    write(tmp_path / "s1", items_of(1, 120), url="ws://x")
    kills = 100 if os.environ.get("CCWATCH_FULL") else 3
    run = [sys.executable, "-c", KILLED, str(tmp_path / "s1"), bucket, str(kills)]
    ended = subprocess.run(run, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    done, through = map(int, ended.stdout.split())
    assert pull(f"{bucket}/n{through}/s1", tmp_path / "back").finished
    back = Recording(tmp_path / "back" / "s1")
    assert back.verify(deep=True).ok
    assert list(back.items()) == list(Recording(tmp_path / "s1").items())
    with capsys.disabled():
        print(f"\n{done} kills of the pusher, {through} pushes that were through before theirs")
