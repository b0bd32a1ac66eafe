"""Orders of summation: all of them, by float32 arithmetic that was worked out by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xbackend.numerics.summation import (
    BACKWARDS,
    BIAS_FIRST,
    BIAS_LAST,
    FUSED,
    IN_ORDER,
    PAIRWISE,
    ROUNDED,
    Terms,
    explain,
    fused_multiply_add,
    trees,
)

EPS = 2.0**-24
"""Half an ULP of 1: 1 + EPS rounds to 1, as the tie goes to the even number."""


def numbers(*values: float) -> np.ndarray:
    """Return one element's terms, or one result."""
    return np.array([[value] for value in values], np.float32)


def plain(*values: float, bias: float | None = None) -> Terms:
    """Return terms that are no products."""
    left = numbers(*values)
    return Terms(left, np.ones_like(left), None if bias is None else np.float32([bias]))


def result(value: float) -> np.ndarray:
    return np.float32([value])


@pytest.mark.parametrize(("leaves", "count"), [(1, 1), (2, 1), (3, 3), (4, 15), (5, 105), (6, 945)])
def test_there_are_as_many_orders_as_binary_trees(leaves: int, count: int) -> None:
    found = list(trees(leaves))
    assert len(found) == len(set(map(canonical, found))) == count


def canonical(tree: object) -> object:
    """Return a tree as nested sets."""
    return frozenset(map(canonical, tree)) if isinstance(tree, tuple) else tree


def test_the_bias_first_or_last_is_told_apart() -> None:
    # (EPS + EPS) + 1 = 1 + 2 EPS, a number of float32; (1 + EPS) + EPS = 1 + EPS = 1.
    last, first = explain(plain(EPS, EPS, bias=1.0), [result(1 + 2 * EPS), result(1.0)])
    assert [(each.kind, each.bias) for each in last.simplest] == [(IN_ORDER, BIAS_LAST)]
    assert [(each.kind, each.bias) for each in first.simplest] == [(IN_ORDER, BIAS_FIRST)]
    assert (last.count, first.count) == (3, 2)  # last by its tree, by one and two roundings


def test_forwards_and_backwards_are_told_apart() -> None:
    # ((1 + EPS) + EPS) + EPS = 1; ((EPS + EPS) + EPS) + 1 = 1 + 3 EPS, a tie, to 1 + 4 EPS.
    forwards, backwards = explain(plain(1.0, EPS, EPS, EPS), [result(1.0), result(1 + 4 * EPS)])
    assert [each.kind for each in forwards.simplest] == [IN_ORDER]
    assert [(each.kind, each.products) for each in backwards.simplest] == [(BACKWARDS, ROUNDED)]


def test_pairs_are_told() -> None:
    # (1 + EPS) + (EPS + EPS) = 1 + 2 EPS, and no other order of four such terms gives it by pairs.
    terms = plain(1.0, EPS, EPS, EPS)
    (found,) = explain(terms, [result(1 + 2 * EPS)])
    assert PAIRWISE in {each.kind for each in found.simplest}


def test_fused_products_are_told_from_rounded_ones() -> None:
    # a*a = 1 + 2^-11 + 2^-24, in float32 1 + 2^-11 (a tie to even); 1 more of -1 shows the rest.
    a = 1 + 2.0**-12
    left = numbers(1.0, a)
    terms = Terms(left, numbers(-1.0, a))
    rounded, fused = explain(terms, [result(2.0**-11), result(2.0**-11 + 2.0**-24)])
    assert [each.products for each in rounded.simplest] == [ROUNDED]
    assert [each.products for each in fused.simplest] == [FUSED]


def test_bits_that_no_order_gives_have_none() -> None:
    (found,) = explain(plain(1.0, EPS), [result(2.0)])
    assert (found.simplest, found.count) == ((), 0)
    assert found.tried == 2  # one tree, and one rounding of the exact sum


def test_an_order_must_explain_all_elements() -> None:
    # The first element is any order's; the second is 1 only if the bias comes first.
    left = np.float32([[0.0, EPS], [0.0, EPS]])
    terms = Terms(left, np.ones_like(left), np.float32([1.0, 1.0]))
    (found,) = explain(terms, [np.float32([1.0, 1.0])])
    assert {each.bias for each in found.simplest} == {BIAS_FIRST}


def test_seven_terms_are_too_many() -> None:
    with pytest.raises(ValueError, match="7 terms are more than 6"):
        explain(plain(*[1.0] * 7), [])


floats = st.floats(width=32, allow_nan=False, allow_infinity=False).filter(
    lambda x: x == 0 or 1e-15 < abs(x) < 1e15
)


@given(floats, floats, floats)
def test_a_fused_multiply_add_rounds_the_exact_value_once(a: float, b: float, c: float) -> None:
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    found = fused_multiply_add(*(np.float32([each]) for each in (a, b, c)))[0]
    near = [np.nextafter(found, np.float32(side)) for side in (-np.inf, np.inf)]
    far = abs(Fraction(float(found)) - exact)
    for other in near:
        distance = abs(Fraction(float(other)) - exact)
        even = int(found.view(np.uint32)) % 2 == 0
        assert far < distance or (far == distance and even)
