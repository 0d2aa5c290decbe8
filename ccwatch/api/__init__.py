"""The functions that users call, and the only place where the packages meet: sources, feeds, recorders and dashboards."""

from ccwatch.api.answers import analyze, archive, backtest, compare, open_recording, recordings
from ccwatch.api.serving import export_metrics, serve
from ccwatch.api.streams import connect, record, record_series, replay, synthetic, watch

__all__ = [
    "analyze",
    "archive",
    "backtest",
    "compare",
    "connect",
    "export_metrics",
    "open_recording",
    "record",
    "record_series",
    "recordings",
    "replay",
    "serve",
    "synthetic",
    "watch",
]
