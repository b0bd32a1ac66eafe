"""How a model's folder is written: choice of samples, digests, refusals before any training."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import replace
from importlib import util
from pathlib import Path

import numpy as np
import pytest

from xbackend.errors import ConversionError, UsageError
from xbackend.models.dataset import Dataset, Images, Samples
from xbackend.models.digits import enlarge
from xbackend.models.keras_file import canonicalise, renumbered
from xbackend.training import fit, model_folder
from xbackend.training.fit import Recipe
from xbackend.training.keras_fit import scale

RECIPE = Recipe()


def pictures(count: int) -> Images:
    pixels = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((32, 32, 3), np.uint8)
    return Images(pixels, np.arange(count) % 10)


DATA = Dataset(pictures(20), pictures(5), tuple("0123456789"), 255, "squares", "made here")


def test_the_defaults_are_those_of_the_paper() -> None:
    assert (RECIPE.epochs, RECIPE.batch, RECIPE.seed) == (30, 32, 42)


def _chosen(outputs: np.ndarray, labels: np.ndarray) -> dict[str, int]:
    samples = model_folder.choose_samples(outputs, Images(np.arange(len(labels)), labels))
    assert samples.images.pixels[:].tolist() == list(samples.indices)
    return dict(zip(samples.names, samples.indices, strict=True))


def test_samples_are_the_least_sure_and_surer_pictures_that_the_network_is_right_on() -> None:
    outputs = np.zeros((202, 2), np.float32)
    outputs[:, 0] = 0.51 + 0.002 * np.arange(202)
    outputs[:, 1] = 1 - outputs[:, 0]
    labels = np.zeros(202, int)
    labels[0] = labels[201] = 1
    assert _chosen(outputs, labels) == {"usual": 101, "hesitant": 5, "boundary": 1}


def test_samples_are_chosen_even_if_the_network_is_never_right() -> None:
    outputs = np.array([[0.9, 0.1], [0.6, 0.4]], np.float32)
    assert _chosen(outputs, np.array([1, 1]))["boundary"] == 1


def test_samples_differ_even_if_the_network_is_seldom_right() -> None:
    outputs = np.array([[0.6, 0.4], [0.9, 0.1], [0.8, 0.2]], np.float32)
    assert _chosen(outputs, np.array([0, 0, 0])) == {"usual": 1, "hesitant": 2, "boundary": 0}


def test_the_samples_file_holds_the_chosen_pictures_divided(tmp_path: Path) -> None:
    chosen = Samples(DATA.held_out.select([4, 2]), ("usual", "boundary"), (4, 2), "by hand")
    row = model_folder.write_samples(tmp_path, chosen, 255)
    samples = np.load(tmp_path / "samples.npy", allow_pickle=False)
    assert samples.dtype == np.float32
    assert samples[0, 0, 0, 0] == np.float32(4) / np.float32(255)
    assert samples[1, 31, 31, 2] == np.float32(2) / np.float32(255)
    assert row["labels"] == [4, 2]
    assert row["names"] == ["usual", "boundary"]
    assert row["held_out_index"] == [4, 2]
    assert row["rule"] == "by hand"
    assert row["digest"] == hashlib.sha256((tmp_path / "samples.npy").read_bytes()).hexdigest()


@pytest.mark.parametrize(("count", "chosen"), [(20, 20), (100, 100), (250, 100), (1438, 100)])
def test_int8_is_calibrated_on_at_most_100_pictures_at_equal_distances(
    count: int, chosen: int
) -> None:
    images = Images(np.arange(count), np.zeros(count, int))
    picked = model_folder.calibration_images(images)
    assert len(picked) == chosen
    assert len(set(np.diff(picked))) == 1


def test_the_digest_over_all_files_is_that_of_their_list() -> None:
    rows = {"onnx": {"digest": "bb"}, "keras": {"digest": "aa"}}
    assert model_folder.digest_of_all(rows) == hashlib.sha256(b"keras aa\nonnx bb\n").hexdigest()


def test_a_digit_is_drawn_in_squares_of_four_by_four_in_three_equal_channels() -> None:
    digit = np.arange(64, dtype=np.uint8).reshape(1, 8, 8)
    large = enlarge(digit)
    assert large.shape == (1, 32, 32, 3)
    places = [(0, 0), (3, 3), (3, 4), (4, 3), (31, 31)]
    assert [int(large[0, row, column, 2]) for row, column in places] == [0, 0, 1, 8, 63]


def test_sixteenths_are_exact_and_255ths_are_rounded_once() -> None:
    assert scale(np.array([0, 3, 16], np.uint8), 16).tolist() == [0.0, 0.1875, 1.0]
    assert scale(np.array([1], np.uint8), 255).tolist() == [float(np.float32(1 / 255))]


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        (
            replace(RECIPE, model="resnet"),
            "no network 'resnet' to train. Networks: cifar10-small, ",
        ),
        (replace(RECIPE, variant="tanh"), "'tanh'. Variants: relu, sigmoid, linear"),
        (replace(RECIPE, variant="batchnorm"), "'batchnorm'. Variants: relu, sigmoid, linear"),
        (replace(RECIPE, threads=0), "--threads is 0; give a number from 1"),
        (replace(RECIPE, epochs=0), "--epochs is 0; give a number from 1"),
        (replace(RECIPE, batch=-1), "--batch is -1; give a number from 1"),
        (replace(RECIPE, seed=-1), "--seed is -1; give a number from 0 to 4294967295"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused_in_one_sentence(
    tmp_path: Path, recipe: Recipe, sentence: str
) -> None:
    with pytest.raises(UsageError) as caught:
        model_folder.train_model(recipe, DATA, tmp_path / "out", print)
    assert sentence in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_training_without_tensorflow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs tensorflow\. .*pip install 'xbackend\[tf\]'"):
        model_folder.train_model(RECIPE, DATA, tmp_path / "out", print)


def test_a_folder_that_is_not_empty_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "check_recipe", lambda recipe: None)
    monkeypatch.setattr(model_folder, "check_recipe", lambda recipe: None)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not an empty folder"):
        model_folder.train_model(RECIPE, DATA, tmp_path, print)
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("import sys; sys.exit('out of luck')", "ended with status 1: out of luck"),
        ("import os; os.kill(os.getpid(), 9)", "was killed by signal 9: it said nothing"),
    ],
)
def test_a_training_process_that_dies_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, sentence: str
) -> None:
    monkeypatch.setattr(fit, "CHILD_PROGRAM", program)
    monkeypatch.setattr(fit, "check_recipe", lambda recipe: None)
    monkeypatch.setattr(model_folder, "check_recipe", lambda recipe: None)
    with pytest.raises(ConversionError) as caught:
        model_folder.train_model(RECIPE, DATA, tmp_path / "out", print, ("keras",))
    assert str(caught.value) == f"Training {sentence}"
    assert list(tmp_path.iterdir()) == []


def test_a_keras_file_written_later_at_other_addresses_is_the_same_bytes(tmp_path: Path) -> None:
    for name, date, address in (("a", "2020-01-01@10:00:00", 5), ("b", "2031-07-07@11:11:11", 77)):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("config.json", json.dumps({"layers": [_policy(address)] * 2}))
            archive.writestr("metadata.json", json.dumps({"date_saved": date}))
            archive.writestr("model.weights.h5", b"weights")
        canonicalise(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with zipfile.ZipFile(tmp_path / "a") as archive:
        assert archive.read("model.weights.h5") == b"weights"


def _policy(address: int) -> dict[str, object]:
    return {"dtype": {"shared_object_id": address}, "units": 128}


def test_objects_that_were_apart_stay_apart() -> None:
    before = [{"shared_object_id": 9}, {"shared_object_id": 4}, {"shared_object_id": 9}]
    after = [{"shared_object_id": 1}, {"shared_object_id": 2}, {"shared_object_id": 1}]
    assert renumbered(before, {}) == after
