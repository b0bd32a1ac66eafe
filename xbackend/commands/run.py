"""Runs a model on backends and platforms."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xbackend.commands.parser import (
    Subparsers,
    add_command,
    add_execution_options,
    add_input_options,
    add_keep_float32,
    converter_options,
    execution_arguments,
    given_words,
    request_arguments,
    terminal_progress,
    whole_number,
)

if TYPE_CHECKING:
    from xbackend.api.comparison import Comparison
    from xbackend.api.runs import Runs
    from xbackend.execution.progress import ProgressLines

RUN_EXAMPLES = """examples:
  xbackend run                                        the built-in model, every installed backend
  xbackend run model.onnx --backends ort,torch --inputs x.npy --threads 1,2 --repeats 3
  xbackend run model.keras --precision float32,int8   a model of TensorFlow, in integers too
  xbackend run model.tflite --set tflite.delegate=none
  xbackend run --precision int8 --option onnx_to_int8.weight=uint8 --backends ort,fixed
  xbackend run --platform native --platform python:/opt/old/bin/python --backends tf
  xbackend run package.module:make_model --backends torch,ort
  xbackend run bert.onnx --dim batch=1,seq=128        free axes; equal names have equal extents
  xbackend run net.onnx --inputs cat.jpg --resize 224 --mean 0.5 --std 0.5
  xbackend run net.onnx --inputs test_data_set_0      ONNX's own test data; or a folder of .npz

exit status: 0 done, 1 --certify found a fault, 2 wrong usage,
             3 a run failed (the others are kept), or none gave an output
"""
OPTION_HELP = (
    "how a converter works, such as onnx_to_int8.weight=uint8; see 'xbackend convert --help'"
)
KEEP_HELP = "tensors of layers to keep: all, differing or none; digests stay (default: all)"
TAPS_HELP = "outputs (one inference), layers (every ONNX value), or patterns such as 'conv*,fc1'"


def add(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "run",
        run,
        "run a model on backends and platforms",
        RUN_EXAMPLES,
    )
    add = parser.add_argument
    add("model", nargs="?", help="a file, a SavedModel, module:callable, or a built-in name")
    add("--backends", metavar="WORDS", help="such as tf,ort (default: all that are installed)")
    add("--platform", metavar="SPEC", action="append", help="such as cores:2 (default: native)")
    add_input_options(parser, labels=True)
    add("--precision", metavar="WORDS", help="such as float32,int8 (default: each backend's own)")
    add("--threads", metavar="NUMBERS", default="1", help="such as 1,2 (default: 1)")
    add("--taps", metavar="WHAT", default="layers", help=TAPS_HELP + " (default: layers)")
    add("--keep", metavar="WHAT", default="all", help=KEEP_HELP)
    add("--set", metavar="WORD.KEY=VALUE", action="append", help="see 'xbackend backends'")
    add("--option", metavar="CONVERTER.KEY=VALUE", action="append", help=OPTION_HELP)
    add_keep_float32(parser)
    add("--repeats", metavar="N", type=int, default=1, help="fresh processes each (default: 1)")
    add("--fresh", action="store_true", help="repeat runs that the store has already")
    add(
        "--certify", action="store_true", help="tell whether each layer only rounds (exit 1 if not)"
    )
    add("--allow-nonfinite", action="store_true", help="accept NaN and infinities in the inputs")
    add("--strict", action="store_true", help="exit 3 if what is asked for by name is skipped")
    add("--json", action="store_true", help="print the runs' records as JSON")
    add_execution_options(parser)


def run(options: Namespace) -> int:
    """Run a model; exit status 3 if a run failed, or none gave an output."""
    from xbackend.api.runs import run as run_model

    with terminal_progress() as display:
        runs = run_model(
            **request_arguments(options),
            precisions=given_words("--precision", options.precision),
            taps=options.taps,
            keep=options.keep,
            options=converter_options(options),
            repeats=whole_number("--repeats", options.repeats),
            fresh=options.fresh,
            allow_nonfinite=options.allow_nonfinite,
            **execution_arguments(options),
            progress=display,
        )
        certify = options.certify and any(each.ok for each in runs)
        found = _certified(runs, options, display) if certify else None
    if options.json:
        print(runs.to_json() if found is None else json.dumps(_with_certificates(runs, found)))
    else:
        print(runs if found is None else f"{found.render_certificates()}\n\n{runs}")
    return _exit_status(options, runs, found)


def _exit_status(options: Namespace, runs: Runs, found: Comparison | None) -> int:
    """Return 3 where a run failed, or none gave an output, or what was named was left out."""
    skipped = _skipped_by_name(options, runs.records) if options.strict else []
    for sentence in skipped:
        print(f"xbackend: {sentence}", file=sys.stderr)
    nothing = not any(record["status"] == "ok" for record in runs.records)
    if runs.failed or nothing or skipped:
        return 3
    return 1 if found is not None and found.has_fault else 0


def _skipped_by_name(options: Namespace, records: Sequence[dict[str, Any]]) -> list[str]:
    from xbackend.execution.request import skipped_by_name

    backends, precisions = (
        {word.strip() for word in (text or "").split(",")}
        for text in (options.backends, options.precision)
    )
    return skipped_by_name(records, backends, precisions, options.platform or ())


def _certified(runs: Runs, options: Namespace, display: ProgressLines) -> Comparison:
    """Hold the layers of what was just run against what rounding can do."""
    from xbackend.api.comparison import certify, compare

    execution = execution_arguments(options)
    how = {"timeout": execution["timeout"], "jobs": execution["jobs"]}
    return certify(compare(runs), **how, progress=display)


def _with_certificates(runs: Runs, found: Comparison) -> list[dict[str, Any]]:
    """Return the records of runs, with their certificates where there is one."""
    by_id = {each.run.id: each.to_dict() for each in found.certificates}
    return [{**record, "certificate": by_id.get(record["id"])} for record in runs.records]
