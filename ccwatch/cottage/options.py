"""What a Cottage is asked to be: frozen, so that threads and processes can share it. It starts nothing."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ccwatch.cottage.access import AccessRules, is_loopback_host
from ccwatch.cottage.broadcaster import SlowPolicy
from ccwatch.errors import ConfigError

if TYPE_CHECKING:
    from ccwatch.cottage.shared import Shared


@dataclass(frozen=True)
class Listen:
    """Where both sites listen, and how they are known."""

    host: str = "127.0.0.1"
    """Other than a loopback address only with a secret."""
    port: int = 0
    """Of the BFF; 0 is a free one."""
    engine_port: int = 0
    """Of the engine; 0 is a free one."""
    tls_cert: str | None = None
    """File of a certificate chain: both sites then speak wss and https."""
    tls_key: str | None = None
    """File of its key, where that is another one."""
    shared: bool = False
    """Whether other processes listen on the same ports (SO_REUSEPORT): the system gives each client to one of them."""

    def __post_init__(self) -> None:
        """Refuse what is no port.

        Raises:
            ConfigError: names the port and what came.
        """
        for name, number in (("port", self.port), ("engine_port", self.engine_port)):
            if type(number) is not int or not 0 <= number <= 65_535:
                raise ConfigError(f"{name}: expected 0 to 65535, got {number!r}")

    def tls(self) -> ssl.SSLContext | None:
        """Return how to be known by clients, or None without a certificate.

        Raises:
            ConfigError: the files cannot be used.
        """
        if self.tls_cert is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self.tls_cert, self.tls_key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"tls_cert or tls_key cannot be used: {error}") from None
        return context


@dataclass(frozen=True)
class Options:
    """All that a Cottage is asked to be, beside the source that it streams."""

    listen: Listen = field(default_factory=Listen)
    access: AccessRules = field(default_factory=AccessRules)
    """Who may watch and command; without a secret, this machine."""
    slow: SlowPolicy = field(default_factory=SlowPolicy)
    """When a slow client skips, and when it is dropped."""
    dialect: str = "contract"
    """The shape in which the engine speaks on its socket: see `dialect.DIALECTS`."""
    engine_url: str | None = None
    """Another engine, which is polled; then there is no embedded one."""
    redis_url: str | None = None
    """redis://HOST:PORT/DB, whose channels are streamed as well, and where commands are announced."""
    push: bool = True
    """Whether the BFF is pushed each message by its engine, byte for byte; False polls the engine over HTTP once a second."""
    virtual_clock: bool = False
    """The source does not keep pace with the wall clock: clients are told, and it waits for the slowest, so that none skips a message."""
    shared: Shared | None = None
    """What the workers of the same port tell each other."""
    start_on_first_client: bool = False
    """The source starts when the first client was welcomed, on either site, and none skips a message."""

    def __post_init__(self) -> None:
        """Refuse what would be open to strangers.

        Raises:
            ConfigError: a host beyond this machine without a secret.
        """
        if self.access.secret is None and not is_loopback_host(self.listen.host):
            raise ConfigError(
                f"host: {self.listen.host!r} is open to other machines, which needs a secret to verify tokens with; else 127.0.0.1"
            )

    @property
    def is_lossless(self) -> bool:
        """Whether no client skips a message."""
        return self.virtual_clock or self.start_on_first_client
