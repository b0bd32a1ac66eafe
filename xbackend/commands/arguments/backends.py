"""The options of `xbackend backends`."""

from __future__ import annotations

from xbackend.commands.arguments.parser import Subparsers, add_listing


def add(commands: Subparsers) -> None:
    """Add the command."""
    text = "list the backends, their precisions and their settings"
    add_listing(commands, "backends", "xbackend.commands.listings:print_backends", text)
