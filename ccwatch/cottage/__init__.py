"""The embedded server: an engine and a BFF that speak the contract to any client; and Redis as a carrier. It needs the extra `server`."""

from ccwatch.cottage.access import AccessRules
from ccwatch.cottage.cottage import Cottage
from ccwatch.cottage.cottage_options import Listen, Options
from ccwatch.cottage.redis_bridge import RedisBridge
from ccwatch.cottage.redis_entries import StreamAddress
from ccwatch.cottage.redis_stream import RedisStreamSource, StreamWriter
from ccwatch.cottage.shared_state import Shared

__all__ = [
    "AccessRules",
    "Cottage",
    "Listen",
    "Options",
    "RedisBridge",
    "RedisStreamSource",
    "Shared",
    "StreamAddress",
    "StreamWriter",
]
