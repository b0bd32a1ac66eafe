"""Emulated ARM, for real: only where it is set up already, or XBACKEND_TEST_ARM asks for that."""

import os
import sys

import numpy as np
import pytest

from xbackend.commands.main import main
from xbackend.platforms.setup_arm import set_up
from xbackend.platforms.sysroot import find_sysroot
from xbackend.store.store import Store

ARM = "qemu-arm:cortex-a72"


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Run the built-in model natively and on an emulated Cortex-A72."""
    if os.environ.get("XBACKEND_TEST_ARM") == "1":
        set_up(lambda line: print(line, file=sys.stderr))
    elif find_sysroot() is None:
        pytest.skip("Emulated ARM is not set up; XBACKEND_TEST_ARM=1 sets it up (85 MB).")
    folder = tmp_path_factory.mktemp("arm") / "store"
    command = ["run", "--taps", "outputs", "--store", str(folder)]
    platforms = ["--platform", "native", "--platform", ARM]
    assert main([*command, *platforms, "--backends", "ort,tflite"]) == 0
    assert main([*command, *platforms, "--backends", "ort,fixed", "--precision", "int8"]) == 0
    store = Store(folder)
    return store, {(row["backend"], row["precision"], row["platform"]): row for row in store.runs()}


def _outputs(store, record):
    return [store.read_tensor(row["outputs"][0]).array for row in record["results"]]


@pytest.mark.parametrize("backend", ["ort", "tflite"])
def test_a_framework_computes_on_emulated_arm(records, backend):
    store, rows = records
    native, arm = rows[backend, "float32", "native"], rows[backend, "float32", ARM]
    assert (arm["status"], arm["error"]) == ("ok", None)
    assert arm["hardware"]["machine"] == "aarch64"
    assert arm["hardware"]["vendor"] == "ARM"
    assert arm["hardware"]["microarchitecture"] == "Cortex-A72"
    assert "asimd" in arm["hardware"]["flags"]
    assert arm["backend_version"] == native["backend_version"]
    for one, other in zip(_outputs(store, native), _outputs(store, arm), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-6)
        assert one.argmax() == other.argmax()


def test_exact_integers_have_the_same_bits_on_arm(records):
    _, rows = records
    digests = {
        tuple(result["outputs"][0]["digest"] for result in rows["fixed", "int8", where]["results"])
        for where in ("native", ARM)
    }
    assert len(digests) == 1


def test_onnx_runtimes_integers_on_arm_are_the_exact_ones(records):
    _, rows = records
    arm, exact = rows["ort", "int8", ARM], rows["fixed", "int8", "native"]
    assert arm["status"] == "ok"
    for one, other in zip(arm["results"], exact["results"], strict=True):
        assert one["outputs"][0]["digest"] == other["outputs"][0]["digest"]


def test_what_the_set_up_lacks_is_skipped(records):
    store, _ = records
    command = ["run", "--backends", "torch", "--platform", ARM, "--store", str(store.folder)]
    assert main(command) == 0
    (row,) = [row for row in store.runs() if row["backend"] == "torch"]
    assert row["status"] == "skipped"
    assert row["error"]["message"] == f"The set-up of '{ARM}' does not hold torch."
