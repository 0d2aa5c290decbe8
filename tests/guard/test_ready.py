"""Whether a day can begin: each thing that is missing is named, a line each, and the exit code says so."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys

import pytest

import ccwatch as cw
from ccwatch.cli.app import main
from tests.guard.servers import desk

SETTINGS = """
[receivers]
desk = "{address}"

[guard]
notify = ["desk"]
heartbeat = "alive"

[[rules]]
name = "deep"
when = "drawdown_peak <= -0.5%"
"""


@contextlib.contextmanager
def served():
    """The url of a server in a process of its own: a command that ends stops what runs in its process."""
    command = [sys.executable, "-m", "ccwatch", "serve", "--port", "0", "--engine-port", "0", "--rate", "20", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()


@pytest.mark.slow
def test_a_day_can_begin_once_stream_receivers_heartbeat_and_certificates_are_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def ccwatch(*words):
        with pytest.raises(SystemExit) as done:
            main([str(word) for word in words])
        return done.value.code or 0, capsys.readouterr().out

    def missing(url):
        code, said = ccwatch("doctor", url, "--ready", "--seconds", "1", "--json")
        rows = [json.loads(line) for line in said.splitlines()]
        assert [row["check"] for row in rows][:5] == ["stream", "clock", "disk", "recorder", "heartbeat"]
        found = {row["check"]: row["detail"] for row in rows if not row["ok"]}
        assert code == (1 if found else 0)
        return found

    file = tmp_path / "ccwatch.toml"
    with desk() as server, served() as url:
        file.write_text(SETTINGS.format(address=server.address))
        found = missing(url)
        assert set(found) == {"receiver desk", "rules"}
        assert "never took a message" in found["receiver desk"]
        assert found["rules"] == "without a certificate: deep; try ccwatch rules test"
        with cw.synthetic(seed=1, packets=50, pace="max", name="ready") as feed, cw.record(feed):
            feed.join(30)
        assert ccwatch("rules", "test")[0] == 0
        assert ccwatch("guard", "--test")[0] == 0
        assert missing(url) == {}
        file.write_text(file.read_text().replace("-0.5%", "-0.6%"))
        assert set(missing(url)) == {"rules"}, "editing a rule voids its certificate"
        file.write_text(file.read_text().replace("drawdown_peak <= -0.6%", "divergence < -1%").replace('"alive"', '"ccwatch.toml/alive"'))
        found = missing(url)
        assert "[expected]" in found["rules"]
        assert "heartbeat" in found
    (tmp_path / "recordings" / "certificates.json").unlink()
    file.write_text('[receivers]\ndesk = "env:NOT_THERE"\n')
    found = missing(url)
    assert {"stream", "heartbeat", "receiver desk"} <= set(found)
    assert "NOT_THERE" in found["receiver desk"]
