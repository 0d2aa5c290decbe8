"""`python -m tests.benchmarks [MODULE …]`: one table of every row, medians of interleaved runs, ratios in the same run."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import tests.benchmarks


def main(names: list[str]) -> None:
    """Print the rows of the modules named, or of all."""
    found = [
        m.name
        for m in pkgutil.iter_modules(tests.benchmarks.__path__)
        if m.name not in {"__main__", "row", "cottage_servers", "worker_clients"}
    ]
    print(f"{'figure':<66} {'value':>10} unit       bound")
    for name in names or found:
        for row in importlib.import_module(f"tests.benchmarks.{name}").rows():
            print(f"{row.name:<66} {row.value:>10.3f} {row.unit:<10} {row.bound:<14} {row.note}", flush=True)


main(sys.argv[1:])
