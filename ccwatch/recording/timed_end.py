"""The end of a recording after a given time, for which a script waits that has nothing else to do."""

from __future__ import annotations

import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Final

from ccwatch.errors import RecordingError
from ccwatch.recording.recorder import Recorder
from ccwatch.stream.script_log import is_hosted, script_logger

LOOK_S: Final = 0.5
"""How often it is looked whether the main thread has come to its end."""
_LOG: Final = script_logger(__name__)


def end_after(recorder: Recorder, seconds: float) -> None:
    """Stop a recorder after this many seconds, even if nothing refers to it.

    A script whose last line begins a recording waits for its end, as for that of any thread, and says so on stderr. Ctrl-C and SIGTERM
    end the wait: what had been recorded is kept. Where a host decides when the process ends, as in a notebook, nothing waits.
    """
    thread = threading.Thread(target=_end, args=(recorder, seconds), name="ccwatch-record-until", daemon=is_hosted())
    thread.start()


def _end(recorder: Recorder, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    is_awaited = False
    while not recorder.join(max(0.0, min(LOOK_S, deadline - time.monotonic()))):
        left = deadline - time.monotonic()
        is_over = not threading.main_thread().is_alive()
        if left <= 0 or (is_over and isinstance(getattr(sys, "last_value", None), KeyboardInterrupt)):
            try:
                recorder.stop()
            except RecordingError:
                _LOG.exception("%s could not be finished; its journal holds everything", recorder.path)
            return
        if is_over and not is_awaited:
            is_awaited = True
            until = datetime.now(UTC) + timedelta(seconds=left)
            _LOG.warning("recording into %s until %s UTC; Ctrl-C ends it now", recorder.path, f"{until:%H:%M:%S}")
