"""Takes runs that others made into a store."""

from __future__ import annotations

import json
import sys
from argparse import Namespace

from xbackend.commands.parser import Subparsers, add_command, add_store

IMPORT_EXAMPLES = """examples:
  xbackend import unannticipated unaNNticipated --store published
  xbackend import unannticipated unaNNticipated/experiments/results/precision
  xbackend compare --store published --where facts.experiment=equivalence_classes

formats:
  unannticipated      the published results of uibk-iNNference/unaNNticipated
  (and those of installed packages, by entry points of the group xbackend.importers)

exit status: 0 something was imported, 2 nothing was
"""


def add(commands: Subparsers) -> None:
    """Add the command."""
    text = "take runs that others made into a store"
    parser = add_command(commands, "import", import_runs, text, IMPORT_EXAMPLES)
    parser.add_argument("importer", metavar="FORMAT", help="such as unannticipated")
    parser.add_argument("path", metavar="PATH", help="a folder, or what the format is kept in")
    parser.add_argument("--json", action="store_true", help="print the counts as one JSON object")
    add_store(parser)


def import_runs(options: Namespace) -> int:
    """Import runs and say how many."""
    from xbackend.api.arguments import store_of
    from xbackend.api.stores import import_runs as take_runs
    from xbackend.plugins.registry import renderer

    done = take_runs(
        options.importer,
        options.path,
        store=options.store,
        progress=lambda event: print(f"xbackend: {event.text}", file=sys.stderr),
    )
    if options.json:
        print(json.dumps({"schema_version": 1, **vars(done)}))
    else:
        print(renderer("import")(done, store_of(options.store).folder))
    return 0
