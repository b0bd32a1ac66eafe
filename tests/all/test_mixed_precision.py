"""Layers that must stay in float32: found, kept by the converter, and tried on two backends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import xbackend as xb

WIDTH = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a LayerNorm written out, one row of whose input is 600 times the others."""
    path = tmp_path_factory.mktemp("mixed")
    random = np.random.default_rng(5)
    constants = {
        "w": (random.standard_normal((WIDTH, WIDTH)) * 0.2).astype(np.float32),
        "two": np.float32(2),
        "eps": np.float32(1e-5),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("ReduceMean", ["h"], ["mu"], axes=[-1]),
        helper.make_node("Sub", ["h", "mu"], ["d"]),
        helper.make_node("Pow", ["d", "two"], ["sq"]),
        helper.make_node("ReduceMean", ["sq"], ["var"], axes=[-1]),
        helper.make_node("Add", ["var", "eps"], ["ve"]),
        helper.make_node("Sqrt", ["ve"], ["sd"]),
        helper.make_node("Div", ["d", "sd"], ["y"]),
    ]
    shape = [1, 4, WIDTH]
    graph = helper.make_graph(
        nodes,
        "ln",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path / "ln.onnx")
    x = random.standard_normal((2, 4, WIDTH)).astype(np.float32)
    x[0, 1] *= 600
    np.save(path / "ln.npy", x)
    return path


@pytest.fixture(scope="module")
def found(folder: Path) -> object:
    return xb.mixed_precision(
        folder / "ln.onnx",
        inputs=folder / "ln.npy",
        backends=["ort", "torch"],
        store=folder / "store",
    )


def test_the_layers_are_those_beyond_the_format_and_their_reader(
    found: object, folder: Path
) -> None:
    constants = {
        tensor.name: numpy_helper.to_array(tensor).astype(np.float64)
        for tensor in onnx.load(folder / "ln.onnx").graph.initializer
    }
    h = np.load(folder / "ln.npy").astype(np.float64) @ constants["w"]
    square = (h - h.mean(-1, keepdims=True)) ** 2
    assert square.max() > square.mean(-1).max() > 65520 > np.sqrt(square.mean(-1)).max()
    assert found.option == "sq,var,ve,sd"
    assert [each.reason for each in found.kept] == ["overflows"] * 3 + ["reads what overflows"]
    assert found.kept[0].peak == pytest.approx(square.max(), rel=1e-12)
    assert found.hopeless == ()


def test_nothing_overflows_with_them_kept_and_the_error_is_less(found: object) -> None:
    for trial in found.trials:
        assert trial.not_finite[0] > 0
        assert trial.not_finite[1] == 0
        before, after = trial.errors
        assert after.relative < 1e-3
        assert before.relative is None or after.relative <= before.relative
    (torch,) = (each for each in found.trials if each.before.row["backend"] == "torch")
    assert torch.errors[0].relative > 0.1  # ONNX Runtime computes in float32 between its layers
    assert {each.before.row["backend"] for each in found.trials} == {"ort", "torch"}


def test_the_runs_with_layers_kept_are_not_compared_as_one_with_those_without(
    found: object, folder: Path
) -> None:
    sections = xb.compare(store=folder / "store", where={"precision": "float16"}).sections
    told = {each.summary.cohort.group.get("conversion") for each in sections}
    assert told == {None, "onnx_to_cast.keep=sq,var,ve,sd"}


def test_the_converted_file_casts_around_the_layers(folder: Path) -> None:
    options = {"onnx_to_cast.keep": "sq,var,ve,sd"}
    (file,) = xb.convert(folder / "ln.onnx", "onnx-float16", output=folder / "out", options=options)
    graph = onnx.shape_inference.infer_shapes(onnx.load(file.path), strict_mode=True).graph
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    assert [types[name] for name in ("sq", "var", "ve", "sd")] == [TensorProto.FLOAT] * 4
    assert [types[name] for name in ("h", "mu", "d")] == [TensorProto.FLOAT16] * 3
    casts = {node.input[0]: node.attribute[0].i for node in graph.node if node.op_type == "Cast"}
    assert casts == {"d": TensorProto.FLOAT, "sd": TensorProto.FLOAT16}


def test_a_layer_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(xb.ConversionError, match="'nowhere', which no node"):
        xb.convert(
            folder / "ln.onnx",
            "onnx-float16",
            output=folder / "none",
            options={"onnx_to_cast.keep": "nowhere"},
        )


def test_the_finding_names_the_command(folder: Path, found: object) -> None:
    plain = xb.compare(
        store=folder / "store",
        where={"precision": "float16", "backend": "torch", "conversion": "null"},
    )
    certified = xb.certify(plain)
    assert "Which layers must stay in float32 'xbackend mixed-precision'" in " ".join(
        str(certified).split()
    )
    (first, *_) = xb.explain(certified).cohorts[0].next
    assert first.command.startswith("xbackend mixed-precision ")
    assert " --precision float16 --inputs " in first.command
