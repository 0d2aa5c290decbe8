"""The shape of an evaluator's snapshot, as a guard keeps it in a file, which is checked before it is used. It knows no evaluator."""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict

import msgspec

from ccwatch.alerts.rules import AlertState

_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Number = float | None
"""None for NaN, which JSON has not."""


class AccountSnapshot(TypedDict):
    """The trading day's account: see `ccwatch.alerts.account`."""

    known_from: _Int64 | None
    day: _Int64 | None
    peak: _Number
    highest: _Number
    capital: _Number
    last: tuple[_Number, _Number]


class DivergenceSnapshot(TypedDict):
    """The stream beside its plan: see `ccwatch.alerts.divergence`."""

    since: _Int64 | None
    shift: _Int64 | None
    held: float
    start: _Number
    planned: _Number
    price: _Number
    worth: _Number


class MachineSnapshot(TypedDict):
    """One rule's state: see `ccwatch.alerts.rule_state`."""

    state: AlertState
    since: _Int64
    fired: _Int64
    open: bool
    acknowledged: bool
    beyond_at: _Int64 | None
    beyond_n: _Int64
    clear_at: _Int64 | None
    last: tuple[_Int64, _Int64] | None
    value: _Number
    worst: _Number


class EvaluatorSnapshot(TypedDict):
    """The state of an evaluator: its account, its services by name (usual, gauge, counter), and its rules by name and subject."""

    account: AccountSnapshot
    services: NotRequired[dict[str, tuple[_Number, _Number, _Number]]]
    divergence: NotRequired[DivergenceSnapshot | None]
    machines: list[tuple[str, str, MachineSnapshot]]
