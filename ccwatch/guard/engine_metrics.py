"""The watched engine's figures for Prometheus, served on their own port. Needs the optional extra `server`."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Sequence
from typing import Any, Final
from wsgiref.simple_server import WSGIServer

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric, StateSetMetricFamily
from prometheus_client.registry import Collector

from ccwatch.alerts import Alert, AlertWatch, Calls, PlanReader, no_plan
from ccwatch.domain.counters import read
from ccwatch.protocol.messages import Item, Packet, Regime, Status
from ccwatch.stream.batch import Batch

Floats = npt.NDArray[np.float64]
BUCKETS_MS: Final = (5.0, 10.0, 25.0, 50.0, 100.0, 200.0, 400.0, 800.0, 1600.0, 3200.0, 6400.0)


class _Histogram:
    """Counts of calls by latency, each call once."""

    def __init__(self) -> None:
        self.counts = np.zeros(len(BUCKETS_MS) + 1, dtype=np.int64)
        self.sum = 0.0
        self.before: tuple[float, float] | None = None

    def see(self, latency: Floats, count: Floats) -> None:
        """Count the calls among readings of a gauge, ms, and its counter."""
        known = np.isfinite(latency)
        latency, count = latency[known], count[known]
        if len(latency):
            calls = latency[read(latency, count, before=self.before).is_call]
            np.add.at(self.counts, np.searchsorted(BUCKETS_MS, calls), 1)
            self.sum += float(calls.sum()) / 1e3
            self.before = float(latency[-1]), float(count[-1])

    def buckets(self) -> list[tuple[str, float]]:
        """Return the cumulative counts by their upper bound in s."""
        bounds = [*(f"{ms / 1e3:g}" for ms in BUCKETS_MS), "+Inf"]
        return list(zip(bounds, np.cumsum(self.counts).astype(np.float64).tolist(), strict=True))


class EngineCollector(Collector):
    """Turns a feed's packets into figures. A Sink of the feed, and a Prometheus Collector."""

    def __init__(self, feed: Any, watch: Any) -> None:
        self._feed, self._watch = feed, watch
        self._lock = threading.Lock()  # between the feed's thread and those that ask
        self._last: Packet | None = None
        self._latencies: dict[tuple[str, str], _Histogram] = {}

    def receive(self, items: Sequence[Item], /) -> None:
        """Take packets; called on the feed's thread."""
        batch = Batch.of(items).only_packets(clean=True)
        if not batch:
            return
        with self._lock:
            self._last = batch.packets[-1]
            for table in ("agents", "models"):
                calls = Calls.of_batch(table, batch)
                if calls is None:
                    continue
                for service in dict.fromkeys(calls.service.tolist()):
                    mine = calls.service == service
                    latency, count = (calls.gauges[name][mine] for name in ("latency_ms", "invocations"))
                    self._latencies.setdefault((table[:-1], service), _Histogram()).see(latency, count)

    def collect(self) -> Iterable[Metric]:
        """Yield all figures as of now; a value that the stream does not carry has no sample."""
        with self._lock:
            packet = self._last
            histograms = {key: (found.buckets(), found.sum) for key, found in self._latencies.items()}
        if packet is not None:
            yield from self._engine(packet)
        latency = HistogramMetricFamily(
            "ccwatch_service_latency_seconds", "Observed calls of agents and models", labels=["kind", "service"]
        )
        for (kind, service), (buckets, total) in sorted(histograms.items()):
            latency.add_metric([kind, service], buckets, total)
        yield latency
        yield from self._alerts(self._watch.open)
        yield from self._quality()

    def _engine(self, packet: Packet) -> Iterable[Metric]:
        account = self._watch.account
        values = {
            "price_usd": ("Market price", packet.price),
            "nav_usd": ("Net asset value", packet.nav),
            "cash_usd": ("Available cash", packet.cash),
            "daily_pnl_usd": ("The engine's profit and loss of the day", packet.daily_pnl),
            "alpha": ("Tail index", packet.alpha),
            "confidence_ratio": ("Confidence of the signal", packet.confidence),
            "approved_size_ratio": ("Approved size, fraction of nav", packet.approved_size),
            "exposure_ratio": ("Implied exposure: share of nav that is not cash", account.get("exposure", math.nan)),
            "day_pnl_usd": ("Nav less the trading day's starting capital", account.get("day_pnl", math.nan)),
            "drawdown_peak_ratio": ("Nav from the trading day's peak", account.get("drawdown_peak", math.nan)),
            "drawdown_start_ratio": ("Nav from the trading day's starting capital", account.get("drawdown_start", math.nan)),
            "drawdown_inception_ratio": ("Nav from its highest peak since watching began", account.get("drawdown_inception", math.nan)),
            "drawdown_engine_ratio": ("The engine's own maximum drawdown", packet.max_drawdown),
        }
        symbol = packet.symbol or ""
        for name, (meaning, value) in values.items():
            if math.isfinite(value):
                family = GaugeMetricFamily(f"ccwatch_engine_{name}", meaning, labels=["symbol"])
                family.add_metric([symbol], value)
                yield family
        for name, word, words in (("regime", packet.regime, tuple(Regime)), ("status", packet.status, tuple(Status))):
            if word is not None:
                states = StateSetMetricFamily(f"ccwatch_engine_{name}", f"The engine's {name}", labels=[])
                known = [str(one) for one in words]
                states.add_metric([], {one: one == word for one in [*known, *([str(word)] if word not in known else [])]})
                yield states

    def _alerts(self, alerts: Sequence[Alert]) -> Iterable[Metric]:
        family = GaugeMetricFamily("ccwatch_alert_firing", "1 while an alert fires", labels=["rule", "subject", "severity"])
        for alert in alerts:
            family.add_metric([alert.rule, alert.subject, str(alert.severity)], 1.0)
        yield family

    def _quality(self) -> Iterable[Metric]:
        health = self._feed.health().to_dict()
        for name, meaning in (("packets", "Packets received"), ("malformed", "Messages that could not be read"), ("repeats", "Repeats")):
            yield CounterMetricFamily(f"ccwatch_stream_{name}", meaning, value=float(health.get(name) or 0))
        for name, meaning in (("gaps", "Gaps"), ("reconnects", "Reconnects"), ("dropped", "Packets that a listener did not take")):
            yield CounterMetricFamily(f"ccwatch_stream_{name}", meaning, value=float(health.get(name) or 0))
        for name, unit, meaning in (
            ("lag_s", "lag_seconds", "Server's clock to this machine's"),
            ("rate_hz", "rate_hertz", "Packets a second"),
        ):
            if health.get(name) is not None and math.isfinite(float(health[name])):
                yield GaugeMetricFamily(f"ccwatch_stream_{unit}", meaning, value=float(health[name]))
        state = str(self._feed.state)
        yield GaugeMetricFamily("ccwatch_stream_up", "Whether the stream is open", value=float(state in {"OPEN", "LATE"}))


class Exporter:
    """Serves figures on a port. A context manager; `stop` ends it.

    Attributes:
        url: where Prometheus reads them.
    """

    def __init__(
        self, feed: Any, port: int, host: str = "127.0.0.1", *, watch: AlertWatch | None = None, plan_for: PlanReader = no_plan
    ) -> None:
        """Start to serve; without a `watch` that judges the feed already, one by the desk's rules begins, and ends with this.

        Raises:
            OSError: the port cannot be opened.
        """
        self._own = AlertWatch(feed, plan_for=plan_for, ends_with_view=True) if watch is None else None
        collector = EngineCollector(feed, watch or self._own)
        self._remove = feed.add_sink(collector)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(collector)
        self._server: WSGIServer
        self._server, self._thread = start_http_server(port, addr=host, registry=registry)
        if self._own is not None:
            self._own.start()
        self.url = f"http://{host}:{self._server.server_port}/metrics"

    def __enter__(self) -> Exporter:  # noqa: PYI034 - there is nothing to inherit
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop serving."""
        self._remove()
        if self._own is not None:
            self._own.stop()
        self._server.shutdown()
        self._server.server_close()
