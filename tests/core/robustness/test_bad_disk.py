"""A full disk, a read-only one, a damaged store: one sentence, and what is sound stays."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

CAP_DAC_OVERRIDE, PR_CAPBSET_DROP = 1, 24


def obey_permissions() -> None:
    """Give up root's right to write where permissions forbid it; nothing for other users."""
    if os.geteuid() == 0:
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)


def full_after(size: int) -> Callable[[], None]:
    """Let no file grow beyond a size: writing more fails, as it does on a full disk."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files but the ones that name temporary things, which there must not be."""
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_store_that_cannot_be_made_says_where_and_what_to_do(
    xbackend, sound: Path, tmp_path: Path
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    done = xbackend(
        "run", sound, "--backends", "good", "--store", locked / "store",
        preexec_fn=obey_permissions,
    )  # fmt: skip
    assert done.status == 3, done
    assert str(locked / "store") in done.sentence
    assert "--store" in done.sentence
    assert list(locked.iterdir()) == []


def test_a_store_below_a_file_says_so(xbackend, sound: Path) -> None:
    done = xbackend("run", sound, "--backends", "good", "--store", sound / "store")
    assert done.status == 2, done
    assert str(sound / "store") in done.sentence


def test_a_store_that_became_read_only_keeps_its_runs(xbackend, sound: Path, store: Path) -> None:
    assert xbackend("run", sound, "--backends", "good").status == 0
    before = contents(store)
    folders = [store, *(path for path in store.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        options = ["--set", "bad.depth=4"]
        done = xbackend("run", sound, "--backends", "bad", *options, preexec_fn=obey_permissions)
        assert done.status == 3, done
        assert str(store) in done.sentence
        compared = xbackend("compare", preexec_fn=obey_permissions)
        assert compared.status == 0, compared
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert contents(store) == before


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_a_disk_that_is_full_at_once_is_one_sentence(
    xbackend, sound: Path, store: Path, tmp_path: Path, size: int
) -> None:
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}  # where the worker has still to be written
    done = xbackend("run", sound, "--backends", "good", preexec_fn=full_after(size), env=env)
    assert done.status == 3, done
    assert "Traceback" not in done.err
    assert "File too large" in done.err
    assert [path for path in store.rglob("*") if path.is_file() and path.suffix == ".json"] == [
        path for path in store.rglob("*.json") if json.loads(path.read_text())
    ]


def test_a_disk_that_fills_up_while_a_worker_saves_is_a_failed_run(
    xbackend, write_model, store: Path, tmp_path: Path
) -> None:
    wide = write_model(helper.make_node("Relu", ["x"], ["y"]), name="wide.onnx", width=1 << 20)
    np.save(tmp_path / "in.npy", np.ones((1, 1 << 20), np.float32))
    arguments = ["run", wide, "--backends", "good", "--inputs", tmp_path / "in.npy"]
    assert xbackend(*arguments).status == 0
    before = contents(store)
    np.save(tmp_path / "in.npy", np.full((1, 1 << 20), 2, np.float32))
    done = xbackend(*arguments, preexec_fn=full_after(1 << 20))
    assert done.status == 3, done
    assert "Traceback" not in done.err + done.out
    assert "File too large" in done.err
    after = contents(store)
    assert before.items() <= after.items()
    assert [name for name in after if name not in before and name.endswith(".tmp")] == []
    assert xbackend("compare").status == 0


def test_after_a_full_disk_the_same_command_works(xbackend, sound: Path, store: Path) -> None:
    assert xbackend("run", sound, "--backends", "good", preexec_fn=full_after(2000)).status == 3
    done = xbackend("run", sound, "--backends", "good")
    assert done.status == 0, done
    assert xbackend("compare").status == 0


@pytest.mark.parametrize("arguments", [["models"], ["backends"], ["platforms"], ["compare"]])
def test_a_full_standard_output_is_one_sentence(
    xbackend, sound: Path, arguments: list[str]
) -> None:
    assert xbackend("run", sound, "--backends", "good").status == 0
    with open("/dev/full", "w") as full:
        done = xbackend(*arguments, stdout=full)
    assert done.status == 3, done
    assert "No space left" in done.sentence


def test_a_closed_standard_output_is_no_error(xbackend, sound: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = xbackend("backends", stdout=write)
    os.close(write)
    assert "Traceback" not in done.err
    assert done.err == ""


def test_an_output_file_that_cannot_be_written_is_named(xbackend, sound: Path) -> None:
    assert xbackend("run", sound, "--backends", "good").status == 0
    done = xbackend("compare", "--output", sound / "result.txt")
    assert done.status in (2, 3), done
    assert str(sound / "result.txt") in done.sentence


@pytest.fixture
def kept(xbackend, sound: Path, store: Path) -> Path:
    """A store with one good run."""
    assert xbackend("run", sound, "--backends", "good").status == 0
    return store


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema_version": 99}'])
def test_a_damaged_record_is_named(xbackend, kept: Path, text: str) -> None:
    (kept / "runs" / "zzz.json").write_text(text)
    done = xbackend("compare")
    assert done.status == 3, done
    assert "zzz.json" in done.sentence


def test_a_truncated_record_is_named_and_the_others_stay(xbackend, kept: Path, sound: Path) -> None:
    (record,) = (kept / "runs").iterdir()
    record.write_bytes(record.read_bytes()[:-20])
    done = xbackend("compare")
    assert done.status == 3, done
    assert record.name in done.sentence
    assert xbackend("run", sound, "--backends", "bad").status == 0


def two_classes(kept: Path, xbackend, sound: Path) -> list[Path]:
    """Add a run that differs, so that objects must be read, and return all objects."""
    assert xbackend("run", sound, "--backends", "bad").status == 0
    path = sorted((kept / "runs").iterdir())[-1]
    record = json.loads(path.read_text())
    row = record["results"][0]["outputs"][0]
    data = np.array([[9, 9, 9, 9]], np.float32).tobytes()
    row["digest"] = hashlib.sha256(data).hexdigest()
    target = kept / "objects" / row["digest"][:2] / row["digest"][2:]
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(data)
    path.write_text(json.dumps(record))
    return [target]


def test_an_object_with_other_bytes_than_its_name_says_is_named(
    xbackend, kept: Path, sound: Path
) -> None:
    (target,) = two_classes(kept, xbackend, sound)
    assert xbackend("compare").status == 0
    target.write_bytes(bytes(16))
    done = xbackend("compare")
    assert done.status == 3, done
    assert str(target) in done.sentence


@pytest.mark.parametrize("size", [0, 15, 17])
def test_an_object_of_another_length_is_named(xbackend, kept: Path, sound: Path, size: int) -> None:
    (target,) = two_classes(kept, xbackend, sound)
    target.write_bytes(bytes(size))
    done = xbackend("compare")
    assert done.status == 3, done
    assert str(target) in done.sentence


def test_an_object_that_is_gone_is_named(xbackend, kept: Path, sound: Path) -> None:
    (target,) = two_classes(kept, xbackend, sound)
    target.unlink()
    done = xbackend("compare")
    assert done.status == 3, done
    assert str(target) in done.sentence


def test_a_damaged_artifact_is_told_or_made_again(xbackend, kept: Path, sound: Path) -> None:
    for path in (kept / "artifacts").rglob("graph.json"):
        path.write_text("{")
    done = xbackend("run", sound, "--backends", "good", "--repeats", "2")
    assert "Traceback" not in done.err
    assert done.status in (0, 3), done


def test_a_damaged_cache_of_installed_packages_is_looked_up_again(
    xbackend, sound: Path, tmp_path: Path
) -> None:
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert xbackend("run", sound, "--backends", "good", env=env).status == 0
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert files
    for path in files:
        path.write_text('{"entry_points": []')
    assert xbackend("run", sound, "--backends", "good", "--repeats", "2", env=env).status == 0


def test_many_commands_may_write_one_store_at_once(
    environment: dict[str, str], sound: Path, store: Path, tmp_path: Path, xbackend
) -> None:
    program = "import sys; from xbackend.commands.main import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "run", str(sound), "--backends", "good,bad"]
    running = [
        subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    ended = [process.communicate(timeout=120)[1] for process in running]
    assert [process.returncode for process in running] == [0] * 4, ended
    compared = json.loads(xbackend("compare", "--format", "json").out)
    assert {run["status"] for run in compared["runs"]} == {"ok"}


def test_a_disk_that_fills_up_keeps_the_runs_before(xbackend, kept: Path, sound: Path) -> None:
    before = contents(kept)
    xbackend("run", sound, "--backends", "bad", preexec_fn=full_after(300))
    assert before.items() <= contents(kept).items()
    assert xbackend("compare").status == 0


@pytest.mark.parametrize("text", ["", "[]"])
def test_a_damaged_manifest_of_an_artifact_is_one_sentence(
    xbackend, kept: Path, sound: Path, text: str
) -> None:
    for path in (kept / "artifacts").rglob("artifact.json"):
        path.write_text(text)
    done = xbackend("run", sound, "--backends", "bad")
    assert done.status == 3, done
    assert "artifact.json is damaged" in done.sentence
    shutil.rmtree(kept / "artifacts")
    assert xbackend("run", sound, "--backends", "bad").status == 0


@pytest.mark.parametrize("command", ["flags", "cores"])
def test_a_damaged_record_is_named_and_the_others_are_shown(
    xbackend, kept: Path, command: str
) -> None:
    whole = xbackend(command)
    (kept / "runs" / "odd.json").write_text("{")
    done = xbackend(command)
    assert done.status == 3, done
    assert "odd.json" in done.sentence
    assert done.out == whole.out
