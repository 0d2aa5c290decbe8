"""The state that a guard needs after a restart: when it was last alive, the recordings of its day, and what preceded them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from ccwatch.alerts import EvaluatorSnapshot
from ccwatch.protocol.checked_text import with_checksum, without_checksum

_Ns = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
FILE: Final = "state.json"


@dataclass
class GuardState:
    """The state, as it is kept in one file.

    Attributes:
        alive_ns: when the guard last saw the stream, wall clock; 0 where there was none.
        sessions: the recordings that hold the trading day, in order.
        carry: a snapshot of the evaluator from before them; None where nothing preceded them.
        carry_seq: the seq in the first of them up to which `carry` goes.
        journal: the folder of the newest journal of alerts.
        told: names of days and other events that are reported only once.
        blind: stretches between two guards in which nothing was seen, from and to, ns, that are not reported yet.
        blind_told_ns: when such a stretch was last reported.
    """

    alive_ns: _Ns = 0
    sessions: list[str] = field(default_factory=list)
    carry: dict[str, Any] | None = None
    carry_seq: _Ns = 0
    journal: str = ""
    told: list[str] = field(default_factory=list)
    blind: list[tuple[_Ns, _Ns]] = field(default_factory=list)
    blind_told_ns: _Ns = 0

    @classmethod
    def read(cls, folder: Path) -> GuardState:
        """Return the state kept in a folder; an empty one where there is none, or it cannot be read."""
        try:
            found = json.loads(without_checksum((folder / FILE).read_bytes()))
            state = msgspec.convert(found, cls)
            msgspec.convert(state.carry, EvaluatorSnapshot | None)
        except (OSError, ValueError, RecursionError, msgspec.ValidationError):
            return cls()
        return state

    def write(self, folder: Path) -> None:
        """Write the state; a kill while it is written leaves the one before."""
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{FILE}.part"
        part.write_bytes(with_checksum(json.dumps(asdict(self)).encode()))
        part.replace(folder / FILE)


msgspec.json.Decoder(GuardState)  # looks at the types before threads do, see `recording.checked.prepare`
msgspec.json.Decoder(EvaluatorSnapshot)
