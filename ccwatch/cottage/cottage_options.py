"""The settings of a Cottage: frozen, so that threads and processes can share them. They start nothing."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ccwatch.cottage.access import AccessRules, is_loopback_host
from ccwatch.cottage.broadcaster import SlowPolicy
from ccwatch.errors import ConfigError

if TYPE_CHECKING:
    from ccwatch.cottage.shared_state import Shared

PROTOCOLS = (1, 2)


@dataclass(frozen=True)
class Listen:
    """The addresses and the certificate of both sites."""

    host: str = "127.0.0.1"
    """The host to bind to: a loopback address, or any other one if there is a secret."""
    port: int = 0
    """The BFF's port; 0 is a free one."""
    engine_port: int = 0
    """The engine's port; 0 is a free one."""
    tls_cert: str | None = None
    """File of a certificate chain: both sites then speak wss and https."""
    tls_key: str | None = None
    """File of its key, where the key is not in the certificate's file."""
    shared: bool = False
    """Whether other processes listen on the same ports (SO_REUSEPORT): the system gives each client to one of them."""

    def __post_init__(self) -> None:
        """Refuse numbers that are no port.

        Raises:
            ConfigError: a number that is no port; the message names it.
        """
        for name, number in (("port", self.port), ("engine_port", self.engine_port)):
            if type(number) is not int or not 0 <= number <= 65_535:
                raise ConfigError(f"{name}: expected 0 to 65535, got {number!r}")

    def tls(self) -> ssl.SSLContext | None:
        """Return the TLS context of both sites, or None without a certificate.

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
    """All settings of a Cottage, except the source that it streams."""

    listen: Listen = field(default_factory=Listen)
    access: AccessRules = field(default_factory=AccessRules)
    """The rules of who may watch and command; without a secret, only this machine may."""
    slow: SlowPolicy = field(default_factory=SlowPolicy)
    """The policy that says when a slow client skips messages, and when it is dropped."""
    dialect: str = "contract"
    """The shape in which the engine speaks on its socket: see `dialect.SPOKEN_DIALECTS`."""
    engine_url: str | None = None
    """The url of another engine, which is polled; then there is no embedded one."""
    redis_url: str | None = None
    """The redis://HOST:PORT/DB whose channels are streamed as well, and where commands are announced."""
    push: bool = True
    """Whether the BFF is pushed each message by its engine, byte for byte; False polls the engine over HTTP once a second."""
    virtual_clock: bool = False
    """Whether the source runs off the wall clock: clients are informed, and it waits for the slowest, so none skips a message."""
    protocol: int = 2
    """The highest protocol that clients may ask for: 1 is the contract alone, and answers no HELLO."""
    shared: Shared | None = None
    """The state that the workers of the same port share."""
    start_on_first_client: bool = False
    """Whether the source starts once the first client was welcomed, on either site; then no client skips a message."""

    def __post_init__(self) -> None:
        """Refuse a Cottage that would be open to strangers.

        Raises:
            ConfigError: a host beyond this machine without a secret, or a protocol that there is not.
        """
        if self.protocol not in PROTOCOLS or type(self.protocol) is not int:
            raise ConfigError(f"protocol: expected 1 or 2, got {self.protocol!r}")
        if self.access.secret is None and not is_loopback_host(self.listen.host):
            raise ConfigError(
                f"host: {self.listen.host!r} is open to other machines, which needs a secret to verify tokens with; else 127.0.0.1"
            )

    @property
    def is_lossless(self) -> bool:
        """Return whether no client ever skips a message."""
        return self.virtual_clock or self.start_on_first_client
