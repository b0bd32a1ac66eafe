"""What the tests of converters share: Keras models, and conversions in processes of their own."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xbackend.plugins import registry
from xbackend.plugins.converter import ConversionRequest
from xbackend.preparation.conversion.launch import run_converter

Convert = Callable[..., "Converted"]

RUN_FLAT = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
path, inputs, outputs = sys.argv[1:]
kind = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
interpreter = Interpreter(path, num_threads=1, experimental_op_resolver_type=kind)
interpreter.allocate_tensors()
(taken,), given = interpreter.get_input_details(), interpreter.get_output_details()
rows = []
for sample in np.load(inputs):
    interpreter.set_tensor(taken["index"], sample[None])
    interpreter.invoke()
    rows.append([interpreter.get_tensor(detail["index"]) for detail in given])
np.savez(outputs, *[np.concatenate(column) for column in zip(*rows)])
"""


@dataclass(frozen=True)
class Converted:
    """A conversion's main file and what it says of itself."""

    path: Path
    result: dict[str, Any]

    @property
    def identical(self) -> set[str]:
        """Names of the weights that kept their bits."""
        return set(self.result["weights"]["identical"])

    @property
    def changed(self) -> set[str]:
        """Names of those that did not."""
        return set(self.result["weights"]["changed"])


@pytest.fixture(scope="session")
def keras_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the models of `keras_models.py`."""
    pytest.importorskip("h5py")
    folder = tmp_path_factory.mktemp("keras")
    script = Path(__file__).with_name("keras_models.py")
    command = [sys.executable, str(script), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.fixture(scope="session")
def convert(tmp_path_factory: pytest.TempPathFactory) -> Convert:
    """Run a converter in a process of its own, once for the same request."""

    @functools.cache
    def run(
        name: str,
        source: Path,
        source_format: str,
        target: str,
        inputs: Path | None = None,
        hub: Path | None = None,
        options: tuple[tuple[str, Any], ...] = (),
    ) -> Converted:
        spec = registry.load_object(f"xbackend.converters.{name}:SPEC")
        output = tmp_path_factory.mktemp(f"{name}-{target}")
        request = ConversionRequest(
            source, source_format, target, output, inputs, hub, dict(options)
        )
        result = run_converter(spec, request)
        return Converted(output / result["model"], result)

    return run


@pytest.fixture(scope="session")
def run_flat(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[np.ndarray]]:
    """Run a TensorFlow Lite file on samples in a process of its own; return its outputs."""

    def run(path: Path, samples: np.ndarray) -> list[np.ndarray]:
        folder = tmp_path_factory.mktemp("flat")
        np.save(folder / "inputs.npy", samples)
        names = [str(path), str(folder / "inputs.npy"), str(folder / "outputs.npz")]
        subprocess.run([sys.executable, "-c", RUN_FLAT, *names], check=True, capture_output=True)
        with np.load(folder / "outputs.npz") as outputs:
            return [outputs[name] for name in outputs.files]

    return run


@pytest.fixture(scope="session")
def run_onnx() -> Callable[..., dict[str, np.ndarray]]:
    """Run an ONNX file on samples, in ONNX's own reference implementation."""
    from onnx.reference import ReferenceEvaluator

    def run(path: Path, samples: np.ndarray) -> Mapping[str, np.ndarray]:
        evaluator = ReferenceEvaluator(str(path))
        (name,) = evaluator.input_names
        rows = [evaluator.run(None, {name: sample[None]}) for sample in samples]
        columns = [np.concatenate(column) for column in zip(*rows, strict=True)]
        return dict(zip(evaluator.output_names, columns, strict=True))

    return run
