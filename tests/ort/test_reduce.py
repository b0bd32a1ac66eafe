"""What this processor and one without FMA compute otherwise, reduced; a plain script shows it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from xbackend.commands.main import main
from xbackend.worker.machine.cpuid import read_processor

pytestmark = pytest.mark.skipif(
    shutil.which("qemu-x86_64") is None or "fma" not in read_processor().flags,
    reason="Needs qemu-x86_64 (Debian: qemu-user) on a processor with FMA.",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reduce what ONNX Runtime computes otherwise on a Sandy Bridge, in few trials."""
    scratch = tmp_path_factory.mktemp("reduce")
    inputs, folder = scratch / "inputs.npy", scratch / "reduced"
    generator = np.random.Generator(np.random.PCG64(0))
    np.save(inputs, generator.integers(0, 256, (1, 32, 32, 3)).astype(np.float32) / 256)
    where = ["--platform", "native", "--platform", "qemu:SandyBridge", "--trials", "24"]
    options = ["--output", str(folder), "--store", str(scratch / "store")]
    command = ["reduce", "--backends", "ort", "--inputs", str(inputs), *where, *options]
    assert main(command) == 0
    return folder


def test_one_convolution_is_left_and_much_smaller(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Conv"]
    document = json.loads((folder / "difference.json").read_text())
    assert document["nodes"] == [15, 1]
    before, after = document["elements"]
    assert after < before / 10
    assert document["metrics"]["max_ulp"] >= 1
    assert document["sides"]["b"]["hardware"]["microarchitecture"] == "Sandy Bridge"


def test_the_plain_script_gives_the_bits_of_this_side(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "show_ort.py"], cwd=folder, capture_output=True, text=True, check=True
    )
    said = [line.split(",")[0].strip() for line in done.stdout.splitlines()[1:]]
    assert said == ["side a: same bits True", "side b: same bits False"]
