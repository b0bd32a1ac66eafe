"""Tells which layers of an int8 model overflow in kernels that saturate."""

from __future__ import annotations

import json
from argparse import Namespace

from xbackend.commands.parser import (
    Subparsers,
    add_command,
    add_execution_options,
    add_input_options,
    execution_arguments,
    inputs_argument,
    terminal_progress,
)

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
    parser = add_command(commands, "saturation", saturation, text, SATURATION_EXAMPLES)
    add = parser.add_argument
    add("model", nargs="?", help="a file, a SavedModel, module:callable, or a built-in name")
    add_input_options(parser)
    add("--option", metavar="CONVERTER.KEY=VALUE", action="append", help="of one converter")
    add("--json", action="store_true", help="print the layers as JSON")
    add_execution_options(parser)


def saturation(options: Namespace) -> int:
    """Run the model in exact integers and print its exposed layers; 3 if nothing could be run."""
    from xbackend.api.conversion import saturation as find_saturation

    with terminal_progress() as display:
        report = find_saturation(
            options.model,
            inputs=inputs_argument(options),
            options=options.option,
            **execution_arguments(options),
            progress=display,
        )
    print(json.dumps([each.to_dict() for each in report.layers]) if options.json else report)
    return 0
