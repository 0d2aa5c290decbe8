"""The embedded server: an engine and a BFF that speak the contract to any client. It needs the extra `server`."""

from ccwatch.cottage.access import AccessRules
from ccwatch.cottage.cottage import Cottage
from ccwatch.cottage.options import Listen, Options

__all__ = ["AccessRules", "Cottage", "Listen", "Options"]
