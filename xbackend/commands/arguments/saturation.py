"""The options of `xbackend saturation`."""

from __future__ import annotations

from xbackend.commands.arguments.parser import Subparsers, add_command, add_execution_options

SATURATION_EXAMPLES = """examples:
  xbackend saturation                                 the built-in model's int8 form
  xbackend saturation model.onnx --inputs x.npy       for these inputs
  xbackend saturation --option onnx_to_int8.weight=uint8
  xbackend saturation model.int8.onnx --json

Some kernels add two products of 8 bits in 16 bits that saturate. Listed are the layers in which two
neighbours can be too much for that with any input, and how far the inputs go, from exact integers.
"""


def add(commands: Subparsers) -> None:
    """Add the command."""
    text = "tell which layers of an int8 model overflow in kernels that saturate"
    handler = "xbackend.commands.overflows:saturation"
    parser = add_command(commands, "saturation", handler, text, SATURATION_EXAMPLES)
    add = parser.add_argument
    add("model", nargs="?", help="a file, a SavedModel, module:callable, or a built-in name")
    add("--inputs", metavar="FILE", help=".npy or .npz (default: the model's samples, or random)")
    add("--option", metavar="CONVERTER.KEY=VALUE", action="append", help="of one converter")
    add("--json", action="store_true", help="print the layers as JSON")
    add_execution_options(parser)
