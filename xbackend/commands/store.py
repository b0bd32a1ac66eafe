"""Looks after a store: what is in it, whether it is sound, what may go, and carrying runs about."""

from __future__ import annotations

import argparse
import json
from argparse import Namespace
from pathlib import Path

from xbackend.commands.parser import (
    Parser,
    Subparsers,
    add_command,
    add_store,
    terminal_progress,
)

TYPE_CHECKING = False  # as `typing` has it, which takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any

    from xbackend.commands.parser import Handler

STORE_EXAMPLES = """examples:
  xbackend store                                  which models and runs, how many bytes of what
  xbackend store check --store theirs             before a stranger's store is used
  xbackend store prune --keep differing           what would go; with --yes it goes
  xbackend store merge ../other/.xbackend         take another store's runs in
  xbackend store export --output runs.zip         all runs in one file, for another machine
"""
JSON_HELP = "print one JSON object"
CHECK_EXAMPLES = """examples:
  xbackend store check                    is everything what its name says?
  xbackend store check --store theirs     before a stranger's store is used

exit status: 0 everything is, 3 something is not
"""
PRUNE_EXAMPLES = """examples:
  xbackend store prune                               what no run refers to
  xbackend store prune --keep differing --yes        layers that all runs have alike, too
  xbackend store prune --helpers --yes               what mitigate and flags --ablate left
  xbackend store prune --older-than 30 --failed --yes
  xbackend store prune --where backend=tf --yes

Runs go only where they are chosen: by --model, --where, --older-than, --failed, --helpers, all of
which must hold. Without --yes nothing is changed.
"""
KEEP_HELP = (
    "tensors of layers to keep: all, differing (those that not all runs have alike), or none; "
    "inputs, outputs and all digests stay (default: all)"
)
MERGE_EXAMPLES = """examples:
  xbackend store merge ../other/.xbackend         each file is checked against its name

exit status: 0 all runs are there, 3 some were refused
"""
EXPORT_EXAMPLES = """examples:
  xbackend store export --output runs.zip                          all runs
  xbackend store export 20301231T120000 --output runs.zip          those with this in their id
  xbackend store export --where backend=ort --output ort.zip
"""
IMPORT_EXAMPLES = """examples:
  xbackend store import runs.zip                  what 'xbackend store export' wrote elsewhere

exit status: 0 all runs are there, 3 some were refused
"""


def add(commands: Subparsers) -> None:
    """Add the command."""
    text = "look after a store: what is in it, is it sound, what may go"
    parser = add_command(commands, "store", show, text, STORE_EXAMPLES)
    parser.add_argument("--json", action="store_true", help=JSON_HELP)
    add_store(parser)
    actions = parser.add_subparsers(metavar="ACTION", title="actions")
    _add_action(actions, "show", show, "tell what a store holds (the default)", "")
    what = "read all of a store against its names, and tell what is wrong"
    _add_action(actions, "check", check, what, CHECK_EXAMPLES)
    _add_prune(actions)
    merge_parser = _add_action(
        actions, "merge", merge, "take in the runs of another store, checked", MERGE_EXAMPLES
    )
    merge_parser.add_argument("other", metavar="OTHER", help="the folder of the other store")
    _add_export(actions)
    what = "take in the runs of a file that 'xbackend store export' wrote"
    import_parser = _add_action(actions, "import", import_file, what, IMPORT_EXAMPLES)
    import_parser.add_argument("file", metavar="FILE", help="the ZIP file")


def _add_action(actions: Subparsers, name: str, handler: Handler, text: str, more: str) -> Parser:
    """Add an action; `--store` and `--json` may stand before it, or after."""
    parser = add_command(actions, name, handler, text, more)
    kept = argparse.SUPPRESS  # what stood before the action holds
    parser.add_argument("--json", action="store_true", default=kept, help=JSON_HELP)
    parser.add_argument("--store", metavar="DIR", default=kept, help="as before the action")
    return parser


def _add_choice(parser: Parser, what: str) -> None:
    parser.add_argument("--model", metavar="NAME", help=f"{what} of this model")
    parser.add_argument(
        "--where", metavar="KEY=VALUE", action="append", help=f"{what} with this value"
    )


def _add_prune(actions: Subparsers) -> None:
    text = "take out what no run refers to, and what else is no longer wanted"
    parser = _add_action(actions, "prune", prune, text, PRUNE_EXAMPLES)
    add = parser.add_argument
    add("--keep", metavar="WHAT", default="all", help=KEEP_HELP)
    _add_choice(parser, "take out runs")
    add("--older-than", metavar="DAYS", type=float, help="take out runs made so long ago")
    add("--failed", action="store_true", help="take out runs that failed or were skipped")
    add(
        "--helpers",
        action="store_true",
        help="take out runs that mitigate, flags --ablate and references made for themselves",
    )
    add("--yes", action="store_true", help="do it, rather than tell what would go")


def _add_export(actions: Subparsers) -> None:
    text = "write runs with all that they refer to into one ZIP file"
    parser = _add_action(actions, "export", export, text, EXPORT_EXAMPLES)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="parts of their ids (default: all)")
    _add_choice(parser, "only runs")
    parser.add_argument("--output", metavar="FILE", required=True, help="a file that is not there")


def show(options: Namespace) -> int:
    """Print what a store holds."""
    from xbackend.api.store_upkeep import describe_store

    found = describe_store(options.store)
    print(json.dumps(found.to_dict()) if options.json else _render("store", found))
    return 3 if found.damaged else 0


def check(options: Namespace) -> int:
    """Print what is wrong with a store; exit status 3 if anything is."""
    from xbackend.api.store_check import check_store

    found = check_store(options.store)
    print(json.dumps(found.to_dict()) if options.json else found)
    return 3 if found.faults else 0


def prune(options: Namespace) -> int:
    """Take out of a store what is to go, or print what would."""
    from xbackend.api.arguments import store_of
    from xbackend.api.store_upkeep import prune_store

    plan = prune_store(
        options.keep,
        store=options.store,
        model=options.model,
        where=options.where,
        older_than=options.older_than,
        failed=options.failed,
        helpers=options.helpers,
        dry_run=not options.yes,
    )
    if options.json:
        print(json.dumps({**plan.to_dict(), "done": options.yes}))
    else:
        print(_render("pruning", plan, store_of(options.store).folder, options.yes))
    return 0


def merge(options: Namespace) -> int:
    """Take another store's runs in; exit status 3 if some were refused."""
    from xbackend.api.store_upkeep import merge_store

    with terminal_progress() as display:
        result = merge_store(options.other, store=options.store, progress=display)
    return _print_merge(result, options)


def export(options: Namespace) -> int:
    """Write runs into a file."""
    from xbackend.api.store_upkeep import export_runs

    with terminal_progress() as display:
        size = export_runs(
            options.output,
            options.runs,
            store=options.store,
            model=options.model,
            where=options.where,
            progress=display,
        )
    found = {"schema_version": 1, "file": options.output, "bytes": size}
    print(json.dumps(found) if options.json else _render("bundle", size, Path(options.output)))
    return 0


def import_file(options: Namespace) -> int:
    """Take the runs of a file in; exit status 3 if some were refused."""
    from xbackend.api.store_upkeep import import_bundle

    with terminal_progress() as display:
        result = import_bundle(options.file, store=options.store, progress=display)
    return _print_merge(result, options)


def _print_merge(result: Any, options: Namespace) -> int:
    from xbackend.api.arguments import store_of

    if options.json:
        print(json.dumps({"schema_version": 1, **vars(result)}))
    else:
        print(_render("merge", result, store_of(options.store).folder))
    return 3 if result.refused else 0


def _render(name: str, *values: Any) -> str:
    from xbackend.plugins import registry

    return registry.renderer(name)(*values)
