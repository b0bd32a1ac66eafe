"""`xbackend mitigate` with fake backends: the table, its order, the plugins' door, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

Row = dict[str, Any]
ALONE = ("--reference", "none")
NUDGED = ("--backends", "good,bad", "--set", "bad.does=up=y", "--reference", "none")


@pytest.fixture
def table(xbackend: Callable[..., Any], sound: Path) -> Callable[..., dict[str, Any]]:
    """Run the command on the sound model and return its JSON document."""

    def run(*arguments: object, status: int = 0) -> dict[str, Any]:
        done = xbackend("mitigate", sound, *arguments, "--json")
        assert done.status == status, done
        document: dict[str, Any] = json.loads(done.out)
        return document

    return run


def rows(document: dict[str, Any]) -> dict[tuple[str, str], Row]:
    return {(row["backend"], row["mitigation"]): row for row in document["rows"]}


def test_a_strangers_mitigations_go_through_the_same_door(table: Any) -> None:
    document = table(*NUDGED)
    found = rows(document)
    together = found["all together", ""], found["all together", "calm"]
    assert [row["after"]["classes"] for row in together] == [2, 1]
    assert together[1]["before"]["classes"] == 2
    assert not found["bad", "calm"]["unchanged"]
    assert found["good", "calm"]["unchanged"]
    assert found["bad", "idle"]["unchanged"]
    assert "for the same bits in all backends calm (one class" in document["advice"]


def test_what_cannot_be_says_why_and_the_rest_goes_on(table: Any) -> None:
    found = rows(table(*NUDGED))
    (typo,) = found["bad", "typo"]["notes"]
    assert "no setting 'dose'" in typo
    assert found["bad", "never"]["notes"] == ["It has no such switch."]
    assert found["bad", "deep"]["notes"] == ["It has a meaning with --set bad.depth=9 only."]
    assert found["bad", "never"]["after"] is None
    assert ("bad", "spare") not in found


def test_a_model_that_fails_as_it_is_is_told_by_the_status_and_others_go_on(table: Any) -> None:
    broken = ("--backends", "good,bad", "--set", "bad.does=raise=no luck", *ALONE)
    found = rows(table(*broken, "--mitigations", "idle", status=3))
    assert "no luck" in found["bad", ""]["notes"][0]
    assert found["good", ""]["after"]["runs"] == 1
    skipped = ("--backends", "good,bad", "--set", "bad.does=unsupported=It lacks that.", *ALONE)
    assert "It lacks that." in rows(table(*skipped, "--mitigations", "idle"))["bad", ""]["notes"][0]


def test_a_need_that_the_user_has_met_lets_it_run(table: Any) -> None:
    found = rows(table(*NUDGED, "--set", "bad.depth=9", "--mitigations", "deep"))
    assert found["bad", "deep"]["after"]["runs"] == 1


def test_words_choose_mitigations_by_name_or_pattern(table: Any) -> None:
    found = rows(table(*NUDGED, "--mitigations", "spare,cal*"))
    assert {name for _, name in found} == {"", "spare", "calm"}


def test_an_unknown_word_is_refused_before_anything_runs(
    xbackend: Callable[..., Any], sound: Path, tmp_path: Path
) -> None:
    done = xbackend("mitigate", sound, *NUDGED, "--mitigations", "clam")
    assert done.status == 2
    assert "There is no mitigation 'clam'" in done.sentence
    assert not list((tmp_path / "store").glob("runs/*"))


def test_the_same_command_again_runs_nothing(table: Any, tmp_path: Path) -> None:
    first = table(*NUDGED, "--mitigations", "calm")
    runs = sorted((tmp_path / "store" / "runs").iterdir())
    assert table(*NUDGED, "--mitigations", "calm") == first
    assert sorted((tmp_path / "store" / "runs").iterdir()) == runs


def test_labels_give_the_share_of_right_answers(
    table: Any, xbackend: Callable[..., Any], sound: Path, tmp_path: Path
) -> None:
    samples = np.float32([[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 2, 0, 0]])
    np.save(tmp_path / "x.npy", samples[:, None])
    np.save(tmp_path / "y.npy", np.array([0, 2, 1, 1]))
    given = ("--inputs", tmp_path / "x.npy", "--labels", tmp_path / "y.npy")
    found = rows(table("--backends", "good", *given, *ALONE, "--mitigations", "calm"))
    assert found["good", ""]["accuracy"] == [0.75, 0.75]
    done = xbackend("mitigate", sound, "--labels", tmp_path / "y.npy")
    assert "give both" in done.sentence
    np.save(tmp_path / "y.npy", np.zeros((2, 2)))
    assert "one whole number for each sample" in xbackend("mitigate", sound, *given).sentence
    for wrong in (4, -1):
        np.save(tmp_path / "y.npy", np.array([0, 2, wrong, 1]))
        done = xbackend("mitigate", sound, "--backends", "good", *given)
        assert f"class of sample 2 is {wrong}, but the model gives 4 scores" in done.sentence
        assert done.status == 2


def test_the_table_says_what_changes_nothing_and_ends_with_what_to_use(
    xbackend: Callable[..., Any], sound: Path
) -> None:
    done = xbackend("mitigate", sound, *NUDGED)
    assert done.status == 0
    lines = done.out.rstrip().splitlines()
    (calm,) = [line for line in lines if line.startswith("all together  calm")]
    assert calm.split()[3:6] == ["2", "→", "1"]
    assert [line for line in lines if "bad idle" in line and "changes no bit" in line] != []
    assert max(map(len, lines[2:])) <= 80 + len(str(sound))
    said = " ".join(done.out[done.out.rindex("\nFor ") :].split())
    assert said.startswith(f"For {sound} use bad as it is, which ran once only; ")


def test_trees_of_the_classes_are_written_before_and_after(
    xbackend: Callable[..., Any], write_model: Callable[..., Path], tmp_path: Path
) -> None:
    model = write_model(helper.make_node("Identity", ["x"], ["y"]))
    target = tmp_path / "trees.txt"
    drifting = ("--set", "bad.at=import", "--reference", "none", "--mitigations", "idle")
    done = xbackend("mitigate", model, "--backends", "bad", *drifting, "--dendrogram", target)
    assert done.status == 0, done
    assert "no tree" in target.read_text()


@pytest.mark.parametrize("kind", ["markdown", "csv"])
def test_other_formats_have_the_same_rows(
    xbackend: Callable[..., Any], sound: Path, tmp_path: Path, kind: str
) -> None:
    target = tmp_path / "table.txt"
    done = xbackend("mitigate", sound, *NUDGED, "--format", kind, "--output", target)
    assert done.status == 0, done
    assert done.out == ""
    assert sum("calm" in line for line in target.read_text().splitlines()) >= 3


def test_the_list_names_each_mitigation_once(xbackend: Callable[..., Any]) -> None:
    done = xbackend("mitigate", "--backends", "bad", "--mitigations", "list")
    assert [line.split()[0] for line in done.out.splitlines()[2:6]] == [
        "calm", "idle", "typo", "never",
    ]  # fmt: skip


def test_held_out_pictures_are_refused_for_a_model_that_brings_none(
    xbackend: Callable[..., Any], sound: Path
) -> None:
    done = xbackend("mitigate", sound, "--backends", "good", "--labelled")
    assert "brings no labelled samples" in done.sentence


def test_the_search_finds_what_suffices_and_prints_what_to_paste(
    xbackend: Callable[..., Any], sound: Path
) -> None:
    done = xbackend("mitigate", sound, *NUDGED, "--mitigations", "idle,spare,calm", "--search")
    assert done.status == 0, done
    text = done.out.splitlines()
    at = next(at for at, line in enumerate(text) if line.startswith("good, bad: one class with"))
    assert text[at].startswith("good, bad: one class with calm (")
    assert "    bad.calm_down()" in text[at:]
    assert f"    xbackend run {sound} --backends bad --set bad.does=nothing" in text[at:]
    assert "bad: one class as it is." in text


def test_a_search_in_vain_says_what_everything_on_leaves(
    xbackend: Callable[..., Any], sound: Path
) -> None:
    done = xbackend("mitigate", sound, *NUDGED, "--mitigations", "idle,spare", "--search", "--json")
    together = json.loads(done.out)["search"][0]
    assert together["mitigations"] is None
    assert together["classes_with_everything_on"] == 2
