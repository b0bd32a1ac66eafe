"""Who is nearer to the truth: runs of a store held against a run in float64."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xbackend.comparison.comparison import Comparison
from xbackend.diagnosis.reference import parse_reference
from xbackend.diagnosis.reference_comparison import compare_with_reference
from xbackend.errors import UsageError, XbackendError
from xbackend.execution.execute import ExecutionContext
from xbackend.execution.progress import ProgressLines
from xbackend.plugins import registry
from xbackend.testing.store_builder import StoreBuilder

WEB = pytest.param(
    "html",
    marks=pytest.mark.skipif(
        bool(registry.missing_for("html")), reason="The extra 'report' is not installed."
    ),
)

STEP = 2.0**-23
LAYERS = [
    {"tap": "conv", "layer": 0, "operator": "Conv", "inputs": ["x"]},
    {"tap": "relu", "layer": 1, "operator": "Relu", "inputs": ["conv"]},
    {"tap": "y", "layer": 2, "operator": "Softmax", "inputs": ["relu"]},
]


@pytest.fixture
def said() -> io.StringIO:
    """What the command says while it works."""
    return io.StringIO()


@pytest.fixture
def context(bench: StoreBuilder, said: io.StringIO) -> ExecutionContext:
    """One worker at a time; none has to start where the reference is in the store."""
    return ExecutionContext(bench.store, 1, 60.0, ProgressLines(said))


def _write(bench: StoreBuilder, errors: tuple[float, float, float], **keys: Any) -> str:
    """Write a run whose tensors are 1 and 1.5, the latter so many steps too large."""
    dtype = np.dtype(keys.get("precision", "float32"))
    conv, relu, y = (np.array([[1.0, 1.5 + error * STEP]], dtype) for error in errors)
    return bench.run({"y": y}, {"conv": conv, "relu": relu}, layers=LAYERS, **keys)


@pytest.fixture
def judged(bench: StoreBuilder, context: ExecutionContext) -> Comparison:
    """Two runs of which the second is nearer at the output, judged by a third in float64."""
    _write(bench, (1, 1, 64))
    _write(bench, (4, 4, 4), backend="torch")
    _write(bench, (0, 0, 0), backend="torch", precision="float64")
    return compare_with_reference(bench.compare(), context)


def test_the_nearest_at_the_output_is_first(judged: Comparison) -> None:
    (section,) = judged.reference_comparisons
    assert section.reference.id == "run-2"
    assert [row.ids for row in section.rows] == [("run-1",), ("run-0",)]
    near, far = (row.output for row in section.rows)
    assert (near.max_ulp, near.max_abs, near.correct_bits) == (4, 4 * STEP, 20)
    assert (far.max_ulp, far.max_abs, far.correct_bits) == (64, 64 * STEP, 16)


def test_accuracy_is_lost_where_the_error_grows(judged: Comparison) -> None:
    near, far = judged.reference_comparisons[0].rows
    norm = np.log2(np.sqrt(1 + 1.5**2))
    assert far.lost[0] == ("y", pytest.approx(6.0))  # from 1 step to 64
    assert near.lost[0] == ("conv", pytest.approx(25 - (21 + norm)))
    assert near.lost[1:] == (("relu", 0.0), ("y", 0.0))


def test_a_tensor_that_is_another_one_altogether_is_told_and_no_loss(
    bench: StoreBuilder, context: ExecutionContext
) -> None:
    _write(bench, (2**23, 1, 1))
    _write(bench, (0, 0, 0), backend="torch", precision="float64")
    comparison = compare_with_reference(bench.compare(), context)
    (row,) = comparison.reference_comparisons[0].rows
    assert row.strange == ("conv",)
    assert row.lost == (("y", 0.0),)
    text = " ".join(registry.report("table")(comparison).split())
    assert "'conv' hold other numbers than the reference altogether" in text


def test_runs_with_the_same_bits_in_every_tensor_are_one_row(
    bench: StoreBuilder, context: ExecutionContext
) -> None:
    for _ in range(2):
        _write(bench, (1, 1, 1))
    _write(bench, (0, 0, 0), backend="torch", precision="float64")
    (section,) = compare_with_reference(bench.compare(), context).reference_comparisons
    assert [row.ids for row in section.rows] == [("run-0", "run-1")]


def test_json_holds_every_tensor_of_every_run(judged: Comparison) -> None:
    document = json.loads(registry.report("json")(judged))
    (section,) = document["accuracy"]
    assert section["reference_backend"] == "torch"
    first = section["runs"][0]
    assert set(first["taps"]) == {"conv", "relu", "y"}
    assert first["taps"]["conv"]["max_ulp"] == 4
    assert first["lost_at"][0]["tap"] == "conv"
    assert "accuracy" not in json.loads(registry.report("json")(Comparison((), (), judged.store)))


def test_csv_holds_the_correct_bits_of_each_class(judged: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(registry.report("csv")(judged))))
    row = next(row for row in rows if row["tap"] == "y" and row["eqcs"] == "run-0|run-1")
    assert (row["correct_bits"], row["reference_ulp"]) == ("16|20", "64|4")


@pytest.mark.parametrize("name", ["table", "markdown", WEB])
def test_every_report_for_people_says_who_is_nearest_and_where_accuracy_is_lost(
    judged: Comparison, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    text = registry.report(name)(judged)
    assert "Nearest to float64 at the outputs is torch 1.0, native" in text
    assert "at layer 2 (Softmax, tap" in text
    assert "6.0 bits" in text
    assert "20 (21.9)" in text


def test_errors_are_shown_layer_by_layer(judged: Comparison) -> None:
    """A step of 1.5 is 2^-23, the norm of (1, 1.5) is 1.8028: 6.61e-08 a step."""
    rows = [line.split() for line in registry.report("errors")(judged).splitlines()]
    assert ["0", "conv", "2.65e-07", "6.61e-08", "–"] in rows
    assert ["2", "y", "2.65e-07", "4.23e-06", "–"] in rows
    assert ["1", "torch", "1.0,", "native"] in rows


def test_errors_are_drawn_on_a_logarithmic_scale(judged: Comparison, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    registry.plot("errors")(judged, tmp_path / "errors.svg")
    shown = (tmp_path / "errors.svg").read_text(encoding="utf-8")
    for text in ("relative error (norm)", "torch 1.0, native", "ort 1.0, native", "10⁻⁶", "conv"):
        assert f"<!-- {text} -->" in shown


def test_without_a_reference_there_are_no_errors_to_show(
    bench: StoreBuilder, tmp_path: Path
) -> None:
    bench.run({"y": [1.0]})
    assert "No run was held against float64" in registry.report("errors")(bench.compare())
    pytest.importorskip("matplotlib")
    with pytest.raises(UsageError, match="nothing to draw. Add --reference float64"):
        registry.plot("errors")(bench.compare(), tmp_path / "errors.svg")


def test_integers_are_not_judged_and_said_so(
    bench: StoreBuilder, context: ExecutionContext, said: io.StringIO
) -> None:
    _write(bench, (1, 1, 1))
    bench.run({"y": [1.0]}, precision="int8")
    _write(bench, (0, 0, 0), backend="torch", precision="float64")
    assert len(compare_with_reference(bench.compare(), context).reference_comparisons) == 1
    assert "in int8 compute another function" in said.getvalue()


def test_another_models_or_inputs_reference_does_not_count(
    bench: StoreBuilder, context: ExecutionContext
) -> None:
    _write(bench, (1, 1, 1))
    _write(bench, (0, 0, 0), backend="torch", precision="float64", inputs_digest="j" * 64)
    with pytest.raises(UsageError, match=r"no float64 run of net\.onnx|cannot be computed"):
        compare_with_reference(bench.compare(where=("precision=float32",)), context)


def test_an_imported_run_has_no_model_to_compute(
    bench: StoreBuilder, context: ExecutionContext
) -> None:
    model = {"name": "net", "digest": "d" * 64, "source": None}
    _write(bench, (1, 1, 1), model=model)
    with pytest.raises(UsageError, match="does not say which file its model is"):
        compare_with_reference(bench.compare(), context)


@pytest.mark.parametrize("text", ["float32", "float64:", "double"])
def test_only_float64_is_a_reference(text: str) -> None:
    with pytest.raises(UsageError, match="must be float64"):
        parse_reference(text)


def test_a_backend_without_float64_is_refused() -> None:
    with pytest.raises(XbackendError, match="Backend 'tflite' does not compute in float64"):
        parse_reference("float64:tflite")
    assert parse_reference("float64:tf") == ("tf",)


def test_inputs_that_were_given_once_are_found_by_their_digest(
    xbackend: Callable[..., Any], sound: Path, tmp_path: Path
) -> None:
    from xbackend.preparation.inputs import find_stored_inputs
    from xbackend.store.store import Store
    from xbackend.worker.artifact import ValueInfo

    np.save(tmp_path / "x.npy", np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32))
    assert xbackend("run", sound, "--backends", "good", "--inputs", "x.npy").status == 0
    store = Store(tmp_path / "store")
    (record,) = store.runs()
    interface = [ValueInfo("x", "float32", (1, 4))]
    found = find_stored_inputs(record["inputs_digest"], interface, store)
    assert found.names == ("0", "1")
    with pytest.raises(UsageError, match="no longer in"):
        find_stored_inputs("0" * 64, interface, store)


def test_a_model_that_changed_since_is_refused(
    xbackend: Callable[..., Any], sound: Path, tmp_path: Path
) -> None:
    from xbackend.execution.plan import make_plan
    from xbackend.execution.request import RunRequest
    from xbackend.store.store import Store

    assert xbackend("run", sound, "--backends", "good").status == 0
    store = Store(tmp_path / "store")
    (record,) = store.runs()
    order = RunRequest(
        model=str(sound),
        backends=("fixed",),
        model_digest="e" * 64,
        inputs_digest=record["inputs_digest"],
    )
    with pytest.raises(UsageError, match=r"no longer the one that was run: its digest is"):
        make_plan(order, store, lambda text: None)
