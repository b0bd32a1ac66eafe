"""Nine public CNNs give the same values in every float backend, layer by layer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from xbackend.store.store import Store, open_store
from xbackend.testing.suite_cases import LightModel, light_models

BACKENDS = ("ort", "tf", "torch")

RELATIVE = 3e-5
"""How far a tap may be from ONNX Runtime's, of the largest magnitude in its tensor.

Two sound results are up to 2e-5 apart: after 160 layers of light_resnet50 ONNX Runtime is up to
6e-6 away from the exact values (computed in float64) and TensorFlow up to 8e-6, to the other side;
MKL on a Zen 4 is 1.1e-5 away from ONNX Runtime in the longest sums of light_bvlc_alexnet."""

SETTINGS = ("ort.optimization=disabled", "tf.onednn=off")
"""Without oneDNN, whose convolutions in TensorFlow 2.21.0 add one product after the other: the
weights of these models are all equal, so that rounding has one direction and comes to 4.5e-5."""

RTOL, ATOL = 2e-3, 1e-7
"""How far an output may be from the suite's: its own tolerance for the widest of the models."""

MAIN = "import sys; from xbackend.commands.main import main; sys.exit(main())"


@pytest.fixture(scope="module", params=light_models(), ids=lambda model: model.name)
def light(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[LightModel, Store]]:
    """Run one model in all backends, each in a process of its own, with every tap."""
    model: LightModel = request.param
    folder = tmp_path_factory.mktemp(model.name)
    np.save(folder / "input.npy", model.sample())
    arguments = ["run", str(model.path), "--inputs", str(folder / "input.npy")]
    arguments += ["--backends", ",".join(BACKENDS), "--taps", "layers", "--jobs", "1"]
    arguments += ["--store", str(folder / "store")]
    arguments += [word for setting in SETTINGS for word in ("--set", setting)]
    done = subprocess.run([sys.executable, "-c", MAIN, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    yield model, open_store(str(folder / "store"))
    for path in sorted((folder / "store").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def taps(store: Store, backend: str) -> dict[str, dict[str, object]]:
    """Return the records of the taps of one backend's run, by name, in order."""
    (run,) = (run for run in store.runs() if run["backend"] == backend)
    assert run["status"] == "ok", run["error"]
    return {row["name"]: row for row in run["results"][0]["taps"]}


def test_the_output_is_the_public_suites(light: tuple[LightModel, Store]) -> None:
    model, store = light
    expected = model.path.with_name(f"{model.name}_output_0.pb")
    wanted = numpy_helper.to_array(onnx.load_tensor(expected))
    for run in store.runs():
        output = store.read_tensor(run["results"][0]["outputs"][0])
        np.testing.assert_allclose(
            output.array, wanted, rtol=RTOL, atol=ATOL, err_msg=run["backend"]
        )


@pytest.mark.parametrize("backend", ["tf", "torch"])
def test_every_tap_is_close_to_onnx_runtimes(light: tuple[LightModel, Store], backend: str) -> None:
    model, store = light
    wanted = taps(store, "ort")
    found = taps(store, backend)
    assert list(found) == [name for name in wanted if name in found]
    names = [name for name in found if name not in unfilled(model)]
    far = {name: distance(store, found[name], wanted[name]) for name in names}
    assert {name: away for name, away in far.items() if not away <= RELATIVE} == {}


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_value_of_the_graph_is_a_tap(light: tuple[LightModel, Store], backend: str) -> None:
    model, store = light
    masks = unfilled(model)
    nodes = onnx.load(model.path).graph.node
    computed = [name for node in nodes for name in node.output if name not in masks]
    assert [name for name in taps(store, backend) if name not in masks] == computed


def unfilled(model: LightModel) -> set[str]:
    """Return the masks of Dropout: before opset 12 an inference leaves them without a meaning."""
    nodes = onnx.load(model.path).graph.node
    return {name for node in nodes if node.op_type == "Dropout" for name in node.output[1:]}


def distance(store: Store, one: dict[str, object], other: dict[str, object]) -> float:
    """Return the largest absolute difference, relative to the largest magnitude of the second."""
    if one["digest"] == other["digest"] and one["shape"] == other["shape"]:
        return 0.0
    left, right = store.read_tensor(one).array, store.read_tensor(other).array
    assert left.shape == right.shape
    return float(np.abs(left - right).max() / np.abs(right).max())
