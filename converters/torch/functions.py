"""Which call of a function of PyTorch gives which value of a traced module's ONNX graph.

The tracing exporter names nodes after the module in which they are made, and writes them in the
order of the calls. So the nodes of a module whose operators are known are held against the calls
within it: where both are the same sequence, each call's last node gives its result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xbackend.worker.torch_functions import call_name, watched_functions

from ..onnx.values import Shape, shapes_of_values
from .names import inner_modules, mark_nodes, module_of

if TYPE_CHECKING:
    import onnx

OPERATORS: Mapping[str, tuple[str, ...]] = {
    "relu": ("Relu",),
    "matmul": ("MatMul",),
    "bmm": ("MatMul",),
    "softmax": ("Softmax",),
    "sigmoid": ("Sigmoid",),
    "tanh": ("Tanh",),
    "layer_norm": ("LayerNormalization",),
    "batch_norm": ("BatchNormalization",),
    "conv1d": ("Conv",),
    "conv2d": ("Conv",),
    "conv3d": ("Conv",),
    "max_pool2d": ("MaxPool",),
    "cat": ("Concat",),
    "scaled_dot_product_attention": ("MatMul", "Softmax", "MatMul"),
}
"""What the exporter makes of functions, of the operators that are followed."""
FOLLOWED = frozenset(name for names in OPERATORS.values() for name in names) | {"Gemm"}


@dataclass(frozen=True)
class FunctionCall:
    """One call of a function within a module."""

    module: str
    function: str
    number: int
    """Which of this function's calls within the module, from 0."""
    operators: tuple[str, ...]
    """What of it is followed in the graph."""
    whole: bool
    """Whether the last of them gives its result."""
    shape: Shape


def function_call(module: str, function: str, number: int, given: Any, result: Any) -> FunctionCall:
    """Describe a call from its arguments and its result."""
    operators, whole = OPERATORS.get(function, ()), function in OPERATORS
    if function == "linear":
        args, named = given
        bias = named.get("bias", args[2] if len(args) > 2 else None) is not None
        flat = len(result.shape) == 2
        operators = ("Gemm",) if bias and flat else ("MatMul",)
        whole = flat or not bias
    return FunctionCall(module, function, number, operators, whole, tuple(result.shape))


def watched_function_calls(module: Any, examples: tuple[Any, ...]) -> list[FunctionCall]:
    """Infer once; return the calls of functions that gave one tensor, as they came."""
    import torch
    from torch.overrides import TorchFunctionMode

    calls: list[FunctionCall] = []

    def told(path: str, function: str, number: int, given: Any, result: Any) -> None:
        calls.append(function_call(path, function, number, given, result))

    inner = list(inner_modules(module))
    with torch.no_grad(), watched_functions(TorchFunctionMode, inner, told, (torch.Tensor,)):
        module(*examples)
    return calls


def mark_function_calls(path: Path, calls: Iterable[FunctionCall], modules: set[str]) -> None:
    """Mark the nodes of a traced module's ONNX file with the calls of functions within it."""
    import onnx

    model = onnx.load(path)
    known = shapes_of_values(model)
    listed = list(calls)
    for module, nodes in _nodes_of_modules(model, modules).items():
        within = [call for call in listed if call.module == module and call.operators]
        followed = [node for node in nodes if node.op_type in FOLLOWED]
        expected = [name for call in within for name in call.operators]
        if [node.op_type for node in followed] == expected:
            _mark_calls(within, nodes, followed, known)
    onnx.save(model, path)


def _mark_calls(
    calls: list[FunctionCall],
    nodes: list[onnx.NodeProto],
    followed: list[onnx.NodeProto],
    known: Mapping[str, Shape],
) -> None:
    place = 0
    for call in calls:
        first, last = followed[place], followed[place + len(call.operators) - 1]
        place += len(call.operators)
        if call.whole:
            names = [node.name for node in nodes]
            parts = nodes[names.index(first.name) : names.index(last.name) + 1]
            name = call_name(call.module, call.function, call.number)
            mark_nodes(parts, name, call.shape, known)


def _nodes_of_modules(model: onnx.ModelProto, modules: set[str]) -> dict[str, list[onnx.NodeProto]]:
    """Return the nodes that each module makes itself, those of inner modules left out."""
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        *scopes, _ = node.name.split("/")
        module = module_of(scopes[1:], modules) if len(scopes) > 1 else ""
        if module is not None:
            found.setdefault(module, []).append(node)
    return found
