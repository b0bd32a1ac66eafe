"""`baseline` and `compare --baseline`: what is printed, written, and the exit status."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from xbackend.commands.main import main
from xbackend.testing.store_builder import StoreBuilder

ONE, NEAR, FLIPPED = [0.25, 0.5], [0.25, 0.5 + 2**-24], [0.5, 0.25]


def stored(folder: Path, *runs: tuple[list[float], str]) -> str:
    bench = StoreBuilder(folder)
    for values, name in runs:
        hardware = {"vendor": "Maker", "microarchitecture": name, "flags": []}
        bench.run({"y": values}, hardware=hardware)
    return str(folder)


@pytest.fixture
def file(tmp_path: Path, capsys: Any) -> str:
    """A baseline of one class, which Alpha gave."""
    path = str(tmp_path / "gate.json")
    store = stored(tmp_path / "first", (ONE, "Alpha"))
    assert main(["baseline", "--store", store, "--output", path]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{path}: 1 class of 1 tensor of 1 model, from 1 kind of machines, ")
    return path


def compare(capsys: Any, store: str, *words: str) -> tuple[int, list[str]]:
    status = main(["compare", "--store", store, "--format", "answer", *words])
    lines = capsys.readouterr().err.splitlines()
    return status, [line for line in lines if not line.startswith("not checked")]


def test_a_known_class_passes_with_one_sentence(file: str, tmp_path: Path, capsys: Any) -> None:
    store = stored(tmp_path / "later", (ONE, "Alpha"))
    assert compare(capsys, store, "--baseline", file) == (
        0,
        ["xbackend: The baseline gate passes: 1 × known class on a known kind of machine."],
    )


def test_a_new_class_says_how_far_it_is_and_what_to_do(
    file: str, tmp_path: Path, capsys: Any
) -> None:
    store = stored(tmp_path / "later", (NEAR, "Beta"))
    status, lines = compare(capsys, store, "--baseline", file)
    assert status == 1
    assert lines[0] == "xbackend: The baseline gate fails: 1 × new class that nothing judged."
    assert "22 of 23 mantissa bits, 1 ULP from the nearest of 1 known class" in lines[1]
    assert lines[1].endswith("given by 1 run (ort 1.0 on Maker Beta).")
    assert "--certify" in lines[2]


def test_a_rule_that_a_new_class_keeps_is_named(file: str, tmp_path: Path, capsys: Any) -> None:
    store = stored(tmp_path / "later", (NEAR, "Beta"))
    rule = ("--baseline-rule", "output: bits>=20")
    status, lines = compare(capsys, store, "--baseline", file, *rule)
    assert status == 0
    assert "within the rule 'output: bits>=20'" in lines[1]


def test_what_passes_is_added_and_what_does_not_only_after_a_review(
    file: str, tmp_path: Path, capsys: Any
) -> None:
    store = stored(tmp_path / "later", (ONE, "Beta"), (FLIPPED, "Gamma"))
    status, lines = compare(capsys, store, "--baseline", file, "--baseline-update")
    assert status == 1
    assert "row 0 has label 0, where the nearest known class has 1" in lines[1]
    assert f"{file}: added 1 kind of machines, 1 sighting." in lines
    assert "Not added: 1 run that did not pass (run-1)." in lines[-1]
    assert compare(capsys, store, "--baseline", file, "--baseline-update", "all")[0] == 0
    status, lines = compare(capsys, store, "--baseline", file)
    assert status == 0
    assert lines == [
        "xbackend: The baseline gate passes: 2 × known class on a known kind of machine."
    ]


def test_a_model_that_the_baseline_does_not_know_is_no_pass(
    file: str, tmp_path: Path, capsys: Any
) -> None:
    bench = StoreBuilder(tmp_path / "later")
    bench.run({"y": ONE}, model={"name": "other", "digest": "e" * 64, "source": "o.onnx"})
    status, lines = compare(capsys, str(bench.store.folder), "--baseline", file)
    assert status == 1
    assert lines[1].startswith(
        "xbackend: Nothing to compare: the baseline knows no class of other (float32)"
    )
    assert lines[2] == "xbackend: The baseline knows, and nothing ran: net (float32)."


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--baseline-rule", "output: bits>=1"], "needs '--baseline FILE'"),
        (["--baseline", "nowhere.json"], "Cannot read the baseline nowhere.json"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(
    tmp_path: Path, capsys: Any, words: list[str], said: str
) -> None:
    store = stored(tmp_path / "later", (ONE, "Alpha"))
    status, lines = compare(capsys, store, *words)
    assert status == 2
    assert said in lines[0]


def test_a_rule_of_classes_is_none_for_a_new_class(file: str, tmp_path: Path, capsys: Any) -> None:
    store = stored(tmp_path / "later", (ONE, "Alpha"))
    rule = ("--baseline-rule", "output: classes<=2")
    status, lines = compare(capsys, store, "--baseline", file, *rule)
    assert status == 2
    assert "rules for new classes are about bits, ulp, abs, deviating" in lines[0]


def test_a_baseline_that_is_there_is_not_written_over(
    file: str, tmp_path: Path, capsys: Any
) -> None:
    before = Path(file).read_text()
    assert main(["baseline", "--store", str(tmp_path / "first"), "--output", file]) == 2
    assert "is there already" in capsys.readouterr().err
    assert Path(file).read_text() == before
