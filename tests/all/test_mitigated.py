"""What removes the deviation of a small network between this processor and an emulated one."""

import json
import shutil

import numpy as np
import pytest

from xbackend.commands.main import main
from xbackend.numerics.zeroing import has_low_mantissa_bits, zero_mantissa_bits
from xbackend.store.store import Store

pytestmark = pytest.mark.skipif(
    shutil.which("qemu-x86_64") is None,
    reason="There is no qemu-x86_64 on this machine (Debian: qemu-user).",
)
WANTED = "builtin-kernels,round-activations-9,round-inputs-22,deterministic,float64,flat-graph"


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    """Carry out the command once; SandyBridge has no FMA, which this processor is taken to have."""
    folder = tmp_path_factory.mktemp("mitigated")
    arguments = ["--backends", "ort,tflite", "--mitigations", WANTED, "--search", "--json"]
    platforms = ["--platform", "native", "--platform", "qemu:SandyBridge"]
    target = ["--output", str(folder / "table.json"), "--store", str(folder / "store")]
    trees = ["--dendrogram", str(folder / "trees.txt")]
    assert main(["mitigate", *arguments, *platforms, *target, *trees]) == 0
    assert "class 2: ort qemu:SandyBridge" in (folder / "trees.txt").read_text(encoding="utf-8")
    return {**json.loads((folder / "table.json").read_text()), "store": folder / "store"}


@pytest.fixture(scope="module")
def rows(document):
    return {(row["backend"], row["mitigation"]): row for row in document["rows"]}


def test_without_xnnpack_a_processor_without_fma_gives_the_same_bits(rows):
    row = rows["tflite", "builtin-kernels"]
    assert (row["before"]["classes"], row["after"]["classes"]) == (2, 1)
    assert row["fidelity"] > 18


def test_what_changes_no_bit_is_told_so(rows):
    assert rows["ort", "deterministic"]["unchanged"]
    assert not rows["ort", "flat-graph"]["unchanged"]
    assert rows["tflite", "flat-graph"]["unchanged"]


def test_what_a_backend_lacks_says_why(rows):
    assert "float64" in rows["ort", "float64"]["notes"][0]
    assert rows["ort", "float64"]["after"] is None
    assert "only store weights" in rows["tflite", "float64"]["notes"][0]


def test_the_built_in_models_samples_have_labels(rows):
    assert rows["ort", ""]["accuracy"] == [1.0, 1.0]


def test_both_frameworks_agree_where_both_run_the_flat_graph_without_xnnpack(document):
    together = document["search"][0]
    assert together["backends"] == ["ort", "tflite"]
    assert set(together["mitigations"]) == {"builtin-kernels", "flat-graph"}


def test_rounding_is_seen_in_the_outputs_of_every_run_and_the_label_stays(document, rows):
    store = Store(document["store"])
    rounded = [run for run in store.runs() if "~round-activations-9" in run["model"]["name"]]
    assert {(run["backend"], run["platform"]) for run in rounded} == {
        (word, place) for word in ("ort", "tflite") for place in ("native", "qemu:SandyBridge")
    }
    for run in rounded:
        for result in run["results"]:
            (output,) = result["outputs"]
            array = store.read_tensor(output).array
            assert np.array_equal(array, zero_mantissa_bits(array, 9))
            assert has_low_mantissa_bits(array, 10)
    assert rows["all together", "round-activations-9"]["after"]["flips"] == 0


@pytest.mark.parametrize("word", ["ort", "torch"])
def test_every_tap_behind_a_computing_node_has_its_low_bits_zero(word, tmp_path):
    chosen = ["--option", "onnx_to_zeroed.activations=9", "--output", str(tmp_path)]
    store = ["--store", str(tmp_path / "store")]
    assert main(["convert", "cifar10-small", "--to", "onnx-zeroed", *chosen, *store]) == 0
    path = str(tmp_path / "cifar10-small.zeroed.onnx")
    assert main(["run", path, "--backends", word, *store]) == 0
    (run,) = [each for each in Store(tmp_path / "store").runs() if each["backend"] == word]
    assert run["status"] == "ok"
    names = {"relu1", "relu2", "relu3", "relu4", "dense3", "softmax"}
    seen = set()
    for row in (row for result in run["results"] for row in result["taps"]):
        if row["name"] in names:
            seen.add(row["name"])
            assert not has_low_mantissa_bits(Store(tmp_path / "store").read_tensor(row).array, 9), (
                row["name"]
            )
    assert seen == names
