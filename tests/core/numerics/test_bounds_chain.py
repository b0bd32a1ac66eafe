"""Errors are carried through several nodes: any order of their sums rounds, a fault does not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from xbackend.numerics.bounds.bound import Layer
from xbackend.numerics.bounds.composed.chain import chain_bound
from xbackend.numerics.bounds.judge import judge
from xbackend.numerics.bounds.judgement import BEYOND, ROUNDING
from xbackend.worker.graph import Node

Array = np.ndarray[Any, Any]
F32 = np.float32
ERF = np.vectorize(math.erf, otypes=[float])


def node(operator: str, inputs: str, output: str, **told: Any) -> Node:
    return Node(operator, "", output, tuple(inputs.split()), (output,), told)


GELU = [
    node("MatMul", "x w", "product"),
    node("Add", "product b", "sum"),
    node("Div", "sum root", "scaled"),
    node("Erf", "scaled", "erf"),
    node("Add", "erf one", "more"),
    node("Mul", "sum half", "halved"),
    node("Mul", "halved more", "y"),
]


def verdict(recorded: Array, known: dict[str, Array]) -> str:
    wide = {name: array.astype(float) for name, array in known.items()}
    bound = chain_bound(GELU, wide, {}, "y", "float32")
    shape = recorded.shape
    layer = Layer("Mul", {}, [], [], shape, "float32", recorded=recorded.astype(float))
    return judge(layer, bound).verdict


def given(random: np.random.Generator) -> dict[str, Array]:
    terms = int(random.integers(1, 200))
    scalars = {"root": math.sqrt(2), "one": 1.0, "half": 0.5}
    arrays = {"x": (3, terms), "w": (terms, 5), "b": (5,)}
    return {
        **{name: random.standard_normal(of).astype(F32) for name, of in arrays.items()},
        **{name: np.asarray(value, F32) for name, value in scalars.items()},
    }


def computed(known: dict[str, Array], random: np.random.Generator) -> Array:
    """Compute in float32, the sum in a random order."""
    order = random.permutation(known["x"].shape[1])
    products = known["x"][:, order, None] * known["w"][None, order]
    total = np.add.accumulate(products, axis=1)[:, -1] + known["b"]
    return (total * F32(0.5)) * (ERF(total / known["root"]).astype(F32) + F32(1))


def test_no_order_of_a_chains_sums_is_a_fault_and_a_wrong_weight_is_one() -> None:
    random = np.random.default_rng(0)
    for _ in range(60):
        known = given(random)
        assert verdict(computed(known, random), known) == ROUNDING
        wrong = {**known, "b": known["b"] + F32(0.01)}
        assert verdict(computed(wrong, random), known) == BEYOND


def test_a_node_that_no_error_is_carried_through_is_named() -> None:
    with pytest.raises(LookupError, match="through Floor"):
        chain_bound([node("Floor", "x", "y")], {"x": np.ones(2)}, {}, "y", "float32")


def test_a_convolution_in_a_chain_is_the_same_sum() -> None:
    x, w = np.ones((1, 2, 4, 4)), np.ones((3, 2, 3, 3))
    nodes = [node("Conv", "x w", "c", pads=[1, 1, 1, 1]), node("Relu", "c", "y")]
    found = chain_bound(nodes, {"x": x, "w": w}, {}, "y", "float32")
    assert found.exact is not None
    assert found.terms == 18
    assert found.exact[0, 0].tolist() == [
        [8, 12, 12, 8], [12, 18, 18, 12], [12, 18, 18, 12], [8, 12, 12, 8]
    ]  # fmt: skip
