"""Push, pull and reading from a store, against a real server of S3's protocol, with faults between the two."""

from __future__ import annotations

import re
import shutil
import socket
import threading
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle

import pandas as pd
import pytest

import ccwatch as cw
from ccwatch.archives import pull, push, sessions_of
from ccwatch.archives.object_store import Store
from ccwatch.errors import ConfigError, CorruptRecording, RecordingError, RecordingNotFound
from ccwatch.recording import Recorder
from tests.archives.seeded import items_of, write


@pytest.fixture
def recording(tmp_path):
    write(tmp_path / "here" / "s1", items_of(1, 120), url="ws://x", tags=["x"])
    return tmp_path / "here" / "s1"


class Faulty(ThreadingHTTPServer):
    """Hands requests on to the store, after what `fault(n, method, path)` says: None, a status, or "cut"."""

    daemon_threads = True

    def __init__(self, store, fault):
        self.store, self.fault, self.n, self.seen = store.removeprefix("http://"), fault, 0, []
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_):
        pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_all(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.n += 1
        self.server.seen.append((self.command, self.path))
        fault = self.server.fault(self.server.n, self.command, self.path)
        if fault == "cut":
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if fault is not None:
            self.send_response(fault)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        upstream = HTTPConnection(self.server.store, timeout=20)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"transfer-encoding", "connection", "content-length"}:
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        self.wfile.write(data)
        upstream.close()

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_all  # noqa: N815 - the names that http.server asks for

    def log_message(self, *_):
        pass


@pytest.fixture
def between(s3, bucket, monkeypatch):  # noqa: ARG001 - the bucket's environment comes first
    """Put a faulty proxy between ccwatch and the store."""
    servers = []

    def start(fault):
        server = Faulty(s3, fault)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.slow
def test_what_was_pushed_is_read_there_and_pulled_back_the_same(recording, bucket, tmp_path):
    done = push(recording, f"{bucket}/desk")
    assert (done.finished, done.there) == (True, 0)
    assert done.segments > 5
    again = push(recording, f"{bucket}/desk")
    assert (again.segments, again.bytes, again.there) == (0, 0, done.segments)
    assert sessions_of(f"{bucket}/desk") == [f"{bucket}/desk/s1"]
    here, there = cw.open_recording(recording), cw.open_recording(f"{bucket}/desk/s1")
    for table in ("agents", "models", "logs", "events"):
        pd.testing.assert_frame_equal(getattr(here, table)(), getattr(there, table)())
    pd.testing.assert_frame_equal(here.frame(clean=False), there.frame(clean=False))
    assert list(here.items()) == list(there.items())
    assert there.verify(deep=True).ok
    assert cw.analyze(there).drawdowns().headline() == cw.analyze(here).drawdowns().headline()
    back = pull(f"{bucket}/desk/s1", tmp_path / "back")
    assert back.finished
    assert pull(f"{bucket}/desk/s1", tmp_path / "back").segments == 0
    found = cw.open_recording(tmp_path / "back" / "s1")
    assert found.verify(deep=True).ok
    pd.testing.assert_frame_equal(found.frame(), here.frame())


@pytest.mark.slow
def test_an_archive_there_answers_as_the_one_here(recording, bucket):
    push(recording, f"{bucket}/desk")
    here, there = cw.archive(recording.parent), cw.archive(f"{bucket}/desk")
    pd.testing.assert_frame_equal(here.sessions.drop(columns=["path", "bytes"]), there.sessions.drop(columns=["path", "bytes"]))
    pd.testing.assert_frame_equal(cw.recordings(f"{bucket}/desk"), there.sessions)
    assert there.ask("attribution").to_dict() == here.ask("attribution").to_dict()
    assert (
        there.sql("SELECT count(*), max(price) FROM packets").fetchone() == here.sql("SELECT count(*), max(price) FROM packets").fetchone()
    )


@pytest.mark.slow
def test_only_the_columns_that_are_asked_for_are_brought(between, bucket, tmp_path):
    write(tmp_path / "s", items_of(2, 5000), url="ws://x")
    push(tmp_path / "s", bucket)
    server = between(lambda *_: None)
    opened = cw.open_recording(f"{bucket}/s")
    before = len(server.seen)
    opened.frame(["price"])
    asked = server.seen[before:]
    assert {path.rpartition("/")[2].partition("-")[0] for _, path in asked} == {"packets"}
    held = sum(file.stat().st_blocks * 512 for file in opened.folder.glob("packets/*"))
    assert held < 0.7 * sum(file.stat().st_size for file in opened.folder.glob("packets/*"))
    before = len(server.seen)
    opened.frame(["price"])
    assert len(server.seen) == before, "what was brought is used again"


@pytest.mark.slow
def test_a_store_that_fails_now_and_then_gets_all_of_it(between, recording, bucket):
    faults = cycle(("cut", 503, 429, 500))
    between(lambda n, *_: next(faults) if n % 3 == 0 else None)
    assert push(recording, bucket).finished
    assert cw.open_recording(f"{bucket}/s1").verify(deep=True).ok


def test_a_push_that_was_cut_goes_on_where_it_was(between, recording, bucket, monkeypatch):
    monkeypatch.setattr("ccwatch.archives.object_store.RETRIES", 0)
    between(lambda n, *_: "cut" if n > 12 else None)
    with pytest.raises(RecordingError, match="refuses or does not answer"):
        push(recording, bucket)
    between(lambda *_: None)
    with pytest.raises(RecordingNotFound):  # no manifest yet names a file that is not there
        pull(f"{bucket}/s1", recording.parent / "back")
    done = push(recording, bucket)
    assert done.finished
    assert done.there > 0


def test_a_refusal_is_an_error_without_a_secret(between, recording, bucket):
    between(lambda *_: 403)
    with pytest.raises(RecordingError) as refused:
        push(recording, bucket)
    assert "not-a-secret-of-anyone" not in str(refused.value)
    assert "Signature=" not in str(refused.value)
    for url in ("s3://key:secret@bucket/x", "ftp://bucket/x", "s3://"):
        with pytest.raises(ConfigError):
            Store(url)


@pytest.mark.slow
def test_two_pushers_of_one_recording_do_no_harm(recording, bucket):
    failed = []

    def work():
        try:
            push(recording, bucket)
        except RecordingError as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert cw.open_recording(f"{bucket}/s1").verify(deep=True).ok


@pytest.mark.slow
def test_another_recording_of_the_same_name_is_refused(recording, bucket, tmp_path):
    push(recording, bucket)
    write(tmp_path / "other" / "s1", items_of(2, 50), url="ws://y")
    with pytest.raises(RecordingError, match="another recording of this name"):
        push(tmp_path / "other" / "s1", bucket)
    pd.testing.assert_frame_equal(cw.open_recording(f"{bucket}/s1").frame(), cw.open_recording(recording).frame())


@pytest.mark.slow
def test_finished_segments_go_over_while_the_recorder_runs(bucket, tmp_path):
    items = items_of(3, 200)
    recorder = Recorder(tmp_path / "s", url="ws://x", origin="live")
    recorder.receive(items[:100])
    while recorder.stats.packets + recorder.stats.events < 100:
        time.sleep(0.01)
    recorder.rotate()
    done = push(tmp_path / "s", bucket)
    assert not done.finished
    there = cw.open_recording(f"{bucket}/s")
    assert there.status == "open"
    assert len(there.frame(clean=False)) == sum(hasattr(item, "price") for item in items[:100])

    def finish(_):
        recorder.receive(items[100:])
        recorder.stop()

    assert push(tmp_path / "s", bucket, follow=True, wait=finish).finished
    pd.testing.assert_frame_equal(cw.open_recording(f"{bucket}/s").frame(), cw.open_recording(tmp_path / "s").frame())


def test_damage_is_neither_pushed_nor_believed(recording, bucket, tmp_path):
    copy = tmp_path / "copy" / "s1"
    shutil.copytree(recording, copy)
    (segment,) = (copy / "packets").iterdir()
    data = bytearray(segment.read_bytes())
    data[200] ^= 1
    segment.write_bytes(data)
    with pytest.raises(CorruptRecording, match="was not pushed"):
        push(copy, f"{bucket}/a")
    push(recording, f"{bucket}/b")
    Store(f"{bucket}/b/s1").put(f"packets/{segment.name}", bytes(data))
    with pytest.raises(CorruptRecording, match="checksum"):
        cw.open_recording(f"{bucket}/b/s1").frame()
    with pytest.raises(CorruptRecording, match="checksum"):
        pull(f"{bucket}/b/s1", tmp_path / "back")
    assert not (tmp_path / "back" / "s1" / "session.json").exists()


def test_a_manifest_that_names_files_outside_is_refused(recording, bucket, tmp_path):
    from ccwatch.recording.folder import seal, unseal  # noqa: PLC0415

    push(recording, bucket)
    store = Store(f"{bucket}/s1")
    lines, _ = store.get("MANIFEST.jsonl")
    wrong = []
    for line in lines.splitlines():
        value = {name: cell for name, cell in unseal(line).items() if name != "crc32c"}
        if value.get("table") == "packets":
            value["path"] = "../../evil.parquet"
        wrong.append(seal(value))
    store.put("MANIFEST.jsonl", b"\n".join(wrong) + b"\n")
    with pytest.raises(RecordingError):
        pull(f"{bucket}/s1", tmp_path / "back")
    with pytest.raises(RecordingError):
        cw.open_recording(f"{bucket}/s1").frame()
    assert not list(tmp_path.glob("**/evil*"))


def test_nothing_there_is_said(bucket):
    with pytest.raises(RecordingNotFound):
        cw.open_recording(f"{bucket}/nothing")
    assert len(cw.archive(f"{bucket}/nothing")) == 0
    assert not re.search("Traceback", repr(cw.archive(bucket)))
