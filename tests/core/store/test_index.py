"""The index of a store: what it gives is what the records say, whatever becomes of it."""

from __future__ import annotations

import json
import random
import sqlite3
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from xbackend.errors import StoreError
from xbackend.store import index, index_file
from xbackend.store.index import FILE, read_runs
from xbackend.store.records import Run, read_run
from xbackend.store.store import Store
from xbackend.testing.store_builder import StoreBuilder

Record = dict[str, Any]
Told = list[tuple[Record, list[Record], list[Record]]]


@pytest.fixture(autouse=True)
def _no_record_is_young(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "YOUNG", 0)


@pytest.fixture
def filled(bench: StoreBuilder) -> StoreBuilder:
    """Thirty runs of two samples, some of which failed, of two graphs."""
    chance = random.Random(0)
    other = [{"tap": "conv", "layer": 0, "operator": "Conv", "inputs": None}]
    for number in range(30):
        results = [
            bench.result(
                name, {"y": [float(chance.randrange(3))]}, {"conv": [float(chance.randrange(5))]}
            )
            for name in ("a", "b")
        ]
        more: Record = {"layers": other} if number % 7 == 0 else {}
        if number % 11 == 0:
            error = {"stage": "prepare", "symptom": "SIGSEGV", "message": "It died."}
            more = {"status": "failed", "error": error}
        bench.write(results=results, taps_neutral=number % 3 == 0, **more)
    return bench


def told(runs: list[Run]) -> Told:
    return [(run.row, list(run.layers), list(run.results)) for run in runs]


def from_records(store: Store) -> Told:
    return told([read_run(record) for record in store.runs()])


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the records that were read since."""
    names: list[str] = []
    read = Store.read_run

    def note(store: Store, path: Path) -> Record:
        names.append(path.stem)
        return read(store, path)

    monkeypatch.setattr(Store, "read_run", note)
    return names


def test_the_index_gives_what_the_records_say(filled: StoreBuilder) -> None:
    expected = from_records(filled.store)
    assert told(read_runs(filled.store)) == expected
    assert told(read_runs(filled.store)) == expected
    assert (filled.store.folder / FILE).is_file()


def test_no_record_is_read_twice(filled: StoreBuilder, opened: list[str]) -> None:
    read_runs(filled.store)
    assert len(opened) == 30
    read_runs(filled.store)
    assert len(opened) == 30


def test_new_and_changed_records_are_read_and_gone_ones_forgotten(
    filled: StoreBuilder, opened: list[str]
) -> None:
    read_runs(filled.store)
    del opened[:]
    path = filled.store.folder / "runs" / "run-3.json"
    record = json.loads(path.read_text())
    record["platform"] = "elsewhere"
    filled.store.write_run(record)
    (filled.store.folder / "runs" / "run-4.json").unlink()
    new = filled.run({"y": [7.0]})
    runs = read_runs(filled.store)
    assert sorted(opened) == ["run-3", new]
    assert {run.id: run.row["platform"] for run in runs}["run-3"] == "elsewhere"
    assert "run-4" not in {run.id for run in runs}
    assert told(runs) == from_records(filled.store)
    with sqlite3.connect(filled.store.folder / FILE) as database:
        files = {name for (name,) in database.execute("SELECT file FROM runs")}
    assert files == {f"{run.id}.json" for run in runs}


def test_a_record_that_changed_a_moment_ago_is_read_again(
    filled: StoreBuilder, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two changes within one tick of the clock have one time."""
    monkeypatch.setattr(index, "YOUNG", 3600 * 10**9)
    read_runs(filled.store)
    read_runs(filled.store)
    assert len(opened) == 60


def test_a_damaged_record_is_an_error_with_and_without_index(filled: StoreBuilder) -> None:
    read_runs(filled.store)
    (filled.store.folder / "runs" / "run-5.json").write_text("{")
    with pytest.raises(StoreError, match=r"run-5\.json is not a sound record"):
        read_runs(filled.store)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scribble(path: Path) -> None:
    path.write_bytes(b"no database at all, but long enough to be one " * 50)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def execute(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as database:
        database.execute(statement)


def swap_digest(path: Path) -> None:
    execute(path, "UPDATE runs SET digests = zeroblob(length(digests)) WHERE file LIKE '%-8.json'")


def swap_text(path: Path) -> None:
    execute(path, "UPDATE texts SET text = replace(text, 'conv', 'vnoc')")


def lose_texts(path: Path) -> None:
    execute(path, "DELETE FROM texts")


def other_columns(path: Path) -> None:
    execute(path, "ALTER TABLE runs RENAME COLUMN digests TO hashes")


def other_version(path: Path) -> None:
    execute(path, "UPDATE meta SET value = '0'")


@pytest.mark.parametrize(
    "spoil",
    [cut, scribble, empty, swap_digest, swap_text, lose_texts, other_columns, other_version],
)
def test_a_damaged_or_foreign_index_is_made_anew(
    filled: StoreBuilder, opened: list[str], spoil: Callable[[Path], None]
) -> None:
    expected = from_records(filled.store)
    read_runs(filled.store)
    spoil(filled.store.folder / FILE)
    assert told(read_runs(filled.store)) == expected
    del opened[:]
    assert told(read_runs(filled.store)) == expected
    assert opened == []


def test_where_no_index_can_be_written_records_are_read(filled: StoreBuilder) -> None:
    (filled.store.folder / FILE).mkdir()
    assert told(read_runs(filled.store)) == from_records(filled.store)


def test_without_sqlite_records_are_read(
    filled: StoreBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sqlite3", None)
    assert told(read_runs(filled.store)) == from_records(filled.store)
    assert not (filled.store.folder / FILE).exists()


def test_an_index_that_another_process_holds_is_done_without(
    filled: StoreBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_runs(filled.store)
    new = filled.run({"y": [7.0]})
    monkeypatch.setattr(index_file, "PATIENCE", 0.01)
    database = sqlite3.connect(filled.store.folder / FILE, isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    assert [run.id for run in read_runs(filled.store)][-1] == sorted([new, "run-9"])[-1]
    database.execute("ROLLBACK")
    database.close()
    assert told(read_runs(filled.store)) == from_records(filled.store)


def test_a_record_with_a_digest_that_is_none_is_named_and_the_others_are_read(
    filled: StoreBuilder,
) -> None:
    row = {"name": "y", "dtype": "float32", "shape": [1], "digest": "../../dev/zero"}
    name = filled.write(results=[{"input": "a", "outputs": [row], "taps": []}])
    for _ in range(2):
        damaged: list[StoreError] = []
        assert len(read_runs(filled.store, damaged)) == 30
        (error,) = damaged
        assert f"{name}.json is not a sound record" in str(error)
        assert "results.0.outputs.0.digest" in str(error)


def write_and_read(folder: str, number: int) -> Told:
    store = Store(Path(folder))
    record = json.loads((store.folder / "runs" / "run-1.json").read_text())
    for count in range(5):
        store.write_run({**record, "id": f"more-{number}-{count}"})
        read_runs(store)
    return told(read_runs(store))


def test_any_number_of_processes_may_read_and_write_at_once(filled: StoreBuilder) -> None:
    with ProcessPoolExecutor(3) as pool:
        seen = list(pool.map(write_and_read, [str(filled.store.folder)] * 3, range(3)))
    everything = from_records(filled.store)
    assert len(everything) == 45
    assert told(read_runs(filled.store)) == everything
    assert all(row in everything for each in seen for row in each)
