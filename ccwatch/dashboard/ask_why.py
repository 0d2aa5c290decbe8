"""The dashboard's answer to "why": an explanation in lines, and the code that produces it again. No widget, no thread."""

from __future__ import annotations

from typing import Any, Final
from zoneinfo import ZoneInfo

import pandas as pd

from ccwatch.errors import CcwatchError
from ccwatch.stream.time_ranges import showing
from ccwatch.stream.view import RecordedView, View

WINDOW_S: Final = 120.0
"""Length of the window around a single moment."""
MOST_EVIDENCE: Final = 8
MOST_DIFFERENCES: Final = 5


def explain(view: View, start: pd.Timestamp, end: pd.Timestamp, tz: str = "UTC") -> dict[str, Any]:
    """Explain a moment or a range; return a dict of title (str), lines (list of str) and code (str).

    Args:
        view: a Feed or a Recording.
        start: UTC.
        end: UTC; the same as `start` for a moment.
        tz: IANA name of the zone in which the answer gives times.
    """
    from ccwatch.analysis import Report  # noqa: PLC0415 - scipy takes a second to import

    moment = start + (end - start) / 2
    seconds = max(1.0, (end - start).total_seconds()) if end > start else WINDOW_S
    stamp = moment.floor("ms").isoformat()
    zone = ZoneInfo(tz)
    title = f"Around {moment.astimezone(zone):%H:%M:%S %Z}, {seconds:,.0f} s"
    code = f'cw.analyze({name_of(view)}).explain("{stamp}", window="{seconds:g}s")'
    with showing(tz):
        try:
            found = Report(view).explain(moment, f"{seconds:g}s")
        except CcwatchError as error:
            return {"title": title, "lines": [str(error)], "code": code}
        lines = [found.headline(), *found.differing(MOST_DIFFERENCES)]
    for row in found.worth_most(MOST_EVIDENCE).to_dict("records"):
        subject, detail = ("" if pd.isna(row[name]) else str(row[name]) for name in ("subject", "detail"))
        words = detail if subject in detail else f"{subject} {detail}".strip()
        lines.append(f"{row['time'].astimezone(zone):%H:%M:%S.%f}"[:-3] + f" · {row['kind']} · {words}")
    more = len(found.evidence) - MOST_EVIDENCE
    if more > 0:
        lines.append(f"… and {more:,} more: .evidence of what the code below gives holds all")
    return {"title": title, "lines": [*lines, *found.notes], "code": code}


def name_of(view: View) -> str:
    """Return the view as code that a cell can run."""
    return repr(str(view.path)) if isinstance(view, RecordedView) else "feed"
