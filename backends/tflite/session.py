"""A flat graph that is ready to run, and the second, instrumented interpreter for its taps."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Tuple, Union

import numpy as np

from xbackend.worker import tensor as tensors
from xbackend.worker.contract import Session, Unsupported
from xbackend.worker.flat import with_outputs

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Collection, Iterator

    from xbackend.worker.tensor import Tensor

    from .runtime import Runtime

MISSING = (
    re.compile(r"Didn't find op for builtin opcode '(\w+)' version '(\d+)'"),
    re.compile(r"Encountered unresolved custom op: (\w+)"),
)
"""What a runtime says of an operation, or a version of one, that it does not have."""


class MissingOperation(Unsupported):
    """A runtime does not have an operation, or a version of one, that a file uses."""


@dataclass(frozen=True)
class Row:
    """Which tensor of the flat graph is which ONNX value."""

    index: int
    """The tensor's number in the flat graph."""
    name: str
    """The ONNX value's name."""
    perm: Tuple[int, ...] | None
    """The transposition from the flat tensor to ONNX layout; None where they agree."""

    def to_onnx(self, array: np.ndarray[Any, Any]) -> Tensor:
        """Return an array of the flat graph in ONNX layout."""
        return tensors.from_numpy(array if self.perm is None else array.transpose(self.perm))

    def to_flat(self, tensor: Tensor) -> np.ndarray[Any, Any]:
        """Return a tensor in the flat graph's layout."""
        if self.perm is None:
            return np.asarray(tensor.array, order="C")  # a single number has no axes
        return np.ascontiguousarray(tensor.array.transpose(np.argsort(self.perm)))


@dataclass(frozen=True)
class Map:
    """The flat graph's tensors that have a counterpart in the ONNX graph: `taps.json`."""

    inputs: Tuple[Row, ...]
    outputs: Tuple[Row, ...]
    taps: Tuple[Row, ...]
    """In the order of the ONNX graph, outputs that a node computes among them."""


@dataclass(frozen=True)
class Kernels:
    """The settings that decide which code computes."""

    delegate: str
    """`xnnpack`, `none` or `reference`."""
    threads: int


def read_map(folder: Path) -> Map:
    """Read `taps.json` of an artifact's folder."""
    document = json.loads((folder / "taps.json").read_text(encoding="utf-8"))
    return Map(*(_rows(document[key]) for key in ("inputs", "outputs", "taps")))


def _rows(entries: List[Dict[str, Any]]) -> Tuple[Row, ...]:
    return tuple(
        Row(e["index"], e["name"], None if e["perm"] is None else tuple(e["perm"])) for e in entries
    )


class FlatSession(Session):
    """One model in one runtime; only in the instrumented interpreter is every tap an output."""

    def __init__(self, runtime: Runtime, kernels: Kernels, path: str, tensor_map: Map) -> None:
        self._runtime = runtime
        self._kernels = kernels
        self._path = path
        self._map = tensor_map
        self._threads_before = _thread_count()
        self._plain: Any = _load(runtime, kernels, path)
        self._instrumented: Any = None
        self._tapped = b""
        self._unreadable: List[str] = []
        self._threads_started = 0
        named = [row.name for row in tensor_map.taps]
        rest = [row.name for row in tensor_map.outputs if row.name not in named]
        self.taps = (*named, *rest)

    def run(self, inputs: Mapping[str, Tensor]) -> Dict[str, Tensor]:
        """Infer with an interpreter that reuses its memory, as people ship it."""
        self._invoke(self._plain, inputs)
        self._threads_started = max(self._threads_started, _thread_count() - self._threads_before)
        return {row.name: self._read(self._plain, row) for row in self._map.outputs}

    def tap(
        self, inputs: Mapping[str, Tensor], wanted: Collection[str]
    ) -> Iterator[Tuple[str, Tensor]]:
        """Infer with every tap an output of the graph; one that cannot be read is left out."""
        if self._instrumented is None:
            self._instrumented = self._instrument()
        self._invoke(self._instrumented, inputs)
        rows = {row.name: row for row in (*self._map.outputs, *self._map.taps)}
        for name in self.taps:
            if name in wanted:
                yield from self._readable(rows[name])

    def _instrument(self) -> Any:
        """Load the graph with every tap an output, which no operation may then write over."""
        with open(self._path, "rb") as stream:
            data = stream.read()
        # The interpreter reads these bytes as long as it lives.
        self._tapped = with_outputs(data, (row.index for row in self._map.taps))
        return _load(self._runtime, self._kernels, self._tapped)

    def facts(self) -> Dict[str, Any]:
        """Return the runtime and delegate that were used, and what the tapped inference used."""
        plain = _placement(self._plain)
        facts: Dict[str, Any] = {
            "settings": {
                "runtime": self._runtime.word,
                "delegate": _resolved(self._kernels.delegate, plain),
            },
            "operators": plain,
            "substituted": _substituted(self._kernels.delegate, plain),
            "threads_started": self._threads_started,
        }
        if self._instrumented is not None:
            tapped = _placement(self._instrumented)
            facts["taps"] = {
                "delegate": _resolved(self._kernels.delegate, tapped),
                "operators": tapped,
                "unreadable": sorted(set(self._unreadable)),
            }
        return facts

    def close(self) -> None:
        """Free both interpreters."""
        self._plain = self._instrumented = None

    def _invoke(self, interpreter: Any, inputs: Mapping[str, Tensor]) -> None:
        arrays = {row.index: row.to_flat(inputs[row.name]) for row in self._map.inputs}
        _fit(interpreter, arrays)
        for index, array in arrays.items():
            interpreter.set_tensor(index, array)
        interpreter.invoke()

    def _read(self, interpreter: Any, row: Row) -> Tensor:
        return row.to_onnx(interpreter.get_tensor(row.index))

    def _readable(self, row: Row) -> Iterator[Tuple[str, Tensor]]:
        try:
            tensor = self._read(self._instrumented, row)
        except ValueError:  # "Tensor data is null": the delegate never wrote it
            self._unreadable.append(row.name)
            return
        yield row.name, tensor


def _load(runtime: Runtime, kernels: Kernels, model: Union[str, bytes]) -> Any:
    """Make an interpreter, and check that the delegate is the one that was asked for."""
    try:
        interpreter = runtime.interpreter(model, kernels.delegate, kernels.threads)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise _explained(error, runtime) from error
    if kernels.delegate != "xnnpack" and _placement(interpreter)["delegated"]:
        raise Unsupported(
            f"{runtime.word} applied a delegate although tflite.delegate={kernels.delegate} "
            "asks for none."
        )
    return interpreter


def _explained(error: Exception, runtime: Runtime) -> Exception:
    """Return `MissingOperation` with the cure where one is missing, else the error itself."""
    said = " ".join(str(error).split())
    found = next((match for sign in MISSING if (match := sign.search(said))), None)
    if found is None:
        return error
    operation = " version ".join(found.groups())
    cure = "Convert the model with built-in operations only."
    if runtime.word == "tflite-runtime":
        cure = "Use the newer runtime with --set tflite.runtime=litert."
    return MissingOperation(
        f"{runtime.word} {runtime.version} does not have the operation {operation}, which this "
        f"model uses. {cure}"
    )


def _fit(interpreter: Any, arrays: Mapping[int, np.ndarray[Any, Any]]) -> None:
    """Give the graph's inputs the shapes of the arrays, where they differ.

    A graph that was converted for one shape can be resized along axis 0 only. Along others a
    fully connected layer would read what is not its own, without a word.
    """
    details = {d["index"]: d for d in interpreter.get_input_details()}
    changed = [i for i, array in arrays.items() if _shape(details[i]) != array.shape]
    if not changed:
        return
    before = _batches(interpreter)
    for index in changed:
        _refuse_other_axes(details[index], arrays[index].shape)
        interpreter.resize_tensor_input(index, arrays[index].shape)
    problem = _allocate(interpreter)
    if not problem and _batches(interpreter) != before:
        problem = "its outputs do not follow."
    if problem:
        raise _cannot_resize(details[changed[0]], arrays[changed[0]].shape, problem)


def _refuse_other_axes(detail: Dict[str, Any], wanted: Tuple[int, ...]) -> None:
    now, free = _shape(detail), [int(extent) < 0 for extent in detail["shape_signature"]]
    axes = [axis for axis, (have, want) in enumerate(zip(now, wanted)) if have != want]
    if len(now) != len(wanted) or any(axis > 0 and not free[axis] for axis in axes):
        raise _cannot_resize(detail, wanted, "it was converted for that shape.")


def _allocate(interpreter: Any) -> str:
    """Return what the runtime says against the shapes, nothing if it takes them."""
    try:
        interpreter.allocate_tensors()
    except RuntimeError as error:
        return " ".join(str(error).split())[:200]
    return ""


def _batches(interpreter: Any) -> List[float]:
    """Return how many rows each output has for one row of the first input."""
    details = [interpreter.get_input_details()[0], *interpreter.get_output_details()]
    first, *rest = [(_shape(detail) or (1,))[0] for detail in details]
    return [rows / max(first, 1) for rows in rest]


def _cannot_resize(detail: Dict[str, Any], wanted: Tuple[int, ...], why: str) -> Unsupported:
    return Unsupported(
        f"This TensorFlow Lite graph cannot be resized from {_shape(detail)} to {wanted}: {why}"
    )


def _shape(detail: Dict[str, Any]) -> Tuple[int, ...]:
    return tuple(int(extent) for extent in detail["shape"])


def _placement(interpreter: Any) -> Dict[str, Any]:
    """Count the operations of the graph and those that a delegate took over, and name these.

    With a delegate the runtime lists the replaced operations first and one `DELEGATE` for each
    part of the graph after them; what lies between its inputs and outputs was replaced.
    """
    operators = interpreter._get_ops_details()
    delegates = [op for op in operators if op["op_name"] == "DELEGATE"]
    own = [op for op in operators if op["op_name"] != "DELEGATE"]
    producers = {int(index): op["index"] for op in own for index in op["outputs"]}
    reads = {op["index"]: [int(index) for index in op["inputs"]] for op in own}
    taken = set()
    for delegate in delegates:
        taken |= _between(delegate, producers, reads)
    kinds = sorted({str(op["op_name"]) for op in own if op["index"] in taken})
    return {"count": len(own), "delegated": len(taken), "delegated_kinds": kinds}


def _between(
    delegate: Dict[str, Any], producers: Dict[int, int], reads: Dict[int, List[int]]
) -> Any:
    """Return the operations from which a delegate's outputs are computed, back to its inputs."""
    known = {int(index) for index in delegate["inputs"]}
    waiting = [int(index) for index in delegate["outputs"]]
    found = set()
    while waiting:
        index = waiting.pop()
        if index in known or index not in producers:
            continue
        known.add(index)
        found.add(producers[index])
        waiting += reads[producers[index]]
    return found


def _resolved(delegate: str, placement: Dict[str, Any]) -> str:
    """Return the kernels that computed: XNNPACK that took nothing is no delegate at all."""
    if delegate == "xnnpack" and not placement["delegated"]:
        return "none"
    return delegate


def _substituted(delegate: str, placement: Dict[str, Any]) -> Dict[str, str]:
    """Return the settings that came to another value than was asked for, and why."""
    if _resolved(delegate, placement) == delegate:
        return {}
    count = placement["count"]
    return {
        "delegate": f"XNNPACK took none of the model's {count} operations, so the runtime's own "
        "kernels computed them all"
    }


def _thread_count() -> int:
    """Return the number of this process's threads, 0 where the system does not say."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 0
