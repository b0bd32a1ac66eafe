"""A TensorFlow Lite file is read without a runtime, and a broken one is told in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from xbackend.converters.tflite.file import read_flat_file, refuse_foreign_operations
from xbackend.errors import ModelError
from xbackend.testing import small_models


def test_weights_have_the_values_that_the_model_was_made_of(data: Path) -> None:
    weights = list(read_flat_file(data / "contract.tflite").weights().values())
    wanted = [
        small_models.CONV_WEIGHT.transpose(0, 2, 3, 1) / 16,
        small_models.CONV_BIAS / 4,
        small_models.DENSE_WEIGHT.T / 64,
        small_models.DENSE_BIAS / 4,
    ]
    for array in wanted:
        same = [np.array_equal(array.astype(np.float32), weight) for weight in weights]
        assert same.count(True) == 1
    assert len(weights) == len(wanted)


def test_interface_and_operations_are_read(data: Path) -> None:
    file = read_flat_file(data / "free-batch.tflite")
    (source,) = file.inputs
    assert file.tensors[source].shape == (1, 8, 8, 2)
    assert file.tensors[source].signature == (-1, 8, 8, 2)
    assert len(file.operations) == 1
    assert file.operations[0][1] == file.outputs


def test_steps_of_quantized_tensors_are_read(data: Path) -> None:
    file = read_flat_file(data / "contract-int8.tflite")
    softmax = file.tensors[file.operations[-1][0][0]]
    assert (softmax.dtype, softmax.scale, softmax.zero_point) == ("int8", 2.0**-8, -128)


def test_a_file_cut_anywhere_is_refused(data: Path, tmp_path: Path) -> None:
    whole = (data / "contract.tflite").read_bytes()
    path = tmp_path / "cut.tflite"
    for length in range(0, len(whole) - 4, 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match=r"cut\.tflite is not a"):
            read_flat_file(path)


def test_damaged_bytes_never_give_anything_but_a_file_or_one_sentence(
    data: Path, tmp_path: Path
) -> None:
    whole = (data / "contract.tflite").read_bytes()
    path = tmp_path / "damaged.tflite"
    generator = np.random.default_rng(11)
    refused = []
    for _ in range(500):
        damaged = bytearray(whole)
        for place in generator.integers(8, len(whole), 6):
            damaged[place] = int(generator.integers(0, 256))
        path.write_bytes(damaged)
        try:
            read_flat_file(path)
        except ModelError as error:
            refused.append(str(error))
    assert 0 < len(refused) < 500
    assert [message for message in refused if "\n" in message] == []


def test_another_format_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "text.tflite"
    path.write_text("This is not a model.")
    with pytest.raises(ModelError, match="is not a TensorFlow Lite file"):
        read_flat_file(path)


def test_an_onnx_file_is_no_tflite_file(data: Path) -> None:
    assert onnx.load(data / "branches.onnx").graph.node
    with pytest.raises(ModelError, match="is not a TensorFlow Lite file"):
        read_flat_file(data / "branches.onnx")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.tflite: No such file or directory\."):
        read_flat_file(tmp_path / "none.tflite")


def test_foreign_operations_are_named(data: Path) -> None:
    path = data / "foreign.tflite"
    file = read_flat_file(path)
    assert file.foreign == ("NoSuchOperator",)
    with pytest.raises(ModelError, match=r"not TensorFlow Lite's own: NoSuchOperator\."):
        refuse_foreign_operations(file, path)


def test_built_in_operations_are_no_foreign_ones(data: Path) -> None:
    path = data / "contract.tflite"
    refuse_foreign_operations(read_flat_file(path), path)
    assert read_flat_file(path).foreign == ()
