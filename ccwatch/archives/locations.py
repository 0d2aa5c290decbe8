"""Places of recordings: a folder of this machine, or an address in an object store. The only module that distinguishes them."""

from __future__ import annotations

from pathlib import Path

from ccwatch.recording import Recording


def is_remote(place: str | Path) -> bool:
    """Return whether a place is an address, not a path."""
    return isinstance(place, str) and "://" in place


def open_place(place: str) -> Recording:
    """Open the recording at a place and return it.

    Raises:
        RecordingNotFound: there is no recording.
        RecordingError: it cannot be read, or its store does not answer.
    """
    if is_remote(place):
        from ccwatch.archives.remote import open_remote  # noqa: PLC0415 - an optional extra

        return open_remote(place)
    return Recording(Path(place))
