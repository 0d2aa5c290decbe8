"""The catalog: one row per recording below a folder. It reads a few columns of each and keeps nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ccwatch.domain.drawdown import worst_drawdown
from ccwatch.errors import RecordingError
from ccwatch.protocol.messages import Status
from ccwatch.recording.folder import SESSION
from ccwatch.recording.recording import Recording

_DTYPES = {
    "start": "datetime64[ns, UTC]",
    "end": "datetime64[ns, UTC]",
    "status": "str",
    "origin": "str",
    "symbols": "object",
    "packets": "int64",
    "nav_change": "float64",
    "max_drawdown": "float64",
    "halts": "int64",
    "gaps": "int64",
    "tags": "object",
    "bytes": "int64",
    "url": "str",
    "path": "str",
}


def list_recordings(root: str | Path) -> pd.DataFrame:
    """The recordings in a folder, oldest first.

    Returns:
        Index `session` (str); start, end (datetime64[ns, UTC], server's clock), status (open, finished, killed, or
        "unreadable: why"), origin, symbols (tuple), packets, nav_change (USD), max_drawdown (fraction of the highest nav, ≤ 0),
        halts (times that the engine went into HALT), gaps, tags (tuple), bytes, url, path.
    """
    folders = sorted(path.parent for path in Path(root).glob(f"*/{SESSION}"))
    rows = [_row(folder) for folder in folders]
    index = pd.Index([folder.name for folder in folders], dtype="str", name="session")
    found = pd.DataFrame({name: [row[name] for row in rows] for name in _DTYPES}, index=index, columns=list(_DTYPES))
    return found.astype(_DTYPES)


def _row(folder: Path) -> dict[str, Any]:
    row: dict[str, Any] = {name: () if dtype == "object" else None if "time" in dtype else "" for name, dtype in _DTYPES.items()}
    row |= {"packets": 0, "halts": 0, "gaps": 0, "bytes": 0, "nav_change": np.nan, "max_drawdown": np.nan, "path": str(folder)}
    try:
        recording = Recording(folder)
        info = recording.info()
        frame = recording.frame(["nav", "status"])
    except RecordingError as error:
        return row | {"status": f"unreadable: {error}"}
    row |= {name: value for name, value in info.to_dict().items() if name in _DTYPES}
    row |= {"start": info.start, "end": info.end, "symbols": info.symbols, "tags": info.tags}
    nav = frame["nav"].dropna().to_numpy()
    if len(nav):
        row["nav_change"] = float(nav[-1] - nav[0])
        row["max_drawdown"] = worst_drawdown(nav)
    status = frame["status"].dropna()
    halted = (status == Status.HALT).to_numpy()
    row["halts"] = int((halted[1:] & ~halted[:-1]).sum() + halted[:1].sum())
    return row
