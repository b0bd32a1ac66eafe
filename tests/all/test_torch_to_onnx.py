"""PyTorch programs and modules become ONNX with every weight as it is, and files stay harmless."""

from __future__ import annotations

import io
import json
import pickle
import runpy
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from xbackend import registry
from xbackend.converter import Request, Result
from xbackend.converters.torch_to_onnx import convert
from xbackend.errors import ConversionError, ModelError
from xbackend.testing.artifacts import default_settings, load_backend, make_artifact
from xbackend.worker.tensor import of

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

Damage = Callable[[dict[str, bytes]], None]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write the user's module into the current folder, and import it for its numbers."""
    (tmp_path / "my_network.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_network", raising=False)
    return runpy.run_path(str(tmp_path / "my_network.py"), run_name="my_network_here")


def converted(source: str | Path, folder: Path, inputs: Path | None = None) -> Result:
    """Convert in this process."""
    output = folder / "converted"
    output.mkdir(exist_ok=True)
    kind = "pt2" if isinstance(source, Path) else "callable"
    return convert(Request(Path(source), kind, "onnx", output, inputs))


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
            (result,) = session.run({port.name: of(value.numpy())}).values()
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


REFUSED = {
    "without_examples": "gives no example inputs to trace the module with",
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
    with pytest.raises(ConversionError, match="cannot export my_network:Untraceable") as caught:
        converted("my_network:Untraceable", tmp_path)
    assert "\n" not in str(caught.value)


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.write_text, (self.mark, "boom")


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """Return where a bomb leaves its mark."""
    return tmp_path / "mark"


def damaged(source: Path, damage: Damage) -> Path:
    """Write an archive again with some members changed; names are within its folder."""
    target = source.with_name("damaged.pt2")
    with zipfile.ZipFile(source) as archive:
        root = archive.namelist()[0].partition("/")[0]
        members = {
            name.partition("/")[2]: archive.read(name) for name in archive.namelist()
        }  # fmt: skip
    damage(members)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(f"{root}/{name}", data)
    return target


def edit(member: str, change: Callable[[Any], None]) -> Damage:
    """Return a damage that changes one JSON document."""

    def damage(members: dict[str, bytes]) -> None:
        document = json.loads(members[member])
        change(document)
        members[member] = json.dumps(document).encode()

    return damage


def torch_bytes(value: Any) -> bytes:
    """Return what torch.save writes."""
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


CONFIG = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
GRAPH = "models/model.json"


def pickled_weight(members: dict[str, bytes], bomb: Any) -> None:
    config = json.loads(members[CONFIG])
    row = config["config"]["fc.bias"]
    row["use_pickle"] = True
    members[CONFIG] = json.dumps(config).encode()
    members[f"data/weights/{row['path_name']}"] = torch_bytes(bomb)


def opaque_constant(members: dict[str, bytes], bomb: Any) -> None:
    config = json.loads(members[CONSTANTS])
    row = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
    config["config"]["k"] = row
    members[CONSTANTS] = json.dumps(config).encode()
    members["data/constants/opaque_obj_0"] = pickle.dumps(bomb)


def old_weights(members: dict[str, bytes], bomb: Any) -> None:
    members["data/weights/model.pt"] = torch_bytes(bomb)


def example_inputs(members: dict[str, bytes], bomb: Any) -> None:
    members["data/sample_inputs/model.pt"] = torch_bytes(bomb)


UNPICKLED = [pickled_weight, opaque_constant, old_weights, example_inputs]

LOAD = "import sys, torch; torch.export.load(sys.argv[1])"


@pytest.mark.parametrize("plant", UNPICKLED)
def test_torch_itself_would_execute_a_planted_pickle(
    plant: Any, module: Any, tmp_path: Path, mark: Path
) -> None:
    """If this fails, PyTorch became safer and the other tests of bombs show less than they say."""
    path = damaged(saved(module, tmp_path), lambda members: plant(members, Bomb(mark)))
    subprocess.run([sys.executable, "-c", LOAD, str(path)], capture_output=True, check=False)
    assert mark.exists()


@pytest.mark.parametrize("plant", [pickled_weight, opaque_constant, old_weights])
def test_a_planted_pickle_is_refused_before_it_is_read(
    plant: Any, module: Any, tmp_path: Path, mark: Path
) -> None:
    path = damaged(saved(module, tmp_path), lambda members: plant(members, Bomb(mark)))
    with pytest.raises(ModelError, match="reading it would execute what it holds"):
        converted(path, tmp_path)
    assert not mark.exists()


def test_planted_example_inputs_are_never_read(module: Any, tmp_path: Path, mark: Path) -> None:
    path = damaged(saved(module, tmp_path), lambda members: example_inputs(members, Bomb(mark)))
    assert sorted(converted(path, tmp_path).weights.identical) == WEIGHTS
    assert not mark.exists()


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.pt2"])
@pytest.mark.parametrize("old", [True, False], ids=["before 1.6", "zip"])
def test_a_pickled_file_is_refused_under_any_name(
    name: str, old: bool, tmp_path: Path, mark: Path
) -> None:
    path = tmp_path / name
    torch.save(Bomb(mark), path, _use_new_zipfile_serialization=not old)
    with pytest.raises(ModelError, match="reading it would execute what it holds"):
        converted(path, tmp_path)
    assert not mark.exists()


def name_a_node(graph: Any, text: str) -> None:
    graph["graph_module"]["graph"]["nodes"][0]["outputs"][0]["as_tensor"]["name"] = text


def name_an_input(graph: Any, text: str) -> None:
    graph["graph_module"]["graph"]["inputs"][-1]["as_tensor"]["name"] = text


def call(graph: Any, text: str) -> None:
    graph["graph_module"]["graph"]["nodes"][0]["target"] = text


def give_a_function(graph: Any, text: str) -> None:
    argument = graph["graph_module"]["graph"]["nodes"][0]["inputs"][0]
    argument["arg"] = {"as_operator": text}


def size(graph: Any, text: str) -> None:
    values = graph["graph_module"]["graph"]["tensor_values"]
    next(iter(values.values()))["sizes"][0] = {"as_expr": {"expr_str": text, "hint": None}}


def structure(graph: Any, text: str) -> None:
    signature = graph["graph_module"]["module_call_graph"][0]["signature"]
    signature["in_spec"] = text


def key(graph: Any, text: str) -> None:
    graph["graph_module"]["graph"]["tensor_values"][text] = {}


OPEN = "__import__('pathlib').Path('mark').touch()"

EVIL = {
    "a node's name": (name_a_node, f"x = {OPEN}"),
    "an input's name": (name_an_input, f"x={OPEN}"),
    "a value's name": (key, f"x = {OPEN}"),
    "a function of torch": (call, "torch.os.system"),
    "a function of Python": (call, "_operator.attrgetter"),
    "a loader": (call, "torch.ops.load_library.__call__"),
    "a foreign operator": (call, "torch.ops.mine.do"),
    "a function as an argument": (give_a_function, "torch.os.system"),
    "a size": (size, OPEN),
    "a size within a size": (size, f"Max(Integer(1), {OPEN})"),
    "a text within a size": (size, f'Integer("{OPEN}")'),
    "a symbol's name": (size, f'Symbol("{OPEN}")'),
    "an attribute of a size": (size, "Integer.__class__"),
    "half a size": (size, "Integer("),
    "a structure": (structure, json.dumps([1, {
        "type": "collections.defaultdict",
        "context": json.dumps({"default_factory_module": "os", "default_factory_name": "abort",
                               "dict_context": []}),
        "children_spec": [],
    }])),
    "half a structure": (structure, "[1"),
}  # fmt: skip


@pytest.mark.parametrize("evil", EVIL.values(), ids=EVIL)
def test_a_graph_that_could_act_is_refused(evil: Any, module: Any, tmp_path: Path) -> None:
    plant, text = evil
    path = damaged(saved(module, tmp_path), edit(GRAPH, lambda graph: plant(graph, text)))
    with pytest.raises(ModelError, match=r"damaged\.pt2 is not sound \(models/model\.json\)"):
        converted(path, tmp_path)
    assert not (tmp_path / "mark").exists()


def test_code_that_guards_inputs_is_left_out(module: Any, tmp_path: Path) -> None:
    def plant(graph: Any) -> None:
        graph["guards_code"] = [OPEN]

    path = damaged(saved(module, tmp_path), edit(GRAPH, plant))
    assert sorted(converted(path, tmp_path).weights.identical) == WEIGHTS
    assert not (tmp_path / "mark").exists()


def lose_the_graph(members: dict[str, bytes]) -> None:
    del members[GRAPH]


def lose_a_weight(members: dict[str, bytes]) -> None:
    del members["data/weights/weight_0"]


def shorten_a_weight(members: dict[str, bytes]) -> None:
    members["data/weights/weight_0"] = members["data/weights/weight_0"][:8]


def add_compiled_code(members: dict[str, bytes]) -> None:
    members["data/aotinductor/model/model.so"] = b"\x7fELF"


def lose_the_format(members: dict[str, bytes]) -> None:
    del members["archive_format"]


BROKEN = {
    lose_the_graph: "holds 0 programs where one is wanted",
    lose_a_weight: "cannot read",
    shorten_a_weight: "cannot read",
    add_compiled_code: "holds compiled code",
    lose_the_format: "is not an exported program",
}


@pytest.mark.parametrize("damage", BROKEN)
def test_a_broken_archive_is_one_sentence(damage: Any, module: Any, tmp_path: Path) -> None:
    path = damaged(saved(module, tmp_path), damage)
    with pytest.raises(ModelError, match=BROKEN[damage]) as caught:
        converted(path, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_one_sentence(module: Any, tmp_path: Path) -> None:
    path = saved(module, tmp_path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ModelError, match=r"is not a whole \.pt2 archive"):
        converted(path, tmp_path)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"Cannot read .*nowhere\.pt2"):
        converted(tmp_path / "nowhere.pt2", tmp_path)
