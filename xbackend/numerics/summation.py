"""All orders in which a few terms can be added in float32, fused or not, and what each gives.

Every binary tree over at most `MOST_TERMS` terms and a bias is evaluated: 10,395 at most.
A fused multiply-add is exact: the sum of a product and a number in float64, rounded to odd, has two
bits more than float32 needs to be rounded rightly (Boldo and Melquiond, 2008).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np

Array = np.ndarray[Any, Any]
Tree: TypeAlias = "int | tuple[Any, Any]"
"""A leaf's number, or two trees whose sums are added."""

MOST_TERMS = 6
ROUNDED, FUSED, FUSED_OTHER, ONCE, ONCE_THEN_BIAS = (
    "rounded products",
    "fused multiply-add",
    "fused multiply-add, the first of two products fused",
    "one rounding",
    "one rounding, then the bias",
)
"""How products are added: rounded first, fused where one is added to a sum, or everything exactly
and rounded at the end."""
IN_ORDER, BACKWARDS, PAIRWISE, ANY_ORDER, TREE = (
    "in order",
    "backwards",
    "pairwise",
    "another order",
    "partial sums",
)
NO_BIAS, BIAS_FIRST, BIAS_LAST, BIAS_WITHIN = "no bias", "bias first", "bias last", "bias between"


@dataclass(frozen=True)
class Terms:
    """What is added up, for each of some elements of a result."""

    left: Array
    """Float32, term by element: one factor of each product; ones where terms are no products."""
    right: Array
    bias: Array | None = None
    """Float32, an element each; None without."""

    @property
    def count(self) -> int:
        """How many products there are."""
        return int(self.left.shape[0])


@dataclass(frozen=True)
class SummationOrder:
    """One way to add the terms up."""

    tree: Tree
    """Leaves are terms; the bias is the leaf behind the last of them."""
    products: str
    kind: str
    bias: str
    order: tuple[int, ...] = ()
    """The terms as they are added one after the other; empty for partial sums."""

    @property
    def rank(self) -> tuple[int, int, int, int]:
        """What is the simpler explanation comes first; more precision than float32's at last."""
        kinds = (IN_ORDER, BACKWARDS, PAIRWISE, ANY_ORDER, TREE)
        places = (NO_BIAS, BIAS_LAST, BIAS_FIRST, BIAS_WITHIN)
        ways = (ROUNDED, FUSED, ONCE, ONCE_THEN_BIAS, FUSED_OTHER)
        wide = self.products in (ONCE, ONCE_THEN_BIAS)
        rest = (places.index(self.bias), ways.index(self.products))
        return (int(wide), kinds.index(self.kind), *rest)


def fused_multiply_add(left: Array, right: Array, addend: Array) -> Array:
    """Return left * right + addend in float32, rounded once.

    >>> a = np.float32([1 + 2**-12])
    >>> (a * a - np.float32(1)).item() == fused_multiply_add(a, a, np.float32([-1])).item()
    False
    """
    product = left.astype(np.float64) * right.astype(np.float64)
    other = addend.astype(np.float64)
    total = product + other
    part = total - product
    error = (product - (total - part)) + (other - part)
    even = (total.view(np.uint64) & np.uint64(1)) == 0
    toward = np.where(error > 0, np.inf, -np.inf)
    odd = np.where((error != 0) & even & np.isfinite(total), np.nextafter(total, toward), total)
    result: Array = odd.astype(np.float32)
    return result


def trees(count: int) -> Iterator[Tree]:
    """Yield every way to add up some leaves two at a time: 1, 1, 3, 15, 105, 945, 10395.

    >>> len(list(trees(4)))
    15
    """
    if count == 1:
        yield 0
        return
    for tree in trees(count - 1):
        yield from _with_leaf(tree, count - 1)


def _with_leaf(tree: Tree, leaf: int) -> Iterator[Tree]:
    """Yield a tree with one more leaf at each place."""
    yield (tree, leaf)
    if isinstance(tree, tuple):
        left, right = tree
        yield from ((each, right) for each in _with_leaf(left, leaf))
        yield from ((left, each) for each in _with_leaf(right, leaf))


@dataclass
class Evaluation:
    """The sums of trees over the same terms, each part of a tree once."""

    terms: Terms
    products: str
    known: dict[Tree, Array] = field(default_factory=dict)

    def sum(self, tree: Tree) -> Array:
        """Return the sum, element by element, in float32."""
        if tree not in self.known:
            self.known[tree] = self._leaf(tree) if isinstance(tree, int) else self._add(*tree)
        return self.known[tree]

    def _leaf(self, leaf: int) -> Array:
        if leaf == self.terms.count:
            assert self.terms.bias is not None
            return self.terms.bias
        product: Array = self.terms.left[leaf] * self.terms.right[leaf]
        return product

    def _add(self, one: Tree, other: Tree) -> Array:
        fused = self.products in (FUSED, FUSED_OTHER)
        both = self._is_product(one) and self._is_product(other)
        if fused and both:
            first, last = sorted((one, other), reverse=self.products == FUSED_OTHER)
            return self._fused(last, first)
        if fused and self._is_product(other):
            return self._fused(other, one)
        if fused and self._is_product(one):
            return self._fused(one, other)
        total: Array = self.sum(one) + self.sum(other)
        return total

    def _is_product(self, tree: Tree) -> bool:
        return isinstance(tree, int) and tree < self.terms.count

    def _fused(self, leaf: Any, rest: Tree) -> Array:
        return fused_multiply_add(self.terms.left[leaf], self.terms.right[leaf], self.sum(rest))


def described(tree: Tree, count: int, bias: bool, products: str) -> SummationOrder:
    """Return an order with what it is called."""
    last = count if bias else -1
    chain = _chain(tree)
    if chain is None:
        kind = PAIRWISE if _without(tree, last) == _balanced(tuple(range(count))) else TREE
        return SummationOrder(tree, products, kind, _bias_in_tree(tree, last))
    where = _bias_in_chain(chain, last)
    order = tuple(leaf for leaf in chain if leaf != last)
    known = {tuple(range(count)): IN_ORDER, tuple(reversed(range(count))): BACKWARDS}
    swapped = (*order[1::-1], *order[2:])  # the first two have no order
    kind = known.get(order) or (known.get(swapped) if where != BIAS_FIRST else None) or ANY_ORDER
    if kind == ANY_ORDER and _without(tree, last) == _balanced(tuple(range(count))):
        kind = PAIRWISE
    return SummationOrder(tree, products, kind, where, order)


def _chain(tree: Tree) -> tuple[int, ...] | None:
    """Return the leaves of a tree that adds one after the other; None for any other tree."""
    found: list[int] = []
    while isinstance(tree, tuple):
        one, other = tree
        if isinstance(other, int):
            found.append(other)
            tree = one
        elif isinstance(one, int):
            found.append(one)
            tree = other
        else:
            return None
    return (tree, *reversed(found))


def _bias_in_chain(chain: Sequence[int], bias: int) -> str:
    if bias < 0:
        return NO_BIAS
    place = chain.index(bias)
    if place == len(chain) - 1 and len(chain) > 2:
        return BIAS_LAST
    return BIAS_FIRST if place < 2 else BIAS_WITHIN


def _bias_in_tree(tree: Tree, bias: int) -> str:
    if bias < 0:
        return NO_BIAS
    return BIAS_LAST if isinstance(tree, tuple) and bias in tree else BIAS_WITHIN


def _without(tree: Tree, leaf: int) -> Tree | None:
    """Return a tree without a leaf, with its parts in order of their least leaves."""
    if not isinstance(tree, tuple):
        return None if tree == leaf else tree
    parts = [part for part in (_without(each, leaf) for each in tree) if part is not None]
    if len(parts) < 2:
        return parts[0] if parts else None
    one, other = sorted(parts, key=_least)
    return (one, other)


def _least(tree: Tree) -> int:
    return min(map(_least, tree)) if isinstance(tree, tuple) else tree


def _balanced(leaves: tuple[int, ...]) -> Tree:
    """Return the tree that adds neighbours, then their sums."""
    level: list[Tree] = list(leaves)
    while len(level) > 1:
        pairs: list[Tree] = [(level[n], level[n + 1]) for n in range(0, len(level) - 1, 2)]
        level = pairs + ([level[-1]] if len(level) % 2 else [])
    return level[0]


@dataclass(frozen=True)
class Explanation:
    """Which orders give certain bits."""

    simplest: tuple[SummationOrder, ...]
    """The simplest of them, all of one rank; empty where no order does."""
    count: int
    """How many orders give these bits."""
    tried: int


def explain(terms: Terms, results: Sequence[Array]) -> tuple[Explanation, ...]:
    """Return for each result the orders that give its bits in all elements.

    Raises ValueError for more terms than are enumerated.
    """
    if terms.count > MOST_TERMS:
        raise ValueError(f"{terms.count} terms are more than {MOST_TERMS}.")
    wanted = [np.ascontiguousarray(each, np.float32).view(np.uint32) for each in results]
    found: list[list[SummationOrder]] = [[] for _ in results]
    tried = 0
    for order, total in _candidates(terms):
        tried += 1
        bits = np.ascontiguousarray(total, np.float32).view(np.uint32)
        for place, each in enumerate(wanted):
            if np.array_equal(bits, each):
                found[place].append(order)
    return tuple(_explanation(orders, tried) for orders in found)


def _explanation(orders: Sequence[SummationOrder], tried: int) -> Explanation:
    least = min((each.rank for each in orders), default=None)
    simplest = tuple(each for each in orders if each.rank == least)
    return Explanation(simplest, len(orders), tried)


def _candidates(terms: Terms) -> Iterator[tuple[SummationOrder, Array]]:
    bias = terms.bias is not None
    every = list(trees(terms.count + bias))
    ways = (ROUNDED, FUSED, FUSED_OTHER) if _has_products(terms) else (ROUNDED,)
    for products in ways:
        evaluation = Evaluation(terms, products)
        for tree in every:
            yield described(tree, terms.count, bias, products), evaluation.sum(tree)
    exact = [_exact(terms, element) for element in range(terms.left.shape[1])]
    plain = described(_in_order(terms.count + bias), terms.count, bias, ONCE)
    added = [] if terms.bias is None else [Fraction(float(each)) for each in terms.bias]
    whole = [one + more for one, more in zip(exact, added, strict=True)] if added else exact
    yield plain, np.array([_nearest(each) for each in whole], np.float32)
    if terms.bias is not None:
        then = described(_in_order(terms.count + bias), terms.count, bias, ONCE_THEN_BIAS)
        yield then, np.array([_nearest(each) for each in exact], np.float32) + terms.bias


def _in_order(count: int) -> Tree:
    tree: Tree = 0
    for leaf in range(1, count):
        tree = (tree, leaf)
    return tree


def _has_products(terms: Terms) -> bool:
    return not (np.all(terms.left == 1) or np.all(terms.right == 1))


def _exact(terms: Terms, element: int) -> Fraction:
    pairs = zip(terms.left[:, element], terms.right[:, element], strict=True)
    return sum((Fraction(float(a)) * Fraction(float(b)) for a, b in pairs), Fraction(0))


def _nearest(value: Fraction) -> np.float32:
    """Round a fraction to float32, to nearest, ties to even."""
    near = np.float32(float(value))
    sides = (np.nextafter(near, np.float32(side)) for side in (-np.inf, np.inf))
    finite = [each for each in (near, *sides) if np.isfinite(each)]

    def distance(each: np.float32) -> tuple[Fraction, int]:
        return abs(Fraction(float(each)) - value), int(each.view(np.uint32)) & 1

    return min(finite, key=distance)
