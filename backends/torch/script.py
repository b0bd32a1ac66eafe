"""Plain code that computes a small graph with PyTorch alone, for a few common operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Dict, List

from xbackend.worker.script_statements import node_statements

if TYPE_CHECKING:
    from xbackend.worker.contract import Settings
    from xbackend.worker.graph import Graph, Node

START = """\
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper

torch.set_num_threads({threads})
weights = onnx.load("model.onnx").graph.initializer
v = {{t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in weights}}
v.update({{name: torch.from_numpy(array) for name, array in inputs.items()}})
{lines}
outputs = {{name: v[name].numpy() for name in {names}}}"""
SIMPLE = {
    "Exp": "torch.exp({})",
    "GlobalAveragePool": "F.adaptive_avg_pool2d({}, 1)",
    "MatMul": "torch.matmul({}, {})",
    "Relu": "torch.relu({})",
    "Sigmoid": "torch.sigmoid({})",
    "Sqrt": "torch.sqrt({})",
    "Tanh": "torch.tanh({})",
}


def script(graph: Graph, settings: Settings) -> str:
    """Return statements; nothing where an operator, a format or a setting has no plain form."""
    lines = node_statements(graph, settings, SIMPLE, WRITERS)
    if not lines:
        return ""
    names = list(graph.output_names)
    return START.format(threads=settings["threads"], lines="\n".join(lines), names=names)


def _conv(node: Node, values: List[str]) -> str:
    pads = list(node.attributes.get("pads", ()))
    half = len(pads) // 2
    if node.attributes.get("auto_pad", "NOTSET") != "NOTSET" or pads[:half] != pads[half:]:
        return ""
    rest = [list(node.attributes[key]) for key in ("strides",)]
    rest += [pads[:half], list(node.attributes["dilations"])]
    bias = values[2] if len(values) > 2 else "None"
    told = ", ".join(map(str, [*rest, node.attributes["group"]]))
    return f"F.conv{half}d({values[0]}, {values[1]}, {bias}, {told})"


def _gemm(node: Node, values: List[str]) -> str:
    """Write what the adapter calls: `F.linear` where the node is one, else a product and a sum."""
    if node.attributes["alpha"] != 1 or node.attributes["beta"] != 1:
        return ""
    left = f"{values[0]}.t()" if node.attributes["transA"] else values[0]
    if node.attributes["transB"]:
        return f"F.linear({left}, {', '.join(values[1:])})"
    if len(values) == 2:
        return f"torch.mm({left}, {values[1]})"
    return f"torch.addmm({values[2]}, {left}, {values[1]})"


def _softmax(node: Node, values: List[str]) -> str:
    if node.attributes.get("coerce_2d"):
        return ""
    return f"torch.softmax({values[0]}, {node.attributes['axis']})"


def _transpose(node: Node, values: List[str]) -> str:
    perm = node.attributes.get("perm")
    return f"{values[0]}.permute({list(perm)})" if perm else ""


WRITERS: Dict[str, Callable[[Node, List[str]], str]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "Softmax": _softmax,
    "Transpose": _transpose,
}
