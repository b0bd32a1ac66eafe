"""A power cut at every moment: what the disk did not have to keep is gone, and the store is sound.

A run is made in a process that writes down what it does to the store's files and what it syncs. For
each moment the store is put together as a disk may leave it, and an independent reader looks.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

RECORDER = '''
import base64, builtins, json, os, shutil, sys
store, log_file = sys.argv[1:3]
log, known = [], {}

def within(path):
    path = os.path.abspath(path)
    return path == store or path.startswith(store + os.sep)

def look():
    """Write down what lies there that nobody told of: what workers and converters have written."""
    for place, folders, names in os.walk(store):
        for name in folders:
            path = os.path.join(place, name)
            if path not in known:
                known[path] = None
                log.append(["mkdir", path])
        for name in names:
            path = os.path.join(place, name)
            try:
                seen = os.lstat(path)
                stamp = (seen.st_size, seen.st_mtime_ns, seen.st_ino)
                if known.get(path) != stamp:
                    data = open_(path, "rb").read()
                    known[path] = stamp
                    log.append(["write", path, base64.b64encode(data).decode()])
            except OSError:
                pass
    for path in [path for path in known if not os.path.lexists(path)]:
        del known[path]
        log.append(["unlink", path])

open_, replace, rename, fsync = builtins.open, os.replace, os.rename, os.fsync

def moved(real):
    def move(a, b, **more):
        if not within(b):
            return real(a, b, **more)
        look()
        real(a, b, **more)
        log.append(["rename", os.path.abspath(a), os.path.abspath(b)])
        for path in list(known):
            if path == os.path.abspath(a) or path.startswith(os.path.abspath(a) + os.sep):
                known[os.path.abspath(b) + path[len(os.path.abspath(a)):]] = known.pop(path)
    return move

def synced(descriptor):
    path = os.readlink(f"/proc/self/fd/{descriptor}")
    look()
    fsync(descriptor)
    if within(path):
        log.append(["sync", path])

os.replace, os.rename, os.fsync = moved(replace), moved(rename), synced
from xbackend.store.store import Store
write_run = Store.write_run
def told(self, record):
    write_run(self, record)
    log.append(["told", record["id"]])
Store.write_run = told
from xbackend.commands.main import main
status = main(sys.argv[3:])
look()
with open_(log_file, "w") as stream:
    json.dump(log, stream)
sys.exit(status)
'''

Log = list[list[str]]


@dataclass
class Disk:
    """A file system of which a power cut leaves what was synced, and of the rest what it likes."""

    names: dict[str, int | None] = field(default_factory=dict)
    """Path to the number of its file, None for a folder: as the programs see it."""
    kept: dict[str, int | None] = field(default_factory=dict)
    """The same as the disk has it for sure."""
    data: dict[int, bytes] = field(default_factory=dict)
    synced: dict[int, bytes] = field(default_factory=dict)

    def do(self, step: list[str]) -> None:
        """Take in one step."""
        what, path, *more = step
        if what == "mkdir":
            self.names[path] = None
        elif what == "write":
            number = len(self.data)
            self.names[path], self.data[number] = number, base64.b64decode(more[0])
        elif what == "unlink":
            self.names.pop(path, None)
        elif what == "rename":
            self._move(path, more[0])
        elif what == "sync":
            self._sync(path)

    def _move(self, old: str, new: str) -> None:
        self.names.pop(new, None)
        for path in [p for p in self.names if p == old or p.startswith(f"{old}/")]:
            self.names[new + path[len(old) :]] = self.names.pop(path)
        for path in [p for p in self.kept if p.startswith(f"{old}/")]:
            self.kept[new + path[len(old) :]] = self.kept[path]  # wherever the folder is found

    def _sync(self, path: str) -> None:
        number = self.names.get(path)
        if number is not None:
            self.synced[number] = self.data[number]
            return
        here = {p for p in {*self.names, *self.kept} if p.rpartition("/")[0] == path}
        for each in here:
            if each in self.names:
                self.kept[each] = self.names[each]
            else:
                self.kept.pop(each, None)

    def after_a_cut(self, chance: random.Random, fate: str) -> dict[str, bytes | None]:
        """Return the files that a disk may have: none of what it need not, or all names and more.

        `least` keeps what was synced; `names` has all names, with nothing in files that were not
        synced, as after a rename that overtook the data; `mixed` has each of either kind.
        """
        found: dict[str, bytes | None] = {}
        for path in sorted({*self.names, *self.kept}):
            sure = path in self.kept and self.kept[path] == self.names.get(path, -1)
            there = fate == "names" or (fate == "mixed" and chance.random() < 0.5)
            entry = self.names if (there and path in self.names) or sure else self.kept
            above = path.rpartition("/")[0]
            if path not in entry or (above not in found and above in {*self.names, *self.kept}):
                continue
            number = entry[path]
            found[path] = None if number is None else self._content(number, chance, fate)
        return found

    def _content(self, number: int, chance: random.Random, fate: str) -> bytes:
        data = self.data[number]
        if number in self.synced:
            return data
        if fate == "names":
            return b""
        return chance.choice((b"", data[: len(data) // 2], bytes(len(data)), data))


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory, fakes: Path) -> tuple[Path, Log]:
    """The store of two runs, and all that was done to its files on the way."""
    import os

    import onnx
    from onnx import TensorProto, helper

    folder = tmp_path_factory.mktemp("cut")
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in "xy"]
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Identity", ["a"], ["y"])]
    opsets = [helper.make_opsetid("", 17)]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), folder / "m.onnx")
    words = ["run", "m.onnx", "--backends", "good,bad", "--repeats", "2", "--store", "store"]
    command = [sys.executable, "-c", RECORDER, str(folder / "store"), str(folder / "log"), *words]
    environment = {**os.environ, "PYTHONPATH": str(fakes), "XDG_CACHE_HOME": str(folder / "cache")}
    environment["XBACKEND_SYNC"] = "on"
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    return folder / "store", json.loads((folder / "log").read_text())


def cuts(log: Log) -> Iterator[tuple[Disk, set[str]]]:
    """Yield the disk before and after each step, and the runs of which a user was told."""
    disk, told = Disk(), set[str]()
    for step in log:
        if step[0] == "told":
            told.add(step[1])
        else:
            disk.do(step)
        yield disk, told


SIZES = {"float32": 4}


def look_at_runs(files: dict[str, bytes | None], store: str) -> set[str]:
    """Read the records as JSON, their objects against SHA-256: no code of the project."""
    found = set()
    for path, data in files.items():
        if not (path.startswith(f"{store}/runs/") and path.endswith(".json")):
            continue
        record = json.loads(data or b"")
        for result in record["results"]:
            for row in (*result["inputs"], *result["outputs"], *result["taps"]):
                digest = row["digest"]
                content = files[f"{store}/objects/{digest[:2]}/{digest[2:]}"]
                assert content is not None
                assert hashlib.sha256(content).hexdigest() == digest, (path, row["name"])
                assert len(content) == SIZES[row["dtype"]] * math.prod(row["shape"])
        found.add(record["id"])
    return found


FATES = ("least", "names", "mixed", "mixed", "mixed")


def test_whatever_a_power_cut_leaves_every_record_is_whole_with_its_objects(
    history: tuple[Path, Log],
) -> None:
    store, log = history
    steps = {step[0] for step in log}
    assert {"write", "rename", "sync", "told"} <= steps
    chance, seen = random.Random(3), 0
    for disk, told in cuts(log):
        for fate in FATES:
            found = look_at_runs(disk.after_a_cut(chance, fate), str(store))
            assert told <= found, (fate, told - found)
            seen += 1
    assert len(told) == 4
    assert seen > 300


def put(files: dict[str, bytes | None], store: Path) -> None:
    """Make a store of what a disk had."""
    shutil.rmtree(store)
    for path, data in files.items():
        place = Path(path)
        if data is None:
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.85, 1.0])
def test_after_a_power_cut_the_same_command_works_and_what_it_adds_is_sound(
    history: tuple[Path, Log], xbackend: Any, share: float
) -> None:
    store, log = history
    everything = list(log)
    chance = random.Random(str(share))
    disk = Disk()
    for step in everything[: int(share * len(everything))]:
        if step[0] != "told":
            disk.do(step)
    fate = chance.choice(("names", "mixed"))
    put(disk.after_a_cut(chance, fate), store)
    words = ["--backends", "good,bad", "--repeats", "2", "--store", store]
    done = xbackend("run", store.parent / "m.onnx", *words)
    assert done.status == 0, done
    files = {str(p): p.read_bytes() for p in store.rglob("*") if p.is_file()}
    assert len(look_at_runs(files, str(store))) >= 4
    assert xbackend("compare", "--store", store).status == 0
