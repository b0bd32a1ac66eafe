"""`xbackend reduce` from end to end, with a fake backend that moves what it fuses by two ULP."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from xbackend.commands.main import main
from xbackend.comparison.findings import INHERITED, NONE, OWN, UNKNOWN, Isolation, LayerVerdict
from xbackend.errors import XbackendError
from xbackend.numerics.metrics import Metrics
from xbackend.reduction.reduction import first_divergent_layer
from xbackend.testing.store_builder import StoreBuilder
from xbackend.worker.tensor import from_numpy

Command = Callable[..., Any]
PAIR = ("--backends", "good,bad")


def test_the_folder_holds_a_model_that_shows_the_difference_and_how(
    xbackend: Command, write_model: Callable[..., Path], tmp_path: Path
) -> None:
    """Of y = relu(relu(relu(x))) the second differs, if it does not stand alone."""
    nodes = (helper.make_node("Relu", [i], [o]) for i, o in itertools.pairwise("xaby"))
    does = ("--set", "bad.does=fused=b", "--output", "reduced")
    done = xbackend("reduce", write_model(*nodes), *PAIR, *does)
    assert done.status == 0, done.err
    assert "2 of 3 nodes and 1 of 4 numbers show the difference" in done.out
    assert "begins at layer 1 (Relu, 'b')" in done.out
    assert "nodes that do not show it: 1\nnodes that show it: 2 of 3" in done.err
    folder = tmp_path / "reduced"
    _check(folder)
    _show(folder, xbackend)


def _check(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [node.output[0] for node in model.graph.node] == ["a", "b"]
    given = np.load(folder / "inputs.npz")["x"]
    one, other = (np.load(folder / f"expected_{side}.npz")["b"] for side in "ab")
    assert (given.shape, given.item(), one.item()) == ((1, 1), 1.0, 1.0)
    assert other.item() == 1 + 2 * 2.0**-23
    document = json.loads((folder / "difference.json").read_text())
    assert document["metrics"]["max_ulp"] == 2
    assert document["sides"]["b"]["outputs"]["b"]["digest"] == from_numpy(other).digest()
    assert document["files"].keys() == {
        "README.md", "expected_a.npz", "expected_b.npz", "inputs.npz", "model.onnx",
    }  # fmt: skip


def _show(folder: Path, xbackend: Command) -> None:
    """Type the commands of the README, in its folder."""
    readme = (folder / "README.md").read_text()
    commands = [line[2:].split() for line in readme.splitlines() if line.startswith("$ xbackend")]
    assert len(commands) == 3
    assert "--set bad.does=fused=b" in readme
    for words in commands[:2]:
        places = [str(folder / word) if (folder / word).is_file() else word for word in words[1:]]
        assert xbackend(*places).status == 0
    done = xbackend(*commands[2][1:], "--format", "json")
    counts = {row["tap"]: row["eqc_count"] for row in json.loads(done.out)["comparisons"]}
    assert counts == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Name what to compare: two runs with --runs A,B"),
        (("--backends", "fixed"), "These options make 1 run, and two are compared"),
        (("--backends", "fixed", "--threads", "1,2,3"), "make 3 runs, and two are compared"),
        ((*PAIR, "--limit", "0"), "'--limit 0' must be more than 0 seconds"),
        (("--runs", "one"), "must name two runs"),
        ((*PAIR, "--output", "."), "is not empty. Name another with --output"),
        ((*PAIR, "--trials", "0"), "'--trials 0' must be a whole number from 1 on"),
    ],
)
def test_what_cannot_be_reduced_is_refused_in_one_sentence(
    bench: StoreBuilder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    words: str,
) -> None:
    """Before anything is run."""
    bench.run({"y": [1.0]})
    monkeypatch.chdir(tmp_path)
    assert main(["reduce", *arguments, "--store", str(bench.store.folder)]) == 2
    assert words in capsys.readouterr().err
    assert len([*bench.store.runs()]) == 1


def test_a_search_that_was_stopped_before_it_found_anything_says_so(
    xbackend: Command, write_model: Callable[..., Path]
) -> None:
    """Alone the node does not show it; with the one before it would, which is not tried."""
    nodes = (helper.make_node("Relu", [i], [o]) for i, o in itertools.pairwise("xaby"))
    does = ("--set", "bad.does=fused=b")
    model = write_model(*nodes)
    done = xbackend("reduce", model, *PAIR, *does, "--trials", "1")
    assert done.status == 3
    assert "Stopped after 1 trials, before anything smaller" in done.sentence
    done = xbackend("reduce", model, *PAIR, *does, "--limit", "1e-9")
    assert done.status == 3
    assert "Stopped after 1e-09 s, before anything smaller" in done.sentence


def test_runs_that_a_word_does_not_tell_apart_are_named_and_no_option_that_is_not_there(
    bench: StoreBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        bench.run({"y": [1.0]}, {"conv": [1.0]})
    command = ["reduce", "--runs", "run,run-1", "--store", str(bench.store.folder)]
    assert main(command) == 2
    assert capsys.readouterr().err.endswith("Name one of: run-0, run-1.\n")


def test_two_models_are_refused(bench: StoreBuilder, capsys: pytest.CaptureFixture[str]) -> None:
    for letter in "ab":
        model = {"name": letter, "digest": letter * 64, "source": letter}
        bench.run({"y": [1.0]}, {"conv": [1.0]}, model=model)
    command = ["reduce", "--runs", "run-0,run-1", "--store", str(bench.store.folder)]
    assert main(command) == 2
    assert "are of two models" in capsys.readouterr().err


def _isolation(bench: StoreBuilder, *verdicts: tuple[str, bool]) -> Isolation:
    bench.run({"y": [1.0]})
    (run,) = bench.compare().runs
    layers = []
    for place, (verdict, by_emulation) in enumerate(verdicts):
        total = Metrics(23, 0, 0.0, 0.0) if verdict == NONE else Metrics(22, 1, 0.25, 0.5)
        args = (f"t{place}", place, "Relu", verdict, "", total, None, None, by_emulation)
        layers.append(LayerVerdict(*args))
    return Isolation(run, run, ("0",), tuple(layers), ())


@pytest.mark.parametrize(
    ("verdicts", "tap"),
    [
        ([(NONE, False), (UNKNOWN, False), (INHERITED, False), (OWN, False)], "t3"),
        ([(NONE, False), (UNKNOWN, False), (INHERITED, False)], "t1"),
        ([(OWN, True), (INHERITED, False)], "t1"),
    ],
)
def test_it_begins_with_the_first_layer_that_has_an_error_of_its_own_or_differs(
    bench: StoreBuilder, verdicts: list[tuple[str, bool]], tap: str
) -> None:
    assert first_divergent_layer(_isolation(bench, *verdicts)).tap == tap


@pytest.mark.parametrize(
    ("verdict", "words"),
    [((NONE, False), "there is nothing to reduce"), ((OWN, True), "no finding to reduce")],
)
def test_where_nothing_differs_that_counts_nothing_is_reduced(
    bench: StoreBuilder, verdict: tuple[str, bool], words: str
) -> None:
    with pytest.raises(XbackendError, match=words):
        first_divergent_layer(_isolation(bench, verdict))
