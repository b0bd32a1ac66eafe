"""Making tensors of a flat graph its outputs, without a library of the format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xbackend.worker.flat import with_outputs


def _interpreter(data: bytes) -> Any:
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter = litert.Interpreter(model_content=data)
    interpreter.allocate_tensors()
    return interpreter


def _outputs(interpreter: Any) -> list[int]:
    return [detail["index"] for detail in interpreter.get_output_details()]


@pytest.mark.parametrize("name", ["contract", "contract-int8", "branches", "free-batch"])
def test_tensors_become_outputs_after_those_that_the_graph_has(data: Path, name: str) -> None:
    before = (data / f"{name}.tflite").read_bytes()
    plain = _interpreter(before)
    computed = [int(i) for op in plain._get_ops_details() for i in op["outputs"]]
    more = [index for index in computed if index not in _outputs(plain)]
    changed = _interpreter(with_outputs(before, computed))
    assert _outputs(changed) == [*_outputs(plain), *dict.fromkeys(more)]
    tensors = [
        {d["name"]: d["index"] for d in each.get_tensor_details()} for each in (plain, changed)
    ]
    assert tensors[0] == tensors[1]


def test_without_more_outputs_the_graph_computes_the_same_bits(data: Path) -> None:
    before = (data / "contract.tflite").read_bytes()
    found = []
    for content in (before, with_outputs(before, [])):
        interpreter = _interpreter(content)
        (given,) = interpreter.get_input_details()
        values = np.linspace(-1, 1, int(np.prod(given["shape"])), dtype=np.float32)
        interpreter.set_tensor(given["index"], values.reshape(given["shape"]))
        interpreter.invoke()
        found.append(interpreter.get_tensor(_outputs(interpreter)[0]).tobytes())
    assert found[0] == found[1]


@pytest.mark.parametrize("length", [0, 3, 20, 200])
def test_a_file_that_ends_early_is_refused(data: Path, length: int) -> None:
    with pytest.raises(ValueError, match="no sound TensorFlow Lite file"):
        with_outputs((data / "contract.tflite").read_bytes()[:length], [1])


def test_a_file_without_graphs_is_refused() -> None:
    with pytest.raises(ValueError, match="it lacks field 2"):
        with_outputs(bytes.fromhex("0c0000000400040000000000 08000000"), [1])
