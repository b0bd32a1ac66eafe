"""What the tests of TensorFlow share: sessions over ONNX graphs, here and in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from xbackend.plugins import registry
from xbackend.testing.artifacts import default_settings, load_backend, make_artifact
from xbackend.worker.contract import Session, SettingValue
from xbackend.worker.tensor import from_numpy

Array = np.ndarray[Any, Any]
Prepare = Callable[..., Session]
Taps = Callable[..., dict[str, Array]]

PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np
from xbackend.plugins import registry
from xbackend.testing.artifacts import default_settings, load_backend
from xbackend.worker.artifact import Artifact
from xbackend.worker.contract import Unsupported
from xbackend.worker.tensor import from_numpy

folder, changes = Path(sys.argv[1]), json.loads(sys.argv[2])
spec = registry.backend("tf")
artifact = Artifact(folder, "graph", "", (), (), (), {})
inputs = {name: from_numpy(array) for name, array in np.load(folder / "inputs.npz").items()}
try:
    with load_backend(spec).prepare(artifact, {**default_settings(spec), **changes}) as session:
        outputs = {name: tensor.array.tolist() for name, tensor in session.run(inputs).items()}
        taps = {name: tensor.digest() for name, tensor in session.tap(inputs, session.taps)}
        answer = {"outputs": outputs, "taps": taps, "facts": session.facts(), "refusal": ""}
except Unsupported as refusal:
    answer = {"outputs": {}, "taps": {}, "facts": {}, "refusal": str(refusal)}
print(json.dumps(answer))
"""


@dataclass(frozen=True)
class Answer:
    """What a fresh process computed."""

    outputs: dict[str, Array]
    taps: dict[str, str]
    """Digests by name."""
    facts: dict[str, Any]
    refusal: str
    """What was said where the settings could not be honoured; empty where they were."""


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Give TensorFlow the backend's default threads before any test makes it begin with others."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    """Open a session over a model, with default settings but for some."""
    spec = registry.backend("tf")

    def opened(model: onnx.ModelProto, **changes: SettingValue) -> Session:
        count = len(list(tmp_path.iterdir()))
        artifact = make_artifact(model, tmp_path / str(count))
        return load_backend(spec).prepare(artifact, {**default_settings(spec), **changes})

    return opened


@pytest.fixture
def taps_of(prepare: Prepare) -> Taps:
    """Return every value that a model computes, by name, in ONNX layout."""

    def taps(model: onnx.ModelProto, **inputs: Array) -> dict[str, Array]:
        with prepare(model) as session:
            given = {name: from_numpy(array) for name, array in inputs.items()}
            return {name: tensor.array for name, tensor in session.tap(given, session.taps)}

    return taps


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[..., Answer]:
    """Run a model in a process of its own, as a worker does."""

    def answer(
        model: onnx.ModelProto, inputs: Mapping[str, Array], **changes: SettingValue
    ) -> Answer:
        count = len(list(tmp_path.iterdir()))
        folder = make_artifact(model, tmp_path / str(count)).folder
        np.savez(folder / "inputs.npz", **inputs)  # type: ignore[arg-type]
        command = [sys.executable, "-c", PROGRAM, str(folder), json.dumps(changes)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        row = json.loads(done.stdout.splitlines()[-1])
        outputs = {name: np.asarray(value) for name, value in row["outputs"].items()}
        return Answer(outputs, row["taps"], row["facts"], row["refusal"])

    return answer
