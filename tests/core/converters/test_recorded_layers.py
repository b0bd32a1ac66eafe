"""What layers read: edges of the graph, from ONNX to an artifact's `artifact.json`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from xbackend.converters import onnx_to_graph
from xbackend.plugins.converter import ConversionRequest
from xbackend.worker.artifact import MANIFEST, Layer, read_artifact

WriteModel = Callable[..., Path]


def _layers(path: Path, folder: Path) -> tuple[Layer, ...]:
    folder.mkdir()
    return onnx_to_graph.convert(ConversionRequest(path, "onnx", "graph", folder)).layers


def test_a_layer_names_computed_values_and_inputs_but_no_constants(
    write_model: WriteModel, tmp_path: Path
) -> None:
    weight = numpy_helper.from_array(np.ones(4, np.float32), "w")
    path = write_model(
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Mul", ["a", "w"], ["b"]),
        helper.make_node("Clip", ["a", "", "b"], ["c"]),
        helper.make_node("Add", ["b", "b"], ["d"]),
        helper.make_node("Sum", ["c", "d", "x"], ["y"]),
        initializer=[weight],
    )
    assert [(layer.tap, layer.inputs) for layer in _layers(path, tmp_path / "graph")] == [
        ("a", ("x",)),
        ("b", ("a",)),
        ("c", ("a", "b")),
        ("d", ("b",)),
        ("y", ("c", "d", "x")),
    ]


def test_a_layer_with_a_subgraph_does_not_know_what_it_reads(
    write_model: WriteModel, tmp_path: Path
) -> None:
    def branch(name: str) -> object:
        value = helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 4))
        return helper.make_graph([helper.make_node("Relu", ["a"], [name])], name, [], [value])

    condition = numpy_helper.from_array(np.array(True), "sure")
    path = write_model(
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("If", ["sure"], ["b"], then_branch=branch("t"), else_branch=branch("e")),
        helper.make_node("Relu", ["b"], ["y"]),
        initializer=[condition],
    )
    read = {layer.tap: layer.inputs for layer in _layers(path, tmp_path / "graph")}
    within = {"b[then]/t": None, "b[else]/e": None}
    assert read == {"a": ("x",), **within, "b": None, "y": ("b",)}


def test_an_artifact_keeps_what_its_layers_read(tmp_path: Path) -> None:
    layers = (Layer("a", 0, "Relu", ("x",)), Layer("b", 1, "If"), Layer("c", 2, "Constant", ()))
    rows = [asdict(layer) for layer in layers]
    rows.append({"tap": "d", "layer": 3, "operator": "Relu"})  # made before edges were kept
    manifest = {"format": "graph", "digest": "0", "inputs": [], "outputs": [], "layers": rows}
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    assert read_artifact(tmp_path).layers == (*layers, Layer("d", 3, "Relu", None))
