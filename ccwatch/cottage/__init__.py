"""The embedded server: an engine and a BFF that speak the contract to any client; and Redis as a carrier. It needs the extra `server`."""

from ccwatch.cottage.access import AccessRules
from ccwatch.cottage.cottage import Cottage
from ccwatch.cottage.cottage_options import Listen, Options
from ccwatch.cottage.message import Message
from ccwatch.cottage.redis_bridge import RedisBridge, commands_from
from ccwatch.cottage.redis_entries import StreamAddress
from ccwatch.cottage.redis_stream import RedisStreamSource
from ccwatch.cottage.redis_writer import StreamWriter
from ccwatch.cottage.shared_state import Shared, forget

__all__ = [
    "AccessRules",
    "Cottage",
    "Listen",
    "Message",
    "Options",
    "RedisBridge",
    "RedisStreamSource",
    "Shared",
    "StreamAddress",
    "StreamWriter",
    "commands_from",
    "forget",
]
