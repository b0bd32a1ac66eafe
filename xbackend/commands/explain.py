"""Says in words what is known of a difference, how sure it is, and what to do next."""

from __future__ import annotations

from argparse import Namespace

from xbackend.commands.output import comparison_writer
from xbackend.commands.parser import (
    Subparsers,
    add_command,
    add_execution_options,
    execution_arguments,
    terminal_progress,
)

EXPLAIN_EXAMPLES = """examples:
  xbackend explain                                    every run of the store
  xbackend explain --model net --where backend=ort
  xbackend explain --certify                          hold each layer against its rounding first

Each statement ends with how sure it is: recorded, proved by replay, shown by switching, certified,
goes with, rests on emulation, not judged. The next commands follow, with the time that they usually
take. Nothing is run but with --certify.
"""
CERTIFY_HELP = "compute in float64 whether rounding explains each layer of each run, and say so"


def add(commands: Subparsers) -> None:
    """Add the command."""
    text = "say in words what is known of a difference, and what to do next"
    parser = add_command(commands, "explain", explain, text, EXPLAIN_EXAMPLES)
    add = parser.add_argument
    add("--model", metavar="NAME", help="only runs of this model")
    add("--where", metavar="KEY=VALUE", action="append", help="only runs with this value")
    add("--group-by", metavar="KEYS", help="compare only runs that agree in these keys")
    add("--output", metavar="FILE", help="write there")
    add("--certify", action="store_true", help=CERTIFY_HELP)
    add_execution_options(parser)


def explain(options: Namespace) -> int:
    """Print all that is known of the runs of a store; nothing is run but to certify."""
    from xbackend.api import comparison as api

    write = comparison_writer("explain", options.output)
    execution = execution_arguments(options)
    with terminal_progress() as display:
        found = api.compare(
            model=options.model,
            where=options.where,
            group_by=options.group_by,
            helpers=True,
            **execution,
        )
        how = {key: execution[key] for key in ("timeout", "jobs")} | {"progress": display}
        found = api.certify(found, **how) if options.certify else found
    write(found.result)
    return 0
