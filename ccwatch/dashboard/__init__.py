"""The dashboard: a live view of a feed or a recording in a notebook."""

from ccwatch.dashboard.dashboard import Dashboard

__all__ = ["Dashboard"]
