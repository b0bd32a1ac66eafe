"""Takes runs and arrays that others made into a store."""

from __future__ import annotations

import json
import sys
from argparse import Namespace

from xbackend.commands.parser import Subparsers, add_command, add_store

TYPE_CHECKING = False  # as `typing` has it, which takes longer to import than all of this
if TYPE_CHECKING:
    from xbackend.execution.progress import ProgressEvent

ARRAYS = "arrays"
IMPORT_EXAMPLES = """examples:
  xbackend import unannticipated unaNNticipated --store published
  xbackend import unannticipated unaNNticipated/experiments/results/precision
  xbackend compare --store published --where facts.experiment=equivalence_classes
  xbackend import arrays phone.npz --as phone --like ort --device 'Pixel 6' --note 'GPU delegate'
  xbackend import arrays outputs.json --like ort        what polygraphy run --save-outputs wrote
  xbackend import arrays phone.npz --as phone --like ort --rename Identity=softmax

formats:
  unannticipated      the published results of uibk-iNNference/unaNNticipated
  arrays              .npz, .npy, or Polygraphy's JSON: outputs, and layers, of the model of the
                      run that --like names, on its inputs; samples along the first axis
  (and those of installed packages, by entry points of the group xbackend.importers)

exit status: 0 something was imported, 2 nothing was
"""


def add(commands: Subparsers) -> None:
    """Add the command."""
    text = "take runs that others made into a store"
    parser = add_command(commands, "import", import_runs, text, IMPORT_EXAMPLES)
    parser.add_argument("importer", metavar="FORMAT", help="such as arrays or unannticipated")
    parser.add_argument("path", metavar="PATH", help="a file or folder, as the format is kept")
    parser.add_argument("--json", action="store_true", help="print the counts as one JSON object")
    add_store(parser)
    of_arrays = parser.add_argument_group("of arrays")
    add = of_arrays.add_argument
    add(
        "--like",
        metavar="RUN",
        help="a run of the same model on the same inputs, or part of its id",
    )
    add("--as", metavar="NAME", dest="given_name", help="what computed them, such as phone")
    add("--version", metavar="TEXT", help="of what computed them")
    add("--device", metavar="TEXT", help="what it ran on")
    add("--note", metavar="TEXT", action="append", help="anything else that is known of it")
    add("--rename", metavar="THEIRS=OURS", action="append", help="whose tensor an array is")


def import_runs(options: Namespace) -> int:
    """Import runs and say how many."""
    from xbackend.api.arguments import store_of
    from xbackend.plugins.registry import renderer

    done = _arrays(options) if options.importer == ARRAYS else _runs(options)
    if options.json:
        print(json.dumps({"schema_version": 1, **vars(done)}))
    else:
        print(renderer("import")(done, store_of(options.store).folder))
    return 0


def _runs(options: Namespace) -> object:
    """Take in what an importer reads, and return the counts."""
    from xbackend.api.stores import import_runs as take_runs
    from xbackend.errors import UsageError

    keys = {"like": "--like", "given_name": "--as", "version": "--version", "device": "--device"}
    keys |= {"note": "--note", "rename": "--rename"}
    given = next((word for key, word in keys.items() if getattr(options, key) is not None), None)
    if given is not None:
        raise UsageError(f"{given} belongs to 'xbackend import {ARRAYS}'. Leave it out.")
    return take_runs(options.importer, options.path, store=options.store, progress=_say)


def _arrays(options: Namespace) -> object:
    """Take in arrays, and return the counts."""
    from xbackend.api.stores import import_arrays
    from xbackend.errors import UsageError

    if options.like is None:
        raise UsageError(
            "Arrays alone say neither their model nor their inputs. Name a run of the same model "
            "on the same inputs with --like, such as --like ort."
        )
    return import_arrays(
        options.path,
        like=options.like,
        name=options.given_name or "",
        version=options.version,
        device=options.device,
        notes=options.note,
        rename=_renamed(options.rename or ()),
        store=options.store,
        progress=_say,
    )


def _renamed(texts: list[str] | tuple[str, ...]) -> dict[str, str]:
    """Return names of arrays to those of tensors. Raises UsageError for other texts."""
    from xbackend.errors import UsageError

    found = {}
    for text in texts:
        theirs, equals, ours = text.rpartition("=")
        if not equals or not theirs or not ours:
            raise UsageError(f"'--rename {text}' is not of the form THEIRS=OURS.")
        found[theirs] = ours
    return found


def _say(event: ProgressEvent) -> None:
    print(f"xbackend: {event.text}", file=sys.stderr)
