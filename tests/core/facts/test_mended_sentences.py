"""Sentences that once contradicted the numbers beside them, each with the runs that showed it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from xbackend.attribution.correlation import flag_tables
from xbackend.comparison.findings import (
    INHERITED,
    OWN,
    Isolation,
    LayerVerdict,
    ReferenceComparison,
    ReferenceComparisonRow,
)
from xbackend.comparison.summary import summaries
from xbackend.facts.cohorts import may_saturate
from xbackend.numerics.float64_error import ErrorMetrics
from xbackend.numerics.metrics import Metrics
from xbackend.reports import layers, terminal
from xbackend.reports.sections import accuracy
from xbackend.store.records import read_run
from xbackend.testing.store_builder import StoreBuilder

CHAIN = [
    {"tap": "conv", "layer": 0, "operator": "Conv", "inputs": ["x"]},
    {"tap": "relu", "layer": 1, "operator": "Relu", "inputs": ["conv"]},
    {"tap": "y", "layer": 2, "operator": "Softmax", "inputs": ["relu"]},
]
ALONE = [{"tap": "y", "layer": 0, "operator": "Conv"}]
GIVEN = {"inputs": [{"name": "x", "dtype": "float32", "shape": [1], "digest": "f" * 64}]}
ZERO = Metrics(23, 0, 0.0, 0.0)


def text(bench: StoreBuilder) -> str:
    return " ".join(terminal.render(bench.compare()).split())


def test_a_model_of_one_node_is_not_said_to_lack_recorded_layers(bench: StoreBuilder) -> None:
    for value in (1.0, 2.0):
        bench.run({"y": [value, 0.0]}, layers=ALONE)
    assert "no two runs recorded" not in text(bench)
    assert "first difference at layer 0 (Conv, tap 'y'), before which the model has no layer" in (
        text(bench)
    )


def test_a_sample_that_a_run_lacks_makes_no_class(bench: StoreBuilder) -> None:
    both = [bench.result(name, {"y": [1.0, 2.0]}, {}) for name in ("0", "1")]
    bench.write(results=both)
    bench.write(results=both[:1])
    said = text(bench)
    assert "All 2 runs give the same bits by what two runs share (1 run lacks an output)." in said
    assert "Not deterministic" not in said


def test_an_output_that_a_run_lacks_makes_no_class(bench: StoreBuilder) -> None:
    bench.run({"y": [1.0, 2.0], "z": [3.0, 4.0]})
    bench.run({"y": [1.0, 2.0]})
    assert bench.document()["divergence"][0]["eqc_count_output"] == 1


def test_a_column_says_who_recorded_a_layer_where_not_all_did(bench: StoreBuilder) -> None:
    for value in (1.0, 2.0, 3.0):
        taps = {"conv": [value, 0.0], **({"relu": [value, 0.0]} if value < 3 else {})}
        bench.run({"y": [value, 0.0]}, taps)
    rows = [line.split() for line in terminal.render(bench.compare()).splitlines()]
    assert [row[3:5] for row in rows if row[1:2] in (["conv"], ["relu"])] == [
        ["3/3", "3"],
        ["2/3", "2"],
    ]
    assert "1 layer was not recorded by all runs" in text(bench)
    (summary,) = summaries(bench.compare())
    assert "runs" in layers.layers_table(summary).headers


def test_layers_that_some_runs_lack_and_no_table_shows_are_told_apart(
    bench: StoreBuilder,
) -> None:
    bench.run({"y": [1.0, 0.0]}, {"conv": [1.0], "relu": [1.0]})
    bench.run({"y": [1.0, 0.0]})
    assert (
        "2 layers were not recorded by all runs; between the runs that have them none of these "
        "differs."
    ) in text(bench)
    bench.run({"y": [2.0, 0.0]}, {"conv": [1.0], "relu": [2.0]})
    assert (
        "2 layers were not recorded by all runs, of which 1 differs: classes of a layer are those"
    ) in text(bench)
    rows = [line.split()[1:2] for line in terminal.render(bench.compare()).splitlines()]
    assert (["relu"] in rows, ["conv"] in rows) == (True, False)


def test_the_first_difference_says_how_many_layers_before_it_nobody_saw(
    bench: StoreBuilder,
) -> None:
    bench.run({"y": [1.0, 0.0]}, {"conv": [1.0], "relu": [1.0]})
    bench.run({"y": [1.0, 0.0]}, {"relu": [2.0]})
    bench.run({"y": [2.0, 0.0]}, {"relu": [2.0]})
    assert "at layer 1 (Relu, tap 'relu'), behind 1 layer that not all runs recorded" in text(bench)


def test_floats_and_integers_among_outputs_are_told_apart(bench: StoreBuilder) -> None:
    for value, place in ((0.5, 1), (0.25, 3)):
        bench.run({"y": [value, 0.0], "k": np.array([[place, 0]], np.int64)})
    assert "at least 0 of 23 mantissa bits agree; integers are up to 2 apart" in text(bench)


@pytest.mark.parametrize("shape", [(1, 3, 2, 2), (1, 1), (1, 1, 1, 6), ()])
def test_no_label_is_said_of_an_image_or_a_single_number(
    bench: StoreBuilder, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XBACKEND_STORE", str(bench.store.folder))  # whose path is named otherwise
    for sign in (1, -1):
        values = sign * np.arange(1, np.prod(shape, dtype=int) + 1, dtype=np.float32)
        bench.run({"y": values.reshape(shape)})
    assert "label" not in text(bench)
    assert bench.document()["divergence"][0]["label_flips"] == 0


def test_models_of_two_quantizers_are_two_cohorts(bench: StoreBuilder) -> None:
    for quantizer in ("onnx_to_int8", "keras_to_tflite", "onnx_to_int8"):
        scores = np.array([[1, 2]], np.int8)
        bench.run({"y": scores}, precision="int8", quantizer=quantizer)
    found = bench.document()["comparisons"]
    assert [(each["group"]["quantizer"], each["runs_total"]) for each in found] == [
        ("onnx_to_int8", 2),
        ("keras_to_tflite", 1),
    ]


def test_one_quantizer_alone_adds_no_key(bench: StoreBuilder) -> None:
    bench.run({"y": [1.0]}, precision="int8", quantizer="onnx_to_int8")
    assert "quantizer" not in bench.document()["comparisons"][0]["group"]


@pytest.mark.parametrize(("flags", "told"), [(["avx2"], True), (["avx2", "avx512_vnni"], False)])
def test_saturation_explains_nothing_on_a_processor_with_vnni(
    bench: StoreBuilder, flags: list[str], told: bool
) -> None:
    for value in (1, 2):
        bench.run(
            {"y": np.array([[value, 0]], np.int8)},
            precision="int8",
            hardware={"flags": flags},
            saturation=[{"tap": "conv", "operator": "QLinearConv", "possible": 40000}],
        )
    assert ("two products can be too much" in text(bench)) == told
    assert may_saturate(set(flags)) == told


def test_a_setting_that_came_to_nothing_is_told(bench: StoreBuilder) -> None:
    why = "XNNPACK took none of the model's 3 operations"
    for _ in range(2):
        bench.run(
            {"y": [1.0]},
            backend="tflite",
            settings={"threads": 1, "delegate": "none"},
            facts={"substituted": {"delegate": why}},
        )
    assert f"tflite.delegate came to none in 2 runs: {why}." in text(bench)


def test_flags_keep_models_of_one_name_apart(bench: StoreBuilder) -> None:
    for digest, flags in (("a" * 64, ["avx2"]), ("b" * 64, ["fma"])):
        model = {"name": "net", "digest": digest, "source": "net.onnx"}
        bench.run({"y": [float(len(flags[0])), 1.0]}, model=model, hardware={"flags": flags})
    tables = flag_tables([read_run(record) for record in bench.store.runs()])
    assert [len(table.classes) for table in tables] == [1, 1]


def _layer(tap: str, layer: int, verdict: str) -> LayerVerdict:
    return LayerVerdict(tap, layer, "Conv", verdict, "", ZERO, ZERO, ZERO, False)


def test_born_says_what_it_cannot_see_and_what_isolation_found(bench: StoreBuilder) -> None:
    for value in (1.0, 2.0):
        result = bench.result("0", {"y": [value, 1.0]}, {"conv": [value], "relu": [value]})
        bench.write(results=[{**result, **GIVEN}], taps_neutral=True, layers=CHAIN)
    compared = bench.compare()
    first, second = compared.runs
    verdicts = (_layer("conv", 0, OWN), _layer("relu", 1, INHERITED), _layer("y", 2, OWN))
    found = replace(compared, isolations=(Isolation(first, second, ("0",), verdicts, ()),))
    said = " ".join(layers.render(found).split())
    assert "Classes are born at 1 layer: conv (Conv, 1)." in said
    assert "Only layers whose inputs have the same bits in two runs can be seen" in said
    assert "Isolation finds an error of their own in others, too: 'y'." in said


def _error(relative: float | None) -> ErrorMetrics:
    distance = None if relative is None else 1.0
    return ErrorMetrics(1, 1, distance, relative, 0.0)


def _judged(bench: StoreBuilder, *rows: dict[str, float | None]) -> str:
    for _ in rows:
        bench.run({"y": [1.0, 2.0]}, layers=CHAIN)
    compared = bench.compare()
    (summary,) = summaries(compared)
    made = []
    for run, errors in zip(compared.runs, rows, strict=True):
        taps = {name: _error(relative) for name, relative in errors.items()}
        lost: Any = (("conv", 3.0),)
        made.append(ReferenceComparisonRow((run.id,), run, taps["y"], taps, (), lost))
    found = ReferenceComparison(summary.cohort, compared.runs[0], tuple(made), {})
    return accuracy.accuracy_sentences(summary, found)[0]


def test_a_layer_that_overflows_is_named_before_the_one_that_loses_most(
    bench: StoreBuilder,
) -> None:
    said = _judged(bench, {"conv": 1e-3, "relu": None, "y": 0.5})
    assert "overflow, or become NaN, at layer 1 (Relu, tap 'relu')" in said
    assert "Of the finite layers most accuracy is lost by ort 1.0, native at layer 0" in said


def test_a_layer_behind_an_overflow_is_not_blamed(bench: StoreBuilder) -> None:
    said = _judged(bench, {"conv": None, "relu": None, "y": None})
    assert "at layer 0 (Conv, tap 'conv'), where" in said


def test_runs_without_a_finite_distance_are_not_equally_near(bench: StoreBuilder) -> None:
    both = {"conv": 1e-3, "relu": 1e-3, "y": None}
    assert "No run's outputs are a finite distance from float64." in _judged(bench, both, both)
