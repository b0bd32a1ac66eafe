"""The store: whole files or none, bytes that match their names, many writers."""

import itertools
import json
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from xbackend.errors import StoreError, UsageError
from xbackend.store.store import Store, open_store
from xbackend.worker import objects
from xbackend.worker.objects import write_object, write_tensor
from xbackend.worker.tensor import Tensor, from_numpy

SHA256_OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"""FIPS 180-2, appendix B.1."""


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store")
    store.create()
    return store


def test_an_object_lies_under_its_sha256(store):
    assert write_object(str(store.folder), b"abc") == SHA256_OF_ABC
    path = store.folder / "objects" / SHA256_OF_ABC[:2] / SHA256_OF_ABC[2:]
    assert path.read_bytes() == b"abc"


def test_a_tensor_is_little_endian_whatever_its_byte_order(store):
    row = write_tensor(str(store.folder), from_numpy(np.array([1, 2], ">u2")))
    assert store.read_object(row["digest"]) == b"\x01\x00\x02\x00"


def test_a_tensor_comes_back_with_dtype_shape_and_bits(store):
    row = write_tensor(str(store.folder), Tensor("bfloat16", np.array([[0x3F80]], np.uint16)))
    back = store.read_tensor(row)
    assert (back.dtype, back.shape, back.array[0, 0]) == ("bfloat16", (1, 1), 0x3F80)


def test_damaged_bytes_are_an_error_that_names_the_file(store):
    digest = write_object(str(store.folder), b"abc")
    path = store.object_path(digest)
    path.write_bytes(b"abd")
    with pytest.raises(StoreError, match=str(path)):
        store.read_object(digest)
    with pytest.raises(StoreError, match=str(path)):
        store.verify_object(digest)


def test_missing_bytes_are_an_error_that_names_the_file(store):
    with pytest.raises(StoreError, match="ef"):
        store.read_object("ab" + "ef" * 31)


def test_a_failed_write_leaves_nothing_behind(store, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        write_object(str(store.folder), b"abc")
    assert [p for p in (store.folder / "objects").rglob("*") if p.is_file()] == []


def test_runs_come_back_in_the_order_of_their_ids(store):
    for name in ("b", "a", "c"):
        store.write_run({"id": name, "schema_version": 1})
    assert [record["id"] for record in store.runs()] == ["a", "b", "c"]


def test_a_store_that_is_not_there_is_said_in_one_sentence(tmp_path):
    with pytest.raises(UsageError, match="Make one with 'xbackend run'"):
        list(Store(tmp_path / "none").runs())


@pytest.mark.parametrize("text", ["{", "[]", '{"schema_version": 2}'])
def test_a_record_that_is_not_sound_is_an_error_that_names_the_file(store, text):
    (store.folder / "runs" / "x.json").write_text(text)
    with pytest.raises(StoreError, match="x.json"):
        list(store.runs())


def test_a_store_where_nothing_can_be_written_is_said_in_one_sentence(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    for folder in (blocked, blocked / "store"):
        with pytest.raises(UsageError, match="is a file or lies beneath one. Name a folder"):
            Store(folder).create()
    with pytest.raises(StoreError, match="name another store with --store"):
        Store(Path("/proc/store")).create()


def test_the_store_is_named_by_argument_then_variable_then_default(monkeypatch):
    monkeypatch.setenv("XBACKEND_STORE", "from-variable")
    assert str(open_store("given").folder) == "given"
    assert str(open_store(None).folder) == "from-variable"
    monkeypatch.delenv("XBACKEND_STORE")
    assert str(open_store(None).folder) == ".xbackend"


def _write_many(folder, who):
    store = Store(folder)
    for index in range(50):
        digest = write_object(str(folder), f"shared {index}".encode())
        store.write_run({"id": f"{who}-{index}", "schema_version": 1, "digest": digest})


def test_many_processes_write_at_once_and_nothing_is_lost(store):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_many, args=(store.folder, who)) for who in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    records = list(store.runs())
    assert len(records) == 200
    assert len({record["digest"] for record in records}) == 50
    for record in records:
        assert store.read_object(record["digest"]).startswith(b"shared ")
    assert not list(store.folder.rglob("*.tmp"))
    assert json.loads((store.folder / "runs" / "0-0.json").read_text())["id"] == "0-0"


def test_writers_with_the_same_process_number_do_not_meet(tmp_path, monkeypatch):
    path, rename = str(tmp_path / "file"), os.replace

    def write(data):
        monkeypatch.setattr(objects, "_serial", itertools.count())
        objects.write_atomic(path, data)

    def meanwhile(temporary, target):
        monkeypatch.setattr(os, "replace", rename)
        write(b"the other's")
        rename(temporary, target)

    monkeypatch.setattr(os, "getpid", lambda: 1)
    monkeypatch.setattr(os, "replace", meanwhile)
    write(b"one's")
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("file", b"one's")]
