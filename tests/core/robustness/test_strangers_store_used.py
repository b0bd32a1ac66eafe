"""Commands on a store that another has had in hand: nothing of it is started, nothing believed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xbackend.diagnosis.source_trust import trusted_source
from xbackend.errors import UsageError
from xbackend.execution.execute import ExecutionContext
from xbackend.execution.progress import ProgressLines
from xbackend.platforms.trust import remember_function
from xbackend.store.store import Store

Record = dict[str, Any]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def kept(xbackend, sound: Path, store: Path, tmp_path: Path) -> Path:
    """A store with two runs that differ, of inputs that were given."""
    np.save(tmp_path / "x.npy", np.array([[-1, 0.5, 1, 2]], np.float32))
    done = xbackend(
        "run", sound, "--inputs", "x.npy", "--backends", "good,bad", "--set", "bad.does=up=y"
    )
    assert done.status == 0, done
    return store


def record_of(store: Path, backend: str) -> tuple[Path, Record]:
    for path in (store / "runs").iterdir():
        record: Record = json.loads(path.read_text())
        if record["backend"] == backend:
            return path, record
    raise AssertionError(backend)


def digests(store: Path) -> set[str]:
    texts = [path.read_text() for path in (store / "runs").iterdir()]
    rows = [json.loads(text) for text in texts]
    return {row["results"][0]["outputs"][0]["digest"] for row in rows if row["backend"] == "good"}


def test_no_program_lies_in_a_store(kept: Path) -> None:
    assert not list(kept.rglob("*.pyz"))


def test_workers_lie_in_a_folder_that_only_the_user_can_read(kept: Path, cache: Path) -> None:
    folder = cache / "xbackend" / "workers"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert folder.stat().st_uid == os.geteuid()
    for path in folder.glob("*.pyz"):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert digest.startswith(path.stem.rpartition("-")[2])


@pytest.fixture
def planted(xbackend, sound: Path, tmp_path: Path) -> Callable[..., Path]:
    """Run once with a cache of its own, and put a program in the place of the worker."""

    def plant(mode: int = 0o700) -> Path:
        folder = tmp_path / "cache" / "xbackend" / "workers"
        (path,) = folder.glob("good-*.pyz")
        path.write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
        folder.chmod(mode)
        return folder

    env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert xbackend("run", sound, "--backends", "good", env=env).status == 0
    return plant


@pytest.mark.parametrize("mode", [0o700, 0o777])
def test_a_worker_that_was_replaced_is_not_started(
    xbackend, sound: Path, tmp_path: Path, planted, mode: int
) -> None:
    planted(mode)
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = xbackend("run", sound, "--backends", "good", "--fresh", env=env)
    assert done.status == 0, done
    assert not (tmp_path / "ran").exists()


def test_a_folder_of_workers_that_is_a_link_is_not_used(
    xbackend, sound: Path, tmp_path: Path, planted
) -> None:
    folder = planted()
    elsewhere = tmp_path / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert xbackend("run", sound, "--backends", "good", "--fresh", env=env).status == 0
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["graph.json", "weights.bin", "model.onnx", "taps.onnx"])
def test_an_artifact_whose_bytes_were_changed_is_made_again(
    xbackend, kept: Path, sound: Path, name: str
) -> None:
    before = digests(kept)
    (path,) = (kept / "artifacts").rglob(name)
    data = path.read_bytes()
    path.write_bytes((data[:-1] + bytes([data[-1] ^ 1])) if data else b"more")
    done = xbackend("run", sound, "--inputs", "x.npy", "--backends", "good", "--fresh")
    assert done.status == 0, done
    assert f"{path} does not hold the bytes that its manifest promises" in done.err
    assert path.read_bytes() == data
    assert digests(kept) == before


def test_a_file_that_does_not_belong_to_an_artifact_makes_it_anew(
    xbackend, kept: Path, sound: Path
) -> None:
    (graph,) = (kept / "artifacts").rglob("graph.json")
    (graph.parent / "more.bin").write_bytes(b"x")
    done = xbackend("run", sound, "--inputs", "x.npy", "--backends", "good", "--fresh")
    assert "more.bin does not belong there" in done.err
    assert not (graph.parent / "more.bin").exists()


def test_an_artifact_of_an_older_xbackend_is_made_again(xbackend, kept: Path, sound: Path) -> None:
    (manifest,) = (kept / "artifacts").rglob("artifact.json")
    row = json.loads(manifest.read_text())
    assert row.pop("files")
    manifest.write_text(json.dumps(row))
    done = xbackend("run", sound, "--inputs", "x.npy", "--backends", "good", "--fresh")
    assert done.status == 0, done
    assert "does not tell the digests of its files" in done.err
    assert json.loads(manifest.read_text())["files"].keys() >= {"graph.json", "weights.bin"}


def test_what_artifacts_were_made_names_no_place_outside(
    xbackend, kept: Path, sound: Path, tmp_path: Path
) -> None:
    (graph,) = (kept / "artifacts").rglob("graph.json")
    outside = tmp_path / "outside"
    shutil.copytree(graph.parent, outside)
    for memo in (kept / "artifacts" / "made").iterdir():
        memo.write_text("../../outside")
    done = xbackend("run", sound, "--inputs", "x.npy", "--backends", "good", "--fresh")
    assert done.status == 0, done
    _, record = record_of(kept, "good")
    assert record["artifact"]["digest"] == graph.parent.name


def test_inputs_whose_bytes_were_changed_are_written_again(
    xbackend, kept: Path, sound: Path
) -> None:
    before = digests(kept)
    (path,) = (kept / "inputs").glob("*.npy")
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    done = xbackend("run", sound, "--inputs", "x.npy", "--backends", "good", "--fresh")
    assert done.status == 0, done
    assert path.read_bytes() == data
    assert digests(kept) == before


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    """A program that tells that it ran."""
    path = tmp_path / "evil"
    path.write_text(f'#!/bin/sh\ntouch {tmp_path}/ran\nexec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return path


def name_platform(store: Path, platform: str) -> None:
    path, record = record_of(store, "bad")
    path.write_text(json.dumps({**record, "platform": platform}))


ISOLATE = ("compare", "--isolate", "good,bad")


def test_a_program_that_only_a_record_names_is_not_started(
    xbackend, kept: Path, evil: Path, tmp_path: Path
) -> None:
    name_platform(kept, f"python:{evil}")
    done = xbackend(*ISOLATE)
    assert not (tmp_path / "ran").exists()
    assert "--trust-platforms" in done.out + done.err
    reduced = xbackend("reduce", "--runs", "good,bad", "--output", "reduced")
    assert not (tmp_path / "ran").exists()
    assert "--trust-platforms" in reduced.sentence


def test_platforms_are_followed_if_the_command_says_so(
    xbackend, kept: Path, evil: Path, tmp_path: Path
) -> None:
    name_platform(kept, f"python:{evil}")
    xbackend(*ISOLATE, "--trust-platforms")
    assert (tmp_path / "ran").exists()


def test_platforms_are_followed_that_the_user_has_named_before(
    xbackend, kept: Path, evil: Path, tmp_path: Path, sound: Path
) -> None:
    words = ["--backends", "good", "--platform", f"python:{evil}", "--store", "another"]
    done = xbackend("run", sound, *words)
    assert done.status == 0, done
    (tmp_path / "ran").unlink()
    name_platform(kept, f"python:{evil}")
    xbackend(*ISOLATE)
    assert (tmp_path / "ran").exists()


def test_a_function_that_only_a_record_names_is_not_called(
    xbackend, kept: Path, tmp_path: Path
) -> None:
    (tmp_path / "evil_model.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    for path in (kept / "runs").iterdir():
        record = json.loads(path.read_text())
        record["model"]["source"] = "evil_model:make"
        path.write_text(json.dumps(record))
    done = xbackend("compare", "--reference", "float64")
    assert done.status != 0, done
    assert not (tmp_path / "ran").exists()


def test_a_function_that_was_never_named_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    display = ProgressLines(io.StringIO())
    context = ExecutionContext(Store(tmp_path / "store"), 1, 60.0, display)
    with pytest.raises(UsageError, match="'evil_model:make', a function that was never named here"):
        trusted_source("evil_model:make", context)
    assert trusted_source("cifar10-small", context) == "cifar10-small"
    remember_function("evil_model:make")
    assert trusted_source("evil_model:make", context) == "evil_model:make"


def test_a_digest_that_is_a_path_is_named_and_the_others_are_compared(xbackend, kept: Path) -> None:
    path, record = record_of(kept, "bad")
    record["results"][0]["outputs"][0]["digest"] = "../../dev/zero"
    path.write_text(json.dumps(record))
    done = xbackend("compare", "--format", "json", timeout=30)
    assert done.status == 3, done
    assert path.name in done.sentence
    assert [run["backend"] for run in json.loads(done.out)["runs"]] == ["good"]


def test_an_artifacts_digest_that_is_a_path_is_named(xbackend, kept: Path) -> None:
    path, record = record_of(kept, "bad")
    record["artifact"]["digest"] = "../../outside"
    path.write_text(json.dumps(record))
    assert path.name in xbackend("compare").sentence


def test_the_check_of_a_store_says_what_it_read_and_what_is_wrong(xbackend, kept: Path) -> None:
    done = xbackend("store", "check")
    assert done.status == 0, done
    assert "2 runs, 1 artifacts, 1 inputs read" in done.out
    assert done.out.endswith("all is as its names say\n")
    (weights,) = (kept / "artifacts").rglob("graph.json")
    weights.write_bytes(weights.read_bytes() + b" ")
    told = xbackend("store", "check", "--json")
    assert told.status == 3
    (fault,) = json.loads(told.out)["faults"]
    assert str(weights) in fault


def test_a_comparison_says_in_one_line_what_it_did_not_check(xbackend, kept: Path) -> None:
    done = xbackend("compare")
    (line,) = [line for line in done.err.splitlines() if "store check" in line]
    assert line.startswith("not checked: ")
    assert "tensors" in line
