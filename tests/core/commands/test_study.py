"""`xbackend study`: what it lists, what it refuses before anything runs, what it draws."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xbackend.commands.main import main
from xbackend.errors import UsageError
from xbackend.plugins.registry import plot
from xbackend.studies.catalogue import NAMES
from xbackend.studies.configuration import ConfigKey, check
from xbackend.studies.figure import Cell, Grid, LinePlot, Series

Command = Callable[..., Any]


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run a command that must be refused and return its one sentence."""
    assert main(["study", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    return line


def test_without_a_name_all_studies_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(NAMES)
    assert main(["study", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["studies"]
    assert [row["name"] for row in rows] == list(NAMES)
    assert all(row["criterion"].startswith("Holds ") for row in rows)


def test_what_is_shown_can_be_given_back_and_options_come_last(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "mine.json"
    path.write_text('{"repeats": 7, "threads": [4]}')
    words = [
        "--config",
        str(path),
        "--platform",
        "cores:1",
        "--backends",
        "torch",
        "--threads",
        "8",
    ]
    assert main(["study", "races", *words, "--show"]) == 0
    shown = capsys.readouterr().out
    assert json.loads(shown) == {
        "backends": ["torch"],
        "platforms": ["cores:1"],
        "threads": [8],
        "precision": "float32",
        "settings": [],
        "model": "cifar10-small",
        "repeats": 7,
    }
    path.write_text(shown)
    assert main(["study", "races", "--config", str(path), "--show"]) == 0
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"repeat": 7}', "has the key 'repeat'. Known keys: backends, platforms, threads"),
        ('{"repeats": 0}', "'repeats' must be a whole number from 1 on, not 0."),
        ('{"repeats": true}', "'repeats' must be a whole number from 1 on, not true."),
        ('{"threads": 2}', "'threads' must be a list of whole numbers from 1 on, not 2."),
        ('{"threads": []}', "'threads' must be a list of whole numbers from 1 on, not []."),
        ('{"platforms": [1]}', "'platforms' must be a list of texts, not [1]."),
        ('{"precision": "float8"}', "'precision' does not know 'float8'. Known: float32"),
        ('{"model": ""}', "'model' must be a text, not \"\"."),
        ("[1]", "must hold one JSON object"),
        ('{"repeats": ', "is no JSON"),
    ],
)
def test_a_wrong_configuration_is_refused_in_one_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "mine.json"
    path.write_text(text)
    assert said in refusal(capsys, "races", "--config", str(path))


def test_a_distribution_that_nobody_knows_is_refused() -> None:
    key = ConfigKey("weights", "words", "which", ("trained",))
    with pytest.raises(UsageError, match="'weights' does not know 'cauchy'. Known: trained."):
        check({"weights": ["cauchy"]}, [key], "here")


def test_wrong_words_are_refused_before_anything_runs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "There is no study 'nothing'. Studies: mult" in refusal(capsys, "nothing")
    assert "must end in one of .png" in refusal(capsys, "races", "--output", "races.txt")
    assert "Cannot read" in refusal(capsys, "races", "--config", str(tmp_path / "none.json"))
    said = refusal(capsys, "races", "--set", "tf.mode=xla")
    assert "'--set tf.mode=xla' is of no backend that the study runs: ort, tflite." in said
    assert "'--threads x' must be a whole number" in refusal(capsys, "races", "--threads", "x")


def test_a_study_runs_keeps_its_runs_and_writes_what_it_found(
    xbackend: Command, sound: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.json").write_text(json.dumps({"model": str(sound), "repeats": 3}))
    words = ["study", "races", "--config", "mine.json", "--backends", "good"]
    words += ["--platform", "native", "--output", "races.csv", "--output", "races.json"]
    done = xbackend(*words)
    assert done.status == 0, done.err
    last = " ".join(done.out.split())
    assert last.endswith("holds here for good (one class in each of 1, by 3 processes or more).")
    assert (tmp_path / "races.csv").read_text() == (
        "backend,platform,threads,repeats,classes\ngood,native,2,3,1\n"
    )
    found = json.loads((tmp_path / "races.json").read_text())
    assert found["verdicts"][0]["verdict"] == "holds"
    assert len(found["runs"]) == 3
    again = json.loads(xbackend(*words, "--json").out)
    assert again["runs"] == found["runs"]


def test_a_failed_run_is_told_and_the_status_says_so(
    xbackend: Command, sound: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.json").write_text(json.dumps({"model": str(sound)}))
    words = ["study", "races", "--config", "mine.json", "--backends", "bad", "--platform", "native"]
    done = xbackend(*words, "--set", "bad.does=raise=no luck")
    assert done.status == 3
    assert "Note: bad on native failed: no luck." in done.out
    assert "cannot be told here for bad" in " ".join(done.out.split())


def test_a_plot_has_the_lines_and_the_cells_with_their_names(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    lines = LinePlot("ort", "multiplications", "classes", (
        Series("f=1, k=3", ((1000.0, 1), (100000.0, 2))),
        Series("f=3, k=3", ((1000.0, 1), (100000.0, 1)), dash=1),
    ), log_x=True)  # fmt: skip
    grid = Grid("tf: a$x_1$", "", ("native", "qemu:Haswell"), ("mode=xla",), (
        (Cell("1", 0), Cell("–")),
    ))  # fmt: skip
    paths = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for path in paths:
        plot("study")([lines, grid], path)
    shown = re.findall(r"<!-- (.*?) -->", paths[0].read_text(encoding="utf-8"))
    for text in ("f=1, k=3", "f=3, k=3", "10³", "10⁵", "classes", "tf: a$x_1$", "mode=xla", "–"):
        assert text in shown
    assert paths[0].read_bytes() == paths[1].read_bytes()
