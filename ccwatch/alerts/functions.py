"""Rules that are functions of a frame: each packet is judged by the stretch of the stream that ends with it. It knows no rule's limits.

The function is called packet by packet, so that its input and result do not depend on where a stream is cut into batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from ccwatch.alerts.observations import SECOND, Key, Observations, none
from ccwatch.protocol.messages import UNCLEAN

WINDOW_S: Final = 900.0
"""A function is given the packets of so many seconds, the newest last."""
_CLEAR, _BEYOND = -1, 1


class HasFunction(Protocol):
    """A rule whose condition is a function."""

    @property
    def when(self) -> Any:
        """Return the function."""


class FunctionJudge:
    """A user's function on one stream."""

    def __init__(self, rule: HasFunction) -> None:
        self.function = rule.when
        self._kept: pd.DataFrame | None = None
        self._kept_at: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self.trouble = ""
        """The function's newest failure in a line; empty without any."""

    def judge(self, packets: pd.DataFrame, found: Mapping[Key, Observations]) -> tuple[Observations, npt.NDArray[np.int64]]:
        """Return the function's result for each clean packet; where it fails or returns None, there is no observation."""
        every = found.get(("schema_drift", ""))  # observed at every packet that counts
        if every is None:
            return none(), np.zeros(0, dtype=np.int64)
        clean = packets
        if "flags" in packets.columns:
            clean = packets[(packets["flags"].to_numpy().astype(np.int64) & int(UNCLEAN)) == 0]
        frame = clean if self._kept is None else pd.concat([self._kept, clean])
        at = np.concatenate((self._kept_at, every.moment))
        first = np.searchsorted(at, every.moment - round(WINDOW_S * SECOND), side="right")
        before = len(frame) - len(clean)
        truth = np.array([self._ask(frame.iloc[a : before + row + 1]) for row, a in enumerate(first.tolist())])
        keep = int(first[-1])
        self._kept, self._kept_at = frame.iloc[keep:], at[keep:]
        known = np.isfinite(truth)
        return every._replace(value=truth).where(known), np.where(truth[known] != 0.0, _BEYOND, _CLEAR)

    def _ask(self, frame: pd.DataFrame) -> float:
        try:
            said = self.function(frame)
            if isinstance(said, pd.Series | np.ndarray | pd.Index):
                said = said[-1] if isinstance(said, np.ndarray) else said.iloc[-1] if isinstance(said, pd.Series) else said[-1]
            return float("nan") if said is None or said is pd.NA else float(bool(said))
        except Exception as error:  # noqa: BLE001 - a user's code may raise anything; without an answer there is no data
            self.trouble = f"{type(error).__name__}: {error}"[:300]
            return float("nan")
