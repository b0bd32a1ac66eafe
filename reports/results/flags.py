"""Lays out which properties of the platforms go with the classes: the paper's kind of table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xbackend.attribution.correlation import FlagTable
from xbackend.store.cohort import number_format

from ..wording.fleet import judged_by_layers_text
from ..wording.formatting import pluralize

Record = dict[str, Any]


AMI_MEANS = (
    "x: all runs of the class have it, ~: some; splits: each class is wholly with or without it;\n"
    "AMI (adjusted mutual information): 1 where it divides the runs as the classes do, 0 by chance."
)


def render(tables: Sequence[FlagTable]) -> str:
    """Return the tables, one below the other."""
    return "\n".join(map(table_text, tables))


def table_text(table: FlagTable) -> str:
    """Return a table of the paper's kind: a row for each cluster, a column for each class."""
    from tabulate import tabulate

    group = table.group
    version = f"{group['backend']} {group['backend_version']}"
    title = f"{group['model']}, {number_format(group)}, {version}"
    runs, classes = pluralize(len(table.runs), "run"), pluralize(len(table.classes), "class")
    lines = [f"{title}: {runs} in {classes}", ""]
    if table.emulated:
        lines[1:] = [judged_by_layers_text(table.emulated), ""]
    where = {run.id: _place(run.row) for run in table.runs}
    for number, ids in enumerate(table.classes, 1):
        names = list(dict.fromkeys(where[name] for name in ids))
        lines.append(f"  class {number}: {', '.join(names)}")
    numbers = range(1, len(table.classes) + 1)
    rows = [
        [
            _shorten(cluster.names),
            *(_mark(number, cluster.present, cluster.absent) for number in numbers),
            "yes" if cluster.splits else "",
            f"{cluster.ami:.2f}",
        ]
        for cluster in table.clusters
    ]
    if len(table.classes) == 1 or not rows:
        return "\n".join([*lines, "", "There is nothing for a property to tell apart.", ""])
    lines_after = [AMI_MEANS, ""]
    headers = ["always together", *map(str, numbers), "splits", "AMI"]
    return "\n".join([*lines, "", tabulate(rows, headers, disable_numparse=True), *lines_after])


def _place(row: Record) -> str:
    threads = row["settings"].get("threads", 1)
    return str(row["platform"]) if threads == 1 else f"{row['platform']} {threads} threads"


def _mark(number: int, present: Sequence[int], absent: Sequence[int]) -> str:
    """Return whether the runs of a class have a property: `x` all, `~` some, nothing none."""
    if number in present:
        return "~" if number in absent else "x"
    return ""


def _shorten(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
