"""A recording that ends after a given time, as the last line of a script: the script waits for it, and Ctrl-C ends it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ccwatch as cw

SCRIPT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a runner in the background has switched off
import ccwatch as cw
cw.record(cw.synthetic(rate=50), {folder!r}, duration={duration!r})
"""


def script(folder: Path, duration: str) -> subprocess.Popen[str]:
    code = SCRIPT.format(folder=str(folder), duration=duration)
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_script_whose_last_line_records_waits_for_the_end_and_says_so(tmp_path: Path) -> None:
    with script(tmp_path, "3s") as process:
        said = process.communicate(timeout=90)[1]
    assert process.returncode == 0, said
    (folder,) = tmp_path.iterdir()
    assert f"recording into {folder} until" in said
    assert "Ctrl-C ends it now" in said
    recording = cw.open_recording(folder)
    assert recording.status == "finished"
    assert recording.info().packets > 20


@pytest.mark.slow
def test_ctrl_c_ends_the_wait_and_keeps_what_was_recorded(tmp_path: Path) -> None:
    with script(tmp_path, "1h") as process:
        assert process.stderr is not None
        assert "recording into" in process.stderr.readline()
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    (folder,) = tmp_path.iterdir()
    assert len(cw.open_recording(folder).frame()) > 5
