"""Plots of a comparison: the number of classes over the machines, and trees of classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xbackend.comparison.comparison import Comparison
from xbackend.comparison.dendrogram import Node
from xbackend.comparison.machines import machine_table
from xbackend.errors import UsageError

from ..cumulative import name_curve, name_machines
from ..dendrogram import Tree, trees
from ..wording.formatting import shorten
from .figure_file import DASHES, PALETTE, open_figure

LINE = 0.22
"""Inches for a line of text."""
LONGEST = 70
"""Characters of a name or title that are shown."""
LONGEST_MACHINE = 40
"""Characters of a machine's name that stand below the axis."""
TREES = 60
"""Most trees in one figure: a file of a size that can still be shown."""


def draw_cumulative(comparison: Comparison, path: Path) -> None:
    """Draw the number of classes seen so far over the machines; see `open_figure` for errors.

    Where curves run together, the later ones are narrower, so that all can be seen.
    """
    table = machine_table(comparison)
    if not table.rows:
        raise UsageError("No run gave outputs, so there is nothing to draw.")
    curves = table.curves()
    names = name_machines(table.rows)
    with open_figure(path, max(6.0, LINE * len(names)), 4.5) as figure:
        axes = figure.add_subplot()
        for place, curve in enumerate(curves):
            known = [(at, n) for at, n in enumerate(curve.counts, 1) if n is not None]
            label = shorten(name_curve(curve), LONGEST)
            wide = 1 + 1.5 * (len(curves) - place - 1)
            axes.step(
                *zip(*known, strict=True), where="post", linewidth=wide, label=label,
                color=PALETTE[place % len(PALETTE)],
                linestyle=DASHES[place // len(PALETTE) % len(DASHES)],
            )  # fmt: skip
        shown = [shorten(name, LONGEST_MACHINE) for name in names]
        axes.set_xticks(range(1, len(names) + 1), shown, rotation=90, fontsize=7)
        axes.set_title("How the number of classes grows with machines", loc="left", fontsize=10)
        axes.set_xlabel("machines, by vendor, age of the architecture and cores")
        axes.set_ylabel("classes so far")
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def draw_dendrogram(comparison: Comparison, path: Path) -> None:
    """Draw a tree for each output that has several classes; see `open_figure` for errors."""
    found = trees(comparison)
    if not found:
        raise UsageError("No output has several classes with mantissa bits: there is no tree.")
    if len(found) > TREES:
        raise UsageError(
            f"There are {len(found)} trees, more than the {TREES} that fit a figure. Choose some "
            "with --model and --where."
        )
    heights = [LINE * (len(tree.leaves) + 4) for tree in found]
    with open_figure(path, 8, sum(heights)) as figure:
        figure.set_layout_engine("constrained")
        grids = figure.subplots(len(found), 1, squeeze=False, height_ratios=heights)
        for axes, tree in zip(grids[:, 0], found, strict=True):
            _draw_tree(axes, tree)


def _draw_tree(axes: Any, tree: Tree) -> None:
    whole = max(node.bits for node in _nodes(tree.root))
    order = [node.classes[0] for node in _nodes(tree.root) if not node.children]
    height = {place: row for row, place in enumerate(order)}
    _draw_node(axes, tree.root, height)
    for place, row in height.items():
        text = shorten(tree.leaves[place], LONGEST)
        axes.text(whole + 0.3, row, text, va="center", fontsize=7)
    axes.set_xlim(min(0, tree.root.bits) - 0.5, whole)
    axes.set_ylim(len(order) - 0.5, -0.5)
    axes.set_yticks([])
    axes.set_xlabel("mantissa bits shared")
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.set_title(shorten(tree.title, LONGEST), loc="left", fontsize=9)


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _nodes(child)


def _draw_node(axes: Any, node: Node, height: dict[int, int]) -> float:
    """Draw a node and all below; return its height, the middle of its children's."""
    if not node.children:
        return height[node.classes[0]]
    ends = [_draw_node(axes, child, height) for child in node.children]
    axes.vlines(node.bits, min(ends), max(ends), color="black", linewidth=1)
    for child, end in zip(node.children, ends, strict=True):
        axes.hlines(end, node.bits, child.bits, color="black", linewidth=1)
    return sum(ends) / len(ends)
