"""What `xbackend store` does: reads all of a store against its names."""

from __future__ import annotations

import argparse
import json

from xbackend.store.check import check_store
from xbackend.store.escaping import readable
from xbackend.store.store import open_store


def check(options: argparse.Namespace) -> int:
    """Print what is wrong with a store; exit status 3 if anything is."""
    store = open_store(options.store)
    found = check_store(store)
    faults = [readable(each) for each in found.faults]
    if options.json:
        print(json.dumps({"schema_version": 1, "read": found.counts, "faults": faults}))
    else:
        read = ", ".join(f"{number} {name}" for name, number in found.counts.items())
        told = f"{len(faults)} faults" if faults else "all is as its names say"
        print("\n".join([*faults, f"{read} read in {store.folder}: {told}"]))
    return 3 if faults else 0
