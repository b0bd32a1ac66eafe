"""Tells whether a page that `report` wrote is of a store, and unchanged."""

from __future__ import annotations

import json
from argparse import Namespace

from xbackend.commands.parser import Subparsers, add_command, add_store

VERIFY_EXAMPLES = """examples:
  xbackend verify report.html
  xbackend verify report.html --store results

exit status: 0 the page shows what the store's runs give, 1 it does not, 2 it is no such page

Its runs are read and compared anew, and the page is laid out again. What running models again has
added (certificates, isolation, errors against float64) is named and not checked.
"""


def add(commands: Subparsers) -> None:
    """Add the command."""
    text = "tell whether a report is of a store, and unchanged"
    parser = add_command(commands, "verify", verify, text, VERIFY_EXAMPLES)
    parser.add_argument("report", metavar="FILE", help="what 'xbackend report' wrote")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_store(parser)


def verify(options: Namespace) -> int:
    """Print in what a page and a store do not agree; status 1 if there is anything."""
    from xbackend.api.report import verify as verify_page

    found = verify_page(options.report, store=options.store)
    print(json.dumps(found.to_dict()) if options.json else found)
    return int(bool(found.faults))
