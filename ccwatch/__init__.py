"""ccwatch: watch, record and explain the live stream of a Curiosity Cottage trading engine.

    import ccwatch as cw
    feed = cw.connect("ws://localhost:3000")
    cw.watch(feed)

Names are imported when they are first used; importing ccwatch does no work.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # "as" says to a strict checker that the name is handed on
    from ccwatch.alerts import Alert as Alert
    from ccwatch.alerts.rule_definitions import Rule as Rule
    from ccwatch.api import (
        analyze as analyze,
        archive as archive,
        backtest as backtest,
        compare as compare,
        connect as connect,
        export_metrics as export_metrics,
        open_recording as open_recording,
        record as record,
        recordings as recordings,
        replay as replay,
        serve as serve,
        synthetic as synthetic,
        watch as watch,
    )
    from ccwatch.config import Settings as Settings
    from ccwatch.cottage import Cottage as Cottage
    from ccwatch.dashboard import Dashboard as Dashboard
    from ccwatch.errors import (
        AnalysisError as AnalysisError,
        CcwatchError as CcwatchError,
        CommandsDisabled as CommandsDisabled,
        ConfigError as ConfigError,
        ConnectFailed as ConnectFailed,
        CorruptRecording as CorruptRecording,
        DecodeError as DecodeError,
        FeedClosed as FeedClosed,
        FeedError as FeedError,
        FeedTimeout as FeedTimeout,
        MissingColumns as MissingColumns,
        MixedSymbols as MixedSymbols,
        NoCommandRoute as NoCommandRoute,
        NotEnoughData as NotEnoughData,
        ProtocolError as ProtocolError,
        RecordingBusy as RecordingBusy,
        RecordingError as RecordingError,
        RecordingNotFound as RecordingNotFound,
        Unauthorized as Unauthorized,
        UnsupportedFormat as UnsupportedFormat,
    )
    from ccwatch.feed.engine_commands import CommandResult as CommandResult
    from ccwatch.feed.feed import Feed as Feed
    from ccwatch.feed.health import Health as Health
    from ccwatch.protocol.messages import (
        ConnectionState as ConnectionState,
        Event as Event,
        Flag as Flag,
        Kind as Kind,
        Packet as Packet,
        Regime as Regime,
        Side as Side,
        Status as Status,
    )
    from ccwatch.recording import Recorder as Recorder, Recording as Recording
    from ccwatch.stream.registry import feeds as feeds, stop_all as stop_all

__version__ = "0.2.0"

_HOMES = {
    "ccwatch.alerts": ("Alert",),
    "ccwatch.alerts.rule_definitions": ("Rule",),
    "ccwatch.api": (
        "analyze",
        "archive",
        "backtest",
        "compare",
        "connect",
        "export_metrics",
        "open_recording",
        "record",
        "recordings",
        "replay",
        "serve",
        "synthetic",
        "watch",
    ),
    "ccwatch.config": ("Settings",),
    "ccwatch.cottage": ("Cottage",),
    "ccwatch.dashboard": ("Dashboard",),
    "ccwatch.errors": (
        "AnalysisError",
        "CcwatchError",
        "CommandsDisabled",
        "ConfigError",
        "ConnectFailed",
        "CorruptRecording",
        "DecodeError",
        "FeedClosed",
        "FeedError",
        "FeedTimeout",
        "MissingColumns",
        "MixedSymbols",
        "NoCommandRoute",
        "NotEnoughData",
        "ProtocolError",
        "RecordingBusy",
        "RecordingError",
        "RecordingNotFound",
        "Unauthorized",
        "UnsupportedFormat",
    ),
    "ccwatch.feed.engine_commands": ("CommandResult",),
    "ccwatch.feed.feed": ("Feed",),
    "ccwatch.feed.health": ("Health",),
    "ccwatch.protocol.messages": ("ConnectionState", "Event", "Flag", "Kind", "Packet", "Regime", "Side", "Status"),
    "ccwatch.recording": ("Recorder", "Recording"),
    "ccwatch.stream.registry": ("feeds", "stop_all"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted([*_HOME, "__version__"])  # noqa: PLE0605 - one list of names; a test holds it against the imports above

# A library is silent until its user configures logging; without this Python prints warnings to stderr, into a notebook's cell.
logging.getLogger("ccwatch").addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'ccwatch' has no attribute {name!r}{_nearest(name)}")
    return getattr(importlib.import_module(_HOME[name]), name)


def _nearest(name: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - needed after a slip of the finger only

    found = get_close_matches(name, _HOME, n=1)
    return f"; did you mean {found[0]!r}?" if found and not name.startswith("_") else ""


def __dir__() -> list[str]:
    # The errors are in ccwatch.errors: twenty of them in a list of completions hide the verbs.
    return [*(name for name in __all__ if _HOME.get(name) != "ccwatch.errors"), "analysis", "errors"]
