"""Shows the classes over platforms and numbers of threads."""

from __future__ import annotations

import json
from argparse import Namespace

from xbackend.commands.output import plot_writer, tell_left_out
from xbackend.commands.parser import Subparsers, add_command, add_store

CORES_EXAMPLES = """examples:
  xbackend run --platform cores:1 --platform native --threads 1,2,4,8,16
  xbackend cores                                      platforms by threads, classes in the cells
  xbackend cores --output figure.svg                  and a plot: .png, .svg or .pdf
  xbackend cores --where backend=tf --tap dense --json
"""


def add(commands: Subparsers) -> None:
    """Add the command."""
    text = "show the classes over platforms and numbers of threads"
    parser = add_command(commands, "cores", cores, text, CORES_EXAMPLES)
    add = parser.add_argument
    add("--model", metavar="NAME", help="only runs of this model")
    add("--where", metavar="KEY=VALUE", action="append", help="only runs with this value")
    add("--tap", metavar="NAME", help="class this tensor, not the outputs")
    add("--output", metavar="FILE", help="draw a plot there; needs matplotlib")
    add("--json", action="store_true", help="print one JSON object")
    add_store(parser)


def cores(options: Namespace) -> int:
    """Print the classes of a store's runs over platforms and threads, and draw them if asked."""
    from xbackend.api.platform_causes import cores as find_classes

    plot = plot_writer("cores", options.output)
    tables = find_classes(
        store=options.store, model=options.model, where=options.where, tap=options.tap
    )
    plot(tables.items)
    print(json.dumps(tables.to_dict()) if options.json else tables)
    return tell_left_out(tables.left_out)
