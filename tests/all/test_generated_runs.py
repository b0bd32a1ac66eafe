"""The generated ResNet18 through five backends, in floating point and in integers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xbackend.commands.main import main
from xbackend.store.store import Store

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Run it once in all backends, and in two of them layer by layer."""
    folder = tmp_path_factory.mktemp("generated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        run = ["run", "cifar10-r18", "--store", str(folder / "store")]
        assert main([*run, "--precision", "float32,int8", "--taps", "outputs"]) == 0
        assert main([*run, "--backends", "ort,tflite"]) == 0
    return Store(folder / "store")


@pytest.fixture(scope="module")
def outputs(store: Store) -> dict[tuple[str, str], Array]:
    """Return by backend and precision what came out for the three samples."""
    found = {}
    for record in (each for each in store.runs() if each["status"] == "ok"):
        rows = [store.read_tensor(row["outputs"][0]).array for row in record["results"]]
        found[record["backend"], record["precision"]] = np.concatenate(rows)
    return found


def test_every_backend_runs_it_in_the_precisions_that_it_has(
    outputs: dict[tuple[str, str], Array],
) -> None:
    floats = {(word, "float32") for word in ("tf", "ort", "torch", "tflite", "fixed")}
    whole = {(word, "int8") for word in ("ort", "tflite", "fixed")}
    assert set(outputs) == floats | whole
    assert {array.shape for array in outputs.values()} == {(3, 10)}


def test_the_five_that_compute_in_float_are_close(
    outputs: dict[tuple[str, str], Array],
) -> None:
    for word in ("ort", "torch", "tflite", "fixed"):
        np.testing.assert_allclose(outputs[word, "float32"], outputs["tf", "float32"], rtol=1e-4)


def test_every_layer_that_a_flat_graph_has_is_close_to_that_of_onnx_runtime(store: Store) -> None:
    layers = {
        record["backend"]: record
        for record in store.runs()
        if record["results"] and record["results"][0]["taps"]
    }
    assert layers["tflite"]["taps_neutral"] is True
    ours, theirs = (
        {row["name"]: store.read_tensor(row).array for row in layers[word]["results"][0]["taps"]}
        for word in ("tflite", "ort")
    )
    assert len(ours) > 40
    far = {name: np.abs(ours[name] - theirs[name]).max() for name in ours}
    assert [name for name in ours if far[name] > 1e-4 * np.abs(theirs[name]).max()] == []


def test_exact_integers_are_near_what_floats_compute(
    outputs: dict[tuple[str, str], Array],
) -> None:
    assert np.abs(outputs["fixed", "int8"] - outputs["tf", "float32"]).max() < 0.15


@pytest.mark.parametrize("name", ["cifar10-small-sigmoid", "cifar10-r18-batchnorm"])
def test_a_variant_runs_in_floats_and_in_integers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run = ["run", name, "--backends", "ort,fixed", "--precision", "float32,int8"]
    assert main([*run, "--taps", "outputs", "--store", str(tmp_path / "store")]) == 0
    store, found = Store(tmp_path / "store"), {}
    for record in (each for each in store.runs() if each["status"] == "ok"):
        rows = [store.read_tensor(row["outputs"][0]).array for row in record["results"]]
        found[record["backend"], record["precision"]] = np.concatenate(rows)
    assert set(found) == {
        (word, precision) for word in ("ort", "fixed") for precision in ("float32", "int8")
    }
    np.testing.assert_allclose(found["fixed", "float32"], found["ort", "float32"], rtol=1e-4)
    assert np.abs(found["fixed", "int8"] - found["ort", "float32"]).max() < 0.15
