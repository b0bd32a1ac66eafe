"""Reads all of a store against its names."""

from __future__ import annotations

import json
from argparse import Namespace

from xbackend.commands.parser import Subparsers, add_command, add_store

STORE_EXAMPLES = """examples:
  xbackend store check                    is everything what its name says?
  xbackend store check --store theirs     before a stranger's store is used

exit status: 0 everything is, 3 something is not
"""


def add(commands: Subparsers) -> None:
    """Add the command."""
    text = "read all of a store against its names, and tell what is wrong"
    parser = add_command(commands, "store", check, text, STORE_EXAMPLES)
    parser.add_argument("action", choices=["check"], help="what to do with it")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_store(parser)


def check(options: Namespace) -> int:
    """Print what is wrong with a store; exit status 3 if anything is."""
    from xbackend.api.store_check import check_store

    found = check_store(options.store)
    print(json.dumps(found.to_dict()) if options.json else found)
    return 3 if found.faults else 0
