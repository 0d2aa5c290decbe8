"""The dashboard's answer to "seen before?": the stretches most like a range, in lines, and the code that produces them again."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from ccwatch.archives.archive import Archive
from ccwatch.errors import CcwatchError
from ccwatch.stream.time_ranges import showing, shown

MOST_SHOWN: Final = 5
TOP: Final = 20


def seen_before(folder: Path, source: Any, name: str, start: pd.Timestamp, end: pd.Timestamp, tz: str = "UTC") -> dict[str, Any]:
    """Search the recordings of a folder for a range; return a dict of title (str), lines (list of str) and code (str).

    Args:
        folder: the folder of recordings.
        source: the Feed or Recording that holds the range.
        name: the source as code that a cell can run.
        start: UTC.
        end: UTC.
        tz: IANA name of the zone in which the answer gives times.
    """
    begin, last = (time.floor("s").isoformat() for time in (start, end))
    code = f'cw.archive({str(folder)!r}).similar({name}, "{begin}", "{last}", on=["price"], top={TOP})'
    with showing(tz):
        title = f"Seen before? {shown(start):%H:%M:%S} to {shown(end):%H:%M:%S %Z}, by the price"
        archive = Archive(folder, must_exist=False)
        if not len(archive):
            return {"title": title, "lines": [f"{folder} holds no recording yet: cw.record(feed) makes one to compare with"], "code": code}
        try:
            found = archive.similar(source, begin, last, on=["price"], top=TOP)
        except CcwatchError as error:
            return {"title": title, "lines": [str(error)], "code": code}
        lines = [found.headline()]
        for row in found.matches.head(MOST_SHOWN).to_dict("records"):
            then = "what followed is not known" if np.isnan(row["return"]) else f"then {row['return']:+.2%}"
            halted = ", halted" if row["halted"] is True else ""
            lines.append(f"{shown(row['start']):%Y-%m-%d %H:%M:%S} · {row['session']} · distance {row['distance']:.2f} · {then}{halted}")
    return {"title": title, "lines": [*lines, *found.notes], "code": code}
