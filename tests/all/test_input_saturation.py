"""A layer that reads the graph's own input overflows for inputs, and is not said to be clear."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from xbackend.commands.main import main


@pytest.fixture
def matmul(tmp_path: Path) -> Path:
    """A model of one MatMulInteger: four rows of weights that are as large as they can be."""
    weights = np.full((4, 1), 127, np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [1, 1])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "one.onnx")
    return tmp_path / "one.onnx"


@pytest.mark.parametrize(
    ("values", "reached", "said"),
    [
        # 255 × 127 + 255 × 127 = 64770 is more than 32767; 2 × 127 + 3 × 127 = 635 is not.
        ([255, 255, 1, 1], 64770, "These inputs overflow in y."),
        ([2, 3, 1, 1], 635, "These inputs overflow in none of them; others may."),
    ],
)
def test_what_inputs_reach_is_known_of_the_first_layer_too(
    matmul: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    values: list[int],
    reached: int,
    said: str,
) -> None:
    np.save(tmp_path / "x.npy", np.array([values], np.uint8))
    command = ["saturation", str(matmul), "--inputs", str(tmp_path / "x.npy")]
    command += ["--store", str(tmp_path / "store")]
    assert main([*command, "--json"]) == 0
    (layer,) = json.loads(capsys.readouterr().out)
    assert (layer["possible"], layer["reached"]) == (64770, reached)
    assert main(command) == 0
    assert capsys.readouterr().out.rstrip().endswith(said)
