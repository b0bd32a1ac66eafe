"""Small models of each kind: recurrent, branching, quantized, detecting and others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]

MICROSOFT = "com.microsoft"
TYPES = {
    np.dtype(name): number
    for name, number in (
        ("float32", 1), ("uint8", 2), ("int8", 3), ("int32", 6), ("int64", 7), ("bool", 9)
    )
}  # fmt: skip


@dataclass(frozen=True)
class KindModel:
    """A model and an input of it."""

    model: onnx.ModelProto
    inputs: Mapping[str, Array]


class Writer:
    """Collects nodes that each give outputs of the model, and constants."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.outputs: list[str] = []

    def floats(self, *shape: int) -> str:
        """Add random float32 weights."""
        return self.constant(self.random.normal(size=shape).astype(np.float32))

    def constant(self, array: Array) -> str:
        """Add a constant."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(
        self, operator: str, *inputs: str, count: int = 1, domain: str = "", **given: Any
    ) -> str:
        """Add a node whose outputs are outputs of the model, and return the first."""
        names = [f"{operator.lower()}{len(self.nodes)}_{place}" for place in range(count)]
        self.nodes.append(
            helper.make_node(operator, inputs, names, names[0], domain=domain, **given)
        )
        self.outputs += names
        return names[0]

    def finished(
        self, inputs: Mapping[str, Array], ranks: Mapping[str, int] | None = None, opset: int = 18
    ) -> KindModel:
        """Return the model; types of the outputs are inferred by those who load it."""
        graph = helper.make_graph(
            self.nodes,
            "kind",
            [helper.make_tensor_value_info(n, TYPES[a.dtype], a.shape) for n, a in inputs.items()],
            [helper.make_empty_tensor_value_info(name) for name in self.outputs],
            self.constants,
        )
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        return KindModel(typed(model, inputs), inputs)


def typed(model: onnx.ModelProto, inputs: Mapping[str, Array]) -> onnx.ModelProto:
    """Declare the outputs' formats and shapes as ONNX Runtime finds them."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString())
    for value, array in zip(model.graph.output, session.run(None, dict(inputs)), strict=True):
        value.CopyFrom(helper.make_tensor_value_info(value.name, TYPES[array.dtype], array.shape))
    return model


def recurrent() -> KindModel:
    """LSTM, GRU and RNN: both directions, lengths, states, peepholes, clip, activations."""
    w = Writer(1)
    steps, batch, size, hidden = 4, 3, 5, 6
    x = w.random.normal(size=(steps, batch, size)).astype(np.float32)
    lengths = w.constant(np.array([4, 2, 1], np.int32))
    both = {"direction": "bidirectional", "hidden_size": hidden}
    for operator, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
        weights = [w.floats(2, gates * hidden, n) for n in (size, hidden)]
        weights.append(w.floats(2, 2 * gates * hidden))
        state = w.floats(2, batch, hidden)
        cell = [w.floats(2, batch, hidden), w.floats(2, 3 * hidden)] if operator == "LSTM" else []
        count = 3 if operator == "LSTM" else 2
        w.add(operator, "x", *weights, lengths, state, *cell, count=count, **both)
    one = [w.floats(1, 3 * hidden, n) for n in (size, hidden)]
    w.add("GRU", "x", *one, w.floats(1, 6 * hidden), count=2, hidden_size=hidden,
          linear_before_reset=1, direction="reverse", clip=0.7)  # fmt: skip
    one = [w.floats(1, 4 * hidden, n) for n in (size, hidden)]
    w.add("LSTM", "x", *one, count=3, hidden_size=hidden, input_forget=1,
          activations=["HardSigmoid", "Softsign", "LeakyRelu"],
          activation_alpha=[0.3, 0.1], activation_beta=[0.4])  # fmt: skip
    return w.finished({"x": x})


def body(
    nodes: Sequence[onnx.NodeProto], inputs: Sequence[Any], outputs: Sequence[Any]
) -> onnx.GraphProto:
    """Make a graph within of (name, ONNX's number of the format, shape)."""
    pair = ([helper.make_tensor_value_info(*each) for each in side] for side in (inputs, outputs))
    return helper.make_graph(list(nodes), "body", *pair)


def control_flow() -> KindModel:
    """An If whose branch multiplies, a Loop that stops by itself, a Scan over two axes."""
    w = Writer(2)
    x = w.random.normal(size=(3, 4)).astype(np.float32)
    weight = w.floats(4, 4)
    node = helper.make_node
    real, flag = TensorProto.FLOAT, TensorProto.BOOL
    yes = body([node("MatMul", ["x", weight], ["m"]), node("Relu", ["m"], ["r"])], [],
               [("r", real, [3, 4])])  # fmt: skip
    no = body([node("Neg", ["x"], ["n"])], [], [("n", real, [3, 4])])
    w.add("If", "flag", then_branch=yes, else_branch=no)
    step = body(
        [
            node("MatMul", ["s", weight], ["t"]),
            node("Tanh", ["t"], ["u"]),
            node("Less", ["i", w.constant(np.int64(2))], ["on"]),
            node("ReduceSum", ["u"], ["y"], keepdims=0),
        ],
        [("i", TensorProto.INT64, []), ("go", flag, []), ("s", real, [3, 4])],
        [("on", flag, []), ("u", real, [3, 4]), ("y", real, [])],
    )
    w.add("Loop", w.constant(np.int64(9)), w.constant(np.bool_(True)), "x", body=step, count=2)
    along = body(
        [node("Add", ["h", "c"], ["k"]), node("Mul", ["k", "c"], ["z"])],
        [("h", real, [3]), ("c", real, [3])],
        [("k", real, [3]), ("z", real, [3])],
    )
    w.add("Scan", w.floats(3), "x", body=along, num_scan_inputs=1, scan_input_axes=[1],
          scan_output_axes=[1], scan_input_directions=[1], count=2)  # fmt: skip
    return w.finished({"x": x, "flag": np.array(True)})


def transformer() -> KindModel:
    """What optimisers of transformers write."""
    w = Writer(3)
    x = w.random.normal(size=(2, 5, 8)).astype(np.float32)
    skip, gamma, beta, bias = w.floats(2, 5, 8), w.floats(8), w.floats(8), w.floats(8)
    own = {"domain": MICROSOFT}
    w.add("BiasGelu", "x", bias, **own)
    w.add("FastGelu", "x", bias, **own)
    w.add("QuickGelu", "x", alpha=1.5, **own)
    w.add("FusedMatMul", "x", w.floats(2, 6, 8), transB=1, alpha=0.5, **own)
    w.add("SkipLayerNormalization", "x", skip, gamma, beta, bias, **own)
    w.add("SkipSimplifiedLayerNormalization", "x", skip, gamma, **own)
    mask = w.constant(np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], np.int32))
    weights = [w.floats(8, 24), w.floats(24)]
    w.add("Attention", "x", *weights, mask, num_heads=2, **own)
    w.add("Attention", "x", *weights, num_heads=4, unidirectional=1, **own)
    w.add("MultiHeadAttention", "x", skip, "x", w.floats(24), num_heads=2, **own)
    caches = [w.constant(f(np.outer(np.arange(9), [1.0, 0.1])).astype(np.float32))
              for f in (np.cos, np.sin)]  # fmt: skip
    first = w.constant(np.array([2], np.int64))
    w.add("RotaryEmbedding", "x", first, *caches, **own)
    w.add("RotaryEmbedding", "x", first, *caches, interleaved=1, **own)
    packed = w.constant(w.random.integers(0, 256, (6, 1, 8), np.uint8))
    scales = w.constant(w.random.uniform(0.01, 0.1, 6).astype(np.float32))
    shape = {"K": 8, "N": 6, "bits": 4, "block_size": 16}
    w.add("MatMulNBits", "x", packed, scales, **shape, **own)
    zeros = w.constant(w.random.integers(0, 16, 6).astype(np.uint8))
    w.add("MatMulNBits", "x", packed, scales, zeros, **shape, **own)
    return w.finished({"x": x})


def grouped() -> KindModel:
    """Attention with fewer heads of keys, turned by positions, with and without a past."""
    w = Writer(8)
    x = w.random.normal(size=(1, 3, 64)).astype(np.float32)
    lengths, total = w.constant(np.int32([2])), w.constant(np.int32(3))
    caches = [w.constant(f(np.outer(np.arange(9), 0.5 ** np.arange(8))).astype(np.float32))
              for f in (np.cos, np.sin)]  # fmt: skip
    shape = {"num_heads": 4, "kv_num_heads": 2, "domain": MICROSOFT}
    keys = [w.floats(1, 3, 32) for _ in range(2)]
    w.add("GroupQueryAttention", "x", *keys, "", "", lengths, total, *caches, do_rotary=1,
          count=3, **shape)  # fmt: skip
    past = [w.floats(1, 2, 2, 16) for _ in range(2)]
    lengths, total = w.constant(np.int32([4])), w.constant(np.int32(5))
    w.add("GroupQueryAttention", "x", *keys, *past, lengths, total, count=3,
          local_window_size=2, softcap=5.0, **shape)  # fmt: skip
    return w.finished({"x": x})


def dynamic_quantization() -> KindModel:
    """Integers that are made at run time, and their exact sums."""
    w = Writer(4)
    x = w.random.normal(size=(3, 8)).astype(np.float32)
    whole = w.constant(w.random.integers(-128, 128, (8, 4), np.int8))
    point = w.constant(np.int8(3))
    w.add("DynamicQuantizeLinear", "x", count=3)
    made = w.nodes[-1].output
    total = w.add("MatMulInteger", made[0], whole, made[2], point)
    w.add("Mul", w.add("Cast", total, to=TensorProto.FLOAT), made[1])
    scale = w.constant(np.float32(0.02))
    w.add("DynamicQuantizeMatMul", "x", whole, scale, point, w.floats(4), domain=MICROSOFT)
    steps = w.constant(w.random.normal(size=(3, 1, 5)).astype(np.float32))
    cells = [w.constant(w.random.integers(-128, 128, (1, n, 24), np.int8)) for n in (5, 6)]
    scales, zeros = w.constant(np.float32([0.01])), w.constant(np.int8([0]))
    w.add("DynamicQuantizeLSTM", steps, *cells, w.floats(1, 48), "", "", "", "", scales, zeros,
          scales, zeros, count=3, hidden_size=6, domain=MICROSOFT)  # fmt: skip
    picture = w.constant(w.random.integers(0, 256, (1, 2, 5, 5), np.uint8))
    kernel = w.constant(w.random.integers(0, 256, (3, 2, 3, 3), np.uint8))
    zeros = [w.constant(np.uint8(n)) for n in (127, 128)]
    w.add("ConvInteger", picture, kernel, *zeros, pads=[1, 1, 1, 1])
    return w.finished({"x": x})


def quantized() -> KindModel:
    """Operators on integers with scales; all scales are powers of two, so that none is a tie."""
    w = Writer(5)
    x = w.random.integers(0, 256, (1, 2, 6, 6), np.uint8)
    scale = {n: w.constant(np.float32(2.0**n)) for n in (-7, -6, -5, -4, 0)}
    zero = w.constant(np.uint8(120))
    kernel = w.constant(w.random.integers(-100, 100, (4, 2, 3, 3), np.int8))
    each = w.constant(np.array([0.5, 0.25, 0.125, 0.0625], np.float32) / 16)
    none = w.constant(np.zeros(4, np.int8))
    bias = w.constant(w.random.integers(-999, 999, 4).astype(np.int32))
    ends = (scale[0], zero)
    w.add("QLinearConv", "x", scale[-5], zero, kernel, each, none, *ends, bias, pads=[1, 1, 1, 1])
    left = w.constant(w.random.integers(0, 256, (3, 5), np.uint8))
    right = w.constant(w.random.integers(0, 256, (5, 4), np.uint8))
    w.add("QLinearMatMul", left, scale[-5], zero, right, scale[-4], zero, scale[0], zero)
    other = w.constant(w.random.integers(0, 256, (1, 2, 6, 6), np.uint8))
    pair = ("x", scale[-5], zero, other, scale[-6], zero)
    w.add("QLinearAdd", *pair, scale[-4], zero, domain=MICROSOFT)
    w.add("QLinearMul", *pair, scale[-4], zero, domain=MICROSOFT)
    w.add("QLinearGlobalAveragePool", "x", scale[-5], zero, scale[-7], zero, domain=MICROSOFT)
    w.add("QLinearConcat", scale[-4], zero, "x", scale[-5], zero, other, scale[-6], zero,
          axis=1, domain=MICROSOFT)  # fmt: skip
    return w.finished({"x": x})


def detection() -> KindModel:
    """Boxes that are chosen, and elements that are picked, put and sorted."""
    w = Writer(6)
    corners = w.random.uniform(0, 1, (1, 12, 4)).astype(np.float32)
    scores = w.random.uniform(0, 1, (1, 2, 12)).astype(np.float32)
    limits = [w.constant(each) for each in (np.int64([4]), np.float32([0.3]), np.float32([0.2]))]
    w.add("NonMaxSuppression", "boxes", "scores", *limits)
    w.add("TopK", "scores", w.constant(np.int64([3])), count=2)
    w.add("TopK", "boxes", w.constant(np.int64([3])), count=2, axis=1, largest=0)
    w.add("GatherND", "boxes", w.constant(np.int64([[0, 3], [0, -1]])))
    spots = w.constant(np.int64([[0, 1], [0, 5]]))
    w.add("ScatterND", "boxes", spots, w.floats(2, 4))
    w.add("ScatterElements", "boxes", w.constant(np.int64([[[2, 0, 1, 3]]])), w.floats(1, 1, 4),
          axis=1)  # fmt: skip
    w.add("NonZero", w.constant(np.float32([[0, 1, 2], [3, 0, 0]])))
    w.add("Einsum", "boxes", "scores", equation="bnk,bcn->bck")
    w.add("ReverseSequence", "boxes", w.constant(np.int64([5])), batch_axis=0, time_axis=1)
    w.add("Compress", "boxes", w.constant(np.array([True, False, True])), axis=1)
    w.add("EyeLike", w.constant(np.zeros((3, 4), np.float32)), k=1)
    w.add("Hardmax", "scores")
    for operator in ("Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Atanh"):
        w.add(operator, "scores")
    w.add("Acosh", w.add("Add", "scores", w.constant(np.float32(1))))
    return w.finished({"boxes": corners, "scores": scores})


def sequences() -> KindModel:
    """A sequence that is cut, changed and joined."""
    w = Writer(7)
    x = w.random.normal(size=(6, 4)).astype(np.float32)
    steps = [
        ("SplitToSequence", ["x", w.constant(np.int64(2))], "parts", {}),
        ("SequenceAt", ["parts", w.constant(np.int64(-1))], "last", {}),
        ("Neg", ["last"], "turned", {}),
        ("SequenceInsert", ["parts", "turned", w.constant(np.int64(1))], "more", {}),
        ("SequenceErase", ["more", w.constant(np.int64(0))], "less", {}),
    ]
    for operator, inputs, output, given in steps:
        w.nodes.append(helper.make_node(operator, inputs, [output], **given))
    w.add("ConcatFromSequence", "less", axis=0)
    w.add("ConcatFromSequence", "less", axis=1, new_axis=1)
    w.add("SequenceLength", "less")
    return w.finished({"x": x})


KINDS: dict[str, Callable[[], KindModel]] = {
    each.__name__: each
    for each in (
        recurrent,
        control_flow,
        transformer,
        grouped,
        dynamic_quantization,
        quantized,
        detection,
        sequences,
    )
}
