"""Helpers of `ccwatch.api`: make a feed from a url, a recorder for a feed, a recording from a name."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ccwatch.config import ALIGNMENTS, Settings, alignment, default_expected, recordings_folder, user_path
from ccwatch.errors import ConfigError, RecordingError, RecordingNotFound, no_such
from ccwatch.feed.connection import parse_url
from ccwatch.feed.conversation import Passed
from ccwatch.feed.feed import Feed
from ccwatch.feed.live import LiveSource
from ccwatch.protocol.wire.envelope import CHANNELS
from ccwatch.protocol.wire.receiver import Protocol, Receiver
from ccwatch.stream import registry
from ccwatch.stream.view import RecordedView

if TYPE_CHECKING:
    import pandas as pd

    from ccwatch.alerts import AnyRule, Plan
    from ccwatch.config import Align
    from ccwatch.recording.recorder import Recorder
    from ccwatch.recording.recording import Recording

Token = str | Callable[[], str | None] | None
Speed = float | Literal["max"]
Dialect = Literal["contract", "engine_loop", "bridge", "pipeline", "deployed"]
Scenario = Literal[
    "calm",
    "regime-flip",
    "slow-agent",
    "drawdown-halt",
    "gap",
    "frozen",
    "clock-skew",
    "malformed",
    "duplicate",
    "reconnect-storm",
    "lossy",
    "flood",
]
"""Scenarios by name; several may be joined by "+", each with "@" and the seconds at which it begins."""
PanelFunction = Callable[["pd.DataFrame"], Any]
PanelName = Literal[
    "price",
    "pnl",
    "nav",
    "drawdown",
    "exposure",
    "alpha",
    "services",
    "velocity",
    "acceleration",
    "latency",
    "models",
    "objective",
    "success",
    "stream",
]


def recording_of(source: str | Path | Recording) -> Recording:
    """Return the recording with this path, address or name, or the latest one for "latest"; return a Recording unchanged.

    Raises:
        ConfigError: none of these.
        RecordingNotFound: nothing there.
    """
    from ccwatch.recording import Recording, locate  # noqa: PLC0415 - pyarrow is not needed to watch

    if isinstance(source, Recording):
        return source
    if not isinstance(source, str | Path):
        raise ConfigError(f"recording={source!r}: expected a Recording, its path, its name, or 'latest'")
    if isinstance(source, str) and "://" in source:
        from ccwatch.archives import open_place  # noqa: PLC0415 - an optional extra

        remote: Recording = open_place(source)
        return remote
    return Recording(locate(source, recordings_folder(Settings.load())))


def expect_text(**arguments: object) -> None:
    """Raise an error for an argument that is neither None nor a str.

    Raises:
        ConfigError: with the argument's name and value.
    """
    for name, value in arguments.items():
        if value is not None and not isinstance(value, str):
            raise ConfigError(f"{name}={value!r}: expected text")


def expect_path(path: object) -> None:
    """Raise an error for a value that is neither a str nor a Path.

    Raises:
        ConfigError: with the value.
    """
    if not isinstance(path, str | Path):
        raise ConfigError(f"path={path!r}: expected the path of a folder")


def seconds_until(duration: str | timedelta | None, until: str | datetime | None) -> float | None:
    """Return how long a recording is to last, in seconds; None for no limit.

    Raises:
        ConfigError: both are given, or one is not a valid duration or moment, or the moment is past.
    """
    if duration is None and until is None:
        return None
    from ccwatch.stream import dataframes, time_ranges  # noqa: PLC0415 - pandas is not needed to watch

    if duration is not None and until is not None:
        raise ConfigError("expected either duration or until")
    if duration is not None:
        seconds = dataframes.span_ns(duration) / 1e9
        if seconds <= 0:
            raise ConfigError(f"duration={duration!r}: expected a length of time above 0, for example '1h'")
        return seconds
    now = datetime.now(UTC)
    seconds = (time_ranges.next_moment(until, "until", now) - now).total_seconds()
    if seconds <= 0:
        raise ConfigError(f"until={until!r} is past")
    return seconds


def _protocol(protocol: Protocol) -> Protocol:
    if protocol != "auto" and (type(protocol) is not int or protocol not in {1, 2}):
        raise ConfigError(f"protocol: expected 'auto', 1 or 2, got {protocol!r}")
    return protocol


def _channels(channels: Sequence[str] | str | None, protocol: Any) -> tuple[str, ...] | None:
    """Return the channels to ask for; None is what a contract client gets.

    Raises:
        ConfigError: no such channel, or protocol 1, which has none.
    """
    if channels is None:
        return None
    asked = (channels,) if isinstance(channels, str) else tuple(channels)
    if protocol == 1:
        raise ConfigError("channels: protocol 1 has none; leave protocol at 'auto'")
    for channel in asked:
        if channel not in CHANNELS:
            raise ConfigError(no_such("channel", str(channel), CHANNELS))
    if not asked:
        raise ConfigError(f"channels: expected at least one of {', '.join(CHANNELS)}")
    return tuple(dict.fromkeys(asked))


def live_feed(settings: Settings, token: Token = None, name: str | None = None, **options: Any) -> Feed:
    """Return a feed of a server that takes the place of the one that had its name, not yet started; the options are those of `new_feed`."""
    return registry.named(new_feed(settings, token, name, **options))


def new_feed(
    settings: Settings,
    token: Token = None,
    name: str | None = None,
    *,
    commands: bool = False,
    searches: bool = True,
    compress: bool = True,
    protocol: Protocol = "auto",
    channels: Sequence[str] | str | None = None,
    on_wire: Callable[[Passed], None] | None = None,
) -> Feed:
    """Return a feed of a server, not yet started, so that a caller can add listeners before the first packet; None names it by its url."""
    if settings.url.startswith(("redis://", "rediss://")):
        return _stream_feed(settings, name, commands=commands)
    address = parse_url(settings.url)
    if token is None:
        ask: Callable[[], str | None] = settings.ask_token
    elif callable(token):
        ask = token
    else:
        ask = lambda: token  # noqa: E731 - a function would repeat its name
    secure = address.scheme == "wss" or (commands and (settings.engine_url or "").startswith(("wss:", "https:")))
    tls = _tls(settings) if secure else None
    source = LiveSource(
        address,
        token=ask,
        server_tz=settings.server_tz,
        max_message_bytes=settings.max_message_bytes,
        tls=tls,
        searches=searches,
        compress=compress,
        receiver=Receiver(protocol=_protocol(protocol), channels=_channels(channels, protocol)),
    )
    source.on_wire = on_wire
    desk = None
    if commands:
        from ccwatch.feed.engine_commands import Commands  # noqa: PLC0415 - not needed to watch

        desk = Commands(settings.url, source, engine_url=settings.engine_url, token=ask, tls=tls)
    shown = address.shown
    return Feed(
        source,
        name=name or shown,
        url=shown,
        window=settings.window,
        max_rows=settings.max_rows,
        memory=settings.memory,
        commands=desk,
        plan_for=plan_for,
    )


def plan_for(rules: Sequence[AnyRule], expected: Any = None, align: Align | None = None) -> Plan | None:
    """Return the plan that these rules need, by default that of ccwatch.toml; see `ccwatch.analysis.plan_for`."""
    from ccwatch.alerts import needs_plan  # noqa: PLC0415 - pandas is not needed to connect

    if not needs_plan(rules):
        return None
    from ccwatch.analysis import plan_for as read  # noqa: PLC0415 - scipy takes a second, and few rules need a plan

    return read(rules, expected, align)


def _stream_feed(settings: Settings, name: str | None, *, commands: bool) -> Feed:
    """Return a feed that reads a Redis stream directly, without a Cottage in between."""
    try:
        from ccwatch.cottage import RedisStreamSource, StreamAddress  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise ConfigError(f"a stream of Redis needs {error.name}, which comes with: pip install 'ccwatch[server]'") from None
    if commands:
        raise ConfigError("commands=True: a stream of Redis takes none; connect to the engine or its BFF")
    address = StreamAddress.parse(settings.url)
    source = RedisStreamSource(address, server_tz=settings.server_tz)
    return Feed(
        source,
        name=name or address.name,
        url=address.shown,
        window=settings.window,
        max_rows=settings.max_rows,
        memory=settings.memory,
        plan_for=plan_for,
    )


def folder_of_recordings(path: str | Path | None) -> Path:
    """Return the given folder, which must exist; for None, the default folder of recordings."""
    if path is None:
        return recordings_folder(Settings.load())
    expect_path(path)
    folder = user_path(path)
    if not folder.is_dir():
        raise RecordingNotFound(
            f"{folder.absolute()} is no folder: name one that holds recordings, or none for the default one, "
            f"{recordings_folder(Settings.load())}"
        )
    return folder


def recorder_of(feed: Feed, settings: Settings, path: str | Path | None, name: str | None, **options: Any) -> Recorder:
    """Return a recorder of a feed that writes into a new folder."""
    from ccwatch.recording import Recorder, RecordingKeeper, new_session_path  # noqa: PLC0415 - pyarrow is not needed to watch

    if path is not None:
        expect_path(path)
    root = user_path(path) if path is not None else recordings_folder(settings)
    recorder = Recorder(
        new_session_path(root, name or feed.name, datetime.now(UTC)),
        url=feed.url,
        origin=lambda: feed.origin,
        fsync=settings.fsync,  # type: ignore[arg-type] # checked by Settings
        server_tz=feed.server_tz,
        **options,
    )
    registry.note_recorder(feed, recorder)
    feed.kept_by(RecordingKeeper(recorder))
    return recorder


def keep_mark(feed: Feed, time: pd.Timestamp, text: str) -> None:
    """Write a mark into every running recording of a feed at once, so that killing the process loses none."""
    from ccwatch.recording import Recording  # noqa: PLC0415 - what is recorded has imported it

    failed: RecordingError | None = None
    for recorder in registry.recorders_of(feed):
        if recorder.is_recording:
            try:
                Recording(recorder.path).mark(time, text)
            except RecordingError as error:  # the others get it nevertheless
                failed = failed or error
    if failed is not None:
        raise failed


def seen_before(view: Any, start: pd.Timestamp, end: pd.Timestamp, tz: str) -> dict[str, Any]:
    """Search the recordings beside a view for a range of it; of a feed, those of the default folder or where it is being recorded."""
    from ccwatch.archives import seen_before as search  # noqa: PLC0415 - not needed to watch
    from ccwatch.recording import Recording  # noqa: PLC0415 - as above

    recorder = next((each for each in registry.recorders_of(view) if each.is_recording), None) if isinstance(view, Feed) else None
    source = view if recorder is None else Recording(recorder.path)  # so that the range is not found in its own recording
    path = source.path if isinstance(source, RecordedView) else None
    folder = recordings_folder(Settings.load()) if path is None else Path(path).absolute().parent
    return search(folder, source, "feed" if path is None else repr(str(path)), start, end, tz)


def _tls(settings: Settings) -> ssl.SSLContext:
    """Return the TLS context: which certificates to trust, and the client certificate, if any."""
    try:
        context = ssl.create_default_context(cafile=settings.tls_ca)
        if settings.tls_cert:
            context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"tls_ca, tls_cert or tls_key cannot be used: {error}") from None
    return context


def view_of(source: str | Path | Feed | Recording | None) -> tuple[Any, bool]:
    """Return the object to show, and whether it was made by `watch`, which then starts it, unless it runs for another dashboard already."""
    if isinstance(source, Path) or (isinstance(source, str) and "://" not in source):
        return recording_of(source), False
    if source is None or isinstance(source, str):
        settings = Settings.load(url=source)
        return registry.shared(new_feed(settings), settings), True
    if isinstance(source, Feed | RecordedView):  # not `Recording`: a feed is watched without pyarrow
        return source, False
    raise ConfigError(f"source={source!r}: expected a url, a Feed, a Recording, its path or name, or 'latest'")


def replay_of(recording: Any, name: str | None, **options: Any) -> Feed:
    """Return a feed that replays a recording, not yet started; the options are those of `ReplaySource`."""
    from ccwatch.recording import ReplaySource  # noqa: PLC0415 - pyarrow is not needed to watch

    opened = recording_of(recording)
    source = ReplaySource(opened, **options)
    url = f"replay:{Path(opened.path).name}"
    return registry.named(Feed(source, name=name or url, url=url, window="3650D", plan_for=plan_for))


def panels_of(panels: Any, against: Any, align: Align | None) -> Any:
    """Return the panels to show; with an expectation, those with its ghost line and the difference from it.

    Raises:
        ConfigError: panels, an expectation or an alignment that cannot be used.
        RecordingNotFound: the expectation is no recording that is there.
    """
    if align not in {None, *ALIGNMENTS}:
        raise ConfigError(f"align={align!r}: expected one of {', '.join(ALIGNMENTS)}")
    if against is False or (against is None and default_expected() is None):
        return panels
    from ccwatch.dashboard import panels_against  # noqa: PLC0415 - pandas is not needed to connect

    return panels_against(panels, against, alignment(align, against))


def views_of(source: Any) -> dict[str, tuple[Any, bool]]:
    """Return the objects to show, by name, for one source, a list or a dict, each with whether it was made here (see `view_of`).

    Raises:
        ConfigError: no source at all, or a source that cannot be watched.
    """
    if isinstance(source, Mapping):
        found = {str(name): view_of(one) for name, one in source.items()}
    elif isinstance(source, list | tuple):
        found = {}
        for one in source:
            shown = view_of(one)
            name = shown[0].name if isinstance(shown[0], Feed) else shown[0].path.name
            found[name if name not in found else f"{name} ({len(found) + 1})"] = shown
    else:
        return {"": view_of(source)}
    if not found:
        raise ConfigError(f"source={source!r}: expected at least one stream to watch")
    return found
