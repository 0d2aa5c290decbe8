"""Receivers of messages, and how a message reaches them. ccwatch itself posts to json:// and jsons://; apprise does the rest.

An address is a secret: it is read from the environment or a file whenever it is used, and appears in no repr, log or error.
"""

from __future__ import annotations

import base64
import http.client
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, quote, unquote, urlsplit

from ccwatch.config import Tables
from ccwatch.errors import ConfigError
from ccwatch.protocol.decoding import codec

CONNECT_S: Final = 5.0
ANSWER_S: Final = 10.0
MOST_WAIT_S: Final = 3600.0
"""A receiver's Retry-After is honoured up to so long."""
_SAFE: Final = "".join(chr(code) for code in range(32, 127) if chr(code) != "%")
"""Characters that are in a header as they are."""


@dataclass(frozen=True)
class Delivery:
    """The outcome of an attempt to deliver.

    Attributes:
        done: whether the receiver said that it has the message.
        is_known: whether the outcome is certain; a lost answer leaves it open.
        detail: a line for people, without the address.
        retry_s: seconds that the receiver asks to wait before the next attempt; None where it does not say.
    """

    done: bool
    is_known: bool
    detail: str
    retry_s: float | None = None


@dataclass(frozen=True)
class Receiver:
    """A receiver of messages, by name.

    Attributes:
        name: the receiver's name in ccwatch.toml.
        source: "env:VAR", "file:PATH", or the address itself where it holds no secret; no part of the repr.
    """

    name: str
    source: str = field(repr=False)

    def address(self) -> str:
        """Return the address as it is now.

        Raises:
            ConfigError: it cannot be read; the message says where it was looked for, never the address.
        """
        kind, _, where = self.source.partition(":")
        if kind == "env":
            found = os.environ.get(where, "").strip()
            if not found:
                raise ConfigError(f"receiver {self.name!r}: the environment has no {where}")
            return found
        if kind == "file":
            try:
                found = Path(where).expanduser().read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"receiver {self.name!r}: its file cannot be read: {type(error).__name__}") from None
            if not found:
                raise ConfigError(f"receiver {self.name!r}: its file is empty")
            return found.splitlines()[0].strip()
        return self.source

    def send(self, body: Mapping[str, Any]) -> Delivery:
        """Send one message and return the outcome; blocks for at most some 15 s, and raises nothing."""
        try:
            address = self.address()
        except ConfigError as error:
            return Delivery(done=False, is_known=True, detail=str(error))
        try:
            parts = urlsplit(address)
            is_ours = parts.scheme in {"json", "jsons"}
            return _post(parts, body) if is_ours else _by_apprise(address, body)
        except Exception as error:  # noqa: BLE001 - a receiver's failure must not end the thread; the address stays out of it
            return Delivery(done=False, is_known=False, detail=f"{type(error).__name__} while it was notified")


def read_receivers(tables: Tables) -> dict[str, Receiver]:
    """Return the receivers of ccwatch.toml, by name.

    Raises:
        ConfigError: an entry cannot be used; the message says its file and line, never the address.
    """
    found = {}
    for name, source in tables.receivers.items():
        place = tables.place("receivers", name)
        check_address(f"{place}: receiver {name!r}", source)
        found[str(name)] = Receiver(str(name), source.strip())
    return found


def check_address(place: str, source: Any) -> None:
    """Refuse an address in settings that cannot be used, or that holds a secret.

    Raises:
        ConfigError: begins with `place`; the address is not in it.
    """
    if not isinstance(source, str) or not source.strip():
        raise ConfigError(f'{place}: expected "env:VAR", "file:PATH" or an address without secrets')
    kind, _, rest = source.strip().partition(":")
    if kind in {"env", "file"}:
        if not rest.strip():
            raise ConfigError(f"{place}: expected a name after {kind}:")
        return
    if "://" not in source:
        raise ConfigError(f'{place}: expected "env:VAR", "file:PATH" or an address such as json://HOST:PORT/PATH')
    parts = urlsplit(source)
    if parts.username or parts.password or parts.query or parts.fragment or kind not in {"json", "jsons"}:
        raise ConfigError(
            f"{place}: an address with a user, a password, a token or a query is a secret: "
            f'put it into the environment or a file, and write "env:VAR" or "file:PATH"'
        )


# ── json:// ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _post(parts: SplitResult, body: Mapping[str, Any]) -> Delivery:
    """POST a message to a web server; 2xx is a delivery."""
    host = parts.hostname or ""
    is_secure = parts.scheme == "jsons"
    connection: http.client.HTTPConnection
    if is_secure:
        connection = http.client.HTTPSConnection(host, parts.port, timeout=CONNECT_S, context=ssl.create_default_context())
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=CONNECT_S)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "ccwatch-guard",
        "X-Ccwatch-Message": quote(str(body.get("message", "")), safe=_SAFE),
    }
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        try:
            connection.connect()
        except OSError as error:
            return Delivery(done=False, is_known=True, detail=f"it cannot be reached: {_why(error)}")
        connection.sock.settimeout(ANSWER_S)
        try:
            connection.request("POST", path, body=codec.dumps(dict(body)), headers=headers)
            answer = connection.getresponse()
            status, wait = answer.status, answer.getheader("Retry-After")
        except (OSError, http.client.HTTPException) as error:
            return Delivery(done=False, is_known=False, detail=f"its answer was lost: {_why(error)}")
        if 200 <= status < 300:
            return Delivery(done=True, is_known=True, detail=f"HTTP {status}")
        return Delivery(done=False, is_known=True, detail=f"HTTP {status}", retry_s=retry_after(wait))
    finally:
        connection.close()


def retry_after(header: str | None, now: float | None = None) -> float | None:
    """Return the seconds that a Retry-After header asks for, as a number or by a date; None where it cannot be read."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            import time  # noqa: PLC0415 - the one moment that needs a clock

            seconds = parsedate_to_datetime(header).timestamp() - (time.time() if now is None else now)
        except (ValueError, TypeError):
            return None
    return min(max(seconds, 0.0), MOST_WAIT_S) if seconds == seconds else None  # noqa: PLR0124 - NaN


def _why(error: BaseException) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__


# ── everything else ────────────────────────────────────────────────────────────────────────────────────────────────────


def _by_apprise(address: str, body: Mapping[str, Any]) -> Delivery:
    """Send by apprise, which reports only whether the message was taken."""
    try:
        import apprise  # noqa: PLC0415 - an optional extra
    except ImportError:
        return Delivery(done=False, is_known=True, detail="it needs apprise, which comes with: pip install 'ccwatch[notify]'")
    sender = apprise.Apprise()
    if not sender.add(address):
        return Delivery(done=False, is_known=True, detail="apprise does not know such an address")
    is_bad = body.get("severity") == "critical"
    kind = (
        apprise.NotifyType.FAILURE
        if is_bad
        else apprise.NotifyType.WARNING
        if body.get("severity") == "warning"
        else apprise.NotifyType.INFO
    )
    done = bool(sender.notify(title=str(body.get("title", "ccwatch")), body=str(body.get("text", "")), notify_type=kind))
    return Delivery(done=done, is_known=done, detail="taken" if done else "apprise could not deliver it, or does not know")
