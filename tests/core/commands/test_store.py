"""`xbackend store` and `run --keep`, with fake backends: what is said, exit statuses, JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]
NUDGED = ("--backends", "good,bad", "--set", "bad.does=up=y")


@pytest.fixture
def filled(xbackend: Command, sound: Path) -> None:
    """A store with two runs that differ at the output."""
    assert xbackend("run", sound, *NUDGED).status == 0


def told(xbackend: Command, *arguments: object) -> dict[str, Any]:
    done = xbackend(*arguments, "--json")
    assert done.status == 0, done
    document: dict[str, Any] = json.loads(done.out)
    return document


@pytest.mark.usefixtures("filled")
def test_what_a_store_holds(xbackend: Command) -> None:
    document = told(xbackend, "store")
    assert document["runs"] == 2
    assert document["models"][0]["backends"] == ["good", "bad"]
    assert sum(document["bytes_by_kind"].values()) == document["bytes"]
    shown = told(xbackend, "store", "show")
    for each in (document, shown):  # the index is not written before records are two seconds old
        each["bytes"] -= each["bytes_by_kind"].pop("index")
    assert shown == document
    text = xbackend("store").out
    assert "2 runs of 1 model" in text
    assert "good, bad" in text


@pytest.mark.usefixtures("filled")
def test_pruning_first_says_what_would_go(xbackend: Command) -> None:
    plan = xbackend("store", "prune", "--where", "backend=bad")
    assert "would go" in plan.out
    assert "Add --yes to do it" in plan.out
    assert told(xbackend, "store")["runs"] == 2
    done = told(xbackend, "store", "prune", "--where", "backend=bad", "--yes")
    assert done["done"]
    assert len(done["runs"]) == 1
    assert told(xbackend, "store")["models"][0]["backends"] == ["good"]
    assert "Nothing goes" in xbackend("store", "prune").out


@pytest.mark.usefixtures("filled")
def test_the_store_may_be_named_before_the_action_or_after(xbackend: Command) -> None:
    for words in (("--store", "no", "check"), ("check", "--store", "no")):
        refused = xbackend("store", *words)
        assert refused.status == 2
        assert "There is no store at no." in refused.err


@pytest.mark.usefixtures("filled")
def test_runs_are_carried_to_another_store_and_not_repeated_there(
    xbackend: Command, sound: Path
) -> None:
    assert xbackend("store", "export", "--output", "runs.zip").status == 0
    assert (
        "2 runs added to there" in xbackend("store", "import", "runs.zip", "--store", "there").out
    )
    folder = told(xbackend, "store")["folder"]
    again = xbackend("store", "merge", folder, "--store", "there")
    assert (again.status, "2 were there already" in again.out) == (0, True)
    assert xbackend("store", "check", "--store", "there").status == 0
    assert (
        "2 runs are in the store already" in xbackend("run", sound, *NUDGED, "--store", "there").err
    )
    refused = xbackend("store", "export", "nothing-such", "--output", "other.zip")
    assert refused.status == 2
    assert "has 'nothing-such' in its id" in refused.err


def test_run_keeps_what_differs(xbackend: Command, sound: Path) -> None:
    assert xbackend("run", sound, *NUDGED, "--keep", "differing").status == 0
    sizes = told(xbackend, "store")["bytes_by_kind"]
    assert sizes["equal layers"] == 0
    assert sizes["outputs"] > 0
    assert xbackend("store", "check").status == 0
    refused = xbackend("run", sound, "--keep", "some")
    assert refused.status == 2
    assert "'--keep some' must be one of all, differing, none." in refused.err


def test_runs_of_commands_own_stay_out_of_comparisons_until_the_user_runs_them(
    xbackend: Command, sound: Path
) -> None:
    tried = xbackend("mitigate", sound, *NUDGED, "--mitigations", "calm", "--reference", "none")
    assert tried.status == 0
    (model,) = told(xbackend, "store")["models"]
    assert (model["runs"], model["helpers"]) == (3, 1)  # 'calm' leaves 'good' as it is

    def compared(*more: str) -> int:
        done = xbackend("compare", "--format", "json", *more)
        return len(json.loads(done.out)["runs"])

    assert compared() == 2
    assert compared("--helpers") == 3
    assert compared("--where", "purpose=mitigation") == 1
    calm = ("--backends", "bad", "--set", "bad.does=nothing", "--taps", "outputs")
    assert "1 run is in the store already" in xbackend("run", sound, *calm).err
    assert compared() == 3
