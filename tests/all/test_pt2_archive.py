"""A .pt2 archive that could act is refused, or what acts in it is never read."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from xbackend.converters.torch_to_onnx import convert
from xbackend.errors import ModelError
from xbackend.plugins.converter import ConversionRequest, ConversionResult

WEIGHTS = ["0.bias", "0.weight", "1.bias", "1.running_mean", "1.running_var", "1.weight"]

Damage = Callable[[dict[str, bytes]], None]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Save a small network as an exported program; the current folder is the test's own."""
    torch.manual_seed(9)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).eval()
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape) + 0.5)
    path = tmp_path / "network.pt2"
    torch.export.save(torch.export.export(network, (torch.rand(1, 3, 8, 8),)), path)
    monkeypatch.chdir(tmp_path)
    return path


def converted(path: Path) -> ConversionResult:
    """Convert in this process."""
    output = path.parent / "converted"
    output.mkdir(exist_ok=True)
    return convert(ConversionRequest(path, "pt2", "onnx", output))


def test_a_sound_archive_is_converted(program: Path) -> None:
    assert sorted(converted(program).weights.identical) == WEIGHTS


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
    row = config["config"]["1.bias"]
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
def test_torch_itself_would_execute_a_planted_pickle(plant: Any, program: Path, mark: Path) -> None:
    """If this fails, PyTorch became safer and the other tests of bombs show less than they say."""
    path = damaged(program, lambda members: plant(members, Bomb(mark)))
    subprocess.run([sys.executable, "-c", LOAD, str(path)], capture_output=True, check=False)
    assert mark.exists()


@pytest.mark.parametrize("plant", [pickled_weight, opaque_constant, old_weights])
def test_a_planted_pickle_is_refused_before_it_is_read(
    plant: Any, program: Path, mark: Path
) -> None:
    path = damaged(program, lambda members: plant(members, Bomb(mark)))
    with pytest.raises(ModelError, match="reading it would execute what it holds"):
        converted(path)
    assert not mark.exists()


def test_planted_example_inputs_are_never_read(program: Path, mark: Path) -> None:
    path = damaged(program, lambda members: example_inputs(members, Bomb(mark)))
    assert sorted(converted(path).weights.identical) == WEIGHTS
    assert not mark.exists()


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.pt2"])
@pytest.mark.parametrize("old", [True, False], ids=["before 1.6", "zip"])
def test_a_pickled_file_is_refused_under_any_name(
    name: str, old: bool, tmp_path: Path, mark: Path
) -> None:
    path = tmp_path / name
    torch.save(Bomb(mark), path, _use_new_zipfile_serialization=not old)
    with pytest.raises(ModelError, match="reading it would execute what it holds"):
        converted(path)
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
def test_a_graph_that_could_act_is_refused(evil: Any, program: Path, tmp_path: Path) -> None:
    plant, text = evil
    path = damaged(program, edit(GRAPH, lambda graph: plant(graph, text)))
    with pytest.raises(ModelError, match=r"damaged\.pt2 is not sound \(models/model\.json\)"):
        converted(path)
    assert not (tmp_path / "mark").exists()


def test_code_that_guards_inputs_is_left_out(program: Path, tmp_path: Path) -> None:
    def plant(graph: Any) -> None:
        graph["guards_code"] = [OPEN]

    path = damaged(program, edit(GRAPH, plant))
    assert sorted(converted(path).weights.identical) == WEIGHTS
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
def test_a_broken_archive_is_one_sentence(damage: Any, program: Path) -> None:
    path = damaged(program, damage)
    with pytest.raises(ModelError, match=BROKEN[damage]) as caught:
        converted(path)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_one_sentence(program: Path, tmp_path: Path) -> None:
    program.write_bytes(program.read_bytes()[:2000])
    with pytest.raises(ModelError, match=r"is not a whole \.pt2 archive"):
        converted(program)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"Cannot read .*nowhere\.pt2"):
        converted(tmp_path / "nowhere.pt2")


def test_an_archive_that_unpacks_to_too_much_is_refused_at_once(
    program: Path, tmp_path: Path
) -> None:
    path = tmp_path / "bomb.pt2"
    path.write_bytes(program.read_bytes())
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("model/data/weights/weight_9", "w") as file,
    ):
        for _ in range(50):
            file.write(bytes(4 << 20))
    with pytest.raises(ModelError, match=r"unpacks to .* more than 200 times"):
        converted(path)


def test_a_name_that_leads_elsewhere_is_refused(program: Path, tmp_path: Path) -> None:
    path = tmp_path / "elsewhere.pt2"
    path.write_bytes(program.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("model/../../../evil", b"x")
    with pytest.raises(ModelError, match=r"put elsewhere"):
        converted(path)
