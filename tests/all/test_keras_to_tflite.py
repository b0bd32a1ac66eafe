"""Keras models become TensorFlow Lite files with their weights in them, in float32 and int8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xbackend.converters.tflite.file import read_flat_file
from xbackend.errors import ConversionError, ModelError

FORMATS = ("keras", "h5", "savedmodel")


def _flat(
    folder: Path, convert: Any, name: str, source_format: str = "keras", inputs: Path | None = None
) -> Any:
    source = folder / (name if source_format == "savedmodel" else f"{name}.{source_format}")
    target = "tflite-int8" if inputs else "tflite"
    return convert("keras_to_tflite", source, source_format, target, inputs)


def _known(folder: Path, name: str, kind: str) -> dict[str, np.ndarray]:
    with np.load(folder / f"{name}.npz") as known:
        return {k.partition(":")[2]: known[k] for k in known.files if k.startswith(f"{kind}:")}


@pytest.fixture(scope="session")
def samples(keras_models: Path) -> Path:
    """Return calibration inputs: the images that Keras was run on."""
    path = keras_models / "samples.npz"
    with np.load(keras_models / "small.npz") as known:
        np.savez(path, image=known["image"])
    return path


@pytest.mark.parametrize("source_format", FORMATS)
def test_the_file_holds_every_weight_of_a_plain_cnn(
    keras_models: Path, convert: Any, source_format: str
) -> None:
    made = _flat(keras_models, convert, "small", source_format)
    weights = _known(keras_models, "small", "weight")
    assert made.path.stat().st_size > sum(weight.nbytes for weight in weights.values())
    assert len(made.identical) == len(weights)
    assert made.changed == set()
    held = [array.tobytes() for array in read_flat_file(made.path).weights().values()]
    kernel = weights["small/conv1/kernel"].transpose(3, 0, 1, 2)
    assert np.ascontiguousarray(kernel).tobytes() in held


@pytest.mark.parametrize("source_format", FORMATS)
@pytest.mark.parametrize("name", ["small", "norm"])
def test_the_outputs_are_close_to_those_of_keras(
    keras_models: Path, convert: Any, run_flat: Any, name: str, source_format: str
) -> None:
    made = _flat(keras_models, convert, name, source_format)
    wanted = _known(keras_models, name, "output")
    with np.load(keras_models / f"{name}.npz") as known:
        outputs = run_flat(made.path, known["image"])
    assert len(outputs) == len(wanted)
    for output, expected in zip(outputs, wanted.values(), strict=True):
        np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)


def test_folded_normalizations_are_told(keras_models: Path, convert: Any) -> None:
    made = _flat(keras_models, convert, "norm")
    layers = {name.split("/")[0] for name in made.changed}
    assert {"stem_norm", "branch_norm", "deep_norm", "stem"} <= layers
    assert {"scores/kernel", "label/kernel"} <= made.identical


@pytest.mark.parametrize("source_format", FORMATS)
def test_int8_is_near_keras_with_floats_outside(
    keras_models: Path, convert: Any, run_flat: Any, samples: Path, source_format: str
) -> None:
    made = _flat(keras_models, convert, "small", source_format, samples)
    file = read_flat_file(made.path)
    ends = [file.tensors[index].dtype for index in (*file.inputs, *file.outputs)]
    assert ends == ["float32", "float32"]
    inner = {file.tensors[index].dtype for _, outputs in file.operations for index in outputs}
    assert inner == {"int8", "float32"}
    with np.load(keras_models / "small.npz") as known:
        (output,) = run_flat(made.path, known["image"])
    assert np.abs(output - _known(keras_models, "small", "output")["label"]).max() < 0.05


def test_activations_of_16_bits_are_nearer_to_keras(
    keras_models: Path, convert: Any, run_flat: Any, samples: Path
) -> None:
    source, option = keras_models / "small.keras", (("activation", "int16"),)
    made = convert("keras_to_tflite", source, "keras", "tflite-int8", samples, options=option)
    file = read_flat_file(made.path)
    inner = {file.tensors[index].dtype for _, outputs in file.operations for index in outputs}
    assert inner == {"int16", "float32"}
    kept = {t.dtype for t in file.tensors if t.constant is not None and t.is_quantized}
    assert kept == {"int8", "int64"}
    assert "int16 activations" in made.result["notes"]["quantization"]
    with np.load(keras_models / "small.npz") as known:
        (output,) = run_flat(made.path, known["image"])
    assert np.abs(output - _known(keras_models, "small", "output")["label"]).max() < 0.02


def test_the_calibration_is_recorded(keras_models: Path, convert: Any, samples: Path) -> None:
    made = _flat(keras_models, convert, "small", "keras", samples)
    calibration = made.result["notes"]["calibration"]
    assert calibration["samples"] == 6
    assert len(calibration["sha256"]) == 64
    assert len(made.changed) == len(_known(keras_models, "small", "weight"))


def test_other_samples_give_other_steps(
    keras_models: Path, convert: Any, samples: Path, tmp_path: Path
) -> None:
    with np.load(samples) as known:
        np.savez(tmp_path / "wide.npz", image=known["image"] * 4)
    narrow = _flat(keras_models, convert, "small", "keras", samples)
    wide = _flat(keras_models, convert, "small", "keras", tmp_path / "wide.npz")
    steps = [read_flat_file(made.path).tensors for made in (narrow, wide)]
    first = [
        next(t.scale for t in row if t.dtype == "int8" and t.constant is None) for row in steps
    ]
    assert first[1] == pytest.approx(4 * first[0], rel=1e-6)


def test_int8_without_samples_or_with_others_is_refused_in_one_sentence(
    keras_models: Path, convert: Any, tmp_path: Path
) -> None:
    source = keras_models / "small.keras"
    with pytest.raises(ConversionError, match="needs sample inputs to calibrate with"):
        convert("keras_to_tflite", source, "keras", "tflite-int8")
    np.savez(tmp_path / "small.npz", image=np.zeros((2, 5, 5, 3), np.float32))
    with pytest.raises(ConversionError, match=r"shape \(2, 5, 5, 3\), which does not give \(1, 12"):
        _flat(keras_models, convert, "small", "keras", tmp_path / "small.npz")


def test_an_operation_that_tensorflow_lite_lacks_is_named(keras_models: Path, convert: Any) -> None:
    with pytest.raises(ModelError, match=r"operations that TensorFlow Lite lacks: .*Erfinv"):
        _flat(keras_models, convert, "exotic")
