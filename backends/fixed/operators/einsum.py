"""Einsum: products of axes by name, summed in the order of sums.py.

Two factors are brought to a stack of matrices and multiplied as MatMul multiplies: the sum goes
along the common axes in the order in which the left factor has them. More go from left to right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..operands import need
from ..sums import product, total

if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Set, Tuple

    from xbackend.worker.graph import Node

    Array = np.ndarray[Any, Any]
    Inputs = List[Optional[Array]]

REST = "."
"""What stands for the axes of an ellipsis, each with its place from the end behind it."""


def einsum(node: Node, inputs: Inputs) -> List[Array]:
    """Einsum of any number of factors."""
    arrays = [need(inputs, place) for place in range(len(inputs))]
    terms, result = _labels(str(node.attributes["equation"]), [array.ndim for array in arrays])
    with np.errstate(all="ignore"):
        left, names = _distinct(arrays[0], terms[0])
        for place in range(1, len(arrays)):
            right, others = _distinct(arrays[place], terms[place])
            later = {name for term in terms[place + 1 :] for name in term}
            left, names = _multiplied(left, names, right, others, {*result, *later})
        left, names = _summed(left, names, set(result))
    return [left.transpose([names.index(name) for name in result])]


def _labels(equation: str, ranks: List[int]) -> Tuple[List[List[str]], List[str]]:
    """Return the names of each factor's axes and of the result's."""
    before, arrow, after = equation.replace(" ", "").partition("->")
    terms = [_spelled(term, rank) for term, rank in zip(before.split(","), ranks)]
    counted = [name for term in terms for name in term]
    rest = sorted({name for name in counted if name.startswith(REST)}, reverse=True)
    if arrow:
        head, dots, tail = after.partition("...")
        return terms, [*head, *(rest if dots else ()), *tail]
    single = sorted({n for n in counted if counted.count(n) == 1 and not n.startswith(REST)})
    return terms, [*rest, *single]


def _spelled(term: str, rank: int) -> List[str]:
    head, dots, tail = term.partition("...")
    count = rank - len(head) - len(tail) if dots else 0
    return [*head, *(f"{REST}{place:03d}" for place in range(count - 1, -1, -1)), *tail]


def _distinct(array: Array, names: List[str]) -> Tuple[Array, List[str]]:
    """Take diagonals where a name stands twice."""
    names = list(names)
    for name in list(dict.fromkeys(names)):
        while names.count(name) > 1:
            first = names.index(name)
            second = names.index(name, first + 1)
            array = np.diagonal(array, axis1=first, axis2=second)
            names = [n for place, n in enumerate(names) if place not in (first, second)] + [name]
    return array, names


def _summed(array: Array, names: List[str], kept: Set[str]) -> Tuple[Array, List[str]]:
    """Sum over the axes that are not kept."""
    gone = [place for place, name in enumerate(names) if name not in kept]
    if not gone:
        return array, names
    rest = [name for name in names if name in kept]
    shape = [array.shape[names.index(name)] for name in rest]
    return total(array, gone).reshape(shape), rest


def _multiplied(
    left: Array, names: List[str], right: Array, others: List[str], kept: Set[str]
) -> Tuple[Array, List[str]]:
    """Multiply two factors as a stack of matrices; what is in one alone and not kept goes first."""
    left, names = _summed(left, names, kept | set(others))
    right, others = _summed(right, others, kept | set(names))
    both = [name for name in names if name in others]
    stack, common = ([n for n in both if (n in kept) == wanted] for wanted in (True, False))
    rows = [name for name in names if name not in both]
    columns = [name for name in others if name not in both]
    extent = {**_extents(right, others), **_extents(left, names)}
    for name in both:
        extent[name] = max(left.shape[names.index(name)], right.shape[others.index(name)])
    a = _arranged(left, names, (stack, rows, common), extent)
    b = _arranged(right, others, (stack, common, columns), extent)
    made = product(a, b).reshape([extent[name] for name in (*stack, *rows, *columns)])
    return made, [*stack, *rows, *columns]


def _extents(array: Array, names: List[str]) -> Dict[str, int]:
    return dict(zip(names, array.shape))


def _arranged(
    array: Array, names: List[str], groups: Tuple[List[str], ...], extent: Dict[str, int]
) -> Array:
    """Lay axes out as a stack of matrices, those of extent 1 repeated."""
    order = [name for group in groups for name in group]
    moved = array.transpose([names.index(name) for name in order])
    wide = np.broadcast_to(moved, [extent[name] for name in order])
    shape = [int(np.prod([extent[n] for n in group], dtype=np.int64)) for group in groups]
    return np.ascontiguousarray(wide).reshape(shape)


OPERATORS: Dict[Tuple[str, str], Callable[[Any, Any], Any]] = {("", "Einsum"): einsum}
"""The operator of each domain and name."""
