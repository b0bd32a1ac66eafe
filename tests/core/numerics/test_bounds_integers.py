"""Arithmetic on integers has one value: cut off toward zero, wrapped around, never rounded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from xbackend.numerics.bounds.bound import Layer
from xbackend.numerics.bounds.composed.chain import chain_bound
from xbackend.numerics.bounds.judge import judge
from xbackend.numerics.bounds.judgement import BEYOND, EXACT, Judgement
from xbackend.numerics.bounds.rules import rule_for
from xbackend.worker.graph import Node

I32 = np.iinfo(np.int32)


def judged(operator: str, inputs: list[Any], recorded: Any, **told: Any) -> Judgement:
    given = np.asarray(recorded)
    dtype = str(given.dtype)
    shapes = [np.shape(each) for each in inputs]
    layer = Layer(operator, told, inputs, shapes, given.shape, dtype, recorded=given)
    rule = rule_for(operator, "", dtype)
    assert rule is not None
    return judge(layer, rule.bound(layer))


def whole(*values: int, dtype: str = "int32") -> Any:
    return np.array(values, dtype)


CASES: list[tuple[Any, ...]] = [
    ("Div", [whole(-7, 7, -7, 7), whole(3, -3, -3, 3)], whole(-2, -2, 2, 2), {}),
    ("Div", [whole(2**62 + 1, dtype="int64"), whole(1, dtype="int64")],
     whole(2**62 + 1, dtype="int64"), {}),
    ("Div", [whole(7, dtype="uint8"), whole(2, dtype="uint8")], whole(3, dtype="uint8"), {}),
    ("Mod", [whole(-7, 7, -7), whole(3, -3, -3)], whole(2, -2, -1), {}),
    ("Mod", [whole(-7, 7, I32.min), whole(3, -3, -1)], whole(-1, 1, 0), {"fmod": 1}),
    ("Pow", [whole(-3, 0, -1, 2), whole(3, 0, 1001, 30)], whole(-27, 1, -1, 2**30), {}),
    ("Add", [whole(I32.max), whole(1)], whole(I32.min), {}),
    ("Sub", [whole(I32.min), whole(1)], whole(I32.max), {}),
    ("Mul", [whole(2_000_000_000), whole(3)], whole(1_705_032_704), {}),
    ("Add", [whole(200, dtype="uint8"), whole(100, dtype="uint8")], whole(44, dtype="uint8"), {}),
    ("Sum", [whole(1), whole(2), whole(3)], whole(6), {}),
    ("MatMul", [np.array([[2**20, 1]], np.int32), np.array([[2**12], [5]], np.int32)],
     np.array([[5]], np.int32), {}),
    ("Gemm", [np.array([[2, 3]]), np.array([[5, 7]]), np.array([1])], np.array([[32]]),
     {"transB": 1}),
    ("ReduceSum", [np.array([[1, 2], [3, 4]]), np.array([1])], np.array([3, 7]), {"keepdims": 0}),
    ("ReduceProd", [np.array([[2, 3]])], np.array([[6]]), {}),
    ("CumSum", [np.array([1, 2, 3]), np.array(0)], np.array([0, 1, 3]), {"exclusive": 1}),
    ("CumSum", [np.array([1, 2, 3]), np.array(0)], np.array([6, 5, 3]), {"reverse": 1}),
    ("Cast", [np.array([2**32 + 5, -1])], whole(5, -1), {}),
    ("Cast", [np.array([-2.75, 2.75])], whole(-2, 2), {}),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case[0]))
def test_whole_numbers_are_exact_and_one_step_is_a_fault(case: tuple[Any, ...]) -> None:
    operator, inputs, right, told = case
    found = judged(operator, inputs, right, **told)
    assert (found.verdict, found.worst, found.undefined) == (EXACT, None, 0)
    other = right.copy()
    other.reshape(-1)[0] ^= 1
    wrong = judged(operator, inputs, other, **told)
    assert (wrong.verdict, wrong.beyond, wrong.error) == (BEYOND, 1, 1.0)


def test_what_onnx_leaves_open_is_counted_and_no_fault() -> None:
    found = judged("Div", [whole(7, I32.min, 6), whole(0, -1, 3)], whole(123, 5, 2))
    assert (found.verdict, found.undefined) == (EXACT, 2)
    assert judged("Mod", [whole(7), whole(0)], whole(9)).undefined == 1
    assert judged("Pow", [whole(2, 2), whole(31, -1)], whole(0, 0)).undefined == 2
    assert judged("Cast", [np.array([np.nan, 3e9, 1.0])], whole(0, 0, 1)).undefined == 2
    wrong = judged("Div", [whole(7, 6), whole(0, 3)], whole(123, 3))
    assert (wrong.verdict, wrong.beyond, wrong.undefined) == (BEYOND, 1, 1)
    assert wrong.worst is not None
    assert (wrong.worst.index, wrong.worst.recorded, wrong.worst.exact) == ((1,), 3.0, 2.0)


def test_a_step_that_float64_cannot_hold_is_a_fault() -> None:
    a, b = whole(2**62, dtype="int64"), whole(1, dtype="int64")
    found = judged("Add", [a, b], whole(2**62, dtype="int64"))
    assert (found.verdict, found.beyond) == (BEYOND, 1)


def test_a_mean_of_whole_numbers_is_not_judged() -> None:
    with pytest.raises(LookupError, match="how ReduceMean rounds to whole numbers"):
        judged("ReduceMean", [np.array([[1, 2]])], np.array([[1]]))


def test_an_input_that_is_not_known_is_a_reason_for_every_rule() -> None:
    for operator in ("BatchNormalization", "Add", "Softmax", "Gelu", "Relu", "Conv", "Cast"):
        rule = rule_for(operator)
        assert rule is not None
        layer = Layer(operator, {"epsilon": 1e-5}, [None] * 5, [(1,)] * 5, (1,), "float32")
        with pytest.raises(LookupError, match=r"not (recorded|known)"):
            rule.bound(layer)


def test_whole_numbers_stay_whole_through_several_nodes() -> None:
    """A rounded-up quotient as -floor(-a / b): of 7 and 3 it is 3, of -7 and 3 it is -2."""

    def node(operator: str, inputs: str, output: str) -> Node:
        return Node(operator, "", "", tuple(inputs.split()), (output,), {})

    nodes = [node("Neg", "a", "n"), node("Div", "n b", "d"), node("Neg", "d", "y")]
    known = {"a": whole(7, -7, 6), "b": whole(3)}
    bound = chain_bound(nodes, known, {}, "y", "int32")
    assert bound.exact is not None
    assert (bound.exact.tolist(), str(bound.exact.dtype)) == ([2, -2, 2], "int32")  # ONNX cuts off
    with pytest.raises(LookupError, match="division by zero"):
        chain_bound(nodes, {"a": whole(1), "b": whole(0)}, {}, "y", "int32")
    cast = Node("Cast", "", "", ("y",), ("f",), {"to": "float32"})
    found = chain_bound([*nodes, cast], known, {}, "f", "float32")
    assert found.exact is not None
    assert found.exact.tolist() == [2.0, -2.0, 2.0]
    root = node("Sqrt", "d", "y")
    with pytest.raises(LookupError, match="no whole numbers are carried through"):
        chain_bound([*nodes[:2], root], known, {}, "y", "int32")
