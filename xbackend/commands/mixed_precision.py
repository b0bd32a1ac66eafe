"""Finds which layers must stay in float32 in a narrower format, and tries it."""

from __future__ import annotations

import json
from argparse import Namespace

from xbackend.commands.parser import (
    Subparsers,
    add_command,
    add_execution_options,
    execution_arguments,
    given_words,
    terminal_progress,
)

EXAMPLES = """examples:
  xbackend mixed-precision model.onnx --backends ort,torch --inputs x.npy
  xbackend mixed-precision model.onnx --precision bfloat16
  xbackend run model.onnx --precision float16 --keep-float32 sq,var
  xbackend convert model.onnx --to onnx-float16 --keep-float32 sq,var

exit status: 0 done, 2 wrong usage, 3 nothing gave an output
"""


def add(commands: Subparsers) -> None:
    """Add the command."""
    text = "find which layers must stay in float32 in a narrower format, and try it"
    parser = add_command(commands, "mixed-precision", mixed_precision, text, EXAMPLES)
    add = parser.add_argument
    add("model", nargs="?", help="a file, a SavedModel, module:callable, or a built-in name")
    add("--precision", metavar="WORD", default="float16", help="float16 (default) or bfloat16")
    add("--backends", metavar="WORDS", help="such as tf,ort (default: all that are installed)")
    add("--inputs", metavar="FILE", help=".npy or .npz (default: the model's samples, or random)")
    add("--set", metavar="WORD.KEY=VALUE", action="append", help="see 'xbackend backends'")
    add("--json", action="store_true", help="print one JSON object")
    add_execution_options(parser)


def mixed_precision(options: Namespace) -> int:
    """Find the layers, try it, print what that gave."""
    from xbackend.api.mixed_precision import mixed_precision as try_it
    from xbackend.plugins.registry import renderer

    with terminal_progress() as display:
        found = try_it(
            options.model,
            precision=options.precision,
            backends=given_words("--backends", options.backends),
            inputs=options.inputs,
            settings=options.set,
            **execution_arguments(options),
            progress=display,
        )
    print(json.dumps(found.to_dict()) if options.json else renderer("mixed-precision")(found))
    return 0
