from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as strict
from prometheus_client.parser import text_string_to_metric_families as plain

import ccwatch as cw
from ccwatch import guard


def read(url, accept=None):
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=10)
    connection.request("GET", f"/{path}", headers={} if accept is None else {"Accept": accept})
    text = connection.getresponse().read().decode()
    connection.close()
    return text


@pytest.mark.slow
def test_the_watched_engines_figures_pass_the_strict_parsers():
    with cw.synthetic(seed=2, scenario="drawdown-halt", packets=300, pace="max", name="metrics") as feed, cw.export_metrics(feed) as at:
        feed.join(30)
        until = time.monotonic() + 15
        while 'rule="halt"' not in read(at.url):
            assert time.monotonic() < until
            time.sleep(0.1)
        text = read(at.url)
        families = {f.name: f for f in plain(text)}
        assert {f.name for f in strict(read(at.url, "application/openmetrics-text; version=1.0.0"))} >= {"ccwatch_engine_nav_usd"}
        calls = cw.analyze(feed).latency().to_frame()
    promtool = shutil.which("promtool")
    if promtool is not None:
        checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    value = {name: family.samples[0].value for name, family in families.items() if len(family.samples) == 1}
    drawdowns = cw.analyze(feed).drawdowns().to_frame()
    assert value["ccwatch_engine_drawdown_peak_ratio"] <= value["ccwatch_engine_drawdown_start_ratio"] <= 0.0, drawdowns
    status = {s.labels["ccwatch_engine_status"]: s.value for s in families["ccwatch_engine_status"].samples}
    assert status["HALT"] == 1.0
    assert sum(status.values()) == 1.0
    counted = {s.labels["service"]: s.value for s in families["ccwatch_service_latency_seconds"].samples if s.name.endswith("_count")}
    assert counted["RiskAgent"] == calls.set_index("name").loc["RiskAgent", "n"]


def test_the_dashboard_asks_only_for_figures_that_exist():
    board = json.loads((Path(guard.__file__).parent / "grafana.json").read_text(encoding="utf-8"))
    text = json.dumps(board)
    for name in ("ccwatch_engine_nav_usd", "ccwatch_alert_firing", "ccwatch_service_latency_seconds_bucket"):
        assert name in text
