"""Runs of different files as one section: which layer is which, and which weights differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xbackend.api.comparison import compare, isolate
from xbackend.comparison.across.weights import Weight, pair_weights, weights_of
from xbackend.errors import UsageError
from xbackend.reports.wording.formatting import heading
from xbackend.testing.store_builder import StoreBuilder
from xbackend.worker.graph import Graph, Node
from xbackend.worker.objects import write_tensor
from xbackend.worker.tensor import Tensor, from_numpy

CONV = np.random.default_rng(0).standard_normal((1, 3, 4, 4)).astype(np.float32)
RELU = np.maximum(CONV, 0)
X = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)


def model(name: str, digest: str) -> dict[str, Any]:
    """Return what a record says of a model."""
    return {"name": Path(name).stem, "digest": digest * 64, "source": name}


class Files:
    """A store into which runs of different files are written, all on the input X."""

    def __init__(self, bench: StoreBuilder) -> None:
        self.bench = bench

    def run(self, name: str, digest: str, outputs: Any, taps: Any, x: Any = X, **keys: Any) -> str:
        """Write a run."""
        folder = str(self.bench.store.folder)
        result = self.bench.result("0", outputs, taps)
        result["inputs"] = [{"name": "x", **write_tensor(folder, from_numpy(x))}]
        more = {"model": model(name, digest), "inputs_digest": digest * 64, "layers": [], **keys}
        return self.bench.write(results=[result], taps_neutral=True, **more)

    def compare(self, **how: Any) -> Any:
        """Compare."""
        return compare(store=self.bench.store, **how)


@pytest.fixture
def files(bench: StoreBuilder) -> Files:
    return Files(bench)


def counts(section: Any) -> dict[str, int]:
    """Return how many runs recorded each tensor."""
    return {tap.tap: tap.run_count for tap in section.layers}


def test_layers_in_another_layout_and_of_another_name_are_one_by_their_values(
    files: Files,
) -> None:
    files.run("a.onnx", "a", {"y": [1.0, 2.0]}, {"conv": CONV, "relu": RELU})
    theirs = {"net/Relu": RELU.transpose(0, 2, 3, 1), "other": np.ones((1, 7), np.float32)}
    files.run("b.tflite", "b", {"Identity": [1.0, 2.5]}, theirs)
    section = files.compare(across=True).section
    assert counts(section) == {"conv": 1, "relu": 2, "y": 2}
    assert {tap.tap: tap.eqc_count for tap in section.layers} == {"conv": 1, "relu": 1, "y": 2}
    (fact,) = files.compare(across=True).result.across
    (layers,) = fact.layers
    assert (layers.by_name, layers.by_values, layers.turned) == (0, 1, 1)
    assert layers.left_out == ("other",)


def test_a_layer_of_the_same_name_is_compared_however_far_its_values_are(files: Files) -> None:
    files.run("a.onnx", "a", {"y": [1.0]}, {"conv": CONV})
    files.run("b.onnx", "b", {"y": [9.0]}, {"conv": -7 * CONV})
    section = files.compare(across=True).section
    assert {tap.tap: tap.eqc_count for tap in section.layers} == {"conv": 2, "y": 2}


def test_a_part_of_a_name_counts_where_no_values_do(files: Files) -> None:
    layer = [{"tap": "conv", "layer": 0, "operator": "Conv"}]
    other = [{"tap": "net/conv_1/out", "layer": 0, "operator": "Conv"}]
    files.run("a.onnx", "a", {"y": [1.0]}, {"conv": CONV}, layers=layer)
    files.run("b.onnx", "b", {"z": [9.0]}, {"net/conv_1/out": -7 * CONV}, layers=other)
    found = files.compare(across=True)
    assert found.result.across[0].layers[0].by_part == 1
    assert counts(found.section) == {"conv": 2, "y": 2}


def test_inputs_may_lie_in_another_layout(files: Files) -> None:
    files.run("a.onnx", "a", {"y": [1.0]}, {})
    files.run("b.tflite", "b", {"y": [1.0]}, {}, x=X.transpose(0, 2, 3, 1))
    assert [len(ids) for ids in files.compare(across=True).section.classes] == [2]


@pytest.mark.parametrize(
    "other",
    [
        {"x": X + 1},
        {"outputs": {"y": [1.0, 2.0]}},
        {"outputs": {"y": [1.0], "z": [1.0]}},
        {"precision": "float16"},
    ],
    ids=["other inputs", "another shape", "more outputs", "another precision"],
)
def test_what_does_not_fit_stays_apart(files: Files, other: dict[str, Any]) -> None:
    files.run("a.onnx", "a", {"y": [1.0]}, {})
    files.run("b.onnx", "b", **{"outputs": {"y": [1.0]}, "taps": {}, **other})
    assert len(files.compare(across=True).sections) == 2


def test_without_being_asked_files_are_compared_only_where_nothing_else_can_be(
    files: Files,
) -> None:
    files.run("a.onnx", "a", {"y": [1.0]}, {})
    files.run("b.onnx", "b", {"y": [2.0]}, {})
    assert len(files.compare().sections) == 1
    assert len(files.compare(across=False).sections) == 2
    files.run("a.onnx", "a", {"y": [1.0]}, {}, backend="torch")
    assert len(files.compare().sections) == 2
    assert len(files.compare(across=True).sections) == 1


def test_the_report_names_the_files(files: Files) -> None:
    files.run("one/net.onnx", "a", {"y": [1.0]}, {})
    files.run("two/net.onnx", "b", {"y": [2.0]}, {})
    text = " ".join(str(files.compare()).split())
    assert "These are 2 different files: net.onnx (aaaaaaaa) and net.onnx (bbbbbbbb)." in text
    assert "Weights of net.onnx (bbbbbbbb) are not compared" in text


def test_sections_with_one_heading_are_told_apart_by_file_and_digest(files: Files) -> None:
    files.run("one/net.onnx", "a", {"y": [1.0]}, {})
    files.run("two/net.onnx", "b", {"y": [2.0]}, {}, x=X + 1)
    headings = [heading(each.summary) for each in files.compare(across=False).sections]
    assert headings == [
        f"net, float32, 1 input, 1 run ({n}/net.onnx, digest {d * 8}, inputs {d * 8})"
        for n, d in (("one", "a"), ("two", "b"))
    ]


def test_files_with_other_layers_are_not_isolated(files: Files) -> None:
    files.run("a.onnx", "a", {"y": [1.0]}, {})
    files.run("b.onnx", "b", {"y": [2.0]}, {})
    with pytest.raises(UsageError, match="not isolated"):
        isolate(files.compare())


def weight(array: Any, name: str = "w", **keys: Any) -> Weight:
    """Return a weight."""
    array = np.asarray(array)
    return Weight(name, array, keys.pop("format", array.dtype.name), **keys)


KERNEL = np.random.default_rng(1).standard_normal((5, 3, 2, 2)).astype(np.float32)


def kinds(ours: Weight, theirs: Weight) -> list[tuple[str, str]]:
    """Return how the one pair of two weights is judged."""
    return [(pair.kind, pair.format) for pair in pair_weights([ours], [theirs])]


def test_a_transposed_weight_has_the_same_bits() -> None:
    assert kinds(weight(KERNEL), weight(KERNEL.transpose(2, 3, 1, 0))) == [("same bits", "float32")]


def test_a_rounded_weight_says_to_what() -> None:
    halves = KERNEL.astype(np.float16)
    assert kinds(weight(KERNEL), weight(halves)) == [("rounded", "float16")]
    assert kinds(weight(KERNEL), weight(halves.astype(np.float32))) == [("rounded", "float16")]
    cut = (KERNEL.view(np.uint32) + 0x8000 & 0xFFFF0000).view(np.float32)  # no tie among these
    assert kinds(weight(KERNEL), weight(cut)) == [("rounded", "bfloat16")]


def test_a_quantized_weight_is_within_half_a_step() -> None:
    step = np.float32(np.abs(KERNEL).max() / 127)
    real = np.rint(KERNEL / step) * step
    steps = np.broadcast_to(np.float64(step), KERNEL.shape)
    assert kinds(weight(KERNEL), weight(real, format="int8", step=steps)) == [("quantized", "int8")]
    wrong = real + 0.7 * step
    assert kinds(weight(KERNEL), weight(wrong, format="int8", step=steps)) == [
        ("other numbers", "int8")
    ]


def test_a_weight_that_was_changed_a_little_has_other_numbers() -> None:
    (pair,) = pair_weights([weight(KERNEL)], [weight(KERNEL * np.float32(1.01))])
    assert pair.kind == "other numbers"
    assert pair.distance == pytest.approx(0.01, rel=1e-3)


def test_a_weight_without_anything_alike_is_no_pair() -> None:
    assert pair_weights([weight(KERNEL)], [weight(KERNEL[::-1] + 3), weight(KERNEL[:2])]) == []


def test_integers_of_a_graph_are_weights_by_what_they_stand_for() -> None:
    constants = {
        "w": Tensor("int8", np.int8([[2, -4], [6, 8]])),
        "scale": from_numpy(np.float32([0.5, 0.25])),
        "zero": Tensor("int8", np.int8([0, 0])),
        "epsilon": from_numpy(np.float32(1e-5)),
    }
    node = Node("DequantizeLinear", "", "", ("w", "scale", "zero"), ("r",), {"axis": 0})
    (found,) = weights_of(Graph(17, (), (), constants, (node,)))
    assert (found.name, found.format) == ("w", "int8")
    assert found.array.tolist() == [[1.0, -2.0], [1.5, 2.0]]


def test_a_turned_layer_is_kept_in_the_store(files: Files) -> None:
    files.run("a.onnx", "a", {"y": [1.0]}, {"conv": CONV})
    files.run("b.tflite", "b", {"y": [2.0]}, {"c": CONV.transpose(0, 2, 3, 1)})
    assert len(files.compare().sections) == 1
    digests = {path.name for path in (files.bench.store.folder / "objects").rglob("*")}
    assert from_numpy(CONV).digest()[2:] in digests
