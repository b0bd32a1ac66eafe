"""A store from a stranger is data: what is not what its name says is named, and never followed."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from xbackend.errors import StoreError
from xbackend.store import index_file
from xbackend.store.check import check_store
from xbackend.store.files import digest_of, is_digest, open_plain
from xbackend.store.index import FILE, read_runs
from xbackend.store.records import read_run
from xbackend.store.store import Store
from xbackend.testing.store_builder import StoreBuilder

SHA256_OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"""FIPS 180-2, appendix B.1."""


@pytest.fixture
def filled(bench: StoreBuilder) -> Store:
    """A store with three runs in two classes."""
    for value in (1.0, 2.0, 1.0):
        bench.run({"y": [value]})
    return bench.store


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    path.mkdir()


def hole(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(1 << 40)


SPOILERS = [pipe, device, folder, hole]


@pytest.mark.parametrize("spoil", SPOILERS)
def test_what_is_no_plain_file_is_refused_by_name_and_at_once(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    path = tmp_path / "file"
    spoil(path)
    started = time.monotonic()
    with pytest.raises(StoreError, match=str(path)):
        open_plain(path, tmp_path)
    assert time.monotonic() - started < 5


def test_a_link_out_of_the_store_is_refused_by_name(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("secret")
    root = tmp_path / "store"
    root.mkdir()
    (root / "runs").symlink_to(outside)
    with pytest.raises(StoreError, match=r"runs leads out of the store"):
        open_plain(root / "runs" / "file", root)


def test_nothing_is_written_through_a_link_out_of_the_store(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    store = Store(tmp_path / "store")
    store.create()
    (store.folder / "keys").symlink_to(outside)
    with pytest.raises(StoreError, match="keys leads out of the store"):
        store.write_key("0" * 64, "run-0")
    assert not list(outside.iterdir())


def test_a_file_is_read_once_in_a_process_unless_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert digest_of(path) == SHA256_OF_ABC
    seen = path.stat()
    path.write_bytes(b"abd")
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert digest_of(path) != SHA256_OF_ABC


@pytest.mark.parametrize("text", ["../../dev/zero", "0" * 63, "0" * 65, "G" * 64, "", None, 3])
def test_what_is_no_sha256_is_no_part_of_a_path(tmp_path: Path, text: str) -> None:
    assert not is_digest(text)
    with pytest.raises(StoreError, match="no SHA-256"):
        Store(tmp_path).object_path(text)


@pytest.mark.parametrize("spoil", SPOILERS)
def test_a_record_that_is_no_plain_file_is_named_and_the_others_are_read(
    filled: Store, spoil: Callable[[Path], None]
) -> None:
    path = filled.folder / "runs" / "run-9.json"
    spoil(path)
    damaged: list[StoreError] = []
    assert [run.id for run in read_runs(filled, damaged)] == ["run-0", "run-1", "run-2"]
    assert [str(path) in str(error) for error in damaged] == [True]


def test_a_record_under_anothers_name_is_refused(filled: Store) -> None:
    text = (filled.folder / "runs" / "run-0.json").read_text()
    path = filled.folder / "runs" / "twin.json"
    path.write_text(text)
    with pytest.raises(StoreError, match="not the file's name"):
        read_run(filled.read_run(path), path)


def test_a_record_that_is_nested_without_end_is_one_sentence(filled: Store) -> None:
    path = filled.folder / "runs" / "deep.json"
    path.write_text('{"schema_version":1,"id":' + "[" * 200_000 + "]" * 200_000 + "}")
    with pytest.raises(StoreError, match=r"deep\.json is not a sound record of a run: nested"):
        filled.read_run(path)


def test_an_object_of_another_size_is_not_read(filled: Store) -> None:
    (run, *_) = read_runs(filled)
    row = run.results[0]["outputs"][0]
    path = filled.object_path(row["digest"])
    path.unlink()
    hole(path)
    started = time.monotonic()
    with pytest.raises(StoreError, match=str(path)):
        filled.read_tensor(row)
    assert time.monotonic() - started < 5


def add_trigger(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TRIGGER t BEFORE INSERT ON runs BEGIN DELETE FROM texts; END")


def make_view(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE texts")
        database.execute("CREATE VIEW texts AS SELECT x'00' AS name, 'text' AS text")


def endless(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE texts")
        database.execute(
            "CREATE VIEW texts(name, text) AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT "
            "x + 1 FROM c) SELECT x, x FROM c"
        )


def blobs(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("UPDATE runs SET row = CAST(row AS BLOB), stamp = x'ff'")


def no_utf8(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("UPDATE texts SET text = CAST(x'ff' AS TEXT)")


def journal(path: Path) -> None:
    path.with_name(f"{path.name}-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" * 64)


def linked(path: Path) -> None:
    other = path.with_name("elsewhere.sqlite")
    path.rename(other)
    path.symlink_to(other.name)


def twice(path: Path) -> None:
    os.link(path, path.with_name("elsewhere.sqlite"))


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "spoil", [add_trigger, make_view, endless, blobs, no_utf8, journal, linked, twice, piped]
)
def test_a_strangers_index_is_made_anew(
    filled: Store, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None]
) -> None:
    monkeypatch.setattr("xbackend.store.index.YOUNG", 0)
    monkeypatch.setattr(index_file, "READ_LIMIT", 2.0)
    expected = [run.row for run in read_runs(filled)]
    path = filled.folder / FILE
    spoil(path)
    started = time.monotonic()
    assert [run.row for run in read_runs(filled)] == expected
    assert time.monotonic() - started < 20
    assert stat.S_ISREG(path.lstat().st_mode)
    assert path.stat().st_nlink == 1
    with sqlite3.connect(path) as database:
        kinds = {kind for (kind,) in database.execute("SELECT type FROM sqlite_master")}
        assert database.execute("SELECT count(*) FROM runs").fetchone() == (3,)
    assert kinds <= {"table", "index"}


def test_a_file_that_a_link_of_the_indexs_name_leads_to_is_not_touched(
    filled: Store, tmp_path: Path
) -> None:
    target = tmp_path / "mine"
    target.write_bytes(b"of value")
    (filled.folder / FILE).symlink_to(target)
    assert len(read_runs(filled)) == 3
    assert target.read_bytes() == b"of value"


def test_a_sound_store_has_no_faults(filled: Store) -> None:
    found = check_store(filled)
    assert found.faults == []
    assert found.counts == {"objects": 2, "runs": 3, "artifacts": 0, "inputs": 0}


@pytest.mark.parametrize(
    ("place", "data", "words"),
    [
        ("objects/ab/" + "c" * 62, b"abc", "does not hold the bytes that its name promises"),
        ("inputs/" + "0" * 64 + ".npy", b"abc", "does not hold the bytes that its name promises"),
        ("runs/x.json", b"{", "is not a sound record"),
        ("artifacts/" + "0" * 64 + "/model.onnx", b"abc", "artifact.json"),
        ("artifacts/made/key", b"../../x", "does not hold a name"),
        ("keys/key", b"../../x", "does not hold a name"),
        ("workers/ort-0.pyz", b"abc", "no longer used"),
    ],
)
def test_the_check_names_what_is_not_what_its_name_says(
    filled: Store, place: str, data: bytes, words: str
) -> None:
    path = filled.folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    (fault,) = check_store(filled).faults
    assert words in fault
    assert str(filled.folder / place.partition("/")[0]) in fault


def test_the_check_names_pipes_devices_and_links_and_ends(filled: Store) -> None:
    pipe(filled.folder / "objects" / "pipe")
    device(filled.folder / "runs" / "z.json")
    device(filled.folder / "inputs" / f"{'0' * 64}.npy")
    faults = "\n".join(check_store(filled).faults)
    for name in ("objects/pipe", "runs/z.json", "inputs/" + "0" * 64):
        assert name in faults


def test_the_check_tells_of_objects_that_are_gone(filled: Store) -> None:
    record = json.loads((filled.folder / "runs" / "run-1.json").read_text())
    filled.object_path(record["results"][0]["outputs"][0]["digest"]).unlink()
    (fault,) = check_store(filled).faults
    assert "run-1.json tells of 1 tensors whose objects are gone or damaged" in fault


def test_an_index_under_mutation_changes_nothing_that_is_read(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xbackend.store.index.YOUNG", 0)
    expected = [(run.row, list(run.results)) for run in read_runs(filled)]
    path = filled.folder / FILE
    sound = path.read_bytes()
    chance = random.Random(3)
    for _ in range(400):
        data = bytearray(sound)
        for _ in range(chance.randint(1, 6)):
            data[chance.randrange(len(data) if chance.random() < 0.6 else 400)] ^= (
                1 << chance.randrange(8)
            )
        path.write_bytes(data)
        assert [(run.row, list(run.results)) for run in read_runs(filled)] == expected
