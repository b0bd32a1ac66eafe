"""Training the built-in network on files in CIFAR-10's format, small ones made here."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from xbackend.errors import UsageError
from xbackend.models import catalogue
from xbackend.models.dataset import Dataset
from xbackend.preparation.model import find_model
from xbackend.training import cifar10
from xbackend.training.fit import Recipe, fit
from xbackend.training.model_folder import ModelFolder, train_model

NAMES = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
RECIPE = Recipe(epochs=2)


def write_batches(folder: Path, count: int) -> None:
    """Write files whose class is the brightness, so that there is something to learn."""
    generator = np.random.default_rng(7)
    for name in NAMES:
        labels = generator.integers(0, 10, count, dtype=np.uint8)
        noise = generator.integers(0, 20, (count, 3072), dtype=np.uint8)
        pixels = noise + 25 * labels[:, None]
        (folder / name).write_bytes(np.hstack([labels[:, None], pixels]).tobytes())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("cifar")
    write_batches(folder, 40)
    return cifar10.read(folder)


@pytest.fixture(scope="module")
def told() -> list[str]:
    return []


@pytest.fixture(scope="module")
def written(
    data: Dataset, told: list[str], tmp_path_factory: pytest.TempPathFactory
) -> ModelFolder:
    output = tmp_path_factory.mktemp("trained") / "mine"
    return train_model(RECIPE, data, output, told.append)


def test_the_folder_holds_the_network_as_keras_and_onnx_with_samples(written: ModelFolder) -> None:
    names = {path.name for path in written.folder.iterdir()}
    assert written.failed == {}
    assert names == {"model.keras", "model.onnx", "samples.npy", "model.json"}
    assert [path.name for path in written.folder.parent.iterdir()] == ["mine"]


def test_the_trained_folder_is_a_model_to_run(written: ModelFolder) -> None:
    model = find_model(str(written.folder))
    assert set(model.files) == {"keras", "onnx"}
    assert model.samples == written.folder / "samples.npy"
    assert model.name == "mine"


def test_the_record_says_what_it_was_trained_on_and_how(written: ModelFolder) -> None:
    training = catalogue.read_model(written.folder).manifest["training"]
    assert training["data"].startswith("CIFAR-10")
    assert training["network"] == "cifar10-small"
    assert (training["training"], training["held_out"], training["divisor"]) == (200, 40, 255)
    assert (training["epochs"], training["batch"], training["seed"]) == (2, 32, 42)
    assert training["packages"]["tensorflow"]
    assert training["accuracy"] == written.trained.accuracy


def test_the_samples_are_the_papers_pictures_of_the_test_file(
    written: ModelFolder, data: Dataset
) -> None:
    model = catalogue.read_model(written.folder)
    assert model.sample_names == ("i0", "i1", "i6")
    assert list(model.labels) == data.held_out.labels[[0, 1, 6]].tolist()
    samples = np.load(model.samples, allow_pickle=False)
    pixels = data.held_out.pixels[np.array([0, 1, 6])]
    assert np.array_equal(samples, pixels.astype(np.float32) / np.float32(255))


def test_the_network_has_the_papers_number_of_parameters(written: ModelFolder) -> None:
    assert written.trained.parameters == 59354
    assert catalogue.read_model(written.folder).parameters == 59354


def test_progress_is_told_after_each_epoch(written: ModelFolder, told: list[str]) -> None:
    epochs = [line for line in told if line.startswith("epoch") and ", batch" not in line]
    assert written.failed == {}
    assert [line.split(":")[0] for line in epochs] == ["epoch 1 of 2", "epoch 2 of 2"]


def test_the_accuracy_is_the_share_of_held_out_pictures_that_are_right(
    written: ModelFolder, data: Dataset
) -> None:
    outputs = written.trained.outputs
    assert outputs.shape == (40, 10)
    assert np.allclose(outputs.sum(axis=1), 1, atol=1e-5)
    pairs = zip(outputs, data.held_out.labels, strict=True)
    right = sum(int(np.argmax(row)) == label for row, label in pairs)
    assert written.trained.accuracy == right / 40


def test_training_again_gives_the_same_bytes(
    written: ModelFolder, data: Dataset, tmp_path: Path
) -> None:
    again = fit(RECIPE, data, tmp_path / "model.keras", lambda line: None)
    assert (tmp_path / "model.keras").read_bytes() == (written.folder / "model.keras").read_bytes()
    assert again.outputs.tobytes() == written.trained.outputs.tobytes()


def test_another_seed_gives_other_weights(
    written: ModelFolder, data: Dataset, tmp_path: Path
) -> None:
    fit(replace(RECIPE, seed=43), data, tmp_path / "model.keras", lambda line: None)
    weights = [
        zipfile.ZipFile(path).read("model.weights.h5")
        for path in (tmp_path / "model.keras", written.folder / "model.keras")
    ]
    assert weights[0] != weights[1]


def test_activations_are_layers_of_their_own(written: ModelFolder) -> None:
    with zipfile.ZipFile(written.folder / "model.keras") as archive:
        config = json.loads(archive.read("config.json"))
    layers = [layer["config"]["name"] for layer in config["config"]["layers"]]
    assert (
        layers
        == (
            "image conv1 relu1 pool1 conv2 relu2 pool2 flatten "
            "dense1 relu3 dense2 relu4 dense3 softmax"
        ).split()
    )
    fused = [layer["config"].get("activation") for layer in config["config"]["layers"]]
    assert set(fused) == {None, "linear", "relu", "softmax"}


def test_a_trained_folder_is_never_written_over(written: ModelFolder, data: Dataset) -> None:
    before = (written.folder / "model.json").read_bytes()
    with pytest.raises(UsageError, match="is not an empty folder"):
        train_model(RECIPE, data, written.folder, print)
    assert (written.folder / "model.json").read_bytes() == before
