"""Search in the reasoning of decisions: what the page's filter asks the kernel, which alone holds all texts. No widget, no thread."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from ccwatch.stream.view import View

MOST_FOUND: Final = 200
TEXT_LIMIT: Final = 300


def decisions(view: View, text: str, shift_ms: float) -> list[list[Any]]:
    """Return the newest decisions whose reasoning contains a text, in upper or lower case: [time, side, reasoning], the oldest first.

    Times are ms of the display zone's wall clock. Of neighbours with the same side and reasoning only the first is listed. At most
    `MOST_FOUND` are, each reasoning cut to `TEXT_LIMIT` characters.
    """
    wanted = text.strip()
    if not wanted:
        return []
    frame = view.frame(["side", "reasoning"])
    reasoning = frame["reasoning"].astype(object)
    hits = reasoning.str.contains(wanted, case=False, regex=False, na=False).to_numpy(dtype=bool)
    said = pd.DataFrame({"side": frame["side"].astype(object), "reasoning": reasoning})
    found = said[hits & (said != said.shift()).any(axis=1).to_numpy()].iloc[-MOST_FOUND:]
    times = pd.DatetimeIndex(found.index).as_unit("ns").asi8 / 1e6 + shift_ms
    sides = found["side"].where(found["side"].notna(), None)
    return [[at, side, str(words)[:TEXT_LIMIT]] for at, side, words in zip(times.tolist(), sides, found["reasoning"], strict=True)]
