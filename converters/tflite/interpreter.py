"""Runs a flat graph with every tensor an output, to see which tensor computes what."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xbackend.errors import ConversionError, ModelError
from xbackend.numerics.alignment import Array, RecordedTensor
from xbackend.worker.flat import with_outputs

RUNTIMES = ("ai_edge_litert", "tflite_runtime")
"""Packages that run a flat graph, the one that knows newer operations first."""

RESOLVERS = ("BUILTIN_REF", "BUILTIN_WITHOUT_DEFAULT_DELEGATES")
"""The kernels to use, the plainest first; the reference ones lack a few operations."""


class FlatInterpreter:
    """A flat graph without delegates, every tensor of which can be read."""

    def __init__(self, path: Path) -> None:
        loaded = _load(path)
        self._content = loaded.content  # which the interpreter reads as long as it lives
        self._interpreter = loaded.interpreter
        self.inputs: list[dict[str, Any]] = self._interpreter.get_input_details()
        self.outputs = loaded.outputs
        self.details = {d["index"]: d for d in self._interpreter.get_tensor_details()}
        self.operators = _computed(self._interpreter, self.details)
        """Number of each tensor that an operation computes, in order, and the operation."""

    def run(self, arrays: Sequence[Array]) -> dict[int, Array]:
        """Return every computed tensor and output by number, as the reals they stand for."""
        for detail, array in zip(self.inputs, arrays, strict=True):
            self._interpreter.set_tensor(detail["index"], _quantized(array, detail))
        self._interpreter.invoke()
        wanted = {*self.operators, *(detail["index"] for detail in self.outputs)}
        return {index: self._real(index) for index in wanted}

    def series(self, runs: Sequence[dict[int, Array]]) -> dict[int, RecordedTensor]:
        """Return each computed tensor over several runs, by number, in order."""
        return {
            index: RecordedTensor(
                name=str(self.details[index]["name"]),
                operator=operator,
                position=position,
                arrays=tuple(run[index] for run in runs),
            )
            for position, (index, operator) in enumerate(self.operators.items())
        }

    def is_quantized(self) -> bool:
        """Tell whether any operation computes integers that stand for reals."""
        return any(_scale(self.details[index]) for index in self.operators)

    def steps(self) -> dict[int, tuple[float, int]]:
        """Return scale and zero point of each computed tensor whose integers stand for reals."""
        return {
            index: (scale, int(self.details[index]["quantization_parameters"]["zero_points"][0]))
            for index in self.operators
            if (scale := _scale(self.details[index]))
        }

    def _real(self, index: int) -> Array:
        return _dequantized(self._interpreter.get_tensor(index), self.details[index])


@dataclass(frozen=True)
class LoadedInterpreter:
    """A flat graph that is ready to run."""

    interpreter: Any
    """Of which every tensor that is computed is an output."""
    outputs: list[dict[str, Any]]
    """Those of the file itself."""
    content: bytes


def _load(path: Path) -> LoadedInterpreter:
    """Return a graph that runs. Raises ModelError in the runtime's words, or ConversionError."""
    module = _runtime()
    said = ""
    for resolver in RESOLVERS:
        if _aborts(module, path, getattr(module.OpResolverType, resolver)):
            said = said or f"its kernels of {resolver} abort"
            continue
        try:
            return _allocated(module, path, getattr(module.OpResolverType, resolver))
        except (RuntimeError, ValueError) as error:
            said = said or " ".join(str(error).split())[:300]
    raise ModelError(f"{module.__name__.partition('.')[0]} cannot load {path}: {said}")


def _aborts(module: Any, path: Path, resolver: Any) -> bool:
    """Tell whether kernels end their process instead of raising, as some do of int8 files.

    They are tried on zeros in a process of their own, which is thrown away.
    """
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            interpreter = _interpreter(module, path.read_bytes(), resolver)
            for detail in interpreter.get_input_details():
                interpreter.set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
            interpreter.invoke()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def _allocated(module: Any, path: Path, resolver: Any) -> LoadedInterpreter:
    data = path.read_bytes()
    plain = _interpreter(module, data, resolver)
    details = {d["index"]: d for d in plain.get_tensor_details()}
    content = with_outputs(data, _computed(plain, details))
    return LoadedInterpreter(
        _interpreter(module, content, resolver), plain.get_output_details(), content
    )


def _interpreter(module: Any, data: bytes, resolver: Any) -> Any:
    interpreter = module.Interpreter(
        model_content=data, num_threads=1, experimental_op_resolver_type=resolver
    )
    interpreter.allocate_tensors()
    return interpreter


def _runtime() -> Any:
    said = []
    for package in RUNTIMES:
        try:
            return importlib.import_module(f"{package}.interpreter")
        except (ImportError, AttributeError) as error:  # AttributeError: built for NumPy 1
            said.append(f"{package}: {error}")
    raise ConversionError(
        "Naming the tensors of a TensorFlow Lite file needs tflite-runtime or ai-edge-litert "
        f"({'; '.join(said)}). Install one with: pip install 'xbackend[tflite]'"
    )


def _computed(interpreter: Any, details: dict[int, dict[str, Any]]) -> dict[int, str]:
    """Return the numeric tensors that operations compute; text and resources are no taps."""
    return {
        int(index): str(operation["op_name"])
        for operation in interpreter._get_ops_details()
        for index in operation["outputs"]
        if int(index) in details and np.dtype(details[int(index)]["dtype"]).kind in "fiub"
    }


def _scale(detail: dict[str, Any]) -> float:
    """Return the step of a tensor with one step for all its elements, 0 elsewhere."""
    scales = detail["quantization_parameters"]["scales"]
    return float(scales[0]) if len(scales) == 1 and detail["dtype"] != np.float32 else 0.0


def _dequantized(array: Array, detail: dict[str, Any]) -> Array:
    scale = _scale(detail)
    if not scale:
        return array if array.dtype.kind == "f" else array.astype(np.float64)
    zero_point = int(detail["quantization_parameters"]["zero_points"][0])
    return ((array.astype(np.float64) - zero_point) * scale).astype(np.float32)


def _quantized(array: Array, detail: dict[str, Any]) -> Array:
    """Round reals to the integers that an input takes; leave other inputs as they are."""
    dtype = np.dtype(detail["dtype"])
    scale = _scale(detail)
    if not scale or array.dtype == dtype:
        return np.asarray(array, dtype, order="C")  # which leaves a single number without axes
    zero_point = int(detail["quantization_parameters"]["zero_points"][0])
    limits = np.iinfo(dtype)
    steps: Array = np.rint(array / scale) + zero_point
    return np.clip(steps, limits.min, limits.max).astype(dtype)
