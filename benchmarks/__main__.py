"""Runs the benchmarks: `python -m benchmarks [NAME...] [--rounds N] [--write]`."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from pathlib import Path

from .certificates import compare_certificates
from .classes import compare_classes, compare_digests
from .commands import compare_five, compare_help, compare_import, compare_one
from .distances import compare_many, compare_pairs
from .fleet import compare_fleet
from .layers import compare_layers
from .peers import compare_polygraphy
from .timing import Ratio, table

BENCHMARKS = {
    "help": compare_help,
    "import": compare_import,
    "one": compare_one,
    "five": compare_five,
    "fleet": compare_fleet,
    "pairs": compare_pairs,
    "many": compare_many,
    "classes": compare_classes,
    "digests": compare_digests,
    "layers": compare_layers,
    "certificates": compare_certificates,
    "polygraphy": compare_polygraphy,
}
README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- begin table -->", "<!-- end table -->"
MIN_ROUNDS = 5


def main() -> int:
    """Run what is asked for, print a table; exit status 1 if a limit is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--rounds", type=int, default=MIN_ROUNDS, help="at least 5")
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown or options.rounds < MIN_ROUNDS:
        parser.error(f"unknown: {unknown}" if unknown else "--rounds must be 5 or more")
    ratios: list[Ratio] = []
    for name in options.names or BENCHMARKS:
        print(f"{name} …", file=sys.stderr, flush=True)
        ratios += BENCHMARKS[name](options.rounds)
    text = f"{_machine(options.rounds)}\n\n{table(ratios)}\n"
    print(text)
    if options.write:
        _write(text)
    return 0 if all(each.ok for each in ratios) else 1


def _machine(rounds: int) -> str:
    """Return where and how it was measured: the processor, the load, the versions."""
    import numpy as np

    with open("/proc/cpuinfo", encoding="utf-8") as stream:
        names = [line.partition(":")[2].strip() for line in stream if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[1]
    return (
        f"{names[0] if names else 'unknown processor'}, {cores} cores, load {load:.1f}; "
        f"Python {platform.python_version()}, NumPy {np.__version__}; medians of {rounds} rounds."
    )


def _write(text: str) -> None:
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{BEGIN}\n{text}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
