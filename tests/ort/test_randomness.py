"""A graph that draws random numbers is recognised, and one that only could is not blamed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from xbackend.commands.main import main


def recorded(folder: Path, *nodes: onnx.NodeProto, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a graph from `x` to `y` on ONNX Runtime and return its record."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8]) for name in "xy"]
    flags = helper.make_tensor("train", TensorProto.BOOL, [], [True])
    ratio = helper.make_tensor("ratio", TensorProto.FLOAT, [], [0.5])
    graph = helper.make_graph([*nodes], "drawn", values[:1], values[1:], [flags, ratio])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "drawn.onnx")
    np.save(folder / "x.npy", np.ones((1, 8), np.float32))
    arguments = [str(folder / "drawn.onnx"), "--inputs", str(folder / "x.npy"), "--json"]
    assert main(["run", *arguments, "--backends", "ort", "--store", str(folder / "store")]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    return record


def test_noise_and_dropout_in_training_mode_give_other_bits_when_inferred_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, nodes in enumerate(
        (
            [
                helper.make_node("RandomNormalLike", ["x"], ["noise"]),
                helper.make_node("Add", ["x", "noise"], ["y"]),
            ],
            [helper.make_node("Dropout", ["x", "ratio", "train"], ["y"])],
        )
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        record = recorded(folder, *nodes, capsys=capsys)
        assert record["facts"]["repeated"] == {"samples": 1, "other_bits": 1}


def test_dropout_in_inference_gives_the_same_bits_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = recorded(tmp_path, helper.make_node("Dropout", ["x"], ["y"]), capsys=capsys)
    assert record["facts"].get("repeated", {"other_bits": 0})["other_bits"] == 0


def test_a_graph_without_such_operators_is_not_inferred_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = recorded(tmp_path, helper.make_node("Relu", ["x"], ["y"]), capsys=capsys)
    assert "repeated" not in record["facts"]
