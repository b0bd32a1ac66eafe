"""A Keras model or SavedModel of one's own is a row: its numbers are TensorFlow's own."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tf2onnx")
tf = pytest.importorskip("tensorflow")

from xbackend.comparison.compare import compare_runs  # noqa: E402
from xbackend.comparison.comparison import Comparison  # noqa: E402
from xbackend.comparison.export import CLOSE, OTHER, SAME, export_judgements  # noqa: E402
from xbackend.execution.execute import ExecutionContext, execute  # noqa: E402
from xbackend.execution.progress import ProgressLines  # noqa: E402
from xbackend.execution.request import RunRequest  # noqa: E402
from xbackend.plugins import registry  # noqa: E402
from xbackend.store.records import read_run  # noqa: E402
from xbackend.store.store import Store  # noqa: E402

Array = np.ndarray[Any, Any]
Records = dict[str, dict[str, Any]]
Run = Callable[..., tuple[Records, Comparison]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a file in TensorFlow; return the records by their setting `graph`, and all compared."""

    def carry_out(path: Path, inputs: Array, *settings: str) -> tuple[Records, Comparison]:
        np.save(tmp_path / "inputs.npy", inputs)
        store = Store(tmp_path / "store")
        context = ExecutionContext(store, 1, 240.0, ProgressLines(io.StringIO()))
        request = RunRequest(
            str(path), ("tf",), inputs=tmp_path / "inputs.npy", settings=settings, sources=True
        )
        records = execute(request, context)
        assert [r["status"] for r in records] == ["ok"] * len(records), records[0]["error"]
        compared = compare_runs(store, [read_run(record) for record in records])
        return {record["settings"]["graph"]: record for record in records}, compared

    return carry_out


def read(comparison: Comparison, rows: list[dict[str, Any]], name: str) -> Array:
    """Return a tensor of a sample."""
    (row,) = [each for each in rows if each["name"] == name]
    return comparison.store.read_tensor(row).array


def image_model() -> Any:
    """Return a model with a convolution, a normalisation, a sum of two ways and dense layers."""
    keras.utils.set_random_seed(3)
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(image)
    y = keras.layers.BatchNormalization(name="norm")(x)
    y = keras.layers.Add(name="sum")([x, y])
    y = keras.layers.Flatten(name="flat")(keras.layers.MaxPooling2D(name="pool")(y))
    y = keras.layers.Dropout(0.5, name="drop")(keras.layers.Dense(6, name="dense")(y))
    return keras.Model(image, keras.layers.Softmax(name="scores")(y))


IMAGES = np.random.default_rng(7).random((2, 8, 8, 3), np.float32)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_keras_files_outputs_are_those_of_calling_the_model(
    suffix: str, run: Run, tmp_path: Path
) -> None:
    model = image_model()
    model.save(tmp_path / f"net.{suffix}")
    records, comparison = run(tmp_path / f"net.{suffix}", IMAGES)
    assert set(records) == {"source", "onnx"}
    for place, image in enumerate(IMAGES):
        expected = model(image[None], training=False).numpy()
        (row,) = records["source"]["results"][place]["outputs"]
        assert np.allclose(comparison.store.read_tensor(row).array, expected, rtol=1e-5)
    (judged,) = export_judgements(comparison)
    assert judged.verdict in (SAME, CLOSE)
    assert judged.title == "TensorFlow model"
    assert records["source"]["facts"]["predict"]["samples"] == 2


def test_the_layers_of_a_keras_model_are_rows_with_the_channels_second(
    run: Run, tmp_path: Path
) -> None:
    model = image_model()
    model.save(tmp_path / "net.keras")
    records, comparison = run(tmp_path / "net.keras", IMAGES[:1])
    source, graph = records["source"], records["onnx"]
    taps = source["results"][0]["taps"]
    shapes = {tap["name"]: tap["shape"] for tap in graph["results"][0]["taps"]}
    assert {tap["name"]: tap["shape"] for tap in taps}.items() <= shapes.items()
    assert {"conv", "norm", "sum", "pool", "flat", "dense"} <= {tap["name"] for tap in taps}
    assert source["taps_neutral"] is True
    inner = keras.Model(model.inputs, [model.get_layer(n).output for n in ("conv", "norm", "pool")])
    for name, value in zip(("conv", "norm", "pool"), inner(IMAGES[:1]), strict=True):
        expected = np.moveaxis(value.numpy(), -1, 1)
        assert np.allclose(read(comparison, taps, name), expected, rtol=1e-5, atol=1e-6)
    assert source["export"]["matched"] == len(taps)
    assert not {"conv", "norm"} & set(source["export"]["unmatched"])


class Division(tf.Module):  # type: ignore[misc]
    """Ceiling division, written as the negative of a floor division."""

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.int32)])
    def __call__(self, a: Any) -> Any:
        return {"y": -tf.math.floordiv(-a, 3)}


def test_a_saved_model_whose_export_divides_otherwise_is_another_function(
    run: Run, tmp_path: Path
) -> None:
    module = Division()
    tf.saved_model.save(module, str(tmp_path / "ceildiv"), signatures=module.__call__)
    value = np.array([[3, 7, 10, -7]], np.int32)
    records, comparison = run(tmp_path / "ceildiv", value)
    outputs = {
        graph: read(comparison, record["results"][0]["outputs"], "y").tolist()
        for graph, record in records.items()
    }
    assert outputs["source"] == module(tf.constant(value))["y"].numpy().tolist() == [[1, 3, 4, -2]]
    assert outputs["onnx"] == [[1, 2, 3, -2]]
    (judged,) = export_judgements(comparison)
    assert judged.verdict == OTHER
    text = " ".join(registry.report("export")(comparison).split())
    assert "another function than your TensorFlow model (in tf)" in text
    assert "2 of 4 values differ by 1" in text


def test_a_setting_runs_the_source_alone_as_a_function(run: Run, tmp_path: Path) -> None:
    model = image_model()
    model.save(tmp_path / "net.keras")
    records, comparison = run(
        tmp_path / "net.keras", IMAGES[:1], "tf.graph=source", "tf.mode=function"
    )
    assert list(records) == ["source"]
    (row,) = records["source"]["results"][0]["outputs"]
    expected = model.predict(IMAGES[:1], verbose=0)
    assert np.allclose(comparison.store.read_tensor(row).array, expected, rtol=1e-5)
    assert export_judgements(comparison) == ()
