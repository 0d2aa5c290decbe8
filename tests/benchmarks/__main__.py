"""`python -m tests.benchmarks [MODULE[:PART] …]`: every row as it is known: medians of interleaved runs, ratios in one run."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import tests.benchmarks


def main(names: list[str]) -> None:
    """Print the rows of the modules named, or of all; of a part of a module that has parts, as in dashboard:lag."""
    found = [
        m.name
        for m in pkgutil.iter_modules(tests.benchmarks.__path__)
        if m.name not in {"__main__", "row", "cottage_servers", "worker_clients"}
    ]
    print(f"{'figure':<66} {'value':>10} unit       bound")
    for name in names or found:
        module, _, part = name.partition(":")
        for row in importlib.import_module(f"tests.benchmarks.{module}").rows(*filter(None, [part])):
            print(f"{row.name:<66} {row.value:>10.3f} {row.unit:<10} {row.bound:<14} {row.note}", flush=True)


main(sys.argv[1:])
