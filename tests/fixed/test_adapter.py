"""What the adapter refuses, in which sentence, and that its bits depend on nothing around it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from xbackend.plugins import registry
from xbackend.testing.artifacts import default_settings, load_backend, make_artifact
from xbackend.testing.small_models import float_model, small_model
from xbackend.worker.contract import Unsupported
from xbackend.worker.tensor import from_numpy

SPEC = registry.backend("fixed")


def model_of(
    nodes: list[onnx.NodeProto], constants: dict[str, Any], dtype: int = TensorProto.FLOAT
) -> onnx.ModelProto:
    """Build a model from `x` of shape (1, 4) to `y`."""
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", dtype, [1, 4])],
        [helper.make_tensor_value_info("y", dtype, ["n"])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def prepare(model: onnx.ModelProto, folder: Path, **changes: Any) -> Any:
    artifact = make_artifact(model, folder, "graph-int8")
    return load_backend(SPEC).prepare(artifact, {**default_settings(SPEC), **changes})


def refusal(model: onnx.ModelProto, folder: Path, **changes: Any) -> str:
    with pytest.raises(Unsupported) as caught:
        prepare(model, folder, **changes)
    return str(caught.value)


def test_a_float_graph_is_refused_by_the_names_of_its_operators(tmp_path: Path) -> None:
    assert refusal(float_model("float32", 1), tmp_path) == (
        "fixed multiplies integers only in int8 and this graph has Conv, Gemm in floating point; "
        "run it with --precision float32."
    )


def test_a_graph_in_qdq_form_is_refused_with_the_way_out(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("MatMul", ["d", "w"], ["y"]),
    ]
    constants = {"s": np.float32(0.1), "z": np.uint8(0), "w": np.ones((4, 2), np.float32)}
    assert refusal(model_of(nodes, constants), tmp_path) == (
        "fixed multiplies integers only in int8 and this graph has MatMul in floating point "
        "between QuantizeLinear and DequantizeLinear (QDQ form); convert the float model with "
        "--to onnx-int8, which writes the QOperator form."
    )


@pytest.mark.parametrize(
    ("node", "sentence"),
    [
        (
            helper.make_node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16),
            "fixed cannot compute the node 'y': its to is bfloat16.",
        ),
        (
            helper.make_node("Dropout", ["x", "", "yes"], ["y"], name="drop"),
            "fixed cannot compute the node 'drop': it drops elements at random.",
        ),
        (
            helper.make_node("Identity", ["complex"], ["y"]),
            "fixed cannot compute with 'complex', which is complex64.",
        ),
        (
            helper.make_node(
                "QLinearGlobalAveragePool",
                ["x", "s", "", "s"],
                ["y"],
                domain="com.microsoft",
                channels_last=1,
            ),
            "fixed cannot compute the node 'y': channels come last.",
        ),
    ],
    ids=["format", "training", "constant", "layout"],
)
def test_what_cannot_be_computed_is_refused_in_one_sentence(
    tmp_path: Path, node: onnx.NodeProto, sentence: str
) -> None:
    constants = {"yes": np.array(True), "complex": np.complex64([1]), "s": np.float32(1)}
    used = {name: value for name, value in constants.items() if name in node.input}
    assert refusal(model_of([node], used), tmp_path) == sentence


def test_another_precision_is_refused(tmp_path: Path) -> None:
    assert "NumPy" in refusal(small_model("int8").model, tmp_path, precision="bfloat16")


def test_what_is_moved_but_not_computed_passes_in_its_own_format(tmp_path: Path) -> None:
    nodes = [helper.make_node("Transpose", ["x"], ["t"]), helper.make_node("Shape", ["t"], ["y"])]
    with prepare(model_of(nodes, {}), tmp_path) as session:
        x = from_numpy(np.float32([[1, -0.0, np.nan, 4]]))
        taps = dict(session.tap({"x": x}, ["t", "y"]))
    assert taps["t"].array.tobytes() == x.array.tobytes()
    assert (taps["y"].dtype, taps["y"].array.tolist()) == ("int64", [4, 1])


def test_an_output_that_is_an_input_or_a_constant_is_given_too(tmp_path: Path) -> None:
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], {"c": np.int64([7])})
    for name, dtype in (("x", TensorProto.FLOAT), ("c", TensorProto.INT64)):
        model.graph.output.append(helper.make_tensor_value_info(name, dtype, ["n"]))
    with prepare(model, tmp_path) as session:
        outputs = session.run({"x": from_numpy(np.float32([[1, -1, 2, -2]]))})
    assert {name: tensor.array.tolist() for name, tensor in outputs.items()} == {
        "y": [[1, 0, 2, 0]],
        "x": [[1, -1, 2, -2]],
        "c": [7],
    }


PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from xbackend.backends.fixed.adapter import FixedSession
from xbackend.worker.graph import read_graph
from xbackend.worker.tensor import from_numpy
session = FixedSession(read_graph(Path(sys.argv[1])))
for name, tensor in session.tap({"x": from_numpy(np.load(sys.argv[2]))}, session.taps):
    print(name, tensor.digest())
"""

SURROUNDINGS = {
    "an old core": {"OPENBLAS_CORETYPE": "Prescott"},
    "a core with FMA": {"OPENBLAS_CORETYPE": "Haswell"},
    "no vector units": {"NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3"},
    "four threads": {"OPENBLAS_NUM_THREADS": "4", "OMP_NUM_THREADS": "4"},
}


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_the_bits_are_those_of_any_cpu_and_number_of_threads(tmp_path: Path, name: str) -> None:
    small = small_model("int8")
    folder = make_artifact(small.model, tmp_path, "graph-int8").folder
    np.save(tmp_path / "x.npy", small.inputs["x"].array)
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(folder), str(tmp_path / "x.npy")]
    environment = {**os.environ, **SURROUNDINGS[name]}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    formats = {small.output: np.float32}
    wanted = {
        key: hashlib.sha256(values.astype(formats.get(key, np.uint8)).tobytes()).hexdigest()
        for key, values in small.values.items()
    }
    assert dict(line.split() for line in done.stdout.splitlines()) == wanted
