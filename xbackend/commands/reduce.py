"""Cuts out the smallest model and input that show a difference."""

from __future__ import annotations

from argparse import Namespace

from xbackend.commands.parser import (
    Subparsers,
    add_command,
    add_execution_options,
    add_input_options,
    add_trust,
    execution_arguments,
    given_words,
    request_arguments,
    terminal_progress,
)

REDUCE_EXAMPLES = """examples:
  xbackend reduce --backends ort --platform native --platform qemu:Haswell
  xbackend reduce model.onnx --inputs x.npy --backends ort,torch --output difference
  xbackend reduce --backends torch --threads 1,16
  xbackend reduce --runs 0000-ort,0001-torch          two runs of the store, by parts of their ids

exit status: 0 done, 2 wrong usage, 3 a run failed or nothing smaller shows the difference
"""


def add(commands: Subparsers) -> None:
    """Add the command."""
    text = "cut out the smallest model and input that show the difference between two runs"
    parser = add_command(commands, "reduce", reduce, text, REDUCE_EXAMPLES)
    add = parser.add_argument
    add("model", nargs="?", help="a file, a SavedModel, module:callable, or a built-in name")
    add("--runs", metavar="A,B", help="two runs of the store, by parts of their ids")
    add("--backends", metavar="WORDS", help="one, or two such as ort,torch")
    add("--platform", metavar="SPEC", action="append", help="one or two (default: native)")
    add_input_options(parser)
    add("--precision", metavar="WORDS", help="such as float16 (default: each backend's own)")
    add("--threads", metavar="NUMBERS", default="1", help="such as 1 or 1,16 (default: 1)")
    add("--set", metavar="WORD.KEY=VALUE", action="append", help="see 'xbackend backends'")
    add("--output", metavar="DIR", default="reduced", help="a new folder (default: reduced)")
    add("--trials", metavar="N", type=int, default=2000, help="at most so many (default: 2000)")
    add("--limit", metavar="S", type=float, default=600.0, help="stop after (default: 600 s)")
    add("--json", action="store_true", help="print difference.json")
    add_execution_options(parser)
    add_trust(parser)


def reduce(options: Namespace) -> int:
    """Reduce a difference and write a folder."""
    from xbackend.api.reduction import reduce as reduce_difference

    with terminal_progress() as display:
        found = reduce_difference(
            **request_arguments(options),
            runs=options.runs,
            precisions=given_words("--precision", options.precision),
            output=options.output,
            trials=options.trials,
            limit=options.limit,
            **execution_arguments(options),
            trust_platforms=options.trust_platforms,
            progress=display,
        )
    print(found.to_json() if options.json else found, end="" if options.json else "\n")
    return 0
