"""The built-in models as a user without any framework gets them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from xbackend.errors import ModelError, UsageError
from xbackend.models import catalogue
from xbackend.models.catalogue import BuiltinModel


@pytest.fixture
def model() -> BuiltinModel:
    return catalogue.builtin("cifar10-small")


def test_the_papers_network_has_its_59354_parameters(model: BuiltinModel) -> None:
    conv = (3 * 3 * 3 * 3 + 3) + (5 * 5 * 3 * 5 + 5)
    dense = (8 * 8 * 5 * 128 + 128) + (128 * 128 + 128) + (128 * 10 + 10)
    assert conv + dense == 59354
    assert model.parameters == 59354


@pytest.mark.parametrize("part", ["files", "samples"])
def test_every_digest_is_that_of_the_file(model: BuiltinModel, part: str) -> None:
    rows = model.manifest[part]
    for row in rows.values() if part == "files" else [rows]:
        data = (model.samples.parent / row["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["digest"], row["file"]
        assert len(data) == row["bytes"], row["file"]


def test_the_digest_of_the_model_covers_all_its_files(model: BuiltinModel) -> None:
    lines = sorted(f"{key} {file.digest}\n" for key, file in model.files.items())
    assert hashlib.sha256("".join(lines).encode()).hexdigest() == model.digest


def test_nothing_lies_in_the_folder_that_the_manifest_does_not_name(model: BuiltinModel) -> None:
    named = {file.path.name for file in model.files.values()}
    found = {path.name for path in model.samples.parent.iterdir()}
    assert found == named | {"model.json", "samples.npy"}


def test_a_user_without_tensorflow_gets_every_format(model: BuiltinModel) -> None:
    assert list(model.files) == ["keras", "onnx", "tflite", "onnx-int8", "tflite-int8"]
    assert model.files["keras"].made_from is None
    assert {file.made_from for file in model.files.values()} <= {None, "keras", "onnx"}


def test_every_file_says_what_made_it_and_which_weights_it_kept(model: BuiltinModel) -> None:
    converters = {
        "onnx": "keras_to_onnx",
        "tflite": "keras_to_tflite",
        "onnx-int8": "onnx_to_int8",
        "tflite-int8": "keras_to_tflite",
    }
    for key, converter in converters.items():
        row = model.manifest["files"][key]
        assert row["converter"] == converter
        assert row["converter"].startswith(f"{row['made_from']}_to_")
        assert row["packages"]
        weights = [*row["weights"]["identical"], *row["weights"]["changed"]]
        named = [name for name in weights if name.endswith(("/kernel", "/bias"))]
        assert len(named) == 10, key


@pytest.mark.parametrize("format_", ["onnx", "tflite"])
def test_a_float_format_kept_the_bits_of_all_ten_weights(model: BuiltinModel, format_: str) -> None:
    weights = model.manifest["files"][format_]["weights"]
    assert len(weights["identical"]) == 10
    assert weights["changed"] == []


def test_the_samples_are_three_pictures_of_exact_sixteenths(model: BuiltinModel) -> None:
    samples = np.load(model.samples, allow_pickle=False)
    assert samples.shape == (3, 32, 32, 3)
    assert samples.dtype == np.float32
    assert np.array_equal(samples * 16, np.round(samples * 16))
    assert samples.min() == 0
    assert samples.max() == 1
    assert len(set(model.labels)) == len(model.sample_names) == 3


def test_a_sample_is_a_digit_of_eight_by_eight_drawn_four_times_as_large(
    model: BuiltinModel,
) -> None:
    for sample in np.load(model.samples, allow_pickle=False):
        small = sample[::4, ::4, :1]
        assert np.array_equal(sample, np.kron(small, np.ones((4, 4, 3), np.float32)))


def test_at_least_95_percent_of_the_held_out_digits_are_classified_rightly(
    model: BuiltinModel,
) -> None:
    training = model.manifest["training"]
    assert training["held_out"] == 359
    assert training["accuracy"] >= 0.95


def test_an_unknown_name_is_told_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"'cifar11'.*cifar10-small"):
        catalogue.builtin("cifar11")


@pytest.mark.parametrize("name", ["", ".", "..", "../models/cifar10-small", "CIFAR10-SMALL"])
def test_a_name_is_never_taken_for_a_path(name: str) -> None:
    with pytest.raises(UsageError):
        catalogue.builtin(name)


def test_the_table_has_a_row_for_each_model() -> None:
    rows = {row[0]: row for row in catalogue.rows()}
    assert tuple(sorted(rows)) == catalogue.names()
    cells = dict(zip(catalogue.HEADERS, rows["cifar10-small"], strict=True))
    assert cells["parameters"] == "59,354"
    assert cells["formats"] == "keras, onnx, tflite, onnx-int8, tflite-int8"


def test_the_details_name_data_accuracy_and_files(model: BuiltinModel) -> None:
    details = dict(catalogue.details(model))
    assert "digits of scikit-learn" in details["trained on"]
    assert details["accuracy"].endswith("of 359 held-out images")
    assert Path(details["tflite-int8"]).is_file()


def test_the_catalogue_is_read_without_numpy() -> None:
    program = (
        "import sys; from xbackend.models import catalogue; catalogue.rows(); "
        "print(sorted({'numpy', 'onnx', 'keras'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"schema_version": 2}', '{"schema_version": 1, "samples": null}'],
)
def test_a_damaged_manifest_is_one_sentence_with_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(ModelError, match=r"model\.json' does not describe a model") as caught:
        catalogue.read_model(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_manifest_of_a_later_version_says_so(tmp_path: Path, model: BuiltinModel) -> None:
    text = json.dumps({**model.manifest, "schema_version": 2})
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(ModelError, match="schema_version 2, not 1"):
        catalogue.read_model(tmp_path)


def test_a_manifest_that_names_a_file_outside_its_folder_is_refused(
    tmp_path: Path, model: BuiltinModel
) -> None:
    manifest = json.loads(json.dumps(model.manifest))
    manifest["files"]["onnx"]["file"] = "../secret.onnx"
    (tmp_path / "model.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match=r"\.\./secret\.onnx"):
        catalogue.read_model(tmp_path)
