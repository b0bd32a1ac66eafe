"""The built-in models that code makes: architecture, digests, and the folder they are kept in."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from xbackend.errors import ModelError
from xbackend.models import catalogue
from xbackend.models.generated import model_cache as generated
from xbackend.models.generated.graph import GraphBuilder, _window
from xbackend.models.generated.models import R18, R50V2, GeneratedModel
from xbackend.models.generated.random_numbers import uniform_signed
from xbackend.preparation.model import find_model


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder in which models are made once for all tests."""
    return tmp_path_factory.mktemp("generated")


@pytest.fixture
def folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the ResNet18."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    model = generated.find("cifar10-r18")
    assert model is not None
    return generated.ensure_cached(model)


@pytest.fixture
def network(folder: Path) -> onnx.ModelProto:
    return onnx.load(folder / "model.onnx")


@pytest.fixture
def weeds(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the ResNet50V2."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    model = generated.find("deepweeds-r50v2")
    assert model is not None
    return generated.ensure_cached(model)


def _weights(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def _attributes(model: onnx.ModelProto, name: str) -> dict[str, list[int]]:
    (node,) = [node for node in model.graph.node if node.name == name]
    return {each.name: list(each.ints) for each in node.attribute}


def test_the_papers_resnet18_has_its_11191306_parameters(folder: Path) -> None:
    stem = 7 * 7 * 3 * 64 + 64
    first = 4 * (3 * 3 * 64 * 64 + 64)
    later = sum(
        3 * 3 * c // 2 * c + 3 * (3 * 3 * c * c) + 4 * c + c // 2 * c for c in (128, 256, 512)
    )
    norms = 4 * 4 * (64 + 128 + 256 + 512)
    assert stem + first + later == 11_170_816
    assert stem + first + later + norms + 512 * 10 + 10 == 11_191_306
    assert json.loads((folder / "model.json").read_text())["parameters"] == 11_191_306


def test_the_papers_resnet50v2_has_its_24744457_parameters(weeds: Path) -> None:
    stem, count = 7 * 7 * 3 * 64 + 64, 0
    entering = 64
    for c, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        count += entering * 4 * c + 4 * c
        for block in range(blocks):
            inside = entering if block == 0 else 4 * c
            count += inside * c + 3 * 3 * c * c + c * 4 * c + 4 * c
            count += 4 * (inside + c + c)
        entering = 4 * c
    dense = 8 * 8 * 2048 * 9 + 9
    assert stem + count + 4 * 2048 + dense == 24_744_457
    assert json.loads((weeds / "model.json").read_text())["parameters"] == 24_744_457
    onnx.checker.check_model(weeds / "model.onnx", full_check=True)


def test_the_file_holds_scale_and_shift_in_place_of_four_vectors(network: onnx.ModelProto) -> None:
    held = sum(array.size for array in _weights(network).values())
    assert held == 11_191_306 - 2 * 4 * (64 + 128 + 256 + 512)


def test_the_layers_are_those_of_the_paper(network: onnx.ModelProto) -> None:
    counts = Counter(node.op_type for node in network.graph.node)
    assert counts["Conv"] == 1 + 16 + 3
    assert counts["Mul"] == 16
    assert counts["Add"] == 16 + 8
    assert counts["Relu"] == 16
    onnx.checker.check_model(network, full_check=True)


@pytest.mark.parametrize(
    ("layer", "pads", "stride"),
    [
        ("conv1", [2, 2, 3, 3], 2),
        ("pool1", [0, 0, 1, 1], 2),
        ("s1b1_conv1", [1, 1, 1, 1], 1),
        ("s2b1_conv1", [0, 0, 1, 1], 2),
        ("s2b1_shortcut", [0, 0, 0, 0], 2),
        ("s4b1_conv1", [0, 0, 1, 1], 2),
        ("s4b2_conv2", [1, 1, 1, 1], 1),
    ],
)
def test_padding_is_that_of_keras_same(
    network: onnx.ModelProto, layer: str, pads: list[int], stride: int
) -> None:
    attributes = _attributes(network, layer)
    assert attributes["pads"] == pads
    assert attributes["strides"] == [stride, stride]


def test_padding_goes_after_where_it_cannot_be_halved() -> None:
    window, out = _window((5, 8), 3, 2)
    assert window["pads"] == [1, 0, 1, 1]
    assert out == (3, 4)


def test_only_the_shortcuts_have_no_bias(network: onnx.ModelProto) -> None:
    bare = [n.name for n in network.graph.node if n.op_type == "Conv" and len(n.input) == 2]
    assert bare == ["s2b1_shortcut", "s3b1_shortcut", "s4b1_shortcut"]


def test_scale_and_shift_are_rounded_once_for_each_step() -> None:
    net = GraphBuilder("seed")
    net.norm(net.image_input("x", 1, 1, 5), "n")
    weights = {t.name: numpy_helper.to_array(t).ravel() for t in net.weights}
    drawn = {
        word: uniform_signed(f"seed/n/{word}", (5,))
        for word in ("gamma", "beta", "mean", "deviation")
    }
    assert net.parameters == 20
    for place in range(5):
        gamma, beta, mean, deviation = (float(drawn[word][place]) for word in drawn)
        top = np.float32(1 + float(np.float32(gamma / 4)))
        bottom = np.float32(1.125 + float(np.float32(deviation / 4)))
        scale = np.float32(float(top) / float(bottom))
        moved = np.float32(mean / 8 * float(scale))
        assert weights["n/scale"][place] == scale
        assert weights["n/shift"][place] == np.float32(beta / 8 - float(moved))


def test_the_digests_in_the_code_are_those_of_the_files(folder: Path, weeds: Path) -> None:
    folders = {"cifar10-r18": folder, "deepweeds-r50v2": weeds}
    for model in (R18, R50V2):
        for name, digest in zip(("model.onnx", "samples.npy"), model.digests, strict=True):
            data = (folders[model.name] / name).read_bytes()
            assert hashlib.sha256(data).hexdigest() == digest


def test_samples_are_noise_of_23_bits_below_one(folder: Path) -> None:
    samples = np.load(folder / "samples.npy", allow_pickle=False)
    assert samples.shape == (3, 32, 32, 3)
    assert samples.dtype == np.float32
    assert 0 <= samples.min() < 0.001
    assert 0.999 < samples.max() < 1
    assert np.array_equal(samples * 2.0**23, np.round(samples * 2.0**23))


def test_it_is_a_model_like_the_shipped_ones(folder: Path) -> None:
    found = find_model("cifar10-r18")
    assert found.files == {"onnx": folder / "model.onnx"}
    assert found.samples == folder / "samples.npy"
    assert found.sample_names == ("noise1", "noise2", "noise3")
    details = dict(catalogue.details(catalogue.builtin("cifar10-r18")))
    assert "nothing was trained" in details["weights"]
    assert "noise" in details["samples are"]


def test_what_is_kept_is_not_made_again(folder: Path) -> None:
    before = (folder / "model.onnx").stat().st_mtime_ns
    catalogue.builtin("cifar10-r18")
    assert (folder / "model.onnx").stat().st_mtime_ns == before


def test_the_list_of_models_names_them_and_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (row,) = [row for row in catalogue.rows() if row[0] == "cifar10-r18"]
    assert row[1] == "11,191,306"
    assert "generated" in row[2]
    assert "cifar10-r18" in catalogue.names()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GeneratedModel:
    """A model that is made in no time, in a cache folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "tiny_builder.py").write_text(
        "def build(net):\n"
        "    image = net.image_input('image', 4, 4, 1)\n"
        "    x = net.global_average_pool(net.conv(image, 'conv', 2, 3), 'gap')\n"
        "    net.softmax(net.dense(x, 'dense', 3), 'softmax')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    model = GeneratedModel("tiny", "A tiny one.", "tiny_builder", 29, ("", ""), "tiny")
    net = generated.build(model)
    made = (generated.encode(net, "tiny"), generated.draw_samples(net, "tiny"))
    first, second = (hashlib.sha256(data).hexdigest() for data in made)
    return dataclasses.replace(model, digests=(first, second))


@pytest.mark.parametrize("damage", [b"", b"other bytes"])
def test_a_damaged_file_is_made_again(tiny: GeneratedModel, damage: bytes) -> None:
    path = generated.ensure_cached(tiny) / "model.onnx"
    whole = path.read_bytes()
    path.write_bytes(damage)
    assert (generated.ensure_cached(tiny) / "model.onnx").read_bytes() == whole
    assert [each.name for each in tiny.folder.parent.iterdir()] == [tiny.folder.name]


def test_other_bits_than_those_recorded_are_refused_and_not_kept(tiny: GeneratedModel) -> None:
    wrong = dataclasses.replace(tiny, digests=("0" * 64, tiny.digests[1]))
    with pytest.raises(ModelError, match=r"'tiny' gave a model\.onnx .* instead of 000000000000"):
        generated.ensure_cached(wrong)
    assert list(tiny.folder.parent.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_one_sentence(
    tiny: GeneratedModel, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(ModelError, match="XDG_CACHE_HOME") as caught:
        generated.ensure_cached(tiny)
    assert "\n" not in str(caught.value)
