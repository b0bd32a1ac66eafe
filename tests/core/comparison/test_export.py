"""An export is judged by distances that no rounding explains, integers by inequality."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xbackend.comparison.export import (
    CLOSE,
    OTHER,
    RANDOM,
    SAME,
    STEP,
    ExportJudgement,
    export_judgements,
)
from xbackend.facts.gates import gate_failures, parse_gate
from xbackend.plugins import registry
from xbackend.testing.store_builder import StoreBuilder

LAYERS = [
    {"tap": "a", "layer": 0, "operator": "Conv", "inputs": ["x"]},
    {"tap": "inner", "layer": 1, "operator": "Erf", "inputs": ["a"]},
    {"tap": "b", "layer": 2, "operator": "Mul", "inputs": ["inner", "a"]},
    {"tap": "y", "layer": 3, "operator": "Floor", "inputs": ["b"]},
]


class Bench:
    """Writes a source's run and a graph's run, and judges the export."""

    def __init__(self, folder: Path) -> None:
        self.bench = StoreBuilder(folder)

    def write(self, graph: str, *samples: dict[str, Any], **keys: Any) -> None:
        """Write a run whose samples are the tensors by name, `y` the output."""
        results = []
        for number, tensors in enumerate(samples):
            given = {"x": np.array([[1.0, float(number)]], np.float32)}
            taps = {name: value for name, value in tensors.items() if name != "y"}
            row = self.bench.result(str(number), {"y": tensors["y"]}, taps)
            row["inputs"] = self.bench.result("", given, {})["outputs"]
            results.append(row)
        told = {"backend": "torch", "settings": {"threads": 1, "graph": graph}, "layers": LAYERS}
        self.bench.write(results=results, **{**told, "taps_neutral": True, **keys})

    @property
    def judged(self) -> ExportJudgement:
        """The one judgement."""
        (found,) = export_judgements(self.bench.compare())
        return found

    @property
    def text(self) -> str:
        """What is said of it."""
        return registry.report("export")(self.bench.compare())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def erf_gelu(x: float) -> float:
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


def tanh_gelu(x: float) -> float:
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def test_the_same_bits_are_said_to_be_the_same(bench: Bench) -> None:
    for graph in ("source", "onnx"):
        bench.write(graph, {"a": [1, 2], "y": [3, 4]}, {"a": [1, 2], "y": [3, 4]})
    assert bench.judged.verdict == SAME
    assert bench.judged.first is None
    assert bench.text == (
        "The exported model gives the same bits as your PyTorch module (in torch) on 2 inputs."
    )


def test_what_a_program_gives_is_not_said_of_the_module_that_it_was_made_of(bench: Bench) -> None:
    for graph in ("source", "onnx"):
        bench.write(
            graph, {"a": [1], "y": [3]}, {"a": [1], "y": [3]}, export={"exporter": "dynamo"}
        )
    assert bench.text.startswith(
        "The exported model gives the same bits as the torch.export program of your module (in "
        "torch) on 2 inputs."
    )


def test_one_unit_in_the_last_place_is_close_and_no_proof(bench: Bench) -> None:
    near = np.nextafter(np.float32(4), np.float32(5))
    bench.write("source", {"a": [1, 2], "y": [3, 4]}, {"a": [1, 2], "y": [3, 4]})
    bench.write("onnx", {"a": [1, 2], "y": [3, near]}, {"a": [1, 2], "y": [3, 4]})
    assert bench.judged.verdict == CLOSE
    assert "1 of 2 values differs by 4.77e-07" in bench.text
    assert "may be rounding: that the certificates of layers tell" in bench.text


def test_gelu_by_tanh_instead_of_erf_is_another_function(bench: Bench) -> None:
    line = np.linspace(-3, 3, 61).tolist()
    one, other = [erf_gelu(x) for x in line], [tanh_gelu(x) for x in line]
    bench.write("source", {"a": line, "b": one, "y": line})
    bench.write("onnx", {"a": line, "b": other, "y": line})
    judged = bench.judged
    assert judged.verdict == OTHER
    assert judged.first is not None
    assert (judged.first.tap, judged.first.layer, judged.first.same_inputs) == ("b", 2, True)
    assert judged.first.largest == pytest.approx(
        max(abs(a - b) for a, b in zip(one, other, strict=True)), rel=1e-2
    )
    assert "first at node 2 (Mul, 'b')" in bench.text


def test_layer_normalisation_with_another_epsilon_is_another_function(bench: Bench) -> None:
    row = np.array([-1.0, 0.5, 0.25, 2.0])
    normed = [(row - row.mean()) / np.sqrt(row.var() + epsilon) for epsilon in (1e-5, 1e-3)]
    for graph, value in zip(("source", "onnx"), normed, strict=True):
        bench.write(graph, {"a": row.tolist(), "b": value.tolist(), "y": [0]})
    assert bench.judged.verdict == OTHER


def test_integers_that_differ_are_another_function_however_near(bench: Bench) -> None:
    bench.write("source", {"a": [1], "y": np.array([[-3, 1000000]], np.int32)})
    bench.write("onnx", {"a": [1], "y": np.array([[-2, 1000000]], np.int32)})
    assert bench.judged.verdict == OTHER
    assert "1 of 2 values differs by 1" in bench.text


def test_a_step_behind_a_little_difference_is_not_called_another_function(bench: Bench) -> None:
    below = np.nextafter(np.float32(2), np.float32(0))
    bench.write("source", {"b": [2, 8], "y": [2, 8]})
    bench.write("onnx", {"b": [below, 8], "y": [1, 8]})
    judged = bench.judged
    assert judged.verdict == STEP
    assert judged.first is not None
    assert (judged.first.tap, judged.first.same_inputs) == ("y", False)
    assert "whether it is another function is not known" in bench.text


def test_a_step_whose_input_has_the_same_bits_is_another_function(bench: Bench) -> None:
    bench.write("source", {"b": [2, 8], "y": [2, 8]})
    bench.write("onnx", {"b": [2, 8], "y": [1, 8]})
    assert bench.judged.verdict == OTHER
    assert bench.text.startswith("The exported model is another function than your PyTorch module")


def test_a_nan_in_one_of_the_two_is_another_function(bench: Bench) -> None:
    bench.write("source", {"a": [1], "y": [1, 2]})
    bench.write("onnx", {"a": [1], "y": [1, math.nan]})
    assert bench.judged.verdict == OTHER
    assert "1 of 2 values differ, by no finite number" in bench.text


def test_zeros_of_the_other_sign_are_close(bench: Bench) -> None:
    bench.write("source", {"a": [1], "y": [0.0, 2]})
    bench.write("onnx", {"a": [1], "y": [-0.0, 2]})
    assert bench.judged.verdict == CLOSE
    assert "all values are equal, but not their bits" in bench.text


def test_layers_whose_recording_changed_bits_are_left_out(bench: Bench) -> None:
    bench.write("source", {"a": [1, 2], "y": [3, 4]})
    bench.write("onnx", {"a": [100, 2], "y": [3, 4]}, taps_neutral=False)
    assert bench.judged.verdict == SAME


def test_one_sample_alone_is_told(bench: Bench) -> None:
    for graph in ("source", "onnx"):
        bench.write(graph, {"a": [1], "y": [1]})
    assert "All samples are one" in bench.text


def test_runs_that_differ_in_more_than_the_form_are_no_pair(bench: Bench) -> None:
    bench.write("source", {"a": [1], "y": [1]})
    bench.write("onnx", {"a": [1], "y": [2]}, settings={"threads": 2, "graph": "onnx"})
    assert export_judgements(bench.bench.compare()) == ()
    assert bench.text.startswith("No export is judged")


def test_the_json_report_has_every_judgement(bench: Bench) -> None:
    bench.write("source", {"b": [2, 8], "y": [2, 8]})
    bench.write("onnx", {"b": [2, 8], "y": [1, 8]})
    (export,) = json.loads(registry.report("json")(bench.bench.compare()))["exports"]
    assert export["verdict"] == OTHER
    assert export["first"]["tap"] == "y"
    assert export["first"]["deviating"] == 1


@pytest.mark.parametrize(
    "facts", [{"draws_random": True}, {"repeated": {"samples": 1, "other_bits": 1}}]
)
def test_a_source_that_draws_random_numbers_is_said_to_and_is_no_fault_of_the_export(
    tmp_path: Path, facts: dict[str, Any]
) -> None:
    bench = Bench(tmp_path)
    bench.write("source", {"y": [1.0, 2.0]}, facts=facts)
    bench.write("onnx", {"y": [7.0, 9.0]})
    assert bench.judged.verdict == RANDOM
    assert bench.judged.first is None
    assert bench.text == (
        "Whether the export is right cannot be told, as your PyTorch module (in torch) draws "
        "random numbers."
    )
    (failed, *_) = gate_failures(bench.bench.compare(), [parse_gate("rounding")])
    assert "nothing was judged" in str(failed)


def test_a_source_that_gave_the_same_bits_again_is_judged(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.write("source", {"y": [1.0]}, facts={"repeated": {"samples": 1, "other_bits": 0}})
    bench.write("onnx", {"y": [7.0]})
    assert bench.judged.verdict == OTHER
