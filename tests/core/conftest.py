"""The command line in a process of its own, with fake backends that misbehave on demand."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from xbackend.testing.store_builder import StoreBuilder

ENTRY_POINTS = """\
[xbackend.backends]
good = fakes_for_tests:GOOD
bad = fakes_for_tests:BAD
absent = fakes_for_tests:ABSENT
[xbackend.mitigations]
calm = fakes_for_tests.mitigations:CALM
idle = fakes_for_tests.mitigations:make
"""

SPECS = '''\
"""Fake backends: one that works, one that misbehaves as told, one whose framework is absent."""
from xbackend.worker.contract import BackendSpec, Setting

def _spec(word, **more):
    return BackendSpec(
        word=word,
        title="A fake",
        adapter=f"fakes_for_tests.adapter:{word.title()}",
        modules=more.pop("modules", ()),
        distributions=(),
        formats={"float32": "graph"},
        **more,
    )

GOOD = _spec("good")
BAD = _spec("bad", settings=(
    Setting("at", "run", "When to misbehave.", ("import", "prepare", "run", "tap", "facts")),
    Setting("does", "nothing", "What to do then."),
    Setting("depth", 3, "A number."),
))
ABSENT = _spec("absent", modules=("a_framework_that_nobody_has",))
'''

MITIGATIONS = '''\
"""What keeps the fake that misbehaves from it, and what does nothing."""
from xbackend.plugins.mitigation import BackendChange, Mitigation

CALM = Mitigation(
    name="calm",
    what="nothing is nudged",
    changes={
        "good": BackendChange(),
        "bad": BackendChange({"does": "nothing"}, user_code=("bad.calm_down()",)),
    },
)

def make(context):
    """Make one with a setting that is not there, one for nobody, and one with a need."""
    yield Mitigation("idle", "nothing at all", {"bad": BackendChange()})
    yield Mitigation("typo", "no such setting", {"bad": BackendChange({"dose": "nothing"})})
    yield Mitigation("never", "it cannot be", {}, unavailable={"bad": "It has no such switch."})
    yield Mitigation("deep", "in the deep", {"bad": BackendChange(required_settings={"depth": 9})})
    yield Mitigation("spare", "by name only", {"bad": BackendChange({"depth": 4})}, default=False)
'''

ADAPTER = '''\
"""Computes Relu and Identity graphs with NumPy, and misbehaves."""
import os, signal, sys, time
import numpy as np
from xbackend.worker.contract import Backend, Session, Unsupported
from xbackend.worker.graph import read_graph
from xbackend.worker.tensor import Tensor, from_numpy

STEPS = {"up": 1, "down": -1, "fused": 2}
OPERATORS = {"Relu": lambda x: np.maximum(x, np.float32(0)), "Identity": lambda x: x}

def die(name):
    os.kill(os.getpid(), getattr(signal, name))
    time.sleep(60)

def misbehave(does):
    word, _, value = does.partition("=")
    if word == "signal":
        die(value)
    elif word == "exit":
        os._exit(int(value))
    elif word == "sys.exit":
        sys.exit(value)
    elif word == "hang":
        os.write(2, b"hanging now\\n")
        time.sleep(3600)
    elif word == "spin":
        signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGKILL})
        while True:
            pass
    elif word == "raise":
        raise RuntimeError(value.replace("|", "\\n"))
    elif word == "unsupported":
        raise Unsupported(value)
    elif word == "memory":
        raise MemoryError()
    elif word == "recurse":
        misbehave(does)
    elif word == "interrupt":
        raise KeyboardInterrupt()
    elif word == "chatter":
        sys.stdout.write('{"result": {"status": "ok"}}\\n' * 3)
        os.write(1, b"\\xff\\xfe not text\\n" * 20000)
        os.write(2, b"\\xff\\xfe not text\\n" * 20000)
    elif word == "write":
        with open(value, "w") as stream:
            stream.write("evil")
    elif word == "connect":
        import socket
        socket.create_connection(("127.0.0.1", int(value)), timeout=5).close()
    elif word == "datagram":
        import socket
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"evil", ("127.0.0.1", int(value)))
    elif word == "eat":
        kept = []
        while True:
            kept.append(b"x" * (64 << 20))
    elif word == "remember":
        import tempfile
        with open(tempfile.mkstemp()[1], "w") as stream:
            stream.write("kept for a while")
        os.makedirs(os.environ["TORCHINDUCTOR_CACHE_DIR"], exist_ok=True)
    elif word == "import":
        import a_framework_that_nobody_has
    elif word not in ("nothing", *STEPS):
        raise AssertionError(does)

class Walk(Session):
    def __init__(self, graph, settings):
        self.graph, self.settings = graph, settings
        self.taps = graph.values

    def at(self, stage):
        if self.settings.get("at") == stage:
            misbehave(self.settings["does"])

    def values(self, inputs):
        known = {name: tensor.array for name, tensor in inputs.items()}
        for node in self.graph.nodes:
            value = OPERATORS[node.operator](known[node.inputs[0]])
            known[node.outputs[0]] = self.altered(node, value, node.inputs[0] in inputs)
        return known

    def altered(self, node, value, alone):
        """Move a value by an ULP or two where that is told, `fused` ones where not alone."""
        word, _, name = self.settings.get("does", "").partition("=")
        here = name in [output.rpartition("/")[2] for output in node.outputs]
        if word not in STEPS or not here or (word == "fused" and alone):
            return value
        return (value.view(np.int32) + np.int32(STEPS[word])).view(np.float32)

    def run(self, inputs):
        self.at("run")
        values = self.values(inputs)
        return {value.name: from_numpy(values[value.name]) for value in self.graph.outputs}

    def tap(self, inputs, wanted):
        self.at("tap")
        values = self.values(inputs)
        for name in self.taps:
            if name in wanted:
                yield name, from_numpy(values[name])

    def facts(self):
        self.at("facts")
        return {}

class Good(Backend):
    word = "good"

    def versions(self):
        return {self.word: "1.0"}

    def prepare(self, artifact, settings):
        if settings.get("at") == "prepare":
            misbehave(settings["does"])
        graph = read_graph(artifact.folder)
        unknown = [node.operator for node in graph.nodes if node.operator not in OPERATORS]
        if unknown:
            raise Unsupported(f"This fake has no operator {unknown[0]}.")
        return Walk(graph, settings)

class Bad(Good):
    word = "bad"

class Absent(Good):
    word = "absent"
'''

PROGRAM = "import sys; from xbackend.commands.main import main; sys.exit(main())"


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one line in which the command says what is wrong; checks that it is one."""
        assert "Traceback" not in self.out + self.err, self.err
        lines = [line for line in self.err.splitlines() if line.startswith("xbackend: ")]
        assert len(lines) == 1, f"{self.status}\n{self.out}\n{self.err}"
        assert 20 < len(lines[0]) < 1000, lines[0]
        return lines[0]


Command = Callable[..., Done]


@pytest.fixture(scope="session")
def fakes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH that holds an installed distribution of fake backends."""
    folder = tmp_path_factory.mktemp("fakes")
    package = folder / "fakes_for_tests"
    package.mkdir()
    (package / "__init__.py").write_text(SPECS)
    (package / "adapter.py").write_text(ADAPTER)
    (package / "mitigations.py").write_text(MITIGATIONS)
    info = folder / "fakes_for_tests-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fakes-for-tests\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's cache folder of all commands of a test session."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def environment(fakes: Path, cache: Path, tmp_path: Path) -> dict[str, str]:
    """The variables of a command: its own store and cache, and the fake backends."""
    return {
        **os.environ,
        "PYTHONPATH": str(fakes),
        "XDG_CACHE_HOME": str(cache),
        "XBACKEND_STORE": str(tmp_path / "store"),
        "COLUMNS": "100",
    }


@pytest.fixture
def xbackend(environment: Mapping[str, str], tmp_path: Path) -> Command:
    """Run a command in a process of its own and return how it ended."""

    def run(*arguments: object, timeout: float = 60, **options: Any) -> Done:
        variables = {**environment, **options.pop("env", {})}
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *map(str, arguments)],
            text=True,
            errors="replace",
            timeout=timeout,
            cwd=tmp_path,
            env=variables,
            stdin=subprocess.DEVNULL,
            **options,
        )
        return Done(done.returncode, done.stdout or "", done.stderr)

    return run


@pytest.fixture
def refused(xbackend: Command, tmp_path: Path) -> Callable[..., str]:
    """Run with the good backend and return the sentence of a refusal."""

    def run(*arguments: object, status: int = 2, **options: Any) -> str:
        done = xbackend("run", *arguments, "--backends", "good", **options)
        assert done.status == status, done
        assert done.out == ""
        runs = tmp_path / "store" / "runs"
        assert not runs.is_dir() or not any(runs.iterdir())
        return done.sentence

    return run


@pytest.fixture
def write_model(tmp_path: Path) -> Callable[..., Path]:
    """Write a model from x to y out of nodes and initializers."""

    def write(
        *nodes: onnx.NodeProto, name: str = "small.onnx", width: int = 4, **more: Any
    ) -> Path:
        ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, width)) for n in "xy"]
        graph = helper.make_graph(list(nodes), "small", ends[:1], ends[1:], **more)
        opsets = [helper.make_opsetid("", 17)]
        made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        path = tmp_path / name
        path.write_bytes(made.SerializeToString())
        return path

    return write


@pytest.fixture
def sound(write_model: Callable[..., Path]) -> Path:
    """A model that the fake backends can run: y = relu(identity(x)), float32 of (1, 4)."""
    return write_model(
        helper.make_node("Identity", ["x"], ["h"]), helper.make_node("Relu", ["h"], ["y"])
    )


@pytest.fixture
def bench(tmp_path: Path) -> StoreBuilder:
    """A store to write runs into by hand."""
    return StoreBuilder(tmp_path / "bench")
