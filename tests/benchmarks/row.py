"""One line of the benchmarks' table."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """A figure with its unit, the bound that it should keep (as text; empty for none) and how it was taken."""

    name: str
    value: float
    unit: str
    bound: str
    note: str
