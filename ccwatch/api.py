"""The functions that users call, and the only place where the packages meet: sources, feeds, recorders and dashboards."""

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
from ccwatch.wiring import Token

if TYPE_CHECKING:
    import pandas as pd

    from ccwatch.alerts import AlertWatch, Rule
    from ccwatch.analysis import Align
    from ccwatch.analysis.compare import Comparison
    from ccwatch.analysis.report import Report
    from ccwatch.archives import Archive
    from ccwatch.cottage import Cottage
    from ccwatch.dashboard.dashboard import Dashboard
    from ccwatch.feed.synthetic import Pace
    from ccwatch.guard.backtest import Backtest
    from ccwatch.guard.metrics import Exporter
    from ccwatch.recording.recorder import Fsync, Raw, Recorder
    from ccwatch.recording.recording import Recording
    from ccwatch.recording.series import RecordingSeries, Turn
    from ccwatch.stream.moments import Moment
    from ccwatch.stream.source import Source

Speed = float | Literal["max"]


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
) -> Feed:
    """Connect to the stream of an engine or a BFF and reconnect when it breaks; return a started Feed at once.

    Args:
        url: ws:// or wss://; None is CCWATCH_URL, else ws://localhost:3000.
        token: a JWT, or a callable that returns one and is called at each connect; None is CCWATCH_TOKEN or CCWATCH_TOKEN_FILE.
        name: connecting again under a name first stops the feed that had it, so that a cell can be run twice; None is the url.
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
    return wiring.live_feed(settings, token, name, commands=commands, compress=compress).start()


def synthetic(
    *,
    seed: int = 0,
    scenario: str = "calm",
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
    return registry.named(Feed(source, name=name or url, url=url, on_demand=pace == "max")).start()


def watch(
    source: str | Path | Feed | Recording | Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    panels: Any = None,
    window: str | None = None,
    rate: float = 5,
    display_tz: str | None = None,
    rules: Sequence[Rule] | None = None,
    against: Any = None,
    align: Align = "clock",
) -> Dashboard:
    """Return the dashboard of a stream, which is displayed when it is the last line of a notebook cell.

    Args:
        source: a url, a Feed, a Recording or the path of one; None is the url of the settings. A list of these, or a dict by name, is shown
            on one time axis, each with its own colour and status line.
        panels: names of panels and your own functions, in order (see `ccwatch.dashboard.panels.choose_panels`), or "all"; None is price,
            the day's P&L, alpha and services.
        window: how much time the charts show at first, or "all"; None is 30 minutes.
        rate: pictures per second, at most 10.
        display_tz: IANA zone of the time axis and of the answers; None is the setting, else the timezone of [hours], else UTC.
        rules: the rules that raise alerts; None is `ccwatch.alerts.DEFAULT_RULES`.
        against: what was expected, drawn as a ghost line, with the difference as a panel: a Recording, its path or name, "latest", a frame
            or CSV file of nav, returns or signals. None is `[expected] path` of ccwatch.toml, False is nothing. Of several sources, the
            first is held against it.
        align: how the expectation is laid beside the stream: "clock" by time, "open" by their first packets, "event" by their first
            BUY or SELL.

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
        rules=rules,
    )
    for shown, owned in views.values():
        if owned and isinstance(shown, Feed):
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
        source: a url, whose feed then ends with the recording, or a Feed.
        path: the folder that recordings go to; None is CCWATCH_RECORDINGS, else recordings/ beside the nearest ccwatch.toml or
            pyproject.toml, else the working directory.
        name: part of the new folder's name.
        fsync: "strict", "balanced" (0.2 s), "lazy" (5 s) or "off"; None is CCWATCH_FSYNC, else "balanced".
        raw: which messages are kept byte for byte: "auto" (those that could not be rebuilt), "always", "never".
        tags: your own labels, listed by `recordings()`.
        duration: the recording ends by itself after this time, for example "1h"; `Recorder.join` waits for it.
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
    feed = source if isinstance(source, Feed) else wiring.live_feed(changed(settings, url=source))
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
        undo.append(wiring.end_after(recorder, seconds))
    return registry.keep(recorder)


def record_series(
    feed: Feed,
    path: str | Path | None = None,
    *,
    turn: Turn,
    name: str | None = None,
    fsync: Fsync | None = None,
    raw: Raw = "auto",
    tags: Sequence[str] | None = None,
    min_free: int | None = None,
) -> RecordingSeries:
    """Record a feed as `record` does, starting a new recording at each turn; return a context manager.

    Args:
        feed: the feed to record, which need not have started yet.
        path: the folder that the recordings go to.
        turn: when the next recording begins; `Turn()` is never.
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
    series = RecordingSeries(lambda: wiring.recorder_of(feed, settings, path, name, raw=raw, tags=tags, min_free=min_free), turn)
    feed.add_sink(series)
    return registry.keep(series)


def open_recording(path: str | Path) -> Recording:
    """Open a recording, whether finished, killed or still being written; opening never writes.

    Args:
        path: its folder or packed file; or the name of one in the folder of recordings; or "latest", the one that was started last; or
            its address in an object store, such as s3://BUCKET/FOLDER/NAME, from which only the needed parts are read.

    Raises:
        RecordingNotFound: nothing there; the message says where it was looked for and what is there.
        UnsupportedFormat: written by a newer ccwatch.
        CorruptRecording: its session.json cannot be read.
    """
    return wiring.recording_of(path)


def recordings(path: str | Path | None = None) -> pd.DataFrame:
    """Return one row per recorded session: start, end, symbols, packets, nav change, max drawdown, halts, gaps, tags, bytes, origin.

    Args:
        path: the folder that holds the recordings; None is where `record` puts them, which need not exist yet.

    Raises:
        RecordingNotFound: there is no folder at the path.
    """
    from ccwatch.recording import list_recordings  # noqa: PLC0415 - pyarrow is not needed to watch

    return list_recordings(wiring.folder_of_recordings(path))


def archive(path_or_url: str | Path | None = None) -> Archive:
    """Open many recordings as one: `.sessions`, `.ask(question, by=…)`, `.performance()`, `.sql(…)`, `.similar(…)`.

    Args:
        path_or_url: a folder of recordings, or one in an object store, such as s3://BUCKET/FOLDER; None is where `record` puts them,
            which need not exist yet.

    Raises:
        RecordingNotFound: there is no folder at the path.
        RecordingError: the object store does not answer.
        ConfigError: what an object store needs is not installed.
    """
    from ccwatch.archives import Archive  # noqa: PLC0415 - pyarrow is not needed to watch

    if path_or_url is None:
        return Archive(wiring.folder_of_recordings(None), must_exist=False)
    return Archive(path_or_url)


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


def analyze(source: str | Path | Feed | Recording | pd.DataFrame | Report) -> Report:
    """Analyze a stream; return a Report with one method per question.

    Args:
        source: a Feed, a Recording or its path, or your own frame with the columns of a Feed's `frame()`; a Report is given back.

    Raises:
        RecordingNotFound: no recording at the path.
        MissingColumns: raised by each question that needs a column that the stream never carried.
        ConfigError: the source is none of these.
        AnalysisError: the index of a frame is not of times with a zone.
    """
    from ccwatch.analysis import Report  # noqa: PLC0415 - scipy and plotly take a second to import

    if isinstance(source, Report):
        return source
    if isinstance(source, str) and "://" in source:
        raise ConfigError(
            f"source={source!r}: expected a Feed, a Recording, a path or a frame; to ask a stream, first feed = cw.connect({source!r})"
        )
    return Report(wiring.recording_of(source) if isinstance(source, str | Path) else source)


def compare(
    a: str | Path | Feed | Recording | pd.DataFrame | Report, b: str | Path | Feed | Recording | pd.DataFrame | Report
) -> Comparison:
    """Compare two sessions, measure by measure, with block-bootstrap intervals.

    Args:
        a: a source, as for `analyze`.
        b: another; differences are b less a.

    Raises:
        RecordingNotFound: no recording at a path.
        NotEnoughData: one of them has no packet.
        MixedSymbols: one of them holds several symbols.
    """
    return analyze(a).compare(analyze(b))


def backtest(
    rules: Any,
    recordings: Any,
    *,
    incidents: Any = None,
    horizon: str = "15min",
) -> Backtest:
    """Try alert rules on recordings; return what they caught, what they missed and their false alarms.

    Args:
        rules: a `cw.Rule` or `ccwatch.alerts.Rule`, or several.
        recordings: a Recording, its path or name, a folder of recordings, or several of these.
        incidents: from which depth a drawdown is an incident ("-2%"; None is -1.5 %), beside halts and marks tagged `incident`; or moments.
        horizon: how far before or after an incident an alert may begin and still count as having caught it.

    Raises:
        ConfigError: an argument that cannot be used.
        RecordingNotFound: no recording at a path.
    """
    from ccwatch.alerts import AlertSettings  # noqa: PLC0415 - pandas is not needed to connect
    from ccwatch.guard import backtest as room  # noqa: PLC0415 - the same

    tried = list(rules) if isinstance(rules, Sequence) else [rules]
    places = list(recordings) if isinstance(recordings, Sequence) and not isinstance(recordings, str) else [recordings]
    found = [wiring.recording_of(p) if isinstance(p, str) and not Path(p).exists() else p for p in places]
    return room.backtest(tried, room.opened(found), incidents=incidents, horizon=horizon, hours=AlertSettings.load().hours)


def export_metrics(feed: Feed, port: int = 0, *, watch: AlertWatch | None = None) -> Exporter:
    """Serve a feed's metrics to Prometheus, on this machine only, until stop(); `.url` is the address.

    Args:
        feed: the stream.
        port: port to listen on; 0 picks a free one.
        watch: judges the feed already, as a guard's does: its alerts and its account are shown; None judges by the desk's rules.

    Raises:
        ConfigError: a port in use, or prometheus-client is not installed.
    """
    try:
        from ccwatch.guard.metrics import Exporter  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise ConfigError(f"metrics need {error.name}, which comes with: pip install 'ccwatch[server]'") from None
    try:
        return registry.keep(Exporter(feed, port, watch=watch))
    except OSError as error:
        raise ConfigError(f"port {port} cannot be used ({error.strerror}); port 0 is a free one") from None


def serve(
    *,
    seed: int = 0,
    scenario: str = "calm",
    rate: float = 1.0,
    packets: int | None = None,
    pace: Pace = "wall",
    host: str = "127.0.0.1",
    port: int = 0,
    engine_port: int = 0,
    dialect: str = "contract",
    prices: Any = None,
    symbol: str = "SPY",
    recording: str | Path | Recording | None = None,
    speed: Speed = 1.0,
    start: Any = None,
    end: Any = None,
    engine: str | None = None,
    redis: str | None = None,
    seeded: bool | None = None,
    push: bool = True,
    secret: str | None = None,
    audience: str = "ccwatch",
    origins: Sequence[str] = (),
    per_ip: int | None = 10,
    proxies: Sequence[str] = (),
    tls_cert: str | None = None,
    tls_key: str | None = None,
) -> Cottage:
    """Serve a stream as engine and BFF, by the contract; return a started Cottage, which is also a context manager.

    Args:
        seed: as for `synthetic`, like scenario, rate and packets.
        scenario: the incidents planted in the stream; `.planted` lists them.
        rate: packets per second.
        packets: the stream falls silent after this many packets; None for never.
        pace: "wall", or "max": starts with the first client, waits for nothing but slow clients.
        host: where to listen; other than a loopback address only with a secret.
        port: port of the BFF, whose address is `.url`; 0 picks a free one.
        engine_port: port of the engine, whose address is `.engine_url`; 0 picks a free one.
        dialect: how the engine speaks on its socket: contract, engine_loop, bridge or pipeline; deployed is engine and BFF as seen running.
        prices: prices for the seeded stream, one per packet, in USD: a DataFrame, a Series, the path of a CSV file, or numbers.
        symbol: the symbol that the seeded stream trades.
        recording: a recording to stream instead of a seeded stream.
        speed: pace of the recording: 1 is the original one, "max" waits for nothing but slow clients.
        start: first time of the recording to serve, as for `replay`.
        end: last time of the recording to serve, as for `replay`.
        engine: url of another engine; the BFF polls it, and there is no embedded one.
        redis: redis://HOST:PORT/DB, whose channels are streamed, and where commands are announced.
        seeded: whether a seeded stream runs; None is yes, unless recording, engine or redis says what to stream.
        push: whether the BFF is pushed what the engine streams; False polls it once a second.
        secret: key that signs tokens (HS256, at least 32 bytes). Clients on other machines then need a token; `.token()` makes one.
        audience: the value that a token's `aud` must contain.
        origins: origins of the pages that may connect, beside localhost; "*" is every page, for watching.
        per_ip: most WebSockets per address and site; None for any number.
        proxies: addresses or networks whose X-Forwarded-For header is trusted.
        tls_cert: path of a certificate chain, for wss and https.
        tls_key: path of the certificate's key.

    Raises:
        ConfigError: an argument that cannot be used, or a port in use.
        RecordingNotFound: no recording at the path.
    """
    try:
        from ccwatch.cottage import AccessRules, Cottage, Listen, Options  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise ConfigError(f"serving needs {error.name}, which comes with: pip install 'ccwatch[server]'") from None
    wiring.expect_text(scenario=scenario, symbol=symbol, host=host, engine=engine, redis=redis, secret=secret, audience=audience)
    others = [name for name, value in (("recording", recording), ("engine", engine), ("redis", redis)) if value is not None]
    is_seeded = not others if seeded is None else seeded
    if (recording is not None) + (engine is not None) + is_seeded > 1:
        raise ConfigError(f"expected one stream, got {', '.join([*others, *(['seeded'] if is_seeded else [])])}")
    source: Source | None = None
    if is_seeded:
        from ccwatch.feed.synthetic import SyntheticSource  # noqa: PLC0415 - see `synthetic`

        source = SyntheticSource(seed=seed, scenario=scenario, rate=rate, packets=packets, pace=pace, prices=prices, symbol=symbol)
    elif recording is not None:
        from ccwatch.recording import ReplaySource  # noqa: PLC0415 - pyarrow is not needed to watch

        opened = wiring.recording_of(recording)
        source = ReplaySource(opened, speed=speed, start=start, end=end)
    virtual = (is_seeded and pace == "max") or (recording is not None and speed != 1)
    options = Options(
        listen=Listen(host, port, engine_port, tls_cert, tls_key),
        access=AccessRules(secret, audience, tuple([origins] if isinstance(origins, str) else origins), per_ip, tuple(proxies)),
        dialect=dialect,
        engine_url=engine,
        redis_url=redis,
        push=push,
        virtual_clock=virtual,
        start_on_first_client=virtual or recording is not None,
    )
    return registry.keep(Cottage(source, options).start())
