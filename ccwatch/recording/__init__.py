"""The recorder and its files: journal while it runs, Parquet when it stops, and a reader of both. It knows no feed and no server."""

from ccwatch.recording.catalog import list_recordings
from ccwatch.recording.folder import new_session_path
from ccwatch.recording.recorder import Recorder
from ccwatch.recording.recording import Info, Mark, Recording
from ccwatch.recording.replay import ReplaySource
from ccwatch.recording.verify import Problem, Verification
from ccwatch.recording.writer import RecorderStats

__all__ = [
    "Info",
    "Mark",
    "Problem",
    "Recorder",
    "RecorderStats",
    "Recording",
    "ReplaySource",
    "Verification",
    "list_recordings",
    "new_session_path",
]
