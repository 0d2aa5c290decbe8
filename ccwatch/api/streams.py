"""Verbs that make, show, record and replay a stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace as changed
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from ccwatch import wiring
from ccwatch.config import Settings
from ccwatch.errors import ConfigError
from ccwatch.feed.feed import Feed
from ccwatch.feed.group import Feeds
from ccwatch.stream import registry
from ccwatch.wiring import PanelFunction, PanelName, Scenario, Speed, Token

if TYPE_CHECKING:
    from ccwatch.alerts import Rule
    from ccwatch.config import Align
    from ccwatch.dashboard.dashboard import Dashboard
    from ccwatch.feed.synthetic import Pace
    from ccwatch.recording.recorder import Fsync, Raw, Recorder
    from ccwatch.recording.recording import Recording
    from ccwatch.recording.recording_series import RecordingSeries, RolloverPolicy
    from ccwatch.stream.time_ranges import Moment


def connect(
    url: str | None = None,
    *,
    token: Token = None,
    name: str | None = None,
    window: str | None = None,
    max_rows: int | None = None,
    commands: bool = False,
    engine_url: str | None = None,
    server_tz: str | None = None,
    max_message_bytes: int | None = None,
    memory: str | int | None = None,
    compress: bool = True,
    protocol: Literal["auto", 1, 2] = "auto",
    channels: Sequence[str] | None = None,
) -> Feed:
    """Connect to the stream of an engine or a BFF and reconnect when it breaks; return a started Feed at once.

    Args:
        url: ws:// or wss://; None is CCWATCH_URL, else ws://localhost:3000.
        token: a JWT, or a callable that returns one and is called at each connect; None is CCWATCH_TOKEN or CCWATCH_TOKEN_FILE.
        name: connecting again under a name first stops the feed that had it, so that a cell can be run twice: that feed's state, card,
            health and dashboards then say so, and a warning does where callbacks ended with it. None is the url. Feeds that `watch` and
            `record` make of a url go on.
        window: how much received time the feed keeps in memory; None is "8h".
        max_rows: how many packets it keeps at most; None is 1,000,000.
        commands: whether the feed may `subscribe`, `halt` and `resume`; without it, it only watches.
        engine_url: where `halt` and `resume` go: http://HOST:PORT or ws://HOST:PORT/ws/stream; None is CCWATCH_ENGINE_URL, else the
            server of `url` itself.
        server_tz: IANA zone of timestamps that carry no offset; None is UTC.
        max_message_bytes: most bytes of one message; None is 4 MiB.
        memory: how many bytes the feed's buffer takes at most, "512MB" or a number; None is "1GB". `health().evicted` counts the
            rows dropped because of the window, the row limit and the byte limit.
        compress: whether to offer the server the compression of RFC 7692, which needs a twentieth of the bytes; see
            `feed.health().compression`.
        protocol: "auto" speaks protocol 2 with a server whose handshake names it, and the contract's with any other; 2 asks also a server
            that does not name it, once it has shown that it reads; 1 never asks.
        channels: the channels of protocol 2 to receive: state, market, logs, trades, heartbeat; None is state, which is what the contract
            sends. A server of protocol 1 sends everything.

    Raises:
        ConfigError: a setting that cannot be used.
    """
    settings = Settings.load(
        url=url,
        window=window,
        max_rows=max_rows,
        engine_url=engine_url,
        server_tz=server_tz,
        max_message_bytes=max_message_bytes,
        memory=None if memory is None else str(memory),
    )
    return wiring.live_feed(settings, token, name, commands=commands, compress=compress, protocol=protocol, channels=channels).start()


def synthetic(
    *,
    seed: int = 0,
    scenario: Scenario | str = "calm",
    rate: float = 1.0,
    packets: int | None = None,
    pace: Pace = "wall",
    prices: Any = None,
    symbol: str = "SPY",
    name: str | None = None,
) -> Feed:
    """Generate a seeded stream in this process, without a server; return it as a started Feed.

    Args:
        seed: equal seeds give equal bytes.
        scenario: the incidents planted in the stream: a name of `ccwatch.feed.scenarios.SCENARIOS`, or several, as in
            "slow-agent+gap@300", whose gap begins 300 s into the stream. `feed.planted` lists the incidents.
        rate: packets per second of the stream's own time, which begins at 2026-01-02T14:30:00Z.
        packets: the stream ends after this many; None for never.
        pace: "wall" keeps pace with the clock; "max" does not wait.
        prices: prices to use, one per packet, in USD: a DataFrame, a Series, the path of a CSV file, or numbers; the stream ends with them.
        symbol: the symbol that is traded.
        name: as for `connect`.

    Raises:
        ConfigError: an argument that cannot be used.
    """
    from ccwatch.feed.synthetic import SyntheticSource  # noqa: PLC0415 - not needed to watch a server

    wiring.expect_text(scenario=scenario, symbol=symbol, name=name)
    source = SyntheticSource(seed=seed, scenario=scenario, rate=rate, packets=packets, pace=pace, prices=prices, symbol=symbol)
    url = f"synthetic:{scenario}?seed={seed}&rate={rate:g}"
    return registry.named(Feed(source, name=name or url, url=url, on_demand=pace == "max", plan_for=wiring.plan_for)).start()


def watch(
    source: str | Path | Feed | Recording | Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    panels: Literal["all"] | PanelName | PanelFunction | Sequence[PanelName | PanelFunction] | None = None,
    window: str | None = None,
    rate: float = 5,
    display_tz: str | None = None,
    rules: Sequence[Rule] | None = None,
    against: Any = None,
    align: Align | None = None,
) -> Dashboard:
    """Return the dashboard of a stream, which is displayed when it is the last line of a notebook cell.

    Args:
        source: a url, a Feed, a Recording or the path of one; None is the url of the settings. A list of these, or a dict by name, is shown
            on one time axis, each with its own colour and status line. Dashboards of one url share one feed, which ends with the last.
        panels: names of panels and your own functions, in order (see `ccwatch.dashboard.panel_choice.choose_panels`), or "all"; None is
            price, the day's P&L, alpha and services.
        window: how much time the charts show at first, or "all"; None is 30 minutes.
        rate: pictures per second, at most 10.
        display_tz: IANA zone of the time axis and of the answers; None is the setting, else the timezone of [hours], else UTC.
        rules: the rules that raise alerts; None is `ccwatch.alerts.DEFAULT_RULES` and those of ccwatch.toml.
        against: what was expected, drawn as a ghost line, with the difference as a panel: a Recording, its path or name, "latest", a frame
            or CSV file of nav, returns or signals. None is `[expected]` of ccwatch.toml, False is nothing. Of several sources, the
            first is held against it.
        align: how the expectation is laid beside the stream: "clock" by time, "open" by their first packets, "event" by their first
            BUY or SELL; None is "clock", or what `[expected]` says of its own plan.

    Raises:
        ConfigError: an argument that cannot be used.
        MissingColumns: the expectation has neither nav nor returns nor signals.
        RecordingNotFound: no recording at the path.
    """
    from ccwatch.dashboard import Dashboard  # noqa: PLC0415 - plotly and ipywidgets take a second to import

    zone = Settings.load(display_tz=display_tz).display_tz
    panels = wiring.panels_of(panels, against, align)
    views = wiring.views_of(source)
    view = next(iter(views.values()))[0]
    recorder = (lambda: record(view)) if isinstance(view, Feed) else None
    keep_mark = (lambda time, text: wiring.keep_mark(view, time, text)) if isinstance(view, Feed) else None
    dashboard = Dashboard(
        {name: shown for name, (shown, _) in views.items()},
        panels=panels,
        window=window,
        rate=rate,
        display_tz=zone,
        record=recorder,
        owns_feed=frozenset(name for name, (_, owned) in views.items() if owned),
        keep_mark=keep_mark,
        seen_before=wiring.seen_before,
        rules=rules,
        plan_for=lambda rules: wiring.plan_for(rules, against, align),
    )
    for shown, owned in views.values():
        if owned and isinstance(shown, Feed):
            registry.enter(dashboard, shown)
            shown.start()
    return registry.keep(dashboard)


def record(
    source: str | Feed,
    path: str | Path | None = None,
    *,
    name: str | None = None,
    fsync: Fsync | None = None,
    raw: Raw = "auto",
    tags: Sequence[str] | None = None,
    duration: str | timedelta | None = None,
    until: str | datetime | None = None,
) -> Recorder:
    """Record a stream from now on, into a new folder; return the Recorder, which is also a context manager.

    Args:
        source: a url, whose feed then ends with the recording and by no other call, or a Feed.
        path: the folder that recordings go to; None is CCWATCH_RECORDINGS, else recordings/ beside the nearest ccwatch.toml or
            pyproject.toml, else the working directory.
        name: part of the new folder's name.
        fsync: "strict", "balanced" (0.2 s), "lazy" (5 s) or "off"; None is CCWATCH_FSYNC, else "balanced".
        raw: which messages are kept byte for byte: "auto" (those that could not be rebuilt), "always", "never".
        tags: your own labels, listed by `recordings()`.
        duration: the recording ends by itself after this time, for example "1h". A script that has come to its last line waits for it,
            as `Recorder.join` does; Ctrl-C ends it. In a notebook, restarting the kernel ends it. Nothing that was recorded is lost.
        until: the recording ends by itself at this moment; "16:00" is the next 16:00 in the zone `display_tz`.

    Raises:
        ConfigError: an argument that cannot be used.
        RecordingError: the folder cannot be written.
    """
    settings = Settings.load(fsync=fsync)
    seconds = wiring.seconds_until(duration, until)
    if not isinstance(source, str | Feed):
        raise ConfigError(f"source={source!r}: expected a url or a Feed")
    owned = not isinstance(source, Feed)
    feed = source if isinstance(source, Feed) else registry.add(wiring.new_feed(changed(settings, url=source)))
    undo: list[Callable[[], None]] = []

    def release() -> None:
        for step in undo:
            step()

    recorder = wiring.recorder_of(feed, settings, path, name, raw=raw, tags=tags, on_stop=release)
    undo.append(feed.add_sink(recorder))
    if owned:
        undo.insert(0, feed.stop)
        feed.start()
    if seconds is not None:
        from ccwatch.recording import end_after  # noqa: PLC0415 - pyarrow is not needed to watch

        end_after(recorder, seconds)
    return registry.keep(recorder)


def record_series(
    feed: Feed,
    path: str | Path | None = None,
    *,
    rollover: RolloverPolicy,
    name: str | None = None,
    fsync: Fsync | None = None,
    raw: Raw = "auto",
    tags: Sequence[str] | None = None,
    min_free: int | None = None,
) -> RecordingSeries:
    """Record a feed as `record` does, starting a new recording at each rollover; return a context manager.

    Args:
        feed: the feed to record, which need not have started yet.
        path: the folder that the recordings go to.
        rollover: when the next recording begins; `RolloverPolicy()` is never.
        name: part of the new folders' names.
        fsync: as for `record`, like raw and tags.
        raw: which messages are kept byte for byte.
        tags: your own labels.
        min_free: bytes to leave free on the disk; with less, recording pauses until there is room again.

    Raises:
        ConfigError: an argument that cannot be used.
        RecordingError: the folder cannot be written.
    """
    from ccwatch.recording import RecordingSeries  # noqa: PLC0415 - pyarrow is not needed to watch

    settings = Settings.load(fsync=fsync)
    series = RecordingSeries(lambda: wiring.recorder_of(feed, settings, path, name, raw=raw, tags=tags, min_free=min_free), rollover)
    feed.add_sink(series)
    return registry.keep(series)


@overload
def replay(
    recording: str | Path | Recording, *, speed: Speed = ..., start: Moment = ..., end: Moment = ..., name: str | None = ...
) -> Feed: ...
@overload
def replay(
    recording: list[Any] | tuple[Any, ...] | Mapping[str, str | Path | Recording],
    *,
    speed: Speed = ...,
    start: Moment = ...,
    end: Moment = ...,
) -> Feeds: ...
def replay(recording: Any, *, speed: Speed = 1.0, start: Moment = None, end: Moment = None, name: str | None = None) -> Feed | Feeds:
    """Replay a recording as a started Feed, which ends in state ENDED.

    Several recordings play on one clock and are returned as Feeds, a tuple that `watch` shows on one time axis: side by side where they
    overlap in time; where one ends before the next begins, one after the other, without the idle time between them.

    Args:
        recording: the Recording, its path or name, or "latest"; or a list of these, or a dict by name.
        speed: 1 is the original pace, 10 is ten times as fast, "max" does not wait.
        start: the first time to replay, of the stream's own clock; None is the beginning.
        end: the last time; None is the end.
        name: as for `connect`; of several, a dict gives the names.

    Raises:
        ConfigError: an argument that cannot be used.
        RecordingNotFound: no recording at the path.
    """
    if not isinstance(recording, list | tuple | Mapping):
        return wiring.replay_of(recording, name, speed=speed, start=start, end=end).start()
    from ccwatch.recording import ReplayClock  # noqa: PLC0415 - pyarrow is not needed to watch

    if name is not None or not recording:
        raise ConfigError(f"expected several recordings without a name, or a dict by name, got {recording!r}, name={name!r}")
    by_name = list(recording.items()) if isinstance(recording, Mapping) else [(None, one) for one in recording]
    clock = ReplayClock()
    feeds = Feeds(wiring.replay_of(one, given, speed=speed, start=start, end=end, clock=clock) for given, one in by_name)
    for feed in feeds:  # all are placed on the clock before the first begins
        feed.start()
    return feeds
