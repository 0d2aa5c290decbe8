"""The archive: many recordings, asked as one. Each session is read by itself, and the answers are merged."""

from ccwatch.archives.archive import Archive
from ccwatch.archives.locations import open_place
from ccwatch.archives.push import pull, push, sessions_of
from ccwatch.archives.seen_before import seen_before

__all__ = ["Archive", "open_place", "pull", "push", "seen_before", "sessions_of"]
