"""Finds what removes the deviation, and what it costs."""

from __future__ import annotations

from argparse import Namespace

from xbackend.commands.output import write_result
from xbackend.commands.parser import (
    Subparsers,
    add_command,
    add_execution_options,
    add_input_options,
    execution_arguments,
    given_words,
    request_arguments,
    terminal_progress,
    whole_number,
)
from xbackend.errors import UsageError, did_you_mean

MITIGATE_EXAMPLES = """examples:
  xbackend mitigate                                   the built-in model, here, every mitigation
  xbackend mitigate --platform native --platform qemu:Haswell --backends ort,tflite
  xbackend mitigate cifar10-r18 --backends ort --mitigations 'optimization,round-all-*'
  xbackend mitigate --labelled --platform native --platform qemu:Haswell
  xbackend mitigate model.onnx --inputs x.npy --labels y.npy --format markdown --output table.md
  xbackend mitigate --backends torch --set torch.device=cuda --mitigations determinism --repeats 5
  xbackend mitigate --backends ort,tflite --platform native --platform qemu:Haswell --search
  xbackend mitigate --mitigations precision --platform fleet:x86 --dendrogram figure6.svg

What was run already is not run again: after an interruption the same command goes on.

exit status: 0 done, 2 wrong usage, 3 the model as it is failed somewhere (the rest is kept), or a
mitigation was not carried out though it was accepted
"""
FORMATS = ("table", "markdown", "csv", "json")
WORDS_HELP = "names, families or patterns (default: the usual ones; 'list' lists all)"


def add(commands: Subparsers) -> None:
    """Add the command."""
    text = "find what removes the deviation, and what it costs"
    parser = add_command(commands, "mitigate", mitigate, text, MITIGATE_EXAMPLES)
    add = parser.add_argument
    add("model", nargs="?", help="a file, a SavedModel, module:callable, or a built-in name")
    add("--backends", metavar="WORDS", help="such as tf,ort (default: all that are installed)")
    add("--platform", metavar="SPEC", action="append", help="such as cores:2 (default: native)")
    add("--mitigations", metavar="WORDS", help=WORDS_HELP)
    add_input_options(parser)
    add("--labels", metavar="FILE", help=".npy with the right class of each sample of --inputs")
    add("--labelled", action="store_true", help="use the built-in model's own labelled samples")
    add("--emulated-samples", metavar="N", type=int, default=8, help=EMULATED_HELP)
    add("--threads", metavar="NUMBERS", default="1", help="such as 1,2 (default: 1)")
    add("--set", metavar="WORD.KEY=VALUE", action="append", help="see 'xbackend backends'")
    add("--repeats", metavar="N", type=int, default=1, help="fresh processes each (default: 1)")
    add("--reference", metavar="WHAT", default="float64", help=REFERENCE_HELP)
    add("--search", action="store_true", help="find the cheapest set of mitigations that works")
    add("--dendrogram", metavar="FILE", help="write trees of the classes there; .png, .svg, .pdf")
    add("--format", metavar="FORMAT", default="table", help="table, markdown, csv or json")
    add("--json", action="store_true", help="the same as --format json")
    add("--output", metavar="FILE", help="write there instead of to standard output")
    add_execution_options(parser)


REFERENCE_HELP = "what fidelity is to: float64, float64:BACKEND or none (default: float64)"
EMULATED_HELP = "samples on emulated platforms, the first ones; 0 for all (default: 8)"


def mitigate(options: Namespace) -> int:
    """Print one table; exit status 3 if the model as it is failed, or a change was not honoured."""
    from xbackend.api import mitigation as api
    from xbackend.api.report_files import check_text
    from xbackend.plugins.registry import renderer

    kind = "json" if options.json else options.format
    if kind not in FORMATS:
        raise UsageError(
            f"There is no format '{kind}'. Formats: {', '.join(FORMATS)}."
            f"{did_you_mean(kind, FORMATS)}"
        )
    check_text(options.output)
    request = request_arguments(options)
    if options.mitigations == "list":
        words = {key: request[key] for key in ("model", "backends", "platforms")}
        found = api.mitigations(**words, store=options.store)
        print(api.mitigation_list(found, options.backends))
        return 0
    draw = api.tree_writer(options.dendrogram, options.store) if options.dendrogram else None
    with terminal_progress() as display:
        report = api.mitigate(
            **request,
            mitigations=given_words("--mitigations", options.mitigations),
            labels=options.labels,
            labelled=options.labelled,
            emulated_samples=options.emulated_samples,
            repeats=whole_number("--repeats", options.repeats),
            reference=None if options.reference == "none" else options.reference,
            search=options.search,
            **execution_arguments(options),
            progress=display,
        )
    write_result(options.output, renderer("mitigations")(report, format=kind))
    if draw is not None:
        draw(report)
    return 3 if report.failed or report.dishonoured else 0
