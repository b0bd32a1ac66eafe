"""How a graph becomes steps: what is refused, what computes on the host, what is let go."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from onnx import helper

from xbackend.backends.torch.program import Program, prepare_program, walk
from xbackend.testing.artifacts import make_artifact
from xbackend.worker.contract import Unsupported
from xbackend.worker.graph import read_graph
from xbackend.worker.tensor import from_numpy


def make(operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    return helper.make_node(operator, inputs, outputs, **attributes)


@pytest.fixture
def shapely(build: Any) -> Any:
    """Make a model that computes shapes from the shape of its input, as exporters write them."""
    nodes = [
        make("Relu", ["x"], ["r"]),
        make("Shape", ["r"], ["s"]),
        make("Gather", ["s", "one"], ["channels"], axis=0),
        make("Unsqueeze", ["channels", "first"], ["c"]),
        make("Cast", ["c"], ["f"], to=1),
        make("Mul", ["f", "half"], ["g"]),
        make("Cast", ["g"], ["i"], to=7),
        make("Concat", ["i", "rest"], ["t"], axis=0),
        make("Reshape", ["r", "t"], ["y"]),
        make("ConstantOfShape", ["t"], ["zeros"], value=_one(2.5)),
        make("Expand", ["column", "t"], ["wide"]),
        make("Sum", ["y", "zeros", "wide"], ["z"]),
    ]
    constants = {
        "one": np.asarray(1, np.int64),
        "first": np.asarray([0], np.int64),
        "half": np.asarray([0.5], np.float32),
        "rest": np.asarray([-1], np.int64),
        "column": np.asarray([[1.0]], np.float32),
    }
    constants["rest"] = np.asarray([12], np.int64)
    return build.model(nodes, {"x": np.zeros((1, 4, 6), np.float32)}, constants, ["z", "s"])


def _one(value: float) -> Any:
    return helper.make_tensor("value", 1, [1], [value])


def program_of(model: Any, folder: Any, device: str) -> Program:
    return prepare_program(read_graph(make_artifact(model, folder).folder), torch.device(device))


def test_shapes_are_computed_on_the_host_whatever_the_device(shapely: Any, tmp_path: Any) -> None:
    """A tensor on `meta` has no elements: whoever reads one there fails."""
    program = program_of(shapely, tmp_path, "meta")
    values = {**program.constants, "x": torch.zeros((1, 4, 6), device="meta")}
    walk(program.steps, values, {"z", "s", "t"})
    assert values["z"].device.type == "meta"
    assert values["z"].shape == (2, 12)
    assert values["s"].tolist() == [1, 4, 6]
    assert [step.node.operator for step in program.steps if step.host][:3] == [
        "Shape", "Gather", "Unsqueeze",
    ]  # fmt: skip


def test_shapes_that_a_graph_computes_are_right(shapely: Any, framework: Any) -> None:
    value = np.arange(24, dtype=np.float32).reshape(1, 4, 6)
    total, shape = framework.outputs(shapely, {"x": value})
    assert np.array_equal(total, value.reshape(2, 12) + 3.5)
    assert shape.tolist() == [1, 4, 6]
    assert shape.dtype == np.int64


def test_a_shape_that_comes_as_an_input_is_read(framework: Any, build: Any) -> None:
    inputs = {"x": np.arange(6, dtype=np.float32), "s": np.asarray([2, 3], np.int64)}
    (actual,) = framework.outputs(build.node("Reshape", inputs), inputs)
    assert actual.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_values_are_let_go_after_their_last_reader(shapely: Any, tmp_path: Any) -> None:
    program = program_of(shapely, tmp_path, "cpu")
    values = {**program.constants, "x": torch.zeros((1, 4, 6))}
    walk(program.steps, values, {"z", "s"})
    assert sorted(values) == ["s", "z"]


def test_everything_that_is_missing_is_named_at_once(framework: Any, build: Any) -> None:
    value = {"x": np.zeros((1, 2, 3), np.float32)}
    nodes = [
        make("Unique", ["x"], ["a"]),
        make("Dropout", ["a", "", "yes"], ["b"]),
        make("Bernoulli", ["b"], ["c"]),
        make("Unique", ["c"], ["d"]),
    ]
    model = build.model(nodes, value, {"yes": np.asarray(True)}, ["d"])
    with pytest.raises(Unsupported) as caught:
        framework.prepare(model)
    assert str(caught.value) == (
        "Backend 'torch' lacks what this model has: Bernoulli, Dropout with training_mode=1, which "
        "drops at random, Unique. Choose other backends with --backends."
    )


def test_a_window_over_four_axes_is_refused(framework: Any, build: Any) -> None:
    inputs = {"x": np.zeros((1, 1, 2, 2, 2, 2), np.float32)}
    model = build.node("Conv", inputs, {"w": np.zeros((1, 1, 1, 1, 1, 1), np.float32)})
    with pytest.raises(Unsupported, match="Conv over 4 spatial axes"):
        framework.prepare(model)


def test_a_format_without_kernels_is_refused_in_one_sentence(framework: Any, build: Any) -> None:
    inputs = {"a": np.asarray([5], np.uint16), "b": np.asarray([3], np.uint16)}
    with pytest.raises(Unsupported, match="lacks a kernel that this model needs"):
        framework.outputs(build.node("Sub", inputs), inputs)


def test_an_unread_mask_of_an_old_dropout_is_no_tap(framework: Any, build: Any) -> None:
    inputs = {"x": np.ones(3, np.float32)}
    nodes = [make("Dropout", ["x"], ["y", "mask"])]
    old, new = (build.model(nodes, inputs, {}, ["y"], opset) for opset in (10, 13))
    with framework.prepare(old) as session:
        assert session.taps == ("y",)
    with framework.prepare(new) as session:
        tapped = {name: tensor.array.tolist() for name, tensor in session.tap(
            {"x": from_numpy(inputs["x"])}, session.taps)}  # fmt: skip
    assert tapped == {"y": [1, 1, 1], "mask": [True, True, True]}


def test_an_output_may_be_an_input_or_a_constant(framework: Any, build: Any) -> None:
    value = np.asarray([1, -2], np.float32)
    nodes = [
        make("Constant", [], ["k"], value_floats=[3.0, 4.0]),
        make("Add", ["x", "k"], ["y"]),
    ]
    model = build.model(nodes, {"x": value}, {}, ["y", "k"])
    total, constant = framework.outputs(model, {"x": value})
    assert total.tolist() == [4, 2]
    assert constant.tolist() == [3, 4]


def test_the_callers_arrays_and_the_results_are_not_shared(framework: Any, build: Any) -> None:
    value = np.asarray([1, 2], np.float32)
    value.flags.writeable = False
    (actual,) = framework.outputs(build.node("Identity", {"x": value}), {"x": value})
    actual[0] = 9
    assert value.tolist() == [1, 2]
