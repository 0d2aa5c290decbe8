"""The state that the workers of one port share through Redis: connections by address, figures, and who is alive. It serves nothing.

Each worker writes its part twice a second and reads the others'; so a limit per address holds over all of them, half a second late.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from typing import Any, Final, Self

from redis.exceptions import RedisError

from ccwatch.cottage.redis_entries import StreamAddress

log = logging.getLogger("ccwatch.cottage")

PERIOD_S: Final = 0.5
ALIVE_MS: Final = 3000
"""How long a worker's part is valid after it was last written."""


class Shared:
    """One worker's part, and the last known parts of the others. A context manager."""

    def __init__(self, address: StreamAddress, worker: str) -> None:
        """Prepare the part; it is written once the context is entered."""
        self._address, self.worker = address, worker
        self._stop = threading.Event()
        self._others: dict[str, dict[str, Any]] = {}  # replaced whole by its thread, read by the loop's
        self._tell: Callable[[], dict[str, Any]] = dict
        self._thread = threading.Thread(target=self._run, name="ccwatch-shared", daemon=True)

    def tell(self, part: Callable[[], dict[str, Any]]) -> None:
        """Set the function whose result is shared: `connections` by site and address, `metrics` as Prometheus reads them."""
        self._tell = part

    def connections(self, site: str, ip: str) -> int:
        """Return how many WebSockets of this address the other workers had when they last wrote."""
        return sum(int(part.get("connections", {}).get(site, {}).get(ip, 0)) for part in self._others.values())

    def metrics(self) -> dict[str, str]:
        """Return the other workers' figures as Prometheus' text, by worker."""
        return {worker: part["metrics"] for worker, part in self._others.items() if "metrics" in part}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5.0)

    def _key(self, worker: str) -> str:
        return f"{self._address.stream}:worker:{worker}"

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with self._address.client() as client:
                    while not self._stop.is_set():
                        client.set(self._key(self.worker), json.dumps(self._tell()), px=ALIVE_MS)
                        names = [
                            key for key in client.scan_iter(match=self._key("*"), count=1000) if key != self._key(self.worker).encode()
                        ]
                        values: Any = client.mget(names) if names else []
                        parts = zip(names, values, strict=True)
                        self._others = {name.decode().rpartition(":")[2]: json.loads(value) for name, value in parts if value}
                        self._stop.wait(PERIOD_S)
                    client.delete(self._key(self.worker))
            except (RedisError, OSError, ValueError, TimeoutError) as error:
                log.debug("the other workers are not heard: %s", error)
                self._others = {}
                self._stop.wait(PERIOD_S)
