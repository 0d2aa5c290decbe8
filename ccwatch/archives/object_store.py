"""Objects: files of recordings in a store that speaks S3's protocol, through obstore. Objects are never renamed.

Addresses are s3://BUCKET/FOLDER; keys, region and endpoint come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_REGION, AWS_ENDPOINT_URL, AWS_PROFILE's web identity, or the instance's own), never from an address, and appear in no error message.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from ccwatch.errors import ConfigError, RecordingError

SCHEMES: Final = ("s3", "s3a", "gs", "az", "file", "memory")
TIMEOUT_S: Final = 30
RETRIES: Final = 6
_SECRET: Final = re.compile(r"(?i)(x-amz-[a-z-]*|signature|credential|token|key)=[^&\s\"']+")


def storage_options(url: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the options that an address needs, from the environment: the endpoint, and whether it may use plain HTTP."""
    if "://" not in url:
        return {}
    check(url)
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or environment.get("AWS_ENDPOINT") or ""
    found = {"AWS_ENDPOINT_URL": endpoint} if endpoint else {}
    if endpoint.startswith("http://"):
        found["AWS_ALLOW_HTTP"] = "true"
    return found


def check(url: str) -> None:
    """Refuse an address that cannot be used.

    Raises:
        ConfigError: an unknown scheme, no bucket, or an address with a key in it.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ConfigError(f"{parts.scheme}://: expected an address such as s3://BUCKET/FOLDER")
    if parts.username or parts.password or parts.query:
        raise ConfigError("an address holds no keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and give s3://BUCKET/FOLDER")
    if not parts.netloc and parts.scheme in {"s3", "s3a", "gs", "az"}:
        raise ConfigError(f"{url}: expected an address such as s3://BUCKET/FOLDER")


class Store:
    """The objects below one address."""

    def __init__(self, url: str) -> None:
        """Prepare the store; nothing is sent yet.

        Raises:
            ConfigError: the address cannot be used, or obstore is not installed.
        """
        check(url)
        try:
            from obstore.store import from_url  # noqa: PLC0415 - an optional extra
        except ImportError as error:
            raise ConfigError(f"object storage needs {error.name}, which comes with: pip install 'ccwatch[archive]'") from None
        self.url = url.rstrip("/")
        shared: Any = {}
        if url.startswith(("s3:", "s3a:")):
            options = storage_options(url)
            endpoint = options.get("AWS_ENDPOINT_URL")
            client: dict[str, Any] = {"timeout": f"{TIMEOUT_S}s", "connect_timeout": "5s", "allow_http": "AWS_ALLOW_HTTP" in options}
            backoff = {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=2), "base": 2}
            retry = {"max_retries": RETRIES, "backoff": backoff, "retry_timeout": timedelta(seconds=TIMEOUT_S)}
            shared = {"config": {"endpoint": endpoint} if endpoint else {}, "client_options": client, "retry_config": retry}
        try:
            self._store: Any = from_url(url, **shared)
        except Exception as error:  # noqa: BLE001 - obstore's own errors have no common root
            raise ConfigError(f"{url} cannot be used: {plain(error)}") from None

    def get(self, key: str) -> tuple[bytes, str]:
        """Return an object's bytes, and the tag that changes with them.

        Raises:
            FileNotFoundError: there is no such object.
            RecordingError: the store does not answer.
        """
        import obstore  # noqa: PLC0415 - an optional extra

        found = self._ask(lambda: obstore.get(self._store, key), key)
        return bytes(self._ask(found.bytes, key)), str(found.meta.get("e_tag") or "")

    def range(self, key: str, start: int, length: int) -> bytes:
        """Return `length` bytes of an object from `start` on."""
        import obstore  # noqa: PLC0415 - an optional extra

        return bytes(self._ask(lambda: obstore.get_range(self._store, key, start=start, length=length), key))

    def end(self, key: str, length: int) -> bytes:
        """Return the last `length` bytes of an object; all of a shorter one."""
        import obstore  # noqa: PLC0415 - an optional extra

        found = self._ask(lambda: obstore.get(self._store, key, options={"range": {"suffix": length}}), key)
        return bytes(self._ask(found.bytes, key))

    def head(self, key: str) -> dict[str, Any] | None:
        """Return the metadata of an object, such as size and tag; None where there is no object."""
        import obstore  # noqa: PLC0415 - an optional extra

        try:
            return dict(self._ask(lambda: obstore.head(self._store, key), key))
        except FileNotFoundError:
            return None

    def put(self, key: str, data: bytes) -> None:
        """Write an object, in place of any that exists."""
        import obstore  # noqa: PLC0415 - an optional extra

        self._ask(lambda: obstore.put(self._store, key, data, use_multipart=False), key)

    def put_if(self, key: str, data: bytes, tag: str | None) -> str | None:
        """Write an object unless it has changed, and return its new tag; None where another writer was faster.

        Args:
            key: the object's key.
            data: the bytes to write.
            tag: the tag of the object to replace; None where no object may exist yet.
        """
        import obstore  # noqa: PLC0415 - an optional extra
        from obstore.exceptions import AlreadyExistsError, PreconditionError  # noqa: PLC0415 - as above

        mode: Any = "create" if tag is None else {"e_tag": tag}
        try:
            found = obstore.put(self._store, key, data, mode=mode, use_multipart=False)
        except (AlreadyExistsError, PreconditionError):
            return None
        except Exception as error:  # noqa: BLE001 - as in __init__
            raise self._error(error, key) from None
        return str(found.get("e_tag") or "")

    def folders(self) -> list[str]:
        """Return the names of the folders directly below the address, in order."""
        import obstore  # noqa: PLC0415 - an optional extra

        found = self._ask(lambda: obstore.list_with_delimiter(self._store), "")
        return sorted(prefix.rstrip("/").rpartition("/")[2] for prefix in found["common_prefixes"])

    def _ask(self, work: Any, key: str) -> Any:
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - as in __init__
            raise self._error(error, key) from None

    def _error(self, error: Exception, key: str) -> Exception:
        if isinstance(error, FileNotFoundError) or type(error).__name__ == "NotFoundError":
            return FileNotFoundError(f"{self.url}/{key}")
        return RecordingError(f"{self.url}/{key}: the store refuses or does not answer: {plain(error)}")


def plain(error: Exception) -> str:
    """Return an error of the store as one line, without anything that may be a secret."""
    first = " ".join(str(error).split("Debug source", maxsplit=1)[0].split())
    return _SECRET.sub(r"\1=…", first)[:300]
