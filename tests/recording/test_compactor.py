"""The compactor, killed at random moments: everything is read once, before and after it goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from ccwatch.recording import Recorder, Recording

KILLED = """
import os, random, shutil, signal, sys, time
from pathlib import Path
from ccwatch.recording import Recording, recover
from ccwatch.recording.recover import compact
whole, work, kills = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
wanted = list(Recording(whole).items())

def check(after):
    found = Recording(work)
    assert list(found.items()) == wanted, after
    assert found.verify(deep=True).ok, after

rng, done, through, longest = random.Random(os.environ.get("CCWATCH_SEED", "5")), 0, 0, 0.2
shutil.copytree(whole, work)
while done < kills:  # each in a process of its own, which begins where the modules are imported already
    begun = time.monotonic()
    child = os.fork()
    if not child:
        (compact if rng.random() < 0.5 else recover)(work)
        os._exit(0)
    time.sleep(rng.uniform(0.0, longest))
    os.kill(child, signal.SIGKILL)
    is_killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
    done += is_killed
    check(f"kill {done}")
    if not is_killed:  # it was through: the next one begins with the whole journal
        through, longest = through + 1, max(0.02, min(longest, time.monotonic() - begun))
        shutil.rmtree(work)
        shutil.copytree(whole, work)
recover(work)
check("the end")
print(done, through)
"""


@pytest.mark.slow
def test_killed_at_random_it_loses_nothing_and_reads_nothing_twice(usual, tmp_path, eventually, capsys):
    recorder = Recorder(tmp_path / "whole", url="", origin="live")
    for n in range(0, 300, 50):
        recorder.receive(usual[n : n + 50])
        eventually(lambda n=n: recorder.stats.packets + recorder.stats.events >= n + 50)
    recorder.stop(finish=False)
    assert len(list(Recording(tmp_path / "whole").items())) == 300
    kills = 100 if os.environ.get("CCWATCH_FULL") else 4
    run = [sys.executable, "-c", KILLED, str(tmp_path / "whole"), str(tmp_path / "work"), str(kills)]
    ended = subprocess.run(run, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    with capsys.disabled():
        print(f"\n{ended.stdout.split()[0]} kills of the compactor, {ended.stdout.split()[1]} runs that were through before theirs")
    shutil.rmtree(tmp_path / "work")
