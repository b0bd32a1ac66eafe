"""The reports of layers and of activations: tables, cells for spreadsheets, and plots."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xbackend.commands.main import main
from xbackend.reports import activations as activations_report
from xbackend.reports import csv as csv_report
from xbackend.reports import json as json_report
from xbackend.reports import layers as layers_report
from xbackend.testing.store_builder import StoreBuilder

Array = np.ndarray[Any, Any]

LAYERS = [
    {"tap": "conv", "layer": 0, "operator": "Conv", "inputs": ["x"]},
    {"tap": "relu", "layer": 1, "operator": "Relu", "inputs": ["conv"]},
    {"tap": "pool", "layer": 2, "operator": "MaxPool", "inputs": ["relu"]},
    {"tap": "y", "layer": 3, "operator": "Softmax", "inputs": ["pool"]},
]
INPUTS = [{"name": "x", "dtype": "float32", "shape": [1], "digest": "f" * 64}]
LAYERS_TABLE = """\
net, float32, 1 input, 4 runs
=============================

layer  tap         operator        classes  born  joined  bits
-----  ----------  --------  ----  -------  ----  ------  ----
    0  conv        Conv                 3*     2             0
    1  relu        Relu      act        2*             1    21
    2  pool        MaxPool   pool       2*     1       1    21
    3  y (output)  Softmax   act        2†   1~†      1~    22

~ of some of the runs only, or with layers before it that were not recorded
* with layers of runs whose bits the recording changed
† comes from emulated Softmax: perhaps the bits of no real processor
Classes are born at 3 layers: conv (Conv, 2), pool (MaxPool, 1), y (Softmax, 1).
Classes collapse at 3 layers: relu (Relu, 1), pool (MaxPool, 1), y (Softmax, 1).
"""
ACTIVATIONS_TABLE = """\
layer  tap   operator  deviating            bits        precision
-----  ----  --------  ---------  --------  ----  ----  ---------
    1  relu  Relu*         100 %  → 25.0 %     0  → 21  increases
    2  pool  MaxPool*     25.0 %  → 50.0 %    21  → 21  keeps
    3  y     Softmax†     50.0 %  → 50.0 %    21  → 22  increases

* with layers of runs whose bits the recording changed
† comes from emulated operators: perhaps the bits of no real processor
Left out where they did not record what a layer reads: 1 run.

layers by operator  layers  increase  keep  of them same bits  decrease  not known
------------------  ------  --------  ----  -----------------  --------  ---------
Relu                     1         1     0                  0         0          0
MaxPool                  1         0     1                  0         0          0
Softmax                  1         1     0                  0         0          0
"""


@pytest.fixture(autouse=True)
def _hundred_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def ulps(*steps: int) -> Array:
    """Return numbers so many ULP above 1.0, of shape (1, n)."""
    return (np.array([steps], np.int32) + 0x3F80_0000).view(np.float32)


def run(bench: StoreBuilder, conv: Array, relu: Array, pool: Array, y: Array, **keys: Any) -> None:
    taps = {"conv": conv, "relu": relu, "pool": pool}
    neutral = keys.pop("neutral", True)
    result = bench.result("0", {"y": y}, taps, neutral)
    rows = [{**result, "inputs": INPUTS}]
    bench.write(results=rows, layers=LAYERS, taps_neutral=neutral, **keys)


@pytest.fixture
def filled(bench: StoreBuilder) -> StoreBuilder:
    """Conv: {0} {1 2} {3}; Relu: {0 1 2} {3}; MaxPool: {0 1} {2 3}; Softmax: {0 3} {1 2}.

    Run 3 is not neutral, so its output is not held against its pool; run 1 is emulated.
    """
    emulated = {"emulation_unsafe": ["y"], "emulation_reasons": {"Softmax": "an estimate"}}
    one = ulps(0, 0, 0, 0)
    run(bench, one, one, ulps(0, 0), ulps(0, 0))
    run(bench, ulps(1, 0, 0, 0), one, ulps(0, 0), ulps(0, 1), platform="qemu:x", **emulated)
    run(bench, ulps(1, 0, 0, 0), one, ulps(2, 0), ulps(0, 1), platform="other")
    run(bench, -ulps(0, 1, 0, 0), ulps(0, 2, 0, 0), ulps(2, 0), ulps(0, 0), neutral=False)
    return bench


def test_the_layers_say_where_classes_are_born_and_collapse(filled: StoreBuilder) -> None:
    shown = layers_report.render(filled.compare())
    assert shown.startswith(LAYERS_TABLE), shown
    assert "To draw it" in shown


def test_the_activations_say_what_became_of_deviations(filled: StoreBuilder) -> None:
    shown = activations_report.render(filled.compare())
    assert ACTIVATIONS_TABLE in shown, shown
    assert shown.startswith("net, float32, 1 input, 4 runs\n")


def test_the_cells_are_those_of_the_document(filled: StoreBuilder) -> None:
    document = json.loads(json_report.render(filled.compare()))
    rows = list(csv.DictReader(io.StringIO(csv_report.render_activations(filled.compare()))))
    assert [row["tap_after"] for row in rows] == ["relu", "pool", "y"]
    for row, entry in zip(rows, document["activations"], strict=True):
        assert row["change"] == entry["change"]
        assert float(row["deviating_fraction_before"]) == entry["deviating_fraction_before"]
        assert row["runs"].split() == entry["runs"]
    assert [total["operator"] for total in document["activation_totals"]] == [
        "Relu", "MaxPool", "Softmax",
    ]  # fmt: skip
    cells = {r["tap"]: r for r in csv.DictReader(io.StringIO(csv_report.render(filled.compare())))}
    assert (cells["pool"]["kind"], cells["pool"]["reads"]) == ("pooling", "relu")
    assert (cells["conv"]["classes_born"], cells["relu"]["classes_collapsed"]) == ("2", "1")
    assert cells["y"]["origin_unknown"] == "run-3"


def test_what_is_not_known_is_a_question_mark(bench: StoreBuilder) -> None:
    for value in (1.0, 2.0):
        bench.run({"y": [value]}, {"conv": [value]})
    shown = layers_report.render(bench.compare())
    assert re.search(r"conv +Conv +2 +\? +\? +0", shown), shown
    assert "? not known, as edges" in shown
    assert "Of 2 layers neither is known." in shown


def test_one_run_alone_and_no_run_are_told_so(bench: StoreBuilder) -> None:
    bench.run(None, status="failed", error={"stage": "x", "symptom": "y", "message": "z"})
    assert layers_report.render(bench.compare()).startswith("No run gave outputs")
    assert activations_report.render(bench.compare()).startswith("No run recorded an activation")
    bench.run({"y": [1.0]})
    assert "One run alone" in layers_report.render(bench.compare())


def test_the_plots_name_layers_and_mark_what_they_do(filled: StoreBuilder, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    words = ["compare", "--store", str(filled.store.folder), "--format"]
    paths = {name: tmp_path / f"{name}.svg" for name in ("layers", "activations")}
    for name, path in paths.items():
        assert main([*words, name, "--output", str(path)]) == 0
    shown = {
        name: re.findall(r"<!-- (.*?) -->", path.read_text("utf-8")) for name, path in paths.items()
    }
    told = {"conv*", "relu*", "pool*", "y†", "born", "born (by emulation)", "collapse", "classes"}
    assert told | {"activation", "pooling"} <= set(shown["layers"])
    assert {"relu (Relu)*", "pool (MaxPool)*", "y (Softmax)†", "before", "after"} <= set(
        shown["activations"]
    )
