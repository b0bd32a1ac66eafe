"""Repeats a study of the paper."""

from __future__ import annotations

import json
import sys
from argparse import Namespace

from xbackend.commands.parser import (
    Subparsers,
    add_command,
    add_execution_options,
    execution_arguments,
    given_words,
    terminal_progress,
    whole_numbers,
)

STUDY_EXAMPLES = """examples:
  xbackend study                                      what there is
  xbackend study multiplications                      in seconds
  xbackend study multiplications --size full --output figure4.svg
  xbackend study races --platform native --platform cores:1 --backends torch,ort
  xbackend study cores --show > mine.json             edit it, then:
  xbackend study cores --config mine.json --output cores.csv --output cores.png

exit status: 0 done, whatever was found; 2 wrong usage, 3 a run failed (the others are kept)
"""
OUTPUT_HELP = "write it there: .png, .svg or .pdf draws, .csv or .json holds the figures"


def add(commands: Subparsers) -> None:
    """Add the command."""
    text = "repeat a study of the paper and tell whether its finding holds here"
    parser = add_command(commands, "study", study, text, STUDY_EXAMPLES)
    add = parser.add_argument
    add("name", nargs="?", help="which one; without it they are listed")
    add("--platform", metavar="SPEC", action="append", help="such as qemu:Haswell")
    add("--backends", metavar="WORDS", help="such as ort,tflite")
    add("--threads", metavar="NUMBERS", help="such as 1,2")
    add("--config", metavar="FILE", help="JSON; a key that it lacks is that of --size")
    add("--size", choices=["small", "full"], default="small", help="(default: small)")
    add("--set", metavar="WORD.KEY=VALUE", action="append", help="see 'xbackend backends'")
    add("--show", action="store_true", help="print the configuration and run nothing")
    add("--output", metavar="FILE", action="append", help=OUTPUT_HELP)
    add("--json", action="store_true", help="print one JSON object")
    add_execution_options(parser)


def study(options: Namespace) -> int:
    """Carry out a study, or list them all; exit status 3 if a run failed."""
    from xbackend.api import studies as api
    from xbackend.api.report_files import is_plot

    if options.name is None:
        found = api.studies()
        print(json.dumps(found.to_dict()) if options.json else found)
        return 0
    how = {
        "platforms": options.platform,
        "backends": given_words("--backends", options.backends),
        "threads": whole_numbers("--threads", options.threads) if options.threads else None,
        "settings": options.set,
        "config": options.config,
        "size": options.size,
    }
    if options.show:
        print(json.dumps(api.study_configuration(options.name, **how), indent=2))
        return 0
    with terminal_progress() as display:
        report = api.study(
            options.name,
            **how,
            output=options.output or (),
            **execution_arguments(options),
            progress=display,
        )
    undrawn = [] if report.result.plot_data else [*filter(is_plot, options.output or ())]
    for path in undrawn:
        print(f"xbackend: Nothing was computed, so {path} is not drawn.", file=sys.stderr)
    print(json.dumps(report.to_dict()) if options.json else report)
    return 3 if report.failed else 0
