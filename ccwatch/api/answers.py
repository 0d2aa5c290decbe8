"""Verbs that open recordings and ask them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccwatch import wiring
from ccwatch.errors import ConfigError
from ccwatch.feed.feed import Feed

if TYPE_CHECKING:
    import pandas as pd

    from ccwatch.analysis.compare import Comparison
    from ccwatch.analysis.report import Report
    from ccwatch.archives import Archive
    from ccwatch.guard.backtest import Backtest
    from ccwatch.recording.recording import Recording


def open_recording(path: str | Path) -> Recording:
    """Open a recording, whether finished, killed or still being written; opening never writes.

    Args:
        path: its folder or packed file; or the name of one in the folder of recordings; or "latest", the one that was started last; or
            its address in an object store, such as s3://BUCKET/FOLDER/NAME, from which only the needed parts are read.

    Raises:
        RecordingNotFound: nothing there; the message says where it was looked for and what is there.
        UnsupportedFormat: written by a newer ccwatch.
        CorruptRecording: its session.json cannot be read.
    """
    return wiring.recording_of(path)


def recordings(path: str | Path | None = None) -> pd.DataFrame:
    """Return one row per recorded session: start, end, symbols, packets, nav change, max drawdown, halts, gaps, tags, bytes, origin.

    Args:
        path: the folder that holds the recordings, or its address in an object store, such as s3://BUCKET/FOLDER; None is where
            `record` puts them, which need not exist yet.

    Raises:
        RecordingNotFound: there is no folder at the path.
        RecordingError: the object store does not answer.
    """
    if isinstance(path, str) and "://" in path:
        return archive(path).sessions
    from ccwatch.recording import list_recordings  # noqa: PLC0415 - pyarrow is not needed to watch

    return list_recordings(wiring.folder_of_recordings(path))


def archive(path_or_url: str | Path | None = None) -> Archive:
    """Open many recordings as one: `.sessions`, `.ask(question, by=…)`, `.performance()`, `.sql(…)`, `.similar(…)`.

    Args:
        path_or_url: a folder of recordings, or one in an object store, such as s3://BUCKET/FOLDER; None is where `record` puts them,
            which need not exist yet.

    Raises:
        RecordingNotFound: there is no folder at the path.
        RecordingError: the object store does not answer.
        ConfigError: what an object store needs is not installed, or it is neither a path nor an address.
    """
    from ccwatch.archives import Archive  # noqa: PLC0415 - pyarrow is not needed to watch

    if path_or_url is None:
        return Archive(wiring.folder_of_recordings(None), must_exist=False)
    wiring.expect_path(path_or_url)
    return Archive(path_or_url)


def analyze(source: str | Path | Feed | Recording | pd.DataFrame | pd.Series | Report, *, symbol: str | None = None) -> Report:
    """Analyze a stream; return a Report with one method per question.

    Args:
        source: a Feed, a Recording or its path; or your own prices or navs: a frame with the columns of a Feed's `frame()`, a series,
            or the path of a CSV file; a Report is given back.
        symbol: only packets of this one, for a stream that holds several.

    Raises:
        RecordingNotFound: no recording at the path.
        MissingColumns: raised by each question that needs a column that the stream never carried.
        ConfigError: the source is none of these.
        AnalysisError: the index of a frame is not of times with a zone.
    """
    from ccwatch.analysis import Report  # noqa: PLC0415 - scipy and plotly take a second to import
    from ccwatch.stream.user_frames import is_file  # noqa: PLC0415 - pandas

    if isinstance(source, Report):
        return source if symbol is None else source.of_symbol(symbol)
    if isinstance(source, str) and "://" in source:
        raise ConfigError(
            f"source={source!r}: expected a Feed, a Recording, a path or a frame; to ask a stream, first feed = cw.connect({source!r})"
        )
    return Report(wiring.recording_of(source) if isinstance(source, str | Path) and not is_file(source) else source, symbol=symbol)


def compare(
    a: str | Path | Feed | Recording | pd.DataFrame | Report,
    b: str | Path | Feed | Recording | pd.DataFrame | Report,
    *,
    symbol: str | None = None,
) -> Comparison:
    """Compare two sessions, measure by measure, with block-bootstrap intervals.

    Args:
        a: a source, as for `analyze`.
        b: another; differences are b less a.
        symbol: only packets of this one, for streams that hold several.

    Raises:
        RecordingNotFound: no recording at a path.
        NotEnoughData: one of them has no packet.
        MixedSymbols: one of them holds several symbols, and none was chosen.
    """
    return analyze(a, symbol=symbol).compare(analyze(b, symbol=symbol))


def backtest(
    rules: Any,
    recordings: Any,
    *,
    incidents: Any = None,
    horizon: str = "15min",
) -> Backtest:
    """Try alert rules on recordings; return what they caught, what they missed and their false alarms.

    Args:
        rules: a `cw.Rule` or `ccwatch.alerts.Rule`, or several.
        recordings: a Recording, its path or name, a folder of recordings, or several of these; or an archive, or the frame of `recordings`.
        incidents: from which depth a drawdown is an incident ("-2%"; None is -1.5 %), beside halts and marks tagged `incident`; or moments.
        horizon: how far before or after an incident an alert may begin and still count as having caught it.

    Raises:
        ConfigError: an argument that cannot be used.
        RecordingNotFound: no recording at a path.
    """
    import pandas as pd  # noqa: PLC0415 - not needed to connect

    from ccwatch.alerts import AlertSettings, rules_of  # noqa: PLC0415 - the same
    from ccwatch.archives import Archive  # noqa: PLC0415 - the same
    from ccwatch.guard import backtest as room  # noqa: PLC0415 - the same

    tried = rules_of(rules)
    listed = recordings.sessions if isinstance(recordings, Archive) else recordings
    if isinstance(listed, pd.DataFrame) and "path" in listed.columns:
        listed = listed["path"].tolist()
    places = list(listed) if isinstance(listed, Sequence) and not isinstance(listed, str) else [listed]
    found = [wiring.recording_of(p) if isinstance(p, str) and not Path(p).exists() else p for p in places]
    return room.backtest(tried, room.opened(found), incidents=incidents, horizon=horizon, hours=AlertSettings.load().hours)
