"""The report of how near classes are to one another: the paper's Figure 6 as an indented tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from xbackend.comparison.comparison import Comparison, TapComparison
from xbackend.comparison.dendrogram import Node, output_tree
from xbackend.comparison.machines import sort_key
from xbackend.platforms.emulation_doubt import doubtful_run_ids
from xbackend.store.records import Run

from .wording.formatting import DAGGER, emulation_note, pluralize, printable, shorten

LONGEST = 90
"""Characters of a class's backends and platforms that are shown."""
LEGEND = (
    "Bits are the leading mantissa bits that all outputs below share at their worst element.\n"
    "The tree is exact: shared bits are an ultrametric."
)
DRAWN = "To draw it: --output figure.svg, .png or .pdf."


@dataclass(frozen=True)
class Tree:
    """The tree of one output of one sample."""

    title: str
    root: Node
    leaves: tuple[str, ...]
    """What each class is called, by its place."""


def render(comparison: Comparison) -> str:
    """Lay out a tree for each output of each sample that has several classes."""
    parts = ["\n".join([tree.title, *_lines(tree, tree.root)]) for tree in trees(comparison)]
    if not parts:
        return "No output has several classes with mantissa bits, so there is no tree.\n"
    return "\n\n".join([*parts, "\n".join([*_emulation_notes(comparison), LEGEND, DRAWN])]) + "\n"


def _emulation_notes(comparison: Comparison) -> list[str]:
    """Return what a dagger means, if any class has one."""
    doubtful = [
        sample.emulation_doubt for sample in comparison.samples if sample.emulation_doubt.classes
    ]
    names = dict.fromkeys(name for each in doubtful for name in each.operators)
    return [emulation_note(list(names))] if names else []


def trees(comparison: Comparison) -> list[Tree]:
    """Return the trees of a comparison, from the tensors of its store."""
    outputs = [(sample, output) for sample in comparison.samples for output in sample.outputs]
    found = []
    for sample, output in outputs:
        root = output_tree(comparison.store, output) if output.eqc_count > 1 else None
        if root is not None:
            doubtful = doubtful_run_ids(sample.eqcs, sample.emulation_doubt)
            leaves = tuple(_leaf(output, place, doubtful) for place in range(output.eqc_count))
            found.append((output, root, leaves))
    sections: dict[str, set[str]] = {}
    for output, *_ in found:
        sections.setdefault(_subject(output), set()).add(output.cohort.key)
    return [
        Tree(_title(output, len(sections[_subject(output)]) > 1), root, leaves)
        for output, root, leaves in found
    ]


def _title(output: TapComparison, apart: bool) -> str:
    """Return what a tree is about, with digests where only these tell it from another one."""
    digests = (str(output.cohort.group["model_digest"]), output.cohort.inputs_digest)
    names = [f"{what} {text[:8]}" for what, text in zip(("model", "inputs"), digests, strict=True)]
    subject = ", ".join([_subject(output), *(names if apart else [])])
    return f"{subject}: {pluralize(output.eqc_count, 'class')}"


def _subject(output: TapComparison) -> str:
    group = output.cohort.group
    keys = [f"{key}={group[key]}" for key in group if key not in ("model_digest", "precision")]
    parts = [output.cohort.model, str(group["precision"]), *keys, f"input {output.input}"]
    return printable(", ".join(parts))


def _leaf(output: TapComparison, place: int, doubtful: frozenset[str]) -> str:
    """Return a class's number, and its backends with their platforms, in the order of machines."""
    mark = DAGGER if doubtful.issuperset(output.eqcs[place]) else ""
    runs = [run for run in output.cohort.runs if run.id in set(output.eqcs[place])]
    runs.sort(key=lambda run: sort_key(run.row["hardware"]))
    several = _several_versions(output.cohort.runs)
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        backend = str(run.row["backend"])
        name = f"{backend} {run.row['backend_version']}" if backend in several else backend
        found.setdefault(name, {})[str(run.row["platform"])] = None
    names = "; ".join(f"{name} {', '.join(places)}" for name, places in found.items())
    return f"{place + 1}{mark}: {shorten(printable(names), LONGEST)}"


def _several_versions(runs: Iterable[Run]) -> set[str]:
    """Return the backends of which runs have different versions."""
    found: dict[str, set[str]] = {}
    for run in runs:
        found.setdefault(str(run.row["backend"]), set()).add(str(run.row["backend_version"]))
    return {backend for backend, versions in found.items() if len(versions) > 1}


def _lines(tree: Tree, node: Node, before: str = "", branch: str = "") -> Iterator[str]:
    if not node.children:
        yield f"{before}{branch}class {tree.leaves[node.classes[0]]}"
        return
    yield f"{before}{branch}{pluralize(node.bits, 'bit')}"
    inner = before + {"": "", "├─ ": "│  ", "└─ ": "   "}[branch]
    for child in node.children[:-1]:
        yield from _lines(tree, child, inner, "├─ ")
    yield from _lines(tree, node.children[-1], inner, "└─ ")
