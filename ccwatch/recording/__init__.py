"""The recorder and its files: journal while it runs, Parquet when it stops, and a reader of both. It knows no feed and no server."""

from ccwatch.recording.catalog import list_recordings
from ccwatch.recording.export import FORMATS, export, packet_facts
from ccwatch.recording.folder import new_session_path
from ccwatch.recording.lookup import locate
from ccwatch.recording.pack import Packed, pack, with_what_follows
from ccwatch.recording.prune import Candidate, candidates, delete
from ccwatch.recording.recorder import Recorder
from ccwatch.recording.recording import Info, Mark, Recording
from ccwatch.recording.recover import Recovery, compact, recover
from ccwatch.recording.replay import ReplaySource
from ccwatch.recording.series import RecordingSeries, Turn
from ccwatch.recording.stats import RecorderStats
from ccwatch.recording.verify import Problem, Verification

__all__ = [
    "FORMATS",
    "Candidate",
    "Info",
    "Mark",
    "Packed",
    "Problem",
    "Recorder",
    "RecorderStats",
    "Recording",
    "RecordingSeries",
    "Recovery",
    "ReplaySource",
    "Turn",
    "Verification",
    "candidates",
    "compact",
    "delete",
    "export",
    "list_recordings",
    "locate",
    "new_session_path",
    "pack",
    "packet_facts",
    "recover",
    "with_what_follows",
]
