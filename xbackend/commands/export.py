"""Writes what runs recorded into a file for other tools."""

from __future__ import annotations

import json
from argparse import Namespace

from xbackend.commands.parser import Subparsers, add_command, add_store

EXPORT_EXAMPLES = """examples:
  xbackend export arrays ort ort.npz                  outputs and layers, samples on the first axis
  xbackend export arrays 0000-ort 0001-torch both.npz  names begin with ids of runs
  xbackend import arrays ort.npz --as elsewhere --like torch

formats:
  arrays              .npz: an array for each output and layer, by name

exit status: 0 done, 2 wrong usage
"""


def add(commands: Subparsers) -> None:
    """Add the command."""
    text = "write the outputs and layers of runs into a file for other tools"
    parser = add_command(commands, "export", export, text, EXPORT_EXAMPLES)
    parser.add_argument("format", metavar="FORMAT", choices=("arrays",), help="arrays")
    parser.add_argument("runs", metavar="RUN", nargs="+", help="ids of runs, or parts of them")
    parser.add_argument("output", metavar="FILE", help="the .npz file")
    parser.add_argument("--json", action="store_true", help="print the names as one JSON object")
    add_store(parser)


def export(options: Namespace) -> int:
    """Write arrays and say how many."""
    from xbackend.api.stores import export_arrays
    from xbackend.plugins.registry import renderer

    done = export_arrays(options.runs, options.output, store=options.store)
    if options.json:
        print(json.dumps({"schema_version": 1, **vars(done)}))
    else:
        print(renderer("export")(done))
    return 0
