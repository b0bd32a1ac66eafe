"""Converts a model and says which weights kept their bits."""

from __future__ import annotations

from argparse import Namespace

from xbackend.commands.parser import (
    Subparsers,
    add_command,
    add_input_options,
    add_keep_float32,
    add_sandbox,
    add_store,
    converter_options,
    inputs_argument,
    terminal_progress,
)

CONVERT_EXAMPLES = """examples:
  xbackend convert model.keras --to onnx,tflite,tflite-int8,onnx-int8
  xbackend convert model.tflite --to onnx --output converted
  xbackend convert model.onnx --to onnx-int8 --inputs calibration.npy
  xbackend convert model.onnx --to onnx-int8 --option onnx_to_int8.weight=uint8
  xbackend convert model.onnx --to onnx-zeroed --option onnx_to_zeroed.activations=12
  xbackend convert model.onnx --to onnx-float16 --keep-float32 sq,var

options, the default first:
  onnx_to_int8.activation=uint8|int8
  onnx_to_int8.weight=int8|uint8
  onnx_to_int8.format=qoperator|qdq
  onnx_to_int8.per_channel=false|true
  onnx_to_int8.reduce_range=false|true
  onnx_to_int8.fold_batch_norm=true|false
  keras_to_tflite.activation=int8|int16               of tflite-int8; int16 is 16x8
  onnx_to_tflite.activation=int8|int16
  onnx_to_cast.keep=LAYER,LAYER                       stay in float32: --keep-float32
  onnx_to_zeroed.weights=0..22                        low mantissa bits that become zero
  onnx_to_zeroed.activations=0..22
  onnx_to_zeroed.rounding=nearest|zero                zero cuts them off
"""


def add(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "convert",
        convert,
        "convert a model and say which weights kept their bits",
        CONVERT_EXAMPLES,
    )
    add = parser.add_argument
    add("model", help="a file, a SavedModel, module:callable, or a built-in name")
    add("--to", metavar="FORMATS", required=True, help="such as onnx,tflite,tflite-int8,onnx-int8")
    add("--output", metavar="DIR", default=".", help="where the files go (default: here)")
    add_input_options(parser)
    add("--option", metavar="CONVERTER.KEY=VALUE", action="append", help="of one converter")
    add_keep_float32(parser, "--keep")
    add("--force", action="store_true", help="overwrite files that are there")
    add_store(parser)
    add_sandbox(parser)


def convert(options: Namespace) -> int:
    """Convert a model into files, and print which weights kept their bits."""
    from xbackend.api.conversion import convert as convert_model

    with terminal_progress() as display:
        files = convert_model(
            options.model,
            options.to,
            output=options.output,
            inputs=inputs_argument(options),
            options=converter_options(options),
            force=options.force,
            store=options.store,
            progress=display,
        )
    print(files)
    return 0
