"""Small ONNX models, and what PyTorch makes of them in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from xbackend.plugins import registry
from xbackend.testing.artifacts import default_settings, load_backend, make_artifact
from xbackend.worker.contract import Session, SettingValue
from xbackend.worker.tensor import Tensor, from_numpy

Array = np.ndarray[Any, Any]

SPEC = registry.backend("torch")

FORMATS = {
    "float32": (torch.float32, TensorProto.FLOAT),
    "float64": (torch.float64, TensorProto.DOUBLE),
    "float16": (torch.float16, TensorProto.FLOAT16),
    "bfloat16": (torch.bfloat16, TensorProto.BFLOAT16),
}
"""Precision to PyTorch's and ONNX's names of it."""


class Builder:
    """Makes ONNX models."""

    def node(
        self,
        operator: str,
        inputs: Mapping[str, Array],
        constants: Mapping[str, Array] | None = None,
        order: Sequence[str] | None = None,
        outputs: Sequence[str] = ("y",),
        opset: int = 18,
        **attributes: Any,
    ) -> onnx.ModelProto:
        """Make a model of one node; `order` names its inputs where that is not the mappings'."""
        constants = constants or {}
        names = list(order) if order is not None else [*inputs, *constants]
        node = helper.make_node(operator, names, list(outputs), **attributes)
        return self.model([node], inputs, constants, outputs, opset)

    def model(
        self,
        nodes: Sequence[onnx.NodeProto],
        inputs: Mapping[str, Array],
        constants: Mapping[str, Array],
        outputs: Sequence[str],
        opset: int = 18,
    ) -> onnx.ModelProto:
        """Make a model; ONNX infers the formats of its outputs."""
        graph = helper.make_graph(
            list(nodes),
            "graph",
            [self._value(name, array) for name, array in inputs.items()],
            [helper.make_empty_tensor_value_info(name) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in constants.items()],
        )
        imports = [helper.make_opsetid("", opset)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=8)
        return onnx.shape_inference.infer_shapes(model)

    @staticmethod
    def _value(name: str, array: Array) -> onnx.ValueInfoProto:
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        return helper.make_tensor_value_info(name, kind, array.shape)


class Torch:
    """The adapter, in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0

    def prepare(self, model: onnx.ModelProto, **settings: SettingValue) -> Session:
        """Open a session with the default settings but for some."""
        self.count += 1
        artifact = make_artifact(model, self.folder / str(self.count))
        return load_backend(SPEC).prepare(artifact, {**default_settings(SPEC), **settings})

    def outputs(
        self, model: onnx.ModelProto, inputs: Mapping[str, Array], **settings: SettingValue
    ) -> list[Array]:
        """Return the outputs of one inference, in order."""
        with self.prepare(model, **settings) as session:
            results = session.run({name: from_numpy(array) for name, array in inputs.items()})
        return [tensor.array for tensor in results.values()]


@dataclass(frozen=True)
class ModuleCase:
    """A module of PyTorch, and the one ONNX node that is the same function."""

    name: str
    module: Callable[[], Any]
    shape: tuple[int, ...]
    """The input's."""
    operator: str
    weights: tuple[str, ...] = ()
    """Its tensors in the order of the node's inputs after the first."""
    attributes: Mapping[str, Any] | None = None

    def build(self, precision: str) -> tuple[Any, Any, onnx.ModelProto]:
        """Return the module with random weights, an input, and the ONNX model."""
        torch.manual_seed(2)
        dtype, proto = FORMATS[precision]
        module = self.module().eval()
        with torch.no_grad():
            for name, tensor in module.state_dict().items():
                if tensor.is_floating_point():
                    tensor.copy_(torch.rand(tensor.shape) + (0.1 if "var" in name else -0.4))
        module = module.to(dtype)
        value = (torch.rand(self.shape) * 4 - 2).to(dtype)
        return module, value, self._model(module, proto)

    def _model(self, module: Any, proto: int) -> onnx.ModelProto:
        names = ["x", *(name.replace(".", "_") for name in self.weights)]
        node = helper.make_node(self.operator, names, ["y"], **(self.attributes or {}))
        state = dict(module.state_dict())
        weights = [
            helper.make_tensor(
                name.replace(".", "_"), proto, state[name].shape, _raw(state[name]), raw=True
            )
            for name in self.weights
        ]
        graph = helper.make_graph(
            [node],
            "module",
            [helper.make_tensor_value_info("x", proto, self.shape)],
            [helper.make_tensor_value_info("y", proto, None)],
            weights,
        )
        imports = [helper.make_opsetid("", 20)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=9)
        return onnx.shape_inference.infer_shapes(model)


def _raw(tensor: Any) -> bytes:
    return bits_of(tensor).data()


def bits_of(tensor: Any) -> Tensor:
    """Return a tensor of PyTorch as bits, without the code under test."""
    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        return Tensor("bfloat16", tensor.view(torch.int16).numpy().view(np.uint16))
    return from_numpy(tensor.numpy())


@pytest.fixture
def build() -> Builder:
    """Make ONNX models."""
    return Builder()


@pytest.fixture
def framework(tmp_path: Path) -> Iterator[Torch]:
    """Run models in PyTorch; its switches are put back afterwards."""
    yield Torch(tmp_path)
    torch.use_deterministic_algorithms(False)
    torch._C._set_mkldnn_enabled(True)


@pytest.fixture
def to_bits() -> Callable[[Any], Tensor]:
    """Return a tensor of PyTorch as bits."""
    return bits_of


@pytest.fixture
def random() -> np.random.Generator:
    """Numbers that are the same in each test and on each machine."""
    return np.random.default_rng(11)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of each module."""
    if "module_case" in metafunc.fixturenames:
        cases = module_cases()
        metafunc.parametrize("module_case", cases, ids=[case.name for case in cases])


def _conv(kernel: int, **more: Any) -> dict[str, Any]:
    return {"kernel_shape": [kernel, kernel], **more}


IMAGE = (2, 6, 9, 10)
BOTH = ("weight", "bias")
NORM = (*BOTH, "running_mean", "running_var")


def module_cases() -> list[ModuleCase]:
    """List modules whose numbers are exact in float32, so that they are the same in float64."""
    return [*_products(), *_normalisations(), *_pools(), *_activations()]


def _products() -> list[ModuleCase]:
    nn = torch.nn
    return [
        ModuleCase("Conv1d", lambda: nn.Conv1d(6, 4, 3, padding=1), (2, 6, 17), "Conv", BOTH,
                   {"pads": [1, 1]}),
        ModuleCase("Conv2d", lambda: nn.Conv2d(6, 8, 3, stride=2, padding=1), IMAGE, "Conv", BOTH,
                   {"pads": [1] * 4, "strides": [2, 2]}),
        ModuleCase("Conv2d without bias", lambda: nn.Conv2d(6, 8, 1, bias=False), IMAGE, "Conv",
                   ("weight",)),
        ModuleCase("Conv2d dilated", lambda: nn.Conv2d(6, 8, 3, dilation=2), IMAGE, "Conv", BOTH,
                   {"dilations": [2, 2]}),
        ModuleCase("Conv2d in groups", lambda: nn.Conv2d(6, 8, 3, groups=2), IMAGE, "Conv", BOTH,
                   {"group": 2}),
        ModuleCase("Conv2d for each channel", lambda: nn.Conv2d(6, 6, 3, groups=6), IMAGE, "Conv",
                   BOTH, {"group": 6}),
        ModuleCase("Conv2d same", lambda: nn.Conv2d(6, 8, 4, padding="same"), IMAGE, "Conv", BOTH,
                   {"auto_pad": "SAME_UPPER"}),
        ModuleCase("Conv3d", lambda: nn.Conv3d(3, 4, 2, padding=1), (1, 3, 5, 6, 7), "Conv", BOTH,
                   {"pads": [1] * 6}),
        ModuleCase("ConvTranspose1d", lambda: nn.ConvTranspose1d(6, 4, 3, stride=2), (2, 6, 17),
                   "ConvTranspose", BOTH, {"strides": [2]}),
        ModuleCase("ConvTranspose2d",
                   lambda: nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1),
                   IMAGE, "ConvTranspose", BOTH,
                   {"strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 1]}),
        ModuleCase("Linear", lambda: nn.Linear(30, 20), (3, 30), "Gemm", BOTH, {"transB": 1}),
        ModuleCase("Linear without bias", lambda: nn.Linear(30, 20, bias=False), (3, 30), "Gemm",
                   ("weight",), {"transB": 1}),
    ]  # fmt: skip


def _normalisations() -> list[ModuleCase]:
    nn = torch.nn
    return [
        ModuleCase("BatchNorm1d", lambda: nn.BatchNorm1d(6, eps=2.0**-10), (5, 6),
                   "BatchNormalization", NORM, {"epsilon": 2.0**-10}),
        ModuleCase("BatchNorm2d", lambda: nn.BatchNorm2d(6, eps=2.0**-10), IMAGE,
                   "BatchNormalization", NORM, {"epsilon": 2.0**-10}),
        ModuleCase("InstanceNorm2d", lambda: nn.InstanceNorm2d(6, eps=2.0**-10, affine=True),
                   IMAGE, "InstanceNormalization", BOTH, {"epsilon": 2.0**-10}),
        ModuleCase("LayerNorm", lambda: nn.LayerNorm((9, 10), eps=2.0**-10), IMAGE,
                   "LayerNormalization", BOTH, {"axis": 2, "epsilon": 2.0**-10}),
        ModuleCase("LocalResponseNorm", lambda: nn.LocalResponseNorm(5, 2.0**-10, 0.75, 2.0), IMAGE,
                   "LRN", (), {"size": 5, "alpha": 2.0**-10, "beta": 0.75, "bias": 2.0}),
    ]  # fmt: skip


def _pools() -> list[ModuleCase]:
    nn = torch.nn
    return [
        ModuleCase("MaxPool2d", lambda: nn.MaxPool2d(3, 2, 1), IMAGE, "MaxPool", (),
                   _conv(3, strides=[2, 2], pads=[1] * 4)),
        ModuleCase("MaxPool2d ceil", lambda: nn.MaxPool2d(2, 2, ceil_mode=True), IMAGE, "MaxPool",
                   (), _conv(2, strides=[2, 2], ceil_mode=1)),
        ModuleCase("AvgPool2d", lambda: nn.AvgPool2d(3, 2, 1), IMAGE, "AveragePool", (),
                   _conv(3, strides=[2, 2], pads=[1] * 4, count_include_pad=1)),
        ModuleCase("AvgPool2d without padding",
                   lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False), IMAGE, "AveragePool",
                   (), _conv(3, strides=[2, 2], pads=[1] * 4)),
        ModuleCase("AdaptiveAvgPool2d", lambda: nn.AdaptiveAvgPool2d(1), IMAGE,
                   "GlobalAveragePool"),
        ModuleCase("AdaptiveMaxPool2d", lambda: nn.AdaptiveMaxPool2d(1), IMAGE, "GlobalMaxPool"),
    ]  # fmt: skip


def _activations() -> list[ModuleCase]:
    nn = torch.nn
    return [
        ModuleCase("ReLU", nn.ReLU, IMAGE, "Relu"),
        ModuleCase("LeakyReLU", lambda: nn.LeakyReLU(0.25), IMAGE, "LeakyRelu", (),
                   {"alpha": 0.25}),
        ModuleCase("ELU", lambda: nn.ELU(0.75), IMAGE, "Elu", (), {"alpha": 0.75}),
        ModuleCase("GELU", nn.GELU, IMAGE, "Gelu"),
        ModuleCase("GELU tanh", lambda: nn.GELU("tanh"), IMAGE, "Gelu", (),
                   {"approximate": "tanh"}),
        ModuleCase("Hardswish", nn.Hardswish, IMAGE, "HardSwish"),
        ModuleCase("Hardsigmoid", nn.Hardsigmoid, IMAGE, "HardSigmoid", (), {"alpha": 1 / 6}),
        ModuleCase("Sigmoid", nn.Sigmoid, IMAGE, "Sigmoid"),
        ModuleCase("Tanh", nn.Tanh, IMAGE, "Tanh"),
        ModuleCase("Softplus", nn.Softplus, IMAGE, "Softplus"),
        ModuleCase("PReLU", nn.PReLU, IMAGE, "PRelu", ("weight",)),
        ModuleCase("Softmax", lambda: nn.Softmax(1), (3, 30), "Softmax", (), {"axis": 1}),
        ModuleCase("LogSoftmax", lambda: nn.LogSoftmax(1), IMAGE, "LogSoftmax", (), {"axis": 1}),
        ModuleCase("Flatten", nn.Flatten, IMAGE, "Flatten"),
    ]  # fmt: skip
