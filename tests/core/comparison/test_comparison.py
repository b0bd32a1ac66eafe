"""Comparisons of runs that are written by hand into a store."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest

from xbackend.comparison.comparison import Comparison, threshold_failures
from xbackend.errors import StoreError, UsageError
from xbackend.testing.store_builder import StoreBuilder
from xbackend.worker.objects import write_tensor
from xbackend.worker.tensor import Tensor

Record = dict[str, Any]

ONE_ULP = float(np.nextafter(np.float32(0.5), np.float32(1)))
FAILED: Record = {
    "status": "failed",
    "error": {"stage": "prepare", "symptom": "SIGSEGV", "message": "It died."},
}
SKIPPED: Record = {
    "status": "skipped",
    "error": {"stage": "plan", "symptom": "unsupported", "message": "No such precision."},
}


def rows(document: Record, tap: str) -> list[Record]:
    """Return the comparisons of a tap."""
    return [row for row in document["comparisons"] if row["tap"] == tap]


def test_classes_of_an_output_are_ordered_by_the_first_run_of_each(bench: StoreBuilder) -> None:
    for values in ([0.25, 0.5], [0.25, ONE_ULP], [0.25, 0.5]):
        bench.run({"y": values})
    (row,) = rows(bench.document(), "y")
    assert row["eqcs"] == [["run-0", "run-2"], ["run-1"]]
    assert row["eqc_count"] == 2
    assert row["remaining_precision"] == 22
    assert row["max_ulp"] == 1
    assert row["max_abs"] == 2.0**-24
    assert row["deviating_fraction"] == 0.5
    assert row["remaining_to_first"] == [23, 22]
    assert (row["dtype"], row["shape"]) == ("float32", [1, 2])
    assert (row["layer"], row["operator"], row["input"]) == (2, "Softmax", "0")


def test_a_document_has_every_key_of_the_contract(bench: StoreBuilder) -> None:
    bench.run({"y": [1.0, 2.0]}, {"conv": [1.0]})
    document = bench.document()
    assert document["schema_version"] == 1
    assert {
        "id", "model", "backend", "backend_version", "precision", "settings", "platform",
        "repeat", "hardware", "status", "error", "seconds", "taps_neutral",
    } <= set(document["runs"][0])  # fmt: skip
    assert document["runs"][0]["model"] == "net"
    assert set(document["runs"][0]["hardware"]) == {
        "vendor", "device", "microarchitecture", "cores", "memory_bytes", "flags",
    }  # fmt: skip
    assert {
        "group", "model", "input", "tap", "layer", "operator", "dtype", "shape", "eqcs",
        "eqc_count", "remaining_precision", "max_ulp", "max_abs", "deviating_fraction",
    } <= set(document["comparisons"][0])  # fmt: skip
    assert {
        "group", "model", "input", "first_tap", "layer", "operator", "eqc_count_output",
        "label_flips",
    } <= set(document["divergence"][0])  # fmt: skip


def test_failed_and_skipped_runs_are_told_and_in_no_class(bench: StoreBuilder) -> None:
    bench.run({"y": [1.0]})
    bench.run(None, **FAILED)
    bench.run({"y": [9.0]}, **FAILED)  # it died after its outputs were saved
    bench.run(None, **SKIPPED)
    document = bench.document()
    assert [run["status"] for run in document["runs"]] == ["ok", "failed", "failed", "skipped"]
    assert document["runs"][1]["error"] == FAILED["error"]
    (row,) = document["comparisons"]
    assert row["eqcs"] == [["run-0"]]


def test_the_first_divergence_is_the_first_tap_in_graph_order(bench: StoreBuilder) -> None:
    bench.run({"y": [0.25, 0.75]}, {"relu": [1.0], "conv": [2.0]})
    bench.run({"y": [0.25, 0.75]}, {"relu": [1.5], "conv": [2.5]})
    document = bench.document()
    assert [row["tap"] for row in document["comparisons"]] == ["conv", "relu", "y"]
    (divergence,) = document["divergence"]
    assert (divergence["first_tap"], divergence["layer"], divergence["operator"]) == (
        "conv", 0, "Conv",
    )  # fmt: skip
    assert divergence["eqc_count_output"] == 1
    assert divergence["label_flips"] == 0


def test_without_divergence_the_first_tap_is_null(bench: StoreBuilder) -> None:
    bench.run({"y": [1.0]}, {"conv": [2.0]})
    bench.run({"y": [1.0]}, {"conv": [2.0]})
    (divergence,) = bench.document()["divergence"]
    assert divergence["first_tap"] is divergence["layer"] is divergence["operator"] is None


def test_a_tap_that_only_one_run_has_is_listed_with_who_lacks_it(bench: StoreBuilder) -> None:
    bench.run({"y": [1.0]}, {"conv": [2.0], "relu": [2.0]})
    bench.run({"y": [1.0]}, {"conv": [2.0]})
    (row,) = rows(bench.document(), "relu")
    assert row["eqcs"] == [["run-0"]]
    assert (row["runs_total"], row["missing"]) == (2, ["run-1"])


def test_the_output_is_the_untapped_one_even_if_a_tap_has_its_name(bench: StoreBuilder) -> None:
    bench.run({"y": [1.0]}, {"y": [5.0]}, neutral=False)
    bench.run({"y": [1.0]}, {"y": [1.0]})
    (row,) = rows(bench.document(), "y")
    assert row["eqcs"] == [["run-0", "run-1"]]
    assert row["is_output"] is True


def test_a_run_whose_taps_changed_its_bits_is_named_at_its_layers_only(bench: StoreBuilder) -> None:
    bench.run({"y": [1.0]}, {"conv": [2.0]}, neutral=False)
    bench.run({"y": [1.0]}, {"conv": [2.0]}, neutral=True)
    document = bench.document()
    assert rows(document, "conv")[0]["taps_not_neutral"] == ["run-0"]
    assert rows(document, "y")[0]["taps_not_neutral"] == []
    assert document["divergence"][0]["taps_not_neutral"] == ["run-0"]


def test_taps_that_no_graph_knows_come_after_the_others(bench: StoreBuilder) -> None:
    bench.run({"y": [1.0], "z": [1.0]}, {"fused": [1.0], "relu": [1.0]})
    assert [row["tap"] for row in bench.document()["comparisons"]] == ["relu", "y", "fused", "z"]


def test_precisions_models_and_inputs_are_never_mixed(bench: StoreBuilder) -> None:
    bench.run({"y": [1.0]})
    bench.run({"y": [2.0]}, precision="float64")
    bench.run({"y": [3.0]}, inputs_digest="j" * 64)
    bench.run({"y": [4.0]}, model={"name": "net", "digest": "e" * 64, "source": "x"})
    document = bench.document()
    assert [row["eqcs"] for row in document["comparisons"]] == [
        [["run-0"]], [["run-1"]], [["run-2"]], [["run-3"]],
    ]  # fmt: skip
    groups = [row["group"] for row in document["comparisons"]]
    assert groups[1] == {"model_digest": "d" * 64, "precision": "float64"}


def test_group_by_splits_runs_by_a_dotted_key(bench: StoreBuilder) -> None:
    for threads in (1, 2, 1):
        bench.run({"y": [float(threads)]}, settings={"threads": threads})
    document = bench.document(group_by=["settings.threads", "backend"])
    assert [row["eqcs"] for row in document["comparisons"]] == [[["run-0", "run-2"]], [["run-1"]]]
    assert document["comparisons"][1]["group"]["settings.threads"] == 2
    assert document["comparisons"][1]["group"]["backend"] == "ort"


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        (["backend=torch"], ["run-1"]),
        (["backend=torch", "backend=ort"], ["run-0", "run-1", "run-2"]),
        (["backend=ort", "settings.threads=2"], ["run-2"]),
        (["settings.fast=true"], ["run-1"]),
        (["hardware.flags=AVX2", "backend=ort"], ["run-0", "run-2"]),
        (["taps_neutral=null"], ["run-2"]),
        (["id=run-0"], ["run-0"]),
    ],
)
def test_where_keeps_the_runs_that_match_every_key(
    bench: StoreBuilder, where: list[str], kept: list[str]
) -> None:
    bench.run({"y": [1.0]})
    bench.run({"y": [1.0]}, backend="torch", settings={"threads": 1, "fast": True})
    bench.run({"y": [1.0]}, neutral=None, settings={"threads": 2})
    assert [run.id for run in bench.compare(where=where).runs] == kept


@pytest.mark.parametrize("query", [{"where": ["colour=red"]}, {"group_by": ["colour"]}])
def test_an_unknown_key_is_an_error_that_names_the_known_ones(
    bench: StoreBuilder, query: Record
) -> None:
    bench.run({"y": [1.0]})
    with pytest.raises(UsageError, match=r"No run has the key 'colour'.*settings\.threads"):
        bench.compare(**query)


def test_a_condition_without_a_value_is_an_error(bench: StoreBuilder) -> None:
    bench.run({"y": [1.0]})
    with pytest.raises(UsageError, match="'--where backend' is not of the form KEY=VALUE"):
        bench.compare(where=["backend"])


@pytest.mark.parametrize("name", ["net", "net.onnx", "dddddd"])
def test_a_model_is_chosen_by_name_source_or_digest(bench: StoreBuilder, name: str) -> None:
    bench.run({"y": [1.0]})
    bench.run({"y": [1.0]}, model={"name": "other", "digest": "e" * 64, "source": "o.onnx"})
    assert [run.id for run in bench.compare(model=name).runs] == ["run-0"]


def test_a_filter_that_leaves_nothing_says_what_there_is(bench: StoreBuilder) -> None:
    bench.run({"y": [1.0]})
    with pytest.raises(UsageError, match=r"None of the store's 1 run .*--model x.*store: net"):
        bench.compare(model="x")


def test_an_empty_store_says_how_to_fill_it(bench: StoreBuilder) -> None:
    with pytest.raises(UsageError, match=r"holds no runs\. Make some with 'xbackend run'"):
        bench.compare()


def test_a_record_that_lacks_a_key_is_named(bench: StoreBuilder) -> None:
    bench.store.write_run({"schema_version": 1, "id": "run-9", "model": {}})
    with pytest.raises(StoreError, match=r"run-9\.json is not a sound record.*lacks the key"):
        bench.compare()


@pytest.mark.parametrize(
    ("key", "rows", "what"),
    [
        ("layers", [3], "'layers.0' is a number, not an object"),
        ("layers", [{"tap": "conv", "layer": 0}], "'layers.0' lacks the key 'operator'"),
        ("results", [{"input": "0", "outputs": [{}], "taps": []}], "'results.0.outputs.0' lacks"),
        ("results", 7, "'results' is a number, not a list"),
    ],
)
def test_a_record_that_is_damaged_within_is_named(
    bench: StoreBuilder, key: str, rows: object, what: str
) -> None:
    bench.run({"y": [1.0]})
    (record,) = bench.store.runs()
    (bench.store.folder / "runs" / "run-0.json").write_text(json.dumps({**record, key: rows}))
    with pytest.raises(StoreError, match=f"run-0.json is not a sound record of a run: {what}"):
        bench.compare()


def test_label_flips_count_the_runs_with_another_highest_value(bench: StoreBuilder) -> None:
    for values in ([0.25, 0.75], [0.75, 0.25], [0.25, 0.5], [0.75, 0.25]):
        bench.run({"y": values})
    (divergence,) = bench.document()["divergence"]
    assert (divergence["eqc_count_output"], divergence["label_flips"]) == (3, 2)


def test_labels_are_taken_along_the_last_axis_of_every_row(bench: StoreBuilder) -> None:
    first = np.array([[1, 2], [3, 4]], np.int8)
    bench.run({"y": first})
    bench.run({"y": first[:, ::-1] + np.array([[9, 0], [0, 9]], np.int8)})
    bench.run({"y": np.array([[1, 2], [4, 3]], np.int8)})
    (divergence,) = bench.document()["divergence"]
    assert divergence["label_flips"] == 2


def test_one_row_of_bfloat16_flips_by_its_numbers_not_by_its_bits(bench: StoreBuilder) -> None:
    # As unsigned integers, negative numbers would be the highest.
    bits = {"low": [0xBF80, 0x3F80], "same": [0xC000, 0x3F80], "flipped": [0x4000, 0x3F80]}
    for name, values in bits.items():
        tensor = Tensor("bfloat16", np.array([values], np.uint16))
        row = {"name": "y", **write_tensor(str(bench.store.folder), tensor)}
        result = {"input": "0", "outputs": [row], "taps": [], "taps_neutral": None}
        bench.write(results=[result], backend=name)
    (divergence,) = bench.document()["divergence"]
    assert divergence["label_flips"] == 1
    assert rows(bench.document(), "y")[0]["remaining_to_first"] == [7, 0, 0]


def test_several_outputs_make_one_class_of_outputs(bench: StoreBuilder) -> None:
    bench.run({"y": [1.0], "z": [1.0]})
    bench.run({"y": [1.0], "z": [2.0]})
    bench.run({"y": [3.0], "z": [1.0]})
    document = bench.document()
    assert [row["eqc_count"] for row in document["comparisons"]] == [2, 2]
    assert document["divergence"][0]["eqc_count_output"] == 3


def test_outputs_of_other_shapes_share_no_bit_but_no_error_either(bench: StoreBuilder) -> None:
    bench.run({"y": np.ones((1, 3), np.float32)})
    bench.run({"y": np.ones((1, 4), np.float32)})
    (row,) = bench.document()["comparisons"]
    assert (row["remaining_precision"], row["max_ulp"], row["deviating_fraction"]) == (
        0,
        None,
        None,
    )
    assert bench.document()["divergence"][0]["label_flips"] == 1


def test_nan_and_infinity_never_reach_the_document_as_numbers(bench: StoreBuilder) -> None:
    bench.run({"y": [float("nan"), 1.0]}, facts={"loss": float("nan")})
    bench.run({"y": [1.0, float("inf")]})
    document = bench.document()
    assert document["comparisons"][0]["max_abs"] is None
    assert document["comparisons"][0]["not_finite"] == 2
    assert document["runs"][0]["facts"]["loss"] is None


def test_samples_are_compared_each_on_its_own(bench: StoreBuilder) -> None:
    for second in (2.0, 2.5):
        results = [
            bench.result(name, {"y": [value]}, {}) for name, value in (("a", 1.0), ("b", second))
        ]
        bench.write(results=results)
    document = bench.document()
    assert [(row["input"], row["eqc_count"]) for row in document["comparisons"]] == [
        ("a", 1), ("b", 2),
    ]  # fmt: skip
    assert [row["first_tap"] for row in document["divergence"]] == [None, "y"]


def test_a_damaged_object_is_an_error_that_names_its_file(bench: StoreBuilder) -> None:
    bench.run({"y": [1.0]})
    bench.run({"y": [2.0]})
    digest = bench.document()["comparisons"] and next(
        tensor["digest"]
        for record in bench.store.runs()
        for tensor in record["results"][0]["outputs"]
    )
    bench.store.object_path(digest).write_bytes(b"\0\0\0\1")
    with pytest.raises(StoreError, match=digest[2:]):
        bench.compare()


def test_classes_need_no_tensor_at_all(bench: StoreBuilder) -> None:
    bench.run({"y": [1.0]}, {"conv": [1.0]})
    bench.run({"y": [1.0]}, {"conv": [1.0]})
    for path in (bench.store.folder / "objects").rglob("*"):
        if path.is_file():
            path.unlink()
    assert [row["eqc_count"] for row in bench.document()["comparisons"]] == [1, 1]


@pytest.fixture
def split(bench: StoreBuilder) -> Comparison:
    """Two classes of one output, 22 common bits."""
    bench.run({"y": [0.25, 0.5]})
    bench.run({"y": [0.25, ONE_ULP]})
    return bench.compare()


@pytest.mark.parametrize(
    ("thresholds", "count"),
    [
        ({}, 0),
        ({"fail_under": 22}, 0),
        ({"fail_under": 23}, 1),
        ({"max_eqcs": 2}, 0),
        ({"max_eqcs": 1}, 1),
        ({"fail_under": 23, "max_eqcs": 1}, 2),
    ],
)
def test_thresholds_are_missed_below_the_bits_and_above_the_classes(
    split: Comparison, thresholds: dict[str, int], count: int
) -> None:
    assert len(threshold_failures(split, **thresholds)) == count


def test_a_missed_threshold_is_told_in_one_sentence(split: Comparison) -> None:
    assert threshold_failures(split, fail_under=23) == [
        "Output 'y' of net (float32) on input '0': 22 mantissa bits agree, fewer than 23."
    ]


def test_the_same_bits_meet_any_threshold_of_bits(bench: StoreBuilder) -> None:
    bench.run({"y": [1.0]}, precision="float32")
    bench.run({"y": [1.0]}, precision="float32")
    assert threshold_failures(bench.compare(), fail_under=52, max_eqcs=1) == []


def test_integers_in_several_classes_miss_any_bits(bench: StoreBuilder) -> None:
    for value in (1, 2):
        bench.run({"y": np.array([[value, 0]], np.int8)}, precision="int8")
    assert len(threshold_failures(bench.compare(), fail_under=1)) == 1


def test_a_threshold_is_missed_if_no_run_gave_an_output(bench: StoreBuilder) -> None:
    bench.run(None, **FAILED)
    assert threshold_failures(bench.compare(), max_eqcs=1) == [
        "No run gave an output, so no threshold is met."
    ]
    assert threshold_failures(bench.compare()) == []


@pytest.mark.parametrize("thresholds", [{"fail_under": -1}, {"max_eqcs": 0}])
def test_a_threshold_out_of_range_is_an_error(
    split: Comparison, thresholds: dict[str, int]
) -> None:
    with pytest.raises(UsageError, match=r"must be a number of (bits, from 0|classes, from 1) on"):
        threshold_failures(split, **thresholds)


def test_memory_does_not_grow_with_tensors_or_runs(bench: StoreBuilder) -> None:
    """Ten runs with two tensors of 4 MiB each, all different: 80 MiB, read within 12."""
    generator = np.random.default_rng(0)
    for _ in range(10):
        taps = {name: generator.standard_normal((1, 1 << 20), np.float32) for name in ("a", "b")}
        bench.run({"y": [1.0]}, taps)
    tracemalloc.start()
    document = bench.document()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [row["eqc_count"] for row in document["comparisons"] if row["tap"] != "y"] == [10, 10]
    assert peak < 12 << 20
