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
    from ccwatch.api import (
        analyze as analyze,
    )
    from ccwatch.api import (
        compare as compare,
    )
    from ccwatch.api import (
        connect as connect,
    )
    from ccwatch.api import (
        open_recording as open_recording,
    )
    from ccwatch.api import (
        record as record,
    )
    from ccwatch.api import (
        recordings as recordings,
    )
    from ccwatch.api import (
        replay as replay,
    )
    from ccwatch.api import (
        serve as serve,
    )
    from ccwatch.api import (
        synthetic as synthetic,
    )
    from ccwatch.api import (
        watch as watch,
    )
    from ccwatch.config import Settings as Settings
    from ccwatch.cottage import Cottage as Cottage
    from ccwatch.dashboard import Dashboard as Dashboard
    from ccwatch.errors import (
        AnalysisError as AnalysisError,
    )
    from ccwatch.errors import (
        CcwatchError as CcwatchError,
    )
    from ccwatch.errors import (
        CommandsDisabled as CommandsDisabled,
    )
    from ccwatch.errors import (
        ConfigError as ConfigError,
    )
    from ccwatch.errors import (
        ConnectFailed as ConnectFailed,
    )
    from ccwatch.errors import (
        CorruptRecording as CorruptRecording,
    )
    from ccwatch.errors import (
        DecodeError as DecodeError,
    )
    from ccwatch.errors import (
        FeedClosed as FeedClosed,
    )
    from ccwatch.errors import (
        FeedError as FeedError,
    )
    from ccwatch.errors import (
        FeedTimeout as FeedTimeout,
    )
    from ccwatch.errors import (
        MissingColumns as MissingColumns,
    )
    from ccwatch.errors import (
        MixedSymbols as MixedSymbols,
    )
    from ccwatch.errors import (
        NoCommandRoute as NoCommandRoute,
    )
    from ccwatch.errors import (
        NotEnoughData as NotEnoughData,
    )
    from ccwatch.errors import (
        ProtocolError as ProtocolError,
    )
    from ccwatch.errors import (
        RecordingBusy as RecordingBusy,
    )
    from ccwatch.errors import (
        RecordingError as RecordingError,
    )
    from ccwatch.errors import (
        RecordingNotFound as RecordingNotFound,
    )
    from ccwatch.errors import (
        Unauthorized as Unauthorized,
    )
    from ccwatch.errors import (
        UnsupportedFormat as UnsupportedFormat,
    )
    from ccwatch.feed.commands import CommandResult as CommandResult
    from ccwatch.feed.feed import Feed as Feed
    from ccwatch.feed.health import Health as Health
    from ccwatch.protocol.messages import (
        ConnectionState as ConnectionState,
    )
    from ccwatch.protocol.messages import (
        Event as Event,
    )
    from ccwatch.protocol.messages import (
        Flag as Flag,
    )
    from ccwatch.protocol.messages import (
        Kind as Kind,
    )
    from ccwatch.protocol.messages import (
        Packet as Packet,
    )
    from ccwatch.protocol.messages import (
        Regime as Regime,
    )
    from ccwatch.protocol.messages import (
        Side as Side,
    )
    from ccwatch.protocol.messages import (
        Status as Status,
    )
    from ccwatch.recording import Recorder as Recorder
    from ccwatch.recording import Recording as Recording
    from ccwatch.stream.registry import feeds as feeds
    from ccwatch.stream.registry import stop_all as stop_all

__version__ = "0.1.0"

_HOMES = {
    "ccwatch.api": (
        "analyze",
        "compare",
        "connect",
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
    "ccwatch.feed.commands": ("CommandResult",),
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
        raise AttributeError(f"module 'ccwatch' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "analysis", "errors"]
