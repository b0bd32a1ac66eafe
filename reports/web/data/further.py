"""What stands below the layers: trees of classes, how classes grow, flags and cores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from xbackend.attribution.correlation import flag_tables
from xbackend.comparison.comparison import Comparison
from xbackend.comparison.dendrogram import Node, output_tree
from xbackend.comparison.machines import machine_table
from xbackend.comparison.summary import Summary
from xbackend.comparison.threads import thread_tables
from xbackend.store.cohort import number_format

from ...cumulative import name_curve, name_machines
from ...results.cores import cell_text, row_labels, sentences
from ...sections.tables import Table
from ...wording.formatting import name_row, pluralize, printable

Record = dict[str, Any]
MOST_CLUSTERS = 20
"""So many groups of properties are shown of a backend."""
MOST_NAMES = 4
"""So many runs are named at a leaf."""


def growth(comparison: Comparison, found: Sequence[Summary]) -> list[Record]:
    """Return for each cohort its curves: how many classes were seen up to each machine."""
    table = machine_table(comparison)
    machines = name_machines(table.rows)
    place = {each.cohort.key: at for at, each in enumerate(found)}
    curves: list[Record] = []
    for curve in table.curves():
        known = [(at, count) for at, count in enumerate(curve.counts) if count is not None]
        curves.append(
            {
                "cohort": place[curve.columns[0].sample.cohort.key],
                "curve": name_curve(curve),
                "machine": [at + 1 for at, _ in known],
                "name": [machines[at] for at, _ in known],
                "classes": [count for _, count in known],
            }
        )
    return curves


def trees(comparison: Comparison, found: Sequence[Summary]) -> list[Record]:
    """Return a tree for each output of each sample that has several classes."""
    return [
        {"cohort": at, "input": place, "output": printable(output.tap), **_laid_out(root, leaves)}
        for at, each in enumerate(found)
        for place, sample in enumerate(each.samples)
        for output in sample.outputs
        if output.eqc_count > 1
        for root in [output_tree(comparison.store, output)]
        if root is not None
        for leaves in [[_leaf(each, ids) for ids in output.eqcs]]
    ]


def _home_classes(summary: Summary, ids: Sequence[str]) -> list[int]:
    """Return the classes of the cohort, from 1, in which some runs are: over all its samples."""
    return [at for at, members in enumerate(summary.eqcs, 1) if set(members) & set(ids)]


def _leaf(summary: Summary, ids: Sequence[str]) -> tuple[str, str, int]:
    """Return of a class of one sample its numbers in the cohort, its runs, and its colour."""
    rows = {name: name_row(row) for row in summary.rows for name in row.ids}
    runs = list(dict.fromkeys(rows[name] for name in ids))
    more = f" and {len(runs) - MOST_NAMES} more" if len(runs) > MOST_NAMES else ""
    homes = _home_classes(summary, ids)
    return ", ".join(map(str, homes)), f"{'; '.join(runs[:MOST_NAMES])}{more}", homes[0] - 1


def _laid_out(root: Node, leaves: Sequence[tuple[str, str, int]]) -> Record:
    """Return lines from bits to bits and from row to row, and the leaves at their ends."""
    order = [node.classes[0] for node in _leaves(root)]
    height = {place: row for row, place in enumerate(order)}
    lines = list(_lines(root, height))
    whole = max(node.bits for node in _leaves(root))
    return {
        "branches": [list(line) for line in lines],
        "leaves": [
            [whole, height[place], f"{number}: {runs}", colour]
            for place in order
            for number, runs, colour in [leaves[place]]
        ],
        "words": list(_words(root, [number for number, *_ in leaves])),
    }


def _words(node: Node, numbers: Sequence[str]) -> Iterator[str]:
    """Yield what a tree says, from its root."""
    if node.children:
        told = ", ".join(numbers[place] for place in sorted(node.classes))
        yield f"classes {told} share {pluralize(node.bits, 'bit')}"
    for child in node.children:
        yield from _words(child, numbers)


def _leaves(node: Node) -> Iterator[Node]:
    if not node.children:
        yield node
    for child in node.children:
        yield from _leaves(child)


def _middle(node: Node, height: dict[int, int]) -> float:
    if not node.children:
        return height[node.classes[0]]
    return sum(_middle(child, height) for child in node.children) / len(node.children)


def _lines(node: Node, height: dict[int, int]) -> Iterator[tuple[float, float, float, float]]:
    """Yield the lines of a tree: bits and row of either end."""
    ends = [_middle(child, height) for child in node.children]
    if ends:
        yield node.bits, min(ends), node.bits, max(ends)
    for child, end in zip(node.children, ends, strict=True):
        yield node.bits, end, child.bits, end
        yield from _lines(child, height)


def flags(comparison: Comparison) -> list[tuple[str, Table]]:
    """Return what of the processors goes with the classes, a table for each backend."""
    found = []
    for each in flag_tables(comparison.runs):
        if len(each.classes) < 2 or not each.clusters:
            continue
        group = each.group
        title = f"{group['model']}, {number_format(group)}, {group['backend']}"
        rows = [
            (
                printable(", ".join(cluster.names)),
                _numbers(cluster.present),
                _numbers(cluster.absent),
                "yes" if cluster.splits else "no",
                f"{cluster.ami:.2f}",
            )
            for cluster in each.clusters[:MOST_CLUSTERS]
        ]
        headers = (
            "always together",
            "classes that have it",
            "classes that lack it",
            "splits",
            "AMI",
        )
        table = Table(headers, tuple(rows), (False, False, False, False, True))
        found.append((printable(f"{title}: {pluralize(len(each.classes), 'class')}"), table))
    return found


def _numbers(classes: Sequence[int]) -> str:
    return ", ".join(map(str, classes)) or "–"


def cores(comparison: Comparison) -> list[tuple[str, Table]]:
    """Return classes by numbers of threads, where several were run."""
    found = []
    for each in thread_tables(comparison.runs):
        if len(each.threads) < 2:
            continue
        rows = [
            (printable(label), *(printable(cell_text(row.cell(n))) for n in each.threads))
            for label, row in zip(row_labels(each.rows), each.rows, strict=True)
        ]
        headers = ("machine", *(pluralize(number, "thread") for number in each.threads))
        numeric = (False, *(True for _ in each.threads))
        title = f"{each.group['model']}, {number_format(each.group)}: {' '.join(sentences(each))}"
        found.append((printable(title), Table(headers, tuple(rows), numeric)))
    return found
