"""The guard's command, as a service manager runs it: it is killed, reads its rules again, and ends on SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import ccwatch as cw
from ccwatch.recording import AlertJournal, Recording
from tests.contract.conftest import wait_until
from tests.guard.servers import desk


class Running:
    """A guard in a process of its own, and what it logs."""

    def __init__(self, cwd, url, root, server):
        command = [sys.executable, "-m", "ccwatch", "guard", url, "--record", str(root), "--notify", "desk", "--log", "json"]
        self.process = subprocess.Popen(command, cwd=cwd, env=os.environ | {"DESK": server.address}, stderr=subprocess.PIPE, text=True)
        self.log = []
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.log.append(json.loads(line))

    def events(self, name):
        return [line for line in self.log if line["event"] == name]

    def end(self, sent):
        self.process.send_signal(sent)
        code = self.process.wait(60)
        self.reader.join(10)
        self.process.stderr.close()
        return code


@pytest.mark.slow
def test_killed_in_mid_fall_it_knows_peak_capital_and_latches_and_reads_its_rules_again(tmp_path):
    """The server goes on; the second guard sees only the second half of the fall, and knows what the first one saw."""
    root, file = tmp_path / "rec", tmp_path / "ccwatch.toml"
    receivers = '[receivers]\ndesk = "env:DESK"\n'
    file.write_text(receivers)
    with desk() as server, cw.serve(seed=1, scenario="drawdown-halt", rate=6) as cottage:
        first = Running(tmp_path, cottage.url, root, server)
        wait_until(lambda: any(m["group"] == "drawdown" for m in server.kinds("firing")), 120)
        assert first.end(signal.SIGKILL) == -signal.SIGKILL
        page = Path(server.kinds("firing")[0]["page"])
        second = Running(tmp_path, cottage.url, root, server)
        wait_until(lambda: second.events("watching"), 120)
        wait_until(lambda: any(m["rule"] == "halt" for m in server.kinds("firing")), 120)
        wait_until(lambda: page.exists() and "not worked out yet" not in page.read_text(), 120)
        assert page.read_text().count("<polyline") >= 3, "the page has the packets of before the kill"
        file.write_text(receivers + '[[rules]]\nname = "now"\nwhen = "prize > 1"\n')
        second.process.send_signal(signal.SIGHUP)
        wait_until(lambda: any("did you mean 'price'" in line["text"] for line in second.events("trouble")), 120)
        file.write_text(receivers + '[[rules]]\nname = "now"\nwhen = "price > 1"\n')
        second.process.send_signal(signal.SIGHUP)
        wait_until(lambda: any(m["rule"] == "now" for m in server.kinds("firing")), 120)
        wait_until(lambda: second.events("blind"), 120)
        assert second.end(signal.SIGTERM) == 0
    fired = {line["rule"] for line in (*first.events("alert"), *second.events("alert"))}
    assert "drawdown-peak-2" in fired, "it knows the peak from before it was killed"
    again = [m for at, m in enumerate(server.taken) if m["message"] in server.names[:at]]
    assert all(m["possibly_repeated"] for m in again), "the kill may come between the answer and the note of it"
    assert [m["text"] for m in server.taken if m["kind"] == "blind" and "It saw nothing from 20" in m["text"]]
    book = AlertJournal(max(root.glob("*/alerts.jsonl"), key=lambda p: p.stat().st_mtime).parent).book()
    assert {"drawdown-peak-1.5", "drawdown-peak-2", "halt"} <= {a["rule"] for a in book.open}, "the journal was carried over"
    events = Recording(max(root.glob("2*/"))).events()
    assert (events["kind"] == "alert").any(), "alerts are among the recording's events"
