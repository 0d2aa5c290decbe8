"""The dashboard: a live view of a feed or a recording in a notebook."""

from ccwatch.dashboard.dashboard import Dashboard
from ccwatch.dashboard.expected_panels import panels_against

__all__ = ["Dashboard", "panels_against"]
