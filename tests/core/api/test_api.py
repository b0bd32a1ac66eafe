"""The functions of `import xbackend`, in one process, with the backend that needs no framework."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import xbackend as xb
from xbackend.commands.main import main
from xbackend.testing.store_builder import StoreBuilder

Run = Callable[..., xb.Runs]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run with `fixed` in float32, into a store of the test's own."""

    def run(model: object = None, **keywords: Any) -> xb.Runs:
        keywords = {"backends": "fixed", "precisions": "float32", **keywords}
        return xb.run(model, store=tmp_path / "store", **keywords)

    return run


@pytest.fixture
def relu() -> onnx.ModelProto:
    """Y = relu(x), float32 of (1, 4)."""
    ends = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, (1, 4)) for n in "xy"]
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    graph = helper.make_graph(nodes, "the relu", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


SAMPLES = np.array([[-1, 2, -3, 4], [5, -6, 7, -8]], np.float32)


def outputs(runs: xb.Runs) -> list[list[float]]:
    """Return the output y of each sample of the first run."""
    return [arrays["y"].ravel().tolist() for arrays in runs.outputs(0).values()]


def test_a_model_and_an_array_in_memory_give_what_the_model_computes(
    run: Run, relu: onnx.ModelProto
) -> None:
    runs = run(relu, inputs=SAMPLES)
    assert [each.row["status"] for each in runs] == ["ok"]
    assert outputs(runs) == [[0, 2, 0, 4], [5, 0, 7, 0]]


def test_arrays_by_the_inputs_names_are_the_same_inputs_as_a_file(
    run: Run, relu: onnx.ModelProto, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", SAMPLES)
    forms = [SAMPLES, {"x": SAMPLES}, tmp_path / "x.npy", str(tmp_path / "x.npy")]
    found = [run(relu, inputs=form) for form in forms]
    assert {each[0].row["inputs_digest"] for each in found} == {found[0][0].row["inputs_digest"]}
    assert outputs(found[1]) == outputs(found[2]) == [[0, 2, 0, 4], [5, 0, 7, 0]]


def test_a_model_in_memory_is_known_by_what_it_holds(run: Run, relu: onnx.ModelProto) -> None:
    first, again = run(relu, inputs=SAMPLES), run(relu, inputs=SAMPLES)
    assert first[0].id == again[0].id
    assert first[0].row["model"] == "the_relu"
    relu.graph.node[0].op_type = "Neg"
    other = run(relu, inputs=SAMPLES)
    assert other[0].row["model_digest"] != first[0].row["model_digest"]
    assert outputs(other) == [[1, -2, 3, -4], [-5, 6, -7, 8]]


def test_progress_is_told_and_nothing_is_printed(
    run: Run, relu: onnx.ModelProto, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[xb.ProgressEvent] = []
    runs = run(relu, inputs=SAMPLES, threads=[1, 2], progress=told.append)
    kinds = [event.kind for event in told if event.kind != "note"]
    assert kinds[0] == "plan"
    assert sorted(kinds[1:]) == ["end", "end", "start", "start"]
    assert (told[-1].done, told[-1].total) == (2, 2)
    assert told[-1].run is not None
    assert told[-1].run["id"] in {each.id for each in runs}
    assert capsys.readouterr() == ("", "")


def test_settings_are_the_same_however_they_are_written(tmp_path: Path) -> None:
    from xbackend.api.arguments import settings_texts

    written = (["a.b=1", "a.c=true"], {"a.b": 1, "a.c": True}, {"a": {"b": 1, "c": True}})
    assert {settings_texts(each) for each in written} == {("a.b=1", "a.c=true")}
    assert settings_texts("a.b=1") == ("a.b=1",)


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"threads": 0}, "'threads=0' must be a whole number from 1 on."),
        ({"threads": []}, "'threads=' must be a whole number from 1 on."),
        ({"threads": 1.5}, "'threads=1.5' must be"),
        ({"repeats": 0}, "'repeats=0' must be"),
        ({"jobs": 0}, "'jobs=0' must be"),
        ({"timeout": 0}, "'timeout=0' must be more than 0 seconds."),
        ({"backends": "nonsense"}, "There is no backend 'nonsense'."),
        ({"model": object()}, "An object of the type object is no model that can be run."),
        ({"model": "nonsense"}, "There is no model 'nonsense'"),
        ({"inputs": np.array(["a"])}, "Give an array of numbers"),
        ({"inputs": np.array([object()])}, "Give an array of numbers"),
        ({"inputs": np.float32(1)}, "Give an array of numbers"),
    ],
)
def test_what_cannot_be_is_an_error_of_one_sentence(
    run: Run, keywords: dict[str, Any], words: str
) -> None:
    with pytest.raises(xb.UsageError) as raised:
        run(**{"model": "cifar10-small", **keywords})
    assert words in str(raised.value)


def test_a_failed_run_is_a_result_and_its_sentence_is_in_its_row(run: Run) -> None:
    runs = run("cifar10-small", timeout=0.001)
    assert [each.row["error"]["stage"] for each in runs.failed] != []
    assert runs.skipped == ()


def test_a_run_that_cannot_be_is_skipped_with_the_reason(run: Run) -> None:
    runs = run("cifar10-small", precisions="bfloat16")
    assert [each.row["status"] for each in runs] == ["skipped"]
    assert "bfloat16" in runs.skipped[0].row["error"]["message"]


@pytest.fixture
def two_classes(bench: StoreBuilder) -> xb.Comparison:
    """Runs a and b agree, c has another bit in the layer and another label in the output."""
    for name, conv, y in (
        ("a", [1.0, 2.0], [1.0, 0.0]), ("b", [1.0, 2.0], [1.0, 0.0]), ("c", [1.5, 2.0], [0.0, 1.0]),
    ):  # fmt: skip
        bench.run({"y": y}, {"conv": conv}, platform=name)
    return xb.compare(store=bench.store)


def test_a_comparison_tells_classes_first_divergence_layers_and_label_flips(
    two_classes: xb.Comparison,
) -> None:
    runs = {run.row["platform"]: run.id for run in two_classes.runs}
    assert two_classes.classes == ((runs["a"], runs["b"]), (runs["c"],))
    assert two_classes.first_divergence is not None
    assert two_classes.first_divergence.tap == "conv"
    assert two_classes.label_flips == (runs["c"],)
    assert [layer.tap for layer in two_classes.layers] == ["conv", "y"]
    assert [layer.eqc_count for layer in two_classes.layers] == [2, 2]
    assert two_classes.section.remaining_precision == 0
    assert "conv" in str(two_classes.layers).splitlines()[2]


def test_what_it_shows_is_what_the_command_shows(
    two_classes: xb.Comparison, bench: StoreBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ["--store", str(bench.store.folder)]
    for options, text in (([], str(two_classes)), (["--format", "json"], two_classes.to_json())):
        assert main(["compare", *store, *options]) == 0
        assert capsys.readouterr().out.strip() == text.strip()


def test_where_takes_values_or_texts(two_classes: xb.Comparison, bench: StoreBuilder) -> None:
    for where in ({"platform": ["a", "c"]}, ["platform=a", "platform=c"]):
        found = xb.compare(store=bench.store, where=where)
        assert [run.row["platform"] for run in found.runs] == ["a", "c"]
    with pytest.raises(xb.UsageError, match="No run has the key 'nonsense'"):
        xb.compare(store=bench.store, where={"nonsense": 1})


def test_thresholds_that_are_missed_are_sentences(two_classes: xb.Comparison) -> None:
    assert two_classes.missed_thresholds() == []
    (sentence,) = two_classes.missed_thresholds(max_eqcs=1)
    assert "2 classes, more than 1" in sentence


def test_several_models_are_several_sections(
    two_classes: xb.Comparison, bench: StoreBuilder
) -> None:
    bench.run({"y": [1.0]}, model={"name": "other", "digest": "o" * 64, "source": "other"})
    found = xb.compare(store=bench.store)
    assert [section.model for section in found.sections][1] == "other"
    assert [len(section.classes) for section in found.sections] == [2, 1]
    with pytest.raises(xb.UsageError, match="has 2 sections .*other in float32.*sections"):
        _ = found.classes


def test_a_notebook_gets_the_tables_with_every_name_escaped(bench: StoreBuilder) -> None:
    bench.run({"y": [1.0]}, model={"name": "<b>", "digest": "d" * 64, "source": "s"})
    shown = xb.compare(store=bench.store)._repr_html_()
    assert shown.startswith('<div class="xbackend">')
    assert "<table>" in shown
    assert "&lt;b&gt;" in shown
    assert "<b>" not in shown
    assert "<html" not in shown


def test_without_pandas_a_table_is_refused_in_one_sentence(
    two_classes: xb.Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    for table in (two_classes.to_pandas, two_classes.layers.to_pandas):
        with pytest.raises(xb.UsageError, match="needs pandas. Install it with: pip install"):
            table()


def test_with_pandas_there_is_a_row_for_each_tensor(two_classes: xb.Comparison) -> None:
    pytest.importorskip("pandas")
    frame = two_classes.to_pandas()
    assert list(frame["tap"]) == ["conv", "y"]
    assert list(frame["eqc_count"]) == [2, 2]
    assert list(two_classes.layers.to_pandas()["tap"]) == ["conv", "y"]


def test_two_runs_are_isolated_by_name(run: Run) -> None:
    runs = run("cifar10-small", threads=[1, 2])
    found = xb.isolate(xb.compare(runs), (runs[0].id, runs[1].id))
    (isolation,) = found.isolations
    assert isolation.own == ()
    assert {layer.total.deviating_fraction for layer in isolation.layers} == {0.0}


def test_a_command_prints_what_the_function_returns(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("cifar10-small", taps="outputs")
    store = ["--store", str(tmp_path / "store")]
    for command, value in (
        ("cores", xb.cores(store=tmp_path / "store")),
        ("flags", xb.flags(store=tmp_path / "store")),
    ):
        assert main([command, *store]) == 0
        assert capsys.readouterr().out == f"{value}\n"
        assert main([command, *store, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == value.to_dict()
