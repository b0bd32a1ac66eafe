"""Lists the backends, their precisions and their settings."""

from __future__ import annotations

import json
from argparse import Namespace

from xbackend.commands.parser import Subparsers, add_listing


def add(commands: Subparsers) -> None:
    """Add the command."""
    text = "list the backends, their precisions and their settings"
    add_listing(commands, "backends", backends, text)


def backends(options: Namespace) -> int:
    """List every known backend, whether it is installed, its precisions and its settings."""
    from xbackend.api.listings import backends as find_backends

    found = find_backends()
    print(json.dumps(found.to_dict()) if options.json else found)
    return 0
