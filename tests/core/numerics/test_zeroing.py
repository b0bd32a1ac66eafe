"""Low mantissa bits zeroed: by bits, and by arithmetic in a graph, against hand-made numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from xbackend.converters import onnx_to_zeroed
from xbackend.errors import UsageError
from xbackend.numerics.zeroing import has_low_mantissa_bits, zero_mantissa_bits
from xbackend.plugins.converter import ConversionRequest

ULP = 2.0**-23


def by_scalars(number: float, bits: int, rounding: str) -> float:
    """Round a float32 by Python's own integers and fractions: the oracle."""
    from fractions import Fraction

    exact = Fraction(number)
    if not exact:
        return number
    size, exponent = abs(exact), 0
    while size >= 2:
        size, exponent = size / 2, exponent + 1
    while size < 1:
        size, exponent = size * 2, exponent - 1
    steps = size * 2 ** (23 - bits)
    whole = int(steps)
    rest = steps - whole
    if rounding == "nearest" and (rest > Fraction(1, 2) or (rest == Fraction(1, 2) and whole % 2)):
        whole += 1
    value = Fraction(whole) / 2 ** (23 - bits) * Fraction(2) ** exponent
    return float(value if exact > 0 else -value)


@pytest.fixture
def hard() -> Any:
    """Numbers that are hard to round: ties, powers of two and their neighbours, both signs."""
    generator = np.random.Generator(np.random.PCG64(7))
    powers = np.float32(2.0) ** np.arange(-9, 10, dtype=np.float32)
    ties = np.float32([1 + ULP * (2 * k + 1) * 2**n for n in range(8) for k in range(3)])
    wild = generator.standard_normal(150).astype(np.float32)
    near = [np.nextafter(powers, np.float32(edge)) for edge in (0, np.inf)]
    numbers = np.concatenate([powers, *near, ties, wild])
    return np.concatenate([numbers, -numbers, np.float32([0.0, -0.0])])


@pytest.mark.parametrize("rounding", ["nearest", "zero"])
def test_bits_are_zeroed_as_fractions_are_rounded(hard: Any, rounding: str) -> None:
    for bits in (1, 2, 5, 12, 22):
        wanted = [by_scalars(float(each), bits, rounding) for each in hard]
        assert zero_mantissa_bits(hard, bits, rounding).tolist() == wanted


def test_infinities_and_nan_stay_and_other_formats_too() -> None:
    odd = np.array([np.inf, -np.inf, np.nan], np.float32)
    assert zero_mantissa_bits(odd, 20).view(np.uint32).tolist() == odd.view(np.uint32).tolist()
    wide = np.array([1 / 3])
    assert zero_mantissa_bits(wide, 20) is wide
    assert not has_low_mantissa_bits(odd, 23)


def test_the_sign_of_zero_stays() -> None:
    assert zero_mantissa_bits(np.float32([-0.0]), 9).view(np.uint32).tolist() == [1 << 31]


def convert(tmp_path: Path, model: onnx.ModelProto, **options: Any) -> onnx.ModelProto:
    """Run the converter in this process."""
    source = tmp_path / "source.onnx"
    onnx.save(model, source)
    request = ConversionRequest(source, "onnx", "onnx-zeroed", tmp_path, options=options)
    onnx_to_zeroed.convert(request)
    return onnx.load(tmp_path / "model.onnx")


def summing(weights: Any) -> onnx.ModelProto:
    """Return y = relu(x + w)."""
    value = helper.make_tensor_value_info
    ends = [value(name, TensorProto.FLOAT, weights.shape) for name in "xy"]
    nodes = [
        helper.make_node("Add", ["x", "w"], ["sum"], name="sum"),
        helper.make_node("Relu", ["sum"], ["y"], name="y"),
    ]
    tensors = [numpy_helper.from_array(weights, "w")]
    graph = helper.make_graph(nodes, "sum", ends[:1], ends[1:], tensors)
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize("rounding", ["nearest", "zero"])
@pytest.mark.parametrize("bits", [2, 3, 12, 21])
def test_the_graphs_arithmetic_is_the_operation_on_bits(
    tmp_path: Path, hard: Any, bits: int, rounding: str
) -> None:
    model = convert(tmp_path, summing(np.zeros_like(hard)), activations=bits, rounding=rounding)
    evaluator = ReferenceEvaluator(model)
    (found,) = evaluator.run(["sum"], {"x": hard})
    wanted = zero_mantissa_bits(hard + np.float32(0), bits, rounding)
    assert found.view(np.uint32).tolist() == wanted.view(np.uint32).tolist()


def test_only_what_computes_is_rounded_and_names_stay(tmp_path: Path) -> None:
    model = convert(tmp_path, summing(np.ones((1, 2), np.float32)), activations=4)
    made = {name: node.op_type for node in model.graph.node for name in node.output}
    assert made["sum/exact"] == "Add"
    assert made["sum"] == "Add"
    assert made["y"] == "Relu"
    assert not [name for name in made if name.startswith("y/")]
    assert [value.name for value in model.graph.output] == ["y"]
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)


def test_weights_are_zeroed_and_the_report_says_which_changed(tmp_path: Path) -> None:
    weights = np.float32([[1 + ULP, 2.0]])
    model = convert(tmp_path, summing(weights), weights=3, rounding="zero")
    (kept,) = [numpy_helper.to_array(each) for each in model.graph.initializer]
    assert kept.tolist() == [[1.0, 2.0]]
    assert len(model.graph.node) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"activation": 3}, "no option 'activation'"),
        ({"activations": 23}, "from 0 to 22"),
        ({"rounding": "up"}, "must be nearest or zero"),
        ({"activations": 1, "rounding": "zero"}, "cannot be cut off exactly"),
    ],
)
def test_an_option_that_cannot_be_is_one_sentence(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        convert(tmp_path, summing(np.ones((1, 2), np.float32)), **options)
