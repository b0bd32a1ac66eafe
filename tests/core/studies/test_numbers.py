"""What studies compute with: exact layers and drawn numbers, held against scalar arithmetic."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from xbackend.errors import UsageError
from xbackend.models.generated.random_numbers import uniform_signed, uniform_unit
from xbackend.preparation.model import find_model
from xbackend.store.store import Store
from xbackend.studies.paper.convolutions import Convolution, write_model
from xbackend.studies.paper.exact_inference import read_layer
from xbackend.studies.paper.multiplications import convolution_configs
from xbackend.studies.paper.random_arrays import glorot, moments, normal


def rounded(value: Fraction) -> np.float32:
    """Return the float32 next to a number, by way of float64."""
    return np.float32(value.numerator / value.denominator)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A transposition, a convolution with padding, ReLU, pooling, and the layer of interest."""
    weights = {"w": uniform_signed("w", (2, 3, 2, 2)), "b": uniform_signed("b", (2,))}
    weights |= {"v": uniform_signed("v", (1, 2, 1, 1)), "a": uniform_signed("a", (1,))}
    node = helper.make_node
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        node("Conv", ["t", "w", "b"], ["c"], pads=[0, 0, 1, 1]),
        node("Relu", ["c"], ["r"]),
        node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p", "v", "a"], ["wanted"]),
        node("Sigmoid", ["wanted"], ["s"]),
        node("Conv", ["s", "u", "a"], ["late"]),
    ]
    weights["u"] = uniform_signed("u", (1, 1, 1, 1))
    value = helper.make_tensor_value_info
    ends = [value("x", TensorProto.FLOAT, [1, 4, 4, 3])], [value("late", TensorProto.FLOAT, None)]
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    path = tmp_path / "small.onnx"
    onnx.save(helper.make_model(helper.make_graph(nodes, "small", *ends, tensors)), path)
    return path


def test_what_reaches_a_layer_is_exact_and_rounded_once(small: Path) -> None:
    samples = uniform_signed("samples", (2, 4, 4, 3))
    weights, bias, read = read_layer(small, "wanted", samples)
    assert weights.tobytes() == uniform_signed("v", (1, 2, 1, 1)).tobytes()
    assert bias.tobytes() == uniform_signed("a", (1,)).tobytes()
    w, b = uniform_signed("w", (2, 3, 2, 2)), uniform_signed("b", (2,))
    for sample in range(2):
        for channel in range(2):
            computed = np.zeros((4, 4), np.float32)
            for row in range(4):
                for column in range(4):
                    total = Fraction(float(b[channel]))
                    for depth in range(3):
                        for i in range(min(2, 4 - row)):
                            for j in range(min(2, 4 - column)):
                                factor = Fraction(float(w[channel, depth, i, j]))
                                x = samples[sample, row + i, column + j, depth]
                                total += factor * Fraction(float(x))
                    computed[row, column] = max(rounded(total), np.float32(0))
            pooled = [[computed[r : r + 2, c : c + 2].max() for c in (0, 2)] for r in (0, 2)]
            assert read[sample, channel].tobytes() == np.array(pooled, "f4").tobytes()


def test_a_layer_that_is_none_or_too_late_is_refused(small: Path) -> None:
    samples = uniform_signed("samples", (1, 4, 4, 3))
    with pytest.raises(UsageError, match=r"no convolution 'p' .* Convolutions: c, wanted, late"):
        read_layer(small, "p", samples)
    with pytest.raises(UsageError, match=r"after 's', a Sigmoid"):
        read_layer(small, "late", samples)


def test_the_built_in_network_gives_nearly_what_a_reference_of_onnx_gives() -> None:
    from onnx.reference import ReferenceEvaluator

    model = find_model("cifar10-small")
    assert model.samples is not None
    samples = np.load(model.samples)
    _, _, read = read_layer(model.files["onnx"], "conv2", samples)
    graph = onnx.load(model.files["onnx"])
    graph.graph.output.append(helper.make_tensor_value_info("pool1", TensorProto.FLOAT, None))
    reference = ReferenceEvaluator(graph)
    for place, sample in enumerate(samples):
        (wanted,) = reference.run(["pool1"], {graph.graph.input[0].name: sample[None]})
        np.testing.assert_allclose(read[place], wanted[0], rtol=0, atol=1e-6)


def test_nearly_normal_numbers_are_sums_of_twelve_rounded_once() -> None:
    drawn = normal("a name", (2, 3), 0.1, 0.7)
    parts = uniform_unit("a name", (12, 2, 3))
    for place in np.ndindex(2, 3):
        total = sum((Fraction(float(parts[(i, *place)])) for i in range(12)), Fraction(-6))
        assert drawn[place] == np.float32(float(total) * 0.7 + 0.1)
    many = normal("another", (100000,), 0.0, 1.0)
    mean, deviation = moments(many)
    assert abs(mean) < 0.02
    assert abs(deviation - 1) < 0.02
    assert 0.67 < float((abs(many) < 1).mean()) < 0.70


def test_keras_weights_stay_within_glorots_bound() -> None:
    drawn = glorot("a name", (5, 3, 5, 5))
    bound = (6 / (8 * 25)) ** 0.5
    assert 0.99 * bound < float(abs(drawn).max()) <= bound


def test_convolutions_have_about_as_many_multiplications_as_asked() -> None:
    wanted = [10**power for power in range(4, 9)]
    chosen = {"multiplications": wanted, "filters": [1, 3], "kernels": [2, 7], "channels": 3}
    found = convolution_configs(chosen)
    assert len(found) == 20
    for point in found:
        counted = point.filters * point.channels * point.kernel**2 * point.extent**2
        assert point.multiplications == counted
        assert 0.5 < counted / point.wanted <= 1.0


def test_a_model_has_an_output_for_each_convolution_and_the_same_bytes_again(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "store")
    store.create()
    weights = uniform_unit("w", (2, 3, 4, 4))
    both = [
        Convolution("one", "x", weights),
        Convolution("two", "x", weights, uniform_signed("b", (2,))),
    ]
    pictures = {"x": uniform_unit("x", (5, 3, 6, 6))}
    path = write_model(store, "net", both, pictures)
    assert write_model(store, "net", both, pictures) == path
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    shapes = [[d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.output]
    assert shapes == [[1, 2, 6, 6], [1, 2, 6, 6]]
    assert [len(node.input) for node in model.graph.node] == [2, 3]
