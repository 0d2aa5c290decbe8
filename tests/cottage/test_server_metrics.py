"""The contract's section 9.3 as Prometheus reads it: connections, failures, size, reconnections, and what else tells of trouble."""

from __future__ import annotations

import contextlib
import urllib.request
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import ConnectionClosed

import ccwatch as cw
from ccwatch.cottage import Cottage
from ccwatch.cottage.broadcaster import SlowPolicy
from ccwatch.cottage.cottage_options import Options
from ccwatch.feed.synthetic import SyntheticSource


def test_connections_are_counted_while_they_are_open(ws, metric, until):
    with Cottage(SyntheticSource(rate=50.0)) as cottage:
        line = 'ccwatch_websocket_clients{site="engine"}'
        clients = [ws(cottage.engine_url) for _ in range(3)]
        until(lambda: metric(cottage, line) == 3)
        clients[0].close()
        until(lambda: metric(cottage, line) == 2)


def test_the_mean_size_of_messages_is_that_of_what_was_sent(ws, metric):
    with Cottage(SyntheticSource(packets=40, pace="max"), Options(virtual_clock=True, start_on_first_client=True)) as cottage:
        client = ws(cottage.engine_url)
        sizes = [len(client.recv(timeout=5).encode()) for _ in range(40)]
        assert metric(cottage, 'ccwatch_message_bytes_mean{site="engine"}') == pytest.approx(sum(sizes) / 40)
        assert metric(cottage, 'ccwatch_message_bytes_count{site="engine"}') == 40


def test_a_client_that_comes_back_is_a_reconnection_and_a_second_one_beside_it_is_none(ws, metric, until):
    with Cottage(SyntheticSource(rate=50.0)) as cottage:
        first, _ = ws(cottage.engine_url), ws(cottage.engine_url)
        assert metric(cottage, 'ccwatch_client_reconnections_total{site="engine"}') == 0
        first.close()
        until(lambda: metric(cottage, 'ccwatch_websocket_clients{site="engine"}') == 1)
        ws(cottage.engine_url)
        until(lambda: metric(cottage, 'ccwatch_client_reconnections_total{site="engine"}') == 1)


@pytest.mark.slow
def test_a_planted_reconnect_storm_cuts_feeds_that_come_back_and_both_sides_count_it(metric, until):
    with cw.serve(rate=50, scenario="reconnect-storm@2") as cottage, cw.connect(cottage.engine_url) as feed:
        until(lambda: feed.health().reconnects >= 1, 20)
        until(lambda: metric(cottage, 'ccwatch_client_reconnections_total{site="engine"}') >= 1, 20)
        assert [incident.kind for incident in cottage.planted] == ["reconnect"] * 6


@pytest.mark.slow
def test_what_a_dropped_client_did_not_get_is_a_failure(lazy_ws, metric, until):
    slow = SlowPolicy(skip_above_bytes=50_000, drop_after_s=0.3)
    with Cottage(SyntheticSource(rate=2000.0), Options(slow=slow)) as cottage:
        client = lazy_ws(cottage.engine_url)
        until(lambda: metric(cottage, 'ccwatch_clients_dropped_total{site="engine"}') == 1, 30)
        assert metric(cottage, 'ccwatch_send_failures_total{site="engine"}') >= 1
        assert metric(cottage, 'ccwatch_messages_skipped_total{site="engine"}') > 0
        with contextlib.suppress(ConnectionClosed):
            client.close()


def test_lag_is_measured_from_the_source_to_the_sockets(ws, metric):
    with Cottage(SyntheticSource(rate=50.0)) as cottage:
        client = ws(cottage.engine_url)
        client.recv(timeout=5)
        lag, longest = metric(cottage, 'ccwatch_lag_seconds{site="engine"}'), metric(cottage, 'ccwatch_lag_seconds_max{site="engine"}')
    assert 0 < lag <= longest


def test_both_sites_answer_in_the_format_that_prometheus_parses():
    with Cottage(SyntheticSource(rate=50.0)) as cottage:
        for url in (cottage.url, cottage.engine_url):
            with urllib.request.urlopen(f"http://{urlsplit(url).netloc}/metrics", timeout=5) as answer:
                assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
                families = {family.name: family for family in text_string_to_metric_families(answer.read().decode())}
            assert {"ccwatch_websocket_clients", "ccwatch_send_failures", "ccwatch_message_bytes", "ccwatch_client_reconnections"} <= set(
                families
            )
            assert all(family.documentation for family in families.values())
            assert "ccwatch_redis_up" not in families
