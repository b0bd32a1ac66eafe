"""Sends odd files and words through every door: `python -m tests.fuzz --minutes 60`.

Each case gives a value or is refused in one sentence of one line; anything else, also a case that
takes more than --slow seconds of the processor or a quarter of a gigabyte, is a finding, and its
input is kept. By atheris where it is installed (pip install atheris), else by the own mutators.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from importlib.util import find_spec
from pathlib import Path

HERE = os.getcwd()
sys.path[:] = [
    entry for entry in sys.path if entry not in ("", HERE)
]  # the tree is not the package

from . import doors_of_models, doors_of_stores, doors_of_words  # noqa: E402  # after the path
from .watch import Campaign, missing, watch  # noqa: E402

DOORS = (*doors_of_models.DOORS, *doors_of_stores.DOORS, *doors_of_words.DOORS)


def main() -> int:
    """Run what is asked for, and print a line for each door; 1 where anything is found."""
    options = _options()
    chosen = [door for door in DOORS if not options.only or door.name in options.only]
    ready = [door for door in chosen if not missing(door)]
    for door in chosen:
        if missing(door):
            print(f"{door.name}: needs {' and '.join(missing(door))}, left out", file=sys.stderr)
    findings = Path(options.findings).absolute()
    share = 60 * options.minutes / max(1, len(ready))
    ends = []
    for door in ready:
        end = watch(
            door, share, options.seed, options.engine, findings, options.slow, options.cases
        )
        print(_line(end), flush=True)
        ends.append(end)
    if options.json:
        Path(options.json).write_text(json.dumps([end.to_dict() for end in ends], indent=1))
    return 1 if any(end.findings for end in ends) or not ready else 0


def _line(end: Campaign) -> str:
    found = ", ".join(end.findings) or "nothing"
    return f"{end.name}: {end.cases} cases in {end.seconds:.0f} s ({end.cpu:.0f} s cpu): {found}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description=(__doc__ or "").strip(),
        epilog="Doors: " + "; ".join(f"{door.name} ({door.what})" for door in DOORS) + ".",
    )
    parser.add_argument("--minutes", type=float, default=1.0, help="in all, shared by the doors")
    parser.add_argument("--cases", type=int, default=0, help="end each door after so many")
    parser.add_argument("--only", action="append", choices=[door.name for door in DOORS])
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    engines = ("atheris", "own")
    best = engines[0] if find_spec("atheris") else engines[1]
    parser.add_argument("--engine", choices=engines, default=best)
    parser.add_argument("--slow", type=float, default=5.0, help="seconds that a case may take")
    parser.add_argument("--findings", default="fuzz-findings", help="folder for what is found")
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
