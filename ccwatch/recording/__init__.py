"""The recorder, its files (a journal while it runs, Parquet once it stops) and a reader of both. It knows no feed and no server."""

from ccwatch.recording.alert_journal import ALERTS, Acknowledgement, AlertBook, AlertJournal, Silence, guard_name, journal_of_stream
from ccwatch.recording.catalog import FINISHED, list_recordings
from ccwatch.recording.export import FORMATS, export, packet_facts
from ccwatch.recording.folder import append_durably, is_recording, new_session_path, seal, sealed_lines, write_durably
from ccwatch.recording.info import Info, Mark
from ccwatch.recording.keeper import RecordingKeeper
from ccwatch.recording.lookup import LATEST, locate
from ccwatch.recording.pack import MONEY, Packed, pack, with_what_follows
from ccwatch.recording.prune import Candidate, candidates, delete
from ccwatch.recording.recorder import Recorder
from ccwatch.recording.recording import Recording
from ccwatch.recording.recording_series import RecordingSeries, RolloverPolicy
from ccwatch.recording.recover import Recovery, compact, recover
from ccwatch.recording.replay import ReplayClock, ReplaySource
from ccwatch.recording.schemas import SCHEMAS
from ccwatch.recording.segment_file import Mirrored
from ccwatch.recording.segments import footer_crc
from ccwatch.recording.stats import RecorderStats
from ccwatch.recording.timed_end import end_after
from ccwatch.recording.verify import Problem, Verification

__all__ = [
    "ALERTS",
    "FINISHED",
    "FORMATS",
    "LATEST",
    "MONEY",
    "SCHEMAS",
    "Acknowledgement",
    "AlertBook",
    "AlertJournal",
    "Candidate",
    "Info",
    "Mark",
    "Mirrored",
    "Packed",
    "Problem",
    "Recorder",
    "RecorderStats",
    "Recording",
    "RecordingKeeper",
    "RecordingSeries",
    "Recovery",
    "ReplayClock",
    "ReplaySource",
    "RolloverPolicy",
    "Silence",
    "Verification",
    "append_durably",
    "candidates",
    "compact",
    "delete",
    "end_after",
    "export",
    "footer_crc",
    "guard_name",
    "is_recording",
    "journal_of_stream",
    "list_recordings",
    "locate",
    "new_session_path",
    "pack",
    "packet_facts",
    "recover",
    "seal",
    "sealed_lines",
    "with_what_follows",
    "write_durably",
]
