"""Every study from end to end in its small configuration: natively and on emulated processors."""

import json
import shutil

import numpy as np
import pytest

from xbackend.commands.main import main
from xbackend.models.generated.random_numbers import uniform_unit
from xbackend.store.store import Store
from xbackend.studies.catalogue import NAMES
from xbackend.studies.paper.convolutions import Convolution, write_model

PLATFORMS = ("native", "qemu:SandyBridge", "qemu:Haswell")
EMULATES = shutil.which("qemu-x86_64") is not None
NEEDS_QEMU = "There is no qemu-x86_64 on this machine (Debian: qemu-user)."
VERDICTS = {"holds", "does not hold", "cannot be told"}
BOTH = ("multiplications",)
"""Studies that run TensorFlow Lite too; the others run ONNX Runtime alone, which is faster."""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One store for all studies: what one has run the next one finds."""
    return tmp_path_factory.mktemp("studies") / "store"


@pytest.fixture(scope="module")
def study(store, tmp_path_factory):
    """Carry out a study with its small configuration and return what it says as JSON."""

    def run(name, *words, status=0):
        path = tmp_path_factory.mktemp(name) / "found.json"
        arguments = ["study", name, "--store", str(store), "--output", str(path), *words]
        assert main(arguments) == status
        return json.loads(path.read_text(encoding="utf-8"))

    return run


def _ran(store, found):
    """Return backend and platform of a study's runs."""
    records = {record["id"]: record for record in Store(store).runs()}
    return {(records[run]["backend"], records[run]["platform"]) for run in found["runs"]}


@pytest.mark.skipif(not EMULATES, reason=NEEDS_QEMU)
@pytest.mark.parametrize("name", NAMES)
def test_a_study_runs_on_native_and_two_emulated_platforms(study, store, name, capsys):
    backends = ("ort", "tflite") if name in BOTH else ("ort",)
    words = [word for platform in PLATFORMS for word in ("--platform", platform)]
    found = study(name, "--backends", ",".join(backends), *words)
    assert _ran(store, found) == {(word, p) for word in backends for p in PLATFORMS}
    assert [each["backend"] for each in found["verdicts"]] == list(backends)
    assert {each["verdict"] for each in found["verdicts"]} <= VERDICTS
    assert len(found["records"]) >= 3
    assert " ".join(capsys.readouterr().out.split()).endswith(found["sentence"])


@pytest.mark.skipif(not EMULATES, reason=NEEDS_QEMU)
def test_fma_parts_platforms_whatever_is_multiplied(study):
    words = ["--platform", "qemu:SandyBridge", "--platform", "qemu:Haswell", "--backends", "ort"]
    found = study("distributions", *words)
    assert found["verdicts"][0]["verdict"] == "holds"
    classes = {(row["platform"], row["class"]) for row in found["records"]}
    assert classes == {("qemu:SandyBridge", 1), ("qemu:Haswell", 2)}
    assert len({(row["weights"], row["inputs"]) for row in found["records"]}) == 12


def test_xla_is_held_against_eager_tensorflow(study, tmp_path):
    path = tmp_path / "two.json"
    path.write_text('{"variants": ["tf.mode=eager", "tf.mode=xla"]}')
    found = study("xla", "--config", str(path))
    assert [row["setting"] for row in found["records"]] == ["mode=eager", "mode=xla"]
    (verdict,) = found["verdicts"]
    assert verdict["verdict"] == "cannot be told"
    assert verdict["reason"].startswith("one platform; mode=xla changes bits on ")


def test_a_convolution_has_the_same_bits_alone_and_among_others(study, store, tmp_path):
    study("multiplications", "--platform", "native")
    name = "f3_k5_c3_i21"
    picture = uniform_unit(f"{name}/picture", (1, 3, 21, 21))
    kernel = uniform_unit(f"multiplications/{name}", (3, 3, 5, 5))
    alone = Convolution(name, f"{name}/picture", kernel)
    path = write_model(Store(store), "alone", [alone], {alone.reads: picture})
    np.savez(tmp_path / "picture.npz", **{alone.reads: picture})
    words = ["--inputs", str(tmp_path / "picture.npz"), "--backends", "ort,tflite"]
    assert main(["run", str(path), *words, "--taps", "outputs", "--store", str(store)]) == 0
    digests = {}
    for record in Store(store).runs():
        if record["platform"] == "native" and record["status"] == "ok":
            for row in record["results"][0]["outputs"]:
                if row["name"] == name:
                    key = record["backend"], record["model"]["name"]
                    digests[key] = row["digest"]
    for backend in ("ort", "tflite"):
        assert digests[backend, "alone"] == digests[backend, "multiplications"]
