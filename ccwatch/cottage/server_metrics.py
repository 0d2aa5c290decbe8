"""The Cottage's figures for Prometheus (contract 9.3), computed at each request from counters that are kept anyway."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from ccwatch.cottage.broadcaster import StateBroadcaster, Tally
from ccwatch.cottage.endpoint import Endpoint
from ccwatch.cottage.redis_bridge import BridgeTally

if TYPE_CHECKING:
    from ccwatch.cottage.shared_state import Shared

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Figure(NamedTuple):
    """A figure of one site."""

    kind: type[CounterMetricFamily | GaugeMetricFamily]
    name: str
    meaning: str
    value: Callable[[StateBroadcaster, Endpoint], float]


FIGURES: Final = (
    Figure(GaugeMetricFamily, "ccwatch_websocket_clients", "Active WebSocket connections", lambda sent, _: len(sent)),
    Figure(CounterMetricFamily, "ccwatch_messages_sent", "Messages written to clients", lambda sent, _: sent.tally.sent),
    Figure(CounterMetricFamily, "ccwatch_send_failures", "Messages that could not be sent to a client", lambda sent, _: sent.tally.failed),
    Figure(GaugeMetricFamily, "ccwatch_message_bytes_mean", "Average message size", lambda sent, _: _mean_bytes(sent.tally)),
    Figure(CounterMetricFamily, "ccwatch_client_connections", "WebSockets accepted", lambda _, end: end.traffic.connects),
    Figure(
        CounterMetricFamily,
        "ccwatch_client_reconnections",
        "Of these, by an address that had left a minute ago or less",
        lambda _, end: end.traffic.reconnects,
    ),
    Figure(CounterMetricFamily, "ccwatch_messages_skipped", "Messages that slow clients did not get", lambda sent, _: sent.tally.skipped),
    Figure(CounterMetricFamily, "ccwatch_clients_dropped", "Clients that did not read and were cut", lambda sent, _: sent.tally.dropped),
    Figure(
        GaugeMetricFamily,
        "ccwatch_client_waiting_bytes",
        "Sent to clients and not yet taken by the system",
        lambda sent, _: sent.waiting_bytes,
    ),
    Figure(
        GaugeMetricFamily,
        "ccwatch_lag_seconds",
        "From the source to the last client's socket, of the last message",
        lambda sent, _: sent.tally.lag_s,
    ),
    Figure(GaugeMetricFamily, "ccwatch_lag_seconds_max", "The same, the longest so far", lambda sent, _: sent.tally.lag_max_s),
    Figure(CounterMetricFamily, "ccwatch_client_messages", "Messages that clients sent", lambda _, end: end.traffic.received),
    Figure(
        CounterMetricFamily,
        "ccwatch_client_messages_ignored",
        "Of these, neither a PING nor a command that could be obeyed",
        lambda _, end: end.traffic.ignored,
    ),
)
"""The figures of each site that are one number."""


def _mean_bytes(tally: Tally) -> float:
    return tally.message_bytes / tally.messages if tally.messages else 0.0


class CottageCollector(Collector):
    """The figures of both sites and of the bridge, as Prometheus' families."""

    def __init__(self, sites: Mapping[str, tuple[StateBroadcaster, Endpoint]], bridge: Callable[[], BridgeTally | None]) -> None:
        self._sites = sites
        self._bridge = bridge

    def collect(self) -> Iterable[Metric]:
        """Yield all figures as they are now."""
        for figure in FIGURES:
            family = figure.kind(figure.name, figure.meaning, labels=["site"])
            for name, (broadcaster, endpoint) in self._sites.items():
                family.add_metric([name], figure.value(broadcaster, endpoint))
            yield family
        sizes = SummaryMetricFamily("ccwatch_message_bytes", "Messages published and their size", labels=["site"])
        commands = CounterMetricFamily("ccwatch_commands", "Commands and what became of them", labels=["site", "command", "outcome"])
        refused = CounterMetricFamily(
            "ccwatch_refused", "Requests and connections refused, by HTTP status or close code", labels=["site", "code"]
        )
        for name, (broadcaster, endpoint) in self._sites.items():
            sizes.add_metric([name], broadcaster.tally.messages, broadcaster.tally.message_bytes)
            for (command, outcome), count in endpoint.traffic.commands.items():
                commands.add_metric([name, command, outcome], count)
            for code, count in endpoint.gate.refused.items():
                refused.add_metric([name, str(code)], count)
        yield from (sizes, commands, refused)
        bridge = self._bridge()
        if bridge is not None:
            yield from _of_the_bridge(bridge)


def _of_the_bridge(bridge: BridgeTally) -> Iterable[Metric]:
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
