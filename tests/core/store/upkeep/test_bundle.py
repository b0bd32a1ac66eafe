"""Runs that are merged or carried in a file arrive whole, and nothing else arrives with them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xbackend.comparison.compare import compare
from xbackend.errors import MissingObjectError, StoreError, UsageError
from xbackend.store.check import check_store
from xbackend.store.index import read_runs
from xbackend.store.store import Store
from xbackend.store.upkeep.bundle import export_bundle, import_bundle
from xbackend.store.upkeep.merge import merge
from xbackend.store.upkeep.prune import PruneRequest, prune
from xbackend.testing.store_builder import StoreBuilder


@pytest.fixture
def bench(bench: StoreBuilder) -> StoreBuilder:
    """Two runs with an artifact, a log and a key."""
    digest, folder = "a" * 64, bench.store.folder
    (folder / "artifacts" / digest).mkdir(parents=True)
    model = folder / "artifacts" / digest / "model.onnx"
    model.write_bytes(b"model")
    sha = "9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4"  # of b"model"
    manifest = {"files": {"model.onnx": {"bytes": 5, "sha256": sha}}}
    (model.parent / "artifact.json").write_text(json.dumps(manifest))
    artifact = {"digest": digest, "format": "graph"}
    bench.run({"y": [1.0]}, {"relu": [7.0]}, artifact=artifact)
    bench.run({"y": [2.0]}, {"relu": [8.0]}, artifact=artifact, backend="tf")
    (folder / "logs" / "run-0.txt").write_text("said")
    bench.store.write_key("c" * 64, "run-0")
    return bench


def content(store: Store) -> dict[str, bytes]:
    """All files by their names within a store, but for those that each store has of its own."""
    return {
        path.relative_to(store.folder).as_posix(): path.read_bytes()
        for path in store.folder.rglob("*")
        if path.is_file() and path.name not in ("index.sqlite", "lock")
    }


def by_merging(source: Store, target: Store, tmp_path: Path) -> Any:
    return merge(target, source)


def by_a_file(source: Store, target: Store, tmp_path: Path) -> Any:
    bundle = tmp_path / "runs.zip"
    bundle.unlink(missing_ok=True)
    export_bundle(source, read_runs(source), bundle)
    return import_bundle(target, bundle)


WAYS = [by_merging, by_a_file]


@pytest.mark.parametrize("way", WAYS)
def test_a_store_arrives_file_by_file(
    bench: StoreBuilder, tmp_path: Path, way: Callable[..., Any]
) -> None:
    there = Store(tmp_path / "there")
    result = way(bench.store, there, tmp_path)
    assert (result.added, result.present, result.refused) == (["run-0", "run-1"], [], [])
    assert content(there) == content(bench.store)
    assert check_store(there).faults == []
    again = way(bench.store, there, tmp_path)
    assert (again.added, again.present, again.refused) == ([], ["run-0", "run-1"], [])


@pytest.mark.parametrize("way", WAYS)
def test_other_runs_under_the_same_id_are_refused_and_the_own_ones_stay(
    bench: StoreBuilder, tmp_path: Path, way: Callable[..., Any]
) -> None:
    other = StoreBuilder(tmp_path / "other")
    other.run({"y": [5.0]})
    before = content(other.store)
    result = way(bench.store, other.store, tmp_path)
    assert result.added == ["run-1"]
    assert "is not the run that" in result.refused[0]
    assert before.items() <= content(other.store).items()


@pytest.mark.parametrize("way", WAYS)
def test_a_pruned_run_gets_its_tensors_back(
    bench: StoreBuilder, tmp_path: Path, way: Callable[..., Any]
) -> None:
    there = Store(tmp_path / "there")
    merge(there, bench.store)
    prune(there, PruneRequest(keep="none"))
    assert way(there, bench.store, tmp_path).present == ["run-0", "run-1"]  # the fuller one stays
    assert way(bench.store, there, tmp_path).added == ["run-0", "run-1"]
    assert content(there) == content(bench.store)
    assert compare(there).to_dict() == compare(bench.store).to_dict()


def test_a_damaged_tensor_is_left_behind_with_its_run(bench: StoreBuilder, tmp_path: Path) -> None:
    record = next(bench.store.runs())
    path = bench.store.object_path(record["results"][0]["taps"][0]["digest"])
    path.write_bytes(b"evil")
    there = Store(tmp_path / "there")
    result = merge(there, bench.store)
    assert result.added == ["run-1"]
    assert result.refused == [
        f"{path} does not hold the bytes that its name promises: delete it and run again."
    ]
    assert [each["id"] for each in there.runs()] == ["run-1"]
    with pytest.raises(StoreError, match="does not hold the bytes"):
        export_bundle(bench.store, read_runs(bench.store), tmp_path / "runs.zip")
    assert not list(tmp_path.glob("runs.zip*"))


def test_a_lost_tensor_is_refused_but_one_that_was_pruned_is_not(
    bench: StoreBuilder, tmp_path: Path
) -> None:
    prune(bench.store, PruneRequest(keep="none"))
    assert merge(Store(tmp_path / "pruned"), bench.store).added == ["run-0", "run-1"]
    bench.run({"y": [3.0]}, {"relu": [9.0]})
    record = list(bench.store.runs())[-1]
    bench.store.object_path(record["results"][0]["taps"][0]["digest"]).unlink()
    with pytest.raises(MissingObjectError):
        export_bundle(bench.store, read_runs(bench.store), tmp_path / "runs.zip")


def test_a_changed_artifact_is_not_taken(bench: StoreBuilder, tmp_path: Path) -> None:
    (bench.store.folder / "artifacts" / ("a" * 64) / "model.onnx").write_bytes(b"other")
    there = Store(tmp_path / "there")
    assert merge(there, bench.store).added == ["run-0", "run-1"]
    assert not (there.folder / "artifacts" / ("a" * 64)).exists()


def test_a_store_is_not_merged_into_itself(bench: StoreBuilder, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(bench.store.folder)
    for name in (bench.store.folder, tmp_path / "link"):
        with pytest.raises(UsageError, match="is the store itself"):
            merge(bench.store, Store(name))


def test_a_file_that_is_there_is_not_written_over(bench: StoreBuilder, tmp_path: Path) -> None:
    path = tmp_path / "mine.zip"
    path.write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        export_bundle(bench.store, read_runs(bench.store), path)
    assert path.read_text() == "mine"


def test_the_same_runs_make_the_same_file(bench: StoreBuilder, tmp_path: Path) -> None:
    one, other = tmp_path / "one.zip", tmp_path / "other.zip"
    for path in (one, other):
        export_bundle(bench.store, read_runs(bench.store), path)
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        "../evil", "/etc/passwd", "runs/../../evil.json", "workers/tf.pyz", "runs/.hidden.json",
        "objects/ab/../../../evil", "artifacts/x/model.onnx", "index.sqlite", "runs/a\nb.json",
        "artifacts/" + "a" * 64 + "/../../../evil", "objects/" + "a" * 62, "C:\\evil",
        "inputs/samples.npy",
    ],
)  # fmt: skip
def test_names_that_no_bundle_has_are_refused_and_nothing_is_taken(
    bench: StoreBuilder, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "runs.zip"
    export_bundle(bench.store, read_runs(bench.store), path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, "x")
    there = Store(tmp_path / "there")
    with pytest.raises(UsageError, match="which no 'xbackend store export' writes"):
        import_bundle(there, path)
    assert content(there) == {}
    here = {bench.store.folder.name, "runs.zip", "there"}
    assert {each.name for each in tmp_path.iterdir()} == here


def test_what_no_record_means_is_not_unpacked(bench: StoreBuilder, tmp_path: Path) -> None:
    path = tmp_path / "runs.zip"
    export_bundle(bench.store, read_runs(bench.store), path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("objects/ab/" + "c" * 62, "x")
        archive.writestr("artifacts/" + "d" * 64 + "/model.onnx", "x")
    there = Store(tmp_path / "there")
    import_bundle(there, path)
    assert content(there) == content(bench.store)


def test_a_bomb_is_refused_by_the_sizes_that_it_tells(bench: StoreBuilder, tmp_path: Path) -> None:
    path = tmp_path / "runs.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("runs/a.json", b"{}")
        archive.writestr("keys/" + "a" * 64, bytes(1 << 20))
    with pytest.raises(UsageError, match="1048576 bytes, more than any has"):
        import_bundle(Store(tmp_path / "there"), path)


def test_a_bundle_that_needs_more_than_the_disk_has_is_refused(
    bench: StoreBuilder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runs.zip"
    export_bundle(bench.store, read_runs(bench.store), path)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 100}))
    with pytest.raises(StoreError, match="has 100 free"):
        import_bundle(Store(tmp_path / "there"), path)


def damaged(data: bytes) -> bytes:
    place = data.index(b"PK\x03\x04", 100) - 8
    return data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (lambda data: b"no zip", "is no ZIP file of"),
        (lambda data: data[: len(data) // 2], "is no ZIP file of"),
        (damaged, "is no ZIP file of"),
        (lambda data: b"", "is no ZIP file of"),
    ],
)
def test_damaged_files_are_refused_in_a_sentence(
    bench: StoreBuilder, tmp_path: Path, data: Callable[[bytes], bytes], said: str
) -> None:
    path = tmp_path / "runs.zip"
    export_bundle(bench.store, read_runs(bench.store), path)
    path.write_bytes(data(path.read_bytes()))
    with pytest.raises(UsageError, match=said):
        import_bundle(Store(tmp_path / "there"), path)
    assert content(Store(tmp_path / "there")) == {}


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no file"):
        import_bundle(Store(tmp_path / "there"), tmp_path / "nothing.zip")
    with pytest.raises(UsageError, match="is a folder. For a store, use 'xbackend store merge'"):
        import_bundle(Store(tmp_path / "there"), tmp_path)
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(UsageError, match="holds no runs"):
        import_bundle(Store(tmp_path / "there"), tmp_path / "empty.zip")
