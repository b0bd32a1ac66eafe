"""Inherited or own: with fake backends, of which one moves what it is told by one ULP."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from xbackend.comparison.comparison import Comparison
from xbackend.comparison.findings import (
    BOTH,
    INHERITED,
    NONE,
    OWN,
    UNKNOWN,
    Isolation,
    LayerVerdict,
)
from xbackend.diagnosis.isolation_pairs import choose_pairs, find_run
from xbackend.errors import UsageError
from xbackend.numerics.metrics import Metrics
from xbackend.plugins import registry
from xbackend.reports.sections.isolation import isolation_sentences
from xbackend.testing.store_builder import StoreBuilder

PROGRAM = "import sys; from xbackend.commands.main import main; sys.exit(main())"
Record = dict[str, Any]

WEB = pytest.param(
    "html",
    marks=pytest.mark.skipif(
        bool(registry.missing_for("html")), reason="The extra 'report' is not installed."
    ),
)


@pytest.fixture(scope="module")
def command(
    fakes: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command over one store, with the fake backends installed."""
    folder = tmp_path_factory.mktemp("isolation")
    variables = {"PYTHONPATH": str(fakes), "XDG_CACHE_HOME": str(cache)}
    environment = {**os.environ, **variables, "XBACKEND_STORE": str(folder / "store")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments],
            capture_output=True,
            text=True,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
        )

    names = ("x", "a", "b", "y")
    nodes = [helper.make_node("Relu", [i], [o]) for i, o in itertools.pairwise(names)]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, 4)) for n in "xy"]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:])
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    (folder / "chain.onnx").write_bytes(model.SerializeToString())
    return run


@pytest.fixture(scope="module")
def found(command: Callable[..., subprocess.CompletedProcess[str]]) -> dict[str, Record]:
    """Isolate a run that does each thing against one that does nothing."""
    assert command("run", "chain.onnx", "--backends", "good").returncode == 0
    told = ("up=a", "down=y", "fused=b")
    for does in told:
        done = command("run", "chain.onnx", "--backends", "bad", "--set", f"bad.does={does}")
        assert done.returncode == 0, done.stderr
    done = command("compare", "--isolate", "--format", "json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    settings = {run["id"]: run["settings"].get("does") for run in document["runs"]}
    assert len(settings) == 4  # what is run for the isolation lies apart
    return {settings[each["run"]]: each for each in document["isolations"]}


def _verdicts(isolation: Record) -> list[tuple[str, str]]:
    return [(layer["tap"], layer["verdict"]) for layer in isolation["layers"]]


def test_the_layer_that_differs_by_itself_is_named_and_those_behind_it_inherit(
    found: dict[str, Record],
) -> None:
    one = found["up=a"]
    assert _verdicts(one) == [("a", "own"), ("b", "inherited"), ("y", "inherited")]
    assert (one["first_own_tap"], one["first_own_layer"], one["own_taps"]) == ("a", 0, ["a"])
    first, second, _ = one["layers"]
    assert (first["own"]["max_ulp"], first["inherited"]["max_ulp"]) == (1, 0)
    assert (second["own"]["max_ulp"], second["inherited"]["max_ulp"]) == (0, 1)
    assert (second["total"]["max_ulp"], second["reason"]) == (1, "")


def test_layers_before_it_have_no_error(found: dict[str, Record]) -> None:
    assert _verdicts(found["down=y"]) == [("a", "none"), ("b", "none"), ("y", "own")]


def test_a_layer_that_alone_gives_other_bits_is_not_isolable_and_no_finding(
    found: dict[str, Record],
) -> None:
    one = found["fused=b"]
    assert _verdicts(one) == [("a", "none"), ("b", "not isolable"), ("y", "inherited")]
    assert (one["own_taps"], one["not_isolable"]) == ([], ["b"])
    assert "it gives other bits than the run recorded" in one["layers"][1]["reason"]


def test_the_reference_is_checked_too_and_nothing_is_run_twice(
    found: dict[str, Record], command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    pair = f"{found['fused=b']['run']},good"
    done = command("compare", "--isolate", pair, "--format", "json")
    (one,) = json.loads(done.stdout)["isolations"]
    assert one["reference"] == found["fused=b"]["run"]
    assert one["run"].endswith("good")
    assert one["not_isolable"] == ["b"]
    assert "than the reference recorded" in one["layers"][1]["reason"]
    again = command("compare", "--isolate", pair, "--format", "json")
    assert (again.stdout, again.stderr) == (done.stdout, "")


@pytest.fixture
def compared(bench: StoreBuilder) -> Comparison:
    """Two classes of outputs, in three runs."""
    for value in (1.0, 2.0, 1.0):
        bench.run({"y": [value]}, {"conv": [value], "relu": [value]})
    return bench.compare()


def test_one_run_of_each_class_is_isolated_against_class_1(compared: Comparison) -> None:
    pairs = choose_pairs(compared, "")
    assert [(one.id, other.id) for one, other in pairs] == [("run-0", "run-1")]


def test_two_runs_that_are_all_there_is_need_no_names(bench: StoreBuilder) -> None:
    models = ({"name": name, "digest": name * 64, "source": name} for name in "ab")
    for model in models:
        bench.run({"y": [1.0]}, {"conv": [1.0]}, model=model)
    (pair,) = choose_pairs(bench.compare(), "")
    assert [run.id for run in pair] == ["run-0", "run-1"]


def test_runs_are_named_by_ids_or_parts_of_them(compared: Comparison) -> None:
    assert [run.id for run in choose_pairs(compared, "n-2, run-1")[0]] == ["run-2", "run-1"]
    assert find_run(compared, "run-1").id == "run-1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("run-0", "must name two runs"),
        ("run-0,nobody", "No run that is compared has 'nobody' in its id"),
        ("run-,run-0", "3 runs have 'run-' in their ids"),
    ],
)
def test_a_wrong_choice_is_refused_in_one_sentence(
    compared: Comparison, text: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        choose_pairs(compared, text)


def test_where_all_outputs_are_the_same_bits_two_runs_must_be_named(bench: StoreBuilder) -> None:
    for _ in range(3):
        bench.run({"y": [1.0]}, {"conv": [1.0]})
    with pytest.raises(UsageError, match="All outputs have the same bits"):
        choose_pairs(bench.compare(), "")


SAME, STEP = Metrics(23, 0, 0.0, 0.0), Metrics(22, 1, 0.25, 0.5)


def _layer(place: int, verdict: str, reason: str = "", by_emulation: bool = False) -> LayerVerdict:
    own = STEP if verdict == OWN else None if verdict == UNKNOWN else SAME
    inherited = STEP if verdict == INHERITED else None if verdict == UNKNOWN else SAME
    name = f"t{place}"
    return LayerVerdict(name, place, "Relu", verdict, reason, STEP, own, inherited, by_emulation)


def _report(compared: Comparison, name: str, *layers: LayerVerdict, width: str = "300") -> str:
    one, other = compared.runs[:2]
    isolation = Isolation(one, other, ("0",), layers, ("A note.",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", width)
        full = Comparison(compared.runs, compared.samples, compared.store, (), (isolation,))
        return str(registry.report(name)(full))


@pytest.mark.parametrize("name", ["table", "markdown", WEB])
def test_one_sentence_names_the_first_layer_with_an_error_of_its_own(
    compared: Comparison, name: str
) -> None:
    layers = [_layer(0, NONE), _layer(1, OWN), _layer(2, INHERITED), _layer(3, OWN)]
    text = _report(compared, name, *layers)
    assert "The first layer whose own arithmetic differs is layer 1 (Relu, tap " in text
    assert "2 of 4 layers have an error of their own, 1 other only inherits one." in text
    assert "Note: A note." in text


def test_a_layer_that_cannot_be_isolated_is_told_with_the_cure(compared: Comparison) -> None:
    text = _report(compared, "table", _layer(0, OWN), _layer(1, UNKNOWN, "it was fused"))
    assert "Of 2 layers, layer 0 (Relu, tap 't0') alone has an error of its own" in text
    assert "1 layer cannot be isolated, 't1': it was fused." in text
    assert "Cure: run both with --set ort.optimization=disabled." in text


def test_what_an_emulator_may_have_made_is_no_finding(compared: Comparison) -> None:
    text = _report(compared, "table", _layer(0, OWN, by_emulation=True), _layer(1, INHERITED))
    assert "Of 2 layers, none has an error of its own; 1 other only inherits one" in text
    assert "† an emulator computes 't0' unlike a real processor: no finding." in text
    assert "own†" in text


def test_a_layer_that_only_an_emulator_made_is_not_said_to_be_no_deviation(
    compared: Comparison,
) -> None:
    text = _report(compared, "table", _layer(0, OWN, by_emulation=True))
    assert "there is nothing to isolate" not in text


def test_the_counts_of_a_sentence_are_those_of_the_verdicts(compared: Comparison) -> None:
    for seed in range(1000):
        check_counts(compared, random.Random(seed))


def check_counts(compared: Comparison, draw: random.Random) -> None:
    kinds = [NONE, OWN, INHERITED, UNKNOWN, BOTH]
    layers = [
        _layer(n, draw.choice(kinds), by_emulation=draw.random() < 0.2)
        for n in range(draw.randrange(1, 9))
    ]
    one, other = compared.runs[:2]
    said = " ".join(isolation_sentences(Isolation(one, other, ("0",), tuple(layers), ())))
    own = [each for each in layers if each.verdict in (OWN, BOTH) and not each.by_emulation]
    inherit = sum(each.verdict == INHERITED for each in layers)
    unknown = sum(each.verdict == UNKNOWN for each in layers)
    quiet = all(each.verdict == NONE for each in layers)
    assert ("nothing to isolate" in said) == quiet
    assert ("only inherit" in said) != quiet
    if not quiet:
        assert f"{inherit} other{'' if inherit == 1 else 's'} only inherit" in said
    assert ("cannot be isolated" in said) == bool(unknown)
    if len(own) == 1:
        assert f"layer {own[0].layer} (Relu, tap '{own[0].tap}') alone has" in said
    elif own:
        assert f"differs is layer {own[0].layer} (" in said
        assert f"{len(own)} of {len(layers)} layers have an error of their own" in said
    else:
        assert "alone has an error" not in said


def test_layers_that_only_inherit_are_left_out_first(compared: Comparison) -> None:
    layers = [_layer(place, INHERITED) for place in range(20)]
    text = _report(compared, "table", *layers, _layer(20, OWN))
    assert "… and 20 more that deviate" in text
    assert re.search("^ +20  t20 ", text, re.MULTILINE)


def test_runs_that_agree_in_every_layer_leave_nothing_to_isolate(compared: Comparison) -> None:
    text = _report(compared, "table", _layer(0, NONE), _layer(1, NONE))
    assert "No layer of 2 deviates: there is nothing to isolate." in text


def test_csv_has_a_row_for_each_layer(compared: Comparison) -> None:
    text = _report(compared, "csv", _layer(0, NONE), _layer(1, OWN), _layer(2, UNKNOWN, "fused"))
    rows = list(csv.DictReader(io.StringIO(text)))
    columns = ("tap", "verdict", "own_max_ulp", "inherited_max_ulp", "reason")
    assert [tuple(row[key] for key in columns) for row in rows] == [
        ("t0", "none", "0", "0", ""),
        ("t1", "own", "1", "0", ""),
        ("t2", "not isolable", "", "", "fused"),
    ]


def test_runs_without_layers_are_refused_with_the_cure(bench: StoreBuilder) -> None:
    from xbackend.diagnosis.isolation_pairs import isolate_all
    from xbackend.execution.execute import ExecutionContext
    from xbackend.execution.progress import ProgressLines

    for value in (1.0, 2.0):
        bench.run({"y": [value]})
    context = ExecutionContext(bench.store, 1, 60.0, ProgressLines(io.StringIO()))
    with pytest.raises(UsageError, match="Run it with --taps layers"):
        isolate_all(bench.compare(), "", context)
