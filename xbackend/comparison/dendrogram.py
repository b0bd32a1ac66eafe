"""How near the classes of an output are: a tree by the mantissa bits that they share (Figure 6).

The bits that two tensors share, their common prefix at the worst element, are an ultrametric: of
any three tensors, the two smallest of the three numbers are equal. So classes that share more than
some number of bits are a partition, whatever the number, and the tree is exact: there is no linkage
to choose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xbackend.comparison.comparison import TapComparison
from xbackend.numerics.blocks import FileBlocks, blocks_of_file
from xbackend.numerics.metrics import identical_metrics, remaining_precision
from xbackend.store.store import Store

Bits = Sequence[Sequence[int]]
"""For each pair of classes, the mantissa bits that they share."""


@dataclass(frozen=True)
class Node:
    """Classes that share some bits with one another."""

    bits: int
    """What all classes below share; all of the mantissa for a class alone."""
    classes: tuple[int, ...]
    """Places of the classes below, from 0."""
    children: tuple[Node, ...] = ()
    """None, or two and more: each shares more bits in itself than with the others."""


def output_tree(store: Store, output: TapComparison) -> Node | None:
    """Return the tree of an output's classes, None where they have no mantissa to compare.

    Reads one tensor for each class, in blocks. Raises StoreError for a damaged one.
    """
    whole = identical_metrics(output.dtype).remaining_precision
    if whole is None or output.metrics.remaining_precision is None:
        return None
    tensors = [_open(store, output, ids[0]) for ids in output.eqcs]
    shared = [[whole] * len(tensors) for _ in tensors]
    for one in range(len(tensors)):
        for other in range(one):
            bits = remaining_precision([tensors[one], tensors[other]]) or 0
            shared[one][other] = shared[other][one] = bits
    return build_tree(shared, tuple(range(len(tensors))), whole)


def _open(store: Store, output: TapComparison, name: str) -> FileBlocks:
    run = next(run for run in output.cohort.runs if run.id == name)
    result = next(each for each in run.results if str(each["input"]) == output.input)
    row = next(each for each in result["outputs"] if each["name"] == output.tap)
    return blocks_of_file(store.verify_object(row["digest"]), row["dtype"], tuple(row["shape"]))


def build_tree(shared: Bits, classes: tuple[int, ...], whole: int) -> Node:
    """Return the tree of some classes, by the bits that each pair of them shares.

    >>> node = build_tree([[23, 9, 9], [9, 23, 17], [9, 17, 23]], (0, 1, 2), 23)
    >>> node.bits, [(child.bits, child.classes) for child in node.children]
    (9, [(23, (0,)), (17, (1, 2))])
    """
    if len(classes) == 1:
        return Node(whole, classes)
    bits = min(shared[one][other] for one in classes for other in classes if one != other)
    parts: list[list[int]] = []
    for each in classes:
        near = next((part for part in parts if shared[part[0]][each] > bits), None)
        if near is None:
            parts.append([each])
        else:
            near.append(each)
    return Node(bits, classes, tuple(build_tree(shared, tuple(part), whole) for part in parts))
