"""Options that several commands share, read; imports next to nothing, as `--help` must be fast."""

from __future__ import annotations

import argparse
import sys

TYPE_CHECKING = False  # as `typing` has it, which takes longer to import than all of this
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Any

    from xbackend.execution.progress import ProgressLines

    Handler = Callable[[argparse.Namespace], int]
    """Carries a command out and returns its exit status; it imports what it needs."""
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Subparsers = argparse._SubParsersAction  # which is not generic at run time
Parser = argparse.ArgumentParser

NO_SANDBOX_HELP = (
    "let models' processes write where you may, use the network, and take all memory "
    "(as XBACKEND_SANDBOX=off does)"
)


def add_command(
    commands: Subparsers, name: str, handler: Handler, text: str, examples: str
) -> Parser:
    """Add a command, which calls `handler` with what was parsed."""
    parser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(handler=handler)
    return parser


def add_listing(commands: Subparsers, name: str, handler: Handler, text: str) -> Parser:
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
    """Add what workers are started with, see `execution_arguments`."""
    add = parser.add_argument
    add("--timeout", metavar="S", type=float, default=600.0, help="per worker (default: 600)")
    add("--jobs", metavar="N", type=int, help="workers at once (default: one for each core)")
    add_store(parser)
    add_sandbox(parser)


def add_sandbox(parser: Parser) -> None:
    """Add `--no-sandbox`."""
    parser.add_argument("--no-sandbox", action="store_true", help=NO_SANDBOX_HELP)


def execution_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Return what `add_execution_options` read, as the API's functions take it."""
    from xbackend.api.arguments import positive_seconds

    timeout = positive_seconds("--timeout ", options.timeout)
    jobs = None if options.jobs is None else whole_number("--jobs", options.jobs)
    return {"timeout": timeout, "jobs": jobs, "store": options.store}


def request_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Return what every command reads that runs a model: which, by whom, where, and how."""
    return {
        "model": options.model,
        "backends": given_words("--backends", options.backends),
        "platforms": options.platform,
        "inputs": options.inputs,
        "threads": whole_numbers("--threads", options.threads),
        "settings": options.set,
    }


def given_words(option: str, text: str | None) -> str | None:
    """Return a list with commas. Raises UsageError for one that was given and names nothing."""
    if text is not None and not text.replace(",", " ").strip():
        from xbackend.errors import UsageError

        raise UsageError(f"'{option} {text}' names nothing. Name one at least, or leave it out.")
    return text


def whole_number(option: str, value: int | str) -> int:
    """Return the number that an option takes. Raises UsageError for any below 1."""
    from xbackend.api.arguments import positive_integer

    return positive_integer(f"{option} ", value)


def whole_numbers(option: str, text: str) -> tuple[int, ...]:
    """Return the numbers of a list with commas, each once. Raises UsageError for any below 1."""
    from xbackend.api.arguments import words

    return tuple(whole_number(option, word) for word in words(text) or ("",))


def terminal_progress() -> AbstractContextManager[ProgressLines]:
    """Give what shows on standard error how runs go on."""
    from xbackend.execution.progress import progress

    return progress(sys.stderr)
