"""What the parsers of several commands share; imports next to nothing, as `--help` must be fast."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Subparsers = argparse._SubParsersAction  # which is not generic at run time
Parser = argparse.ArgumentParser


def add_command(commands: Subparsers, name: str, handler: str, text: str, examples: str) -> Parser:
    """Add a command, which calls `handler`, a `package.module:function`, with what was parsed."""
    parser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(handler=handler)
    return parser


def add_listing(commands: Subparsers, name: str, handler: str, text: str) -> Parser:
    """Add a command that only prints, likewise."""
    parser = commands.add_parser(name, help=text, description=text.capitalize() + ".")
    parser.set_defaults(handler=handler)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def add_store(parser: Parser) -> None:
    """Add `--store`."""
    parser.add_argument(
        "--store", metavar="DIR", help="where runs are kept (default: $XBACKEND_STORE or .xbackend)"
    )


def add_trust(parser: Parser) -> None:
    """Add what lets commands follow the platforms that the records of a store name."""
    parser.add_argument(
        "--trust-platforms",
        action="store_true",
        help="start interpreters, hosts and images that only the store's runs name",
    )


def add_execution_options(parser: Parser) -> None:
    """Add what workers are started with, see `xbackend.execution.execute.ExecutionContext`."""
    add = parser.add_argument
    add("--timeout", metavar="S", type=float, default=600.0, help="per worker (default: 600)")
    add("--jobs", metavar="N", type=int, help="workers at once (default: one for each core)")
    add_store(parser)
