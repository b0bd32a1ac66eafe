"""Right values that are computed in this process are those of ONNX's reference evaluator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from xbackend.diagnosis.certification import local
from xbackend.diagnosis.certification.local import LocalWeights, right_values
from xbackend.worker.graph import Node

Array = np.ndarray[Any, Any]
RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.standard_normal((2, 4, 11, 13))


def drawn(*shape: int) -> Array:
    return RANDOM.standard_normal(shape)


def reference(operator: str, inputs: list[Array], told: dict[str, Any]) -> Array:
    names = [f"i{n}" for n in range(len(inputs))]
    kinds = [TensorProto.DOUBLE if x.dtype.kind == "f" else TensorProto.INT64 for x in inputs]
    ends = [
        helper.make_tensor_value_info(name, kind, x.shape)
        for name, kind, x in zip(names, kinds, inputs, strict=True)
    ]
    out = helper.make_tensor_value_info("y", TensorProto.DOUBLE, None)
    node = helper.make_node(operator, names, ["y"], **told)
    made = helper.make_model(
        helper.make_graph([node], "g", ends, [out]), opset_imports=[helper.make_opsetid("", 17)]
    )
    (found,) = ReferenceEvaluator(made).run(None, dict(zip(names, inputs, strict=True)))
    return np.asarray(found)


def conv(group: int, kernel: int, stride: int, dilation: int, pad: int) -> tuple[Any, ...]:
    told = {
        "group": group, "kernel_shape": [kernel] * 2, "strides": [stride] * 2,
        "dilations": [dilation] * 2, "pads": [pad] * 4,
    }  # fmt: skip
    return "Conv", [IMAGE, drawn(8, 4 // group, kernel, kernel), drawn(8)], told


WINDOW = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
CASES: list[tuple[Any, ...]] = [
    conv(1, 3, 1, 1, 1),
    conv(2, 3, 2, 1, 0),
    conv(4, 3, 1, 2, 2),
    conv(1, 1, 2, 1, 0),
    conv(1, 5, 2, 1, 2),
    ("Conv", [IMAGE, drawn(3, 4, 2, 2)], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("AveragePool", [IMAGE], WINDOW),
    ("AveragePool", [IMAGE], {**WINDOW, "count_include_pad": 1}),
    ("MaxPool", [IMAGE], WINDOW),
    ("GlobalAveragePool", [IMAGE], {}),
    ("ReduceMean", [IMAGE], {"axes": [1, 3], "keepdims": 0}),
    ("ReduceSum", [IMAGE, np.array([-1])], {}),
    ("Softmax", [IMAGE], {"axis": 1}),
    ("Pad", [IMAGE, np.array([0, 0, 1, 2, 0, 0, 1, 3])], {}),
    ("Concat", [IMAGE, IMAGE], {"axis": 1}),
    ("Clip", [IMAGE, np.array(-0.5), np.array(0.25)], {}),
    ("LeakyRelu", [IMAGE], {"alpha": 0.125}),
    *((name, [np.abs(IMAGE)], {}) for name in ("Sigmoid", "Tanh", "Exp", "Log", "Neg", "Abs")),
    ("MatMul", [IMAGE, drawn(13, 4)], {}),
    ("Gemm", [drawn(4, 3), drawn(5, 4), drawn(5)],
     {"alpha": 0.5, "beta": 2.0, "transA": 1, "transB": 1}),
]  # fmt: skip


@pytest.mark.parametrize("block", [1 << 23, 1 << 11])
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case[0]))
def test_right_values_and_magnitudes_are_those_of_onnx(
    case: tuple[Any, ...], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator, inputs, told = case
    monkeypatch.setattr(local, "BLOCK_BYTES", block)
    found = right_values(Node(operator, "", "", (), (), told), inputs, LocalWeights())
    np.testing.assert_allclose(
        found.exact, reference(operator, inputs, told), rtol=1e-11, atol=1e-11
    )
    if found.magnitude is not None:
        sizes = [np.abs(each) if each.dtype.kind == "f" else each for each in inputs]
        wanted = reference(operator, sizes, told)
        assert (found.magnitude >= wanted * (1 - 1e-12)).all()  # never less: it makes the bound
        np.testing.assert_allclose(found.magnitude, wanted, rtol=1e-4)


@pytest.mark.filterwarnings("error")
def test_the_largest_of_integers_is_found_beside_padding() -> None:
    x = np.array([[[[-3, -5], [-7, -9]]]])
    node = Node("MaxPool", "", "", (), (), WINDOW)
    found = right_values(node, [x], LocalWeights())
    assert found.exact.tolist() == [[[[-3.0]]]]
