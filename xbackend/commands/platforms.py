"""Lists where workers can run, and sets emulated ARM up."""

from __future__ import annotations

import json
import sys
from argparse import Namespace

from xbackend.commands.parser import Subparsers, add_listing


def add(commands: Subparsers) -> None:
    """Add the command."""
    text = "list where workers can run"
    parser = add_listing(commands, "platforms", platforms, text)
    parser.add_argument("--setup", choices=["arm"], help="fetch what emulated ARM needs, once")


def platforms(options: Namespace) -> int:
    """List the platforms that this machine has and can emulate, or set emulated ARM up."""
    from xbackend.api import listings as api

    if options.setup:
        return _set_up(options)
    found = api.platforms()
    print(json.dumps(found.to_dict()) if options.json else found)
    return 0


def _set_up(options: Namespace) -> int:
    from xbackend.api.listings import set_up_arm
    from xbackend.plugins.registry import renderer

    made = set_up_arm(lambda line: print(line, file=sys.stderr, flush=True))
    document = {"schema_version": 1, "arm": made}
    print(json.dumps(document) if options.json else renderer("arm")(made))
    return 0
