"""The guard on real streams: what it tells, what it remembers when it is killed, what it needs."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import ccwatch as cw
from ccwatch.alerts import AlertSettings
from ccwatch.guard.guard import Guard, GuardOptions
from ccwatch.guard.receivers import Receiver
from ccwatch.recording import AlertJournal, Recording
from tests.guard.servers import desk

BAD = Path(__file__).parents[2] / "recordings" / "sample-bad-session"


@pytest.fixture(autouse=True)
def _evidence_is_gathered():
    """A guard ends within a second and leaves evidence that is being gathered to a daemon: here it is waited for."""
    yield
    for thread in threading.enumerate():
        if thread.name == "ccwatch-evidence":
            thread.join(20.0)


def wait_until(condition, seconds=20.0):
    until = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)
    return value


def ids(folder):
    return {(key, alert["resolved"] is None) for key, alert in AlertJournal(folder).book().alerts.items()}


def guard_of(view, folder, server=None, **more):
    receivers = [] if server is None else [Receiver("desk", server.address)]
    options = GuardOptions(**{"notify": () if server is None else ("desk",), **more.pop("options", {})})
    return Guard(view, folder, settings=more.pop("settings", AlertSettings()), receivers=receivers, options=options, **more)


def test_a_guard_needs_no_widget():
    code = (
        "import sys, ccwatch.guard.guard, ccwatch.guard.setup, ccwatch.cli.guard;"
        "print([m for m in ('ipywidgets','anywidget','IPython','plotly','scipy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_a_recording_is_judged_and_people_are_told_with_evidence_and_a_page(tmp_path):
    events = []
    with desk() as server:
        copied = tmp_path / "bad"
        subprocess.run(["cp", "-r", str(BAD), str(copied)], check=True)
        with guard_of(Recording(copied), tmp_path / "_guard", server, on_event=lambda *e: events.append(e)) as guard:
            wait_until(lambda: guard.watch.is_caught_up and ids(copied))
            assert guard.outbox.drain(5)
            page = Path(server.kinds("firing")[0]["page"])
            wait_until(page.exists)
    expected = {(row.rule, row.subject) for row in cw.analyze(BAD).alerts().to_frame().itertuples()}
    assert {(a["rule"], a["subject"]) for a in AlertJournal(copied).book().alerts.values()} == expected
    told = server.kinds("firing", "worse")
    assert "halt" in {m["rule"] for m in told}
    assert all(m["certificate"] == "never tested" and m["id"] in m["text"] and m["synthetic"] for m in told)
    text = page.read_text(encoding="utf-8")
    assert "<svg" in text
    assert "SYNTHETIC" in text
    assert "http" not in re.sub(r'xmlns="[^"]*"', "", text), "it is offline"


def test_money_is_left_out_of_pages_where_asked(tmp_path):
    copied = tmp_path / "bad"
    subprocess.run(["cp", "-r", str(BAD), str(copied)], check=True)
    with desk() as server, guard_of(Recording(copied), tmp_path / "_guard", server, options={"drop": ("nav", "price")}) as guard:
        wait_until(lambda: server.kinds("firing"))
        page = Path(server.kinds("firing")[0]["page"])
        wait_until(page.exists)
        assert guard.outbox.drain(5)
    assert "nav (USD)" not in page.read_text(encoding="utf-8")


GUARD = """
import sys, time
from pathlib import Path
from ccwatch.alerts import AlertSettings
from ccwatch.guard.guard import Guard, GuardOptions
from ccwatch.guard.receivers import Receiver
from ccwatch.recording import Recording
recording = Recording(Path(sys.argv[1]))
guard = Guard(recording, Path(sys.argv[2]), settings=AlertSettings(), receivers=[Receiver("desk", sys.argv[3])],
              options=GuardOptions(notify=("desk",)))
with guard:
    while not guard.watch.is_caught_up: time.sleep(0.02)
    guard.outbox.drain(20)
"""


@pytest.mark.slow
def test_killed_at_random_moments_the_set_of_alerts_is_that_of_an_unkilled_guard_and_nothing_is_told_twice(tmp_path):
    """Each kill lands somewhere between the first packet that is judged and the last message that is delivered."""
    kills = 60 if os.environ.get("CCWATCH_FULL") else 6
    rng = random.Random(3)
    expected = {(row.rule, row.subject) for row in cw.analyze(BAD).alerts().to_frame().itertuples()}
    copied = tmp_path / "bad"
    subprocess.run(["cp", "-r", str(BAD), str(copied)], check=True)
    with desk() as server:
        run = [sys.executable, "-c", GUARD, str(copied), str(tmp_path / "_guard"), server.address]
        for _ in range(kills):
            child = subprocess.Popen(run)
            try:
                child.wait(rng.uniform(1.0, 4.0))
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
                child.wait()
        subprocess.run(run, check=True)
        assert {(a["rule"], a["subject"]) for a in AlertJournal(copied).book().alerts.values()} == expected
        seen = set()
        for message in server.kinds("firing", "worse", "resolved"):
            assert message["message"] not in seen or message["possibly_repeated"]
            seen.add(message["message"])


@pytest.mark.slow
def test_restarted_in_mid_fall_it_knows_peak_capital_and_latches(tmp_path):
    """The server goes on; the second guard sees only the second half of the fall, and knows what the first one saw."""
    root = tmp_path / "rec"

    def run(url, server):
        env = os.environ | {"DESK": server.address}
        command = [sys.executable, "-m", "ccwatch", "guard", url, "--record", str(root), "--notify", "desk", "--log", "json"]
        return subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)

    (tmp_path / "ccwatch.toml").write_text('[receivers]\ndesk = "env:DESK"\n')
    with desk() as server, cw.serve(seed=1, scenario="drawdown-halt", rate=6) as cottage:
        first = run(cottage.url, server)
        wait_until(lambda: any(m["group"] == "drawdown" for m in server.kinds("firing")), 60)
        first.send_signal(signal.SIGKILL)
        first.wait()
        first.stderr.close()
        second = run(cottage.url, server)
        wait_until(lambda: any(m["rule"] == "halt" for m in server.kinds("firing")), 30)
        second.send_signal(signal.SIGTERM)
        log = second.communicate(timeout=20)[1]
        assert second.returncode == 0
    fired = [json.loads(line) for line in log.splitlines() if '"event": "alert"' in line]
    assert "drawdown-peak-2" in {line["rule"] for line in fired}, "it knows the peak from before it was killed"
    names = server.names
    assert len(names) == len(set(names)), "nothing was told twice"
    book = AlertJournal(max(root.glob("*/alerts.jsonl"), key=lambda p: p.stat().st_mtime).parent).book()
    assert {"drawdown-peak-1.5", "drawdown-peak-2", "halt"} <= {a["rule"] for a in book.open}, "the journal was carried over"
    events = Recording(max(root.glob("2*/"))).events()
    assert (events["kind"] == "alert").any(), "alerts stand in the recording's events"


def test_an_alert_is_acknowledged_and_silenced_by_command_in_the_journal_that_the_guard_reads(tmp_path):
    copied = tmp_path / "bad"
    subprocess.run(["cp", "-r", str(BAD), str(copied)], check=True)
    with guard_of(Recording(copied), tmp_path / "_guard") as guard:
        wait_until(lambda: any(a.rule == "halt" for a in guard.watch.open))
        (halt,) = [a for a in guard.watch.open if a.rule == "halt"]
        wait_until(lambda: halt.id in guard.journal.book().alerts)  # written down only after its messages are queued
        run = [sys.executable, "-m", "ccwatch", "alerts", str(copied)]
        assert subprocess.run([*run, "--ack", halt.id, "--by", "anna"], capture_output=True, text=True, check=True).stdout
        wait_until(lambda: any(a.rule == "halt" and a.is_acknowledged for a in guard.watch.open))
        refused = subprocess.run([*run, "--silence", halt.id, "30min"], capture_output=True, text=True, check=False)
        assert refused.returncode == 2
        assert "--reason" in refused.stderr
        subprocess.run([*run, "--silence", halt.id, "30min", "--reason", "deploy"], capture_output=True, check=True)
        book = guard.journal.book()
        assert book.acknowledged[halt.id].by == "anna"
        assert book.silence_of(halt.to_dict()).reason == "deploy"
        listed = subprocess.run([*run, "--json"], capture_output=True, text=True, check=True).stdout
        rows = [json.loads(line) for line in listed.splitlines()]
        assert next(row for row in rows if row["id"] == halt.id)["acknowledged_by"] == "anna"


def test_from_packet_to_receiver_takes_less_than_a_second(tmp_path):
    rules = (cw.Rule("tick", "count(price, 1s) >= 1 and price > 0", severity="critical"),)
    settings, took = AlertSettings(rules=rules, own=rules), []
    with desk() as server:
        for n in range(5):
            feed = cw.synthetic(seed=n, rate=5, packets=5, name=f"latency{n}")
            with feed, guard_of(feed, tmp_path / str(n), server, settings=settings):
                wait_until(lambda n=n: len(server.kinds("firing")) == n + 1)
                began = feed.frame(clean=False)["received_at"].iloc[0].timestamp()
                took.append(server.times[len(server.times) - 1] - began)
        assert sorted(took)[2] < 1.0, took


def test_the_heartbeat_stops_when_the_guard_is_blind(tmp_path):
    beat = tmp_path / "alive"
    options = {"heartbeat": str(beat), "heartbeat_s": 0.1}
    with cw.serve(seed=1, rate=20) as cottage, cw.connect(cottage.url) as feed, guard_of(feed, tmp_path / "g", options=options):
        wait_until(beat.exists)
        first = json.loads(beat.read_text())["at_ns"]
        wait_until(lambda: json.loads(beat.read_text())["at_ns"] > first)
        cottage.stop()
        wait_until(lambda: str(feed.state) == "DISCONNECTED")
        time.sleep(1.2)
        last = json.loads(beat.read_text())["at_ns"]
        time.sleep(1.5)
        assert json.loads(beat.read_text())["at_ns"] == last


def test_one_marked_message_to_each_receiver_and_exit_1_if_one_fails(tmp_path):
    with desk() as server:
        (tmp_path / "ccwatch.toml").write_text(f'[receivers]\ndesk = "{server.address}"\nother = "env:NOWHERE"\n')
        run = [sys.executable, "-m", "ccwatch", "guard", "--test", "--log", "json"]
        good = subprocess.run([*run, "--notify", "desk"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert good.returncode == 0, good.stderr
        assert server.taken[0]["kind"] == "test"
        assert server.taken[0]["text"].startswith("TEST")
        assert subprocess.run(run, cwd=tmp_path, capture_output=True, check=False).returncode == 1
        odd = subprocess.run([*run, "--notify", "desc"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert odd.returncode == 2
        assert "did you mean 'desk'" in odd.stderr


def test_two_threads_write_the_state_one_after_the_other(tmp_path):
    guard = guard_of(cw.synthetic(seed=1, rate=5, packets=5, name="state"), tmp_path)
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(guard._save) for _ in range(600)]:
            done.result()
    assert json.loads((tmp_path / "state.json").read_text())["alive_ns"] == guard.state.alive_ns
