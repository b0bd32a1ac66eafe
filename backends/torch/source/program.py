"""Builds a program of PyTorch's operators from JSON, and calls nothing but these."""

from __future__ import annotations

import importlib
import re
from functools import reduce
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Tuple

import numpy as np
import torch
import torch.fx

from xbackend.worker.contract import Unsupported
from xbackend.worker.tensor import Tensor, storage_dtype

from ..exchange import to_torch

if TYPE_CHECKING:
    from pathlib import Path

Document = Mapping[str, Any]

TARGETS = (
    re.compile(r"torch\.ops\.(aten|prims|quantized_decomposed)\.\w+\.\w+"),
    re.compile(r"torch\.ops\.higher_order\.\w+"),
    re.compile(r"_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|neg|pos|pow)"),
    re.compile(r"_operator\.(eq|ne|lt|le|gt|ge|and_|or_|not_)"),
    re.compile(r"math\.(trunc|ceil|floor|sqrt)"),
    re.compile(r"torch\.sym_(int|float|max|min|not|ite|sum)"),
)
"""The functions that a node may call."""


def read_constants(document: Document, folder: Path) -> List[torch.Tensor]:
    """Read the weights of a program, in the order in which its graph takes them."""
    data = np.fromfile(folder / "weights.bin", np.uint8)
    return [_tensor(document["constants"][name], data) for name in _constants(document)]


def _constants(document: Document) -> List[str]:
    return [name for name in document["placeholders"] if name in document["constants"]]


def _tensor(row: Document, data: np.ndarray[Any, Any]) -> torch.Tensor:
    """Read one weight, with its axes in memory as the program had them."""
    dtype, shape = storage_dtype(row["dtype"]), tuple(row["shape"])
    count = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    array = data[row["offset"] : row["offset"] + count].view(dtype).reshape(shape)
    value = to_torch(Tensor(row["dtype"], array))
    strides = tuple(row["strides"])
    if value.stride() == strides or not _is_dense(shape, strides):
        return value
    return torch.empty_strided(shape, strides, dtype=value.dtype).copy_(value)


def _is_dense(shape: Tuple[int, ...], strides: Tuple[int, ...]) -> bool:
    """Tell whether strides leave no gap and let no elements share memory."""
    expected = 1
    for stride, extent in sorted(zip(strides, shape)):
        if extent > 1:
            if stride != expected:
                return False
            expected *= extent
    return True


def build(document: Document, device: torch.device) -> torch.fx.GraphModule:
    """Build the program: its inputs are constants, then what the user gives, then fixed values.

    Raises Unsupported for an operator that this PyTorch does not have.
    """
    builder = _Builder(device)
    order = [*_constants(document), *document["inputs"], *document.get("values", {})]
    results = {"tuple": [{"node": name} for name in document["outputs"]]}
    return builder.graph_module({**document, "placeholders": order, "results": results})


def fixed_values(document: Document, device: torch.device) -> List[Any]:
    """Return the arguments that the program was exported with and that are no tensors."""
    return [_Builder(device).value(each, {}) for each in document.get("values", {}).values()]


class _Builder:
    """Turns JSON into graphs whose constants are made on a device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def graph_module(self, document: Document) -> torch.fx.GraphModule:
        graph, root = torch.fx.Graph(), torch.nn.Module()
        made: Dict[str, torch.fx.Node] = {}
        for place, name in enumerate(document["placeholders"]):
            made[name] = graph.placeholder(f"input_{place}")
        for place, row in enumerate(document["nodes"]):
            if "graph" in row:
                setattr(root, f"graph_{place}", self.graph_module(row["graph"]))
                made[row["name"]] = graph.get_attr(f"graph_{place}")
                continue
            arguments = tuple(self.value(each, made) for each in row["args"])
            named = {key: self.value(each, made) for key, each in row["kwargs"].items()}
            made[row["name"]] = graph.call_function(_resolved(row["target"]), arguments, named)
            made[row["name"]].meta["source"] = row["name"]
        graph.output(self.value(document["results"], made))
        return torch.fx.GraphModule(root, graph)

    def value(self, told: Any, made: Mapping[str, torch.fx.Node]) -> Any:
        """Return what an argument stands for."""
        if isinstance(told, list):
            return [self.value(each, made) for each in told]
        if not isinstance(told, dict):
            return told
        ((kind, inner),) = told.items()
        if kind == "node":
            return made[inner]
        if kind == "tuple":
            return tuple(self.value(each, made) for each in inner)
        return self.device if kind == "device" else _constant(kind, str(inner))


def _constant(kind: str, name: str) -> Any:
    """Return a dtype, a layout or a memory format of PyTorch's by its name."""
    found = getattr(torch, name, None)
    if not isinstance(found, getattr(torch, kind)):
        raise Unsupported(f"torch {torch.__version__} has no {kind} '{name}', which is needed.")
    return found


def _resolved(target: str) -> Any:
    """Return the function of a name. Raises Unsupported where it is not there or not allowed."""
    if not any(pattern.fullmatch(target) for pattern in TARGETS):
        raise Unsupported(f"The program calls '{target[:80]}', which is no operator of PyTorch.")
    module, _, path = target.partition(".")
    try:
        return reduce(getattr, path.split("."), importlib.import_module(module))
    except (AttributeError, RuntimeError) as error:
        raise Unsupported(
            f"torch {torch.__version__} lacks the operator {target}, which the program calls. "
            "Run it with the version that exported it, or set torch.graph=onnx."
        ) from error
