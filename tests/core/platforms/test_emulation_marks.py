"""From the command line to the reports: a fake emulator whose Softmax is not a processor's."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from onnx import helper

SPEC = '''\
"""A fake backend whose Softmax an emulator cannot be trusted with."""
from xbackend.worker.contract import BackendSpec, UnfaithfulOperators

SOFT = BackendSpec(
    word="soft",
    title="A fake",
    adapter="fake_soft.adapter:Adapter",
    modules=(),
    distributions=(),
    formats={"float32": "graph"},
    unfaithful=(UnfaithfulOperators(("Softmax",), "This fake was made so."),),
)
'''
ADAPTER = '''\
"""Computes Relu, Add and Softmax; Softmax is a step larger where the fake emulator computes it."""
import os
import numpy as np
from xbackend.worker.contract import Backend, Session
from xbackend.worker.graph import read_graph
from xbackend.worker.tensor import from_numpy

def softmax(x):
    y = np.exp(x) / np.exp(x).sum()
    return np.nextafter(y, np.float32(2)) if "FAKE_EMULATOR" in os.environ else y

def relu(x):
    y = np.maximum(x, np.float32(0))
    return y + np.float32(1) if os.environ.get("FAKE_EMULATOR") == "Nehalem" else y

OPERATORS = {"Relu": relu, "Add": np.add, "Softmax": softmax}

class Walk(Session):
    def __init__(self, graph):
        self.graph = graph
        self.taps = graph.values

    def values(self, inputs):
        known = {name: tensor.array for name, tensor in inputs.items()}
        for node in self.graph.nodes:
            known[node.outputs[0]] = OPERATORS[node.operator](*(known[n] for n in node.inputs))
        return known

    def run(self, inputs):
        values = self.values(inputs)
        return {value.name: from_numpy(values[value.name]) for value in self.graph.outputs}

    def tap(self, inputs, wanted):
        values = self.values(inputs)
        for name in self.taps:
            if name in wanted:
                yield name, from_numpy(values[name])

class Adapter(Backend):
    def versions(self):
        return {"soft": "1.0"}

    def prepare(self, artifact, settings):
        return Walk(read_graph(artifact.folder))
'''
EMULATOR = '''\
#!{python}
"""Runs what it is given on this processor, and has the worker say that QEMU computed."""
import os, sys

START = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
from xbackend.worker.machine import fingerprint
real = fingerprint.hardware
fingerprint.hardware = lambda: {{**real(), "hypervisor": "TCGTCGTCGTCG", "machine": "x86_64"}}
runpy.run_path(sys.argv[1], run_name="__main__")
"""
words = sys.argv[1:]
while words and words[0].startswith("-"):
    if words[0] == "-cpu":
        os.environ["FAKE_EMULATOR"] = words[1]
    words = words[2:]
if words[-1].endswith(".pyz"):
    words = [words[0], "-c", START, words[-1]]
os.execv(words[0], words)
'''


@pytest.fixture
def emulated(tmp_path: Path) -> dict[str, str]:
    """Variables with which commands find the fake backend and the fake emulator."""
    package = tmp_path / "soft" / "fake_soft"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(SPEC)
    (package / "adapter.py").write_text(ADAPTER)
    info = package.parent / "fake_soft-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-soft\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[xbackend.backends]\nsoft = fake_soft:SOFT\n")
    emulator = tmp_path / "bin" / "qemu-x86_64"
    emulator.parent.mkdir()
    emulator.write_text(EMULATOR.format(python=sys.executable))
    emulator.chmod(0o755)
    return {
        "PYTHONPATH": str(package.parent),
        "PATH": f"{emulator.parent}:{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "COLUMNS": "200",
    }


@pytest.fixture
def diamond(write_model: Callable[..., Path]) -> Path:
    """Write y = softmax(r) + (r + r), with r = relu(x)."""
    node = helper.make_node
    return write_model(
        node("Relu", ["x"], ["r"]),
        node("Softmax", ["r"], ["s"]),
        node("Add", ["r", "r"], ["side"]),
        node("Add", ["s", "side"], ["y"]),
    )


Commands = Callable[..., Any]


@pytest.fixture
def ran(xbackend: Commands, diamond: Path, emulated: Mapping[str, str]) -> Callable[..., Any]:
    """Run the diamond natively and on two fake processors; return what runs further commands."""

    def command(*words: object) -> Any:
        done = xbackend(*words, env=emulated)
        assert done.status == 0, done
        return done

    platforms = [w for p in ("native", "qemu:Haswell", "qemu:Nehalem") for w in ("--platform", p)]
    command("run", diamond, "--backends", "soft", *platforms)
    return command


def test_an_emulated_run_is_marked_from_the_softmax_on(ran: Commands, tmp_path: Path) -> None:
    files = sorted((tmp_path / "store" / "runs").glob("*.json"))
    native, haswell, nehalem = (json.loads(path.read_text()) for path in files)
    assert "emulation_unsafe" not in native
    for record in (haswell, nehalem):
        assert record["emulation_unsafe"] == ["s", "y"]
        assert record["emulation_reasons"] == {"Softmax": "This fake was made so."}
    assert [row["inputs"] for row in haswell["layers"]] == [["x"], ["r"], ["r"], ["s", "side"]]


def test_a_comparison_tells_findings_from_what_the_emulator_made(ran: Commands) -> None:
    document = json.loads(ran("compare", "--format", "json").out)
    native, haswell, nehalem = (run["id"] for run in document["runs"])
    row = document["divergence"][0]
    assert row["emulation_unsafe"] == [haswell, nehalem]
    assert row["eqcs_by_emulation"] == [[haswell]]
    assert row["last_safe_tap"] == "side"
    assert row["eqcs_last_safe"] == [[native, haswell], [nehalem]]
    text = ran("compare").out
    assert "Class 2 rests on emulated Softmax alone and is no finding; at layer 2" in text
    assert "† comes from emulated Softmax" in text


def test_flags_are_judged_by_what_does_not_rest_on_the_softmax(ran: Commands) -> None:
    document = json.loads(ran("flags", "--json").out)
    (table,) = document["tables"]
    native, haswell, nehalem = table["platforms"]
    assert table["eqcs"] == [[native, haswell], [nehalem]]
    assert table["judged_by"] == "tensors that do not rest on emulation"
    assert table["emulation_operators"] == ["Softmax"]
    assert "Judged by the layers that do not rest on emulated Softmax" in ran("flags").out
