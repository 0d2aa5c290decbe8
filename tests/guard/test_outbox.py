"""The outbox and its receivers, against a real server that refuses, is slow, answers 500 and 429, and is cut in mid-answer."""

from __future__ import annotations

import os
import socketserver
import subprocess
import sys
import threading
import time

import pytest

from ccwatch.config import Tables
from ccwatch.errors import ConfigError
from ccwatch.guard import outbox as module
from ccwatch.guard.outbox import Outbox
from ccwatch.guard.receivers import Receiver, read_receivers, retry_after
from ccwatch.recording import seal
from tests.guard.servers import desk, free_port


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "BACKOFF_S", (0.05,))


def wait_until(condition, seconds=20.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def body(text="something"):
    return {"kind": "firing", "text": text, "severity": "critical", "title": "t"}


def test_a_message_is_delivered_once_and_not_queued_again_under_its_name(tmp_path):
    with desk() as server:
        box = Outbox(tmp_path, [Receiver("desk", server.address)])
        box.start()
        assert box.queue("a", body(), ["desk"])
        assert not box.queue("a", body(), ["desk"])
        assert box.drain(30)
        box.stop()
        again = Outbox(tmp_path, [Receiver("desk", server.address)])
        assert not again.queue("a", body(), ["desk"])
        assert server.names == ["a"]
        assert server.taken[0]["possibly_repeated"] is False


@pytest.mark.parametrize(("answers", "repeated"), [([500, 404, 503], False), (["cut"], True), (["torn"], True), (["slow"], False)])
def test_whatever_a_receiver_answers_it_has_the_message_in_the_end(tmp_path, answers, repeated):
    with desk() as server:
        server.answers = list(answers)
        box = Outbox(tmp_path, [Receiver("desk", server.address)])
        box.start()
        box.queue("a", body(), ["desk"])
        assert box.drain(30)
        box.stop()
        assert server.names == ["a"] * (1 + repeated)
        assert server.taken[-1]["possibly_repeated"] is repeated
        assert ("possibly a repetition" in server.taken[-1]["text"]) is repeated


def test_retry_after_is_honoured(tmp_path):
    with desk() as server:
        server.answers = [429]
        box = Outbox(tmp_path, [Receiver("desk", server.address)])
        box.start()
        began = time.time()
        box.queue("a", body(), ["desk"])
        assert box.drain(30)
        box.stop()
        assert server.times[0] - began >= 1.0
    assert retry_after("120") == 120.0
    assert retry_after("Fri, 02 Jan 2026 14:31:00 GMT", now=1767364200.0) == pytest.approx(60.0)
    assert retry_after("soon") is None


def test_a_receiver_that_is_down_loses_nothing_and_late_messages_say_so(tmp_path):
    port, clock = free_port(), [1_000_000.0]
    receiver = Receiver("desk", f"json://127.0.0.1:{port}/hook")
    box = Outbox(tmp_path, [receiver], clock=lambda: clock[0])
    box.start()
    for name in "abc":
        box.queue(name, body(), ["desk"])
    time.sleep(0.3)
    clock[0] += 600.0
    with desk(port) as server:
        assert box.drain(30)
        box.stop()
        assert server.names == ["a", "b", "c"]
        assert {m["late_s"] for m in server.taken} == {600.0}
        assert server.taken[0]["text"].startswith("(late by 10 min)")
        assert not any(m["possibly_repeated"] for m in server.taken), "a refused connection delivered nothing"


def test_a_slow_receiver_delays_no_other(tmp_path):
    with desk() as slow, desk() as quick_one:
        slow.answers = ["slow"] * 3
        box = Outbox(tmp_path, [Receiver("slow", slow.address), Receiver("quick", quick_one.address)])
        box.start()
        for name in "abc":
            box.queue(name, body(), ["slow", "quick"])
        wait_until(lambda: len(quick_one.taken) == 3)
        assert len(slow.taken) < 3, "the quick one has all while the slow one takes its time"
        assert box.drain(30)
        box.stop()
        assert slow.names == ["a", "b", "c"]


def test_a_message_is_held_until_it_is_amended_or_its_time_is_over(tmp_path):
    with desk() as server:
        box = Outbox(tmp_path, [Receiver("desk", server.address)])
        box.start()
        box.queue("a", body("short"), ["desk"], hold_s=600.0)
        box.queue("b", body(), ["desk"])
        time.sleep(0.2)
        assert server.names == [], "what is held keeps its place"
        box.amend("a", body("with evidence"))
        assert box.drain(20)
        box.amend("a", body("too late"))
        box.queue("c", body("short"), ["desk"], hold_s=0.1)
        assert box.drain(20)
        box.queue("d", body("short"), [], hold_s=600.0)
        box.stop()
        waiting = Outbox(tmp_path / "2", [])
        waiting.queue("e", body("short"), ["desk"], hold_s=600.0)
        waiting.amend("e", body("with evidence"))
        again = Outbox(tmp_path / "2", [Receiver("desk", server.address)])
        assert again.deliver_next("desk"), "after a restart nothing is held"
    assert [(m["message"], m["text"]) for m in server.taken] == [
        ("a", "with evidence"),
        ("b", "something"),
        ("c", "short"),
        ("e", "with evidence"),
    ]


class _Mail(socketserver.StreamRequestHandler):
    """As much of SMTP as a sender needs; a fault of the server's list befalls each mail: "450", "550", "cut" or "cut after"."""

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        in_data, lines = False, []
        fault = self.server.faults.pop(0) if self.server.faults else ""
        for line in self.rfile:
            word = line.strip().upper()
            if in_data:
                if line == b".\r\n":
                    in_data = False
                    if fault == "cut":
                        return
                    self.server.mails.append(b"".join(lines).decode())
                    if fault == "cut after":
                        return
                    self.wfile.write(b"250 taken\r\n")
                else:
                    lines.append(line)
            elif word == b"DATA":
                in_data = True
                self.wfile.write(b"354 go on\r\n")
            elif word == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            elif word.startswith(b"RCPT") and fault in {"450", "550"}:
                self.wfile.write(fault.encode() + b" not now\r\n")
            else:
                self.wfile.write(b"250 fine\r\n")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of apprise itself
@pytest.mark.parametrize("fault", ["", "450", "550", "cut", "cut after", "refused"])
def test_mail_goes_out_by_apprise_and_what_it_cannot_tell_is_marked_as_possibly_a_repetition(tmp_path, fault):
    pytest.importorskip("apprise")
    port = free_port()
    box = Outbox(tmp_path, [Receiver("mail", f"mailto://127.0.0.1:{port}?from=guard@example.com&to=desk@example.com&mode=insecure")])
    box.queue("a", body("the drawdown is 2 %"), ["mail"])
    if fault == "refused":
        assert not box.deliver_next("mail")
    server = socketserver.ThreadingTCPServer(("127.0.0.1", port), _Mail)
    server.daemon_threads, server.mails, server.faults = True, [], [fault] if fault not in {"", "refused"} else []
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        if server.faults:
            assert not box.deliver_next("mail")
        assert box.deliver_next("mail")
        wait_until(lambda: len(server.mails) == 1 + (fault == "cut after"))
        assert "desk@example.com" in server.mails[-1]
        assert ("possibly a repetition" in server.mails[-1]) is bool(fault), "apprise only says whether it was taken"
    finally:
        server.shutdown()
        server.server_close()


# ── secrets ──


def test_an_address_stands_in_no_repr_and_no_error(tmp_path, monkeypatch):
    secret = "json://user:hunter2@127.0.0.1:1/hook?token=hunter2"
    monkeypatch.setenv("DESK", secret)
    receiver = Receiver("desk", "env:DESK")
    found = receiver.send(body())
    assert not found.done
    for text in (repr(receiver), str(receiver), found.detail, repr(found)):
        assert "hunter2" not in text
    box = Outbox(tmp_path, [receiver])
    box.queue("a", body(), ["desk"])
    assert "hunter2" not in (tmp_path / module.OUTBOX).read_text()
    assert "hunter2" not in repr(Receiver("desk", secret))


@pytest.mark.parametrize(
    "address",
    [
        "json://user:pass@host/x",
        "json://host/x?token=1",
        "slack://tokenA/tokenB/tokenC",
        "mailto://me:pw@example.com",
        "just text",
        "env:",
    ],
)
def test_an_address_with_a_secret_is_refused_with_file_and_line_and_is_not_shown(tmp_path, address):
    file = tmp_path / "ccwatch.toml"
    file.write_text(f'url = "ws://x"\n\n[receivers]\ndesk = "{address}"\n')
    with pytest.raises(ConfigError, match=r"ccwatch\.toml:4: receiver 'desk'") as raised:
        read_receivers(Tables.load(file=file))
    assert address not in str(raised.value) or address in {"env:", "just text"}


def test_addresses_come_from_the_environment_or_a_file_when_they_are_used(tmp_path, monkeypatch):
    with desk() as server:
        monkeypatch.setenv("DESK", server.address.replace("://", "://me:secret@"))
        (tmp_path / "address").write_text(f"{server.address}\n")
        for source in ("env:DESK", f"file:{tmp_path / 'address'}", server.address):
            assert Receiver("r", source).send(body() | {"message": "m"}).done
        assert server.headers[0]["Authorization"].startswith("Basic ")
        assert server.headers[0]["X-Ccwatch-Message"] == "m"
    assert "no NOTHING" in Receiver("r", "env:NOTHING").send(body()).detail


# ── kills ──

SENDER = """
import os, random, signal, sys, time
from pathlib import Path
from ccwatch.guard.outbox import Outbox
from ccwatch.guard.receivers import Receiver
folder, address, kills = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def send(wanted):
    box = Outbox(folder, [Receiver("desk", address)])
    box.start()
    for n in range(wanted):
        box.queue(f"m{n}", {"kind": "firing", "text": "x"}, ["desk"])
    box.drain(60)
    box.stop()

rng, wanted, done = random.Random(7), 30, 0
while done < kills:  # each in a process of its own, which begins where the modules are imported already
    child = os.fork()
    if not child:
        send(wanted)
        os._exit(0)
    time.sleep(rng.uniform(0.0, 0.25))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        done += 1
    else:
        wanted += 10  # it was through with them: more are to be told
send(wanted)
print(wanted)
"""


@pytest.mark.slow
def test_killed_at_random_each_message_arrives_once_or_says_that_it_may_be_a_repetition(tmp_path, capsys):
    kills = int(os.environ.get("CCWATCH_KILLS", "1000")) if os.environ.get("CCWATCH_FULL") else 12
    with desk() as server:
        run = [sys.executable, "-c", SENDER, str(tmp_path), server.address, str(kills)]
        wanted = int(subprocess.run(run, check=True, capture_output=True, text=True).stdout)
        assert set(server.names) == {f"m{n}" for n in range(wanted)}
        first, repeated = set(), 0
        for message in server.taken:
            assert message["message"] not in first or message["possibly_repeated"], message
            repeated += message["message"] in first
            first.add(message["message"])
    with capsys.disabled():
        print(f"\n{kills} kills, {wanted} messages: all arrived, {repeated} twice, all of these marked")


QUEUED = {
    "kind": "queued",
    "name": "m",
    "at_ns": time.time_ns(),
    "receivers": ["desk"],
    "body": {"kind": "firing", "text": "x", "message": "m"},
}
LIES = [
    {"kind": "queued"},
    QUEUED | {"name": 5},
    QUEUED | {"at_ns": "now"},
    QUEUED | {"at_ns": -1},
    QUEUED | {"receivers": [1]},
    QUEUED | {"receivers": "desk"},
    QUEUED | {"body": []},
    QUEUED | {"maybe": 7},
    *({"kind": kind} for kind in ("known", "amended", "tested", "attempt", "refused", "done", "other", 5, None)),
    {"kind": "amended", "name": "m", "body": "x"},
    {"kind": "done", "name": "m", "receiver": "desk", "at_ns": None},
    {"kind": "attempt", "name": "m", "receiver": {}},
    {"nothing": True},
]


def test_lines_that_lie_hide_no_message_and_are_logged(tmp_path, caplog):
    (tmp_path / module.OUTBOX).write_bytes(b"".join(seal(line) + b"\n" for line in [*LIES[:9], QUEUED, *LIES]))
    with desk() as server:
        box = Outbox(tmp_path, [Receiver("desk", server.address)])
        assert box.waiting() == {"desk": ("m",)}
        assert box.deliver_next("desk")
        assert server.names == ["m"]
        assert Outbox(tmp_path, []).waiting() == {}
    assert "lines are damaged" in caplog.text


@pytest.mark.parametrize(
    "lie",
    [{}, {"text": 5, "title": []}, {"kind": {}, "text": None}, {"alerts": 7, "text": "x"}, {"message": "a\r\nX: y"}, {"message": "\u202e"}],
)
def test_a_message_that_lies_is_delivered_or_refused_and_the_next_one_is_delivered(tmp_path, lie):
    lines = [QUEUED | {"name": "odd", "body": lie}, QUEUED]
    (tmp_path / module.OUTBOX).write_bytes(b"".join(seal(line) + b"\n" for line in lines))
    with desk() as server:
        box = Outbox(tmp_path, [Receiver("desk", server.address)])
        box.start()
        wait_until(lambda: "m" in server.names)
        box.stop()
