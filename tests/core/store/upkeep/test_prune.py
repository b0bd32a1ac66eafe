"""What is taken out of a store is what was asked for, and the rest can be compared as before."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from xbackend.comparison.compare import compare
from xbackend.errors import MissingObjectError, StoreError, UsageError
from xbackend.store.check import check_store
from xbackend.store.records import read_run
from xbackend.store.store import Store
from xbackend.store.upkeep.contents import contents_of
from xbackend.store.upkeep.lock import in_use
from xbackend.store.upkeep.prune import PruneRequest, plan_pruning, prune, shorten
from xbackend.testing.store_builder import StoreBuilder
from xbackend.worker.objects import write_tensor

LATER = 10 * 86400.0


@pytest.fixture
def bench(bench: StoreBuilder) -> StoreBuilder:
    """Two runs: the same 'conv', another 'relu', another output."""
    bench.run({"y": [1.0]}, {"conv": [5.0, 6.0], "relu": [7.0]})
    bench.run({"y": [2.0]}, {"conv": [5.0, 6.0], "relu": [8.0]}, backend="tf")
    return bench


def names(store: Store) -> set[float]:
    """The first numbers of all objects: which tensors there are."""
    files = (store.folder / "objects").glob("*/*")
    return {float(np.frombuffer(path.read_bytes(), "<f4")[0]) for path in files}


@pytest.mark.parametrize(
    ("keep", "left"),
    [("all", {1, 2, 5, 7, 8}), ("differing", {1, 2, 7, 8}), ("none", {1, 2})],
)
def test_tensors_of_layers_go_and_outputs_stay(
    bench: StoreBuilder, keep: str, left: set[float]
) -> None:
    prune(bench.store, PruneRequest(keep=keep))
    assert names(bench.store) == left
    assert check_store(bench.store).faults == []


def test_what_differs_is_measured_as_before_where_only_equal_layers_went(
    bench: StoreBuilder,
) -> None:
    before = compare(bench.store).to_dict()["comparisons"]
    prune(bench.store, PruneRequest(keep="differing"))
    assert compare(bench.store).to_dict()["comparisons"] == before


def test_classes_stay_and_distances_are_unknown_where_all_layers_went(bench: StoreBuilder) -> None:
    prune(bench.store, PruneRequest(keep="none"))
    rows = {row["tap"]: row for row in compare(bench.store).to_dict()["comparisons"]}
    assert {tap: row["eqc_count"] for tap, row in rows.items()} == {"conv": 1, "relu": 2, "y": 2}
    assert not rows["relu"]["is_measured"]
    assert rows["relu"]["max_abs"] is None
    assert rows["y"]["is_measured"]
    assert rows["y"]["max_abs"] == 1.0


def test_a_tensor_that_is_lost_without_having_been_pruned_is_a_fault(bench: StoreBuilder) -> None:
    record = next(bench.store.runs())
    digest = record["results"][0]["taps"][1]["digest"]
    bench.store.object_path(digest).unlink()
    with pytest.raises(MissingObjectError, match=digest[2:]):
        compare(bench.store)
    assert len(check_store(bench.store).faults) == 1


def test_an_output_that_is_lost_is_a_fault_in_a_pruned_store_too(bench: StoreBuilder) -> None:
    prune(bench.store, PruneRequest(keep="none"))
    record = next(bench.store.runs())
    bench.store.object_path(record["results"][0]["outputs"][0]["digest"]).unlink()
    with pytest.raises(MissingObjectError):
        compare(bench.store)
    assert "gone or damaged" in check_store(bench.store).faults[0]


@pytest.mark.parametrize(
    ("request_", "left"),
    [
        (PruneRequest(where=("backend=tf",)), ["run-0", "run-2"]),
        (PruneRequest(model="net"), []),
        (PruneRequest(failed=True), ["run-0", "run-1"]),
        (PruneRequest(where=("backend=tf",), failed=True), ["run-0", "run-1", "run-2"]),
        (PruneRequest(helpers=True), ["run-0", "run-1", "run-2"]),
        (PruneRequest(older_than=1.0), []),
        (PruneRequest(older_than=1e6), ["run-0", "run-1", "run-2"]),
    ],
)
def test_only_runs_that_are_all_that_was_asked_for_go(
    bench: StoreBuilder, request_: PruneRequest, left: list[str]
) -> None:
    error = {"stage": "infer", "symptom": "x", "message": "y"}
    bench.write(status="failed", error=error, backend="ort")
    after_2030 = 60 * 366 * 86400.0 + 30 * 86400
    plan = prune(bench.store, request_, now=after_2030)
    assert [record["id"] for record in bench.store.runs()] == left
    assert {run.id for run in plan.runs} == {"run-0", "run-1", "run-2"} - set(left)


def test_runs_of_commands_own_go_with_the_reruns(bench: StoreBuilder) -> None:
    bench.run({"y": [3.0]}, purpose="mitigation")
    annex = bench.store.folder / "annex"
    (annex / "runs").mkdir(parents=True)
    (annex / "objects").symlink_to("../objects")
    (annex / "note").write_bytes(b"x" * 1000)
    plan = prune(bench.store, PruneRequest(helpers=True))
    assert [run.id for run in plan.runs] == ["run-2"]
    assert plan.reruns == {annex: 1000}
    assert not annex.exists()
    assert 3.0 not in names(bench.store)


def test_what_no_run_means_goes_once_it_is_old(bench: StoreBuilder) -> None:
    row = write_tensor(str(bench.store.folder), bench.tensor([99.0]))
    assert plan_pruning(bench.store, PruneRequest()).empty
    plan = prune(bench.store, PruneRequest(), now=time.time() + LATER)
    assert [path.name for path in plan.tensors] == [row["digest"][2:]]
    assert names(bench.store) == {1, 2, 5, 7, 8}


def test_artifacts_that_no_run_has_go_with_their_last_run(bench: StoreBuilder) -> None:
    for digest in ("a" * 64, "b" * 64):
        folder = bench.store.folder / "artifacts" / digest
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(b"x" * 10)
    bench.run({"y": [3.0]}, artifact={"digest": "a" * 64, "format": "graph"}, backend="torch")
    bench.run({"y": [3.0]}, artifact={"digest": "b" * 64, "format": "graph"})
    plan = prune(bench.store, PruneRequest(where=("backend=torch",)))
    assert {path.name: size for path, size in plan.artifacts.items()} == {"a" * 64: 10}
    assert [path.name for path in (bench.store.folder / "artifacts").iterdir()] == ["b" * 64]


def test_keys_and_logs_go_with_their_run(bench: StoreBuilder) -> None:
    for run in ("run-0", "run-1"):
        bench.store.write_key(run[-1] * 64, run)
        (bench.store.folder / "logs" / f"{run}.txt").write_text("said")
    prune(bench.store, PruneRequest(where=("backend=tf",)))
    assert [path.name for path in (bench.store.folder / "keys").iterdir()] == ["0" * 64]
    assert [path.name for path in (bench.store.folder / "logs").iterdir()] == ["run-0.txt"]


def test_nothing_is_taken_out_while_a_record_is_not_sound(bench: StoreBuilder) -> None:
    (bench.store.folder / "runs" / "odd.json").write_text("{")
    with pytest.raises(StoreError, match=r"odd\.json .* Until then nothing is taken out"):
        prune(bench.store, PruneRequest(keep="none"))
    assert names(bench.store) == {1, 2, 5, 7, 8}


def test_nothing_is_taken_out_while_runs_are_made(bench: StoreBuilder) -> None:
    refused = pytest.raises(StoreError, match="Runs are being made in")
    with in_use(bench.store), in_use(bench.store), refused:  # any number of runs at once
        prune(bench.store, PruneRequest(keep="none"))
    prune(bench.store, PruneRequest(keep="none"))
    assert names(bench.store) == {1, 2}


def test_a_rerun_in_the_annex_holds_the_whole_store(bench: StoreBuilder) -> None:
    annex = Store(bench.store.folder / "annex")
    annex.create()
    with in_use(annex), pytest.raises(StoreError, match="Runs are being made in"):
        prune(bench.store, PruneRequest())


def test_the_lock_of_a_killed_process_is_free(bench: StoreBuilder) -> None:
    child = os.fork()
    if not child:
        descriptor = os.open(bench.store.folder / "lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    prune(bench.store, PruneRequest(keep="none"))
    assert names(bench.store) == {1, 2}


@pytest.mark.parametrize(
    ("keep", "left"),
    [("all", {1, 2, 5, 7, 8}), ("differing", {1, 2, 5, 7, 8}), ("none", {1, 2, 5, 8})],
)
def test_shortening_some_runs_leaves_what_others_mean(
    bench: StoreBuilder, keep: str, left: set[float]
) -> None:
    shorten(bench.store, {"run-0"}, keep)
    assert names(bench.store) == left
    kept = {record["id"]: record.get("kept", "all") for record in bench.store.runs()}
    assert kept == {"run-0": "none" if keep == "none" else "all", "run-1": "all"}


def test_what_was_once_pruned_further_stays_said(bench: StoreBuilder) -> None:
    prune(bench.store, PruneRequest(keep="none"))
    bench.run({"y": [1.0]}, {"conv": [5.0, 6.0], "relu": [7.0]}, backend="torch")
    prune(bench.store, PruneRequest(keep="differing"))
    kept = {record["id"]: record.get("kept", "all") for record in bench.store.runs()}
    assert kept == {"run-0": "none", "run-1": "none", "run-2": "differing"}


def test_a_pruned_run_says_how_to_have_its_layers_again(bench: StoreBuilder) -> None:
    prune(bench.store, PruneRequest(keep="none"))
    run = read_run(next(bench.store.runs()))
    with pytest.raises(UsageError, match=r"run run-0 .* told to keep none. Repeat it with --fresh"):
        run.check_kept()


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (PruneRequest(keep="some"), "'--keep some' must be one of all, differing, none"),
        (PruneRequest(older_than=-1.0), "'--older-than -1' must be a number of days"),
        (PruneRequest(older_than=float("nan")), "'--older-than nan' must be a number of days"),
        (PruneRequest(where=("colour=red",)), "No run has the key 'colour'"),
        (PruneRequest(model="other"), "None of the store's 2 runs matches --model other"),
    ],
)
def test_wrong_requests_are_refused(bench: StoreBuilder, request_: PruneRequest, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        prune(bench.store, request_)


def test_a_plan_changes_nothing(bench: StoreBuilder) -> None:
    def state() -> dict[Path, bytes]:
        files = (path for path in bench.store.folder.rglob("*") if path.is_file())
        return {path: path.read_bytes() for path in files if path.name != "index.sqlite"}

    before = state()
    plan = plan_pruning(bench.store, PruneRequest(keep="none", where=("backend=tf",)))
    assert state() == before
    assert plan.to_dict()["runs"] == ["run-1"]
    assert plan.freed == 4 * (2 + 1 + 1 + 1)  # conv, relu twice, the second output


def test_contents_are_counted_by_kind(bench: StoreBuilder) -> None:
    bench.write(status="skipped", error={"stage": "plan", "symptom": "x", "message": "y"})
    bench.run({"y": [1.0]}, purpose="reference", created="2031-05-05T00:00:00Z")
    write_tensor(str(bench.store.folder), bench.tensor([99.0, 99.0]))
    found = contents_of(bench.store)
    sizes = {kind: size for kind, size in found.sizes.items() if kind.endswith(("puts", "layers"))}
    assert sizes == {"outputs": 8, "inputs": 0, "differing layers": 8, "equal layers": 8}
    assert found.sizes["unused tensors"] == 8
    (model,) = found.models
    assert (model.model, model.runs, model.failed, model.helpers) == ("net", 4, 1, 1)
    assert (model.oldest, model.newest) == ("2030-01-01T00:00:00Z", "2031-05-05T00:00:00Z")
    assert json.loads(json.dumps(found.to_dict()))["bytes"] == found.size
    everything = sum(p.stat().st_size for p in bench.store.folder.rglob("*") if p.is_file())
    assert found.size == everything
