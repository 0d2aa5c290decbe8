"""A recorder as a source sees it that shares a stream with other readers: what is saved here, and what another's recording holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ccwatch.errors import CcwatchError
from ccwatch.recording.folder import is_being_written
from ccwatch.recording.recorder import Recorder
from ccwatch.recording.recording import Recording
from ccwatch.stream.source import Held


class RecordingKeeper:
    """One recorder's side of `ccwatch.stream.source.Keeper`."""

    def __init__(self, recorder: Recorder) -> None:
        """Note where the recording is; its nonce distinguishes it from another one that is at the same path on another machine."""
        self._recorder = recorder
        self._place = f"{Recording(recorder.path).session.nonce} {recorder.path.absolute()}"

    def durable_seq(self) -> int:
        """Return the `seq` of the last packet that is on the disk."""
        return self._recorder.stats.durable_seq

    def places(self) -> Sequence[str]:
        """Return the recording's nonce and path, as one text."""
        return (self._place,)

    def held(self, places: Sequence[str], /) -> Held:
        """Return the last `seq` in the recordings at these places; None if one of them cannot be read on this machine."""
        try:
            found = [_held(place) for place in places]
        except (CcwatchError, OSError, ValueError):
            return Held(None)
        known = [one.last_seq for one in found if one.last_seq is not None]
        return Held(max(known) if len(known) == len(places) > 0 else None, any(one.is_growing for one in found))


def _held(place: str) -> Held:
    nonce, _, path = place.partition(" ")
    recording = Recording(Path(path))
    if recording.session.nonce != nonce:
        return Held(None)
    if is_being_written(Path(path)):
        return Held(None, is_growing=True)
    tables = recording.tables({"packets": ["seq"], "events": ["seq"]})
    return Held(max((int(table["seq"].to_numpy().max()) for table in tables if table.num_rows), default=0))
