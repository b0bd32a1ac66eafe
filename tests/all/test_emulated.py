"""A fleet on one machine: the classes that were measured, from the tool, on emulated processors."""

import json
import shutil

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from xbackend.commands.main import main
from xbackend.store.store import Store
from xbackend.worker.machine.cpuid import read_processor

pytestmark = pytest.mark.skipif(
    shutil.which("qemu-x86_64") is None,
    reason="There is no qemu-x86_64 on this machine (Debian: qemu-user).",
)
FMA = {"qemu:Haswell", "qemu:EPYC-Rome"}
"""Processors with AVX2 and FMA, but for Zen 1, which XNNPACK treats apart."""
NO_FMA = {"qemu:Nehalem", "qemu:SandyBridge", "qemu:Opteron_G4"}


def _weights(name, *shape):
    """Return weights from whole numbers, the same bits everywhere."""
    generator = np.random.Generator(np.random.PCG64(sum(name.encode())))
    whole = generator.integers(-1000, 1000, shape, dtype=np.int64)
    scale = np.float32(2.0**-10 / np.sqrt(np.prod(shape[1:], initial=1)))
    return numpy_helper.from_array(whole.astype(np.float32) * scale, name)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Write the CNN of the measurements: two convolutions, two products, a softmax."""
    shapes = {"w1": (16, 3, 3, 3), "w2": (32, 16, 3, 3), "w3": (128, 2048), "w4": (10, 128)}
    tensors = [_weights(name, *shape) for name, shape in shapes.items()]
    tensors += [_weights(f"b{i}", shape[0]) for i, shape in enumerate(shapes.values(), 1)]
    node, pads = helper.make_node, {"pads": [1, 1, 1, 1]}
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], **pads),
        node("Relu", ["c1"], ["r1"]),
        node("MaxPool", ["r1"], ["p1"], **pool),
        node("Conv", ["p1", "w2", "b2"], ["c2"], **pads),
        node("Relu", ["c2"], ["r2"]),
        node("MaxPool", ["r2"], ["p2"], **pool),
        node("Flatten", ["p2"], ["f"]),
        node("Gemm", ["f", "w3", "b3"], ["g1"], transB=1),
        node("Relu", ["g1"], ["r3"]),
        node("Gemm", ["r3", "w4", "b4"], ["g2"], transB=1),
        node("Softmax", ["g2"], ["y"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "small",
        [value("x", TensorProto.FLOAT, [1, 3, 32, 32])],
        [value("y", TensorProto.FLOAT, [1, 10])],
        tensors,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path_factory.mktemp("model") / "small.onnx"
    onnx.save(made, path)
    return path


@pytest.fixture(scope="module")
def store(model, tmp_path_factory):
    """Run ONNX Runtime and TensorFlow Lite on this machine and on the whole fleet."""
    folder = tmp_path_factory.mktemp("fleet") / "store"
    fleet = ["--platform", "native", "--platform", "fleet:x86", "--store", str(folder)]
    for backend, setting in (("ort", []), ("tflite", []), ("tflite", ["tflite.delegate=none"])):
        chosen = [word for text in setting for word in ("--set", text)]
        assert main(["run", str(model), "--backends", backend, *chosen, *fleet]) == 0
    return folder


def _classes(store, backend, **settings):
    """Return sets of platforms whose outputs have the same bits in all samples."""
    found = {}
    for record in Store(store).runs():
        wanted = all(record["settings"].get(key) == value for key, value in settings.items())
        if record["backend"] == backend and wanted:
            bits = tuple(t["digest"] for row in record["results"] for t in row["outputs"])
            found.setdefault(bits, set()).add(record["platform"])
    return sorted(found.values(), key=sorted)


def test_onnx_runtime_has_a_class_for_each_generation_of_vectors(store):
    expected = [FMA | {"qemu:EPYC"}, NO_FMA]
    if "avx512f" in read_processor().flags:
        expected.append({"native"})
        assert _classes(store, "ort") == sorted(expected, key=sorted)
    else:
        assert len(_classes(store, "ort")) == 2


def test_xnnpack_has_a_class_for_fma_one_without_and_one_for_zen_1(store):
    classes = _classes(store, "tflite", delegate="xnnpack")
    assert classes == sorted([FMA | {"native"}, NO_FMA, {"qemu:EPYC"}], key=sorted)


def test_tensorflow_lites_own_kernels_give_the_same_bits_everywhere(store):
    assert _classes(store, "tflite", delegate="none") == [FMA | NO_FMA | {"native", "qemu:EPYC"}]


def test_emulated_runs_tell_the_emulated_processor(store):
    seen = {r["platform"]: r["hardware"] for r in Store(store).runs() if r["backend"] == "ort"}
    assert seen["qemu:Haswell"]["microarchitecture"] == "Haswell"
    assert "fma" in seen["qemu:Haswell"]["flags"]
    assert "avx2" not in seen["qemu:SandyBridge"]["flags"]
    assert seen["qemu:EPYC"]["vendor"] == "AMD"
    assert seen["native"]["hypervisor"] != "TCGTCGTCGTCG"


def test_flags_that_go_with_the_classes_are_ranked_first(store, capsys):
    arguments = ["flags", "--store", str(store), "--where", "backend=ort", "--json"]
    arguments += [f"--where=platform=qemu:{name}" for name in ("Haswell", "SandyBridge", "EPYC")]
    assert main(arguments) == 0
    (table,) = json.loads(capsys.readouterr().out)["tables"]
    assert table["eqc_count"] == 2
    assert {"avx2", "fma"} <= set(table["clusters"][0]["names"])
    assert table["clusters"][0]["splits"]


def _ablated(model, store, start, backend, only, capsys):
    """Return the verdict of `xbackend flags --ablate`."""
    arguments = ["flags", str(model), "--ablate", "--backends", backend, "--store", str(store)]
    assert main([*arguments, "--from", start, "--only", only, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["backends"][backend]


def test_ablation_blames_both_flags_that_onnx_runtimes_kernels_need(model, store, capsys):
    verdict = _ablated(model, store, "qemu:Haswell", "ort", "avx,fma,avx2,bmi2", capsys)
    assert sorted(cause["removed"] for cause in verdict["causes"]) == [["avx2"], ["fma"]]
    assert {cause["first_layer"]["tap"] for cause in verdict["causes"]} == {"c1"}
    outcomes = {tuple(t["removed"]): t["status"] for t in verdict["trials"]}
    assert outcomes["bmi2",] == "same"


def test_ablation_blames_fma_and_the_name_of_the_processor_for_xnnpacks_kernels(
    model, store, capsys
):
    only = "fma,legacy-cache,model"
    verdict = _ablated(model, store, "qemu:EPYC", "tflite", only, capsys)
    causes = [(*cause["removed"], *cause["properties"]) for cause in verdict["causes"]]
    assert causes == [("fma",), ("model=255",)]
    (cache,) = (t for t in verdict["trials"] if t["properties"] == ["legacy-cache=on"])
    assert cache["status"] == "same"
    assert "L1d 64 KiB instead of 32 KiB" in cache["differences"]
