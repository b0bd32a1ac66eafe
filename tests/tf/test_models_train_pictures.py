"""Training on JPEG pictures in DeepWeeds' official form, with a network of its input's size."""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from xbackend.models import catalogue
from xbackend.preparation.model import find_model
from xbackend.training import deepweeds, fit
from xbackend.training.train import DatasetSource, Recipe, train

PROGRAM = """
from xbackend.training import keras_fit, keras_networks

def build(bricks):
    keras = bricks.keras
    image = keras.Input((256, 256, 3), name="image")
    x = bricks.pool("pool1", 32)(bricks.conv("conv1", 2, 8, strides=8)(image))
    for layer in bricks.activation("", 1):
        x = layer(x)
    x = bricks.dense("dense", 9)(keras.layers.Flatten()(x))
    return keras.Model(image, keras.layers.Activation("softmax", name="softmax")(x))

keras_networks.NETWORKS["deepweeds-r50v2"] = build
keras_fit.main()
"""
"""Trains a network of 413 parameters in place of one whose every step takes seconds."""


def write_pictures(folder: Path) -> None:
    """Write images.zip and the lists of a fold: 6, 3 and 8 pictures of noise."""
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(3)
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for word, count in (("train", 6), ("val", 3), ("test", 8)):
            lines = ["Filename,Label"]
            for number in range(count):
                pixels = rng.integers(0, 256, (256, 256, 3), np.uint8)
                stream = io.BytesIO()
                image.fromarray(pixels).save(stream, "JPEG")
                archive.writestr(f"{word}{number}.jpg", stream.getvalue())
                lines.append(f"{word}{number}.jpg,{number}")
            (folder / f"{word}_subset2.csv").write_text("\n".join(lines))


@pytest.fixture(scope="module")
def told() -> list[str]:
    return []


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weeds")
    write_pictures(folder)
    return folder


@pytest.fixture(scope="module")
def trained(pictures: Path, told: list[str]) -> Path:
    program = pictures / "program.py"
    program.write_text(PROGRAM)
    process = (
        fit.CHILD_PROGRAM.partition("from xbackend")[0]
        + f"import runpy; runpy.run_path({str(program)!r})"
    )
    recipe = Recipe("deepweeds-r50v2", epochs=2, batch=4, variant="sigmoid")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "CHILD_PROGRAM", process)
        patch.setattr(fit, "PROGRESS_INTERVAL", 0.0)
        return train(recipe, DatasetSource(pictures, fold=2), pictures / "mine", told.append)


def test_progress_is_told_within_an_epoch_and_after_it_with_validation(
    trained: Path, told: list[str]
) -> None:
    assert (trained / "model.keras").is_file()
    heads = [line.partition(":")[0] for line in told]
    assert heads[:5] == [
        "reading 17 pictures",
        "epoch 1 of 2, batch 1 of 2",
        "epoch 1 of 2",
        "epoch 2 of 2, batch 1 of 2",
        "epoch 2 of 2",
    ]
    assert told[2].endswith("% on validation")
    assert "validation" not in told[1]


def test_the_samples_are_pictures_0_1_and_6_of_the_test_list(trained: Path, pictures: Path) -> None:
    model = find_model(str(trained))
    assert model.sample_names == ("i0", "i1", "i6")
    assert model.samples is not None
    samples = np.load(model.samples, allow_pickle=False)
    held_out = deepweeds.read(pictures, 2).held_out.pixels[np.array([0, 1, 6])]
    assert np.array_equal(samples, held_out.astype(np.float32) / np.float32(255))


def test_the_record_names_data_fold_variant_and_decoder(trained: Path) -> None:
    model = catalogue.read_model(trained)
    training = model.manifest["training"]
    assert model.description == "the paper's ResNet50V2 (sigmoid), trained on DeepWeeds"
    assert "fold 2" in training["data"]
    assert (training["variant"], training["start"], training["threads"]) == ("sigmoid", "glorot", 1)
    assert (training["training"], training["held_out"]) == (6, 8)
    assert training["packages"]["pillow"]
    assert model.labels == (0, 1, 6)
    assert json.loads((trained / "model.json").read_text())["samples"]["rule"].startswith(
        "the paper's indices"
    )


def test_the_variants_layers_are_in_the_onnx_file(trained: Path) -> None:
    kinds = Counter(node.op_type for node in onnx.load(trained / "model.onnx").graph.node)
    assert (kinds["Sigmoid"], kinds["AveragePool"], kinds["Relu"], kinds["MaxPool"]) == (1, 1, 0, 0)
