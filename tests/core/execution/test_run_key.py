"""Which runs are the same run, so that one is not repeated."""

import dataclasses
import json

import pytest

from xbackend.commands.main import main
from xbackend.execution import run_key as module
from xbackend.execution.run_key import run_key
from xbackend.platforms.platform import Platform
from xbackend.worker.contract import BackendSpec
from xbackend.worker.job import Job, Sample, Slice

SPEC = BackendSpec("fake", "Fake", "a:B", (), ("numpy",), {})
JOB = Job(
    backend="fake",
    adapter="a:B",
    environment={},
    artifact="/somewhere",
    settings={"threads": 1, "precision": "float32"},
    samples=(Sample("0", {"x": Slice("/x.npy", 0, 1)}),),
    taps="layers",
    store="/store",
    missing="",
)


def _key(job=JOB, platform=None, inputs="i", artifact="a", worker="w", repeat=0):
    digests = {"inputs": inputs, "artifact": artifact, "worker": worker}
    return run_key(SPEC, job, platform or Platform("native"), digests, repeat)


def test_where_the_files_lie_changes_nothing():
    assert _key(dataclasses.replace(JOB, store="/other", artifact="/else", samples=())) == _key()


@pytest.mark.parametrize(
    "change",
    [
        {"job": dataclasses.replace(JOB, settings={"threads": 2, "precision": "float32"})},
        {"job": dataclasses.replace(JOB, taps="outputs")},
        {"job": dataclasses.replace(JOB, environment={"A": "1"})},
        {"platform": Platform("cores:1", prefix=("taskset", "-c", "0"))},
        {"inputs": "j"},
        {"artifact": "b"},
        {"worker": "v"},
        {"repeat": 1},
    ],
)
def test_whatever_decides_the_bits_is_in_the_digest(change):
    assert _key(**change) != _key()


def test_another_version_of_the_framework_is_another_run(monkeypatch):
    before = _key()
    monkeypatch.setattr(module, "version", lambda name: "another")
    assert _key() != before


def test_a_variable_that_changes_bits_makes_another_run(monkeypatch):
    before = _key()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert _key() != before


def test_another_python_is_known_by_when_its_packages_changed(tmp_path):
    folder = tmp_path / "lib" / "python3.8" / "site-packages"
    folder.mkdir(parents=True)
    platform = Platform("python:old", python=str(tmp_path / "bin" / "python"))
    before = _key(platform=platform)
    assert _key(platform=platform) == before
    (folder / "new_package").mkdir()
    assert _key(platform=platform) != before


def test_the_same_model_by_another_name_has_runs_of_its_own(xbackend, sound):
    twin = sound.with_name("twin.onnx")
    twin.write_bytes(sound.read_bytes())
    for path in (sound, twin, twin):
        assert xbackend("run", path, "--backends", "good").status == 0
    lines = xbackend("compare", "--format", "json").out
    names = [run["model"] for run in json.loads(lines)["runs"]]
    assert sorted(names) == ["small", "twin"]


def test_a_run_is_not_repeated_unless_asked_for(tmp_path, capsys):
    command = ["run", "--backends", "fixed", "--store", str(tmp_path / "store")]
    for arguments, runs in (([], 1), ([], 1), (["--fresh"], 2), (["--taps", "outputs"], 3)):
        assert main([*command, *arguments]) == 0
        assert len(list((tmp_path / "store" / "runs").iterdir())) == runs
    assert "1 run is in the store already; --fresh repeats it" in capsys.readouterr().err
