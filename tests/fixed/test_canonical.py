"""Floats in one order are the same bits everywhere: emulated processors, ARM, threads."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from xbackend.commands.main import main
from xbackend.platforms.sysroot import find_sysroot
from xbackend.store.store import Store

X86 = ("qemu:Nehalem", "qemu:Haswell")
ARM = "qemu-arm:cortex-a72"


def weights(name: str, *shape: int) -> onnx.TensorProto:
    """Return weights from whole numbers, the same bits everywhere."""
    generator = np.random.Generator(np.random.PCG64(sum(name.encode())))
    whole = generator.integers(-1000, 1000, shape, dtype=np.int64)
    scale = np.float32(2.0**-9 / np.sqrt(np.prod(shape[1:], initial=1)))
    return numpy_helper.from_array(whole.astype(np.float32) * scale, name)


def of_a_cnn() -> list[onnx.NodeProto]:
    """List windows, normalisations and gates, from `x` to `elu`."""
    node = helper.make_node
    window = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    return [
        node("Conv", ["x", "w1", "b8"], ["conv"], **window),
        node("BatchNormalization", ["conv", "s8", "b8", "m8", "v8"], ["norm"]),
        node("HardSwish", ["norm"], ["swish"]),
        node("Conv", ["swish", "w2"], ["deep"], group=8, strides=[2, 2], **window),
        node("LRN", ["deep"], ["lrn"], size=5, alpha=0.1, beta=0.75),
        node("AveragePool", ["lrn"], ["average"], **window),
        node("MaxPool", ["average"], ["most"], **window),
        node("GlobalAveragePool", ["most"], ["squeezed"]),
        node("Sigmoid", ["squeezed"], ["gate"]),
        node("Mul", ["most", "gate"], ["gated"]),
        node("ConvTranspose", ["gated", "w3"], ["up"], strides=[2, 2]),
        node("Resize", ["up", "", "scales"], ["resized"], mode="linear"),
        node("InstanceNormalization", ["resized", "s4", "b4"], ["instance"]),
        node("Elu", ["instance"], ["elu"]),
    ]


def of_a_transformer() -> list[onnx.NodeProto]:
    """List products, functions and reductions, from `elu` to `y`."""
    node = helper.make_node
    return [
        node("Reshape", ["elu", "rows"], ["tokens"]),
        node("LayerNormalization", ["tokens", "s72", "b72"], ["layer"]),
        node("MatMul", ["layer", "w4"], ["queries"]),
        node("Transpose", ["queries"], ["keys"], perm=[0, 2, 1]),
        node("MatMul", ["queries", "keys"], ["scores"]),
        node("Softmax", ["scores"], ["attention"]),
        node("MatMul", ["attention", "queries"], ["mixed"]),
        node("Gelu", ["mixed"], ["gelu"]),
        node("Tanh", ["mixed"], ["tanh"]),
        node("Erf", ["mixed"], ["erf"]),
        node("Softplus", ["mixed"], ["plus"]),
        node("Log", ["plus"], ["log"]),
        node("Exp", ["tanh"], ["exp"]),
        node("Pow", ["exp", "cube"], ["power"]),
        node("Sum", ["gelu", "erf", "log", "power"], ["sum"]),
        node("Div", ["sum", "exp"], ["quotient"]),
        node("Sqrt", ["plus"], ["root"]),
        node("Sub", ["quotient", "root"], ["difference"]),
        node("ReduceMean", ["difference", "one"], ["mean"], keepdims=0),
        node("Gemm", ["mean", "w5", "b10"], ["gemm"], transB=1),
        node("LogSoftmax", ["gemm"], ["y"]),
    ]


def every_kind() -> onnx.ModelProto:
    """Build a net with every kind of operator: half of a CNN and half of a transformer."""
    shapes = {"w1": (8, 3, 3, 3), "w2": (8, 1, 3, 3), "w3": (8, 4, 2, 2)}
    shapes |= {"w4": (72, 24), "w5": (10, 24), "b8": (8,), "m8": (8,), "b4": (4,)}
    shapes |= {"s8": (8,), "s4": (4,), "b72": (72,), "s72": (72,), "b10": (10,)}
    tensors = [weights(name, *shape) for name, shape in shapes.items()]
    others: dict[str, Any] = {
        "v8": np.arange(1, 9).astype(np.float32) / 8,
        "scales": np.float32([1, 1, 1.5, 1.5]),
        "rows": np.int64([1, 16, 72]),
        "cube": np.float32(2.5),
        "one": np.int64([1]),
    }
    tensors += [numpy_helper.from_array(np.asarray(value), name) for name, value in others.items()]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [*of_a_cnn(), *of_a_transformer()],
        "every-kind",
        [value("x", TensorProto.FLOAT, [1, 3, 16, 8])],
        [value("y", TensorProto.FLOAT, [1, 10])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


@pytest.fixture(scope="module")
def platforms() -> list[str]:
    """Name the platforms that this machine can be."""
    found = ["native"]
    if shutil.which("qemu-x86_64"):
        found += X86
    if find_sysroot() is not None:
        found.append(ARM)
    if len(found) == 1:
        pytest.skip("There is neither qemu-x86_64 nor emulated ARM on this machine.")
    return found


@pytest.mark.parametrize("name", ["every-kind", "cifar10-small"])
def test_every_tap_has_the_same_bits_everywhere(
    tmp_path: Path, platforms: list[str], name: str
) -> None:
    model = name
    if name == "every-kind":
        model = str(tmp_path / "every-kind.onnx")
        onnx.save(every_kind(), model)
    store = str(tmp_path / "store")
    command = ["run", model, "--backends", "fixed", "--precision", "float32", "--store", store]
    assert main([*command, "--threads", "4"]) == 0
    assert main([*command, *(w for spec in platforms for w in ("--platform", spec))]) == 0
    runs = list(Store(Path(store)).runs())
    places = sorted((row["platform"], row["settings"]["threads"]) for row in runs)
    assert places == sorted([("native", 4), *((spec, 1) for spec in platforms)])
    assert len({bits(row) for row in runs}) == 1


def bits(record: Any) -> tuple[Any, ...]:
    """Return the digests of all outputs and taps of all samples."""
    assert record["results"]
    return tuple(
        (tensor["name"], tensor["digest"])
        for row in record["results"]
        for tensor in (*row["outputs"], *row["taps"])
    )
