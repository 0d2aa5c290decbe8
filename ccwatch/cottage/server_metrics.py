"""The Cottage's figures for Prometheus (contract 9.3), computed at each request from counters that are kept anyway."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from ccwatch.cottage.broadcaster import StateBroadcaster
from ccwatch.cottage.endpoint import Endpoint
from ccwatch.cottage.redis_bridge import BridgeTally

if TYPE_CHECKING:
    from ccwatch.cottage.shared_state import Shared

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class CottageCollector(Collector):
    """The figures of both sites and of the bridge, as Prometheus' families."""

    def __init__(self, sites: Mapping[str, tuple[StateBroadcaster, Endpoint]], bridge: Callable[[], BridgeTally | None]) -> None:
        self._sites = sites
        self._bridge = bridge

    def collect(self) -> Iterable[Metric]:
        """Yield all figures as they are now."""
        clients = GaugeMetricFamily("ccwatch_websocket_clients", "Active WebSocket connections", labels=["site"])
        sent = CounterMetricFamily("ccwatch_messages_sent", "Messages written to clients", labels=["site"])
        failures = CounterMetricFamily("ccwatch_send_failures", "Messages that could not be sent to a client", labels=["site"])
        sizes = SummaryMetricFamily("ccwatch_message_bytes", "Messages published and their size", labels=["site"])
        mean = GaugeMetricFamily("ccwatch_message_bytes_mean", "Average message size", labels=["site"])
        connects = CounterMetricFamily("ccwatch_client_connections", "WebSockets accepted", labels=["site"])
        reconnects = CounterMetricFamily(
            "ccwatch_client_reconnections", "Of these, by an address that had left a minute ago or less", labels=["site"]
        )
        skipped = CounterMetricFamily("ccwatch_messages_skipped", "Messages that slow clients did not get", labels=["site"])
        dropped = CounterMetricFamily("ccwatch_clients_dropped", "Clients that did not read and were cut", labels=["site"])
        waiting = GaugeMetricFamily("ccwatch_client_waiting_bytes", "Sent to clients and not yet taken by the system", labels=["site"])
        lag = GaugeMetricFamily("ccwatch_lag_seconds", "From the source to the last client's socket, of the last message", labels=["site"])
        lag_max = GaugeMetricFamily("ccwatch_lag_seconds_max", "The same, the longest so far", labels=["site"])
        received = CounterMetricFamily("ccwatch_client_messages", "Messages that clients sent", labels=["site"])
        ignored = CounterMetricFamily(
            "ccwatch_client_messages_ignored", "Of these, neither a PING nor a command that could be obeyed", labels=["site"]
        )
        commands = CounterMetricFamily("ccwatch_commands", "Commands and what became of them", labels=["site", "command", "outcome"])
        refused = CounterMetricFamily(
            "ccwatch_refused", "Requests and connections refused, by HTTP status or close code", labels=["site", "code"]
        )
        for name, (broadcaster, endpoint) in self._sites.items():
            tally, traffic = broadcaster.tally, endpoint.traffic
            clients.add_metric([name], len(broadcaster))
            sizes.add_metric([name], tally.messages, tally.message_bytes)
            mean.add_metric([name], tally.message_bytes / tally.messages if tally.messages else 0.0)
            waiting.add_metric([name], broadcaster.waiting_bytes)
            for family, value in (
                (sent, tally.sent),
                (failures, tally.failed),
                (connects, traffic.connects),
                (reconnects, traffic.reconnects),
                (skipped, tally.skipped),
                (dropped, tally.dropped),
                (received, traffic.received),
                (ignored, traffic.ignored),
            ):
                family.add_metric([name], value)
            lag.add_metric([name], tally.lag_s)
            lag_max.add_metric([name], tally.lag_max_s)
            for (command, outcome), count in traffic.commands.items():
                commands.add_metric([name, command, outcome], count)
            for code, count in endpoint.gate.refused.items():
                refused.add_metric([name, str(code)], count)
        yield from (clients, sent, failures, sizes, mean, connects, reconnects, skipped, dropped, waiting, lag, lag_max)
        yield from (received, ignored, commands, refused)
        bridge = self._bridge()
        if bridge is not None:
            yield GaugeMetricFamily("ccwatch_redis_up", "Whether the bridge listens to Redis", value=float(bridge.up))
            messages = CounterMetricFamily("ccwatch_redis_messages", "Messages from Redis", labels=["channel"])
            for channel, count in bridge.received.items():
                messages.add_metric([channel], count)
            yield messages
            yield CounterMetricFamily("ccwatch_redis_malformed", "Messages from Redis that could not be read", value=bridge.malformed)
            yield CounterMetricFamily("ccwatch_redis_gaps", "Times that Redis was gone", value=bridge.gaps)
            yield CounterMetricFamily("ccwatch_redis_gap_seconds", "How long it was gone, in total", value=bridge.gap_s)


def figures(collector: Collector) -> bytes:
    """Return all figures in Prometheus' text."""
    registry = CollectorRegistry(auto_describe=False)  # its own: several Cottages may run in one process
    registry.register(collector)
    return generate_latest(registry)


def of_all_workers(by_worker: Mapping[str, str]) -> bytes:
    """Return the figures of several workers as one text, each with the label `worker`."""
    families: dict[str, Metric] = {}
    for worker, text in by_worker.items():
        for family in text_string_to_metric_families(text):
            merged = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            merged.samples += [sample._replace(labels={"worker": worker, **sample.labels}) for sample in family.samples]
    return figures(_Merged(families.values()))


class _Merged(Collector):
    """A collector of families that were read already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        """Return the families."""
        return self._families


def metrics_route(collector: Collector, shared: Shared | None = None) -> web.RouteDef:
    """Return the route `GET /metrics`: the figures of this process or, with workers, of all workers of the port."""

    async def metrics(_request: web.Request) -> web.Response:
        own = figures(collector)
        body = own if shared is None else of_all_workers({shared.worker: own.decode(), **shared.metrics()})
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    return web.get("/metrics", metrics)
