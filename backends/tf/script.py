"""Plain code that computes a small graph with TensorFlow alone, for a few common operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Dict, List

from xbackend.worker.script_statements import node_statements

if TYPE_CHECKING:
    from xbackend.worker.contract import Settings
    from xbackend.worker.graph import Graph, Node

START = """\
{environment}import onnx
import tensorflow as tf
from onnx import numpy_helper

tf.config.threading.set_intra_op_parallelism_threads({threads})
tf.config.threading.set_inter_op_parallelism_threads({threads})
weights = onnx.load("model.onnx").graph.initializer
v = {{t.name: tf.constant(numpy_helper.to_array(t)) for t in weights}}
v.update({{name: tf.constant(array) for name, array in inputs.items()}})
{lines}
outputs = {{name: v[name].numpy() for name in {names}}}"""
SIMPLE = {
    "Exp": "tf.exp({})",
    "MatMul": "tf.matmul({}, {})",
    "Relu": "tf.nn.relu({})",
    "Sigmoid": "tf.sigmoid({})",
    "Sqrt": "tf.sqrt({})",
    "Tanh": "tf.tanh({})",
}


def script(graph: Graph, settings: Settings) -> str:
    """Return statements; nothing where an operator, a format or a setting has no plain form."""
    lines = node_statements(graph, settings, SIMPLE, WRITERS)
    if not lines:
        return ""
    names = list(graph.output_names)
    lists = {"threads": settings["threads"], "lines": "\n".join(lines), "names": names}
    return START.format(environment=_environment(settings), **lists)


def _environment(settings: Settings) -> str:
    flag = {"on": "1", "off": "0"}.get(str(settings["onednn"]))
    return f'import os\n\nos.environ["TF_ENABLE_ONEDNN_OPTS"] = "{flag}"\n' if flag else ""


def _conv(node: Node, values: List[str]) -> str:
    """Write a convolution over pictures with the channels last, and a bias that is added after."""
    pads = list(node.attributes.get("pads", ()))
    if len(pads) != 4 or node.attributes.get("auto_pad", "NOTSET") != "NOTSET":
        return ""
    if node.attributes["group"] != 1:
        return ""
    padding = [[0, 0], [pads[0], pads[2]], [pads[1], pads[3]], [0, 0]]
    padded = '"VALID"' if not any(pads) else str(padding)
    picture = f"tf.transpose({values[0]}, [0, 2, 3, 1])"
    kernel = f"tf.transpose({values[1]}, [2, 3, 1, 0])"
    strides, dilations = list(node.attributes["strides"]), list(node.attributes["dilations"])
    made = f"tf.nn.conv2d({picture}, {kernel}, {strides}, {padded}, dilations={dilations})"
    if len(values) > 2:
        made = f"tf.nn.bias_add({made}, {values[2]})"
    return f"tf.transpose({made}, [0, 3, 1, 2])"


def _gemm(node: Node, values: List[str]) -> str:
    if node.attributes["alpha"] != 1 or node.attributes["beta"] != 1:
        return ""
    turned = (node.attributes["transA"], node.attributes["transB"])
    left, right = (f"tf.transpose({v})" if t else v for v, t in zip(values, turned))
    made = f"tf.matmul({left}, {right})"
    return f"{made} + {values[2]}" if len(values) > 2 else made


def _softmax(node: Node, values: List[str]) -> str:
    if node.attributes.get("coerce_2d"):
        return ""
    return f"tf.nn.softmax({values[0]}, axis={node.attributes['axis']})"


WRITERS: Dict[str, Callable[[Node, List[str]], str]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "Softmax": _softmax,
}
