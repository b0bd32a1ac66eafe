"""Compares the runs of a store, bit by bit."""

from __future__ import annotations

import argparse
import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from xbackend.commands.output import comparison_writer, tell_left_out
from xbackend.commands.parser import (
    Subparsers,
    add_command,
    add_execution_options,
    add_trust,
    execution_arguments,
    terminal_progress,
)
from xbackend.errors import UsageError, XbackendError

if TYPE_CHECKING:
    from collections.abc import Callable

    from xbackend.api.baseline import BaselineJudgement
    from xbackend.api.comparison import Comparison

COMPARE_EXAMPLES = """examples:
  xbackend compare                                    every run of the store, as tables
  xbackend compare --all                              a row for every layer that differs
  xbackend compare --format json --output result.json
  xbackend compare --where backend=ort --where settings.threads=1 --group-by platform
  xbackend compare --across                           trained.onnx, shipped.tflite: layer by layer
  xbackend compare --max-eqcs 1                       exit 1 unless all runs give the same bits
  xbackend compare --format machines                  a row for each machine, classes in cells
  xbackend compare --format cumulative --output figure1.svg
  xbackend compare --format dendrogram --model net --output figure6.png
  xbackend compare --format layers                    where classes are born and collapse
  xbackend compare --format layers --output figure5.svg
  xbackend compare --reference float64 --certify --format errors --output errors.svg
  xbackend compare --format activations               deviations before and after each
  xbackend compare --fail-under 16                    exit 1 if fewer mantissa bits agree
  xbackend compare --gate 'output: bits>=16, flips=0' --gate 'conv*: ulp<=64'
  xbackend compare --gate rounding                    exit 1 unless rounding explains all layers
  xbackend compare --baseline baseline.json           exit 1 for classes that nobody knows
  xbackend compare --baseline baseline.json --certify --baseline-update
  xbackend compare --baseline baseline.json --format github        error lines and a summary
  xbackend compare --gate 'output: flips=0' --format junit --output results.xml
  xbackend compare --metrics all --format json        SNR, cosine, quantiles, worst elements
  xbackend compare --reference float64                who is nearer to the truth
  xbackend compare --reference float64:tf --where backend=ort
  xbackend compare --isolate --where backend=ort      inherited or own: each class against class 1
  xbackend compare --isolate 0000-ort,0001-torch      two runs, by parts of their ids
  xbackend compare --isolate --reference float64      own and inherited error against the truth
  xbackend compare --certify                          rounding or fault, each layer of each run

exit status: 0 done, 1 a threshold was missed or --certify found a fault, 2 wrong usage,
             3 records are damaged (left out)
"""
FORMATS_HELP = (
    "table, json, markdown, csv, html, machines, layers, activations, activations-csv, cumulative, "
    "dendrogram, errors, answer, explain, export, github or junit"
)
OUTPUT_HELP = (
    "write there; with .svg, .png or .pdf draw layers, activations, cumulative, dendrogram or "
    "errors"
)

ALL_HELP = "a row for each run and each layer that differs, also where these are many"
ACROSS_HELP = (
    "make runs of different files one section where inputs and shapes of outputs are the same "
    "(default: where nothing else can be compared, and no threshold is given)"
)
METRICS = ("usual", "all")
GATE_HELP = (
    "exit 1 unless tensors keep a rule, such as 'output: bits>=16, flips=0' or 'conv*: ulp<=64'; "
    "of classes, bits, flips, ulp, abs, deviating, mean, rms, relative, cosine, snr; or "
    "'rounding': certify, and no layer is beyond rounding"
)
METRICS_HELP = (
    "all: of each pair of classes mean and RMS error, relative error by norm, cosine, SNR, "
    "quantiles and histogram of ULP, the worst elements (default: usual)"
)
REFERENCE_HELP = (
    "judge each run and layer by the model in double precision, computed now if the store has no "
    "such run: float64, or float64:tf for a backend (default: torch, else tf)"
)
ISOLATE_HELP = (
    "tell for each layer whether it inherits its error or has one of its own, computed now: of run "
    "B against run A, or of a run of each class against one of class 1"
)

BASELINE_HELP = (
    "exit 1 unless each class is known to this file, which 'xbackend baseline' wrote, or a new one "
    "is within rounding by --certify, or keeps every --baseline-rule"
)
RULE_HELP = (
    "how near a new class must be: 'output: bits>=16, ulp<=64'; of bits, ulp, abs, deviating"
)
UPDATE_HELP = "add the classes of runs that pass to the baseline; 'all': after a review of all runs"
CERTIFY_HELP = (
    "tell for each layer of each run whether rounding explains its error or only a fault does, "
    "computed now in float64 from its own recorded inputs; exit 1 on a fault"
)


def add(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "compare",
        compare,
        "compare the runs of a store, bit by bit",
        COMPARE_EXAMPLES,
    )
    add = parser.add_argument
    add("--model", metavar="NAME", help="only runs of this model")
    add("--where", metavar="KEY=VALUE", action="append", help="only runs with this value")
    add(
        "--helpers",
        action="store_true",
        help="also runs that mitigate, flags --ablate and references made for themselves",
    )
    add("--group-by", metavar="KEYS", help="compare only runs that agree in these keys")
    add("--across", action=argparse.BooleanOptionalAction, help=ACROSS_HELP)
    add("--format", metavar="FORMAT", default="table", help=FORMATS_HELP)
    add("--all", action="store_true", help=ALL_HELP)
    add("--output", metavar="FILE", help=OUTPUT_HELP)
    add("--fail-under", metavar="BITS", type=int, help="exit 1 if fewer mantissa bits agree")
    add("--max-eqcs", metavar="N", type=int, help="exit 1 if an output has more classes")
    add("--gate", metavar="RULE", action="append", help=GATE_HELP)
    add("--baseline", metavar="FILE", help=BASELINE_HELP)
    add("--baseline-rule", metavar="RULE", action="append", help=RULE_HELP)
    add(
        "--baseline-update",
        metavar="all",
        nargs="?",
        const="passed",
        choices=("passed", "all"),
        help=UPDATE_HELP,
    )
    add("--metrics", metavar="WHICH", default="usual", help=METRICS_HELP)
    add("--reference", metavar="float64", help=REFERENCE_HELP)
    add("--isolate", metavar="A,B", nargs="?", const="", help=ISOLATE_HELP)
    add("--certify", action="store_true", help=CERTIFY_HELP)
    add_execution_options(parser)
    add_trust(parser)


def compare(options: Namespace) -> int:
    """Compare the runs of a store; exit status 1 if a threshold is missed."""
    from xbackend.api import comparison as api
    from xbackend.api.comparison import check_gates
    from xbackend.commands.baseline_gate import fails_baseline, judged_by_baseline

    if options.metrics not in METRICS:
        raise UsageError(f"'--metrics {options.metrics}' must be {' or '.join(METRICS)}.")
    write = comparison_writer(options.format, options.output, **_shown(options))
    thresholds = {"fail_under": options.fail_under, "max_eqcs": options.max_eqcs}
    gates = options.gate or ()
    gates_need_certificates = check_gates(gates, **thresholds)
    _check_gate_options(options)
    execution = execution_arguments(options)
    with terminal_progress() as display:
        found = api.compare(
            model=options.model,
            where=options.where,
            group_by=options.group_by,
            helpers=options.helpers,
            across=_across(options),
            reference=options.reference,
            **execution,
            trust_platforms=options.trust_platforms,
            progress=display,
        )
        how = {key: execution[key] for key in ("timeout", "jobs")} | {"progress": display}
        if options.certify or gates_need_certificates:
            found = _certified(found, how, needed=options.certify)
        if options.isolate is not None:
            found = api.isolate(
                found,
                options.isolate,
                reference=options.reference,
                trust_platforms=options.trust_platforms,
                **how,
            )
    judged = judged_by_baseline(found, options)
    _write(_measured(found, options), options, write, judged)
    missed = found.missed_thresholds(**thresholds)
    missed += found.broken_gates(gates)
    for sentence in missed:
        print(f"xbackend: {sentence}", file=sys.stderr)
    tell_left_out(found.left_out)
    _tell_unread(found)
    fails = fails_baseline(found, options, judged)
    return 3 if found.left_out else int(bool(missed) or found.has_fault or fails)


def _check_gate_options(options: Namespace) -> None:
    """Raise UsageError, before anything is compared, for what cannot be gated on."""
    from xbackend.commands.baseline_gate import check_baseline_options
    from xbackend.commands.check_formats import check_format

    check_baseline_options(options)
    check_format(options)


def _write(
    found: Comparison,
    options: Namespace,
    write: Callable[[Any], None],
    judged: BaselineJudgement | None,
) -> None:
    """Write the report; of formats that CI services read what every rule comes to."""
    from xbackend.commands.check_formats import FORMATS, write_checks

    if options.format in FORMATS:
        write_checks(found, options, judged)
    else:
        write(found.result)


def _tell_unread(found: Comparison) -> None:
    """Say of how many tensors the digests alone were compared."""
    unread, every = found.result.unread()
    if unread:
        print(
            f"not checked: {unread} of {every} tensors were told apart by their recorded digests "
            "alone; 'xbackend store check' reads them all",
            file=sys.stderr,
        )


def _measured(found: Comparison, options: Namespace) -> Comparison:
    """Measure pairs of classes: all of them if asked for, for a page what takes half a minute."""
    from xbackend.api.report import MOST_ELEMENTS

    if options.metrics == "all":
        return found.with_pairs()
    return found.with_pairs(MOST_ELEMENTS) if options.format == "html" else found


def _shown(options: Namespace) -> dict[str, bool]:
    """Return how the report is laid out. Raises UsageError where it has one way only."""
    if options.all and options.format != "table":
        raise UsageError(
            f"'--all' is for tables: '--format {options.format}' has every layer that it can hold. "
            "Leave one of the two out."
        )
    return {"complete": True} if options.all else {}


def _across(options: Namespace) -> bool | None:
    """Return whether other files are compared: never unasked where something is limited.

    A gate on runs that nothing can be compared with fails.
    """
    numbers = (options.fail_under, options.max_eqcs)
    limited = options.gate or options.baseline or any(each is not None for each in numbers)
    return False if options.across is None and limited else options.across


def _certified(found: Comparison, how: dict[str, Any], *, needed: bool) -> Comparison:
    """Certify; where nothing can be and only a gate asked for it, the gate fails and says so."""
    from xbackend.api.comparison import certify

    try:
        return certify(found, **how)
    except XbackendError as error:
        if needed:
            raise
        print(f"xbackend: {error}", file=sys.stderr)
        return found
