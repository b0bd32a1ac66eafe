"""The options of `xbackend explain`."""

from __future__ import annotations

from xbackend.commands.arguments.parser import Subparsers, add_command, add_store

EXPLAIN_EXAMPLES = """examples:
  xbackend explain                                    every run of the store
  xbackend explain --model net --where backend=ort

Each statement ends with how sure it is: recorded, proved by replay, shown by switching, goes with,
rests on emulation, not judged. The next commands follow, with the time that they usually take.
Nothing is run.
"""


def add(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "explain",
        "xbackend.commands.commands:explain",
        "say in words what is known of a difference, how sure it is, and what to do next",
        EXPLAIN_EXAMPLES,
    )
    add = parser.add_argument
    add("--model", metavar="NAME", help="only runs of this model")
    add("--where", metavar="KEY=VALUE", action="append", help="only runs with this value")
    add("--group-by", metavar="KEYS", help="compare only runs that agree in these keys")
    add("--output", metavar="FILE", help="write there")
    add_store(parser)
