"""Tells which properties of processors go with the classes, or, with --ablate, make them."""

from __future__ import annotations

import json
import sys
from argparse import Namespace

from xbackend.commands.output import tell_left_out
from xbackend.commands.parser import (
    Subparsers,
    add_command,
    add_execution_options,
    execution_arguments,
    given_words,
    terminal_progress,
    whole_number,
)

FLAGS_EXAMPLES = """examples:
  xbackend flags                                      what goes with the classes of this store
  xbackend flags --where backend=ort --json
  xbackend flags --ablate --from qemu:Haswell --backends ort,tflite
  xbackend flags model.onnx --ablate --from qemu:EPYC --backends ort
  xbackend flags --ablate --from qemu:EPYC-Rome --only legacy-cache,avx2 --threads 2
  xbackend flags --ablate --from qemu:Haswell+python:/opt/old/bin/python --backends tf

What is switched: each flag off, with those that need it; the caches that the emulator lets one
change (legacy-cache, l3-cache), the vendor and the model number.
"""


def add(commands: Subparsers) -> None:
    """Add the command."""
    text = "tell which properties of processors go with the classes, or make them"
    parser = add_command(commands, "flags", flags, text, FLAGS_EXAMPLES)
    add = parser.add_argument
    add("model", nargs="?", help="only runs of this model; with --ablate, the model to run")
    add("--where", metavar="KEY=VALUE", action="append", help="only runs with this value")
    add("--ablate", action="store_true", help="switch flags, caches and names, under an emulator")
    add(
        "--from",
        dest="start",
        metavar="SPEC",
        default="qemu:Haswell",
        help="where --ablate starts (default: qemu:Haswell)",
    )
    add("--only", metavar="WORDS", help="what --ablate switches, such as legacy-cache,avx2")
    add("--precision", metavar="WORD", help="of the ablated runs (default: the backend's own)")
    add("--backends", metavar="WORDS", help="to ablate (default: all that are installed)")
    add("--threads", metavar="N", default="1", help="of the ablated runs (default: 1)")
    add("--set", metavar="WORD.KEY=VALUE", action="append", help="see 'xbackend backends'")
    add("--json", action="store_true", help="print one JSON object")
    add_execution_options(parser)


def flags(options: Namespace) -> int:
    """Print which properties of platforms go with the classes, or which of them make them."""
    if options.ablate:
        return ablate(options)
    from xbackend.api.platform_causes import flags as find_flags

    _refuse_without_ablation(options)
    tables = find_flags(store=options.store, model=options.model, where=options.where)
    print(json.dumps(tables.to_dict()) if options.json else tables)
    return tell_left_out(tables.left_out)


def ablate(options: Namespace) -> int:
    """Print what of an emulated processor makes the bits; status 3 if a backend does not run."""
    from xbackend.api.platform_causes import ablate as find_causes
    from xbackend.plugins.registry import renderer

    render = renderer("ablation")

    def show(backend: str, found: object) -> None:
        if isinstance(found, Exception):
            print(f"xbackend: {backend}: {found}", file=sys.stderr)
        elif not options.json:
            print(render(found, backend, options.start), flush=True)

    with terminal_progress() as display:
        report = find_causes(
            options.model,
            start=options.start,
            backends=given_words("--backends", options.backends),
            only=options.only,
            precision=options.precision,
            threads=whole_number("--threads", options.threads),
            settings=options.set,
            **execution_arguments(options),
            progress=display,
            on_result=show,
        )
    if options.json:
        print(json.dumps(report.to_dict()))
    return 3 if report.errors else 0


def _refuse_without_ablation(options: Namespace) -> None:
    """Raise UsageError for an option that would have no effect on a table of what is there."""
    from xbackend.errors import UsageError

    for name in ("only", "precision", "backends", "set"):
        if getattr(options, name):
            raise UsageError(
                f"'--{name}' is for --ablate. Choose among the runs of a store with --where, such "
                "as --where backend=ort."
            )
