"""Writes one page for a browser that holds all that is known of a store's runs."""

from __future__ import annotations

import sys
from argparse import Namespace

from xbackend.commands.parser import (
    Subparsers,
    add_command,
    add_execution_options,
    add_trust,
    execution_arguments,
    terminal_progress,
)

REPORT_EXAMPLES = """examples:
  xbackend report                                     report.html, of every run of the store
  xbackend report --open                              and show it in a browser
  xbackend report --model net --where backend=ort --output ort.html
  xbackend report --certify --reference float64       rounding or fault, and errors of each layer
  xbackend report --isolate                           with own and inherited error
  xbackend report --mitigations tried.json            after xbackend mitigate --json > tried.json
  xbackend verify report.html                         whether it is of this store

The page needs no network and no server, and can be sent as it is. Nothing is run but with
--certify, --isolate and --reference. It needs: pip install 'xbackend[report]'
"""
MITIGATIONS_HELP = "what 'xbackend mitigate --json' printed: show what each leaves and costs"
CERTIFY_HELP = "compute in float64 whether rounding explains each layer of each run"
ISOLATE_HELP = "compute whether each layer of a run of each class inherits its error or has its own"
REFERENCE_HELP = "judge runs and layers by the model in double precision: float64, float64:tf"


def add(commands: Subparsers) -> None:
    """Add the command."""
    text = "write a page for a browser: the answer, charts and tables"
    parser = add_command(commands, "report", report, text, REPORT_EXAMPLES)
    add = parser.add_argument
    add("--model", metavar="NAME", help="only runs of this model")
    add("--where", metavar="KEY=VALUE", action="append", help="only runs with this value")
    add("--group-by", metavar="KEYS", help="compare only runs that agree in these keys")
    add("--output", metavar="FILE", default="report.html", help="default: report.html")
    add("--open", action="store_true", help="show it in a browser")
    add("--reference", metavar="float64", help=REFERENCE_HELP)
    add("--mitigations", metavar="FILE", help=MITIGATIONS_HELP)
    add("--isolate", action="store_true", help=ISOLATE_HELP)
    add("--certify", action="store_true", help=CERTIFY_HELP)
    add_execution_options(parser)
    add_trust(parser)


def report(options: Namespace) -> int:
    """Write the page and print where it is; status 3 if records are damaged."""
    from xbackend.api import comparison as api
    from xbackend.api import report as pages

    pages.check_page(options.output)
    if options.mitigations is not None:
        pages.read_mitigations(options.mitigations)
    execution = execution_arguments(options)
    with terminal_progress() as display:
        found = api.compare(
            model=options.model,
            where=options.where,
            group_by=options.group_by,
            reference=options.reference,
            **execution,
            trust_platforms=options.trust_platforms,
            progress=display,
        )
        how = {key: execution[key] for key in ("timeout", "jobs")} | {"progress": display}
        if options.certify:
            found = api.certify(found, **how)
        if options.isolate:
            found = api.isolate(
                found,
                reference=options.reference,
                trust_platforms=options.trust_platforms,
                **how,
            )
    path = pages.report(found, options.output, mitigations=options.mitigations)
    print(path)
    for sentence in found.left_out:
        print(f"xbackend: {sentence}", file=sys.stderr)
    if options.open:
        pages.open_page(path)
    return 3 if found.left_out else 0
