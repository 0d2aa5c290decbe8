"""The recording that a dashboard's button begins and ends, and the header's words on it. Any thread, one call at a time."""

from __future__ import annotations

from collections.abc import Callable

from ccwatch.dashboard.panel_choice import Recorder


class RecordControl:
    """Holds at most one recording at a time; errors are kept as words in `trouble`, and never raised."""

    def __init__(self, record: Callable[[], Recorder] | None) -> None:
        """Start without a recording.

        Args:
            record: starts a recording of the view and returns it; None where there is nothing to record.
        """
        self._record = record
        self.recorder: Recorder | None = None
        self.words = self.trouble = ""

    @property
    def can_begin(self) -> bool:
        """Return whether a recording can be started."""
        return self._record is not None

    def begin(self) -> Recorder | None:
        """Start a recording and return it; None where that failed."""
        if self._record is None:
            return None
        try:
            self.recorder = self._record()
        except Exception as error:  # noqa: BLE001 - shown in the header, never a traceback in another cell
            self.trouble = f"could not record: {error}"
            return None
        self.trouble, self.words = "", f"recording to {self.recorder.path}"
        return self.recorder

    def end(self) -> None:
        """Finish the recording, if there is one."""
        recorder, self.recorder = self.recorder, None
        if recorder is None:
            return
        self.words = f"finishing {recorder.path}"
        try:
            recorder.stop()
        except Exception as error:  # noqa: BLE001 - shown in the header
            self.words = f"recorded to {recorder.path}, not finished"
            self.trouble = f"could not finish the recording: {error}"
        else:
            self.words = f"recorded to {recorder.path}"
