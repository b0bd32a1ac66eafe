"""Which order of summation gives each side's bits, told of one small node."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from xbackend.numerics.summation import BIAS_FIRST, BIAS_LAST, FUSED, IN_ORDER, ROUNDED
from xbackend.reduction.summation import SummationFacts, summation_facts
from xbackend.reports.wording.summation import summation_sentence
from xbackend.worker.graph import Graph, Node
from xbackend.worker.tensor import Tensor, from_numpy

EPS = 2.0**-24


def tensor(values: Any) -> Tensor:
    return from_numpy(np.asarray(values, np.float32))


def facts(
    operator: str, inputs: list[Any], one: Any, other: Any, **attributes: Any
) -> SummationFacts | None:
    """Explain two results of one node."""
    names = tuple("xwb"[: len(inputs)])
    held = {
        name: each if isinstance(each, Tensor) else tensor(each)
        for name, each in zip(names, inputs, strict=True)
    }
    node = Node(operator, "", "", names, ("y",), attributes)
    return summation_facts(Graph(17, (), (), {}, (node,)), held, (tensor(one), tensor(other)))


def test_a_convolution_that_begins_with_its_bias_or_adds_it_last() -> None:
    # Products EPS and EPS, bias 1: last 1 + 2 EPS, first 1 + EPS = 1, twice.
    found = facts("Conv", [[[[EPS, EPS]]], [[[1.0, 1.0]]], [1.0]], [[[1 + 2 * EPS]]], [[[1.0]]])
    assert found is not None
    one, other = (each.simplest[0] for each in found.sides)
    assert (one.kind, one.bias, one.products) == (IN_ORDER, BIAS_LAST, ROUNDED)
    assert (other.kind, other.bias, other.products) == (IN_ORDER, BIAS_FIRST, ROUNDED)
    assert found.right == (True, True)
    assert summation_sentence(found, ("ort", "torch")) == (
        "One sum of 2 terms and a bias, all orders tried: ort rounds each product, adds in order, "
        "adds the bias last (3 of 5 orders give its bits); torch rounds each product, adds in "
        "order, begins with the bias (2 of 5 orders give its bits); both round correctly."
    )


def test_a_matrix_product_whose_products_are_fused() -> None:
    # 1 * -1 + a * a with a = 1 + 2^-12: a * a is 1 + 2^-11 + 2^-24, rounded 1 + 2^-11.
    a = 1 + 2.0**-12
    found = facts("MatMul", [[[1.0, a]], [[-1.0], [a]]], [[2.0**-11]], [[2.0**-11 + EPS]])
    assert found is not None
    assert [each.simplest[0].products for each in found.sides] == [ROUNDED, FUSED]


def test_gemm_reads_its_matrices_as_told() -> None:
    # Transposed, B is [[EPS], [EPS]]; alpha and beta are 1.
    told = {"transB": 1, "alpha": 1.0, "beta": 1.0}
    found = facts("Gemm", [[[1.0, 1.0]], [[EPS, EPS]], [1.0]], [[1 + 2 * EPS]], [[1.0]], **told)
    assert found is not None
    assert [each.simplest[0].bias for each in found.sides] == [BIAS_LAST, BIAS_FIRST]


def test_a_padded_window_sees_zeros() -> None:
    # Kernel 1 1 1 at the left edge: 0 + 1 + EPS = 1; in the middle 1 + EPS + EPS by order.
    x = [[[1.0, EPS, EPS]]]
    attributes = {"pads": [1, 1], "strides": [1], "dilations": [1], "kernel_shape": [3]}
    right = [[[1.0, 1.0, 2 * EPS]]]  # in order: (1 + EPS) + EPS = 1
    found = facts(
        "Conv", [x, [[[1.0, 1.0, 1.0]]]], right, [[[1.0, 1 + 2 * EPS, 2 * EPS]]], **attributes
    )
    assert found is not None
    assert found.terms == 3
    assert found.sides[0].simplest[0].kind == IN_ORDER
    assert found.sides[1].simplest[0].kind != IN_ORDER


def test_a_sum_along_an_axis_has_no_products() -> None:
    axes = Tensor("int64", np.int64([1]))
    found = facts("ReduceSum", [[[1.0, EPS, EPS]], axes], [[1.0]], [[1 + 2 * EPS]], keepdims=1)
    assert found is not None
    assert not found.bias
    assert found.sides[0].simplest[0].kind == IN_ORDER


def test_what_rounding_cannot_make_is_told() -> None:
    found = facts("MatMul", [[[1.0, 1.0]], [[1.0], [1.0]]], [[2.0]], [[2.5]])
    assert found is not None
    assert (found.sides[1].simplest, found.right) == ((), (True, False))
    assert "no order or fusion in float32 gives the bits of b" in summation_sentence(
        found, ("a", "b")
    )
    assert "b errs by more than rounding can" in summation_sentence(found, ("a", "b"))


@pytest.mark.parametrize(
    ("operator", "inputs"),
    [
        ("MatMul", [np.ones((1, 7)), np.ones((7, 1))]),
        ("Relu", [[1.0]]),
    ],
    ids=["seven terms", "no sum"],
)
def test_nothing_is_said_of_what_is_no_small_sum(operator: str, inputs: list[Any]) -> None:
    assert facts(operator, inputs, [[1.0]], [[2.0]]) is None
