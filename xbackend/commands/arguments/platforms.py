"""The options of `xbackend platforms`."""

from __future__ import annotations

from xbackend.commands.arguments.parser import Subparsers, add_listing


def add(commands: Subparsers) -> None:
    """Add the command."""
    text = "list where workers can run"
    parser = add_listing(commands, "platforms", "xbackend.commands.listings:print_platforms", text)
    parser.add_argument("--setup", choices=["arm"], help="fetch what emulated ARM needs, once")
