"""The options of `xbackend flags`."""

from __future__ import annotations

from xbackend.commands.arguments.parser import Subparsers, add_command, add_execution_options

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
    parser = add_command(
        commands, "flags", "xbackend.commands.commands:flags", text, FLAGS_EXAMPLES
    )
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
