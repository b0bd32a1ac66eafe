"""PyTorch programs and modules become ONNX with every weight as it is."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from xbackend.converters.torch_to_onnx import convert
from xbackend.errors import ConversionError, ModelError
from xbackend.plugins import registry
from xbackend.plugins.converter import ConversionRequest, ConversionResult
from xbackend.preparation.conversion.convert import ArtifactBuilder
from xbackend.preparation.model import Model, find_model
from xbackend.store.store import Store
from xbackend.testing.artifacts import default_settings, load_backend, make_artifact
from xbackend.worker.tensor import from_numpy

MODULE = """
import torch

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.conv = torch.nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = torch.nn.BatchNorm2d(8)
        self.fc = torch.nn.Linear(8 * 4 * 4, 5)
        with torch.no_grad():
            for value in (*self.norm.parameters(), self.norm.running_mean, self.norm.running_var):
                value.copy_(torch.rand(8) + 0.5)

    def forward(self, image):
        x = torch.relu(self.norm(self.conv(image)))
        x = torch.nn.functional.max_pool2d(x, 2)
        return torch.softmax(self.fc(torch.flatten(x, 1)), 1)

EXAMPLE = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(6))

def with_examples():
    return Network(), (EXAMPLE,)

def with_one_example():
    return Network(), EXAMPLE

def with_attribute():
    network = Network()
    network.example_inputs = (EXAMPLE,)
    return network

def without_examples():
    return Network()

without_examples_but = without_examples

def program():
    return torch.export.export(Network().eval(), (EXAMPLE,))

def traced():
    return torch.jit.trace(Network().eval(), EXAMPLE), EXAMPLE

def nothing():
    return 3

def fails():
    raise ValueError("It is Tuesday.")

instance = Network()
instance.example_inputs = EXAMPLE

class Untraceable(torch.nn.Module):
    example_inputs = (EXAMPLE,)

    def forward(self, image):
        return torch.linalg.svdvals(image)
"""

WEIGHTS = ["conv.weight", "fc.bias", "fc.weight", "norm.bias", "norm.running_mean",
           "norm.running_var", "norm.weight"]  # fmt: skip


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write the user's module into the current folder, and import it for its numbers."""
    (tmp_path / "my_network.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_network", raising=False)
    return runpy.run_path(str(tmp_path / "my_network.py"), run_name="my_network_here")


def converted(source: str | Path, folder: Path, inputs: Path | None = None) -> ConversionResult:
    """Convert in this process."""
    output = folder / "converted"
    output.mkdir(exist_ok=True)
    kind = "pt2" if isinstance(source, Path) else "callable"
    return convert(ConversionRequest(Path(source), kind, "onnx", output, inputs))


def saved(module: Any, folder: Path) -> Path:
    """Save the network as an exported program."""
    path = folder / "network.pt2"
    torch.export.save(module["program"](), path)
    return path


def outputs(folder: Path, value: Any) -> dict[str, Any]:
    """Run what was converted in the backends `torch` and `ort`."""
    model = onnx.load(folder / "converted" / "model.onnx")
    results = {}
    for word in ("torch", "ort"):
        spec = registry.backend(word)
        artifact = make_artifact(model, folder / word)
        (port,) = artifact.inputs
        with load_backend(spec).prepare(artifact, default_settings(spec)) as session:
            (result,) = session.run({port.name: from_numpy(value.numpy())}).values()
        results[word] = result.array
    return results


CALLABLES = ["with_examples", "with_one_example", "with_attribute", "instance", "program"]


@pytest.mark.parametrize("name", CALLABLES)
def test_a_callable_becomes_onnx_with_its_bits(name: str, module: Any, tmp_path: Path) -> None:
    result = converted(f"my_network:{name}", tmp_path)
    assert sorted(result.weights.identical) == WEIGHTS
    assert result.weights.changed == ()
    with torch.inference_mode():
        expected = module["Network"]().eval()(module["EXAMPLE"]).numpy()
    found = outputs(tmp_path, module["EXAMPLE"])
    assert found["torch"].tobytes() == expected.tobytes()
    assert np.allclose(found["ort"], expected, rtol=1e-5, atol=1e-7)


def test_an_exported_program_becomes_onnx_with_its_bits(module: Any, tmp_path: Path) -> None:
    result = converted(saved(module, tmp_path), tmp_path)
    assert sorted(result.weights.identical) == WEIGHTS
    assert result.weights.changed == ()
    with torch.inference_mode():
        expected = module["Network"]().eval()(module["EXAMPLE"]).numpy()
    found = outputs(tmp_path, module["EXAMPLE"])
    assert found["torch"].tobytes() == expected.tobytes()
    assert np.allclose(found["ort"], expected, rtol=1e-5, atol=1e-7)


def test_nothing_is_folded(module: Any, tmp_path: Path) -> None:
    for source in ("my_network:with_examples", saved(module, tmp_path)):
        converted(source, tmp_path)
        nodes = onnx.load(tmp_path / "converted" / "model.onnx").graph.node
        assert {"Conv", "BatchNormalization", "Gemm"} <= {node.op_type for node in nodes}


def test_a_module_keeps_the_names_of_its_inputs(module: Any, tmp_path: Path) -> None:
    converted("my_network:with_examples", tmp_path)
    graph = onnx.load(tmp_path / "converted" / "model.onnx").graph
    assert [value.name for value in graph.input] == ["image"]
    assert [value.name for value in graph.output] == ["output"]


def test_sample_inputs_take_the_place_of_examples(module: Any, tmp_path: Path) -> None:
    samples = tmp_path / "samples.npz"
    np.savez(samples, image=np.repeat(module["EXAMPLE"].numpy(), 3, 0))
    converted("my_network:without_examples", tmp_path, samples)
    graph = onnx.load(tmp_path / "converted" / "model.onnx").graph
    extents = graph.input[0].type.tensor_type.shape.dim
    assert [extent.dim_value for extent in extents] == [1, 3, 8, 8]


def test_a_free_batch_stays_free(module: Any, tmp_path: Path) -> None:
    batch = torch.export.Dim("batch", min=1, max=64)
    example = module["EXAMPLE"].repeat(2, 1, 1, 1)
    program = torch.export.export(
        module["Network"]().eval(), (example,), dynamic_shapes=({0: batch},)
    )
    torch.export.save(program, tmp_path / "free.pt2")
    converted(tmp_path / "free.pt2", tmp_path)
    graph = onnx.load(tmp_path / "converted" / "model.onnx").graph
    first, *rest = graph.input[0].type.tensor_type.shape.dim
    assert first.dim_param
    assert [extent.dim_value for extent in rest] == [3, 8, 8]


MAKER = """
import torch
import weights_elsewhere

def make():
    module = torch.nn.Linear(3, 2, bias=False)
    torch.nn.init.constant_(module.weight, weights_elsewhere.VALUE)
    return module, torch.ones(1, 3)
"""


def test_a_function_is_called_again_and_its_model_is_what_comes_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "maker.py").write_text(MAKER)
    store = Store(tmp_path / "store")
    store.create()

    def made(value: float) -> Model:
        (tmp_path / "weights_elsewhere.py").write_text(f"VALUE = {value!r}")
        return ArtifactBuilder(find_model("maker:make"), store, lambda: None, "").resolved_model()

    one, two, again = made(1.5), made(-2.25), made(1.5)
    for model, value in ((one, 1.5), (two, -2.25)):
        (weight,) = onnx.load(model.files["onnx"]).graph.initializer
        assert onnx.numpy_helper.to_array(weight).tolist() == [[value] * 3] * 2
    assert one.digest == again.digest != two.digest
    assert one.files == again.files


REFUSED = {
    "without_examples": "gives no example inputs to trace the module with",
    "traced": "gives a TopLevelTracedModule, and what torch.jit made is not taken",
    "nothing": "gives a int. Make it return a torch.nn.Module",
    "fails": "'my_network:fails' cannot be called: It is Tuesday.",
    "no_such_name": "cannot be called: module 'my_network' has no attribute 'no_such_name'",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_callable_that_gives_no_model_is_one_sentence(
    name: str, module: Any, tmp_path: Path
) -> None:
    with pytest.raises(ModelError) as caught:
        converted(f"my_network:{name}", tmp_path)
    assert REFUSED[name] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_module_that_onnx_cannot_express_is_one_sentence(module: Any, tmp_path: Path) -> None:
    words = "TorchScript exporter cannot export my_network:Untraceable .*torch.export.export"
    with pytest.raises(ConversionError, match=words) as caught:
        converted("my_network:Untraceable", tmp_path)
    assert "\n" not in str(caught.value)
