"""Verbs that serve a stream, and the metrics of one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ccwatch import wiring
from ccwatch.errors import ConfigError
from ccwatch.feed.feed import Feed
from ccwatch.stream import registry
from ccwatch.wiring import Dialect, Scenario, Speed

if TYPE_CHECKING:
    from ccwatch.alerts import AlertWatch
    from ccwatch.cottage import Cottage
    from ccwatch.feed.synthetic import Pace
    from ccwatch.guard.engine_metrics import Exporter
    from ccwatch.recording.recording import Recording
    from ccwatch.stream.source import Source


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
        from ccwatch.guard.engine_metrics import Exporter  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise ConfigError(f"metrics need {error.name}, which comes with: pip install 'ccwatch[server]'") from None
    try:
        return registry.keep(Exporter(feed, port, watch=watch, plan_for=wiring.plan_for))
    except OSError as error:
        raise ConfigError(f"port {port} cannot be used ({error.strerror}); port 0 is a free one") from None


def _is_seeded(*, recording: object, engine: object, redis: object, seeded: bool | None) -> bool:
    """Return whether a seeded stream is to be served; refuse several streams."""
    others = [name for name, value in (("recording", recording), ("engine", engine), ("redis", redis)) if value is not None]
    is_seeded = not others if seeded is None else seeded
    if (recording is not None) + (engine is not None) + is_seeded > 1:
        raise ConfigError(f"expected one stream, got {', '.join([*others, *(['seeded'] if is_seeded else [])])}")
    return is_seeded


def serve(
    *,
    seed: int = 0,
    scenario: Scenario | str = "calm",
    rate: float = 1.0,
    packets: int | None = None,
    pace: Pace = "wall",
    host: str = "127.0.0.1",
    port: int = 0,
    engine_port: int = 0,
    dialect: Dialect = "contract",
    protocol: Literal[1, 2] = 2,
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
        protocol: the highest protocol that clients may ask for: with 1, the contract alone, HELLO is not answered.
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
    is_seeded = _is_seeded(recording=recording, engine=engine, redis=redis, seeded=seeded)
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
        protocol=protocol,
        engine_url=engine,
        redis_url=redis,
        push=push,
        virtual_clock=virtual,
        start_on_first_client=virtual or recording is not None,
    )
    return registry.keep(Cottage(source, options).start())
