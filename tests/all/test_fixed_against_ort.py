"""ONNX Runtime against exact integers: where the bits agree, and on which CPUs they cannot.

ONNX Runtime runs in a process of its own, natively or in an emulator of another CPU.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from xbackend.backends.fixed.adapter import FixedSession
from xbackend.backends.fixed.unsupported import check_supported
from xbackend.converters import onnx_to_graph, onnx_to_int8
from xbackend.plugins.converter import ConversionRequest
from xbackend.testing.expected_failures import (
    PASSED,
    CaseOutcome,
    ExpectedFailure,
    explain_mismatch,
)
from xbackend.testing.random_nets import NETS, samples
from xbackend.testing.random_nodes import (
    ALL_INT8_VALUES,
    RandomNodes,
    elementwise,
    linear,
    pools,
    rounding,
    tables,
)
from xbackend.worker.graph import read_graph
from xbackend.worker.tensor import from_numpy

ORT = """
import json, sys
import numpy as np
import onnxruntime as ort
folder, file, level, x = sys.argv[1:]
settings = ort.SessionOptions()
settings.intra_op_num_threads = 1
settings.log_severity_level = 4
settings.graph_optimization_level = getattr(ort.GraphOptimizationLevel, "ORT_" + level)
session = ort.InferenceSession(f"{folder}/{file}", settings, providers=["CPUExecutionProvider"])
values = session.run(None, {session.get_inputs()[0].name: np.load(x)})
np.savez(f"{folder}/result.npz", **{str(i): value for i, value in enumerate(values)})
print(json.dumps([output.name for output in session.get_outputs()]))
"""

FIXED = """
import json, sys
from pathlib import Path
import numpy as np
from xbackend.backends.fixed.adapter import FixedSession
from xbackend.worker.graph import read_graph
from xbackend.worker.tensor import from_numpy
folder, x = sys.argv[1:]
session = FixedSession(read_graph(Path(folder)))
taps = dict(session.tap({"x": from_numpy(np.load(x))}, session.taps))
np.savez(f"{folder}/result.npz", **{str(i): t.array for i, t in enumerate(taps.values())})
print(json.dumps(list(taps)))
"""

TYPES = [("uint8", "int8"), ("int8", "int8"), ("uint8", "uint8")]


def flags() -> set[str]:
    """Return what the CPU can do, as Linux names it."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    lines = [line for line in text.splitlines() if line.startswith("flags")]
    return set(lines[0].split()) if lines else set()


FLAGS = flags()
SATURATES = "avx2" in FLAGS and not {"avx512_vnni", "avx_vnni"} & FLAGS
"""Whether ONNX Runtime's kernel for uint8 by int8 adds pairs of products in 16 bits."""

needs_fma = pytest.mark.skipif(
    "fma" not in FLAGS, reason="QLinearAdd is compared with ONNX Runtime's kernel for FMA."
)


def emulator(cpu: str) -> list[str]:
    """Return the command that runs a program as another CPU."""
    if shutil.which("qemu-x86_64") is None:
        pytest.skip("qemu-x86_64 is not installed (Debian's qemu-user).")
    return ["qemu-x86_64", "-U", "OPENBLAS_CORETYPE", "-cpu", cpu]


def call(program: str, *arguments: Any, prefix: list[str] | None = None) -> dict[str, Any]:
    """Run a program that leaves `result.npz` in the folder that is its first argument."""
    command = [*(prefix or []), sys.executable, "-W", "ignore", "-c", program]
    words = [*command, *(str(a) for a in arguments)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(Path(arguments[0]) / "result.npz") as values:
        return {name: values[str(index)] for index, name in enumerate(json.loads(done.stdout))}


class Quantized:
    """A graph in int8, with one input for it."""

    def __init__(self, model: Path, x: Any, folder: Path) -> None:
        self.folder, self.x = folder / "graph", folder / "x.npy"
        np.save(self.x, x)
        self.folder.mkdir()
        onnx_to_graph.convert(ConversionRequest(model, "onnx-int8", "graph-int8", self.folder))

    def fixed(self) -> dict[str, Any]:
        """Compute every value in exact integers, in this process."""
        graph = read_graph(self.folder)
        check_supported(graph, "int8")
        session = FixedSession(graph)
        given = {"x": from_numpy(np.load(self.x))}
        return {name: tensor.array for name, tensor in session.tap(given, session.taps)}

    def ort(self, file: str, level: str, prefix: list[str] | None = None) -> dict[str, Any]:
        """Compute the outputs of a file with ONNX Runtime."""
        return call(ORT, self.folder, file, level, self.x, prefix=prefix)


def quantized(model: onnx.ModelProto, folder: Path, **options: Any) -> Quantized:
    """Quantize a network on a few samples."""
    source, inputs, output = folder / "source.onnx", folder / "inputs.npz", folder / "int8"
    onnx.save(model, source)
    np.savez(inputs, x=samples(model, 4))
    output.mkdir()
    onnx_to_int8.convert(
        ConversionRequest(source, "onnx", "onnx-int8", output, inputs, None, options)
    )
    return Quantized(output / "model.onnx", samples(model, 1, seed=1), folder)


def together(nodes: RandomNodes, folder: Path) -> Quantized:
    """Take many nodes as one graph."""
    onnx.save(nodes.model(), folder / "nodes.onnx")
    return Quantized(folder / "nodes.onnx", np.float32([1]), folder)


def differing(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Name the values that have not the same format, shape and bits, in order."""
    return [
        name
        for name in mine
        if name in theirs
        and (mine[name].dtype, mine[name].shape, mine[name].tobytes())
        != (theirs[name].dtype, theirs[name].shape, theirs[name].tobytes())
    ]


@needs_fma
@pytest.mark.parametrize("reduce_range", [False, True], ids=["8bit", "7bit"])
@pytest.mark.parametrize("per_channel", [False, True], ids=["tensor", "channel"])
@pytest.mark.parametrize("types", TYPES, ids="-".join)
@pytest.mark.parametrize("name", ["plain", "branched"])
def test_every_value_has_the_same_bits(
    tmp_path: Path, name: str, types: tuple[str, str], per_channel: bool, reduce_range: bool
) -> None:
    if SATURATES and types == ("uint8", "int8") and not reduce_range:
        pytest.skip("This CPU's kernel for uint8 by int8 saturates.")
    how = {"per_channel": per_channel, "reduce_range": reduce_range}
    net = quantized(NETS[name](), tmp_path, activation=types[0], weight=types[1], **how)
    fixed, ort = net.fixed(), net.ort("taps.onnx", "DISABLE_ALL")
    assert list(fixed) == [n for n in fixed if n in ort]
    assert differing(fixed, ort) == []


@needs_fma
@pytest.mark.parametrize("seed", range(1, 5))
@pytest.mark.parametrize("name", ["plain", "branched"])
def test_the_optimised_model_has_the_same_bits_too(tmp_path: Path, name: str, seed: int) -> None:
    net = quantized(NETS[name](seed), tmp_path, activation="int8")
    fixed = net.fixed()
    (output,) = net.ort("model.onnx", "ENABLE_ALL")
    assert differing(fixed, net.ort("model.onnx", "ENABLE_ALL")) == []
    assert differing(fixed, net.ort("taps.onnx", "ENABLE_ALL")) == []
    assert output == list(fixed)[-1]


def test_a_cpu_with_avx2_and_without_vnni_saturates(tmp_path: Path) -> None:
    net = quantized(NETS["plain"](), tmp_path)
    haswell = net.ort("taps.onnx", "DISABLE_ALL", emulator("Haswell"))
    fixed = net.fixed()
    wrong = differing(fixed, haswell)
    assert wrong[0] in ("conv1_quantized", "conv2_quantized", "dense1_quantized")
    first = np.abs(fixed[wrong[0]].astype(int) - haswell[wrong[0]].astype(int))
    assert first.max() > 1
    assert differing(fixed, call(FIXED, net.folder, net.x, prefix=emulator("Haswell"))) == []


@pytest.mark.parametrize(
    "options",
    [{"activation": "int8"}, {"weight": "uint8"}, {"reduce_range": True}],
    ids=["int8-int8", "uint8-uint8", "7bit"],
)
def test_that_cpu_does_not_saturate_on_other_types(tmp_path: Path, options: Any) -> None:
    net = quantized(NETS["plain"](), tmp_path, **options)
    haswell = net.ort("taps.onnx", "DISABLE_ALL", emulator("Haswell"))
    assert differing(net.fixed(), haswell) == []


def test_a_cpu_without_avx2_does_not_saturate(tmp_path: Path) -> None:
    net = quantized(NETS["plain"](), tmp_path)
    nehalem = net.ort("taps.onnx", "DISABLE_ALL", emulator("Nehalem"))
    assert differing(net.fixed(), nehalem) == []


@needs_fma
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("family", [elementwise, tables, pools, linear, rounding])
def test_every_operator_has_the_same_bits(tmp_path: Path, family: Any, dtype: str) -> None:
    nodes = RandomNodes()
    family(nodes, dtype, **({"mixed": not SATURATES} if family is linear else {}))
    net = together(nodes, tmp_path)
    fixed = net.fixed()
    assert len(fixed) > 40
    assert differing(fixed, net.ort("taps.onnx", "DISABLE_ALL")) == []


VERSION = "onnxruntime 1.31.1"

DEVIATIONS = (
    ExpectedFailure(
        "softmax of one element",
        "wrong value",
        "ONNX Runtime multiplies before it divides, which overflows, and gives 0 instead of 1.",
        VERSION,
    ),
    ExpectedFailure(
        "sigmoid near a tie",
        "wrong value",
        "ONNX Runtime's logistic function is an approximation, which may fall beyond the tie.",
        VERSION,
    ),
    ExpectedFailure(
        "sum without FMA",
        "wrong value",
        "ONNX Runtime's QLinearAdd rounds three times more on a CPU without FMA, which moves ties.",
        VERSION,
    ),
)
"""Where the bits of ONNX Runtime are not those of exact integers; one that passes is an error."""


def deviating(name: str) -> tuple[tuple[Any, ...], str | None]:
    """Return the node that deviates, and the CPU on which it does if that is not any."""
    half, one = np.float32([0.3, 0.7, 0.6]), np.float32(1 / 256)
    middle, zero = np.uint8(128), np.uint8(0)
    a, b = np.repeat(ALL_INT8_VALUES["uint8"], 256), np.tile(ALL_INT8_VALUES["uint8"], 256)
    pairs = (a, half[0], middle, b, half[1], middle, half[2], middle)
    scales = np.float32(0.036262874), np.uint8(216), np.float32(0.003271986), zero
    return {
        "softmax of one element": (
            ("QLinearSoftmax", np.uint8([[9], [200]]), np.float32(0.1), zero, one, zero),
            None,
        ),
        "sigmoid near a tie": (("QLinearSigmoid", ALL_INT8_VALUES["uint8"], *scales), None),
        "sum without FMA": (("QLinearAdd", *pairs), "Nehalem"),
    }[name]


@pytest.mark.parametrize("name", [entry.pattern for entry in DEVIATIONS])
def test_what_deviates_is_known_with_its_reason(tmp_path: Path, name: str) -> None:
    (operator, *inputs), cpu = deviating(name)
    nodes = RandomNodes()
    options = {"opset": 13, "axis": 1} if operator == "QLinearSoftmax" else {}
    nodes.add(operator, *inputs, **options)
    net = together(nodes, tmp_path)
    prefix = emulator(cpu) if cpu else None
    wrong = differing(net.fixed(), net.ort("taps.onnx", "DISABLE_ALL", prefix))
    outcome = CaseOutcome("wrong value", ", ".join(wrong)) if wrong else PASSED
    problem = explain_mismatch(name, outcome, DEVIATIONS)
    assert problem is None, problem


def test_the_known_sigmoid_is_the_exact_one_here_and_one_off_there(tmp_path: Path) -> None:
    (operator, *inputs), _ = deviating("sigmoid near a tie")
    nodes = RandomNodes()
    nodes.add(operator, *inputs)
    net = together(nodes, tmp_path)
    mine, theirs = (
        values["QLinearSigmoid1"].astype(int)
        for values in (net.fixed(), net.ort("taps.onnx", "DISABLE_ALL"))
    )
    place = int(np.flatnonzero(mine != theirs)[0])
    real = 1 / (1 + np.exp(-np.float64(inputs[1]) * (place - 216)))
    assert (mine[place], theirs[place]) == (12, 13)
    assert 12.4999 < real / np.float64(inputs[3]) < 12.5
    assert np.abs(mine - theirs).sum() == 1
