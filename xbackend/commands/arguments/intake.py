"""The options of `xbackend import`."""

from __future__ import annotations

from xbackend.commands.arguments.parser import Subparsers, add_command, add_store

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
    parser = add_command(
        commands, "import", "xbackend.commands.intake:command", text, IMPORT_EXAMPLES
    )
    parser.add_argument("importer", metavar="FORMAT", help="such as unannticipated")
    parser.add_argument("path", metavar="PATH", help="a folder, or what the format is kept in")
    parser.add_argument("--json", action="store_true", help="print the counts as one JSON object")
    add_store(parser)
